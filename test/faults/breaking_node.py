"""The perception node with places that can be broken from outside, for what no message can bring about.

A place is broken as long as a file of its name lies in the folder WS3D_BREAK; the file says how.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import torch

from ws3d_ros import ladder
from ws3d_ros.network.namer import Namer
from ws3d_ros.node import doctor, perception_node, workers
from ws3d_ros.node.ingest import Ingest
from ws3d_ros.node.main import main
from ws3d_ros.node.outputs import Outputs
from ws3d_ros.pipeline import Pipeline

FOLDER = Path(os.environ["WS3D_BREAK"])
WAYS: dict[str, Callable[[], object]] = {
    "runtime": lambda: _raise(RuntimeError("broken on purpose")),
    "memory": lambda: _raise(MemoryError("no memory left, on purpose")),
    "cuda": lambda: _raise(torch.OutOfMemoryError("CUDA out of memory, on purpose")),
}


def _raise(error: Exception) -> None:
    raise error


def breakable(owner: Any, method: str, place: str) -> None:
    """Lets the file ``place`` break a method or function."""
    whole = getattr(owner, method)

    @wraps(whole)
    def broken(*arguments: Any, **named: Any) -> Any:
        while (way := way_of(FOLDER / place)) == "hang":
            time.sleep(0.05)
        if way:
            WAYS[way]()
        return whole(*arguments, **named)

    setattr(owner, method, broken)


def way_of(file: Path) -> str:
    """What the file says; nothing where there is none, or none any more."""
    try:
        return file.read_text()
    except FileNotFoundError:
        return ""


# So that nobody need hang, or be without names, for long; but longer than naming takes on a busy machine.
workers.STUCK_S, ladder.CALM_S = 8.0, 2.0
breakable(perception_node, "load_encoder", "configure")
breakable(Pipeline, "integrate", "mapping")
breakable(Pipeline, "name", "names")
breakable(Pipeline, "rename", "words")
breakable(Namer, "read", "network")
breakable(Outputs, "publish_window", "output")
breakable(doctor, "judge", "doctor")
breakable(Ingest, "poll", "executor")

sys.exit(main())
