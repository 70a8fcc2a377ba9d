"""The memory of this process: how much it took at most, and giving back what it does not use."""

from __future__ import annotations

import ctypes
import resource
import sys
from pathlib import Path

LARGE_BYTES = 2 << 20
"""Blocks of so much are mapped by themselves: messages, and all tensors that torch puts on large pages, for
which the C library looks for 2 MB more than they take, tear no holes into the heap. The network takes 10 to
20 % longer, as pages are handed out and cleared anew (docs/reliability.md)."""


def peak_memory_bytes() -> int:
    """Most resident memory that this process had so far; where the system does not tell that, at most that
    of whoever started it."""
    status = Path("/proc/self/status")
    if status.exists():  # what getrusage says begins with the peak of the parent
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        if "VmHWM" in lines:
            return int(lines["VmHWM"].split()[0]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def give_back() -> None:
    """Gives free pages within the heaps back to the system, where the C library can (glibc).

    Windows are copied and named in tensors of ever other sizes, by several threads. What is free between
    those that live longer stays the process's own until it is given back: the heaps of an hour are twice
    what is in use (docs/reliability.md). Takes tens of milliseconds, without the interpreter's lock.
    """
    if sys.platform == "linux" and hasattr(_C, "malloc_trim"):
        _C.malloc_trim(0)


def keep_one_heap() -> None:
    """All threads share one heap, and blocks of 2 MB or more are given back at once (glibc, mallopt(3)).

    By default each thread has a heap of its own, which grows to the most that it ever needed, and blocks of
    up to 32 MB come out of them. Call it before threads allocate.
    """
    if sys.platform == "linux" and hasattr(_C, "mallopt"):
        _C.mallopt(_M_ARENA_MAX, 1)
        _C.mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES)


_C = ctypes.CDLL(None)
_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8  # of malloc.h
