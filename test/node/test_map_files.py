"""Maps saved and loaded by the engine: the same voxels, under the words of today."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from small_world import ColourEncoder, pose, shot

pytest.importorskip("rclpy", reason="ROS 2 is not installed (make venv)")
from ws3d_ros.config import from_mapping
from ws3d_ros.language.vocabulary import Vocabulary
from ws3d_ros.node.engine import Engine
from ws3d_ros.node.reporter import Reporter
from ws3d_ros.pipeline import Pipeline
from ws3d_ros.reconstruction.map_file import MapFileError, load_map
from ws3d_ros.sensors.ledger import Ledger


class Running:
    """An engine that looks at the small world, or at nothing yet."""

    def __init__(self, folder: Path, words: list[str], seen: bool = True, encoder: bool = True) -> None:
        config = from_mapping({"semantics.feature_channels": 0, "map.folder": str(folder)})
        device = torch.device("cpu")
        self.pipeline = Pipeline(config, ColourEncoder() if encoder else None, Vocabulary.of(words), device)
        if seen:
            self.look()
        self.engine = Engine(config, self.pipeline, Ledger(), Reporter(lambda text: None))

    def look(self) -> None:
        frame = shot(pose())
        self.pipeline.integrate(frame)
        self.pipeline.apply(self.pipeline.understand(frame, self.pipeline.snapshot(frame)))

    def columns(self) -> dict[str, torch.Tensor]:
        columns = self.pipeline.map.columns()
        order = columns["key"].argsort()
        return {name: values[order] for name, values in columns.items()}


WORDS = ["floor", "wall", "box"]


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    first = Running(tmp_path, WORDS)
    yield first
    first.engine.stop()


def test_a_fresh_engine_has_the_same_voxels_after_loading(running: Running, tmp_path: Path) -> None:
    kept = running.engine.files.save("rooms/small").result(30.0)
    before = running.columns()
    assert kept.path == tmp_path / "rooms" / "small.ws3d"
    assert (kept.voxels, kept.bytes) == (len(before["key"]), kept.path.stat().st_size)
    fresh = Running(tmp_path, WORDS, seen=False)
    try:
        loaded = fresh.engine.files.load("rooms/small", None, False).result(30.0)
        after = fresh.columns()
    finally:
        fresh.engine.stop()
    assert (loaded.voxels, loaded.notes) == (kept.voxels, ())
    # Names come anew from the whole map, where the first engine knew one window: the rest is the same.
    for name in before.keys() - {"label", "confidence", "instance"}:
        assert torch.equal(before[name], after[name]), name
    assert (before["label"] == after["label"]).float().mean() > 0.95


@pytest.mark.parametrize("replace", [True, False])
def test_objects_keep_their_ids_in_a_fresh_engine(tmp_path: Path, replace: bool) -> None:
    first, fresh = (Running(tmp_path, WORDS, seen=False) for _ in range(2))
    try:
        first.pipeline.take_tracks(first.pipeline.tracks() | {"next": np.array([1, 41])})
        first.look()
        first.engine.files.save("small").result(30.0)
        before = first.columns()["instance"]
        fresh.engine.files.load("small", None, replace).result(30.0)
        after = fresh.columns()["instance"]
    finally:
        first.engine.stop()
        fresh.engine.stop()
    assert before.max() == 41  # a new tracker begins with 1
    assert torch.equal(before, after)


def test_labels_stay_by_name_where_nothing_names(running: Running, tmp_path: Path) -> None:
    running.engine.files.save("small").result(30.0)
    before = running.columns()["label"]
    other = Running(tmp_path, ["box", "floor"], seen=False, encoder=False)
    try:
        loaded = other.engine.files.load("small", None, False).result(30.0)
        after = other.columns()["label"]
    finally:
        other.engine.stop()
    expected = torch.tensor([0, 2, 0, 1])[before.long()]  # unknown, floor, wall (unknown here), box
    assert torch.equal(after.long(), expected)
    assert any("features were dropped" in note and "nothing that reads them" in note for note in loaded.notes)
    assert any("names that the vocabulary here lacks" in note for note in loaded.notes)


def test_merging_with_itself_adds_evidence_and_keeps_places(running: Running) -> None:
    before = running.columns()
    running.engine.files.save("small").result(30.0)
    loaded = running.engine.files.load("small", None, False).result(30.0)
    after = running.columns()
    assert loaded.voxels == len(before["key"])
    assert torch.equal(before["key"], after["key"])
    # The mean of two equal values in float32.
    assert torch.allclose(before["state"][:, :9], after["state"][:, :9], atol=1e-4)
    assert torch.allclose(after["feature_weight"], 2 * before["feature_weight"])


def test_a_transform_moves_the_map(running: Running) -> None:
    before = running.columns()
    running.engine.files.save("small").result(30.0)
    running.engine.files.load("small", moved_by(10.0, -5.0, 0.5), True).result(30.0)
    # Evidence adds up where voxels meet (no wall is looked at 200 times), and their mean stays the mean.
    expected = total_and_centre(before["state"]) + torch.tensor([0.0, 10.0, -5.0, 0.5])
    assert torch.allclose(total_and_centre(running.columns()["state"]), expected, rtol=1e-5)


def test_a_transform_puts_a_map_beside_the_running_one(running: Running) -> None:
    before = running.columns()
    running.engine.files.save("small").result(30.0)
    running.engine.files.load("small", moved_by(20.0, 0.0, 0.0), False).result(30.0)  # no voxels meet
    after = running.columns()
    old = torch.isin(after["key"], before["key"])
    # Names come anew from the whole map, where one window was known before: the rest is the same.
    for name in before.keys() - {"label", "confidence", "instance"}:
        assert torch.equal(before[name], after[name][old]), name
    expected = total_and_centre(before["state"]) + torch.tensor([0.0, 20.0, 0.0, 0.0])
    assert torch.allclose(total_and_centre(after["state"][~old]), expected, rtol=1e-5)


def moved_by(x: float, y: float, z: float) -> np.ndarray:
    T_map_file = np.eye(4)
    T_map_file[:3, 3] = (x, y, z)
    return T_map_file


def total_and_centre(state: torch.Tensor) -> torch.Tensor:
    """(4,) evidence of all voxels, and where their points are in the mean."""
    weight, point = state[:, 9].double(), state[:, :3].double()
    return torch.cat([weight.sum()[None], (point * weight[:, None]).sum(0) / weight.sum()])


def test_a_file_that_cannot_be_used_leaves_the_map(running: Running, tmp_path: Path) -> None:
    kept = running.engine.files.save("small").result(30.0)
    before = running.columns()
    content = kept.path.read_bytes()
    kept.path.write_bytes(content[:-100])
    with pytest.raises(MapFileError, match="cut off"):
        running.engine.files.load("small", None, True).result(30.0)
    with pytest.raises(MapFileError, match="cannot be read"):
        running.engine.files.load("absent", None, True).result(30.0)
    after = running.columns()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert running.engine.errors == 0


def test_the_file_says_what_it_is(running: Running) -> None:
    kept = running.engine.files.save("").result(30.0)
    header = load_map(kept.path).header
    assert header.voxel_size_m == 0.05
    assert [entry["name"] for entry in header.vocabulary["entries"]] == WORDS
    assert Vocabulary.from_tree(header.vocabulary, "file").tree() == header.vocabulary
    assert header.spaces == {"feature": ColourEncoder.space}
    assert header.settings["map.folder"] == str(kept.path.parent)
