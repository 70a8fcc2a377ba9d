"""A running node as others show it: its newest cloud and objects, and its own answers to questions."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable

import numpy as np
import rclpy
import torch
from geometry_msgs.msg import Point, Vector3
from rcl_interfaces.srv import GetParameters
from rclpy.client import Client
from rclpy.executors import SingleThreadedExecutor
from rclpy.task import Future
from sensor_msgs.msg import PointCloud2

from ws3d_ros.instances.instance import Instance
from ws3d_ros.instances.query import Answer
from ws3d_ros.msg import Instance as InstanceMessage
from ws3d_ros.msg import InstanceArray, Vocabulary
from ws3d_ros.node.packing import POINT
from ws3d_ros.node.qualities import LATCHED, NEWEST
from ws3d_ros.reconstruction.keys import pack_keys
from ws3d_ros.srv import Query
from ws3d_ros.viewing.shown import UNSEEN, Reply, Shown

ANSWER_TIMEOUT_S = 20.0
MOST_ANSWERS = 8


class Watcher:
    """Follows a node in a thread of its own and hands on what there is to see."""

    def __init__(self, name: str, on_shown: Callable[[Shown], None]) -> None:
        """
        Args:
            name: of the node, such as ``/ws3d``.
            on_shown: called on the watcher's thread with each new cloud.
        """
        self._name, self._on_shown = name, on_shown
        self._words: Vocabulary | None = None
        self._things: list[Instance] = []
        self._voxel_size_m: float | None = None
        self._came = threading.Event()
        self._context = rclpy.Context()
        rclpy.init(context=self._context)
        self._node = rclpy.create_node("ws3d_view", context=self._context)
        self._node.create_subscription(Vocabulary, f"{name}/vocabulary", self._on_vocabulary, LATCHED)
        self._node.create_subscription(InstanceArray, f"{name}/instances", self._on_instances, NEWEST)
        self._node.create_subscription(PointCloud2, f"{name}/semantic_cloud", self._on_cloud, NEWEST)
        self._client: Client = self._node.create_client(Query, f"{name}/query")
        self._settings: Client = self._node.create_client(GetParameters, f"{name}/get_parameters")
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._executor.spin, daemon=True)
        self._thread.start()

    def wait(self, timeout_s: float) -> None:
        """Until there is something to see.

        Raises:
            TimeoutError: if nothing comes; says what to look at.
        """
        if not self._came.wait(timeout_s):
            raise TimeoutError(
                f"nothing came on {self._name}/semantic_cloud in {timeout_s:.0f} s: does the node run, is it "
                "active, does it get measurements (ros2 topic echo ~/status), is ROS_DOMAIN_ID the same?"
            )

    def ask(self, text: str, viewer_m: np.ndarray | None) -> Reply:
        """The node's answer; a question that cannot be asked raises ``ValueError``."""
        request = Query.Request(text=text, whole_map=False, most=MOST_ANSWERS)
        if viewer_m is not None:
            x, y, z = (float(value) for value in viewer_m)
            request.has_viewer, request.viewer = True, Point(x=x, y=y, z=z)
        done = threading.Event()
        future = self._client.call_async(request)
        future.add_done_callback(lambda _: done.set())
        if not done.wait(ANSWER_TIMEOUT_S):
            raise ValueError(f"{self._name}/query did not answer in {ANSWER_TIMEOUT_S:.0f} s")
        return reply_of(text, future.result() or Query.Response(message=f"{self._name}/query failed"))

    def close(self) -> None:
        """Ends the thread and the node."""
        self._executor.shutdown(timeout_sec=2.0)
        self._thread.join(2.0)
        self._node.destroy_node()
        self._context.try_shutdown()

    def _on_vocabulary(self, message: Vocabulary) -> None:
        self._words = message

    def _on_instances(self, message: InstanceArray) -> None:
        self._things = [instance_of(instance) for instance in message.instances]

    def _on_cloud(self, message: PointCloud2) -> None:
        if self._voxel_size_m is None:
            self._ask_voxel_size()
        elif self._words is not None:
            self._on_shown(shown_of(message, self._words, self._things, self._voxel_size_m))
            self._came.set()

    def _ask_voxel_size(self) -> None:
        """The next cloud can be shown when the answer is there."""
        future = self._settings.call_async(GetParameters.Request(names=["map.voxel_size_m"]))
        future.add_done_callback(self._on_voxel_size)

    def _on_voxel_size(self, future: Future) -> None:
        response = future.result()
        if response is not None:
            self._voxel_size_m = response.values[0].double_value


def shown_of(cloud: PointCloud2, words: Vocabulary, things: list[Instance], voxel_size_m: float) -> Shown:
    """What to show of a cloud of the node. Labels that ``words``, which may have just changed, do not have
    are unknown."""
    points = np.frombuffer(cloud.data, POINT)
    xyz = np.stack([points[axis] for axis in "xyz"], axis=1)
    packed = points["rgb_camera"]
    camera = np.stack([packed >> shift & 255 for shift in (16, 8, 0)], axis=1).astype(np.uint8)
    camera[packed >> 24 == 0] = UNSEEN
    label = points["label"].astype(np.int64)
    rgb = [(color.r, color.g, color.b) for color in words.colors]
    return Shown(
        keys=pack_keys(torch.from_numpy(np.floor(xyz / voxel_size_m).astype(np.int64))).numpy(),
        points_m=xyz,
        light=np.ones(len(points), np.float32),
        camera=camera,
        label=np.where(label < len(words.names), label, 0),
        instance=points["instance"].astype(np.int64),
        confidence=points["confidence"].copy(),
        names=list(words.names),
        palette=np.rint(np.array(rgb) * 255).astype(np.uint8),
        things=[thing for thing in things if thing.label < len(words.names)],
        voxel_size_m=voxel_size_m,
    )


def instance_of(message: InstanceMessage) -> Instance:
    """An object out of its message."""
    turn = message.box_pose.orientation
    return Instance(
        id=message.id,
        label=message.label,
        voxels=message.voxels,
        confidence=message.score,
        centroid_m=_triple(message.centroid),
        low_m=_triple(message.low),
        high_m=_triple(message.high),
        box_center_m=_triple(message.box_pose.position),
        box_size_m=_triple(message.box_size),
        box_yaw_rad=2.0 * math.atan2(turn.z, turn.w),
    )


def reply_of(text: str, response: Query.Response) -> Reply:
    """What the node's service said.

    Raises:
        ValueError: the node's own words, if the question could not be asked.
    """
    if not response.success:
        raise ValueError(response.message)
    told = zip(response.instances, response.words, response.scores, response.why, strict=True)
    answers = tuple(
        Answer(message.id, name, score, (why,), instance_of(message)) for message, name, score, why in told
    )
    keys = np.array(response.voxel_keys, np.int64)
    score = np.array(response.voxel_scores, np.float32)
    return Reply(f'"{text}": {response.message}', answers, tuple(response.notes), keys, score)


def _triple(xyz: Point | Vector3) -> tuple[float, float, float]:
    return float(xyz.x), float(xyz.y), float(xyz.z)
