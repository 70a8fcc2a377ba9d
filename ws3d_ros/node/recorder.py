"""Listens to a running node and hands out what it published as plain arrays and dicts."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import PointCloud2, PointField

from ws3d_ros.msg import PipelineStatus, Vocabulary

LATCHED = QoSProfile(
    depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)
NUMPY_TYPES = {PointField.FLOAT32: "<f4", PointField.UINT32: "<u4", PointField.INT32: "<i4"}


class Recorder:
    """Keeps the newest of each of the node's outputs."""

    def __init__(self, node: Node, name: str = "/ws3d") -> None:
        self.status: PipelineStatus | None = None
        self.vocabulary: Vocabulary | None = None
        self.map: PointCloud2 | None = None
        self.map_received_s = 0.0
        self.clouds = 0
        node.create_subscription(PipelineStatus, f"{name}/status", self._on_status, 1)
        node.create_subscription(Vocabulary, f"{name}/vocabulary", self._on_vocabulary, LATCHED)
        node.create_subscription(PointCloud2, f"{name}/semantic_map", self._on_map, LATCHED)
        node.create_subscription(PointCloud2, f"{name}/semantic_cloud", self._on_cloud, 1)

    def _on_status(self, message: PipelineStatus) -> None:
        self.status = message

    def _on_vocabulary(self, message: Vocabulary) -> None:
        self.vocabulary = message

    def _on_map(self, message: PointCloud2) -> None:
        self.map, self.map_received_s = message, time.monotonic()

    def _on_cloud(self, _message: PointCloud2) -> None:
        self.clouds += 1

    def wait(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Waits, while another thread spins the node, until the condition holds."""
        deadline = time.monotonic() + timeout_s
        while not (held := condition()) and time.monotonic() < deadline:
            time.sleep(0.05)
        return held

    def is_active(self) -> bool:
        return self.status is not None and self.status.state == "active"

    def is_idle(self) -> bool:
        """Whether nothing waits in any queue of the node."""
        return self.status is not None and not any(queue.length for queue in self.status.queues)

    def points(self) -> np.ndarray:
        """The newest map as a structured array with the cloud's own field names; empty before any came."""
        if self.map is None:
            return np.zeros(0, dtype=[(name, "<f4") for name in "xyz"])
        dtype = np.dtype(
            {
                "names": [field.name for field in self.map.fields],
                "formats": [NUMPY_TYPES[field.datatype] for field in self.map.fields],
                "offsets": [field.offset for field in self.map.fields],
                "itemsize": self.map.point_step,
            }
        )
        return np.frombuffer(self.map.data, dtype=dtype)

    def report(self) -> dict[str, Any]:
        """The newest status as JSON takes it: counts by sensor and reason, stage times, memory."""
        status = self.status or PipelineStatus()
        return {
            "state": status.state,
            "problems": list(status.problems),
            "sensors": {
                sensor.sensor: {
                    "received": sensor.received,
                    "used": sensor.used,
                    "dropped": {drop.reason: drop.count for drop in sensor.dropped},
                }
                for sensor in status.sensors
            },
            "stages_ms": {
                stage.stage: {
                    "count": stage.count,
                    "p50": round(stage.p50_ms, 2),
                    "p95": round(stage.p95_ms, 2),
                }
                for stage in status.stages
            },
            "latency_ms": {"p50": round(status.latency_p50_ms, 1), "p95": round(status.latency_p95_ms, 1)},
            "voxels": status.voxels,
            "map_bytes": status.map_bytes,
            "peak_memory_bytes": status.peak_rss_bytes,
            "encoder": status.encoder,
            "encoder_why": status.encoder_why,
            "network": status.network,
            "network_why": status.network_why,
            "worker_errors": status.worker_errors,
            "clouds_received": self.clouds,
        }

    def names(self) -> list[str]:
        """Name of each label, ``unknown`` first."""
        return list(self.vocabulary.names) if self.vocabulary else ["unknown"]

    def colors(self) -> np.ndarray:
        """(C, 3) uint8 colour of each label."""
        if self.vocabulary is None:
            return np.full((1, 3), 128, np.uint8)
        rgb = [(color.r, color.g, color.b) for color in self.vocabulary.colors]
        return np.round(np.array(rgb) * 255).astype(np.uint8)
