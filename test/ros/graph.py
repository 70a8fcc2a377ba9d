"""The real node as a process of its own, and a robot around it: publishers, recorders, service clients."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import Quaternion, TransformStamped
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from room import CX, CY, FX, FY, HEIGHT, WIDTH, camera_pose, rgbd
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2, PointField
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import MarkerArray
from ws3d_ros.msg import PipelineStatus, Vocabulary

RELIABLE = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
BEST_EFFORT = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
LATCHED = QoSProfile(
    depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)
MAP = "map"
ROOT = Path(__file__).resolve().parents[2]
START_TIMEOUT_S, TIMEOUT_S = 120.0, 60.0
"""So long only where something is wrong, or the machine does much else."""
NODE = ("-m", "ws3d_ros.node.main")
AFTER = {
    Transition.TRANSITION_CONFIGURE: State.PRIMARY_STATE_INACTIVE,
    Transition.TRANSITION_ACTIVATE: State.PRIMARY_STATE_ACTIVE,
    Transition.TRANSITION_DEACTIVATE: State.PRIMARY_STATE_INACTIVE,
    Transition.TRANSITION_CLEANUP: State.PRIMARY_STATE_UNCONFIGURED,
}


class NodeProcess:
    """``python -m ws3d_ros.node.main``, or another program, with parameters."""

    def __init__(
        self, log_file: Path, extra: Sequence[str] = (), program: Sequence[str] = NODE, **parameters: Any
    ) -> None:
        self.log_file = log_file
        values = {
            "semantics.encoder": "none",
            "network.checkpoint": "none",
            "inputs.lidars": '[""]',
            "output.status_period_s": 0.2,
        }
        values |= {name.replace("__", "."): value for name, value in parameters.items()}
        arguments = ["--ros-args", *extra]
        for name, value in values.items():
            arguments += ["-p", f"{name}:={str(value).lower() if isinstance(value, bool) else value}"]
        self._log = log_file.open("ab")
        self.process = subprocess.Popen(
            [sys.executable, *program, *arguments],
            stdout=self._log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": "1", "ROS_PYTHON_CHECK_FIELDS": "1"},
            cwd=ROOT,
        )

    def log(self) -> str:
        """Everything that the node has written so far."""
        return self.log_file.read_text()

    def stop(self, how: int = signal.SIGINT) -> int:
        """Sends a signal and waits; returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            return self.process.wait(15.0)
        finally:
            self.process.kill()
            self._log.close()


class Robot:
    """A ROS node that plays the robot and remembers what the perception node says."""

    def __init__(self) -> None:
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.node = rclpy.create_node("robot", context=self.context)
        self.received: dict[str, list[Any]] = defaultdict(list)
        self._since_ns = 0
        self.listen(PipelineStatus, "status", RELIABLE)
        self.listen(Vocabulary, "vocabulary", LATCHED)
        self.listen(PointCloud2, "semantic_cloud", RELIABLE)
        self.listen(PointCloud2, "semantic_map", LATCHED)
        self.listen(MarkerArray, "markers", RELIABLE)
        self.listen(DiagnosticArray, "/diagnostics", RELIABLE)
        self._publishers: dict[str, Any] = {}
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._executor.spin, daemon=True)
        self._thread.start()

    def listen(self, kind: Any, name: str, profile: QoSProfile) -> None:
        """Remembers what comes on a topic of the node, or on another if its name is absolute."""

        def hear(message: Any, info: dict[str, Any]) -> None:
            if info["source_timestamp"] >= self._since_ns:
                self.received[name.lstrip("/")].append(message)

        self.node.create_subscription(kind, name if name[0] == "/" else f"/ws3d/{name}", hear, profile)

    def newest(self, name: str) -> Any:
        return self.received[name][-1] if self.received[name] else None

    def forget(self) -> None:
        """Also what was sent before and arrives later, such as the last words of a node that was stopped."""
        self._since_ns = time.time_ns()
        for messages in self.received.values():
            messages.clear()

    def wait(self, condition: Callable[[], Any], what: str, timeout_s: float = TIMEOUT_S) -> Any:
        """The condition's value once it holds; fails the test when it does not in time."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if value := condition():
                return value
            time.sleep(0.02)
        raise AssertionError(f"not within {timeout_s} s: {what}; newest status: {self.newest('status')}")

    def wait_active(self) -> None:
        self.wait(lambda: self.state() == "active", "the node is active", START_TIMEOUT_S)

    def state(self) -> str:
        status = self.newest("status")
        return status.state if status else ""

    def counts(self, sensor: str) -> tuple[int, int, dict[str, int]]:
        """Received, used, dropped by reason, from the newest status."""
        status = self.newest("status")
        for count in status.sensors if status else []:
            if count.sensor == sensor:
                return count.received, count.used, {drop.reason: drop.count for drop in count.dropped}
        return 0, 0, {}

    def problems(self) -> str:
        status = self.newest("status")
        return "\n".join(status.problems) if status else ""

    def publish(self, topic: str, message: Any, profile: QoSProfile = RELIABLE) -> None:
        """Publishes on a topic, creating the publisher when it is first used."""
        if topic not in self._publishers:
            self._publishers[topic] = self.node.create_publisher(type(message), topic, profile)
        self._publishers[topic].publish(message)

    def unpublish(self) -> None:
        """Takes all publishers away, as when a driver is stopped."""
        for publisher in self._publishers.values():
            self.node.destroy_publisher(publisher)
        self._publishers.clear()

    def call(self, kind: Any, name: str, request: Any, timeout_s: float = TIMEOUT_S) -> Any:
        """Calls a service of the node and returns the answer.

        DDS can lose the answer to a client that it has only just found (ros2/rmw_fastrtps#842), so the
        question is put again after a third of the time: it must not matter that it is heard twice.
        """
        client = self.node.create_client(kind, f"/ws3d/{name}")
        try:
            assert client.wait_for_service(timeout_s), f"no service {name}"
            asked: list[Any] = []
            began = time.monotonic()

            def answered() -> Any:
                if time.monotonic() - began >= len(asked) * timeout_s / 3:
                    asked.append(client.call_async(request))
                return next((future for future in asked if future.done()), None)

            return self.wait(answered, f"an answer of {name}", timeout_s).result()
        finally:
            self.node.destroy_client(client)

    def change_state(self, transition: int) -> bool:
        """Whether the node made the transition; one whose answer was lost is refused when asked for again."""
        request = ChangeState.Request(transition=Transition(id=transition))
        answer = self.call(ChangeState, "change_state", request, 60.0)
        return bool(answer.success) or self.lifecycle_state() == AFTER[transition]

    def lifecycle_state(self) -> int:
        return int(self.call(GetState, "get_state", GetState.Request(), 60.0).current_state.id)

    def close(self) -> None:
        self._executor.shutdown(timeout_sec=2.0)
        self._thread.join(2.0)
        self.node.destroy_node()
        self.context.try_shutdown()


def header(stamp_s: float, frame: str) -> Header:
    result = Header(frame_id=frame)
    result.stamp.sec, result.stamp.nanosec = divmod(round(stamp_s * 1e9), 1_000_000_000)
    return result


def raw_image(pixels: np.ndarray, encoding: str, stamp_s: float, frame: str) -> Image:
    return Image(
        header=header(stamp_s, frame),
        height=pixels.shape[0],
        width=pixels.shape[1],
        encoding=encoding,
        step=pixels.strides[0],
        data=pixels.tobytes(),
    )


def compressed_color(rgb: np.ndarray, stamp_s: float, frame: str) -> CompressedImage:
    _, data = cv2.imencode(".png", rgb[..., ::-1])
    return CompressedImage(
        header=header(stamp_s, frame), format="rgb8; png compressed bgr8", data=data.tobytes()
    )


def compressed_depth(depth_m: np.ndarray, stamp_s: float, frame: str) -> CompressedImage:
    """16UC1 in millimetres, as compressed_depth_image_transport writes it: 12 bytes, then a PNG."""
    _, data = cv2.imencode(".png", np.round(depth_m * 1000).astype(np.uint16))
    return CompressedImage(
        header=header(stamp_s, frame), format="16UC1; compressedDepth png", data=bytes(12) + data.tobytes()
    )


def camera_info(stamp_s: float, frame: str) -> CameraInfo:
    return CameraInfo(
        header=header(stamp_s, frame),
        width=WIDTH,
        height=HEIGHT,
        distortion_model="plumb_bob",
        d=[0.0] * 5,
        k=[FX, 0.0, CX, 0.0, FY, CY, 0.0, 0.0, 1.0],
        r=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        p=[FX, 0.0, CX, 0.0, 0.0, FY, CY, 0.0, 0.0, 0.0, 1.0, 0.0],
    )


def cloud(points_m: np.ndarray, stamp_s: float, frame: str, names: str = "xyz") -> PointCloud2:
    data = np.ascontiguousarray(points_m, np.float32)
    return PointCloud2(
        header=header(stamp_s, frame),
        height=1,
        width=len(data),
        fields=[
            PointField(name=name, offset=4 * i, datatype=PointField.FLOAT32, count=1)
            for i, name in enumerate(names)
        ],
        point_step=4 * len(names),
        row_step=4 * len(names) * len(data),
        data=data.tobytes(),
        is_dense=True,
    )


def transform(pose: np.ndarray, stamp_s: float, parent: str, child: str) -> TFMessage:
    """(4, 4) child to parent as a tf message."""
    message = TransformStamped(header=header(stamp_s, parent), child_frame_id=child)
    x, y, z = (float(value) for value in pose[:3, 3])
    message.transform.translation.x, message.transform.translation.y, message.transform.translation.z = (
        x,
        y,
        z,
    )
    qx, qy, qz, qw = (float(value) for value in Rotation.from_matrix(pose[:3, :3]).as_quat())
    message.transform.rotation = Quaternion(x=qx, y=qy, z=qz, w=qw)
    return TFMessage(transforms=[message])


def millimetres(depth_m: np.ndarray) -> np.ndarray:
    return np.round(depth_m * 1000).astype(np.uint16)


class Camera:
    """An RGB-D camera called ``name`` with a frame of its own, in the middle of the room."""

    def __init__(
        self, robot: Robot, name: str, transport: str = "16UC1", profile: QoSProfile = RELIABLE
    ) -> None:
        """``transport`` is ``16UC1``, ``32FC1`` or ``compressed``."""
        self.robot, self.name, self.transport, self.profile = robot, name, transport, profile
        self.frame = f"{name}_optical"

    def shoot(
        self,
        stamp_s: float,
        yaw_rad: float,
        *,
        tf: bool = True,
        info: bool = True,
        depth: bool = True,
        depth_unit_m: float = 1.0,
    ) -> None:
        """Publishes tf, calibration and images of one moment; what is False is left out."""
        pose = camera_pose(yaw_rad)
        rgb, depth_m = rgbd(pose)
        if tf:
            self.robot.publish("/tf", transform(pose, stamp_s, MAP, self.frame))
        if info:
            self.send("color/camera_info", camera_info(stamp_s, self.frame))
        if self.transport == "compressed":
            self.send("color/image/compressed", compressed_color(rgb, stamp_s, self.frame))
            self.send("depth/image/compressedDepth", compressed_depth(depth_m, stamp_s, self.frame))
            return
        self.send("color/image", raw_image(rgb, "rgb8", stamp_s, self.frame))
        if depth:
            pixels = millimetres(depth_m) if self.transport == "16UC1" else depth_m / np.float32(depth_unit_m)
            self.send("depth/image", raw_image(pixels, self.transport, stamp_s, self.frame))

    def send(self, topic: str, message: Any) -> None:
        self.robot.publish(f"/{self.name}/{topic}", message, self.profile)


def points_of(message: PointCloud2) -> np.ndarray:
    """The node's cloud as a structured array, by what its fields say."""
    formats = {PointField.FLOAT32: "<f4", PointField.UINT32: "<u4"}
    dtype = np.dtype(
        {
            "names": [field.name for field in message.fields],
            "formats": [formats[field.datatype] for field in message.fields],
            "offsets": [field.offset for field in message.fields],
            "itemsize": message.point_step,
        }
    )
    return np.frombuffer(message.data, dtype)


def xyz(points: np.ndarray) -> np.ndarray:
    return np.stack([points[axis] for axis in "xyz"], 1)
