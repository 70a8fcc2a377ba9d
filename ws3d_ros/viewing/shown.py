"""What a viewer shows of a map: points, objects, and their colours in each layer. Nothing here draws."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from ws3d_ros.instances.boxes import boxes
from ws3d_ros.instances.instance import Instance
from ws3d_ros.instances.query import Answer, Result
from ws3d_ros.instances.segmentation import structure_labels
from ws3d_ros.language.vocabulary import Vocabulary
from ws3d_ros.reconstruction.window import Window
from ws3d_ros.rendering.views import LegendEntry

UNSEEN = 150
"""Grey of voxels that no camera saw."""
NO_THING = (205, 207, 211)
"""Colour of voxels that belong to no object."""
LIT = np.array([215, 48, 39])
"""Colour of answers."""
FADED = 0.55
"""So far towards white is what is no answer."""
_GOLDEN = 0.618034  # of the circle of hues: numbers that follow each other get hues far apart
_LIGHT = np.array([0.35, 0.25, 0.90])  # from where light comes
_SHADE = 0.76  # of what light does not reach


@dataclass(frozen=True)
class Shown:
    """A map for people.

    Attributes:
        keys: (N,) int64 of the voxels.
        points_m: (N, 3) float32 centroids.
        light: (N,) float32 how bright each surface is.
        camera: (N, 3) uint8 colours that cameras saw, ``UNSEEN`` where none did.
        label, instance: (N,) int64. confidence: (N,) float32.
        names, palette: of the labels, ``unknown`` first; (C + 1, 3) uint8.
        things: objects with upright boxes.
        voxel_size_m: edge of a voxel.
    """

    keys: np.ndarray
    points_m: np.ndarray
    light: np.ndarray
    camera: np.ndarray
    label: np.ndarray
    instance: np.ndarray
    confidence: np.ndarray
    names: list[str]
    palette: np.ndarray
    things: list[Instance]
    voxel_size_m: float

    def __len__(self) -> int:
        return len(self.keys)


@dataclass(frozen=True)
class Reply:
    """What a question brought.

    Attributes:
        summary: a sentence, such as "not found".
        answers: the best first.
        notes: what was not understood or not found, a sentence each.
        keys, score: (V,) int64 voxels of all answers, and float32 of each.
    """

    summary: str
    answers: tuple[Answer, ...]
    notes: tuple[str, ...]
    keys: np.ndarray
    score: np.ndarray


Ask = Callable[[str, np.ndarray | None], Reply]
"""Answers words, for somebody who looks from (3,) metres in the map's frame. May raise ``ValueError``."""


def reply_of(result: Result) -> Reply:
    """What ``ws3d query`` would tell."""
    found = f"{len(result.answers)} found" if result.answers else "not found"
    summary = f'"{result.question.text}": {found}, best score {result.best_score:.2f}'
    return Reply(summary, result.answers, result.notes, result.keys.cpu().numpy(), result.score.cpu().numpy())


def shown(window: Window, vocabulary: Vocabulary) -> Shown:
    """What to show of a window whose labels these words name."""
    structure = structure_labels(vocabulary.names)
    normal = window.normal.cpu().numpy()
    return Shown(
        keys=window.keys.cpu().numpy(),
        points_m=window.points_m.cpu().numpy(),
        light=light(normal),
        camera=window.color.nan_to_num(float(UNSEEN)).clamp(0, 255).round().byte().cpu().numpy(),
        label=window.label.long().cpu().numpy(),
        instance=window.instance.long().cpu().numpy(),
        confidence=window.confidence.float().cpu().numpy(),
        names=["unknown", *vocabulary.names],
        palette=np.vstack([[vocabulary.unknown_color], vocabulary.colors]).astype(np.uint8),
        things=boxes(window, window.label, window.confidence, window.instance, structure),
        voxel_size_m=window.voxel_size_m,
    )


def light(normal: np.ndarray) -> np.ndarray:
    """(N,) float32 in 0..1 brightness of surfaces with these (N, 3) normals; 1 where a normal is 0."""
    along = np.abs(normal @ (_LIGHT / np.linalg.norm(_LIGHT)))
    return np.where(normal.any(axis=1), _SHADE + (1.0 - _SHADE) * along, 1.0).astype(np.float32)


def by_camera(shown: Shown) -> np.ndarray:
    """(N, 3) uint8 as cameras saw it; pictures have their own light and shade."""
    return shown.camera


def by_label(shown: Shown) -> np.ndarray:
    """(N, 3) uint8 colours of the labels."""
    return _shaded(shown.palette[shown.label], shown.light)


def by_instance(shown: Shown) -> np.ndarray:
    """(N, 3) uint8, a colour for each object, always the same for the same number."""
    return _shaded(instance_colors(shown.instance), shown.light)


def by_confidence(shown: Shown) -> np.ndarray:
    """(N, 3) uint8 from dark blue (0) to yellow (1); grey where nothing has a name."""
    rgb = np.where((shown.label > 0)[:, None], confidence_colors(shown.confidence), NO_THING)
    return _shaded(rgb, shown.light)


LAYERS: dict[str, Callable[[Shown], np.ndarray]] = {
    "label": by_label,
    "camera": by_camera,
    "instance": by_instance,
    "confidence": by_confidence,
}
"""What points may be coloured by."""


def instance_colors(ids: np.ndarray) -> np.ndarray:
    """(N, 3) uint8 colours of numbers; of 0, ``NO_THING``."""
    value = np.where(ids % 2 == 0, 235.0, 190.0)[:, None]
    # HSV to RGB of saturation 0.6, each channel a trapezium over the circle of hues.
    k = (np.array([5.0, 3.0, 1.0]) + (ids * _GOLDEN % 1.0)[:, None] * 6.0) % 6.0
    rgb = value * (1.0 - 0.6 * np.clip(np.minimum(k, 4.0 - k), 0.0, 1.0))
    return np.asarray(np.where((ids > 0)[:, None], rgb, NO_THING).astype(np.uint8))


def confidence_colors(confidence: np.ndarray) -> np.ndarray:
    """(N, 3) uint8 for numbers in 0..1."""
    level = np.rint(np.clip(confidence, 0.0, 1.0) * 255).astype(np.uint8)
    table = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_VIRIDIS)
    return np.asarray(table[:, 0, ::-1][level])


def legend(shown: Shown, layer: str) -> list[LegendEntry]:
    """What the colours of a layer mean, the most frequent first; empty for those that need no words."""
    if layer == "label":
        count = np.bincount(shown.label, minlength=len(shown.names))
        order = np.argsort(-count, kind="stable")
        return [(shown.names[i], shown.palette[i], int(count[i])) for i in order if count[i]]
    if layer == "instance":
        large = sorted(shown.things, key=lambda thing: -thing.voxels)
        return [
            (f"{shown.names[thing.label]} {thing.id}", instance_colors(np.array([thing.id]))[0], thing.voxels)
            for thing in large
        ]
    if layer == "confidence":
        named = shown.confidence[shown.label > 0]
        step = np.minimum((named * 5).astype(np.int64), 4)
        count = np.bincount(step, minlength=5)
        color = confidence_colors(np.arange(5) / 5 + 0.1)
        return [(f"{i / 5:.1f} to {(i + 1) / 5:.1f}", color[i], int(count[i])) for i in reversed(range(5))]
    return []


def strength(shown: Shown, reply: Reply) -> np.ndarray:
    """(N,) float32 score of each voxel shown; 0 for those that are no answer."""
    score = np.zeros(len(shown), np.float32)
    order = np.argsort(shown.keys, kind="stable")
    place = np.searchsorted(shown.keys, reply.keys, sorter=order)
    row = order[np.minimum(place, len(order) - 1)] if len(order) else place[:0]
    here = shown.keys[row] == reply.keys[: len(row)]
    score[row[here]] = reply.score[: len(row)][here]
    return score


def highlighted(rgb: np.ndarray, score: np.ndarray) -> np.ndarray:
    """(N, 3) uint8 colours made pale, with answers red, the surer the stronger. (N,) scores, 0 for none."""
    pale = rgb + (250.0 - rgb) * FADED
    share = np.where(score > 0, 0.35 + 0.65 * score, 0.0)[:, None]
    return np.asarray(np.rint(pale + (LIT - pale) * share).astype(np.uint8))


def worth_naming(things: list[Instance], least_score: float) -> list[Instance]:
    """Objects that have a name of at least this score, the largest first."""
    named = [thing for thing in things if thing.label > 0 and thing.confidence >= least_score]
    return sorted(named, key=lambda thing: -float(np.prod(thing.box_size_m)))


def box_edges(thing: Instance) -> np.ndarray:
    """(12, 2, 3) float32 ends of the edges of an object's upright box, map frame."""
    unit = np.array([(x, y, z) for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
    pairs = [(a, b) for a in range(8) for b in range(a + 1, 8) if (a ^ b) in (1, 2, 4)]
    c, s = np.cos(thing.box_yaw_rad), np.sin(thing.box_yaw_rad)
    turn = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
    corners = (unit * np.array(thing.box_size_m)) @ turn.T + np.array(thing.box_center_m)
    return np.asarray(corners[np.array(pairs)].astype(np.float32))


def _shaded(rgb: np.ndarray, light: np.ndarray) -> np.ndarray:
    return np.asarray((rgb * light[:, None]).astype(np.uint8))
