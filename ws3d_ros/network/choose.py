"""Which 3D network this machine can run, and why that one or none."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from ws3d_ros.config import NetworkConfig
from ws3d_ros.language.encoder import Encoder
from ws3d_ros.language.text import choose_text_encoder
from ws3d_ros.network import checkpoint
from ws3d_ros.network.backends.choose import choose_backend
from ws3d_ros.network.checkpoint import CheckpointError
from ws3d_ros.network.incremental import EXACT, FAST, IncrementalReader
from ws3d_ros.network.inference import NotFiniteError, Reader
from ws3d_ros.network.namer import Namer
from ws3d_ros.network.student import Student

SHIPPED = Path(__file__).parents[1] / "weights" / "student.safetensors"

GOOD_FOR = "which ships: good for the structure and the furniture of rooms"


class NetworkError(RuntimeError):
    """A network that was asked for and cannot be had. The message says why and what to do."""


@dataclass(frozen=True)
class NetworkChoice:
    """A network, or None for image features alone, and a sentence for people that says why.

    ``is_fault``: one was asked for and cannot be had.
    """

    namer: Namer | None
    why: str
    is_fault: bool = False


def choose_network(
    settings: NetworkConfig, encoder: Encoder | None, weights_dir: str | Path, device: torch.device
) -> NetworkChoice:
    """The network of the settings, loaded and warmed up.

    Args:
        settings: ``checkpoint`` is a path, ``none``, or ``auto``: the one that ships.
        encoder: of images, if there is one; it may know the words of the network's language space.
        weights_dir: where the sentence model may be, see ``choose_text_encoder``.
        device: where the network runs.

    Raises:
        NetworkError: if the checkpoint, the engine or the words of its language space cannot be had,
            or a first reading fails.
    """
    if settings.checkpoint == "none":
        return NetworkChoice(None, "no 3D network, as asked: names come from images alone")
    if settings.checkpoint == "auto" and not SHIPPED.is_file():
        return NetworkChoice(
            None, f"no 3D network: {SHIPPED} is missing, names come from images alone; reinstall the package"
        )
    asked = settings.checkpoint != "auto"
    path = Path(settings.checkpoint).expanduser() if asked else SHIPPED
    try:
        namer = _load(path, settings, encoder, weights_dir, device)
    except (CheckpointError, NotFiniteError, RuntimeError, MemoryError) as error:
        raise NetworkError(f"no 3D network, names come from images alone: {error}") from error
    return NetworkChoice(namer, f"{namer.name}, {'as asked' if asked else GOOD_FOR}")


def _load(
    path: Path,
    settings: NetworkConfig,
    encoder: Encoder | None,
    weights_dir: str | Path,
    device: torch.device,
) -> Namer:
    student = checkpoint.load(path)
    spec = student.spec
    texts = choose_text_encoder(spec.space, encoder, weights_dir, device)
    dim = texts.encode_text(["object"]).shape[1]
    if dim != spec.dim:
        raise CheckpointError(f"{path}: vectors of {spec.dim} values, but words in '{spec.space}' have {dim}")
    reader = _reader(student, settings, device)
    reader.warm_up()
    name = f"{path.name} ({spec.architecture}, {settings.backend}, {reader.precision}, {device})"
    return Namer(name, reader, student.heads, texts)


def _reader(student: Student, settings: NetworkConfig, device: torch.device) -> Reader:
    backend = choose_backend(settings.backend)
    # A GPU reads a window in less time than it takes to find out what changed.
    if settings.reuse == "off" or backend.name != "torch" or device.type != "cpu":
        return Reader(student, backend, device, settings.precision)
    tolerance = FAST if settings.reuse == "fast" else EXACT
    return IncrementalReader(student, backend, device, settings.precision, tolerance)


def voxel_size_warning(namer: Namer, voxel_size_m: float) -> str | None:
    """What to tell people if the map's voxels are coarser than the network's; finer ones are averaged."""
    if voxel_size_m <= 1.01 * namer.voxel_size_m:
        return None
    return (
        f"the network was trained on voxels of {namer.voxel_size_m:g} m, the map's are {voxel_size_m:g} m: "
        f"it sees surfaces full of holes and names them badly; set map.voxel_size_m to "
        f"{namer.voxel_size_m:g} or less, or network.checkpoint to none"
    )
