"""The 3D network in the live node: names without an encoder, and what is said of it, good or bad."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from graph import Camera, NodeProcess, Robot, cloud, points_of, transform
from room import sweep
from students import random_student
from ws3d_ros.srv import SetVocabulary

from ws3d_ros.language.encoder import EncoderError
from ws3d_ros.language.sentences import SPACE, find_sentence_model

try:
    find_sentence_model(None)
except EncoderError as error:
    pytest.skip(str(error), allow_module_level=True)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_student(
        tmp_path_factory.mktemp("weights") / "random.safetensors", space=SPACE, dim=384, voxel_size_m=0.1
    )


def stages(robot: Robot) -> set[str]:
    status = robot.newest("status")
    return {stage.stage for stage in status.stages} if status else set()


def diagnosed(robot: Robot, key: str) -> str:
    """A value of the node's entry in /diagnostics."""
    message = robot.newest("diagnostics")
    for entry in message.status if message else []:
        for pair in entry.values:
            if entry.name == "ws3d: pipeline" and pair.key == key:
                return str(pair.value)
    return ""


def test_a_lidar_alone_is_named_by_the_network(
    robot: Robot, start: Callable[..., NodeProcess], checkpoint: Path
) -> None:
    node = start(
        inputs__cameras='[""]',
        inputs__lidars='["lidar"]',
        inputs__min_range_m=0.2,
        map__voxel_size_m=0.1,
        network__checkpoint=checkpoint,
        network__precision="float32",
        semantics__unknown_below=0.0,
    )
    robot.wait_active()

    def step() -> bool:
        stamp_s = time.time()
        robot.publish("/tf", transform(np.eye(4), stamp_s, "map", "lidar"))
        robot.publish("/lidar/points", cloud(sweep(), stamp_s, "lidar"))
        time.sleep(0.3)
        newest = robot.newest("semantic_cloud")
        return newest is not None and bool(points_of(newest)["label"].any())

    robot.wait(step, "a cloud with labels", 60.0)
    robot.wait(lambda: "network" in stages(robot), "the network's time")
    assert "encode" not in stages(robot)
    status = robot.wait(
        lambda: (now := robot.newest("status")).label_latency_p50_ms > 0.0 and now, "the way to a label"
    )
    assert status.label_latency_p50_ms <= status.label_latency_p95_ms
    assert status.encoder == ""
    assert status.worker_errors == 0
    robot.wait(lambda: diagnosed(robot, "network"), "the network in diagnostics")
    for part in ("random.safetensors", "Res16UNet14S", "torch", "float32", "cpu"):
        assert part in status.network
        assert part in diagnosed(robot, "network")
        assert part in node.log()

    answer = robot.call(SetVocabulary, "set_vocabulary", SetVocabulary.Request(vocabulary=["sofa", "sky"]))
    assert answer.success, answer.message
    assert answer.relabelled > 0
    node.stop()


def test_a_bad_checkpoint_is_told_and_the_node_maps_on(
    robot: Robot, start: Callable[..., NodeProcess], checkpoint: Path, tmp_path: Path
) -> None:
    robot.forget()
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(checkpoint.read_bytes()[:-1000])
    node = start(network__checkpoint=broken)
    robot.wait_active()
    status = robot.newest("status")
    assert status.network == ""
    assert "broken.safetensors" in status.network_why
    assert "cut off" in status.network_why
    assert any("broken.safetensors" in problem for problem in status.problems)
    robot.wait(lambda: diagnosed(robot, "network") == "none", "no network in diagnostics")
    assert node.log().count("broken.safetensors") == 1
    camera = Camera(robot, "camera")

    def step() -> bool:
        camera.shoot(time.time(), 0.0)
        time.sleep(0.1)
        return robot.newest("status").voxels > 0

    robot.wait(step, "a map")
    node.stop()


def test_voxels_coarser_than_the_networks_are_warned_of(
    robot: Robot, start: Callable[..., NodeProcess], checkpoint: Path
) -> None:
    robot.forget()
    node = start(network__checkpoint=checkpoint, map__voxel_size_m=0.4)
    robot.wait_active()
    assert "trained on voxels of 0.1 m, the map's are 0.4 m" in robot.problems()
    node.stop()


def test_without_a_network_it_is_said_once(robot: Robot, start: Callable[..., NodeProcess]) -> None:
    robot.forget()
    node = start(network__checkpoint="none")
    robot.wait_active()
    assert node.log().count("no 3D network") == 1
    assert "network" not in robot.problems()
    node.stop()
