"""vision_msgs, moveit_msgs and shape_msgs as far as we fill them, where they are not installed.

The fields are those of the .msg files: ros-perception/vision_msgs at e77fa2d9 (branch ros2),
moveit/moveit_msgs at 851fe626 (branch ros2); SolidPrimitive of common_interfaces. As with the real ones, a
field that a message lacks is a TypeError or an AttributeError.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from geometry_msgs.msg import Pose, PoseWithCovariance, Vector3
from std_msgs.msg import ColorRGBA, Header


def message(name: str, constants: dict[str, Any] | None = None, /, **fields: Any) -> type:
    """A class with these fields; the values are what they begin as, called if they are types."""

    def begin(self: Any, **given: Any) -> None:
        unknown = set(given) - set(fields)
        if unknown:
            raise TypeError(f"{name} has no {', '.join(sorted(unknown))}")
        for field, default in fields.items():
            object.__setattr__(self, field, given.get(field, default()))

    def assign(self: Any, field: str, value: Any) -> None:
        if field not in fields:
            raise AttributeError(f"{name} has no {field}")
        object.__setattr__(self, field, value)

    return type(name, (), {"__init__": begin, "__setattr__": assign, **(constants or {})})


ObjectHypothesis = message("ObjectHypothesis", class_id=str, score=float)
BoundingBox3D = message("BoundingBox3D", center=Pose, size=Vector3)
ObjectHypothesisWithPose = message(
    "ObjectHypothesisWithPose", hypothesis=ObjectHypothesis, pose=PoseWithCovariance
)
VISION = SimpleNamespace(
    ObjectHypothesis=ObjectHypothesis,
    ObjectHypothesisWithPose=ObjectHypothesisWithPose,
    BoundingBox3D=BoundingBox3D,
    Detection3D=message("Detection3D", header=Header, results=list, bbox=BoundingBox3D, id=str),
    Detection3DArray=message("Detection3DArray", header=Header, detections=list),
    VisionClass=message("VisionClass", class_id=int, class_name=str),
    LabelInfo=message("LabelInfo", header=Header, class_map=list, threshold=float),
)

ObjectType = message("ObjectType", key=str, db=str)
RobotState = message(
    "RobotState",
    joint_state=object,
    multi_dof_joint_state=object,
    attached_collision_objects=list,
    is_diff=bool,
)
PlanningSceneWorld = message("PlanningSceneWorld", collision_objects=list, octomap=object)
MOVEIT = SimpleNamespace(
    CollisionObject=message(
        "CollisionObject",
        {"ADD": b"\x00", "REMOVE": b"\x01", "APPEND": b"\x02", "MOVE": b"\x03"},
        header=Header,
        pose=Pose,
        id=str,
        type=ObjectType,
        primitives=list,
        primitive_poses=list,
        meshes=list,
        mesh_poses=list,
        planes=list,
        plane_poses=list,
        subframe_names=list,
        subframe_poses=list,
        operation=lambda: b"\x00",
    ),
    ObjectColor=message("ObjectColor", id=str, color=ColorRGBA),
    PlanningScene=message(
        "PlanningScene",
        name=str,
        robot_state=RobotState,
        robot_model_name=str,
        fixed_frame_transforms=list,
        allowed_collision_matrix=object,
        link_padding=list,
        link_scale=list,
        object_colors=list,
        world=PlanningSceneWorld,
        is_diff=bool,
    ),
)

SHAPES = SimpleNamespace(
    SolidPrimitive=message(
        "SolidPrimitive",
        {"BOX": 1, "BOX_X": 0, "BOX_Y": 1, "BOX_Z": 2},
        type=int,
        dimensions=list,
        polygon=object,
    )
)
