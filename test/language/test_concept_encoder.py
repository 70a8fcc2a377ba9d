"""Segmenters by their description, and words for what they see."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from language.tiny_onnx import color_network
from tokenizers import Tokenizer

from ws3d_ros.language.choose import choose_encoder
from ws3d_ros.language.concept_encoder import ConceptEncoder
from ws3d_ros.language.encoder import Encoder, EncoderError
from ws3d_ros.language.prompts import embed
from ws3d_ros.language.segmenter import BALANCE, Segmenter
from ws3d_ros.language.sentences import SentenceEncoder, find_sentence_model, word_piece_tokenizer
from ws3d_ros.language.vocabulary import Vocabulary

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
WEIGHTS = SHARED / "weights"
CPU = torch.device("cpu")
RED, GREEN, BLUE = 0, 1, 2


def write_segmenter(folder: Path, nhwc: bool = False, **description: Any) -> Path:
    """Red is "sofa", green is "floor", blue has no name."""
    folder.mkdir(exist_ok=True)
    description = {"classes": ["sofa", "floor", ""], "height": 48, "width": 64} | description
    if nhwc:
        description["layout"] = "NHWC"
    network = color_network(description["height"], description["width"], 20.0 * np.eye(3), nhwc=nhwc)
    (folder / "segmenter.onnx").write_bytes(network)
    (folder / "segmenter.json").write_text(json.dumps(description))
    return folder


def halves(height: int, width: int) -> torch.Tensor:
    """(1, 3, H, W), left half red, right half green."""
    image = torch.zeros(1, 3, height, width)
    image[:, RED, :, : width // 2] = 1.0
    image[:, GREEN, :, width // 2 :] = 1.0
    return image


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> ConceptEncoder:
    folder = write_segmenter(tmp_path_factory.mktemp("weights") / "colors")
    return ConceptEncoder(folder, find_sentence_model(None), CPU)


@pytest.mark.parametrize("nhwc", [False, True])
@pytest.mark.parametrize("fill", [1.0, 0.6])
@pytest.mark.parametrize("shape", [(48, 64), (480, 640), (64, 48), (30, 90)])
def test_the_grid_covers_the_image_edge_to_edge(
    tmp_path: Path, nhwc: bool, fill: float, shape: tuple[int, int]
) -> None:
    """Whatever its shape and however much grey is around it: the colours are where they were."""
    segmenter = Segmenter(write_segmenter(tmp_path, nhwc, fill=fill))
    probability = segmenter.probabilities(halves(*shape))[0]
    torch.testing.assert_close(probability.sum(0), torch.ones(probability.shape[1:]))
    columns = probability.shape[2]
    expected = min(64, 48 * shape[1] / shape[0]) * fill / 4
    assert abs(columns - expected) <= 1.0
    # The cells at the border may hold some grey, those at the seam both colours; elsewhere it is
    # exp(-20) beside 1.
    inside, middle = probability[:, 1:-1], columns / 2
    assert inside[0, :, 1 : round(middle - 1)].min() > 0.99
    assert inside[1, :, round(middle + 1) : -1].min() > 0.99


def test_the_input_is_prepared_as_described(tmp_path: Path) -> None:
    """Against softmax(20 (rgb - mean) scale / temperature) of a plain image, in numpy."""
    mean, scale, temperature = [0.1, 0.2, 0.3], [1.0, 2.0, 0.5], 7.0
    prior = [0.7, 0.2, 0.1]
    rgb = np.array([0.3, 0.6, 0.9])
    segmenter = Segmenter(
        write_segmenter(tmp_path, mean=mean, scale=scale, temperature=temperature, prior=prior)
    )
    image = torch.tensor(rgb, dtype=torch.float32).view(1, 3, 1, 1).expand(1, 3, 48, 64)
    logits = 20.0 * (rgb - mean) * scale - BALANCE * np.log(prior)
    expected = np.exp(logits / temperature) / np.exp(logits / temperature).sum()
    found = segmenter.probabilities(image)[0, :, 5, 5].numpy()
    # float32 exponentials
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_an_image_in_a_batch_is_as_alone(tmp_path: Path) -> None:
    segmenter = Segmenter(write_segmenter(tmp_path))
    images = torch.rand(3, 3, 48, 64, generator=torch.Generator().manual_seed(0))
    together = segmenter.probabilities(images)
    assert torch.equal(together[1:2], segmenter.probabilities(images[1:2]))


@pytest.mark.parametrize(
    "wrong",
    [
        {"classes": ["a", "b", 3]},
        {"height": 0},
        {"layout": "CHW"},
        {"mean": [0.0]},
        {"temperature": 0.0},
        {"fill": 1.5},
        {"prior": [0.5]},
        {"prior": [0.5, 0.5, 0.0]},
        {"width": "wide"},
    ],
)
def test_descriptions_that_do_not_fit(tmp_path: Path, wrong: dict[str, Any]) -> None:
    write_segmenter(tmp_path)
    path = tmp_path / "segmenter.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | wrong))
    with pytest.raises(EncoderError, match=r"segmenter\.json"):
        Segmenter(tmp_path)


def test_a_network_with_other_classes_than_described(tmp_path: Path) -> None:
    segmenter = Segmenter(write_segmenter(tmp_path, classes=["sofa", "floor"]))
    with pytest.raises(EncoderError, match="2 classes"):
        segmenter.probabilities(halves(48, 64))


def test_it_is_an_encoder(encoder: ConceptEncoder) -> None:
    assert isinstance(encoder, Encoder)
    image = torch.rand(2, 3, 60, 80, generator=torch.Generator().manual_seed(1))
    dense, crops, words = (
        encoder.encode_dense(image),
        encoder.encode_image(image),
        encoder.encode_text(["a", "b"]),
    )
    assert dense.shape == (2, encoder.dim, 12, 16)
    assert crops.shape == (2, encoder.dim)
    assert words.shape == (2, encoder.dim)
    for vectors in (dense.movedim(1, -1), crops, words):
        torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(vectors.shape[:-1]))
    assert torch.equal(dense, encoder.encode_dense(image))
    assert encoder.encode_text([]).shape == (0, encoder.dim)


def test_a_pixel_is_the_mean_of_its_classes(encoder: ConceptEncoder) -> None:
    """Against probabilities times class vectors, one pixel at a time, in numpy."""
    image = torch.rand(1, 3, 48, 64, generator=torch.Generator().manual_seed(2))
    dense = encoder.encode_dense(image)[0].numpy()
    probability = encoder._segmenter.probabilities(image)[0].numpy()
    sofa = embed(Vocabulary.of(["sofa", "floor"]), encoder).names.numpy()
    nothing = np.eye(encoder.dim)[-1]
    for row, column in [(0, 0), (3, 7), (11, 15)]:
        p = probability[:, row, column]
        expected = p[0] * sofa[0] + p[1] * sofa[1] + p[2] * nothing
        # float32 sums over 385 channels
        np.testing.assert_allclose(dense[:, row, column], expected / np.linalg.norm(expected), atol=1e-5)


def test_words_find_what_they_mean(encoder: ConceptEncoder) -> None:
    words = encoder.encode_text(["couch", "flooring", "sky", "bicycle"])
    dense = encoder.encode_dense(halves(48, 64))[0]
    left, right = words @ dense[:, 6, 2], words @ dense[:, 6, 13]
    assert left.argmax() == 0
    assert right.argmax() == 1
    unnamed = torch.zeros(1, 3, 48, 64)
    unnamed[:, BLUE] = 1.0
    # What has no name is like no word.
    assert (words @ encoder.encode_dense(unnamed)[0, :, 6, 8]).abs().max() < 1e-3


def test_spaces_differ_where_segmenters_do(tmp_path: Path, encoder: ConceptEncoder) -> None:
    other = ConceptEncoder(
        write_segmenter(tmp_path / "colors", temperature=2.0), find_sentence_model(None), CPU
    )
    assert other.space != encoder.space


def test_sentences() -> None:
    sentences = SentenceEncoder(find_sentence_model(None))
    vectors = sentences.encode(["sofa", "couch", "mountain", "sofa"])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-6)
    assert (vectors[0] == vectors[3]).all()
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.2
    assert sentences.encode([]).shape == (0, 384)


def test_our_tokenizer_is_the_models() -> None:
    path = WEIGHTS / "minilm-l6-v2-int8" / "tokenizer.json"
    if not path.is_file():
        pytest.skip(f"needs {path}")
    theirs, ours = Tokenizer.from_file(str(path)), word_piece_tokenizer()
    theirs.no_padding()
    for text in [
        "A chair.",
        "naïve Café 日本 can't",
        "coffee-table; 12 cm",
        "",
        "x" * 300,
        "the floor " * 100,
    ]:
        assert theirs.encode(text).ids == ours.encode(text).ids


def test_both_sources_of_the_sentence_model_agree() -> None:
    if not (WEIGHTS / "minilm-l6-v2-int8" / "model.onnx").is_file():
        pytest.skip(f"needs {WEIGHTS}")
    ours, theirs = find_sentence_model(None), find_sentence_model(WEIGHTS)
    assert ours != theirs
    words = ["sofa", "a red fire extinguisher"]
    one, other = SentenceEncoder(ours).encode(words), SentenceEncoder(theirs).encode(words)
    np.testing.assert_allclose(one, other, atol=1e-5)


def test_deeplab_sees_a_floor_and_a_bed() -> None:
    """The folder of ../shared without a description of ours, on a rendered frame with truth."""
    house = SHARED / "data" / "small_house"
    if not (house / "meta.json").is_file() or not WEIGHTS.is_dir():
        pytest.skip(f"needs {SHARED}")
    cv2 = pytest.importorskip("cv2")
    encoder = choose_encoder("concept", WEIGHTS).encoder
    assert encoder is not None
    names = ["bed", "wall", "floor", "toilet"]
    words = embed(Vocabulary.of(names), encoder).names
    meta = json.loads((house / "meta.json").read_text())
    right = total = 0
    for index in (115, 130, 145):
        color = cv2.imread(str(house / f"rgb/{index:04d}.jpg"))[:, :, ::-1].copy()
        image = torch.from_numpy(color).permute(2, 0, 1)[None] / 255.0
        dense = encoder.encode_dense(image)[0]
        best = torch.einsum("cd,dhw->chw", words, dense).argmax(0).numpy()
        truth = cv2.imread(str(house / f"inst/{index:04d}.png"), cv2.IMREAD_UNCHANGED)
        truth = cv2.resize(truth, best.shape[::-1], interpolation=cv2.INTER_NEAREST)
        for instance, about in meta["instances"].items():
            if about["cls"] in names:
                here = truth == int(instance)
                right += int((best[here] == names.index(about["cls"])).sum())
                total += int(here.sum())
    # Chance is 0.25; 0.98 was measured.
    assert right / total > 0.9
