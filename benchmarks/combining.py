"""How image features and the 3D network become one name a voxel: what each step is worth.

    python benchmarks/combining.py CHECKPOINT [WEIGHTS]

CHECKPOINT is a calibrated student (`ws3d pretrain` ends with that).
On samples/room and six procedural flats that nothing was trained on (the constants were chosen there), and on
../shared/data/small_house where it is at hand (nothing was chosen there). WEIGHTS is the folder of encoders;
without, the segmenter that ships. Maps are kept in runs/combining.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from common import save, summary, times_ms
from evidence import ROOT, SHARED, Scene, Snapshot, collect, read
from rich.console import Console
from rich.table import Table
from torch import Tensor

from ws3d_ros.alignment.combining import pool, spoken
from ws3d_ros.alignment.hysteresis import hold
from ws3d_ros.alignment.labelling import decide
from ws3d_ros.alignment.regularise import agree
from ws3d_ros.config import Config
from ws3d_ros.evaluation.metrics import calibration_error, confusion_matrix, scores
from ws3d_ros.instances.segmentation import superpoints
from ws3d_ros.language.choose import choose_encoder
from ws3d_ros.language.encoder import TextEncoder
from ws3d_ros.language.text import choose_text_encoder
from ws3d_ros.network import checkpoint
from ws3d_ros.network.student import Student
from ws3d_ros.training.calibrate import fit_scale

FLATS = [str(seed) for seed in range(1_000_000, 1_000_006)]
SHARE, UNKNOWN_BELOW, LEAST = Config().semantics.region_share, 0.05, 1e-6


@dataclass(frozen=True)
class Said:
    """What is known of N voxels before they have names: both sources over C words, and the surfaces."""

    image: Tensor
    network: Tensor
    weight: Tensor
    region: Tensor

    def images(self, share: float) -> Tensor:
        return agree(self.image, self.weight, self.region, share)

    def shapes(self, share: float) -> Tensor:
        return agree(self.network, torch.ones_like(self.weight), self.region, share)

    def both(self, share: float) -> Tensor:
        return pool(self.images(share), self.shapes(share), spoken(self.network))


WAYS: dict[str, Callable[[Said], Tensor]] = {
    "image only": lambda said: said.images(0.0),
    "image only, surfaces agree": lambda said: said.images(SHARE),
    "network only": lambda said: said.shapes(0.0),
    "network only, surfaces agree": lambda said: said.shapes(SHARE),
    "pooled": lambda said: said.both(0.0),
    "pooled, surfaces agree": lambda said: said.both(SHARE),
}


def hear(state: Snapshot, cosine: Tensor, image_scale: float, network_scale: float) -> Said:
    window = state.window
    return Said(
        torch.softmax(image_scale * state.image, 1),
        torch.softmax(network_scale * cosine, 1),
        window.feature_weight,
        superpoints(window).of_voxel,
    )


def figures(probability: Tensor, truth: Tensor) -> dict[str, float]:
    """Of the labels without a background word; unknown is wrong."""
    words = probability.shape[1]
    label, confidence = decide(probability, words, UNKNOWN_BELOW)
    known, named = truth > 0, (truth > 0) & (label > 0)
    result = scores(confusion_matrix(truth, label.long(), words))
    certain = torch.where(probability.sum(1, keepdim=True) > 0, probability, 1.0 / words)[known]
    likely = certain.gather(1, truth[known, None] - 1).clamp(min=LEAST)
    return {
        "miou": result.miou,
        "accuracy": result.accuracy,
        "ece": calibration_error(confidence[named].float(), label[named].long() == truth[named]),
        "nll": float(-likely.log().mean()),
    }


def changes(scene: Scene, states: list[Tensor], held: bool) -> tuple[float, Tensor, Tensor]:
    """How often a voxel of the last state changed its name on the way; its last label and confidence."""
    last = scene.last.window.keys
    total = torch.zeros(len(last))
    before = torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int16), torch.zeros(0).half()
    for state, probability in zip(scene.states, states, strict=True):
        keys = state.window.keys
        label, confidence = decide(probability, probability.shape[1], UNKNOWN_BELOW)
        old_label, old_confidence = (at(before[0], keys, values) for values in before[1:])
        if held:
            label, confidence = hold(old_label, old_confidence, probability, label, confidence)
        changed = (old_label > 0) & (label != old_label)
        total += at(keys, last, changed.float())
        before = keys, label, confidence
    return float(total.mean()), before[1], before[2]


def at(keys: Tensor, wanted: Tensor, values: Tensor) -> Tensor:
    """Values at other keys, 0 where there is none."""
    if len(keys) == 0:
        return values.new_zeros(len(wanted))
    place = torch.searchsorted(keys, wanted).clamp(max=len(keys) - 1)
    return torch.where(keys[place] == wanted, values[place], values.new_zeros(()))


def judge(scene: Scene, student: Student, texts: TextEncoder, scales: tuple[float, float]) -> dict[str, Any]:
    """All ways on one scene, at every other of its states."""
    scene = replace(scene, states=scene.states[1::2])
    cosines = [read(student, texts, scene.names, state.window).cosine for state in scene.states]
    said = [hear(state, cosine, *scales) for state, cosine in zip(scene.states, cosines, strict=True)]
    rows = {}
    for name, way in WAYS.items():
        states = [way(each) for each in said]
        rows[name] = figures(states[-1], scene.truth)
        rows[name]["changes"] = changes(scene, states, held=False)[0]
        rows[name]["changes_held"], label, _ = changes(scene, states, held=True)
        held = scores(confusion_matrix(scene.truth, label.long(), len(scene.names)))
        rows[name] |= {"miou_held": held.miou, "accuracy_held": held.accuracy}
    return rows


def costs(scene: Scene, student: Student, texts: TextEncoder) -> dict[str, Any]:
    """Milliseconds for 100,000 voxels."""
    cosine = read(student, texts, scene.names, scene.last.window).cosine
    said = hear(scene.last, cosine, 8.0, 20.0)
    both = said.both(SHARE)
    label = decide(both, both.shape[1], UNKNOWN_BELOW)
    parts: dict[str, Callable[[], object]] = {
        "cut into surfaces": lambda: superpoints(scene.last.window),
        "agree, both": lambda: (said.images(SHARE), said.shapes(SHARE)),
        "pool": lambda: pool(said.image, said.network, spoken(said.network)),
        "hold": lambda: hold(*label, both, *label),
    }
    each = 100_000 / len(scene.last.window)
    return {name: summary([each * ms for ms in times_ms(part, 5, 1)]) for name, part in parts.items()}


def mean(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    return {
        way: {key: round(float(np.mean([row[way][key] for row in rows])), 4) for key in rows[0][way]}
        for way in rows[0]
    }


def main() -> None:
    device = torch.device("cpu")
    student = checkpoint.load(sys.argv[1])
    weights = sys.argv[2] if len(sys.argv) > 2 else ""
    encoder = choose_encoder("concept", weights).encoder
    assert encoder is not None
    texts = choose_text_encoder(student.spec.space, encoder, weights, device)
    chosen = [collect(name, encoder, ROOT / "runs/combining") for name in ("room", *FLATS)]
    room = chosen[0]
    seen = torch.where(room.last.window.feature_weight > 0, room.truth - 1, -1)
    scales = (encoder.logit_scale, float(student.heads.logit_scale))
    result: dict[str, Any] = {
        "checkpoint": checkpoint.read_extra(sys.argv[1]),
        "encoder": encoder.name,
        "network_scale": round(scales[1], 2),
        "image_scale": {
            "used": encoder.logit_scale,
            "fitted_on_room": round(fit_scale(room.last.image, seen), 2),
        },
        "ms_per_100k_voxels": costs(room, student, texts),
        "room_and_flats": mean([judge(scene, student, texts, scales) for scene in chosen]),
    }
    if (SHARED / "data/small_house").is_dir():
        house = collect("small_house", encoder, ROOT / "runs/combining")
        result["small_house"] = mean([judge(house, student, texts, scales)])
    for place in ("room_and_flats", "small_house"):
        table = Table(place, *result.get(place, {}).get("image only", {}))
        for way, row in result.get(place, {}).items():
            table.add_row(way, *(f"{value:.3f}" for value in row.values()))
        Console(width=150).print(table)
    save("combining" if not weights else "combining_deeplab", result)


if __name__ == "__main__":
    main()
