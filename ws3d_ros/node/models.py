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
