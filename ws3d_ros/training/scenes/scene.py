"""A furnished flat as a list of named things, and what it takes to look at it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ws3d_ros.training.scenes.classes import CLASSES
from ws3d_ros.training.scenes.furniture import Model
from ws3d_ros.training.scenes.mesh import Mesh


@dataclass(frozen=True)
class Thing:
    """One instance.

    Attributes:
        word: plain word.
        mesh: its triangles in the map frame.
        model: of the catalogue, if it is from there.
        part_of: what it is a part of or belongs to: a pillow to its bed, blinds to their window.
    """

    word: str
    mesh: Mesh
    model: Model | None = None
    part_of: Thing | None = None

    @property
    def class_index(self) -> int:
        """Index into ``CLASSES``, -1 for words that are not among them."""
        return CLASSES.index(self.word) if self.word in CLASSES else -1


@dataclass(frozen=True)
class Room:
    """The inside of a room: a rectangle on the floor, and its height."""

    kind: str
    low_m: tuple[float, float]
    high_m: tuple[float, float]
    height_m: float

    @property
    def size_m(self) -> tuple[float, float]:
        """Extent in x and y."""
        return self.high_m[0] - self.low_m[0], self.high_m[1] - self.low_m[1]

    @property
    def centre_m(self) -> np.ndarray:
        """(2,) middle of the floor."""
        return (np.asarray(self.low_m) + np.asarray(self.high_m)) / 2


@dataclass(frozen=True)
class Scene:
    """A flat. Instance ``i`` > 0 in rendered images is ``things[i - 1]``; 0 is outside.

    Attributes:
        rooms: one or two, side by side along x.
        things: walls first, in the order in which they were made.
        sun: (3,) unit vector towards the light from outside.
        ambient: brightness of light from everywhere, about 0.3 to 0.6.
        lamps_m: (L, 3) positions of the lights of the rooms.
        lamp_color: (3,) RGB of their light.
    """

    rooms: tuple[Room, ...]
    things: tuple[Thing, ...]
    sun: np.ndarray
    ambient: float
    lamps_m: np.ndarray
    lamp_color: np.ndarray

    def class_of_instance(self) -> np.ndarray:
        """(1 + things,) int16: index into ``CLASSES``, and -1 for others."""
        return np.array([-1, *(thing.class_index for thing in self.things)], np.int16)
