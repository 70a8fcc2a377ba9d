"""Objects as our messages, vision_msgs' and MoveIt's."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

pytest.importorskip("ws3d_ros.msg", reason="the messages are not built (make venv)")
from stand_ins import MOVEIT, SHAPES, VISION
from std_msgs.msg import Header
from ws3d_ros.msg import Instance as InstanceMessage

from ws3d_ros.instances.instance import Instance
from ws3d_ros.instances.objects import State
from ws3d_ros.language.vocabulary import Vocabulary
from ws3d_ros.node.objects import detections, instance_array, label_info, messages_of, scene_diff

WORDS = Vocabulary.of(["table", "cup"])
HEADER = Header(frame_id="map")
CUP = Instance(
    id=7,
    label=2,
    voxels=50,
    confidence=0.75,
    centroid_m=(1.0, 2.0, 0.5),
    low_m=(0.0, 0.0, 0.0),
    high_m=(2.0, 4.0, 1.0),
    box_center_m=(1.1, 2.1, 0.6),
    box_size_m=(2.0, 1.0, 0.8),
    box_yaw_rad=0.6,
)
NAMELESS = Instance(**{**vars(CUP), "id": 9, "label": 0})


def vision() -> Any:
    """The real package where there is one."""
    return messages_of("vision_msgs") or VISION


def moveit() -> tuple[Any, Any]:
    if messages_of("moveit_msgs") is None:
        return MOVEIT, messages_of("shape_msgs") or SHAPES
    return messages_of("moveit_msgs"), messages_of("shape_msgs")


def yaw(turn: Any) -> float:
    return 2 * math.atan2(turn.z, turn.w)


def test_our_own_message() -> None:
    array = instance_array([CUP, NAMELESS], WORDS, {9: State.OCCLUDED}, HEADER)
    assert array.header.frame_id == "map"
    cup, nameless = array.instances
    assert (cup.id, cup.label, cup.name, cup.role, cup.voxels) == (7, 2, "cup", "target", 50)
    assert (nameless.id, nameless.name, nameless.role) == (9, "unknown", "ignore")
    assert (cup.state, nameless.state) == (InstanceMessage.ACTIVE, InstanceMessage.OCCLUDED)
    assert cup.score == pytest.approx(0.75)
    assert (cup.centroid.x, cup.low.x, cup.high.y) == (1.0, 0.0, 4.0)
    assert (cup.box_pose.position.x, cup.box_size.x, cup.box_size.z) == (1.1, 2.0, 0.8)
    assert yaw(cup.box_pose.orientation) == pytest.approx(0.6)


def test_states_have_the_same_numbers_as_in_the_tracker() -> None:
    assert {state.name: getattr(InstanceMessage, state.name) for state in State} == {
        state.name: int(state) for state in State
    }


def test_detections_name_their_classes_by_label() -> None:
    array = detections(vision(), [CUP], HEADER)
    (found,) = array.detections
    (result,) = found.results
    assert (found.id, result.hypothesis.class_id, result.hypothesis.score) == ("7", "2", 0.75)
    assert found.bbox.size.y == 1.0
    assert yaw(found.bbox.center.orientation) == pytest.approx(0.6)
    assert result.pose.pose.position.z == 0.6
    info = label_info(vision(), WORDS, 0.05, HEADER)
    assert [(one.class_id, one.class_name) for one in info.class_map] == [
        (0, "unknown"),
        (1, "table"),
        (2, "cup"),
    ]
    assert info.threshold == pytest.approx(0.05)


def test_a_scene_is_a_difference_that_leaves_the_robot_alone() -> None:
    colors = np.array([[0, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8)
    scene = scene_diff(*moveit(), [CUP], {4, 3}, WORDS, colors, HEADER)
    assert scene.is_diff
    assert scene.robot_state.is_diff
    *gone, cup = scene.world.collision_objects
    kind = type(cup)
    assert [(one.id, one.operation) for one in gone] == [("ws3d_3", kind.REMOVE), ("ws3d_4", kind.REMOVE)]
    assert (cup.id, cup.operation, cup.type.key, cup.header.frame_id) == ("ws3d_7", kind.ADD, "cup", "map")
    (shape,), (pose,) = cup.primitives, cup.primitive_poses
    assert shape.type == type(shape).BOX
    assert list(shape.dimensions) == [2.0, 1.0, 0.8]
    assert (pose.position.x, pose.orientation.w) == (0.0, 1.0)  # relative to the object's pose
    assert yaw(cup.pose.orientation) == pytest.approx(0.6)
    assert [(color.id, color.color.b) for color in scene.object_colors] == [("ws3d_7", 1.0)]


def test_a_package_that_is_not_there_is_none() -> None:
    assert messages_of("no_such_msgs") is None
    assert messages_of("std_msgs").Header is Header


def test_stand_ins_refuse_what_the_real_ones_would() -> None:
    with pytest.raises(TypeError, match="has no pose"):
        VISION.Detection3D(pose=1)
    with pytest.raises(AttributeError, match="has no key"):
        MOVEIT.CollisionObject().key = "cup"
