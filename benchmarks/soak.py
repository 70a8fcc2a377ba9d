"""An hour of a looped, accelerated recording through the live node: does memory grow, do latencies?

    python benchmarks/soak.py [--minutes 60] [--rate 1.25] [--quick] [--weights FOLDER]

This process plays samples/room again and again, faster than it was recorded, into the real node, which maps
at 5 cm with encoder and network, and writes down what ~/status and the operating system say of it. Writes
results/soak.json and docs/images/soak.png. --quick: one minute, no files. Choose a --rate at which nearly all
measurements are used: beyond it latency is the length of the queues, which are full or empty.

- RSS: resident memory of the node's process; its slope is that of a straight line through all samples after
  the first tenth, at least a minute where the run is longer than two: by then each loop shows what is mapped.
- latency, label latency: as ~/status says, from a measurement's arrival to the cloud that holds it or its
  names; their medians over the first and the last quarter after the warm-up are compared.
- probe: processor time of sorting the same numbers in this process: what of the latencies is the machine's
  speed, which others on the same host may change within an hour.
- rates: of measurements used, clouds published here, and windows named, between two samples.
"""

from __future__ import annotations

import argparse
import os
import re
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from common import save
from house import SHARED
from live import FIXED, ROOM, START_TIMEOUT_S

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "soak.png"
PERIOD_S = 5.0
QUICK_MINUTES = 1.0
PROBE = np.random.default_rng(0).normal(size=100_000)
SAVED = 6
"""One row of so many goes into the file; figures and picture are of all."""


class Log:
    """One row of figures every few seconds, from a thread of its own."""

    def __init__(self, node: Any, process: psutil.Process) -> None:
        from sensor_msgs.msg import PointCloud2
        from ws3d_ros.msg import PipelineStatus

        self.status: Any = None
        self.rows: list[dict[str, float]] = []
        self.problems: dict[str, int] = {}
        self._process, self._clouds = process, 0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._write, daemon=True)
        node.create_subscription(PipelineStatus, "/ws3d/status", self._on_status, 1)
        node.create_subscription(PointCloud2, "/ws3d/semantic_cloud", self._on_cloud, 1, raw=True)

    def is_active(self) -> bool:
        return self.status is not None and self.status.state == "active"

    def begin(self) -> None:
        self._begun_s = time.monotonic()
        self._thread.start()

    def end(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _on_status(self, message: Any) -> None:
        self.status = message
        for problem in message.problems:
            kind = re.sub(r"\d+(\.\d+)?", "N", problem)
            self.problems[kind] = self.problems.get(kind, 0) + 1

    def _on_cloud(self, data: bytes) -> None:
        self._clouds += 1

    def _write(self) -> None:
        while not self._stopped.wait(PERIOD_S):
            status = self.status
            counts = {"name": 0} | {stage.stage: stage.count for stage in status.stages}
            self.rows.append(
                {
                    "t_s": round(time.monotonic() - self._begun_s, 1),
                    "rss_mb": round(self._process.memory_info().rss / 1e6, 2),
                    "map_mb": round(status.map_bytes / 1e6, 2),
                    "voxels": status.voxels,
                    "threads": self._process.num_threads(),
                    "files": self._process.num_fds(),
                    "latency_p50_ms": round(status.latency_p50_ms, 1),
                    "latency_p95_ms": round(status.latency_p95_ms, 1),
                    "label_latency_p50_ms": round(status.label_latency_p50_ms, 1),
                    "longest_queue": max((queue.length for queue in status.queues), default=0),
                    "used": sum(sensor.used for sensor in status.sensors),
                    "received": sum(sensor.received for sensor in status.sensors),
                    "clouds": self._clouds,
                    "names": counts["name"],
                    "errors": status.worker_errors,
                    "probe_ms": probe_ms(),
                }
            )


def probe_ms() -> float:
    """How long a processor takes for the same little work as ever, whoever else waits for it: the shortest of
    five times."""
    times = []
    for _ in range(5):
        begun = time.thread_time()
        np.sort(PROBE)
        times.append(time.thread_time() - begun)
    return round(1e3 * min(times), 3)


def soak(minutes: float, rate: float, weights: str) -> dict[str, Any]:
    """Starts the node and plays to it for so long."""
    import rclpy
    from rclpy.executors import SingleThreadedExecutor

    from ws3d_ros.cli.demo import node_arguments, running_node
    from ws3d_ros.node.player import Player
    from ws3d_ros.training.datasets.bag_topics import find_topics

    params = [*FIXED, f'semantics.weights_dir:="{weights}"']
    arguments = node_arguments(find_topics(ROOM), "", "auto", "auto", 0.05, params)
    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node("ws3d_soak", context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    thread = threading.Thread(target=executor.spin, daemon=True)
    player = Player(node, ROOM, clock=True)
    text = Path(tempfile.gettempdir()) / "ws3d_soak.log"
    loops = 0
    try:
        with running_node(arguments, text) as process:
            log = Log(node, psutil.Process(process.pid))
            thread.start()
            deadline = time.monotonic() + START_TIMEOUT_S
            while not log.is_active():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"the node did not start: {text.read_text()[-2000:]}")
                time.sleep(0.1)
            log.begin()
            deadline = time.monotonic() + 60.0 * minutes

            def is_over() -> bool:
                return process.poll() is not None or time.monotonic() > deadline

            while not is_over():
                player.play(rate=rate, on_progress=lambda played_s: None, stop=is_over)
                loops += 1
            log.end()
            if process.poll() is not None:
                raise SystemExit(f"the node ended after {loops} loops: {text.read_text()[-2000:]}")
    finally:
        executor.shutdown(timeout_sec=2.0)
        thread.join(2.0)
        node.destroy_node()
        context.try_shutdown()
    status = log.status
    return {
        "minutes": minutes,
        "rate": rate,
        "loops": loops,
        "encoder": status.encoder,
        "network": status.network,
        **figures(log.rows),
        "problems": log.problems,
        "rows": log.rows,
    }


def figures(rows: list[dict[str, float]]) -> dict[str, Any]:
    """What :mod:`benchmarks.soak` promises, of its rows."""
    warm = max(rows[-1]["t_s"] / 10, 60.0 if rows[-1]["t_s"] > 120.0 else 0.0)
    kept = [row for row in rows if row["t_s"] >= warm]
    column = {name: np.array([row[name] for row in kept], float) for name in kept[0]}
    quarter = max(1, len(kept) // 4)

    def ends(name: str) -> list[float]:
        return [
            round(float(np.median(part)), 2) for part in (column[name][:quarter], column[name][-quarter:])
        ]

    passed_s = column["t_s"][-1] - column["t_s"][0]
    (slope, _), covariance = np.polyfit(column["t_s"] / 60.0, column["rss_mb"], 1, cov=True)
    return {
        "warm_up_s": round(warm, 1),
        "rss_slope_mb_per_min": round(float(slope), 3),
        "rss_slope_error_mb_per_min": round(float(covariance[0, 0] ** 0.5), 3),
        "rss_mb": ends("rss_mb"),
        "map_mb": ends("map_mb"),
        "threads": ends("threads"),
        "files": ends("files"),
        "latency_p50_ms": ends("latency_p50_ms"),
        "latency_p95_ms": ends("latency_p95_ms"),
        "label_latency_p50_ms": ends("label_latency_p50_ms"),
        "probe_ms": ends("probe_ms"),
        "longest_queue": int(column["longest_queue"].max()),
        "errors": int(rows[-1]["errors"]),
        "used_of_received": [int(rows[-1]["used"]), int(rows[-1]["received"])],
        **{
            f"{name}_hz": round(float((column[name][-1] - column[name][0]) / passed_s), 2)
            for name in ("used", "clouds", "names")
        },
    }


def draw(result: dict[str, Any], path: Path) -> None:
    """Memory, latencies and rates over time."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = result["rows"]
    minutes = np.array([row["t_s"] for row in rows]) / 60.0
    column = {name: np.array([row[name] for row in rows], float) for name in rows[0]}
    figure, (memory, latency, rate) = pyplot.subplots(3, 1, figsize=(8, 7), sharex=True, layout="constrained")
    memory.plot(minutes, column["rss_mb"], label="process")
    memory.plot(minutes, column["map_mb"], label="map")
    memory.set(
        ylabel="MB", ylim=(0, None), title=f"{result['rss_slope_mb_per_min']:+.2f} MB/min after warm-up"
    )
    latency.plot(minutes, column["latency_p50_ms"], label="to the cloud, median")
    latency.plot(minutes, column["latency_p95_ms"], label="to the cloud, 95th percentile")
    latency.plot(minutes, column["label_latency_p50_ms"], label="to the names, median")
    latency.plot(minutes, column["probe_ms"], color="0.6", label="the same sorting, always")
    latency.set(ylabel="ms", yscale="log")
    for name, what in (("used", "measurements"), ("clouds", "clouds"), ("names", "names")):
        rate.plot(minutes[1:], np.diff(column[name]) / np.diff(minutes * 60.0), label=what)
    rate.set(ylabel="per second", xlabel="minutes", ylim=(0, None))
    for axes in (memory, latency, rate):
        axes.axvspan(0, result["warm_up_s"] / 60.0, color="0.93")
        axes.legend(loc="upper right", fontsize="small")
    figure.savefig(path, dpi=100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--rate", type=float, default=1.25)
    parser.add_argument("--quick", action="store_true")
    given = os.environ.get("WS3D_WEIGHTS", SHARED / "weights")
    parser.add_argument("--weights", type=Path, default=given)
    arguments = parser.parse_args()
    from ws3d_ros.cli.play import use_large_messages

    # A domain and settings of its own: nothing else on the network hears this.
    os.environ.setdefault("ROS_DOMAIN_ID", str(os.getpid() % 100 + 1))
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    use_large_messages()
    weights = str(arguments.weights.resolve()) if arguments.weights.is_dir() else ""
    result = soak(QUICK_MINUTES if arguments.quick else arguments.minutes, arguments.rate, weights)
    print({name: value for name, value in result.items() if name != "rows"})
    if not arguments.quick:
        draw(result, PICTURE)
        print(save("soak", result | {"rows": result["rows"][::SAVED]}))


if __name__ == "__main__":
    main()
