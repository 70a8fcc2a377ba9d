"""What all targets share: bytes read as values, files of a moment, and the rules that a decoder must keep."""

from __future__ import annotations

import resource
import struct
import tempfile
import tracemalloc
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

Option = TypeVar("Option")

LONGEST_MESSAGE = 2000
"""Characters of an error: more does not help a person, and fills logs with what a file or message says."""


class FindingError(AssertionError):
    """A decoder did what it must not do."""


@dataclass(frozen=True)
class Target:
    """One decoder.

    Attributes:
        check: feeds the decoder bytes, and raises ``AssertionError`` for a value that breaks a promise.
        errors: what the decoder may raise.
        base_bytes, bytes_per_byte: the most memory that it may take, constant and for each byte of input.
    """

    check: Callable[[bytes], None]
    errors: type[Exception] | tuple[type[Exception], ...]
    base_bytes: int = 16 << 20
    bytes_per_byte: int = 64


def run(target: Target, data: bytes) -> bool:
    """One input through one target, on a running ``tracemalloc``; whether the decoder took it.

    Raises:
        FindingError: for an unnamed error, a broken promise, too long a message or too much memory.
    """
    before, _ = tracemalloc.get_traced_memory()
    resident = _most_resident()
    tracemalloc.reset_peak()
    taken = True
    try:
        target.check(data)
    except target.errors as error:
        taken = False
        if not 10 <= len(str(error)) <= LONGEST_MESSAGE:
            raise FindingError(f"an error of {len(str(error))} characters: {str(error)[:200]}") from error
    except Exception as error:
        raise FindingError(f"{type(error).__name__}: {error}") from error
    _, peak = tracemalloc.get_traced_memory()
    most = target.base_bytes + target.bytes_per_byte * len(data)
    # The second figure sees native code, too, where it goes beyond all that was before.
    used = max(peak - before, _most_resident() - resident - _NATIVE_BYTES)
    if used > most:
        raise FindingError(f"{used / 1e6:.0f} MB for {len(data)} bytes; {most / 1e6:.0f} MB at most")
    return taken


_NATIVE_BYTES = 128 << 20
"""That the interpreter and libraries may grow by themselves, once."""


def _most_resident() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def warm_up(target: Target, inputs: Iterable[bytes]) -> None:
    """Lets libraries load what they load once, before memory is measured."""
    for data in inputs:
        with suppress(Exception):
            target.check(data)


class Values:
    """Bytes read from the front as values; zeros where there are no more."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, count: int) -> bytes:
        """The next bytes, zeros behind the last."""
        part = self._data[self._at : self._at + count]
        self._at += count
        return part.ljust(count, b"\0")

    def rest(self) -> bytes:
        """All that is left."""
        part, self._at = self._data[self._at :], len(self._data)
        return part

    def more(self) -> bool:
        """Whether something is left."""
        return self._at < len(self._data)

    def number(self, kind: str) -> int:
        """A whole number, by its letter in ``struct``; little-endian."""
        (value,) = struct.unpack("<" + kind, self.take(struct.calcsize("<" + kind)))
        return int(value)

    def floats(self, count: int) -> tuple[float, ...]:
        """float64 numbers, whatever their bits say."""
        return struct.unpack(f"<{count}d", self.take(8 * count))

    def flag(self) -> bool:
        """One bit out of a byte."""
        return bool(self.number("B") & 1)

    def choice(self, options: Sequence[Option]) -> Option:
        """One of them, by a byte."""
        return options[self.number("B") % len(options)]

    def text(self) -> str:
        """Up to 255 characters, with their length in front."""
        return self.take(self.number("B")).decode("utf-8", "replace")


@lru_cache(maxsize=1)
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None)


def as_file(name: str, data: bytes) -> Path:
    """A file of that content, until the next one of its name."""
    path = Path(_folder().name) / name
    path.unlink(missing_ok=True)  # what was read may still be mapped into memory
    path.write_bytes(data)
    return path
