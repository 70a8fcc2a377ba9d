"""Which encoder this machine can run, and why that one."""

from __future__ import annotations

import os
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
    """An encoder, or None where images are not read, and a sentence for people that says why."""

    encoder: Encoder | None
    why: str


def choose_encoder(
    name: str, weights_dir: str | Path = "", device: str | torch.device = "cpu", threads: int = 0
) -> Choice:
    """The encoder of that name, or for ``auto`` the best that this machine can run.

    Args:
        name: ``auto``, ``none``, ``concept``, ``open_clip:MODEL/PRETRAINED`` or
            ``open_clip:local-dir:/path``.
        weights_dir: folder with further models. Empty: the environment variable WS3D_WEIGHTS, if set.
        device: where vectors live and torch models run.
        threads: CPU threads for ONNX networks; torch models use torch's own. 0: half of the cores,
            at least one.

    Raises:
        EncoderError: when the encoder asked for cannot be had, or the folder does not exist.
            ``auto`` falls back to none instead, and ``why`` says what is missing.
    """
    folder = weights_folder(weights_dir)
    device = torch.device(device)
    threads = threads or max(1, (os.cpu_count() or 1) // 2)
    if name == "auto":
        return _best(folder, device, threads)
    if name == "none":
        return Choice(None, "no encoder, as asked: images are not read")
    if name == "concept":
        segmenter = _segmenter(folder)
        return Choice(_concept(segmenter, folder, device, threads), f"concept, as asked, with {segmenter}")
    kind, _, tag = name.partition(":")
    if kind == "open_clip" and tag:
        return Choice(OpenClipEncoder(tag, device), f"open_clip {tag}, as asked")
    raise EncoderError(
        f"unknown encoder '{name}'; known are auto, none, concept, open_clip:MODEL/PRETRAINED "
        "and open_clip:local-dir:/path"
    )


def weights_folder(weights_dir: str | Path = "") -> Path | None:
    """The folder where encoders look for models, or None where none is set.

    Raises:
        EncoderError: if it is set but does not exist.
    """
    setting = str(weights_dir) or os.environ.get("WS3D_WEIGHTS", "")
    if not setting:
        return None
    folder = Path(setting).expanduser()
    if not folder.is_dir():
        raise EncoderError(
            f"the weights folder {folder} does not exist; correct semantics.weights_dir or WS3D_WEIGHTS"
        )
    return folder


def _best(folder: Path | None, device: torch.device, threads: int) -> Choice:
    """First an image-text model where there is a GPU for it, then a segmenter, then nothing."""
    missing = []
    tag = cached_tag() if device.type == "cuda" else None
    if tag:
        try:
            return Choice(OpenClipEncoder(tag, device), f"{tag} is in the local cache and there is a GPU")
        except EncoderError as error:
            missing.append(str(error))
    try:
        segmenter = _segmenter(folder)
        encoder = _concept(segmenter, folder, device, threads)
    except EncoderError as error:
        missing.append(str(error))
        return Choice(None, f"no encoder, images are not read ({'; '.join(missing)}); {BETTER}")
    return Choice(encoder, f"the closed-set segmenter of {segmenter} with sentence vectors; {BETTER}")


def _concept(segmenter: Path, folder: Path | None, device: torch.device, threads: int) -> ConceptEncoder:
    return ConceptEncoder(segmenter, find_sentence_model(folder), device, threads)


def _segmenter(folder: Path | None) -> Path:
    """The first segmenter of the weights folder in the alphabet, else the one that ships."""
    inside = sorted(path for path in folder.iterdir() if path.is_dir()) if folder else []
    for candidate in [*inside, PACKAGED_SEGMENTER]:
        if is_segmenter(candidate):
            return candidate
    raise EncoderError(
        f"no segmenter in {folder or 'a weights folder (none is set)'} nor in the package; give "
        "a folder with segmenter.json and segmenter.onnx by WS3D_WEIGHTS or semantics.weights_dir"
    )
