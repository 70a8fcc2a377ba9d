"""Scores as a table for people and as plain values for files."""

from __future__ import annotations

import math
from typing import Any

from rich.table import Table

from ws3d_ros.evaluation.metrics import Scores


def as_mapping(result: Scores, classes: list[str]) -> dict[str, Any]:
    """What goes into JSON: ``miou, macc, fmiou, accuracy`` and per class ``iou, recall, voxels``.

    Only classes that occur are listed.
    """
    return {
        "miou": result.miou,
        "macc": result.macc,
        "fmiou": result.fmiou,
        "accuracy": result.accuracy,
        "classes": {
            name: {"iou": float(iou), "recall": float(recall), "voxels": int(count)}
            for name, iou, recall, count in zip(classes, result.iou, result.recall, result.count, strict=True)
            if not math.isnan(iou)
        },
    }


def score_table(result: Scores, classes: list[str]) -> Table:
    """One row a class that occurs, the most frequent first, and the means below."""
    table = Table(title="Agreement with the ground truth", show_footer=True)
    present = as_mapping(result, classes)["classes"]
    table.add_column("class", footer=f"{len(present)} classes")
    table.add_column("voxels", justify="right", footer=str(int(result.count.sum())))
    table.add_column("IoU", justify="right", footer=f"mIoU {result.miou:.3f}, fmIoU {result.fmiou:.3f}")
    table.add_column("recall", justify="right", footer=f"mAcc {result.macc:.3f}, acc {result.accuracy:.3f}")
    for name, row in sorted(present.items(), key=lambda item: -item[1]["voxels"]):
        table.add_row(name, str(row["voxels"]), f"{row['iou']:.3f}", f"{row['recall']:.3f}")
    return table
