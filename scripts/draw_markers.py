"""Draws docs/images/markers.png: the live node's markers, over the map that it publishes.

    PYTHONPATH=. python scripts/draw_markers.py [RECORDING] [PICTURE] [QUESTION]

The node runs as a process of its own, the recording is played into it, and what stands in `~/markers` after
that is drawn as RViz would: each box with its colour, each text at its place. What stands there is kept as a
viewer keeps it: by namespace and id, added, deleted. The question is put to `~/query` of the same node, and
its answer is printed.
"""

from __future__ import annotations

import itertools
import os
import sys
from pathlib import Path

import cv2
import numpy as np
import torch
from scipy.spatial.transform import Rotation
from visualization_msgs.msg import Marker, MarkerArray
from ws3d_ros.srv import Query

from ws3d_ros.cli.demo import node_arguments, run, running_node
from ws3d_ros.cli.play import use_large_messages
from ws3d_ros.cli.results import camera_color
from ws3d_ros.node.session import Session
from ws3d_ros.rendering.views import HEIGHT, WIDTH, below_ceiling, draw_map, overview, save_png
from ws3d_ros.training.datasets.bag_topics import bag_folder, find_topics

ROOT = Path(__file__).resolve().parents[1]
VOXEL_M = 0.05
EDGES = [(a, b) for a, b in itertools.combinations(range(8), 2) if bin(a ^ b).count("1") == 1]
"""Pairs of a box's corners, numbered by the bits of their sides, that differ in one side."""


class Board:
    """The markers that stand, as RViz keeps them."""

    def __init__(self) -> None:
        self.standing: dict[tuple[str, int], Marker] = {}

    def take(self, message: MarkerArray) -> None:
        for marker in message.markers:
            if marker.action == Marker.DELETEALL:
                self.standing.clear()
            elif marker.action == Marker.DELETE:
                self.standing.pop((marker.ns, marker.id), None)
            else:
                self.standing[marker.ns, marker.id] = marker


def main(recording: Path, picture: Path, question: str) -> None:
    os.environ.setdefault("ROS_DOMAIN_ID", str(os.getpid() % 100 + 1))
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    use_large_messages()
    folder, board = bag_folder(recording), Board()
    topics = find_topics(folder, None, None, None)
    log_file = picture.with_suffix(".log")
    with Session(folder) as session:
        session.node.create_subscription(MarkerArray, "/ws3d/markers", board.take, 10)
        client = session.node.create_client(Query, "/ws3d/query")
        with running_node(node_arguments(topics, "", "auto", "auto", VOXEL_M, []), log_file) as node:
            run(session, node, topics, 1.0, 1)
            answer = client.call_async(Query.Request(text=question, whole_map=True))
            session.recorder.wait(answer.done, 20.0)
        points = session.recorder.points()
    log_file.unlink()
    save_png(picture, draw(points, board))
    print(f"{len(board.standing)} markers; {picture}")
    if answer.done():
        show(question, answer.result())


def show(question: str, answer: Query.Response) -> None:
    print(f'"{question}": success {answer.success}, found {answer.found}, {1e3 * answer.duration_s:.0f} ms')
    print(answer.message, *answer.notes, sep="\n")
    for instance, word, score, why in zip(
        answer.instances, answer.words, answer.scores, answer.why, strict=True
    ):
        print(f"#{instance.id} {word} {score:.2f}: {why}")


def draw(points: np.ndarray, board: Board) -> np.ndarray:
    """(H, W, 3) uint8 RGB: boxes and texts of what is below the cut, over the map in its cameras' colours."""
    places = np.stack([points[axis] for axis in "xyz"], axis=1).astype(np.float32)
    image = np.ascontiguousarray(draw_map(places, camera_color(points["rgb_camera"]), VOXEL_M) // 2 + 110)
    below = places[below_ceiling(places)]
    camera, T_map_camera = overview(torch.from_numpy(below), WIDTH, HEIGHT)

    def pixels(at_m: np.ndarray) -> np.ndarray:
        x, y, z = ((at_m - T_map_camera[:3, 3]) @ T_map_camera[:3, :3]).T
        return np.stack([camera.fx * x / z + camera.cx, camera.fy * y / z + camera.cy], axis=1).astype(int)

    texts = []
    for marker in board.standing.values():
        place = np.array([getattr(marker.pose.position, axis) for axis in "xyz"])
        if place[2] > below[:, 2].max():
            continue
        if marker.type == Marker.CUBE:
            size = np.array([getattr(marker.scale, axis) for axis in "xyz"])
            sides = np.array([[(corner >> axis & 1) - 0.5 for axis in range(3)] for corner in range(8)])
            turn = Rotation.from_quat([getattr(marker.pose.orientation, axis) for axis in "xyzw"])
            corners = pixels(turn.apply(sides * size) + place)
            color = [255 * getattr(marker.color, channel) for channel in "rgb"]
            filled = image.copy()
            cv2.fillConvexPoly(filled, cv2.convexHull(corners.astype(np.int32)), color)
            image = cv2.addWeighted(filled, marker.color.a / 2, image, 1 - marker.color.a / 2, 0)
            for a, b in EDGES:
                cv2.line(image, corners[a].tolist(), corners[b].tolist(), color, 1, cv2.LINE_AA)
        else:
            texts.append((marker.text, pixels(place[None])[0]))
    for words, (x, y) in texts:
        (width, height), _ = cv2.getTextSize(words, cv2.FONT_HERSHEY_SIMPLEX, 0.42, 1)
        x -= width // 2
        corner = (int(x) - 2, int(y) - height - 2)
        cv2.rectangle(image, corner, (int(x) + width + 2, int(y) + 4), (255, 255, 255), cv2.FILLED)
        cv2.putText(
            image, words, (int(x), int(y)), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (30, 30, 30), 1, cv2.LINE_AA
        )
    return image


if __name__ == "__main__":
    given = sys.argv[1:]
    main(
        Path(given[0]) if given else ROOT / "samples/room",
        Path(given[1]) if len(given) > 1 else ROOT / "docs/images/markers.png",
        given[2] if len(given) > 2 else "something to sit on",
    )
