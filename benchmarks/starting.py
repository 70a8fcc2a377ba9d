"""How long the node takes to start: from its process to what it says and to names in its cloud.

    python benchmarks/starting.py [--runs 3] [--weights FOLDER]

Starts the node as `make demo` does, plays samples/room in real time from the moment that it is active, and
ends it when the first cloud with a name came (with geometry only: the first cloud). Writes
results/starting.json: seconds from the start of the process, median and longest, to

- active: its first ~/status says so, so networks are loaded and warmed up;
- cloud: the first ~/semantic_cloud with a point;
- named: the first with a name.

Files are in the system's memory from the second run on. On a machine that does nothing else; five minutes.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np
from common import save
from house import SHARED
from live import ROOM, SETUPS

TIMEOUT_S = 120.0
LOG = Path(tempfile.gettempdir()) / "ws3d_starting.log"


def start_once(setup: str, weights: str) -> dict[str, float]:
    """Seconds from the start of the process, by what was reached."""
    from sensor_msgs.msg import PointCloud2

    from ws3d_ros.cli.demo import node_arguments, running_node
    from ws3d_ros.node.packing import POINT
    from ws3d_ros.node.session import Session
    from ws3d_ros.training.datasets.bag_topics import find_topics

    reached: dict[str, float] = {}
    encoder, checkpoint = SETUPS[setup]
    goal = "cloud" if (encoder, checkpoint) == ("none", "none") else "named"
    params = ["output.status_period_s:=0.1", f'semantics.weights_dir:="{weights}"']
    arguments = node_arguments(find_topics(ROOM), "", encoder, checkpoint, 0.05, params)

    def on_cloud(message: PointCloud2) -> None:
        points = np.frombuffer(message.data, POINT)
        if len(points):
            reached.setdefault("cloud", time.monotonic() - begun_s)
        if (points["label"] > 0).any():
            reached.setdefault("named", time.monotonic() - begun_s)

    with Session(ROOM) as session:
        session.node.create_subscription(PointCloud2, "/ws3d/semantic_cloud", on_cloud, 1)
        begun_s = time.monotonic()
        with running_node(arguments, LOG) as process:
            session.recorder.wait(
                lambda: session.recorder.is_active() or process.poll() is not None, TIMEOUT_S
            )
            if not session.recorder.is_active():
                raise SystemExit(f"the node did not become active; look at {LOG}")
            reached["active"] = time.monotonic() - begun_s
            session.player.play(
                rate=1.0,
                on_progress=lambda played_s: None,
                stop=lambda: goal in reached or process.poll() is not None,
            )
            if not session.recorder.wait(lambda: goal in reached, TIMEOUT_S):
                raise SystemExit(f"no {goal} came; look at {LOG}")
    return reached


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--weights", type=Path, default=os.environ.get("WS3D_WEIGHTS", SHARED / "weights"))
    arguments = parser.parse_args()
    os.environ.setdefault("ROS_DOMAIN_ID", str(os.getpid() % 100 + 1))
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    from ws3d_ros.cli.play import use_large_messages

    use_large_messages()
    weights = str(arguments.weights.resolve()) if arguments.weights.is_dir() else ""
    rows = {}
    for setup in SETUPS:
        runs = [start_once(setup, weights) for _ in range(arguments.runs)]
        rows[setup] = {
            what: {"p50_s": round(float(np.median(values)), 1), "longest_s": round(max(values), 1)}
            for what in runs[0]
            for values in [[run[what] for run in runs]]
        }
        print(f"{setup}: {rows[setup]}", flush=True)
    print(save("starting", {"runs": arguments.runs, "setups": rows}))


if __name__ == "__main__":
    main()
