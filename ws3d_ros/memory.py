"""The memory of this process: how much it takes and may take, and giving back what it does not use."""

from __future__ import annotations

import ctypes
import resource
import sys
from pathlib import Path

import psutil

LARGE_BYTES = 2 << 20
"""Blocks of so much are mapped by themselves: messages, and all tensors that torch puts on large pages, for
which the C library looks for 2 MB more than they take, tear no holes into the heap. The network takes 10 to
20 % longer, as pages are handed out and cleared anew (docs/reliability.md)."""
SHARE = 0.8
"""Of what the machine or the container has, a process may take so much unless it is told otherwise."""
CGROUPS = Path("/sys/fs/cgroup")


class OverBudgetError(MemoryError):
    """The process takes more memory than it may. The message says how much."""


def resident_bytes() -> int:
    """Memory that this process holds now."""
    return int(psutil.Process().memory_info().rss)


def check_budget(budget_bytes: int) -> None:
    """
    Raises:
        OverBudgetError: the process takes more than that.
    """
    taken = resident_bytes()
    if taken > budget_bytes:
        raise OverBudgetError(
            f"the process takes {taken / 1e6:.0f} MB of memory and may take {budget_bytes / 1e6:.0f} "
            "(memory.process_mb)"
        )


def machine_bytes(groups: str | None = None, folder: Path = CGROUPS) -> int:
    """Memory that there is for all processes: the machine's, or less where a container has a limit.

    Args:
        groups: what ``/proc/self/cgroup`` says, read there if not given.
        folder: where control groups are, of version 1 or 2 (Linux).
    """
    limits = [int(psutil.virtual_memory().total)]
    own = Path("/proc/self/cgroup")
    if groups is None:
        groups = own.read_text() if own.exists() else ""
    for line in groups.splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        base, name = (folder / "memory", "memory.limit_in_bytes") if controllers else (folder, "memory.max")
        group = base / path.strip("/")
        for place in (group, *group.parents):  # within a container the path may be that of the host
            file = place / name
            if place.is_relative_to(base) and file.exists() and (said := file.read_text().strip()).isdigit():
                limits.append(int(said))
    return min(limits)


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
