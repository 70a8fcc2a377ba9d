"""The real node in its own process while recordings play in real time: rates, latencies, CPU and memory.

    python benchmarks/live.py [--only NAME] [--weights FOLDER]

This process plays the bag into DDS and listens; the node maps at 5 cm and offers clouds at 10 Hz. Writes
results/live.json; `python benchmarks/results_table.py` makes table and picture of it. Under six minutes.
--only: the runs whose name contains this, and no file.

What is measured, from the first message of a bag to the last:

- clouds/s: messages of ~/semantic_cloud that arrived here. Nothing is published while nothing has changed, so
  they are at most as many as measurements and names come.
- names/s, images/s: windows that were named, and images that went through the encoder (counts of ~/status).
- sensor to cloud: from a measurement's arrival at the node's callback to the return of the publish call of
  the first cloud whose map holds it; by the node, steady clock.
- sensor to label: the same for a keyframe, to the first cloud with the names that were made with it: of a
  window that holds its geometry and, with an encoder, what the encoder saw in it.
- transit: from that publish call to this process's callback, which comes on top of both.
- CPU: processor time of the node as a share of all cores; that of this process beside it.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import threading
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from common import save
from house import SHARED
from house_bag import record_images, record_sweeps

ROOM = Path(__file__).parents[1] / "samples" / "room"
KITCHEN = SHARED / "data/redkitchen_bag"
HOUSE = SHARED / "data/small_house"
LAPS = 2
SAMPLE_S = 0.5
START_TIMEOUT_S = 90.0
FIXED = ["output.cloud_rate_hz:=10.0", f"output.status_period_s:={SAMPLE_S}"]
LIDAR = ["map.window_radius_m:=12.0", "inputs.max_range_m:=30.0", "semantics.vocabulary:=indoor"]
"""A LiDAR alone is taken to be outdoors; this one is in a house."""
SETUPS = {
    "geometry only": ("none", "none"),
    "student alone": ("none", "auto"),
    "student + images": ("concept", "auto"),
}
"""Encoder and checkpoint."""


@dataclass(frozen=True)
class Run:
    place: str
    bag: Path
    setup: str
    params: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.place}, {self.setup}"


class Watch:
    """What the node publishes, counted; the node's process, sampled."""

    def __init__(self, node: Any, process: psutil.Process) -> None:
        from sensor_msgs.msg import PointCloud2
        from ws3d_ros.msg import PipelineStatus

        self.process, self.own = process, psutil.Process()
        self.status: Any = None
        self.clouds = 0
        self.cloud = b""
        self.transit_ms: deque[float] = deque(maxlen=1000)
        self.samples: list[dict[str, float]] = []
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        node.create_subscription(PipelineStatus, "/ws3d/status", self._on_status, 1)
        # As bytes: a listener in C++ would not turn them into Python either.
        node.create_subscription(PointCloud2, "/ws3d/semantic_cloud", self._on_cloud, 1, raw=True)

    def is_active(self) -> bool:
        return self.status is not None and self.status.state == "active"

    def begin(self) -> None:
        self.clouds = 0
        self.transit_ms.clear()
        self._begun_s, self._begun_cpu_s = time.monotonic(), self._cpu_s()
        self._thread.start()

    def end(self) -> dict[str, Any]:
        """Figures since :meth:`begin`."""
        self._stopped.set()
        self._thread.join()
        passed_s = time.monotonic() - self._begun_s
        node_s, own_s = np.subtract(self._cpu_s(), self._begun_cpu_s) / passed_s / (os.cpu_count() or 1)
        status, counts = self.status, self._counts()
        dropped = {f"{s.sensor} {d.reason}": d.count for s in status.sensors for d in s.dropped if d.count}
        return {
            "seconds": round(passed_s, 1),
            "measurements_hz": round(sum(sensor.received for sensor in status.sensors) / passed_s, 2),
            "clouds_hz": round(self.clouds / passed_s, 2),
            "names_hz": round(counts["name"] / passed_s, 2),
            "images_hz": round(counts["encode"] / passed_s, 2),
            "cloud_latency_ms": [round(status.latency_p50_ms), round(status.latency_p95_ms)],
            "label_latency_ms": [round(status.label_latency_p50_ms), round(status.label_latency_p95_ms)],
            "transit_ms": [round(float(np.percentile(self.transit_ms or [0.0], p)), 1) for p in (50, 95)],
            "cpu_share": round(float(node_s), 3),
            "listener_cpu_share": round(float(own_s), 3),
            "rss_mib": round(self.samples[-1]["rss_mib"]),
            "peak_rss_mib": round(status.peak_rss_bytes / 2**20),
            "voxels": status.voxels,
            "named_share": round(self._named_share(), 3),
            "dropped": dropped,
            "keyframes": status.keyframes,
            "keyframes_skipped": status.keyframes_skipped,
            "worker_errors": status.worker_errors,
            "encoder": status.encoder,
            "network": status.network,
            "stages_ms": {s.stage: [s.count, round(s.p50_ms, 1), round(s.p95_ms, 1)] for s in status.stages},
            "busy_share": {q.queue: self._busy(q.queue) for q in status.queues},
            "samples": self.samples,
        }

    def _on_status(self, message: Any) -> None:
        self.status = message

    def _on_cloud(self, data: bytes, info: Any) -> None:
        self.clouds += 1
        self.cloud = data
        self.transit_ms.append((time.time_ns() - info["source_timestamp"]) / 1e6)

    def _sample(self) -> None:
        while not self._stopped.wait(SAMPLE_S):
            busy = {f"busy_{queue.queue}": round(queue.busy_share, 3) for queue in self.status.queues}
            self.samples.append(
                {
                    "t_s": round(time.monotonic() - self._begun_s, 2),
                    "rss_mib": round(self.process.memory_info().rss / 2**20, 1),
                    "clouds": self.clouds,
                    "names": self._counts()["name"],
                    "voxels": self.status.voxels,
                    **busy,
                }
            )

    def _busy(self, queue: str) -> float:
        return round(float(np.mean([sample.get(f"busy_{queue}", 0.0) for sample in self.samples])), 3)

    def _counts(self) -> dict[str, int]:
        return {"name": 0, "encode": 0} | {stage.stage: stage.count for stage in self.status.stages}

    def _cpu_s(self) -> tuple[float, float]:
        node, own = self.process.cpu_times(), self.own.cpu_times()
        return node.user + node.system, own.user + own.system

    def _named_share(self) -> float:
        """Of the voxels of the last cloud."""
        from rclpy.serialization import deserialize_message
        from sensor_msgs.msg import PointCloud2

        from ws3d_ros.node.packing import POINT

        if not self.cloud:
            return 0.0
        points = np.frombuffer(deserialize_message(self.cloud, PointCloud2).data, POINT)
        return float((points["label"] > 0).mean()) if len(points) else 0.0


def measure(run: Run, weights: str) -> dict[str, Any]:
    """One start of the node and one real-time play of a bag."""
    import rclpy
    from rclpy.executors import SingleThreadedExecutor

    from ws3d_ros.cli.demo import node_arguments, running_node, sensor_topics
    from ws3d_ros.node.player import Player
    from ws3d_ros.training.datasets.bag_topics import find_topics

    topics = find_topics(run.bag)
    encoder, checkpoint = SETUPS[run.setup]
    params = [*FIXED, f'semantics.weights_dir:="{weights}"', *run.params]
    arguments = node_arguments(topics, "", encoder, checkpoint, 0.05, params)
    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node("ws3d_benchmark", context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    thread = threading.Thread(target=executor.spin, daemon=True)
    player = Player(node, run.bag, clock=True)
    log = Path(tempfile.gettempdir()) / "ws3d_live.log"
    try:
        with running_node(arguments, log) as process:
            watch = Watch(node, psutil.Process(process.pid))
            thread.start()
            deadline = time.monotonic() + START_TIMEOUT_S
            while not watch.is_active():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"the node did not start: {log.read_text()[-2000:]}")
                time.sleep(0.1)
            published = [t for t in player.publishers if any(t.startswith(s) for s in sensor_topics(topics))]
            player.wait_for_listeners([t for t in published if "camera_info" not in t], 20.0)
            watch.begin()
            player.play(rate=1.0, on_progress=lambda played_s: None, stop=lambda: process.poll() is not None)
            return watch.end()
    finally:
        executor.shutdown(timeout_sec=2.0)
        thread.join(2.0)
        node.destroy_node()
        context.try_shutdown()


def runs(folder: Path) -> list[Run]:
    """Those whose recordings are here; the house is recorded into ``folder``."""
    student, both = list(SETUPS)[1:]
    found = [Run("samples/room", ROOM, setup) for setup in SETUPS]
    if KITCHEN.is_dir():
        found += [Run("redkitchen_bag", KITCHEN, setup) for setup in (student, both)]
    if HOUSE.is_dir():
        record_images(HOUSE, folder / "images")
        record_sweeps(HOUSE, folder / "sweeps", LAPS)
        found += [Run("small_house", folder / "images", setup) for setup in (student, both)]
        found += [Run("small_house, LiDAR", folder / "sweeps", student, tuple(LIDAR))]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", default="")
    given = os.environ.get("WS3D_WEIGHTS", SHARED / "weights")
    parser.add_argument("--weights", type=Path, default=given)
    arguments = parser.parse_args()
    from ws3d_ros.cli.play import use_large_messages

    # A domain and settings of its own: nothing else on the network hears this.
    os.environ.setdefault("ROS_DOMAIN_ID", str(os.getpid() % 100 + 1))
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    use_large_messages()
    weights = str(arguments.weights.resolve()) if arguments.weights.is_dir() else ""
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        for run in runs(Path(folder)):
            if arguments.only in run.name:
                row = rows[run.name] = measure(run, weights)
                print(f"{run.name}: {summary(row)}", flush=True)
    if not arguments.only:
        print(save("live", {"cloud_rate_hz": 10.0, "voxel_size_m": 0.05, "runs": rows}))


def summary(row: dict[str, Any]) -> str:
    return (
        f"clouds {row['clouds_hz']}/s, names {row['names_hz']}/s, images {row['images_hz']}/s, "
        f"sensor to cloud {row['cloud_latency_ms']} ms, to label {row['label_latency_ms']} ms, transit "
        f"{row['transit_ms']} ms, CPU {row['cpu_share']:.0%}, RSS {row['rss_mib']} MiB, "
        f"dropped {row['dropped'] or 'nothing'}; busy {row['busy_share']}; stages {row['stages_ms']}"
    )


if __name__ == "__main__":
    main()
