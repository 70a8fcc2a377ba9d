"""Where frames are: tf2_ros where it is installed, our own buffer elsewhere, behind one contract.

The contract: ``lookup`` gives what tf says at a stamp or raises
:class:`~ws3d_ros.sensors.transforms.TransformError`, never extrapolates and never blocks; ``clear``
forgets moving links and keeps static ones; ``links`` tells what there is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import yaml
from geometry_msgs.msg import TransformStamped
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from rclpy.time import Time
from tf2_msgs.msg import TFMessage

from ws3d_ros.node.time_jumps import TimeWatch
from ws3d_ros.sensors.checkup.links import Link
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

    def links(self) -> dict[str, Link]:
        """What is known of every frame in its parent, by the frame's name."""
        ...

    def keep(self, message: TransformStamped, static: bool) -> None:
        """Takes a transform in; raises TransformError(``bad_transform``)."""
        ...

    def clear(self) -> None: ...


def choose_transforms(say: Callable[[str], object]) -> Transforms:
    """tf2's buffer where there is one; ``say`` hears which it is."""
    if tf2_ros is not None:
        say("transforms by tf2_ros")
        return Tf2Transforms()
    say("transforms by the package's own buffer (tf2_ros is not installed)")
    return OwnTransforms()


class TransformListener:
    """Feeds transforms from ``/tf`` and ``/tf_static``.

    tf2's own listener believes every stamp: a single one from the future would lock a link until
    time gets there.
    """

    def __init__(
        self,
        node: Node,
        transforms: Transforms,
        watch: TimeWatch,
        warn: Callable[[str, str], object],
        on_moving: Callable[[TransformStamped], object],
    ) -> None:
        """
        Args:
            transforms: what is fed.
            watch: is shown the stamps, and says which to believe.
            warn: is told, with a key, about transforms that are refused.
            on_moving: hears those from ``/tf`` that were kept.
        """
        self._node = node
        self._on_moving = on_moving
        self._transforms = transforms
        self._watch = watch
        self._warn = warn
        self._subscriptions: list[Subscription[TFMessage]] = []
        topics = (("/tf", self.on_moving, MOVING), ("/tf_static", self.on_static, STATIC))
        try:
            for topic, hear, profile in topics:
                self._subscriptions.append(node.create_subscription(TFMessage, topic, hear, profile))
        except Exception:
            self.close()  # else each try to activate would leave one behind
            raise

    def close(self) -> None:
        """Ends the subscriptions."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)

    def on_moving(self, message: TFMessage) -> None:
        for transform in message.transforms:
            child, stamp_ns = bare(transform.child_frame_id), _stamp_ns(transform)
            if stamp_ns == 0:
                self._warn(
                    f"tf {child}",
                    f"a transform to '{child}' on /tf has no stamp and was not used: its publisher must "
                    "fill it in",
                )
            elif self._watch.see(f"tf of '{child}'", stamp_ns) and self._keep(transform, static=False):
                self._on_moving(transform)

    def on_static(self, message: TFMessage) -> None:
        for transform in message.transforms:
            self._keep(transform, static=True)

    def _keep(self, transform: TransformStamped, static: bool) -> bool:
        try:
            self._transforms.keep(transform, static)
        except TransformError as error:
            self._warn(f"tf {bare(transform.child_frame_id)}", str(error))
            return False
        return True


class OwnTransforms:
    """Our buffer."""

    def __init__(self) -> None:
        self.buffer = TransformBuffer()

    def lookup(self, target: str, source: str, stamp_ns: int) -> FloatArray:
        return self.buffer.lookup(bare(target), bare(source), stamp_ns)

    def links(self) -> dict[str, Link]:
        return self.buffer.links()

    def keep(self, message: TransformStamped, static: bool) -> None:
        t, q = message.transform.translation, message.transform.rotation
        parent, child = bare(message.header.frame_id), bare(message.child_frame_id)
        self.buffer.set(parent, child, _stamp_ns(message), (t.x, t.y, t.z), (q.x, q.y, q.z, q.w), static)

    def clear(self) -> None:
        self.buffer.clear()


class Tf2Transforms:
    """tf2's buffer. What it refuses, it tells in the log by itself."""

    def __init__(self) -> None:
        self.buffer = tf2_ros.Buffer()

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

    def links(self) -> dict[str, Link]:
        known = yaml.safe_load(self.buffer.all_frames_as_yaml()) or {}
        return {
            child: Link(
                parent=str(link["parent"]),
                # Links that move never have the stamp 0 here; static ones always do.
                is_static=float(link["most_recent_transform"]) == 0.0,
                oldest_ns=int(float(link["oldest_transform"]) * 1e9),
                newest_ns=int(float(link["most_recent_transform"]) * 1e9),
            )
            for child, link in dict(known).items()
        }

    def keep(self, message: TransformStamped, static: bool) -> None:
        (self.buffer.set_transform_static if static else self.buffer.set_transform)(message, "ws3d")

    def clear(self) -> None:
        self.buffer.clear()


def bare(frame: str) -> str:
    """A frame's name as tf2 knows it: without the leading slash of ROS 1."""
    return frame.lstrip("/")


def _stamp_ns(transform: TransformStamped) -> int:
    stamp = transform.header.stamp
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)
