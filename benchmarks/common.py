"""What every benchmark shares: the machine's description, timing and the result file."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch

RESULTS = Path(__file__).parent / "results"


def machine() -> dict[str, Any]:
    """Processor, cores, memory, accelerator and versions."""
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    model = next((line.split(":", 1)[1].strip() for line in info.splitlines() if "model name" in line), "")
    return {
        "cpu": model or platform.processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torch_threads": torch.get_num_threads(),
    }


def times_ms(function: Callable[[], object], runs: int = 20, warmup: int = 3) -> list[float]:
    """Wall times of single calls, after some that are not counted; waits for the GPU where there is one."""
    times = []
    for run in range(warmup + runs):
        begun = time.perf_counter()
        function()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        if run >= warmup:
            times.append((time.perf_counter() - begun) * 1e3)
    return times


def summary(times: list[float]) -> dict[str, float]:
    """Median, 95th percentile and least, in ms."""
    return {
        "p50_ms": round(float(np.percentile(times, 50)), 2),
        "p95_ms": round(float(np.percentile(times, 95)), 2),
        "min_ms": round(min(times), 2),
    }


def save(name: str, result: dict[str, Any]) -> Path:
    """Writes results/NAME.json (results/NAME_gpu.json on a machine with a GPU)."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}{'_gpu' if torch.cuda.is_available() else ''}.json"
    path.write_text(json.dumps({"date": str(date.today()), "machine": machine(), **result}, indent=2) + "\n")
    return path
