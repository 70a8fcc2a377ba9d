"""What the node publishes of the map: clouds, objects, words."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Header
from visualization_msgs.msg import MarkerArray

from ws3d_ros.instances.grouping import describe
from ws3d_ros.language.vocabulary import Vocabulary
from ws3d_ros.msg import Vocabulary as VocabularyMessage
from ws3d_ros.node.engine import Snapshot
from ws3d_ros.node.markers import MarkerBoard, rgba
from ws3d_ros.node.packing import pack_cloud, pack_palette, pack_points

NEWEST = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
LATCHED = QoSProfile(
    depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)
EVERY = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
"""For markers: each message says what is gone since the one before."""
REMEMBERED_LATENCIES = 200


class Outputs:
    """The publishers. Messages are made on the thread that calls."""

    def __init__(self, node: LifecycleNode, frame_id: str) -> None:
        self._node = node
        self._frame_id = frame_id
        self._board = MarkerBoard()
        self._latencies_ms: deque[float] = deque(maxlen=REMEMBERED_LATENCIES)
        create = node.create_lifecycle_publisher
        self._cloud = create(PointCloud2, "~/semantic_cloud", NEWEST)
        self._map = create(PointCloud2, "~/semantic_map", LATCHED)
        self._markers = create(MarkerArray, "~/markers", EVERY)
        self._shown_s = 0.0
        self._vocabulary = create(VocabularyMessage, "~/vocabulary", LATCHED)

    def window_listeners(self) -> int:
        """How many listen to what is made from the window."""
        return self._cloud.get_subscription_count() + self._markers.get_subscription_count()

    def restart(self) -> None:
        """After activation: whatever RViz showed before goes."""
        self._board = MarkerBoard()

    def publish_vocabulary(self, words: Vocabulary, space: str, encoder: str) -> None:
        """``~/vocabulary``, also for those who come later."""
        self._publish(self._vocabulary, vocabulary_message(words, space, encoder, self.header()))

    def publish_window(self, snapshot: Snapshot) -> None:
        """``~/semantic_cloud`` and ``~/markers``, each if somebody listens."""
        window, words, header = snapshot.window, snapshot.words, self.header()
        if self._cloud.get_subscription_count() > 0:
            points = pack_points(window, pack_palette(palette(words)))
            self._publish(self._cloud, pack_cloud(points, header))
            self._note_latency(snapshot.arrived_s)
        if self._markers.get_subscription_count() > 0:
            names = ["unknown", *words.names]
            self._publish(self._markers, self._board.update(describe(window), names, palette(words), header))

    def publish_map(self, snapshot: Snapshot) -> None:
        """``~/semantic_map``, also for those who come later."""
        points = pack_points(snapshot.window, pack_palette(palette(snapshot.words)))
        self._publish(self._map, pack_cloud(points, self.header()))

    def latencies_ms(self) -> Sequence[float]:
        """From the arrival of a measurement to its cloud, recent ones."""
        return tuple(self._latencies_ms)

    def _note_latency(self, arrived_s: float) -> None:
        """Counts a measurement once: later clouds may show it again."""
        if arrived_s > self._shown_s:
            self._shown_s = arrived_s
            self._latencies_ms.append((time.monotonic() - arrived_s) * 1e3)

    def header(self) -> Header:
        return Header(stamp=self._node.get_clock().now().to_msg(), frame_id=self._frame_id)

    def destroy(self) -> None:
        """Ends the publishers."""
        for publisher in (self._cloud, self._map, self._markers, self._vocabulary):
            self._node.destroy_lifecycle_publisher(publisher)

    def _publish(self, publisher: Any, message: Any) -> None:
        """Publishes unless the node was deactivated, or ROS shut down, since the work began."""
        if publisher.is_activated and self._node.context.ok():
            publisher.publish(message)


def palette(words: Vocabulary) -> np.ndarray:
    """(C + 1, 3) uint8 colour of each label, ``unknown`` first."""
    return np.concatenate([np.array([words.unknown_color], np.uint8), words.colors])


def vocabulary_message(words: Vocabulary, space: str, encoder: str, header: Header) -> VocabularyMessage:
    """The words by label: entry 0 is ``unknown``."""
    return VocabularyMessage(
        header=header,
        space=space,
        encoder=encoder,
        ids=list(range(len(words) + 1)),
        names=["unknown", *words.names],
        colors=[rgba(color, 1.0) for color in palette(words)],
        roles=["ignore", *words.roles],
        costs=[0.0, *(float(cost) for cost in words.costs)],
    )
