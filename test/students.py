"""Students for tests: one of random weights, and a reader that knows floors from walls by their normals."""

from pathlib import Path

import torch
from small_world import ColourEncoder
from torch import Tensor

from ws3d_ros.network import checkpoint
from ws3d_ros.network.heads import Heads, Reading
from ws3d_ros.network.namer import Namer
from ws3d_ros.network.student import Spec, Student


def spec(**changes: object) -> Spec:
    values: dict[str, object] = {
        "architecture": "Res16UNet14S",
        "inputs": ("color", "normal"),
        "voxel_size_m": 0.05,
        "space": "colours",
        "dim": 4,
    }
    return Spec(**(values | changes))  # type: ignore[arg-type]


def random_student(path: Path, **changes: object) -> Path:
    """A student of random weights, always the same, in a file."""
    torch.manual_seed(0)
    checkpoint.save(Student(spec(**changes)), path)
    return path


class SurfaceReader:
    """Stands in for ``Reader``: what is level is a floor, what is upright a wall (axes of ``ColourEncoder``).

    Attributes:
        reads: cells of each call.
        forgotten: how often it was told to let go of what it keeps.
    """

    def __init__(self, voxel_size_m: float = 0.05, error: Exception | None = None) -> None:
        self.spec = spec(voxel_size_m=voxel_size_m)
        self.reads: list[Tensor] = []
        self.error = error
        self.forgotten = 0

    def forget(self) -> None:
        self.forgotten += 1

    def read(self, coords: Tensor, color: Tensor, normal: Tensor) -> Reading:
        self.reads.append(coords)
        if self.error is not None:
            raise self.error
        upright = normal[:, :2].norm(dim=1)
        level = normal[:, 2].abs()
        embedding = torch.stack([level, upright, 0 * level, 0.1 + 0 * level], dim=1)
        return Reading(embedding, None, None, None)


def surface_namer(reader: SurfaceReader) -> Namer:
    return Namer("surfaces", reader, Heads(4, 4), ColourEncoder())  # type: ignore[arg-type]
