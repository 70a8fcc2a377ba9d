"""Objects as messages: ours, and those of packages that robots may have."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
from geometry_msgs.msg import Point, Pose, Quaternion, Vector3
from std_msgs.msg import Header

from ws3d_ros.instances.instance import Instance
from ws3d_ros.instances.objects import State
from ws3d_ros.language.vocabulary import Vocabulary
from ws3d_ros.msg import Instance as InstanceMessage
from ws3d_ros.msg import InstanceArray

PREFIX = "ws3d_"
"""Before the number of an object, where MoveIt wants a name."""


def messages_of(package: str) -> Any:
    """The module ``package.msg``; None where the package is not installed."""
    return import_module(f"{package}.msg") if find_spec(package) is not None else None


def instance_array(
    instances: Sequence[Instance], words: Vocabulary, states: Mapping[int, State], header: Header
) -> InstanceArray:
    """``~/instances``. Objects that ``states`` does not know are active: they are in the map."""
    return InstanceArray(
        header=header,
        instances=[
            instance_message(instance, words, states.get(instance.id, State.ACTIVE)) for instance in instances
        ],
    )


def instance_message(instance: Instance, words: Vocabulary, state: State) -> InstanceMessage:
    """One object."""
    return InstanceMessage(
        id=int(instance.id),
        label=int(instance.label),
        name=name_of(instance, words),
        role=("ignore", *words.roles)[instance.label],
        score=float(instance.confidence),
        state=int(state),
        voxels=int(instance.voxels),
        centroid=point(*instance.centroid_m),
        low=point(*instance.low_m),
        high=point(*instance.high_m),
        box_pose=box_pose(instance),
        box_size=box_size(instance),
    )


def name_of(instance: Instance, words: Vocabulary) -> str:
    """``unknown`` for label 0."""
    return ("unknown", *words.names)[instance.label]


def box_pose(instance: Instance) -> Pose:
    """The middle of the box, x along its length."""
    half = float(instance.box_yaw_rad) / 2
    turn = Quaternion(x=0.0, y=0.0, z=math.sin(half), w=math.cos(half))
    return Pose(position=point(*instance.box_center_m), orientation=turn)


def box_size(instance: Instance) -> Vector3:
    """Length, width, height."""
    length, width, height = (float(size) for size in instance.box_size_m)
    return Vector3(x=length, y=width, z=height)


def point(x: float, y: float, z: float) -> Point:
    return Point(x=float(x), y=float(y), z=float(z))


# vision_msgs ------------------------------------------------------------------------------------


def detections(vision: Any, instances: Sequence[Instance], header: Header) -> Any:
    """``vision_msgs/Detection3DArray``: one hypothesis each, whose class :func:`label_info` names.

    Args:
        vision: :func:`messages_of` ``vision_msgs``.
    """
    return vision.Detection3DArray(
        header=header, detections=[_detection(vision, instance, header) for instance in instances]
    )


def _detection(vision: Any, instance: Instance, header: Header) -> Any:
    hypothesis = vision.ObjectHypothesis(class_id=str(int(instance.label)), score=float(instance.confidence))
    result = vision.ObjectHypothesisWithPose(hypothesis=hypothesis)
    result.pose.pose = box_pose(instance)
    box = vision.BoundingBox3D(center=box_pose(instance), size=box_size(instance))
    return vision.Detection3D(header=header, results=[result], bbox=box, id=str(int(instance.id)))


def label_info(vision: Any, words: Vocabulary, threshold: float, header: Header) -> Any:
    """``vision_msgs/LabelInfo``: the name of each class; ``threshold``: below it labels are unknown."""
    names = ("unknown", *words.names)
    classes = [vision.VisionClass(class_id=label, class_name=name) for label, name in enumerate(names)]
    return vision.LabelInfo(header=header, class_map=classes, threshold=float(threshold))


# moveit_msgs ------------------------------------------------------------------------------------


def scene_diff(
    moveit: Any,
    shapes: Any,
    instances: Sequence[Instance],
    gone: Collection[int],
    words: Vocabulary,
    colors: np.ndarray,
    header: Header,
) -> Any:
    """``moveit_msgs/PlanningScene``: a change that puts objects there as boxes, and takes away what is gone.

    Args:
        moveit, shapes: :func:`messages_of` ``moveit_msgs`` and ``shape_msgs``.
        gone: ids.
        colors: (C, 3) uint8 of each label, ``unknown`` first.
    """
    scene = moveit.PlanningScene(is_diff=True)
    # A robot state that is no difference would detach what the gripper holds.
    scene.robot_state.is_diff = True
    boxes = [_collision_box(moveit, shapes, instance, words, header) for instance in instances]
    removed = [
        moveit.CollisionObject(header=header, id=f"{PREFIX}{number}", operation=moveit.CollisionObject.REMOVE)
        for number in sorted(gone)
    ]
    scene.world.collision_objects = [*removed, *boxes]
    for instance in instances:
        color = moveit.ObjectColor(id=f"{PREFIX}{instance.id}")
        r, g, b = (float(channel) / 255.0 for channel in colors[instance.label])
        color.color.r, color.color.g, color.color.b, color.color.a = r, g, b, 1.0
        scene.object_colors.append(color)
    return scene


def _collision_box(moveit: Any, shapes: Any, instance: Instance, words: Vocabulary, header: Header) -> Any:
    size = [float(edge) for edge in instance.box_size_m]
    collision = moveit.CollisionObject(
        header=header,
        id=f"{PREFIX}{instance.id}",
        pose=box_pose(instance),
        primitives=[shapes.SolidPrimitive(type=shapes.SolidPrimitive.BOX, dimensions=size)],
        primitive_poses=[Pose(orientation=Quaternion(w=1.0))],
        operation=moveit.CollisionObject.ADD,
    )
    collision.type.key = name_of(instance, words)
    return collision
