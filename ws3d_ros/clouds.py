"""Names for the points of a cloud by the 3D network alone."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ws3d_ros.alignment.labelling import decide
from ws3d_ros.alignment.neighbours import neighbour_table
from ws3d_ros.alignment.regularise import agree
from ws3d_ros.instances.segmentation import superpoints
from ws3d_ros.language.vocabulary import Vocabulary
from ws3d_ros.network.namer import Namer
from ws3d_ros.reconstruction.normals import estimate_normals
from ws3d_ros.reconstruction.voxelise import voxelise

LONELY_SHARE = 0.5
"""From this share of voxels on that touch no other, the network sees no surfaces."""
SMALL_VOXELS = 16
"""Clouds that are nowhere wider than this many voxels have no surroundings to go by."""


@dataclass(frozen=True)
class NamedCloud:
    """What the network says of N points.

    Attributes:
        label: (N,) int16, 0 unknown, ``i`` is ``vocabulary.names[i - 1]``.
        confidence: (N,) float16 in 0..1, 0 for unknown.
        voxels: that the network read.
        warning: what may be wrong with the cloud, for people, or nothing.
    """

    label: Tensor
    confidence: Tensor
    voxels: int
    warning: str


def name_cloud(
    namer: Namer,
    vocabulary: Vocabulary,
    points_m: Tensor,
    color: Tensor | None,
    normal: Tensor | None,
    share: float,
    unknown_below: float,
) -> NamedCloud:
    """Points of one voxel share a name; all arguments are on the namer's device.

    Args:
        points_m: (N, 3) float32, finite, z up.
        color: (N, 3) float32 RGB in 0..255, NaN where unknown; or None.
        normal: (N, 3) float32 unit, towards the sensor, 0 where unknown; if None, they are estimated.
        share: how much a voxel listens to its surface, see :func:`agree`.
        unknown_below: labels with less confidence become unknown.

    Raises:
        ValueError: for points too far from each other.
        NotFiniteError: if the network's answer is not finite.
    """
    window, row = voxelise(points_m, color, normal, namer.voxel_size_m)
    if normal is None:
        window = replace(window, normal=estimate_normals(window.points_m))
    table = neighbour_table(window.keys)
    probability = namer.probabilities(window, namer.embed(vocabulary))
    if share > 0.0:
        everywhere = torch.ones_like(window.weight)
        probability = agree(probability, everywhere, superpoints(window).of_voxel, share)
    label, confidence = decide(probability, len(vocabulary), unknown_below)
    warning = _warning(window.points_m, table, namer.voxel_size_m)
    return NamedCloud(label[row], confidence[row], len(window), warning)


def _warning(points_m: Tensor, table: Tensor, voxel_size_m: float) -> str:
    widest = float((points_m.amax(0) - points_m.amin(0)).max())
    if widest < SMALL_VOXELS * voxel_size_m:
        return f"the whole cloud is only {widest:.2g} m wide; are its units metres?"
    lonely = float((table < 0).all(1).float().mean())
    if lonely > LONELY_SHARE:
        return (
            f"{lonely:.0%} of the voxels of {voxel_size_m:g} m touch no other, so that the network sees no "
            f"surfaces; is the cloud, {widest:.4g} m wide, in metres, and as dense?"
        )
    return ""
