"""The same figures in the table and in the file."""

import io
import json

import torch
from rich.console import Console

from ws3d_ros.evaluation.metrics import confusion_matrix, scores
from ws3d_ros.evaluation.report import as_mapping, score_table

RESULT = scores(confusion_matrix(torch.tensor([1, 1, 3, 3, 3]), torch.tensor([1, 3, 3, 3, 0]), 3))
CLASSES = ["chair", "lamp", "floor"]


def test_only_classes_that_occur_are_listed() -> None:
    values = as_mapping(RESULT, CLASSES)
    assert list(values["classes"]) == ["chair", "floor"]
    assert values["classes"]["chair"] == {"iou": 0.5, "recall": 0.5, "voxels": 2}
    assert values["accuracy"] == 0.6
    assert json.loads(json.dumps(values)) == values


def test_the_table_shows_the_largest_class_first_and_the_means() -> None:
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(score_table(RESULT, CLASSES))
    text = console.export_text()
    assert text.index("floor") < text.index("chair")
    assert "lamp" not in text
    assert "mIoU 0.500" in text
    assert "acc 0.600" in text
