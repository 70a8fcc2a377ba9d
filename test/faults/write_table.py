"""The table of docs/reliability.md, out of the file that WS3D_FAULTS_RECORD named, which is the argument."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

LONGEST = 110
GHOSTS = 1.05
"""More voxels than before by this factor: what was measured wrong is in the map."""


def row(seen: dict[str, Any]) -> str:
    named = re.sub(r"/tmp/\S*/maps/?", "", seen["named"]).removeprefix("ws3d: ")
    named = re.sub(r" \d+$", "", named).replace("|", "/")
    named = named if len(named) <= LONGEST else named[:LONGEST].rsplit(" ", 1)[0] + " …"
    what = "mapped on, harmless" if not named else "kept what was mapped"
    if seen["voxels_after"] > GHOSTS * seen["voxels_before"]:
        what += f"; ghosts: {seen['voxels_before']} voxels became {seen['voxels_after']}"
    return f"| {seen['fault']} | {what} | {seen['recovery_s']:.1f} | {f'`{named}`' if named else 'nothing'} |"


def main(record: Path) -> None:
    seen = [json.loads(line) for line in record.read_text().splitlines()]
    lines = ["| fault | the node | recovery, s | what it is called |", "|---|---|---:|---|", *map(row, seen)]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
