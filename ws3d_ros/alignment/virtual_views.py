"""The map as a picture: what an image encoder can look at where no camera was.

A rendered view is coloured as far as colours are known, shaded by its normals elsewhere, and its small holes
are filled from around. Its features are lifted onto the voxels as those of a camera's image are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from ws3d_ros.alignment.lifting import lift
from ws3d_ros.reconstruction.window import Patch, Window
from ws3d_ros.rendering.cameras import need, place_cameras
from ws3d_ros.rendering.splat import Views, render
from ws3d_ros.sensors.frame import Frame, Pinhole

CAMERA = Pinhole(width=320, height=240, fx=240.0, fy=240.0, cx=159.5, cy=119.5)
"""Of virtual views: 67 degrees wide, as most depth cameras. More pixels would not show more: voxels are
coarse."""

TRUST = 0.1
"""What a rendered picture counts beside one of a camera. More of it made names worse where cameras had
looked, see docs/results.md."""


@dataclass(frozen=True)
class VirtualViews:
    """B views of a window of N voxels from virtual cameras.

    Attributes:
        poses: (B, 4, 4) float32 T_map_camera.
        views: which voxel each pixel of ``CAMERA`` shows; none where it is seen from behind.
        picture: (B, 3, H, W) float32 RGB in 0..1, as for ``Encoder.encode_dense``.
    """

    poses: Tensor
    views: Views
    picture: Tensor


def look_around(window: Window, count: int, seed: int) -> VirtualViews:
    """What ``count`` virtual cameras, or fewer, see of what a window knows least.

    Args:
        window: N voxels.
        count, seed: as for :func:`ws3d_ros.rendering.cameras.place_cameras`.
    """
    wanted = need(window.feature_weight, window.confidence)
    small, size = CAMERA.scaled_to(80, 60), window.voxel_size_m
    return draw(window, place_cameras(window.points_m, window.normal, wanted, size, small, count, seed))


def draw(window: Window, poses: Tensor) -> VirtualViews:
    """What virtual cameras see of a window. ``poses``: (B, 4, 4) float32 T_map_camera."""
    points, size = window.points_m, window.voxel_size_m
    views = render(points, CAMERA, poses, size, color=window.color, normal=window.normal)
    assert views.color is not None
    assert views.normal is not None
    shade = 40.0 + 180.0 * _facing(views.normal, poses).abs()
    color = torch.where(views.color.isnan(), shade[..., None], views.color).permute(0, 3, 1, 2) / 255.0
    shown = (views.id >= 0)[:, None]
    behind = _facing(views.normal, poses) < 0
    seen = replace(views, id=torch.where(behind, -1, views.id))
    return VirtualViews(poses, seen, fill(color * shown, shown.float()))


def lift_views(
    virtual: VirtualViews,
    dense: Tensor,
    window: Window,
    words: Tensor,
    logit_scale: float,
    trust: float = TRUST,
) -> Patch:
    """What virtual views add to the features of the voxels that they show.

    Args:
        virtual: B views of ``window``, N voxels.
        dense: (B, K, h, w) float32 compressed features of their pictures.
        words, logit_scale: as for :func:`ws3d_ros.alignment.lifting.lift`.
        trust: what a rendered picture counts; that of a camera counts 1.

    Returns:
        As of ``lift``, summed over the views.
    """
    shown = virtual.views
    assert shown.normal is not None
    total = torch.zeros(len(window), dense.shape[1] + 1, device=dense.device)
    for index, pose in enumerate(virtual.poses):
        one = slice(index, index + 1)
        views = Views(shown.id[one], shown.depth_m[one], None, shown.normal[one])
        frame = Frame(window.stamp_ns, CAMERA, np.asarray(pose.cpu(), np.float64), None, None)
        seen = lift(dense[index], views, frame, window, words, logit_scale)
        assert seen.feature_sum is not None
        assert seen.feature_weight is not None
        row = torch.searchsorted(window.keys, seen.keys)
        total[row] += trust * torch.cat([seen.feature_sum, seen.feature_weight[:, None]], dim=1)
    touched = total[:, -1].nonzero()[:, 0]
    return Patch(window.keys[touched], feature_sum=total[touched, :-1], feature_weight=total[touched, -1])


def fill(color: Tensor, known: Tensor) -> Tensor:
    """Pixels that show nothing get the mean of what is around, from ever farther away (push and pull).

    Args:
        color: (B, 3, H, W) float32, 0 where not ``known``.
        known: (B, 1, H, W) float32, 1 or 0.

    Returns:
        (B, 3, H, W); of an image without any known pixel: mid-grey.
    """
    if min(color.shape[2:]) == 1:
        return torch.where(known > 0, color / known.clamp(min=1e-6), 0.5)
    pad = {"ceil_mode": True, "count_include_pad": False}
    few = avg_pool2d(known, 2, **pad)
    mean = avg_pool2d(color, 2, **pad) / few.clamp(min=1e-6)
    coarse = fill(mean * (few > 0), (few > 0).float())
    around = interpolate(coarse, size=color.shape[2:], mode="bilinear", align_corners=False)
    return torch.where(known > 0, color, around)


def _facing(normal: Tensor, poses: Tensor) -> Tensor:
    """(B, H, W) cosine between normals (B, H, W, 3) and the way back to the camera; 0 where unknown."""
    u = (torch.arange(CAMERA.width, device=normal.device) - CAMERA.cx) / CAMERA.fx
    v = (torch.arange(CAMERA.height, device=normal.device) - CAMERA.cy) / CAMERA.fy
    x, y, z = (normal.flatten(1, 2) @ poses[:, :3, :3]).view(*normal.shape).unbind(-1)
    return -(x * u + y * v[:, None] + z) / (u**2 + v[:, None] ** 2 + 1.0).sqrt()
