"""Parts of procedural scenes that ship with the network, so that it does not forget them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from ws3d_ros.adaptation.replay import Voxels, pack, unpack
from ws3d_ros.network.choose import SHIPPED

SCENES = SHIPPED.with_name("replay.safetensors")


def save_scenes(parts: Sequence[Voxels], path: Path = SCENES) -> None:
    """Writes parts with colours or without any, 12 bytes a voxel: whole colours, normals in 1/127."""
    state = pack([Voxels(part.cells - part.cells.amin(0), part.color, part.normal) for part in parts])
    state["cells"] = state["cells"].to(torch.int16)
    state["color"] = state["color"].nan_to_num().round().to(torch.uint8)
    state["colored"] = torch.tensor([not bool(part.color.isnan().any()) for part in parts])
    state["normal"] = (state["normal"] * 127).round().to(torch.int8)
    save_file(state, path)


def load_scenes(path: Path = SCENES) -> list[Voxels]:
    """The parts that ship; none if they are not there."""
    if not path.is_file():
        return []
    state = load_file(path)
    state["cells"] = state["cells"].int()
    state["color"] = state["color"].float()
    state["normal"] = state["normal"].float() / 127
    parts = zip(unpack(state), state["colored"].tolist(), strict=True)
    return [part if colored else replace(part, color=part.color * torch.nan) for part, colored in parts]
