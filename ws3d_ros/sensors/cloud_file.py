"""Point clouds in files: PLY, PCD, LAS, LAZ and NPZ in, labelled PLY out.

Coordinates stay float64 as they are in the file, so that surveyed ones (UTM) lose nothing; what computes
with them takes :attr:`Cloud.local_m`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from plyfile import PlyData, PlyElement, PlyElementParseError

from ws3d_ros.sensors.cloud_promises import TRIANGLES, PromiseError, check_lists, check_promises
from ws3d_ros.untrusted import clipped

FARTHEST_M = 1e9
"""Nothing is as far as this; a point that says so is nowhere."""
FAR_M = 1000.0
"""Clouds that reach beyond this are moved: float32 has steps of 0.06 mm there, and of half a metre in UTM."""


class CloudFileError(ValueError):
    """A file that is no usable cloud. The message names the file, what is wrong and what to do."""


@dataclass(frozen=True)
class Cloud:
    """N points in the order of the file.

    Attributes:
        points_m: (N, 3) float64 as in the file; rows may be NaN or infinite.
        color: (N, 3) float32 RGB in 0..255, NaN where unknown; or None.
        normal: (N, 3) float32 unit, 0 where unknown; or None.
    """

    points_m: np.ndarray
    color: np.ndarray | None = None
    normal: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.points_m)

    @cached_property
    def finite(self) -> np.ndarray:
        """(N,) bool: the points that are somewhere."""
        return np.asarray((np.abs(self.points_m) < FARTHEST_M).all(axis=1))

    @cached_property
    def origin_m(self) -> np.ndarray:
        """(3,) float64 whole metres: the middle of clouds far from 0, and 0 for all others."""
        somewhere = self.points_m[self.finite]
        if len(somewhere) == 0 or np.abs(somewhere).max() < FAR_M:
            return np.zeros(3)
        return np.asarray(np.floor(np.median(somewhere, axis=0)))

    @cached_property
    def local_m(self) -> np.ndarray:
        """(N, 3) float32 metres from ``origin_m``."""
        with np.errstate(over="ignore"):  # of points that are nowhere
            return np.asarray((self.points_m - self.origin_m).astype(np.float32))


def read_cloud(path: str | Path) -> Cloud:
    """The cloud in a file, by its suffix.

    Normals are made of length one. Colours may be bytes, 16 bits (those that use 8 of them are taken as
    bytes) or fractions; where all are black, nobody has set them, and they are None.

    Raises:
        CloudFileError: for a missing file, an unknown suffix, what cannot be read, a cloud without x, y, z
            or without any point that is finite, or a missing library.
    """
    path = Path(path)
    if path.suffix.lower() not in READERS:
        raise CloudFileError(f"{path}: clouds are files with the suffix {', '.join(READERS)}")
    if not path.is_file():
        raise CloudFileError(f"{path}: there is no such file")
    try:
        check_promises(path)
        points, color, normal = READERS[path.suffix.lower()](path)
    except (CloudFileError, PromiseError) as error:
        raise CloudFileError(f"{path}: {error}") from error
    except ImportError as error:
        raise CloudFileError(
            f"{path}: {path.suffix} files need more: pip install 'ws3d_ros[clouds]' ({error})"
        ) from error
    except MemoryError as error:
        raise CloudFileError(f"{path}: does not fit into memory, or its header is broken") from error
    except Exception as error:  # readers of four libraries, each with errors of its own
        raise CloudFileError(
            f"{path}: cut short or broken: {type(error).__name__}: {clipped(error)}"
        ) from error
    cloud = Cloud(_rows(path, "points", points, np.float64), _color(path, color), _normal(path, normal))
    for name, rows in (("colours", cloud.color), ("normals", cloud.normal)):
        if rows is not None and len(rows) != len(cloud):
            raise CloudFileError(f"{path}: {len(cloud)} points, but {len(rows)} {name}")
    if not cloud.finite.any():
        raise CloudFileError(
            f"{path}: " + ("no point is finite" if len(cloud) else "there is no point in it")
        )
    return cloud


def write_labelled_ply(
    path: str | Path,
    cloud: Cloud,
    color: np.ndarray,
    label: np.ndarray,
    confidence: np.ndarray,
    comments: Sequence[str] = (),
) -> None:
    """A binary PLY that CloudCompare and MeshLab open: ``x y z red green blue label confidence``.

    Args:
        cloud: all its points are written, in its order; as doubles if they are far from 0.
        color: (N, 3) uint8.
        label: (N,) integer, below 65536.
        confidence: (N,) in 0..1.
        comments: lines for the header; what is not ASCII is escaped.

    Raises:
        OSError: if the file cannot be written.
    """
    place = "f8" if cloud.origin_m.any() else "f4"
    columns = [
        *((axis, place, cloud.points_m[:, i]) for i, axis in enumerate("xyz")),
        *((part, "u1", color[:, i]) for i, part in enumerate(("red", "green", "blue"))),
        ("label", "u2", label),
        ("confidence", "f4", confidence),
    ]
    rows = np.empty(len(cloud), [(name, kind) for name, kind, _ in columns])
    for name, _, values in columns:
        rows[name] = values
    lines = [" ".join(line.encode("ascii", "backslashreplace").decode().split()) for line in comments]
    element = PlyElement.describe(rows, "vertex")
    PlyData([element], byte_order="<", comments=lines).write(str(path))


Raw = tuple[np.ndarray, np.ndarray | None, np.ndarray | None]
"""Points, colours and normals as the file has them."""


def _read_ply(path: Path) -> Raw:
    try:
        # Meshes of triangles, as almost all are, are skipped at once instead of face by face.
        file = PlyData.read(str(path), known_list_len={"face": dict.fromkeys(TRIANGLES, 3)})
    except PlyElementParseError as error:
        if "list length" not in str(error):
            raise
        check_lists(path)
        file = PlyData.read(str(path))
    if "vertex" not in file:
        raise CloudFileError("has no element 'vertex'")
    vertex = file["vertex"].data
    colors = ("red", "green", "blue"), ("r", "g", "b"), ("diffuse_red", "diffuse_green", "diffuse_blue")
    return _need_xyz(vertex), _columns(vertex, *colors), _columns(vertex, ("nx", "ny", "nz"))


def _read_pcd(path: Path) -> Raw:
    from pypcd4 import PointCloud

    data = PointCloud.from_path(path).pc_data
    packed = next((data[name] for name in ("rgb", "rgba") if name in (data.dtype.names or ())), None)
    color = _columns(data, ("r", "g", "b"))
    if packed is not None:
        bits = np.ascontiguousarray(packed).view(np.uint32)  # 0xAARRGGBB, often in the bits of a float
        color = np.stack([bits >> 16 & 255, bits >> 8 & 255, bits & 255], axis=1).astype(np.uint8)
    return _need_xyz(data), color, _columns(data, ("normal_x", "normal_y", "normal_z"), ("nx", "ny", "nz"))


def _read_las(path: Path) -> Raw:
    import laspy

    file = laspy.read(path)
    has_color = "red" in set(file.point_format.dimension_names)
    color = np.stack([file.red, file.green, file.blue], axis=1) if has_color else None
    return np.asarray(file.xyz), color, None


def _read_npz(path: Path) -> Raw:
    with np.load(path, allow_pickle=False) as file:

        def first(*names: str) -> np.ndarray | None:
            return next((file[name] for name in names if name in file), None)

        points = first("points_m", "points", "xyz")
        if points is None:
            raise CloudFileError(
                f"has no array 'points', 'xyz' or 'points_m', only {', '.join(file) or 'nothing'}"
            )
        return points, first("colors", "color", "rgb"), first("normals", "normal")


READERS: dict[str, Callable[[Path], Raw]] = {
    ".ply": _read_ply,
    ".pcd": _read_pcd,
    ".las": _read_las,
    ".laz": _read_las,
    ".npz": _read_npz,
}


def _need_xyz(table: np.ndarray) -> np.ndarray:
    points = _columns(table, ("x", "y", "z"))
    if points is None:
        raise CloudFileError(f"has no x, y, z, only {', '.join(table.dtype.names or ()) or 'nothing'}")
    return points


def _columns(table: np.ndarray, *choices: tuple[str, str, str]) -> np.ndarray | None:
    """(N, 3) copies of the first three columns that are there."""
    there = next((names for names in choices if set(names) <= set(table.dtype.names or ())), None)
    return None if there is None else np.stack([table[name] for name in there], axis=1)


def _rows(path: Path, what: str, values: np.ndarray, kind: Any) -> np.ndarray:
    if values.ndim != 2 or values.shape[1] != 3 or values.dtype.kind not in "iuf":
        raise CloudFileError(
            f"{path}: {what} must be numbers, N rows of 3, not {values.shape} {values.dtype}"
        )
    return values.astype(kind)


def _color(path: Path, values: np.ndarray | None) -> np.ndarray | None:
    """Any numbers to float32 in 0..255, None where nobody has set them."""
    if values is None or not np.nan_to_num(values).any():
        return None
    color = _rows(path, "colours", values, np.float32)
    highest = float(np.nanmax(color))
    if values.dtype.kind == "f" and highest <= 1.0:
        color *= 255.0
    elif values.dtype.kind != "f" and highest > 255.0:
        color /= 257.0  # 65535 is white
    return np.where(np.isfinite(color), color.clip(0.0, 255.0), np.nan).astype(np.float32)


def _normal(path: Path, values: np.ndarray | None) -> np.ndarray | None:
    if values is None:
        return None
    normal = _rows(path, "normals", values, np.float32)
    length = np.linalg.norm(normal, axis=1, keepdims=True)
    known = np.isfinite(length) & (length > 0)
    return np.where(known, normal / np.where(known, length, 1.0), 0.0).astype(np.float32)
