"""From a bag in DDS to the cloud that shows it: the real node, its own process, its own clock.

    python benchmarks/latency.py [--bag samples/room]

Latency is counted by the node: from the arrival of a measurement to the publication of the
~/semantic_cloud that holds it. The cloud is published at output.cloud_rate_hz, so half its period
is in the median by design; here it is 10 Hz. The peer is the same node without semantics.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from common import save

SETUPS = {"geometry only": "none", "with semantics": "auto"}


def run(bag: Path, encoder: str) -> dict[str, Any]:
    """The report of one demo run."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            "-m",
            "ws3d_ros.cli.main",
            "demo",
            "--bag",
            str(bag),
            "--out",
            folder,
            "--encoder",
            encoder,
        ]
        subprocess.run(
            [sys.executable, *command, "--param", "output.cloud_rate_hz:=10.0"],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        return dict(json.loads((Path(folder) / "report.json").read_text()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--bag", type=Path, default=Path(__file__).parents[1] / "samples" / "room")
    bag = parser.parse_args().bag
    rows = {}
    for name, encoder in SETUPS.items():
        report = run(bag, encoder)
        rows[name] = {
            "latency_ms": report["latency_ms"],
            "sensors": report["sensors"],
            "stages_ms": report["stages_ms"],
            "clouds": report["clouds_received"],
            "voxels": report["voxels"],
            "peak_memory_mib": round(report["peak_memory_bytes"] / 2**20),
            "encoder": report["encoder"],
        }
        print(
            f"{name:16} p50 {report['latency_ms']['p50']:7.1f} ms   p95 {report['latency_ms']['p95']:7.1f} ms"
        )
    print(save("latency", {"bag": bag.name, "runs": rows}))


if __name__ == "__main__":
    main()
