"""Durations are kept by stage, also when a stage fails."""

import threading

import numpy as np
import pytest

from ws3d_ros import stopwatch as module
from ws3d_ros.stopwatch import Stopwatch


def test_percentiles_of_what_the_clock_said(monkeypatch: pytest.MonkeyPatch) -> None:
    durations_s = [0.001 * n for n in range(1, 22)]
    ticks = iter([tick for duration in durations_s for tick in (100.0, 100.0 + duration)])
    monkeypatch.setattr(module.time, "perf_counter", lambda: next(ticks))
    watch = Stopwatch()
    for _ in durations_s:
        with watch("encode"):
            pass
    summary = watch.summary_ms()["encode"]
    assert summary["count"] == 21
    assert summary["p50"] == pytest.approx(11.0)
    assert summary["p95"] == pytest.approx(float(np.percentile(np.arange(1, 22), 95)))


def test_times_are_of_the_newest_and_the_count_is_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    durations_s = [9.0] * 5 + [1.0] * module.REMEMBERED
    ticks = iter([tick for duration in durations_s for tick in (100.0, 100.0 + duration)])
    monkeypatch.setattr(module.time, "perf_counter", lambda: next(ticks))
    watch = Stopwatch()
    for _ in durations_s:
        with watch("encode"):
            pass
    summary = watch.summary_ms()["encode"]
    assert summary["count"] == len(durations_s)
    assert summary["p95"] == pytest.approx(1000.0)


def test_a_stage_that_raises_is_measured_and_the_error_goes_on() -> None:
    watch = Stopwatch()
    with pytest.raises(ZeroDivisionError), watch("fails"):
        _ = 1 / 0
    assert watch.summary_ms()["fails"]["count"] == 1


def test_several_threads_may_measure() -> None:
    watch = Stopwatch()

    def work() -> None:
        for _ in range(200):
            with watch("stage"):
                watch.summary_ms()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert watch.summary_ms()["stage"]["count"] == 800
