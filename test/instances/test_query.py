"""Questions to a small made-up map whose voxels store the very vectors of words."""

from __future__ import annotations

import zlib
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ws3d_ros.alignment.compression import FeatureBasis
from ws3d_ros.instances.lexicon import Lexicon, Space
from ws3d_ros.instances.query import FOUND, Result, calibrated, rank, word_shares
from ws3d_ros.instances.segmentation import structure_labels
from ws3d_ros.instances.survey import FOCAL_RGB, LIGHTNESS, SPREAD, _sample, color_shares, survey
from ws3d_ros.language.prompts import embed
from ws3d_ros.language.questions import parse
from ws3d_ros.language.vocabulary import Vocabulary
from ws3d_ros.reconstruction.keys import pack_keys
from ws3d_ros.reconstruction.window import Window

SIZE_M, CHANNELS = 0.05, 64
WORDS = Vocabulary.of(["floor", "chair", "table", "lamp", "window"])
RED, BLUE, WHITE = (180.0, 35.0, 35.0), (45.0, 85.0, 170.0), (235.0, 235.0, 232.0)
# Name, colour, low and high corner in metres; the id is the place in the list plus one.
THINGS = [
    ("chair", RED, (1.0, 1.0, 0.0), (1.5, 1.5, 0.8)),
    ("chair", BLUE, (4.0, 1.0, 0.0), (4.5, 1.5, 0.8)),
    ("table", WHITE, (3.0, 3.0, 0.0), (4.0, 4.0, 0.7)),
    ("lamp", WHITE, (3.3, 3.3, 0.7), (3.6, 3.6, 1.1)),
    ("lamp", WHITE, (0.5, 3.5, 0.0), (0.8, 3.8, 1.6)),
    ("window", WHITE, (0.5, 0.9, 1.0), (1.6, 1.0, 2.0)),
]


class Words:
    """Each word is a direction of its own, but that "seat for one" is nearly a chair."""

    space, templates = "words", ("{}",)

    def encode_text(self, texts: list[str]) -> torch.Tensor:
        return torch.stack([self._vector(text) for text in texts])

    def _vector(self, text: str) -> torch.Tensor:
        if text == "seat for one":
            return torch.nn.functional.normalize(self._vector("chair") + 0.3 * self._vector("one"), dim=0)
        random = torch.Generator().manual_seed(zlib.crc32(text.encode()))
        return torch.nn.functional.normalize(torch.randn(CHANNELS, generator=random), dim=0)


def embed_all(words: Vocabulary) -> torch.Tensor:
    vectors = embed(words, Words())
    return torch.cat([vectors.names, vectors.background])


@pytest.fixture(scope="module")
def window() -> Window:
    cells, colors, features, instances, labels = [], [], [], [], []
    names = embed_all(WORDS)
    floor = ("floor", WHITE, (0.0, 0.0, -0.05), (5.0, 5.0, 0.0))
    for id_, (name, color, low, high) in enumerate([floor, *THINGS]):
        axes = [torch.arange(round(a / SIZE_M), round(b / SIZE_M)) for a, b in zip(low, high, strict=True)]
        part = torch.cartesian_prod(*axes)
        cells.append(part)
        label = WORDS.names.index(name)
        colors.append(torch.tensor(color).expand(len(part), 3))
        features.append(names[label].expand(len(part), CHANNELS))
        instances.append(torch.full((len(part),), id_, dtype=torch.int32))
        labels.append(torch.full((len(part),), label + 1, dtype=torch.int16))
    coords = torch.cat(cells)
    keys, order = pack_keys(coords).sort()
    count = len(keys)
    return Window(
        voxel_size_m=SIZE_M,
        stamp_ns=0,
        keys=keys,
        points_m=((coords.float() + 0.5) * SIZE_M)[order],
        color=torch.cat(colors)[order],
        normal=torch.zeros(count, 3),
        weight=torch.ones(count),
        feature=torch.cat(features)[order].half(),
        feature_weight=torch.ones(count),
        label=torch.cat(labels)[order],
        confidence=torch.ones(count, dtype=torch.float16),
        instance=torch.cat(instances)[order],
    )


@pytest.fixture(scope="module")
def lexicon() -> Lexicon:
    basis = FeatureBasis(torch.eye(CHANNELS), "words")
    return Lexicon(WORDS, [Space("feature", embed_all, basis, 20.0)], Words())


def ask(
    window: Window, lexicon: Lexicon, text: str, viewer: tuple[float, float, float] | None = None
) -> Result:
    question = parse(text)
    things = survey(window, structure_labels(WORDS.names))
    viewer_m = None if viewer is None else np.array(viewer)
    return rank(window, things, question, lexicon.encode(question), viewer_m)


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("the table", [3]),
        ("chairs", [1, 2]),
        ("red chair", [1]),
        ("the blue chair", [2]),
        ("lamp on the table", [4]),
        ("chair near the window", [1]),
        ("tall lamp", [5]),
        ("something to sit on", []),  # these words are like no other here
        ("red table", []),
        ("seat for one", [1, 2]),
    ],
)
def test_answers_are_the_things_meant(window: Window, lexicon: Lexicon, text: str, ids: list[int]) -> None:
    result = ask(window, lexicon, text)
    assert sorted(answer.id for answer in result.answers) == ids
    assert all(answer.score >= FOUND for answer in result.answers)
    assert result.notes == ()


def test_sides_are_answered_for_a_viewer_only(window: Window, lexicon: Lexicon) -> None:
    text = "chair right of the table"
    seen = ask(window, lexicon, text, viewer=(3.5, 9.0, 1.0))
    assert [answer.id for answer in seen.answers] == [1]  # from the north the west is right
    unseen = ask(window, lexicon, text)
    assert {answer.id for answer in unseen.answers} == {1, 2}
    assert unseen.notes == ("not understood: right of table (seen from where?)",)


def test_a_landmark_that_is_not_there_is_said(window: Window, lexicon: Lexicon) -> None:
    result = ask(window, lexicon, "chair near the piano")
    assert result.answers == ()
    assert result.notes == ("no 'piano' was found, so nothing can be near it",)


def test_the_floor_has_no_id(window: Window, lexicon: Lexicon) -> None:
    (answer,) = ask(window, lexicon, "floor").answers
    assert answer.id == 0
    assert answer.box.box_size_m == pytest.approx((5.0, 5.0, 0.05), abs=0.11)  # two voxels are trimmed


def test_the_cloud_has_exactly_the_voxels_of_the_answers(window: Window, lexicon: Lexicon) -> None:
    result = ask(window, lexicon, "chair")
    score = {answer.id: answer.score for answer in result.answers}
    expected = [score.get(int(id_), 0.0) for id_ in window.instance]
    lit = torch.tensor(expected) > 0
    assert torch.equal(result.keys, window.keys[lit])
    assert torch.allclose(result.score, torch.tensor(expected)[lit])


def test_why_tells_every_part(window: Window, lexicon: Lexicon) -> None:
    (answer,) = ask(window, lexicon, "red chair near the window").answers
    assert [clause.split()[0] for clause in answer.why] == ["looks", "red", "near"]
    assert answer.why[0].startswith("looks like chair")
    assert answer.why[2].endswith("(#6)")


def test_means_are_those_of_the_voxels(window: Window, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CORNERS_OF", "MEANS_OF"):
        monkeypatch.setattr(f"ws3d_ros.instances.survey.{name}", 1 << 20)  # everything is read
    random = torch.Generator().manual_seed(0)
    noisy = torch.randn(len(window), CHANNELS, generator=random).half()
    weight = (torch.rand(len(window), generator=random) > 0.3).float()
    window = replace(window, feature=noisy, feature_weight=weight)
    things = survey(window, structure_labels(WORDS.names))
    for row in range(len(things)):
        mine = window.instance == int(things.id[row])
        expected = noisy[mine & (weight > 0)].float().mean(0)
        assert torch.allclose(things.means["feature"][row], expected, atol=1e-5)
        half = SIZE_M / 2
        assert things.low_m[row] == pytest.approx(window.points_m[mine].amin(0).numpy() - half, abs=1e-6)
        assert things.high_m[row] == pytest.approx(window.points_m[mine].amax(0).numpy() + half, abs=1e-6)


def test_of_large_things_an_even_share_is_read(window: Window) -> None:
    random = torch.Generator().manual_seed(1)
    noisy = replace(window, feature=torch.randn(len(window), CHANNELS, generator=random).half())
    things = survey(noisy, structure_labels(WORDS.names))
    for row in range(len(things)):
        mine = window.instance == int(things.id[row])
        # Means of about 48 unit normal values: five standard errors.
        assert (things.means["feature"][row] - noisy.feature[mine].float().mean(0)).abs().max() < 5 / 40**0.5
        # 200 voxels reach nearly as far as all; the largest thing here is 5 m wide.
        assert np.abs(things.low_m[row] - window.points_m[mine].amin(0).numpy()).max() < 0.1


def test_shares_of_words_are_probabilities(window: Window, lexicon: Lexicon) -> None:
    things = survey(window, structure_labels(WORDS.names))
    share = word_shares(things, lexicon.encode(parse("unheard-of thingummy")))
    assert share.sum(axis=1) == pytest.approx(np.ones(len(things)), abs=1e-5)
    assert share.shape[1] == len(lexicon.words) + 1


def test_focal_colours_are_themselves() -> None:
    for i, (name, shades) in enumerate(FOCAL_RGB.items()):
        shares = color_shares(np.array(shades, np.float32))
        assert (shares.argmax(axis=1) == i).all(), name
        assert shares.sum(axis=1) == pytest.approx(np.ones(len(shades)), abs=1e-5)


@given(
    sizes=st.lists(st.integers(0, 400), min_size=1, max_size=6),
    none=st.integers(0, 50),
    enough=st.integers(1, 300),
    seed=st.integers(0, 9),
)
def test_the_sample_is_that_of_whole_numbers(sizes: list[int], none: int, enough: int, seed: int) -> None:
    rows = np.repeat(np.arange(len(sizes) + 1), [*sizes, none])
    np.random.default_rng(seed).shuffle(rows)
    found = _sample(torch.from_numpy(rows.astype(np.int32)), torch.tensor(sizes), enough).tolist()
    turn, expected = 1 << 32, []
    for voxel, row in enumerate(rows.tolist()):
        part = min(enough / sizes[row], 1.0) if row < len(sizes) else 0.0
        if voxel * 2_654_435_769 % turn < int(part * turn):
            expected.append(voxel)
    assert found == expected


def test_shares_of_colours_are_a_softmax_over_squared_distances() -> None:
    colors = np.random.default_rng(2).uniform(0, 255, (40, 3)).astype(np.float32)

    def lab(rgb: np.ndarray) -> np.ndarray:
        return cv2.cvtColor(np.float32(rgb)[None, None] / np.float32(255), cv2.COLOR_RGB2LAB)[0, 0] * [
            LIGHTNESS,
            1.0,
            1.0,
        ]

    for color, found in zip(colors, color_shares(colors), strict=True):
        squared = [
            min(((lab(color) - lab(np.array(shade))) ** 2).sum() for shade in shades)
            for shades in FOCAL_RGB.values()
        ]
        likely = np.exp(-np.array(squared) / (2 * SPREAD**2))
        # float32 squares of up to 10^4 differ in their last digits.
        assert found == pytest.approx(likely / likely.sum(), abs=1e-4)
    assert color_shares(np.zeros((0, 3), np.float32)).shape == (0, len(FOCAL_RGB))


def test_calibration_keeps_the_order() -> None:
    share = np.linspace(0.0, 1.0, 101)
    score = calibrated(share)
    assert ((score >= 0) & (score <= 1)).all()
    assert (np.diff(score) >= 0).all()
