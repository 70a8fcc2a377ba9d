"""Faults that no message makes: nonsense asked of services, broken files, a process that is shaken."""

from __future__ import annotations

import os
import pickle
import resource
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from geometry_msgs.msg import Point, Quaternion, Transform, Vector3
from graph import RELIABLE, cloud
from lifecycle_msgs.msg import Transition
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from relay import LIDAR_FRAME
from rig import Rig
from safetensors.numpy import save_file
from sensor_msgs.msg import PointCloud2
from spoil import Make
from ws3d_ros.srv import GetInstance, LoadMap, Query, SaveMap, SetVocabulary

ANSWER_S = 60.0


def asked(ask: Callable[[Rig], str]) -> Make:
    """A service is asked for something; what it says is its answer."""

    @contextmanager
    def make(rig: Rig) -> Iterator[None]:
        rig.answers.append(ask(rig))
        yield

    return make


def save(rig: Rig, name: str) -> str:
    answer = rig.robot.call(SaveMap, "save_map", SaveMap.Request(name=name), ANSWER_S)
    return f"save_map {answer.success}: {answer.message}"


def load(rig: Rig, name: str, transform: Transform | None = None) -> str:
    request = LoadMap.Request(name=name, transform=transform or Transform())
    answer = rig.robot.call(LoadMap, "load_map", request, ANSWER_S)
    return f"load_map {answer.success}: {answer.message}"


def load_bytes(change: Callable[[bytes], bytes]) -> Make:
    """A saved map whose bytes are others by now is loaded."""

    def ask(rig: Rig) -> str:
        assert save(rig, "broken").startswith("save_map True")
        file = rig.folder / "broken.ws3d"
        file.write_bytes(change(file.read_bytes()))
        return load(rig, "broken")

    return asked(ask)


def flip_a_byte(data: bytes) -> bytes:
    middle = len(data) * 3 // 4
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def huge_header(data: bytes) -> bytes:
    """Says that the header has 2**62 bytes."""
    return (1 << 62).to_bytes(8, "little") + data[8:]


def pickled(data: bytes) -> bytes:
    return pickle.dumps({"voxel/key": [1, 2, 3]})


def load_weights(rig: Rig) -> str:
    save_file({"conv.weight": np.zeros((3, 3), np.float32)}, rig.folder / "weights.ws3d")
    return load(rig, "weights")


def load_outside(rig: Rig) -> str:
    """By a symbolic link that leads out of the folder."""
    link = rig.folder / "outside.ws3d"
    link.unlink(missing_ok=True)
    link.symlink_to("/etc/hostname")
    return load(rig, "outside")


def save_without_folder(rig: Rig) -> str:
    """A file lies where a folder should be."""
    (rig.folder / "floor").write_text("not a folder")
    return save(rig, "floor/kitchen")


def save_with_limit(kind: int, limit: Callable[[int], int]) -> Make:
    """The process may use so much only, given its id, while it saves."""

    def ask(rig: Rig) -> str:
        pid = rig.node.process.pid
        soft, hard = resource.prlimit(pid, kind)
        resource.prlimit(pid, kind, (limit(pid), hard))
        try:
            return save(rig, "limited")
        finally:
            resource.prlimit(pid, kind, (soft, hard))

    return asked(ask)


def small_files(pid: int) -> int:
    """As when the disk is full: more than the log needs, less than a map."""
    return 100_000


def no_more_files(pid: int) -> int:
    """The lowest number that no open file has: the limit is on numbers. Files that are open for a moment
    only, as when the node reads how much memory it has, are told by looking more than once."""
    lowest = []
    for _ in range(10):
        taken = {int(number) for number in os.listdir(f"/proc/{pid}/fd")}
        lowest.append(min(set(range(len(taken) + 1)) - taken))
        time.sleep(0.01)
    return min(lowest)


def words(rig: Rig, entries: list[str]) -> str:
    request = SetVocabulary.Request(vocabulary=entries)
    answer = rig.robot.call(SetVocabulary, "set_vocabulary", request, ANSWER_S)
    return f"set_vocabulary {answer.success}: {answer.message}"


def question(rig: Rig, text: str, viewer: Point | None = None) -> str:
    request = Query.Request(text=text, has_viewer=viewer is not None, viewer=viewer or Point())
    answer = rig.robot.call(Query, "query", request, ANSWER_S)
    return f"query {answer.success}: {answer.message}"


def instance(rig: Rig, number: int) -> str:
    answer = rig.robot.call(GetInstance, "get_instance", GetInstance.Request(id=number), ANSWER_S)
    return f"get_instance {answer.success}: {answer.message}"


def parameter(rig: Rig, name: str, value: float) -> str:
    wanted = ParameterValue(type=ParameterType.PARAMETER_DOUBLE, double_value=value)
    request = SetParameters.Request(parameters=[Parameter(name=name, value=wanted)])
    [result] = rig.robot.call(SetParameters, "set_parameters", request, ANSWER_S).results
    return f"set_parameters {result.successful}: {result.reason}"


@contextmanager
def little_memory(rig: Rig) -> Iterator[None]:
    """The process may take less than it does."""
    rig.answers.append(parameter(rig, "memory.process_mb", 1.0))
    yield
    rig.answers.append(parameter(rig, "memory.process_mb", 0.0))


NOWHERE = Transform(translation=Vector3(x=float("nan")), rotation=Quaternion(w=1.0))
NO_TURN = Transform(rotation=Quaternion(w=0.0))
NO_PLACE = Point(x=float("nan"), y=float("inf"), z=0.0)


def broken(place: str, way: str) -> Make:
    """A part of the node raises or hangs, see breaking_node.py."""

    @contextmanager
    def make(rig: Rig) -> Iterator[None]:
        file = rig.breaks / place
        file.write_text(way)
        try:
            yield
        finally:
            file.unlink()

    return make


@contextmanager
def deactivated(rig: Rig) -> Iterator[None]:
    assert rig.robot.change_state(Transition.TRANSITION_DEACTIVATE)
    yield
    assert rig.robot.change_state(Transition.TRANSITION_ACTIVATE)


@contextmanager
def frozen(rig: Rig) -> Iterator[None]:
    """The process does not run for three seconds, as on a machine that swaps or sleeps."""
    rig.node.process.send_signal(signal.SIGSTOP)
    try:
        time.sleep(3.0)
    finally:
        rig.node.process.send_signal(signal.SIGCONT)
    yield


@contextmanager
def killed(rig: Rig) -> Iterator[None]:
    """Killed while the robot goes on, started again, and given the map that was saved before."""
    assert save(rig, "before").startswith("save_map True")
    rig.node.process.kill()
    rig.node.process.wait()
    rig.start()
    rig.answers.append(load(rig, "before"))
    yield


def drivers(weak: bool) -> Make:
    """All drivers start again with another quality of service."""

    @contextmanager
    def make(rig: Rig) -> Iterator[None]:
        rig.player.restart_drivers(weak)
        yield
        rig.player.restart_drivers(False)

    return make


@contextmanager
def second_driver(rig: Rig) -> Iterator[None]:
    """Somebody else publishes clouds on the same topic, with another clock."""
    node = rig.robot.node
    publisher = node.create_publisher(PointCloud2, "/lidar/points", RELIABLE)

    def publish() -> None:
        publisher.publish(cloud(np.ones((10, 3), np.float32), time.time() - 5.0, LIDAR_FRAME))

    timer = node.create_timer(0.2, publish)
    try:
        yield
    finally:
        node.destroy_timer(timer)
        node.destroy_publisher(publisher)


def clock_shifted(by_s: float) -> Make:
    """The robot's clock is set, and set back."""

    @contextmanager
    def make(rig: Rig) -> Iterator[None]:
        rig.player.shift_s = by_s
        yield
        rig.player.shift_s = 0.0

    return make


def many(ask: Callable[[Rig], Any], times: int) -> Make:
    """The same request again and again."""
    return asked(lambda rig: str([ask(rig) for _ in range(times)][-1]))
