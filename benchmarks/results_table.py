"""Results of learning as markdown, and their way into docs/results.md.

    python benchmarks/results_table.py

Each table stands between two marks, `<!-- NAME -->` and `<!-- /NAME -->`. What has no results yet is left
as it is. Few labels, and the live node, are drawn as curves, too, into docs/images.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from common import RESULTS
from live_table import draw_live, live_rows

PAGE = Path(__file__).parents[1] / "docs" / "results.md"
IMAGE = PAGE.parent / "images" / "label_efficiency.png"
LIVE_IMAGE = PAGE.parent / "images" / "live.png"


def zero_shot_tables(result: dict[str, Any]) -> str:
    """Sources by scene, then classes of the LiDAR maps."""
    rows = result["rows"]
    lines = []
    for row in rows:
        color = "yes" if row["color"] else "no"
        ece = f"{row['ece']:.3f}" if "ece" in row else ""
        figures = [f"{row[name]:.3f}" for name in ("miou", "macc", "fmiou", "accuracy")]
        source = [row["scene"], row["source"], "" if row["source"].startswith("image") else color]
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


def pretraining_table(result: dict[str, Any]) -> str:
    """Variants, with their difference from the first."""
    budget, variants = result["budget"], result["variants"]
    figures = ("color_miou", "color_accuracy", "no_color_miou", "no_color_accuracy")
    lines: list[list[str]] = []
    for row in variants:
        name = row["variant"]
        cells = [_pm(row, figure) for figure in figures]
        change = f"{row['color_miou'][0] - variants[0]['color_miou'][0]:+.3f}" if lines else ""
        speed = f"{row['steps_per_s'][0]:.2f}" if "steps_per_s" in row else ""
        lines.append([name, str(row["seeds"]), *cells, change, speed, f"{row['memory_mib'][0]:.0f}"])
    heads = [
        *("variant", "seeds", "mIoU", "accuracy", "mIoU, no colour", "accuracy, no colour"),
        *("mIoU against the first", "steps/s", "memory, MiB"),
    ]
    about = (
        f"{budget['steps']} steps of {budget['clouds']} x {budget['voxels']} voxels of {budget['scenes']} "
        f"scenes; scored on {budget['held_out']} others."
    )
    return "\n\n".join([f"{_machine(result)} {about}".strip(), _table(heads, lines)])


def virtual_views_tables(result: dict[str, Any]) -> str:
    """Figures by number of virtual views, for each place and way."""
    titles = {
        "room_and_flats": "samples/room and six procedural flats, mean:",
        "small_house": "small_house:",
        "small_house_lidar": "small_house, 40 LiDAR sweeps, no colours:",
    }
    heads = ["virtual views", "views", "mIoU", "accuracy", "ECE", "seconds for the views"]
    parts = [f"{_machine(result)} Encoder: {result['encoder']}."]
    for place, title in titles.items():
        lines = [
            [
                way,
                str(views),
                *(f"{row[name]:.3f}" for name in ("miou", "accuracy", "ece")),
                f"{row['seconds']:.1f}",
            ]
            for way, rows in result.get(place, {}).items()
            for views, row in rows.items()
        ]
        parts += [title, _table(heads, lines)] if lines else []
    return "\n\n".join(parts)


def online_table(result: dict[str, Any]) -> str:
    """One thing added at a time."""
    heads = ["named by", "mIoU", "accuracy", "ECE", "AP50", "changes a voxel", "keyframes", "ms a keyframe"]
    lines = [
        [
            name,
            *(f"{row[figure]:.3f}" for figure in ("miou", "accuracy", "ece", "ap50")),
            f"{row['changes']:.2f}",
            str(row["keyframes"]),
            ", ".join(f"{stage.replace('_', ' ')} {ms}" for stage, ms in row["ms"].items()),
        ]
        for name, row in result["rows"].items()
    ]
    return "\n\n".join([f"{_machine(result)} {result['sequence']}.", _table(heads, lines)])


def live_table(result: dict[str, Any]) -> str:
    """The live node; medians (95th percentiles)."""
    heads, *lines = live_rows(result)
    return "\n\n".join([_machine(result), _table(heads, lines)])


def feature_compression_table(result: dict[str, Any]) -> str:
    """Image features by channels kept."""
    words = list(result["rows"][0]["same_label"])
    heads = ["named by", "channels", "bytes a voxel", "mIoU", "accuracy"]
    lines = [
        [
            *(row["named_by"], str(row["channels"]), str(row["feature_bytes_a_voxel"])),
            *(f"{row[figure]:.3f}" for figure in ("miou", "accuracy")),
            *(f"{row['same_label'][name]:.3f}" for name in words),
        ]
        for row in result["rows"]
    ]
    return "\n\n".join([_machine(result), _table([*heads, *(f"same: {name}" for name in words)], lines)])


def tracking_table(result: dict[str, Any]) -> str:
    """Sequences by how they are segmented."""
    heads = [
        *(
            "segmented by",
            "object-frames",
            "id switches",
            "of things that stayed",
            "by update",
            "without an id",
            "ids a thing, less one",
        ),
        *("moved or came back", "known again", "an update, p95"),
    ]
    lines = [
        [
            name,
            f"{row['object_frames']:,}",
            f"{row['switches']} ({row['switch_share']:.1%})",
            f"{row['unmoved_switches']} ({row['unmoved_switch_share']:.1%})",
            f"{row['switch_share_of_updates']:.1%} of {row['object_updates']:,}",
            f"{row['unnamed_share']:.1%}",
            f"{row['fragmentation']:.2f}",
            str(row["moved"]),
            str(row["known_again"]),
            f"{row['update']['p95_ms']:.0f} ms",
        ]
        for name, row in result["sequences"].items()
    ]
    return "\n\n".join([f"{_machine(result)} {len(result['seeds'])} flats.", _table(heads, lines)])


def adaptation_tables(result: dict[str, Any]) -> str:
    """Figures after so many keyframes, in the scene and in another one."""
    columns = ("student_miou", "student_accuracy", "both_miou", "both_accuracy")
    heads = [
        *("keyframes learnt from", "student mIoU", "student accuracy", "both mIoU", "both accuracy"),
        *("other scene: student mIoU", "both mIoU", "accepted", "refused", "a turn, p95"),
    ]
    parts = [f"{_machine(result)} Encoder: {result['encoder']}."]
    for place, rows in result.items():
        if isinstance(rows, dict) and "0" in rows:
            lines = []
            for count, row in rows.items():
                names = (*columns, "other_student_miou", "other_both_miou")
                refused = ", ".join(f"{reason} {n}" for reason, n in row["refused"].items())
                tail = [str(row["accepted"]), refused, f"{row['step_ms_p95']:.0f} ms"]
                lines.append([count, *(f"{row[name]:.3f}" for name in names), *tail])
            parts += [f"{place.replace('_', ' ')}:", _table(heads, lines)]
    return "\n\n".join(parts)


def label_efficiency_tables(result: dict[str, Any]) -> str:
    """Protocols by variant; shares are of the best full supervision: short, long or pre-trained."""
    budget, cells = result["budget"], result["cells"]
    about = (
        f"{budget['steps']} steps of {budget['clouds']} x {budget['voxels']} voxels of {budget['scenes']} "
        f"scenes; scored on {budget['held_out']} others. Mean ± standard deviation over seeds."
    )
    full = max((c["miou"][0] for c in cells if c["protocol"] == "full"), default=0.0)
    lines = []
    for cell in sorted(cells, key=_order):
        labels = cell["labels"]
        amount = f"{labels['points']} points a scene" if labels["points"] else "all points"
        amount += f", {labels['scene_share']:.0%} of the scenes"
        amount += f", {labels['novel']} novel classes" if labels["novel"] else ""
        variant = cell["variant"] + (f", {cell['longer']} x the steps" if cell["longer"] > 1 else "")
        share = f"{cell['miou'][0] / full:.0%}" if full and not labels["novel"] else ""
        figures = [_pm(cell, name) for name in ("miou", "words_miou", "hiou")]
        lines.append([amount, variant, str(cell["seeds"]), *figures, share])
    heads = ["labels", "variant", "seeds", "mIoU", "mIoU by words", "hIoU", "of the best full supervision"]
    if "without_labels" in result:
        words = result["without_labels"]["words_miou"]
        about += f" Pre-trained, without any label: mIoU by words {words:.3f}."
    return "\n\n".join([f"{_machine(result)} {about}".strip(), _table(heads, lines)])


def detection_table(result: dict[str, Any]) -> str:
    """Boxes by share of labelled scenes and start; first the truth, and the student without any label."""
    budget, before, truth = result["budget"], result["without_labels"], result["truth"]
    about = (
        f"{budget['steps']} steps of {budget['clouds']} x {budget['voxels']} voxels of {budget['scenes']} "
        f"scenes; {before['objects']:.0f} things in {budget['held_out']} others. Mean ± standard deviation "
        "over seeds."
    )
    figures = ("box_map25", "box_map50", "box_ap25", "box_ap50", "names_box_map25", "names_box_map50")
    true = [f"{truth[name]:.3f}" for name in figures[:4]]
    lines = [
        ["", "true names, boundaries, offsets", "", *true, "", ""],
        ["none", "pre-trained, as it is", "", *(f"{before[name]:.3f}" for name in figures)],
    ]
    for cell in result["cells"]:
        amount = f"{cell['share']:.0%}"
        lines.append([amount, cell["start"], str(cell["seeds"]), *(_pm(cell, name) for name in figures)])
    heads = [
        *("scenes with labels", "student", "seeds", "mAP@.25", "mAP@.50", "AP@.25, any class"),
        *("AP@.50, any class", "mAP@.25 without the heads", "mAP@.50 without the heads"),
    ]
    return "\n\n".join([f"{_machine(result)} {about}".strip(), _table(heads, lines)])


def draw_label_efficiency(result: dict[str, Any], path: Path) -> None:
    """mIoU over points a scene, and over the share of scenes, a curve a variant; dashed: full supervision."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    kinds = (("annotation", "points", "points a scene"), ("reconstruction", "scene_share", "share of scenes"))
    for place, (protocol, amount, title) in enumerate(kinds, start=1):
        axes = figure.add_subplot(1, 2, place)
        cells = sorted((c for c in result["cells"] if c["protocol"] == protocol), key=_order)
        for variant in dict.fromkeys(cell["variant"] for cell in cells):
            ours = [cell for cell in cells if cell["variant"] == variant]
            middle, spread = zip(*(cell["miou"] for cell in ours), strict=True)
            axes.errorbar([c["labels"][amount] for c in ours], middle, spread, marker="o", label=variant)
        for cell in (c for c in result["cells"] if c["protocol"] == "full" and c["longer"] == 1):
            axes.axhline(cell["miou"][0], linestyle="--", linewidth=0.8, color="grey")
        axes.set_xscale("log")
        amounts = sorted({cell["labels"][amount] for cell in cells})
        axes.set_xticks(amounts, [f"{value:g}" for value in amounts])
        axes.set_xticks([], minor=True)
        axes.set_xlabel(title)
        axes.set_ylabel("mIoU")
        axes.grid(alpha=0.3)
        if place == 1 and cells:
            axes.legend(fontsize=7)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def _order(cell: dict[str, Any]) -> tuple[Any, ...]:
    """Full supervision first, then protocols from few labels to many; variants as they were run."""
    protocols = ["full", "annotation", "reconstruction", "base/novel"]
    labels = cell["labels"]
    return protocols.index(cell["protocol"]), cell["longer"], labels["points"], labels["scene_share"]


def _pm(row: dict[str, Any], name: str) -> str:
    return f"{row[name][0]:.3f} ± {row[name][1]:.3f}" if name in row else ""


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
        f"torch {machine['torch']}."
    )


def _table(heads: list[str], lines: list[list[str]]) -> str:
    rows = [heads, ["---"] * len(heads), *lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


TABLES = {
    "zero_shot": zero_shot_tables,
    "pretraining": pretraining_table,
    "label_efficiency": label_efficiency_tables,
    "detection": detection_table,
    "online": online_table,
    "live": live_table,
    "tracking": tracking_table,
    "feature_compression": feature_compression_table,
    "virtual_views": virtual_views_tables,
    "adaptation": adaptation_tables,
}


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
            result = json.loads(file.read_text())
            text = table(result)
            if name == "label_efficiency":
                draw_label_efficiency(result, IMAGE)
                text += f"\n\n![mIoU over the amount of labels](images/{IMAGE.name})"
            if name == "live":
                draw_live(result, LIVE_IMAGE)
                text += f"\n\n![memory and rates over time](images/{LIVE_IMAGE.name})"
            page = into_page(page, name, text)
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
