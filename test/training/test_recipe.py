"""Recipes: the shipped one is valid and complete, faults are named."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import yaml

from ws3d_ros.training.recipe import SHIPPED, FineRecipe, Recipe, RecipeError, load_recipe, write_recipe

KIND = {"finetune": FineRecipe}


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_recipes_load_and_leave_nothing_unsaid(path: Path) -> None:
    recipe, text = load_recipe(path.stem, KIND.get(path.stem, Recipe))
    written = yaml.safe_load(text)
    for group in dataclasses.fields(recipe):
        value = getattr(recipe, group.name)
        if dataclasses.is_dataclass(value):
            assert set(written[group.name]) == {leaf.name for leaf in dataclasses.fields(value)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sed: 3", "unknown entry 'sed'; did you mean 'seed'"),
        ("terms: {poin: 1}", "terms: unknown entry 'poin'; did you mean 'point'"),
        ("seed: often", "seed must be int, not 'often'"),
        ("student: {inputs: [smell]}", "student.inputs must be out of"),
        ("student: {architecture: ResNet}", "architecture must be one of Res16UNet14S"),
        ("data: {clouds: 1}", "batch norms need several"),
        ("schedule: {learning_rate: 0.1}", "schedule: .*steps"),
        ("terms: {distillation: 0.5}", "terms.distillation needs a teacher.encoder"),
        ("teacher: {views: 0}", "teacher.views must be 1 or more"),
        ("teacher: {temperature: 0}", "teacher.temperature above 0"),
        ("data: 7", "expected entries, not 7"),
        ("a: [", "is not YAML"),
    ],
)
def test_faults_are_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=message) as error:
        load_recipe(str(path))
    assert "mine.yaml" in str(error.value)


def test_a_missing_recipe_lists_the_shipped_ones() -> None:
    with pytest.raises(RecipeError, match="default"):
        load_recipe("nowhere")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("labels: {scene_share: 0}", "scene_share must be above 0"),
        ("labels: {points: -1}", "must be 0 or more"),
        ("contrast: {thresholds: []}", "needs a threshold"),
        ("contrast: {thresholds: [high]}", "must be a list of numbers"),
        ("terms: {point: 1.0, region: 0.5}", "terms: unknown entry 'region'"),
    ],
)
def test_faults_of_fine_tuning_are_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=message):
        load_recipe(str(path), FineRecipe)


def test_a_written_recipe_is_read_as_it_was(tmp_path: Path) -> None:
    recipe = FineRecipe(seed=3, source="s3dis:/data")
    path = tmp_path / "mine.yaml"
    path.write_text(write_recipe(recipe))
    assert load_recipe(str(path), FineRecipe)[0] == recipe
