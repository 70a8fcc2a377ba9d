"""Furniture into a room: what each kind of room wants, and rules for where it may stand."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from ws3d_ros.training.scenes import made
from ws3d_ros.training.scenes.furniture import Model, by_word, load_mesh
from ws3d_ros.training.scenes.kinds import KINDS, Wish
from ws3d_ros.training.scenes.mesh import Mesh
from ws3d_ros.training.scenes.scene import Room, Thing

_TRIES = 30
_MADE: dict[str, Callable[[np.random.Generator], Mesh]] = {
    "pillow": made.pillow,
    "rug": made.rug,
    "picture": made.picture,
    "mirror": made.mirror,
    "shelf": made.shelf,
    "stairs": made.stairs,
}
_WALLS = {  # yaw of what stands with its back to it
    "south": np.pi,
    "north": 0.0,
    "west": np.pi / 2,
    "east": -np.pi / 2,
}


@dataclass(frozen=True)
class Zone:
    """A box, low and high corner in metres, that is taken."""

    low_m: tuple[float, ...]
    high_m: tuple[float, ...]

    def meets(self, other: Zone) -> bool:
        """Whether the two overlap by more than a hair."""
        return all(
            low < top - 1e-3 and bottom < high - 1e-3
            for low, high, bottom, top in zip(self.low_m, self.high_m, other.low_m, other.high_m, strict=True)
        )


@dataclass(frozen=True)
class _Placed:
    """A thing with the rectangle that it stands on."""

    thing: Thing
    yaw: float
    zone: Zone


class Furnisher:
    """Places the wishes of one room one after the other; what finds no free place is left out."""

    def __init__(self, rng: np.random.Generator, room: Room, taken: Iterable[Zone]) -> None:
        self._rng = rng
        self._room = room
        self._taken = list(taken)
        self._things: list[Thing] = []

    def furnish(self) -> list[Thing]:
        """All things that found a place."""
        for wish in KINDS[self._room.kind].wishes:
            self._fulfil(wish, None)
        return self._things

    def _fulfil(self, wish: Wish, host: _Placed | None) -> None:
        words = [word.strip() for word in wish.words.split(",")]
        for _ in range(self._rng.integers(wish.count[0], wish.count[1] + 1)):
            word = str(self._rng.choice(words))
            picked = self._pick(word, wish.rule)
            placed = picked and self._place(word, *picked, wish.rule, host)
            if placed:
                for more in wish.with_:
                    self._fulfil(more, placed)

    def _pick(self, word: str, rule: str) -> tuple[Mesh, Model | None] | None:
        """A thing of the word whose form suits the rule."""
        models = [model for model in by_word().get(word, []) if _suits(model, rule)]
        if word in _MADE and (not models or self._rng.random() < 0.8):
            return _MADE[word](self._rng), None
        if not models:
            return None
        model = models[self._rng.integers(len(models))]
        gain = self._rng.uniform(0.8, 1.15) * self._rng.uniform(0.93, 1.07, 3)
        return load_mesh(model).tinted(gain), model

    def _place(
        self, word: str, mesh: Mesh, model: Model | None, rule: str, host: _Placed | None
    ) -> _Placed | None:
        size = mesh.bounds[1] - mesh.bounds[0]
        for _ in range(_TRIES):
            spot = self._spot(rule, size, model, host)
            if spot is None:
                return None
            x, y, z, yaw = spot
            zone = _zone(size, x, y, z, yaw)
            # A cushion rests within the space of its bed; everything may stand on a rug.
            ignored = host.zone if host and rule == "rest" else None
            if not self._inside(zone) or (
                rule != "under" and any(zone.meets(other) for other in self._taken if other is not ignored)
            ):
                continue
            owner = host.thing if host and word == "pillow" else None
            thing = Thing(word, mesh.moved(yaw, (x, y, z)), model, owner)
            self._things.append(thing)
            if rule != "under":
                self._taken.append(zone)
            return _Placed(thing, yaw, zone)
        return None

    def _spot(
        self, rule: str, size: np.ndarray, model: Model | None, host: _Placed | None
    ) -> tuple[float, float, float, float] | None:
        """x, y, z of the middle of the thing's foot, and its yaw; None where the rule cannot hold."""
        rng, room = self._rng, self._room
        (x0, y0), (x1, y1) = room.low_m, room.high_m
        if rule in ("wall", "mount"):
            z = 0.0 if rule == "wall" else self._height_on_wall(size, model)
            wall = str(rng.choice(list(_WALLS)))
            return (*self._at_wall(wall, size), z, _WALLS[wall])
        if rule == "corner":
            west, south = rng.random(2) < 0.5
            reach = float(np.hypot(size[0], size[1])) / 2 * rng.uniform(0.75, 1.2) + 0.03
            x = x0 + reach if west else x1 - reach
            y = y0 + reach if south else y1 - reach
            inwards = np.arctan2(1 if south else -1, 1 if west else -1)
            return x, y, 0.0, float(inwards + np.pi / 2)
        if rule == "middle":
            gap = 0.9
            if x1 - x0 < size[0] + 2 * gap or y1 - y0 < size[1] + 2 * gap:
                gap = 0.4
            x, y = (
                rng.uniform(low + gap + side / 2, max(low + gap + side / 2, high - gap - side / 2))
                for low, high, side in ((x0, x1, size[0]), (y0, y1, size[1]))
            )
            return x, y, 0.0, float(rng.choice([0.0, np.pi / 2]))
        if rule == "anywhere":
            x, y = rng.uniform(x0 + 0.3, x1 - 0.3), rng.uniform(y0 + 0.3, y1 - 0.3)
            return x, y, 0.0, float(rng.uniform(-np.pi, np.pi))
        if rule == "hang":
            x, y = room.centre_m + rng.uniform(-0.25, 0.25, 2) * room.size_m
            return x, y, room.height_m - float(size[2]) - 0.001, float(rng.choice([0.0, np.pi / 2]))
        if rule in ("lie", "under"):
            x, y = room.centre_m + rng.uniform(-0.2, 0.2, 2) * room.size_m
            return x, y, 0.001, float(rng.choice([0.0, np.pi / 2]))
        return None if host is None else self._near(rule, size, host)

    def _near(self, rule: str, size: np.ndarray, host: _Placed) -> tuple[float, float, float, float] | None:
        """Spots on, beside, before or around another thing."""
        rng, yaw = self._rng, host.yaw
        low, high = np.array(host.zone.low_m), np.array(host.zone.high_m)
        centre = (low + high)[:2] / 2
        turn = np.array([[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]])
        extent = np.abs(turn.T @ (high - low)[:2])  # along the host's own axes
        if rule == "on":
            model = host.thing.model
            if model is None or model.top_m <= 0.1:
                return None
            free = np.maximum(extent - size[:2] - 0.04, 0.0) / 2
            if (size[:2] > extent * 1.1).any():
                return None
            x, y = centre + turn @ (rng.uniform(-1, 1, 2) * free)
            return float(x), float(y), float(low[2]) + model.top_m + 0.002, yaw + float(rng.normal(0, 0.25))
        if rule == "rest":
            model = host.thing.model
            if model is None or not 0.1 < model.top_m < 0.8 or size[0] > extent[0]:
                return None
            side = rng.uniform(-1, 1) * (extent[0] - size[0]) / 2
            back_m = rng.uniform(0.05, 0.2) if host.thing.word == "bed" else rng.uniform(0.2, 0.35)
            x, y = centre + turn @ np.array([side, (extent[1] - size[1]) / 2 - back_m])
            return float(x), float(y), float(low[2]) + model.top_m + 0.002, yaw + float(rng.normal(0, 0.15))
        if rule == "beside":
            side = rng.choice([-1, 1]) * (extent[0] + size[0] + 0.06) / 2
            x, y = centre + turn @ np.array([side, (extent[1] - size[1]) / 2])
            return float(x), float(y), 0.0, yaw
        if rule == "before":
            chair = size[2] > 0.6
            gap = -0.3 * size[1] if chair else rng.uniform(0.35, 0.5)
            x, y = centre + turn @ np.array([rng.normal(0, 0.05), -(extent[1] + size[1]) / 2 - gap])
            return float(x), float(y), 0.0, yaw + np.pi if chair else yaw
        direction = int(rng.integers(4))
        face = direction * np.pi / 2
        out = np.array([np.sin(face), -np.cos(face)])  # towards which the chair's back is
        half, other = (extent[1], extent[0]) if direction % 2 == 0 else (extent[0], extent[1])
        along = np.array([np.cos(face), np.sin(face)]) * rng.uniform(-0.5, 0.5) * max(other - size[0], 0.0)
        x, y = centre + turn @ (out * (half / 2 + size[1] * rng.uniform(0.55, 0.75)) + along)
        return float(x), float(y), 0.0, yaw + face + np.pi + float(rng.normal(0, 0.1))

    def _at_wall(self, wall: str, size: np.ndarray) -> tuple[float, float]:
        """x, y of a place with the back to a wall."""
        (x0, y0), (x1, y1) = self._room.low_m, self._room.high_m
        gap = float(size[1]) / 2 + 0.015
        along = (x0, x1) if wall in ("south", "north") else (y0, y1)
        t = self._rng.uniform(
            along[0] + size[0] / 2 + 0.01, max(along[1] - size[0] / 2 - 0.01, along[0] + size[0] / 2 + 0.01)
        )
        return {
            "south": (t, y0 + gap),
            "north": (t, y1 - gap),
            "west": (x0 + gap, t),
            "east": (x1 - gap, t),
        }[wall]

    def _height_on_wall(self, size: np.ndarray, model: Model | None) -> float:
        if model is not None and (model.elevation_m > 0 or model.word == "radiator"):
            return min(max(model.elevation_m, 0.05), self._room.height_m - float(size[2]) - 0.02)
        return float(
            np.clip(self._rng.normal(1.6, 0.12) - size[2] / 2, 0.9, self._room.height_m - size[2] - 0.05)
        )

    def _inside(self, zone: Zone) -> bool:
        low, high = (*self._room.low_m, 0.0), (*self._room.high_m, self._room.height_m)
        return all(
            a >= b - 1e-3 and c <= d + 1e-3
            for a, b, c, d in zip(zone.low_m, low, zone.high_m, high, strict=True)
        )


def _zone(size: np.ndarray, x: float, y: float, z: float, yaw: float) -> Zone:
    """The space of a box of some size that stands at a place and is turned."""
    cos, sin = abs(np.cos(yaw)), abs(np.sin(yaw))
    half = np.array([cos * size[0] + sin * size[1], sin * size[0] + cos * size[1]]) / 2
    return Zone((x - half[0], y - half[1], z), (x + half[0], y + half[1], z + float(size[2])))


def _suits(model: Model, rule: str) -> bool:
    """Whether a model can be placed by a rule: hanging lamps hang, big plants do not stand on tables."""
    width, depth, height = model.size_m
    small = max(width, depth) < 0.75 and height < 0.85
    hangs = model.elevation_m > 1.0 and model.word in ("ceiling lamp", "fan")
    if rule == "hang":
        return hangs
    if rule == "mount":
        return model.elevation_m > 0.3 or (model.word == "radiator")
    if rule == "on":
        limit = 1.1 if model.word == "television" else 0.75
        return not hangs and max(width, depth) < limit and height < 0.85 and model.elevation_m < 0.5
    if rule == "corner" and model.word in ("plant", "lamp"):
        return not hangs and height > 0.55
    if rule in ("around", "before") and model.word in ("chair", "stool"):
        return max(width, depth) < 0.85
    if rule == "anywhere":
        return not hangs and (small or model.word in ("person", "box"))
    return not hangs and model.elevation_m < 0.6
