"""What benchmarks on a sequence with ground truth share: the sequence, an encoder that remembers."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from torch import Tensor

from ws3d_ros.language.choose import choose_encoder
from ws3d_ros.language.encoder import Encoder
from ws3d_ros.training.datasets.posed_folder import PosedFolder

SHARED = Path(__file__).resolve().parents[2] / "shared"
SETTINGS = {"map.min_weight": 0.0, "map.window_radius_m": 500.0, "inputs.max_depth_m": 6.0}
"""As in ``ws3d evaluate``."""


class Remembering:
    """An encoder that encodes no image twice."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._known: dict[float, Tensor] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._encoder, name)

    def encode_dense(self, images: Tensor) -> Tensor:
        key = float(images.double().sum())
        if key not in self._known:
            self._known[key] = self._encoder.encode_dense(images).half()
        return self._known[key].float()


def house() -> tuple[PosedFolder, Remembering] | None:
    """The sequence and the encoder that the command line names, ../shared's by default; None if absent."""
    sequence = Path(sys.argv[1]) if len(sys.argv) > 1 else SHARED / "data/small_house"
    weights = Path(sys.argv[2]) if len(sys.argv) > 2 else SHARED / "weights"
    if not sequence.is_dir():
        print(f"skipped: {sequence} is not here")
        return None
    encoder = choose_encoder("concept", weights if weights.is_dir() else "").encoder
    assert encoder is not None
    return PosedFolder(sequence), Remembering(encoder)
