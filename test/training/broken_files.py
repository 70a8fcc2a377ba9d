"""What happens to a data set when one of its files is missing or cut short."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from ws3d_ros.training.datasets.files import DatasetError


def check_broken(root: Path, file: str, keep: float, load: Callable[[Path], object]) -> None:
    """A copy of a data set whose ``file`` keeps only a share of its bytes, 0 <= keep < 1, is refused.

    The message must name the file, and where it is gone it must, too.
    """
    with TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        shutil.copytree(root, copy)
        broken = copy / file
        data = broken.read_bytes()
        broken.write_bytes(data[: int(len(data) * keep)])
        with pytest.raises(DatasetError, match=broken.name.replace(".", r"\.")):
            load(copy)
        broken.unlink()
        with pytest.raises(DatasetError, match=broken.name.replace(".", r"\.")):
            load(copy)
