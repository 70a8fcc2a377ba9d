"""Between a running pipeline and a map in a file: what a map must say of itself, and what of it fits.

A file's features fit where they are in the language space that the running encoder or network uses, and
its labels where the running vocabulary has the same names. The rest is left out, and said.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from ws3d_ros.alignment.compression import FeatureBasis
from ws3d_ros.config import Config
from ws3d_ros.language.vocabulary import Vocabulary
from ws3d_ros.network.choose import SHIPPED
from ws3d_ros.pipeline import Pipeline
from ws3d_ros.reconstruction import store as column
from ws3d_ros.reconstruction.keys import COORDINATE_LIMIT, pack_keys, unpack_keys
from ws3d_ros.reconstruction.map_file import MapFileError, MapHeader, SavedMap
from ws3d_ros.reconstruction.transplant import moved
from ws3d_ros.reconstruction.window import Window
from ws3d_ros.sensors.frame import FloatArray
from ws3d_ros.untrusted import clipped, short


@dataclass(frozen=True)
class Fitting:
    """A file's voxels as a running map can take them.

    Attributes:
        columns: for :meth:`VoxelMap.restore`.
        notes: what was left out or changed, a sentence each.
        moved: whether voxels were binned anew.
    """

    columns: dict[str, Tensor]
    notes: list[str]
    moved: bool = False


def snapshot(
    pipeline: Pipeline,
    config: Config,
    vocabulary: Vocabulary,
    checkpoint_sha256: str = "",
    tracks: Mapping[str, np.ndarray] | None = None,
) -> SavedMap:
    """The whole map with all that it needs to be understood later. On the mapping thread.

    Args:
        vocabulary: that the labels in the map are out of.
        checkpoint_sha256: of the network's weights, see :func:`checkpoint_digest`.
        tracks: what is known of objects, ``Pipeline.tracks``.
    """
    bases = pipeline.feature_bases
    header = MapHeader(
        voxel_size_m=config.map.voxel_size_m,
        frame=config.inputs.map_frame,
        stamp_ns=pipeline.map.stamp_ns,
        saved_at=datetime.now().astimezone().isoformat(timespec="seconds"),
        vocabulary=vocabulary.tree(),
        spaces={name: basis.space for name, basis in bases.items()},
        encoder=pipeline.encoder_name,
        network=pipeline.network_name,
        checkpoint_sha256=checkpoint_sha256,
        settings=_leaves(config),
    )
    directions = {name: basis.directions.float() for name, basis in bases.items()}
    objects = {name: torch.from_numpy(np.array(values)) for name, values in (tracks or {}).items()}
    learnt = {} if pipeline.learning is None else pipeline.learning.adapter.state()
    return SavedMap(header, pipeline.map.columns(), directions, objects, learnt)


def take_tracks(saved: SavedMap, pipeline: Pipeline, fitting: Fitting) -> bool:
    """Whether the objects of a file go on as they were: where its voxels kept their places."""
    if fitting.moved or not saved.instances:
        return False
    try:
        tracks = {name: values.numpy() for name, values in saved.instances.items()}
        _check_tracks(tracks, pipeline.tracks())
        pipeline.take_tracks(tracks)
    except (KeyError, IndexError, TypeError, ValueError, OverflowError) as error:
        fitting.notes.append(
            f"its objects get new ids: what is known of them cannot be read ({clipped(error)})"
        )
        return False
    return True


def take_adaptation(saved: SavedMap, pipeline: Pipeline, fitting: Fitting, checkpoint: str) -> None:
    """What the network learnt where the map was made goes on here, if it is the same network.

    Args:
        checkpoint: setting ``network.checkpoint`` of the running network.
    """
    if pipeline.learning is None or not saved.adaptation:
        return
    try:
        if saved.header.checkpoint_sha256 != checkpoint_digest(checkpoint):
            raise ValueError("it is of other weights")
        pipeline.learning.take_state(saved.adaptation)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        fitting.notes.append(f"what the network had learnt on the way was left out: {clipped(error)}")


def fit(saved: SavedMap, pipeline: Pipeline, config: Config, T_map_file: FloatArray | None = None) -> Fitting:
    """What the running map can take of a file's, moved to its place. Any thread.

    Voxels of another size are binned anew where the running map's are coarser.

    Args:
        T_map_file: (4, 4) pose of the file's frame in the map; None: they are the same.

    Raises:
        MapFileError: for voxels that are coarser than the running map's, a transform that is not rigid, or
            columns of other shapes or kinds than maps have.
    """
    header, voxel_size_m = saved.header, config.map.voxel_size_m
    if header.voxel_size_m > 1.001 * voxel_size_m:
        raise MapFileError(
            f"the file's voxels are {header.voxel_size_m:g} m and the map's {voxel_size_m:g} m: coarser ones "
            f"cannot be made finer; set map.voxel_size_m to {header.voxel_size_m:g} or more"
        )
    columns, left_out = _usable(saved)
    notes = [f"{left_out} voxels were left out: their values are out of all bounds"] if left_out else []
    if T_map_file is None and header.frame != config.inputs.map_frame:
        notes.append(f"frame '{header.frame}' was taken as '{config.inputs.map_frame}'")
    notes += _fit_features(columns, saved, pipeline.feature_bases)
    notes += _fit_labels(columns, header, pipeline.vocabulary)
    unknown = [name for name in columns if name not in pipeline.map.column_names]
    if unknown:
        notes.append(f"columns that this map does not have: {', '.join(unknown)}")
    columns = {name: values for name, values in columns.items() if name not in unknown}
    other_size = header.voxel_size_m < 0.999 * voxel_size_m
    if T_map_file is not None or other_size:
        pose = np.eye(4) if T_map_file is None else T_map_file
        if not _is_rigid(pose):
            raise MapFileError(f"the transform is no rotation and translation: {pose.tolist()}")
        columns = moved(columns, pose, voxel_size_m)
    if other_size:
        notes.append(
            f"voxels of {header.voxel_size_m:g} m were binned anew: {len(saved)} to {len(columns['key'])}"
        )
    return Fitting(columns, notes, moved=T_map_file is not None or other_size)


def as_window(saved: SavedMap, min_weight: float = 0.2) -> Window:
    """The voxels of a file with at least that evidence, as :meth:`VoxelMap.everything` gives them.

    Raises:
        MapFileError: if a column is missing, or of another shape or kind than maps have.
    """
    columns, _ = _usable(saved)
    needed = {"label", "confidence", "instance"}
    if missing := sorted(needed - columns.keys()):
        raise MapFileError(f"the map lacks the columns {', '.join(missing)}")
    rows = (columns["state"][:, column.WEIGHT] >= min_weight).nonzero()[:, 0]
    rows = rows[columns["key"][rows].argsort()]
    data = {name: values[rows] for name, values in columns.items()}
    state = data["state"]
    colorless = state[:, column.COLOR_WEIGHT, None] == 0
    return Window(
        voxel_size_m=saved.header.voxel_size_m,
        stamp_ns=saved.header.stamp_ns,
        keys=data["key"],
        points_m=state[:, column.POINT].clone(),
        color=torch.where(colorless, torch.nan, state[:, column.COLOR]),
        normal=normalize(state[:, column.NORMAL], dim=-1),
        weight=state[:, column.WEIGHT].clone(),
        feature=data.get("feature", state[:, :0].half()),
        feature_weight=data.get("feature_weight", state.new_zeros(len(state))),
        label=data["label"],
        confidence=data["confidence"],
        instance=data["instance"],
        embedding=data.get("embedding"),
    )


def checkpoint_digest(checkpoint: str) -> str:
    """SHA-256 of the weights that the setting ``network.checkpoint`` means, empty where there are none.

    Raises:
        MapFileError: if they are there and cannot be read.
    """
    path = SHIPPED if checkpoint == "auto" else Path(checkpoint).expanduser()
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
    except OSError as error:
        raise MapFileError(f"{path}, whose digest belongs into the map, cannot be read: {error}") from error


def _usable(saved: SavedMap) -> tuple[dict[str, Tensor], int]:
    """The columns of the voxels that can be in a map, and how many others there were.

    A file with checksums that fit may still have been made by a program with a fault, or to do harm.

    Raises:
        MapFileError: for columns of other shapes or kinds than maps have.
    """
    if "state" not in saved.voxel:
        raise MapFileError("the map lacks the column state")
    for name, values in saved.voxel.items():
        dims = 2 if name in _WIDE else 1
        right = name not in _KNOWN or (
            values.ndim == dims
            and values.is_floating_point() == _KNOWN[name].is_floating_point
            and (name != "state" or values.shape[1] == column.LOG_ODDS + 1)
        )
        if not right:
            raise MapFileError(f"the map's column {name} cannot be {values.dtype} {tuple(values.shape)}")
    columns, key = dict(saved.voxel), saved.voxel["key"]
    for name in {"label", "instance"} & columns.keys():
        columns[name] = columns[name].long().clamp(0, torch.iinfo(_KNOWN[name]).max)
    columns |= {name: columns[name].to(kind) for name, kind in _KNOWN.items() if name in columns}
    farthest_m = COORDINATE_LIMIT * saved.header.voxel_size_m
    good = pack_keys(unpack_keys(key)) == key
    good &= (columns["state"][:, column.POINT].abs() <= farthest_m).all(dim=1)
    good &= (columns["state"][:, [column.WEIGHT, column.COLOR_WEIGHT]] >= 0).all(dim=1)
    for name in _KNOWN.keys() & columns.keys():
        if _KNOWN[name].is_floating_point:
            fits = columns[name].abs() <= _MOST
            good &= fits if fits.ndim == 1 else fits.all(dim=1)
    if "confidence" in columns:
        columns["confidence"] = columns["confidence"].clamp(0.0, 1.0)
    if not bool(good.all()):
        columns = {name: values[good] for name, values in columns.items()}
    return columns, int((~good).sum())


_WIDE = {"state", "feature", "embedding"}
_MOST = 1e9
"""Beyond all that maps hold; sums of what is below stay finite."""
_KNOWN = {
    "key": torch.int64,
    "state": torch.float32,
    "seen_ns": torch.int64,
    "feature": torch.float16,
    "feature_weight": torch.float32,
    "embedding": torch.float16,
    "label": torch.int16,
    "confidence": torch.float16,
    "instance": torch.int32,
}


def _check_tracks(tracks: Mapping[str, np.ndarray], like: Mapping[str, np.ndarray]) -> None:
    """Raises KeyError or ValueError for arrays that are not of the kind of those alike."""
    for name, ours in like.items():
        theirs = tracks[name]
        if theirs.dtype.kind != ours.dtype.kind or theirs.ndim != ours.ndim:
            raise ValueError(f"'{name}' cannot be {theirs.dtype} {theirs.shape}")
    rows = {len(tracks[name]) for name in like if name.startswith(("objects.", "kinds."))}
    if len(rows) > 1:
        raise ValueError(f"its objects are {' or '.join(map(str, sorted(rows)))}")


def _fit_features(
    columns: dict[str, Tensor], saved: SavedMap, bases: Mapping[str, FeatureBasis]
) -> list[str]:
    """Brings columns of features into the running basis, or drops them with their evidence."""
    notes = []
    for name in ("feature", "embedding"):
        if name not in columns or columns[name].shape[1] == 0:
            columns.pop(name, None)
            columns.pop(f"{name}_weight", None)
            continue
        theirs, ours = saved.header.spaces.get(name, "unknown"), bases.get(name)
        if ours is None or ours.space != theirs:
            del columns[name]
            columns.pop(f"{name}_weight", None)
            here = f"'{ours.space}'" if ours else "nothing that reads them"
            notes.append(
                f"{name}s were dropped: they are of the language space {short(theirs)}, here is {here}"
            )
            continue
        directions = ours.directions.float().cpu()
        basis = saved.basis.get(name)
        shape = (columns[name].shape[1], directions.shape[1])
        if basis is None or tuple(basis.shape) != shape or not basis.isfinite().all():
            raise MapFileError(f"the directions of the map's column {name} are missing or do not fit it")
        basis = basis.float()
        # Computed on another machine, the same basis differs by rounding.
        if basis.shape != directions.shape or not torch.allclose(basis, directions, atol=1e-3):
            columns[name] = (columns[name].float() @ (basis @ directions.T)).half()
            notes.append(f"{name}s were turned from {len(basis)} to {len(directions)} channels")
    return notes


def _fit_labels(columns: dict[str, Tensor], header: MapHeader, vocabulary: Vocabulary) -> list[str]:
    """Labels by name; what has no name here becomes unknown."""
    entries = header.vocabulary.get("entries", [])
    if not isinstance(entries, list) or not all(
        isinstance(entry, dict) and isinstance(entry.get("name"), str) for entry in entries
    ):
        raise MapFileError("the map's vocabulary is no list of entries with a name each")
    names = [entry["name"] for entry in entries]
    if "label" not in columns:
        return []
    columns["label"] = torch.where(columns["label"] > len(names), 0, columns["label"])
    if tuple(names) == vocabulary.names:
        return []
    ours = {name: i for i, name in enumerate(vocabulary.names, start=1)}
    table = torch.tensor([0, *(ours.get(name, 0) for name in names)])
    label = columns["label"].long()
    columns["label"] = table[label].to(columns["label"].dtype)
    lost = (columns["label"] == 0) & (label > 0)
    for name in ("confidence", "instance"):
        if name in columns:
            columns[name] = torch.where(lost, torch.zeros_like(columns[name]), columns[name])
    if not bool(lost.any()):
        return []
    return [f"{int(lost.sum())} labels have names that the vocabulary here lacks; they became unknown"]


def _is_rigid(pose: FloatArray) -> bool:
    rotation = pose[:3, :3]
    # Rotations from float32 quaternions are off by 1e-6.
    off = np.abs(rotation @ rotation.T - np.eye(3)).max()
    return bool(np.isfinite(pose).all() and off < 1e-3 and np.linalg.det(rotation) > 0)


def _leaves(config: Config) -> dict[str, Any]:
    return {
        f"{group.name}.{leaf.name}": getattr(getattr(config, group.name), leaf.name)
        for group in dataclasses.fields(config)
        for leaf in dataclasses.fields(getattr(config, group.name))
    }
