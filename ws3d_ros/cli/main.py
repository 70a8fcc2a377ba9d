"""The `ws3d` command. Each command is one module beside this one."""

from __future__ import annotations

import logging
import os

# Waiting threads must not spin: the node and the encoder share the cores. Read when torch loads.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import typer

from ws3d_ros.cli.demo import demo
from ws3d_ros.cli.evaluate import evaluate
from ws3d_ros.cli.import_weights import import_weights
from ws3d_ros.cli.play import play
from ws3d_ros.cli.pretrain import pretrain

app = typer.Typer(
    help="Open-vocabulary 3D maps: every point a name that you chose.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
)
app.command()(demo)
app.command()(play)
app.command()(evaluate)
app.command()(import_weights)
app.command()(pretrain)


def main() -> None:
    """Entry point of the `ws3d` command."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    app()


if __name__ == "__main__":
    main()
