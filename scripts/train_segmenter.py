#!/usr/bin/env python3
"""Trains the small segmenter that ships, from rendered random rooms to an ONNX file.

    train_segmenter.py render --rooms 600     # pictures into runs/segmenter/rooms, can go on while training
    train_segmenter.py train --minutes 50     # checkpoint in runs/segmenter/last.pt after each round
    train_segmenter.py export                 # ws3d_ros/language/data/segmenter/segmenter.onnx
    train_segmenter.py evaluate               # what that is worth on samples/room

Rendering needs Debian's sweethome3d-furniture, libegl1 and `pip install .[scenes]`; the export
needs `pip install .[train]`. One core is enough.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
import typer
from rosbags.rosbag2 import Reader
from rosbags.typesys import Stores, get_typestore

from ws3d_ros.language.segmenter import Segmenter
from ws3d_ros.training import segmenter
from ws3d_ros.training.scenes.bag import COLOR, INSTANCES
from ws3d_ros.training.scenes.classes import CLASSES
from ws3d_ros.training.scenes.render import Renderer

ROOT = Path(__file__).resolve().parents[1]
RUN = ROOT / "runs" / "segmenter"
OUTPUT = ROOT / "ws3d_ros" / "language" / "data" / "segmenter"
FIRST_SEED = 10_000  # far from the sample room's
HELD_OUT = 40  # the first rooms are never trained on
HALF_SIZE_UNTIL = 0.5  # share of the time on pictures of half the size: four times as many of them

app = typer.Typer(add_completion=False)


@app.command()
def render(rooms: int = 600, views: int = 10, run: Path = RUN) -> None:
    """Renders rooms that are not there yet."""
    (run / "rooms").mkdir(parents=True, exist_ok=True)
    with Renderer() as renderer:
        for seed in range(FIRST_SEED, FIRST_SEED + rooms):
            path = run / "rooms" / f"{seed}.npy"
            if path.exists():
                continue
            stack = segmenter.render_room(renderer, seed, views)
            part = path.with_suffix(".part")
            with part.open("wb") as file:
                np.save(file, stack)
            part.rename(path)
            if seed % 50 == 0:
                print(f"room {seed}", flush=True)


@app.command()
def train(minutes: float = 50.0, batch: int = 16, rate: float = 3e-3, run: Path = RUN) -> None:
    """Trains for a wall time, with every room that is there when a round begins."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    model = segmenter.Segmenter(len(CLASSES)).to(memory_format=torch.channels_last)
    print(f"{sum(p.numel() for p in model.parameters()) / 1e3:.0f} k parameters", flush=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.02)
    begin, step, done = time.monotonic(), 0, 0.0
    while done < 1.0:
        held_out, files = _rooms(run)
        weight = segmenter.class_weights(files)
        model.train()
        losses = []
        for images, labels in segmenter.batches(files, batch, rng):
            done = (time.monotonic() - begin) / (60.0 * minutes)
            if done >= 1.0:
                break
            for group in optimizer.param_groups:
                group["lr"] = rate * min(1.0, (step + 1) / 100) * 0.5 * (1 + np.cos(np.pi * done))
            if done < HALF_SIZE_UNTIL:
                images, labels = F.avg_pool2d(images, 2), labels[:, 1::2, 1::2]
            with torch.autocast("cpu", torch.bfloat16):
                logits = model(images.to(memory_format=torch.channels_last))
            loss = F.cross_entropy(
                logits.float(), labels, weight, ignore_index=segmenter.IGNORE, label_smoothing=0.05
            )
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            step += 1
        torch.save(model.state_dict(), run / "last.pt")
        accuracy, miou, _ = _scores(segmenter.confusion(model, held_out[:20]))
        print(
            f"{done:4.0%} step {step} rooms {len(files)} loss {np.mean(losses or [np.nan]):.3f} "
            f"held out: accuracy {accuracy:.3f} mIoU {miou:.3f}",
            flush=True,
        )


@app.command()
def export(run: Path = RUN, output: Path = OUTPUT) -> None:
    """Writes the ONNX file and prints what the checkpoint is worth on rooms it never saw."""
    model = segmenter.Segmenter(len(CLASSES))
    model.load_state_dict(torch.load(run / "last.pt", weights_only=True))
    held_out = _rooms(run)[0]
    temperature = segmenter.fit_temperature(model, held_out[20:])
    segmenter.export(model, temperature, output)
    accuracy, miou, iou = _scores(segmenter.confusion(model, held_out[:20], views=10))
    print(f"temperature {temperature}")
    print(f"held-out rooms: accuracy {accuracy:.3f}, mIoU {miou:.3f}")
    for index in torch.argsort(iou, descending=True).tolist():
        print(f"  {CLASSES[index]:18s} {iou[index]:.3f}")
    print(f"{output / 'segmenter.onnx'}: {(output / 'segmenter.onnx').stat().st_size / 2**20:.2f} MiB")


@app.command()
def evaluate(bag: Path = ROOT / "samples" / "room", model: Path = OUTPUT) -> None:
    """What the shipped file is worth on the frames of a recording by make_sample_bag.py."""
    network = Segmenter(model, threads=1)
    things = json.loads((bag / "ground_truth.json").read_text())["instances"]
    class_of = np.full(len(things) + 1, -1)
    for number, thing in things.items():
        class_of[int(number)] = CLASSES.index(thing["class"])
    counts = torch.zeros(len(CLASSES), len(CLASSES), dtype=torch.int64)
    for color, instance in _labelled_frames(bag):
        image = torch.from_numpy(color).permute(2, 0, 1)[None].float() / 255.0
        guess = F.interpolate(network.probabilities(image), instance.shape, mode="bilinear").argmax(1)[0]
        truth = torch.from_numpy(class_of[instance])
        both = truth[truth >= 0] * len(CLASSES) + guess[truth >= 0]
        counts += torch.bincount(both, minlength=counts.numel()).view_as(counts)
    accuracy, miou, iou = _scores(counts)
    print(f"{bag.name}: accuracy {accuracy:.3f}, mIoU {miou:.3f}")
    for index in torch.nonzero(counts.sum(1)).flatten().tolist():
        print(f"  {CLASSES[index]:18s} {iou[index]:.3f}")


def _labelled_frames(bag: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(H, W, 3) uint8 RGB and (H, W) uint16 instances."""
    store = get_typestore(Stores.ROS2_JAZZY)
    colors: dict[int, np.ndarray] = {}
    with Reader(bag) as reader:
        wanted = [c for c in reader.connections if c.topic in (COLOR, INSTANCES)]
        for connection, stamp_ns, raw in reader.messages(wanted):
            data = store.deserialize_cdr(raw, connection.msgtype).data
            picture = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
            if connection.topic == COLOR:
                colors[stamp_ns] = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
            else:
                yield colors.pop(stamp_ns), picture


def _rooms(run: Path) -> tuple[list[Path], list[Path]]:
    """Held-out and training files."""
    files = sorted((run / "rooms").glob("*.npy"))
    if len(files) <= HELD_OUT:
        raise typer.BadParameter(
            f"only {len(files)} rooms in {run / 'rooms'}; render more than {HELD_OUT} first"
        )
    return files[:HELD_OUT], files[HELD_OUT:]


def _scores(confusion: torch.Tensor) -> tuple[float, float, torch.Tensor]:
    """Accuracy, mIoU over classes that are there, and IoU per class."""
    hit = confusion.diagonal().float()
    union = confusion.sum(0) + confusion.sum(1) - hit
    iou = hit / union.clamp(min=1)
    present = confusion.sum(1) > 0
    return float(hit.sum() / confusion.sum()), float(iou[present].mean()), iou


if __name__ == "__main__":
    app()
