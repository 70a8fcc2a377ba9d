"""Markers keep their ids, and what is gone is deleted."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("visualization_msgs", reason="ROS 2 is not installed (make venv)")
from std_msgs.msg import Header
from visualization_msgs.msg import Marker, MarkerArray

from ws3d_ros.instances.instance import Instance
from ws3d_ros.node.markers import BOXES, NAMES, MarkerBoard

WORDS = ["unknown", "chair", "table"]
COLORS = np.array([[128, 128, 128], [255, 0, 0], [0, 51, 255]], np.uint8)


def instance(number: int, label: int = 1) -> Instance:
    return Instance(
        id=number,
        label=label,
        voxels=50,
        confidence=0.75,
        centroid_m=(1.0, 2.0, 0.5),
        low_m=(0.0, 0.0, 0.0),
        high_m=(2.0, 4.0, 1.0),
        box_center_m=(1.0, 2.0, 0.5),
        box_size_m=(2.0, 1.0, 0.8),
        box_yaw_rad=0.6,
    )


def show(board: MarkerBoard, *instances: Instance) -> list[tuple[str, int, int]]:
    message: MarkerArray = board.update(instances, WORDS, COLORS, Header(frame_id="map"))
    return [(marker.ns, marker.id, marker.action) for marker in message.markers]


def test_only_the_first_message_wipes() -> None:
    board = MarkerBoard()
    assert show(board, instance(7)) == [
        ("", 0, Marker.DELETEALL),
        (BOXES, 7, Marker.ADD),
        (NAMES, 7, Marker.ADD),
    ]
    assert show(board, instance(7)) == [(BOXES, 7, Marker.ADD), (NAMES, 7, Marker.ADD)]


def test_what_is_gone_is_deleted_once() -> None:
    board = MarkerBoard()
    show(board, instance(1), instance(2))
    assert show(board, instance(2)) == [
        (BOXES, 1, Marker.DELETE),
        (NAMES, 1, Marker.DELETE),
        (BOXES, 2, Marker.ADD),
        (NAMES, 2, Marker.ADD),
    ]
    assert show(board, instance(2)) == [(BOXES, 2, Marker.ADD), (NAMES, 2, Marker.ADD)]


def test_the_box_is_that_of_the_object() -> None:
    message = MarkerBoard().update([instance(3, label=2)], WORDS, COLORS, Header(frame_id="map"))
    _, box, text = message.markers
    assert (box.header.frame_id, box.type) == ("map", Marker.CUBE)
    position, size = box.pose.position, box.scale
    assert (position.x, position.y, position.z) == (1.0, 2.0, 0.5)
    assert (size.x, size.y, size.z) == (2.0, 1.0, 0.8)
    assert 2 * math.atan2(box.pose.orientation.z, box.pose.orientation.w) == pytest.approx(0.6)
    assert (box.color.r, box.color.g, box.color.b) == pytest.approx((0.0, 0.2, 1.0))
    assert text.text == "table 3 (75 %)"
    assert text.pose.position.z > 0.5 + 0.8 / 2


def test_what_has_no_name_shows_its_number_only() -> None:
    message = MarkerBoard().update([instance(3, label=0)], WORDS, COLORS, Header(frame_id="map"))
    _, box, text = message.markers
    assert (text.id, text.text) == (3, "3")
    assert box.color.r == pytest.approx(128 / 255)
