"""The map as others see it: what goes in, what comes out, and that errors leave it alone."""

import dataclasses

import numpy as np
import pytest
import torch
from box_world import CAMERA, depth_frame, look, sweep

from ws3d_ros.config import InputConfig, MapConfig
from ws3d_ros.reconstruction.fusion import observe_frame
from ws3d_ros.reconstruction.voxel_map import MOST_WEIGHT, Fused, VoxelMap, pack_keys, unpack_keys
from ws3d_ros.reconstruction.window import Patch, Window
from ws3d_ros.sensors.frame import Frame, Scan

BOX = ((-0.41, -0.31, 0.02), (0.37, 0.34, 0.93))
POSES = [look((2.0 - 0.2 * i, -1.0 + 0.1 * i, 1.2), (0.0, 0.1 * i, 0.6)) for i in range(5)]


def new_map(channels: int = 0, **settings: object) -> VoxelMap:
    return VoxelMap(MapConfig(**settings), InputConfig(), channels)


def filled_map(channels: int = 0, **settings: object) -> VoxelMap:
    voxel_map = new_map(channels, **settings)
    for i, pose in enumerate(POSES):
        voxel_map.integrate(depth_frame(pose, [BOX], i + 1))
    return voxel_map


def same(a: Window, b: Window) -> bool:
    return all(
        torch.equal(torch.nan_to_num(x), torch.nan_to_num(y)) if isinstance(x, torch.Tensor) else x == y
        for x, y in zip(dataclasses.astuple(a), dataclasses.astuple(b), strict=True)
    )


def test_several_frames_are_the_weighted_mean_of_what_each_saw() -> None:
    voxel_map = new_map(carving=False, min_weight=0.0)
    sums: dict = {}
    new = touched = 0
    for i, pose in enumerate(POSES):
        frame = depth_frame(pose, [BOX], i + 1)
        fused = voxel_map.integrate(frame)
        new, touched = new + fused.new, touched + fused.touched
        seen = observe_frame(frame, 0.05, 0.2, 5.0)
        for key, *means, weight in zip(
            pack_keys(seen.coords).tolist(), seen.point_m, seen.normal, seen.color, seen.weight, strict=True
        ):
            total, old = sums.get(key, (0.0, np.zeros(9)))
            sums[key] = (total + float(weight), old + float(weight) * torch.cat(means).double().numpy())
    window = voxel_map.everything()
    assert window.keys.tolist() == sorted(sums)
    assert (len(voxel_map), new) == (len(sums), len(sums))
    assert touched > new
    assert window.stamp_ns == len(POSES)
    total = np.array([sums[key][0] for key in window.keys.tolist()])
    mean = np.array([sums[key][1] / sums[key][0] for key in window.keys.tolist()])
    # Running means in float32 over five frames.
    assert np.allclose(window.weight, total.clip(max=MOST_WEIGHT), rtol=1e-5)
    assert np.allclose(window.points_m, mean[:, :3], atol=1e-5)
    assert np.allclose(window.color, mean[:, 6:], atol=1e-2)
    normal = mean[:, 3:6] / np.maximum(np.linalg.norm(mean[:, 3:6], axis=1, keepdims=True), 1e-12)
    clear = np.linalg.norm(mean[:, 3:6], axis=1) > 1e-3
    assert np.allclose(window.normal[clear], normal[clear], atol=1e-3)


def test_points_lie_in_the_voxels_of_their_keys() -> None:
    window = filled_map().everything()
    cells = unpack_keys(window.keys)
    offset = window.points_m / 0.05 - cells
    # Rounding of a mean may step over a face.
    assert (offset > -1e-3).all()
    assert (offset < 1 + 1e-3).all()


def test_a_window_is_the_ball_of_what_there_is_evidence_for() -> None:
    voxel_map = filled_map()
    everything = voxel_map.everything()
    assert (everything.weight >= MapConfig().min_weight).all()
    assert len(everything) < len(voxel_map)
    center = torch.tensor([0.3, -0.2, 0.5])
    window = voxel_map.window(center, 1.1)
    near = (everything.points_m - center).norm(dim=1) <= 1.1
    assert 0 < near.sum() < len(everything)
    assert torch.equal(window.keys, everything.keys[near])
    assert torch.equal(window.points_m, everything.points_m[near])
    assert (window.keys.diff() > 0).all()
    assert len(voxel_map.window((500.0, 0.0, 0.0), 3.0)) == 0
    voxel_map.config = dataclasses.replace(voxel_map.config, min_weight=0.0)
    assert len(voxel_map.everything()) == len(voxel_map)


def test_a_window_shares_nothing_with_the_map() -> None:
    voxel_map = filled_map(4)
    before = voxel_map.everything()
    spoilt = voxel_map.everything()
    for values in dataclasses.astuple(spoilt):
        if isinstance(values, torch.Tensor):
            values.fill_(1)
    assert same(voxel_map.everything(), before)
    kept = dataclasses.replace(before, points_m=before.points_m.clone(), label=before.label.clone())
    voxel_map.integrate(depth_frame(POSES[0], [], 99))
    voxel_map.apply(Patch(before.keys, label=torch.ones(len(before), dtype=torch.int16)))
    assert same(before, kept)


def test_a_patch_is_merged_by_key_and_skips_what_is_gone() -> None:
    voxel_map = filled_map(3)
    keys = voxel_map.everything().keys[10:20].flip(0)
    absent = pack_keys(torch.tensor([[9000, 0, 0]]))
    patch = Patch(
        torch.cat([keys, absent]),
        feature_sum=torch.arange(33.0).view(11, 3),
        feature_weight=torch.arange(1.0, 12.0),
        label=torch.arange(1, 12),
        confidence=torch.linspace(0, 1, 11),
        instance=torch.arange(11) + 7,
    )
    assert voxel_map.apply(patch) == 10
    assert voxel_map.apply(Patch(keys[:4], torch.full((4, 3), 6.0), torch.full((4,), 2.0))) == 4
    window = voxel_map.everything()
    rows = torch.searchsorted(window.keys, keys)
    total, weight = patch.feature_sum[:10].clone(), patch.feature_weight[:10].clone()
    total[:4] += 6.0
    weight[:4] += 2.0
    # Features are kept as float16: 11 bits.
    assert torch.allclose(window.feature[rows].float(), total / weight[:, None], rtol=2e-3)
    assert torch.equal(window.feature_weight[rows], weight)
    assert torch.equal(window.label[rows], patch.label[:10].short())
    assert torch.equal(window.confidence[rows], patch.confidence[:10].half())
    assert torch.equal(window.instance[rows], patch.instance[:10].int())
    others = torch.ones(len(window), dtype=torch.bool)
    others[rows] = False
    assert not window.label[others].any()
    assert not window.feature_weight[others].any()


def test_paint_colours_what_a_lidar_mapped() -> None:
    voxel_map = new_map()
    pose = np.eye(4)
    pose[:3, 3] = [0.1, 0.2, 1.2]
    voxel_map.integrate(sweep(pose))
    window = voxel_map.everything()
    assert len(window) > 1000
    assert window.color.isnan().all()
    keys = torch.cat([window.keys[5:7], window.keys[5:6], pack_keys(torch.tensor([[9000, 0, 0]]))])
    color = torch.tensor([[10, 20, 30], [1, 2, 3], [40, 50, 60], [9, 9, 9]], dtype=torch.uint8)
    assert voxel_map.paint(keys, color, torch.tensor([1.0, 1.0, 2.0, 1.0])) == 2
    painted = voxel_map.everything().color
    assert torch.allclose(painted[5:7], torch.tensor([[30.0, 40, 50], [1, 2, 3]]))
    assert painted[[0, 4, 7]].isnan().all()
    voxel_map.paint(window.keys[5:6], torch.tensor([[90.0, 100, 110]]), torch.tensor([3.0]))
    assert torch.allclose(voxel_map.everything().color[5], torch.tensor([60.0, 70, 80]))


def test_a_camera_and_a_lidar_share_one_map() -> None:
    voxel_map = filled_map()
    pose = np.eye(4)
    pose[:3, 3] = [1.5, -1.0, 1.0]
    fused = voxel_map.integrate(sweep(pose, [BOX], 50))
    assert fused.touched > fused.new > 0
    window = voxel_map.everything()
    assert window.color.isnan().any()
    assert not window.color.isnan().all()


def test_frames_may_lack_colour_or_depth() -> None:
    voxel_map = new_map()
    frame = depth_frame(POSES[0])
    assert voxel_map.integrate(dataclasses.replace(frame, depth_m=None)) == Fused()
    assert voxel_map.integrate(dataclasses.replace(frame, color=None)).new > 1000
    assert voxel_map.everything().color.isnan().all()
    voxel_map.integrate(dataclasses.replace(frame, depth_m=torch.zeros(240, 320)))
    assert voxel_map.integrate(Scan(5, torch.zeros(0, 3), np.eye(4))) == Fused()


def poses_that_cannot_be() -> list[np.ndarray]:
    nan, inf, mirrored, scaled = (POSES[0].copy() for _ in range(4))
    nan[0, 3], inf[1, 1] = np.nan, np.inf
    mirrored[:3, 0] *= -1
    scaled[:3, :3] *= 1.01
    return [nan, inf, mirrored, scaled, np.zeros((4, 4)), np.eye(3)]


@pytest.mark.parametrize("pose", poses_that_cannot_be())
def test_a_pose_that_cannot_be_is_refused_and_the_map_is_as_it_was(pose: np.ndarray) -> None:
    voxel_map = filled_map(2)
    before = voxel_map.everything()
    with pytest.raises(ValueError, match=r"front camera: .*pose"):
        voxel_map.integrate(Frame(99, CAMERA, pose, None, torch.ones(240, 320), sensor="front camera"))
    with pytest.raises(ValueError, match=r"roof lidar: .*pose"):
        voxel_map.integrate(Scan(99, torch.ones(4, 3), pose, sensor="roof lidar"))
    assert same(voxel_map.everything(), before)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_points_that_are_not_finite_are_refused_and_such_depth_is_no_measurement(value: float) -> None:
    voxel_map = filled_map()
    before = voxel_map.everything()
    points = torch.ones(10, 3)
    points[3, 1] = value
    with pytest.raises(ValueError, match=r"lidar: .*not finite"):
        voxel_map.integrate(Scan(99, points, np.eye(4)))
    assert same(voxel_map.everything(), before)
    frame = depth_frame(POSES[0])
    frame.depth_m[::2] = value
    voxel_map.integrate(frame)
    window = voxel_map.everything()
    for values in (window.points_m, window.color, window.normal, window.weight):
        assert values.isfinite().all()


def test_the_map_stays_within_its_budget_on_a_long_way() -> None:
    voxel_map = new_map(16, budget_mb=4.0)
    evicted = 0
    for step in range(30):
        pose = look((2.0, -1.0, 1.2), (0.0, 0.0, 0.6))
        pose[:3, 3] += [7.0 * step, 0, 0]
        frame = depth_frame(look((2.0, -1.0, 1.2), (0.0, 0.0, 0.6)), [BOX], step + 1)
        evicted += voxel_map.integrate(dataclasses.replace(frame, T_map_camera=pose)).evicted
        assert voxel_map.bytes <= 4_000_000
        assert len(voxel_map.window(pose[:3, 3], 5.0)) > 2000, "where the robot is there is a map"
    assert evicted > 10_000
    assert len(voxel_map.window((2.0, -1.0, 1.2), 5.0)) == 0


def test_clear_forgets_everything() -> None:
    voxel_map = filled_map()
    voxel_map.clear()
    assert len(voxel_map) == len(voxel_map.everything()) == 0
    assert voxel_map.everything().stamp_ns == 0
    assert voxel_map.integrate(depth_frame(POSES[0])).new > 1000
