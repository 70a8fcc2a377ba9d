"""Words for who needs no images: the text side of a space that a network was trained in."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from ws3d_ros.language.choose import weights_folder
from ws3d_ros.language.encoder import Encoder, EncoderError, TextEncoder
from ws3d_ros.language.sentences import SPACE, SentenceEncoder, find_sentence_model


class SentenceTexts:
    """Implements ``TextEncoder`` with the sentence model; each word stands for itself."""

    space = SPACE
    templates: tuple[str, ...] = ("{}",)

    def __init__(self, sentences: SentenceEncoder, device: torch.device) -> None:
        """``device``: where answers live; the model runs on the CPU."""
        self._sentences, self._device = sentences, device

    def encode_text(self, texts: list[str]) -> Tensor:
        """(C, 384) float32 unit vectors, one per text."""
        return torch.from_numpy(self._sentences.encode(texts)).to(self._device)


def choose_text_encoder(
    space: str, encoder: Encoder | None, weights_dir: str | Path, device: torch.device
) -> TextEncoder:
    """What turns words into vectors of a space: the image encoder if it is its own, or the sentence model.

    Args:
        space: as ``TextEncoder.space``.
        encoder: of images, if there is one.
        weights_dir: as for :func:`ws3d_ros.language.choose.choose_encoder`.
        device: where vectors live.

    Raises:
        EncoderError: when neither knows the space, or the sentence model is missing.
    """
    if encoder is not None and encoder.space == space:
        return encoder
    if space == SPACE:
        return SentenceTexts(SentenceEncoder(find_sentence_model(weights_folder(weights_dir))), device)
    here = f"that of the encoder in use, '{encoder.space}', and " if encoder is not None else ""
    raise EncoderError(
        f"there are no words for the language space '{space}': known are {here}'{SPACE}'; "
        "set semantics.encoder to the encoder of that space"
    )
