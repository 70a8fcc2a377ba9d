"""Fits how sure a student may say it is, on procedural scenes that it has not learnt from, and stores it.

    python scripts/calibrate_student.py runs/student/student.safetensors

The file is written anew with another ``heads.logit_scale``; no likeliest word changes.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import torch
from rich.console import Console

from ws3d_ros.language.choose import weights_folder
from ws3d_ros.language.sentences import SentenceEncoder, find_sentence_model
from ws3d_ros.language.text import SentenceTexts
from ws3d_ros.network import checkpoint
from ws3d_ros.network.backends.choose import choose_backend
from ws3d_ros.training.calibrate import fit_student
from ws3d_ros.training.datasets.labelled_cloud import LabelledCloud
from ws3d_ros.training.scenes.example import Options
from ws3d_ros.training.scenes.names import NAMES
from ws3d_ros.training.scenes.store import load_example, make_examples

SEEDS = range(1_000_006, 1_000_018)
"""Held out from training, and not those that benchmarks/combining.py judges by."""


def main() -> None:
    path = Path(sys.argv[1])
    student = checkpoint.load(path)
    spec, console = student.spec, Console()
    paths = make_examples(
        SEEDS, Path("runs/scenes"), Options(voxel_size_m=spec.voxel_size_m), console=console
    )
    texts = SentenceTexts(SentenceEncoder(find_sentence_model(weights_folder())), torch.device("cpu"))
    words = student.heads.centred(texts.encode_text(list(NAMES)))
    clouds = [partial(load, scene) for scene in paths]
    fit = fit_student(student, clouds, words, spec.voxel_size_m, choose_backend("torch"))
    student.heads.logit_scale.fill_(fit.scale)
    checkpoint.save(student, path, checkpoint.read_extra(path), half=True)
    console.print(
        f"scale {fit.scale:.2f}; negative log-likelihood {fit.nll[0]:.3f} before, {fit.nll[1]:.3f} now; "
        f"calibration error {fit.ece[0]:.3f} before, {fit.ece[1]:.3f} now"
    )


def load(path: Path) -> LabelledCloud:
    return load_example(path).labelled_cloud()


if __name__ == "__main__":
    main()
