"""Parameters are the settings; what does not fit is refused by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

rclpy = pytest.importorskip("rclpy", reason="ROS 2 is not installed (make venv)")
from rclpy.node import Node
from rclpy.parameter import Parameter

from ws3d_ros.config import Config, ConfigError, settings
from ws3d_ros.node import parameters


@pytest.fixture
def make_node() -> Iterator[Callable[..., Node]]:
    """Nodes with parameter overrides, as a command line gives them."""
    context = rclpy.Context()
    rclpy.init(context=context)
    nodes: list[Node] = []

    def make(**overrides: Any) -> Node:
        nodes.append(
            Node(
                "ws3d_parameters",
                context=context,
                automatically_declare_parameters_from_overrides=True,
                allow_undeclared_parameters=True,
                parameter_overrides=[
                    Parameter(name.replace("__", "."), value=value) for name, value in overrides.items()
                ],
                start_parameter_services=False,
            )
        )
        return nodes[-1]

    yield make
    for node in nodes:
        node.destroy_node()
    context.try_shutdown()


def test_without_overrides_they_are_the_defaults(make_node: Callable[..., Node]) -> None:
    node = make_node()
    parameters.declare(node)
    assert parameters.read(node) == Config()
    assert node.get_parameter("autostart").value is True


def test_every_setting_tells_its_meaning_and_range(make_node: Callable[..., Node]) -> None:
    node = make_node()
    parameters.declare(node)
    for setting in settings():
        told = node.describe_parameter(setting.name)
        assert setting.doc in told.description
        ranges = [*told.floating_point_range, *told.integer_range]
        assert [(r.from_value, r.to_value) for r in ranges] == (
            [(setting.low, setting.high)] if setting.low is not None else []
        )
        for choice in setting.choices:
            assert choice in told.additional_constraints


def test_overrides_reach_the_configuration(make_node: Callable[..., Node]) -> None:
    node = make_node(
        map__voxel_size_m=1,  # YAML's whole number where a float belongs
        inputs__cameras=["left", "right"],
        inputs__lidars=[""],
        autostart=False,
        use_sim_time=True,
        **{"qos_overrides./left/color/image.subscription.reliability": "reliable"},
    )
    parameters.declare(node)
    config = parameters.read(node)
    assert config.map.voxel_size_m == 1.0
    assert config.inputs.cameras == ["left", "right"]
    assert config.inputs.lidars == []
    assert node.get_parameter("autostart").value is False


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("map.voxel_size", 0.1, "unknown parameter 'map.voxel_size'; did you mean 'map.voxel_size_m'"),
        ("map.voxel_size_m", -0.1, "'map.voxel_size_m' must be from 0.005 to 2"),
        ("map.voxel_size_m", "big", "'map.voxel_size_m' must be float"),
        ("semantics.device", "tpu", "'semantics.device' must be one of auto, cpu, cuda"),
        ("inputs.cameras", "camera", "'inputs.cameras' must be list of str"),
        ("autostart", "yes", "'autostart' must be bool"),
    ],
)
def test_mistakes_are_named(make_node: Callable[..., Node], name: str, value: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace(".", r"\.")):
        parameters.declare(make_node(**{name: value}))


@pytest.mark.parametrize(
    ("configured", "name", "value", "refusal"),
    [
        (True, "map.min_weight", 2.0, None),
        (True, "map.min_weight", -1.0, "min_weight"),
        (True, "map.voxel_size_m", 0.1, "takes effect when the node is configured"),
        (False, "map.voxel_size_m", 0.1, None),
        (False, "semantics.device", "tpu", "must be one of"),
        (True, "use_sim_time", True, None),
    ],
)
def test_changes_at_run_time(
    make_node: Callable[..., Node], configured: bool, name: str, value: Any, refusal: str | None
) -> None:
    node = make_node()
    parameters.declare(node)
    parameters.guard(node, lambda: configured)
    before = node.get_parameter(name).value
    [result] = node.set_parameters([Parameter(name, value=value)])
    assert result.successful == (refusal is None)
    assert node.get_parameter(name).value == (value if refusal is None else before)
    if refusal is not None:
        assert refusal in result.reason


def test_unknown_names_are_refused_by_name_at_run_time(make_node: Callable[..., Node]) -> None:
    node = make_node()
    parameters.declare(node)
    parameters.guard(node, lambda: True)
    [result] = node.set_parameters([Parameter("map.min_wait", value=2.0)])
    assert result.reason == "unknown parameter 'map.min_wait'; did you mean 'map.min_weight'?"
    assert not node.has_parameter("map.min_wait")
