"""Names, objects and words with a real encoder in the live node."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from graph import Camera, NodeProcess, Robot, points_of
from std_srvs.srv import Trigger
from visualization_msgs.msg import Marker
from ws3d_ros.srv import SetVocabulary

from ws3d_ros.language.choose import PACKAGED_SEGMENTER
from ws3d_ros.language.segmenter import is_segmenter

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
WEIGHTS = os.environ.get("WS3D_WEIGHTS") or (str(SHARED / "weights") if SHARED.is_dir() else "")

pytestmark = pytest.mark.skipif(
    not WEIGHTS and not is_segmenter(PACKAGED_SEGMENTER),
    reason="no segmenter: none ships, WS3D_WEIGHTS is not set and ../shared is absent",
)


@pytest.fixture(scope="module")
def node(robot: Robot, start: Callable[..., NodeProcess]) -> NodeProcess:
    """A node that named a part of the room: walls and a floor, by words that make things of them."""
    node = start(
        semantics__encoder="concept",
        semantics__weights_dir=f'"{WEIGHTS}"',
        semantics__vocabulary="sofa, table, bed",
        semantics__unknown_below=0.0,
        output__map_period_s=0.5,
        output__min_instance_voxels=5,
    )
    robot.wait_active()
    camera = Camera(robot, "camera")

    def step() -> bool:
        camera.shoot(time.time(), 0.3 * len(robot.received["status"]))
        time.sleep(0.3)
        return len(boxes(robot)) > 0

    robot.wait(step, "objects", 60.0)
    return node


def boxes(robot: Robot) -> dict[int, Marker]:
    """The objects on display: markers as RViz would hold them."""
    shown: dict[int, Marker] = {}
    for message in list(robot.received["markers"]):
        for marker in message.markers:
            if marker.action == Marker.DELETEALL:
                shown.clear()
            elif marker.ns == "objects" and marker.action == Marker.DELETE:
                shown.pop(marker.id, None)
            elif marker.ns == "objects":
                shown[marker.id] = marker
    return shown


def test_labels_confidence_and_colours_agree(robot: Robot, node: NodeProcess) -> None:
    vocabulary = robot.newest("vocabulary")
    assert list(vocabulary.names) == ["unknown", "sofa", "table", "bed"]
    assert vocabulary.encoder
    assert vocabulary.space

    def is_labelled() -> bool:
        return bool(points_of(robot.newest("semantic_cloud"))["label"].any())

    robot.wait(is_labelled, "a cloud with labels")
    points = points_of(robot.newest("semantic_cloud"))
    label = points["label"]
    assert label.max() <= 3
    assert (points["confidence"][label > 0] > 0).all()
    assert (points["confidence"] <= 1).all()
    palette = [
        round(color.r * 255) << 16 | round(color.g * 255) << 8 | round(color.b * 255)
        for color in vocabulary.colors
    ]
    np.testing.assert_array_equal(points["rgb"].view(np.uint32), np.array(palette, np.uint32)[label])
    # Things are cut by shape as well: some of their voxels may have no name.
    things = points["instance"] > 0
    assert not things.any() or (label[things] > 0).mean() >= 0.5


def test_status_tells_the_encoder_and_its_times(robot: Robot, node: NodeProcess) -> None:
    stages = {"encode", "render", "lift", "name"}
    robot.wait(lambda: stages <= {stage.stage for stage in robot.newest("status").stages}, "all times")
    status = robot.newest("status")
    assert status.encoder == robot.newest("vocabulary").encoder
    assert status.encoder_why
    assert status.worker_errors == 0


def test_new_words_rename_the_whole_map_at_once(robot: Robot, node: NodeProcess) -> None:
    robot.wait(lambda: not any(queue.length for queue in robot.newest("status").queues), "nothing to do")
    robot.received["semantic_map"].clear()
    request = SetVocabulary.Request(vocabulary=["carpet", "plaster", "sky"])
    answer = robot.call(SetVocabulary, "set_vocabulary", request)
    assert answer.success, answer.message
    assert 0.0 < answer.duration_s < 60.0
    message = robot.wait(lambda: robot.newest("semantic_map"), "the renamed map, without a new image")
    assert points_of(message)["label"].max() <= 3
    assert robot.newest("vocabulary").names[1:] == ["carpet", "plaster", "sky"]


def test_objects_of_a_forgotten_map_disappear(robot: Robot, node: NodeProcess) -> None:
    assert boxes(robot)
    assert robot.call(Trigger, "clear_map", Trigger.Request()).success
    robot.wait(lambda: not boxes(robot), "the markers are gone")
