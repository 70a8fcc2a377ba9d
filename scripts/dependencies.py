"""Prints what pyproject.toml asks for, with the extras named: `dependencies.py vlm dev`.

So that third-party packages can be installed before, and apart from, our own.
"""

from __future__ import annotations

import sys
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    from pip._vendor import tomli as tomllib


def main(extras: list[str]) -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    wanted = list(project["dependencies"])
    for extra in extras:
        wanted += project["optional-dependencies"][extra]
    print("\n".join(item.replace(" ", "") for item in wanted))


if __name__ == "__main__":
    main(sys.argv[1:])
