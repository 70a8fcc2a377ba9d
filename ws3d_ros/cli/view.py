"""`ws3d view`: a map in a browser, out of a file, out of a recording, or of a running node."""

from __future__ import annotations

import os
import threading
import time
import webbrowser
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from rich.console import Console
from rich.markup import escape

from ws3d_ros.cli.map import load_pipeline, map_all, name_all, read
from ws3d_ros.cli.query import answerer
from ws3d_ros.config import ConfigError, from_mapping
from ws3d_ros.language.encoder import EncoderError
from ws3d_ros.language.vocabulary import Vocabulary, VocabularyError
from ws3d_ros.network.choose import NetworkError
from ws3d_ros.reconstruction.map_file import SUFFIX, MapFileError, SavedMap, load_map
from ws3d_ros.rendering.views import draw_legend, save_png
from ws3d_ros.saved_maps import as_window, checkpoint_digest, snapshot
from ws3d_ros.training.datasets.bag_topics import BagError
from ws3d_ros.training.datasets.files import DatasetError
from ws3d_ros.viewing.browser import page
from ws3d_ros.viewing.shown import LAYERS, Reply, legend, reply_of, shown

if TYPE_CHECKING:
    from ws3d_ros.node.watching import Watcher
    from ws3d_ros.viewing.viewer import Viewer

console = Console()
MOST_ANSWERS = 8
GROW_EVERY_S = 3.0
"""A map that is being made is shown anew so often."""
WIDTH, HEIGHT = 1270, 1000
BROWSER_TIMEOUT_S = 60.0
UNCHANGED, MOST_PICTURES = 4, 20
"""So many equal pictures in a row show that a page is complete; the last of the most is taken as it is."""
LIVE_TIMEOUT_S = 30.0


def view(
    source: Annotated[
        str, typer.Argument(metavar="MAP|BAG|live", help="A map, .ws3d; a recording; or a running node.")
    ],
    ask: Annotated[str, typer.Option(help='Words to look for at first, such as "lamp near the sofa".')] = "",
    layer: Annotated[str, typer.Option(help=f"Colours at first: {', '.join(LAYERS)}.")] = "label",
    screenshot: Annotated[
        Path | None, typer.Option(help="Save a PNG and end; needs Chromium, but no screen.")
    ] = None,
    vocabulary: Annotated[
        str | None, typer.Option("--vocabulary", "-v", help="For a BAG: a shipped name, a file, or words.")
    ] = None,
    every: Annotated[int, typer.Option(help="For a BAG: use every so many frames.", min=1)] = 1,
    node: Annotated[str, typer.Option(help="For live: the node's name.")] = "/ws3d",
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 lets other machines look, too.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; the next free one if it is taken.")] = 8080,
) -> None:
    """Shows a map in a browser: layers, objects with names, questions, pictures.

    Needs pip install 'ws3d_ros\\[viewer]'. Ends with Ctrl-C.

    Examples:

      ws3d view room.ws3d

      ws3d view my_bag -v "desk, chair, floor, wall"

      ws3d view live --host 0.0.0.0

      ws3d view room.ws3d --ask "something to sit on" --screenshot answer.png
    """
    if layer not in LAYERS:
        console.print(f"[red]--layer {escape(layer)}: give {', '.join(LAYERS)}")
        raise typer.Exit(2)
    try:
        from ws3d_ros.viewing.viewer import Viewer
    except ImportError as error:
        console.print(f"[red]{escape(str(error))}: the viewer needs pip install 'ws3d_ros\\[viewer]'")
        raise typer.Exit(3) from error
    at_end = ExitStack()
    try:
        saved = load_map(Path(source)) if source.endswith(SUFFIX) else None
        viewer = Viewer(host, port, f"**{Path(source).name}**", layer)
        at_end.callback(viewer.stop)
        console.print(f"the viewer is at {viewer.url}")
        if screenshot is None and (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            webbrowser.open(viewer.url)
        if source == "live":
            at_end.callback(show_live(viewer, node).close)
        else:
            show_map(viewer, saved or map_while_shown(viewer, Path(source), vocabulary, every))
        reply = viewer.ask(ask)
        if reply is not None:
            console.print(escape("; ".join([reply.summary, *reply.notes])), soft_wrap=True)
        if screenshot is not None:
            save_screenshot(viewer, reply, layer, screenshot)
            console.print(f"picture in {screenshot}")
            return
        console.print("Ctrl-C ends it")
        threading.Event().wait()
    except KeyboardInterrupt:
        pass
    except (
        *(BagError, DatasetError, ConfigError, VocabularyError, EncoderError, NetworkError, MapFileError),
        *(OSError, TimeoutError),
    ) as error:
        console.print(f"[red]{escape(str(error))}", soft_wrap=True)
        raise typer.Exit(2) from error
    finally:
        at_end.close()


def show_map(viewer: Viewer, saved: SavedMap) -> None:
    """A map that does not change, and answers to questions to it."""
    window = as_window(saved)
    words = Vocabulary.from_tree(saved.header.vocabulary, "the map's vocabulary")
    viewer.show(shown(window, words))
    try:
        answer, notes = answerer(saved, window)
    except (MapFileError, ConfigError, EncoderError, NetworkError) as error:
        console.print(f"[yellow]no questions: {escape(str(error))}", soft_wrap=True)
        return
    for note in notes:
        console.print(f"[yellow]{escape(note)}", soft_wrap=True)

    def ask(text: str, viewer_m: np.ndarray | None) -> Reply:
        return reply_of(answer(text, viewer_m, MOST_ANSWERS))

    viewer.take_questions(ask)


def map_while_shown(viewer: Viewer, recording: Path, vocabulary: str | None, every: int) -> SavedMap:
    """The map of a recording, shown while it grows."""
    config = from_mapping({} if vocabulary is None else {"semantics.vocabulary": vocabulary})
    source = read(recording, every, config.inputs)
    pipeline = load_pipeline(config)

    def show() -> None:
        viewer.show(shown(pipeline.map.everything(), pipeline.vocabulary))

    map_all(pipeline, source, at_most_every(GROW_EVERY_S, show))
    name_all(pipeline)
    digest = checkpoint_digest(config.network.checkpoint)
    return snapshot(pipeline, config, pipeline.vocabulary, digest, pipeline.tracks())


def at_most_every(period_s: float, do: Callable[[], None]) -> Callable[[], None]:
    """The same, but it does nothing when it was done less than a period ago."""
    done_s = -period_s

    def sometimes() -> None:
        nonlocal done_s
        if time.monotonic() - done_s >= period_s:
            do()
            done_s = time.monotonic()

    return sometimes


def show_live(viewer: Viewer, node: str) -> Watcher:
    """What a running node publishes, as it comes, and its own answers.

    Raises:
        TimeoutError: if nothing comes.
    """
    try:
        from ws3d_ros.node.watching import Watcher
    except ImportError as error:
        raise OSError(
            f"ROS 2 is missing here ({error}); source it, or `make venv` installs wheels"
        ) from error
    watcher = Watcher(node, viewer.show)
    viewer.take_questions(watcher.ask)
    with console.status(f"waiting for {node}/semantic_cloud"):
        try:
            watcher.wait(LIVE_TIMEOUT_S)
        except TimeoutError:
            watcher.close()
            raise
    return watcher


def save_screenshot(viewer: Viewer, reply: Reply | None, layer: str, path: Path) -> None:
    """What a browser without a window shows, with the legend beside it."""
    with page(viewer.url, WIDTH, HEIGHT + 200):
        begun = time.monotonic()
        while not (clients := viewer.server.get_clients()):
            if time.monotonic() - begun > BROWSER_TIMEOUT_S:
                raise TimeoutError(f"the browser did not open {viewer.url}")
            time.sleep(0.1)
        client = next(iter(clients.values()))
        pictures = [viewer.picture(client, WIDTH, HEIGHT)]
        # The page loads by itself, such as the letters of names: until nothing changes any more.
        while len(pictures) < MOST_PICTURES and not all_equal(pictures[-UNCHANGED:]):
            time.sleep(1.0)
            pictures.append(viewer.picture(client, WIDTH, HEIGHT))
        image = pictures[-1]
    entries = legend(viewer.shown, layer) if viewer.shown is not None and reply is None else []
    path.parent.mkdir(parents=True, exist_ok=True)
    save_png(path, np.hstack([image, draw_legend(entries)]) if entries else image)


def all_equal(pictures: list[np.ndarray]) -> bool:
    """Whether there are enough pictures, all the same."""
    return len(pictures) == UNCHANGED and all(np.array_equal(pictures[0], other) for other in pictures[1:])
