"""How hypothesis runs in all rooms: the same cases each time, and no test depends on the clock."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile(
    "ws3d", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("ws3d")
