"""How pure superpoints are, how many there are, and what they cost.

    OMP_NUM_THREADS=1 python benchmarks/superpoints.py [FOLDER_OF_SCENES]

Scenes are those from seed 1000000 on that the folder (runs/scenes) holds. Purity is the part of the voxels
whose name and thing are those of most of their region. Times are CPU times of one core.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import torch
from common import save
from instances import FIRST_SEED, scene
from torch import Tensor

from ws3d_ros.instances.segmentation import superpoints
from ws3d_ros.instances.superpoints import Regions
from ws3d_ros.training.batch import majority


def pure(regions: Regions, truth: Tensor) -> int:
    """How many of the voxels with a truth (N,) of 0 or more have that of most of their region."""
    known = truth >= 0
    most = majority(truth[known], regions.of_voxel[known], regions.count)
    return int((most[regions.of_voxel[known]] == truth[known]).sum())


def main() -> None:
    torch.set_num_threads(1)
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("runs/scenes")
    paths = [
        path for path in sorted(folder.glob("scene*.npz")) if int(path.name[5:].split("-")[0]) >= FIRST_SEED
    ]
    voxels = known = of_name = of_thing = regions = 0
    per_100k = []
    for path in paths:
        window, name, thing = scene(path)
        begun = time.process_time()
        cut = superpoints(window)
        per_100k.append((time.process_time() - begun) * 1e8 / len(window))
        both = torch.unique(name * (int(thing.amax()) + 1) + thing, return_inverse=True)[1]
        of_name += pure(cut, name - 1)
        of_thing += pure(cut, torch.where(name > 0, both, -1))
        known += int((name > 0).sum())
        voxels += len(window)
        regions += cut.count
    result = {
        "scenes": len(paths),
        "purity_of_names": round(of_name / known, 4),
        "purity_of_things": round(of_thing / known, 4),
        "regions_per_100k_voxels": round(regions * 1e5 / voxels),
        "cpu_ms_per_100k_voxels": round(float(np.median(per_100k)), 1),
    }
    print(result)
    print(save("superpoints", result))


if __name__ == "__main__":
    main()
