"""What the node tells about itself: ``~/status`` and ``/diagnostics``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from std_msgs.msg import Header

from ws3d_ros.memory import peak_memory_bytes, resident_bytes
from ws3d_ros.msg import DropCount, PipelineStatus, QueueAge, SensorCount, StageTime
from ws3d_ros.sensors.ledger import Count


@dataclass(frozen=True)
class Health:
    """Everything that the status says, as plain values.

    Attributes:
        stages_ms: ``count``, ``p50`` and ``p95`` by stage, see ``Stopwatch.summary_ms``.
        queues: (length, age of the oldest in seconds, share of the time that its thread worked) by name.
        adapted: updates of the 3D network that were accepted and refused.
        keyframes: worth understanding so far; skipped: of these, images that gave way to newer ones.
    """

    state: str
    problems: Sequence[str]
    sensors: Mapping[str, Count]
    stages_ms: Mapping[str, Mapping[str, float]]
    queues: Mapping[str, tuple[int, float, float]]
    voxels: int
    map_bytes: int
    budget_bytes: int
    rss_budget_bytes: int
    encoder: str
    encoder_why: str
    network: str
    network_why: str
    latencies_ms: Sequence[float]
    label_latencies_ms: Sequence[float]
    keyframes: int
    skipped: int
    worker_errors: int
    adapted: tuple[int, int] = (0, 0)


def percentiles(values: Sequence[float]) -> tuple[float, float]:
    """Median and 95th percentile; zeros of nothing."""
    if not values:
        return 0.0, 0.0
    p50, p95 = np.percentile(np.fromiter(values, float), [50, 95])
    return float(p50), float(p95)


def status_message(health: Health, header: Header) -> PipelineStatus:
    """The message on ``~/status``."""
    latency_p50, latency_p95 = percentiles(health.latencies_ms)
    label_latency_p50, label_latency_p95 = percentiles(health.label_latencies_ms)
    rss_bytes = resident_bytes()
    return PipelineStatus(
        header=header,
        state=health.state,
        problems=list(health.problems),
        sensors=[
            SensorCount(
                sensor=name,
                received=int(count.received),
                used=int(count.used),
                dropped=[DropCount(reason=why, count=int(n)) for why, n in sorted(count.dropped.items())],
            )
            for name, count in health.sensors.items()
        ],
        stages=[
            StageTime(
                stage=name, count=int(times["count"]), p50_ms=float(times["p50"]), p95_ms=float(times["p95"])
            )
            for name, times in health.stages_ms.items()
        ],
        queues=[
            QueueAge(queue=name, length=int(length), oldest_s=float(age_s), busy_share=float(busy))
            for name, (length, age_s, busy) in health.queues.items()
        ],
        voxels=int(health.voxels),
        map_bytes=int(health.map_bytes),
        budget_bytes=int(health.budget_bytes),
        rss_bytes=rss_bytes,
        rss_budget_bytes=int(health.rss_budget_bytes),
        # Linux updates the peak a little late.
        peak_rss_bytes=max(rss_bytes, int(peak_memory_bytes())),
        encoder=health.encoder,
        encoder_why=health.encoder_why,
        network=health.network,
        network_why=health.network_why,
        latency_p50_ms=latency_p50,
        latency_p95_ms=latency_p95,
        keyframes=int(health.keyframes),
        keyframes_skipped=int(health.skipped),
        worker_errors=int(health.worker_errors),
        adaptation_accepted=health.adapted[0],
        adaptation_refused=health.adapted[1],
        label_latency_p50_ms=label_latency_p50,
        label_latency_p95_ms=label_latency_p95,
    )


def diagnostics_message(name: str, status: PipelineStatus) -> DiagnosticArray:
    """The same for ``/diagnostics``: one entry for the node, one for each sensor.

    WARN means that something is wrong now; STALE that a sensor has delivered nothing yet.
    """
    ok, warn, stale = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.STALE
    entries = [
        DiagnosticStatus(
            level=warn if status.problems else ok,
            name=f"{name}: pipeline",
            message="; ".join(status.problems) or status.state,
            hardware_id="",
            values=key_values(
                state=status.state,
                encoder=status.encoder or "none",
                network=status.network or "none",
                voxels=status.voxels,
                map_mb=round(status.map_bytes / 1e6, 1),
                rss_mb=round(status.rss_bytes / 1e6, 1),
                rss_budget_mb=round(status.rss_budget_bytes / 1e6, 1),
                **gpu_mb(),
                latency_p50_ms=round(status.latency_p50_ms, 1),
                latency_p95_ms=round(status.latency_p95_ms, 1),
                label_latency_p50_ms=round(status.label_latency_p50_ms, 1),
                label_latency_p95_ms=round(status.label_latency_p95_ms, 1),
                keyframes=status.keyframes,
                keyframes_skipped=status.keyframes_skipped,
                worker_errors=status.worker_errors,
                adaptation_accepted=status.adaptation_accepted,
                adaptation_refused=status.adaptation_refused,
            ),
        )
    ]
    for sensor in status.sensors:
        dropped = {drop.reason: drop.count for drop in sensor.dropped}
        entries.append(
            DiagnosticStatus(
                level=stale if sensor.received == 0 else ok if sensor.used else warn,
                name=f"{name}: {sensor.sensor}",
                message=f"{sensor.used} of {sensor.received} used",
                hardware_id=sensor.sensor,
                values=key_values(received=sensor.received, used=sensor.used, **dropped),
            )
        )
    return DiagnosticArray(header=status.header, status=entries)


def gpu_mb() -> dict[str, float]:
    """What torch has taken of the GPU's memory, now and at most, MB; nothing where it uses no GPU."""
    if not torch.cuda.is_initialized():
        return {}
    taken, peak = torch.cuda.memory_reserved(), torch.cuda.max_memory_reserved()
    return {"gpu_mb": round(taken / 1e6, 1), "gpu_peak_mb": round(peak / 1e6, 1)}


def key_values(**values: object) -> list[KeyValue]:
    return [KeyValue(key=key, value=str(value)) for key, value in values.items()]
