"""What the rest of the system asks of a vision-language encoder."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor


class EncoderError(RuntimeError):
    """An encoder that cannot be had here. The message says why and what to do."""


class TextEncoder(Protocol):
    """Words to unit vectors of one space.

    Attributes:
        space: identifies the space. Vectors of different spaces are never mixed, and a map
            that is saved names its space.
        templates: sentences with ``{}`` for a word, as this encoder likes them.
    """

    space: str
    templates: tuple[str, ...]

    def encode_text(self, texts: list[str]) -> Tensor:
        """(C, D) float32 unit vectors, one per text."""
        ...


@runtime_checkable
class Encoder(TextEncoder, Protocol):
    """Images, too, to unit vectors of the space.

    Attributes:
        dim: number of channels D.
        name: what to call this encoder in messages, e.g. ``open_clip ViT-B-16/dfn2b``.
        logit_scale: cosines times this are logits of the encoder's own softmax over words.
    """

    dim: int
    name: str
    logit_scale: float

    def encode_dense(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) float32 in 0..1 to (B, D, h, w) float32 unit vectors.

        The grid covers the image edge to edge; h and w are the encoder's choice.
        """
        ...

    def encode_image(self, crops: Tensor) -> Tensor:
        """(B, 3, H, W) float32 in 0..1 to (B, D) float32 unit vectors, one per crop."""
        ...
