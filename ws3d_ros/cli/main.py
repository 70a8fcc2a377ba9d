"""The `ws3d` command. Each command is one module beside this one."""

from __future__ import annotations

import logging
import os

# Read when torch loads, see node/main.py. Waiting threads hardly spin: node and encoder share the cores.
# Large tensors are put on large pages: without, the kernel hands their memory out anew, 4 KiB at a time.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "2000")
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
# Of ready-made multiplications by shape few are kept: the shapes of clouds hardly come again.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "128")
os.environ.setdefault("LRU_CACHE_CAPACITY", "128")

import typer

from ws3d_ros.cli.demo import demo
from ws3d_ros.cli.doctor import doctor
from ws3d_ros.cli.evaluate import evaluate
from ws3d_ros.cli.export import export
from ws3d_ros.cli.finetune import finetune
from ws3d_ros.cli.import_weights import import_weights
from ws3d_ros.cli.label import label
from ws3d_ros.cli.map import map_recording
from ws3d_ros.cli.play import play
from ws3d_ros.cli.pretrain import pretrain
from ws3d_ros.cli.query import query
from ws3d_ros.cli.render_scene import render_scene
from ws3d_ros.cli.view import view

app = typer.Typer(
    help="Open-vocabulary 3D maps: every point a name that you chose.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
)
app.command()(demo)
app.command()(play)
app.command()(doctor)
app.command()(evaluate)
app.command("map")(map_recording)
app.command()(query)
app.command()(view)
app.command()(export)
app.command()(label)
app.command()(import_weights)
app.command()(pretrain)
app.command()(finetune)
app.command("render-scene")(render_scene)


def main() -> None:
    """Entry point of the `ws3d` command."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    app()


if __name__ == "__main__":
    main()
