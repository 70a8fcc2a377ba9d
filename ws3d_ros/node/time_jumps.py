"""Notices that time jumped: a bag that loops, a simulation that was reset; and stamps that stray."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

JUMP_NS = 500_000_000
"""Messages of one stream overtake each other by less than this."""
LEAP_NS = 10_000_000_000
"""A stamp may be ahead of its stream by this, and by the time that passed; tf remembers no more."""
GIVES_IN = 2.0
"""How fast it is believed that messages come later than they did, in seconds for each second of stamps: a bag
at half its speed does not fall behind, and what waited in buffers for seconds changes little."""


@dataclass(frozen=True)
class Known:
    """What is known of a stream.

    Attributes:
        newest_ns: the newest stamp.
        delay_ns: from a stamp to its arrival, by two clocks that may differ by anything; of the most prompt
            messages. After a pause, what waited in buffers comes late; what is as prompt as ever did not
            jump.
    """

    newest_ns: int
    delay_ns: float

    @classmethod
    def of(cls, stamp_ns: int, now_s: float) -> Known:
        return cls(stamp_ns, now_s * 1e9 - stamp_ns)

    def is_continued_by(self, stamp_ns: int, now_s: float) -> bool:
        ahead_ns = self.delay_ns - (now_s * 1e9 - stamp_ns)
        return stamp_ns - self.newest_ns >= -JUMP_NS and ahead_ns <= LEAP_NS

    def after(self, stamp_ns: int, now_s: float) -> Known:
        newest_ns = max(self.newest_ns, stamp_ns)
        at_most_ns = self.delay_ns + GIVES_IN * (newest_ns - self.newest_ns)
        return Known(newest_ns, min(now_s * 1e9 - stamp_ns, at_most_ns))


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
        self._known: dict[str, Known] = {}
        self._doubtful: dict[str, Known] = {}

    def see(self, stream: str, stamp_ns: int) -> bool:
        """A message came; whether its stamp is believed.

        After a jump all streams start afresh, so that one jump counts once.
        """
        now_s = self._now_s()
        fresh = Known.of(stamp_ns, now_s)
        known = self._known.setdefault(stream, fresh)
        doubtful = self._doubtful.pop(stream, None)
        if known.is_continued_by(stamp_ns, now_s):
            self._known[stream] = known.after(stamp_ns, now_s)
            if doubtful is not None:
                self._on_stray(stream, (doubtful.newest_ns - known.newest_ns) / 1e9)
            return True
        if doubtful is None or not doubtful.is_continued_by(stamp_ns, now_s):
            self._doubtful[stream] = fresh
            return False
        self._known = {stream: fresh}
        self._doubtful.clear()
        self._on_jump(stream, (stamp_ns - known.newest_ns) / 1e9)
        return True
