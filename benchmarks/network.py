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
import copy
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as in the node; read when torch is imported

import numpy as np
import places
import torch
from common import save, times_ms
from memory import peak_mib
from network_peer import ENGINES as PEERS
from places import Place
from rich.progress import Progress
from torch import Tensor, nn
from torch.nn.functional import conv2d

from ws3d_ros.network.backends import native
from ws3d_ros.network.backends.backend import BackendError
from ws3d_ros.network.backends.torch_backend import TorchBackend
from ws3d_ros.network.folding import fold_batch_norms
from ws3d_ros.network.inputs import input_features
from ws3d_ros.network.kernel_map import KernelMap
from ws3d_ros.network.layers import Convolution
from ws3d_ros.network.sparse_tensor import SparseTensor, sparse_tensor
from ws3d_ros.network.student import Spec, Student
from ws3d_ros.network.unet import ARCHITECTURES, Res16UNet

OURS = ("torch", "torch bf16", "native", "native bf16")
INPUTS = ("one", "color", "normal")
WORDS, DIM = 64, 384
SINGLE = {"spconv": 1}
"""Engines that are only right with so many threads."""
LIMITS = {"spconv": 60_000, "open3d": 60_000}
"""Engines too slow for more voxels than these."""
HERE = Path(__file__).parent


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
    print(table(result))
    if not options.quick:
        print(save("network", result))


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
    x, _ = sparse_tensor(few.coords, _features(few), TorchBackend())
    student(x)
    return fold_batch_norms(student)


class Job:
    """One network on one map: what engines are given, and what it costs."""

    def __init__(self, architecture: str, student: Student, place: Place) -> None:
        self.architecture, self.student, self.place = architecture, student, place
        self.key = f"{architecture} {place.name}"
        self.features = _features(place)
        generator = torch.Generator().manual_seed(1)
        self.words = torch.randn(WORDS, DIM, generator=generator)

    def labels(self, features: Tensor) -> Tensor:
        """(N,) the nearest of random words, by one head in float32 for all engines."""
        heads = self.student.heads
        return heads.word_logits(heads.projector(features), self.words).argmax(dim=1)

    def gflop(self) -> float:
        """Multiplications and additions on pairs of voxels that are there."""
        total = 0

        def count(layer: nn.Module, inputs: tuple[SparseTensor], output: SparseTensor) -> None:
            nonlocal total
            assert isinstance(layer, Convolution)
            (x,) = inputs
            if layer.kernel_size == 1:
                pairs = len(x.features)
            elif layer.direction == "same":
                pairs = len(x.pyramid.neighbours(x.stride, layer.kernel_size).inputs)
            else:
                pairs = len(x.pyramid.coords(min(x.stride, output.stride)))
            total += 2 * pairs * layer.kernel.shape[-2] * layer.kernel.shape[-1]

        hooks = [m.register_forward_hook(count) for m in self.student.modules() if isinstance(m, Convolution)]
        x, _ = sparse_tensor(self.place.coords, self.features, TorchBackend())
        self.student.unet(x)
        for hook in hooks:
            hook.remove()
        return total / 1e9


class Answer:
    """What one pass gave: milliseconds, and where asked for (N, C) features and MiB."""

    def __init__(self, ms: float, maps_ms: float | None, features: Tensor | None, mib: float | None) -> None:
        self.ms, self.maps_ms, self.features, self.mib = ms, maps_ms, features, mib


class Ours:
    """One of our engines in this process."""

    def __init__(self, name: str) -> None:
        kernels, _, dtype = name.partition(" ")
        if kernels == "native" and native.library() is None:
            raise BackendError("the kernels were not built: cmake and a C++ compiler, then pip install .")
        self.name, self.backend = name, TorchBackend(use_native=kernels == "native")
        self.dtype = torch.bfloat16 if dtype else torch.float32
        self.about: dict[str, Any] = {"threads": torch.get_num_threads()}
        self._unet: tuple[str, Res16UNet] | None = None

    def run(self, job: Job, ask: bool) -> Answer:
        unet, features = self._ready(job), job.features.to(self.dtype)

        def work() -> Answer:
            begun = time.perf_counter()
            x, _ = sparse_tensor(job.place.coords, features, self.backend)
            pyramid = x.pyramid
            pyramid.neighbours(1, 5)
            for stride in (1, 2, 4, 8, 16):
                pyramid.neighbours(stride, 3)
                if stride < 16:
                    pyramid.children(stride)
            maps = time.perf_counter()
            out = unet(x).features
            ended = time.perf_counter()
            return Answer((ended - begun) * 1e3, (maps - begun) * 1e3, out.float() if ask else None, None)

        if not ask:
            return work()
        answer, answer.mib = peak_mib(work)  # type: ignore[misc]
        return answer

    def _ready(self, job: Job) -> Res16UNet:
        if self._unet is None or self._unet[0] != job.architecture:
            self._unet = job.architecture, copy.deepcopy(job.student.unet).to(self.dtype)
        return self._unet[1]

    def stop(self) -> None:
        pass


class Peer:
    """Another engine in a process of its own (``network_peer.py``)."""

    def __init__(self, name: str, python: str, threads: int, folder: Path) -> None:
        self.name, self.folder = name, folder
        try:
            self._process = subprocess.Popen(
                [python, str(HERE / "network_peer.py"), name, str(threads)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        except OSError as error:
            raise BackendError(str(error)) from error
        assert self._process.stdout is not None
        hello = self._process.stdout.readline()
        if not hello:
            raise BackendError(f"'{python}' cannot import it")
        self.about: dict[str, Any] = {"threads": threads, **json.loads(hello)}

    def run(self, job: Job, ask: bool) -> Answer:
        """The peers' maps are what a second pass over the same voxels saves; looked at with ``ask``."""
        file, out = str(self._write(job)), self.folder / "out.npy"
        if not ask:
            return Answer(self._talk({"file": file, "out": "", "again": False})["ms"], None, None, None)
        first = self._talk({"file": file, "out": str(out), "again": False})
        new, again = (
            min(self._talk({"file": file, "out": "", "again": kept})["ms"] for _ in range(2))
            for kept in (False, True)
        )
        return Answer(first["ms"], max(0.0, new - again), torch.from_numpy(np.load(out)), first["peak_mib"])

    def _talk(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise BackendError(f"{self.name} ended without an answer")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _write(self, job: Job) -> Path:
        path = self.folder / f"{job.key.replace('/', '_')}.npz"
        if path.exists():
            return path
        for old in self.folder.glob("*.npz"):
            old.unlink()
        x, _ = sparse_tensor(job.place.coords, job.features, TorchBackend())
        arrays = {"coords": x.coords, "features": x.features}
        arrays["blocks"] = torch.tensor(ARCHITECTURES[job.architecture].blocks)
        for name, layer in job.student.unet.named_modules():
            if isinstance(layer, Convolution):
                arrays[f"kernel/{name}"], arrays[f"bias/{name}"] = layer.kernel, layer.bias
        for stride in (1, 2, 4, 8, 16):
            same = {f"3at{stride}": x.pyramid.neighbours(stride, 3)}
            if stride == 1:
                same["5at1"] = x.pyramid.neighbours(1, 5)
            if stride < 16:
                down = x.pyramid.children(stride)
                same |= {f"down{stride}": down, f"up{stride}": down.transposed}
            for name, kernel_map in same.items():
                for part, values in enumerate(_by_output(kernel_map)):
                    arrays[f"map/{name}/{part}"] = values
        np.savez(path, **{name: values.detach().numpy() for name, values in arrays.items()})
        return path

    def stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def _by_output(kernel_map: KernelMap) -> tuple[Tensor, Tensor, Tensor]:
    """Input rows and offsets, output row by output row, and where each begins: Open3D's form."""
    counts = torch.tensor(kernel_map.starts).diff()
    offset = torch.repeat_interleave(torch.arange(len(counts)), counts)
    order = kernel_map.outputs.argsort(stable=True)
    splits = torch.bincount(kernel_map.outputs, minlength=kernel_map.n_outputs).cumsum(0)
    splits = torch.cat([splits.new_zeros(1), splits])
    return kernel_map.inputs[order].int(), offset[order].to(torch.uint8), splits


Engine = Ours | Peer


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


def table(result: dict[str, Any]) -> str:
    """The rows as markdown, and what is read off them."""
    peak = max(gflops for name, gflops in result["peak_gflops"].items() if "fp32" in name)
    peaks = ", ".join(f"{name} {gflops}" for name, gflops in result["peak_gflops"].items())
    lines = [f"Dense products here, GFLOP/s: {peaks}; {result['threads']} threads.", ""]
    for name, why in result["missing"].items():
        lines.append(f"Not measured: {name} ({why.splitlines()[0]}).")
    head = ["network", "voxels", "engine", "ms", "to MinkowskiEngine", "maps ms", "GFLOP/s", "of fp32 peak"]
    head += ["µs a voxel", "MiB", "relative error", "labels equal"]
    lines += ["", f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    base = {_where(row): row["ms"] for row in result["rows"] if row["engine"] == "minkowski"}
    for row in result["rows"]:
        ratio = f"{base[_where(row)] / row['ms']:.2f}" if _where(row) in base else ""
        maps = "" if row["maps_ms"] is None else f"{row['maps_ms']:.0f} ({row['maps_ms'] / row['ms']:.0%})"
        cells = [row["architecture"], f"{row['voxels']:,}", row["engine"], f"{row['ms']:.0f}", ratio, maps]
        cells += [f"{row['gflops']:.0f}", f"{row['gflops'] / peak:.0%}", f"{row['us_a_voxel']:.1f}"]
        cells += [f"{row['peak_mib']}", f"{row['relative_error']:.0e}", f"{row['labels_equal']:.2%}"]
        lines.append(f"| {' | '.join(cells)} |")
    names = {row["voxels"]: row["place"] for row in result["rows"]}
    lines += ["", *(f"{voxels:,} voxels: {place}." for voxels, place in names.items())]
    return "\n".join(lines)


def _where(row: dict[str, Any]) -> tuple[str, str]:
    return row["architecture"], row["place"]


def _features(place: Place) -> Tensor:
    return input_features(INPUTS, place.color, place.normal)


if __name__ == "__main__":
    sys.exit(main())
