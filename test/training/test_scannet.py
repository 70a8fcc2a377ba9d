"""ScanNet, on one small scene written here in its formats."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from broken_files import check_broken
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plyfile import PlyData, PlyElement

from ws3d_ros.training.datasets.files import DatasetError
from ws3d_ros.training.datasets.scannet import ScanNet, vertex_normals

SCENE = "scene0011_00"
COLUMNS = ("id", "raw_category", "category", "count", "nyu40id", "eigen13id", "nyuClass", "nyu40class")
# As in the file: couch is nyu40's sofa (6), and id 6 of ScanNet200; a keyboard is not in ScanNet20.
WORDS = {
    "couch": (6, 6),
    "office chair": (10, 5),
    "keyboard": (46, 40),
    "wall": (1, 1),
    "dollhouse": (2000, 0),
}
SEGMENTS = [5, 5, 5, 9, 9, 3, 3, 20, 20, 77]
THINGS = [("couch", [5]), ("office chair", [9, 3]), ("keyboard", [20])]
COUNT = len(SEGMENTS)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("scannet")
    lines = ["\t".join(COLUMNS)]
    for word, (id_, nyu40) in WORDS.items():
        lines.append("\t".join([str(id_), word, word, "1", str(nyu40) if nyu40 else "", "1", '3" tv', word]))
    (root / "scannetv2-labels.combined.tsv").write_text("\n".join(lines) + "\n")
    folder = root / "scans" / SCENE
    folder.mkdir(parents=True)
    mesh().write(str(folder / f"{SCENE}_vh_clean_2.ply"))
    (folder / f"{SCENE}_vh_clean_2.0.010000.segs.json").write_text(
        json.dumps({"params": {"kThresh": "0.0001"}, "sceneId": SCENE, "segIndices": SEGMENTS})
    )
    groups = [
        {"id": i, "objectId": i, "segments": segments, "label": label}
        for i, (label, segments) in enumerate(THINGS)
    ]
    (folder / f"{SCENE}.aggregation.json").write_text(
        json.dumps({"sceneId": f"scannet.{SCENE}", "appId": "Aggregator.v2", "segGroups": groups})
    )
    return root


def mesh() -> PlyData:
    """Vertices with colour and opacity, and faces: what the real files have."""
    kinds = [(axis, "f4") for axis in "xyz"] + [(part, "u1") for part in ("red", "green", "blue", "alpha")]
    vertex = np.zeros(COUNT, kinds)
    vertex["x"], vertex["z"] = np.arange(COUNT) * 0.25, 1.5
    vertex["y"] = np.arange(COUNT) % 2
    vertex["red"], vertex["blue"], vertex["alpha"] = np.arange(COUNT) * 20, 7, 255
    face = np.empty(2, [("vertex_indices", object)])
    face["vertex_indices"] = [np.array(corners, np.int32) for corners in ([0, 2, 1], [2, 4, 3])]
    elements = [PlyElement.describe(vertex, "vertex"), PlyElement.describe(face, "face")]
    return PlyData(elements, byte_order="<")


def test_a_scene_is_read_as_it_was_written(root: Path) -> None:
    data = ScanNet(root)
    assert data.names == (SCENE,)
    cloud = data.load(SCENE)
    words = [cloud.class_names[i] if i >= 0 else None for i in cloud.label]
    assert words == ["sofa"] * 3 + ["chair"] * 4 + [None] * 3
    assert cloud.instance.tolist() == [0, 0, 0, 1, 1, 1, 1, 2, 2, -1]
    assert cloud.points_m[3].tolist() == [0.75, 1.0, 1.5]
    assert cloud.color is not None
    assert cloud.color[3].tolist() == [60, 0, 7]
    assert cloud.normal is not None
    assert cloud.normal.tolist() == [[0, 0, 1]] * 5 + [[0, 0, 0]] * 5


def test_normals_of_a_roof() -> None:
    """Two triangles that lean against each other, one twice as large: its slope weighs twice."""
    points = np.array([[0, 0, 1], [0, 1, 1], [-1, 0, 0], [2, 0, -1]], np.float32)
    normal = vertex_normals(points, np.array([[0, 1, 2], [0, 3, 1]]))
    left, right = np.array([-1, 0, 1]) * 1.0, np.array([2, 0, 2]) * 1.0  # twice the areas long
    both = (left + right) / np.linalg.norm(left + right)
    np.testing.assert_allclose(normal[0], both, atol=1e-6)
    np.testing.assert_allclose(normal[2], left / np.sqrt(2), atol=1e-6)
    np.testing.assert_allclose(normal[3], right / np.sqrt(8), atol=1e-6)


def test_the_200_classes_tell_more_apart(root: Path) -> None:
    cloud = ScanNet(root / "", classes=200).load(SCENE)
    words = [cloud.class_names[i] if i >= 0 else None for i in cloud.label]
    assert words == ["couch"] * 3 + ["office chair"] * 4 + ["keyboard"] * 2 + [None]


def test_what_is_missing_is_named(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no folders such as scene0000_00\. ScanNet is a folder with"):
        ScanNet(tmp_path)
    with pytest.raises(DatasetError, match="scene0099_01 does not exist"):
        ScanNet(root).load("scene0099_01")


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.floats(0, 0.95),
    st.sampled_from(["_vh_clean_2.ply", "_vh_clean_2.0.010000.segs.json", ".aggregation.json"]),
)
def test_broken_files_are_named(root: Path, keep: float, file: str) -> None:
    check_broken(root, f"scans/{SCENE}/{SCENE}{file}", keep, lambda path: ScanNet(path).load(SCENE))


@pytest.mark.parametrize(
    ("file", "content", "complaint"),
    [
        ("_vh_clean_2.0.010000.segs.json", {"segIndices": [1, 2]}, "has 2 'segIndices', but the mesh 10"),
        ("_vh_clean_2.0.010000.segs.json", {"segIndices": ["a"] * 10}, "must be a list of integers"),
        ("_vh_clean_2.0.010000.segs.json", [], "'segIndices' must be a list"),
        (".aggregation.json", {}, "lacks the list 'segGroups'"),
        (".aggregation.json", {"segGroups": [{"segments": [1]}]}, "needs a 'label'"),
        (".aggregation.json", {"segGroups": [{"label": "x"}]}, "'segments' must be a list"),
    ],
)
def test_files_that_say_something_else_are_refused(
    root: Path, file: str, content: object, complaint: str
) -> None:
    path = root / "scans" / SCENE / f"{SCENE}{file}"
    whole = path.read_text()
    try:
        path.write_text(json.dumps(content))
        with pytest.raises(DatasetError, match=complaint):
            ScanNet(root).load(SCENE)
    finally:
        path.write_text(whole)


def test_a_mesh_with_impossible_triangles_is_refused(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root, tmp_path / "copy")
    spoilt = mesh()
    spoilt["face"].data["vertex_indices"][1] = np.array([0, 1, COUNT], np.int32)
    spoilt.write(str(tmp_path / f"copy/scans/{SCENE}/{SCENE}_vh_clean_2.ply"))
    with pytest.raises(DatasetError, match="triangles of vertices that it does not have"):
        ScanNet(tmp_path / "copy").load(SCENE)


def test_another_table_of_labels_is_refused(root: Path, tmp_path: Path) -> None:
    (tmp_path / SCENE).mkdir()
    labels = tmp_path / "scannetv2-labels.combined.tsv"
    with pytest.raises(DatasetError, match=r"combined\.tsv does not exist"):
        ScanNet(tmp_path)
    labels.write_text("id\tcategory\n1\twall\n")
    with pytest.raises(DatasetError, match="columns raw_category and nyu40id"):
        ScanNet(tmp_path)
