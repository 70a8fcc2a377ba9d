"""Examples on disk: made once, by several processes, and read as often as training likes."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ws3d_ros.training.scenes.example import USUAL, Example, Options, make_example
from ws3d_ros.training.scenes.furniture import catalogue

VERSION = 3
"""To be raised whenever a seed gives another example than before: older files are then made anew."""

_AS_STORED = {"coords": np.int32, "normal": np.float16, "name": np.int16, "instance": np.int16}


def make_examples(
    seeds: Iterable[int],
    folder: Path,
    options: Options = USUAL,
    workers: int = 0,
    console: Console | None = None,
) -> list[Path]:
    """Makes the examples that are not in the folder yet; returns the files in the order of the seeds.

    Args:
        seeds: of the scenes.
        folder: cache; examples of other options and of other versions may be there, too.
        options: of all examples.
        workers: processes; 0 for one each core. Programs that call this must guard their entry with
            ``if __name__ == "__main__"``, as processes are spawned.
        console: shows progress here; None shows nothing.

    Raises:
        FurnitureMissingError: if there are no furniture catalogues.
    """
    catalogue()  # says what is missing before processes start
    paths = {seed: example_path(folder, seed, options) for seed in seeds}
    absent = [seed for seed, path in paths.items() if not path.is_file()]
    if absent:
        folder.mkdir(parents=True, exist_ok=True)
        workers = min(workers or os.cpu_count() or 1, len(absent))
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
        )
        with (
            Progress(*columns, console=console, disable=console is None) as progress,
            ProcessPoolExecutor(workers, get_context("spawn"), torch.set_num_threads, (1,)) as pool,
        ):
            task = progress.add_task("rooms", total=len(absent), rate="")
            made = [pool.submit(partial(_make, options=options), seed, paths[seed]) for seed in absent]
            try:
                for future in as_completed(made):
                    future.result()
                    speed = progress.tasks[task].speed
                    progress.update(task, advance=1, rate=f"{60 * speed:.0f} a minute" if speed else "")
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
    return list(paths.values())


def example_path(folder: Path, seed: int, options: Options) -> Path:
    """Where an example is kept: the name tells its options and the version of this code."""
    digest = hashlib.sha256(repr((VERSION, options)).encode()).hexdigest()[:8]
    return folder / f"scene{seed:06d}-{digest}.npz"


def save_example(path: Path, example: Example) -> None:
    """Writes all or nothing; the same example gives the same bytes."""
    arrays = {
        key: np.asarray(value).astype(_AS_STORED.get(key, np.asarray(value).dtype))
        for key, value in vars(example).items()
        if value is not None
    }
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def load_example(path: Path) -> Example:
    """What ``save_example`` wrote (normals to three digits)."""
    with np.load(path) as file:
        return Example(
            seed=int(file["seed"]),
            coords=file["coords"],
            points_m=file["points_m"],
            color=file.get("color"),
            normal=file["normal"].astype(np.float32),
            name=file["name"].astype(np.int64),
            instance=file["instance"].astype(np.int64),
            parent=file["parent"],
        )


def _make(seed: int, path: Path, options: Options) -> None:
    save_example(path, make_example(seed, options))
