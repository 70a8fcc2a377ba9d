"""Objects as connected voxels of one label: what segmentations are compared with."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from ws3d_ros.reconstruction.window import UNKNOWN


def components(label: np.ndarray, table: np.ndarray, min_voxels: int) -> np.ndarray:
    """(N,) int64: number of the component of each voxel from 1 on, 0 for unknown and small ones."""
    count = len(label)
    half = table[:, :13]  # each pair once
    row, side = np.nonzero(half >= 0)
    column = half[row, side]
    alike = (label[row] == label[column]) & (label[row] != UNKNOWN)
    edges = coo_matrix((np.ones(alike.sum(), np.int8), (row[alike], column[alike])), shape=(count, count))
    _, component = connected_components(edges, directed=False)
    size = np.bincount(component, minlength=1)
    keep = (size[component] >= min_voxels) & (label != UNKNOWN)
    number = np.zeros(count, np.int64)
    number[keep] = np.unique(component[keep], return_inverse=True)[1] + 1
    return number
