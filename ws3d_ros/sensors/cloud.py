"""Point clouds of any layout (``sensor_msgs/PointCloud2``) to points, intensity and times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ws3d_ros.sensors.errors import SensorError
from ws3d_ros.sensors.motion import seconds_after
from ws3d_ros.sensors.raster import Array, Buffer, octets

INTENSITY_NAMES = ("intensity", "i", "reflectivity")
"""Fields read as intensity, the first that is there."""
TIME_NAMES = ("t", "time", "timestamp", "time_stamp", "offset_time")
"""Fields read as when each point was measured, the first that is there."""

_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 8: "f8"}


class Returns(NamedTuple):
    """What a sensor measured.

    Attributes:
        points: (N, 3) float32, finite, in the sensor's unit (metres by REP-103), N >= 1.
        intensity: (N,) float32, or None.
        after_s: (N,) float32, when each was measured after the stamp, or None.
    """

    points: Array
    intensity: Array | None
    after_s: Array | None


def decode_cloud(
    fields: Sequence[tuple[str, int, int, int]],
    height: int,
    width: int,
    point_step: int,
    row_step: int,
    is_bigendian: bool,
    data: Buffer,
    stamp_ns: int = 0,
) -> Returns:
    """Points with finite x, y and z, in the order of the data, organised or not.

    Other fields are passed over, whatever they are. A ``row_step`` of 0 is taken as unset where
    there is one row only. Points at (0, 0, 0), which some drivers send for beams without a return,
    are points like others here; the smallest range of the configuration removes them.

    Args:
        fields: (name, offset, datatype, count) of each ``sensor_msgs/PointField``; datatypes 1 to 8
            are INT8, UINT8, INT16, UINT16, INT32, UINT32, FLOAT32 and FLOAT64.
        stamp_ns: of the cloud, for drivers that give points the time of day.

    Raises:
        SensorError: ``empty_cloud``, ``bad_cloud_fields``, ``bad_step`` or ``truncated``.
    """
    if height * width == 0:
        raise SensorError("empty_cloud", "the cloud has no points; check that the sensor is running")
    known = {entry[0]: _Field(*entry) for entry in fields}
    columns = [_find(known, name, point_step) for name in ("x", "y", "z")]
    buffer = octets(data)
    row_step = _checked_row_step(height, width, point_step, row_step, buffer.size)

    def column(field: _Field) -> Array:
        """A view; nothing is copied."""
        dtype = np.dtype((">" if is_bigendian else "<") + _TYPES[field.datatype])
        return np.ndarray((height, width), dtype, buffer, field.offset, (row_step, point_step))

    grid = np.empty((height, width, 3), np.float32)
    with np.errstate(over="ignore", invalid="ignore"):  # float64 beyond float32 becomes infinite
        for axis, field in enumerate(columns):
            grid[..., axis] = column(field)
    points = grid.reshape(-1, 3)
    finite = np.isfinite(points).all(axis=1)
    if not finite.any():
        raise SensorError("empty_cloud", f"none of the cloud's {len(points)} points is finite")
    intensity, times = (_find_bonus(known, names, point_step) for names in (INTENSITY_NAMES, TIME_NAMES))
    with np.errstate(over="ignore", invalid="ignore"):
        return Returns(
            points[finite],
            None if intensity is None else column(intensity).astype(np.float32).ravel()[finite],
            None if times is None else seconds_after(column(times).ravel()[finite], stamp_ns),
        )


@dataclass(frozen=True)
class _Field:
    name: str
    offset: int
    datatype: int
    count: int


def _find(known: dict[str, _Field], name: str, point_step: int) -> _Field:
    if name not in known:
        there = ", ".join(known) or "none"
        raise SensorError(
            "bad_cloud_fields",
            f"the cloud has no field '{name}' (its fields: {there}); is this the topic of a point cloud?",
        )
    field = known[name]
    if field.datatype not in _TYPES:
        raise SensorError(
            "bad_cloud_fields",
            f"the field '{name}' has the datatype {field.datatype}; it must be from 1 to 8",
        )
    # Some drivers leave the count of single values at 0.
    if field.count > 1:
        raise SensorError(
            "bad_cloud_fields", f"the field '{name}' has {field.count} values a point; it must have one"
        )
    size = np.dtype(_TYPES[field.datatype]).itemsize
    if field.offset < 0 or field.offset + size > point_step:
        raise SensorError(
            "bad_cloud_fields",
            f"the field '{name}' ends at byte {field.offset + size} of a point of {point_step} bytes; "
            "the driver fills in a wrong offset or point_step",
        )
    return field


def _find_bonus(known: dict[str, _Field], names: Sequence[str], point_step: int) -> _Field | None:
    """The first of the names; where that field is odd, there is none."""
    for name in names:
        if name in known:
            try:
                return _find(known, name, point_step)
            except SensorError:
                return None
    return None


def _checked_row_step(height: int, width: int, point_step: int, row_step: int, size: int) -> int:
    if height < 0 or width < 0:
        raise SensorError(
            "bad_step", f"the cloud says that it is {width} x {height} points; check the driver"
        )
    row = width * point_step
    if row_step == 0 and height == 1:
        row_step = row
    if row_step < row:
        raise SensorError(
            "bad_step",
            f"a row of {width} points of {point_step} bytes takes {row} bytes, but row_step says {row_step}; "
            "check the driver",
        )
    needed = row_step * (height - 1) + row
    if size < needed:
        raise SensorError(
            "truncated",
            f"a cloud of {width} x {height} points needs {needed} bytes, but {size} came; "
            "check the driver, and the network for lost parts",
        )
    return row_step
