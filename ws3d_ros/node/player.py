"""Plays a rosbag2 into DDS, as `ros2 bag play` does, on machines that have only the ROS wheels.

Messages are published as the bytes they were recorded as; nothing is decoded.
"""

from __future__ import annotations

import importlib
import logging
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rosbags.rosbag2 import Reader
from rosgraph_msgs.msg import Clock

log = logging.getLogger(__name__)

CLOCK_PERIOD_NS = 10_000_000
LATCHED = QoSProfile(
    depth=10, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)
RELIABLE = QoSProfile(depth=20, reliability=ReliabilityPolicy.RELIABLE)


def message_class(ros_type: str) -> type | None:
    """The class of ``package/msg/Type``, or None where that package is not installed."""
    package, _, name = ros_type.split("/")
    try:
        return getattr(importlib.import_module(f"{package}.msg"), name)
    except (ImportError, AttributeError):
        return None


class Player:
    """A bag's publishers. Create it, wait for listeners, then :meth:`play`."""

    def __init__(self, node: Node, bag: Path, *, clock: bool) -> None:
        self.bag = bag
        self.publishers: dict[str, Publisher] = {}
        self.unplayable: dict[str, str] = {}
        self.clock = node.create_publisher(Clock, "/clock", RELIABLE) if clock else None
        with Reader(bag) as reader:
            self.duration_s = reader.duration / 1e9
            self.message_count = reader.message_count
            for connection in reader.connections:
                kind = message_class(connection.msgtype)
                if kind is None:
                    self.unplayable[connection.topic] = connection.msgtype
                    continue
                profile = LATCHED if connection.topic == "/tf_static" else RELIABLE
                self.publishers[connection.topic] = node.create_publisher(kind, connection.topic, profile)
        for topic, kind_name in self.unplayable.items():
            log.warning("not played: %s, its type %s is not installed", topic, kind_name)

    def wait_for_listeners(self, topics: Iterable[str], timeout_s: float) -> list[str]:
        """Waits until each of the topics has a subscriber; returns those that still have none."""
        deadline = time.monotonic() + timeout_s
        lonely = list(topics)
        while lonely and time.monotonic() < deadline:
            time.sleep(0.05)
            lonely = [topic for topic in lonely if self.publishers[topic].get_subscription_count() == 0]
        return lonely

    def play(self, *, rate: float, on_progress: Callable[[float], None], stop: Callable[[], bool]) -> int:
        """Publishes the bag once at ``rate`` times its own speed; returns the messages sent.

        Args:
            rate: 2.0 is twice as fast as recorded.
            on_progress: called with the seconds of the bag that have been played.
            stop: asked between messages.
        """
        sent = 0
        with Reader(self.bag) as reader:
            first_ns, begun, ticked_ns = reader.start_time, time.monotonic(), 0
            for connection, stamp_ns, data in reader.messages():
                if stop():
                    break
                due = begun + (stamp_ns - first_ns) / 1e9 / rate
                while (wait_s := due - time.monotonic()) > 0:
                    # Sleep in small steps so that the clock runs between messages, too.
                    time.sleep(min(wait_s, CLOCK_PERIOD_NS / 1e9))
                    ticked_ns = self._tick(
                        int(first_ns + (time.monotonic() - begun) * 1e9 * rate), stamp_ns, ticked_ns
                    )
                ticked_ns = self._tick(stamp_ns, stamp_ns, ticked_ns)
                if connection.topic in self.publishers:
                    self.publishers[connection.topic].publish(bytes(data))
                    sent += 1
                on_progress((stamp_ns - first_ns) / 1e9)
        return sent

    def _tick(self, now_ns: int, latest_ns: int, ticked_ns: int) -> int:
        """Publishes /clock if it is time to; returns when it last did."""
        now_ns = min(now_ns, latest_ns)
        if self.clock is None or now_ns - ticked_ns < CLOCK_PERIOD_NS:
            return ticked_ns
        message = Clock()
        message.clock.sec, message.clock.nanosec = divmod(now_ns, 1_000_000_000)
        self.clock.publish(message)
        return now_ns
