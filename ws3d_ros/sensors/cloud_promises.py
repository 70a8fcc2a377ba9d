"""What the headers of cloud files promise, held against the size of the file before it is read.

The libraries that read these files believe their headers: a few bytes make them allocate gigabytes, or count
to four thousand millions.
"""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.lib import format as npy

_DEFLATE = 1032
"""The most bytes that deflate makes of one (RFC 1951)."""
_LZF = 88
"""The same of LZF, whose longest reference makes 264 bytes of 3."""
_LAZ = 1000
"""Beyond what LAZ does: 5 to 20 times is usual."""
_HEADER_BYTES = 1 << 20
_SHORT_COUNTS = {"char", "uchar", "int8", "uint8", "short", "ushort", "int16", "uint16"}


TRIANGLES = ("vertex_indices", "vertex_index")
"""Lists of a PLY's faces that are first read as three each, whatever their lengths say."""


class PromiseError(ValueError):
    """A header that promises more than its file can hold."""


def check_promises(path: Path) -> None:
    """Does nothing for suffixes that it does not know.

    Raises:
        PromiseError: says what does not fit.
        Exception: for a header that cannot be read at all, as the library that reads the rest would.
    """
    check = _CHECKS.get(path.suffix.lower())
    if check is not None:
        with path.open("rb") as file:
            check(file, path.stat().st_size)


def check_lists(path: Path) -> None:
    """Raises PromiseError for a PLY with lists whose lengths have four bytes, each of which may be a lie."""
    with path.open("rb") as file:
        for _, _, properties in _ply_elements(file):
            _check_lists(properties)


def _check_ply(file: BinaryIO, size: int) -> None:
    for name, count, properties in _ply_elements(file):
        # Each value takes a byte or more; in text, one and a blank.
        _check(count * max(len(properties), 1) <= size, f"{count} rows of '{name[:40]}'", size)
        known = TRIANGLES if name == "face" else ()
        _check_lists([words for words in properties if words[-1] not in known])


def _ply_elements(file: BinaryIO) -> list[tuple[str, int, list[list[str]]]]:
    """Name, rows and properties, as words, of each element."""
    elements: list[tuple[str, int, list[list[str]]]] = []
    for words in _lines(file, "end_header"):
        if words[0] == "element" and len(words) == 3:
            elements.append((words[1], int(words[2]), []))
        elif words[0] == "property" and elements:
            elements[-1][2].append(words)
    return elements


def _check_lists(properties: list[list[str]]) -> None:
    for words in properties:
        if words[1:2] == ["list"] and words[2:3] and words[2] not in _SHORT_COUNTS:
            raise PromiseError(
                f"lists with lengths of the type {words[2][:40]}; save it with uchar, or without lists"
            )


def _check_pcd(file: BinaryIO, size: int) -> None:
    """By pypcd4's own reading of the header, as another one could differ."""
    from pypcd4 import Encoding, MetaData

    lines: list[str] = []
    while len(lines) < 10 and not (lines and lines[-1].startswith("DATA")):
        line = file.readline(_HEADER_BYTES)
        if not line:
            break
        words = line.decode("utf-8").strip()
        if words and not words.startswith("#"):
            lines.append(words)
    header = MetaData.parse_header(lines)
    points, values = header.points, sum(header.count)
    bytes_ = sum(a * b for a, b in zip(header.size, header.count, strict=True))
    _check(min(*header.size, *header.count, points) >= 0, "a negative size", size)
    _check(values <= size, f"{values} values a point", size)
    if header.data == Encoding.ASCII:
        _check(points * values <= size, f"{points} points of {values} values", size)
    elif header.data == Encoding.BINARY:
        _check(points * bytes_ <= size, f"{points} points of {bytes_} bytes", size)
    else:
        sizes = file.read(8)
        packed, unpacked = (int.from_bytes(part, "little") for part in (sizes[:4], sizes[4:]))
        _check(packed <= size, f"{packed} packed bytes", size)
        unpacked = max(points * bytes_, unpacked)
        _check(unpacked <= _LZF * size, f"{unpacked} bytes", size)


def _check_las(file: BinaryIO, size: int) -> None:
    """ASPRS LAS 1.4 R15, 2.4 to 2.7."""
    head = file.read(375)
    if len(head) < 227:
        return  # nothing to promise with
    begin, records, kind, length, points = struct.unpack_from("<IIBHI", head, 96)
    extended = 0
    if head[25] >= 4 and len(head) == 375:
        extended, points = struct.unpack_from("<IQ", head, 243)
    _check(begin <= size, f"points from byte {begin}", size)
    _check(54 * records + 60 * extended <= size, f"{records + extended} records of variable length", size)
    most = size * (_LAZ if kind >= 64 else 1)
    _check(points * length <= most, f"{points} points of {length} bytes", size)


def _check_npz(file: BinaryIO, size: int) -> None:
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            _check(info.file_size <= _DEFLATE * size, f"{info.file_size} bytes in {info.filename[:40]}", size)
            with archive.open(info) as member:
                version = npy.read_magic(member)
                read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
                shape, _, dtype = read(member)
            values = int(np.prod([int(edge) for edge in shape], dtype=object))
            _check(
                values * dtype.itemsize <= info.file_size, f"{values} values in {info.filename[:40]}", size
            )


_CHECKS: dict[str, Callable[[BinaryIO, int], None]] = {
    ".ply": _check_ply,
    ".pcd": _check_pcd,
    ".las": _check_las,
    ".laz": _check_las,
    ".npz": _check_npz,
}


def _lines(file: BinaryIO, last: str) -> list[list[str]]:
    """Words of the lines of a header of text, up to the one that begins with ``last``."""
    found: list[list[str]] = []
    while file.tell() < _HEADER_BYTES and (line := file.readline(_HEADER_BYTES)):
        words = line.decode("ascii", "replace").split()
        if words:
            found.append(words)
            if words[0] == last:
                break
    return found


def _check(holds: bool, what: str, size: int) -> None:
    if not holds:
        raise PromiseError(
            f"its header promises {what}, which {size} bytes cannot hold: cut short or damaged"
        )
