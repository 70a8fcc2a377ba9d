"""Reading the files of data sets, with errors that say which file, what was expected and where."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import DTypeLike


class DatasetError(ValueError):
    """A data set that is not laid out as it should be, or a file of one that is broken."""


def require(path: Path, layout: str) -> Path:
    """The path.

    Raises:
        DatasetError: when there is nothing; ``layout`` is a sentence that says what should be there.
    """
    if not path.exists():
        raise DatasetError(f"{path} does not exist. {layout}")
    return path


def read_records(path: Path, kind: DTypeLike, columns: int, layout: str) -> np.ndarray:
    """(N, columns) little-endian values of a raw binary file.

    Raises:
        DatasetError: when it is missing, or no whole number of records long.
    """
    data = require(path, layout).read_bytes()
    size = np.dtype(kind).itemsize * columns
    if len(data) % size:
        raise DatasetError(
            f"{path} is {len(data)} bytes long, no multiple of {size}: it is cut short or something else. "
            + layout
        )
    return np.frombuffer(data, kind).reshape(-1, columns)


def require_a_label_a_point(labels: Path, label_count: int, points: Path, point_count: int) -> None:
    """
    Raises:
        DatasetError: when two files do not have as many labels as points.
    """
    if label_count != point_count:
        raise DatasetError(
            f"{labels} has {label_count} labels, but {points} has {point_count} points: "
            "one of them is cut short, or they do not belong together"
        )


def read_json(path: Path, layout: str) -> Any:
    """What a JSON file holds.

    Raises:
        DatasetError: when it is missing or no JSON.
    """
    try:
        return json.loads(require(path, layout).read_text(encoding="utf-8"))
    except ValueError as error:
        raise DatasetError(f"{path} is no JSON, or cut short: {error}") from error


def read_numbers(path: Path, layout: str, columns: int | None = None) -> np.ndarray:
    """(N, columns) float64 numbers of a text file, a row a line; ``#`` begins a comment.

    Raises:
        DatasetError: when it is missing, or its lines are no rows of ``columns`` numbers.
    """
    try:
        # Some files have stray control characters between numbers (S3DIS: Area_5/hallway_6).
        text = require(path, layout).read_bytes().replace(b"\x10", b" ").decode("ascii")
        lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
        numbers = np.loadtxt(lines, np.float64, ndmin=2) if lines else np.empty((0, columns or 0))
    except ValueError as error:
        raise DatasetError(f"{path} is not made of rows of numbers: {error}. {layout}") from error
    if columns is not None and numbers.shape[1] != columns:
        raise DatasetError(f"{path} has {numbers.shape[1]} numbers a line instead of {columns}. {layout}")
    return numbers


def read_color(path: Path) -> np.ndarray:
    """(H, W, 3) uint8 RGB.

    Raises:
        DatasetError: when it is missing or no image.
    """
    return np.asarray(cv2.cvtColor(_read_image(path, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB))


def read_depth(path: Path, units_per_m: float, invalid: int = 0) -> np.ndarray:
    """(H, W) float32 metres of a 16-bit image, 0 where it is 0 or ``invalid``.

    Raises:
        DatasetError: when it is missing, no image, or none of 16 bits and one channel.
    """
    image = _read_image(path, cv2.IMREAD_UNCHANGED)
    if image.dtype != np.uint16 or image.ndim != 2:
        raise DatasetError(f"{path} must be a grey image of 16 bits, not {image.shape} {image.dtype}")
    return np.where(image == invalid, 0, image).astype(np.float32) / np.float32(units_per_m)


def _read_image(path: Path, mode: int) -> np.ndarray:
    if not path.exists():
        raise DatasetError(f"the image {path} is missing")
    image = cv2.imread(str(path), mode)
    if image is None:
        raise DatasetError(f"{path} is no image, or cut short")
    return np.asarray(image)
