"""What images and the 3D network say of scenes with ground truth, kept on disk to be weighed in many ways.

A scene is mapped by the pipeline as `ws3d evaluate` does; what comes out is what voxels hold before they get
names, at several times of the way, beside the truth.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from house import SHARED
from torch import Tensor
from torch.nn.functional import normalize

from ws3d_ros.config import from_mapping
from ws3d_ros.evaluation.ground_truth import VoxelVotes, look_up
from ws3d_ros.language.encoder import Encoder, TextEncoder
from ws3d_ros.language.prompts import embed
from ws3d_ros.language.vocabulary import Vocabulary
from ws3d_ros.network.backends.choose import choose_backend
from ws3d_ros.network.inference import Reader
from ws3d_ros.network.student import Student
from ws3d_ros.pipeline import Pipeline
from ws3d_ros.reconstruction.window import Window
from ws3d_ros.sensors.frame import Frame
from ws3d_ros.training.datasets.bag import Bag
from ws3d_ros.training.datasets.bag_topics import messages_of, open_bag, stamp_ns
from ws3d_ros.training.datasets.posed_folder import PosedFolder
from ws3d_ros.training.scenes.bag import CAMERA, INSTANCES
from ws3d_ros.training.scenes.flats import make_flat
from ws3d_ros.training.scenes.looks import camera_poses
from ws3d_ros.training.scenes.names import name_of
from ws3d_ros.training.scenes.render import Renderer
from ws3d_ros.training.scenes.sensing import depth_camera

ROOT = Path(__file__).resolve().parents[1]
SETTINGS = {"map.min_weight": 0.0, "map.window_radius_m": 500.0, "inputs.max_depth_m": 6.0}
MOST_VIEWS = 40
TIMES = 8
"""How often on the way a scene is looked at."""


@dataclass(frozen=True)
class Snapshot:
    """Voxels at one time. ``image`` (N, C) are dot products of their features with the words."""

    window: Window
    image: Tensor


@dataclass(frozen=True)
class Scene:
    """One scene, its vocabulary, its last state's truth (N,) 1..C or 0, and its states in time."""

    name: str
    names: tuple[str, ...]
    truth: Tensor
    states: tuple[Snapshot, ...]

    @property
    def last(self) -> Snapshot:
        return self.states[-1]


@dataclass(frozen=True)
class Labelled:
    """A frame, and the class (H, W) of each pixel, 0 for none."""

    frame: Frame
    truth: Tensor


def flat(seed: int, classes: list[str]) -> Iterator[Labelled]:
    """Views of a procedural flat with a depth camera's errors; its names are appended to ``classes``."""
    scene, rng = make_flat(seed), np.random.default_rng([seed, 9])
    classes += sorted({name_of(thing) for thing in scene.things})
    number = torch.tensor([0, *(classes.index(name_of(thing)) + 1 for thing in scene.things)])
    poses = camera_poses(scene, rng)[:MOST_VIEWS]
    with Renderer() as renderer:
        renderer.show(scene)
        for stamp, pose in enumerate(poses, start=1):
            view = renderer.view(CAMERA, pose, smooth=True)
            depth_m = depth_camera(view, CAMERA, rng).astype(np.float32) / 1000.0
            color = torch.from_numpy(np.ascontiguousarray(view.color))
            frame = Frame(stamp, CAMERA, pose, color, torch.from_numpy(depth_m))
            yield Labelled(frame, number[torch.from_numpy(view.instance.astype(np.int64))])


def room(path: Path, classes: list[str]) -> Iterator[Labelled]:
    """The images of a recorded sample with its ground truth."""
    things = {
        int(k): v["class"]
        for k, v in json.loads((path / "ground_truth.json").read_text())["instances"].items()
    }
    classes += sorted(set(things.values()))
    number = torch.zeros(max(things) + 1, dtype=torch.int64)
    for thing, name in things.items():
        number[thing] = classes.index(name) + 1
    with open_bag(path) as reader:
        instances = {
            stamp_ns(message.header): cv2.imdecode(np.asarray(message.data), cv2.IMREAD_UNCHANGED)
            for _, message in messages_of(reader, lambda c: c.topic.startswith(INSTANCES))
        }
    for frame in Bag(path).measurements():
        if isinstance(frame, Frame):
            yield Labelled(frame, number[torch.from_numpy(instances[frame.stamp_ns].astype(np.int64))])


def house(path: Path, classes: list[str]) -> Iterator[Labelled]:
    """Every fourth image of a posed folder."""
    folder = PosedFolder(path)
    classes += folder.classes
    for item in folder.frames(4):
        yield Labelled(item.frame, folder.class_of_instance[item.instance.long()])


def collect(name: str, encoder: Encoder, cache: Path) -> Scene:
    """The scene ``room``, ``small_house`` or a seed, through the pipeline with an image encoder alone."""
    kind = hashlib.sha256(f"{encoder.space} {MOST_VIEWS} {TIMES}".encode()).hexdigest()[:8]
    file = cache / f"{name}-{kind}.pt"
    if file.is_file():
        return torch.load(file, weights_only=False)
    classes: list[str] = []
    if name == "room":
        source = room(ROOT / "samples/room", classes)
    elif name == "small_house":
        source = house(SHARED / "data/small_house", classes)
    else:
        source = flat(int(name), classes)
    views = list(source)
    config = from_mapping(SETTINGS)
    vocabulary = Vocabulary.of(classes)
    pipeline = Pipeline(config, encoder, vocabulary, torch.device("cpu"))
    votes = VoxelVotes(config.map.voxel_size_m, config.inputs.min_depth_m, config.inputs.max_depth_m)
    words = pipeline._words.image
    states, due = [], set(np.linspace(len(views) / TIMES, len(views), TIMES).round().astype(int).tolist())
    for number, view in enumerate(views, start=1):
        pipeline.integrate(view.frame)
        votes.add(view.frame, view.truth)
        if pipeline.is_keyframe(view.frame):
            pipeline.apply(pipeline.look(view.frame, pipeline.snapshot(view.frame)))
        if number in due:
            window = pipeline.map.everything()
            states.append(Snapshot(window, window.feature.float() @ words.T))
    truth = look_up(*(lambda keys, label: (keys, states[-1].window.keys, label))(*votes.majority()), 0)
    scene = Scene(name, tuple(classes), truth, tuple(states))
    cache.mkdir(parents=True, exist_ok=True)
    torch.save(scene, file)
    return scene


@dataclass(frozen=True)
class Heard:
    """What the network says of N voxels: cosines (N, C) and the probability (N,) of an edge of a class."""

    cosine: Tensor
    boundary: Tensor


def read(
    student: Student, texts: TextEncoder, names: tuple[str, ...], window: Window, color: bool = True
) -> Heard:
    """The student's answer for a window."""
    reader = Reader(student, choose_backend("torch"), torch.device("cpu"), "float32")
    cells = (window.points_m / student.spec.voxel_size_m).floor().long()
    seen = window.color if color else torch.full_like(window.color, torch.nan)
    reading = reader.read(cells, seen, window.normal)
    words = student.heads.centred(embed(Vocabulary.of(list(names)), texts).names)
    edge = reading.boundary[:, 0].sigmoid() if reading.boundary is not None else torch.zeros(len(window))
    return Heard(normalize(reading.embedding, dim=1) @ words.T, edge)
