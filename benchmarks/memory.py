"""The most memory that a call needs, as the kernel counts it."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Any


def peak_mib(function: Callable[[], Any]) -> tuple[Any, float]:
    """What the call returns, and by how many MiB resident memory rose above where it was before.

    Linux only. Freed memory that the allocator still keeps is given back first, else a second call
    would seem to need nothing.
    """
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
    before = _status("VmRSS")
    result = function()
    return result, (_status("VmHWM") - before) / 1024


def _status(field: str) -> int:
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith(field))
    return int(line.split()[1])
