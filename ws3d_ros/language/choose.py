"""Which encoder this machine can run, and why that one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from ws3d_ros.language.concept_encoder import ConceptEncoder
from ws3d_ros.language.encoder import Encoder, EncoderError
from ws3d_ros.language.open_clip_encoder import OpenClipEncoder, cached_tag
from ws3d_ros.language.segmenter import is_segmenter
from ws3d_ros.language.sentences import find_sentence_model

PACKAGED_SEGMENTER = Path(__file__).parent / "data" / "segmenter"
BETTER = (
    "for any word in real images use an image-text model, best on a GPU: pip install 'ws3d_ros[vlm]' "
    "-c constraints.txt and set the encoder to open_clip:ViT-B-16/datacomp_xl_s13b_b90k"
)


@dataclass(frozen=True)
class Choice:
    """An encoder, or None for geometry only, and a sentence for people that says why."""

    encoder: Encoder | None
    why: str


def choose_encoder(name: str, weights_dir: Path | None, device: torch.device, threads: int = 1) -> Choice:
    """The encoder of that name, or for ``auto`` the best that this machine can run.

    Args:
        name: ``auto``, ``none``, ``concept``, ``open_clip:MODEL/PRETRAINED`` or
            ``open_clip:local-dir:/path``.
        weights_dir: folder with further models, or None.
        device: where vectors live.
        threads: CPU threads for ONNX networks, at least 1. Torch models use torch's own.

    Raises:
        EncoderError: when the encoder asked for cannot be had, or ``weights_dir`` does not exist.
            ``auto`` falls back to geometry only instead, and ``why`` says what is missing.
    """
    if weights_dir is not None and not weights_dir.is_dir():
        raise EncoderError(f"the weights folder {weights_dir} does not exist")
    if name == "auto":
        return _best(weights_dir, device, threads)
    if name == "none":
        return Choice(None, "no encoder, as asked: geometry only")
    if name == "concept":
        folder = _segmenter(weights_dir)
        return Choice(_concept(folder, weights_dir, device, threads), f"concept, as asked, with {folder}")
    kind, _, tag = name.partition(":")
    if kind == "open_clip" and tag:
        return Choice(OpenClipEncoder(tag, device), f"open_clip {tag}, as asked")
    raise EncoderError(
        f"unknown encoder '{name}'; known are auto, none, concept, open_clip:MODEL/PRETRAINED "
        "and open_clip:local-dir:/path"
    )


def _best(weights_dir: Path | None, device: torch.device, threads: int) -> Choice:
    """First an image-text model where there is a GPU for it, then a segmenter, then nothing."""
    missing = []
    tag = cached_tag() if device.type == "cuda" else None
    if tag:
        try:
            return Choice(OpenClipEncoder(tag, device), f"{tag} is in the local cache and there is a GPU")
        except EncoderError as error:
            missing.append(str(error))
    try:
        folder = _segmenter(weights_dir)
        encoder = _concept(folder, weights_dir, device, threads)
    except EncoderError as error:
        missing.append(str(error))
        return Choice(None, f"no encoder, geometry only ({'; '.join(missing)}); {BETTER}")
    return Choice(encoder, f"the closed-set segmenter of {folder} with sentence vectors; {BETTER}")


def _concept(folder: Path, weights_dir: Path | None, device: torch.device, threads: int) -> ConceptEncoder:
    return ConceptEncoder(folder, find_sentence_model(weights_dir), device, threads)


def _segmenter(weights_dir: Path | None) -> Path:
    """The first segmenter of ``weights_dir`` in the alphabet, else the one that ships."""
    folders = sorted(path for path in weights_dir.iterdir() if path.is_dir()) if weights_dir else []
    for folder in [*folders, PACKAGED_SEGMENTER]:
        if is_segmenter(folder):
            return folder
    raise EncoderError(
        f"no segmenter in {weights_dir or 'a weights folder (none is set)'} nor in the package; give "
        "a folder with segmenter.json and segmenter.onnx by WS3D_WEIGHTS or semantics.weights_dir"
    )
