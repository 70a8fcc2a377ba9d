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
def nodes() -> Iterator[list[NodeProcess]]:
    """Those that run."""
    nodes: list[NodeProcess] = []
    yield nodes
    for node in nodes:
        node.stop()


@pytest.fixture(scope="module")
def start(nodes: list[NodeProcess], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., NodeProcess]:
    """Starts the perception node with parameters, ``__`` for the dot in their names."""
    from graph import NodeProcess

    def start(**parameters: Any) -> NodeProcess:
        log_file = tmp_path_factory.mktemp("node") / "node.log"
        nodes.append(NodeProcess(log_file, **parameters))
        return nodes[-1]

    return start


@pytest.fixture(autouse=True)
def _ends_with_its_test(nodes: list[NodeProcess], request: pytest.FixtureRequest) -> Iterator[None]:
    """A node that a test starts for itself must not be heard in the next, nor when the test is put again."""
    before = len(nodes)
    yield
    for node in nodes[before:]:
        node.stop()
    if nodes[before:] and "robot" in request.fixturenames:
        request.getfixturevalue("robot").forget()
    del nodes[before:]
