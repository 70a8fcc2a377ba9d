"""Why a measurement added nothing to the map, or not all that it held."""

from __future__ import annotations

from ws3d_ros.reconstruction.keys import COORDINATE_LIMIT
from ws3d_ros.reconstruction.voxel_map import Fused
from ws3d_ros.sensors.frame import Frame, Scan


def nothing_fused(sensor: str, decoded: Frame | Scan, fused: Fused) -> tuple[str, str] | None:
    """What to tell the reporter, key and message; nothing where all is well."""
    if fused.outside:
        return (
            f"{sensor} outside",
            f"{sensor}: {fused.outside} points lie beyond {COORDINATE_LIMIT} voxels from the origin "
            "and were not used; look at tf, and let the map begin where the robot is",
        )
    if fused.points == 0 and (isinstance(decoded, Scan) or decoded.depth_m is not None):
        what, name = ("points", "range") if isinstance(decoded, Scan) else ("depth", "depth")
        return (
            f"{sensor} out of range",
            f"{sensor}: no {what} between inputs.min_{name}_m and inputs.max_{name}_m",
        )
    return None
