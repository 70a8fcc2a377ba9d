"""The map: measurements in, windows out.

One thread writes. :meth:`VoxelMap.window` copies, so that what others read shares nothing with the map.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ws3d_ros.config import InputConfig, MapConfig
from ws3d_ros.reconstruction import grafting
from ws3d_ros.reconstruction import store as column
from ws3d_ros.reconstruction.anchors import Path
from ws3d_ros.reconstruction.carving import (
    HIT,
    MISS,
    MOST,
    in_view,
    seen_through_in_depth,
    seen_through_in_sweep,
)
from ws3d_ros.reconstruction.fusion import Observation, observe_frame, observe_scan
from ws3d_ros.reconstruction.grafting import MOST_WEIGHT, Moved, Restored
from ws3d_ros.reconstruction.keys import pack_keys, unpack_keys
from ws3d_ros.reconstruction.range_image import RangeImage, range_image
from ws3d_ros.reconstruction.store import CHUNK_VOXELS, VoxelStore
from ws3d_ros.reconstruction.window import Patch, Window
from ws3d_ros.sensors.frame import FloatArray, Frame, Scan

__all__ = ["MOST_WEIGHT", "Fused", "Restored", "VoxelMap", "pack_keys", "unpack_keys"]


@dataclass(frozen=True)
class Fused:
    """What one measurement did to the map.

    Attributes:
        points: points that were used (of a depth image: after thinning).
        outside: points beyond the range of voxel keys, not used.
        touched: voxels that the points fell into.
        new: of these, voxels that were not there before.
        removed: voxels that the measurement looked through once too often.
        evicted: voxels forgotten, or not taken in, for want of room.
    """

    points: int = 0
    outside: int = 0
    touched: int = 0
    new: int = 0
    removed: int = 0
    evicted: int = 0


class VoxelMap:
    """Voxels of a place with evidence, colour, normals, features and names.

    Attributes:
        config: settings; may be replaced to change ``min_weight`` and ``carving`` at run time.
        moves: how often :meth:`follow` moved voxels to other keys.
    """

    def __init__(
        self,
        config: MapConfig,
        inputs: InputConfig,
        feature_channels: int = 0,
        device: torch.device | str = "cpu",
        embedding_channels: int = 0,
    ) -> None:
        self.config = config
        self._inputs = inputs
        self._channels, self._embedding_channels = feature_channels, embedding_channels
        self._device = torch.device(device)
        self.moves = 0
        self.clear()

    def clear(self) -> None:
        """Forgets everything."""
        budget = int(self.config.budget_mb * 1e6)
        self._store = VoxelStore(budget, self._channels, self._device, self._embedding_channels)
        self._path = Path()
        self._stamp_ns = 0

    def __len__(self) -> int:
        """Number of voxels, those with little evidence included."""
        return len(self._store)

    @property
    def bytes(self) -> int:
        """Memory allocated for the map."""
        return self._store.bytes

    @property
    def stamp_ns(self) -> int:
        """Newest measurement in the map, 0 before the first."""
        return self._stamp_ns

    @property
    def column_names(self) -> tuple[str, ...]:
        """Of :meth:`columns`."""
        return grafting.column_names(self._store)

    @torch.no_grad()
    def integrate(self, item: Frame | Scan) -> Fused:
        """Takes in one measurement. A frame without depth changes nothing; see :meth:`paint`.

        Raises:
            ValueError: for a pose that is not finite or not rigid, or LiDAR points that are not
                finite. The map is as it was.
        """
        if isinstance(item, Frame):
            return self._integrate_frame(item)
        return self._integrate_scan(item)

    def _integrate_frame(self, frame: Frame) -> Fused:
        _check_pose(frame.T_map_camera, frame.sensor)
        if frame.depth_m is None:
            return Fused()
        frame = _frame_on(frame, self._device)
        voxel, limits = self.config.voxel_size_m, self._inputs
        seen = observe_frame(frame, voxel, limits.min_depth_m, limits.max_depth_m)
        new, evicted = self._add(seen, frame.sensor, frame.T_map_camera, frame.stamp_ns)
        removed = self._carve_frame(frame) if self.config.carving else 0
        return Fused(seen.points, seen.outside, len(seen.coords), new, removed, evicted)

    def _integrate_scan(self, scan: Scan) -> Fused:
        _check_pose(scan.T_map_lidar, scan.sensor)
        points = scan.points_m.to(self._device)
        if not bool(points.isfinite().all()):
            raise ValueError(f"{scan.sensor}: points that are not finite; drop them before")
        scan = Scan(scan.stamp_ns, points, scan.T_map_lidar, None, scan.sensor)
        voxel, limits = self.config.voxel_size_m, self._inputs
        image = range_image(points)
        seen = observe_scan(scan, image, voxel, limits.min_range_m, limits.max_range_m)
        new, evicted = self._add(seen, scan.sensor, scan.T_map_lidar, scan.stamp_ns)
        removed = self._carve_scan(scan, image) if self.config.carving else 0
        return Fused(seen.points, seen.outside, len(seen.coords), new, removed, evicted)

    def _add(
        self, seen: Observation, sensor: str, T_map_sensor: FloatArray, stamp_ns: int
    ) -> tuple[int, int]:
        """Merges an observation into the map. Returns the numbers of new and of evicted voxels."""
        self._stamp_ns = max(self._stamp_ns, stamp_ns)
        store = self._store
        rows = store.find(seen.coords)
        store.mark_seen(rows[rows >= 0], stamp_ns)
        absent = (rows < 0).nonzero()[:, 0]
        added, evicted = store.add(seen.coords[absent], self._cell(T_map_sensor[:3, 3]), stamp_ns)
        rows[absent] = added
        kept = rows >= 0
        way_m = self._path.go(sensor, T_map_sensor)
        _merge(store.rows["state"], store.rows["way_m"], rows[kept], seen, kept, way_m)
        new = int((added >= 0).sum())
        return new, evicted + len(absent) - new

    def _carve_frame(self, frame: Frame) -> int:
        assert frame.depth_m is not None
        voxel, farthest = self.config.voxel_size_m, self._inputs.max_depth_m
        camera = frame.camera
        pose = torch.as_tensor(frame.T_map_camera, dtype=torch.float32, device=self._device)
        corners = torch.tensor(
            [[0.0, 0.0, 0.0]]
            + [
                [(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, 1.0]
                for u in (-0.5, camera.width - 0.5)
                for v in (-0.5, camera.height - 0.5)
            ],
            dtype=torch.float32,
            device=self._device,
        )
        corners = corners * farthest @ pose[:3, :3].T + pose[:3, 3]
        low, high = ((bound / voxel).floor().long() for bound in (corners.amin(0), corners.amax(0)))
        chunks, corner = self._store.chunks_in_box(low, high)
        centre = _into(pose, (corner + CHUNK_VOXELS / 2) * voxel)
        radius_m = CHUNK_VOXELS * voxel * 3**0.5 / 2
        rows = self._store.rows_in(chunks[in_view(camera, centre, radius_m, farthest)])
        point = _into(pose, self._store.rows["state"].index_select(0, rows)[:, column.POINT])
        through = seen_through_in_depth(frame.depth_m, camera, point, voxel, farthest)
        return self._miss(rows[through], frame.stamp_ns)

    def _carve_scan(self, scan: Scan, image: RangeImage) -> int:
        voxel = self.config.voxel_size_m
        pose = torch.as_tensor(scan.T_map_lidar, dtype=torch.float32, device=self._device)
        reach = self._inputs.max_range_m
        low, high = (((pose[:3, 3] + sign * reach) / voxel).floor().long() for sign in (-1, 1))
        rows = self._store.rows_in(self._store.chunks_in_box(low, high)[0])
        point = _into(pose, self._store.rows["state"].index_select(0, rows)[:, column.POINT])
        return self._miss(rows[seen_through_in_sweep(image, point, voxel)], scan.stamp_ns)

    def _miss(self, rows: Tensor, stamp_ns: int) -> int:
        """Lowers the log-odds of voxels that were looked through and not hit; removes the unlikely."""
        rows = rows[self._store.rows["seen_ns"][rows] != stamp_ns]
        state = self._store.rows["state"]
        odds = state[rows, column.LOG_ODDS] + MISS
        state[rows, column.LOG_ODDS] = odds
        gone = rows[odds < 0]
        self._store.remove(gone)
        return len(gone)

    @torch.no_grad()
    def paint(self, keys: Tensor, color: Tensor, weight: Tensor) -> int:
        """Merges colours into voxels, such as those that a camera without depth sees.

        Args:
            keys: (M,) int64; the same voxel may come often, one that is gone is skipped.
            color: (M, 3) float32 or uint8 RGB 0..255.
            weight: (M,) float32 evidence > 0; a pixel of a depth camera nearby has 1.

        Returns:
            Number of voxels painted.
        """
        unique, inverse = keys.to(self._device).unique(return_inverse=True)
        weight = weight.to(self._device)
        total = torch.zeros(len(unique), device=self._device).index_add_(0, inverse, weight)
        weighted = color.to(self._device).float() * weight[:, None]
        mean = torch.zeros(len(unique), 3, device=self._device).index_add_(0, inverse, weighted)
        rows = self._store.find(unpack_keys(unique))
        known = rows >= 0
        state = self._store.rows["state"]
        changed = state[rows[known]]
        _blend(changed, column.COLOR, column.COLOR_WEIGHT, mean[known] / total[known, None], total[known])
        state[rows[known]] = changed
        return int(known.sum())

    @torch.no_grad()
    def apply(self, patch: Patch) -> int:
        """Writes what a slow stage found out; returns how many of its voxels were still there."""
        rows = self._store.find(unpack_keys(patch.keys.to(self._device)))
        known = rows >= 0
        rows = rows[known]
        data = self._store.rows
        if patch.feature_sum is not None and patch.feature_weight is not None:
            added = patch.feature_weight.to(self._device)[known]
            old = data["feature_weight"][rows]
            total = old + added
            summed = data["feature"][rows].float() * old[:, None] + patch.feature_sum.to(self._device)[known]
            data["feature"][rows] = (summed / total.clamp(min=1e-12)[:, None]).half()
            data["feature_weight"][rows] = total
        for name in ("embedding", "label", "confidence", "instance"):
            values = getattr(patch, name)
            if values is not None:
                data[name][rows] = values.to(self._device)[known].to(data[name].dtype)
        return len(rows)

    def everything(self, *, features: bool = True) -> Window:
        """A copy of the whole map; without ``features`` and embeddings it takes a quarter of the memory."""
        data = self._store.rows
        return self._copy(self._store.every_row(), data["state"], features)

    def window(
        self,
        center_m: FloatArray | Tensor | tuple[float, float, float],
        radius_m: float,
        *,
        features: bool = True,
    ) -> Window:
        """A copy of the voxels whose centroid is within the radius, (3,) in the map frame."""
        center = torch.as_tensor(center_m, dtype=torch.float32, device=self._device)
        low, high = (
            ((center + sign * radius_m) / self.config.voxel_size_m).floor().long() for sign in (-1, 1)
        )
        rows = self._store.rows_in(self._store.chunks_in_box(low, high)[0])
        state = self._store.rows["state"]
        near = (state[rows, column.POINT] - center).norm(dim=-1) <= radius_m
        return self._copy(rows[near], state, features)

    def columns(self) -> dict[str, Tensor]:
        """A copy of all voxels as they are stored, those with little evidence included: (N, …) each.

        Columns are those of :class:`VoxelStore`, but for those that mean nothing elsewhere.
        """
        return grafting.columns(self._store, self._store.every_row())

    @torch.no_grad()
    def restore(self, columns: Mapping[str, Tensor], center_m: FloatArray) -> Restored:
        """Takes in voxels as :meth:`columns` gave them; where there is one already, both become one.

        Where the budget has no room, what is farthest from the centre is forgotten or not taken in.

        Args:
            columns: N voxels of this map's voxel size, keys unique. What is absent is 0; what this map
                does not have is not taken.
            center_m: (3,) where the robot is.

        Raises:
            ValueError: for a column of another shape; the map is as it was.
        """
        return grafting.take_in(self._store, columns, self._cell(center_m), self._stamp_ns)

    @torch.no_grad()
    def follow(self, T_new_old: FloatArray, center_m: FloatArray) -> Moved:
        """Localisation was corrected: what was seen since the last time is bent, so that its end fits.

        What was there before, or came out of a file, stays.

        Args:
            T_new_old: (4, 4) where the robot was believed to be in the map, to where it is:
                ``T_map_odom`` after the correction times the inverse of that before.
            center_m: (3,) where the robot is now.
        """
        bend, self.moves = self._path.bend(T_new_old), self.moves + 1
        self._path.restart()
        near = self._cell(center_m)
        return grafting.bend(self._store, bend, self.config.voxel_size_m, near, self._stamp_ns, self.moves)

    def _cell(self, point_m: FloatArray) -> Tensor:
        """(3,) int64 voxel coordinates of a point (3,)."""
        point = torch.as_tensor(point_m, device=self._device)
        return (point / self.config.voxel_size_m).floor().long()

    def _copy(self, rows: Tensor, state: Tensor, features: bool) -> Window:
        data = self._store.rows
        rows = rows[state[rows, column.WEIGHT] >= self.config.min_weight]
        keys, order = data["key"][rows].sort()
        rows = rows[order]
        picked = state[rows]
        colorless = picked[:, column.COLOR_WEIGHT, None] == 0
        return Window(
            voxel_size_m=self.config.voxel_size_m,
            stamp_ns=self._stamp_ns,
            keys=keys,
            points_m=picked[:, column.POINT].clone(),
            color=torch.where(colorless, torch.nan, picked[:, column.COLOR]),
            normal=normalize(picked[:, column.NORMAL], dim=-1),
            weight=picked[:, column.WEIGHT].clone(),
            feature=data["feature"][rows] if features else data["feature"].new_zeros(len(rows), 0),
            feature_weight=data["feature_weight"][rows],
            label=data["label"][rows],
            confidence=data["confidence"][rows],
            instance=data["instance"][rows],
            moves=self.moves,
            embedding=data["embedding"][rows] if features else None,
        )


def _merge(
    state: Tensor, way_m: Tensor, rows: Tensor, seen: Observation, kept: Tensor, seen_at_m: float
) -> None:
    """Running means of what was observed (``kept`` picks its voxels) into the voxels' state and way."""
    changed = state.index_select(0, rows)
    weight = seen.weight[kept]
    _blend(changed, column.COLOR, column.COLOR_WEIGHT, seen.color[kept], seen.color_weight[kept])
    share = (weight / (changed[:, column.WEIGHT] + weight))[:, None]
    for part, mean in ((column.POINT, seen.point_m), (column.NORMAL, seen.normal)):
        changed[:, part] += share * (mean[kept] - changed[:, part])
    way_m[rows] = torch.lerp(way_m[rows], way_m.new_tensor(seen_at_m), share[:, 0])
    changed[:, column.WEIGHT] = (changed[:, column.WEIGHT] + weight).clamp(max=MOST_WEIGHT)
    changed[:, column.LOG_ODDS] = (changed[:, column.LOG_ODDS] + HIT).clamp(max=MOST)
    state[rows] = changed


def _blend(state: Tensor, part: slice, weight_column: int, mean: Tensor, weight: Tensor) -> None:
    """Running mean of one part of the state, with its own weight; weight 0 leaves it as it is."""
    total = state[:, weight_column] + weight
    share = (weight / total.clamp(min=1e-12))[:, None]
    state[:, part] += share * (mean - state[:, part])
    state[:, weight_column] = total.clamp(max=MOST_WEIGHT)


def _into(pose: Tensor, point_m: Tensor) -> Tensor:
    """(N, 3) points of the map in the frame whose pose in the map this is."""
    return (point_m - pose[:3, 3]) @ pose[:3, :3]


def _frame_on(frame: Frame, device: torch.device) -> Frame:
    """The frame with its images on the device and depth 0 where it is not finite."""
    color = None if frame.color is None else frame.color.to(device)
    depth_m = None if frame.depth_m is None else frame.depth_m.to(device).nan_to_num(0.0, 0.0, 0.0)
    return Frame(frame.stamp_ns, frame.camera, frame.T_map_camera, color, depth_m, frame.sensor)


def _check_pose(T: FloatArray, sensor: str) -> None:
    pose = torch.as_tensor(T, dtype=torch.float64)
    if pose.shape != (4, 4) or not bool(pose.isfinite().all()):
        raise ValueError(f"{sensor}: the pose must be a finite 4x4 matrix, not {T!r}")
    rotation = pose[:3, :3]
    # Poses from float32 quaternions are off by 1e-6; what is off by 1e-3 is no rotation.
    off = float((rotation @ rotation.T - torch.eye(3, dtype=torch.float64)).abs().max())
    if off > 1e-3 or float(torch.linalg.det(rotation)) < 0:
        raise ValueError(f"{sensor}: the rotation of the pose is not orthonormal (off by {off:.3g})")
