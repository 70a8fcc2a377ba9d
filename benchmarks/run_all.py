"""Runs every benchmark, one after the other. Nothing else should run on the machine meanwhile."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
NO_BENCHMARKS = {
    "cells.py",
    "common.py",
    "house.py",
    "house_bag.py",
    "labelled.py",
    "live_table.py",
    "memory.py",
    "network_engines.py",
    "network_peer.py",
    "network_table.py",
    "places.py",
    "results_table.py",
    "run_all.py",
}
HOURS = {"detection.py", "label_efficiency.py", "pretraining.py"}
"""They train, and are started by hand; see docs/results.md."""


def main() -> int:
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as in the node
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")
    failed = []
    for script in sorted(HERE.glob("*.py")):
        if script.name in NO_BENCHMARKS | HOURS:
            continue
        print(f"== {script.name}", flush=True)
        if subprocess.run([sys.executable, str(script)], cwd=HERE.parent).returncode:
            failed.append(script.name)
    if failed:
        print(f"failed: {', '.join(failed)}")
    return len(failed)


if __name__ == "__main__":
    raise SystemExit(main())
