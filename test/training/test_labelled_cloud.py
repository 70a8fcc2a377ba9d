"""The type that all data sets share says what does not fit."""

import dataclasses

import numpy as np
import pytest

from ws3d_ros.training.datasets.labelled_cloud import LabelledCloud

CLOUD = LabelledCloud(
    "two points",
    np.zeros((2, 3), np.float32),
    np.zeros((2, 3), np.uint8),
    None,
    np.array([0, -1]),
    np.array([7, -1]),
    ("wall",),
)


def test_a_cloud_has_a_length():
    assert len(CLOUD) == 2


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"color": np.zeros((3, 3), np.uint8)}, "color must be"),
        ({"points_m": np.zeros((2, 3))}, "points_m must be"),
        ({"label": np.array([1, 0])}, "labels must be -1..0"),
        ({"label": np.array([-2, 0])}, "labels must be -1..0"),
        ({"instance": np.zeros(2, np.int32)}, "instance must be"),
    ],
)
def test_what_does_not_fit_is_named(change, complaint):
    with pytest.raises(ValueError, match=complaint):
        dataclasses.replace(CLOUD, **change)
