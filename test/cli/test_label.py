"""`ws3d label` and `ws3d evaluate --cloud` from the command line, on small clouds with small networks."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from plyfile import PlyData
from students import SurfaceReader, random_student, surface_namer
from typer.testing import CliRunner, Result

from ws3d_ros.cli import judging_cloud
from ws3d_ros.cli.main import app
from ws3d_ros.language.sentences import SPACE
from ws3d_ros.language.vocabulary import Vocabulary
from ws3d_ros.network import choose

COUNT = 3000


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_student(tmp_path_factory.mktemp("student") / "student.safetensors", space=SPACE, dim=384)


@pytest.fixture
def cloud(tmp_path: Path) -> Path:
    """A floor and a wall with colours, and one point that is nowhere."""
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 2, (COUNT, 3)) + np.array([500_000, 4_000_000, 0])
    points[: COUNT // 2, 2] = 0.01
    points[COUNT // 2 :, 0] = 500_002.01
    points[5] = np.nan
    path = tmp_path / "cloud.npz"
    np.savez(path, points=points, colors=rng.integers(1, 256, (COUNT, 3)).astype(np.uint8))
    return path


def ws3d(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_every_point_gets_a_label_in_its_place(tmp_path: Path, cloud: Path, student: Path) -> None:
    out, figures = tmp_path / "out" / "named.ply", tmp_path / "out" / "named.json"
    words = "floor, wall, coffee mug"
    result = ws3d("label", cloud, "-o", out, "-v", words, "--checkpoint", student, "--json", figures)
    assert result.exit_code == 0, result.output
    assert f"1 of {COUNT} points are NaN" in result.output

    file = PlyData.read(str(out))
    vertex, told = file["vertex"].data, json.loads(figures.read_text())
    points = np.load(cloud)["points"]
    assert np.array_equal(np.stack([vertex[axis] for axis in "xyz"], 1), points, equal_nan=True)
    assert file.comments == ["label 0 unknown", "label 1 floor", "label 2 wall", "label 3 coffee mug"]

    palette = [row["color"] for row in told["labels"]]
    assert palette[1:] == Vocabulary.load(words).colors.tolist()
    rgb = np.stack([vertex[part] for part in ("red", "green", "blue")], 1)
    assert np.array_equal(rgb, np.array(palette)[vertex["label"]])
    assert (vertex["label"][5], vertex["confidence"][5]) == (0, 0)
    named = vertex["label"] > 0
    # One of three words wins with more than a third, and float16 rounds.
    assert (vertex["confidence"][named] > 0.33).all()
    assert [row["points"] for row in told["labels"]] == np.bincount(vertex["label"], minlength=4).tolist()
    assert [row["name"] for row in told["labels"]] == ["unknown", "floor", "wall", "coffee mug"]
    assert (told["points"], told["not_finite"], told["voxel_size_m"]) == (COUNT, 1, 0.05)
    assert told["network"].startswith("student.safetensors")
    assert told["has_color"]
    assert not told["has_normal"]


def test_points_of_a_voxel_share_a_label(tmp_path: Path, cloud: Path, student: Path) -> None:
    assert ws3d("label", cloud, "-o", tmp_path / "a.ply", "--checkpoint", student).exit_code == 0
    vertex = PlyData.read(str(tmp_path / "a.ply"))["vertex"].data
    finite = np.isfinite(vertex["x"])
    vertex = vertex[finite]
    points = np.stack([vertex[axis] for axis in "xyz"], 1)
    origin = np.floor(np.median(points, axis=0))
    cells = np.floor((points - origin).astype(np.float32) / np.float32(0.05)).astype(int)
    labels: dict[tuple[int, ...], set[int]] = {}
    for cell, label in zip(cells.tolist(), vertex["label"].tolist(), strict=True):
        labels.setdefault(tuple(cell), set()).add(label)
    assert len(labels) < len(vertex)
    assert all(len(each) == 1 for each in labels.values())


def test_what_is_wrong_is_said(
    tmp_path: Path, cloud: Path, student: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choose, "SHIPPED", tmp_path / "none.safetensors")
    good = ("label", cloud, "-o", tmp_path / "a.ply")
    for arguments, message in (
        (good, "there is none"),
        ((*good, "--checkpoint", "none"), "there is none"),
        ((*good, "--checkpoint", tmp_path / "missing.safetensors"), "no such file"),
        ((*good, "--checkpoint", cloud), "not a safetensors file"),
        ((*good, "-v", "chair, chair"), "chair"),
        ((*good, "--region-share", "-3"), "semantics.region_share"),
        (("label", "none.ply", "-o", tmp_path / "a.ply"), "no such file"),
        (("label", cloud, "-o", tmp_path / "a.las"), "the output is a .ply"),
        (("label", cloud, "-o", cloud / "a.ply", "--checkpoint", student), "File exists"),
    ):
        result = ws3d(*arguments)
        assert result.exit_code == 2, result.output
        assert message in result.output
        assert "Traceback" not in result.output


def test_a_missing_library_comes_with_the_line_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "laspy", None)
    (tmp_path / "a.laz").touch()
    result = ws3d("label", tmp_path / "a.laz", "-o", tmp_path / "a.ply")
    assert result.exit_code == 2
    assert "pip install 'ws3d_ros[clouds]'" in result.output  # brackets are no colours


# ---- evaluate --cloud


@pytest.fixture
def judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """Eight points a metre apart: the reader calls those with level normals floor, the others wall."""
    monkeypatch.setattr(
        judging_cloud, "load_namer", lambda config: (surface_namer(SurfaceReader()), torch.device("cpu"))
    )
    level = np.array([1, 1, 1, 1, 1, 0, 0, 1], bool)
    normal = np.where(level[:, None], [0, 0, 1.0], [1.0, 0, 0])
    points = np.arange(8)[:, None] * [1.0, 0, 0]
    points[7] = np.nan
    np.savez(tmp_path / "cloud.npz", points=points, normals=normal)
    # As said: floor x 5, wall x 2, unknown. Names: 0 wall, 1 lamp, 2 floor.
    np.save(tmp_path / "labels.npy", np.array([2, 2, 2, 0, -1, 0, 2, 0]))
    (tmp_path / "names.txt").write_text("wall\nlamp\n\nfloor\n")
    files = (tmp_path / "cloud.npz", tmp_path / "labels.npy", tmp_path / "names.txt")
    return tuple(
        str(part) for pair in zip(("--cloud", "--labels", "--names"), files, strict=True) for part in pair
    )


def test_scores_are_those_of_the_confusion_by_hand(tmp_path: Path, judged: tuple[str, ...]) -> None:
    figures, picture = tmp_path / "figures.json", tmp_path / "picture.png"
    result = ws3d("evaluate", *judged, "--region-share", "0", "--json", figures, "--picture", picture)
    assert result.exit_code == 0, result.output
    told = json.loads(figures.read_text())
    # True floor (4): floor, floor, floor, wall. True wall (3): floor, wall, unknown.
    assert told["points"] == 7
    assert told["unlabelled"] == 1
    assert told["accuracy"] == pytest.approx(4 / 7)
    assert told["classes"]["floor"] == {
        "iou": pytest.approx(3 / 5),
        "recall": pytest.approx(3 / 4),
        "points": 4,
    }
    assert told["classes"]["wall"] == {
        "iou": pytest.approx(1 / 4),
        "recall": pytest.approx(1 / 3),
        "points": 3,
    }
    assert told["miou"] == pytest.approx((3 / 5 + 1 / 4) / 2)
    # Six named points, four right, all with nearly full confidence.
    assert told["ece"] == pytest.approx(1 - 4 / 6, abs=0.01)
    assert "4" in result.output
    assert picture.stat().st_size > 0


def test_names_may_be_yaml_and_classes_novel(tmp_path: Path, judged: tuple[str, ...]) -> None:
    names = tmp_path / "names.yaml"
    names.write_text("[wall, lamp, floor]")
    figures = tmp_path / "figures.json"
    alone = (*judged[:-1], names, "--region-share", "0")
    result = ws3d("evaluate", *alone, "--json", figures, "--novel", "floor")
    assert result.exit_code == 0, result.output
    split = json.loads(figures.read_text())["base_and_novel"]
    assert (split["base_miou"], split["novel_miou"]) == (pytest.approx(1 / 4), pytest.approx(3 / 5))


def test_files_that_do_not_belong_together(tmp_path: Path, judged: tuple[str, ...]) -> None:
    arrays = {
        "long": np.zeros(9, int),
        "high": np.full(8, 3),
        "low": np.full(8, -2),
        "float": np.zeros(8),
        "none": np.full(8, -1),
    }
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
    (tmp_path / "cut.npy").write_bytes((tmp_path / "long.npy").read_bytes()[:100])
    (tmp_path / "map.yaml").write_text("a: b")
    for change, message in {
        ("--labels", "long.npy"): "a label a point is needed: (8,), not (9,)",
        ("--labels", "high.npy"): "from 3 to 3",
        ("--labels", "low.npy"): "from -2 to -2",
        ("--labels", "float.npy"): "integers",
        ("--labels", "none.npy"): "nothing to score",
        ("--labels", "cut.npy"): "cut short",
        ("--labels", "missing.npy"): "there is no such file",
        ("--names", "map.yaml"): "must be a list of names",
        ("--names", "missing.txt"): "cannot be read",
        ("--cloud", "missing.ply"): "there is no such file",
        ("--sequence", "too"): "give either --sequence, or --cloud",
    }.items():
        result = ws3d("evaluate", *judged, change[0], tmp_path / change[1])
        assert result.exit_code == 2, result.output
        assert message in result.output
