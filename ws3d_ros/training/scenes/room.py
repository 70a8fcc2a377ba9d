"""Rooms out of a seed: floors, walls with openings, doors and windows, then furniture.

The same seed gives the same flat, to the last bit, on the same libraries.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ws3d_ros.training.scenes import made
from ws3d_ros.training.scenes.furnish import Furnisher, Zone
from ws3d_ros.training.scenes.furniture import Model, by_word, load_mesh
from ws3d_ros.training.scenes.kinds import KINDS, USUAL
from ws3d_ros.training.scenes.kitchen import kitchen_row
from ws3d_ros.training.scenes.mesh import Mesh, box, join
from ws3d_ros.training.scenes.scene import Room, Scene, Thing

WALL_M = 0.12
DOORWAY_M = (1.0, 2.08)
_SIDES = {  # outward axis, sign, and the yaw of something that stands with its back to the wall
    "south": (1, -1, np.pi),
    "north": (1, 1, 0.0),
    "west": (0, -1, np.pi / 2),
    "east": (0, 1, -np.pi / 2),
}


@dataclass(frozen=True)
class Opening:
    """A hole in a wall, from ``start_m`` along the wall; a model may fill it."""

    start_m: float
    width_m: float
    bottom_m: float
    top_m: float
    model: Model | None = None


def make_scene(seed: int, kinds: Sequence[str] | None = None) -> Scene:
    """A furnished flat of one or two rooms.

    Args:
        seed: decides everything.
        kinds: what the rooms are (keys of ``kinds.KINDS``), west to east; chosen at random if None.
    """
    rng = np.random.default_rng(seed)
    if kinds is None:
        kinds = rng.choice(USUAL, size=1 if rng.random() < 0.6 else 2, replace=False).tolist()
    return furnished(rng, rooms_in_a_row(rng, kinds, (3.2, 5.0), (2.4, 2.9)))


def furnished(rng: np.random.Generator, rooms: Sequence[Room]) -> Scene:
    """Walls around rooms in a row, doorways between them, and what they hold."""
    doorway = Opening(
        float(rng.uniform(0.3, max(0.35, rooms[0].size_m[1] - DOORWAY_M[0] - 0.3))),
        DOORWAY_M[0],
        0.0,
        DOORWAY_M[1],
    )
    things: list[Thing] = []
    for index, room in enumerate(rooms):
        shared = {"west": doorway} if index > 0 else {}
        shared |= {"east": doorway} if index + 1 < len(rooms) else {}
        shell, taken = _shell(rng, room, shared)
        taken += [_keep_clear(room, side, hole, 0.9) for side, hole in shared.items()]
        things += shell
        for _ in range(
            rng.integers(*KINDS[room.kind].fitted, endpoint=True) if any(KINDS[room.kind].fitted) else 0
        ):
            side = str(rng.choice([side for side in _SIDES if side not in shared]))
            row, zones = kitchen_row(rng, _length(room, side), room.height_m, _is_free(room, side, taken))
            things += [_against(room, side, thing) for thing in row]
            taken += [_along_zone(room, side, zone) for zone in zones]
        things += Furnisher(rng, room, taken).furnish()
    centres = [room.centre_m + rng.uniform(-0.5, 0.5, 2) for room in rooms]
    return Scene(
        rooms=tuple(rooms),
        things=tuple(things),
        sun=_unit(np.array([rng.normal(), rng.normal(), rng.uniform(0.5, 1.5)])),
        ambient=float(rng.uniform(0.42, 0.62)),
        lamps_m=np.array(
            [[*centre, room.height_m - 0.4] for centre, room in zip(centres, rooms, strict=True)]
        ),
        lamp_color=np.array([1.0, rng.uniform(0.85, 1.0), rng.uniform(0.7, 1.0)]) * rng.uniform(0.7, 1.2),
    )


def rooms_in_a_row(
    rng: np.random.Generator,
    kinds: Sequence[str],
    depth_m: tuple[float, float],
    height_m: tuple[float, float],
) -> list[Room]:
    """Rooms side by side along x, all as deep and as high."""
    depth, height = float(rng.uniform(*depth_m)), float(rng.uniform(*height_m))
    rooms, x = [], 0.0
    for kind in kinds:
        low, high = KINDS[kind].width_m
        width = float(rng.uniform(low, high))
        rooms.append(Room(kind, (x, 0.0), (x + width, depth), height))
        x += width + WALL_M
    return rooms


def _shell(
    rng: np.random.Generator, room: Room, shared: dict[str, Opening]
) -> tuple[list[Thing], list[Zone]]:
    """Floor, ceiling and walls with what fills their openings, and the zones to keep clear.

    ``shared`` walls have the doorway to the next room; the room in the west makes them.
    """
    paper, flooring = _materials(rng, room)
    things = _floor_and_ceiling(rng, room, shared, flooring)
    zones: list[Zone] = []
    order = rng.permutation([side for side in _SIDES if side not in shared]).tolist()
    for side in _SIDES:
        if side == "west" and side in shared:
            continue
        openings = [shared[side]] if side in shared else []
        if side in order[:2]:
            openings += _windows(rng, room, side) if rng.random() < 0.8 else []
        elif side == order[2 % len(order)]:
            openings += _door(rng, room, side)
        things.append(Thing("wall", _wall(room, side, openings, paper)))
        for hole in openings:
            if hole.model is not None:
                things.append(_filling(room, side, hole))
                zones.append(_keep_clear(room, side, hole, 0.8 if hole.bottom_m == 0 else 0.2))
                if hole.model.word == "window" and rng.random() < 0.5:
                    things += _curtains(rng, room, side, hole)
    strip = rng.uniform(0.3, 0.95) * np.ones(3)
    if rng.random() < 0.7:
        things = [_with_baseboard(room, thing, strip) if thing.word == "wall" else thing for thing in things]
    return things, zones


def _materials(rng: np.random.Generator, room: Room) -> tuple[np.ndarray, np.ndarray]:
    """What is on the walls, and on the floor."""
    kind = KINDS[room.kind]
    shade = rng.uniform(0.55, 0.97) * np.array([1, rng.uniform(0.9, 1.02), rng.uniform(0.8, 1.02)])
    papers = {
        "plaster": made.plaster(rng, shade),
        "paper": made.wallpaper(rng, shade),
        "tiles": made.tiles(rng, shade),
    }
    paper, floor = papers[str(rng.choice(kind.walls))], str(rng.choice(kind.floors))
    wood = np.array([0.72, 0.52, 0.34]) * rng.uniform(0.5, 1.25)
    stone = rng.uniform(0.35, 0.9) * np.array([1, rng.uniform(0.9, 1), rng.uniform(0.8, 1)])
    if floor == "planks":
        return paper, made.planks(rng, wood)
    if floor == "tiles":
        return paper, made.tiles(rng, stone)
    return paper, made.cloth(rng, made.muted(rng.uniform(0.25, 0.8, 3)))


def _floor_and_ceiling(
    rng: np.random.Generator, room: Room, shared: dict[str, Opening], flooring: np.ndarray
) -> list[Thing]:
    """Two slabs that reach under the walls, to the middle of those that are shared."""
    pads = {side: WALL_M / 2 if side in shared else WALL_M for side in _SIDES}
    low = np.subtract(room.low_m, (pads["west"], pads["south"]))
    high = np.add(room.high_m, (pads["east"], pads["north"]))
    floor = box([*low, -0.1], [*high, 0.0], np.ones(3), flooring, rng.uniform(0.9, 1.6))
    top = room.height_m
    ceiling = box([*low, top], [*high, top + 0.1], np.ones(3) * rng.uniform(0.85, 1))
    return [Thing("floor", floor), Thing("ceiling", ceiling)]


def _wall(room: Room, side: str, openings: Sequence[Opening], image: np.ndarray) -> Mesh:
    """The wall as boxes around its openings, which must not overlap."""
    length = _length(room, side)
    ends = (-WALL_M, length + WALL_M) if _SIDES[side][0] == 1 else (0.0, length)
    pieces, at = [], ends[0]
    for hole in sorted(openings, key=lambda hole: hole.start_m):
        stop = hole.start_m + hole.width_m
        pieces += [(at, hole.start_m, 0.0, room.height_m), (hole.start_m, stop, 0.0, hole.bottom_m)]
        pieces.append((hole.start_m, stop, hole.top_m, room.height_m))
        at = stop
    pieces.append((at, ends[1], 0.0, room.height_m))
    boxes = []
    for start, stop, bottom, top in pieces:
        if stop - start > 1e-6 and top - bottom > 1e-6:
            low, high = _along(room, side, start, stop, 0.0, WALL_M)
            boxes.append(box([*low, bottom], [*high, top], np.ones(3), image, 1.1))
    return join(boxes)


def _with_baseboard(room: Room, wall: Thing, color: np.ndarray) -> Thing:
    """The wall with a strip at its foot, on the room's side, where it reaches the floor."""
    strips = []
    for corners in wall.mesh.position_m.reshape(-1, 36, 3):  # the boxes it is made of
        low, high = corners.min(0), corners.max(0)
        if low[2] > 0:
            continue
        axis = int(np.argmin(high[:2] - low[:2]))
        inside = -1 if low[axis] > room.centre_m[axis] else 1
        foot_low, foot_high = low.copy(), high.copy()
        foot_high[2] = 0.08
        face = high[axis] if inside > 0 else low[axis]
        foot_low[axis], foot_high[axis] = sorted((face, face + inside * 0.012))
        strips.append(box(foot_low, foot_high, color))
    return Thing("wall", join([wall.mesh, *strips]))


def _windows(rng: np.random.Generator, room: Room, side: str) -> list[Opening]:
    length = _length(room, side)
    choice = by_word()["window"]
    model = choice[rng.integers(len(choice))]
    width, _, height = model.size_m
    height = min(height, room.height_m - model.elevation_m - 0.1)
    count = 2 if length > 4.2 and width < 1.2 and rng.random() < 0.4 else 1
    room_each = length / count
    if room_each < width + 0.4:
        return []
    return [
        Opening(
            float(index * room_each + rng.uniform(0.2, room_each - width - 0.2)),
            width,
            model.elevation_m,
            model.elevation_m + height,
            model,
        )
        for index in range(count)
    ]


def _door(rng: np.random.Generator, room: Room, side: str) -> list[Opening]:
    widest_m = _length(room, side) - 0.3
    choice = [model for model in by_word()["door"] if model.size_m[0] <= widest_m]
    if not choice:
        return []
    model = choice[rng.integers(len(choice))]
    start = float(rng.uniform(0.15, _length(room, side) - model.size_m[0] - 0.15))
    return [Opening(start, model.size_m[0], 0.0, model.size_m[2], model)]


def _filling(room: Room, side: str, hole: Opening) -> Thing:
    """The door or window of an opening, in the middle of the wall."""
    assert hole.model is not None
    low, high = _along(room, side, hole.start_m, hole.start_m + hole.width_m, 0.0, WALL_M)
    mesh = load_mesh(hole.model).scaled_to((hole.width_m, hole.model.size_m[1], hole.top_m - hole.bottom_m))
    return Thing(
        hole.model.word, mesh.moved(_SIDES[side][2], [*((low + high) / 2), hole.bottom_m]), hole.model
    )


def _curtains(rng: np.random.Generator, room: Room, side: str, hole: Opening) -> list[Thing]:
    """A pair at the sides of a window."""
    width = rng.uniform(0.3, 0.6)
    bottom = 0.05 if rng.random() < 0.7 else max(0.05, hole.bottom_m - 0.15)
    mesh = made.curtain(rng, width, min(hole.top_m + 0.15, room.height_m - 0.02) - bottom)
    pair = []
    for middle in (hole.start_m - 0.3 * width, hole.start_m + hole.width_m + 0.3 * width):
        low, high = _along(room, side, middle, middle, -0.22, -0.22)
        pair.append(Thing("curtain", mesh.moved(_SIDES[side][2], [*((low + high) / 2), bottom])))
    return pair


def _keep_clear(room: Room, side: str, hole: Opening, depth_m: float) -> Zone:
    """The space in front of an opening, where nothing may stand."""
    low, high = _along(room, side, hole.start_m, hole.start_m + hole.width_m, -depth_m, 0.0)
    return Zone((*low, hole.bottom_m), (*high, hole.top_m))


def _along_zone(room: Room, side: str, zone: Zone) -> Zone:
    """A zone along a wall (x from its start, y negative into the room) in the room's frame."""
    low, high = _along(room, side, zone.low_m[0], zone.high_m[0], zone.low_m[1], zone.high_m[1])
    return Zone((*low, zone.low_m[2]), (*high, zone.high_m[2]))


def _is_free(room: Room, side: str, taken: Sequence[Zone]) -> Callable[[Zone], bool]:
    return lambda zone: not any(_along_zone(room, side, zone).meets(other) for other in taken)


def _against(room: Room, side: str, thing: Thing) -> Thing:
    """A thing whose back is at y = 0 and whose front faces -y, put with its x along a wall."""
    low, high = thing.mesh.bounds
    middle = (low[0] + high[0]) / 2
    place = _along(room, side, float(middle), float(middle), 0.0, 0.0)[0]
    centred = thing.mesh.moved(0.0, (-middle, 0.0, 0.0))
    return replace(thing, mesh=centred.moved(_SIDES[side][2], (*place, 0.0)))


def _length(room: Room, side: str) -> float:
    return room.size_m[1 - _SIDES[side][0]]


def _along(
    room: Room, side: str, start: float, stop: float, near: float, far: float
) -> tuple[np.ndarray, np.ndarray]:
    """Corners (2,) of a rectangle along a wall; ``near`` and ``far`` are metres outwards from its face."""
    axis, sign, _ = _SIDES[side]
    face = room.high_m[axis] if sign > 0 else room.low_m[axis]
    across = sorted((face + sign * near, face + sign * far))
    along = room.low_m[1 - axis] + start, room.low_m[1 - axis] + stop
    low, high = np.empty(2), np.empty(2)
    low[axis], high[axis] = across
    low[1 - axis], high[1 - axis] = along
    return low, high


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)
