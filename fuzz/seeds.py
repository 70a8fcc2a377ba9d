#!/usr/bin/env python3
"""Write the seeds of fuzz/corpus/ anew: tiny inputs that decoders take, and some that they must refuse."""

from __future__ import annotations

import io
import json
import struct
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

PICTURE = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
DEPTH = PICTURE[..., 0].astype(np.uint16) * 16
PLAIN = (("x", 0), ("y", 4), ("z", 8))


def main() -> None:
    for name, data in seeds():
        path = HERE / "corpus" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def seeds() -> Iterator[tuple[str, bytes]]:
    """TARGET/NAME and content."""
    yield from _images()
    yield from _sensors()
    yield from _clouds()
    yield from _texts()
    yield from _tensors()


def _images() -> Iterator[tuple[str, bytes]]:
    from fuzz_sensors import COLOR, COMPRESSED, COMPRESSED_DEPTH
    from fuzz_sensors import DEPTH as DEPTHS

    def raw(kinds: tuple[str, ...], kind: str, height: int, width: int, step: int, data: bytes) -> bytes:
        return struct.pack("<BIIIB", kinds.index(kind), height, width, step, 0) + data

    yield "image/rgb8", raw(COLOR, "rgb8", 4, 6, 18, PICTURE.tobytes())
    yield "image/nv12", raw(COLOR, "nv12", 4, 6, 6, PICTURE.tobytes()[:36])
    yield "image/bayer_gbrg16", raw(COLOR, "bayer_gbrg16", 4, 6, 12, DEPTH.tobytes())
    yield "image/huge_header", raw(COLOR, "rgb8", 1 << 31, 1 << 31, 1, b"")
    yield "depth/16UC1", raw(DEPTHS, "16UC1", 4, 6, 12, DEPTH.tobytes())
    yield "depth/32FC1", raw(DEPTHS, "32FC1", 4, 6, 24, (DEPTH / 1000).astype("<f4").tobytes())
    png, jpeg = (cv2.imencode(kind, PICTURE)[1].tobytes() for kind in (".png", ".jpg"))
    deep = cv2.imencode(".png", DEPTH)[1].tobytes()
    for name, data in (("png", png), ("jpeg", jpeg), ("png16", deep)):
        yield f"compressed_image/{name}", bytes([COMPRESSED.index("jpeg")]) + data
    # Groups of three bits, first one highest in its word: no zeros, 24 values, each one more than the last.
    words = bytes.fromhex("083" + 24 * "2" + 5 * "0")
    rvl = struct.pack("<ii4I", 6, 4, *struct.unpack(">4I", words))
    empty = struct.pack("<iiI", 8, 8, 0x8810_0000)  # 64 zeros, no value
    headed = struct.pack(">I4sIIBBBBB", 13, b"IHDR", 6, 4, 16, 0, 0, 0, 1)
    ended = deep[:8] + headed + bytes(4) + struct.pack(">I4sII", 4, b"IEND", 0, 0)
    bomb = ended + struct.pack(">I4s", 0x5000_0000, b"tEXt") + bytes(40)
    yield "compressed_image/chunk_behind_the_end", bytes([COMPRESSED.index("jpeg")]) + bomb
    yield "compressed_depth/chunk_behind_the_end", bytes([0]) + bomb
    header = struct.pack("<iff", 0, 1000.0, 0.1)
    for kind, data in (
        ("16UC1; compressedDepth png", deep),
        ("16UC1; compressedDepth png", header + deep),
        ("32FC1; compressedDepth png", header + deep),
        ("16UC1; compressedDepth rvl", header + rvl),
        ("32FC1; compressedDepth rvl", header + empty),
    ):
        place = COMPRESSED_DEPTH.index(kind)
        name = kind.replace("; compressedDepth ", "_") + ("" if data.startswith(header) else "_bare")
        yield f"compressed_depth/{name}", bytes([place]) + data


def _sensors() -> Iterator[tuple[str, bytes]]:
    from fuzz_sensors import FIELDS, FRAMES, MODELS

    fields = b"".join(struct.pack("<BIBI", FIELDS.index(name), at, 7, 1) for name, at in PLAIN)
    points = np.arange(9, dtype="<f4").tobytes()
    yield "cloud/xyz", b"\x03" + fields + struct.pack("<IIIIB", 1, 3, 12, 36, 0) + points
    more = fields + struct.pack("<BIBI", FIELDS.index("intensity"), 0, 2, 1)
    yield "cloud/organised", b"\x04" + more + struct.pack("<IIIIB", 3, 1, 12, 12, 1) + points
    timed = fields + struct.pack("<BIBI", FIELDS.index("t"), 12, 6, 1)
    swept = np.array([(1, 2, 3, 0), (4, 5, 6, 10**8)], [*[(name, "<f4") for name in "xyz"], ("t", "<u4")])
    yield "cloud/timed", b"\x04" + timed + struct.pack("<IIIIB", 1, 2, 16, 32, 0) + swept.tobytes()
    k, r = [50, 0, 15.5, 0, 50, 11.5, 0, 0, 1], [1, 0, 0, 0, 1, 0, 0, 0, 1]
    p = [48, 0, 15.5, 0, 0, 48, 11.5, 0, 0, 0, 1, 0]
    for model, d in (("plumb_bob", [0.1, -0.2, 0.01, 0, 0]), ("equidistant", [0.1, 0, 0, 0]), ("", [])):
        head = struct.pack("<BBBB8I", 24, 32, 0, MODELS.index(model), 32, 24, *[0] * 6)
        numbers = struct.pack(f"<30dB{len(d)}d", *k, *r, *p, len(d), *d)
        yield f"camera_info/{model or 'none'}", head + numbers
    links = [("map", "odom", 0, 1), ("odom", "base", 10**9, 0), ("odom", "base", 2 * 10**9, 0)]
    for name, x in (("robot", 1.0), ("far_beyond", 1.7e308)):
        yield (
            f"transforms/{name}",
            b"".join(
                struct.pack("<BBq7dB", FRAMES.index(a), FRAMES.index(b), t, x, 2, 3, 0, 0, 0, 1, static)
                for a, b, t, static in links
            ),
        )


def _clouds() -> Iterator[tuple[str, bytes]]:
    import laspy
    from plyfile import PlyData, PlyElement
    from pypcd4 import PointCloud

    from ws3d_ros.sensors.cloud_file import READERS

    suffixes = list(READERS)

    def seed(suffix: str, name: str, data: bytes) -> tuple[str, bytes]:
        return f"cloud_file/{name}", bytes([suffixes.index(suffix)]) + data

    points = np.arange(9, dtype=np.float32).reshape(3, 3)
    rows = np.zeros(
        3, [("x", "f4"), ("y", "f4"), ("z", "f4"), ("red", "u1"), ("green", "u1"), ("blue", "u1")]
    )
    rows["x"], rows["y"], rows["z"] = points.T
    rows["red"] = 200
    vertex = PlyElement.describe(rows, "vertex")
    faces = np.array([([0, 1, 2],)], [("vertex_indices", "i4", (3,))])
    for name, text, elements in (
        ("ply_text", True, [vertex]),
        ("ply_mesh", False, [vertex, PlyElement.describe(faces, "face")]),
    ):
        stream = io.BytesIO()
        PlyData(elements, text=text, byte_order="<").write(stream)
        yield seed(".ply", name, stream.getvalue())
    for name, write in (("npz", np.savez), ("npz_compressed", np.savez_compressed)):
        stream = io.BytesIO()
        write(stream, points=points, colors=np.full((3, 3), 7, np.uint8), normals=points)
        yield seed(".npz", name, stream.getvalue())
    for suffix, name, content in _promising():
        yield seed(suffix, name, content)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.pcd"
        PointCloud.from_xyzrgb_points(np.hstack([points, points[:, :1]])).save(path)
        yield seed(".pcd", "pcd", path.read_bytes())
        yield seed(
            ".pcd",
            "pcd_text",
            b"VERSION 0.7\nFIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nCOUNT 1 1 1\nWIDTH 2\nHEIGHT 1\n"
            b"VIEWPOINT 0 0 0 1 0 0 0\nPOINTS 2\nDATA ascii\n0 1 2\n3 4 5\n",
        )
        for suffix in (".las", ".laz"):
            file = laspy.LasData(laspy.LasHeader(point_format=2, version="1.2"))
            file.xyz = points.astype(np.float64)
            file.write(str(Path(folder) / f"a{suffix}"))
            yield seed(suffix, suffix[1:], (Path(folder) / f"a{suffix}").read_bytes())


def _promising() -> Iterator[tuple[str, str, bytes]]:
    """Suffix, name and content of clouds whose few bytes promise fifty million points or values."""
    many = 50_000_000
    places = b"property float x\nproperty float y\nproperty float z\n"
    binary = b"ply\nformat binary_little_endian 1.0\nelement vertex 1\n" + places
    yield (
        ".ply",
        "many_in_text",
        b"ply\nformat ascii 1.0\nelement vertex %d\n" % many + places + b"end_header\n",
    )
    lists = b"property list uint int q\nend_header\n" + bytes(12) + struct.pack("<I", many)
    yield ".ply", "long_list", binary + lists
    faces = b"element face 1\nproperty list uint int vertex_indices\nend_header\n" + bytes(12)
    yield ".ply", "long_face", binary + faces + struct.pack("<I", many)
    pcd = (
        b"VERSION 0.7\nFIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nCOUNT %d 1 1\nWIDTH %d\nHEIGHT 1\n"
        b"VIEWPOINT 0 0 0 1 0 0 0\nPOINTS %d\nDATA %s\n"
    )
    yield ".pcd", "many_fields", pcd % (many, 1, 1, b"ascii") + b"0 0 0\n"
    yield ".pcd", "many_points", pcd % (1, many, many, b"binary") + bytes(36)
    yield (
        ".pcd",
        "lzf_bomb",
        pcd % (1, 1, 1, b"binary_compressed") + struct.pack("<II", 10, 600_000_000) + bytes(10),
    )
    for suffix, kind in ((".las", 0), (".laz", 0x80)):
        head = struct.pack("<4s20xBB68xHIIBHI", b"LASF", 1, 2, 227, 227, 0, kind, 20, many).ljust(377, b"\0")
        yield suffix, f"many_in_{suffix[1:]}", head
        yield suffix, f"records_in_{suffix[1:]}", head[:100] + b"\xff" * 4 + head[104:]
    stream, array = io.BytesIO(), io.BytesIO()
    np.lib.format.write_array_header_1_0(array, {"descr": "<f4", "fortran_order": False, "shape": (many, 3)})
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("points.npy", array.getvalue() + bytes(12))
    yield ".npz", "many_in_npz", stream.getvalue()


def _texts() -> Iterator[tuple[str, bytes]]:
    words = (
        "entries:\n- name: box\n  synonyms: [carton]\n  color: [1, 2, 3]\n  role: target\n  cost: 0.5\n"
        "- lamp\nbackground: [sky]\nunknown_color: [9, 9, 9]\n"
    )
    yield "vocabulary/yaml", b"\x01" + words.encode()
    yield "vocabulary/words", b"\x00chair, coffee mug, sofa"
    yield "vocabulary/code", b"\x01entries: !!python/object/apply:os.system ['touch ws3d_was_here']\n"
    aliases = "a: &a [x, x, x, x]\n" + "".join(
        f"{b}: &{b} [*{a}, *{a}, *{a}, *{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    yield "vocabulary/many_aliases", b"\x01" + aliases.encode() + b"entries: *i\n"
    yield (
        "recipe/pretrain",
        b"\x00seed: 1\nstudent: {inputs: [color]}\nschedule: {steps: 10}\nterms: {point: 1}\n",
    )
    nested = "entries:\n- - &a [x, x, x, x]\n" + "".join(
        f"  - &{b} [*{a}, *{a}, *{a}, *{a}]\n" for a, b in zip("abcdefg", "bcdefgh", strict=True)
    )
    yield "vocabulary/aliases_in_entries", b"\x01" + nested.encode()
    yield "vocabulary/no_date", b"\x01entries: [2001-99-99]"
    yield "recipe/finetune", b"\x01start: ''\nlabels: {points: 5}\ncontrast: {thresholds: [0.9, 0.8]}\n"
    yield "recipe/code", b"\x00seed: !!python/object/new:os.system ['touch ws3d_was_here']\n"
    yield "recipe/many_aliases", b"\x00" + aliases.encode() + b"seed: *i\n"
    yield (
        "segmenter/plain",
        json.dumps(
            {
                "classes": ["", "box"],
                "height": 8,
                "width": 8,
                "layout": "NCHW",
                "mean": [0, 0, 0],
                "scale": [1, 1, 1],
                "temperature": 1.5,
                "prior": [1, 0.5],
                "fill": 1,
            }
        ).encode(),
    )
    for name, text in (
        ("plain", "home"),
        ("deep", "floor2/kitchen.ws3d"),
        ("up", "../etc/passwd"),
        ("root", "/a"),
    ):
        yield f"map_name/{name}", text.encode()


def _tensors() -> Iterator[tuple[str, bytes]]:
    import torch
    from fuzz_files import COLUMNS, DTYPES, EDGES

    from ws3d_ros.network.student import Spec
    from ws3d_ros.reconstruction.map_file import MapHeader, SavedMap, save_map

    kinds = list(DTYPES)

    def column(name: str, kind: str, shape: tuple[int, ...], data: bytes) -> bytes:
        edges = bytes(EDGES.index(edge) for edge in shape)
        return bytes([0, COLUMNS.index(name), kinds.index(kind), len(shape)]) + edges + data

    keys, state = np.array([5, 1 << 40], "<i8"), np.ones((2, 12), "<f4")
    both = column("key", "I64", (2,), keys.tobytes()) + column("state", "F32", (2, 12), state.tobytes())
    label = column("label", "I16", (2,), np.array([1, 2], "<i2").tobytes())
    named = label + column("confidence", "F16", (2,), bytes(4)) + column("instance", "I32", (2,), bytes(8))
    yield "map_file/sealed", b"\x00\x00\x05" + both + named
    yield "map_file/sealed_again", b"\x00\x00\x02" + both + b"\x00"
    text = json.dumps({"voxel_size_m": 0.05, "vocabulary": {"entries": []}, "spaces": {}}).encode()
    yield "map_file/sealed_header", b"\x00\x01" + struct.pack("<H", len(text)) + text + b"\x02" + both
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.ws3d"
        save_map(SavedMap(MapHeader(0.05), {"key": torch.tensor([1, 2])}), path)
        yield "map_file/whole", b"\x01" + path.read_bytes()
    spec = Spec("Res16UNet14S", ("color",), 0.05, "words", 8, ("wall",))
    header = {"format_version": "1"} | {name: json.dumps(value) for name, value in vars(spec).items()}
    text = json.dumps(
        {"__metadata__": header, "a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}
    ).encode()
    yield "student/header", struct.pack("<Q", len(text)) + text + bytes(4)
    yield "student/long_header", struct.pack("<Q", 1 << 40) + b"{"


if __name__ == "__main__":
    main()
