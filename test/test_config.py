"""The settings tree: names, ranges and the errors that people read."""

from __future__ import annotations

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ws3d_ros.config import Config, ConfigError, check, from_mapping, settings

ALL = list(settings())


def test_every_setting_has_a_meaning_and_a_default_that_fits() -> None:
    assert len({setting.name for setting in ALL}) == len(ALL) > 20
    for setting in ALL:
        assert setting.doc, setting.name
        assert check(setting, setting.default) == setting.default


def test_defaults_survive_the_round_trip() -> None:
    assert from_mapping({setting.name: setting.default for setting in ALL}) == Config()


def test_a_value_reaches_its_place_and_no_other() -> None:
    config = from_mapping({"map.voxel_size_m": 0.1, "inputs.cameras": ["front", "rear"]})
    assert config.map.voxel_size_m == 0.1
    assert config.inputs.cameras == ["front", "rear"]
    assert dataclasses.replace(config, map=Config().map, inputs=Config().inputs) == Config()


def test_a_misspelt_name_is_refused_with_the_right_one() -> None:
    with pytest.raises(ConfigError, match=r"'map.voxel_size'.*did you mean 'map.voxel_size_m'"):
        from_mapping({"map.voxel_size": 0.1})


@pytest.mark.parametrize("value", [0.0, -1.0, 1e9, math.nan, math.inf, "0.1", True, None, [0.1]])
def test_a_voxel_size_that_cannot_be_is_refused_by_name(value: object) -> None:
    with pytest.raises(ConfigError, match=r"map\.voxel_size_m"):
        from_mapping({"map.voxel_size_m": value})


def test_whole_numbers_pass_for_floats_and_choices_are_listed() -> None:
    assert from_mapping({"map.window_radius_m": 20}).map.window_radius_m == 20.0
    with pytest.raises(ConfigError, match="auto, cpu, cuda"):
        from_mapping({"semantics.device": "tpu"})


@given(st.sampled_from([s for s in ALL if s.type is float]), st.floats())
def test_a_float_is_accepted_exactly_within_its_bounds(setting, value: float) -> None:
    inside = setting.low <= value <= setting.high
    try:
        check(setting, value)
    except ConfigError:
        assert not inside
    else:
        assert inside
