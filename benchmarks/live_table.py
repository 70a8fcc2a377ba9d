"""The live node's figures as a table, and its memory and rates over time as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

RATE_OVER_S = 5.0


def live_rows(result: dict[str, Any]) -> list[list[str]]:
    """A header and one row a run."""
    rows = [
        [
            *("recording, named by", "measurements/s", "clouds/s", "names/s", "images/s"),
            *("sensor to cloud, ms", "sensor to label, ms", "transit, ms"),
            *("CPU of all cores", "the listener's", "RSS (most), MiB", "voxels", "dropped"),
            "keyframes (overtaken)",
        ]
    ]
    for name, run in result["runs"].items():
        dropped = ", ".join(f"{reason} {count}" for reason, count in run["dropped"].items())
        rows.append(
            [
                name,
                *(f"{run[rate]:.2f}" for rate in ("measurements_hz", "clouds_hz", "names_hz", "images_hz")),
                _pair(run["cloud_latency_ms"]),
                _pair(run["label_latency_ms"]) if run["names_hz"] else "",
                _pair(run["transit_ms"]),
                f"{run['cpu_share']:.0%}",
                f"{run['listener_cpu_share']:.0%}",
                f"{run['rss_mib']} ({max(run['rss_mib'], run['peak_rss_mib'])})",
                f"{run['voxels']:,}",
                dropped or "0",
                f"{run['keyframes']} ({run['keyframes_skipped']})",
            ]
        )
    return rows


def draw_live(result: dict[str, Any], path: Path) -> None:
    """Memory, clouds and names a second over the time of each run."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    memory, clouds, names = (figure.add_subplot(1, 3, place) for place in (1, 2, 3))
    for name, run in result["runs"].items():
        time_s = np.array([sample["t_s"] for sample in run["samples"]])
        memory.plot(time_s, [sample["rss_mib"] for sample in run["samples"]], label=name)
        for axes, what in ((clouds, "clouds"), (names, "names")):
            axes.plot(time_s, _rate(time_s, np.array([sample[what] for sample in run["samples"]])))
    for axes, title in ((memory, "resident memory, MiB"), (clouds, "clouds/s"), (names, "names/s")):
        axes.set_title(title, fontsize=9)
        axes.set_xlabel("seconds of the recording", fontsize=8)
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=3, fontsize=7)
    figure.savefig(path, dpi=110)


def _rate(time_s: np.ndarray, count: np.ndarray) -> np.ndarray:
    """(N,) events a second over the last :data:`RATE_OVER_S`, of (N,) counts so far."""
    before = np.maximum(time_s - RATE_OVER_S, 0.0)
    return (count - np.interp(before, np.r_[0.0, time_s], np.r_[0, count])) / (time_s - before)


def _pair(figures: list[float]) -> str:
    """Median (95th percentile)."""
    return f"{figures[0]:g} ({figures[1]:g})"
