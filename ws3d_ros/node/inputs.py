"""One topic that the node listens to: found in the graph, followed when it changes, missed when silent."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSPolicyKind, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2

from ws3d_ros.node.codecs import stamp_ns
from ws3d_ros.node.refusal import RefusedError, refusal
from ws3d_ros.node.topics import (
    CAMERA_INFO,
    CLOUD,
    COMPRESSED,
    IMAGE,
    Published,
    Source,
    candidates,
    choose,
    explain_silence,
    similar,
)
from ws3d_ros.sensors.checkup.findings import Level
from ws3d_ros.sensors.checkup.stream import Endpoint, StreamLog, judge_publishers

CLASSES: dict[str, Any] = {
    IMAGE: Image,
    COMPRESSED: CompressedImage,
    CAMERA_INFO: CameraInfo,
    CLOUD: PointCloud2,
}
SILENT_AFTER_S = 3.0
REFUSED_FOR_S = 10.0
"""What ROS refused to subscribe to is asked for again after this."""
QUEUE_DEPTH = 5


class Input:
    """A base topic and the subscription that serves it."""

    def __init__(self, node: Node, name: str, role: str, on_message: Callable[[Any], None]) -> None:
        """
        Args:
            name: base topic, relative, before remapping.
            role: ``color``, ``depth``, ``info`` or ``points``.
            on_message: hears every message, on the executor's thread.
        """
        self.base = node.resolve_topic_name(name)
        self.role = role
        self.source: Source | None = None
        self.last_s: float | None = None
        self.since_s = time.monotonic()
        self.newest: Any = None
        self.log = StreamLog()
        self._node = node
        self._on_message = on_message
        self._subscription: Subscription[Any] | None = None
        self._refused, self._refused_s = "", 0.0

    def look(self) -> bool:
        """Subscribes to what is published now, unless messages flow; whether the source changed."""
        if not self.is_silent(SILENT_AFTER_S) and self.source is not None:
            return False
        source = choose(self.base, self.role, self._published())
        if source is None or source == self.source:
            return False
        if self._refused and time.monotonic() - self._refused_s < REFUSED_FOR_S:
            return False
        self.close()
        self.source, self._refused = None, ""
        try:
            self._subscription = self._node.create_subscription(
                CLASSES[source.type],
                source.topic,
                self._receive,
                profile(source),
                event_callbacks=SubscriptionEventCallbacks(message_lost=self._lose),
                **self._overrides(source.topic),
            )
        except RefusedError as error:
            self._refused, self._refused_s = (
                refusal(f"to let us hear {source.topic}", error),
                time.monotonic(),
            )
            return False
        self.source, self.since_s = source, time.monotonic()
        return True

    def is_silent(self, patience_s: float) -> bool:
        """Whether nothing came for so long (since the node listens, before the first message)."""
        return time.monotonic() - (self.last_s or self.since_s) > patience_s

    def explain(self, taken: set[str]) -> str:
        """Why nothing comes, and what to do. Topics that are taken are not what was meant."""
        if self._refused:
            return self._refused
        if self.last_s is not None:
            return f"{self.base} is silent: the last message came {time.monotonic() - self.last_s:.0f} s ago"
        if self.source is not None:
            for finding in judge_publishers(self.source.topic, *self.endpoints()):
                if finding.level is Level.ERROR:
                    return finding.message
        return explain_silence(self.base, self.role, self._types(taken), self.source is not None)

    def has_alternatives(self, taken: set[str]) -> bool:
        """Whether anything is published that could be meant: then silence is a mistake."""
        return self.source is not None or bool(
            self._refused or similar(self.base, self.role, self._types(taken))
        )

    def close(self) -> None:
        """Ends the subscription."""
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
            self._subscription = None

    def endpoints(self) -> tuple[list[Endpoint], Endpoint | None]:
        """Who publishes the topic, and our own subscription, as the graph has them."""
        topic = self.base if self.source is None else self.source.topic
        return endpoints(self._node, topic)

    def _receive(self, message: Any) -> None:
        self.last_s, self.newest = time.monotonic(), message
        self.log.note(self.last_s, stamp_ns(message.header), self._node.get_clock().now().nanoseconds)
        self._on_message(message)

    def _lose(self, event: Any) -> None:
        self.log.note_lost(time.monotonic(), int(event.total_count_change))

    def _published(self) -> list[Published]:
        return [
            Published(
                topic,
                offer.topic_type,
                offer.qos_profile.reliability == ReliabilityPolicy.RELIABLE,
                offer.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL,
            )
            for topic in {topic for topic, _ in candidates(self.base, self.role)}
            for offer in self._node.get_publishers_info_by_topic(topic)
        ]

    def _types(self, taken: set[str]) -> dict[str, str]:
        """Topics that others publish, and their types; without those that are taken."""
        return {
            topic: types[0]
            for topic, types in self._node.get_topic_names_and_types()
            if types[0] in CLASSES
            and topic not in taken
            and any(
                offer.node_name != self._node.get_name()
                for offer in self._node.get_publishers_info_by_topic(topic)
            )
        }

    def _overrides(self, topic: str) -> dict[str, Any]:
        """Quality of service that the user set with ``qos_overrides.TOPIC.subscription.POLICY``.

        Only what was set is handed to rclpy: it would keep its first default for ever, and a
        driver that comes back with another reliability could not be followed.
        """
        given = [
            kind
            for kind in QoSPolicyKind
            if self._node.has_parameter(f"qos_overrides.{topic}.subscription.{kind.name.lower()}")
        ]
        return {"qos_overriding_options": QoSOverridingOptions(given)} if given else {}


def endpoints(node: Node, topic: str) -> tuple[list[Endpoint], Endpoint | None]:
    """Who publishes a topic, and the node's own subscription to it, None without."""
    own = (node.get_name(), node.get_namespace())
    ours = [
        info
        for info in node.get_subscriptions_info_by_topic(topic)
        if (info.node_name, info.node_namespace) == own
    ]
    publishers = [_endpoint(info) for info in node.get_publishers_info_by_topic(topic)]
    return publishers, _endpoint(ours[0]) if ours else None


def _endpoint(info: Any) -> Endpoint:
    return Endpoint(
        info.node_name,
        info.topic_type,
        info.qos_profile.reliability == ReliabilityPolicy.RELIABLE,
        info.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL,
    )


def profile(source: Source) -> QoSProfile:
    """Sensor data: a short queue, and as reliable as all publishers offer."""
    return QoSProfile(
        depth=QUEUE_DEPTH,
        reliability=ReliabilityPolicy.RELIABLE if source.reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if source.latched else DurabilityPolicy.VOLATILE,
    )
