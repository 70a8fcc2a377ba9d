"""The faults of the table, one after the other, at one node that maps a room.

``make soak`` sets WS3D_SOAK to a number of rounds: in each, all faults with other random numbers and for
longer, and forty times two of them at a time, which takes about half an hour. WS3D_FAULTS_RECORD names a
file for what happened, a JSON object a line.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from isolation import MISSING

if MISSING:
    pytest.skip(MISSING, allow_module_level=True)

from relay import SENSORS
from rig import Mapped, Rig
from table import FAULTS, MESSAGES, Fault

ROUNDS = int(os.environ.get("WS3D_SOAK", "0"))
RECORD = os.environ.get("WS3D_FAULTS_RECORD")
SHOTS, SHOTS_IN_SOAK = 4, 25
"""A fault lasts at least as many moments of the robot."""
RECOVERY_S = 5.0 if ROUNDS else 20.0
"""5 s is the promise; a soak runs on a machine that has time to keep it."""
PAIRS_A_ROUND = 40

pytestmark = [pytest.mark.ros, pytest.mark.timeout(300)]


def named(fault: Fault) -> str:
    return fault.name.replace(" ", "-")


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if not (ROUNDS or fault.again)], ids=named)
def test_fault(rig: Rig, fault: Fault) -> None:
    rig.random = np.random.default_rng(0)
    suffer(rig, fault, SHOTS)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, ROUNDS + 1))
@pytest.mark.parametrize("fault", FAULTS if ROUNDS else [], ids=named)
def test_fault_for_longer(rig: Rig, fault: Fault, seed: int) -> None:
    rig.random = np.random.default_rng(seed)
    suffer(rig, fault, SHOTS_IN_SOAK)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(PAIRS_A_ROUND * ROUNDS))
def test_two_faults_at_once(rig: Rig, seed: int) -> None:
    """Each may hide the other, so that only what holds always is asked for."""
    rig.random = np.random.default_rng(seed)
    one, other = (MESSAGES[i] for i in rig.random.choice(len(MESSAGES), 2, replace=False))
    before = prepare(rig)
    with one.make(rig), other.make(rig):
        rig.wait_shots(SHOTS_IN_SOAK)
    conclude(rig, f"{one.name} + {other.name}", before, "", rig.wait_used(2, SENSORS, RECOVERY_S))


def suffer(rig: Rig, fault: Fault, shots: int) -> None:
    rig.wait_unnamed(fault.named)
    before, known = prepare(rig), rig.lines()
    with fault.make(rig):
        line = rig.wait_named(fault.named, known) if fault.named else ""
        if fault.mapped or not fault.named:
            rig.wait_used(SHOTS, SENSORS, RECOVERY_S)
        rig.wait_shots(shots)
    conclude(rig, fault.name, before, line, rig.wait_used(2, SENSORS, RECOVERY_S))


def prepare(rig: Rig) -> Mapped:
    rig.forget_old()
    before, rig.mapped = rig.mapped or rig.rest(), None
    return rig.tidy(before)


def conclude(rig: Rig, fault: str, before: Mapped, line: str, recovery_s: float) -> None:
    after = rig.mapped = rig.check(before)
    if RECORD:
        row = {"fault": fault, "named": line, "recovery_s": round(recovery_s, 2)}
        row |= {"voxels_before": before.voxels, "voxels_after": after.voxels}
        row |= {"walls_before": before.walls, "walls_after": after.walls}
        with Path(RECORD).open("a") as file:
            file.write(json.dumps(row) + "\n")
