"""Topics of a bag by type and content, on small bags written here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from ws3d_ros.training.datasets.bag_topics import BagError, bag_folder, base_name, find_topics

STORE = get_typestore(Stores.ROS2_HUMBLE)
T = STORE.types


def header(frame: str, stamp_s: int = 1) -> Any:
    return T["std_msgs/msg/Header"](T["builtin_interfaces/msg/Time"](stamp_s, 0), frame)


def image(encoding: str) -> Any:
    return T["sensor_msgs/msg/Image"](header("optical"), 1, 1, encoding, 0, 4, np.zeros(4, np.uint8))


def compressed(format: str) -> Any:
    return T["sensor_msgs/msg/CompressedImage"](header("optical"), format, np.zeros(4, np.uint8))


def cloud() -> Any:
    return T["sensor_msgs/msg/PointCloud2"](
        header("lidar"), 1, 0, [], False, 12, 0, np.zeros(0, np.uint8), True
    )


def transform(parent: str, child: str, xyzw: tuple[float, float, float, float]) -> Any:
    vector, quaternion = T["geometry_msgs/msg/Vector3"], T["geometry_msgs/msg/Quaternion"]
    link = T["geometry_msgs/msg/TransformStamped"](
        header(parent), child, T["geometry_msgs/msg/Transform"](vector(1.0, 2.0, 3.0), quaternion(*xyzw))
    )
    return T["tf2_msgs/msg/TFMessage"]([link])


def write(path: Path, messages: dict[str, Any], plugin: StoragePlugin = StoragePlugin.MCAP) -> Path:
    with Writer(path, version=9, storage_plugin=plugin) as writer:
        for topic, message in messages.items():
            connection = writer.add_connection(topic, message.__msgtype__, typestore=STORE)
            writer.write(connection, 1_000_000_000, STORE.serialize_cdr(message, message.__msgtype__))
    return path


@pytest.mark.parametrize("plugin", [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
def test_topics_are_told_apart_by_content(tmp_path: Path, plugin: StoragePlugin) -> None:
    bag = write(
        tmp_path / "bag",
        {
            "/cam/color/image_raw/compressed": compressed("rgb8; jpeg compressed bgr8"),
            "/cam/aligned_depth_to_color/image_raw/compressedDepth": compressed("16UC1; compressedDepth png"),
            "/cam/depth/image_rect_raw": image("16UC1"),
            "/cam/infra1/image_rect_raw": image("mono8"),
            "/ouster/points": cloud(),
        },
        plugin,
    )
    topics = find_topics(bag)
    assert topics.color == "/cam/color/image_raw"
    assert topics.depth == "/cam/aligned_depth_to_color/image_raw", "registered depth is preferred"
    assert topics.lidar == "/ouster/points"
    assert not topics.outdoor
    assert topics.color_info is None


def test_several_candidates_are_a_question_and_a_name_is_the_answer(tmp_path: Path) -> None:
    bag = write(tmp_path / "bag", {"/front/image": image("rgb8"), "/rear/image": image("bgr8")})
    with pytest.raises(BagError, match=r"/front/image, /rear/image.*--color"):
        find_topics(bag)
    assert find_topics(bag, color="/rear/image").color == "/rear/image"


def test_a_bag_without_sensors_says_what_it_has(tmp_path: Path) -> None:
    bag = write(tmp_path / "bag", {"/tf": transform("map", "base", (0.0, 0.0, 0.0, 1.0))})
    with pytest.raises(BagError, match=r"no image and no point cloud; its topics: /tf"):
        find_topics(bag)


def test_no_bag_and_a_bag_without_metadata_say_so(tmp_path: Path) -> None:
    with pytest.raises(BagError, match="there is no rosbag2"):
        bag_folder(tmp_path / "nothing")
    (tmp_path / "lost.mcap").touch()
    with pytest.raises(BagError, match="ros2 bag reindex"):
        bag_folder(tmp_path)


def test_a_file_of_a_bag_names_its_folder(tmp_path: Path) -> None:
    bag = write(tmp_path / "bag", {"/image": image("rgb8")})
    assert bag_folder(next(bag.glob("*.mcap"))) == bag


def test_the_root_of_tf_is_the_map_frame(tmp_path: Path) -> None:
    bag = write(
        tmp_path / "bag", {"/image": image("rgb8"), "/tf": transform("odom", "optical", (0.0, 0.0, 0.0, 1.0))}
    )
    assert find_topics(bag).map_frame == "odom"


def test_up_follows_the_camera_where_the_map_is_a_camera_frame(tmp_path: Path) -> None:
    upright = transform("map", "optical", (0.0, 0.0, 0.0, 1.0))
    bag = write(tmp_path / "optical", {"/image": image("rgb8"), "/tf": upright})
    assert find_topics(bag).up == pytest.approx((0.0, -1.0, 0.0))
    # The usual optical frame: z forward along the map's x, so that -y is the map's z.
    level = transform("map", "optical", (-0.5, 0.5, -0.5, 0.5))
    bag = write(tmp_path / "level", {"/image": image("rgb8"), "/tf": level})
    assert find_topics(bag).up == (0.0, 0.0, 1.0)


@pytest.mark.parametrize(
    ("topic", "base"),
    [
        ("/camera/color/image_raw", "/camera/color/image_raw"),
        ("/camera/color/image_raw/compressed", "/camera/color/image_raw"),
        ("/camera/depth/image_raw/compressedDepth", "/camera/depth/image_raw"),
    ],
)
def test_base_names_are_those_of_image_transport(topic: str, base: str) -> None:
    assert base_name(topic) == base
