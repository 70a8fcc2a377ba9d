"""Scores as a table for people and as plain values for files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from rich.table import Table

from ws3d_ros.evaluation.average_precision import AveragePrecision
from ws3d_ros.evaluation.metrics import Scores


def as_mapping(result: Scores, classes: Sequence[str], unit: str = "voxels") -> dict[str, Any]:
    """What goes into JSON: ``miou, macc, fmiou, accuracy`` and per class ``iou, recall, voxels``.

    Only classes that occur are listed. ``unit``: what was counted, ``points`` of a cloud perhaps.
    """
    return {
        "miou": result.miou,
        "macc": result.macc,
        "fmiou": result.fmiou,
        "accuracy": result.accuracy,
        "classes": {
            name: {"iou": float(iou), "recall": float(recall), unit: int(count)}
            for name, iou, recall, count in zip(classes, result.iou, result.recall, result.count, strict=True)
            if not math.isnan(iou)
        },
    }


def score_table(result: Scores, classes: Sequence[str], unit: str = "voxels") -> Table:
    """One row a class that occurs, the most frequent first, and the means below; ``unit`` as above."""
    table = Table(title="Agreement with the ground truth", show_footer=True)
    present = as_mapping(result, classes, unit)["classes"]
    table.add_column("class", footer=f"{len(present)} classes")
    table.add_column(unit, justify="right", footer=str(int(result.count.sum())))
    table.add_column("IoU", justify="right", footer=f"mIoU {result.miou:.3f}, fmIoU {result.fmiou:.3f}")
    table.add_column("recall", justify="right", footer=f"mAcc {result.macc:.3f}, acc {result.accuracy:.3f}")
    for name, row in sorted(present.items(), key=lambda item: -item[1][unit]):
        table.add_row(name, str(row[unit]), f"{row['iou']:.3f}", f"{row['recall']:.3f}")
    return table


def objects_as_mapping(
    result: AveragePrecision, agnostic: AveragePrecision, classes: list[str]
) -> dict[str, Any]:
    """What goes into JSON: ``ap, ap50, ap25`` (None where there is no object), the same for each class
    that has objects, and under ``class_agnostic`` without regard to classes."""
    return {
        **_three(result.ap, result.ap50, result.ap25),
        "objects": int(result.count.sum()),
        "class_agnostic": _three(agnostic.ap, agnostic.ap50, agnostic.ap25),
        "classes": {
            name: {**_three(*row), "objects": int(count)}
            for name, row, count in zip(classes, result.per_class.tolist(), result.count, strict=True)
            if count
        },
    }


def objects_table(result: AveragePrecision, agnostic: AveragePrecision, classes: list[str]) -> Table:
    """One row a class that has objects, the most frequent first, and below the means, with and without
    classes."""
    table = Table(title="Objects found", show_footer=True)
    rows = objects_as_mapping(result, agnostic, classes)["classes"]
    table.add_column("class", footer=f"{len(rows)} classes\nwhatever the class")
    table.add_column("objects", justify="right", footer=f"{result.count.sum()}\n{agnostic.count.sum()}")
    for name, column in (("AP", "ap"), ("AP50", "ap50"), ("AP25", "ap25")):
        means = (getattr(each, column) for each in (result, agnostic))
        table.add_column(name, justify="right", footer="\n".join(f"{mean:.3f}" for mean in means))
    for name, row in sorted(rows.items(), key=lambda item: -item[1]["objects"]):
        table.add_row(name, str(row["objects"]), *(f"{row[key]:.3f}" for key in ("ap", "ap50", "ap25")))
    return table


def _three(ap: float, ap50: float, ap25: float) -> dict[str, float | None]:
    values = {"ap": ap, "ap50": ap50, "ap25": ap25}
    return {key: None if math.isnan(value) else value for key, value in values.items()}
