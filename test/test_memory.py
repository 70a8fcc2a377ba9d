"""What the process takes is its own figure, and what it does not use goes back."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest

from ws3d_ros.memory import (
    OverBudgetError,
    check_budget,
    give_back,
    machine_bytes,
    peak_memory_bytes,
    resident_bytes,
)

ROOT = Path(__file__).parents[1]
MIB = 2**20
CACHES = """
import {first}  # before torch
import psutil, torch
from ws3d_ros.memory import give_back
torch.set_num_threads(1)
multiply = torch.nn.Linear(64, 128).bfloat16()
rows = iter(range(1000, 2000))
def read(times):
    for _ in range(times):
        multiply(torch.zeros(next(rows), 64, dtype=torch.bfloat16))
    give_back()
    return psutil.Process().memory_info().rss
with torch.inference_mode():
    begin = read(200)
    print(read(600) - begin)
"""


def test_peak_memory_is_plausible() -> None:
    before = peak_memory_bytes()
    block = np.ones(50_000_000, np.uint8)
    assert block.nbytes < peak_memory_bytes() < 2**40
    assert peak_memory_bytes() >= before


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system tells the parent's peak, too")
def test_the_peak_of_who_started_the_process_is_not_its_own() -> None:
    block = np.ones(400 * MIB, np.uint8)
    program = "from ws3d_ros.memory import peak_memory_bytes; print(peak_memory_bytes())"
    told = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, check=True)
    assert int(told.stdout) < 200 * MIB < len(block)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc alone is asked")
def test_holes_in_the_heap_go_back() -> None:
    blocks = [np.ones(60_000, np.uint8) for _ in range(4000)]  # below what malloc maps by itself
    held = blocks[::100]  # without these the heap would shrink from its end
    full = psutil.Process().memory_info().rss
    del blocks
    give_back()
    assert full - psutil.Process().memory_info().rss > 150 * MIB
    assert len(held) == 40


@pytest.mark.parametrize("first", ["ws3d_ros.node.main", "ws3d_ros.cli.main"])
def test_multiplications_of_ever_other_shapes_do_not_fill_the_memory(first: str) -> None:
    """One after the other has other rows, as windows of a growing map have. Where torch multiplies bfloat16
    by oneDNN, 600 of them took 380 MB."""
    program = CACHES.format(first=first)
    told = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, check=True)
    assert int(told.stdout) < 60 * MIB


HEAPS = """
{first}
import ctypes, re, threading
import numpy as np
barrier = threading.Barrier(6)
def fill():
    barrier.wait()
    kept.append([np.ones(50_000, np.uint8) for _ in range(50)])
    barrier.wait()
kept = []
threads = [threading.Thread(target=fill) for _ in range(6)]
for thread in threads: thread.start()
for thread in threads: thread.join()
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
file = libc.fopen(b"{path}", b"w")
libc.malloc_info(0, ctypes.c_void_p(file))
libc.fclose(ctypes.c_void_p(file))
print(open("{path}").read().count("<heap nr"))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc alone is asked")
def test_threads_share_a_heap(tmp_path: Path) -> None:
    """By default six threads have several, and what is free in one is of no use to another."""

    def heaps(first: str) -> int:
        program = HEAPS.format(first=first, path=tmp_path / "heaps.xml")
        told = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, check=True)
        return int(told.stdout)

    assert heaps("from ws3d_ros.memory import keep_one_heap; keep_one_heap()") == 1
    assert heaps("") > 1


@pytest.mark.parametrize(
    ("groups", "files", "limit"),
    [
        ("", {}, None),
        ("0::/\n", {"memory.max": "max\n"}, None),
        ("0::/\n", {"memory.max": "1000000\n"}, 1_000_000),
        ("0::/a/b\n", {"a/b/memory.max": "max\n", "a/memory.max": "2000000\n"}, 2_000_000),
        ("0::/of/the/host\n", {"memory.max": "3000000\n"}, 3_000_000),
        ("5:cpu:/\n4:memory,cpuset:/docker/x\n", {"memory/docker/x/memory.limit_in_bytes": "7"}, 7),
        ("5:cpu:/\n4:memory:/\n", {"memory/memory.limit_in_bytes": str(2**62)}, None),
        ("0::/../outside\n", {}, None),
    ],
)
def test_a_container_may_have_less_than_the_machine(
    groups: str, files: dict[str, str], limit: int | None, tmp_path: Path
) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    total = psutil.virtual_memory().total
    assert machine_bytes(groups, tmp_path) == (total if limit is None else limit)


def test_over_the_budget_is_said_with_both_figures() -> None:
    taken = resident_bytes()
    assert MIB < taken <= peak_memory_bytes()
    check_budget(2 * taken)
    with pytest.raises(OverBudgetError, match=r"takes \d+ MB of memory and may take 1 \(memory.process_mb\)"):
        check_budget(1_000_000)
