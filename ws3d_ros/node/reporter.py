"""One clear message for each thing that is wrong: in the log, seldom; in the status, while it lasts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

LOG_EVERY_S = 5.0
"""What lasts is said again after this, then after twice this, and so on …"""
LOG_AT_LEAST_EVERY_S = 600.0
"""… but not more seldom than this."""
KEEP_S = 10.0
FORGET_S = 60.0
"""A problem that was away for so long is a new one when it comes again."""


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
        self._seen_s: dict[str, float] = {}
        self._logged: dict[str, tuple[float, float]] = {}  # when it was said, how long to be silent then

    def report(self, key: str, message: str, once: bool = False) -> None:
        """Something is wrong now. The log hears of a key ever more seldom while it lasts, or only once."""
        now_s = self._now_s()
        with self._lock:
            self._problems[key] = (now_s, message)
            if now_s - self._seen_s.get(key, now_s) > FORGET_S:
                self._logged.pop(key, None)
            self._seen_s[key] = now_s
            logged = self._logged.get(key)
            due = logged is None or (not once and now_s - logged[0] >= logged[1])
            if due:
                silent_s = LOG_EVERY_S if logged is None else min(2 * logged[1], LOG_AT_LEAST_EVERY_S)
                self._logged[key] = (now_s, silent_s)
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
            self._seen_s.clear()
            self._logged.clear()
