"""`ws3d query`: questions in plain words to a map in a file."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ws3d_ros.alignment.compression import FeatureBasis
from ws3d_ros.config import ConfigError, check, from_mapping, settings
from ws3d_ros.instances.lexicon import Lexicon, spaces
from ws3d_ros.instances.query import Result, rank
from ws3d_ros.instances.segmentation import structure_labels
from ws3d_ros.instances.survey import survey
from ws3d_ros.language.choose import choose_encoder, weights_folder
from ws3d_ros.language.encoder import EncoderError
from ws3d_ros.language.questions import QuestionError, parse
from ws3d_ros.language.sentences import SentenceEncoder, find_sentence_model
from ws3d_ros.language.text import SentenceTexts
from ws3d_ros.language.vocabulary import Vocabulary, VocabularyError
from ws3d_ros.network.choose import NetworkError, choose_network
from ws3d_ros.reconstruction.map_file import MapFileError, SavedMap, load_map
from ws3d_ros.reconstruction.window import Window
from ws3d_ros.rendering.views import draw_map, save_png
from ws3d_ros.saved_maps import as_window, checkpoint_digest
from ws3d_ros.viewing.shown import LIT, UNSEEN, highlighted

console = Console()
CPU = torch.device("cpu")


def query(
    map_file: Annotated[Path, typer.Argument(metavar="MAP", help="A map, .ws3d.")],
    questions: Annotated[list[str], typer.Argument(help='Such as "the red mug near the window".')],
    viewer: Annotated[
        tuple[float, float, float] | None,
        typer.Option(help="Where you look from, metres in the map's frame; left and right need it."),
    ] = None,
    most: Annotated[int, typer.Option(help="So many answers at most.", min=1)] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    picture: Annotated[
        Path | None, typer.Option(help="Draw the map with the answers to the last question as a PNG.")
    ] = None,
    checkpoint: Annotated[
        str | None, typer.Option(help="The map's 3D network, if it is not where the map says.")
    ] = None,
) -> None:
    """Which things in a map answer a question, how surely, and why.

    Says "not found" where nothing deserves it, and which words were not understood.

    Examples:

      ws3d query room.ws3d "something to sit on"

      ws3d query room.ws3d "lamp on the desk" "the red chair" --json

      ws3d query room.ws3d "chair left of the table" --viewer 0 0 1.2 --picture answer.png
    """
    try:
        saved = load_map(map_file)
        window = as_window(saved)
        answer, notes = answerer(saved, window, checkpoint)
        viewer_m = None if viewer is None else np.array(viewer)
        results = [answer(text, viewer_m, most) for text in questions]
        if picture is not None:
            _draw(
                window.points_m.numpy(), window.color, window.keys, results[-1], window.voxel_size_m, picture
            )
    except (
        *(MapFileError, QuestionError, ConfigError, VocabularyError, EncoderError, NetworkError),
        OSError,
    ) as error:
        console.print(f"[red]{escape(str(error))}", soft_wrap=True)
        raise typer.Exit(2) from error
    if as_json:
        typer.echo(json.dumps([_tree(result, notes) for result in results], indent=2))
        return
    for note in notes:
        console.print(f"[yellow]{escape(note)}", soft_wrap=True)
    for result in results:
        _show(result)
    if picture is not None:
        console.print(f"picture in {picture}")


def answerer(
    saved: SavedMap, window: Window, checkpoint: str | None = None
) -> tuple[Callable[[str, np.ndarray | None, int], Result], list[str]]:
    """What answers questions to a map, and notes on what cannot be asked.

    Args:
        window: the map's own, see ``saved_maps.as_window``.
        checkpoint: the map's 3D network, if it is not where the map says.

    Returns:
        a function of the text, where somebody looks from (3,) or None, and how many answers at most; it
        raises ``QuestionError`` or ``EncoderError``.
    """
    lexicon, notes = _lexicon(saved, checkpoint)
    things = survey(window, structure_labels(lexicon.vocabulary.names))

    def answer(text: str, viewer_m: np.ndarray | None, most: int) -> Result:
        question = parse(text)
        return rank(window, things, question, lexicon.encode(question), viewer_m, most)

    return answer, notes


def _lexicon(saved: SavedMap, checkpoint: str | None) -> tuple[Lexicon, list[str]]:
    """The words that compete in a map, with the encoder and the network that made it; and what of these is
    not here."""
    asked = {"network.checkpoint": checkpoint} if checkpoint is not None else {}
    config = from_mapping({**_still_fit(saved.header.settings), **asked})
    weights = config.semantics.weights_dir
    encoder = namer = None
    notes = []
    with console.status("loading encoder and 3D network"):
        if "feature" in saved.header.spaces:
            encoder = choose_encoder(config.semantics.encoder, weights, CPU, config.semantics.threads).encoder
        if "embedding" in saved.header.spaces:
            digest = checkpoint_digest(config.network.checkpoint)
            if digest == saved.header.checkpoint_sha256:
                namer = choose_network(config.network, encoder, weights, CPU).namer
            else:
                notes.append(
                    f"the map was made with other weights than those in '{config.network.checkpoint}', so "
                    "what its 3D network saw cannot be asked; give them with --checkpoint"
                )
    if encoder is not None and encoder.space != saved.header.spaces["feature"]:
        notes.append(
            f"the map's image features are of the language space '{saved.header.spaces['feature']}', here is "
            f"'{encoder.space}'; they cannot be asked; set WS3D_WEIGHTS to the weights that made them"
        )
    bases = {
        name: FeatureBasis(saved.basis[name], space)
        for name, space in saved.header.spaces.items()
        if name in saved.basis
    }
    known = spaces(encoder, namer, bases)
    if not known:
        raise MapFileError("; ".join([*notes, "nothing in the map can be compared with words"]))
    vocabulary = Vocabulary.from_tree(saved.header.vocabulary, "the map's vocabulary")
    sentences = SentenceEncoder(find_sentence_model(weights_folder(weights)))
    return Lexicon(vocabulary, known, SentenceTexts(sentences, CPU)), notes


def _still_fit(made_with: Mapping[str, Any]) -> dict[str, Any]:
    """A map's settings but for those that are gone or of another kind since; they do not change how words are
    compared."""
    fitting = {}
    for setting in settings():
        with contextlib.suppress(ConfigError, KeyError):
            fitting[setting.name] = check(setting, made_with[setting.name])
    return fitting


def _show(result: Result) -> None:
    title = escape(result.question.text)
    if not result.answers:
        console.print(f'"{title}": [bold]not found[/] (best score {result.best_score:.2f})', soft_wrap=True)
    else:
        table = Table("id", "name", "score", "place (m)", "size (m)", "why", title=f'"{title}"')
        for answer in result.answers:
            place = " ".join(f"{x:.2f}" for x in answer.box.box_center_m)
            size = " x ".join(f"{x:.2f}" for x in answer.box.box_size_m)
            why = escape("; ".join(answer.why))
            table.add_row(str(answer.id or "-"), escape(answer.name), f"{answer.score:.2f}", place, size, why)
        console.print(table)
    for note in result.notes:
        console.print(f"[yellow]{escape(note)}", soft_wrap=True)


def _tree(result: Result, notes: list[str]) -> dict[str, Any]:
    return {
        "question": result.question.text,
        "understood": dataclasses.asdict(result.question.target),
        "not_understood": list(result.question.not_understood),
        "notes": [*notes, *result.notes],
        "found": bool(result.answers),
        "best_score": result.best_score,
        "answers": [dataclasses.asdict(answer) for answer in result.answers],
        "voxels": len(result.keys),
    }


def _draw(
    points_m: np.ndarray,
    color: torch.Tensor,
    keys: torch.Tensor,
    result: Result,
    voxel_size_m: float,
    picture: Path,
) -> None:
    """The map in pale natural colours; answers red, the surer the stronger."""
    score = np.zeros(len(keys), np.float32)
    score[torch.searchsorted(keys, result.keys).numpy()] = result.score.numpy()
    rgb = highlighted(color.nan_to_num(float(UNSEEN)).numpy(), score)
    legend = [
        (f"{answer.name} {answer.score:.2f}", LIT.astype(np.uint8), answer.box.voxels)
        for answer in result.answers
    ]
    picture.parent.mkdir(parents=True, exist_ok=True)
    save_png(picture, draw_map(points_m, rgb, voxel_size_m, legend))
