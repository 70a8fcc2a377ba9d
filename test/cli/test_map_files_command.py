"""`ws3d map` and `ws3d export` from the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from plyfile import PlyData
from small_world import pose, shot
from typer.testing import CliRunner, Result

from ws3d_ros.cli.main import app
from ws3d_ros.cli.map import Recording, map_all
from ws3d_ros.config import from_mapping
from ws3d_ros.language.vocabulary import Vocabulary
from ws3d_ros.pipeline import Pipeline
from ws3d_ros.reconstruction.map_file import load_map
from ws3d_ros.sensors.cloud_file import read_cloud
from ws3d_ros.sensors.corrections import Correction
from ws3d_ros.sensors.frame import Frame

GOLDEN = Path(__file__).parents[1] / "reconstruction" / "golden_v1.ws3d"
COUNT = 60


def ws3d(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.mark.parametrize("suffix", [".ply", ".pcd", ".las", ".laz", ".npz"])
def test_every_format_has_the_points(tmp_path: Path, suffix: str) -> None:
    pytest.importorskip({".pcd": "pypcd4", ".las": "laspy", ".laz": "laspy"}.get(suffix, "plyfile"))
    out = tmp_path / f"map{suffix}"
    result = ws3d("export", GOLDEN, out)
    assert result.exit_code == 0, result.output
    cloud = read_cloud(out)
    saved = load_map(GOLDEN)
    # LAS has whole millimetres; the others the very float32.
    assert np.abs(cloud.points_m - saved.voxel["state"][:, :3].numpy()).max() <= 0.00051
    palette = np.array([[128, 128, 128], [1, 2, 3], [4, 5, 6]])
    assert cloud.color is not None
    assert np.array_equal(np.rint(cloud.color), palette[saved.voxel["label"].numpy()])


def test_ply_has_labels_instances_confidence_and_palette(tmp_path: Path) -> None:
    ws3d("export", GOLDEN, tmp_path / "map.ply")
    file, voxel = PlyData.read(str(tmp_path / "map.ply")), load_map(GOLDEN).voxel
    vertex = file["vertex"].data
    for name in ("label", "instance", "confidence"):
        assert np.array_equal(vertex[name], voxel[name].numpy().astype(vertex[name].dtype))
    assert file.comments == ["label 0 #808080 unknown", "label 1 #010203 floor", "label 2 #040506 St\\xfchle"]


def test_what_cannot_be_exported_is_said(tmp_path: Path) -> None:
    (tmp_path / "short.ws3d").write_bytes(GOLDEN.read_bytes()[:-5])
    for arguments, match in (
        ((tmp_path / "short.ws3d", tmp_path / "a.ply"), "cut off or damaged"),
        ((GOLDEN, tmp_path / "a.stl"), "maps are exported to .ply"),
        ((GOLDEN,), "nothing to write"),
    ):
        result = ws3d("export", *arguments)
        assert result.exit_code == 2
        assert match in " ".join(result.output.split())
    assert not (tmp_path / "a.ply").exists()


def test_a_folder_of_images_becomes_a_map_and_a_picture(tmp_path: Path) -> None:
    """A wall 2 m ahead, seen twice, without anything that names it."""
    folder = tmp_path / "wall"
    for name, image in (
        ("rgb/{}.jpg", np.full((48, 64, 3), 200, np.uint8)),
        ("depth/{}.png", np.full((48, 64), 2000, np.uint16)),
        ("inst/{}.png", np.zeros((48, 64), np.uint16)),
    ):
        (folder / name).parent.mkdir(parents=True)
        for index in ("0000", "0001"):
            assert cv2.imwrite(str(folder / name.format(index)), image)
    meta = {"K": [60, 60, 31.5, 23.5], "width": 64, "height": 48, "depth_scale": 1000}
    meta |= {"poses": [np.eye(4).tolist()] * 2, "instances": {}, "classes": {}}
    (folder / "meta.json").write_text(json.dumps(meta))
    out, picture = tmp_path / "wall.ws3d", tmp_path / "wall.png"
    switches = ("--no-image-features", "--no-student", "--voxel-size", 0.1, "--picture", picture)
    result = ws3d("map", folder, "-o", out, "-v", "floor, wall", *switches)
    assert result.exit_code == 0, result.output
    saved = load_map(out)
    assert saved.header.voxel_size_m == 0.1
    assert [entry["name"] for entry in saved.header.vocabulary["entries"]] == ["floor", "wall"]
    assert np.allclose(saved.voxel["state"][:, 2], 2.0, atol=1e-3)  # millimetres
    assert len(saved) > 300  # 2.1 x 1.6 m in voxels of 0.1 m
    assert cv2.imread(str(picture)) is not None


def test_what_cannot_be_mapped_is_said(tmp_path: Path) -> None:
    for arguments, match in (
        ((tmp_path / "absent", "-o", tmp_path / "a.ws3d"), "absent"),
        ((tmp_path, "-o", tmp_path / "a.ply"), "ends in .ws3d"),
    ):
        result = ws3d("map", *arguments, "--no-image-features", "--no-student")
        assert result.exit_code == 2
        assert match in " ".join(result.output.split())


def test_a_recording_is_followed_where_localisation_jumps() -> None:
    config = from_mapping({"map.carving": False})
    pipeline = Pipeline(config, None, Vocabulary.of(["floor"]), torch.device("cpu"))
    T_new_old = np.eye(4)
    T_new_old[:2, 3] = 0.52, 0.31
    recording = Recording(iter(()), 1.0)

    def measurements() -> Iterator[Frame]:
        yield shot(pose(), 1)
        recording.jumps.append(Correction(2, T_new_old, T_new_old, 0.6, 0.0))
        yield shot(pose(), 2)

    map_all(pipeline, replace(recording, measurements=measurements()))
    assert not recording.jumps
    alone = Pipeline(config, None, Vocabulary.of(["floor"]), torch.device("cpu"))
    alone.integrate(shot(pose(), 1))
    before, after = alone.map.everything().points_m, pipeline.map.everything().points_m
    far = after[:, 0] > 3.3  # the wall of the first, moved; that of the second is at 3
    assert far.any()
    assert torch.isclose(after[:, 0].max(), before[:, 0].max() + 0.52, atol=1e-3)
