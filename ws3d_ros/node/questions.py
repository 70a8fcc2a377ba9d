"""Questions beside the pipeline's threads: mapping copies a part of the map, a thread of its own answers."""

from __future__ import annotations

import time
from array import array
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from ws3d_ros.config import Config
from ws3d_ros.instances.boxes import box_around
from ws3d_ros.instances.instance import Instance
from ws3d_ros.instances.lexicon import Lexicon, spaces
from ws3d_ros.instances.objects import State
from ws3d_ros.instances.query import Result, rank
from ws3d_ros.instances.segmentation import structure_labels
from ws3d_ros.instances.survey import survey
from ws3d_ros.language.choose import weights_folder
from ws3d_ros.language.encoder import Encoder, EncoderError
from ws3d_ros.language.questions import QuestionError, parse
from ws3d_ros.language.sentences import SentenceEncoder, find_sentence_model
from ws3d_ros.language.text import SentenceTexts
from ws3d_ros.language.vocabulary import Vocabulary
from ws3d_ros.network.namer import Namer
from ws3d_ros.node.engine import Engine
from ws3d_ros.node.objects import instance_message
from ws3d_ros.node.snapshot import Snapshot
from ws3d_ros.node.workers import Mailbox, Worker
from ws3d_ros.reconstruction.window import Window
from ws3d_ros.sensors.frame import FloatArray
from ws3d_ros.srv import Query


@dataclass(frozen=True)
class Reply:
    """An answer, with the words that its labels mean and the voxels to show: ``confidence`` is the score."""

    result: Result
    words: Vocabulary
    lit: Window
    duration_s: float


@dataclass(frozen=True)
class Found:
    """One object and its voxels' keys (V,)."""

    instance: Instance
    words: Vocabulary
    stamp_ns: int
    keys: Tensor


class Questions:
    """One question at a time.

    Attributes:
        worker: its thread.
    """

    def __init__(self, engine: Engine, config: Config, encoder: Encoder | None, namer: Namer | None) -> None:
        self._engine, self._config, self._encoder, self._namer = engine, config, encoder, namer
        self._lexicon: Lexicon | None = None
        self.worker = Worker("questions", Mailbox(1), engine.survive)
        self.worker.start()

    def ask(self, text: str, viewer_m: FloatArray | None, whole_map: bool, most: int) -> Future[Reply]:
        """Answers a question; the future has a ``QuestionError`` or ``EncoderError`` if that cannot be.

        Args:
            viewer_m: (3,) map frame; None: where the newest measurement was taken.
        """
        return self.worker.mailbox.request(partial(self._ask, text, viewer_m, whole_map, most))

    def instance(self, id_: int) -> Future[Found | None]:
        """An object anywhere in the map; None if there is none of this id."""
        return self.worker.mailbox.request(partial(self._instance, id_))

    def _ask(self, text: str, viewer_m: FloatArray | None, whole_map: bool, most: int) -> Reply:
        begun = time.monotonic()
        question = parse(text)
        taken = self._engine.copy(whole_map).result()
        window, words = taken.window, taken.words
        if len(window) == 0:
            raise QuestionError("the map is empty; drive, or load a map")
        lexicon = self._lexicon_of(words)
        if viewer_m is None and taken.sight is not None:
            viewer_m = taken.sight.T_map_sensor[:3, 3]
        things = survey(window, structure_labels(words.names))
        result = rank(window, things, question, lexicon.encode(question), viewer_m, most)
        lit = _rows(window, torch.searchsorted(window.keys, result.keys.to(window.keys.device)))
        lit = replace(lit, confidence=result.score.to(lit.confidence))
        return Reply(result, words, lit, time.monotonic() - begun)

    def _instance(self, id_: int) -> Found | None:
        taken: Snapshot = self._engine.copy(whole_map=True).result()
        window = taken.window
        rows = (window.instance == id_).nonzero()[:, 0]
        if id_ <= 0 or len(rows) == 0:
            return None
        label = int(window.label[rows].mode().values)
        score = float(window.confidence[rows].float().mean())
        points = window.points_m[rows].cpu().numpy()
        box = box_around(id_, points, label, score, window.voxel_size_m)
        return Found(box, taken.words, window.stamp_ns, window.keys[rows].cpu())

    def _lexicon_of(self, words: Vocabulary) -> Lexicon:
        """The words that compete, encoded anew when the vocabulary changed."""
        if self._lexicon is None or self._lexicon.vocabulary is not words:
            bases = self._engine.pipeline.feature_bases
            known = spaces(self._encoder, self._namer, bases)
            if not known:
                raise EncoderError(
                    "nothing here compares words with the map: set semantics.encoder or network.checkpoint"
                )
            model = find_sentence_model(weights_folder(self._config.semantics.weights_dir))
            sentences = SentenceTexts(SentenceEncoder(model), torch.device("cpu"))
            self._lexicon = Lexicon(words, known, sentences)
        return self._lexicon


def fill(response: Query.Response, reply: Reply) -> Query.Response:
    """An answer as the service tells it."""
    result = reply.result
    response.success = True
    response.found = bool(result.answers)
    response.message = (
        f"{len(result.answers)} found, the best with {result.best_score:.2f}"
        if result.answers
        else f"not found; the best score is {result.best_score:.2f}"
    )
    response.notes = list(result.notes)
    response.instances = [
        instance_message(answer.box, reply.words, State.ACTIVE) for answer in result.answers
    ]
    response.words = [answer.name for answer in result.answers]
    response.scores = [float(answer.score) for answer in result.answers]
    response.why = ["; ".join(answer.why) for answer in result.answers]
    # Arrays, which rclpy takes without looking at every element.
    response.voxel_keys = array("q", result.keys.cpu().numpy().astype(np.int64).tobytes())
    response.voxel_scores = array("f", result.score.cpu().numpy().astype(np.float32).tobytes())
    response.duration_s = float(reply.duration_s)
    return response


def _rows(window: Window, rows: Tensor) -> Window:
    """These voxels of a window."""
    embedding = None if window.embedding is None else window.embedding[rows]
    return replace(
        window,
        keys=window.keys[rows],
        points_m=window.points_m[rows],
        color=window.color[rows],
        normal=window.normal[rows],
        weight=window.weight[rows],
        feature=window.feature[rows],
        feature_weight=window.feature_weight[rows],
        label=window.label[rows],
        confidence=window.confidence[rows],
        instance=window.instance[rows],
        embedding=embedding,
    )
