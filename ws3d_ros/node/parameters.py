"""ROS parameters, made from the same settings as the library's configuration.

A parameter that the node does not know, or whose value does not fit, ends the start with a
message that names it: a typing error in a YAML file must not be ignored silently.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter

from ws3d_ros.config import Config, ConfigError, Setting, check, from_mapping, settings

SETTINGS = {setting.name: setting for setting in settings()}
AUTOSTART = Setting(
    "autostart",
    bool,
    True,
    "The node configures and activates itself. False: a lifecycle manager does.",
    None,
    None,
    (),
    False,
)
KNOWN = {**SETTINGS, AUTOSTART.name: AUTOSTART}
ROS_OWN = ("use_sim_time", "start_type_description_service")
ROS_OWN_PREFIX = "qos_overrides."


def declare(node: Node) -> None:
    """Declares every setting with type, range and description.

    ``node`` must have been created with ``automatically_declare_parameters_from_overrides``: what
    was given on the command line or in a file is taken from there.

    Raises:
        ConfigError: names a parameter that is unknown or has a value that does not fit.
    """
    for name in node.list_parameters([], 0).names:
        require_known(name)
    for setting in KNOWN.values():
        value = setting.default
        if node.has_parameter(setting.name):
            value = check(setting, _plain(node.get_parameter(setting.name).value))
            node.undeclare_parameter(setting.name)
        node.declare_parameter(setting.name, value, descriptor(setting), ignore_override=True)


def require_known(name: str) -> None:
    """Raises ConfigError, with the nearest name there is, for a parameter that nobody reads."""
    if name not in KNOWN and name not in ROS_OWN and not name.startswith(ROS_OWN_PREFIX):
        near = difflib.get_close_matches(name, KNOWN, n=1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise ConfigError(f"unknown parameter '{name}'{hint}")


def read(node: Node) -> Config:
    """The configuration that the node's parameters say now. Empty names of sensors mean none."""
    values = {name: _plain(node.get_parameter(name).value) for name in SETTINGS}
    for name in ("inputs.cameras", "inputs.lidars"):
        # ROS cannot carry an empty list in a YAML file; [""] is how to say "none".
        values[name] = [sensor for sensor in values[name] if sensor]
    return from_mapping(values)


def guard(node: Node, is_configured: Callable[[], bool]) -> None:
    """Refuses, with a reason, changes at run time that do not fit or cannot take effect.

    ``node`` must allow undeclared parameters: otherwise rclpy refuses them itself, without naming them.

    Args:
        is_configured: whether the node is past ``configure``; before it everything may change.
    """

    def judge(parameters: list[Parameter[Any]]) -> SetParametersResult:
        for parameter in parameters:
            setting = SETTINGS.get(parameter.name)
            try:
                require_known(parameter.name)
                if setting is None:
                    continue
                check(setting, _plain(parameter.value))
            except ConfigError as error:
                return SetParametersResult(successful=False, reason=str(error))
            if is_configured() and not setting.live:
                return SetParametersResult(
                    successful=False,
                    reason=f"'{parameter.name}' takes effect when the node is configured: "
                    "deactivate and clean up the node, set it, then configure and activate",
                )
        return SetParametersResult(successful=True)

    node.add_on_set_parameters_callback(judge)


def descriptor(setting: Setting) -> ParameterDescriptor:
    """What ``ros2 param describe`` tells about a setting."""
    when = "Can be changed at run time." if setting.live else "Takes effect when the node is configured."
    result = ParameterDescriptor(name=setting.name, description=f"{setting.doc} {when}")
    if setting.choices:
        result.additional_constraints = f"one of: {', '.join(setting.choices)}"
    if setting.low is not None or setting.high is not None:
        low = -math.inf if setting.low is None else setting.low
        high = math.inf if setting.high is None else setting.high
        if setting.type is int:
            result.integer_range = [IntegerRange(from_value=int(low), to_value=int(high), step=0)]
        else:
            result.floating_point_range = [
                FloatingPointRange(from_value=float(low), to_value=float(high), step=0.0)
            ]
    return result


def _plain(value: Any) -> Any:
    """rclpy hands out arrays as tuples or ``array.array``; settings know lists."""
    return list(value) if isinstance(value, (tuple, list)) or hasattr(value, "typecode") else value
