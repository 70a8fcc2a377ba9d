"""Experiments of many runs: a line for each that is done, so that none is done twice."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

Cell = TypeVar("Cell")


class Lines:
    """Finished runs in a file, one JSON object a line; several processes may add to it.

    Only lines whose ``run`` is one of ours count: others are of another recipe or another start.
    """

    def __init__(self, path: Path, *runs: str) -> None:
        self._path, self._runs = path, runs

    def rows(self) -> list[dict[str, Any]]:
        """All that are ours, in the order in which they were finished."""
        text = self._path.read_text() if self._path.exists() else ""
        return [row for row in map(json.loads, text.splitlines()) if row["run"] in self._runs]

    def has(self, **what: Any) -> bool:
        """Whether there is one with these entries."""
        return any(all(row[name] == value for name, value in what.items()) for row in self.rows())

    def add(self, row: dict[str, Any]) -> None:
        """Adds a finished run, which has a ``run``."""
        with self._path.open("a") as file:
            file.write(json.dumps(row) + "\n")  # one short write: lines stay whole


def part_of(cells: Sequence[Cell], part: str) -> list[Cell]:
    """Every N-th, from the K-th on, for ``K/N``.

    >>> part_of("abcde", "1/2")
    ['b', 'd']
    """
    first, count = map(int, part.split("/"))
    if not 0 <= first < count:
        raise SystemExit(f"--part must be K/N with K of 0 to N - 1, not {part}")
    return list(cells[first::count])


def mean_and_deviation(rows: Sequence[dict[str, Any]], figures: Sequence[str]) -> dict[str, list[float]]:
    """Mean and standard deviation over rows of the figures that all of them have."""
    return {
        name: [round(float(f([row[name] for row in rows])), 4) for f in (np.mean, np.std)]
        for name in figures
        if all(name in row for row in rows)
    }
