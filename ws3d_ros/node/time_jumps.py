"""Notices that time jumped back: a bag that loops, a simulation that was reset."""

from __future__ import annotations

from collections.abc import Callable

JUMP_NS = 500_000_000
"""Messages of one stream overtake each other by less than this."""


class TimeWatch:
    """Watches the stamps of every stream; what comes later must not be much older."""

    def __init__(self, on_jump: Callable[[str, float], object]) -> None:
        """``on_jump`` hears which stream jumped and by how many seconds, before :meth:`see` returns."""
        self.jumps = 0
        self._on_jump = on_jump
        self._newest_ns: dict[str, int] = {}

    def see(self, stream: str, stamp_ns: int) -> None:
        """A message came. After a jump all streams start afresh, so that one jump counts once."""
        newest_ns = self._newest_ns.get(stream, stamp_ns)
        back_ns = newest_ns - stamp_ns
        if back_ns > JUMP_NS:
            self.jumps += 1
            self._newest_ns.clear()
            self._on_jump(stream, back_ns / 1e9)
        self._newest_ns[stream] = stamp_ns if back_ns > JUMP_NS else max(newest_ns, stamp_ns)
