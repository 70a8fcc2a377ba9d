"""The node loses everybody for longer than DDS waits, then gets them back: it maps on by itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from isolation import MISSING

if MISSING:
    pytest.skip(MISSING, allow_module_level=True)

HERE = Path(__file__).parent
ALONE = ["unshare", "--map-root-user", "--net"]
"""A network of its own, which no one else has to go without."""

pytestmark = [pytest.mark.ros, pytest.mark.timeout(300)]


def why_not_alone() -> str:
    """Why this machine gives a process no network of its own, or nothing."""
    try:
        tried = subprocess.run([*ALONE, "ip", "link", "set", "lo", "up"], capture_output=True, text=True)
    except FileNotFoundError as error:
        return f"{error}: install util-linux and iproute2"
    return "" if tried.returncode == 0 else tried.stderr.strip() or f"unshare ended with {tried.returncode}"


@pytest.mark.skipif(bool(why := why_not_alone()), reason=f"no network namespaces for us here: {why}")
def test_cut_off_for_longer_than_dds_waits() -> None:
    pytest_here = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(HERE / "cut_off.py")]
    done = subprocess.run(
        [*ALONE, "sh", "-c", 'ip link set lo up && exec "$@"', "sh", *pytest_here],
        env={**os.environ, "FASTDDS_DEFAULT_PROFILES_FILE": str(HERE / "short_lease.xml")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
