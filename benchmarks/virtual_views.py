"""What an image encoder adds when it looks at pictures of the map itself.

    python benchmarks/virtual_views.py [WEIGHTS] [--quick]

- After all real images: 0, 4, 8 and 16 virtual views, with images alone and with the 3D network, too.
- Instead of real images: 4, 8, 16 and 32 virtual views of the coloured map, and nothing else.
- LiDAR alone, where there are no colours: shaded views.

On samples/room and six procedural flats that nothing was trained on (how much a rendered picture counts was
chosen there), and on ../shared/data/small_house where it is at hand. WEIGHTS is the folder of encoders;
without, the segmenter that ships. Writes results/virtual_views.json. --quick: one flat, few views, no file.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from time import perf_counter
from typing import Any

import numpy as np
import torch
from combining import FLATS
from common import save
from evidence import ROOT, SETTINGS, SHARED, collect
from labelled import house_scans
from rich.console import Console
from rich.table import Table
from torch import Tensor
from zero_shot import map_scene

from ws3d_ros.alignment.eyes import VIEWS_AT_ONCE
from ws3d_ros.config import Config, from_mapping
from ws3d_ros.evaluation.ground_truth import look_up
from ws3d_ros.evaluation.metrics import calibration_error, confusion_matrix, scores
from ws3d_ros.language.choose import choose_encoder
from ws3d_ros.language.encoder import Encoder
from ws3d_ros.language.vocabulary import Vocabulary
from ws3d_ros.network.choose import choose_network
from ws3d_ros.network.namer import Namer
from ws3d_ros.pipeline import Pipeline
from ws3d_ros.reconstruction.window import Window, with_features

CPU = torch.device("cpu")
AFTER, INSTEAD = (0, 4, 8, 16), (4, 8, 16, 32)


def figures(window: Window, truth: Tensor, names: int) -> dict[str, float]:
    """Of the labels; unknown is wrong."""
    label = window.label.long()
    result = scores(confusion_matrix(truth, label, names))
    named = (truth > 0) & (label > 0)
    ece = calibration_error(window.confidence[named].float(), (label == truth)[named])
    return {"miou": result.miou, "accuracy": result.accuracy, "ece": ece}


def blind(window: Window) -> Window:
    """Without what images said."""
    none = torch.zeros_like(window.feature_weight)
    return replace(window, feature=torch.zeros_like(window.feature), feature_weight=none)


def named(pipeline: Pipeline, window: Window) -> Window:
    patch = pipeline.relabel(window).names
    assert patch is not None
    assert patch.label is not None
    assert patch.confidence is not None
    return replace(window, label=patch.label, confidence=patch.confidence)


def look(
    pipeline: Pipeline, window: Window, truth: Tensor, counts: tuple[int, ...]
) -> dict[int, dict[str, float]]:
    """Figures after so many virtual views, each few of them placed by what is named then."""
    rows, total, seconds = {}, 0, 0.0
    names = len(pipeline.vocabulary)
    window = named(pipeline, window)
    while True:
        if total in counts:
            rows[total] = figures(window, truth, names) | {"seconds": seconds}
        if total >= max(counts):
            return rows
        begun = perf_counter()
        seen = pipeline.look_around(replace(window, stamp_ns=total))
        seconds += perf_counter() - begun
        assert seen.features is not None
        window = named(pipeline, with_features(window, seen.features))
        total += VIEWS_AT_ONCE


def judge(
    config: Config,
    encoder: Encoder,
    namer: Namer,
    names: tuple[str, ...],
    window: Window,
    truth: Tensor,
    quick: bool,
) -> dict[str, Any]:
    """All ways on one scene."""
    vocabulary = Vocabulary.of(list(names))
    alone, both = (Pipeline(config, encoder, vocabulary, CPU, each) for each in (None, namer))
    read = both.read(window).read
    assert read is not None
    heard = replace(window, embedding=read.embedding)
    after, instead = (AFTER[:2], INSTEAD[:1]) if quick else (AFTER, INSTEAD)
    rows: dict[str, Any] = {}
    if bool((window.feature_weight > 0).any()):
        rows["after the real images, alone"] = look(alone, window, truth, after)
        rows["after the real images, with the network"] = look(both, heard, truth, after)
    rows["instead of real images, alone"] = look(alone, blind(window), truth, instead)
    rows["instead of real images, with the network"] = look(both, blind(heard), truth, (0, *instead))
    return rows


def mean(scenes: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        way: {
            count: {key: round(float(np.mean([each[way][count][key] for each in scenes])), 4) for key in row}
            for count, row in rows.items()
        }
        for way, rows in scenes[0].items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("weights", nargs="?", default="")
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    config = from_mapping(SETTINGS)
    encoder = choose_encoder("concept", arguments.weights).encoder
    assert encoder is not None
    namer = choose_network(config.network, encoder, arguments.weights, CPU).namer
    assert namer is not None

    def scene(name: str) -> dict[str, Any]:
        found = collect(name, encoder, ROOT / "runs/combining")
        return judge(config, encoder, namer, found.names, found.last.window, found.truth, arguments.quick)

    chosen = FLATS[:1] if arguments.quick else ["room", *FLATS]
    result: dict[str, Any] = {"encoder": encoder.name, "network": namer.name}
    result["room_and_flats"] = mean([scene(name) for name in chosen])
    if (SHARED / "data/small_house").is_dir() and not arguments.quick:
        result["small_house"] = mean([scene("small_house")])
        mapped = map_scene(*house_scans(), config, encoder)
        truth = look_up(mapped.keys, mapped.window.keys, mapped.truth, 0)
        names = tuple(mapped.names)
        result["small_house_lidar"] = mean(
            [judge(config, encoder, namer, names, mapped.window, truth, arguments.quick)]
        )
    for place in ("room_and_flats", "small_house", "small_house_lidar"):
        table = Table(place, "views", "mIoU", "accuracy", "ECE", "seconds")
        for way, rows in result.get(place, {}).items():
            for count, row in rows.items():
                table.add_row(way, str(count), *(f"{value:.3f}" for value in row.values()))
        Console(width=150).print(table)
    if not arguments.quick:
        save("virtual_views", result)


if __name__ == "__main__":
    main()
