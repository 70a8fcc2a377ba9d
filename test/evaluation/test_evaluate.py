"""The command on a folder of a few pictures of a small world, and what it says about mistakes."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from small_world import BLUE, CAMERA, GREEN, RED, ColourEncoder, pose, shot
from students import random_student
from typer.testing import CliRunner

from ws3d_ros.cli import evaluate as module
from ws3d_ros.cli.main import app
from ws3d_ros.language.choose import Choice
from ws3d_ros.rendering import views
from ws3d_ros.training.datasets.posed_folder import PosedFolder

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
CLASSES = {"floor": 1, "wall": 2, "box": 3}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Eight frames of the small world in the layout of the data set, one sweep, and their truth."""
    poses = [pose(0.1 * step) for step in range(8)]
    for name in ("rgb", "depth", "inst", "lidar"):
        (tmp_path / name).mkdir()
    for index, T in enumerate(poses):
        frame = shot(T)
        assert frame.color is not None
        assert frame.depth_m is not None
        color = frame.color.numpy()
        instance = np.select([(color == shade).all(-1) for shade in (RED, GREEN, BLUE)], [10, 20, 30], 0)
        instance[frame.depth_m.numpy() == 0] = 0
        cv2.imwrite(str(tmp_path / f"rgb/{index:04d}.jpg"), color[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 98])
        cv2.imwrite(
            str(tmp_path / f"depth/{index:04d}.png"), (frame.depth_m.numpy() * 1000).round().astype(np.uint16)
        )
        cv2.imwrite(str(tmp_path / f"inst/{index:04d}.png"), instance.astype(np.uint8))
    np.savez(tmp_path / "lidar/0000.npz", xyz=np.ones((5, 3), np.float16), inst=np.full(5, 20, np.uint8))
    (tmp_path / "lidar.json").write_text(json.dumps({"poses": [poses[0].tolist()]}))
    meta = {
        "K": [CAMERA.fx, CAMERA.fy, CAMERA.cx, CAMERA.cy],
        "width": CAMERA.width,
        "height": CAMERA.height,
        "depth_scale": 1000.0,
        "poses": [T.tolist() for T in poses],
        "instances": {str(10 * i): {"cls": name, "class_id": i} for name, i in CLASSES.items()},
        "classes": CLASSES,
    }
    (tmp_path / "meta.json").write_text(json.dumps(meta))
    return tmp_path


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[int, str]:
    monkeypatch.setattr(module, "choose_encoder", lambda *_: Choice(ColourEncoder(), "made for this test"))
    result = CliRunner().invoke(app, ["evaluate", *arguments])
    return result.exit_code, result.output


def test_a_network_is_used_and_told(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, weights = tmp_path / "figures.json", random_student(tmp_path / "random.safetensors")
    arguments = ("--sequence", str(folder), "--json", str(out), "--every", "7", "--channels", "0")
    code, text = run(monkeypatch, *arguments, "--checkpoint", str(weights))
    assert code == 0, text
    figures = json.loads(out.read_text())
    assert "random.safetensors" in figures["network"]
    assert figures["stages_ms"]["network"]["count"] >= 1


def test_a_network_that_cannot_be_had_is_an_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, text = run(monkeypatch, "--sequence", str(folder), "--checkpoint", "no.safetensors")
    assert code == 2
    assert "no.safetensors" in text


def test_figures_of_a_world_that_is_easy(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out" / "figures.json"
    arguments = ("--sequence", str(folder), "--json", str(out), "--every", "3", "--channels", "0")
    code, text = run(monkeypatch, *arguments)
    assert code == 0, text
    figures = json.loads(out.read_text())
    assert {"miou", "macc", "fmiou", "accuracy", "classes", "ece", "voxels", "settings", "stages_ms"} <= set(
        figures
    )
    assert set(figures["classes"]) == set(CLASSES)
    # Colours are unmistakable; what is left are voxels that two things share, and depth edges.
    assert figures["accuracy"] > 0.9
    assert figures["miou"] > 0.75
    assert sum(row["voxels"] for row in figures["classes"].values()) == figures["voxels"]
    assert figures["stages_ms"]["integrate"]["count"] == 3  # frames 0, 3 and 6
    assert "mIoU" in text


def test_objects_and_a_split_and_a_picture(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, picture = tmp_path / "figures.json", tmp_path / "out" / "map.png"
    monkeypatch.setattr(views, "_OVERSAMPLE", 1)  # drawing finely takes seconds
    arguments = ("--sequence", str(folder), "--json", str(out), "--channels", "0")
    code, text = run(monkeypatch, *arguments, "--picture", str(picture), "--novel", "box")
    assert code == 0, text
    figures = json.loads(out.read_text())
    # The only object; floor and wall are none. It is one piece with unmistakable colours.
    assert list(figures["instances"]["classes"]) == ["box"]
    assert figures["instances"]["ap50"] == 1.0
    assert figures["instances"]["class_agnostic"]["ap50"] == 1.0
    split = figures["base_and_novel"]
    assert split["novel_miou"] == pytest.approx(figures["classes"]["box"]["iou"])
    assert min(split["base_miou"], split["novel_miou"]) <= split["hiou"]
    assert "hIoU" in text
    assert "AP50" in text
    drawn = cv2.imread(str(picture))
    assert drawn is not None
    assert drawn.shape[1] > 3 * 1200


@pytest.mark.parametrize(
    ("novel", "complaint"), [("boxx", "did you mean 'box'"), ("tree", "classes are floor")]
)
def test_a_novel_class_that_is_none_is_an_error(
    folder: Path, monkeypatch: pytest.MonkeyPatch, novel: str, complaint: str
) -> None:
    code, text = run(monkeypatch, "--sequence", str(folder), "--novel", novel)
    assert code == 2
    assert complaint in text.replace("\n", " ")


def test_a_split_without_base_classes_costs_only_its_figure(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "figures.json"
    arguments = ("--sequence", str(folder), "--json", str(out), "--every", "7", "--channels", "0")
    code, text = run(monkeypatch, *arguments, "--novel", "floor, wall, box")
    assert code == 0, text
    assert "needs a base class" in text.replace("\n", " ")
    assert "base_and_novel" not in json.loads(out.read_text())


def test_a_folder_of_something_else_is_an_error_that_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, text = run(monkeypatch, "--sequence", str(tmp_path))
    assert code == 2
    assert "meta.json" in text.replace("\n", "")


def test_an_encoder_that_cannot_be_had_is_an_error(folder: Path) -> None:
    result = CliRunner().invoke(app, ["evaluate", "--sequence", str(folder), "--encoder", "nonsense"])
    assert result.exit_code == 2
    assert "nonsense" in result.output


def test_a_folder_is_read_as_it_was_written(folder: Path) -> None:
    sequence = PosedFolder(folder)
    assert (len(sequence), sequence.classes) == (8, list(CLASSES))
    assert sequence.camera == CAMERA
    items = list(sequence.frames(every=3))
    assert [item.frame.stamp_ns for item in items] == [0, 300_000_000, 600_000_000]
    original = shot(pose(0.3))
    assert original.depth_m is not None
    assert items[1].frame.depth_m is not None
    torch.testing.assert_close(items[1].frame.depth_m, original.depth_m, atol=5.1e-4, rtol=0)  # millimetres
    np.testing.assert_array_equal(items[1].frame.T_map_camera, pose(0.1 * 3))
    assert sequence.class_of_instance[items[1].instance.long().unique()].tolist() == [1, 2, 3]
    (sweep,) = sequence.scans()
    assert sweep.scan.points_m.dtype == torch.float32
    assert sweep.instance.tolist() == [20] * 5


def test_a_missing_picture_is_named(folder: Path) -> None:
    (folder / "depth/0003.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"depth/0003\.png"):
        PosedFolder(folder).frame(3)


def test_a_description_that_lacks_something_is_refused(folder: Path) -> None:
    meta = json.loads((folder / "meta.json").read_text())
    del meta["poses"]
    (folder / "meta.json").write_text(json.dumps(meta))
    with pytest.raises(ValueError, match="poses"):
        PosedFolder(folder)


@pytest.mark.skipif(not (SHARED / "data/small_house").is_dir(), reason="../shared is not here")
def test_the_real_sequence_is_consistent() -> None:
    """A point of one frame, seen from the next, belongs to the same instance nearly always."""
    sequence = PosedFolder(SHARED / "data/small_house")
    assert len(sequence) == 160
    assert len(sequence.classes) == 38
    one, other = sequence.frame(20), sequence.frame(21)
    assert one.frame.depth_m is not None
    assert other.frame.depth_m is not None
    v, u = torch.meshgrid(torch.arange(4, 480, 8), torch.arange(4, 640, 8), indexing="ij")
    z = one.frame.depth_m[v, u].double()
    camera = sequence.camera
    optical = torch.stack([(u - camera.cx) / camera.fx * z, (v - camera.cy) / camera.fy * z, z], -1)[z > 0]
    between = torch.from_numpy(np.linalg.inv(other.frame.T_map_camera) @ one.frame.T_map_camera)
    moved = optical @ between[:3, :3].T + between[:3, 3]
    seen = moved[:, 2] > 0.1
    x = (moved[:, 0] / moved[:, 2] * camera.fx + camera.cx).round().long()
    y = (moved[:, 1] / moved[:, 2] * camera.fy + camera.cy).round().long()
    seen &= (x >= 0) & (x < 640) & (y >= 0) & (y < 480)
    matches = (other.frame.depth_m[y[seen], x[seen]] - moved[seen][:, 2]).abs() < 0.03
    same = one.instance[v, u][z > 0][seen] == other.instance[y[seen], x[seen]]
    assert matches.sum() > 1000
    assert same[matches].float().mean() > 0.99  # the data's README promises 99.6 % for true surface points
