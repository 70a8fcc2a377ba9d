"""Maps in files, ``.ws3d``: written whole or not at all, and refused when they are not what was written.

The container is safetensors: a JSON header with the type, shape and place of every array, then the
arrays. It is what the field keeps its tensors in, other tools open it, nothing in it can run, and its
reader holds every place against the length of the file before it reads anything. It has no checksums;
these are ours: SHA-256 over the name, type, shape and bytes of each array, and over our header.

Version 1. Metadata, all text: ``format`` is ``ws3d map``; ``format_version``; ``header``, the JSON of
:class:`MapHeader`; ``sha256``, JSON of array or ``header`` to digest. Arrays by name:

- ``voxel/COLUMN``, one row a voxel, for each column that the map's store has (``key`` is always there);
- ``basis/COLUMN`` (K, D), directions of the language space that a column of features is written in;
- ``instances/NAME`` and ``adaptation/NAME``, optional: what tracks objects, and what learnt on the way.

A column is known by its name alone: files keep those that a reader does not know, and readers do
without those that a file lacks, so that a new column needs no new version.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import psutil
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ws3d_ros.untrusted import clipped, path_below, short

FORMAT, FORMAT_VERSION = "ws3d map", 1
SUFFIX = ".ws3d"
MOST_HEADER_BYTES = 16 << 20
"""Longer headers are no headers: 4096 names with all their synonyms take less than one megabyte."""
_GROUPS = ("voxel", "basis", "instances", "adaptation")


class MapFileError(ValueError):
    """A file that is no usable map, or cannot be written. The message names it, why, and what to do."""


@dataclass(frozen=True)
class MapHeader:
    """What a map is, apart from its arrays.

    Attributes:
        voxel_size_m: edge of a voxel.
        frame: that points are in, such as ``map``.
        stamp_ns: newest measurement in the map.
        saved_at: when it was written, ISO 8601 with the time zone.
        vocabulary: tree as the YAML files of vocabularies have it; what the labels mean.
        spaces: language space of each column of features, such as ``{"feature": "sbert:…"}``.
        encoder: name of the image encoder, empty without.
        network: name of the 3D network, empty without.
        checkpoint_sha256: of the network's weights, empty without.
        settings: all settings by dotted name.
    """

    voxel_size_m: float
    frame: str = "map"
    stamp_ns: int = 0
    saved_at: str = ""
    vocabulary: dict[str, Any] = field(default_factory=dict)
    spaces: dict[str, str] = field(default_factory=dict)
    encoder: str = ""
    network: str = ""
    checkpoint_sha256: str = ""
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class SavedMap:
    """A map as files hold it; tensors on the CPU.

    Attributes:
        voxel: (N, …) columns of the map's store; ``key`` (N,) int64, unique.
        basis: (K, D) float32 of each column of features.
        instances: state of what tracks objects; empty without.
        adaptation: state of what learns on the way; empty without.
    """

    header: MapHeader
    voxel: dict[str, Tensor]
    basis: dict[str, Tensor] = field(default_factory=dict)
    instances: dict[str, Tensor] = field(default_factory=dict)
    adaptation: dict[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.voxel["key"])


def save_map(saved: SavedMap, path: str | Path) -> int:
    """Writes a map. The file is on the disk when this returns; a kill at any moment leaves the old one.

    Args:
        path: the folder is made if it is not there.

    Returns:
        Size of the file, bytes.

    Raises:
        MapFileError: if it cannot be written (no room, no permission); what was there before is still there.
    """
    path = Path(path)
    tensors = {
        f"{group}/{name}": tensor.detach().cpu().contiguous()
        for group in _GROUPS
        for name, tensor in getattr(saved, group).items()
    }
    _check_rows(tensors, path)
    header = json.dumps(asdict(saved.header), ensure_ascii=False)
    digests = {name: _digest(name, tensor) for name, tensor in tensors.items()}
    digests["header"] = hashlib.sha256(header.encode()).hexdigest()
    metadata = {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "header": header,
        "sha256": json.dumps(digests),
    }
    # A folder, since safetensors has files of its own on the way.
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _forget_killed(path)
        partial.mkdir(exist_ok=True)
        written = partial / path.name
        save_file(tensors, written, metadata)
        written.chmod(partial.stat().st_mode & 0o666)  # as the user's other files; safetensors' are private
        _sync(written)
        os.replace(written, path)
        _sync(path.parent)
        return path.stat().st_size
    except (OSError, SafetensorError) as error:
        raise MapFileError(
            f"{path} cannot be written: {error}; is there room, and are you allowed to?"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def load_map(path: str | Path) -> SavedMap:
    """The map in a file, every byte of it checked.

    Raises:
        MapFileError: if there is none, or it is foreign, cut off, damaged or of a newer version.
    """
    path = Path(path)
    _check_size(path)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            _check_version(metadata, path)
            digests = _parsed(metadata.get("sha256", ""), f"{path}: the list of checksums")
            header = _header(metadata.get("header", ""), digests, path)
            # Copies, since a file's memory changes if somebody overwrites it.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise MapFileError(
            f"{path} is no map, or cut off or damaged: {clipped(error)}; {_WHAT_TO_DO}"
        ) from error
    if missing := sorted(digests.keys() - tensors.keys() - {"header"}):
        raise MapFileError(f"{path} is damaged: {short(missing[0])} is missing; {_WHAT_TO_DO}")
    for name, tensor in tensors.items():
        if digests.get(name) != _digest(name, tensor):
            raise MapFileError(
                f"{path} is damaged: the checksum of {short(name)} does not fit; {_WHAT_TO_DO}"
            )
    _check_rows(tensors, path)
    groups: dict[str, dict[str, Tensor]] = {group: {} for group in _GROUPS}
    for name, tensor in tensors.items():
        group, _, own = name.partition("/")
        groups.setdefault(group, {})[own] = tensor
    return SavedMap(header, *(groups[group] for group in _GROUPS))


def map_path(folder: str | Path, name: str) -> Path:
    """Where a map of this name is, which is below the folder whatever the name says.

    Raises:
        MapFileError: for an absolute name, one with ``..`` or hidden parts, or one that a symbolic link
            leads out of the folder.
    """
    try:
        return path_below(folder, name, "map", SUFFIX)
    except ValueError as error:
        raise MapFileError(str(error)) from error


_WHAT_TO_DO = "load another copy, or save the map again"


def _check_size(path: Path) -> None:
    """That the file is there and its header is as long as it says, before anything is allocated."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(9)
    except OSError as error:
        raise MapFileError(f"{path} cannot be read: {error.strerror}") from error
    length = int.from_bytes(start[:8], "little")
    if len(start) < 9 or length > MOST_HEADER_BYTES or start[8:] != b"{":
        raise MapFileError(
            f"{path} is no map of ws3d ({size} bytes, and no such header); give a {SUFFIX} file"
        )
    if 8 + length > size:
        raise MapFileError(f"{path} is cut off: the header ends at byte {8 + length}, the file has {size}")


def _check_version(metadata: Mapping[str, str], path: Path) -> None:
    if metadata.get("format") != FORMAT:
        raise MapFileError(
            f"{path} is no map of ws3d but other tensors, such as weights; give a {SUFFIX} file"
        )
    version = metadata.get("format_version", "")
    if version not in map(str, range(1, FORMAT_VERSION + 1)):
        raise MapFileError(
            f"{path} has version {short(version)} of the format, this program knows up to {FORMAT_VERSION}: "
            "install a newer ws3d_ros"
        )


def _header(text: str, digests: Mapping[str, Any], path: Path) -> MapHeader:
    if digests.get("header") != hashlib.sha256(text.encode()).hexdigest():
        raise MapFileError(f"{path} is damaged: the checksum of its header does not fit; {_WHAT_TO_DO}")
    values = _parsed(text, f"{path}: the header")
    known = {leaf.name for leaf in fields(MapHeader)}
    try:
        header = MapHeader(**{name: value for name, value in values.items() if name in known})
    except TypeError as error:
        raise MapFileError(f"{path}: the header does not say enough: {error}") from error
    for leaf in fields(MapHeader):
        kind, value = _KINDS[str(leaf.type).split("[")[0]], getattr(header, leaf.name)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise MapFileError(f"{path}: '{leaf.name}' in the header cannot be {short(value)}")
    if not _SMALLEST_M <= header.voxel_size_m <= _LARGEST_M:
        raise MapFileError(f"{path}: voxels of {short(header.voxel_size_m)} m cannot be")
    if not -(1 << 63) <= header.stamp_ns < 1 << 63:
        raise MapFileError(f"{path}: a stamp of {short(header.stamp_ns)} ns cannot be")
    return header


_KINDS: dict[str, Any] = {"float": (int, float), "int": int, "str": str, "dict": dict}
_SMALLEST_M, _LARGEST_M = 1e-4, 100.0
"""Of voxels, far beyond what is of use."""


def _parsed(text: str, what: str) -> dict[str, Any]:
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise MapFileError(f"{what} is no JSON: {clipped(error)}; {_WHAT_TO_DO}") from error
    if not isinstance(tree, dict):
        raise MapFileError(f"{what} is no JSON object; {_WHAT_TO_DO}")
    return tree


def _check_rows(tensors: Mapping[str, Tensor], path: Path) -> None:
    """That all columns have a row for each voxel, and each voxel is there once."""
    key = tensors.get("voxel/key")
    if key is None or key.ndim != 1 or key.dtype != torch.int64:
        raise MapFileError(f"{path}: a map needs 'voxel/key', (N,) int64")
    if len(key.unique()) != len(key):
        raise MapFileError(f"{path}: the same voxel is there twice")
    for name, tensor in tensors.items():
        if name.startswith("voxel/") and (tensor.ndim == 0 or len(tensor) != len(key)):
            raise MapFileError(
                f"{path}: {short(name)} has {tuple(tensor.shape)[:1]} rows for {len(key)} voxels"
            )


def _digest(name: str, tensor: Tensor) -> str:
    digest = hashlib.sha256(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
    if tensor.numel():
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _sync(path: Path) -> None:
    """Returns when a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _forget_killed(path: Path) -> None:
    """Deletes what processes that are no more left half written under this name."""
    for left in path.parent.glob(f".{path.name}.*.partial"):
        pid = left.name.split(".")[-2]
        if pid.isdecimal() and not psutil.pid_exists(int(pid)):
            shutil.rmtree(left, ignore_errors=True)
