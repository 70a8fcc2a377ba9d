"""How few labels: which scenes, which points, which classes. The same lists for everybody, by seed.

Limited reconstruction and limited annotation are those of ScanNet's data-efficient benchmark (Hou et
al., CVPR 2021); their lists for ScanNet are theirs to publish, those here are for any data. Smaller
lists are part of larger ones, so that more labels are never other labels. Base and novel classes as
in PLA (Ding et al., CVPR 2023).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ws3d_ros.training.datasets.labelled_cloud import NONE

SCENE_SHARES = (0.01, 0.05, 0.1, 0.2)
DETECTION_SHARES = (0.1, 0.2, 0.4, 0.8)
"""Shares of labelled scenes for detection: boxes need whole things, so that there are more of them."""
POINTS = (20, 50, 100, 200)


def limited_scenes(scenes: int, share: float, seed: int) -> list[int]:
    """Numbers of the scenes that are labelled, ascending: at least one.

    Args:
        scenes: how many there are.
        share: of them, 0 to 1.
        seed: of the list.
    """
    count = max(1, round(share * scenes))
    return sorted(np.random.default_rng([seed, scenes]).permutation(scenes)[:count].tolist())


def limited_points(label: np.ndarray, count: int, scene: int, seed: int) -> np.ndarray:
    """(N,) labels of which only so many are left, the others -1.

    Points are drawn evenly over all labelled ones, as if somebody clicked at random.

    Args:
        label: (N,) int64, -1 for none.
        count: of points that keep their label.
        scene: number of the scene, so that each has its own points.
        seed: of the lists.
    """
    known = np.flatnonzero(label >= 0)
    kept = np.random.default_rng([seed, scene]).permutation(known)[:count]
    left = np.full_like(label, NONE)
    left[kept] = label[kept]
    return left


def novel_classes(names: Sequence[str], count: int, seed: int, never: Sequence[str] = ()) -> tuple[str, ...]:
    """Classes that get no label in training, in the order of ``names``.

    Args:
        names: all classes.
        count: how many are novel.
        seed: of the choice.
        never: classes that are always base, such as walls and floors.
    """
    free = [name for name in names if name not in never]
    chosen = set(np.random.default_rng([seed, len(free)]).permutation(free)[:count].tolist())
    return tuple(name for name in names if name in chosen)


def hide(label: np.ndarray, names: Sequence[str], hidden: Sequence[str]) -> np.ndarray:
    """(N,) labels without those of the hidden classes."""
    gone = np.array([name in set(hidden) for name in names])
    return np.where((label >= 0) & gone[label], NONE, label)
