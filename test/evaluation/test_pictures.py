"""Pictures of mistakes: the right colours, and the worst scene on top."""

import numpy as np
import pytest
import torch

from ws3d_ros.evaluation.pictures import RIGHT, UNNAMED, WRONG, Judged, colors_of_mistakes, draw_worst
from ws3d_ros.language.vocabulary import Vocabulary
from ws3d_ros.rendering import views

WORDS = Vocabulary.of(["floor", "box"])


@pytest.fixture(autouse=True)
def small_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing in full size takes a second a panel."""
    for name, value in (("WIDTH", 400), ("HEIGHT", 250), ("_OVERSAMPLE", 1)):
        monkeypatch.setattr(views, name, value)


def scene(name: str, right: float) -> Judged:
    """A floor of 1.5 m by 1.5 m of which the first share is named right, and all others are called a box."""
    place = torch.cartesian_prod(torch.arange(30), torch.arange(30), torch.zeros(1, dtype=torch.int64))
    truth = torch.ones(len(place), dtype=torch.int64)
    predicted = torch.where(torch.arange(len(place)) < right * len(place), 1, 2)
    return Judged(name, place.float() * 0.05, predicted, truth)


def red(image: np.ndarray) -> float:
    """Share of clearly red pixels."""
    r, g, b = (image[..., i].astype(int) for i in range(3))
    return float(((r > 120) & (g < 80) & (b < 80)).mean())


def test_mistakes_have_their_colours() -> None:
    colors = colors_of_mistakes(np.array([1, 2, 0]), np.array([1, 1, 1]))
    assert [tuple(color) for color in colors.tolist()] == [RIGHT, WRONG, UNNAMED]


def test_the_worst_scenes_are_on_top_and_the_best_is_left_out() -> None:
    scenes = [scene("good", 1.0), scene("poor", 0.2), scene("fair", 0.6)]
    picture = draw_worst(scenes, WORDS, 0.05, count=2)
    assert picture.dtype == np.uint8
    half = len(picture) // 2
    third = slice(2 * 1200, 3 * 1200)  # where it is wrong
    upper, lower = red(picture[:half, third]), red(picture[half:, third])
    assert upper > 1.5 * lower > 0
    assert red(draw_worst(scenes[:1], WORDS, 0.05)[:, third]) == 0


def test_voxels_without_truth_are_not_drawn() -> None:
    judged = scene("", 1.0)
    blank = judged.truth * (torch.arange(len(judged.truth)) >= 225)
    wrong = torch.where(blank == 0, 2, judged.predicted)
    picture = draw_worst([Judged("", judged.points_m, wrong, blank)], WORDS, 0.05)
    assert red(picture[:, 2400:3600]) == 0


def test_nothing_to_draw_is_an_error() -> None:
    with pytest.raises(ValueError, match="no scene"):
        draw_worst([], WORDS, 0.05)
    judged = scene("", 1.0)
    with pytest.raises(ValueError, match="no voxel has a true class"):
        draw_worst([Judged("", judged.points_m, judged.predicted, judged.truth * 0)], WORDS, 0.05)
