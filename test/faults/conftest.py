"""One node for all faults; see rig.py for what must hold after each."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "ros")]

if TYPE_CHECKING:
    from rig import Rig


@pytest.fixture(scope="session")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """The node has mapped the room when the first fault begins."""
    from graph import NodeProcess, Robot
    from rig import VOXEL_M, Rig

    folder = tmp_path_factory.mktemp("faults")
    maps = folder / "maps"
    maps.mkdir()
    start = partial(
        NodeProcess,
        folder / "node.log",
        inputs__cameras='["camera", "squeezed"]',
        inputs__lidars='["lidar"]',
        inputs__tf_deadline_s=1.0,
        map__voxel_size_m=VOXEL_M,
        map__min_weight=0.0,
        map__folder=f'"{maps}"',
        output__map_period_s=0.3,
    )
    robot = Robot()
    rig = Rig(robot, start, maps)
    yield rig
    rig.close()
    assert rig.node.stop() == 0
    robot.close()
