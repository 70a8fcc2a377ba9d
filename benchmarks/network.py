"""Sparse U-Nets on real maps: our engines and others', same weights, same voxels, in turn in one run.

    python benchmarks/network.py [--quick] [--engines torch,native] [--architectures Res16UNet18A]
        [--peer minkowski=/tmp/me/bin/python] [--peer spconv=…] [--peer open3d=…] [--threads 2]

Every time is that of a whole pass over voxels that were never seen before: kernel maps included,
batch norms folded, for everybody. The peers run as their users write them, with their own maps, in
interpreters of their own, one pass of each engine after the other. How they get there:

    python3.11 -m venv /tmp/me && /tmp/me/bin/pip install torch "numpy<2" "setuptools<60" wheel ninja
    apt-get install libopenblas-dev
    /tmp/me/bin/pip install --no-build-isolation --no-deps MinkowskiEngine==0.5.4
    python -m venv /tmp/spc && /tmp/spc/bin/pip install torch spconv==2.3.8 "numpy<2"
    python -m venv /tmp/o3d && /tmp/o3d/bin/pip install torch open3d-cpu==0.20.0

Voxels are those of ../shared/data, else of samples/room (``places.py``). Weights are random, with batch
norms that fit the data, so that activations are as large as in a trained network.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as in the node; read when torch is imported
os.environ.setdefault("GOMP_SPINCOUNT", "2000")
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

import network_table
import places
import torch
from common import save, times_ms
from network_engines import DIM, INPUTS, Answer, Engine, Job, Ours, Peer, features_of
from network_peer import ENGINES as PEERS
from network_table import markdown
from places import Place
from rich.progress import Progress
from torch import nn
from torch.nn.functional import conv2d

from ws3d_ros.network.backends.backend import BackendError
from ws3d_ros.network.backends.torch_backend import TorchBackend
from ws3d_ros.network.folding import fold_batch_norms
from ws3d_ros.network.sparse_tensor import sparse_tensor
from ws3d_ros.network.student import Spec, Student
from ws3d_ros.network.unet import ARCHITECTURES

OURS = ("torch", "torch bf16", "native", "native bf16")
SINGLE = {"spconv": 1}
"""Engines that are only right with so many threads."""
LIMITS = {"spconv": 30_000, "open3d": 30_000}
"""Engines too slow for more voxels than these."""


def main() -> None:
    options = _options()
    torch.set_num_threads(options.threads)
    torch.set_grad_enabled(False)
    result: dict[str, Any] = {"threads": options.threads, "peak_gflops": gemm_peaks(), "missing": {}}
    with tempfile.TemporaryDirectory() as folder:
        engines = _engines(options, Path(folder), result["missing"])
        result["engines"] = {engine.name: engine.about for engine in engines}
        result["rows"] = rows(options, engines)
        for engine in engines:
            engine.stop()
    if options.quick:
        print(markdown(result))
    else:
        print(save("network", result))
        network_table.main()


def _options() -> argparse.Namespace:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--engines", default=",".join(OURS), help="ours, with commas")
    arguments.add_argument("--architectures", default=",".join(ARCHITECTURES))
    arguments.add_argument("--peer", action="append", default=[], metavar="NAME=PYTHON")
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--runs", type=int, default=5)
    arguments.add_argument("--quick", action="store_true", help="25k voxels, 2 runs, nothing saved")
    options = arguments.parse_args()
    default = [f"{name}=/tmp/{at}/bin/python" for name, at in zip(PEERS, ("me", "spc", "o3d"), strict=True)]
    options.peers = dict(text.split("=", 1) for text in options.peer or default)
    if options.quick:
        options.runs = 2
    return options


def gemm_peaks() -> dict[str, float]:
    """GFLOP/s of dense products of the sizes that layers have, the best of them, by library and type."""
    best: dict[str, float] = {}
    for rows_, inputs, outputs in ((4096, 1024, 1024), (20_000, 128, 128), (50_000, 864, 96)):
        x, w = torch.randn(rows_, inputs), torch.randn(inputs, outputs)
        xb, wb = x.bfloat16(), w.bfloat16()
        pixels, filters = x.view(1, 1, rows_, inputs).permute(0, 3, 1, 2), w.T.contiguous()[:, :, None, None]
        ways: dict[str, Callable[[], object]] = {
            "torch.mm fp32": lambda x=x, w=w: x @ w,
            "oneDNN fp32": lambda p=pixels, f=filters: conv2d(p, f),
            "torch.mm bf16": lambda x=xb, w=wb: x @ w,
        }
        for name, way in ways.items():
            gflops = 2e-9 * rows_ * inputs * outputs / (min(times_ms(way, 10)) * 1e-3)
            best[name] = max(best.get(name, 0.0), round(gflops))
    return best


def rows(options: argparse.Namespace, engines: list[Engine]) -> list[dict[str, Any]]:
    """One for each architecture, place and engine."""
    wheres = _places(options.quick)
    names = options.architectures.split(",")
    found = []
    with Progress() as progress:
        task = progress.add_task("", total=len(names) * len(wheres) * len(engines) * (options.runs + 1))
        for name in names:
            student = calibrated(name, wheres[0])
            for place in wheres:
                job = Job(name, student, place)
                able = [e for e in engines if len(place) <= LIMITS.get(e.name, len(place))]

                def tick(text: str) -> None:
                    progress.update(task, advance=1, description=text)

                found += measure(job, able, options.runs, tick)
    return found


def _places(quick: bool) -> list[Place]:
    house, kitchen = places.load("small_house"), places.load("redkitchen_bag")
    room = places.load("samples/room")
    assert room is not None
    if house is None or kitchen is None:
        return [places.cut(room, n) for n in ((25_000,) if quick else (25_000, 50_000, len(room)))]
    if quick:
        return [places.cut(house, 25_000)]
    large = places.join(places.join(house, kitchen), places.cut(room, 200_000 - len(house) - len(kitchen)))
    street = places.load("kitti00_bag")
    more = [] if street is None else [places.cut(street, 50_000)]
    return [*(places.cut(house, n) for n in (25_000, 50_000, 100_000)), large, kitchen, *more]


def calibrated(architecture: str, place: Place) -> Student:
    """A student with random weights whose batch norms know the data; then they are folded away."""
    torch.manual_seed(0)
    student = Student(Spec(architecture, INPUTS, 0.05, "random", DIM)).train()
    for module in student.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.momentum = None  # the plain mean over what it sees
    few = places.cut(place, 10_000)
    x, _ = sparse_tensor(few.coords, features_of(few), TorchBackend())
    student(x)
    return fold_batch_norms(student)


def _engines(options: argparse.Namespace, folder: Path, missing: dict[str, str]) -> list[Engine]:
    starts: dict[str, Callable[[], Engine]] = {
        name: partial(Ours, name) for name in options.engines.split(",")
    }
    for name, python in options.peers.items():
        starts[name] = partial(Peer, name, python, SINGLE.get(name, options.threads), folder)
    found = []
    for name, start in starts.items():
        with missing_into(missing, name):
            found.append(start())
    return found


@contextmanager
def missing_into(missing: dict[str, str], name: str) -> Iterator[None]:
    """An engine that is not there is noted, not fatal."""
    try:
        yield
    except BackendError as error:
        missing[name] = str(error)


def measure(job: Job, engines: list[Engine], runs: int, tick: Callable[[str], None]) -> list[dict[str, Any]]:
    """First each engine once for its answer and memory, then all of them in turn for time."""
    gflop, found, labels = job.gflop(), {}, None
    for engine in engines:
        answer = engine.run(job, ask=True)
        assert answer.features is not None
        if labels is None:
            exact, labels = answer.features, job.labels(answer.features)
        found[engine.name] = {
            "architecture": job.architecture,
            "place": job.place.name,
            "voxels": len(job.place),
            "engine": engine.name,
            "gflop": round(gflop, 1),
            "peak_mib": round(answer.mib or 0.0),
            "relative_error": float((answer.features - exact).norm() / exact.norm()),
            "labels_equal": float((job.labels(answer.features) == labels).float().mean()),
            "maps_ms": answer.maps_ms,
        }
        tick(f"{job.key} {engine.name}")
    times: dict[str, list[Answer]] = {engine.name: [] for engine in engines}
    for _ in range(runs):
        for engine in engines:
            times[engine.name].append(engine.run(job, ask=False))
            tick(f"{job.key} {engine.name}")
    for name, answers in times.items():
        row = found[name]
        row |= {"ms": median(a.ms for a in answers), "min_ms": min(a.ms for a in answers)}
        if answers[0].maps_ms is not None:
            row["maps_ms"] = median(a.maps_ms for a in answers if a.maps_ms is not None)
        row["gflops"] = gflop / row["ms"] * 1e3
        row["us_a_voxel"] = row["ms"] * 1e3 / len(job.place)
    return list(found.values())


if __name__ == "__main__":
    sys.exit(main())
