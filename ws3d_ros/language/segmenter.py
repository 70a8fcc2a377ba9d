"""A closed-set dense segmenter in ONNX, described by a small JSON file beside it.

``segmenter.json`` says what the network eats and what its outputs mean::

    {"classes": ["", "wall", "floor", "sofa"],   names in the order of the outputs; "" has no name
     "height": 384, "width": 512,                of the input
     "layout": "NCHW",                           or NHWC
     "mean": [0, 0, 0], "scale": [1, 1, 1],      input = (rgb in 0..1 - mean) * scale
     "temperature": 1.0,                         logits are divided by it
     "prior": [0.2, 0.3, 0.4, 0.1],              how often each class occurs in the training images
     "fill": 1.0,                                share of the input that an image of its shape fills
     "licence": "CC0-1.0"}

All but ``classes``, ``height`` and ``width`` may be left out. The network is ``segmenter.onnx``:
one image in, (1, C, h, w) logits out, first output.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import onnxruntime
import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, interpolate, pad

from ws3d_ros.language.encoder import EncoderError
from ws3d_ros.language.vocabulary import Vocabulary
from ws3d_ros.sensors.raster import MAX_SIDE
from ws3d_ros.untrusted import clipped, short

GREY = 0.5
"""What surrounds an image that does not fill the input."""
BALANCE = 0.7
"""How much of the advantage that frequent classes have is taken away, 0 to 1 (logit adjustment, Menon
et al., ICLR 2021). Networks say "wall" too often where the images are not like those of the training."""


@dataclass(frozen=True)
class Description:
    """What ``segmenter.json`` says; see the module."""

    classes: tuple[str, ...]
    height: int
    width: int
    layout: str = "NCHW"
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    scale: tuple[float, float, float] = (1.0, 1.0, 1.0)
    temperature: float = 1.0
    prior: tuple[float, ...] = ()
    fill: float = 1.0
    licence: str = ""


class Segmenter:
    """Images to class probabilities.

    Attributes:
        name: of the folder it came from.
        fingerprint: changes with the network or its description.
        spellings: of each of the K classes: its name, then synonyms; none for a class without a name.
    """

    def __init__(self, folder: Path, threads: int = 1) -> None:
        """Loads the segmenter of a folder.

        Raises:
            EncoderError: when the folder holds none, or its description does not fit.
        """
        network, self._description = _find(folder)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        # A plan of all tensors at once doubles what it keeps to compute with (docs/reliability.md).
        options.enable_mem_pattern = False
        self._session = onnxruntime.InferenceSession(
            str(network), options, providers=["CPUExecutionProvider"]
        )
        self._input = self._session.get_inputs()[0].name
        self._output = self._session.get_outputs()[0].name
        self.name = folder.name
        self.fingerprint = _fingerprint(network, self._description)
        named = Vocabulary.of(name for name in self._description.classes if name)
        known = {n: (n, *synonyms) for n, synonyms in zip(named.names, named.synonyms, strict=True)}
        self.spellings = tuple(known.get(name, ()) for name in self._description.classes)
        prior = torch.tensor(self._description.prior or [1.0])
        self._advantage = (BALANCE * prior.log()).view(1, -1, 1, 1)

    def probabilities(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) float32 RGB in 0..1 to (B, K, h, w) float32, sums over K are 1.

        The image keeps its shape: it is scaled to fit the input and surrounded by grey. The grid
        covers the image edge to edge.
        """
        return torch.cat([self._one(image[None]) for image in images])

    def _one(self, image: Tensor) -> Tensor:
        description = self._description
        canvas, left, top, width, height = _letterbox(image, description)
        mean = torch.tensor(description.mean, device=image.device).view(1, 3, 1, 1)
        scale = torch.tensor(description.scale, device=image.device).view(1, 3, 1, 1)
        values = ((canvas - mean) * scale).cpu()
        if description.layout == "NHWC":
            values = values.permute(0, 2, 3, 1)
        logits = torch.from_numpy(
            self._session.run([self._output], {self._input: values.contiguous().numpy()})[0]
        )
        if logits.ndim != 4 or logits.shape[1] != len(description.classes):
            raise EncoderError(
                f"segmenter '{self.name}': the network answers {tuple(logits.shape)}, but its description "
                f"has {len(description.classes)} classes"
            )
        probability = torch.softmax((logits.float() - self._advantage) / description.temperature, dim=1)
        return _crop(probability, description, left, top, width, height).to(image.device)


def _letterbox(image: Tensor, description: Description) -> tuple[Tensor, int, int, int, int]:
    """The image amid grey, and where it is: left, top, width and height in pixels of the input."""
    ratio = min(description.height / image.shape[2], description.width / image.shape[3]) * description.fill
    height, width = max(1, round(image.shape[2] * ratio)), max(1, round(image.shape[3] * ratio))
    small = interpolate(image, (height, width), mode="bilinear", align_corners=False, antialias=True)
    top, left = (description.height - height) // 2, (description.width - width) // 2
    around = (left, description.width - width - left, top, description.height - height - top)
    return pad(small, around, value=GREY), left, top, width, height


def _crop(grid: Tensor, description: Description, left: int, top: int, width: int, height: int) -> Tensor:
    """The part of an output grid that covers the image, resampled so that it does so edge to edge."""
    across, down = width / description.width, height / description.height
    centre_x = (left + width / 2) / description.width * 2 - 1
    centre_y = (top + height / 2) / description.height * 2 - 1
    rows, columns = max(1, round(grid.shape[2] * down)), max(1, round(grid.shape[3] * across))
    theta = torch.tensor([[[across, 0.0, centre_x], [0.0, down, centre_y]]])
    places = affine_grid(theta, [1, 1, rows, columns], align_corners=False)
    return grid_sample(grid, places, mode="bilinear", padding_mode="border", align_corners=False)


def _find(folder: Path) -> tuple[Path, Description]:
    """The network and the description of a folder, in our layout or in that of the DeepLab folder."""
    description, network = folder / "segmenter.json", folder / "segmenter.onnx"
    if description.is_file() and network.is_file():
        return network, _parse(description)
    labels, deeplab = folder / "labels.txt", folder / "deeplab_ade20k_dense.onnx"
    if labels.is_file() and deeplab.is_file():
        # The file of labels has only the first word of each name, hence not enough to go by.
        names = Vocabulary.load("ade20k").names
        # They are in the order of their frequency, which falls about as 1 / rank.
        prior = (1.0, *(1.0 / (rank + 1) for rank in range(len(names))))
        centre, span = (0.5, 0.5, 0.5), (2.0, 2.0, 2.0)
        return deeplab, Description(("", *names), 513, 513, "NHWC", centre, span, 2.0, prior, fill=0.75)
    raise EncoderError(f"no segmenter in {folder}: it needs segmenter.json and segmenter.onnx")


def is_segmenter(folder: Path) -> bool:
    """Whether the folder holds a segmenter, by its files."""
    return any(
        all((folder / name).is_file() for name in pair)
        for pair in (("segmenter.json", "segmenter.onnx"), ("labels.txt", "deeplab_ade20k_dense.onnx"))
    )


def _parse(path: Path) -> Description:
    known = {field.name for field in fields(Description)}
    try:
        tree: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        values: dict[str, Any] = {
            key: tuple(v) if isinstance(v, list) else v for key, v in tree.items() if key in known
        }
        description = Description(**values)
        _check(description)
    except (OSError, ValueError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise EncoderError(f"{path} does not describe a segmenter: {clipped(error)}") from error
    return description


def _check(description: Description) -> None:
    """Raises ValueError or TypeError for what does not fit."""
    fits = {
        "classes": len(description.classes) > 0
        and all(isinstance(name, str) for name in description.classes),
        "height": _is_edge(description.height),
        "width": _is_edge(description.width),
        "layout": description.layout in ("NCHW", "NHWC"),
        "mean": len(description.mean) == 3 and all(map(math.isfinite, description.mean)),
        "scale": len(description.scale) == 3 and all(map(math.isfinite, description.scale)),
        "temperature": 0 < description.temperature < math.inf,
        "prior": len(description.prior) in (0, len(description.classes))
        and min(description.prior, default=1) > 0,
        "fill": 0 < description.fill <= 1,
    }
    for name, good in fits.items():
        if not good:
            raise ValueError(f"{name} is {short(getattr(description, name))}")


def _is_edge(pixels: object) -> bool:
    return isinstance(pixels, int) and 0 < pixels <= MAX_SIDE


def _fingerprint(network: Path, description: Description) -> str:
    digest = hashlib.sha256(network.read_bytes())
    digest.update(repr(description).encode())
    return digest.hexdigest()[:12]
