"""Colours of layers, and which points an answer lights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from windows import box_cells, window

from ws3d_ros.instances.boxes import box_around
from ws3d_ros.language.vocabulary import Vocabulary
from ws3d_ros.viewing.shown import (
    LAYERS,
    LIT,
    NO_THING,
    UNSEEN,
    Reply,
    Shown,
    box_edges,
    highlighted,
    instance_colors,
    legend,
    light,
    shown,
    strength,
    worth_naming,
)

WORDS = Vocabulary.of(["chair", "mug"])
CHAIR, MUG = 1, 2


@pytest.fixture
def room() -> Shown:
    """A chair (7), a mug (9) and voxels without a name; no camera saw the last one."""
    cells = torch.cat([box_cells((0, 0, 0), (8, 8, 8)), box_cells((20, 0, 0), (22, 2, 2))])
    cells = torch.cat([cells, torch.tensor([[40, 0, 0], [41, 0, 0]])])
    label = torch.tensor([CHAIR] * 512 + [MUG] * 8 + [0] * 2, dtype=torch.int16)
    instance = torch.tensor([7] * 512 + [9] * 8 + [0] * 2, dtype=torch.int32)
    color = torch.full((522, 3), 100.0)
    color[-1] = torch.nan
    return shown(window(cells, color=color, label=label, instance=instance), WORDS)


def answer(keys: np.ndarray, score: float) -> Reply:
    return Reply("", (), (), keys, np.full(len(keys), score, np.float32))


def test_each_layer_tells_its_own_things_apart(room: Shown) -> None:
    by_label = LAYERS["label"](room)
    assert (by_label == room.palette[room.label]).all()  # no normals, no shade
    assert (LAYERS["camera"](room)[:-1] == 100).all()
    assert (LAYERS["camera"](room)[-1] == UNSEEN).all()
    by_instance = LAYERS["instance"](room)
    assert len(np.unique(by_instance, axis=0)) == 3
    assert (by_instance[-1] == NO_THING).all()
    sure = replace(room, confidence=np.where(room.label == CHAIR, 0.9, 0.1).astype(np.float32))
    by_confidence = LAYERS["confidence"](sure)
    assert by_confidence[0].sum() > by_confidence[515].sum()  # yellow is lighter than dark blue
    assert (by_confidence[-1] == NO_THING).all()


def test_colours_of_objects_stay_and_neighbouring_numbers_differ() -> None:
    colors = instance_colors(np.arange(200)).astype(int)
    assert (colors == instance_colors(np.arange(400))[:200]).all()
    assert np.abs(np.diff(colors[1:], axis=0)).sum(1).min() > 60


def test_the_legend_counts_voxels_and_leaves_out_what_is_not_there(room: Shown) -> None:
    entries = legend(room, "label")
    assert [(name, count) for name, _, count in entries] == [("chair", 512), ("mug", 8), ("unknown", 2)]
    assert [name for name, _, _ in legend(room, "instance")] == ["chair 7", "mug 9"]
    assert sum(count for _, _, count in legend(room, "confidence")) == 520
    assert legend(room, "camera") == []


def test_just_the_voxels_of_an_answer_are_lit(room: Shown) -> None:
    keys = room.keys[room.instance == 9]
    score = strength(room, answer(keys, 0.8))
    assert (score > 0).tolist() == (room.instance == 9).tolist()
    rgb = highlighted(LAYERS["camera"](room), score)
    assert np.abs(rgb[room.instance == 9].astype(int) - LIT).max() < np.abs(rgb[0].astype(int) - LIT).max()
    assert (rgb[room.instance == 7] > 100).all()  # paler than before


def test_answers_are_found_whatever_the_order_of_points_and_unknown_voxels_are_skipped(room: Shown) -> None:
    order = np.random.default_rng(0).permutation(len(room))
    mixed = replace(room, keys=room.keys[order])
    keys = np.append(room.keys[:3], room.keys.max() + 1000)
    score = strength(mixed, answer(keys, 0.5))
    assert sorted(mixed.keys[score > 0].tolist()) == room.keys[:3].tolist()
    empty = replace(room, keys=room.keys[:0])
    assert len(strength(empty, answer(keys, 0.5))) == 0


def test_boxes_have_twelve_edges_of_their_three_lengths() -> None:
    points = np.random.default_rng(1).uniform(-1, 1, (500, 3)) * [2.0, 0.5, 0.3]
    turn = np.array([[0.8, -0.6, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 1.0]])
    thing = box_around(3, (points @ turn.T).astype(np.float32), CHAIR, 0.9, 0.05)
    edges = box_edges(thing)
    length = np.linalg.norm(edges[:, 0] - edges[:, 1], axis=1)
    np.testing.assert_allclose(np.sort(length), np.repeat(sorted(thing.box_size_m), 4), rtol=1e-5)
    np.testing.assert_allclose(edges.reshape(-1, 3).mean(0), thing.box_center_m, atol=1e-5)


def test_objects_without_a_sure_name_are_not_named(room: Shown) -> None:
    unsure = [replace(room.things[0], confidence=0.2), replace(room.things[1], label=0), room.things[1]]
    assert worth_naming(unsure, 0.3) == [room.things[1]]


def test_light_falls_on_what_is_level_and_nothing_is_dark() -> None:
    normal = np.array([[0, 0, 1.0], [1.0, 0, 0], [0, 0, -1.0], [0, 0, 0]])
    up, wall, down, unknown = light(normal)
    assert wall < up == down <= unknown == 1.0
    assert wall > 0.5
