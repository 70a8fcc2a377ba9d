"""Class tables against figures that their papers and files give."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ws3d_ros.evaluation.classes import (
    NUSCENES16,
    S3DIS13,
    SCANNET20,
    SCANNET200,
    SCANNET200_GROUPS,
    SEMANTIC_KITTI19,
    ClassTable,
)
from ws3d_ros.language.vocabulary import Vocabulary

TABLES = {
    "ScanNet20": (SCANNET20.names, 20),
    "ScanNet200": (SCANNET200.names, 200),
    "S3DIS": (S3DIS13, 13),
    "SemanticKITTI": (SEMANTIC_KITTI19.names, 19),
    "nuScenes": (tuple(NUSCENES16), 16),
}


@pytest.mark.parametrize("name", TABLES)
def test_names_are_a_vocabulary_of_the_right_size(name: str) -> None:
    names, count = TABLES[name]
    assert len(names) == count
    assert Vocabulary.of(names).names == names


def test_scannet20_are_the_words_of_the_vocabulary_that_ships() -> None:
    assert Vocabulary.load("scannet20").names == SCANNET20.names


def test_scannet200_falls_into_head_common_and_tail() -> None:
    assert {group: len(names) for group, names in SCANNET200_GROUPS.items()} == {
        "head": 66,
        "common": 68,
        "tail": 66,
    }
    together = [name for names in SCANNET200_GROUPS.values() for name in names]
    assert sorted(together) == sorted(SCANNET200.names)
    assert (SCANNET200.names[0], SCANNET200.names[5], SCANNET200.names[-1]) == ("wall", "couch", "mattress")


@pytest.mark.parametrize(
    ("table", "id_", "name"),
    [
        (SCANNET20, 39, "other furniture"),
        (SCANNET20, 28, "shower curtain"),
        (SCANNET200, 1191, "mattress"),
        (SCANNET200, 13, "pillow"),
        (SEMANTIC_KITTI19, 40, "road"),
        (SEMANTIC_KITTI19, 60, "road"),
        (SEMANTIC_KITTI19, 256, "other vehicle"),
        (SEMANTIC_KITTI19, 253, "bicyclist"),
    ],
)
def test_ids_mean_what_the_benchmarks_say(table: ClassTable, id_: int, name: str) -> None:
    (index,) = table.index(np.array([id_]))
    assert table.names[index] == name


@given(st.lists(st.integers(-5, 1300)))
def test_all_ids_against_a_dictionary(ids: list[int]) -> None:
    for table in (SCANNET20, SCANNET200, SEMANTIC_KITTI19):
        found = table.index(np.array(ids, np.int64))
        assert found.tolist() == [table.index_of_id.get(id_, -1) for id_ in ids]


def test_what_semantic_kitti_does_not_score() -> None:
    """Unlabelled, outliers, other structures and other objects, after its learning_map."""
    assert SEMANTIC_KITTI19.index(np.array([0, 1, 52, 99])).tolist() == [-1] * 4
    assert len(SEMANTIC_KITTI19.index_of_id) == 34 - 4


def test_no_category_of_nuscenes_is_in_two_classes() -> None:
    categories = [category for group in NUSCENES16.values() for category in group]
    assert len(categories) == len(set(categories)) == 20
