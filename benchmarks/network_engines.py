"""Our engines and others' behind one call, for ``network.py``."""

from __future__ import annotations

import copy
import json
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from memory import peak_mib
from places import Place
from torch import Tensor, nn

from ws3d_ros.network.backends import native
from ws3d_ros.network.backends.backend import BackendError
from ws3d_ros.network.backends.torch_backend import TorchBackend
from ws3d_ros.network.inputs import input_features
from ws3d_ros.network.kernel_map import KernelMap
from ws3d_ros.network.layers import Convolution
from ws3d_ros.network.sparse_tensor import SparseTensor, sparse_tensor
from ws3d_ros.network.student import Student
from ws3d_ros.network.unet import ARCHITECTURES, Res16UNet

INPUTS = ("one", "color", "normal")
WORDS, DIM = 64, 384
HERE = Path(__file__).parent


def features_of(place: Place) -> Tensor:
    """(N, C) what the network reads of each voxel."""
    return input_features(INPUTS, place.color, place.normal)


class Job:
    """One network on one map: what engines are given, and what it costs."""

    def __init__(self, architecture: str, student: Student, place: Place) -> None:
        self.architecture, self.student, self.place = architecture, student, place
        self.key = f"{architecture} {place.name}"
        self.features = features_of(place)
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
