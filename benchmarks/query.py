"""Questions: how long answers take, and how sure they may be.

    python benchmarks/query.py CHECKPOINT [WEIGHTS] [MAP OF SAMPLES/ROOM]

CHECKPOINT is a calibrated student. Nouns are asked of held-out procedural flats (seeds from 1000000 on, which
nothing was trained on; true things, network alone) and, if its map is given (`ws3d map samples/room -o
room.ws3d`), of samples/room (things as mapped, images and network). Constants of instances/query.py and
instances/lexicon.py are fitted on the even flats and on samples/room, and judged on the odd flats. Uses are
sentences that name no thing; what fits them is fitted on the same fifteen.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import save, summary, times_ms
from scipy.optimize import minimize
from scipy.spatial import cKDTree

from ws3d_ros.alignment.compression import FeatureBasis
from ws3d_ros.config import NetworkConfig
from ws3d_ros.instances import lexicon as lexicon_module
from ws3d_ros.instances.lexicon import Lexicon, Space, spaces
from ws3d_ros.instances.query import FOUND, OFFSET, SLOPE, calibrated, rank, word_shares
from ws3d_ros.instances.segmentation import structure_labels
from ws3d_ros.instances.survey import Things, survey
from ws3d_ros.language.choose import choose_encoder, weights_folder
from ws3d_ros.language.questions import parse
from ws3d_ros.language.sentences import SentenceEncoder, find_sentence_model
from ws3d_ros.language.text import SentenceTexts
from ws3d_ros.language.vocabulary import Vocabulary, shipped_words
from ws3d_ros.network.choose import choose_network
from ws3d_ros.reconstruction.keys import pack_keys
from ws3d_ros.reconstruction.map_file import load_map
from ws3d_ros.reconstruction.window import Window
from ws3d_ros.saved_maps import as_window
from ws3d_ros.training.scenes.example import Example
from ws3d_ros.training.scenes.names import MEANINGS, NAMES
from ws3d_ros.training.scenes.store import load_example

ROOT = Path(__file__).resolve().parents[1]
CPU = torch.device("cpu")
FLATS, CHANNELS, SMALLEST = 12, 64, 20
USES = {
    "something to sit on": "chair, office chair, stool, armchair, sofa, bench",
    "somewhere to sleep": "bed, sofa",
    "something to drink from": "cup, bottle",
    "something to put books on": "bookcase, shelf, table, desk",
    "somewhere to wash my hands": "sink",
    "something to cook on": "stove",
    "something to watch movies on": "television, monitor",
    "something that gives light": "lamp, ceiling lamp",
    "a place to keep clothes": "wardrobe, chest of drawers",
    "something to keep food cold": "refrigerator",
    "something to write at": "desk, table",
    "somewhere to throw rubbish": "trash can",
    "something to heat the room": "radiator, fireplace",
    "something to eat at": "table",
    "something to look at myself in": "mirror",
}
"""Sentences, and the names of the vocabulary ``indoor`` that a person would accept."""


def window_of(points_m: torch.Tensor, keys: torch.Tensor, **columns: torch.Tensor) -> Window:
    """A window with nothing in the columns that are not given."""
    count = len(keys)
    empty = {
        "color": torch.full((count, 3), torch.nan),
        "normal": torch.zeros(count, 3),
        "weight": torch.ones(count),
        "feature": torch.zeros(count, 0, dtype=torch.float16),
        "feature_weight": torch.zeros(count),
        "label": torch.zeros(count, dtype=torch.int16),
        "confidence": torch.zeros(count, dtype=torch.float16),
        "instance": torch.zeros(count, dtype=torch.int32),
    }
    return Window(voxel_size_m=0.05, stamp_ns=0, keys=keys, points_m=points_m, **{**empty, **columns})


def flat(example: Example, namer: Any, basis: FeatureBasis) -> tuple[Things, list[str]]:
    """The true things of a flat as the network sees them, and their names."""
    keys, order = pack_keys(torch.from_numpy(example.coords)).sort()
    rows = order.numpy()
    window = window_of(
        torch.from_numpy(example.points_m[rows]).float(),
        keys,
        color=torch.from_numpy(example.color[rows]).float(),
        normal=torch.from_numpy(example.normal[rows]),
    )
    embedding = namer.read(window, basis)
    instance = example.instance[rows] + 1
    instance[np.bincount(instance)[instance] < SMALLEST] = 0
    window = window_of(
        window.points_m,
        keys,
        color=window.color,
        embedding=embedding,
        instance=torch.from_numpy(instance).int(),
    )
    things = survey(window, structure_labels([]))
    name_of = dict(zip(example.instance.tolist(), example.name.tolist(), strict=True))
    return things, [NAMES[name_of[int(id_) - 1]] for id_ in things.id]


def room(window: Window) -> tuple[Things, list[str]]:
    """The things of the map of samples/room, and the true name of most of each one's voxels."""
    truth = json.loads((ROOT / "samples/room/ground_truth.json").read_text())["instances"]
    with np.load(ROOT / "samples/room/ground_truth.npz") as file:
        tree, instance = cKDTree(file["points_m"].astype(np.float32)), file["instance"]
    things = survey(window, structure_labels(Vocabulary.load("indoor").names))
    away, nearest = tree.query(window.points_m.numpy())
    names = []
    for row in range(len(things)):
        mine = (things.of_voxel == row).numpy() & (away < 0.06)
        votes = np.bincount(instance[nearest[mine]]) if mine.any() else np.zeros(1, int)
        name = truth.get(str(votes.argmax()), {}).get("class", "")
        names.append(name if votes.max() > 0.5 * (things.of_voxel == row).sum() else "")
    return things, names


def ask_nouns(
    lexicon: Lexicon, things: Things, names: list[str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Shares and truth of all pairs of thing and noun, and the number of the noun.

    Each name is asked by its own word and by its first synonym. Pairs of the same category but another name
    are left out.
    """
    shares, truths, numbers = [], [], []
    number = 0
    for name, meaning in MEANINGS.items():
        for noun in (name, *meaning.synonyms[:1]):
            question = parse(noun)
            encoded = lexicon.encode(question)
            share = word_shares(things, encoded) @ encoded.relevance[question.target.noun]
            alike = [found and MEANINGS[found].category == meaning.category for found in names]
            truth = np.array([found == name for found in names])
            counts = truth | ~np.array(alike, bool)
            shares.append(share[counts])
            truths.append(truth[counts])
            numbers.append(np.full(int(counts.sum()), number))
            number += 1
    return np.concatenate(shares), np.concatenate(truths), np.concatenate(numbers)


def logit(share: np.ndarray) -> np.ndarray:
    share = np.clip(share, 1e-6, 1 - 1e-6)
    return np.log(share / (1 - share))


def fit(share: np.ndarray, truth: np.ndarray) -> tuple[float, float, float]:
    """Slope and offset of the likeliest logistic curve (Platt, 1999), and its mean log loss."""

    def loss(values: np.ndarray) -> float:
        score = values[0] * logit(share) + values[1]
        return float(np.mean(np.logaddexp(0, score) - truth * score))

    best = minimize(loss, np.array([1.0, 0.0]), method="Nelder-Mead")
    return float(best.x[0]), float(best.x[1]), float(best.fun)


def judge(score: np.ndarray, truth: np.ndarray, noun: np.ndarray, least: float) -> dict[str, float]:
    """How good answers are from a least score on: of things, and of nouns with no thing ("not found")."""
    given = score >= least
    right = int((given & truth).sum())
    there = np.unique(noun[truth])
    absent = np.setdiff1d(np.unique(noun), there)
    first = [int(truth[noun == n][score[noun == n].argmax()]) for n in there]
    bins = np.clip((score * 10).astype(int), 0, 9)
    error = sum(
        abs(score[bins == b].mean() - truth[bins == b].mean()) * (bins == b).mean() for b in np.unique(bins)
    )
    return {
        "precision": right / max(int(given.sum()), 1),
        "recall": right / max(int(truth.sum()), 1),
        "first_right": float(np.mean(first)) if first else 0.0,
        "absent_not_found": float(np.mean([not given[noun == n].any() for n in absent]))
        if len(absent)
        else 1.0,
        "calibration_error": float(error),
    }


def joined(parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> tuple[np.ndarray, ...]:
    """Parts of :func:`ask_nouns` as one; nouns of different scenes are different questions."""
    return (
        np.concatenate([part[0] for part in parts]),
        np.concatenate([part[1] for part in parts]),
        np.concatenate([part[2] + 10_000 * i for i, part in enumerate(parts)]),
    )


def uses(sentences: SentenceTexts) -> tuple[dict[str, float], dict[str, float]]:
    """Average precision of the vocabulary's names for each sentence, ranked by how alike they are to it.

    And the logistic curve that fits these cosines, with its log loss when each sentence is judged by the
    curve of the others.
    """
    vocabulary = Vocabulary.load("indoor")
    common = sentences.encode_text(shipped_words()).mean(0)

    def centred(texts: list[str]) -> torch.Tensor:
        return torch.nn.functional.normalize(sentences.encode_text(texts) - common, dim=1)

    vectors = [
        centred([name, *more]) for name, more in zip(vocabulary.names, vocabulary.synonyms, strict=True)
    ]
    precision, cosines, truths = {}, [], []
    for sentence, accepted in USES.items():
        query = centred([parse(sentence).target.noun])[0]
        alike = np.array([float((rows @ query).max()) for rows in vectors])
        fits = np.isin(np.array(vocabulary.names), accepted.split(", "))
        hit = fits[np.argsort(-alike)]
        precision[sentence] = round(float((hit.cumsum() / np.arange(1, len(hit) + 1))[hit].mean()), 3)
        cosines.append(alike)
        truths.append(fits)

    def curve(rows: list[int]) -> np.ndarray:
        return minimize(lambda v: loss_of(v, rows), np.array([20.0, -8.0]), method="Nelder-Mead").x

    def loss_of(values: np.ndarray, rows: list[int]) -> float:
        score = np.concatenate([values[0] * cosines[i] + values[1] for i in rows])
        truth = np.concatenate([truths[i] for i in rows])
        return float(np.mean(np.logaddexp(0, score) - truth * score))

    every = list(range(len(cosines)))
    slope, offset = curve(every)
    others = float(np.mean([loss_of(curve([j for j in every if j != i]), [i]) for i in every]))
    fit_of_all = {
        "alike": -offset / slope,
        "step": 1 / slope,
        "log_loss": loss_of(np.array([slope, offset]), every),
    }
    return precision, {**fit_of_all, "log_loss_left_out": others}


def timing(lexicon: Lexicon, voxels: int = 1_000_000, instances: int = 500) -> dict[str, Any]:
    """Milliseconds for a map of many voxels, cold (with its survey) and warm, after the text is encoded."""
    torch.set_num_threads(2)
    rng = np.random.default_rng(0)
    side = round(voxels ** (1 / 3))
    cells = torch.cartesian_prod(*[torch.arange(side)] * 3)[:voxels]
    owner = torch.from_numpy(rng.permutation(1000).reshape(10, 10, 10) % instances)
    instance = owner[tuple((cells * 10 // side).T)].int() + 1
    window = window_of(
        cells * 0.05 + 0.025,
        pack_keys(cells).sort().values,
        color=torch.from_numpy(rng.uniform(0, 255, (len(cells), 3)).astype(np.float32)),
        feature=torch.from_numpy(rng.normal(0, 0.1, (len(cells), CHANNELS)).astype(np.float16)),
        feature_weight=torch.ones(len(cells)),
        embedding=torch.from_numpy(rng.normal(0, 0.1, (len(cells), CHANNELS)).astype(np.float16)),
        instance=instance,
        label=torch.ones(len(cells), dtype=torch.int16),
    )
    question = parse("the large red chair near the window and left of the table")
    encoded = lexicon.encode(question)
    structure = structure_labels(lexicon.vocabulary.names)
    things = survey(window, structure)
    viewer_m = np.zeros(3)
    return {
        "voxels": len(window),
        "things": len(things),
        "load_average": os.getloadavg()[0],
        "survey_and_rank": summary(
            times_ms(lambda: rank(window, survey(window, structure), question, encoded, viewer_m))
        ),
        "survey": summary(times_ms(lambda: survey(window, structure))),
        "rank": summary(times_ms(lambda: rank(window, things, question, encoded, viewer_m))),
        "encode": summary(times_ms(lambda: lexicon.encode(question))),
    }


def two_spaces(namer: Any, basis: FeatureBasis) -> list[Space]:
    """The network's words twice, as if images had their own, in as many channels as maps have."""
    narrow = FeatureBasis(basis.directions[:CHANNELS], basis.space)
    return [Space(column, namer.embed, narrow, 10.0) for column in ("feature", "embedding")]


def main() -> None:
    student, weights = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else ""
    room_map = load_map(sys.argv[3]) if len(sys.argv) > 3 else None
    encoder = choose_encoder("concept", weights, CPU, 2).encoder
    settings = NetworkConfig(checkpoint=student, reuse="off")
    namer = choose_network(settings, encoder, weights, CPU).namer
    assert namer is not None
    sentences = SentenceTexts(SentenceEncoder(find_sentence_model(weights_folder(weights))), CPU)
    texts = namer._texts
    basis = FeatureBasis(torch.eye(texts.encode_text(["object"]).shape[1]), texts.space)
    indoor = Vocabulary.load("indoor")
    lexicon = Lexicon(indoor, spaces(None, namer, {"embedding": basis}), sentences)
    paths = [
        next((ROOT / "runs/scenes").glob(f"scene{seed}-*.npz"), None) for seed in range(1_000_000, 1_000_024)
    ]
    examples = [load_example(path) for path in paths if path is not None]
    scenes = [flat(one, namer, basis) for one in examples if one.color is not None][:FLATS]
    fitted, judged = [(lexicon, scene) for scene in scenes[::2]], [(lexicon, scene) for scene in scenes[1::2]]
    if room_map is not None:
        assert encoder is not None
        bases = {
            name: FeatureBasis(room_map.basis[name], space) for name, space in room_map.header.spaces.items()
        }
        both = Lexicon(indoor, spaces(encoder, namer, bases), sentences)
        fitted.append((both, room(as_window(room_map))))
    result: dict[str, Any] = {"student": student, "flats": len(scenes), "fits": {}}
    for alike in (0.4, 0.5, 0.6, 0.7):
        for step in (0.03, 0.06):
            lexicon_module.ALIKE, lexicon_module.ALIKE_STEP = alike, step
            share, truth, _ = joined([ask_nouns(words, *scene) for words, scene in fitted])
            slope, offset, loss = fit(share, truth)
            result["fits"][f"{alike} {step}"] = {"slope": slope, "offset": offset, "log_loss": loss}
            print(alike, step, f"{slope:.2f} {offset:.2f} {loss:.4f}", flush=True)
    lexicon_module.ALIKE, lexicon_module.ALIKE_STEP = ALIKE, ALIKE_STEP
    result["constants"] = {
        "alike": ALIKE,
        "step": ALIKE_STEP,
        "slope": SLOPE,
        "offset": OFFSET,
        "found": FOUND,
    }
    for where, scenes_there in (("fitted on", fitted), ("held out", judged), ("samples/room", fitted[-1:])):
        share, truth, noun = joined([ask_nouns(words, *scene) for words, scene in scenes_there])
        score = calibrated(share)
        result[where] = {least: judge(score, truth, noun, least) for least in (0.1, 0.2, 0.3, 0.4, 0.5)}
        for least, figures in result[where].items():
            print(where, least, {name: round(value, 3) for name, value in figures.items()}, flush=True)
    result["uses"], result["fit_of_uses"] = uses(sentences)
    result["uses_mean"] = float(np.mean(list(result["uses"].values())))
    print("uses", result["uses_mean"], result["uses"])
    result["timing"] = timing(Lexicon(indoor, two_spaces(namer, basis), sentences))
    print(json.dumps(result["timing"], indent=1))
    print(save("query", result))


ALIKE, ALIKE_STEP = lexicon_module.ALIKE, lexicon_module.ALIKE_STEP

if __name__ == "__main__":
    main()
