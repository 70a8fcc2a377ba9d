"""What learning on the way is worth: in the scene, elsewhere, and with a teacher that is wrong.

    python benchmarks/adaptation.py [WEIGHTS] [--quick]

Each scene is given to the adapter as the pipeline would, state by state, until so many keyframes were
learnt from (no bound on time); then its last map is read and named anew. Scored are the student alone and
both sources, in that scene and in another one (what was forgotten). A second run shuffles the names of what
images say; the gate must refuse all of it. On samples/room and procedural flats that nothing was trained on,
and on ../shared/data/small_house where it is at hand. WEIGHTS is the folder of encoders; without, the
segmenter that ships. Writes results/adaptation.json. --quick: one flat, few keyframes, no file.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from time import perf_counter
from typing import Any

import numpy as np
import torch
from combining import FLATS
from common import save
from evidence import ROOT, SETTINGS, SHARED, Scene, collect
from rich.console import Console
from rich.table import Table

from ws3d_ros.adaptation.adapter import Evidence
from ws3d_ros.config import from_mapping
from ws3d_ros.evaluation.metrics import confusion_matrix, scores
from ws3d_ros.language.choose import choose_encoder
from ws3d_ros.language.encoder import Encoder
from ws3d_ros.language.vocabulary import Vocabulary
from ws3d_ros.learning import evidence
from ws3d_ros.network.choose import choose_network
from ws3d_ros.network.namer import Namer
from ws3d_ros.pipeline import Pipeline

CPU = torch.device("cpu")
KEYFRAMES = (0, 36, 108)
"""Learnt from; a round of the gate takes eight or nine."""


def namer_of(encoder: Encoder, weights: str) -> Namer:
    """A fresh one: adaptation changes what it reads with."""
    found = choose_network(from_mapping(SETTINGS).network, encoder, weights, CPU).namer
    assert found is not None
    return found


def pipeline_of(scene: Scene, encoder: Encoder | None, namer: Namer) -> Pipeline:
    config = from_mapping(SETTINGS | {"adaptation.enabled": True, "adaptation.share": 1.0})
    return Pipeline(config, encoder, Vocabulary.of(list(scene.names)), CPU, namer)


def figures(scene: Scene, encoder: Encoder, namer: Namer) -> dict[str, float]:
    """mIoU and accuracy of the last map, by the student alone and by both."""
    window, row = scene.last.window, {}
    read = pipeline_of(scene, encoder, namer).read(window).read
    assert read is not None
    heard = replace(window, embedding=read.embedding)
    blind = replace(heard, feature=heard.feature[:, :0], feature_weight=heard.feature_weight * 0)
    for name, images, seen in (("student", None, blind), ("both", encoder, heard)):
        named = pipeline_of(scene, images, namer).relabel(seen).names
        assert named is not None
        assert named.label is not None
        result = scores(confusion_matrix(scene.truth, named.label.long(), len(scene.names)))
        row |= {f"{name}_miou": result.miou, f"{name}_accuracy": result.accuracy}
    return row


def drive(
    scene: Scene, other: Scene, encoder: Encoder, weights: str, keyframes: tuple[int, ...], shuffled: bool
) -> dict[int, dict[str, Any]]:
    """Figures after so many keyframes, in the scene and in the other one."""
    namer = namer_of(encoder, weights)
    pipeline = pipeline_of(scene, encoder, namer)
    assert pipeline.learning is not None
    adapter = pipeline.learning.adapter
    order = torch.arange(len(scene.names)).roll(max(1, len(scene.names) // 3))
    rows: dict[int, dict[str, Any]] = {}
    times_ms: list[float] = []
    for number in range(max(keyframes) + 1):
        if number in keyframes:
            rows[number] = figures(scene, encoder, namer)
            rows[number] |= {f"other_{name}": value for name, value in figures(other, encoder, namer).items()}
            refused = dict(adapter.refused)
            rows[number] |= {"accepted": adapter.accepted, "refused": refused}
            rows[number]["step_ms_p95"] = float(np.percentile(times_ms, 95)) if times_ms else 0.0
        # Later states come later; a state stands for several keyframes, of which each learns another part.
        window = scene.states[min(2 + number // 9, len(scene.states) - 1)].window
        if number % 9 == 0:
            read = pipeline.read(window).read
            assert read is not None
            seen = evidence(replace(window, embedding=read.embedding), pipeline._words, namer.voxel_size_m)
            if shuffled:
                seen = Evidence(seen.voxels, seen.image[:, order], seen.pooled[:, order], seen.trust)
        begun = perf_counter()
        learnt = adapter.learn(lambda seen=seen: seen, pipeline._vectors)  # type: ignore[misc]
        times_ms.append(1e3 * (perf_counter() - begun))
        adapter._busy_s = 0.0  # no bound on time here
        if learnt:
            namer.reader.renew(adapter.student())
    return rows


def mean(runs: list[dict[int, dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Means of figures, sums of refusals."""
    result: dict[str, dict[str, Any]] = {}
    for count, row in runs[0].items():
        each = [run[count] for run in runs]
        result[str(count)] = {
            name: round(float(np.mean([one[name] for one in each])), 4)
            for name, value in row.items()
            if isinstance(value, float)
        }
        reasons = sorted({reason for one in each for reason in one["refused"]})
        refused = {reason: sum(one["refused"].get(reason, 0) for one in each) for reason in reasons}
        result[str(count)] |= {"accepted": sum(one["accepted"] for one in each), "refused": refused}
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("weights", nargs="?", default="")
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    encoder = choose_encoder("concept", arguments.weights).encoder
    assert encoder is not None
    cache = ROOT / "runs/combining"
    names = FLATS[:1] if arguments.quick else ["room", *FLATS[:3]]
    keyframes = (0, 12) if arguments.quick else KEYFRAMES
    other = collect(FLATS[5], encoder, cache)
    result: dict[str, Any] = {"encoder": encoder.name}

    def runs(scenes: list[str], shuffled: bool) -> dict[str, dict[str, Any]]:
        found = [collect(name, encoder, cache) for name in scenes]
        return mean([drive(each, other, encoder, arguments.weights, keyframes, shuffled) for each in found])

    result["room_and_flats"] = runs(names, shuffled=False)
    result["room_and_flats, names shuffled"] = runs(names, shuffled=True)
    if (SHARED / "data/small_house").is_dir() and not arguments.quick:
        result["small_house"] = runs(["small_house"], shuffled=False)
    columns = ("student_miou", "student_accuracy", "both_miou", "both_accuracy")
    for place, rows in result.items():
        if isinstance(rows, dict):
            others = [f"other_{name}" for name in columns]
            table = Table(place, *columns, *others, "accepted", "refused")
            for count, row in rows.items():
                cells = [f"{row[name]:.3f}" for name in (*columns, *others)]
                table.add_row(count, *cells, str(row["accepted"]), str(row["refused"]))
            Console(width=200).print(table)
    if not arguments.quick:
        save("adaptation", result)


if __name__ == "__main__":
    main()
