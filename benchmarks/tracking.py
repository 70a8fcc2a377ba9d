"""Do objects keep their ids while segmentations flicker, and while things are moved, taken and put back?

    nice python benchmarks/tracking.py [--seeds 1000021,1000022] [--quick]

A furnished flat (``training/scenes``) is mapped by a depth camera that goes through it in several
passes. Between passes some things are moved within their room, some are taken away, and those that
were taken come back at their old place or elsewhere. Every third or fourth frame, about once a second as on a
robot, the map is segmented, and the tracker gives ids.

*Segmentations*: the true things, one in ten of which is cut in two or joined with a neighbour in each
frame; and connected voxels of the true names (``connected.components``). Walls, floors and ceilings are none.

*Figures* over true things that have at least 20 voxels in the map and 50 pixels in the view: an object-frame
is such a thing in a frame of the camera, an object-update such a thing in an update; its id is that of most
of its voxels. A switch is one whose id differs from the one that the thing had last. Unmoved switches are
those of things that stayed; a thing that was moved and gets its first id back, once it is sure what it is, is
counted apart. Fragmentation is the mean number of ids per thing, less one. Of things that were moved or came
back, while they were in view: whether the id is still the one they had before.

Beside these, CLEAR-MOT (Bernardin and Stiefelhagen 2008): a thing is matched with an object of IoU >= 0.5,
with that of before as long as it still is one. A switch is a match with another object than the last one was,
a miss a thing without a match. What is left of a moved thing where it was counts in neither.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from common import save, summary
from connected import components
from torch import Tensor

from ws3d_ros.alignment.neighbours import neighbour_table
from ws3d_ros.config import InputConfig, MapConfig
from ws3d_ros.evaluation.ground_truth import look_up
from ws3d_ros.instances.tracking import Tracker
from ws3d_ros.reconstruction.keys import pack_keys
from ws3d_ros.reconstruction.voxel_map import VoxelMap
from ws3d_ros.reconstruction.window import Window
from ws3d_ros.sensors.camera import back_project
from ws3d_ros.sensors.frame import Frame, Pinhole
from ws3d_ros.training.scenes.flats import make_flat
from ws3d_ros.training.scenes.looks import place
from ws3d_ros.training.scenes.names import NAMES, name_of
from ws3d_ros.training.scenes.points import PointViewer
from ws3d_ros.training.scenes.scene import Scene
from ws3d_ros.training.scenes.trajectory import camera_pose

CAMERA = Pinhole(240, 180, 180.0, 180.0, 119.5, 89.5)
VOXEL_M, MAX_M, SMALLEST, PIXELS = 0.05, 6.0, 20, 50
STRUCTURE = ("wall", "floor", "ceiling", "door", "window")
PASSES, PLACES, TURNS = 4, 1, 7
FRAME_NS, UPDATES = 300_000_000, (4, 3)
"""Frames of a view before each update. A voxel goes from the map when it was looked through seven times."""
CORRUPTED = 0.1
LEAST_IOU = 0.5


@dataclass(frozen=True)
class Moment:
    """A window of the map at an update.

    Attributes:
        frames: of the camera since the last one, all of one view.
        thing: (N,) of each voxel, 0 for none; T + 1 more for each time that it was moved or taken before:
            what is left of it in the map where it was is not part of it.
        name: (T + 1,) of things. seen: (T + 1,) whether the frame shows enough of it.
        stay: (T + 1,) how often it was moved or taken. away: (T + 1,) whether it is.
    """

    window: Window
    frames: list[Frame]
    thing: np.ndarray
    name: np.ndarray
    seen: np.ndarray
    stay: np.ndarray
    away: np.ndarray

    def named(self) -> np.ndarray:
        """(N,) true names."""
        return self.name[self.thing % len(self.name)]


def passes(scene: Scene, rng: np.random.Generator) -> list[np.ndarray]:
    """(T, 3) metres that each thing is from where it was, for each pass; NaN when it is away."""
    count = len(scene.things)
    free = [
        i for i, thing in enumerate(scene.things)
        if thing.word not in STRUCTURE and thing.part_of is None
        and 0.2 < np.ptp(thing.mesh.bounds, 0).max() < 1.6 and thing.mesh.bounds[0][2] < 0.1
    ]  # fmt: skip
    now, result = np.zeros((count, 3)), [np.zeros((count, 3))]
    for _ in range(PASSES - 1):
        away = np.isnan(now[:, 0])
        chosen = rng.permutation([i for i in free if not away[i]])
        now = now.copy()
        for i in np.flatnonzero(away):
            now[i] = _elsewhere(scene, i, rng) if rng.random() < 0.5 else 0.0
        for i in chosen[: max(1, len(free) // 6)]:
            now[i] = _elsewhere(scene, i, rng)
        now[chosen[max(1, len(free) // 6) :][: max(1, len(free) // 6)]] = np.nan
        result.append(now)
    return result


def _elsewhere(scene: Scene, index: int, rng: np.random.Generator) -> np.ndarray:
    low, high = scene.things[index].mesh.bounds
    centre = (low + high) / 2
    room = min(scene.rooms, key=lambda r: float(np.abs(r.centre_m - centre[:2]).sum()))
    half = (high - low)[:2] / 2 + 0.1
    to = rng.uniform(
        np.add(room.low_m, half), np.maximum(np.subtract(room.high_m, half), np.add(room.low_m, half))
    )
    return np.array([*(to - centre[:2]), 0.0])


def rearranged(scene: Scene, shift: np.ndarray) -> Scene:
    """The scene with things moved, those that are away far below the floor."""
    things = []
    for thing, by in zip(scene.things, np.nan_to_num(shift, nan=-1000.0), strict=True):
        mesh = replace(thing.mesh, position_m=(thing.mesh.position_m + by).astype(np.float32))
        things.append(replace(thing, mesh=mesh))
    return replace(scene, things=tuple(things))


def moments(seed: int) -> list[Moment]:
    """Everything that the tracker will see of one flat."""
    rng = np.random.default_rng([seed, 77])
    scene = make_flat(seed)
    voxels = VoxelMap(MapConfig(voxel_size_m=VOXEL_M), InputConfig(max_depth_m=MAX_M))
    name = np.array([0] + [NAMES.index(name_of(thing)) + 1 for thing in scene.things])
    structure = np.array([True] + [thing.word in STRUCTURE for thing in scene.things])
    keys, owner = torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64)
    result = []
    eyes = [place(scene, room, rng, 1.3) for room in scene.rooms for _ in range(PLACES)]
    stamp, stay, was = 0, np.zeros(len(name), np.int64), None
    for shift in passes(scene, rng):
        if was is not None:
            stay[1:] += ~np.isclose(shift, was, equal_nan=True).all(axis=1)
        was, away = shift, np.append(False, np.isnan(shift[:, 0]))
        viewer = PointViewer(rearranged(scene, shift), rng)
        for eye in eyes:
            for turn in np.linspace(0, 2 * np.pi, TURNS, endpoint=False):
                pose = camera_pose(eye, turn + rng.normal(0, 0.03), -0.25)
                view = viewer.view(CAMERA, pose)
                seen = torch.from_numpy(np.where(view.depth_m < MAX_M, view.depth_m, 0.0).astype(np.float32))
                shown = view.instance.astype(np.int64)
                truth = torch.from_numpy(shown + stay[shown] * len(name))
                enough = np.bincount(shown.reshape(-1), minlength=len(name)) >= PIXELS
                enough[0] = False
                for count in UPDATES:
                    frames = []
                    for _ in range(count):
                        stamp += FRAME_NS
                        depth = torch.where(seen > 0, seen + 0.002 * seen**2 * torch.randn(seen.shape), seen)
                        frames.append(Frame(stamp, CAMERA, pose, torch.from_numpy(view.color), depth))
                        voxels.integrate(frames[-1])
                    keys, owner = _labelled(keys, owner, frames[-1], truth)
                    window = voxels.everything()
                    thing = look_up(keys, window.keys, owner, 0).numpy()
                    owned = np.where(structure[thing % len(name)], 0, thing)
                    result.append(Moment(window, frames, owned, name, enough, stay.copy(), away))
    return result


def _labelled(keys: Tensor, owner: Tensor, frame: Frame, truth: Tensor) -> tuple[Tensor, Tensor]:
    """The newest thing that was seen in each voxel."""
    assert frame.depth_m is not None
    valid = frame.depth_m > 0
    points = back_project(frame.depth_m, frame.camera)[valid]
    pose = torch.from_numpy(frame.T_map_camera)
    cell = pack_keys(((points.double() @ pose[:3, :3].T + pose[:3, 3]) / VOXEL_M).floor().long())
    votes, count = torch.stack([cell, truth[valid]], 1).unique(dim=0, return_counts=True)
    order = count.argsort(stable=True)
    votes = votes[order][votes[order][:, 0].argsort(stable=True)]
    last = torch.ones(len(votes), dtype=torch.bool)
    last[:-1] = votes[1:, 0] != votes[:-1, 0]
    new, newer = votes[last].unbind(1)
    old = ~torch.isin(keys, new)
    both = torch.cat([keys[old], new])
    order = both.argsort()
    return both[order], torch.cat([owner[old], newer])[order]


def corrupted(moment: Moment, rng: np.random.Generator) -> Tensor:
    """True things; one in ten is cut by a plane through its middle, or joined with the nearest other."""
    segment = moment.thing.copy()
    points = moment.window.points_m.numpy()
    things = np.unique(segment[segment > 0])
    centre = np.array([points[moment.thing == t].mean(0) for t in things]).reshape(-1, 3)
    for t in things[rng.random(len(things)) < CORRUPTED]:
        own = np.flatnonzero(moment.thing == t)
        if rng.random() < 0.5:
            side = (points[own] - points[own].mean(0)) @ rng.normal(size=3) + rng.normal(0, 0.05)
            segment[own[side > 0]] = int(moment.thing.max()) + 1 + t
        elif len(things) > 1:
            far = np.linalg.norm(centre - centre[things == t], axis=1)
            far[things == t] = np.inf
            segment[segment == t] = things[np.argmin(far)]
    return torch.from_numpy(segment)


def grouped(moment: Moment, rng: np.random.Generator) -> Tensor:
    """Connected voxels of the true names."""
    return torch.from_numpy(components(moment.named(), neighbour_table(moment.window.keys).numpy(), SMALLEST))


def follow(run: list[Moment], segmenter: Callable[[Moment, np.random.Generator], Tensor], seed: int) -> dict:
    """Counts over one sequence."""
    rng = np.random.default_rng([seed, 78])
    tracker = Tracker(MAX_M)
    last: dict[int, tuple[int, int]] = {}
    first: dict[int, tuple[int, int]] = {}  # the stay in which a thing was first seen, its newest id then
    ids: dict[int, set[int]] = {}
    matched: dict[int, int] = {}  # CLEAR-MOT's
    again: dict[tuple[int, int], bool] = {}  # by thing and later stay: the newest frame says it
    frames = updates = switches = unmoved = handed_back = unnamed = clear_switches = misses = 0
    times, events = [], {}
    for moment in run:
        segment = segmenter(moment, rng)
        label = torch.from_numpy(moment.named())
        begun = time.perf_counter()
        tracked = tracker.update(
            moment.window, segment, label, moment.window.feature, moment.frames, moment.frames[-1].stamp_ns
        )
        times.append((time.perf_counter() - begun) * 1e3)
        for event in tracked.events:
            events[event.kind] = events.get(event.kind, 0) + 1
        given = tracked.instance.numpy()
        stay, thing_of = np.divmod(moment.thing, len(moment.name))
        size = np.bincount(given[(thing_of == 0) | (stay == moment.stay[thing_of])])
        for thing in np.flatnonzero(moment.seen & ~moment.away).tolist():
            here = int(moment.stay[thing])
            own = given[moment.thing == thing + here * len(moment.name)]
            if len(own) < SMALLEST:
                continue
            frames += len(moment.frames)
            updates += 1
            match = matching(own, size, matched.get(thing, 0))
            misses += match == 0
            if match:
                clear_switches += match != matched.get(thing, match)
                matched[thing] = match
            id_ = int(np.bincount(own).argmax())
            if id_ == 0:
                unnamed += 1
                continue
            was_id, was_stay = last.get(thing, (id_, 0))
            was, before = first.get(thing, (here, id_))
            switches += was_id != id_
            back = was_id != id_ and was != here and id_ == before
            handed_back += back
            unmoved += was_id != id_ and was_stay == here and not back
            last[thing] = (id_, here)
            if was == here:
                first[thing] = (was, id_)
            else:
                again[thing, here] = id_ == before
            ids.setdefault(thing, set()).add(id_)
    return {
        "object_frames": frames, "object_updates": updates, "switches": switches, "unmoved_switches": unmoved,
        "handed_back": handed_back, "unnamed": unnamed,
        "clear_mot_switches": clear_switches, "clear_mot_misses": misses,
        "things": len(ids), "ids": sum(len(given) for given in ids.values()),
        "moved": len(again), "known_again": sum(again.values()),
        "events": events, "times": times,
    }  # fmt: skip


def matching(own: np.ndarray, size: np.ndarray, before: int) -> int:
    """The object that a thing is matched with, 0 for none.

    Args:
        own: (n,) ids of the thing's voxels. size: voxels of each id. before: its last match, 0 for none.
    """
    shared = np.bincount(own, minlength=len(size))
    iou = shared / (len(own) + size - shared)
    valid = [int(id_) for id_ in np.argsort(-iou, kind="stable") if id_ > 0 and iou[id_] >= LEAST_IOU]
    return before if before in valid else next(iter(valid), 0)


def speed() -> dict:
    """An update of 300 boxes with 100 000 voxels in all."""
    rng = np.random.default_rng(0)
    corner = np.array([(x, y, 0) for x in range(20) for y in range(15)]) * 12 + [10, -90, -6]
    box = np.stack(np.meshgrid(*[np.arange(7)] * 3, indexing="ij"), -1).reshape(-1, 3)[:333]
    keys, order = pack_keys(torch.from_numpy((corner[:, None] + box).reshape(-1, 3))).sort()
    thing = torch.arange(300).repeat_interleave(333)[order] + 1
    points = (torch.from_numpy((corner[:, None] + box).reshape(-1, 3))[order].float() + 0.5) * VOXEL_M
    count = len(keys)
    feature = torch.from_numpy(rng.normal(size=(count, 64))).half()
    color = torch.from_numpy(rng.uniform(0, 255, (count, 3))).float()
    flat, zero = torch.zeros(count), torch.zeros(count, 3)
    window = Window(
        VOXEL_M, 0, keys, points, color, zero, flat, feature, flat, thing.short(), flat.half(), thing.int()
    )
    frame = Frame(1, CAMERA, camera_pose(np.zeros(3), 0.0, 0.0), None, torch.full((180, 240), 5.0))
    tracker = Tracker(MAX_M)
    times = []
    for n in range(23):
        begun = time.perf_counter()
        tracker.update(window, thing, thing % 60, feature, [frame], n)
        times.append((time.perf_counter() - begun) * 1e3)
    return {"voxels": count, "objects": 300, **summary(times[3:])}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--seeds", default=",".join(str(1000021 + n) for n in range(8)))
    arguments.add_argument("--quick", action="store_true", help="one flat, nothing saved")
    options = arguments.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    seeds = [int(seed) for seed in options.seeds.split(",")][: 1 if options.quick else None]
    ways = {"true, one in ten corrupted": corrupted, "connected true names": grouped}
    parts: dict[str, list[dict]] = {way: [] for way in ways}
    for seed in seeds:
        run = moments(seed)
        for way, segmenter in ways.items():
            parts[way].append(follow(run, segmenter, seed))
            print(seed, way, {k: v for k, v in parts[way][-1].items() if k != "times"}, flush=True)
    result = {way: total(rows) for way, rows in parts.items()}
    times = speed()
    print(result, times)
    if not options.quick:
        print(save("tracking", {"seeds": seeds, "sequences": result, "update": times}))


def total(rows: list[dict]) -> dict:
    """All flats together."""
    sums = {
        key: sum(row[key] for row in rows)
        for key in (
            *("object_frames", "object_updates", "switches", "unmoved_switches", "handed_back", "unnamed"),
            *("clear_mot_switches", "clear_mot_misses"),
            *("things", "ids", "moved", "known_again"),
        )
    }
    kinds = sorted({kind for row in rows for kind in row["events"]})
    return {
        **sums,
        "switch_share": round(sums["switches"] / sums["object_frames"], 4),
        "switch_share_of_updates": round(sums["switches"] / sums["object_updates"], 4),
        "unmoved_switch_share": round(sums["unmoved_switches"] / sums["object_frames"], 4),
        "clear_mot_switch_share": round(sums["clear_mot_switches"] / sums["object_frames"], 4),
        "clear_mot_miss_share": round(sums["clear_mot_misses"] / sums["object_updates"], 4),
        "fragmentation": round(sums["ids"] / sums["things"] - 1, 3),
        "unnamed_share": round(sums["unnamed"] / sums["object_updates"], 4),
        "events": {kind: sum(row["events"].get(kind, 0) for row in rows) for kind in kinds},
        "update": summary([t for row in rows for t in row["times"]]),
    }


if __name__ == "__main__":
    main()
