"""A robot goes around a block, its odometry drifts, and the loop is closed: without ROS, the whole way."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from drifting_world import BOXES, drifting, going_around, shot
from scipy.spatial import cKDTree
from small_world import ColourEncoder, pose
from small_world import shot as small_shot

from ws3d_ros.config import from_mapping
from ws3d_ros.instances.objects import State
from ws3d_ros.language.vocabulary import Vocabulary
from ws3d_ros.pipeline import Pipeline
from ws3d_ros.reconstruction.window import Window

POSES = going_around(0.2)
CLOSED = len(POSES) - 6
"""The loop is closed before this measurement."""
DRIFTED = drifting(POSES, yaw_deg_per_m=0.15, too_long=0.0)
"""Four degrees and 20 cm at the end of 28 m."""


def new_pipeline() -> Pipeline:
    config = from_mapping(
        {
            "inputs.max_depth_m": 4.0,
            "map.window_radius_m": 5.0,
            "semantics.feature_channels": 0,
            "semantics.keyframe_distance_m": 0.4,
            "semantics.keyframe_angle_deg": 40.0,
        }
    )
    return Pipeline(config, ColourEncoder(), Vocabulary.of(["floor", "wall", "box"]), torch.device("cpu"))


def boxes(pipeline: Pipeline) -> dict[int, np.ndarray]:
    """Middles of the objects that are called boxes, by id."""
    window = pipeline.map.everything()
    ids = window.instance[window.label == 3].unique().tolist()
    return {i: window.points_m[window.instance == i].mean(0).numpy() for i in ids if i}


Driven = tuple[Pipeline, dict[int, np.ndarray]]


@pytest.fixture(scope="module")
def followed() -> Driven:
    """The map at the end, and its boxes just before the loop was closed."""
    pipeline, before, T_new_old = new_pipeline(), {}, np.eye(4)
    for index, (true, drifted) in enumerate(zip(POSES, DRIFTED, strict=True)):
        if index == CLOSED:
            before = boxes(pipeline)
            T_new_old = true @ np.linalg.inv(drifted)
            pipeline.follow(T_new_old, true[:3, 3])
        pipeline.take(shot(true, T_new_old @ drifted, index))
    return pipeline, before


def not_following() -> Window:
    """The map at the end, if measurements are placed by the correction and nothing else is."""
    pipeline, T_new_old = new_pipeline(), POSES[CLOSED] @ np.linalg.inv(DRIFTED[CLOSED])
    for index, (true, drifted) in enumerate(zip(POSES, DRIFTED, strict=True)):
        pipeline.integrate(shot(true, drifted if index < CLOSED else T_new_old @ drifted, index))
    return pipeline.map.everything()


@pytest.fixture(scope="module")
def truth() -> cKDTree:
    pipeline = new_pipeline()
    for index, true in enumerate(POSES):
        pipeline.integrate(shot(true, true, index))
    return cKDTree(pipeline.map.everything().points_m.numpy())


def off_m(window: Window, truth: cKDTree) -> np.ndarray:
    """(2,) arrays as one: from voxels to the true map's, and back."""
    points = window.points_m.numpy()
    return np.concatenate([truth.query(points)[0], cKDTree(points).query(truth.data)[0]])


def test_the_map_is_as_if_there_had_been_no_drift(followed: Driven, truth: cKDTree) -> None:
    """Within a voxel, 5 cm; without following, two fifths of it are not."""
    with_, without = (
        off_m(followed[0].map.everything(), truth),
        off_m(not_following(), truth),
    )
    assert (with_ < 0.05).mean() > 0.98
    assert (without < 0.05).mean() < 0.7
    assert with_.mean() < without.mean() / 3


def test_objects_keep_their_ids_and_are_where_they_belong(followed: Driven) -> None:
    pipeline, before = followed
    after = boxes(pipeline)
    assert len(before) == len(BOXES)
    assert after.keys() == before.keys()
    assert all(pipeline.identities.states[i] == State.ACTIVE for i in after)
    true = np.array([box.mean(0)[:2] for box in BOXES])
    nearest = [np.linalg.norm(true - middle[:2], axis=1) for middle in after.values()]
    assert sorted(int(way.argmin()) for way in nearest) == list(range(len(BOXES)))
    # The camera passes on one side: the middle of what it saw is 5 to 10 cm off the box's.
    assert max(way.min() for way in nearest) < 0.15
    assert max(np.linalg.norm(after[i] - before[i]) for i in after) > 0.25


def test_the_tracker_knows_the_objects_where_the_map_has_them() -> None:
    pipeline = new_pipeline()
    for x in (0.0, 0.3, 0.6):
        pipeline.take(small_shot(pose(x)))
    before = pipeline.tracks()
    T_new_old = np.eye(4)
    T_new_old[:3, 3] = 1.0, 2.0, 0.0
    pipeline.follow(T_new_old, np.zeros(3))
    window, after = pipeline.map.everything(), pipeline.tracks()
    keys, owner = after["places.keys"], after["places.owner"]
    assert (np.diff(keys) > 0).all()
    row = torch.searchsorted(window.keys, torch.from_numpy(keys)).clamp(max=len(window) - 1)
    assert (window.keys[row].numpy() == keys).mean() > 0.99  # some are below the evidence that counts
    number = dict(zip(after["objects.number"], after["objects.id"], strict=True))
    ids = np.array([number[o] for o in owner])
    shown = window.instance[row].numpy() > 0
    assert (ids == window.instance[row].numpy())[shown].all()
    moved = after["kinds.centroid_m"] - before["kinds.centroid_m"]
    assert np.allclose(moved, [1.0, 2.0, 0.0], atol=0.05)


def test_where_voxels_moved_to_was_seen_when_they_were() -> None:
    pipeline = new_pipeline()
    pipeline.take(small_shot(pose(), stamp_ns=5))
    before = pipeline.tracks()
    T_new_old = np.eye(4)
    T_new_old[:3, 3] = 8.0, 0.0, 0.0  # 20 columns of the floor plan
    pipeline.follow(T_new_old, np.zeros(3))
    after = pipeline.tracks()
    there = before["explored.column"] + 20 * (1 << 32)
    assert np.isin(there, after["explored.column"]).mean() > 0.95  # voxels' middles, not their points
    assert (after["explored.first_ns"] == 5).all()
    assert (np.diff(after["explored.column"]) > 0).all()


@pytest.mark.parametrize("stage", ["look", "read_and_name", "relabel", "rename"])
def test_what_was_found_out_before_a_jump_comes_to_the_same_voxels_after_it(stage: str) -> None:
    T_new_old = np.eye(4)
    T_new_old[:3, 3] = 1.02, -3.01, 0.03  # off the faces of voxels, where all planes of this world are
    windows = []
    for in_time in (True, False):
        pipeline, frame = new_pipeline(), small_shot(pose())
        pipeline.integrate(frame)
        if stage != "look":
            pipeline.apply(pipeline.look(frame, pipeline.snapshot(frame)))
        copy = pipeline.map.everything()
        late = pipeline.look(frame, copy) if stage == "look" else getattr(pipeline, stage)(copy)
        if in_time:
            pipeline.apply(late)
        pipeline.follow(T_new_old, np.zeros(3))
        if not in_time:
            assert (pipeline.map.everything().label == 0).all()
            pipeline.apply(late)
        windows.append(pipeline.map.everything())
    a, b = windows
    assert torch.equal(a.keys, b.keys)
    # Where two voxels come together their features are averaged in time, and told twice when late.
    assert ((a.feature.float() - b.feature.float()).abs().amax(1) < 0.02).float().mean() > 0.95
    assert (a.label == b.label).float().mean() > 0.95
    known = a.feature_weight > 0 if stage == "look" else a.label > 0
    assert known.float().mean() > 0.8


def test_what_is_too_old_is_not_put_anywhere() -> None:
    pipeline = new_pipeline()
    pipeline.integrate(small_shot(pose()))
    understood = pipeline.rename(pipeline.map.everything())
    for _ in range(6):
        pipeline.follow(np.eye(4), np.zeros(3))
    pipeline.apply(understood)
    assert (pipeline.map.everything().label == 0).all()
