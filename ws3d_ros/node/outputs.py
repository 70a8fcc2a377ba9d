"""What the node publishes of the map: clouds, objects, words."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Header
from visualization_msgs.msg import MarkerArray

from ws3d_ros.config import Config
from ws3d_ros.instances.boxes import boxes
from ws3d_ros.instances.instance import Instance
from ws3d_ros.instances.segmentation import structure_labels
from ws3d_ros.language.vocabulary import Vocabulary
from ws3d_ros.msg import InstanceArray
from ws3d_ros.msg import Vocabulary as VocabularyMessage
from ws3d_ros.node.markers import MarkerBoard, rgba
from ws3d_ros.node.objects import detections, instance_array, label_info, messages_of
from ws3d_ros.node.packing import POINT, pack_cloud, pack_palette, pack_points
from ws3d_ros.node.planners import Planners
from ws3d_ros.node.qualities import EVERY, LATCHED, NEWEST
from ws3d_ros.node.rendered import Rendered
from ws3d_ros.node.snapshot import Snapshot
from ws3d_ros.reconstruction.window import Window, nearest

REMEMBERED_LATENCIES = 200


class Outputs:
    """The publishers. Messages are made on the thread that calls."""

    def __init__(self, node: LifecycleNode, config: Config, report: Callable[[str, str], object]) -> None:
        """``report`` hears, by key, of what could not be published whole."""
        self._node, self._report = node, report
        self._config = config
        self._planners = Planners(node, config.planning)
        self._rendered = Rendered(node)
        self._vision = messages_of("vision_msgs")
        self._board = MarkerBoard()
        self._latencies_ms: deque[float] = deque(maxlen=REMEMBERED_LATENCIES)
        self._label_latencies_ms: deque[float] = deque(maxlen=REMEMBERED_LATENCIES)
        create = node.create_lifecycle_publisher
        self._cloud = create(PointCloud2, "~/semantic_cloud", NEWEST)
        self._map = create(PointCloud2, "~/semantic_map", LATCHED)
        self._markers = create(MarkerArray, "~/markers", EVERY)
        self._instances = create(InstanceArray, "~/instances", NEWEST)
        self._vocabulary = create(VocabularyMessage, "~/vocabulary", LATCHED)
        self._of_window = [self._cloud, self._markers, self._instances]
        self._latched = [self._map, self._vocabulary]
        if self._vision is not None:
            self._detections = create(self._vision.Detection3DArray, "~/detections", NEWEST)
            self._label_info = create(self._vision.LabelInfo, "~/label_info", LATCHED)
            self._of_window.append(self._detections)
            self._latched.append(self._label_info)
        self._shown_s = 0.0
        self._named_s: tuple[float, ...] = ()

    def window_listeners(self) -> int:
        """How many listen to what is made from the window."""
        own = sum(_listeners(publisher) for publisher in self._of_window)
        return own + self._planners.window_listeners() + self._rendered.listeners()

    def map_listeners(self) -> int:
        """How many listen to what is made from the whole map only for them; the map itself is latched."""
        return self._planners.mask_listeners()

    def restart(self) -> None:
        """After activation: whatever RViz showed before goes."""
        self._board = MarkerBoard()
        self._planners.restart()

    def retune(self, config: Config) -> None:
        """Takes over the settings that may change at run time. Any thread may."""
        self._config, self._planners.settings = config, config.planning

    def publish_vocabulary(self, words: Vocabulary, space: str, encoder: str) -> None:
        """``~/vocabulary``, also for those who come later."""
        header = self.header()
        self._publish(self._vocabulary, vocabulary_message(words, space, encoder, header))
        if self._vision is not None:
            threshold = self._config.semantics.unknown_below
            self._publish(self._label_info, label_info(self._vision, words, threshold, header))

    def publish_window(self, snapshot: Snapshot) -> None:
        """What is made from the window, each if somebody listens; clouds first, they are waited for."""
        near = self._fitting("semantic_cloud", snapshot)
        if _listeners(self._cloud) > 0:
            points = pack_points(near.window, pack_palette(palette(snapshot.words)))
            self._publish(self._cloud, pack_cloud(points, self.header()))
            self._note_latencies(snapshot)
        self._planners.publish_window(near)
        if any(_listeners(publisher) for publisher in self._of_window[1:]) or self._planners.wants_targets():
            self._publish_objects(snapshot)
        self._rendered.publish(snapshot, palette(snapshot.words), self.header(), self._publish)

    def _publish_objects(self, snapshot: Snapshot) -> None:
        """``~/markers``, ``~/instances``, and what vision_msgs and moveit_msgs have for objects."""
        words, header, colors = snapshot.words, self.header(), palette(snapshot.words)
        instances = things(snapshot.window, words)
        if _listeners(self._markers) > 0:
            names = ["unknown", *words.names]
            self._publish(self._markers, self._board.update(instances, names, colors, header))
        if _listeners(self._instances) > 0:
            self._publish(self._instances, instance_array(instances, words, snapshot.states, header))
        if self._vision is not None and _listeners(self._detections) > 0:
            self._publish(self._detections, detections(self._vision, instances, header))
        if self._planners.wants_targets():
            self._planners.publish_targets(snapshot, instances, colors, header)

    def publish_map(self, snapshot: Snapshot) -> None:
        """``~/semantic_map``, also for those who come later; ``~/keepout_mask``, if somebody listens."""
        header = self.header()
        near = self._fitting("semantic_map", snapshot)
        points = pack_points(near.window, pack_palette(palette(snapshot.words)))
        self._publish(self._map, pack_cloud(points, header))
        if self._planners.mask_listeners() > 0:
            self._planners.publish_mask(snapshot, header)

    def _fitting(self, topic: str, snapshot: Snapshot) -> Snapshot:
        """As many voxels, the nearest first, as a message may have points."""
        most_mb = self._config.output.max_message_mb
        sight = snapshot.sight
        center_m = torch.zeros(3) if sight is None else torch.from_numpy(sight.T_map_sensor[:3, 3])
        window = nearest(snapshot.window, center_m, int(most_mb * 1e6) // POINT.itemsize)
        left_out = len(snapshot.window) - len(window)
        if left_out:
            self._report(
                f"{topic} too large",
                f"{topic}: {left_out} of {len(snapshot.window)} points, the farthest, were left out, as all "
                f"would be more than output.max_message_mb = {most_mb:g}; raise it, or reduce "
                "map.window_radius_m or map.budget_mb",
            )
        return replace(snapshot, window=window)

    def latencies_ms(self) -> Sequence[float]:
        """From the arrival of a measurement to its cloud, recent ones."""
        return tuple(self._latencies_ms)

    def label_latencies_ms(self) -> Sequence[float]:
        """From the arrival of a keyframe to the cloud with its names, recent ones."""
        return tuple(self._label_latencies_ms)

    def _note_latencies(self, snapshot: Snapshot) -> None:
        """Counts a measurement, and its names, once: later clouds may show them again."""
        now_s = time.monotonic()
        if snapshot.arrived_s > self._shown_s:
            self._shown_s = snapshot.arrived_s
            self._latencies_ms.append((now_s - snapshot.arrived_s) * 1e3)
        news_s = [arrived_s for arrived_s in snapshot.named_s if arrived_s not in self._named_s]
        self._label_latencies_ms.extend((now_s - arrived_s) * 1e3 for arrived_s in news_s)
        self._named_s = snapshot.named_s

    def header(self) -> Header:
        return Header(stamp=self._node.get_clock().now().to_msg(), frame_id=self._config.inputs.map_frame)

    def destroy(self) -> None:
        """Ends the publishers."""
        self._planners.destroy()
        self._rendered.destroy()
        for publisher in (*self._of_window, *self._latched):
            self._node.destroy_lifecycle_publisher(publisher)

    def _publish(self, publisher: Any, message: Any) -> None:
        """Publishes unless the node was deactivated, or ROS shut down, since the work began."""
        if publisher.is_activated and self._node.context.ok():
            publisher.publish(message)


def things(window: Window, words: Vocabulary) -> list[Instance]:
    """The objects of a window with upright boxes around them, by ascending id."""
    structure = structure_labels(words.names)
    return boxes(window, window.label, window.confidence, window.instance, structure)


def palette(words: Vocabulary) -> np.ndarray:
    """(C + 1, 3) uint8 colour of each label, ``unknown`` first."""
    return np.concatenate([np.array([words.unknown_color], np.uint8), words.colors])


def _listeners(publisher: Any) -> int:
    return int(publisher.get_subscription_count())


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
