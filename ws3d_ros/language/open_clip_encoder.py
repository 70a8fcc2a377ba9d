"""Image-text models of open_clip: any tag ``MODEL/PRETRAINED``, or ``local-dir:/path``."""

from __future__ import annotations

import json
import os
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate, normalize

from ws3d_ros.language.dense import dense_features, patch_size, takes_any_size
from ws3d_ros.language.encoder import EncoderError

LOCAL = "local-dir:"
SHORT_SIDE = 336
"""Least height or width in pixels at which dense features are made. Models for 224 pixels see too
few patches otherwise; 336 is what dense uses of CLIP ViTs commonly take."""
TEMPLATES = (
    "a photo of a {}.",
    "a photo of the {}.",
    "there is a {} in the scene.",
    "a close-up photo of a {}.",
    "a {} in a room.",
)
TEXT_BATCH = 256
REMEMBERED_TEXTS = 8192
PREFERRED = (
    "ViT-B-16/datacomp_xl_s13b_b90k",
    "ViT-B-16/dfn2b",
    "ViT-B-16/laion2b_s34b_b88k",
    "ViT-B-16/openai",
    "ViT-L-14/datacomp_xl_s13b_b90k",
    "ViT-L-14/openai",
    "ViT-B-16-SigLIP2/webli",
    "ViT-B-16-SigLIP/webli",
    "ViT-B-32/laion2b_s34b_b79k",
    "ViT-B-32/openai",
)
"""For ``auto``: those whose dense features are known to be useful, best compromise first."""


class OpenClipEncoder:
    """Implements ``Encoder`` with an open_clip model on any device."""

    templates: tuple[str, ...] = TEMPLATES

    def __init__(self, tag: str, device: torch.device) -> None:
        """Loads a model.

        Args:
            tag: ``MODEL/PRETRAINED`` as open_clip lists them, or ``local-dir:/path`` of a folder with
                ``open_clip_config.json`` and weights.
            device: where the model runs.

        Raises:
            EncoderError: when open_clip is missing, the tag is unknown, or the weights are neither
                in the cache nor to be had.
        """
        model, tokenizer = _load_local(tag, device) if tag.startswith(LOCAL) else _load_tag(tag, device)
        self._use(model, tokenizer, device)
        self.name = f"open_clip {tag}"
        self.space = f"open_clip:{Path(tag).name if tag.startswith(LOCAL) else tag}"

    def _use(self, model: Any, tokenizer: Any, device: torch.device) -> None:
        self._model = model.eval().requires_grad_(False)
        self._tokenizer = tokenizer
        self._device = device
        self._texts: dict[str, Tensor] = {}
        visual = model.visual
        settings = visual.preprocess_cfg
        self._mean = torch.tensor(settings["mean"], device=device).view(1, 3, 1, 1)
        self._std = torch.tensor(settings["std"], device=device).view(1, 3, 1, 1)
        size = settings["size"]
        self._size: tuple[int, int] = (size, size) if isinstance(size, int) else tuple(size)
        self.logit_scale = float(model.logit_scale.exp())
        self.dim = int(self.encode_text(["object"]).shape[1])

    @torch.inference_mode()
    def encode_text(self, texts: list[str]) -> Tensor:
        """(C, D) float32 unit vectors, one per text; earlier answers are remembered."""
        new = [text for text in dict.fromkeys(texts) if text not in self._texts]
        if len(self._texts) + len(new) > REMEMBERED_TEXTS:
            self._texts.clear()
            new = list(dict.fromkeys(texts))
        for start in range(0, len(new), TEXT_BATCH):
            batch = new[start : start + TEXT_BATCH]
            tokens = self._tokenizer(batch).to(self._device)
            vectors = normalize(self._model.encode_text(tokens).float(), dim=-1)
            self._texts.update(zip(batch, vectors, strict=True))
        return torch.stack([self._texts[text] for text in texts])

    @torch.inference_mode()
    def encode_dense(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) float32 in 0..1 to (B, D, h, w) float32 unit vectors, see ``dense.py``.

        The image keeps its shape, to the nearest whole number of patches; its shorter side has at
        least 336 pixels or what the model was made for.
        """
        visual = self._model.visual
        size = self._size
        if takes_any_size(visual):
            size = dense_size(images.shape[2], images.shape[3], min(size), patch_size(visual))
        features = dense_features(visual, self._prepare(images, size))
        return normalize(features.float(), dim=1)

    @torch.inference_mode()
    def encode_image(self, crops: Tensor) -> Tensor:
        """(B, 3, H, W) float32 in 0..1 to (B, D) float32 unit vectors, one per crop."""
        return normalize(self._model.encode_image(self._prepare(crops, self._size)).float(), dim=-1)

    def _prepare(self, images: Tensor, size: tuple[int, int]) -> Tensor:
        images = images.to(self._device)
        resized = interpolate(images, size, mode="bicubic", align_corners=False, antialias=True)
        return (resized.clamp(0.0, 1.0) - self._mean) / self._std


def dense_size(height: int, width: int, native: int, patch: int) -> tuple[int, int]:
    """Height and width at which an image is encoded: whole patches, its shape nearly kept."""
    ratio = max(SHORT_SIDE, native) / min(height, width)
    return max(1, round(height * ratio / patch)) * patch, max(1, round(width * ratio / patch)) * patch


def cached_tag() -> str | None:
    """A tag whose weights are in the local cache, preferred ones first; None without open_clip or any."""
    try:
        open_clip = import_open_clip()
    except EncoderError:
        return None
    others = (f"{model}/{pretrained}" for model, pretrained in open_clip.list_pretrained())
    return next((tag for tag in (*PREFERRED, *others) if _is_cached(open_clip, tag)), None)


def import_open_clip() -> ModuleType:
    """open_clip, also where torchvision was built for another torch than the one that is here.

    Raises:
        EncoderError: when it is not installed, or does not load.
    """
    try:
        try:
            import open_clip
        except RuntimeError as error:
            if "torchvision::" not in str(error):
                raise
            _declare_torchvision_operators()
            import open_clip
    except (ImportError, RuntimeError) as error:
        raise EncoderError(
            f"open_clip does not load ({error}); install it: pip install 'ws3d_ros[vlm]' -c constraints.txt"
        ) from error
    return open_clip


def _declare_torchvision_operators() -> None:
    """Schemas of two operators that a torchvision built for CUDA lacks beside a CPU torch.

    open_clip never calls them; torchvision only cannot be imported without their names. The
    library object must live as long as the process.
    """
    library = torch.library.Library("torchvision", "FRAGMENT")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _declare_torchvision_operators.library = library  # type: ignore[attr-defined]


def _load_tag(tag: str, device: torch.device) -> tuple[Any, Any]:
    open_clip = import_open_clip()
    model, slash, pretrained = tag.partition("/")
    known = open_clip.list_pretrained_tags_by_model(model)
    if not slash or pretrained not in known:
        what = f"of {model} are {', '.join(known)}" if known else "are listed by open_clip.list_pretrained()"
        raise EncoderError(f"open_clip has no weights '{tag}'; those {what}")
    if not _is_cached(open_clip, tag):
        _require_hub(tag)
    try:
        loaded = open_clip.create_model(model, pretrained=pretrained, device=device)
        return loaded, open_clip.get_tokenizer(model)
    except (OSError, RuntimeError, ValueError) as error:
        raise EncoderError(f"open_clip {tag} does not load: {error}") from error


def _load_local(tag: str, device: torch.device) -> tuple[Any, Any]:
    open_clip = import_open_clip()
    folder = Path(tag.removeprefix(LOCAL)).expanduser().absolute()
    config = folder / "open_clip_config.json"
    if not config.is_file():
        raise EncoderError(f"{folder} has no open_clip_config.json; give the folder of an open_clip model")
    with tempfile.TemporaryDirectory(prefix="ws3d_") as copy:
        # open_clip wants the folder's absolute path inside the configuration where the text model
        # is from transformers; the folder may be read-only, hence a copy made of links.
        for path in folder.iterdir():
            if path != config:
                (Path(copy) / path.name).symlink_to(path)
        (Path(copy) / config.name).write_text(config.read_text().replace("__DIR__", json.dumps(copy)[1:-1]))
        try:
            model = open_clip.create_model(f"{LOCAL}{copy}", device=device, require_pretrained=True)
            return model, open_clip.get_tokenizer(f"{LOCAL}{copy}")
        except (OSError, RuntimeError, ValueError) as error:
            raise EncoderError(f"the model in {folder} does not load: {error}") from error


def _is_cached(open_clip: ModuleType, tag: str) -> bool:
    """Whether the weights are in the Hugging Face cache or in open_clip's own."""
    model, _, pretrained = tag.partition("/")
    source = open_clip.get_pretrained_cfg(model, pretrained)
    if source.get("file"):
        return Path(source["file"]).is_file()
    if source.get("hf_hub"):
        from huggingface_hub import try_to_load_from_cache

        repository, name = os.path.split(source["hf_hub"])
        names = [name] if name else ["open_clip_model.safetensors", "open_clip_pytorch_model.bin"]
        names += [Path(name).with_suffix(".safetensors").name] if name else []
        return any(isinstance(try_to_load_from_cache(repository, file), str) for file in names)
    url = source.get("url", "")
    return bool(url) and (Path("~/.cache/clip").expanduser() / Path(url).name).is_file()


def _require_hub(tag: str) -> None:
    """A quick look whether weights could be downloaded at all; the libraries retry for minutes.

    Raises:
        EncoderError: when they cannot.
    """
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    if os.environ.get("HF_HUB_OFFLINE", "0").upper() in ("1", "TRUE", "YES", "ON"):
        reason = "HF_HUB_OFFLINE is set"
    else:
        try:
            urllib.request.urlopen(urllib.request.Request(endpoint, method="HEAD"), timeout=5).close()
            return
        except urllib.error.HTTPError:
            return  # it answered
        except (OSError, ValueError) as error:
            reason = f"{endpoint} cannot be reached ({error})"
    raise EncoderError(
        f"the weights of open_clip {tag} are not in the local cache and {reason}; load them once on a "
        "machine with a connection and copy its ~/.cache/huggingface (or set HF_HOME), or use "
        "open_clip:local-dir:/path"
    )
