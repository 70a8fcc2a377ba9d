"""A hall with a level floor and walls, in voxels of 5 cm, and things to put into it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from windows import box_cells, window

from ws3d_ros.language.vocabulary import Vocabulary
from ws3d_ros.reconstruction.window import Window

WORDS = Vocabulary.from_tree(
    {
        "entries": [
            {"name": "floor", "role": "traversable"},
            {"name": "rug", "role": "traversable", "cost": 0.2},
            {"name": "wall"},
            {"name": "curtain", "cost": 0.8},
            {"name": "ceiling", "role": "ignore"},
            {"name": "cup", "synonyms": ["mug"], "role": "target"},
        ]
    },
    "worlds.py",
)
FLOOR, RUG, WALL, CURTAIN, CEILING, CUP = range(1, 7)
SIZE = 80
"""Voxels to a side: 4 m."""

Part = tuple[Tensor, tuple[float, float, float], int]
"""Cells, their normal, their label."""


def hall(*things: Part, walls: bool = True) -> Window:
    """The floor (top at 5 cm), walls of 2 m around it, and things; where these stand there is no floor."""
    parts: list[Part] = []
    if walls:
        for low, high, normal in (
            ((0, 0, 1), (1, SIZE, 40), (1.0, 0.0, 0.0)),
            ((SIZE - 1, 0, 1), (SIZE, SIZE, 40), (-1.0, 0.0, 0.0)),
            ((1, 0, 1), (SIZE - 1, 1, 40), (0.0, 1.0, 0.0)),
            ((1, SIZE - 1, 1), (SIZE - 1, SIZE, 40), (0.0, -1.0, 0.0)),
        ):
            parts.append((box_cells(low, high), normal, WALL))
    parts += things
    standing = {(x, y) for cells, _, _ in things for x, y, z in cells.tolist() if z <= 2}
    floor = box_cells((0, 0, 0), (SIZE, SIZE, 1))
    floor = floor[torch.tensor([(x, y) not in standing for x, y, _ in floor.tolist()])]
    return made([(floor, (0.0, 0.0, 1.0), FLOOR), *parts])


def box(low: tuple[int, int, int], high: tuple[int, int, int], label: int = 0) -> list[Part]:
    """The skin of a box: sides, and a top that faces up."""
    (x, y, _), (to_x, to_y, to_z) = low, high
    cells = box_cells(low, high)
    sides = (cells[:, 0] == x) | (cells[:, 0] == to_x - 1) | (cells[:, 1] == y) | (cells[:, 1] == to_y - 1)
    top = cells[:, 2] == to_z - 1
    return [
        (cells[sides & ~top], (1.0, 0.0, 0.0), label),
        (cells[top], (0.0, 0.0, 1.0), label),
    ]


def made(parts: Sequence[Part], ids: Sequence[int] = ()) -> Window:
    """A window of parts; ``ids``: the object that each is of, 0 for none."""
    sizes = torch.tensor([len(cells) for cells, _, _ in parts])
    labels = torch.tensor([label for _, _, label in parts], dtype=torch.int16)
    return window(
        torch.cat([cells for cells, _, _ in parts]),
        normal=torch.cat([torch.tensor(normal).expand(len(cells), 3) for cells, normal, _ in parts]),
        label=labels.repeat_interleave(sizes),
        instance=torch.tensor(ids or [0] * len(parts), dtype=torch.int32).repeat_interleave(sizes),
    )


def at(window: Window, low_m: Sequence[float], high_m: Sequence[float]) -> Tensor:
    """(N,) bool, voxels with their middle in a box."""
    points = window.points_m
    return ((points >= torch.tensor(low_m)) & (points < torch.tensor(high_m))).all(1)
