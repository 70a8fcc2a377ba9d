"""What each part of the way from images to names is worth, on a sequence with ground truth.

    python benchmarks/ablation.py [SEQUENCE] [WEIGHTS]

Runs `ws3d evaluate` in this process once for each variant, one thing changed at a time; an image is
encoded once for all. SEQUENCE and WEIGHTS are ../shared/data/small_house and ../shared/weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import torch
from common import save
from house import SETTINGS, house
from rich.console import Console
from rich.table import Table
from torch import Tensor

from ws3d_ros import pipeline
from ws3d_ros.alignment import lifting
from ws3d_ros.cli.judging import judge, map_sequence, score_labels
from ws3d_ros.config import from_mapping


def flat(image: Tensor, *_: object) -> Tensor:
    """A weight of 1 everywhere in an image (H, W) or (H, W, 3)."""
    return torch.ones(image.shape[:2], device=image.device)


def undecided(probability: Tensor) -> Tensor:
    return torch.ones_like(probability[:, 0])


VARIANTS: dict[str, tuple[dict[str, Any], list[tuple[Any, str, Any]]]] = {
    "as shipped": ({}, []),
    "all weights 1": (
        {},
        [
            (lifting, "visible", flat),
            (lifting, "viewing_cosine", flat),
            (lifting, "certainty", undecided),
            (lifting, "HALF_TRUST_M", 1e9),
        ],
    ),
    "no visibility test, no edges": ({}, [(lifting, "visible", flat)]),
    "no weight by angle": ({}, [(lifting, "viewing_cosine", flat)]),
    "no weight by entropy": ({}, [(lifting, "certainty", undecided)]),
    "no weight by distance": ({}, [(lifting, "HALF_TRUST_M", 1e9)]),
    "every voxel by itself": ({"semantics.region_share": 0.0}, []),
    "surfaces agree by half": ({"semantics.region_share": 0.5}, []),
    "view of 160 pixels": ({}, [(pipeline, "VIEW_WIDTH", 160)]),
    "view of 640 pixels": ({}, [(pipeline, "VIEW_WIDTH", 640)]),
    "no carving": ({"map.carving": False}, []),
    "every image a keyframe": (
        {"semantics.keyframe_distance_m": 0.0, "semantics.keyframe_angle_deg": 0.0},
        [],
    ),
    "published by the node (min_weight 0.5)": ({"map.min_weight": 0.5}, []),
}


@contextmanager
def patched(changes: list[tuple[Any, str, Any]]) -> Iterator[None]:
    with ExitStack() as stack:
        for module, name, value in changes:
            stack.enter_context(patch.object(module, name, value))
        yield


def main() -> None:
    found = house()
    if found is None:
        return
    folder, encoder = found
    table = Table("variant", "mIoU", "mAcc", "fmIoU", "accuracy", "ECE", "unlabelled")
    rows = {}
    for name, (settings, changes) in VARIANTS.items():
        with patched(changes):
            run = map_sequence(folder, from_mapping(SETTINGS | settings), encoder, every=4)
        result, extra = score_labels(judge(run, folder))
        figures = {
            "miou": result.miou,
            "macc": result.macc,
            "fmiou": result.fmiou,
            "accuracy": result.accuracy,
            "ece": extra["ece"],
        }
        rows[name] = {key: round(value, 4) for key, value in figures.items()}
        rows[name]["unlabelled"] = extra["unlabelled"]
        table.add_row(name, *(f"{value:.3f}" for value in figures.values()), str(extra["unlabelled"]))
    Console().print(table)
    save("ablation", {"encoder": encoder.name, "sequence": folder.path.name, "variants": rows})


if __name__ == "__main__":
    main()
