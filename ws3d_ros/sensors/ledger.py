"""What became of every measurement."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field

SAY_EVERY_S = 5.0
"""The same complaint is not said more often than this."""


@dataclass
class Count:
    """Measurements of one sensor. What is neither used nor dropped is still on its way.

    Attributes:
        dropped: number by reason.
        messages: the latest message for people, by reason.
    """

    received: int = 0
    used: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    messages: dict[str, str] = field(default_factory=dict)


class Ledger:
    """Counts by sensor; any thread may write and read."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[str, Count] = {}
        self._said_s: dict[str, float] = {}

    def received(self, sensor: str) -> None:
        """A measurement came."""
        with self._lock:
            self._of(sensor).received += 1

    def used(self, sensor: str) -> None:
        """A measurement went into the map."""
        with self._lock:
            self._of(sensor).used += 1

    def dropped(self, sensor: str, reason: str, message: str = "") -> None:
        """A measurement was given up; ``message`` says why in words."""
        with self._lock:
            count = self._of(sensor)
            count.dropped[reason] += 1
            if message:
                count.messages[reason] = message

    def snapshot(self) -> dict[str, Count]:
        """A copy of all counts, by sensor."""
        with self._lock:
            return {
                sensor: Count(count.received, count.used, Counter(count.dropped), dict(count.messages))
                for sensor, count in self._counts.items()
            }

    def say(self, reason: str, now_s: float) -> bool:
        """Whether it is time to tell people about ``reason``: the first time, then every 5 s at most.

        Args:
            now_s: a monotonic clock.
        """
        with self._lock:
            last_s = self._said_s.get(reason)
            if last_s is not None and now_s - last_s < SAY_EVERY_S:
                return False
            self._said_s[reason] = now_s
            return True

    def _of(self, sensor: str) -> Count:
        return self._counts.setdefault(sensor, Count())
