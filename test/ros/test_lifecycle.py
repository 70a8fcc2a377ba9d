"""Start, states, words and ends of the node."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from graph import Camera, NodeProcess, Robot
from lifecycle_msgs.msg import State, Transition
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from ws3d_ros.srv import SetVocabulary


@pytest.fixture
def node(start: Callable[..., NodeProcess]) -> Iterator[NodeProcess]:
    node = start(autostart=False, output__map_period_s=0.3)
    yield node
    # Not killed: a service of a dead node would linger and get the next test's requests.
    node.stop()


def map_a_little(robot: Robot) -> int:
    """Sends shots until some are used; returns how many voxels the map has then."""
    robot.received["status"].clear()
    camera = Camera(robot, "camera")

    def step() -> Any:
        camera.shoot(time.time(), 0.0)
        time.sleep(0.1)
        return robot.counts("camera")[1] >= 3 and robot.newest("status").voxels

    return int(robot.wait(step, "shots are used"))


def test_every_state_and_back(robot: Robot, node: NodeProcess) -> None:
    assert robot.lifecycle_state() == State.PRIMARY_STATE_UNCONFIGURED
    assert robot.change_state(Transition.TRANSITION_CONFIGURE)
    robot.wait(lambda: robot.state() == "inactive", "status of the configured node")
    assert robot.change_state(Transition.TRANSITION_ACTIVATE)
    robot.wait(lambda: robot.state() == "active", "status of the active node")
    voxels = map_a_little(robot)

    assert robot.change_state(Transition.TRANSITION_DEACTIVATE)
    robot.wait(lambda: robot.state() == "inactive", "the inactive node")
    kept = robot.newest("status")
    assert kept.voxels >= voxels  # deactivate keeps the map
    used = robot.counts("camera")[1]
    Camera(robot, "camera").shoot(time.time(), 0.0)
    time.sleep(0.5)
    assert robot.counts("camera")[1] == used  # and listens to nothing

    assert robot.change_state(Transition.TRANSITION_ACTIVATE)
    robot.wait(lambda: robot.state() == "active", "the active node")
    assert robot.newest("status").voxels >= voxels

    assert robot.change_state(Transition.TRANSITION_DEACTIVATE)
    assert robot.change_state(Transition.TRANSITION_CLEANUP)
    assert robot.lifecycle_state() == State.PRIMARY_STATE_UNCONFIGURED
    robot.received["status"].clear()
    assert robot.change_state(Transition.TRANSITION_CONFIGURE)
    robot.wait(lambda: robot.state() == "inactive", "the node configured again")
    assert robot.newest("status").voxels == 0  # clean-up freed it
    assert node.process.poll() is None


def test_words_and_parameters_at_run_time(robot: Robot, node: NodeProcess) -> None:
    assert robot.change_state(Transition.TRANSITION_CONFIGURE)
    assert robot.change_state(Transition.TRANSITION_ACTIVATE)

    robot.received["vocabulary"].clear()
    answer = robot.call(SetVocabulary, "set_vocabulary", SetVocabulary.Request(vocabulary=["mug", "lamp"]))
    assert answer.success, answer.message
    told = robot.wait(lambda: robot.newest("vocabulary"), "the new words")
    assert list(told.names) == ["unknown", "mug", "lamp"]

    answer = robot.call(SetVocabulary, "set_vocabulary", SetVocabulary.Request(vocabulary=["outdoor"]))
    assert answer.success, answer.message
    robot.wait(lambda: "road" in robot.newest("vocabulary").names, "the packaged words")

    refused = [
        (["mug", "Mug"], "already"),
        ([], "no words"),
        (["nowhere.yaml"], "nowhere.yaml"),
        (["/etc/netplan/50-cloud-init.yaml"], "no name for a vocabulary"),
    ]
    for bad, part in refused:
        answer = robot.call(SetVocabulary, "set_vocabulary", SetVocabulary.Request(vocabulary=bad))
        assert not answer.success
        assert part in answer.message

    def set_parameter(name: str, value: float) -> tuple[bool, str]:
        wanted = ParameterValue(type=ParameterType.PARAMETER_DOUBLE, double_value=value)
        request = SetParameters.Request(parameters=[Parameter(name=name, value=wanted)])
        [result] = robot.call(SetParameters, "set_parameters", request).results
        return result.successful, result.reason

    assert set_parameter("map.min_weight", 1e2) == (True, "")
    robot.received["semantic_map"].clear()
    map_a_little(robot)
    # So much evidence no voxel has yet: the setting took effect at once.
    robot.wait(lambda: robot.newest("semantic_map"), "a map")
    assert robot.newest("semantic_map").width == 0
    successful, reason = set_parameter("map.voxel_size_m", 0.1)
    assert not successful
    assert "takes effect when the node is configured" in reason
    assert node.process.poll() is None


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly(robot: Robot, start: Callable[..., NodeProcess], how: int) -> None:
    robot.forget()
    node = start()
    robot.wait_active()
    map_a_little(robot)
    node.process.send_signal(how)
    begun_s = time.monotonic()
    assert node.stop(how) == 0  # the second signal does no harm
    assert time.monotonic() - begun_s < 10.0
    assert "Traceback" not in node.log()


def test_killed_and_started_again(robot: Robot, start: Callable[..., NodeProcess]) -> None:
    for _ in range(2):
        robot.forget()
        node = start()
        robot.wait_active()
        assert map_a_little(robot) > 0
        assert node.stop(signal.SIGKILL) == -signal.SIGKILL


@pytest.mark.parametrize(
    ("parameters", "code", "message"),
    [
        ({"map__voxel_size": 0.1}, 2, "unknown parameter 'map.voxel_size'; did you mean 'map.voxel_size_m'"),
        ({"map__voxel_size_m": 17.0}, 2, "'map.voxel_size_m' must be from 0.005 to 2"),
        ({"semantics__encoder": "magic"}, 3, "unknown encoder 'magic'"),
        ({"semantics__vocabulary": "nowhere.yaml"}, 3, "cannot read the vocabulary nowhere.yaml"),
    ],
)
def test_mistakes_end_the_start_with_a_message(
    start: Callable[..., NodeProcess], parameters: dict[str, Any], code: int, message: str
) -> None:
    node = start(**parameters)
    assert node.process.wait(60.0) == code
    assert node.log().count(message) == 1
    assert "Traceback" not in node.log()


def test_a_mistake_in_a_yaml_file_is_named(start: Callable[..., NodeProcess], tmp_path: Path) -> None:
    file = tmp_path / "robot.yaml"
    file.write_text("ws3d:\n  ros__parameters:\n    inputs:\n      max_depth: 3.0\n")
    node = start(extra=["--params-file", str(file)])
    assert node.process.wait(60.0) == 2
    assert "unknown parameter 'inputs.max_depth'; did you mean 'inputs.max_depth_m'" in node.log()
