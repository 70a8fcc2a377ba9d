"""Pictures for people: which colour is where."""

import numpy as np
import torch
from std_msgs.msg import Header
from windows import box_cells, window

from ws3d_ros.alignment.virtual_views import CAMERA, draw
from ws3d_ros.language.vocabulary import Vocabulary
from ws3d_ros.node.rendered import image_message, instance_colors, mosaic, pictures
from ws3d_ros.node.snapshot import Snapshot, ahead
from ws3d_ros.sensors.frame import Scan

PALETTE = np.array([[1, 2, 3], [200, 0, 0]], np.uint8)


def test_the_middle_of_the_pictures_shows_what_is_ahead_of_a_lidar() -> None:
    wall = box_cells((40, -20, -20), (41, 20, 20))
    count = len(wall)
    seen = window(
        wall,
        color=torch.full((count, 3), 51.0),
        normal=torch.tensor([-1.0, 0, 0]).expand(count, 3),
        label=torch.ones(count, dtype=torch.int16),
        instance=torch.full((count,), 7, dtype=torch.int32),
    )
    sweep = Scan(0, torch.zeros(0, 3), np.eye(4), None)
    snapshot = Snapshot(seen, Vocabulary.of(["wall"]), 0.0, eyes=ahead(sweep))
    shown = pictures(snapshot, draw(seen, ahead(sweep)), PALETTE)
    middle = CAMERA.height // 2, CAMERA.width // 2
    assert shown["color"][middle].tolist() == [51, 51, 51]
    assert shown["label"][middle].tolist() == [200, 0, 0]
    assert shown["instance"][middle].tolist() == instance_colors(torch.tensor([7]))[0].tolist()
    assert shown["label"][0, 0].tolist() == [0, 0, 0]  # past the wall's edge


def test_objects_with_near_numbers_look_different_and_nothing_is_grey() -> None:
    colors = instance_colors(torch.arange(50)).int()
    assert colors[0].tolist() == [90, 90, 90]
    assert int((colors[1:-1] - colors[2:]).abs().sum(1).min()) > 60


def test_views_lie_side_by_side() -> None:
    images = torch.arange(3)[:, None, None, None].expand(3, 2, 4, 3).byte() + 1
    grid = mosaic(images)
    assert grid.shape == (4, 8, 3)
    assert grid[0, 0, 0] == 1
    assert grid[0, 4, 0] == 2
    assert grid[2, 0, 0] == 3
    assert grid[2, 4, 0] == 0
    assert mosaic(images[:1]).shape == (2, 4, 3)


def test_message_holds_the_rows() -> None:
    picture = np.arange(2 * 5 * 3, dtype=np.uint8).reshape(2, 5, 3)
    message = image_message(picture, Header())
    assert (message.height, message.width, message.step, message.encoding) == (2, 5, 15, "rgb8")
    assert bytes(message.data) == picture.tobytes()
