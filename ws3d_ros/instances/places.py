"""Where boxes are to each other, as people say it, softly: 1 where it surely holds, towards 0 where not.

All is judged by boxes along the map's axes (z up). What a box does not tell, such as that a chair's
seat is inside a table's box when it is pushed in, is not told apart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

NEAR_M, NEXT_TO_M = 1.0, 0.4
"""Gap at which "near" and "next to" have fallen to 1/e."""
TOUCH_M = 0.12
"""Gap between what lies and what it lies on at which "on" has fallen to 1/e: two voxels."""
DETOUR = 0.1
"""Share of the way between two landmarks by which it gets longer at which "between" has fallen to 1/e."""
REACH_M = 3.0
"""Gap at which directions have fallen to 1/e: people take a landmark that is close."""


@dataclass(frozen=True)
class Boxes:
    """M boxes; ``low_m``, ``high_m`` (M, 3) float64 corners, map frame."""

    low_m: np.ndarray
    high_m: np.ndarray

    @cached_property
    def center_m(self) -> np.ndarray:
        """(M, 3)."""
        return (self.low_m + self.high_m) / 2

    @cached_property
    def apart_m(self) -> np.ndarray:
        """(3, M, M) gaps along each axis, 0 where boxes overlap."""
        low, high = self.low_m.T, self.high_m.T
        gap = low[:, :, None] - high[:, None]
        # The gap the other way round is its transpose.
        return np.maximum(np.maximum(gap, gap.transpose(0, 2, 1)), 0.0)

    @cached_property
    def gap_m(self) -> np.ndarray:
        """(M, M) distance of the boxes."""
        return _length(self.apart_m)

    @cached_property
    def over(self) -> np.ndarray:
        """(M, M) share of each one's footprint within the footprint of the other."""
        low = np.maximum(self.low_m[:, None, :2], self.low_m[None, :, :2])
        high = np.minimum(self.high_m[:, None, :2], self.high_m[None, :, :2])
        area = np.maximum(self.high_m[:, :2] - self.low_m[:, :2], 1e-3).prod(axis=1)
        return np.asarray(np.maximum(high - low, 0.0).prod(axis=2) / area[:, None])


def holds(
    kind: str, boxes: Boxes, marks: Sequence[np.ndarray], viewer_m: np.ndarray | None = None
) -> np.ndarray:
    """(M, M) how far box i is, to the landmark j, where ``kind`` says, times how likely j is the landmark.

    Args:
        kind: of ``questions.RELATIONS`` or ``between``.
        boxes: M boxes.
        marks: (M,) how likely each box is the landmark; two of them for ``between``, of which j is the first.
        viewer_m: (3,), needed for left, right, in front and behind.
    """
    if kind == "between":
        return _between(boxes, marks[0], marks[1])
    if kind in _SIDES:
        assert viewer_m is not None
        return _side(boxes, viewer_m, kind) * marks[0]
    return _KINDS[kind](boxes) * marks[0]


def _near(boxes: Boxes) -> np.ndarray:
    return np.exp(-boxes.gap_m / NEAR_M)


def _next_to(boxes: Boxes) -> np.ndarray:
    return np.exp(-boxes.gap_m / NEXT_TO_M)


def _on(boxes: Boxes) -> np.ndarray:
    """Most of it stands over the other, its lower end at the other's top, or above its middle on a shelf."""
    bottom, middle = boxes.low_m[:, None, 2], boxes.center_m[None, :, 2]
    above = np.maximum(bottom - boxes.high_m[None, :, 2], 0.0)
    below = np.maximum(middle - bottom, 0.0)
    return np.minimum(boxes.over, 1.0) * np.exp(-(above + below) / TOUCH_M)


def _under(boxes: Boxes) -> np.ndarray:
    """Below the other's middle, or in it: tables have legs, and windows reach to what is below them."""
    sunk = np.maximum(boxes.center_m[:, None, 2] - boxes.center_m[None, :, 2], 0.0)
    over = np.maximum(boxes.high_m[:, None, 2] - boxes.high_m[None, :, 2], 0.0)
    return _beside_footprint(boxes) * np.exp(-(sunk + over) / TOUCH_M)


def _above(boxes: Boxes) -> np.ndarray:
    sunk = np.maximum(boxes.high_m[None, :, 2] - boxes.low_m[:, None, 2], 0.0)
    return _beside_footprint(boxes) * np.exp(-sunk / TOUCH_M)


def _in(boxes: Boxes) -> np.ndarray:
    out = np.maximum(boxes.low_m[None] - boxes.low_m[:, None], boxes.high_m[:, None] - boxes.high_m[None])
    return np.exp(-np.maximum(out, 0.0).sum(axis=2) / (2 * TOUCH_M))


def _beside_footprint(boxes: Boxes) -> np.ndarray:
    """Whether footprints overlap or nearly do: what hangs on a wall has hardly any."""
    return np.exp(-_length(boxes.apart_m[:2]) / (2 * TOUCH_M))


def _side(boxes: Boxes, viewer_m: np.ndarray, kind: str) -> np.ndarray:
    """Whether the way from the landmark points to that side, within 45 degrees, as the viewer sees it."""
    forward = boxes.center_m[:, :2] - viewer_m[:2]
    forward = forward / np.maximum(np.linalg.norm(forward, axis=1, keepdims=True), 1e-6)
    left = np.stack([-forward[:, 1], forward[:, 0]], axis=1)
    along, sign = _SIDES[kind]
    axis = sign * (left if along == "left" else forward)
    way = _ways(boxes)
    cosine = (way[0] * axis[:, 0] + way[1] * axis[:, 1]) / np.maximum(_length(way), 1e-6)
    return np.clip(cosine / np.cos(np.pi / 4), 0.0, 1.0) * np.exp(-boxes.gap_m / REACH_M)


def _between(boxes: Boxes, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Best second landmark for each thing and first one: on the way between them, and apart from both."""
    distance = _length(_ways(boxes))
    result = np.zeros_like(distance)
    for j in np.argsort(-second)[:_SECONDS]:
        straight = np.maximum(distance[:, j], 1e-3)
        detour = (distance + distance[:, [j]] - straight) / straight
        part = distance / np.maximum(distance + distance[:, [j]], 1e-3)
        held = np.exp(-detour / DETOUR) * 4.0 * part * (1.0 - part) * first * second[j]
        held[:, j] = 0.0
        result = np.maximum(result, held)
    return result


def _ways(boxes: Boxes) -> np.ndarray:
    """(2, M, M) level way of each middle from each other one."""
    place = boxes.center_m[:, :2].T
    return np.asarray(place[:, :, None] - place[:, None])


def _length(vector: np.ndarray) -> np.ndarray:
    """(K, M, M) to (M, M). The axes come first: sums over a last axis of three take several times as long."""
    return np.asarray(np.sqrt(sum(part * part for part in vector)))


_SECONDS = 20
_SIDES = {
    "left of": ("left", 1.0),
    "right of": ("left", -1.0),
    "behind": ("forward", 1.0),
    "in front of": ("forward", -1.0),
}
_KINDS: dict[str, Callable[[Boxes], np.ndarray]] = {
    "near": _near,
    "next to": _next_to,
    "on": _on,
    "under": _under,
    "above": _above,
    "in": _in,
}
