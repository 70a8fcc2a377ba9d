"""What earlier windows looked like, in bounded memory: voxels only, so that words may change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Voxels:
    """What the network reads of N voxels.

    Attributes:
        cells: (N, 3) int32 on the network's grid.
        color: (N, 3) float32 RGB in 0..255; NaN where unknown.
        normal: (N, 3) float32; 0 where unknown.
    """

    cells: Tensor
    color: Tensor
    normal: Tensor

    def __len__(self) -> int:
        return len(self.cells)

    def take(self, rows: Tensor) -> Voxels:
        """Some of the voxels."""
        return Voxels(self.cells[rows], self.color[rows], self.normal[rows])


def around(cells: Tensor, center: int, most: int) -> Tensor:
    """(M,) ascending rows of the ``most`` voxels nearest to one of them, seen from above: rooms keep their
    floor and ceiling."""
    if len(cells) <= most:
        return torch.arange(len(cells), device=cells.device)
    distance = (cells[:, :2] - cells[center, :2]).abs().amax(1)
    return torch.sort(torch.argsort(distance, stable=True)[:most]).values


class Reservoir:
    """Parts of all windows so far, each with the same chance (algorithm R, Vitter, ACM TOMS 1985)."""

    def __init__(self, most_parts: int, part_voxels: int, seed: int) -> None:
        """Never holds more than ``most_parts`` of ``part_voxels`` each, 36 bytes a voxel."""
        self._most, self._part, self._seed = most_parts, part_voxels, seed
        self.parts: list[Voxels] = []
        self._offered = 0

    def offer(self, window: Voxels) -> None:
        """A window that may or may not be kept."""
        rng = np.random.default_rng([self._seed, 2, self._offered])
        self._offered += 1
        place = len(self.parts) if len(self.parts) < self._most else int(rng.integers(self._offered))
        if place >= self._most or len(window) == 0:
            return
        part = window.take(around(window.cells, int(rng.integers(len(window))), self._part))
        self.parts[place : place + 1] = [part]

    def state(self) -> dict[str, Tensor]:
        """Plain tensors."""
        return pack(self.parts) | {"offered": torch.tensor(self._offered)}

    def take_state(self, state: Mapping[str, Tensor]) -> None:
        """Takes over a state; parts beyond the bounds are left out. Raises ValueError as ``unpack``."""
        parts = [part.take(torch.arange(min(len(part), self._part))) for part in unpack(state)]
        self._offered, self.parts = int(state["offered"]), parts[: self._most]


def pack(parts: Sequence[Voxels]) -> dict[str, Tensor]:
    """Parts one behind the other, as tensors on the CPU; ``lengths`` (P,) says where they end."""
    empty = torch.zeros(0, 3)
    return {
        "cells": torch.cat([empty.int(), *(part.cells.cpu().int() for part in parts)]),
        "color": torch.cat([empty, *(part.color.cpu() for part in parts)]),
        "normal": torch.cat([empty, *(part.normal.cpu() for part in parts)]),
        "lengths": torch.tensor([len(part) for part in parts], dtype=torch.int64),
    }


def unpack(state: Mapping[str, Tensor]) -> list[Voxels]:
    """The parts that were packed.

    Raises:
        ValueError: where the tensors do not belong together.
    """
    lengths = state["lengths"].tolist()
    for name in ("cells", "color", "normal"):
        if state[name].shape != (sum(lengths), 3):
            raise ValueError(f"replay '{name}' is {tuple(state[name].shape)}, not ({sum(lengths)}, 3)")
    columns = (state[name].split(lengths) for name in ("cells", "color", "normal"))
    return [Voxels(*part) for part in zip(*columns, strict=True)]
