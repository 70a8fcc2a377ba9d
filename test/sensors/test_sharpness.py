"""Blurred images are told from sharp ones of the same camera."""

from __future__ import annotations

import numpy as np
import torch
from scipy.ndimage import gaussian_filter, laplace

from ws3d_ros.sensors.sharpness import Blur, sharpness


def picture(seed: int, sigma: float = 0.0, width: int = 320) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 255, (24, width // 10)).repeat(10, 0).repeat(10, 1).astype(float)
    if sigma:
        image = gaussian_filter(image, sigma)
    return torch.from_numpy(np.repeat(image[..., None], 3, 2).astype(np.uint8))


def test_it_is_the_variance_of_the_laplacian() -> None:
    image = picture(0, 1.0)
    expected = laplace(image[..., 0].numpy().astype(float))[1:-1, 1:-1].var(ddof=1)
    assert abs(sharpness(image) - expected) < 1e-3 * expected


def test_blurred_images_stand_out_and_a_dull_wall_becomes_usual() -> None:
    blur = Blur()
    assert not any(blur.blurred(picture(seed)) for seed in range(10))
    assert blur.blurred(picture(11, 3.0))
    assert not blur.blurred(picture(12))
    # A camera that sees little for long: after a while that is what is usual.
    assert not all(blur.blurred(picture(seed, 3.0)) for seed in range(40))


def test_tiny_and_large_images() -> None:
    assert sharpness(torch.zeros(2, 2, 3, dtype=torch.uint8)) == 0.0
    assert sharpness(picture(0, width=1280)) > 0.0
