"""The node is cut off for longer than DDS waits, and comes back. test_faults_of_the_network.py runs this.

While it lasts nobody hears the node, so that what it calls the fault is asked for afterwards.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable

import pytest
from events import save
from relay import SENSORS
from rig import Rig
from test_faults import RECOVERY_S, conclude, prepare

GIVEN_UP_WITHIN_S = 30.0
"""short_lease.xml says 4 s."""

# LOCALHOST would add shared memory, which no link carries. Here is nobody from whom to keep apart.
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "SUBNET"
os.environ["ROS_LOCALHOST_ONLY"] = "0"


def link(state: str) -> None:
    """Loopback is all the network that there is in a namespace of one's own."""
    subprocess.run(["ip", "link", "set", "lo", state], check=True)


def cut(rig: Rig) -> None:
    link("down")


def mend(rig: Rig) -> None:
    link("up")


def freeze(rig: Rig) -> None:
    rig.node.process.send_signal(signal.SIGSTOP)


def thaw(rig: Rig) -> None:
    rig.node.process.send_signal(signal.SIGCONT)


def given_up(rig: Rig) -> bool:
    """Whether the robot's DDS believes that the node has gone."""
    return bool(rig.robot.node.count_publishers("/ws3d/status") == 0)


@pytest.mark.parametrize(
    ("name", "begin", "end"),
    [
        ("the network is cut for longer than DDS waits", cut, mend),
        ("the process stands still for longer than DDS waits", freeze, thaw),
    ],
)
def test_it_comes_back(rig: Rig, name: str, begin: Callable[[Rig], None], end: Callable[[Rig], None]) -> None:
    before, known = prepare(rig), rig.lines()
    begin(rig)
    try:
        rig.robot.wait(lambda: given_up(rig), "DDS gives the node up", GIVEN_UP_WITHIN_S)
        time.sleep(3.0)
    finally:
        end(rig)
    recovery_s = rig.wait_used(2, SENSORS, RECOVERY_S)
    line = rig.wait_named(("paused for",), known)
    assert save(rig, "after").startswith("save_map True")
    conclude(rig, name, before, line, recovery_s)
