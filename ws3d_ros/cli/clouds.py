"""Where the commands that train get their clouds: procedural scenes, or data sets as users have them."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from rich.console import Console

from ws3d_ros.training.datasets.labelled_cloud import LabelledCloud
from ws3d_ros.training.datasets.nuscenes import NuScenes
from ws3d_ros.training.datasets.s3dis import S3dis
from ws3d_ros.training.datasets.scannet import ScanNet
from ws3d_ros.training.datasets.semantic_kitti import SemanticKitti
from ws3d_ros.training.pretrain import Clouds
from ws3d_ros.training.recipe import DataRecipe

HELD_OUT_FROM = 1_000_000
"""Seeds of scenes that are never trained on."""
KINDS = {"scannet": ScanNet, "s3dis": S3dis, "semantickitti": SemanticKitti, "nuscenes": NuScenes}


def procedural(
    data: DataRecipe, voxel_size_m: float, folder: Path, console: Console
) -> tuple[tuple[str, ...], Clouds, Clouds]:
    """Class names, scenes to train on and scenes to score on; made where they are not there yet.

    Raises:
        ValueError: if the extra is not installed.
    """
    try:  # an extra: robots do without
        from ws3d_ros.training.scenes.example import Options
        from ws3d_ros.training.scenes.names import NAMES
        from ws3d_ros.training.scenes.store import load_example, make_examples
    except ImportError as error:
        raise ValueError(f"procedural scenes need more: pip install 'ws3d_ros[scenes]' ({error})") from error

    def load(path: Path) -> LabelledCloud:
        return load_example(path).labelled_cloud()

    options = Options(voxel_size_m=voxel_size_m)
    parts = []
    for first, count in ((data.first, data.scenes), (HELD_OUT_FROM, data.held_out)):
        paths = make_examples(range(first, first + count), folder, options, console=console)
        parts.append([partial(load, path) for path in paths])
    return NAMES, parts[0], parts[1]


def data_set(source: str, data: DataRecipe) -> tuple[tuple[str, ...], Clouds, Clouds]:
    """Class names, clouds to train on and clouds to score on: the last ones of the data set's list.

    Args:
        source: ``KIND:PATH``.
        data: how many of each; the data set may have fewer to train on.

    Raises:
        ValueError: for another kind, a broken data set (``DatasetError``), or one that is too small.
    """
    kind, _, path = source.partition(":")
    if kind not in KINDS or not path:
        raise ValueError(f"data must be procedural, or KIND:PATH with KIND of {', '.join(KINDS)}: '{source}'")
    found = KINDS[kind](Path(path).expanduser())
    names = found.names
    if len(names) <= data.held_out:
        raise ValueError(
            f"{path} has {len(names)} clouds, which leaves none to train on beside "
            f"data.held_out: {data.held_out}"
        )
    train = names[: len(names) - data.held_out][: data.scenes]
    held_out = names[len(names) - data.held_out :]
    loaders = [[partial(found.load, name) for name in part] for part in (train, held_out)]
    return tuple(found.class_names), loaders[0], loaders[1]
