"""The doctor's judgements: what is well is called well, and what is wrong is named, with its size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ws3d_ros.sensors.camera import CameraInfo
from ws3d_ros.sensors.checkup.content import (
    cloud_unit_problem,
    judge_calibration,
    judge_color,
    judge_depth,
    judge_points,
)
from ws3d_ros.sensors.checkup.findings import Finding, Level
from ws3d_ros.sensors.checkup.links import Link, judge_links
from ws3d_ros.sensors.checkup.machine import Machine, judge_machine, look_at_machine
from ws3d_ros.sensors.checkup.stream import Arrivals, Endpoint, StreamLog, judge_flow, judge_publishers
from ws3d_ros.sensors.checkup.timing import judge_clock, judge_clocks, judge_pair, judge_stamps
from ws3d_ros.sensors.cloud import Returns

NOW_NS = 1_800_000_000_000_000_000
S = 1_000_000_000


def keys(findings: list[Finding]) -> list[str]:
    return [finding.key for finding in findings]


def stream(
    rate_hz: float = 10.0, offset_s: float = 0.0, phase_s: float = 0.0, seconds: float = 5.0, lost: int = 0
) -> Arrivals:
    """Messages that take 20 ms to arrive, stamped by a clock that is behind by ``offset_s``."""
    taken_s = np.arange(phase_s, seconds, 1.0 / rate_hz)
    taken_ns = NOW_NS + np.round(taken_s * 1e9).astype(np.int64)
    return Arrivals(taken_s + 0.02, taken_ns - round(offset_s * 1e9), taken_ns + 20_000_000, lost)


# Topics ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("reliable", [False, True])
@pytest.mark.parametrize("latched", [False, True])
@pytest.mark.parametrize("asks_reliable", [False, True])
@pytest.mark.parametrize("asks_latched", [False, True])
def test_what_dds_would_not_deliver_is_named(
    reliable: bool, latched: bool, asks_reliable: bool, asks_latched: bool
) -> None:
    found = judge_publishers(
        "/camera/depth/image",
        [Endpoint("driver", "Image", reliable, latched)],
        Endpoint("ws3d", "Image", asks_reliable, asks_latched),
    )
    matches = (reliable or not asks_reliable) and (latched or not asks_latched)
    assert bool(found) != matches
    for finding in found:
        assert finding.level is Level.ERROR
        assert "driver" in finding.message
        assert "qos_overrides./camera/depth/image.subscription." in finding.message


def test_a_volatile_static_publisher_is_named() -> None:
    ours = Endpoint("ws3d", "TFMessage", True, True)
    found = judge_publishers("/tf_static", [Endpoint("urdf", "TFMessage", True, False)], ours)
    assert keys(found) == ["qos_durability"]


def test_two_publishers_and_another_type() -> None:
    ours = Endpoint("ws3d", "Image", False, False)
    found = judge_publishers("/i", [ours, Endpoint("x", "CompressedImage", False, False)], ours)
    assert sorted(keys(found)) == ["publishers", "type"]
    assert judge_publishers("/tf", [ours, ours], ours) == []


def test_flow() -> None:
    assert judge_flow("/i", stream()) == []
    assert keys(judge_flow("/i", stream(rate_hz=0.5))) == ["slow"]
    lossy = judge_flow("/i", stream(lost=10))
    assert keys(lossy) == ["lost"]
    assert "10 of 60" in lossy[0].message
    one, other = stream(), stream()
    paused = Arrivals(
        *(
            np.concatenate(pair)
            for pair in (
                (one.arrived_s, other.arrived_s + 8.0),
                (one.stamp_ns, other.stamp_ns + 8 * S),
                (one.now_ns, other.now_ns + 8 * S),
            )
        )
    )
    assert keys(judge_flow("/i", paused)) == ["hole"]


def test_a_pause_is_told_after_it_however_long_it_was() -> None:
    """A network that is cut for longer than the log's window leaves nobody who could be told meanwhile."""
    log = StreamLog()
    for tenth in [*range(50), *range(1050, 1080)]:
        log.note(tenth / 10, tenth * S // 10, tenth * S // 10)
    found = judge_flow("/i", log.recent(108.0))
    assert keys(found) == ["hole"]
    assert "paused for 100.1 s" in found[0].message
    for tenth in range(1080, 1200):
        log.note(tenth / 10, tenth * S // 10, tenth * S // 10)
    assert judge_flow("/i", log.recent(120.0)) == []


def test_a_log_forgets_what_is_old() -> None:
    log = StreamLog()
    for second in range(30):
        log.note(float(second), second * S, second * S)
        log.note_lost(float(second), 1)
    recent = log.recent(30.0)
    assert recent.arrived_s.tolist() == list(range(20, 30))
    assert recent.lost == 10
    assert recent.rate_hz() == pytest.approx(1.0)
    log.clear()
    assert len(log.recent(30.0)) == 0


# Time ------------------------------------------------------------------------------------------


def test_the_clock_of_simulated_time() -> None:
    assert judge_clock(False, 0, NOW_NS) == judge_clock(True, 1, S) == []
    assert keys(judge_clock(True, 0, 0)) == keys(judge_clock(True, 1, 0)) == ["no_clock"]


@pytest.mark.parametrize(
    ("behind_s", "key"),
    [(0.0, None), (0.3, None), (3.0, "old"), (-0.3, "future"), (1e6, "epoch"), (-1e6, "epoch")],
)
def test_stamps_against_the_clock(behind_s: float, key: str | None) -> None:
    assert keys(judge_stamps("/i", stream(offset_s=behind_s), False, 0)) == ([key] if key else [])


def test_stamps_that_are_none() -> None:
    good = stream()
    frozen = Arrivals(good.arrived_s, np.full_like(good.stamp_ns, NOW_NS), good.now_ns)
    unset = Arrivals(good.arrived_s, np.zeros_like(good.stamp_ns), good.now_ns)
    assert keys(judge_stamps("/i", frozen, False, 0)) == ["frozen"]
    assert keys(judge_stamps("/i", unset, False, 0)) == ["no_stamp"]
    # While simulated time has not begun there is nothing to compare with.
    assert judge_stamps("/i", Arrivals(good.arrived_s, good.stamp_ns, good.now_ns * 0), True, 0) == []


@given(
    offset_s=st.floats(0.2, 5.0),
    sign=st.sampled_from([-1, 1]),
    rates=st.tuples(st.floats(5.0, 60.0), st.floats(5.0, 60.0)),
    phase_s=st.floats(0.0, 0.2),
)
def test_two_clocks_apart_are_named_with_how_far(
    offset_s: float, sign: int, rates: tuple[float, float], phase_s: float
) -> None:
    streams = {"front": stream(rates[0]), "rear": stream(rates[1], sign * offset_s, phase_s)}
    [finding] = judge_clocks(streams)
    assert "'rear'" in finding.message
    assert "'front'" in finding.message
    assert f"{offset_s:.2f} s {'older' if sign > 0 else 'newer'}" in finding.message


@given(rates=st.tuples(st.floats(5.0, 60.0), st.floats(5.0, 60.0)), phase_s=st.floats(0.0, 0.2))
def test_two_right_clocks_are_not_accused(rates: tuple[float, float], phase_s: float) -> None:
    assert judge_clocks({"front": stream(rates[0]), "rear": stream(rates[1], 0.0, phase_s)}) == []


def test_a_recording_played_ten_times_as_fast_is_not_accused() -> None:
    # Arrivals differ by up to 10 ms at random, which are 0.1 s of the recording.
    rng = np.random.default_rng(0)

    def fast(rate_hz: float) -> Arrivals:
        one = stream(rate_hz, seconds=50.0)
        arrived_s = np.sort(one.arrived_s / 10 + rng.uniform(0.0, 0.01, len(one)))
        return Arrivals(arrived_s, one.stamp_ns, one.now_ns)

    assert judge_clocks({"front": fast(30.0), "rear": fast(10.0)}) == []


def test_colour_and_depth_whose_clocks_differ_although_they_pair() -> None:
    # 0.3 s are nine images: the wrong ones pair, to the millisecond.
    _, found = judge_pair(stream(30.0), stream(30.0, offset_s=0.3, phase_s=0.001), 0.02)
    assert keys(found) == ["clock_offset"]
    assert "0.30 s older" in found[0].message


def test_images_of_one_exposure_may_arrive_apart() -> None:
    color, depth = stream(10.0), stream(10.0)
    late = Arrivals(depth.arrived_s + 0.3, depth.stamp_ns, depth.now_ns + 300_000_000)
    facts, found = judge_pair(color, late, 0.02)
    assert found == []
    assert facts["paired"] == "100%"


def test_images_without_partners_are_told_with_the_gap() -> None:
    _, found = judge_pair(stream(5.0), stream(5.0, offset_s=-0.07), 0.02)
    assert keys(found) == ["no_depth_match"]
    assert "0.070 s later" in found[0].message
    assert judge_pair(stream(30.0), stream(10.0), 0.02)[1] == []  # the faster stream may have more


# Contents --------------------------------------------------------------------------------------


@given(median_m=st.floats(0.3, 20.0))
def test_depth_units(median_m: float) -> None:
    depth_m = np.full((12, 16), median_m, np.float32)
    assert judge_depth(depth_m, "16UC1", 0.001)[1] == []
    [millimetres] = judge_depth(depth_m * 1000, "32FC1", 0.001)[1]
    assert millimetres.level is Level.ERROR
    assert "millimetres" in millimetres.message
    # A scale of 1 was given for millimetres: the right one is proposed.
    [scale] = judge_depth(depth_m * 1000, "16UC1", 1.0)[1]
    assert "0.001 would make it" in scale.message


def test_depth_of_nothing_and_a_black_image() -> None:
    assert keys(judge_depth(np.zeros((12, 16), np.float32), "16UC1", 0.001)[1]) == ["empty_depth"]
    assert keys(judge_color(np.zeros((12, 16, 3), np.uint8), "rgb8")[1]) == ["dark"]
    assert judge_color(np.full((12, 16, 3), 90, np.uint8), "rgb8")[1] == []


def calibration(fx: float = 100.0, fy: float = 100.0, cx: float = 80.0, width: int = 160) -> CameraInfo:
    return CameraInfo(width, width * 3 // 4, "plumb_bob", (), (fx, 0.0, cx, 0.0, fy, 60.0, 0.0, 0.0, 1.0))


@pytest.mark.parametrize(
    ("info", "key"),
    [
        (calibration(), None),
        (calibration(fx=0.0, fy=0.0), "bad_camera_info"),
        (calibration(cx=200.0), "odd_camera_info"),
        (calibration(fy=250.0), "odd_camera_info"),
        (calibration(width=320), "scaled_camera_info"),
        (
            CameraInfo(160, 160, "", (), (100.0, 0.0, 80.0, 0.0, 100.0, 60.0, 0.0, 0.0, 1.0)),
            "bad_camera_info",
        ),
        (CameraInfo(160, 120, "", (), (0.0,) * 9), "bad_camera_info"),
    ],
)
def test_calibrations(info: CameraInfo, key: str | None) -> None:
    assert keys(judge_calibration(info, 160, 120, False)[1]) == ([key] if key else [])


def test_clouds() -> None:
    points = np.random.default_rng(0).normal(size=(3200, 3)).astype(np.float32) * 5
    assert judge_points(Returns(points, None, None), 3200)[1] == []
    timed = Returns(points, None, np.linspace(0.0, 0.1, 3200, dtype=np.float32))
    assert judge_points(timed, 3200)[0]["measured"] == "+0.000 to +0.100 s after the stamp"
    assert cloud_unit_problem(points) == ""
    assert "millimetres" in cloud_unit_problem(points * 1000)
    assert keys(judge_points(Returns(points, None, None), 100_000)[1]) == ["empty_cloud"]
    assert keys(judge_points(Returns(points * 0, None, None), 3200)[1]) == ["empty_cloud"]


# tf --------------------------------------------------------------------------------------------

TREE = {
    "odom": Link("map", False, NOW_NS - 10 * S, NOW_NS),
    "base": Link("odom", False, NOW_NS - 10 * S, NOW_NS),
    "camera": Link("base", True, 0, 0),
}


def of_tree(**changes: Link | None) -> dict[str, Link]:
    return {child: link for child, link in (TREE | changes).items() if link is not None}


@pytest.mark.parametrize(
    ("links", "key", "words"),
    [
        (of_tree(), None, ()),
        ({}, "tf_unknown_frame", ("no tf came at all",)),
        (of_tree(camera=None), "tf_unknown_frame", ("'camera'", "static_transform_publisher")),
        (of_tree(odom=None), "tf_unknown_frame", ("'map' -> 'odom'",)),
        (of_tree(odom=None, mark=Link("map", True, 0, 0)), "tf_disconnected", ("'map' -> 'odom'",)),
        (of_tree(base=Link("odom", False, 0, NOW_NS - 3 * S)), "tf_too_new", ("'odom' -> 'base'", "3.00 s")),
        (of_tree(odom=Link("map", False, 0, NOW_NS - S // 2)), "late_tf", ("'map' -> 'odom'", "0.50 s")),
        (of_tree(odom=Link("map", False, NOW_NS + 2 * S, NOW_NS + 3 * S)), "tf_too_old", ("2.00 s",)),
    ],
)
def test_the_link_to_blame_is_named(links: dict[str, Link], key: str | None, words: tuple[str, ...]) -> None:
    _, found = judge_links(links, "map", "camera", NOW_NS, 1.0)
    assert keys(found) == ([key] if key else [])
    for word in words:
        assert word in found[0].message


def test_the_way_is_told() -> None:
    assert judge_links(TREE, "map", "camera", NOW_NS, 1.0)[0]["tf"] == "map <- odom <- base <- camera"


@given(st.dictionaries(st.sampled_from("abcdef"), st.sampled_from("abcdefg"), max_size=6))
def test_any_tree_even_one_with_loops_is_judged(parents: dict[str, str]) -> None:
    links = {child: Link(parent, False, 0, NOW_NS) for child, parent in parents.items()}
    for frame in "abcdef":
        assert len(judge_links(links, "g", frame, NOW_NS, 1.0)[1]) <= 1


# The machine -----------------------------------------------------------------------------------

PROFILE = Path(__file__).resolve().parents[2] / "config" / "fastdds_large.xml"


def test_our_profile_is_well_and_no_profile_is_not() -> None:
    middleware = "rmw_fastrtps_cpp"
    ours = look_at_machine(middleware, {"FASTDDS_DEFAULT_PROFILES_FILE": str(PROFILE)})
    assert (ours.segment_bytes, ours.receive_bytes) == (64 << 20, 32 << 20)
    assert not {"profile", "receive_buffer"} & set(keys(judge_machine(ours, str(PROFILE))[1]))
    for environment in ({}, {"FASTDDS_DEFAULT_PROFILES_FILE": "/no/such.xml"}):
        found = judge_machine(look_at_machine(middleware, environment), str(PROFILE))[1]
        assert "profile" in keys(found)
        assert str(PROFILE) in found[0].message
    # Another middleware has no such profile.
    assert "profile" not in keys(judge_machine(look_at_machine("rmw_cyclonedds_cpp", {}), "")[1])


def test_a_profile_that_is_none(tmp_path: Path) -> None:
    for content in (
        "<dds",
        "<dds/>",
        "<dds><segment_size>1024</segment_size></dds>",
        "<dds><segment_size/></dds>",
    ):
        profile = tmp_path / "profile.xml"
        profile.write_text(content)
        machine = look_at_machine("rmw_fastrtps_cpp", {"FASTDDS_DEFAULT_PROFILES_FILE": str(profile)})
        assert "profile" in keys(judge_machine(machine, str(PROFILE))[1])


def test_a_profile_that_asks_for_no_receive_buffer(tmp_path: Path) -> None:
    """Without it Fast DDS takes the kernel's default, however large it might be (benchmarks/dds_loss.py)."""
    profile = tmp_path / "profile.xml"
    for asked in ("", "<receiveBufferSize>65536</receiveBufferSize>"):
        profile.write_text(f"<dds><segment_size>67108864</segment_size>{asked}</dds>")
        machine = look_at_machine("rmw_fastrtps_cpp", {"FASTDDS_DEFAULT_PROFILES_FILE": str(profile)})
        found = {finding.key: finding for finding in judge_machine(machine, str(PROFILE))[1]}
        assert "profile" not in found
        assert "receiveBufferSize" in found["receive_buffer"].message


def test_kernel_and_shared_memory() -> None:
    small = Machine("rmw_fastrtps_cpp", str(PROFILE), 64 << 20, 10 << 20, 212_992, 4 << 20, 30, 32 << 20)
    found = {finding.key: finding for finding in judge_machine(small, "")[1]}
    assert set(found) == {"dev_shm", "kernel"}
    for setting in ("net.core.rmem_max=", "net.ipv4.ipfrag_high_thresh=", "net.ipv4.ipfrag_time="):
        assert setting in found["kernel"].message
    large = Machine("rmw_fastrtps_cpp", str(PROFILE), 64 << 20, 1 << 30, 64 << 20, 128 << 20, 3, 32 << 20)
    assert judge_machine(large, "")[1] == []
    assert judge_machine(Machine("rmw_cyclonedds_cpp"), "")[1] == []  # nothing is known, nothing is said
