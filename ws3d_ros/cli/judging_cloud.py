"""A cloud with ground truth beside what the 3D network alone says of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ws3d_ros.cli.label import Labelled, label_cloud, load_namer
from ws3d_ros.config import Config
from ws3d_ros.evaluation.metrics import Scores, calibration_error, confusion_matrix, scores
from ws3d_ros.evaluation.pictures import Judged
from ws3d_ros.language.vocabulary import Vocabulary
from ws3d_ros.sensors.cloud_file import Cloud, CloudFileError, read_cloud
from ws3d_ros.untrusted import parse_yaml


@dataclass(frozen=True)
class JudgedCloud:
    """What the network says of each point, and what is true.

    Attributes:
        cloud: N points.
        truth: (N,) int64 classes 1..C, 0 where there is no true class.
        labelled: labels 0..C and confidences.
        vocabulary: the C names.
        network: what gave the labels.
        voxel_size_m: that the network reads.
    """

    cloud: Cloud
    truth: np.ndarray
    labelled: Labelled
    vocabulary: Vocabulary
    network: str
    voxel_size_m: float

    def scene(self, name: str) -> Judged:
        """For a picture."""
        finite = self.cloud.finite
        arrays = (self.cloud.local_m, self.labelled.label, self.truth)
        return Judged(name, *(torch.from_numpy(array[finite]) for array in arrays))


def judge_cloud(cloud_file: Path, labels: Path, names: Path, config: Config) -> JudgedCloud:
    """The network's names for the points of a cloud beside the true ones.

    Raises:
        CloudFileError: if one of the files cannot be used, or they do not belong together.
        VocabularyError: if the names are no vocabulary.
        NetworkError: if there is no network, or it fails.
    """
    words = Vocabulary.of(read_names(names))
    cloud = read_cloud(cloud_file)
    truth = read_labels(labels, len(cloud), len(words)) + 1
    if not (truth > 0).any():
        raise CloudFileError(f"{labels}: all labels are -1, so that there is nothing to score")
    namer, device = load_namer(config)
    labelled = label_cloud(cloud, namer, words, config, device)
    return JudgedCloud(cloud, truth, labelled, words, namer.name, namer.voxel_size_m)


def score_cloud(judged: JudgedCloud) -> tuple[Scores, dict[str, Any]]:
    """Scores over the points with a true class, and what else is worth knowing."""
    scored = judged.truth > 0
    truth, label, confidence = (
        torch.from_numpy(values[scored])
        for values in (judged.truth, judged.labelled.label, judged.labelled.confidence)
    )
    named = label > 0
    return scores(confusion_matrix(truth, label, len(judged.vocabulary))), {
        "ece": calibration_error(confidence[named], (label == truth)[named]),
        "points": len(truth),
        "unlabelled": int((~named).sum()),
        "cloud_points": len(judged.cloud),
        "cloud_voxels": judged.labelled.voxels,
    }


def read_labels(path: Path, points: int, classes: int) -> np.ndarray:
    """(N,) int64 true classes -1..C-1.

    Raises:
        CloudFileError: if the file is no array of as many integers as there are points, in this range.
    """
    try:
        labels = np.load(path, allow_pickle=False)
    except FileNotFoundError as error:
        raise CloudFileError(f"{path}: there is no such file") from error
    except (OSError, ValueError, EOFError) as error:
        raise CloudFileError(f"{path}: no .npy array, or cut short: {error}") from error
    if not isinstance(labels, np.ndarray) or labels.dtype.kind not in "iu":
        raise CloudFileError(f"{path}: must be one .npy array of integers")
    if labels.shape != (points,):
        raise CloudFileError(f"{path}: a label a point is needed: ({points},), not {labels.shape}")
    if labels.min() < -1 or labels.max() >= classes:
        raise CloudFileError(
            f"{path}: labels are numbers of the {classes} names, 0 to {classes - 1}, or -1 for none, "
            f"but these are from {labels.min()} to {labels.max()}"
        )
    return np.asarray(labels.astype(np.int64))


def read_names(path: Path) -> list[str]:
    """The names of a text file, one a line, or of a YAML list.

    Raises:
        CloudFileError: if it cannot be read, or is no list of names.
    """
    try:
        content = path.read_bytes()
        if path.suffix.lower() not in (".yaml", ".yml"):
            return [line.strip() for line in content.decode("utf-8").splitlines() if line.strip()]
        names = parse_yaml(content)
    except (OSError, ValueError) as error:
        raise CloudFileError(f"{path}: cannot be read: {error}") from error
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise CloudFileError(f"{path}: must be a list of names")
    return names
