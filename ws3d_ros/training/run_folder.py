"""A folder that holds one training run and explains itself.

``recipe.yaml`` what was asked, ``log.jsonl`` one line a report, ``curves.png`` the same as a picture,
``events.*`` for TensorBoard where it is installed, ``state.pt`` everything needed to go on,
``student.safetensors`` the newest weights that serve.
"""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

import torch

log = logging.getLogger(__name__)

_README = """# A training run of ws3d

| file | what it is |
|---|---|
| recipe.yaml | the recipe as it was read; the same recipe and seed give the same run |
| log.jsonl | one line a report: step, losses, scores, rates |
| curves.png | the same as a picture |
| events.out.* | the same for `tensorboard --logdir .` |
| state.pt | weights, optimiser and step, to go on after an interruption: run the same command again |
| student.safetensors | the newest weights as a robot would load them |
"""


class RunFolder:
    """Reads and writes the files of a run. Files are replaced whole, so that a kill leaves the old one."""

    def __init__(self, path: Path, recipe_text: str) -> None:
        """Makes the folder, or goes on in it.

        Raises:
            ValueError: if the folder holds a run of another recipe.
        """
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        recipe = path / "recipe.yaml"
        if recipe.exists() and recipe.read_text() != recipe_text:
            raise ValueError(
                f"{path} holds a run of another recipe; choose another folder, or delete this one "
                f"(compare {recipe})"
            )
        recipe.write_text(recipe_text)
        (path / "README.md").write_text(_README)
        self._events: Any = None

    @property
    def checkpoint(self) -> Path:
        """Where the weights that serve go."""
        return self.path / "student.safetensors"

    def save_state(self, state: dict[str, Any]) -> None:
        """Replaces ``state.pt``: tensors, numbers, strings, lists and dictionaries of them."""
        partial = self.path / "state.partial"
        torch.save(state, partial)
        os.replace(partial, self.path / "state.pt")

    def load_state(self) -> dict[str, Any] | None:
        """What :meth:`save_state` saved last, or None. Nothing but plain data is unpickled."""
        path = self.path / "state.pt"
        if not path.exists():
            return None
        state: dict[str, Any] = torch.load(path, weights_only=True)
        return state

    def forget_after(self, step: int) -> None:
        """Removes reports later than a step: those of steps that a killed run did and that come again."""
        path = self.path / "log.jsonl"
        if path.exists():
            kept = [line for line in path.read_text().splitlines(True) if json.loads(line)["step"] <= step]
            path.write_text("".join(kept))

    def report(self, step: int, values: dict[str, float]) -> None:
        """Adds a line to the log and to TensorBoard."""
        with (self.path / "log.jsonl").open("a") as file:
            file.write(json.dumps({"step": step, **{k: round(v, 5) for k, v in values.items()}}) + "\n")
        if self._events is None:
            self._events = _tensorboard(self.path)
        if self._events:
            for name, value in values.items():
                self._events.add_scalar(name, value, step)
            self._events.flush()

    def reports(self) -> list[dict[str, float]]:
        """All lines of the log."""
        path = self.path / "log.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def draw(self) -> None:
        """Redraws ``curves.png``; left out, with a word, where matplotlib is not installed."""
        try:
            from matplotlib.backends.backend_agg import FigureCanvasAgg
            from matplotlib.figure import Figure
        except ImportError:
            log.info("no curves.png: pip install matplotlib")
            return
        reports = self.reports()
        names = sorted({name for line in reports for name in line} - {"step"})
        if not names:
            return
        columns = min(4, len(names))
        rows = -(-len(names) // columns)
        figure = Figure(figsize=(3.6 * columns, 2.4 * rows), layout="constrained")
        FigureCanvasAgg(figure)
        for place, name in enumerate(names):
            axes = figure.add_subplot(rows, columns, place + 1)
            points = [(line["step"], line[name]) for line in reports if name in line]
            axes.plot(*zip(*points, strict=True), linewidth=1.0)
            axes.set_title(name, fontsize=9)
            axes.tick_params(labelsize=7)
            axes.grid(alpha=0.3)
        figure.savefig(self.path / "curves.png", dpi=100)


def _tensorboard(path: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        log.info("no TensorBoard events: pip install tensorboard")
        return False
    return SummaryWriter(str(path))
