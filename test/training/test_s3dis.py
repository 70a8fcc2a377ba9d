"""S3DIS, on small rooms written here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ws3d_ros.training.datasets.files import DatasetError
from ws3d_ros.training.datasets.s3dis import S3dis


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "Area_5/office_1/Annotations"
    folder.mkdir(parents=True)
    (folder / "chair_1.txt").write_text("1.0 2.0 0.5 255 0 10\n1.1 2.0 0.5 254 1 11\n")
    (folder / "chair_2.txt").write_text("3.0 2.0 0.5 9 9 9\n")
    (folder / "wall_1.txt").write_text("-0.125 0.25 1.5 200 201 202\n")
    (folder / "stairs_1.txt").write_text("7 8 0 1 2 3\n")
    (folder / "wall_1 (1).txt").write_text("no numbers here\n")  # such a copy is in Area_5/office_36
    (folder / ".DS_Store").write_bytes(b"\0\1")
    (tmp_path / "Area_5/office_1/office_1.txt").write_text("1.0 2.0 0.5 255 0 10\n")
    (tmp_path / "Area_1/hallway_2/Annotations").mkdir(parents=True)
    return tmp_path


def test_a_room_is_read_as_it_was_written(root: Path) -> None:
    data = S3dis(root)
    assert data.names == ("Area_1/hallway_2", "Area_5/office_1")
    cloud = data.load("Area_5/office_1")
    assert [cloud.class_names[i] for i in cloud.label] == ["chair", "chair", "chair", "clutter", "wall"]
    assert cloud.instance.tolist() == [0, 0, 1, 2, 3]
    assert cloud.points_m[4].tolist() == [-0.125, 0.25, 1.5]
    assert cloud.color is not None
    assert cloud.color[:2].tolist() == [[255, 0, 10], [254, 1, 11]]


def test_the_stray_character_of_area_5_is_a_gap(root: Path) -> None:
    (root / "Area_5/office_1/Annotations/chair_2.txt").write_bytes(b"22.3 6.3 3.048 185\x10187 170\n")
    color = S3dis(root).load("Area_5/office_1").color
    assert color is not None
    assert color[2].tolist() == [185, 187, 170]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("1 2 3 4 5\n", "5 numbers a line instead of 6"),
        ("1 2 3 4 5 6\n1 2 3\n", "not made of rows of numbers"),
        ("1 2 3 4 5 x\n", "not made of rows of numbers"),
        ("1 2 3 4 5 256\n", "colours 0..255"),
        ("1 2 nan 4 5 6\n", "must be finite"),
    ],
)
def test_bad_lines_are_named(root: Path, text: str, complaint: str) -> None:
    (root / "Area_5/office_1/Annotations/chair_2.txt").write_text(text)
    with pytest.raises(DatasetError, match=rf"office_1.*{complaint}"):
        S3dis(root).load("Area_5/office_1")


def test_what_is_missing_is_named(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.raises(DatasetError, match="no files such as chair_1"):
        S3dis(root).load("Area_1/hallway_2")
    with pytest.raises(DatasetError, match=r"Area_9/office_1/Annotations does not exist. S3DIS is a folder"):
        S3dis(root).load("Area_9/office_1")
    with pytest.raises(DatasetError, match="has no rooms"):
        S3dis(tmp_path_factory.mktemp("empty"))


coordinate = st.floats(-50, 50, width=32)
rows = st.lists(
    st.tuples(coordinate, coordinate, coordinate, *[st.integers(0, 255)] * 3), min_size=1, max_size=8
)


@settings(max_examples=25, deadline=None)
@given(st.dictionaries(st.sampled_from(["table_1", "table_2", "floor_1", "board_12"]), rows, min_size=1))
def test_any_room_comes_back(tmp_path_factory: pytest.TempPathFactory, things: dict[str, list]) -> None:  # type: ignore[type-arg]
    root = tmp_path_factory.mktemp("s3dis")
    folder = root / "Area_2/lobby_1/Annotations"
    folder.mkdir(parents=True)
    for name, points in things.items():
        (folder / f"{name}.txt").write_text("".join(" ".join(map(repr, row)) + "\n" for row in points))
    cloud = S3dis(root).load("Area_2/lobby_1")
    expected = [(name, row) for name in sorted(things) for row in things[name]]
    assert cloud.points_m.tolist() == [list(row[:3]) for _, row in expected]
    assert cloud.color is not None
    assert cloud.color.tolist() == [list(row[3:]) for _, row in expected]
    assert [cloud.class_names[i] for i in cloud.label] == [name.split("_")[0] for name, _ in expected]
    assert len(np.unique(cloud.instance)) == len(things)
