"""`ws3d finetune`: a student of a data set's classes from a handful of labels."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ws3d_ros.cli.clouds import data_set, procedural
from ws3d_ros.language.sentences import SPACE
from ws3d_ros.language.text import choose_text_encoder
from ws3d_ros.network import checkpoint
from ws3d_ros.network.backends.choose import choose_backend
from ws3d_ros.network.student import Student
from ws3d_ros.training.finetune import FineTuning, class_words, new_student, score
from ws3d_ros.training.loop import train
from ws3d_ros.training.pretrain import Clouds
from ws3d_ros.training.recipe import FineRecipe, check, load_recipe, write_recipe
from ws3d_ros.training.run_folder import RunFolder
from ws3d_ros.training.words import Encode

console = Console()
LICENCE = "the weights are derived from the data set that they were trained on; see its terms"


def finetune(
    out: Annotated[Path, typer.Option(help="Folder of the run. Run again to go on after an interruption.")],
    start: Annotated[str, typer.Option("--from", help="Student of ws3d pretrain; else from scratch.")] = "",
    recipe: Annotated[str, typer.Option(help="A YAML file, or the name of a shipped recipe.")] = "finetune",
    data: Annotated[
        str,
        typer.Option(help="procedural, scannet:PATH, s3dis:PATH, semantickitti:PATH or nuscenes:PATH."),
    ] = "",
    points: Annotated[int | None, typer.Option(help="Labelled points of a scene; 0: all.")] = None,
    scenes_share: Annotated[float | None, typer.Option(help="Share of scenes with labels.")] = None,
    novel: Annotated[int | None, typer.Option(help="Classes that never get a label.")] = None,
    scenes: Annotated[Path, typer.Option(help="Cache of procedural scenes.")] = Path("runs/scenes"),
    threads: Annotated[int, typer.Option(help="CPU threads; 0: all cores.", min=0)] = 0,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
) -> None:
    """Teaches a student the classes of a data set, from a few points of each scene or a few scenes.

    What is left out here is as the recipe says. The weights that a robot loads are OUT/student.safetensors.
    """
    torch.set_num_threads(threads or os.cpu_count() or 1)
    try:
        plan, _ = load_recipe(recipe, FineRecipe)
        labels = plan.labels
        plan = replace(
            plan,
            start=start or plan.start,
            source=data or plan.source,
            labels=replace(
                labels,
                points=labels.points if points is None else points,
                scene_share=labels.scene_share if scenes_share is None else scenes_share,
                novel=labels.novel if novel is None else novel,
            ),
        )
        check(plan, "command line")
        run = RunFolder(out, write_recipe(plan))
        before = _start(plan, run)
        size = before.spec.voxel_size_m if before else plan.student.voxel_size_m
        if plan.source == "procedural":
            names, clouds, held_out = procedural(plan.data, size, scenes, console)
        else:
            names, clouds, held_out = data_set(plan.source, plan.data)
        encode = _words_of(before.spec.space if before else SPACE)
        student = new_student(plan, names, encode, before, SPACE, LICENCE)
        work = FineTuning(plan, student, before, clouds, encode, choose_backend("torch")).to(device)
        _train(plan, work, class_words(student, encode), held_out, run)
    except (ValueError, RuntimeError) as error:
        console.print(f"[red]{escape(str(error))}")
        raise typer.Exit(2) from error


def _start(plan: FineRecipe, run: RunFolder) -> Student | None:
    """The student to start from; kept in the run's folder, so that a run goes on from what it began with."""
    if not plan.start:
        return None
    kept = run.path / "start.safetensors"
    if not kept.exists():
        checkpoint.read_spec(plan.start)  # says what is wrong before anything is copied
        shutil.copy(plan.start, kept.with_suffix(".partial"))
        os.replace(kept.with_suffix(".partial"), kept)
    return checkpoint.load(kept)


def _words_of(space: str) -> Encode:
    encoder = choose_text_encoder(space, None, "", torch.device("cpu"))

    def encode(words: list[str]) -> np.ndarray:
        return encoder.encode_text(words).numpy()

    return encode


def _train(plan: FineRecipe, work: FineTuning, words: torch.Tensor, held_out: Clouds, run: RunFolder) -> None:
    backend = choose_backend("torch")
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[loss]}"),
        TimeRemainingColumn(),
    )
    if work.novel:
        console.print(f"without labels: {', '.join(work.novel)}")
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("fine-tuning", total=plan.schedule.steps, loss="")

        def on_step(step: int, terms: dict[str, float]) -> None:
            progress.update(task, completed=step + 1, loss=f"loss {sum(terms.values()):.2f}")

        def on_save(step: int) -> dict[str, float]:
            found = score(work.student, held_out, words, work.novel, backend)
            figures = {f"held_out/{name}": value for name, value in found.items()}
            told = {"step": str(step), "held_out": json.dumps(figures), "recipe": json.dumps(str(run.path))}
            checkpoint.save(work.student, run.checkpoint, told, half=True)
            console.print(
                f"step {step}: " + ", ".join(f"{name} {value:.3f}" for name, value in found.items())
            )
            return figures

        train(work, work.draw, work.loss, plan.schedule, run, on_step, on_save)
