"""One clear message for each thing that is wrong: in the log, seldom; in the status, while it lasts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

LOG_EVERY_S = 5.0
KEEP_S = 10.0


class Reporter:
    """Collects problems by key. Thread-safe.

    Args:
        warn: writes one line to the log.
        now_s: a steady clock.
    """

    def __init__(self, warn: Callable[[str], object], now_s: Callable[[], float] = time.monotonic) -> None:
        self._warn = warn
        self._now_s = now_s
        self._lock = threading.Lock()
        self._problems: dict[str, tuple[float, str]] = {}
        self._logged_s: dict[str, float] = {}

    def report(self, key: str, message: str, once: bool = False) -> None:
        """Something is wrong now. The log hears of a key at most every 5 s, or only once."""
        now_s = self._now_s()
        with self._lock:
            self._problems[key] = (now_s, message)
            logged_s = self._logged_s.get(key)
            due = logged_s is None or (not once and now_s - logged_s >= LOG_EVERY_S)
            if due:
                self._logged_s[key] = now_s
        if due:
            self._warn(message)

    def solve(self, key: str) -> None:
        """The problem is over."""
        with self._lock:
            self._problems.pop(key, None)

    def problems(self) -> list[str]:
        """What was wrong within the last 10 s, oldest key first."""
        horizon_s = self._now_s() - KEEP_S
        with self._lock:
            return [message for since_s, message in self._problems.values() if since_s >= horizon_s]

    def clear(self) -> None:
        """Forgets everything, when a new start makes it stale."""
        with self._lock:
            self._problems.clear()
            self._logged_s.clear()
