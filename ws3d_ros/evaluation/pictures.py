"""Where a map is wrong, as a picture: what was said, what is true, and what of it is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from torch import Tensor

from ws3d_ros.evaluation.metrics import Scores, confusion_matrix, scores
from ws3d_ros.language.vocabulary import Vocabulary
from ws3d_ros.rendering.views import BACKGROUND, draw_legend, draw_map

RIGHT, WRONG, UNNAMED = (205, 208, 212), (205, 40, 45), (245, 180, 60)
_PANEL = (1200, 750)  # pixels of one of the three
_TITLE = 56  # pixels above them


@dataclass(frozen=True)
class Judged:
    """A scene, voxel by voxel.

    Attributes:
        name: what to write above it.
        points_m: (N, 3) float32, z up.
        predicted: (N,) integer labels, 0 unknown, i for ``vocabulary.names[i - 1]``.
        truth: (N,) integer classes, the same; voxels of class 0 are not judged and not drawn.
    """

    name: str
    points_m: Tensor
    predicted: Tensor
    truth: Tensor


def draw_worst(
    scenes: Sequence[Judged], vocabulary: Vocabulary, voxel_size_m: float, count: int = 3
) -> np.ndarray:
    """A row a scene, the least mIoU on top: predicted, true, and in red what is wrong.

    Args:
        count: of how many scenes, at most.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ValueError: when there is no scene, or one has no voxel with a true class.
    """
    if not scenes:
        raise ValueError("there is no scene to draw")
    results = [scores(confusion_matrix(scene.truth, scene.predicted, len(vocabulary))) for scene in scenes]
    worst = sorted(range(len(scenes)), key=lambda i: results[i].miou)[:count]
    return np.vstack([_row(scenes[i], results[i], vocabulary, voxel_size_m) for i in worst])


def colors_of_mistakes(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(N, 3) uint8: ``RIGHT``, ``WRONG``, or ``UNNAMED`` where there is no label."""
    palette = np.array([RIGHT, WRONG, UNNAMED], np.uint8)
    return palette[np.where(predicted == 0, 2, (predicted != truth).astype(int))]


def _row(scene: Judged, result: Scores, vocabulary: Vocabulary, voxel_size_m: float) -> np.ndarray:
    judged = scene.truth.cpu().numpy() > 0
    points = scene.points_m.cpu().numpy()[judged]
    predicted, truth = scene.predicted.cpu().numpy()[judged], scene.truth.cpu().numpy()[judged]
    palette = np.vstack([[vocabulary.unknown_color], vocabulary.colors]).astype(np.uint8)
    panels = {
        f"{scene.name}: predicted": palette[predicted],
        "true": palette[truth],
        f"wrong: {1 - result.accuracy:.1%} (red), of it no label: {(predicted == 0).mean():.1%} (yellow); "
        f"mIoU {result.miou:.3f}": colors_of_mistakes(predicted, truth),
    }
    drawn = [_titled(draw_map(points, color, voxel_size_m), title) for title, color in panels.items()]
    counts = np.bincount(truth, minlength=len(palette))
    order = [int(i) for i in np.argsort(-counts, kind="stable") if counts[i]]
    legend = draw_legend([(vocabulary.names[i - 1], palette[i], int(counts[i])) for i in order])
    height = _PANEL[1] + _TITLE
    narrow = cv2.resize(
        legend, (legend.shape[1] * height // legend.shape[0], height), interpolation=cv2.INTER_AREA
    )
    return np.hstack([*drawn, narrow])


def _titled(picture: np.ndarray, title: str) -> np.ndarray:
    small = cv2.resize(picture, _PANEL, interpolation=cv2.INTER_AREA)
    strip = np.full((_TITLE, _PANEL[0], 3), BACKGROUND, np.uint8)
    plain = title.encode("ascii", "replace").decode()  # OpenCV's fonts have no more
    cv2.putText(strip, plain, (16, 38), cv2.FONT_HERSHEY_SIMPLEX, 0.8, (45, 48, 54), 1, cv2.LINE_AA)
    return np.vstack([strip, small])
