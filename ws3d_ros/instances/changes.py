"""What a new segmentation and new measurements say of the objects that there were: pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from ws3d_ros.instances.association import LEAST_SHARE, Kinds, alike, assign, overlaps
from ws3d_ros.instances.memory import Places
from ws3d_ros.instances.objects import Objects, State
from ws3d_ros.instances.sight import look
from ws3d_ros.reconstruction.keys import unpack_keys
from ws3d_ros.reconstruction.window import Window
from ws3d_ros.sensors.frame import Frame, Scan

CONFIRM = 3
"""Updates that a new object or a split must last."""
MERGE = 6
"""Updates in a row that a merge must last: of two identities one is given up for good."""
IN_VIEW = 0.3
"""Of an object's voxels: less of it in view says nothing."""
ABSENT = 0.7  # of its voxels in view: so many must be free, or something else's
_REMNANT = 0.3  # of the voxels that it had: what was not carved of a thing that left


@dataclass(frozen=True)
class Evidence:
    """What measurements say of each object, (O,) each: numbers of its voxels, and a verdict."""

    known: np.ndarray
    freed: np.ndarray
    surface: np.ndarray
    hidden: np.ndarray
    clear: np.ndarray  # in view and not hidden
    absent: np.ndarray


def match_segments(
    objects: Objects, segment: np.ndarray, thing: np.ndarray, seen: Kinds, left: np.ndarray
) -> np.ndarray:
    """(S,) row of the object that each segment is, -1 for none."""
    part, row, votes = overlaps(segment, thing)
    likeness = 0.5 + 0.5 * alike(seen.take(part), objects.kinds.take(row), shape=False)
    share = votes / np.minimum(seen.voxels[part], left[row])
    # A segment that has most of an object is the object, also where a piece of it has more of the voxels.
    whole = 2 * votes > left[row]
    width = len(objects) + 1
    parent = objects.row_of(objects.parent[row])  # -1 for what is no piece
    of_whole = (parent >= 0) & np.isin(part * width + parent, (part * width + row)[whole])
    good = (share * likeness >= LEAST_SHARE) & ~of_whole
    return assign(part[good], row[good], (votes * likeness)[good], len(seen.voxels))


def remnants(objects: Objects, match: np.ndarray, seen: Kinds, evidence: Evidence) -> np.ndarray:
    """(S,) bool: segments that are only what sensors could not yet carve of an object that left."""
    row = np.maximum(match, 0)
    if len(objects) == 0:
        return np.zeros(len(match), bool)
    small = seen.voxels < _REMNANT * objects.kinds.voxels[row]
    result: np.ndarray = (match >= 0) & small & (2 * evidence.freed[row] > evidence.known[row])
    return result


def merging(
    objects: Objects,
    segment: np.ndarray,
    thing: np.ndarray,
    match: np.ndarray,
    left: np.ndarray,
    still: np.ndarray,
    evidence: Evidence,
) -> tuple[np.ndarray, np.ndarray]:
    """Objects that are part of another's segment.

    Returns:
        (O,) bool whether its voxels stay its own for now, and (O,) the number of the object that it
        becomes part of at once, 0 for none.
    """
    part, row, votes = overlaps(segment, thing)
    host = np.full(len(objects), -1)
    for p, r in zip(*(values[2 * votes > left[row]] for values in (part, row)), strict=True):
        host[r] = match[p]
    unmatched = ~np.isin(np.arange(len(objects)), match)
    carved = 2 * evidence.freed > evidence.known
    swallowed = unmatched & (host >= 0) & ~carved & still
    number = np.append(objects.number, 0)[host]
    piece = objects.parent > 0
    at_once = unmatched & (host >= 0) & (piece | (swallowed & (objects.held + 1 >= MERGE)))
    lasting = swallowed & ~at_once & (objects.state < State.MISSING)
    return lasting, np.where(at_once, number, 0)


def owners(
    objects: Objects,
    segment: np.ndarray,
    thing: np.ndarray,
    match: np.ndarray,
    keeps: np.ndarray,
    into: np.ndarray,
) -> np.ndarray:
    """(N,) number of the object of each voxel, 0 for none."""
    number = np.append(objects.number, 0)  # row -1 is nobody
    row = np.append(match, -1)[segment]
    own = number[thing]
    found = np.isin(thing, match)
    stays = np.append(keeps, False)[thing] | ((row < 0) & ~(found & (segment < 0)))
    owner = np.where(stays, own, number[row])
    goes = np.append(into, 0)[thing]
    return np.where((goes > 0) & (owner == own), goes, owner)


def judge(
    objects: Objects,
    places: Places,
    window: Window,
    measurements: Sequence[Frame | Scan],
    still: np.ndarray,
    max_range_m: float,
) -> tuple[Evidence, Places]:
    """Looks at the places of all objects, and notes which of them are free; ``still`` (O,) is whether what
    the map has there looks like the object."""
    count = len(objects)
    centre = (unpack_keys(torch.from_numpy(places.keys)) + 0.5) * window.voxel_size_m
    centre = centre.float().to(window.keys.device)
    free, surface, hidden = np.zeros((3, len(places.keys)), bool)
    for measurement in measurements:
        sight = look(measurement, centre, window.voxel_size_m, max_range_m)
        free |= sight.free.cpu().numpy()
        surface |= sight.surface.cpu().numpy()
        hidden |= sight.hidden.cpu().numpy()
    surface &= ~free
    hidden &= ~free & ~surface
    row = objects.row_of(places.owner)
    mapped = np.isin(places.keys, window.keys.cpu().numpy())
    freed = (places.freed | free) & ~mapped
    against = free | (freed & surface) | (surface & mapped & ~still[row])

    def total(of: np.ndarray) -> np.ndarray:
        return np.bincount(row[of], minlength=count)

    known, clear = total(np.ones_like(free)), total(free | surface)
    absent = (clear > 0) & (clear >= IN_VIEW * known) & (total(against) >= ABSENT * clear)
    evidence = Evidence(known, total(freed), total(surface), total(hidden), clear, absent)
    return evidence, replace(places, freed=freed)
