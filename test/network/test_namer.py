"""From windows to probabilities of words, against the parts taken one by one."""

from dataclasses import replace

import pytest
import torch
from small_world import ColourEncoder
from students import SurfaceReader, spec, surface_namer
from torch.nn.functional import normalize
from windows import box_cells, window

from ws3d_ros.language.vocabulary import Vocabulary
from ws3d_ros.network import namer as module
from ws3d_ros.network.backends.choose import choose_backend
from ws3d_ros.network.inference import Reader
from ws3d_ros.network.namer import Namer
from ws3d_ros.network.student import Student
from ws3d_ros.reconstruction.window import Window

WORDS = replace(Vocabulary.of(["floor", "wall", "box"]), synonyms=((), (), ()))
CPU = torch.device("cpu")


def room() -> Window:
    """A floor and a wall that stands on it."""
    floor, wall = box_cells((-6, -6, 0), (6, 6, 1)), box_cells((6, -6, 1), (7, 6, 8))
    up, back = torch.tensor([0.0, 0.0, 1.0]), torch.tensor([-1.0, 0.0, 0.0])
    normal = torch.cat([up.expand(len(floor), 3), back.expand(len(wall), 3)])
    return window(torch.cat([floor, wall]), normal=normal)


def random_namer() -> tuple[Namer, Student]:
    torch.manual_seed(0)
    student = Student(spec()).eval()
    student.heads.word_mean.copy_(torch.tensor([0.2, 0.1, 0.0, 0.3]))
    reader = Reader(student, choose_backend(), CPU, "float32")
    return Namer("random", reader, student.heads, ColourEncoder()), student


def test_words_win_by_shape() -> None:
    namer = surface_namer(SurfaceReader())
    view = room()
    probability = namer.probabilities(view, namer.embed(WORDS))
    torch.testing.assert_close(probability.sum(1), torch.ones(len(view)))
    assert (probability.argmax(1) == torch.where(view.normal[:, 2] > 0.5, 0, 1)).all()


def test_probabilities_are_those_of_the_heads() -> None:
    namer, student = random_namer()
    view = room()
    reader = Reader(student, choose_backend(), CPU, "float32")
    cells = (view.points_m / 0.05).floor().long()
    embedding = reader.read(cells, view.color, view.normal).embedding
    words = ColourEncoder().encode_text(list(WORDS.names))
    expected = torch.softmax(student.heads.word_logits(embedding, words), dim=1)
    found = namer.probabilities(view, namer.embed(WORDS))
    # Two runs of the same sums in float32.
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_words_are_centred_before_synonyms_are_joined() -> None:
    namer, student = random_namer()
    vocabulary = Vocabulary.of(["floor"])
    spellings = ["floor", *vocabulary.synonyms[0]]
    centred = student.heads.centred(ColourEncoder().encode_text(spellings))
    torch.testing.assert_close(namer.embed(vocabulary)[0], normalize(centred.mean(0), dim=0))


def test_pieces_say_what_the_whole_says(monkeypatch: pytest.MonkeyPatch) -> None:
    namer, _ = random_namer()
    view, words = room(), namer.embed(WORDS)
    whole = namer.probabilities(view, words)
    # The halo covers the whole room, so that the pieces see everything.
    monkeypatch.setattr(module, "MOST_VOXELS", 50)
    torch.testing.assert_close(namer.probabilities(view, words), whole, atol=1e-4, rtol=1e-4)


def test_finer_voxels_share_a_cell_and_its_answer() -> None:
    reader = SurfaceReader(voxel_size_m=0.10)
    namer = surface_namer(reader)
    view = room()
    probability = namer.probabilities(view, namer.embed(WORDS))
    assert len(probability) == len(view)
    torch.testing.assert_close(reader.reads[0], (view.points_m / 0.10).floor().long())


def test_an_empty_window() -> None:
    namer, _ = random_namer()
    view = window(torch.zeros(0, 3, dtype=torch.int64))
    assert namer.probabilities(view, namer.embed(WORDS)).shape == (0, 3)
