"""Objects that keep their identity while segmentations flicker, and while things are moved.

A segmentation of a window has no memory. The tracker has: it knows which object each place was part
of and what objects look like. A segment is the object whose voxels it has, and that looks like it; the
smaller part of a split and the smaller partner of a merge stay what they were until the change has
lasted. An object is missed only by measurements that look at its place and see through it, or see
something else; if its like then appears where nothing was before, the object has moved.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ws3d_ros.instances.association import Kinds, alike, kinds_of, moves, overlaps
from ws3d_ros.instances.changes import (
    ABSENT,
    CONFIRM,
    IN_VIEW,
    Evidence,
    judge,
    match_segments,
    merging,
    owners,
    remnants,
)
from ws3d_ros.instances.memory import Explored, Places, columns_of
from ws3d_ros.instances.objects import Event, Objects, State, Tracked
from ws3d_ros.reconstruction.grafting import Moved
from ws3d_ros.reconstruction.keys import unpack_keys
from ws3d_ros.reconstruction.window import Window
from ws3d_ros.sensors.frame import Frame, Scan

MISSES, GONE_MISSES = 3, 10
"""Measurements in a row without an object that make it missing, and gone."""
REMEMBER_NS = 600 * 10**9
"""An object that is not seen for longer than this is not found again elsewhere."""
_HIDDEN = 0.9  # of its voxels in view
_WHOLE = 0.8  # of an object's places are in the window: its look is learnt anew
_STILL = 0.5  # likeness of what is at its place, for it to be still there
_STAYED_M = 0.3


class Tracker:
    """Gives lasting ids to the segments of window after window. One thread at a time may use it."""

    def __init__(self, max_range_m: float, remembered: int = 256) -> None:
        """Places farther from the sensor than ``max_range_m`` are not judged; so many objects that are
        gone are remembered."""
        self._max_range_m, self._remembered = max_range_m, remembered
        self._objects, self._places, self._explored = Objects.none(), Places.none(), Explored.none()
        self._next_number = self._next_id = 1
        self._events: list[Event] = []

    def update(
        self,
        window: Window,
        instance: Tensor,
        label: Tensor,
        feature: Tensor,
        measurements: Sequence[Frame | Scan],
        stamp_ns: int,
    ) -> Tracked:
        """Takes in one segmentation.

        Args:
            instance: (N,) integer segment of each voxel of the window, 0 for none.
            label: (N,) integer >= 0. feature: (N, K), 0 where unknown.
            measurements: those since the last update, which may count as not having seen an object;
                none, if the window was only named anew.
        """
        self._events = []
        points_m = window.points_m.cpu().numpy()
        segment = _counted(instance.cpu().numpy())
        segments = int(segment.max(initial=-1)) + 1
        color, names = window.color.cpu().numpy(), label.cpu().numpy().astype(np.int64)
        features = feature.float().cpu().numpy()

        def looks(group: np.ndarray, groups: int) -> Kinds:
            return kinds_of(group, groups, points_m, names, color, features)

        keys = window.keys.cpu().numpy()
        thing = self._objects.row_of(self._places.owner_at(keys))
        seen, now = looks(segment, segments), looks(thing, len(self._objects))
        still = alike(now, self._objects.kinds, shape=False) >= _STILL
        evidence, self._places = judge(
            self._objects, self._places, window, measurements, still, self._max_range_m
        )
        match = match_segments(self._objects, segment, thing, seen, now.voxels)
        match[remnants(self._objects, match, seen, evidence)] = -1
        keeps, into = merging(self._objects, segment, thing, match, now.voxels, still, evidence)
        first_ns = self._explored.first_seen(columns_of(points_m), stamp_ns)
        match = self._bear(segment, thing, match, seen, first_ns, stamp_ns)
        owner = owners(self._objects, segment, thing, match, keeps, into)
        self._places = self._places.rewritten(keys, owner)
        self._explored = self._explored.extended(np.unique(columns_of(points_m)), stamp_ns)
        self._learn(looks, owner)
        self._advance(match, keeps, evidence, stamp_ns)
        self._dissolve(into, stamp_ns)
        self._find_moved(stamp_ns)
        self._forget(stamp_ns)
        return self._answer(keys, segment, window)

    def _bear(
        self,
        segment: np.ndarray,
        thing: np.ndarray,
        match: np.ndarray,
        seen: Kinds,
        first_ns: np.ndarray,
        stamp_ns: int,
    ) -> np.ndarray:
        """New objects for segments that are none; pieces of an object stay its own until they last.

        Returns:
            the match, complete but for what an unmatched object left.
        """
        part, row, votes = overlaps(segment, thing)
        most = 2 * votes > seen.voxels[part]
        within = np.full(len(match), -1)
        within[part[most]] = row[most]
        orphan = (within >= 0) & ~np.isin(within, match)
        new = np.flatnonzero((match < 0) & ~orphan)
        piece = within[new] >= 0
        ids = np.where(piece, 0, self._next_id + np.cumsum(~piece) - 1)
        explored = [int(np.median(first_ns[segment == s])) for s in new]
        self._next_id += int((~piece).sum())
        born = Objects.new(
            seen.take(new),
            number=self._next_number + np.arange(len(new)),
            id=ids,
            parent=np.where(piece, np.append(self._objects.number, 0)[within[new]], 0),
            born_ns=stamp_ns,
            sighted_ns=stamp_ns,
            explored_ns=np.array(explored, np.int64),
        )
        match = match.copy()
        match[new] = len(self._objects) + np.arange(len(new))
        self._next_number += len(new)
        self._objects = self._objects.join(born)
        return match

    # What becomes of them ---------------------------------------------------------------------

    def _learn(self, looks: Callable[[np.ndarray, int], Kinds], owner: np.ndarray) -> None:
        """The look of objects that are whole: neither carved in part nor half out of the window."""
        objects = self._objects
        now = looks(objects.row_of(owner), len(objects))
        places = np.bincount(objects.row_of(self._places.owner), minlength=len(objects))
        rows = np.flatnonzero((now.voxels >= _WHOLE * places) & (now.voxels > 0))
        self._objects = objects.looking(rows, now.take(rows))

    def _advance(
        self,
        match: np.ndarray,
        keeps: np.ndarray,
        evidence: Evidence,
        stamp_ns: int,
    ) -> None:
        """States and counts, after this update."""
        objects, old = self._objects, len(evidence.known)
        found = np.isin(np.arange(len(objects)), match)
        objects.hits[found] += 1
        objects.misses[found] = 0
        objects.held[found] = 0
        loose = ~found & (
            (objects.state == State.TENTATIVE) | np.append(keeps, np.zeros(len(objects) - old, bool))
        )
        objects.held[loose] += 1
        for row in np.flatnonzero(found & (objects.state == State.TENTATIVE) & (objects.hits >= CONFIRM)):
            self._confirm(int(row), stamp_ns)
        for row in np.flatnonzero(found & (objects.state >= State.MISSING)):
            objects.state[row] = State.ACTIVE
            self._note("found", int(row), stamp_ns)
        sure = objects.state[:old] != State.TENTATIVE
        missed = ~found[:old] & ~keeps & evidence.absent
        objects.misses[:old] += missed
        # Carving has looked through its voxels often enough before it took them from the map.
        carved = missed & (evidence.freed >= ABSENT * evidence.known)
        objects.misses[:old][carved] = np.maximum(objects.misses[:old][carved], MISSES)
        self._miss(found[:old], sure, stamp_ns)
        in_view = evidence.clear + evidence.hidden
        behind = (
            (in_view > 0) & (in_view >= IN_VIEW * evidence.known) & (evidence.hidden >= _HIDDEN * in_view)
        )
        state = objects.state[:old]
        state[behind & (state == State.ACTIVE)] = State.OCCLUDED
        state[found[:old] & (evidence.surface > 0) & ~behind & (state == State.OCCLUDED)] = State.ACTIVE
        sighted = found[:old] & (evidence.surface > 0) & ~evidence.absent
        objects.sighted_ns[:old][sighted] = stamp_ns

    def _confirm(self, row: int, stamp_ns: int) -> None:
        """A tentative object has lasted."""
        objects = self._objects
        objects.state[row] = State.ACTIVE
        if objects.id[row]:
            self._note("born", row, stamp_ns)
            return
        objects.id[row] = self._next_id
        self._next_id += 1
        parent = int(objects.row_of(objects.parent[row]))
        objects.parent[row] = 0
        self._note("split", row, stamp_ns, other=int(objects.id[parent]))

    def _miss(self, found: np.ndarray, sure: np.ndarray, stamp_ns: int) -> None:
        """Objects that were not there too often."""
        objects, old = self._objects, len(found)
        state, misses = objects.state[:old], objects.misses[:old]
        for row in np.flatnonzero(sure & ~found & (misses >= MISSES) & (state < State.MISSING)):
            state[row] = State.MISSING
            self._note("lost", int(row), stamp_ns)
        for row in np.flatnonzero(sure & ~found & (misses >= GONE_MISSES) & (state == State.MISSING)):
            state[row] = State.GONE
            self._note("gone", int(row), stamp_ns)

    def _dissolve(self, into: np.ndarray, stamp_ns: int) -> None:
        """Objects that became part of others, and tentative ones that did not last, are no more."""
        objects = self._objects
        for row in np.flatnonzero(into):
            host = int(objects.row_of(into[row]))
            if objects.state[row] != State.TENTATIVE:
                self._note("merged", int(row), stamp_ns, other=int(objects.id[host]))
        ends = (objects.state == State.TENTATIVE) & (objects.held >= CONFIRM)
        ends[: len(into)] |= into > 0
        # A piece whose object ended is on its own.
        orphan = (objects.parent > 0) & np.isin(objects.parent, objects.number[ends]) & ~ends
        objects.parent[orphan] = 0
        objects.id[orphan & (objects.id == 0)] = self._next_id + np.arange(
            int((orphan & (objects.id == 0)).sum())
        )
        self._next_id += int(orphan.sum())
        self._keep(~ends)

    def _find_moved(self, stamp_ns: int) -> None:
        """Objects that are missing, and appeared elsewhere: where nothing was when they were last seen."""
        objects = self._objects
        lately = stamp_ns - objects.sighted_ns <= REMEMBER_NS
        missing = np.flatnonzero((objects.state >= State.MISSING) & lately)
        fresh = np.flatnonzero((objects.state < State.MISSING) & (objects.parent == 0))
        fresh = fresh[objects.born_ns[fresh] > objects.sighted_ns[missing].min(initial=stamp_ns)]
        a, b = (grid.reshape(-1) for grid in np.meshgrid(missing, fresh, indexing="ij"))
        table = (len(missing), len(fresh))
        kinds = objects.kinds
        likeness = alike(kinds.take(a), kinds.take(b)).reshape(table)
        way_m = np.linalg.norm(kinds.centroid_m[a] - kinds.centroid_m[b], axis=1).reshape(table)
        before = objects.sighted_ns[a]
        possible = ((objects.born_ns[b] > before) & (objects.explored_ns[b] <= before)).reshape(table)
        ends = np.zeros(len(objects), bool)
        for i, j in moves(likeness, way_m, possible):
            was, is_ = int(missing[i]), int(fresh[j])
            given_up, objects.id[is_] = int(objects.id[is_]), objects.id[was]
            objects.state[is_] = State.ACTIVE
            ends[was] = True
            if way_m[i, j] < _STAYED_M:
                self._note("found", is_, stamp_ns, other=given_up)
                continue
            here, there = (tuple(map(float, kinds.centroid_m[row])) for row in (was, is_))
            self._events.append(Event("moved", int(objects.id[is_]), stamp_ns, given_up, here, there))
        self._keep(~ends)

    def _forget(self, stamp_ns: int) -> None:
        """What is gone keeps no voxels; the longest gone are forgotten."""
        objects = self._objects
        gone = np.flatnonzero(objects.state == State.GONE)
        late = gone[np.argsort(-objects.sighted_ns[gone], kind="stable")][self._remembered :]
        old = gone[stamp_ns - objects.sighted_ns[gone] > REMEMBER_NS]
        keep = np.ones(len(objects), bool)
        keep[late] = keep[old] = False
        owned = ~np.isin(self._places.owner, objects.number[gone])
        self._places = self._places.take(owned)
        self._keep(keep)

    def _keep(self, rows: np.ndarray) -> None:
        """Only these objects, (O,) bool; the others' places are nobody's."""
        if rows.all():
            return
        self._places = self._places.take(~np.isin(self._places.owner, self._objects.number[~rows]))
        self._objects = self._objects.take(rows)

    def _note(self, kind: str, row: int, stamp_ns: int, other: int = 0) -> None:
        self._events.append(Event(kind, int(self._objects.id[row]), stamp_ns, other))

    # What the world gets ----------------------------------------------------------------------

    def _answer(self, keys: np.ndarray, segment: np.ndarray, window: Window) -> Tracked:
        objects = self._objects
        row = objects.row_of(self._places.owner_at(keys))
        parent = objects.row_of(objects.parent)
        known_as = np.where(objects.id > 0, objects.id, np.append(objects.id, 0)[parent])
        known_as = np.where(objects.state >= State.MISSING, 0, known_as)
        ids = np.append(known_as, 0)[row].astype(np.int32)
        states = {int(i): State(int(s)) for i, s in zip(objects.id, objects.state, strict=True) if i > 0}
        return Tracked(torch.from_numpy(ids).to(window.keys.device), states, tuple(self._events))

    def follow(self, moved: Moved, voxel_size_m: float) -> None:
        """The map's voxels were moved: what is remembered of places moves with them."""
        objects, places = self._objects, self._places
        keys = moved.renamed(torch.from_numpy(places.keys).to(moved.before.device)).cpu().numpy()
        way_m = _middles(keys, voxel_size_m) - _middles(places.keys, voxel_size_m)
        owner = objects.row_of(places.owner)
        count = np.bincount(owner, minlength=len(objects)).clip(min=1)[:, None]
        total = [np.bincount(owner, way_m[:, axis], minlength=len(objects)) for axis in range(3)]
        centroid_m = objects.kinds.centroid_m + np.stack(total, axis=1) / count
        self._objects = replace(objects, kinds=replace(objects.kinds, centroid_m=centroid_m))
        self._places = places.renamed(keys)
        ends = (_middles(end.cpu().numpy(), voxel_size_m) for end in (moved.before, moved.after))
        self._explored = self._explored.carried(*map(columns_of, ends))

    def forget_labels(self) -> None:
        """After a change of vocabulary: old labels mean nothing, looks are learnt anew by the rest."""
        kinds = self._objects.kinds
        blank = replace(kinds, label=np.zeros((len(kinds.voxels), 1)))
        self._objects = replace(self._objects, kinds=blank)

    def state(self) -> dict[str, np.ndarray]:
        """All that the tracker knows, as plain arrays."""
        return {
            "next": np.array([self._next_number, self._next_id]),
            **{f"places.{name}": values for name, values in vars(self._places).items()},
            **{f"explored.{name}": values for name, values in vars(self._explored).items()},
            **self._objects.state_dict(),
        }

    @classmethod
    def from_state(cls, state: dict[str, np.ndarray], max_range_m: float, remembered: int = 256) -> Tracker:
        """A tracker that goes on where the other one was.

        Raises:
            KeyError: names an array that is missing.
        """
        tracker = cls(max_range_m, remembered)
        tracker._next_number, tracker._next_id = (int(value) for value in state["next"])
        tracker._places = Places(**{n: state[f"places.{n}"] for n in Places.__dataclass_fields__})
        tracker._explored = Explored(**{n: state[f"explored.{n}"] for n in Explored.__dataclass_fields__})
        tracker._objects = Objects.from_state_dict(state)
        return tracker


def _middles(keys: np.ndarray, voxel_size_m: float) -> np.ndarray:
    """(N, 3) float64 middles of voxels."""
    middles: np.ndarray = (unpack_keys(torch.from_numpy(keys)).numpy() + 0.5) * voxel_size_m
    return middles


def _counted(instance: np.ndarray) -> np.ndarray:
    """(N,) int64: segments from 0 on, -1 for none."""
    ids, place = np.unique(instance, return_inverse=True)
    order = np.cumsum(ids > 0) - 1
    return np.where(instance > 0, order[place.reshape(-1)], -1)
