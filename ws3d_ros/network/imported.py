"""Networks that others trained with MinkowskiEngine, as students.

Ours are laid out as MinkowskiEngine's Res16UNet (``MinkUNet18A`` is ``Res16UNet18A``), so that what
differs are names and shapes. OpenScene (Peng et al., CVPR 2023): ``Res16UNet18A``, voxels of 2 cm,
three input channels that are all 1.

Kernels must be cubes in MinkowskiEngine's order, as OpenScene's are. SpatioTemporalSegmentation on
MinkowskiEngine 0.4 made those of its blocks as ``HYBRID`` regions: the same shape in another order,
which no file tells; with such weights a student talks nonsense.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.functional import pad

from ws3d_ros.network.checkpoint import CheckpointError, assemble
from ws3d_ros.network.student import Spec, Student

PREFIXES = ("module.", "net3d.", "model.")
"""Of what was wrapped around the network: DataParallel, OpenScene's own class, Lightning."""
NESTS = ("state_dict", "model_state_dict", "model")
"""Where training loops keep the tensors in their files."""
LOGIT_SCALE = 100.0
"""CLIP's, in whose spaces such networks are trained."""


def import_minkowski(tensors: Mapping[str, Tensor], spec: Spec, source: str | Path = "state dict") -> Student:
    """A student with the weights of a MinkowskiEngine Res16UNet, whose last layer becomes the projector.

    The first layer is fitted to ``spec.inputs`` so that its sums stay what they were. For ``("one",)``
    its input channels, however many, are added up, since each was fed with 1. For ``("color",)`` three
    channels are taken as RGB in -1..1; whether a colour is known then adds nothing.

    Args:
        tensors: named as MinkowskiEngine does, behind ``PREFIXES`` or not.
        spec: without further heads, which such networks do not have; ``dim`` is that of :func:`language_dim`.
        source: for messages.

    Returns:
        float32, in evaluation mode. Words are compared as they are, not centred.

    Raises:
        CheckpointError: that names the source and the first tensor that does not fit.
    """
    unet = _without_prefixes(tensors, source)
    last = _last_kernel(unet, source)
    bias = unet.pop("final.bias", torch.zeros(last.shape[1])).flatten()
    del unet["final.kernel"]
    for name, tensor in list(unet.items()):
        if name.endswith(".kernel"):
            unet[name] = _as_matrix(tensor)
        elif name.endswith(".running_var"):
            # Older versions of torch did not count batches.
            unet.setdefault(name.replace("running_var", "num_batches_tracked"), torch.tensor(0))
    if "conv0p1s1.kernel" in unet:
        unet["conv0p1s1.kernel"] = _fit_inputs(unet["conv0p1s1.kernel"], spec.inputs)
    heads = {
        "projector.weight": last.T,
        "projector.bias": bias,
        "word_mean": torch.zeros(last.shape[1]),
        "logit_scale": torch.tensor(LOGIT_SCALE),
    }
    state = {f"unet.{name}": tensor for name, tensor in unet.items()}
    return assemble(spec, state | {f"heads.{name}": tensor for name, tensor in heads.items()}, source)


def language_dim(tensors: Mapping[str, Tensor], source: str | Path = "state dict") -> int:
    """How many values the vectors have that a network gives.

    Raises:
        CheckpointError: if there is no last layer.
    """
    return int(_last_kernel(_without_prefixes(tensors, source), source).shape[1])


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a file: safetensors, or .pth and .pt of ``torch.save``.

    Of the latter only tensors and plain values are read (``weights_only``), never other objects, which
    can run code.

    Raises:
        CheckpointError: if the file cannot be read, holds other objects or no tensors.
    """
    path = Path(path)
    pickled = path.suffix in (".pth", ".pt")
    if pickled and torch.__version__ < "2.6":  # as versions; CVE-2025-32434: weights_only could be got around
        raise CheckpointError(
            f"{path}: .pth and .pt are read safely by torch 2.6 or newer only; update torch"
        )
    try:
        found: Any = torch.load(path, "cpu", weights_only=True) if pickled else load_file(path)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: there is no such file") from error
    except UnpicklingError as error:
        raise CheckpointError(
            f"{path} is broken or holds more than tensors, and reading that could run code. Where you trust "
            "it, load it with what wrote it and save its state_dict() with safetensors"
        ) from error
    except Exception as error:  # of a broken file torch complains in many ways
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    while isinstance(found, Mapping) and (nest := next((n for n in NESTS if _holds(found, n)), None)):
        found = found[nest]
    if not isinstance(found, Mapping) or not any(isinstance(value, Tensor) for value in found.values()):
        raise CheckpointError(f"{path}: there is no state dict; looked for {', '.join(NESTS)}")
    return {str(name): value for name, value in found.items() if isinstance(value, Tensor)}


def _holds(found: Mapping[Any, Any], name: str) -> bool:
    return isinstance(found.get(name), Mapping)


def _without_prefixes(tensors: Mapping[str, Tensor], source: str | Path) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for full, tensor in tensors.items():
        name = full
        while prefix := next((p for p in PREFIXES if name.startswith(p)), ""):
            name = name[len(prefix) :]
        if name in found:
            raise CheckpointError(f"{source}: '{full}' is there twice, as '{name}' too")
        found[name] = tensor
    return found


def _last_kernel(unet: Mapping[str, Tensor], source: str | Path) -> Tensor:
    """(C, D) of the layer that gives vectors."""
    if "final.kernel" not in unet:
        raise CheckpointError(f"{source}: 'final.kernel' is missing, the layer that gives vectors")
    kernel = _as_matrix(unet["final.kernel"])
    if kernel.ndim != 2:
        raise CheckpointError(
            f"{source}: 'final.kernel' has shape {tuple(kernel.shape)}, not (channels, dim)"
        )
    return kernel


def _as_matrix(kernel: Tensor) -> Tensor:
    """Kernels of 1 without their one offset."""
    return kernel[0] if kernel.ndim == 3 and len(kernel) == 1 else kernel


def _fit_inputs(kernel: Tensor, inputs: tuple[str, ...]) -> Tensor:
    """The first kernel (K³, C, S) for our channels of ``inputs``."""
    if inputs == ("one",) and kernel.ndim == 3:
        return kernel.sum(dim=1, keepdim=True)
    if inputs == ("color",) and kernel.ndim == 3 and kernel.shape[1] == 3:
        return pad(kernel, (0, 0, 0, 1))
    return kernel
