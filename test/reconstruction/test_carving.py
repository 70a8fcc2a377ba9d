"""What is seen through, and that what stands is left alone."""

import math

import numpy as np
import pytest
import torch
from box_world import CAMERA, ROOM, depth_frame, look, sweep
from hypothesis import given, settings
from hypothesis import strategies as st

from ws3d_ros.config import InputConfig, MapConfig
from ws3d_ros.reconstruction.carving import (
    HIT,
    MISS,
    MOST,
    _least_around,
    in_view,
    nearest_in_blocks,
    seen_through_in_depth,
    seen_through_in_sweep,
)
from ws3d_ros.reconstruction.range_image import range_image
from ws3d_ros.reconstruction.voxel_map import VoxelMap

VOXEL_M = 0.05
BOX = ((-0.41, -0.31, 0.02), (0.37, 0.34, 0.93))
POLE = ((-1.74, 1.19, 0.02), (-1.71, 1.22, 1.9))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 40))
def test_table_of_minima_is_the_minimum_over_the_square(seed: int, height: int, width: int) -> None:
    generator = np.random.default_rng(seed)
    image = generator.uniform(0, 5, (height, width)).astype(np.float32)
    row, column = generator.uniform(0, height, 50), generator.uniform(0, width, 50)
    half = generator.uniform(0, 20, 50)
    least = _least_around(torch.from_numpy(image), *(torch.from_numpy(x) for x in (row, column, half)))
    cut = 2.0 ** min(5, int(math.log2(min(height, width)))) - 0.5
    for i in range(50):
        r = min(half[i], cut)
        top, left = math.floor(row[i] - r), math.floor(column[i] - r)
        size = max(math.floor(row[i] + r) - top, math.floor(column[i] + r) - left) + 1
        size = min(size, height, width)
        # A square that sticks out is moved back into the image.
        top, left = min(max(top, 0), height - size), min(max(left, 0), width - size)
        assert least[i] == image[top : top + size, left : left + size].min()


def test_blocks_hold_the_nearest_valid_depth_of_most() -> None:
    generator = np.random.default_rng(5)
    depth = generator.uniform(0.5, 5, (13, 22)).astype(np.float32)
    depth[generator.random(depth.shape) < 0.5] = 0
    blocks = nearest_in_blocks(torch.from_numpy(depth), 4)
    assert blocks.shape == (3, 5)
    for i in range(3):
        for j in range(5):
            block = depth[4 * i : 4 * i + 4, 4 * j : 4 * j + 4]
            valid = block[block > 0]
            assert blocks[i, j] == (valid.min() if len(valid) > 8 else 0)
    assert (blocks == 0).any()
    assert (blocks > 0).any()


def test_no_ball_that_reaches_into_the_image_is_out_of_view() -> None:
    generator = np.random.default_rng(6)
    centre = generator.uniform(-6, 6, (4000, 3)).astype(np.float32)
    kept = in_view(CAMERA, torch.from_numpy(centre), 0.35, 5.0).numpy()
    within = generator.normal(size=(4000, 60, 3))
    within *= 0.35 / np.linalg.norm(within, axis=2, keepdims=True)
    x, y, z = np.moveaxis(centre[:, None] + within, 2, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        u, v = CAMERA.fx * x / z + CAMERA.cx, CAMERA.fy * y / z + CAMERA.cy
    visible = (
        (z > 0) & (z < 5) & (u > -0.5) & (u < CAMERA.width - 0.5) & (v > -0.5) & (v < CAMERA.height - 0.5)
    )
    assert not (visible.any(axis=1) & ~kept).any()
    # And it is worth having: most of what is kept does reach in.
    assert visible.any(axis=1)[kept].mean() > 0.7


def test_depth_sees_through_what_is_in_front_and_nothing_else() -> None:
    depth = torch.full((240, 320), 3.0)
    depth[:, 160:] = 1.0
    depth[:100, :60] = 0.0

    def through(u: float, v: float, z: float) -> bool:
        point = torch.tensor([[(u - CAMERA.cx) / CAMERA.fx * z, (v - CAMERA.cy) / CAMERA.fy * z, z]])
        return bool(seen_through_in_depth(depth, CAMERA, point, VOXEL_M, 5.0))

    assert through(100, 150, 2.0)
    assert through(100, 150, 2.8)
    assert not through(100, 150, 2.92), "within the margin of the surface"
    assert not through(100, 150, 3.3), "behind the surface"
    assert not through(200, 150, 2.0), "behind the near surface"
    assert through(200, 150, 0.5)
    assert not through(157, 150, 2.0), "its outline reaches the near surface"
    assert not through(30, 50, 2.0), "nothing was measured there"
    assert not through(-20, 150, 2.0), "out of the image"
    assert not through(100, 150, -2.0), "behind the camera"


@pytest.mark.parametrize("azimuth_deg", [-179.9, -90.0, 0.0, 77.0, 179.9])
def test_a_sweep_sees_through_what_is_in_front_all_around(azimuth_deg: float) -> None:
    pose = np.eye(4)
    pose[:3, 3] = [0, 0, 1.2]
    image = range_image(sweep(pose).points_m)
    angle = math.radians(azimuth_deg)
    wall_m = 1 / max(
        math.cos(angle) / ROOM[1][0],
        -math.cos(angle) / -ROOM[0][0],
        math.sin(angle) / ROOM[1][1],
        -math.sin(angle) / -ROOM[0][1],
    )
    distance = torch.tensor([0.5, 0.8, 0.98, 1.1]) * wall_m
    point = torch.stack([distance * math.cos(angle), distance * math.sin(angle), torch.zeros(4)], dim=1)
    assert seen_through_in_sweep(image, point, VOXEL_M).tolist() == [True, True, False, False]


def test_the_floor_between_two_rings_is_not_seen_through() -> None:
    # A coarse LiDAR: rings on the floor are up to half a metre apart.
    pose = np.eye(4)
    pose[:3, 3] = [-2, 0, 0.8]
    image = range_image(sweep(pose, rings=24).points_m)
    x, y = np.meshgrid(np.arange(-1, 2.9, 0.05), np.arange(-2.4, 2.4, 0.05))
    floor = np.stack([x, y, np.full_like(x, ROOM[0][2])], axis=-1).reshape(-1, 3) - pose[:3, 3]
    through = seen_through_in_sweep(image, torch.from_numpy(floor.astype(np.float32)), VOXEL_M)
    assert not through.any()


def camera_path(step: float) -> np.ndarray:
    angle = 0.35 * step
    eye = (1.9 * math.cos(angle), 1.5 * math.sin(angle), 1.1 + 0.3 * math.sin(1.7 * angle))
    return look(eye, (-0.6 * math.cos(angle), -0.5 * math.sin(angle), 0.7))


def lidar_path(step: float) -> np.ndarray:
    angle = 0.35 * step
    pose = np.eye(4)
    pose[:2, :2] = [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    pose[:3, 3] = [1.7 * math.cos(angle), 1.3 * math.sin(angle), 0.6]
    return pose


FROM_THE_DOOR = look((2.4, -1.9, 1.4), (0.0, 0.0, 0.5))
FROM_THE_CORNER = np.eye(4)
FROM_THE_CORNER[:3, 3] = [2.2, -1.8, 0.9]
"""Both see all of the box."""

SENSORS = pytest.mark.parametrize(("measure", "path"), [(depth_frame, camera_path), (sweep, lidar_path)])


@SENSORS
def test_a_static_noisy_scene_is_not_eaten(measure, path) -> None:
    carved = VoxelMap(MapConfig(), InputConfig())
    plain = VoxelMap(MapConfig(carving=False), InputConfig())
    noise = np.random.default_rng(7)
    for step in range(40):
        item = measure(path(step), [BOX, POLE], step + 1, noise)
        carved.integrate(item)
        plain.integrate(item)
    kept = torch.isin(plain.everything().keys, carved.everything().keys)
    assert kept.float().mean() >= 0.99
    # Thin things have no interior to lose: look at the pole by itself.
    points = plain.everything().points_m
    low, high = (torch.tensor(corner) for corner in POLE)
    pole = ((points > low - 0.05) & (points < high + 0.05)).all(dim=1) & (points[:, 2] > 0.2)
    assert pole.sum() > 20
    assert kept[pole].float().mean() >= 0.9


@pytest.mark.parametrize(
    ("measure", "path", "pose", "foot_m"),
    [(depth_frame, camera_path, FROM_THE_DOOR, 0.15), (sweep, lidar_path, FROM_THE_CORNER, 0.35)],
)
def test_a_box_that_left_is_gone_after_ten_measurements(measure, path, pose, foot_m: float) -> None:
    # The foot is left out: seen this flatly, the floor behind is measured only just behind it. A LiDAR
    # has one ring in 1.3 degrees, which is 12 cm of the box's height.
    voxel_map = VoxelMap(MapConfig(), InputConfig())
    low, high = (torch.tensor(corner) for corner in BOX)

    def on_box() -> int:
        points = voxel_map.everything().points_m
        return int(((points > low - 0.02) & (points < high + 0.02)).all(dim=1)[points[:, 2] > foot_m].sum())

    for step in range(30):
        voxel_map.integrate(measure(path(step), [BOX, POLE], step + 1))
    before = on_box()
    assert before > 500
    removed = 0
    for again in range(10):
        removed += voxel_map.integrate(measure(pose, [POLE], 31 + again)).removed
    assert on_box() == 0
    assert removed >= before


def test_a_hit_outweighs_a_miss_and_old_things_go_as_fast_as_new_ones() -> None:
    assert HIT + MISS > 0
    assert math.floor(MOST / -MISS) + 1 <= 10
