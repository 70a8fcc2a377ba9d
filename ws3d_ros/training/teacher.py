"""An image encoder teaches: what it says of pictures rendered of a cloud, voxel by voxel.

Pictures are rendered from virtual cameras inside the cloud, so that it is known which voxel each pixel
shows. What the encoder says of the pixels becomes, over all views, how likely each word is for a voxel.
Encoders are slow: answers are made once and kept on disk.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor
from torch.nn.functional import normalize

from ws3d_ros.alignment.virtual_views import CAMERA, lift_views, look_around
from ws3d_ros.language.encoder import Encoder
from ws3d_ros.language.prompts import embed
from ws3d_ros.language.vocabulary import Vocabulary
from ws3d_ros.reconstruction.keys import pack_keys
from ws3d_ros.reconstruction.window import Window
from ws3d_ros.training.datasets.labelled_cloud import LabelledCloud
from ws3d_ros.training.losses import region_means

VERSION = 1
"""To be raised whenever the same cloud gets another answer than before: older files are then made anew."""
SEED = 0
"""Of the cameras' candidates; clouds differ enough."""

Load = Callable[[], LabelledCloud]


class Teacher:
    """Says of each point of a cloud how likely each word is, by what an encoder makes of rendered views."""

    def __init__(
        self, encoder: Encoder, spellings: Sequence[Sequence[str]], views: int, voxel_size_m: float
    ) -> None:
        """
        Args:
            encoder: of images and words.
            spellings: of each of the C classes: its name, then synonyms.
            views: of a cloud, at most.
            voxel_size_m: edge of the voxels that are rendered.
        """
        names, synonyms = zip(*((name, tuple(others)) for name, *others in spellings), strict=True)
        self._words = embed(replace(Vocabulary.of(names), synonyms=synonyms), encoder).names
        self._encoder, self._views, self._voxel_size_m = encoder, views, voxel_size_m
        told = (VERSION, encoder.space, encoder.logit_scale, spellings, views, SEED, voxel_size_m, CAMERA)
        self._about = repr(told).encode()

    @torch.inference_mode()
    def teach(self, cloud: LabelledCloud) -> np.ndarray:
        """``LabelledCloud.told``, (N, C) float16: how likely each word is, times how far to believe it.

        The distribution is the softmax of the mean of the views' cosines, each view weighted by visibility,
        angle, distance and certainty as in ``alignment.lifting``; with the sum w of these weights it is
        believed by w / (1 + w). Points that no view shows, or only from behind, and clouds without colours
        get zeros.
        """
        if cloud.color is None or len(cloud) == 0:
            return np.zeros((len(cloud), len(self._words)), np.float16)
        window, of_point = _window(cloud, self._voxel_size_m, self._words.device)
        told = torch.zeros(len(window), len(self._words), device=self._words.device)
        scale = self._encoder.logit_scale
        virtual = look_around(window, self._views, SEED)
        if len(virtual.poses):
            # Cosines with the words, not features: means of them tell the same of the words.
            cosines = torch.cat([self._cosines(picture) for picture in virtual.picture])
            each = torch.eye(len(self._words), device=self._words.device)
            seen = lift_views(virtual, cosines, window, each, scale, trust=1.0)
            assert seen.feature_sum is not None
            assert seen.feature_weight is not None
            weight = seen.feature_weight[:, None]
            row = torch.searchsorted(window.keys, seen.keys)
            told[row] = torch.softmax(scale * seen.feature_sum / weight, dim=1) * weight / (1.0 + weight)
        return told[of_point].half().cpu().numpy()

    def _cosines(self, picture: Tensor) -> Tensor:
        """(3, H, W) to (1, C, h, w)."""
        return torch.einsum("cd,bdhw->bchw", self._words, self._encoder.encode_dense(picture[None]))

    def path(self, cloud: LabelledCloud, folder: Path) -> Path:
        """Where the answer for a cloud is kept: the name tells what it depends on."""
        digest = hashlib.sha256(self._about)
        for array in (cloud.points_m, cloud.color, cloud.normal):
            digest.update(b"none" if array is None else np.ascontiguousarray(array).tobytes())
        return folder / f"{digest.hexdigest()[:24]}.npz"


def taught(clouds: Sequence[Load], teacher: Teacher, folder: Path, console: Console | None) -> list[Load]:
    """The clouds with what the teacher says of them.

    Args:
        clouds: what loads each.
        teacher: asked where the folder has no answer yet.
        folder: cache; answers of other teachers may be there, too.
        console: shows progress here; None shows nothing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    loaders: list[Load] = []
    with Progress(*columns, console=console, disable=console is None) as progress:
        for load in progress.track(clouds, description="clouds shown to the encoder"):
            cloud = load()
            path = teacher.path(cloud, folder)
            if not path.is_file():
                _save(path, teacher.teach(cloud))
            loaders.append(partial(_load, load, path))
    return loaders


def _load(load: Load, path: Path) -> LabelledCloud:
    cloud = load()
    with np.load(path) as file:
        told = np.zeros((len(cloud), int(file["words"])), np.float16)
        told[file["row"]] = file["told"]
    return replace(cloud, told=told)


def _save(path: Path, told: np.ndarray) -> None:
    """Writes all or nothing, and only what is not zero. Not compressed: it is read at each step."""
    row = np.flatnonzero(told.any(1)).astype(np.int32)
    partial_path = path.with_suffix(f".{os.getpid()}.partial")
    with partial_path.open("wb") as file:
        np.savez(file, row=row, told=told[row], words=told.shape[1])
    os.replace(partial_path, path)


def _window(cloud: LabelledCloud, voxel_size_m: float, device: torch.device) -> tuple[Window, Tensor]:
    """The cloud as voxels, which rendering wants, and the (N,) voxel of each point."""
    points_m = torch.from_numpy(cloud.points_m).to(device)
    keys, cell = pack_keys((points_m / voxel_size_m).floor().long()).unique(return_inverse=True)
    count = len(keys)

    def mean(values: np.ndarray | None, missing: float) -> Tensor:
        if values is None:
            return torch.full((count, 3), missing, device=device)
        return region_means(torch.from_numpy(values).to(device).float(), cell, count)

    nothing = torch.zeros(count, device=device)
    window = Window(
        voxel_size_m=voxel_size_m,
        stamp_ns=0,
        keys=keys,
        points_m=region_means(points_m, cell, count),
        color=mean(cloud.color, torch.nan),
        normal=normalize(mean(cloud.normal, 0.0), dim=1),
        weight=nothing + 1.0,
        feature=nothing.half()[:, None],
        feature_weight=nothing,
        label=nothing.short(),
        confidence=nothing.half(),
        instance=nothing.int(),
    )
    return window, cell
