"""The README's two commands on a machine that has nothing, and what they install.

That they work is shown by every run of these tests, which happens in the environment that ``make`` built.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]


def readme_commands() -> list[str]:
    """What the README's first block of code says, without comments."""
    block = re.search(r"```\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert block is not None
    return [line.split("#")[0].strip() for line in block[1].splitlines()]


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")
@pytest.mark.parametrize("at", [0, 1])
def test_each_command_installs_everything_first(tmp_path: Path, at: int) -> None:
    command = readme_commands()[at]
    nothing = tmp_path / "venv"
    said = subprocess.run(
        [*command.split(), "--dry-run", "PYTHON=python3", f"VENV={nothing}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    wanted = [
        f"-m venv \\\n  $(python3 -c 'import torch' 2>/dev/null && echo --system-site-packages) {nothing}",
        "-r requirements-ros.txt",
        f"--force-reinstall \\\n  -c {nothing}/constraints.txt .",
        {"make demo": f"{nothing}/bin/ws3d demo", "make test": f"{nothing}/bin/python -m pytest"}[command],
    ]
    places = [said.index(part) for part in wanted]
    assert places == sorted(places)


def test_what_the_package_requires_is_what_runs_here() -> None:
    """Among them numpy, whose major versions break who was built for the other."""
    try:
        required = [Requirement(line) for line in metadata.requires("ws3d_ros") or []]
    except metadata.PackageNotFoundError:
        pytest.skip("the package is not installed, only lies here")
    own = [one for one in required if one.marker is None or one.marker.evaluate({"extra": ""})]
    assert {"numpy", "torch"} <= {one.name for one in own}
    assert [str(one) for one in own if metadata.version(one.name) not in one.specifier] == []
