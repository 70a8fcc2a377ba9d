"""Processes that save maps of one value each to the same file, and are killed: argv is FILE ROUNDS SEED.

Prints one line a round: the value in the file after the kill, and the value whose saving had last
returned, -1 before any did. Forked here, with one thread, since a process that has torch starts slowly.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from multiprocessing import RawValue
from pathlib import Path

import torch

from ws3d_ros.reconstruction.map_file import MapHeader, SavedMap, load_map, save_map

COUNT = 30_000


def saver(path: Path, first: int, returned: object) -> None:
    for value in range(first, first + 1_000_000):
        voxel = {"key": torch.arange(COUNT), "state": torch.full((COUNT, 12), float(value))}
        save_map(SavedMap(MapHeader(0.05), voxel), path)
        returned.value = value  # type: ignore[attr-defined]


def main(path: Path, rounds: int, seed: int) -> None:
    torch.set_num_threads(1)
    rng = random.Random(seed)
    returned = RawValue("q", -1)
    for turn in range(rounds):
        before = returned.value
        pid = os.fork()
        if pid == 0:
            saver(path, turn * 1_000_000, returned)
        while returned.value == before:  # the first one comes through: then anything may happen
            time.sleep(0.001)
        time.sleep(rng.uniform(0.0, 0.2))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        state = load_map(path).voxel["state"]
        assert bool((state == state[0, 0]).all())
        sys.stdout.write(f"{int(state[0, 0])} {returned.value}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
