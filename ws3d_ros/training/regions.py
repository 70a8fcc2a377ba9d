"""Regions of labelled clouds: what a labelled point says holds for the patch of surface that it lies on."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ws3d_ros.instances.superpoints import over_segment
from ws3d_ros.network.inputs import input_features
from ws3d_ros.network.kernel_map import unique_rows
from ws3d_ros.training.datasets.labelled_cloud import LabelledCloud
from ws3d_ros.training.losses import region_means


def cloud_regions(cloud: LabelledCloud, voxel_size_m: float) -> np.ndarray:
    """(N,) int64 region of each point of a cloud, as :func:`over_segment` cuts its voxels."""
    cells = torch.from_numpy(np.floor(cloud.points_m / voxel_size_m)).long()
    coords, cell = unique_rows(torch.nn.functional.pad(cells, (1, 0)))
    unknown = np.full_like(cloud.points_m, np.nan)
    color = torch.from_numpy(unknown if cloud.color is None else cloud.color).float()
    normal = torch.from_numpy(np.zeros_like(unknown) if cloud.normal is None else cloud.normal).float()
    mean = region_means(input_features(("color", "normal"), color, normal), cell, len(coords))
    unit = torch.nn.functional.normalize(mean[:, 4:], dim=1)
    return over_segment(coords, mean[:, :3], unit).of_voxel[cell].numpy()


def spread_labels(region: Tensor, count: int, label: Tensor) -> Tensor:
    """(R,) class of each region by the majority of its labelled voxels, -1 where none is labelled.

    Args:
        region: (N,) int64.
        count: R.
        label: (N,) int64, -1 for most.
    """
    said = label >= 0
    classes = int(label.amax()) + 1 if bool(said.any()) else 1
    votes = torch.bincount(region[said] * classes + label[said], minlength=count * classes)
    votes = votes.view(count, classes)
    return torch.where(votes.sum(1) > 0, votes.argmax(1), -1)
