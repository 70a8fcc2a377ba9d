"""Reading again what changed against reading everything: time, share computed, labels that differ.

    python benchmarks/incremental.py [--architectures Res16UNet14S,Res16UNet18A] [--checkpoint FILE]
        [--precision float32] [--threads 2] [--quick]

*Trajectory*: windows of the map after every second frame of ../shared/data/small_house, else of
samples/room, at 5 cm, as the node would read them, one after the other. *Sizes*: one window of which
a compact part changed: half of its voxels left, half have another colour. Both readers read each
window in turn. Labels that differ are those of this window's full run; the incremental reader is
never refreshed in between. Weights are random with batch norms that fit the data, which lets changes
reach farther than trained ones do, or those of a checkpoint.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from statistics import mean, median
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as in the node; read when torch is imported
os.environ.setdefault("GOMP_SPINCOUNT", "2000")
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

import places
import torch
from common import save
from network import calibrated
from places import Place
from torch import Tensor

from ws3d_ros.config import InputConfig, MapConfig
from ws3d_ros.language.text import choose_text_encoder
from ws3d_ros.language.vocabulary import Vocabulary
from ws3d_ros.network import checkpoint
from ws3d_ros.network.backends.torch_backend import TorchBackend
from ws3d_ros.network.incremental import EXACT, FAST, IncrementalReader
from ws3d_ros.network.inference import Reader
from ws3d_ros.network.receptive_field import reach
from ws3d_ros.network.student import Student
from ws3d_ros.reconstruction.keys import unpack_keys
from ws3d_ros.reconstruction.voxel_map import VoxelMap

TOLERANCES = (EXACT, 0.02, FAST, 0.1, 0.2)
SIZES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4)
CPU = torch.device("cpu")
WORDS = 64
WEIGHTS = Path(__file__).resolve().parents[2] / "shared" / "weights"
Cloud = tuple[Tensor, Tensor, Tensor]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--architectures", default="Res16UNet14S,Res16UNet18A")
    arguments.add_argument("--checkpoint", type=Path, help="instead of random weights")
    arguments.add_argument("--precision", default="float32")
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--quick", action="store_true", help="few windows, nothing saved")
    options = arguments.parse_args()
    torch.set_num_threads(options.threads)
    source, windows = trajectory(4 if options.quick else 16)
    print(f"{source}: {len(windows)} windows of {len(windows[0][0])} to {len(windows[-1][0])} voxels")
    result: dict[str, Any] = {"source": source, "precision": options.precision, "threads": options.threads}
    for student, words in students(options, windows[0]):
        name = student.spec.architecture
        result[name] = {
            "reach": reach(student.eval().unet),
            "trajectory": along(student, words, windows, options.precision),
            "sizes": by_size(student, words, windows[-1], options.precision),
        }
        report(name, result[name])
    if not options.quick:
        print(save("incremental_trained" if options.checkpoint else "incremental", result))


def trajectory(count: int) -> tuple[str, list[Cloud]]:
    """Windows after every second frame, from the middle of the sequence on."""
    source = "small_house" if places.measurements("small_house") else "samples/room"
    frames = list(places.measurements(source) or ())
    voxel_map = VoxelMap(MapConfig(voxel_size_m=0.05, budget_mb=4000), InputConfig(max_depth_m=6.0), 1, CPU)
    first, windows = len(frames) // 3, []
    for i, frame in enumerate(frames[: first + 2 * count + 1]):
        voxel_map.integrate(frame)
        if i >= first and (i - first) % 2 == 0:
            window = voxel_map.window(frame.T_map_camera[:3, 3], MapConfig().window_radius_m)
            windows.append((unpack_keys(window.keys), window.color, window.normal))
    return source, windows


def students(options: argparse.Namespace, window: Cloud) -> list[tuple[Student, Tensor]]:
    """Networks, and the words that their embeddings are compared with."""
    if options.checkpoint:
        student = checkpoint.load(options.checkpoint)
        texts = choose_text_encoder(student.spec.space, None, WEIGHTS, CPU)
        words = texts.encode_text(list(Vocabulary.load("indoor").names))
        return [(student, student.heads.centred(words))]
    cells, color, normal = window
    place = Place("window", torch.nn.functional.pad(cells, (1, 0)), color, normal)
    generator = torch.Generator().manual_seed(1)
    return [
        (student, torch.randn(WORDS, student.spec.dim, generator=generator))
        for student in (calibrated(name, place) for name in options.architectures.split(","))
    ]


def along(student: Student, words: Tensor, windows: list[Cloud], precision: str) -> list[dict[str, Any]]:
    """One row for each tolerance."""
    plain = Reader(student, TorchBackend(), CPU, precision)
    readers = {t: IncrementalReader(student, TorchBackend(), CPU, precision, t) for t in TOLERANCES}
    steps: dict[float, list[dict[str, float]]] = {t: [] for t in TOLERANCES}
    for number, window in enumerate(windows):
        expected, full_s = timed(plain, window)
        for tolerance, reader in readers.items():
            found, taken_s = timed(reader, window)
            if number:
                step = compare(student, words, found, expected)
                step |= {"ms": taken_s * 1e3, "ratio": taken_s / full_s, "full_ms": full_s * 1e3}
                step |= {"share": reader.last.share, "changed": reader.last.changed / reader.last.voxels}
                step["full"] = reader.last.full
                steps[tolerance].append(step)
    rows = []
    for tolerance, each in steps.items():
        row = {"tolerance": tolerance, "last_flips": each[-1]["flips"]}
        row |= {name: round(mean(step[name] for step in each), 5) for name in each[0]}
        rows.append(row | {"ratio": round(median(step["ratio"] for step in each), 3)})
    return rows


def by_size(student: Student, words: Tensor, window: Cloud, precision: str) -> list[dict[str, Any]]:
    """One row for each size and tolerance."""
    plain = Reader(student, TorchBackend(), CPU, precision)
    rows = []
    for size in SIZES:
        for tolerance in (EXACT, FAST):
            reader = IncrementalReader(student, TorchBackend(), CPU, precision, tolerance)
            steps = []
            for seed in range(3):
                _, remember_s = timed(reader, window)
                other = changed(window, size, seed)
                expected, full_s = timed(plain, other)
                found, taken_s = timed(reader, other)
                step = compare(student, words, found, expected) | {"share": reader.last.share}
                step |= {"ms": taken_s * 1e3, "ratio": taken_s / full_s, "full_ms": full_s * 1e3}
                steps.append(step | {"full": reader.last.full, "remember_ms": remember_s * 1e3})
                reader.forget()
            row = {name: round(median(step[name] for step in steps), 5) for name in steps[0]}
            rows.append({"size": size, "tolerance": tolerance, **row})
    return rows


def changed(window: Cloud, size: float, seed: int) -> Cloud:
    """A share of the voxels nearest to one of them: every second left, the others are coloured."""
    cells, color, normal = window
    generator = torch.Generator().manual_seed(seed)
    middle = cells[int(torch.randint(len(cells), (1,), generator=generator))]
    near = (cells - middle).double().norm(dim=1).argsort(stable=True)[: int(size * len(cells))]
    color = color.clone()
    color[near[1::2]] = 255.0 * torch.rand(len(near[1::2]), 3, generator=generator)
    stays = torch.ones(len(cells), dtype=torch.bool)
    stays[near[::2]] = False
    return cells[stays], color[stays], normal[stays]


def timed(reader: Reader, window: Cloud) -> tuple[Tensor, float]:
    begun = time.perf_counter()
    embedding = reader.read(*window).embedding
    return embedding, time.perf_counter() - begun


def compare(student: Student, words: Tensor, found: Tensor, expected: Tensor) -> dict[str, float]:
    labels = [student.heads.word_logits(x, words).argmax(dim=1) for x in (found, expected)]
    error = (found - expected).norm() / expected.norm()
    return {"flips": float((labels[0] != labels[1]).float().mean()), "relative_error": float(error)}


def report(name: str, result: dict[str, Any]) -> None:
    print(f"{name}: an input reaches {result['reach']} voxels to a side")
    for title in ("trajectory", "sizes"):
        for row in result[title]:
            size = f"{row['size']:5.0%}" if "size" in row else f"{row['changed']:6.1%}"
            print(
                f"  {title} {size} changed, tolerance {row['tolerance']:<5g} {row['ms']:6.0f} of "
                f"{row['full_ms']:6.0f} ms ({row['ratio']:4.0%}), {row['share']:4.0%} computed, "
                f"{row['flips']:7.3%} of labels differ, relative error {row['relative_error']:.1e}"
            )


if __name__ == "__main__":
    main()
