"""What the node publishes of the map: clouds, objects, words."""

from __future__ import annotations

import threading
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
from ws3d_ros.language.vocabulary import Vocabulary as Words
from ws3d_ros.msg import Vocabulary
from ws3d_ros.node.markers import MarkerBoard, rgba
from ws3d_ros.node.packing import pack_cloud, pack_palette, pack_points
from ws3d_ros.reconstruction.window import Window

NEWEST = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
LATCHED = QoSProfile(
    depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)
REMEMBERED_LATENCIES = 200


class Outputs:
    """Publishers of the active node. Messages are made on the thread that calls."""

    def __init__(self, node: LifecycleNode, frame_id: str) -> None:
        self._node = node
        self._frame_id = frame_id
        self._lock = threading.Lock()
        self._board = MarkerBoard()
        self._names: list[str] = []
        self._colors = np.zeros((0, 3), np.uint8)
        self._palette = np.zeros(0, np.uint32)
        self._latencies_ms: deque[float] = deque(maxlen=REMEMBERED_LATENCIES)
        self._vocabulary_message = Vocabulary()
        create = node.create_lifecycle_publisher
        self._cloud = create(PointCloud2, "~/semantic_cloud", NEWEST)
        self._map = create(PointCloud2, "~/semantic_map", LATCHED)
        self._markers = create(MarkerArray, "~/markers", NEWEST)
        self._vocabulary = create(Vocabulary, "~/vocabulary", LATCHED)

    def cloud_wanted(self) -> bool:
        """Whether anybody listens to what is made from the window."""
        return self._cloud.get_subscription_count() > 0 or self._markers.get_subscription_count() > 0

    def use_words(self, words: Words, space: str, encoder: str) -> None:
        """Names and colours from now on; tells them to everybody who listens now or later."""
        with self._lock:
            self._names = ["unknown", *words.names]
            self._colors = palette(words)
            self._palette = pack_palette(self._colors)
            self._vocabulary_message = vocabulary_message(words, space, encoder, self.header())
        if self._vocabulary.is_activated:
            self._vocabulary.publish(self._vocabulary_message)

    def begin(self) -> None:
        """After activation: the words, and an empty board in RViz whatever ran before."""
        self._vocabulary.publish(self._vocabulary_message)
        self._markers.publish(self._board.wipe(self.header()))

    def publish_window(self, window: Window, arrived_s: float | None) -> None:
        """``~/semantic_cloud`` and ``~/markers``, each if somebody listens.

        Args:
            arrived_s: steady time at which the newest measurement in the window arrived.
        """
        header = self.header()
        with self._lock:
            names, colors, packed = self._names, self._colors, self._palette
        if self._cloud.get_subscription_count() > 0:
            self._publish(self._cloud, pack_cloud(pack_points(window, packed), header))
            if arrived_s is not None:
                self._latencies_ms.append((time.monotonic() - arrived_s) * 1e3)
        if self._markers.get_subscription_count() > 0:
            self._publish(self._markers, self._board.update(describe(window), names, colors, header))

    def publish_map(self, everything: Window) -> None:
        """``~/semantic_map``, also for those who come later."""
        points = pack_points(everything, self._palette)
        self._publish(self._map, pack_cloud(points, self.header()))

    def latencies_ms(self) -> Sequence[float]:
        """From the arrival of a measurement to its cloud, recent ones."""
        return tuple(self._latencies_ms)

    def header(self) -> Header:
        return Header(stamp=self._node.get_clock().now().to_msg(), frame_id=self._frame_id)

    def destroy(self) -> None:
        """Ends the publishers."""
        for publisher in (self._cloud, self._map, self._markers, self._vocabulary):
            self._node.destroy_lifecycle_publisher(publisher)

    @staticmethod
    def _publish(publisher: Any, message: Any) -> None:
        """Publishes unless the node was deactivated since the work began."""
        if publisher.is_activated:
            publisher.publish(message)


def palette(words: Words) -> np.ndarray:
    """(C + 1, 3) uint8 colour of each label, ``unknown`` first."""
    return np.concatenate([np.asarray(words.unknown_color)[None], np.asarray(words.colors)]).astype(np.uint8)


def vocabulary_message(words: Words, space: str, encoder: str, header: Header) -> Vocabulary:
    """The words by label: entry 0 is ``unknown``."""
    return Vocabulary(
        header=header,
        space=space,
        encoder=encoder,
        ids=list(range(len(words.names) + 1)),
        names=["unknown", *words.names],
        colors=[rgba(color, 1.0) for color in palette(words)],
        roles=["ignore", *words.roles],
        costs=[0.0, *(float(cost) for cost in words.costs)],
    )
