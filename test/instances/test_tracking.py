"""Identities of boxes before a wall: each state, and what may happen between two looks."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from windows import VOXEL_M, box_cells, window

from ws3d_ros.instances.association import assign, moves
from ws3d_ros.instances.changes import CONFIRM, MERGE
from ws3d_ros.instances.objects import State, Tracked
from ws3d_ros.instances.tracking import GONE_MISSES, MISSES, Tracker
from ws3d_ros.rendering.splat import render
from ws3d_ros.sensors.frame import Frame, Pinhole
from ws3d_ros.training.scenes.trajectory import camera_pose

CAMERA = Pinhole(160, 120, 90.0, 90.0, 79.5, 59.5)
AHEAD = camera_pose(np.array([0.0, 0.0, 0.3]), 0.0, 0.0)
BACK = camera_pose(np.array([0.0, 0.0, 0.3]), np.pi, 0.0)
WALL, FLOOR = ((60, -60, -10), (61, 60, 40)), ((20, -30, -1), (60, 40, 0))
RED, BLUE = (200.0, 20.0, 20.0), (20.0, 20.0, 200.0)
Box = tuple[tuple[int, int, int], tuple[int, int, int]]


def cube(x: int, y: int, size: int = 6) -> Box:
    return (x, y, 0), (x + size, y + size, size)


class World:
    """Coloured boxes with labels on a floor before a wall (both no segments), looked at again and again."""

    def __init__(self) -> None:
        self.tracker, self.stamp_ns = Tracker(max_range_m=8.0), 0

    def see(
        self, boxes: list[Box], segments: list[int] | None = None, colors: list | None = None,
        pose: np.ndarray | None = AHEAD, stale: list[Box] | None = None,
    ) -> Tracked:  # fmt: skip
        """An update by a view of ``boxes``; the map still has ``stale`` ones, that are not there."""
        kept = boxes + (stale or [])
        segments = segments or list(range(1, len(kept) + 1))
        colors = colors or [RED] * len(kept)
        background = torch.cat([box_cells(*WALL), box_cells(*FLOOR)])
        cells = [background] + [box_cells(*box) for box in kept]
        table = torch.tensor([(90.0, 90.0, 90.0), *colors])
        which = torch.cat([torch.full((len(c),), i) for i, c in enumerate(cells)])
        win = window(torch.cat(cells), color=table[which], instance=torch.tensor([0, *segments])[which].int())
        real = torch.cat(cells[: 1 + len(boxes)])
        points = (real.float() + 0.5) * VOXEL_M
        self.stamp_ns += 10**9
        frames = []
        if pose is not None:
            depth = render(points, CAMERA, pose, VOXEL_M).depth_m[0]
            frames = [Frame(self.stamp_ns, CAMERA, pose, None, depth)]
        label = (win.instance > 0).long()
        self.last = win
        return self.tracker.update(win, win.instance, label, win.feature, frames, self.stamp_ns)

    def id_in(self, tracked: Tracked, box: Box) -> int:
        """The id that all voxels of a box have."""
        at = torch.isin(self.last.keys, window(box_cells(*box)).keys)
        ids = tracked.instance[at].unique()
        assert len(ids) == 1
        return int(ids)


def kinds(tracked: Tracked) -> list[str]:
    return [event.kind for event in tracked.events]


A, B = cube(30, -12), cube(30, 8)


def settled(boxes: list[Box], **how: object) -> World:
    world = World()
    for _ in range(CONFIRM):
        world.see(boxes, **how)  # type: ignore[arg-type]
    return world


def test_a_new_object_is_tentative_and_then_born() -> None:
    world = World()
    seen = [world.see([A]) for _ in range(CONFIRM)]
    assert [s.states[1] for s in seen] == [State.TENTATIVE] * (CONFIRM - 1) + [State.ACTIVE]
    assert [kinds(s) for s in seen] == [[]] * (CONFIRM - 1) + [["born"]]
    assert world.id_in(seen[0], A) == 1


def test_a_new_object_that_is_joined_with_another_for_once_keeps_its_id() -> None:
    near = cube(30, -6)
    world = World()
    first = world.see([A, near])
    ids = world.id_in(first, A), world.id_in(first, near)
    world.see([A, near], segments=[1, 1])
    after = world.see([A, near])
    assert (world.id_in(after, A), world.id_in(after, near)) == ids


def test_what_was_once_taken_for_larger_is_not_lost_to_a_later_flicker() -> None:
    """The end of a long thing, joined with a small one for once, made that look three times as large."""
    long, end, small = cube(30, -12, 10), cube(30, -2), cube(30, 4, 5)
    boxes = [long, end, small]
    world = settled(boxes, segments=[1, 1, 2])
    world.see(boxes, segments=[1, 2, 2])
    world.see(boxes, segments=[1, 1, 2])
    world.see(boxes, segments=[1, 1, 1])
    after = world.see(boxes, segments=[1, 1, 2])
    assert [world.id_in(after, box) for box in boxes] == [1, 1, 2]


def test_an_object_that_is_cut_twice_and_then_whole_keeps_its_id() -> None:
    slices: list[Box] = [((30, y, 0), (36, y + 2, 6)) for y in (-12, -10, -8)]
    world = settled(slices, segments=[1, 1, 1])
    world.see(slices, segments=[1, 1, 2])
    world.see(slices, segments=[1, 2, 2])  # the piece has more of it now than what it is a piece of
    whole = world.see(slices, segments=[1, 1, 1])
    assert [world.id_in(whole, part) for part in slices] == [1, 1, 1]
    assert kinds(whole) == []


def test_ids_stay_whatever_the_segments_are_called() -> None:
    world = settled([A, B])
    swapped = world.see([A, B], segments=[9, 4])
    assert (world.id_in(swapped, A), world.id_in(swapped, B)) == (1, 2)


def test_seen_through_it_is_lost_and_then_gone() -> None:
    world = settled([A, B])  # the map keeps A for now, as nothing
    seen = [world.see([B], stale=[A], segments=[1, 0]) for _ in range(GONE_MISSES)]
    assert [s.states[1] for s in seen[: MISSES - 1]] == [State.ACTIVE] * (MISSES - 1)
    assert kinds(seen[MISSES - 1]) == ["lost"]
    assert seen[MISSES - 1].states[1] == State.MISSING
    assert kinds(seen[-1]) == ["gone"]
    assert seen[-1].states == {1: State.GONE, 2: State.ACTIVE}


def test_what_carving_took_from_the_map_is_lost_at_once() -> None:
    world = settled([A, B])
    lost = world.see([B])
    assert kinds(lost) == ["lost"]
    assert lost.states == {1: State.MISSING, 2: State.ACTIVE}
    behind = world.see([B], pose=BACK)
    assert behind.states == lost.states  # nobody looked


def test_occluded_is_not_missing() -> None:
    world = settled([A])
    screen = ((15, -25, -8), (16, 25, 30))
    for _ in range(GONE_MISSES):
        hidden = world.see([screen], colors=[BLUE])  # the window's segments lack it, too
    assert hidden.states[1] == State.OCCLUDED
    shown = world.see([A])
    assert shown.states[1] == State.ACTIVE
    assert world.id_in(shown, A) == 1


@pytest.mark.parametrize("pose", [BACK, None], ids=["out of view", "no measurement"])
def test_what_nobody_looked_at_is_not_missing(pose: np.ndarray | None) -> None:
    world = settled([A])
    for _ in range(GONE_MISSES):
        away = world.see([], pose=pose)
    assert away.states == {1: State.ACTIVE}


def test_segments_that_lack_it_for_a_while_are_no_absence() -> None:
    world = settled([A, B])
    for _ in range(GONE_MISSES):
        flicker = world.see([A, B], segments=[0, 1])
    assert flicker.states[1] == State.ACTIVE
    assert world.id_in(flicker, A) == 1


def test_found_again_where_it_was() -> None:
    world = settled([A])
    for _ in range(MISSES):
        world.see([])
    back = world.see([A])
    assert kinds(back) == ["found"]
    assert world.id_in(back, A) == 1


@pytest.mark.parametrize("away", [MISSES, GONE_MISSES])
def test_moved(away: int) -> None:
    world = settled([A])
    for _ in range(away):
        world.see([])
    moved = world.see([B])
    (event,) = moved.events
    assert (event.kind, event.id) == ("moved", 1)
    assert event.from_m is not None
    assert event.to_m is not None
    # Boxes are 20 voxels apart; centroids are exact means of voxel centres.
    assert np.subtract(event.to_m, event.from_m) == pytest.approx([0.0, 20 * VOXEL_M, 0.0], abs=1e-5)
    assert world.id_in(moved, B) == 1


def test_moved_while_the_map_still_has_its_ghost() -> None:
    world = settled([A])
    for _ in range(2):
        world.see([B], stale=[A])
    assert "lost" in [kind for _ in range(MISSES) for kind in kinds(world.see([B]))]
    after = world.see([B])
    assert world.id_in(after, B) == 1


def test_another_kind_of_thing_is_not_the_missing_one() -> None:
    world = settled([A])
    for _ in range(MISSES):
        world.see([])
    large = ((30, 8, 0), (34, 30, 25))
    other = world.see([large], colors=[BLUE])
    assert world.id_in(other, large) == 2


def test_a_thing_in_a_place_never_seen_before_is_not_the_missing_one() -> None:
    world = settled([A])
    for _ in range(MISSES):
        world.see([])
    far = cube(-60, 0)
    assert world.id_in(world.see([far]), far) == 2


def test_twins_that_move_take_the_shorter_way() -> None:
    world = settled([A, B])
    for _ in range(MISSES):
        world.see([])
    near_a, near_b = cube(40, -14), cube(40, 10)
    both = world.see([near_b, near_a])
    assert (world.id_in(both, near_a), world.id_in(both, near_b)) == (1, 2)


def test_of_twins_equally_far_none_is_taken_for_the_other() -> None:
    world = settled([cube(30, -13), cube(30, 7)])
    for _ in range(MISSES):
        world.see([])
    between = cube(40, -3)
    assert world.id_in(world.see([between]), between) == 3


def test_a_split_must_last() -> None:
    whole, left, right = ((30, -6, 0), (34, 9, 8)), ((30, -6, 0), (34, 3, 8)), ((30, 3, 0), (34, 9, 8))
    world = settled([left, right], segments=[1, 1])
    flicker = world.see([left, right])
    assert (world.id_in(flicker, whole), kinds(flicker)) == (1, [])
    world.see([left, right], segments=[1, 1])
    for _ in range(CONFIRM):
        split = world.see([left, right])
    assert [(e.kind, e.id, e.other) for e in split.events] == [("split", 2, 1)]
    assert (world.id_in(split, left), world.id_in(split, right)) == (1, 2)


def test_a_merge_must_last() -> None:
    left, right = ((30, -6, 0), (34, 3, 8)), ((30, 3, 0), (34, 9, 8))
    world = settled([left, right])
    for _ in range(MERGE - 1):
        flicker = world.see([left, right], segments=[1, 1])
    assert (world.id_in(flicker, left), world.id_in(flicker, right)) == (1, 2)
    merged = world.see([left, right], segments=[1, 1])
    assert [(e.kind, e.id, e.other) for e in merged.events] == [("merged", 2, 1)]
    assert world.id_in(merged, right) == 1


def test_saved_and_loaded_it_goes_on_alike() -> None:
    world, other = settled([A, B]), World()
    for _ in range(MISSES):
        world.see([B])
    other.tracker, other.stamp_ns = Tracker.from_state(world.tracker.state(), 8.0), world.stamp_ns
    moved = cube(44, -10)
    for boxes in ([moved, B], [moved, B], [moved]):
        one, two = world.see(boxes), other.see(boxes)
        assert torch.equal(one.instance, two.instance)
        assert (one.states, one.events) == (two.states, two.events)
    assert one.states[1] == State.ACTIVE


def test_remembers_so_many_that_are_gone() -> None:
    world = World()
    world.tracker = Tracker(8.0, remembered=1)
    for _ in range(CONFIRM):
        world.see([A, B], colors=[RED, BLUE])
    for _ in range(GONE_MISSES):
        gone = world.see([])
    assert list(gone.states.values()) == [State.GONE]
    assert len(world.tracker.state()["places.keys"]) == 0


def test_an_empty_window() -> None:
    world = settled([A])
    empty = window(torch.zeros(0, 3, dtype=torch.int64))
    none = torch.zeros(0, dtype=torch.int64)
    tracked = world.tracker.update(empty, none, none, empty.feature, [], 10**12)
    assert tracked.instance.shape == (0,)
    assert tracked.states[1] == State.ACTIVE


def greedy(pairs: dict[tuple[int, int], float]) -> dict[int, int]:
    """Mutual best, object by object; then the best sum over all ways to pair what is left."""

    def best(of: int, axis: int) -> tuple[int, int]:
        mine = [(-score, pair) for pair, score in pairs.items() if pair[axis] == of]
        return min(mine)[1]

    sure = {s: t for s, t in pairs if best(s, 0) == (s, t) == best(t, 1)}
    rest = [p for p in pairs if p[0] not in sure and p[1] not in sure.values()]

    def most(left: list[tuple[int, int]]) -> tuple[float, dict[int, int]]:
        if not left:
            return 0.0, {}
        first = left[0]
        without = most(left[1:])
        total, chosen = most([p for p in left if p[0] != first[0] and p[1] != first[1]])
        with_it = total + pairs[first], {**chosen, first[0]: first[1]}
        return max(without, with_it, key=lambda option: option[0])

    return {**sure, **most(rest)[1]}


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10_000), st.integers(0, 9))
def test_assignment_agrees_with_trying_all(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    codes = rng.choice(20, count, replace=False)
    segment, thing = codes // 4, codes % 4
    score = rng.permutation(count) + rng.uniform(0.1, 0.9, count)  # no two alike, so no ties
    match = assign(segment, thing, score, 5)
    expected = greedy({(int(s), int(t)): float(x) for s, t, x in zip(segment, thing, score, strict=True)})
    assert {s: int(t) for s, t in enumerate(match) if t >= 0} == expected


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.integers(0, 4), st.integers(0, 4))
def test_nobody_moves_twice(seed: int, missing: int, fresh: int) -> None:
    rng = np.random.default_rng(seed)
    likeness, way = rng.uniform(0, 1, (missing, fresh)), rng.uniform(0, 12, (missing, fresh))
    pairs = moves(likeness, way, rng.random((missing, fresh)) < 0.7)
    assert len({a for a, _ in pairs}) == len({b for _, b in pairs}) == len(pairs)
