"""A row of fitted kitchen units along a wall: base cabinets under one counter, appliances, wall cabinets."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from ws3d_ros.training.scenes import made
from ws3d_ros.training.scenes.furnish import Zone
from ws3d_ros.training.scenes.mesh import Mesh, box, join
from ws3d_ros.training.scenes.scene import Thing

_DEPTH_M, _COUNTER_M, _SLAB_M = 0.6, 0.9, 0.04
_UPPER_M = (1.4, 2.1)
_STEEL = (0.62, 0.63, 0.65)
_BLACK = (0.05, 0.05, 0.06)


def kitchen_row(
    rng: np.random.Generator, wall_m: float, height_m: float, is_free: Callable[[Zone], bool]
) -> tuple[list[Thing], list[Zone]]:
    """Things of a row with their backs at y = 0 and fronts towards -y, and the zones that they take.

    Args:
        rng: decides.
        wall_m: length of the wall, from x = 0.
        height_m: of the room.
        is_free: whether a zone along the wall is free.
    """
    for _ in range(20):
        count = int(rng.integers(2, 8))
        widths = rng.choice([0.45, 0.6, 0.6, 0.8], count)
        spare_m = wall_m - float(widths.sum()) - 0.04
        start = 0.02 if rng.random() < 0.4 else float(rng.uniform(0.02, max(0.02, spare_m)))
        stop = start + float(widths.sum())
        zone = Zone((start, -_DEPTH_M, 0.0), (stop, 0.0, _COUNTER_M))
        if stop < wall_m - 0.02 and is_free(zone):
            break
    else:
        return [], []
    front = rng.uniform(0.3, 0.98) * np.array([1, rng.uniform(0.75, 1), rng.uniform(0.5, 1)])
    top = made.plaster(rng, rng.uniform(0.1, 0.9) * np.array([1, 0.97, 0.93]))
    slab = [box([start, -_DEPTH_M - 0.02, _COUNTER_M - _SLAB_M], [stop, 0, _COUNTER_M], np.ones(3), top)]
    if rng.random() < 0.5:
        slab.append(
            box([start, -0.015, _COUNTER_M], [stop, 0, _COUNTER_M + rng.uniform(0.05, 0.5)], np.ones(3), top)
        )
    things = [Thing("kitchen counter", join(slab))]
    zones = [zone]
    units = rng.permutation(["sink", "stove", "dishwasher", "washing machine", *["kitchen cabinet"] * 4])
    for unit, low, width in zip(units, start + np.cumsum(widths) - widths, widths, strict=False):
        things += _unit(str(unit), rng, float(low), float(low + width), front)
        upper = Zone((float(low), -0.36, _UPPER_M[0]), (float(low + width), 0.0, _UPPER_M[1]))
        if height_m > _UPPER_M[1] + 0.05 and rng.random() < 0.75 and is_free(upper):
            if unit == "stove":
                things.append(Thing("range hood", _hood(rng, float(low), float(low + width))))
            else:
                cabinet = _front(rng, float(low), float(low + width), *_UPPER_M, 0.34, front)
                things.append(Thing("kitchen cabinet", cabinet))
            zones.append(upper)
    return things, zones


def _unit(unit: str, rng: np.random.Generator, low: float, high: float, color: np.ndarray) -> list[Thing]:
    """What is under the counter between two x, and what is set into it above."""
    top = _COUNTER_M - _SLAB_M
    middle, half = (low + high) / 2, (high - low) / 2
    if unit in ("dishwasher", "washing machine"):
        body = box(
            [low + 0.005, -_DEPTH_M, 0.03], [high - 0.005, 0, top], np.ones(3) * rng.uniform(0.5, 0.98)
        )
        panel = box([low + 0.01, -_DEPTH_M - 0.012, top - 0.12], [high - 0.01, -_DEPTH_M, top - 0.01], _STEEL)
        parts = [body, panel]
        if unit == "washing machine":
            parts.append(_disc(middle, -_DEPTH_M - 0.01, 0.42, 0.17))
        return [Thing(unit, join(parts))]
    if unit == "stove":
        oven = box([low + 0.005, -_DEPTH_M, 0.1], [high - 0.005, 0, top], _STEEL)
        glass = box([low + 0.06, -_DEPTH_M - 0.01, 0.25], [high - 0.06, -_DEPTH_M, top - 0.2], _BLACK)
        hob = box(
            [low + 0.02, -_DEPTH_M + 0.05, _COUNTER_M], [high - 0.02, -0.06, _COUNTER_M + 0.012], _BLACK
        )
        return [Thing("oven", join([oven, glass])), Thing("stove", hob)]
    things = [Thing("kitchen cabinet", _front(rng, low, high, 0.1, top, _DEPTH_M, color))]
    if unit == "sink":
        back, deep = -0.12, -0.5
        rim = _COUNTER_M + 0.006
        reach = min(half - 0.03, 0.3)
        left, right = middle - reach, middle + reach
        basin = [
            box([left, deep, rim - 0.01], [right, deep + 0.03, rim], _STEEL),
            box([left, back - 0.03, rim - 0.01], [right, back, rim], _STEEL),
            box([left, deep, rim - 0.01], [left + 0.03, back, rim], _STEEL),
            box([right - 0.03, deep, rim - 0.01], [right, back, rim], _STEEL),
            box(
                [left + 0.03, deep + 0.03, rim - 0.004],
                [right - 0.03, back - 0.03, rim - 0.001],
                (0.4, 0.4, 0.42),
            ),
            box([middle - 0.015, -0.1, rim], [middle + 0.015, -0.07, rim + 0.25], _STEEL),
            box([middle - 0.015, -0.27, rim + 0.22], [middle + 0.015, -0.07, rim + 0.25], _STEEL),
        ]
        things.append(Thing("sink", join(basin)))
    return things


def _front(
    rng: np.random.Generator,
    low: float,
    high: float,
    bottom: float,
    top: float,
    depth: float,
    color: np.ndarray,
) -> Mesh:
    """A cabinet with one or two doors, or drawers, a joint apart, and their handles."""
    parts = [box([low, -depth + 0.02, bottom], [high, 0, top], 0.7 * color)]
    if bottom > 0.5 or rng.random() < 0.7:
        count = 2 if high - low > 0.7 else 1
        edges = np.linspace(low, high, count + 1)
        for left, right in pairwise(edges.tolist()):
            parts.append(
                box(
                    [left + 0.003, -depth, bottom + 0.003], [right - 0.003, -depth + 0.02, top - 0.003], color
                )
            )
            grip = (top - 0.2, top - 0.05) if bottom < 0.5 else (bottom + 0.05, bottom + 0.2)
            parts.append(
                box([right - 0.05, -depth - 0.03, grip[0]], [right - 0.035, -depth, grip[1]], _STEEL)
            )
        return join(parts)
    edges = np.linspace(bottom, top, int(rng.integers(3, 5)))
    for under, over in pairwise(edges.tolist()):
        parts.append(
            box([low + 0.003, -depth, under + 0.003], [high - 0.003, -depth + 0.02, over - 0.003], color)
        )
        middle = (low + high) / 2
        parts.append(
            box([middle - 0.08, -depth - 0.03, over - 0.06], [middle + 0.08, -depth, over - 0.045], _STEEL)
        )
    return join(parts)


def _hood(rng: np.random.Generator, low: float, high: float) -> Mesh:
    """A flat hood with a chimney."""
    bottom = _UPPER_M[0] + rng.uniform(0.05, 0.2)
    middle = (low + high) / 2
    plate = box([low + 0.01, -0.45, bottom], [high - 0.01, 0, bottom + rng.uniform(0.05, 0.15)], _STEEL)
    return join([plate, box([middle - 0.12, -0.26, bottom], [middle + 0.12, 0, _UPPER_M[1]], _STEEL)])


def _disc(x: float, y: float, z: float, radius: float) -> Mesh:
    """A dark round door, as a stack of flat boxes."""
    parts = []
    for angle in np.linspace(0.15, 1.45, 5):
        half, high = radius * np.cos(angle), radius * np.sin(angle)
        parts.append(box([x - half, y - 0.01, z - high], [x + half, y + 0.01, z + high], (0.15, 0.16, 0.18)))
    return join(parts)
