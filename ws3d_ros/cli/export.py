"""`ws3d export`: a map file as a cloud that other programs open, or as a picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from plyfile import PlyData, PlyElement
from rich.console import Console
from rich.markup import escape

from ws3d_ros.cli.results import legend
from ws3d_ros.language.vocabulary import Vocabulary, VocabularyError
from ws3d_ros.reconstruction import store as column
from ws3d_ros.reconstruction.map_file import MapFileError, SavedMap, load_map
from ws3d_ros.rendering.views import draw_map, save_png

console = Console()


@dataclass(frozen=True)
class NamedPoints:
    """A map's voxels for people.

    Attributes:
        names, palette: of the labels, ``unknown`` first; (C + 1, 3) uint8.
        points_m: (N, 3) float32 centroids.
        normal: (N, 3) float32, 0 where unknown.
        label, instance: (N,) uint16 and uint32.
        confidence: (N,) float32.
        camera: (N, 3) uint8 colours that cameras saw, black where none did.
    """

    names: list[str]
    palette: np.ndarray
    points_m: np.ndarray
    normal: np.ndarray
    label: np.ndarray
    instance: np.ndarray
    confidence: np.ndarray
    camera: np.ndarray

    @property
    def rgb(self) -> np.ndarray:
        """(N, 3) uint8 colours of the labels."""
        return np.asarray(self.palette[self.label])


def export(
    map_file: Annotated[Path, typer.Argument(metavar="MAP", help="A map, .ws3d.")],
    out: Annotated[Path | None, typer.Argument(help=".ply, .pcd, .las, .laz or .npz")] = None,
    picture: Annotated[Path | None, typer.Option(help="Draw the map as a PNG.")] = None,
    camera_colors: Annotated[
        bool, typer.Option("--camera-colors", help="Points as cameras saw them, not as their labels.")
    ] = False,
    min_weight: Annotated[
        float, typer.Option(help="Leave out voxels with less evidence, as map.min_weight does.", min=0.0)
    ] = 0.2,
) -> None:
    """Writes a map's voxels, one point each: place, colour, label, instance, confidence.

    Names and colours of the labels are in the file, too (in .las and .laz as text in a VLR, in .pcd as
    comments). PCD, LAS and LAZ need pip install 'ws3d_ros\\[clouds]'.

    Examples:

      ws3d export room.ws3d room.ply

      ws3d export room.ws3d --picture room.png
    """
    try:
        if out is None and picture is None:
            raise MapFileError("nothing to write: give OUT (such as map.ply), or --picture map.png")
        if out is not None and out.suffix.lower() not in WRITERS:
            raise MapFileError(f"{out}: maps are exported to {', '.join(WRITERS)}")
        saved = load_map(map_file)
        if out is not None:
            points = named_points(saved, min_weight)
            out.parent.mkdir(parents=True, exist_ok=True)
            rgb = points.camera if camera_colors else points.rgb
            WRITERS[out.suffix.lower()](out, points, rgb)
            console.print(f"{len(points.label)} points in {out}")
        if picture is not None:
            draw(saved, picture, min_weight)
            console.print(f"picture in {picture}")
    except (MapFileError, VocabularyError, OSError) as error:
        console.print(f"[red]{escape(str(error))}", soft_wrap=True)
        raise typer.Exit(2) from error
    except ImportError as error:
        console.print(escape(f"{error}: pip install 'ws3d_ros[clouds]'"), style="red", soft_wrap=True)
        raise typer.Exit(2) from error


def named_points(saved: SavedMap, min_weight: float = 0.2) -> NamedPoints:
    """The voxels of a map with at least that evidence.

    Raises:
        VocabularyError, MapFileError: if the file's vocabulary or columns are not those of a map.
    """
    vocabulary = Vocabulary.from_tree(saved.header.vocabulary, "the map's vocabulary")
    lacking = {"state", "label", "instance", "confidence"} - saved.voxel.keys()
    if lacking:
        raise MapFileError(f"the map lacks the columns {', '.join(sorted(lacking))}")
    keep = saved.voxel["state"][:, column.WEIGHT] >= min_weight
    state = saved.voxel["state"][keep]

    def values(name: str, kind: type) -> np.ndarray:
        return saved.voxel[name][keep].numpy().astype(kind)

    return NamedPoints(
        names=["unknown", *vocabulary.names],
        palette=np.vstack([[vocabulary.unknown_color], vocabulary.colors]).astype(np.uint8),
        points_m=state[:, column.POINT].numpy(),
        normal=torch.nn.functional.normalize(state[:, column.NORMAL], dim=1).numpy(),
        label=values("label", np.uint16),
        instance=values("instance", np.uint32),
        confidence=values("confidence", np.float32),
        camera=state[:, column.COLOR].clamp(0, 255).round().numpy().astype(np.uint8),
    )


def draw(saved: SavedMap, picture: Path, min_weight: float = 0.2) -> None:
    """A bird's-eye view, coloured by label."""
    points = named_points(saved, min_weight)
    count = np.bincount(points.label, minlength=len(points.names))
    counts = {name: int(n) for name, n in zip(points.names, count, strict=True) if n}
    entries = legend(counts, points.names, points.palette)
    picture.parent.mkdir(parents=True, exist_ok=True)
    save_png(picture, draw_map(points.points_m, points.rgb, saved.header.voxel_size_m, entries))


def _table(points: NamedPoints, rgb: np.ndarray) -> np.ndarray:
    columns = [
        *((axis, "f4", points.points_m[:, i]) for i, axis in enumerate("xyz")),
        *((f"n{axis}", "f4", points.normal[:, i]) for i, axis in enumerate("xyz")),
        *((part, "u1", rgb[:, i]) for i, part in enumerate(("red", "green", "blue"))),
        ("label", "u2", points.label),
        ("instance", "u4", points.instance),
        ("confidence", "f4", points.confidence),
    ]
    rows = np.empty(len(points.label), [(name, kind) for name, kind, _ in columns])
    for name, _, values in columns:
        rows[name] = values
    return rows


def _palette_lines(points: NamedPoints) -> list[str]:
    """``label NUMBER #rrggbb NAME`` of each, in ASCII."""
    lines = []
    for i, (name, color) in enumerate(zip(points.names, points.palette.tolist(), strict=True)):
        plain = name.encode("ascii", "backslashreplace").decode()
        lines.append(f"label {i} #{color[0]:02x}{color[1]:02x}{color[2]:02x} {plain}")
    return lines


def _write_ply(path: Path, points: NamedPoints, rgb: np.ndarray) -> None:
    element = PlyElement.describe(_table(points, rgb), "vertex")
    PlyData([element], byte_order="<", comments=_palette_lines(points)).write(str(path))


def _write_pcd(path: Path, points: NamedPoints, rgb: np.ndarray) -> None:
    from pypcd4 import PointCloud

    bits = rgb.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    fields = [
        *((axis, np.float32, points.points_m[:, i]) for i, axis in enumerate("xyz")),
        ("rgb", np.float32, bits.astype(np.uint32).view(np.float32)),  # as PCL has it
        *((f"normal_{axis}", np.float32, points.normal[:, i]) for i, axis in enumerate("xyz")),
        ("label", np.uint32, points.label),
        ("instance", np.uint32, points.instance),
        ("confidence", np.float32, points.confidence),
    ]
    names, kinds, values = (tuple(part) for part in zip(*fields, strict=True))
    arrays = [array.astype(kind) for array, kind in zip(values, kinds, strict=True)]
    PointCloud.from_points(arrays, names, kinds).save(path)
    comments = "".join(f"# {line}\n" for line in _palette_lines(points))
    path.write_bytes(comments.encode() + path.read_bytes())


def _write_las(path: Path, points: NamedPoints, rgb: np.ndarray) -> None:
    import laspy

    header = laspy.LasHeader(point_format=2, version="1.4")
    header.scales = np.full(3, 0.001)
    header.offsets = np.floor(points.points_m.min(axis=0)) if len(points.label) else np.zeros(3)
    header.add_extra_dims(
        [
            laspy.ExtraBytesParams("label", np.uint16),
            laspy.ExtraBytesParams("instance", np.uint32),
            laspy.ExtraBytesParams("confidence", np.float32),
        ]
    )
    text = "\n".join(_palette_lines(points)).encode()
    header.vlrs.append(laspy.VLR("ws3d_ros", 1, "names and colours", text[:65535]))
    file = laspy.LasData(header)
    file.x, file.y, file.z = points.points_m.astype(np.float64).T
    file.red, file.green, file.blue = rgb.T.astype(np.uint16) * 257
    file["label"], file["instance"] = points.label, points.instance
    file["confidence"] = points.confidence
    file.write(str(path))


def _write_npz(path: Path, points: NamedPoints, rgb: np.ndarray) -> None:
    np.savez_compressed(
        path,
        points=points.points_m,
        normals=points.normal,
        colors=rgb,
        label=points.label,
        instance=points.instance,
        confidence=points.confidence,
        camera_colors=points.camera,
        names=np.array(points.names),
        palette=points.palette,
    )


WRITERS: dict[str, Callable[[Path, NamedPoints, np.ndarray], None]] = {
    ".ply": _write_ply,
    ".pcd": _write_pcd,
    ".las": _write_las,
    ".laz": _write_las,
    ".npz": _write_npz,
}
