"""Results of learning as markdown, and their way into docs/results.md.

    python benchmarks/results_table.py

Each table stands between two marks, `<!-- NAME -->` and `<!-- /NAME -->`. What has no results yet is left
as it is.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from common import RESULTS

PAGE = Path(__file__).parents[1] / "docs" / "results.md"


def zero_shot_tables(result: dict[str, Any]) -> str:
    """Sources by scene, then classes of the LiDAR maps."""
    rows = result["rows"]
    lines = []
    for row in rows:
        color = "yes" if row["color"] else "no"
        ece = f"{row['ece']:.3f}" if "ece" in row else ""
        figures = [f"{row[name]:.3f}" for name in ("miou", "macc", "fmiou", "accuracy")]
        source = [row["scene"], row["source"], "–" if row["source"].startswith("image") else color]
        lines.append([*source, *figures, ece, f"{row['voxels']:,}", f"{row['unlabelled']:,}"])
    heads = [
        *("scene", "named by", "the student sees colour", "mIoU", "mAcc", "fmIoU", "accuracy", "ECE"),
        *("voxels", "of them unnamed"),
    ]
    parts = [_machine(result) + " " + _student(result["checkpoint"]), _table(heads, lines)]
    for row in rows:
        if "LiDAR" in row["scene"]:
            parts += [f"{row['scene']}, class by class:", _classes(row)]
    return "\n\n".join(parts)


def _classes(row: dict[str, Any]) -> str:
    """Classes with their share of the map by the student, and how right that is."""
    classes = sorted(row["classes"].items(), key=lambda item: -item[1]["voxels"])
    lines = [
        [
            name,
            f"{each['voxels']:,}",
            f"{each['iou']:.3f}",
            f"{each['recall']:.3f}",
            f"{row['shares'][name]:.1%}",
        ]
        for name, each in classes
    ]
    absent = [
        [name, "0", "", "", f"{share:.1%}"]
        for name, share in sorted(row["shares"].items(), key=lambda item: -item[1])
        if name not in row["classes"] and share >= 0.001
    ]
    return _table(["class", "true voxels", "IoU", "recall", "share of the map's labels"], lines + absent)


def _student(about: dict[str, Any]) -> str:
    step = f", step {about['step']}" if about["step"] is not None else ""
    return f"Weights: {about['file']}, {about['architecture']}{step}, sha256 {about['sha256'][:12]}…"


def _machine(result: dict[str, Any]) -> str:
    machine = result.get("machine")
    if not machine:
        return ""
    threads = machine["torch_threads"]
    return (
        f"{result['date']}, {machine['cpu']}, {threads} thread{'s' if threads > 1 else ''}, "
        f"torch {machine['torch']}, {result['seconds']} s."
    )


def _table(heads: list[str], lines: list[list[str]]) -> str:
    rows = [heads, ["---"] * len(heads), *lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


TABLES = {"zero_shot": zero_shot_tables}


def into_page(page: str, name: str, text: str) -> str:
    """The page with this text between the marks of ``name``."""
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    before, found, rest = page.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise SystemExit(f"{PAGE} lacks '{begin}' or '{end}'")
    return f"{before}{begin}\n\n{text}\n\n{end}{after}"


def main() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for name, table in TABLES.items():
        file = RESULTS / f"{name}.json"
        if file.is_file():
            page = into_page(page, name, table(json.loads(file.read_text())))
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
