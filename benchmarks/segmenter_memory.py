"""What a segmenter's time costs in memory: onnxruntime with and without an arena, and a plan for it.

    python benchmarks/segmenter_memory.py [--images 20] [--weights FOLDER]

Each setting runs in a process of its own, whose heap is set up like the node's. Writes
results/segmenter_memory.json: milliseconds for an image, pages that the kernel had to hand out for it, memory
that is kept between images, and the most that the process ever took. A DeepLab in the weights folder is
measured, else the segmenter that ships.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from common import save, summary
from house import SHARED

from ws3d_ros import memory
from ws3d_ros.language.choose import PACKAGED_SEGMENTER

SETTINGS = {
    "arena and plan": {},
    "arena": {"enable_mem_pattern": False},
    "neither": {"enable_cpu_mem_arena": False, "enable_mem_pattern": False},
    "plan": {"enable_cpu_mem_arena": False},
}
"""By what onnxruntime does; ``arena`` is what the node uses, ``arena and plan`` onnxruntime's default."""


def measure(network: Path, setting: str, images: int) -> dict[str, float]:
    """In this process, once."""
    memory.keep_one_heap()
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    for name, value in SETTINGS[setting].items():
        setattr(options, name, value)
    session = onnxruntime.InferenceSession(str(network), options, providers=["CPUExecutionProvider"])
    (slot,) = session.get_inputs()
    image = np.random.default_rng(0).random(slot.shape, np.float32)
    before = memory.resident_bytes()
    session.run(None, {slot.name: image})
    faults, times = resource.getrusage(resource.RUSAGE_SELF).ru_minflt, []
    for _ in range(images):
        begun = time.perf_counter()
        session.run(None, {slot.name: image})
        times.append((time.perf_counter() - begun) * 1e3)
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults
    return {
        **summary(times),
        "pages": round(faults / images),
        "kept_mb": round((memory.resident_bytes() - before) / 1e6),
        "peak_mb": round(memory.peak_memory_bytes() / 1e6),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--images", type=int, default=20)
    parser.add_argument("--weights", type=Path, default=os.environ.get("WS3D_WEIGHTS", SHARED / "weights"))
    parser.add_argument("--setting", choices=SETTINGS, help="this one only, as a line of JSON")
    arguments = parser.parse_args()
    network = arguments.weights / "deeplab-mnv2-ade20k" / "deeplab_ade20k_dense.onnx"
    if not network.is_file():
        network = PACKAGED_SEGMENTER / "segmenter.onnx"
    if arguments.setting:
        print(json.dumps(measure(network, arguments.setting, arguments.images)))
        return
    table = {}
    for setting in SETTINGS:
        command = [sys.executable, __file__, *sys.argv[1:], "--setting", setting]
        line = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        table[setting] = json.loads(line)
        print(f"{setting}: {table[setting]}", flush=True)
    print(save("segmenter_memory", {"network": network.stem, "settings": table}))


if __name__ == "__main__":
    main()
