"""Other engines' own U-Nets, in the interpreter that has them; ``network.py`` starts this.

    PYTHON network_peer.py minkowski|spconv|open3d THREADS

Asked on stdin, one JSON object a line: ``{"file": weights and coordinates (.npz), "out": where the
features go (.npy), "again": whether maps are kept from the last time}``; answers in kind:
``{"ms": …, "peak_mib": …}``. Needs nothing but torch, numpy and the engine.
"""

from __future__ import annotations

import collections
import collections.abc
import json
import os
import sys
import time
from typing import Any

if __name__ == "__main__":  # network.py imports this too
    os.environ["OMP_NUM_THREADS"] = sys.argv[2]
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    os.environ["GOMP_SPINCOUNT"] = "2000"
    os.environ["THP_MEM_ALLOC_ENABLE"] = "1"

import numpy as np
import torch
from memory import peak_mib

UP = {f"convtr{step}p{2 ** (8 - step)}s2" for step in range(4, 8)}


def unet(engine: Any, x: Any, blocks: list[int], has: set[str]) -> Any:
    """The forward pass of ``ws3d_ros.network.unet.Res16UNet`` with batch norms folded into convolutions."""

    def stage(x: Any, name: str, count: int) -> Any:
        for i in range(count):
            block = f"{name}.{i}"
            shortcut = engine.conv(x, f"{block}.downsample.0") if f"{block}.downsample.0" in has else x
            y = engine.relu(engine.conv(x, f"{block}.conv1"))
            x = engine.relu(engine.add(engine.conv(y, f"{block}.conv2"), shortcut))
        return x

    x = engine.relu(engine.conv(x, "conv0p1s1"))
    skips = [x]
    for step in range(4):
        x = engine.relu(engine.conv(x, f"conv{step + 1}p{2**step}s2"))
        x = stage(x, f"block{step + 1}", blocks[step])
        skips.append(x)
    for step in range(4, 8):
        x = engine.relu(engine.conv(x, f"convtr{step}p{2 ** (8 - step)}s2"))
        x = stage(engine.concatenate(x, skips[7 - step]), f"block{step + 1}", blocks[step])
    return x


class Minkowski:
    """MinkowskiEngine as its users write it: its modules, its coordinate manager."""

    def __init__(self, weights: dict[str, Any]) -> None:
        collections.Sequence = collections.abc.Sequence  # type: ignore[attr-defined]
        import MinkowskiEngine

        self.me = MinkowskiEngine
        self.version = MinkowskiEngine.__version__
        self.layers = {name: self._layer(name, *pair) for name, pair in weights.items()}
        self.activation = self.me.MinkowskiReLU()

    def _layer(self, name: str, kernel: Any, bias: Any) -> Any:
        volume = kernel.shape[0] if kernel.ndim == 3 else 1
        size = round(volume ** (1 / 3))
        kind = self.me.MinkowskiConvolutionTranspose if name in UP else self.me.MinkowskiConvolution
        shape = {"kernel_size": size, "stride": 2 if size == 2 else 1, "dimension": 3}
        layer = kind(kernel.shape[-2], kernel.shape[-1], bias=True, **shape)
        layer.kernel.data, layer.bias.data = kernel, bias[None]
        return layer

    def start(self, coords: Any, features: Any, before: Any) -> Any:
        if before is not None:
            key, manager = before
            return self.me.SparseTensor(features, coordinate_map_key=key, coordinate_manager=manager)
        return self.me.SparseTensor(features, coordinates=coords.int())

    def maps(self, x: Any) -> Any:
        return x.coordinate_map_key, x.coordinate_manager

    def conv(self, x: Any, name: str) -> Any:
        return self.layers[name](x)

    def relu(self, x: Any) -> Any:
        return self.activation(x)

    def add(self, a: Any, b: Any) -> Any:
        return a + b

    def concatenate(self, a: Any, b: Any) -> Any:
        return self.me.cat(a, b)

    def features(self, x: Any, coords: Any) -> Any:
        return x.features_at_coordinates(coords.float())


class Spconv:
    """spconv. Its CPU path is wrong with more than one thread; ``network.py`` gives it one."""

    def __init__(self, weights: dict[str, Any]) -> None:
        import spconv
        import spconv.pytorch

        self.sp, self.version = spconv.pytorch, spconv.__version__
        self.layers = {name: self._layer(name, *pair) for name, pair in weights.items()}

    def _layer(self, name: str, kernel: Any, bias: Any) -> Any:
        if kernel.ndim == 2:
            kernel = kernel[None]
        volume, inputs, outputs = kernel.shape
        size = round(volume ** (1 / 3))
        if size == 2:
            level = name.split("p")[1].split("s")[0]
            stride = int(level) // 2 if name in UP else int(level)
            if name in UP:
                layer = self.sp.SparseInverseConv3d(inputs, outputs, 2, indice_key=f"down{stride}")
            else:
                layer = self.sp.SparseConv3d(inputs, outputs, 2, 2, indice_key=f"down{stride}")
        else:
            layer = self.sp.SubMConv3d(inputs, outputs, size, indice_key=f"{size}at{self._stride(name)}")
        turned = kernel.view(size, size, size, inputs, outputs).permute(4, 0, 1, 2, 3).contiguous()
        if size == 1:  # here spconv reads the same memory as (inputs, outputs)
            turned = kernel.contiguous().view(outputs, 1, 1, 1, inputs)
        layer.weight.data, layer.bias.data = turned, bias
        return layer

    @staticmethod
    def _stride(name: str) -> int:
        if name.startswith("conv0"):
            return 1
        step = int(name.removeprefix("block").split(".")[0])
        return 2**step if step <= 4 else 2 ** (8 - step)

    def start(self, coords: Any, features: Any, before: Any) -> Any:
        low = torch.div(coords.amin(0), 16, rounding_mode="floor") * 16
        low[0] = 0
        at = (coords - low)[:, [0, 3, 2, 1]]
        shape = [int(size) // 16 * 16 + 16 for size in at.amax(0)[1:]]
        x = self.sp.SparseConvTensor(features, at.int().contiguous(), shape, int(at[:, 0].max()) + 1)
        if before is not None:
            x.indice_dict = before
        return x

    def maps(self, x: Any) -> Any:
        return x.indice_dict

    def conv(self, x: Any, name: str) -> Any:
        return self.layers[name](x)

    def relu(self, x: Any) -> Any:
        return x.replace_feature(torch.relu(x.features))

    def add(self, a: Any, b: Any) -> Any:
        return a.replace_feature(a.features + b.features)

    def concatenate(self, a: Any, b: Any) -> Any:
        return a.replace_feature(torch.cat([a.features, b.features], dim=1))

    def features(self, x: Any, coords: Any) -> Any:
        return x.features


class Open3D:
    """Open3D's ``sparse_conv`` on neighbours that ours has found: it has no maps of a grid of its own."""

    def __init__(self, weights: dict[str, Any]) -> None:
        import open3d
        import open3d.ml.torch

        self.convolve, self.version = open3d.ml.torch.ops.sparse_conv, open3d.__version__
        self.weights = weights

    def start(self, coords: Any, features: Any, before: Any) -> Any:
        return features

    def maps(self, x: Any) -> Any:
        return True

    def conv(self, x: Any, name: str) -> Any:
        kernel, bias = self.weights[name]
        if kernel.ndim == 2:
            return torch.addmm(bias, x, kernel)
        size = round(len(kernel) ** (1 / 3))
        if size == 2:
            level = int(name.split("p")[1].split("s")[0])
            table = self.tables[f"up{level // 2}" if name in UP else f"down{level}"]
        else:
            table = self.tables[f"{size}at{Spconv._stride(name)}"]
        index, offset, splits = table
        none = torch.empty(0)
        out = self.convolve(kernel, x, none, index, offset, none, splits, normalize=False)
        return out + bias

    def relu(self, x: Any) -> Any:
        return torch.relu(x)

    def add(self, a: Any, b: Any) -> Any:
        return a + b

    def concatenate(self, a: Any, b: Any) -> Any:
        return torch.cat([a, b], dim=1)

    def features(self, x: Any, coords: Any) -> Any:
        return x


ENGINES = {"minkowski": Minkowski, "spconv": Spconv, "open3d": Open3D}


class Worker:
    """One engine with one network and one map in mind, until it is asked about others."""

    def __init__(self, kind: Any) -> None:
        self.kind = kind
        self.file, self.before = "", None

    def load(self, file: str) -> None:
        data = {key: torch.from_numpy(value) for key, value in np.load(file).items()}
        self.names = {key.removeprefix("kernel/") for key in data if key.startswith("kernel/")}
        weights = {name: (data[f"kernel/{name}"], data[f"bias/{name}"]) for name in self.names}
        self.engine = self.kind(weights)
        tables = {key.split("/")[1] for key in data if key.startswith("map/")}
        self.engine.tables = {name: tuple(data[f"map/{name}/{part}"] for part in range(3)) for name in tables}
        self.coords, self.features, self.blocks = data["coords"], data["features"], data["blocks"].tolist()
        self.file, self.before = file, None

    def run(self) -> tuple[Any, float]:
        """The features, still the engine's, and milliseconds."""
        begun = time.perf_counter()
        x = self.engine.start(self.coords, self.features, self.before)
        y = unet(self.engine, x, self.blocks, self.names)
        took = (time.perf_counter() - begun) * 1e3
        self.before = self.engine.maps(x)
        return y, took

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        if request["file"] != self.file:
            self.load(request["file"])
        if not request["again"]:
            self.before = None
        if not request["out"]:
            return {"ms": self.run()[1]}
        (y, took), mib = peak_mib(self.run)
        np.save(request["out"], self.engine.features(y, self.coords).numpy())
        return {"ms": took, "peak_mib": mib}


def main() -> None:
    torch.set_num_threads(int(sys.argv[2]))
    torch.set_grad_enabled(False)
    kind = ENGINES[sys.argv[1]]
    print(json.dumps({"version": kind({}).version, "torch": torch.__version__}), flush=True)
    worker = Worker(kind)
    for line in sys.stdin:
        print(json.dumps(worker.answer(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
