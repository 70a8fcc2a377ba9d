"""Flats to train on: one room or several of many kinds, with bedding, blinds and glass that light passes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ws3d_ros.training.scenes import made
from ws3d_ros.training.scenes.furniture import GLASS_GLOW
from ws3d_ros.training.scenes.kinds import KINDS, USUAL
from ws3d_ros.training.scenes.mesh import Mesh, join
from ws3d_ros.training.scenes.room import furnished, rooms_in_a_row
from ws3d_ros.training.scenes.scene import Scene, Thing

_WEIGHT = {
    "lounge": 4.0,
    "sleeping room": 4.0,
    "fitted kitchen": 3.0,
    "study": 2.0,
    "bath": 2.0,
    "store room": 0.5,
}
"""How often kinds are drawn; the others have 1, and those with more clutter 0.6."""


def make_flat(seed: int) -> Scene:
    """A furnished flat of one to four rooms, from the seed alone."""
    rng = np.random.default_rng([seed, 4])
    weight = np.array([_WEIGHT.get(kind, 0.6 if kind in USUAL else 1.0) for kind in KINDS])
    count = int(rng.choice([1, 2, 3, 4], p=[0.5, 0.3, 0.13, 0.07]))
    kinds = rng.choice(list(KINDS), count, replace=False, p=weight / weight.sum()).tolist()
    narrow = all(kind in ("bath", "hallway", "store room") for kind in kinds)
    depth_m = (1.8, 3.6) if narrow else (2.6, 6.0)
    height_m = (2.3, 2.8) if rng.random() < 0.8 else (2.8, 3.6)
    return _dressed(rng, furnished(rng, rooms_in_a_row(rng, kinds, depth_m, height_m)))


def _dressed(rng: np.random.Generator, scene: Scene) -> Scene:
    """With bedding on beds, blinds before windows, and panes that sensors see or see through."""
    clear = rng.random() < 0.5
    things: list[Thing] = []
    now: dict[int, Thing] = {}
    for thing in scene.things:
        owner = None if thing.part_of is None else now[id(thing.part_of)]
        dressed = replace(thing, part_of=owner)
        if thing.word == "bed" and rng.random() < 0.85:
            dressed = replace(dressed, mesh=_with_bedding(rng, dressed))
        if thing.word in ("window", "door") and clear:
            dressed = replace(dressed, mesh=_without_glass(dressed.mesh))
        now[id(thing)] = dressed
        things.append(dressed)
        if thing.word == "window" and rng.random() < 0.3:
            things.append(replace(_blinds(rng, scene, dressed), part_of=dressed))
    return replace(scene, things=tuple(things))


def _with_bedding(rng: np.random.Generator, bed: Thing) -> Mesh:
    """The bed with a duvet on its mattress, if that is where the catalogue says that things can be put."""
    model = bed.model
    if model is None or not 0.3 < model.top_m < 0.7 or model.size_m[1] < 1.6:
        return bed.mesh
    corner = bed.mesh.position_m  # its yaw is a multiple of 90 degrees: beds stand at walls
    middle = (corner.min(0) + corner.max(0)) / 2
    high = corner[corner[:, 2] > corner[:, 2].min() + 0.85 * model.size_m[2]]
    back = (high.mean(0) - middle)[:2]  # where the head is
    axis = int(np.argmax(np.ptp(corner[:, :2], axis=0)))
    sign = 1.0 if back[axis] >= 0 else -1.0
    yaw = {(0, 1.0): -np.pi / 2, (0, -1.0): np.pi / 2, (1, 1.0): 0.0, (1, -1.0): np.pi}[axis, sign]
    width, length, _ = model.size_m
    cover = made.duvet(rng, width - 0.02, length - 0.04, rng.uniform(0.05, 0.6) * model.top_m)
    return join([bed.mesh, cover.moved(yaw, (middle[0], middle[1], model.top_m))])


def _without_glass(mesh: Mesh) -> Mesh:
    """Without panes; all of it where it is nothing but panes."""
    solid = np.flatnonzero(mesh.glow != GLASS_GLOW)
    if not len(solid):
        return mesh
    names = ("position_m", "normal", "uv", "color", "texture", "glow")
    return replace(mesh, **{name: getattr(mesh, name)[solid] for name in names})


def _blinds(rng: np.random.Generator, scene: Scene, window: Thing) -> Thing:
    """Blinds on the room's side of a window, let down by some length."""
    low, high = window.mesh.bounds
    middle = (low + high) / 2
    axis = int(np.argmin(high[:2] - low[:2]))  # across the wall
    room = min(scene.rooms, key=lambda room: float(np.abs(room.centre_m - middle[:2]).sum()))
    inwards = 1.0 if room.centre_m[axis] > middle[axis] else -1.0
    width = float(high[1 - axis] - low[1 - axis]) * rng.uniform(0.9, 1.0)
    length = float(high[2] - low[2]) * rng.uniform(0.25, 1.0)
    face = room.low_m[axis] if inwards > 0 else room.high_m[axis]
    place = np.array([middle[0], middle[1], high[2] - length])
    place[axis] = face + inwards * rng.uniform(0.0, 0.06)
    yaw = 0.0 if axis == 1 else np.pi / 2
    return Thing("blinds", made.blinds(rng, width, length).moved(yaw, place))
