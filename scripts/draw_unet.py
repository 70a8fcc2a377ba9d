"""Draws docs/images/unet.png out of the network as it is: strides, channels, blocks, skips, receptive field.

python scripts/draw_unet.py
"""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

from ws3d_ros.network.unet import ARCHITECTURES, Architecture

PICTURE = Path(__file__).resolve().parents[1] / "docs" / "images" / "unet.png"
SHOWN = "Res16UNet18A"
VOXEL_CM = 5
INK, PALE = "#1f2933", "#9aa5b1"
STEM, DOWN, UP, HEAD = "#d9e2ec", "#bcdff5", "#c9ecd0", "#fde6c0"
WIDTH, HEIGHT, STEP = 1.9, 0.82, 2.5


def main() -> None:
    shape = ARCHITECTURES[SHOWN]
    figure, axes = plt.subplots(figsize=(15, 7.6))
    axes.set(xlim=(-3.2, 10 * STEP - 0.1), ylim=(-8.6, 1.75))
    axes.axis("off")
    _strides(axes)
    _network(axes, shape)
    _table(axes)
    figure.savefig(PICTURE, dpi=110, bbox_inches="tight", facecolor="white")


def _level(stage: int) -> int:
    """How many times the cells have been doubled after a stage: 0 the stem, 1 to 4 down, 5 to 8 up."""
    return stage if stage <= 4 else 8 - stage


def _at(stage: int) -> tuple[float, float]:
    return stage * STEP, -1.25 * _level(stage)


def _strides(axes: Axes) -> None:
    for level in range(5):
        y = -1.25 * level
        axes.plot([-1.1, 9.86 * STEP], [y, y], color="#eef1f4", lw=26, zorder=0, solid_capstyle="butt")
        text = f"stride {2**level}\n{VOXEL_CM * 2**level} cm"
        axes.text(-3.1, y, text, ha="left", va="center", color=INK, fontsize=12)


def _network(axes: Axes, shape: Architecture) -> None:
    _box(axes, 0, STEM, str(shape.stem), "conv0p1s1")
    for stage in range(1, 9):
        step = stage - 1
        blocks = shape.blocks[step]
        inside = f"block{stage}" + (f" x {blocks}" if blocks > 1 else "")
        _box(axes, stage, DOWN if stage <= 4 else UP, str(shape.channels[step]), inside)
        (x0, y0), (x1, y1) = _at(stage - 1), _at(stage)
        name = f"conv{stage}p{2**step}s2" if stage <= 4 else f"convtr{step}p{2 ** (8 - step)}s2"
        _arrow(axes, (x0 + WIDTH / 2, y0), (x1, y1 + HEIGHT / 2 * (1 if stage <= 4 else -1)), INK)
        below = stage <= 4
        axes.text(
            x1 - 0.12 if below else x1 + 0.12,
            (y0 + y1) / 2 + (0.02 if below else -0.02),
            name,
            ha="right" if below else "left",
            va="center",
            fontsize=9,
            color=INK,
            bbox={"fc": "white", "ec": "none", "pad": 1, "alpha": 0.85},
        )
    for stage in range(4):
        (x0, y0), (x1, _) = _at(stage), _at(8 - stage)
        _arrow(axes, (x0 + WIDTH / 2, y0 + 0.18), (x1 - WIDTH / 2, y0 + 0.18), PALE, dashed=True)
        width = shape.stem if stage == 0 else shape.channels[stage - 1]
        text = f"skip, + {width}"
        axes.text((x0 + x1) / 2, y0 + 0.24, text, ha="center", va="bottom", fontsize=9, color="#616e7c")
    x, y = _at(8)
    _arrow(axes, (x + WIDTH / 2, y), (x + STEP - WIDTH / 2, y), INK)
    _boxed(axes, x + STEP, y, HEAD, "heads", "language, …")
    axes.text(-0.95, 1.0, "voxels: one, colour, normal", ha="left", fontsize=10, color=INK)
    _arrow(axes, (0, 0.92), (0, HEIGHT / 2), INK)
    axes.text(-3.1, 1.5, SHOWN, fontsize=17, color=INK, weight="bold", ha="left", va="center")
    legend = [
        "numbers: channels; conv0p1s1: kernel 5",
        "block: two convolutions of kernel 3 and a shortcut",
        "convNpSs2: kernel 2, from stride S to 2 S",
        "convtrNpSs2: kernel 2, from stride S back to S / 2",
        "skip: channels joined before the block",
    ]
    axes.text(
        16.0, -3.4, "\n".join(legend), fontsize=10, color="#52606d", ha="left", va="top", linespacing=1.5
    )


def _box(axes: Axes, stage: int, color: str, channels: str, inside: str) -> None:
    _boxed(axes, *_at(stage), color, channels, inside)


def _boxed(axes: Axes, x: float, y: float, color: str, large: str, small: str) -> None:
    corner = (x - WIDTH / 2, y - HEIGHT / 2)
    style = "round,pad=0,rounding_size=0.12"
    axes.add_patch(FancyBboxPatch(corner, WIDTH, HEIGHT, boxstyle=style, fc=color, ec=INK, lw=1.1, zorder=2))
    axes.text(x, y + 0.13, large, ha="center", va="center", fontsize=13, color=INK, weight="bold", zorder=3)
    axes.text(x, y - 0.22, small, ha="center", va="center", fontsize=8.2, color=INK, zorder=3)


def _arrow(
    axes: Axes, begin: tuple[float, float], end: tuple[float, float], color: str, dashed: bool = False
) -> None:
    bend = "angle,angleA=0,angleB=90,rad=6" if abs(begin[1] - end[1]) > 0.5 and begin[0] != end[0] else "arc3"
    arrow = {
        "arrowstyle": "-|>",
        "color": color,
        "lw": 1.4,
        "connectionstyle": bend,
        "shrinkA": 0,
        "shrinkB": 0,
    }
    axes.annotate("", end, begin, arrowprops=arrow | {"linestyle": "--" if dashed else "-"}, zorder=1)


def _table(axes: Axes) -> None:
    """The same numbers for every architecture."""
    stages = ["stem", *(f"block{stage}" for stage in range(1, 9))]
    strides = [f"stride {2 ** _level(stage)}" for stage in range(9)]
    rows = [
        [str(shape.stem)]
        + [f"{c}" + (f"  x {b}" if b > 1 else "") for c, b in zip(shape.channels, shape.blocks, strict=True)]
        for shape in ARCHITECTURES.values()
    ]
    table = axes.table(
        cellText=rows,
        rowLabels=list(ARCHITECTURES),
        colLabels=[f"{a}\n{b}" for a, b in zip(stages, strides, strict=True)],
        bbox=(0.095, 0.0, 0.86, 0.27),
        cellLoc="center",
    )
    table.auto_set_font_size(False)
    table.set_fontsize(10)
    for (row, _), cell in table.get_celld().items():
        cell.set_edgecolor("#cbd2d9")
        cell.set_height(0.075 if row == 0 else 0.05)


if __name__ == "__main__":
    main()
