"""The same figures in the table and in the file."""

import io
import json

import torch
from rich.console import Console

from ws3d_ros.evaluation.average_precision import LabelledObjects, average_precision
from ws3d_ros.evaluation.metrics import confusion_matrix, scores
from ws3d_ros.evaluation.report import as_mapping, objects_as_mapping, objects_table, score_table

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


# Two chairs, one of which is found, and a lamp that is called a chair.
_TRUE = torch.tensor([1] * 10 + [2] * 10 + [3] * 10)
TRUTH = LabelledObjects(_TRUE, torch.tensor([1] * 20 + [2] * 10))
FOUND = LabelledObjects(
    _TRUE * (_TRUE != 2), torch.tensor([1] * 10 + [0] * 10 + [1] * 10), torch.tensor([0.9] * 20 + [0.5] * 10)
)
OBJECTS = average_precision([(TRUTH, FOUND)], 3, min_points=5)
NONE = average_precision([], 1)


def test_objects_in_the_file() -> None:
    values = objects_as_mapping(OBJECTS, NONE, CLASSES)
    assert values["classes"] == {
        "chair": {"ap": 0.5, "ap50": 0.5, "ap25": 0.5, "objects": 2},
        "lamp": {"ap": 0.0, "ap50": 0.0, "ap25": 0.0, "objects": 1},
    }
    assert (values["ap"], values["objects"]) == (0.25, 3)
    assert values["class_agnostic"] == {"ap": None, "ap50": None, "ap25": None}, "JSON has no NaN"
    assert json.loads(json.dumps(values, allow_nan=False)) == values


def test_objects_in_the_table() -> None:
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(objects_table(OBJECTS, NONE, CLASSES))
    text = console.export_text()
    assert text.index("chair") < text.index("lamp")
    assert "floor" not in text
    assert "whatever the class" in text
    assert "0.250" in text
