"""One topic: who publishes it, how, how often it comes, and whether all of it arrives."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ws3d_ros.sensors.checkup.findings import Finding, error, note, warning
from ws3d_ros.sensors.raster import Array

WINDOW_S = 10.0
"""What is older does not count any more."""
SLOW_HZ = 1.0
HOLE_S = 2.0
"""A pause as long as this in a stream that is faster is worth a word."""


@dataclass(frozen=True)
class Endpoint:
    """A publisher of a topic, or our subscription to it."""

    node: str
    type: str
    reliable: bool
    latched: bool

    def describe(self) -> str:
        """Its quality of service in words."""
        reliability = "reliable" if self.reliable else "best effort"
        return f"{reliability}, {'transient local' if self.latched else 'volatile'}"


@dataclass(frozen=True)
class Arrivals:
    """The messages of the last seconds, oldest first.

    Attributes:
        arrived_s: (N,) float64, steady clock.
        stamp_ns: (N,) int64, by the headers.
        now_ns: (N,) int64, what the node's clock said when they arrived.
        lost: messages that the middleware knows to have lost in this time.
        before_s: when the last one before these arrived, None without.
    """

    arrived_s: Array
    stamp_ns: Array
    now_ns: Array
    lost: int = 0
    before_s: float | None = None

    def __len__(self) -> int:
        return len(self.arrived_s)

    def rate_hz(self) -> float:
        """Messages a second; 0 where fewer than two came."""
        span_s = float(self.arrived_s[-1] - self.arrived_s[0]) if len(self) > 1 else 0.0
        return (len(self) - 1) / span_s if span_s > 0.0 else 0.0

    def pause_s(self) -> float:
        """The longest pause that ended in this time, whenever it began; 0 where there is none."""
        known = self.arrived_s if self.before_s is None else [self.before_s, *self.arrived_s]
        return float(np.diff(known).max(initial=0.0))

    def age_s(self) -> float:
        """Median age of the stamps on arrival, by the node's clock; negative is the future."""
        return float(np.median(self.now_ns - self.stamp_ns)) / 1e9


class StreamLog:
    """Remembers the arrivals of one topic, for a while. For one thread."""

    def __init__(self, keep: int = 2000) -> None:
        self._seen: deque[tuple[float, int, int]] = deque(maxlen=keep)
        self._lost: deque[tuple[float, int]] = deque(maxlen=keep)

    def note(self, arrived_s: float, stamp_ns: int, now_ns: int) -> None:
        """A message came; see :class:`Arrivals`."""
        self._seen.append((arrived_s, stamp_ns, now_ns))

    def note_lost(self, at_s: float, count: int) -> None:
        """The middleware lost messages."""
        self._lost.append((at_s, count))

    def clear(self) -> None:
        """Time began again: stamps from before do not compare."""
        self._seen.clear()

    def recent(self, now_s: float) -> Arrivals:
        """What came within the last ``WINDOW_S`` before ``now_s``."""
        begin_s = now_s - WINDOW_S
        seen = [entry for entry in self._seen if entry[0] >= begin_s]
        older = [entry[0] for entry in self._seen if entry[0] < begin_s]
        arrived, stamps, clocks = zip(*seen, strict=True) if seen else ((), (), ())
        lost = sum(count for at_s, count in self._lost if at_s >= begin_s)
        return Arrivals(
            np.array(arrived, np.float64),
            np.array(stamps, np.int64),
            np.array(clocks, np.int64),
            lost,
            older[-1] if older else None,
        )


def judge_publishers(topic: str, publishers: Sequence[Endpoint], ours: Endpoint | None) -> list[Finding]:
    """Publishers whose messages can never arrive, and publishers that compete.

    Args:
        ours: the subscription; None where there is none (yet).
    """
    findings = []
    for publisher in publishers if ours is not None else ():
        assert ours is not None
        if publisher.type != ours.type:
            findings.append(
                error(
                    "type",
                    f"'{publisher.node}' publishes {topic} as {publisher.type}, but we listen to "
                    f"{ours.type}: "
                    "give one of the two another topic",
                )
            )
        elif ours.reliable and not publisher.reliable:
            findings.append(_mismatch(topic, publisher, ours, "reliability", "best_effort"))
        elif ours.latched and not publisher.latched:
            findings.append(_mismatch(topic, publisher, ours, "durability", "volatile"))
    names = sorted({publisher.node for publisher in publishers})
    if len(publishers) > 1 and not topic.startswith("/tf"):
        findings.append(
            warning(
                "publishers",
                f"{topic} has {len(publishers)} publishers ({', '.join(names)}), whose messages mix: "
                "stop all but one",
            )
        )
    return findings


def judge_flow(topic: str, arrivals: Arrivals) -> list[Finding]:
    """Streams that are slow, have holes, or lose messages on the way."""
    findings = []
    rate_hz = arrivals.rate_hz()
    if 0.0 < rate_hz < SLOW_HZ:
        findings.append(
            note(
                "slow", f"{topic} comes only {rate_hz:.2g} times a second: raise the driver's rate if it can"
            )
        )
    elif len(arrivals) > 2 and (pause_s := arrivals.pause_s()) > HOLE_S:
        findings.append(
            warning(
                "hole",
                f"{topic} paused for {pause_s:.1f} s: look whether its driver or the network to it stalls",
            )
        )
    if arrivals.lost:
        total = len(arrivals) + arrivals.lost
        findings.append(
            warning(
                "lost",
                f"{arrivals.lost} of {total} messages of {topic} were lost on the way within {WINDOW_S:g} s: "
                "start its driver, too, with the Fast DDS profile of this package, see docs/tuning.md",
            )
        )
    return findings


def _mismatch(topic: str, publisher: Endpoint, ours: Endpoint, policy: str, value: str) -> Finding:
    if topic.startswith("/tf"):
        cure = "tf2's own broadcasters offer what is asked for: use one"
    else:
        cure = f"set qos_overrides.{topic}.subscription.{policy} to {value}, or remove it"
    return error(
        f"qos_{policy}",
        f"'{publisher.node}' publishes {topic} as {publisher.describe()}, but we ask for "
        f"{ours.describe()}, so "
        f"nothing of it arrives ({policy} does not match): {cure}",
    )
