"""Every fault of the table, one after the other, at one node that maps a room."""

from __future__ import annotations

import pytest
from isolation import MISSING

if MISSING:
    pytest.skip(MISSING, allow_module_level=True)

from relay import SENSORS  # noqa: E402
from rig import Rig  # noqa: E402
from table import FAULTS, Fault  # noqa: E402

RECOVERY_S = 5.0

pytestmark = [pytest.mark.ros, pytest.mark.timeout(600)]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name.replace(" ", "-"))
def test_the_node_survives_names_it_and_recovers(rig: Rig, fault: Fault) -> None:
    rig.forget_old()
    before, known = rig.rest(), rig.lines()
    with fault.make(rig):
        line = rig.wait_named(fault.named, known) if fault.named else ""
        if not fault.named:
            rig.wait_used(5, SENSORS, RECOVERY_S)
    recovery_s = rig.wait_used(2, SENSORS, RECOVERY_S)
    after = rig.check(before)
    print(f"{fault.name} | {line} | {recovery_s:.1f} s | {before} {after}")
