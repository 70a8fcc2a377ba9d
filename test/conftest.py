"""How tests run in all rooms.

Hypothesis takes the same cases each time, and no test of its depends on the clock. Tests of the live node do:
processes find one another by DDS, which loses answers (ros2/rmw_fastrtps#842), on a machine that may do much
else. One that fails is put once more, and the summary names it (RERUN): a reason to look, as this may as
well be a race in the node.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "ws3d", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("ws3d")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("ros"):
            item.add_marker(pytest.mark.flaky(reruns=1))
