"""A small dense segmenter: its training pictures, network, loss and file.

It names the classes of ``scenes.classes`` and is trained on renderings of random rooms alone,
so that the package labels something out of the box, with nothing to download.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from ws3d_ros.sensors.frame import Pinhole
from ws3d_ros.training.scenes.classes import CLASSES
from ws3d_ros.training.scenes.furniture import catalogue, credits
from ws3d_ros.training.scenes.render import Renderer
from ws3d_ros.training.scenes.room import make_scene
from ws3d_ros.training.scenes.trajectory import random_pose

HEIGHT, WIDTH = 192, 256
IGNORE = 255
LICENCE = "Apache-2.0; trained on renderings of CC-BY 3.0 and CC0 models, see CREDITS.md"


def render_room(renderer: Renderer, seed: int, views: int) -> np.ndarray:
    """(views, HEIGHT, WIDTH, 4) uint8: RGB and class (IGNORE outside) of one random flat."""
    scene = make_scene(seed)
    renderer.show(scene)
    class_of = scene.class_of_instance().astype(np.uint8)  # -1 becomes IGNORE
    rng = np.random.default_rng([seed, 2])
    pictures: list[np.ndarray] = []
    while len(pictures) < views:
        focal = rng.uniform(0.6, 1.15) * 2 * WIDTH
        camera = Pinhole(2 * WIDTH, 2 * HEIGHT, focal, focal, WIDTH - 0.5, HEIGHT - 0.5)
        view = renderer.view(camera, random_pose(rng, scene))
        if np.median(view.depth_m) < 0.8 and rng.random() < 0.9:
            continue  # the nose against a cupboard
        color = cv2.resize(view.color, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
        label = class_of[view.instance[::2, ::2]]
        pictures.append(np.concatenate([color, label[..., None]], -1))
    return np.stack(pictures)


class Block(nn.Module):
    """Inverted residual (Sandler et al., CVPR 2018)."""

    def __init__(self, channels: int, out: int, stride: int, expansion: int = 4) -> None:
        super().__init__()
        wide = expansion * channels
        self.same = channels == out and stride == 1
        self.layers = nn.Sequential(
            nn.Conv2d(channels, wide, 1, bias=False),
            nn.BatchNorm2d(wide),
            nn.ReLU(inplace=True),
            nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False),
            nn.BatchNorm2d(wide),
            nn.ReLU(inplace=True),
            nn.Conv2d(wide, out, 1, bias=False),
            nn.BatchNorm2d(out),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) to (B, out, h/stride, w/stride)."""
        y: Tensor = self.layers(x)
        return x + y if self.same else y


class Segmenter(nn.Module):
    """About 0.8 M parameters: four scales down, the whole image's mean, and up again to a quarter."""

    WIDTHS = (24, 32, 56, 96, 128)
    DEPTHS = (1, 2, 3, 4, 3)

    def __init__(self, classes: int) -> None:
        super().__init__()
        first = self.WIDTHS[0]
        self.stem = nn.Sequential(
            nn.Conv2d(3, first, 3, 2, 1, bias=False), nn.BatchNorm2d(first), nn.ReLU(inplace=True)
        )
        stages, before = [], first
        for width, depth in zip(self.WIDTHS[1:], self.DEPTHS[1:], strict=True):
            blocks = [Block(before, width, 2, expansion=2 if before == first else 4)] + [
                Block(width, width, 1) for _ in range(depth - 1)
            ]
            stages.append(nn.Sequential(*blocks))
            before = width
        self.stages = nn.ModuleList(stages)
        neck = 64
        self.lateral = nn.ModuleList(nn.Conv2d(width, neck, 1) for width in self.WIDTHS[1:])
        self.whole = nn.Linear(self.WIDTHS[-1], neck)
        self.refine = nn.ModuleList(Block(neck, neck, 1, expansion=1) for _ in self.WIDTHS[2:])
        self.head = nn.Conv2d(neck, classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) float32 in 0..1 to logits (B, C, H/4, W/4)."""
        x = self.stem(image * 4.0 - 2.0)
        levels = []
        for stage in self.stages:
            x = stage(x)
            levels.append(x)
        y = self.lateral[-1](x) + self.whole(x.mean((2, 3)))[:, :, None, None]
        for level, lateral, refine in zip(levels[-2::-1], self.lateral[-2::-1], self.refine, strict=True):
            y = F.interpolate(y, scale_factor=2.0, mode="bilinear", align_corners=False)
            y = refine(y + lateral(level))
        logits: Tensor = self.head(y)
        return logits


def batches(files: list[Path], size: int, rng: np.random.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """Shuffled, augmented batches: images (B, 3, H, W) float32 in 0..1, labels (B, H/4, W/4) int64."""
    rooms = [np.load(file, mmap_mode="r") for file in files]
    index = [(room, view) for room in range(len(rooms)) for view in range(len(rooms[room]))]
    order = rng.permutation(len(index))
    for start in range(0, len(order) - size + 1, size):
        pictures = []
        for row in order[start : start + size]:
            room, view = index[row]
            pictures.append(_augmented(np.asarray(rooms[room][view]), rng))
        stack = np.stack(pictures)
        yield _images(torch.from_numpy(stack)), torch.from_numpy(stack[:, 2::4, 2::4, 3].astype(np.int64))


def class_weights(files: list[Path]) -> Tensor:
    """(C,) weights by 1/frequency to the power 0.4, mean 1 over pixels: rare things count, walls still do."""
    count = np.zeros(len(CLASSES))
    for file in files:
        labels = np.load(file, mmap_mode="r")[:, ::8, ::8, 3]
        count += np.bincount(labels[labels != IGNORE].reshape(-1), minlength=len(CLASSES))[: len(CLASSES)]
    share = np.maximum(count / count.sum(), 1e-4)
    weight = share**-0.4
    return torch.from_numpy(weight / (weight * share).sum()).float()


def confusion(model: nn.Module, files: list[Path], views: int = 4) -> Tensor:
    """(C, C) int64 counts, rows ground truth, of the first views of each room."""
    model.eval()
    total = torch.zeros(len(CLASSES) ** 2, dtype=torch.int64)
    with torch.inference_mode():
        for file in files:
            stack = torch.from_numpy(np.load(file)[:views])
            guess = model(_images(stack)).argmax(1)
            truth = stack[:, 2::4, 2::4, 3].long()
            known = truth != IGNORE
            total += torch.bincount(truth[known] * len(CLASSES) + guess[known], minlength=len(total))
    return total.view(len(CLASSES), -1)


def fit_temperature(model: nn.Module, files: list[Path]) -> float:
    """What logits must be divided by to be calibrated on these rooms (Guo et al., ICML 2017)."""
    model.eval()
    logits, truth = [], []
    with torch.inference_mode():
        for file in files:
            stack = torch.from_numpy(np.load(file)[:2])
            logits.append(model(_images(stack)).permute(0, 2, 3, 1)[:, ::4, ::4].reshape(-1, len(CLASSES)))
            truth.append(stack[:, 2::16, 2::16, 3].reshape(-1).long())
    scores, labels = torch.cat(logits), torch.cat(truth)
    losses = {t: F.cross_entropy(scores / t, labels, ignore_index=IGNORE) for t in np.arange(0.4, 3.0, 0.05)}
    return round(float(min(losses, key=lambda t: losses[t])), 2)


def export(model: Segmenter, temperature: float, folder: Path) -> None:
    """Writes ``segmenter.onnx`` (weights in half precision), ``segmenter.json`` and ``CREDITS.md``."""
    import onnx

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "segmenter.onnx"
    torch.onnx.export(
        model.eval(),
        (torch.zeros(1, 3, HEIGHT, WIDTH),),
        str(path),
        input_names=["image"],
        output_names=["logits"],
        dynamo=False,
    )
    graph = onnx.load(str(path))
    _halve(graph)
    onnx.checker.check_model(graph)
    onnx.save(graph, str(path))
    about = {
        "classes": list(CLASSES),
        "height": HEIGHT,
        "width": WIDTH,
        "layout": "NCHW",
        "input": "image",
        "mean": [0.0, 0.0, 0.0],
        "scale": [1.0, 1.0, 1.0],
        "temperature": temperature,
        "licence": LICENCE,
    }
    (folder / "segmenter.json").write_text(json.dumps(about, indent=1) + "\n")
    names = "".join(f"- {line}\n" for line in credits(catalogue()))
    (folder / "CREDITS.md").write_text(
        "# Credits\n\nThe network was trained on renderings of random rooms with these furniture models\n"
        "of the Sweet Home 3D catalogues (Debian package sweethome3d-furniture), scaled, coloured and\n"
        f"placed by a program. CC-BY 3.0: https://creativecommons.org/licenses/by/3.0/\n\n{names}"
    )


def _halve(graph: object) -> None:
    """Stores large weights as float16, with a cast in front of what reads them; onnxruntime folds it."""
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for tensor in graph.graph.initializer:  # type: ignore[attr-defined]
        value = numpy_helper.to_array(tensor)
        if value.dtype != np.float32 or value.size < 64:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(value.astype(np.float16), f"{name}_half"))
        casts.append(helper.make_node("Cast", [f"{name}_half"], [name], to=TensorProto.FLOAT))
    nodes = list(graph.graph.node)  # type: ignore[attr-defined]
    del graph.graph.node[:]  # type: ignore[attr-defined]
    graph.graph.node.extend(casts + nodes)  # type: ignore[attr-defined]


def _images(stack: Tensor) -> Tensor:
    """(B, H, W, 4) uint8 pictures to (B, 3, H, W) float32 in 0..1."""
    return stack[..., :3].permute(0, 3, 1, 2).float() / 255.0


def _augmented(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Mirrored, cropped, and with the light, colours, blur and noise of some other camera."""
    if rng.random() < 0.5:
        picture = picture[:, ::-1]
    if rng.random() < 0.6:
        picture = _crop(picture, rng)
    color = picture[..., :3].astype(np.float32) / 255.0
    grey = color.mean(-1, keepdims=True)
    color = grey + (color - grey) * rng.uniform(0.2, 1.4)
    color = np.clip(color * rng.uniform(0.8, 1.2, 3), 1e-4, 1.0) ** rng.uniform(0.6, 1.6)
    color = (color - 0.5) * rng.uniform(0.7, 1.4) + 0.5 + rng.uniform(-0.15, 0.15)
    if rng.random() < 0.3:
        x, y = rng.uniform(0, WIDTH), rng.uniform(0, HEIGHT)
        far = np.hypot(np.arange(WIDTH)[None] - x, np.arange(HEIGHT)[:, None] - y) / WIDTH
        color = color * (1 + rng.uniform(-0.4, 0.4) * far[..., None])
    if rng.random() < 0.4:
        color = cv2.GaussianBlur(color, (0, 0), rng.uniform(0.4, 1.5))
    noise = rng.standard_normal((HEIGHT, WIDTH, 1 if rng.random() < 0.5 else 3), np.float32)
    color = color + rng.uniform(0, 0.05) * noise
    byte = (np.clip(color, 0, 1) * 255).astype(np.uint8)
    return np.concatenate([byte, picture[..., 3:]], -1)


def _crop(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    high = int(rng.uniform(0.6, 1.0) * HEIGHT)
    wide = min(WIDTH, int(high * WIDTH / HEIGHT * rng.uniform(0.85, 1.15)))
    y, x = rng.integers(0, HEIGHT - high + 1), rng.integers(0, WIDTH - wide + 1)
    part = np.ascontiguousarray(picture[y : y + high, x : x + wide])
    color = cv2.resize(part[..., :3], (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)
    label = cv2.resize(part[..., 3], (WIDTH, HEIGHT), interpolation=cv2.INTER_NEAREST)
    return np.concatenate([color, label[..., None]], -1)
