"""The perception node as a process, and a robot around it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from graph import NodeProcess, Robot

sys.path.insert(0, str(Path(__file__).parent))
from isolation import MISSING

collect_ignore_glob = ["graph.py", "isolation.py", "room.py"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.ros)
            if MISSING:
                item.add_marker(pytest.mark.skip(reason=MISSING))


@pytest.fixture(scope="module")
def robot() -> Iterator[Robot]:
    from graph import Robot

    robot = Robot()
    yield robot
    robot.close()


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., NodeProcess]]:
    """Starts the perception node with parameters, ``__`` for the dot in their names."""
    from graph import NodeProcess

    processes: list[NodeProcess] = []

    def start(**parameters: Any) -> NodeProcess:
        log_file = tmp_path_factory.mktemp("node") / "node.log"
        processes.append(NodeProcess(log_file, **parameters))
        return processes[-1]

    yield start
    for process in processes:
        process.stop()
