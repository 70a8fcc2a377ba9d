"""`ws3d import-weights`: a network that others trained with MinkowskiEngine, as a checkpoint of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ws3d_ros.network import checkpoint
from ws3d_ros.network.checkpoint import CheckpointError
from ws3d_ros.network.imported import import_minkowski, language_dim, read_state_dict
from ws3d_ros.network.student import Spec

console = Console()


def import_weights(
    source: Annotated[Path, typer.Argument(help="State dict: .safetensors, .pth or .pt.")],
    target: Annotated[Path, typer.Argument(help="The checkpoint to write, .safetensors.")],
    space: Annotated[str, typer.Option(help="Language space of its vectors, as its text encoder calls it.")],
    voxel_size_m: Annotated[float, typer.Option("--voxel-size", help="That it was trained on, metres.")],
    architecture: Annotated[
        str, typer.Option(help="Res16UNet18A is also called MinkUNet18A.")
    ] = "Res16UNet18A",
    inputs: Annotated[
        str, typer.Option(help="What it was fed: one (channels of 1), or color (RGB in -1..1).")
    ] = "one",
    licence: Annotated[str, typer.Option(help="Of the weights, for the header.")] = "",
    half: Annotated[bool, typer.Option(help="Store float16: half the size.")] = False,
) -> None:
    """Turns the weights of a MinkowskiEngine Res16UNet, such as OpenScene's, into a checkpoint.

    Nothing but tensors is read, so that a file from strangers cannot run code.
    """
    try:
        tensors = read_state_dict(source)
        dim = language_dim(tensors, source)
        spec = Spec(architecture, tuple(inputs.split(",")), voxel_size_m, space, dim, licence=licence)
        student = import_minkowski(tensors, spec, source)
        checkpoint.save(student, target, {"imported_from": source.name}, half)
    except (CheckpointError, OSError) as error:
        console.print(f"[red]{error}", soft_wrap=True)
        raise typer.Exit(2) from error
    console.print(f"{target}: {architecture}, {dim} values in '{space}'", soft_wrap=True)
