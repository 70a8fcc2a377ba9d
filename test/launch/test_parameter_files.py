"""The YAML files and the documentation agree with the settings."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from ws3d_ros.config import Config, from_mapping, settings

ROOT = Path(__file__).resolve().parents[2]
SENSOR_FILES = sorted((ROOT / "config" / "sensors").glob("*.yaml"))


def load_script() -> Any:
    spec = importlib.util.spec_from_file_location(
        "write_parameters", ROOT / "scripts" / "write_parameters.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def parameters(path: Path) -> dict[str, Any]:
    """Dotted names and values of a ROS parameters' file."""
    content = yaml.safe_load(path.read_text())
    assert list(content) == ["/**"], "must fit every name and namespace of the node"
    assert list(content["/**"]) == ["ros__parameters"]
    groups = content["/**"]["ros__parameters"]
    return {f"{group}.{leaf}": value for group, leaves in groups.items() for leaf, value in leaves.items()}


def test_perception_yaml_has_every_setting_with_its_default() -> None:
    found = parameters(ROOT / "config" / "perception.yaml")
    assert found == {setting.name: setting.default for setting in settings()}
    # ROS does not turn an integer into a double.
    assert {name: type(value) for name, value in found.items()} == {
        setting.name: type(setting.default) for setting in settings()
    }
    assert from_mapping(found) == Config()


def test_perception_yaml_is_up_to_date() -> None:
    hint = "run: PYTHONPATH=. python3 scripts/write_parameters.py"
    assert (ROOT / "config" / "perception.yaml").read_text() == load_script().yaml_text(), hint


def test_table_of_parameters_is_up_to_date() -> None:
    script = load_script()
    text = (ROOT / "docs" / "interfaces.md").read_text()
    assert text == script.with_table(text), "run: PYTHONPATH=. python3 scripts/write_parameters.py"


@pytest.mark.parametrize("number", [0.001, 1e-6, 5.0, 1e6, 1e20, 3.5e-05])
def test_numbers_stay_doubles_in_yaml(number: float) -> None:
    written = yaml.safe_load(load_script().value(number))
    assert isinstance(written, float)
    assert written == number


@pytest.mark.parametrize("path", SENSOR_FILES, ids=lambda path: path.stem)
def test_sensor_files_say_only_what_differs_and_fits(path: Path) -> None:
    found = parameters(path)
    defaults = {setting.name: setting.default for setting in settings()}
    config = from_mapping(found)
    assert config.inputs.min_depth_m < config.inputs.max_depth_m
    assert config.inputs.min_range_m < config.inputs.max_range_m
    for name, value in found.items():
        assert value != defaults[name], f"{name} is the default anyway"
        assert type(value) is type(defaults[name]), f"{name} would have another type in ROS"
    vocabulary = config.semantics.vocabulary
    assert (ROOT / "config" / "vocabularies" / f"{vocabulary}.yaml").is_file()


def test_every_sensor_file_has_its_launch_file() -> None:
    named = {
        name
        for path in (ROOT / "launch").glob("*.launch.py")
        for name in re.findall(r'"sensors" / "(\w+)\.yaml"', path.read_text())
    }
    assert SENSOR_FILES
    assert named == {path.stem for path in SENSOR_FILES}
