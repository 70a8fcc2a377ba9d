"""Maps whose checksums fit, since who made them knew how to, with contents that no map has."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from small_world import ColourEncoder, pose, shot

from ws3d_ros.config import Config, from_mapping
from ws3d_ros.language.vocabulary import Vocabulary
from ws3d_ros.pipeline import Pipeline
from ws3d_ros.reconstruction.map_file import MapFileError, SavedMap, load_map, save_map
from ws3d_ros.saved_maps import Fitting, as_window, fit, snapshot, take_tracks

WORDS = Vocabulary.of(["floor", "wall", "box"])
CONFIG: Config = from_mapping({"semantics.feature_channels": 0})


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    made = Pipeline(CONFIG, ColourEncoder(), WORDS, torch.device("cpu"))
    frame = shot(pose())
    made.integrate(frame)
    made.apply(made.understand(frame, made.snapshot(frame)))
    return made


@pytest.fixture
def saved(pipeline: Pipeline) -> SavedMap:
    return snapshot(pipeline, CONFIG, WORDS)


def with_column(saved: SavedMap, name: str, values: torch.Tensor) -> SavedMap:
    return dataclasses.replace(saved, voxel={**saved.voxel, name: values})


def test_voxels_that_cannot_be_are_left_out(saved: SavedMap, pipeline: Pipeline) -> None:
    state, key, weight = (
        saved.voxel["state"].clone(),
        saved.voxel["key"].clone(),
        saved.voxel["feature_weight"],
    )
    state[0, 0], state[1, 9], state[2, 1] = torch.nan, -1.0, 1e30
    key[3] = -5
    weight = weight.clone()
    weight[4] = torch.inf
    broken = with_column(
        with_column(with_column(saved, "state", state), "key", key), "feature_weight", weight
    )
    fitting = fit(broken, pipeline, CONFIG)
    assert torch.equal(fitting.columns["key"], saved.voxel["key"][5:])
    assert "5 voxels were left out" in fitting.notes[0]
    assert len(as_window(broken, 0.0)) == len(saved) - 5


def test_labels_without_a_name_are_unknown(saved: SavedMap, pipeline: Pipeline) -> None:
    label = saved.voxel["label"].long()
    label[:4] = torch.tensor([-3, 4, 70_000, 1])
    fitting = fit(with_column(saved, "label", label), pipeline, CONFIG)
    assert fitting.columns["label"][:4].tolist() == [0, 0, 0, 1]
    assert torch.equal(fitting.columns["label"][4:], saved.voxel["label"][4:])


def test_other_kinds_of_numbers_become_the_map_s(saved: SavedMap, pipeline: Pipeline) -> None:
    fitting = fit(with_column(saved, "state", saved.voxel["state"].double()), pipeline, CONFIG)
    assert fitting.columns["state"].dtype == torch.float32
    assert torch.equal(fitting.columns["state"], saved.voxel["state"])


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("state", lambda values: values[:, :5]),
        ("state", lambda values: values[:, 0]),
        ("label", lambda values: values.float()),
        ("label", lambda values: values[:, None]),
        ("feature", lambda values: values[:, 0]),
        ("seen_ns", lambda values: values.double()),
    ],
)
def test_columns_of_another_shape_or_kind_are_refused(
    saved: SavedMap, pipeline: Pipeline, name: str, change: Any
) -> None:
    with pytest.raises(MapFileError, match=f"column {name} cannot be"):
        fit(with_column(saved, name, change(saved.voxel[name])), pipeline, CONFIG)


@pytest.mark.parametrize("basis", [None, torch.zeros(1, 1), torch.zeros(3), torch.full((3, 3), torch.nan)])
def test_features_need_their_directions(
    saved: SavedMap, pipeline: Pipeline, basis: torch.Tensor | None
) -> None:
    broken = dataclasses.replace(saved, basis={} if basis is None else {"feature": basis})
    with pytest.raises(MapFileError, match="directions of the map's column feature"):
        fit(broken, pipeline, CONFIG)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("objects.id", lambda values: values[:-1]),
        ("objects.id", lambda values: values.double()),
        ("kinds.voxels", lambda values: values[:, None]),
        ("next", lambda values: values[:1]),
    ],
)
def test_objects_that_cannot_be_get_new_ids(
    saved: SavedMap, pipeline: Pipeline, name: str, change: Any
) -> None:
    tracks = {key: torch.from_numpy(np.array(values)) for key, values in pipeline.tracks().items()}
    assert len(tracks["objects.id"]) > 0
    fitting = Fitting({}, [])
    assert take_tracks(dataclasses.replace(saved, instances=tracks), pipeline, fitting)
    broken = dataclasses.replace(saved, instances={**tracks, name: change(tracks[name])})
    assert not take_tracks(broken, pipeline, fitting)
    assert "get new ids" in fitting.notes[0]
    assert len(pipeline.tracks()["objects.id"]) == len(tracks["objects.id"])


@pytest.mark.parametrize("entries", [5, ["box"], [{"role": "target"}], [{"name": 7}]])
def test_a_vocabulary_that_is_none_is_refused(saved: SavedMap, pipeline: Pipeline, entries: Any) -> None:
    header = dataclasses.replace(saved.header, vocabulary={"entries": entries})
    with pytest.raises(MapFileError, match="vocabulary"):
        fit(dataclasses.replace(saved, header=header), pipeline, CONFIG)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"voxel_size_m": ' + "9" * 400 + "}", "voxels of 9+.*9+ m cannot be"),
        ('{"voxel_size_m": NaN}', "voxels of nan m"),
        ('{"voxel_size_m": "0.05"}', "'voxel_size_m' in the header cannot be '0.05'"),
        ('{"voxel_size_m": 0.05, "spaces": []}', r"'spaces' in the header cannot be \[\]"),
        ('{"voxel_size_m": 0.05, "stamp_ns": ' + "9" * 30 + "}", "a stamp of"),
        ('{"voxel_size_m": 0.05, "settings": ' + "[" * 100_000 + "}", "no JSON"),
        ('{"voxel_size_m": ' + "9" * 5000 + "}", "no JSON"),
    ],
)
def test_headers_that_cannot_be(tmp_path: Path, saved: SavedMap, text: str, message: str) -> None:
    path = tmp_path / "map.ws3d"
    save_map(saved, path)
    with safe_open(path, framework="pt") as file:
        metadata = dict(file.metadata())
    digests = json.loads(metadata["sha256"]) | {"header": hashlib.sha256(text.encode()).hexdigest()}
    save_file(load_file(path), path, metadata | {"header": text, "sha256": json.dumps(digests)})
    with pytest.raises(MapFileError, match=message) as raised:
        load_map(path)
    assert len(str(raised.value)) < 600


def test_a_version_of_thousands_of_digits(tmp_path: Path, saved: SavedMap) -> None:
    path = tmp_path / "map.ws3d"
    save_map(saved, path)
    with safe_open(path, framework="pt") as file:
        metadata = dict(file.metadata())
    save_file(load_file(path), path, metadata | {"format_version": "1" * 5000})
    with pytest.raises(MapFileError, match="install a newer ws3d_ros"):
        load_map(path)
