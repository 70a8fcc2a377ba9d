"""One box and one name for each object, in RViz's markers, with ids that stay."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from ws3d_ros.instances.instance import Instance
from ws3d_ros.node.objects import box_pose, box_size, point
from ws3d_ros.reconstruction.window import UNKNOWN

BOXES, NAMES = "objects", "names"
BOX_OPACITY = 0.35
TEXT_HEIGHT_M = 0.15


class MarkerBoard:
    """Remembers what is shown, so that what is gone gets deleted and nothing flickers."""

    def __init__(self) -> None:
        self._shown: set[int] = set()
        self._is_new = True

    def update(
        self, instances: Sequence[Instance], names: Sequence[str], colors: np.ndarray, header: Header
    ) -> MarkerArray:
        """Adds or changes the objects that are there, deletes those that are not any more.

        The first time it deletes everything before: an earlier run may have left its markers.

        Args:
            names, colors: name and (C, 3) uint8 colour of each label, ``unknown`` first.
        """
        wipe = [Marker(header=header, action=Marker.DELETEALL)] if self._is_new else []
        self._is_new = False
        here = {instance.id for instance in instances}
        gone = [
            Marker(header=header, ns=ns, id=old, action=Marker.DELETE)
            for old in sorted(self._shown - here)
            for ns in (BOXES, NAMES)
        ]
        self._shown = here
        shown = [
            marker
            for instance in instances
            for marker in (
                box(instance, colors[instance.label], header),
                text(instance, names[instance.label], header),
            )
        ]
        return MarkerArray(markers=wipe + gone + shown)


def box(instance: Instance, color: np.ndarray, header: Header) -> Marker:
    """The upright box of an object."""
    marker = Marker(header=header, ns=BOXES, id=int(instance.id), type=Marker.CUBE, action=Marker.ADD)
    marker.pose, marker.scale = box_pose(instance), box_size(instance)
    marker.color = rgba(color, BOX_OPACITY)
    return marker


def text(instance: Instance, name: str, header: Header) -> Marker:
    """Name, number and confidence above the box; of what has no name only the number."""
    marker = Marker(header=header, ns=NAMES, id=int(instance.id), action=Marker.ADD)
    marker.type = Marker.TEXT_VIEW_FACING
    x, y, z = instance.box_center_m
    marker.pose.position = point(x, y, z + instance.box_size_m[2] / 2 + TEXT_HEIGHT_M)
    marker.pose.orientation.w = 1.0
    marker.scale.z = TEXT_HEIGHT_M
    marker.color = ColorRGBA(r=1.0, g=1.0, b=1.0, a=1.0)
    marker.text = str(instance.id)
    if instance.label != UNKNOWN:
        marker.text = f"{name} {instance.id} ({100 * instance.confidence:.0f} %)"
    return marker


def rgba(color: np.ndarray, opacity: float) -> ColorRGBA:
    """(3,) uint8 to a colour message."""
    r, g, b = (float(channel) / 255.0 for channel in color)
    return ColorRGBA(r=r, g=g, b=b, a=float(opacity))
