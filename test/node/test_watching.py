"""What comes over ROS is shown as the map itself would be."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from windows import VOXEL_M, random_cells, window

pytest.importorskip("rclpy", reason="needs ROS 2")
pytest.importorskip("ws3d_ros.msg", reason="needs the built messages")

from std_msgs.msg import Header
from ws3d_ros.srv import Query

from ws3d_ros.instances.objects import State
from ws3d_ros.language.vocabulary import Vocabulary
from ws3d_ros.node.objects import instance_array, instance_message
from ws3d_ros.node.outputs import palette, things, vocabulary_message
from ws3d_ros.node.packing import pack_cloud, pack_palette, pack_points
from ws3d_ros.node.watching import instance_of, reply_of, shown_of
from ws3d_ros.viewing.shown import shown

WORDS = Vocabulary.of(["chair", "mug"])


def test_a_cloud_shows_what_its_window_would() -> None:
    cells = random_cells(400, 12, seed=3)
    rng = np.random.default_rng(4)
    color = torch.from_numpy(rng.integers(0, 256, (len(cells), 3))).float()
    color[:50] = torch.nan
    label = torch.from_numpy(rng.integers(0, 3, len(cells)).astype(np.int16))
    map_window = window(cells, color=color, label=label, instance=label.int())
    points = pack_points(map_window, pack_palette(palette(WORDS)))
    objects = instance_array(things(map_window, WORDS), WORDS, {}, Header()).instances
    told = [instance_of(message) for message in objects]
    words = vocabulary_message(WORDS, "", "", Header())
    got = shown_of(pack_cloud(points, Header()), words, told, VOXEL_M)
    want = shown(map_window, WORDS)
    for name in ("keys", "points_m", "camera", "label", "instance", "confidence", "palette"):
        np.testing.assert_array_equal(getattr(got, name), getattr(want, name), err_msg=name)
    assert got.names == want.names
    assert [thing.id for thing in got.things] == [thing.id for thing in want.things]
    for ours, theirs in zip(got.things, want.things, strict=True):
        np.testing.assert_allclose(ours.box_center_m, theirs.box_center_m, atol=1e-6)
        np.testing.assert_allclose(ours.box_yaw_rad, theirs.box_yaw_rad, atol=1e-6)


def test_labels_that_newer_words_lack_are_unknown() -> None:
    map_window = window(random_cells(9, 4, seed=1), label=torch.full((9,), 2, dtype=torch.int16))
    points = pack_points(map_window, pack_palette(palette(WORDS)))
    words = vocabulary_message(Vocabulary.of(["chair"]), "", "", Header())
    assert (shown_of(pack_cloud(points, Header()), words, [], VOXEL_M).label == 0).all()


def test_answers_of_the_node_and_its_refusals() -> None:
    thing = things(
        window(random_cells(40, 4, seed=2), label=torch.ones(40).short(), instance=torch.ones(40).int()),
        WORDS,
    )[0]
    response = Query.Response(
        success=True,
        message="1 found",
        notes=["not understood: zorg"],
        instances=[instance_message(thing, WORDS, State.ACTIVE)],
        words=["chair"],
        scores=[0.75],
        why=["looks like chair 0.8"],
        voxel_keys=[3, 5],
        voxel_scores=[0.75, 0.75],
    )
    reply = reply_of("chair", response)
    assert (reply.answers[0].name, reply.answers[0].score, reply.notes) == (
        "chair",
        0.75,
        ("not understood: zorg",),
    )
    assert reply.keys.tolist() == [3, 5]
    with pytest.raises(ValueError, match="the map is empty"):
        reply_of("chair", Query.Response(success=False, message="the map is empty"))
