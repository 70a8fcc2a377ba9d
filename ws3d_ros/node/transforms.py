"""Where frames are: tf2_ros where it is installed, our own buffer elsewhere, behind one contract.

The contract: ``lookup`` gives what tf says at a stamp or raises
:class:`~ws3d_ros.sensors.transforms.TransformError`, never extrapolates and never blocks; ``clear``
forgets moving links and keeps static ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from geometry_msgs.msg import TransformStamped
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.time import Time
from tf2_msgs.msg import TFMessage

from ws3d_ros.node.time_jumps import TimeWatch
from ws3d_ros.sensors.frame import FloatArray
from ws3d_ros.sensors.rigid import pose_matrix
from ws3d_ros.sensors.transforms import TransformBuffer, TransformError

try:
    import tf2_ros
except ImportError:  # the PyPI wheels of ROS have no tf2
    tf2_ros = None

MOVING = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE)
STATIC = QoSProfile(
    depth=100, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)


class Transforms(Protocol):
    """See the module's docstring."""

    def lookup(self, target: str, source: str, stamp_ns: int) -> FloatArray:
        """(4, 4) float64, source points to target points."""
        ...

    def clear(self) -> None: ...

    def close(self) -> None:
        """Ends the subscriptions."""
        ...


def listen(node: Node, watch: TimeWatch, warn: Callable[[str, str], object]) -> Transforms:
    """Transforms from ``/tf`` and ``/tf_static``.

    Args:
        watch: is shown the stamps, where the messages pass through our hands.
        warn: is told, with a key, about transforms that are refused.
    """
    if tf2_ros is not None:
        node.get_logger().info("transforms by tf2_ros")
        return Tf2Transforms(node)
    node.get_logger().info("transforms by the package's own buffer (tf2_ros is not installed)")
    return OwnTransforms(node, watch, warn)


class OwnTransforms:
    """Our buffer, fed by two subscriptions."""

    def __init__(self, node: Node, watch: TimeWatch, warn: Callable[[str, str], object]) -> None:
        self.buffer = TransformBuffer()
        self._node = node
        self._watch = watch
        self._warn = warn
        self._subscriptions = [
            node.create_subscription(TFMessage, "/tf", self.on_moving, MOVING),
            node.create_subscription(TFMessage, "/tf_static", self.on_static, STATIC),
        ]

    def lookup(self, target: str, source: str, stamp_ns: int) -> FloatArray:
        return self.buffer.lookup(bare(target), bare(source), stamp_ns)

    def clear(self) -> None:
        self.buffer.clear()

    def close(self) -> None:
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)

    def on_moving(self, message: TFMessage) -> None:
        for transform in message.transforms:
            self._watch.see(f"tf of '{transform.child_frame_id}'", _stamp_ns(transform))
            self._set(transform, static=False)

    def on_static(self, message: TFMessage) -> None:
        for transform in message.transforms:
            self._set(transform, static=True)

    def _set(self, message: TransformStamped, static: bool) -> None:
        t, q = message.transform.translation, message.transform.rotation
        parent, child = bare(message.header.frame_id), bare(message.child_frame_id)
        try:
            self.buffer.set(parent, child, _stamp_ns(message), (t.x, t.y, t.z), (q.x, q.y, q.z, q.w), static)
        except TransformError as error:
            self._warn(f"tf {child}", str(error))


class Tf2Transforms:
    """tf2's buffer and listener."""

    def __init__(self, node: Node) -> None:
        self.buffer = tf2_ros.Buffer(node=node)
        self._listener = tf2_ros.TransformListener(self.buffer, node)

    def lookup(self, target: str, source: str, stamp_ns: int) -> FloatArray:
        target, source = bare(target), bare(source)
        try:
            found = self.buffer.lookup_transform_core(target, source, Time(nanoseconds=stamp_ns))
        except tf2_ros.LookupException as error:
            raise TransformError("unknown_frame", str(error)) from error
        except tf2_ros.ConnectivityException as error:
            raise TransformError("disconnected", str(error)) from error
        except tf2_ros.ExtrapolationException as error:
            raise TransformError(self._extrapolation(target, source, stamp_ns), str(error)) from error
        t, q = found.transform.translation, found.transform.rotation
        return pose_matrix((t.x, t.y, t.z), (q.x, q.y, q.z, q.w))

    def _extrapolation(self, target: str, source: str, stamp_ns: int) -> str:
        """On which side of its memory tf2 would have to extrapolate."""
        try:
            newest = self.buffer.get_latest_common_time(target, source)
        except tf2_ros.TransformException:
            return "disconnected"  # a moving link was forgotten when time jumped back
        return "too_new" if stamp_ns > newest.nanoseconds else "too_old"

    def _why_beyond(self, target: str, source: str, stamp_ns: int) -> str:
        """The reason of a refused extrapolation, which tf2 tells in words only."""
        try:
            newest = self.buffer.get_latest_common_time(target, source)
        except tf2_ros.TransformException:
            return "disconnected"  # a cleared buffer knows the frames still, but no link
        return "too_new" if stamp_ns > newest.nanoseconds else "too_old"

    def clear(self) -> None:
        self.buffer.clear()

    def close(self) -> None:
        self._listener.unregister()


def bare(frame: str) -> str:
    """A frame's name as tf2 knows it: without the leading slash of ROS 1."""
    return frame.lstrip("/")


def _stamp_ns(transform: TransformStamped) -> int:
    stamp = transform.header.stamp
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)
