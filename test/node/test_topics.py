"""Which topic a name means, and what is said when there is none."""

from __future__ import annotations

import pytest

from ws3d_ros.node.topics import CLOUD, COMPRESSED, IMAGE, Published, choose, explain_silence

BASE = "/camera/color/image"


def offer(topic: str, kind: str, reliable: bool = True, latched: bool = False) -> Published:
    return Published(topic, kind, reliable, latched)


@pytest.mark.parametrize(
    ("role", "published", "expected"),
    [
        ("color", [(BASE, IMAGE)], (BASE, IMAGE)),
        ("color", [(BASE, COMPRESSED)], (BASE, COMPRESSED)),
        ("color", [(BASE + "/compressed", COMPRESSED)], (BASE + "/compressed", COMPRESSED)),
        ("color", [(BASE + "/compressed", COMPRESSED), (BASE, IMAGE)], (BASE, IMAGE)),
        ("depth", [(BASE + "/compressedDepth", COMPRESSED)], (BASE + "/compressedDepth", COMPRESSED)),
        (
            "depth",
            [(BASE + "/compressed", COMPRESSED), (BASE + "/compressedDepth", COMPRESSED)],
            (BASE + "/compressedDepth", COMPRESSED),
        ),
    ],
)
def test_transport_is_found(role: str, published: list[tuple[str, str]], expected: tuple[str, str]) -> None:
    source = choose(BASE, role, [offer(*pair) for pair in published])
    assert source is not None
    assert (source.topic, source.type) == expected


@pytest.mark.parametrize(
    ("role", "published"),
    [
        ("color", []),
        ("color", [(BASE, CLOUD)]),
        ("color", [("/other/image", IMAGE)]),
        ("color", [(BASE + "/compressedDepth", COMPRESSED)]),
    ],
)
def test_nothing_that_fits_is_nothing(role: str, published: list[tuple[str, str]]) -> None:
    assert choose(BASE, role, [offer(*pair) for pair in published]) is None


@pytest.mark.parametrize(
    ("reliabilities", "expected"), [([True], True), ([False], False), ([True, False], False)]
)
def test_asks_for_what_every_publisher_offers(reliabilities: list[bool], expected: bool) -> None:
    source = choose(BASE, "color", [offer(BASE, IMAGE, reliable) for reliable in reliabilities])
    assert source is not None
    assert source.reliable is expected


def test_silence_names_the_topic_that_was_probably_meant() -> None:
    types = {
        "/camera/camera/color/image_raw": IMAGE,
        "/camera/camera/depth/image_rect_raw": IMAGE,
        "/points": CLOUD,
    }
    color = explain_silence(BASE, "color", types, False)
    assert "/camera/color/image is silent" in color
    assert "/camera/camera/color/image_raw" in color
    assert "depth" not in color
    depth = explain_silence("/camera/depth/image", "depth", types, False)
    assert "/camera/camera/depth/image_rect_raw" in depth
    assert "color/image_raw" not in depth


def test_silence_without_any_candidate_says_what_type_is_missing() -> None:
    assert CLOUD in explain_silence("/lidar/points", "points", {BASE: IMAGE}, False)


def test_wrong_type_is_named() -> None:
    message = explain_silence(BASE, "color", {BASE: CLOUD}, False)
    assert "is published as sensor_msgs/msg/PointCloud2" in message


def test_a_publisher_that_says_nothing() -> None:
    assert "has a publisher" in explain_silence(BASE, "color", {BASE: IMAGE}, True)
