"""Augmentation keeps what belongs together together, and depends on its generator alone."""

from __future__ import annotations

import numpy as np
import pytest
from clouds import room
from hypothesis import given
from hypothesis import strategies as st

from ws3d_ros.training.augment import Augmentation, augment, crop, overlay, rotation

STILL = Augmentation(
    aligned=0.0, scale=0.0, tilt_deg=0.0, jitter_m=0.0, no_color=0.0, no_normal=0.0, keep=1.0
)


@given(seed=st.integers(0, 1000))
def test_a_rigid_change_keeps_distances_and_normals_with_their_surfaces(seed: int) -> None:
    cloud = room(points=300)
    changed = augment(cloud, STILL, np.random.default_rng(seed))
    rows = np.arange(0, len(changed), 7)
    before = np.linalg.norm(cloud.points_m[rows, None] - cloud.points_m[rows], axis=-1)
    after = np.linalg.norm(changed.points_m[rows, None] - changed.points_m[rows], axis=-1)
    np.testing.assert_allclose(after, before, atol=1e-4)  # float32 metres
    floor = changed.label == 0
    assert changed.normal is not None
    # Noise on normals is at most 0.15 a component: the floor's still point up on average.
    assert changed.normal[floor].mean(0)[2] > 0.8
    assert np.ptp(changed.points_m[floor][:, 2]) < 1e-3


def test_the_same_generator_gives_the_same_cloud() -> None:
    one, two = (augment(room(), Augmentation(), np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(one.points_m, two.points_m)
    np.testing.assert_array_equal(one.label, two.label)


def test_colours_and_normals_can_go_missing() -> None:
    blind = Augmentation(no_color=1.0, no_normal=1.0)
    changed = augment(room(), blind, np.random.default_rng(0))
    assert changed.color is None
    assert changed.normal is None


def test_a_thing_is_repainted_as_a_whole() -> None:
    painted = augment(room(), Augmentation(no_color=0.0, repaint=80.0), np.random.default_rng(3))
    assert painted.color is not None
    for thing in range(3):
        # Pixel noise has a standard deviation of 8 at most; one paint for all of the thing.
        assert painted.color[painted.instance == thing].std(0).max() < 9.0


def test_walls_run_along_the_grid_when_aligned() -> None:
    still = Augmentation(aligned=1.0, scale=0.0, jitter_m=0.0, keep=1.0)
    for seed in range(8):
        wall = augment(room(), still, np.random.default_rng(seed))
        spread = np.ptp(wall.points_m[wall.label == 1], axis=0)
        assert min(spread[:2]) < 1e-3


@given(seed=st.integers(0, 100), voxels=st.integers(50, 5000))
def test_a_crop_is_a_square_column_with_at_most_so_many_voxels(seed: int, voxels: int) -> None:
    cloud = room(points=4000)
    part = crop(cloud, voxels, 0.05, np.random.default_rng(seed))
    cells = np.unique(np.floor(part.points_m / 0.05), axis=0)
    # One column of voxels stands even where it is taller than asked.
    assert 0 < len(cells) <= max(voxels, 60)
    inside = (cloud.points_m >= part.points_m.min(0)).all(1) & (cloud.points_m <= part.points_m.max(0)).all(1)
    assert inside.sum() == len(part)


@given(seed=st.integers(0, 100))
def test_a_crop_around_a_class_has_it_in_its_middle(seed: int) -> None:
    cloud = room(points=4000)
    part = crop(cloud, 300, 0.05, np.random.default_rng(seed), label=2)
    middle = (part.points_m[:, :2].min(0) + part.points_m[:, :2].max(0)) / 2
    table = cloud.points_m[cloud.label == 2, :2]
    # At the edge of the room the crop's box ends where the room does.
    edge = part.points_m[:, :2].max(0) - part.points_m[:, :2].min(0)
    assert np.abs(table - middle).max(1).min() <= edge.max() / 2 + 0.05
    assert (part.label == 2).any()
    absent = crop(cloud, 300, 0.05, np.random.default_rng(seed), label=77)
    assert len(absent)


def test_clouds_lie_over_each_other_and_things_stay_apart() -> None:
    one, other = room(0, 500), room(1, 700)
    both = overlay(one, other)
    assert len(both) == 1200
    np.testing.assert_array_equal(both.points_m[:500], one.points_m)
    moved = both.points_m[500:] - other.points_m
    np.testing.assert_allclose(moved, np.broadcast_to(moved[0], moved.shape), atol=1e-5)  # moved as a whole
    assert not set(both.instance[:500]) & set(both.instance[500:]) - {-1}
    for label, instance in zip(both.label[500:], both.instance[500:], strict=True):
        assert (label, instance - both.instance[:500].max() - 1) in set(
            zip(other.label.tolist(), other.instance.tolist(), strict=True)
        )
    dark = augment(other, Augmentation(no_color=1.0), np.random.default_rng(0))
    assert overlay(one, dark).color is None


def test_rotation_is_ros_convention() -> None:
    np.testing.assert_allclose(rotation(np.pi / 2, 0, 0) @ [1, 0, 0], [0, 1, 0], atol=1e-12)
    np.testing.assert_allclose(rotation(0, np.pi / 2, 0) @ [1, 0, 0], [0, 0, -1], atol=1e-12)
    np.testing.assert_allclose(rotation(0, 0, np.pi / 2) @ [0, 1, 0], [0, 0, 1], atol=1e-12)
    matrix = rotation(0.3, -0.2, 0.1)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(matrix) == pytest.approx(1.0)
