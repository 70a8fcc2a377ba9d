"""What ``configure`` loads: the encoder and the 3D network, warmed up, on the device of the settings."""

from __future__ import annotations

import torch

from ws3d_ros.config import Config
from ws3d_ros.language.choose import Choice, choose_encoder
from ws3d_ros.language.encoder import Encoder
from ws3d_ros.network.choose import NetworkChoice, NetworkError, choose_network

WARM_UP_SIZE = (480, 640)


def choose_device(setting: str) -> torch.device:
    """``auto`` is a CUDA device where there is one.

    Raises:
        ValueError: if CUDA is asked for and there is none.
    """
    there = torch.cuda.is_available()
    if setting == "cuda" and not there:
        raise ValueError("semantics.device is 'cuda', but torch finds no CUDA device; set it to auto or cpu")
    return torch.device("cuda" if there and setting != "cpu" else "cpu")


def limit_gpu(device: torch.device, most_mb: float) -> None:
    """From here on torch's memory ends (``OutOfMemoryError``) before it takes more than this of the GPU.

    Args:
        device: nothing happens for a CPU.
        most_mb: 0 for all that there is; more than there is counts as that.
    """
    if device.type == "cuda":
        total = torch.cuda.get_device_properties(device).total_memory
        share = min(1.0, most_mb * 1e6 / total) if most_mb else 1.0
        torch.cuda.set_per_process_memory_fraction(share, device)


def load_encoder(config: Config, device: torch.device) -> Choice:
    """The encoder of the configuration, after a first image, so that the robot's first is not slow.

    Raises:
        EncoderError: see :func:`ws3d_ros.language.choose.choose_encoder`.
    """
    semantics = config.semantics
    if not semantics.enabled:
        return Choice(None, "none: semantics.enabled is false")
    choice = choose_encoder(semantics.encoder, semantics.weights_dir, device, semantics.threads)
    if choice.encoder is not None:
        choice.encoder.encode_dense(torch.zeros(1, 3, *WARM_UP_SIZE, device=device))
    return choice


def load_network(config: Config, encoder: Encoder | None, device: torch.device) -> NetworkChoice:
    """The 3D network of the configuration. Without the one that was asked for the node works, too."""
    if not config.semantics.enabled:
        return NetworkChoice(None, "none: semantics.enabled is false")
    try:
        return choose_network(config.network, encoder, config.semantics.weights_dir, device)
    except NetworkError as error:
        return NetworkChoice(None, str(error), is_fault=True)
