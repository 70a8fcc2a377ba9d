"""What is read from files: maps, checkpoints, segmenters, vocabularies, clouds, recipes."""

from __future__ import annotations

import hashlib
import json
import struct
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from fuzz_input import Values, as_file

from ws3d_ros import saved_maps
from ws3d_ros.config import Config, from_mapping
from ws3d_ros.language.segmenter import _parse
from ws3d_ros.language.vocabulary import ROLES, Vocabulary
from ws3d_ros.network import checkpoint
from ws3d_ros.pipeline import Pipeline
from ws3d_ros.reconstruction.map_file import FORMAT, load_map, map_path
from ws3d_ros.sensors.cloud_file import READERS, read_cloud
from ws3d_ros.training.recipe import FineRecipe, Recipe, load_recipe

COLUMNS = (
    *("key", "state", "seen_ns", "way_m", "feature", "feature_weight", "embedding", "label", "confidence"),
    *("instance", "chunk", "other"),
)
DTYPES = {
    "I64": "i8",
    "F32": "f4",
    "F16": "f2",
    "I16": "i2",
    "I32": "i4",
    "U8": "u1",
    "F64": "f8",
    "BOOL": "?",
}
TORCH = {"I64": "int64", "F32": "float32", "F16": "float16", "I16": "int16", "I32": "int32", "U8": "uint8"}
TORCH |= {"F64": "float64", "BOOL": "bool"}
EDGES = (0, 1, 2, 3, 7, 12, 32)


def map_file(data: bytes) -> None:
    """A file of the bytes as they are; or one made of them with checksums that fit, as its maker could.

    What can be loaded goes into a running map.
    """
    values = Values(data)
    content = values.rest() if values.flag() else _sealed(values)
    saved = load_map(as_file("map.ws3d", content))
    pipeline, config = _running()
    pipeline.clear()
    fitting = saved_maps.fit(saved, pipeline, config, np.eye(4) if len(data) % 2 else None)
    restored = pipeline.map.restore(fitting.columns, np.zeros(3))
    assert len(pipeline.map) == restored.voxels <= len(saved), restored
    columns = pipeline.map.columns()
    assert len(columns["key"].unique()) == restored.voxels
    for name, values_ in columns.items():
        assert values_.isfinite().all(), name
    window = saved_maps.as_window(saved)
    assert len(window) <= len(saved)


def _sealed(values: Values) -> bytes:
    """A safetensors file of up to seven columns with the metadata of a map and the right checksums."""
    text = values.take(values.number("H")).decode("utf-8", "replace") if values.flag() else _HEADER
    entries: dict[str, object] = {}
    digests = {"header": hashlib.sha256(text.encode()).hexdigest()}
    arrays = b""
    for _ in range(values.number("B") % 8):
        name = f"{values.choice(('voxel', 'voxel', 'basis', 'instances'))}/{values.choice(COLUMNS)}"
        kind = values.choice(tuple(DTYPES))
        shape = tuple(values.choice(EDGES) for _ in range(values.number("B") % 4))
        content = values.take(int(np.prod(shape, dtype=np.int64)) * np.dtype(DTYPES[kind]).itemsize)
        if kind == "BOOL":
            content = bytes(byte & 1 for byte in content)
        entries[name] = {
            "dtype": kind,
            "shape": shape,
            "data_offsets": [len(arrays), len(arrays) + len(content)],
        }
        digests[name] = hashlib.sha256(f"{name} torch.{TORCH[kind]} {shape} ".encode() + content).hexdigest()
        arrays += content
    entries["__metadata__"] = {
        "format": FORMAT,
        "format_version": "1",
        "header": text,
        "sha256": json.dumps(digests),
    }
    header = json.dumps(entries).encode()
    return struct.pack("<Q", len(header)) + header + arrays


_HEADER = json.dumps(
    {
        "voxel_size_m": 0.05,
        "frame": "map",
        "vocabulary": {"entries": [{"name": "box"}, {"name": "lamp"}]},
        "spaces": {"feature": "words"},
    }
)


@lru_cache(maxsize=1)
def _running() -> tuple[Pipeline, Config]:
    """A map without any names of its own."""
    config = from_mapping({"semantics.feature_channels": 0})
    return Pipeline(config, None, Vocabulary.of(["box", "floor"]), torch.device("cpu")), config


def student(data: bytes) -> None:
    """A checkpoint of the 3D network: its header alone, then all of it."""
    path = as_file("student.safetensors", data)
    spec = checkpoint.read_spec(path)
    assert spec.dim > 0
    assert spec.voxel_size_m > 0
    checkpoint.read_extra(path)
    network = checkpoint.load(path)
    assert all(tensor.isfinite().all() for tensor in network.state_dict().values())


def segmenter(data: bytes) -> None:
    """The description beside the ONNX file of a segmenter; the ONNX file itself is onnxruntime's to read."""
    description = _parse(as_file("segmenter.json", data))
    assert all(isinstance(name, str) for name in description.classes)
    for edge in (description.height, description.width):
        assert isinstance(edge, int), edge
    assert np.isfinite([*description.mean, *description.scale, description.temperature]).all()


def vocabulary(data: bytes) -> None:
    """A YAML file, or words with commas."""
    values = Values(data)
    if values.flag():
        words = Vocabulary.load(str(as_file("words.yaml", values.rest())))
    else:
        text = values.rest().decode("utf-8", "replace")
        if text.strip().lower().endswith((".yaml", ".yml")):
            return  # a path, which is not this target's matter
        words = Vocabulary.load(text)
    count = len(words)
    assert count == len({name.lower() for name in words.names}) > 0
    assert len(words.synonyms) == len(words.roles) == len(words.costs) == count
    assert words.colors.shape == (count, 3)
    assert set(words.roles) <= set(ROLES)
    assert all(0.0 <= cost <= 1.0 for cost in words.costs)
    again = Vocabulary.from_tree(json.loads(json.dumps(words.tree())), "itself")
    assert again.names == words.names


def cloud_file(data: bytes) -> None:
    """A cloud of the suffix that the first byte says."""
    values = Values(data)
    suffix = values.choice(tuple(READERS))
    cloud = read_cloud(as_file(f"cloud{suffix}", values.rest()))
    assert cloud.points_m.shape == (len(cloud), 3)
    assert cloud.finite.any()
    assert np.isfinite(cloud.local_m[cloud.finite]).all()
    if cloud.color is not None:
        assert cloud.color.shape == (len(cloud), 3)
        known = cloud.color[np.isfinite(cloud.color)]
        assert ((known >= 0) & (known <= 255)).all()
    if cloud.normal is not None:
        length = np.linalg.norm(cloud.normal, axis=1)
        assert ((length < 1e-6) | (np.abs(length - 1) < 1e-3)).all()


def recipe(data: bytes) -> None:
    """A YAML file of pre-training or of fine-tuning."""
    values = Values(data)
    kind = values.choice((Recipe, FineRecipe))
    found, _ = load_recipe(str(as_file("recipe.yaml", values.rest())), kind)
    assert isinstance(found, kind)


def map_name(data: bytes) -> None:
    """The name of a map in a request: always below the folder."""
    folder = Path("/dev/shm")
    path = map_path(folder, data.decode("utf-8", "surrogateescape"))
    assert path.resolve().is_relative_to(folder.resolve()), path
    assert path.resolve() != folder.resolve()
