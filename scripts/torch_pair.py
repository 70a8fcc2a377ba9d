"""Prints pip constraints that keep torch and torchvision a pair.

A torch that is already there (a CUDA build, a Jetson wheel) is pinned to what it is, with the
torchvision made for it; otherwise the pair in constraints.txt. Use it so:

    python3 scripts/torch_pair.py > /tmp/constraints.txt
    python3 -m pip install -c /tmp/constraints.txt '.[vlm]'
"""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def torchvision_for(torch_version: str) -> str:
    """The torchvision released with a torch: 2.N.P goes with 0.(N+15).P since torch 2.0."""
    found = re.match(r"2\.(\d+)\.(\d+)", torch_version)
    if not found:
        raise SystemExit(
            f"torch {torch_version} is not of the 2.x series that this rule knows. Find its torchvision "
            "in torchvision's README and pin both in constraints.txt."
        )
    return f"0.{int(found[1]) + 15}.{found[2]}"


def main() -> None:
    try:
        torch = version("torch")
    except PackageNotFoundError:
        print((Path(__file__).parents[1] / "constraints.txt").read_text(), end="")
        return
    print(f"torch=={torch}")
    try:
        print(f"torchvision=={version('torchvision')}")
    except PackageNotFoundError:
        print(f"torchvision=={torchvision_for(torch)}")


if __name__ == "__main__":
    main()
