"""How long the stages take."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

REMEMBERED = 1000
"""Durations kept for each stage; older ones are forgotten, so that the figures follow the robot."""


class Stopwatch:
    """Durations by stage. Any thread may measure and any may read."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._durations_s: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=REMEMBERED))
        self._counts: Counter[str] = Counter()

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Measures the body of a ``with`` statement, also when it raises."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            duration = time.perf_counter() - begin
            with self._lock:
                self._durations_s[stage].append(duration)
                self._counts[stage] += 1

    def summary_ms(self) -> dict[str, dict[str, float]]:
        """For each stage ``p50`` and ``p95`` in milliseconds, of the newest, and ``count`` of all so far."""
        with self._lock:
            counts = self._counts.copy()
            stages = {stage: np.array(durations) * 1e3 for stage, durations in self._durations_s.items()}
        return {
            stage: {
                "p50": float(np.percentile(ms, 50)),
                "p95": float(np.percentile(ms, 95)),
                "count": float(counts[stage]),
            }
            for stage, ms in stages.items()
        }
