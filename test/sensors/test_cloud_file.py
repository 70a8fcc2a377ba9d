"""Clouds in files: what was written, by us or by the formats' own libraries, is what is read."""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from plyfile import PlyData, PlyElement

from ws3d_ros.sensors.cloud_file import Cloud, CloudFileError, read_cloud, write_labelled_ply

UTM_M = np.array([448_262.123, 5_428_810.456, 112.789])


def table(**columns: np.ndarray) -> np.ndarray:
    rows = np.empty(len(columns["x"]), [(name, values.dtype) for name, values in columns.items()])
    for name, values in columns.items():
        rows[name] = values
    return rows


def split(names: str, values: np.ndarray) -> dict[str, np.ndarray]:
    return {name: values[:, i] for i, name in enumerate(names.split())}


def write_ply(path: Path, rows: np.ndarray, *more: PlyElement, text: bool = False, order: str = "<") -> Path:
    PlyData([PlyElement.describe(rows, "vertex"), *more], text=text, byte_order=order).write(str(path))
    return path


def some_points(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-5, 5, (count, 3)).astype(np.float32)


def some_color(count: int) -> np.ndarray:
    color = np.random.default_rng(1).integers(0, 256, (count, 3)).astype(np.uint8)
    color[0] = 255
    return color


# ---- PLY


@settings(max_examples=30, deadline=None)
@given(
    points=arrays(
        np.float32, st.tuples(st.integers(1, 20), st.just(3)), elements=st.floats(-900, 900, width=32)
    ),
    text=st.booleans(),
    order=st.sampled_from("<>"),
    kind=st.sampled_from(["f4", "f8"]),
)
def test_ply_of_every_layout(points: np.ndarray, text: bool, order: str, kind: str) -> None:
    color = some_color(len(points))
    rows = table(**split("x y z", points.astype(kind)), **split("red green blue", color))
    with TemporaryDirectory() as folder:
        path = write_ply(Path(folder) / "a.ply", rows, text=text, order=order)
        cloud = read_cloud(path)
    # Text has 9 digits or less.
    np.testing.assert_allclose(cloud.points_m, points, rtol=1e-5 if text else 0, atol=1e-30)
    assert np.array_equal(cloud.color, color)
    assert cloud.normal is None
    assert not cloud.origin_m.any()


@pytest.mark.parametrize("corners", [3, 4])
@pytest.mark.parametrize("text", [True, False])
def test_faces_of_meshes_are_passed_over(tmp_path: Path, corners: int, text: bool) -> None:
    faces = np.empty(2, [("vertex_indices", "i4", (corners,))])
    faces["vertex_indices"] = np.arange(corners)
    points = some_points(6)
    path = write_ply(
        tmp_path / "mesh.ply", table(**split("x y z", points)), PlyElement.describe(faces, "face"), text=text
    )
    np.testing.assert_allclose(read_cloud(path).points_m, points, rtol=1e-5)


def test_fractions_are_colours_and_normals_get_length_one(tmp_path: Path) -> None:
    normal = np.array([[0, 0, 2.0], [0, 0, 0], [np.nan, 0, 1]], np.float32)
    color = np.array([[0, 0.5, 1], [1, 1, 1], [np.nan, 0, 0]], np.float32)
    rows = table(**split("x y z", some_points(3)), **split("nx ny nz", normal), **split("r g b", color))
    cloud = read_cloud(write_ply(tmp_path / "a.ply", rows))
    assert cloud.normal is not None
    assert cloud.color is not None
    assert cloud.normal.tolist() == [[0, 0, 1], [0, 0, 0], [0, 0, 0]]
    assert cloud.color[:2].tolist() == [[0, 127.5, 255], [255, 255, 255]]
    assert np.isnan(cloud.color[2]).any()


def test_black_everywhere_is_no_colour(tmp_path: Path) -> None:
    rows = table(**split("x y z", some_points(3)), **split("red green blue", np.zeros((3, 3), np.uint8)))
    assert read_cloud(write_ply(tmp_path / "a.ply", rows)).color is None


# ---- PCD


@pytest.mark.parametrize("encoding", ["ascii", "binary", "binary_compressed"])
def test_pcd(tmp_path: Path, encoding: str) -> None:
    pypcd4 = pytest.importorskip("pypcd4", reason="needs the extra [clouds]")
    points, color, path = some_points(50), some_color(50), tmp_path / "a.pcd"
    points[7] = np.nan  # organised clouds are full of them
    packed = pypcd4.PointCloud.encode_rgb(color).reshape(-1, 1)
    cloud = pypcd4.PointCloud.from_xyzrgb_points(np.hstack([points, packed]))
    cloud.save(path, encoding=pypcd4.Encoding(encoding))
    read = read_cloud(path)
    # Text has 10 digits.
    np.testing.assert_allclose(read.points_m, points, rtol=1e-6)
    assert read.finite.sum() == 49
    if encoding != "ascii":  # pypcd4 writes 10 digits after the point: no colour in the bits of a float
        assert np.array_equal(read.color, color)


@pytest.mark.parametrize("text", [True, False])
@pytest.mark.parametrize("kind", ["F", "U"])
def test_pcd_by_hand(tmp_path: Path, kind: str, text: bool) -> None:
    pytest.importorskip("pypcd4", reason="needs the extra [clouds]")
    rows = np.zeros(2, "<f4,<f4,<f4,<u4,<f4,<f4,<f4")
    rows["f0"], rows["f3"], rows["f6"] = [1, 2], [0xFF102030, 0x00FF8001], 1
    header = (
        "# .PCD v0.7\nVERSION 0.7\nFIELDS x y z rgb normal_x normal_y normal_z\nSIZE 4 4 4 4 4 4 4\n"
        f"TYPE F F F {kind} F F F\nCOUNT 1 1 1 1 1 1 1\nWIDTH 2\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\n"
        f"POINTS 2\nDATA {'ascii' if text else 'binary'}\n"
    )
    colors = rows["f3"].view(f"<{'f4' if kind == 'F' else 'u4'}")
    lines = "".join(f"{x:g} 0 0 {color!s} 0 0 1\n" for x, color in zip(rows["f0"], colors, strict=True))
    path = tmp_path / "a.pcd"
    path.write_bytes(header.encode() + (lines.encode() if text else rows.tobytes()))
    cloud = read_cloud(path)
    assert cloud.points_m.tolist() == [[1, 0, 0], [2, 0, 0]]
    assert cloud.color is not None
    assert cloud.color.tolist() == [[0x10, 0x20, 0x30], [0xFF, 0x80, 0x01]]
    assert cloud.normal is not None
    assert cloud.normal.tolist() == [[0, 0, 1]] * 2


# ---- LAS and LAZ


@pytest.mark.parametrize("suffix", ["las", "laz"])
@pytest.mark.parametrize("scale", [257, 1])
def test_las_with_real_and_with_lazy_16_bit_colours(tmp_path: Path, suffix: str, scale: int) -> None:
    laspy = pytest.importorskip("laspy", reason="needs the extra [clouds]")
    points, color, path = some_points(40) + UTM_M, some_color(40), tmp_path / f"a.{suffix}"
    write_las(laspy, path, points, color.astype(np.uint16) * scale)
    cloud = read_cloud(path)
    # LAS keeps millimetres here.
    np.testing.assert_allclose(cloud.points_m, points, atol=0.00051, rtol=0)
    assert cloud.color is not None
    np.testing.assert_allclose(cloud.color, color, atol=1e-4)


def write_las(laspy: object, path: Path, points: np.ndarray, color: np.ndarray | None) -> None:
    header = laspy.LasHeader(point_format=1 if color is None else 2, version="1.2")  # type: ignore[attr-defined]
    header.scales, header.offsets = np.full(3, 0.001), np.floor(points.min(0))
    file = laspy.LasData(header)  # type: ignore[attr-defined]
    file.xyz = points
    if color is not None:
        file.red, file.green, file.blue = color.T
    file.write(str(path))


def test_las_without_colour(tmp_path: Path) -> None:
    laspy = pytest.importorskip("laspy", reason="needs the extra [clouds]")
    write_las(laspy, tmp_path / "a.las", some_points(5).astype(np.float64), None)
    assert read_cloud(tmp_path / "a.las").color is None


# ---- NPZ


@pytest.mark.parametrize(
    "names", [("points", "colors", "normals"), ("xyz", "rgb", "normal"), ("points_m", "color", "")]
)
def test_npz_of_every_name(tmp_path: Path, names: tuple[str, str, str]) -> None:
    points, color = some_points(9), some_color(9)
    up = np.tile(np.array([0, 0, 1.0]), (9, 1))
    arrays_ = zip(names, (points, color, up), strict=True)
    np.savez(tmp_path / "a.npz", **{name: array for name, array in arrays_ if name})
    cloud = read_cloud(tmp_path / "a.npz")
    assert np.array_equal(cloud.points_m, points)
    assert np.array_equal(cloud.color, color)
    assert (cloud.normal is None) == (names[2] == "")


# ---- far away


def test_surveyed_coordinates_lose_nothing(tmp_path: Path) -> None:
    points = some_points(100).astype(np.float64) + UTM_M
    np.savez(tmp_path / "a.npz", points=points)
    cloud = read_cloud(tmp_path / "a.npz")
    assert np.array_equal(cloud.origin_m, np.floor(np.median(points, axis=0)))
    # float32 within 10 m of the origin.
    np.testing.assert_allclose(cloud.local_m + cloud.origin_m, points, atol=1e-6, rtol=0)
    write(tmp_path / "b.ply", cloud)
    assert np.array_equal(read_cloud(tmp_path / "b.ply").points_m, points)


def test_a_point_astray_does_not_move_the_origin(tmp_path: Path) -> None:
    points = some_points(100).astype(np.float64)
    points[3] = 1e9
    np.savez(tmp_path / "a.npz", points=points)
    assert np.abs(read_cloud(tmp_path / "a.npz").origin_m).max() <= 5


# ---- writing


def write(path: Path, cloud: Cloud) -> None:
    count = len(cloud)
    write_labelled_ply(
        path, cloud, some_color(count), np.arange(count) % 7, np.linspace(0, 1, count), ["label 0 Stühle"]
    )


def test_what_is_written(tmp_path: Path) -> None:
    points = some_points(30).astype(np.float64)
    points[4] = np.nan
    write(tmp_path / "a.ply", Cloud(points))
    file = PlyData.read(str(tmp_path / "a.ply"))
    vertex = file["vertex"].data
    assert not file.text
    assert file.byte_order == "<"
    assert file.comments == ["label 0 St\\xfchle"]
    assert [(name, kind) for name, kind in vertex.dtype.descr] == [
        *((axis, "<f4") for axis in "xyz"),
        *((part, "|u1") for part in ("red", "green", "blue")),
        ("label", "<u2"),
        ("confidence", "<f4"),
    ]
    assert np.array_equal(np.stack([vertex[axis] for axis in "xyz"], 1), points, equal_nan=True)
    assert np.array_equal(vertex["label"], np.arange(30) % 7)
    assert np.array_equal(np.stack([vertex[part] for part in ("red", "green", "blue")], 1), some_color(30))
    np.testing.assert_allclose(vertex["confidence"], np.linspace(0, 1, 30), atol=1e-7)


def test_a_cloud_may_be_written_over_itself(tmp_path: Path) -> None:
    path = write_ply(tmp_path / "a.ply", table(**split("x y z", some_points(1000))))
    cloud = read_cloud(path)
    write(path, cloud)
    assert np.array_equal(read_cloud(path).points_m, cloud.points_m)


# ---- what is wrong


def test_messages_say_what_is_wrong(tmp_path: Path) -> None:
    write_ply(tmp_path / "no_z.ply", table(**split("x y", some_points(3))))
    write_ply(tmp_path / "empty.ply", table(**split("x y z", some_points(0))))
    np.savez(tmp_path / "nan.npz", points=np.full((3, 3), np.nan))
    np.savez(tmp_path / "flat.npz", points=np.zeros((3, 2)))
    np.savez(tmp_path / "other.npz", vertices=np.zeros((3, 3)))
    np.savez(tmp_path / "short.npz", points=np.zeros((3, 3)), colors=np.ones((2, 3)))
    np.savez(tmp_path / "objects.npz", points=np.array([object()]))
    (tmp_path / "text.ply").write_text("hello")
    (tmp_path / "text.pcd").write_text("hello")
    (tmp_path / "folder.ply").mkdir()
    for name, message in {
        "missing.ply": "there is no such file",
        "folder.ply": "there is no such file",
        "cloud.xyz": r"suffix \.ply, \.pcd, \.las, \.laz, \.npz",
        "no_z.ply": "has no x, y, z, only x, y",
        "empty.ply": "there is no point in it",
        "nan.npz": "no point is finite",
        "flat.npz": r"points must be numbers, N rows of 3, not \(3, 2\)",
        "other.npz": "no array 'points', 'xyz' or 'points_m', only vertices",
        "short.npz": "3 points, but 2 colours",
        "objects.npz": "cut short or broken",
        "text.ply": "cut short or broken",
        "text.pcd": "cut short or broken",
    }.items():
        with pytest.raises(CloudFileError, match=message) as caught:
            read_cloud(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)


def test_a_missing_library_comes_with_the_line_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, name in (("pypcd4", "a.pcd"), ("laspy", "a.laz")):
        (tmp_path / name).touch()
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(CloudFileError, match=r"pip install 'ws3d_ros\[clouds\]'"):
            read_cloud(tmp_path / name)


@settings(max_examples=40, deadline=None)
@given(suffix=st.sampled_from(["ply", "pcd", "las", "laz", "npz"]), share=st.floats(0.0, 0.97))
def test_files_cut_short(suffix: str, share: float) -> None:
    if suffix in ("pcd", "las", "laz"):
        pytest.importorskip("laspy", reason="needs the extra [clouds]")
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"a.{suffix}"
        make(path)
        data = path.read_bytes()
        path.write_bytes(data[: int(share * len(data))])
        with pytest.raises(CloudFileError, match="cut short"):
            read_cloud(path)


def make(path: Path) -> None:
    points = some_points(200)
    if path.suffix == ".ply":
        write_ply(path, table(**split("x y z", points)))
    elif path.suffix == ".npz":
        np.savez(path, points=points)
    elif path.suffix == ".pcd":
        import pypcd4

        pypcd4.PointCloud.from_xyz_points(points).save(path)
    else:
        import laspy

        write_las(laspy, path, points.astype(np.float64), None)
