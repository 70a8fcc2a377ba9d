"""Draws docs/images/demo.png out of what `make demo` left: its two views, side by side.

make demo && python scripts/draw_demo.py
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
SIZE = (992, 620)
"""Of one view, pixels."""


def main() -> None:
    views = [cv2.imread(str(ROOT / "out/demo" / name)) for name in ("semantic.png", "rgb.png")]
    if any(view is None for view in views):
        raise SystemExit("out/demo has no pictures: run `make demo` first")
    small = [cv2.resize(view, SIZE, interpolation=cv2.INTER_AREA) for view in views if view is not None]
    cv2.imwrite(str(ROOT / "docs/images/demo.png"), np.hstack(small))


if __name__ == "__main__":
    main()
