"""What planners take as it is: clouds for Nav2's layers and MoveIt's octomap, a mask for keeping out.

Nav2 and MoveIt clear what they believed by rays from the origin of a cloud's frame to its points, and
mark afterwards. So these clouds are of the whole window, which remembers, in the frame and at the time of
the newest measurement: rays begin where a sensor was, and what left the map is crossed by rays to what is
behind it. docs/integration/README.md says which parameters that takes.
"""

from __future__ import annotations

import array
from collections.abc import Sequence
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from nav_msgs.msg import MapMetaData, OccupancyGrid
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Header

from ws3d_ros.config import PlanningConfig
from ws3d_ros.instances.instance import Instance
from ws3d_ros.node.objects import messages_of, scene_diff
from ws3d_ros.node.packing import pack_places
from ws3d_ros.node.qualities import EVERY, LATCHED, NEWEST
from ws3d_ros.node.snapshot import Sight, Snapshot
from ws3d_ros.planning.drivable import Drivable, drivable
from ws3d_ros.planning.mask import Mask, keepout_mask
from ws3d_ros.planning.targets import is_target


class Planners:
    """The publishers. Messages are made on the thread that calls, each if somebody listens."""

    def __init__(self, node: LifecycleNode, settings: PlanningConfig) -> None:
        self.settings = settings
        self._node = node
        self._mask_shown: Mask | None = None
        self._in_scene: set[int] = set()
        self._moveit, self._shapes = messages_of("moveit_msgs"), messages_of("shape_msgs")
        create = node.create_lifecycle_publisher
        self._obstacles = create(PointCloud2, "~/obstacles", NEWEST)
        self._traversable = create(PointCloud2, "~/traversable", NEWEST)
        self._without_targets = create(PointCloud2, "~/cloud_without_targets", NEWEST)
        self._mask = create(OccupancyGrid, "~/keepout_mask", LATCHED)
        self._publishers = [self._obstacles, self._traversable, self._without_targets, self._mask]
        if self._moveit is not None:
            self._scene = create(self._moveit.PlanningScene, "~/planning_scene", EVERY)
            self._publishers.append(self._scene)

    def window_listeners(self) -> int:
        """How many listen to what is made from the window."""
        return sum(_listeners(publisher) for publisher in self._publishers if publisher is not self._mask)

    def mask_listeners(self) -> int:
        """How many listen to what is made from the whole map."""
        return _listeners(self._mask)

    def wants_targets(self) -> bool:
        """Whether somebody listens to the targets as things to collide with."""
        return self._moveit is not None and _listeners(self._scene) > 0

    def restart(self) -> None:
        """After activation: who listens may be new, and is told everything."""
        self._mask_shown = None

    def publish_window(self, snapshot: Snapshot) -> None:
        """The clouds. Without a measurement there is no place for rays to begin, and nothing is said."""
        if snapshot.sight is None:
            return
        window, sight = snapshot.window, snapshot.sight
        if _listeners(self._obstacles) + _listeners(self._traversable) > 0:
            ways = self._ways(snapshot)
            self._publish_part(self._obstacles, snapshot, sight, ways.obstacle)
            self._publish_part(self._traversable, snapshot, sight, ways.traversable)
        if _listeners(self._without_targets) > 0:
            rest = ~is_target(window, snapshot.words, self.settings.targets)
            self._publish_part(self._without_targets, snapshot, sight, rest)

    def publish_targets(
        self, snapshot: Snapshot, instances: Sequence[Instance], colors: np.ndarray, header: Header
    ) -> None:
        """``~/planning_scene``: the targets as boxes that MoveIt knows by name.

        Args:
            instances: of the window.
            colors: (C, 3) uint8 of each label, ``unknown`` first.
        """
        of_targets = is_target(snapshot.window, snapshot.words, self.settings.targets)
        ids = set(np.unique(snapshot.window.instance.cpu().numpy()[of_targets]).tolist())
        targets = [instance for instance in instances if instance.id in ids]
        here = {instance.id for instance in targets}
        gone, self._in_scene = self._in_scene - here, here
        scene = scene_diff(self._moveit, self._shapes, targets, gone, snapshot.words, colors, header)
        self._publish(self._scene, scene)

    def publish_mask(self, snapshot: Snapshot, header: Header) -> None:
        """``~/keepout_mask``, when it changed: Nav2 warns of every new one."""
        mask = keepout_mask(snapshot.window, self._ways(snapshot))
        if mask.cost.size and (self._mask_shown is None or not _same(mask, self._mask_shown)):
            self._mask_shown = mask
            self._publish(self._mask, mask_message(mask, header))

    def destroy(self) -> None:
        """Ends the publishers."""
        for publisher in self._publishers:
            self._node.destroy_lifecycle_publisher(publisher)

    def _ways(self, snapshot: Snapshot) -> Drivable:
        sight = snapshot.sight
        height_m = float(sight.T_map_sensor[2, 3]) if sight is not None else np.inf
        return drivable(snapshot.window, snapshot.words, height_m, self.settings)

    def _publish_part(self, publisher: Any, snapshot: Snapshot, sight: Sight, rows: np.ndarray) -> None:
        if _listeners(publisher) > 0:
            points_m = snapshot.window.points_m.cpu().numpy()[rows]
            self._publish(publisher, cloud_from(points_m, sight))

    def _publish(self, publisher: Any, message: Any) -> None:
        """Publishes unless the node was deactivated, or ROS shut down, since the work began."""
        if publisher.is_activated and self._node.context.ok():
            publisher.publish(message)


def cloud_from(points_m: np.ndarray, sight: Sight) -> PointCloud2:
    """(n, 3) map points as a cloud in the sensor's frame, at its time."""
    T = sight.T_map_sensor
    local = (points_m - T[:3, 3]) @ T[:3, :3]
    sec, nanosec = divmod(sight.stamp_ns, 1_000_000_000)
    header = Header(stamp=Time(sec=sec, nanosec=nanosec), frame_id=sight.frame_id)
    return pack_places(local.astype(np.float32), header)


def mask_message(mask: Mask, header: Header) -> OccupancyGrid:
    """The mask as ``nav_msgs/OccupancyGrid``, level at z = 0."""
    rows, columns = mask.cost.shape
    info = MapMetaData(
        map_load_time=header.stamp, resolution=float(mask.resolution_m), width=columns, height=rows
    )
    info.origin.position.x, info.origin.position.y = mask.origin_m
    info.origin.orientation.w = 1.0
    grid = OccupancyGrid(header=header, info=info)
    data = array.array("b")
    data.frombytes(mask.cost.tobytes())
    grid.data = data  # not in the constructor, which copies element by element
    return grid


def _listeners(publisher: Any) -> int:
    return int(publisher.get_subscription_count())


def _same(one: Mask, other: Mask) -> bool:
    return one.origin_m == other.origin_m and np.array_equal(one.cost, other.cost)
