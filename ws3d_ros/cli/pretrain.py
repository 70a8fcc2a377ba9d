"""`ws3d pretrain`: a student from procedural scenes."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ws3d_ros.cli.clouds import data_set, procedural
from ws3d_ros.cli.finetune import LICENCE as DATA_LICENCE
from ws3d_ros.language.choose import choose_encoder
from ws3d_ros.language.encoder import Encoder
from ws3d_ros.language.sentences import SPACE, SentenceEncoder, find_sentence_model
from ws3d_ros.network import checkpoint
from ws3d_ros.network.backends.backend import Backend
from ws3d_ros.network.backends.choose import choose_backend
from ws3d_ros.network.student import Student
from ws3d_ros.training.augment import augment
from ws3d_ros.training.batch import Batch, make_batch
from ws3d_ros.training.calibrate import fit_student
from ws3d_ros.training.loop import train
from ws3d_ros.training.pretrain import Clouds, Pretraining, new_student, zero_shot
from ws3d_ros.training.recipe import Recipe, load_recipe
from ws3d_ros.training.run_folder import RunFolder
from ws3d_ros.training.settle import settle_norms
from ws3d_ros.training.teacher import Teacher, taught
from ws3d_ros.training.words import Encode, WordBook

console = Console()
SETTLED_BATCHES = 48
"""Of two whole scenes; statistics of norms no longer change visibly with more."""
LICENCE = "Apache-2.0; trained on renderings of Sweet Home 3D furniture (CC-BY 3.0 and CC0)"


def pretrain(
    out: Annotated[Path, typer.Option(help="Folder of the run. Run again to go on after an interruption.")],
    recipe: Annotated[str, typer.Option(help="A YAML file, or the name of a shipped recipe.")] = "default",
    scenes: Annotated[Path, typer.Option(help="Cache of procedural scenes.")] = Path("runs/scenes"),
    threads: Annotated[int, typer.Option(help="CPU threads; 0: all cores.", min=0)] = 0,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
) -> None:
    """Teaches a 3D network what things are called, from furnished rooms made out of seeds.

    A recipe may name another data set (source), and an image encoder that teaches beside the names (teacher):
    it is shown views rendered of each cloud, once; what it says is kept in SCENES/taught.

    The weights that a robot loads are OUT/student.safetensors, renewed at each checkpoint.
    """
    torch.set_num_threads(threads or os.cpu_count() or 1)
    try:
        plan, text = load_recipe(recipe)
        run = RunFolder(out, text)
        encode = SentenceEncoder(find_sentence_model(None)).encode
        if plan.source == "procedural":
            names, clouds, held_out = procedural(plan.data, plan.student.voxel_size_m, scenes, console)
        else:
            names, clouds, held_out = data_set(plan.source, plan.data)
        words = _word_book(names, encode)
        licence = LICENCE if plan.source == "procedural" else DATA_LICENCE
        if plan.terms.distillation:
            encoder = _encoder(plan, device)
            licence += f"; taught by {encoder.name}"
            clouds = _taught(plan, clouds, encoder, words, scenes / "taught")
        student = new_student(plan, words, SPACE, licence).to(device)
        _train(plan, student, words.to(device), clouds, held_out, run)
    except (ValueError, RuntimeError) as error:
        console.print(f"[red]{escape(str(error))}")
        raise typer.Exit(2) from error


def whole_batches(plan: Recipe, clouds: Clouds, backend: Backend, device: torch.device) -> Iterator[Batch]:
    """Two whole scenes at a time, changed as in training, but neither cropped nor mixed."""
    for number in range(SETTLED_BATCHES):
        rng = np.random.default_rng([plan.seed, 2, number])
        picked = rng.choice(len(clouds), 2, replace=len(clouds) < 2)
        whole = [augment(clouds[index](), plan.augmentation, rng) for index in picked]
        yield make_batch(whole, plan.student.inputs, plan.student.voxel_size_m, backend, device)


def _word_book(names: tuple[str, ...], encode: Encode) -> WordBook:
    try:  # an extra: robots do without
        from ws3d_ros.training.scenes.names import CATEGORY, SYNONYMS
    except ImportError as error:
        raise ValueError(f"pre-training needs more: pip install 'ws3d_ros[scenes]' ({error})") from error
    others = {
        name: [word for word in SYNONYMS.get(name, ()) if word not in names]  # a data set may tell them apart
        for name in names
    }
    return WordBook(names, others, CATEGORY, encode)


def _encoder(plan: Recipe, device: str) -> Encoder:
    choice = choose_encoder(plan.teacher.encoder, device=device, threads=torch.get_num_threads())
    if choice.encoder is None:
        raise ValueError(f"teacher.encoder: {choice.why}")
    console.print(f"the teacher: {choice.why}")
    return choice.encoder


def _taught(plan: Recipe, clouds: Clouds, encoder: Encoder, words: WordBook, folder: Path) -> Clouds:
    teacher = Teacher(encoder, words.spellings, plan.teacher.views, plan.student.voxel_size_m)
    return taught(clouds, teacher, folder, console)


def _train(
    plan: Recipe,
    student: Student,
    words: WordBook,
    clouds: Clouds,
    held_out: Clouds,
    run: RunFolder,
) -> None:
    backend = choose_backend("torch")
    work = Pretraining(plan, student, words, clouds, backend)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[loss]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("pre-training", total=plan.schedule.steps, loss="")

        def on_step(step: int, terms: dict[str, float]) -> None:
            progress.update(task, completed=step + 1, loss=f"loss {sum(terms.values()):.2f}")

        def on_save(step: int) -> dict[str, float]:
            size = plan.student.voxel_size_m
            score = zero_shot(student, held_out, words.vectors(), size, backend)
            figures = {"held_out/miou": score.miou, "held_out/accuracy": score.accuracy}
            told = {"step": str(step), "held_out": json.dumps(figures), "recipe": json.dumps(str(run.path))}
            checkpoint.save(student, run.checkpoint, told, half=True)
            console.print(
                f"step {step}: held-out scenes mIoU {score.miou:.3f}, accuracy {score.accuracy:.3f}"
            )
            return figures

        train(student, work.draw, work.loss, plan.schedule, run, on_step, on_save)
    with console.status("settling norms and scale on whole scenes"):
        settle_norms(student, whole_batches(plan, clouds, backend, words.mean.device))
        judged = len(held_out) // 4  # the scale is fitted on the others
        fit = fit_student(student, held_out[judged:], words.vectors(), plan.student.voxel_size_m, backend)
        student.heads.logit_scale.fill_(fit.scale)
    on_save(plan.schedule.steps)
    console.print(f"{run.checkpoint}: calibration error {fit.ece[1]:.3f} (scale {fit.scale:.1f})")
