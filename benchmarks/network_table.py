"""results/network.json as markdown, and its way into README.md.

python benchmarks/network_table.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

README = Path(__file__).parent / "README.md"
BEGIN, END = "<!-- network.py writes from here -->", "<!-- to here -->"
MAIN, MAIN_VOXELS = "Res16UNet18A", 100_000
PEER = "minkowski"
NAMES = {"minkowski": "MinkowskiEngine", "spconv": "spconv", "open3d": "Open3D"}


def markdown(result: dict[str, Any]) -> str:
    """What was measured on which machine, times by size, one size in full, and the goals."""
    return "\n\n".join(
        [
            _machine(result),
            _times(result),
            _details(result),
            _goals(result),
            _places(result),
            _missing(result),
        ]
    ).strip()


def into_readme(text: str) -> None:
    """Replaces what stands between the two marks."""
    page = README.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    _, mark, after = rest.partition(END)
    assert mark, f"{README} lacks '{BEGIN}' or '{END}'"
    README.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")


def _machine(result: dict[str, Any]) -> str:
    machine = result.get("machine", {})
    where = f"{result['date']}, {machine['cpu']}, torch {machine['torch']}, " if machine else ""
    peaks = ", ".join(f"{name} {gflops}" for name, gflops in result["peak_gflops"].items())
    versions = ", ".join(
        f"{NAMES[name]} {about['version']} ({_threads(about['threads'])})"
        for name, about in result["engines"].items()
        if name in NAMES
    )
    return (
        f"{where}{_threads(result['threads'])}. Dense products in the same run, GFLOP/s: {peaks}. "
        f"Peers: {versions or 'none'}."
    )


def _threads(count: int) -> str:
    return f"{count} thread" + ("s" if count > 1 else "")


def _times(result: dict[str, Any]) -> str:
    """Milliseconds of whole passes by engine, and how many times faster than MinkowskiEngine."""
    engines = list(result["engines"])
    lines = _head(["network", "map", "voxels", "GFLOP", *(NAMES.get(name, name) for name in engines)])
    for architecture, place in dict.fromkeys(map(_where, result["rows"])):
        here = {r["engine"]: r for r in result["rows"] if _where(r) == (architecture, place)}
        first = next(iter(here.values()))
        cells = [architecture, place.split(" ")[0], f"{first['voxels']:,}", f"{first['gflop']:.0f}"]
        for name in engines:
            ratio = f" ({_faster(here, name):.1f})" if PEER in here and name in here and name != PEER else ""
            cells.append(f"{here[name]['ms']:.0f}{ratio}" if name in here else "")
        lines.append(_row(cells))
    return "Milliseconds (times faster than MinkowskiEngine):\n\n" + "\n".join(lines)


def _details(result: dict[str, Any]) -> str:
    """Everything that was measured, for one network and size."""
    rows = _main_rows(result)
    head = ["engine", "ms", "GFLOP/s", "of fp32 peak", "kernel maps ms", "µs a voxel", "peak MiB"]
    lines = _head([*head, "relative error", "labels equal"])
    for row in rows:
        cells = [NAMES.get(row["engine"], row["engine"]), f"{row['ms']:.0f}", f"{row['gflops']:.0f}"]
        cells += [f"{row['gflops'] / _peak(result):.0%}", _maps(row), f"{row['us_a_voxel']:.1f}"]
        cells += [f"{row['peak_mib']}", f"{row['relative_error']:.0e}", f"{row['labels_equal']:.2%}"]
        lines.append(_row(cells))
    title = f"{rows[0]['architecture']} at {rows[0]['voxels']:,} voxels"
    return f"{title}, relative error and labels against {rows[0]['engine']}:\n\n" + "\n".join(lines)


def _goals(result: dict[str, Any]) -> str:
    """What was wanted on a CPU, and what came out."""
    here = {row["engine"]: row for row in _main_rows(result)}
    found: list[tuple[str, str, str]] = []
    if PEER in here:
        for name, goal in (("torch", 2.8), ("native", 3.8), ("native bf16", 5.0)):
            if name in here:
                found.append((f"{name} to MinkowskiEngine", f"≥ {goal}", f"{_faster(here, name):.1f}"))
    for name, row in here.items():
        if name == "native bf16":
            found.append(("equal labels in bf16", "≥ 98.5 %", f"{row['labels_equal']:.1%}"))
        if name == "native":
            found.append(("native, of the fp32 peak", "≥ 45 %", f"{row['gflops'] / _peak(result):.0%}"))
            found.append(("kernel maps", "≤ 60 ms", f"{row['maps_ms']:.0f} ms"))
    small = ("Res16UNet14S", "native", 50_000)
    found += [
        ("14S at 50,000 voxels, native", "≤ 300 ms", f"{row['ms']:.0f} ms")
        for row in result["rows"]
        if (row["architecture"], row["engine"], row["voxels"]) == small and "house" in row["place"]
    ]
    house = [
        row
        for row in result["rows"]
        if row["architecture"] == MAIN
        and row["engine"] == "native"
        and row["place"].startswith("small_house")
    ]
    if len(house) > 1:
        costs = ", ".join(f"{row['us_a_voxel']:.1f} at {row['voxels']:,}" for row in house)
        found.append(("growth, 18A native", "linear at most", f"µs a voxel: {costs}"))
    size = f"{_main_rows(result)[0]['voxels']:,}"
    return "\n".join(
        [*_head([f"goal ({MAIN} at {size} voxels where not said)", "wanted", "measured"]), *map(_row, found)]
    )


def _places(result: dict[str, Any]) -> str:
    sizes = {row["place"]: row["voxels"] for row in result["rows"]}
    return "Maps: " + "; ".join(f"{voxels:,} voxels: {place}" for place, voxels in sizes.items()) + "."


def _missing(result: dict[str, Any]) -> str:
    return "\n".join(
        f"Not measured: {name} ({why.splitlines()[0]})." for name, why in result["missing"].items()
    )


def _main_rows(result: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of 18A at 100k voxels; of a smaller run, those of its last network and place."""
    main = [r for r in result["rows"] if (r["architecture"], r["voxels"]) == (MAIN, MAIN_VOXELS)]
    return main or [r for r in result["rows"] if _where(r) == _where(result["rows"][-1])]


def _peak(result: dict[str, Any]) -> float:
    return max(gflops for name, gflops in result["peak_gflops"].items() if "fp32" in name)


def _faster(here: dict[str, dict[str, Any]], name: str) -> float:
    return float(here[PEER]["ms"] / here[name]["ms"])


def _maps(row: dict[str, Any]) -> str:
    return "" if row["maps_ms"] is None else f"{row['maps_ms']:.0f} ({row['maps_ms'] / row['ms']:.0%})"


def _where(row: dict[str, Any]) -> tuple[str, str]:
    return row["architecture"], row["place"]


def _head(cells: list[str]) -> list[str]:
    return [_row(cells), "|" + "---|" * len(cells)]


def _row(cells: list[str] | tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> None:
    path = README.parent / "results" / "network.json"
    text = markdown(json.loads(path.read_text(encoding="utf-8")))
    into_readme(text)
    print(text)


if __name__ == "__main__":
    main()
