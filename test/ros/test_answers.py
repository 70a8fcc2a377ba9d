"""Questions to the live node."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from graph import LATCHED, Camera, NodeProcess, Robot, points_of
from sensor_msgs.msg import PointCloud2
from ws3d_ros.srv import GetInstance, Query

from ws3d_ros.language.choose import PACKAGED_SEGMENTER
from ws3d_ros.language.segmenter import is_segmenter

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
WEIGHTS = os.environ.get("WS3D_WEIGHTS") or (str(SHARED / "weights") if SHARED.is_dir() else "")

pytestmark = pytest.mark.skipif(
    not WEIGHTS and not is_segmenter(PACKAGED_SEGMENTER),
    reason="no segmenter: none ships, WS3D_WEIGHTS is not set and ../shared is absent",
)


@pytest.fixture(scope="module")
def answers(robot: Robot, start: Callable[..., NodeProcess]) -> list[Query.Response]:
    """Of a node, while it maps: the first is of its empty map, the last has found something."""
    start(
        semantics__encoder="concept",
        semantics__weights_dir=f'"{WEIGHTS}"',
        semantics__vocabulary="cupboard, carpet, lamp",  # walls and floors would be no objects
        semantics__unknown_below=0.0,
        output__min_instance_voxels=5,
    )
    robot.wait_active()
    robot.listen(PointCloud2, "answers", LATCHED)
    answers: list[Query.Response] = [robot.call(Query, "query", Query.Request(text="the cupboard"))]
    camera = Camera(robot, "camera")

    def ask() -> bool:
        camera.shoot(time.time(), 0.3 * len(robot.received["status"]))
        time.sleep(0.3)
        # Drawn walls do not look like real things: what the segmenter takes them for does not matter here.
        for text in ("the cupboard", "the carpet", "something"):
            answers.append(robot.call(Query, "query", Query.Request(text=text)))
            if any(one.id > 0 for one in answers[-1].instances):
                return True
        return False

    robot.wait(ask, "something is found", 60.0)
    return answers


def test_a_question_is_answered(robot: Robot, answers: list[Query.Response]) -> None:
    assert "empty" in answers[0].message
    answer = answers[-1]
    assert answer.success, answer.message
    assert len(answer.scores) == len(answer.instances) == len(answer.why) == len(answer.words) > 0
    assert all(a >= b for a, b in zip(answer.scores, answer.scores[1:], strict=False))
    keys = np.array(answer.voxel_keys)
    assert (np.diff(keys) > 0).all()
    assert len(keys) == len(answer.voxel_scores) == sum(one.voxels for one in answer.instances)

    robot.wait(lambda: robot.newest("answers") is not None, "the cloud of the answers")
    assert len(points_of(robot.newest("answers"))) > 0

    refused = robot.call(Query, "query", Query.Request(text="the"))
    assert not refused.success
    assert "names nothing to look for" in refused.message
    nothing = robot.call(Query, "query", Query.Request(text="elephant left of the piano", whole_map=True))
    assert nothing.success
    assert not nothing.found
    assert len(nothing.voxel_keys) == 0


def test_an_instance_is_told_by_its_id(robot: Robot, answers: list[Query.Response]) -> None:
    first = next(one for one in answers[-1].instances if one.id > 0)
    told = robot.call(GetInstance, "get_instance", GetInstance.Request(id=first.id))
    assert told.success, told.message
    assert told.instance.id == first.id
    assert told.instance.voxels == len(told.voxel_keys) > 0
    assert told.header.frame_id == "map"
    assert not robot.call(GetInstance, "get_instance", GetInstance.Request(id=999_999)).success
