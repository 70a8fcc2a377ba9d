"""Image features onto the voxels that the image shows."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import interpolate, max_pool2d, normalize

from ws3d_ros.alignment.labelling import certainty, word_probabilities
from ws3d_ros.reconstruction.window import Patch, Window
from ws3d_ros.rendering.splat import Views
from ws3d_ros.sensors.frame import Frame, Pinhole

HALF_TRUST_M = 3.0
"""Distance z0 at which a pixel counts half: it covers more of the world, and its pose and depth
are worse."""
GRAZING_COSINE = 0.1
"""Least cosine of the viewing angle: normals are too noisy to tell steeper angles apart."""


def lift(
    dense: Tensor, views: Views, frame: Frame, window: Window, words: Tensor, logit_scale: float
) -> Patch:
    """What the image adds to the features of the voxels that it shows.

    Each pixel speaks for the voxel that the rendered view names, with the weight
    ``visible * cos(theta) * (1 - H(p) / log C) / (1 + (z / z0)^2)``: little from afar, from the
    side, or where the words are undecided; nothing on depth edges, where image and voxel may
    belong to different things, and nothing where the measured depth says that something else
    is in front or that the voxel is gone. A voxel's evidence is the mean over its pixels and not
    their sum: they are parts of one impression, however many there are.

    Args:
        dense: (K, h, w) float32 compressed features; the grid covers the image edge to edge.
        views: view 0 is ``window`` rendered, normals too, from the frame's camera at any resolution (H, W).
        frame: its measured depth, if it has any, is the witness for visibility.
        window: N voxels.
        words: (C, K) compressed word vectors, for the entropy H(p).
        logit_scale: of the encoder.

    Returns:
        Patch of the voxels that received any weight: keys, feature_sum (M, K), feature_weight (M,) in 0..1.
    """
    assert views.normal is not None
    row = views.id[0].long()
    feature = sample_grid(dense, *row.shape)
    sure = certainty(word_probabilities(dense.flatten(1).T, words, logit_scale)).view(1, *dense.shape[1:])
    weight = (
        visible(views.depth_m[0], frame.depth_m, window.voxel_size_m)
        * viewing_cosine(views.normal[0], frame.camera, frame.T_map_camera)
        * sample_grid(sure, *row.shape)[0]
        / (1.0 + (views.depth_m[0] / HALF_TRUST_M) ** 2)
    )
    used = (row >= 0) & (weight > 0)
    row, weight, feature = row[used], weight[used], feature[:, used].T

    pixels = torch.bincount(row, minlength=len(window))
    touched = pixels.nonzero()[:, 0]
    place = torch.empty_like(pixels)
    place[touched] = torch.arange(len(touched), device=place.device)
    total = torch.zeros(len(touched), dense.shape[0] + 1, device=weight.device)
    total.index_add_(0, place[row], torch.cat([feature * weight[:, None], weight[:, None]], dim=1))
    total /= pixels[touched, None]
    return Patch(window.keys[touched], feature_sum=total[:, :-1], feature_weight=total[:, -1])


def paint(color: Tensor, views: Views, window: Window) -> tuple[Tensor, Tensor, Tensor]:
    """Colours that an image gives to the voxels that it shows.

    Args:
        color: (H', W', 3) uint8 RGB.
        views: as for :func:`lift`.
        window: N voxels.

    Returns:
        For each pixel that may be used: key (P,) of its voxel, colour (P, 3) float32 in 0..255,
        and weight (P,), by distance as in :func:`lift`. These are the arguments of ``VoxelMap.paint``.
    """
    row = views.id[0].long()
    used = (row >= 0) & ~depth_edges(views.depth_m[0], window.voxel_size_m)
    small = interpolate(color.to(row.device).permute(2, 0, 1)[None].float(), size=row.shape, mode="area")[0]
    weight = 1.0 / (1.0 + (views.depth_m[0][used] / HALF_TRUST_M) ** 2)
    return window.keys[row[used]], small[:, used].T, weight


def sample_grid(grid: Tensor, height: int, width: int) -> Tensor:
    """(K, h, w) to (K, height, width), bilinear between the cells' centres, edge to edge."""
    return interpolate(grid[None], size=(height, width), mode="bilinear", align_corners=False)[0]


def visible(rendered_m: Tensor, measured_m: Tensor | None, voxel_size_m: float) -> Tensor:
    """(H, W) bool: the image's pixel shows the voxel that was rendered there.

    A pixel is out when it lies on a depth edge, rendered or measured, or when a depth was measured
    there that differs from the rendered one by more than max(3 cm, 2 %) (and half a voxel's
    diagonal, as a voxel cannot be told from its surroundings more closely).

    Args:
        rendered_m: (H, W) float32, 0 or infinite where nothing was rendered.
        measured_m: (H', W') float32 of the same field of view, 0 where invalid; or None.
        voxel_size_m: of the voxels that were rendered.
    """
    shown = ~depth_edges(rendered_m, voxel_size_m)
    if measured_m is None:
        return shown
    measured_m = measured_m.to(rendered_m.device)
    tolerance = (0.02 * rendered_m).clamp(min=max(0.03, 0.87 * voxel_size_m))
    measured = nearest(measured_m, *rendered_m.shape)
    agrees = (rendered_m - measured).abs() <= tolerance
    edges = nearest(depth_edges(measured_m, voxel_size_m), *rendered_m.shape)
    return shown & ~edges & (agrees | (measured == 0))


def depth_edges(depth_m: Tensor, voxel_size_m: float) -> Tensor:
    """(H, W) bool: valid depths in the 3x3 pixels around differ by more than 5 % and two voxels."""
    valid = (depth_m > 0) & depth_m.isfinite()
    farthest = max_pool2d(torch.where(valid, depth_m, -torch.inf)[None], 3, stride=1, padding=1)[0]
    nearest_m = -max_pool2d(torch.where(valid, -depth_m, -torch.inf)[None], 3, stride=1, padding=1)[0]
    jump = farthest - nearest_m
    return jump > (0.05 * nearest_m).clamp(min=2.0 * voxel_size_m)


def nearest(image: Tensor, height: int, width: int) -> Tensor:
    """(H', W') to (height, width): the value at each new pixel's centre."""
    rows = ((torch.arange(height, device=image.device) + 0.5) * image.shape[0] / height).long()
    columns = ((torch.arange(width, device=image.device) + 0.5) * image.shape[1] / width).long()
    return image[rows[:, None], columns]


def viewing_cosine(normal: Tensor, camera: Pinhole, T_map_camera: object) -> Tensor:
    """(H, W) float32: cosine between the line of sight and the surface's normal, at least 0.1.

    Where the normal is unknown (zero): one half.

    Args:
        normal: (H, W, 3) float32 unit normals in the map frame.
        camera: of the full image; its field of view is that of ``normal``.
        T_map_camera: (4, 4) camera points to map points.
    """
    height, width = normal.shape[:2]
    small = camera.scaled_to(width, height)
    pose = torch.as_tensor(T_map_camera, dtype=torch.float32, device=normal.device)
    u = torch.arange(width, device=normal.device)
    v = torch.arange(height, device=normal.device)
    x = ((u - small.cx) / small.fx).expand(height, width)
    y = ((v - small.cy) / small.fy)[:, None].expand(height, width)
    ray = normalize(torch.stack([x, y, torch.ones_like(x)], dim=-1), dim=-1)
    cosine = -(normal * (ray @ pose[:3, :3].T)).sum(-1)
    known = normal.abs().sum(-1) > 0
    return torch.where(known, cosine.clamp(min=GRAZING_COSINE), 0.5)
