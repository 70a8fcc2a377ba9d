"""`ws3d pretrain` and `ws3d finetune` say what is wrong, with exit code 2."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from ws3d_ros.cli.main import app
from ws3d_ros.network import checkpoint
from ws3d_ros.training.recipe import FineRecipe, load_recipe

SMALL = """
data: {scenes: 2, held_out: 1, clouds: 2, voxels: 1500}
schedule: {steps: 2, save_s: 1000.0}
student: {voxel_size_m: 0.2}
"""


def said(*arguments: str | Path, code: int = 2) -> str:
    """Runs the command and returns what it printed, on one line."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return re.sub(r"\s+", " ", result.output)


@pytest.mark.parametrize("command", ["pretrain", "finetune"])
def test_a_wrong_recipe(tmp_path: Path, command: str) -> None:
    assert "there is no recipe 'nowhere'" in said(command, "--out", tmp_path, "--recipe", "nowhere")
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("sed: 1")
    assert "did you mean 'seed'" in said(command, "--out", tmp_path / "run", "--recipe", recipe)


@pytest.mark.parametrize("command", ["pretrain", "finetune"])
def test_a_folder_of_another_recipe(tmp_path: Path, command: str) -> None:
    (tmp_path / "recipe.yaml").write_text("seed: 99\n")
    assert "another recipe" in said(command, "--out", tmp_path)


@pytest.mark.parametrize("command", ["pretrain", "finetune"])
def test_a_robot_without_the_extra(tmp_path: Path, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ws3d_ros.training.scenes.store", None)
    assert "pip install 'ws3d_ros[scenes]'" in said(command, "--out", tmp_path)


def test_options_of_finetune_are_checked(tmp_path: Path) -> None:
    assert "data must be procedural, or KIND:PATH" in said(
        "finetune", "--out", tmp_path / "a", "--data", "kitti"
    )
    missing = said("finetune", "--out", tmp_path / "b", "--data", f"s3dis:{tmp_path}")
    assert "has no rooms" in missing
    assert "above 0" in said("finetune", "--out", tmp_path / "c", "--scenes-share", "0")
    gone = said("finetune", "--out", tmp_path / "d", "--from", tmp_path / "none.safetensors")
    assert "there is no such file" in gone


def write_s3dis(root: Path) -> None:
    """Three rooms of a floor and a wall, 3 m by 3 m."""
    rng = np.random.default_rng(0)
    for number in range(3):
        folder = root / "Area_1" / f"office_{number}" / "Annotations"
        folder.mkdir(parents=True)
        for name, flat in (("floor", 2), ("wall", 1)):
            points = rng.uniform(0.0, 3.0, (900, 3))
            points[:, flat] = 0.0
            color = np.full((900, 3), 200 if name == "wall" else 60)
            np.savetxt(folder / f"{name}_1.txt", np.hstack([points, color]), fmt="%.3f %.3f %.3f %d %d %d")


def test_a_data_set_of_a_user_from_scratch_and_from_a_start(tmp_path: Path) -> None:
    write_s3dis(tmp_path / "s3dis")
    recipe = tmp_path / "small.yaml"
    recipe.write_text(SMALL)
    asked: list[str | Path] = [
        "finetune",
        "--recipe",
        recipe,
        "--data",
        f"s3dis:{tmp_path / 's3dis'}",
        "--threads",
        "1",
    ]
    printed = said(*asked, "--out", tmp_path / "one", "--points", "7", code=0)
    assert "step 2: miou" in printed
    student = checkpoint.load(tmp_path / "one" / "student.safetensors")
    assert student.spec.classes[:3] == ("ceiling", "floor", "wall")
    plan, _ = load_recipe(str(tmp_path / "one" / "recipe.yaml"), FineRecipe)
    assert plan.labels.points == 7
    start = tmp_path / "one" / "student.safetensors"
    again = said(*asked, "--out", tmp_path / "two", "--from", start, "--novel", "2", code=0)
    assert "without labels:" in again
    assert checkpoint.load(tmp_path / "two" / "start.safetensors").spec == student.spec


def test_a_data_set_of_a_user_taught_by_an_encoder_alone(tmp_path: Path) -> None:
    write_s3dis(tmp_path / "s3dis")
    recipe = tmp_path / "taught.yaml"
    terms = "{point: 0.0, category: 0.0, region: 0.0, scene: 0.0, distillation: 1.0}"
    source = f"source: s3dis:{tmp_path / 's3dis'}\nteacher: {{encoder: concept, views: 1}}\nterms: {terms}\n"
    recipe.write_text(SMALL + source)
    scenes, out = tmp_path / "scenes", tmp_path / "run"
    asked: list[str | Path] = ["--recipe", recipe, "--scenes", scenes, "--threads", "1"]
    printed = said("pretrain", "--out", out, *asked, code=0)
    assert "the teacher: concept, as asked" in printed
    assert len(list((scenes / "taught").glob("*.npz"))) == 2  # not of the room that is held out
    spec = checkpoint.read_spec(out / "student.safetensors")
    assert spec.vocabulary[:3] == ("ceiling", "floor", "wall")
    assert "taught by concept" in spec.licence


def test_a_teacher_that_cannot_be_had(tmp_path: Path) -> None:
    write_s3dis(tmp_path / "s3dis")
    recipe = tmp_path / "none.yaml"
    source = f"source: s3dis:{tmp_path / 's3dis'}\nteacher: {{encoder: none}}\nterms: {{distillation: 1.0}}\n"
    recipe.write_text(SMALL + source)
    assert "teacher.encoder: no encoder, as asked" in said("pretrain", "--out", tmp_path, "--recipe", recipe)
