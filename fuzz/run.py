#!/usr/bin/env python3
"""Feed one of our decoders with bytes that atheris (libFuzzer) invents, guided by what code they reach.

A decoder may answer with a value that keeps its promises (shapes agree, numbers are finite) or with its one
named error. Anything else is a finding: another exception, or more memory than the input can explain. Its
input is kept in fuzz/findings/TARGET/, one for each place in the code, and the run goes on; it ends early at
an input that takes more than --seconds or kills the interpreter. Given paths of inputs, it replays them.

    pip install atheris                                   # into the environment of the package (make venv)
    fuzz/run.py compressed_depth --minutes 30
    fuzz/run.py compressed_depth fuzz/findings/compressed_depth/rvl.py-57

Runs begin with the inputs of fuzz/corpus/TARGET/. What they learn is kept in fuzz/grown/TARGET/, which git
does not know, and the next run goes on from there. When a finding is mended, put its input into
fuzz/corpus/TARGET/ under a name that tells what it was: test/fuzz/ replays all of these in every `make test`.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import traceback
import tracemalloc
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

RSS_LIMIT_MB = 3000
"""For what tracemalloc does not see: OpenCV, torch and the interpreter itself."""


def main() -> None:
    """Runs, or replays, one target."""
    import atheris

    # Only what decodes is instrumented: libraries written in Python that parse for us, and our own code.
    with atheris.instrument_imports(include=["ws3d_ros", "plyfile", "pypcd4", "laspy", "yaml"]):
        from fuzz_input import FindingError, run, warm_up
        from fuzz_targets import TARGETS, corpus

    arguments = _arguments(sorted(TARGETS))
    target, name = TARGETS[arguments.target], arguments.target
    warm_up(target, corpus(name).values())
    tracemalloc.start(1)
    if arguments.files:
        for file in arguments.files:
            print(f"{file}: {'taken' if run(target, file.read_bytes()) else 'refused by its own error'}")
        return
    grown, findings = HERE / "grown" / name, HERE / "findings" / name
    for folder in (grown, findings):
        folder.mkdir(parents=True, exist_ok=True)
    begun, count, taken = time.process_time(), 0, 0
    found: set[str] = set()

    def once(data: bytes) -> None:
        nonlocal count, taken
        count += 1
        try:
            taken += run(target, data)
        except FindingError as error:
            place = _place(error)
            if place not in found:
                found.add(place)
                (findings / place).write_bytes(data)
                print(f"finding {place}: {error}", flush=True)
        minutes = (time.process_time() - begun) / 60
        if minutes > arguments.minutes:
            summary = f"{count} executions, {taken} inputs taken, {len(found)} findings"
            print(f"{name}: {minutes:.1f} min, {summary}", flush=True)
            os._exit(1 if found else 0)  # libFuzzer has no way out but this

    flags = [
        f"-timeout={arguments.seconds}",
        f"-rss_limit_mb={RSS_LIMIT_MB}",
        f"-max_len={arguments.longest}",
        f"-artifact_prefix={findings}/",
        "-len_control=20",
    ]
    atheris.Setup([sys.argv[0], *flags, str(grown), str(HERE / "corpus" / name)], once)
    atheris.Fuzz()


def _place(error: Exception) -> str:
    """Where a finding came from, as a name for its file."""
    frame = traceback.extract_tb((error.__cause__ or error).__traceback__)[-1]
    return f"{Path(frame.filename).name}-{frame.lineno}"


def _arguments(names: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("target", choices=names, metavar="TARGET", help="one of: " + ", ".join(names))
    parser.add_argument(
        "files", nargs="*", type=Path, metavar="FILE", help="replay these, and do nothing else"
    )
    parser.add_argument("--minutes", type=float, default=30.0, help="of processor time (default: 30)")
    parser.add_argument("--seconds", type=int, default=10, help="for one input at most (default: 10)")
    parser.add_argument("--longest", type=int, default=4096, help="bytes of an input at most (default: 4096)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
