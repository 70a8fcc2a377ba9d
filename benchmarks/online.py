"""From images alone to everything, one thing added at a time: how good, how calm and how slow names are.

    python benchmarks/online.py [SEQUENCE] [--weights FOLDER] [--quick]

A posed sequence with ground truth (../shared/data/small_house by default; nothing was chosen there) goes
through the pipeline as `ws3d evaluate` sends it. Changes: how often a voxel that had a name got another one
on the way, a voxel of the last map. Milliseconds are medians for a keyframe. Writes results/online.json.
--quick: a few frames of two rows, no file.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from common import save
from house import SHARED
from rich.console import Console
from rich.table import Table

from ws3d_ros.cli.judging import Run, judge, score_labels, score_objects
from ws3d_ros.config import from_mapping
from ws3d_ros.evaluation.ground_truth import VoxelVotes
from ws3d_ros.language.choose import choose_encoder
from ws3d_ros.language.vocabulary import Vocabulary
from ws3d_ros.network.choose import choose_network
from ws3d_ros.pipeline import Pipeline
from ws3d_ros.training.datasets.posed_folder import PosedFolder

CPU = torch.device("cpu")
ALL = {"map.window_radius_m": 500.0, "map.min_weight": 0.0, "inputs.max_depth_m": 6.0}
"""As in ``ws3d evaluate``."""
EACH = {"semantics.region_share": 0.0}
ROWS: dict[str, dict[str, Any]] = {
    "images alone": {**EACH, "network.checkpoint": "none"},
    "student alone": {**EACH, "semantics.encoder": "none"},
    "both": EACH,
    "+ surfaces agree (default)": {},
    "+ virtual views": {"semantics.virtual_views": True},
    "+ learning on the way": {"adaptation.enabled": True},
}
"""The last two are added to the default one by one."""
STAGES = ("encode", "render", "lift", "network", "name", "track", "virtual_views", "adapt")


def drive(folder: PosedFolder, settings: dict[str, Any], weights: str, every: int) -> dict[str, Any]:
    """Figures of one row."""
    config = from_mapping({"semantics.encoder": "concept", **ALL, **settings})
    encoder = choose_encoder(config.semantics.encoder, weights).encoder
    namer = choose_network(config.network, encoder, weights, CPU).namer
    pipeline = Pipeline(config, encoder, Vocabulary.of(folder.classes), CPU, namer)
    limits = (config.map.voxel_size_m, config.inputs.min_depth_m, config.inputs.max_depth_m)
    run = Run(config, pipeline, VoxelVotes(*limits), VoxelVotes(*limits))
    changes = keyframes = 0
    for item in folder.frames(every):
        pipeline.integrate(item.frame)
        if pipeline.is_keyframe(item.frame):
            keyframes += 1
            window = pipeline.snapshot(item.frame)
            understood = pipeline.understand(item.frame, window)
            assert understood.names is not None
            assert understood.names.label is not None
            changes += int(((window.label > 0) & (understood.names.label != window.label)).sum())
            pipeline.apply(understood)
            pipeline.adapt(window, understood)
            if pipeline.views_due():
                pipeline.apply(pipeline.look_around(pipeline.snapshot(item.frame)))
        run.classes.add(item.frame, folder.class_of_instance[item.instance.long()])
        run.instances.add(item.frame, item.instance)
    times = pipeline.stopwatch.summary_ms()
    pipeline.finish()
    judged = judge(run, folder)
    result, extra = score_labels(judged)
    _, agnostic = score_objects(judged, config.output.min_instance_voxels)
    return {
        "miou": round(result.miou, 4),
        "accuracy": round(result.accuracy, 4),
        "ece": round(extra["ece"], 4),
        "ap50": round(agnostic.ap50, 4),
        "changes": round(changes / len(pipeline.map), 3),
        "keyframes": keyframes,
        "ms": {stage: round(times[stage]["p50"]) for stage in STAGES if stage in times},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("sequence", type=Path, nargs="?", default=SHARED / "data/small_house")
    parser.add_argument("--weights", default=str(SHARED / "weights"))
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    if not arguments.sequence.is_dir():
        print(f"skipped: {arguments.sequence} is not here")
        return
    folder = PosedFolder(arguments.sequence)
    rows = dict(list(ROWS.items())[:2]) if arguments.quick else ROWS
    every = 40 if arguments.quick else 4
    result: dict[str, Any] = {"sequence": arguments.sequence.name, "rows": {}}
    table = Table("named by", "mIoU", "accuracy", "ECE", "AP50", "changes", "keyframes", "ms a keyframe")
    for name, settings in rows.items():
        row = result["rows"][name] = drive(folder, settings, arguments.weights, every)
        figures = [f"{row[key]:.3f}" for key in ("miou", "accuracy", "ece", "ap50", "changes")]
        table.add_row(name, *figures, str(row["keyframes"]), str(row["ms"]))
    Console(width=180).print(table)
    if not arguments.quick:
        save("online", result)


if __name__ == "__main__":
    main()
