"""One node for all faults; see rig.py for what must hold after each."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "ros")]

if TYPE_CHECKING:
    from rig import Rig


def has_words() -> bool:
    """Whether there are vectors of words, without which a network names nothing."""
    from ws3d_ros.language.encoder import EncoderError
    from ws3d_ros.language.sentences import find_sentence_model

    try:
        find_sentence_model(None)
    except EncoderError:
        return False
    return True


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """The node has mapped the room when the first fault begins."""
    from graph import NodeProcess, Robot
    from rig import VOXEL_M, Rig

    folder = tmp_path_factory.mktemp("faults")
    maps, breaks = folder / "maps", folder / "breaks"
    maps.mkdir()
    breaks.mkdir()
    os.environ["WS3D_BREAK"] = str(breaks)
    start = partial(
        NodeProcess,
        folder / "node.log",
        program=[str(Path(__file__).parent / "breaking_node.py")],
        inputs__cameras='["camera", "squeezed"]',
        inputs__lidars='["lidar"]',
        inputs__tf_deadline_s=1.0,
        inputs__max_message_mb=2.0,
        map__voxel_size_m=VOXEL_M,
        map__min_weight=0.0,
        map__folder=f'"{maps}"',
        output__map_period_s=0.2,
        output__status_period_s=0.1,
    )
    if has_words():
        from students import random_student

        from ws3d_ros.language.sentences import SPACE

        student = random_student(folder / "random.safetensors", space=SPACE, dim=384, voxel_size_m=VOXEL_M)
        start = partial(start, network__checkpoint=student, semantics__unknown_below=0.0)
    robot = Robot()
    rig = Rig(robot, start, maps, breaks)
    yield rig
    rig.close()
    assert rig.node.stop() == 0
    robot.close()
