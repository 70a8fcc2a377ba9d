"""Where to look from: virtual cameras that see what is known least."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ws3d_ros.rendering.splat import Views, render
from ws3d_ros.sensors.frame import Pinhole

HEIGHT_M = (0.3, 1.8)
"""Above the local floor: where robots and people have their eyes."""
DISTANCE_M = (1.0, 4.0)
CLEARANCE_M = 0.25
"""No voxel is nearer to a camera than this."""
FLOOR_RADIUS_M = 1.5
FLOOR_SHARE = 0.02
"""So many of the voxels around are below the floor: noise, and what is seen through windows."""
STEEPEST = 0.9
"""Largest upward or downward part of a line of sight: people hardly ever take pictures of the ceiling."""
CANDIDATES = 8
"""Poses tried for each view asked for."""
AT_ONCE = 20_000
"""Voxels that tell where the floor is; more of them say the same."""


def need(feature_weight: Tensor, confidence: Tensor) -> Tensor:
    """(N,) float32 in 0..1: how much a voxel lacks a good view.

    Evidence from afar and aslant weighs little already (``alignment.lifting``), and what only a
    LiDAR saw has none, so that the weight tells all of these.

    Args:
        feature_weight, confidence: (N,) as in ``reconstruction.window.Window``.
    """
    return (1.0 - 0.5 * confidence.float()) / (1.0 + feature_weight.float())


@torch.no_grad()
def place_cameras(
    points_m: Tensor,
    normal: Tensor,
    need: Tensor,
    voxel_size_m: float,
    camera: Pinhole,
    count: int,
    seed: int,
) -> Tensor:
    """Poses that see needy voxels well, chosen one after the other so that they do not repeat each other.

    Args:
        points_m: (N, 3) float32, map frame, z up. normal: (N, 3) float32, 0 where unknown.
        need: (N,) float32, 0 or more.
        voxel_size_m: edge of a voxel.
        camera: of the views; a small image is enough here.
        count: views at most.
        seed: of the candidates.

    Returns:
        (B, 4, 4) float32 T_map_camera, optical frame (z ahead, y down), B <= count: fewer where no
        free place sees anything in need.
    """
    if len(points_m) == 0 or count == 0 or not bool((need > 0).any()):
        return points_m.new_zeros(0, 4, 4)
    eye_m, target_m = _candidates(points_m, normal, need, count * CANDIDATES, seed)
    away_m = (target_m - eye_m).norm(dim=1)
    steep = (target_m - eye_m)[:, 2].abs() > STEEPEST * away_m
    inside = (away_m >= DISTANCE_M[0]) & (away_m <= DISTANCE_M[1]) & ~steep
    eye_m, target_m = eye_m[inside], target_m[inside]
    free = torch.cdist(eye_m, points_m).amin(dim=1) > CLEARANCE_M
    eye_m, target_m = eye_m[free], target_m[free]
    poses, away_m = look_at(eye_m, target_m), (target_m - eye_m).norm(dim=1)
    views = render(points_m, camera, poses, voxel_size_m, normal=normal)
    middle_m = views.depth_m[:, round(camera.cy), round(camera.cx)]
    clear = (middle_m > 0) & ((middle_m - away_m).abs() <= 3 * voxel_size_m)
    return poses[_choose(views, clear, points_m, normal, poses[:, :3, 3], need.float(), count)]


def look_at(eye_m: Tensor, target_m: Tensor) -> Tensor:
    """(B, 4, 4) poses of level cameras at (B, 3) ``eye_m`` that look at (B, 3) ``target_m``, not straight up
    or down."""
    ahead = normalize(target_m - eye_m, dim=1)
    up = ahead.new_tensor([0.0, 0.0, 1.0]).expand_as(ahead)
    right = normalize(torch.linalg.cross(ahead, up), dim=1)
    pose = torch.eye(4, device=eye_m.device).repeat(len(eye_m), 1, 1)
    pose[:, :3] = torch.stack([right, torch.linalg.cross(ahead, right), ahead, eye_m], dim=2)
    return pose


def _candidates(
    points_m: Tensor, normal: Tensor, need: Tensor, tried: int, seed: int
) -> tuple[Tensor, Tensor]:
    """Eyes and targets, (T, 3) each: targets drawn by need, eyes on the side to which the normal points."""
    random = torch.Generator().manual_seed(seed)
    chance = need.float().cumsum(0).cpu()
    picked = torch.searchsorted(chance, torch.rand(tried, generator=random) * chance[-1])
    picked = picked.clamp(max=len(need) - 1).to(points_m.device)
    turned = torch.randn(tried, 3, generator=random).to(points_m.device)
    span = torch.rand(tried, 2, generator=random).to(points_m.device)
    side = normalize(normal[picked] + 0.4 * turned, dim=1)
    target_m = points_m[picked]
    eye_m = target_m + side * (DISTANCE_M[0] + (DISTANCE_M[1] - DISTANCE_M[0]) * span[:, :1])
    height_m = HEIGHT_M[0] + (HEIGHT_M[1] - HEIGHT_M[0]) * span[:, 1]
    eye_m[:, 2] = _floor(points_m, eye_m) + height_m
    return eye_m, target_m


def _floor(points_m: Tensor, eye_m: Tensor) -> Tensor:
    """(T,) height of the floor around (T, 3) places; without anything nearby: that of all points."""
    points_m = points_m[:: 1 + len(points_m) // AT_ONCE]
    by_height = points_m[points_m[:, 2].argsort()]
    near = torch.cdist(eye_m[:, :2], by_height[:, :2]) < FLOOR_RADIUS_M
    near |= ~near.any(dim=1, keepdim=True)
    counted = near.cumsum(dim=1)
    low = (counted > FLOOR_SHARE * counted[:, -1:]).int().argmax(dim=1)  # the first that is no noise
    return by_height[low, 2]


def _choose(
    views: Views, clear: Tensor, points_m: Tensor, normal: Tensor, eye_m: Tensor, left: Tensor, count: int
) -> list[int]:
    """Greedily those ``clear`` views that show most of what is ``left`` to be seen."""
    shown = {}
    for index in clear.nonzero()[:, 0].tolist():
        row = views.id[index].unique().long()
        row = row[row >= 0]
        shown[index] = row, _quality(points_m[row], normal[row], eye_m[index])
    left = left.clone()
    chosen: list[int] = []
    while shown and len(chosen) < count:
        gain = {index: float((left[row] * quality).sum()) for index, (row, quality) in shown.items()}
        best = max(gain, key=gain.__getitem__)
        if gain[best] <= 0:
            break
        row, quality = shown.pop(best)
        left[row] *= 1.0 - quality
        chosen.append(best)
    return chosen


def _quality(points_m: Tensor, normal: Tensor, eye_m: Tensor) -> Tensor:
    """(M,) in 0..1: how well voxels are seen from a place; 0 from behind, half the cosine unknown."""
    toward = eye_m - points_m
    away_m = toward.norm(dim=1)
    cosine = (normal * toward).sum(1) / away_m
    cosine = torch.where(normal.abs().sum(1) > 0, cosine.clamp(0, 1), 0.5)
    return cosine / (1.0 + (away_m / 3.0) ** 2)
