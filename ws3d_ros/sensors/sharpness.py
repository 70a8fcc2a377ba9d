"""How sharp an image is, compared with others of the same camera."""

from __future__ import annotations

from collections import deque
from statistics import median

from torch import Tensor
from torch.nn.functional import avg_pool2d

WIDTH = 320
REMEMBERED = 30
BLURRED = 0.5
"""An image is blurred if it is less than so many times as sharp as the middle one of the last."""


def sharpness(color: Tensor) -> float:
    """Variance of the grey image's Laplacian, about ``WIDTH`` pixels across (Pech-Pacheco et al., ICPR 2000).

    Args:
        color: (H, W, 3) uint8 RGB.
    """
    grey = color.float().mean(2)[None, None]
    factor = max(1, round(color.shape[1] / WIDTH))
    grey = avg_pool2d(grey, factor)[0, 0]
    inner = grey[1:-1, 1:-1]
    around = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    return float((around - 4.0 * inner).var()) if inner.numel() > 1 else 0.0


class Blur:
    """Tells blurred images of one camera from sharp ones, whatever it looks at: by what was usual lately."""

    def __init__(self) -> None:
        self._recent: deque[float] = deque(maxlen=REMEMBERED)

    def blurred(self, color: Tensor) -> bool:
        """Whether an image (H, W, 3) is blurred; it is remembered."""
        now = sharpness(color)
        usual = median(self._recent) if self._recent else now
        self._recent.append(now)
        return now < BLURRED * usual
