"""Which things of a map answer a question, how surely, and why. Method and figures: docs/queries.md.

``survey`` sums a map up, a row for each thing; a ``Lexicon`` turns a question into vectors; ``rank`` compares
both. A voxel's score for a word is linear in what it stores, so that the mean over a thing's voxels is the
score of its mean: things are ranked by their means, and the softmax over words comes after that.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from ws3d_ros.alignment.combining import pool, spoken
from ws3d_ros.instances.boxes import box_around
from ws3d_ros.instances.instance import Instance
from ws3d_ros.instances.lexicon import Encoded
from ws3d_ros.instances.places import Boxes, holds
from ws3d_ros.instances.survey import Things
from ws3d_ros.language.questions import COLORS, Phrase, Question, Relation, without_viewer
from ws3d_ros.reconstruction.window import Window

FOUND = 0.3
"""Answers with a smaller score are none. Chosen with SLOPE and OFFSET (benchmarks/query.py)."""
SLOPE, OFFSET = 1.15, 0.3
"""Of the logit of the share of words that fit: makes it the chance that a thing is what was asked for (Platt,
1999)."""
UNMET = 0.02
"""Least factor of a colour or a place: boxes and lighting may mislead."""
FULL_COLOR = 0.4
"""Share of a thing's voxels from which on it is of a colour: shadows and highlights take the rest."""
SHOWN_NAMES = 2
SIZE_STEP = 0.5
"""A thing larger by this power of e than the mean of those asked for is "large" with 73 %."""


@dataclass(frozen=True)
class Answer:
    """One thing.

    Attributes:
        id: of the instance; 0 for what has none, such as the floor.
        name: the word that fits it best, of all that were compared.
        score: 0..1, how likely all that was asked for holds.
        why: which parts matched how well, a clause each.
        box: its box and place; ``label`` is that of most of its voxels.
    """

    id: int
    name: str
    score: float
    why: tuple[str, ...]
    box: Instance


@dataclass(frozen=True)
class Result:
    """All answers, the best first; none means "not found".

    Attributes:
        question: as it was understood.
        notes: what was not understood or not found, a sentence each.
        keys: (V,) int64 of the voxels of all answers, ascending.
        score: (V,) float32 of each of them.
        best_score: of the best thing, also if that was too little.
    """

    question: Question
    answers: tuple[Answer, ...]
    notes: tuple[str, ...]
    keys: Tensor
    score: Tensor
    best_score: float


def rank(
    window: Window,
    things: Things,
    question: Question,
    encoded: Encoded,
    viewer_m: np.ndarray | None = None,
    most: int = 10,
) -> Result:
    """The things that answer a question.

    Args:
        window: N voxels.
        things: its survey.
        encoded: the question's words.
        viewer_m: (3,) where somebody looks from, map frame; without, nothing is left or right.
        most: so many answers at most.
    """
    question = question if viewer_m is not None else without_viewer(question)
    scorer = _Scorer(things, encoded, viewer_m)
    score = scorer.of(question.target)
    best = np.argsort(-score, kind="stable")[:most]
    rows = [int(row) for row in best if score[row] >= FOUND]
    notes = [f"not understood: {', '.join(question.not_understood)}"] if question.not_understood else []
    notes += scorer.notes
    of_voxel = things.of_voxel
    chosen = torch.zeros(len(things) + 1)
    chosen[rows] = torch.from_numpy(score[rows]).float()
    lit = (chosen > 0).index_select(0, of_voxel).nonzero()[:, 0]
    row_of_lit = of_voxel.index_select(0, lit)
    answers = [
        Answer(
            id=int(things.id[row]),
            name=scorer.names(question.target.noun, row)[0][0],
            score=float(score[row]),
            why=tuple(scorer.why(question.target, row)),
            box=_box(window, things, row, row_of_lit == row, lit, float(score[row])),
        )
        for row in rows
    ]
    return Result(
        question,
        tuple(answers),
        tuple(notes),
        window.keys[lit],
        chosen.index_select(0, row_of_lit),
        float(score[best[0]]) if len(best) else 0.0,
    )


@dataclass
class _Scorer:
    """Scores of phrases for all things, kept until the question is answered."""

    things: Things
    encoded: Encoded
    viewer_m: np.ndarray | None
    notes: list[str] = field(default_factory=list)
    _scores: dict[Phrase, np.ndarray] = field(default_factory=dict)
    _places: dict[Relation, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._probability = word_shares(self.things, self.encoded)
        self._boxes = Boxes(self.things.low_m, self.things.high_m)

    def of(self, phrase: Phrase) -> np.ndarray:
        """(M,) how likely each thing is what a phrase says."""
        if phrase not in self._scores:
            score = self.named(phrase.noun)
            named = score
            for color in phrase.colors:
                score = score * self.color(color)
            for size in phrase.sizes:
                score = score * self.size(size, named)
            for relation in phrase.relations:
                score = score * self.place(relation).max(axis=1, initial=UNMET)
            self._scores[phrase] = score
        return self._scores[phrase]

    def named(self, noun: str) -> np.ndarray:
        """(M,) how likely each thing is what a noun says."""
        # By torch: the threads of NumPy's matrix product would stand in the way of torch's.
        share = torch.from_numpy(self._probability) @ torch.from_numpy(self.encoded.relevance[noun])
        return calibrated(share.numpy())

    def color(self, color: str) -> np.ndarray:
        """(M,) how far things are of a colour."""
        share = self.things.colors[:, list(dict.fromkeys(COLORS.values())).index(color)]
        return np.clip(share / FULL_COLOR, UNMET, 1.0)

    def size(self, size: str, named: np.ndarray) -> np.ndarray:
        """(M,) how far things are of a size, among those that have the name."""
        extent = self.things.high_m - self.things.low_m
        measure = np.log(extent[:, 2] if size in ("tall", "low") else extent.prod(axis=1))
        middle = (measure * named).sum() / max(named.sum(), 1e-6)
        sign = 1.0 if size in ("large", "tall") else -1.0
        return np.asarray(1.0 / (1.0 + np.exp(-sign * (measure - middle) / SIZE_STEP)))

    def place(self, relation: Relation) -> np.ndarray:
        """(M, L) how far the place of each thing is that, by each thing as the landmark."""
        if relation in self._places:
            return self._places[relation]
        marks = [self.of(landmark) for landmark in relation.landmarks]
        for landmark, mark in zip(relation.landmarks, marks, strict=True):
            note = f"no '{landmark.noun}' was found, so nothing can be {relation.words} it"
            if mark.max(initial=0.0) < FOUND and note not in self.notes:
                self.notes.append(note)
        held = holds(relation.kind, self._boxes, marks, self.viewer_m)
        # Nothing is next to itself, nor are parts of it that have the same box.
        np.fill_diagonal(held, 0.0)
        self._places[relation] = held
        return held

    def names(self, noun: str, row: int) -> list[tuple[str, float]]:
        """The words that fit a thing and a noun best, with their share."""
        fits = self._probability[row] * self.encoded.relevance[noun]
        best = np.argsort(-fits)[:SHOWN_NAMES]
        return [(self.encoded.words[i], float(self._probability[row, i])) for i in best]

    def why(self, phrase: Phrase, row: int) -> list[str]:
        """Clauses that tell how well each part of a phrase fits a thing."""
        looks = ", ".join(f"{name} {share:.2f}" for name, share in self.names(phrase.noun, row))
        clauses = [f"looks like {looks}"]
        clauses += [f"{color} {self.color(color)[row]:.2f}" for color in phrase.colors]
        if phrase.sizes:
            named = self.named(phrase.noun)
            clauses += [f"{size} {self.size(size, named)[row]:.2f}" for size in phrase.sizes]
        for relation in phrase.relations:
            held = self.place(relation)[row]
            mark = int(held.argmax())
            name = " and ".join(landmark.noun for landmark in relation.landmarks)
            clauses.append(f"{relation.words} {name} {held[mark]:.2f} (#{self.things.id[mark]})")
        return clauses


def word_shares(things: Things, encoded: Encoded) -> np.ndarray:
    """(M, C) float32 how likely each word is for each thing: both sources pooled as for voxels."""
    said = []
    for column in ("feature", "embedding"):
        if column not in encoded.vectors or column not in things.means:
            said.append(torch.zeros(len(things), len(encoded.words)))
            continue
        logits = encoded.scales[column] * (things.means[column] @ encoded.vectors[column].T)
        said.append(torch.softmax(logits, dim=1) * things.known[column][:, None])
    image, network = said
    return pool(image, network, spoken(network)).numpy()


def calibrated(share: np.ndarray) -> np.ndarray:
    """Chance that a thing is what a noun says, from the share of words that fit it."""
    share = np.clip(share, 1e-6, 1.0 - 1e-6)
    return np.asarray(1.0 / (1.0 + np.exp(-(SLOPE * np.log(share / (1.0 - share)) + OFFSET))))


def _box(window: Window, things: Things, row: int, mine: Tensor, lit: Tensor, score: float) -> Instance:
    points = window.points_m[lit[mine]].cpu().numpy()
    return box_around(int(things.id[row]), points, int(things.label[row]), score, window.voxel_size_m)
