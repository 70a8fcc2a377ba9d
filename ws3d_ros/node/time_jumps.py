"""Notices that time jumped: a bag that loops, a simulation that was reset; and stamps that stray."""

from __future__ import annotations

import time
from collections.abc import Callable

JUMP_NS = 500_000_000
"""Messages of one stream overtake each other by less than this."""
LEAP_NS = 10_000_000_000
"""A stamp may be ahead of its stream by this, and by the time that passed; tf remembers no more."""


class TimeWatch:
    """Watches the stamps of every stream.

    A stamp far before or after its stream's newest one is not believed until the next agrees with
    it: one wrong stamp of a driver, or of one of two publishers, would otherwise wipe out all that
    is known of tf.
    """

    def __init__(
        self,
        on_jump: Callable[[str, float], object],
        on_stray: Callable[[str, float], object],
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            on_jump: hears which stream jumped and by how many seconds, negative is back, before
                :meth:`see` returns.
            on_stray: hears which stream had a single stamp that was so far off.
            now_s: a steady clock.
        """
        self._on_jump = on_jump
        self._on_stray = on_stray
        self._now_s = now_s
        self._newest: dict[str, tuple[int, float]] = {}  # stamp, and when it came
        self._doubtful: dict[str, tuple[int, float]] = {}

    def see(self, stream: str, stamp_ns: int) -> bool:
        """A message came; whether its stamp is believed.

        After a jump all streams start afresh, so that one jump counts once.
        """
        now_s = self._now_s()
        newest = self._newest.setdefault(stream, (stamp_ns, now_s))
        doubtful = self._doubtful.pop(stream, None)
        if _continues(newest, stamp_ns, now_s):
            self._newest[stream] = max(newest[0], stamp_ns), now_s
            if doubtful is not None:
                self._on_stray(stream, (doubtful[0] - newest[0]) / 1e9)
            return True
        if doubtful is None or not _continues(doubtful, stamp_ns, now_s):
            self._doubtful[stream] = stamp_ns, now_s
            return False
        self._newest = {stream: (stamp_ns, now_s)}
        self._doubtful.clear()
        self._on_jump(stream, (stamp_ns - newest[0]) / 1e9)
        return True


def _continues(before: tuple[int, float], stamp_ns: int, now_s: float) -> bool:
    before_ns, came_s = before
    return -JUMP_NS <= stamp_ns - before_ns <= LEAP_NS + (now_s - came_s) * 1e9
