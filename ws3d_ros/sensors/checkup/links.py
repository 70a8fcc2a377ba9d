"""tf as the doctor sees it: which link on the way from the map to a sensor is missing, or old."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ws3d_ros.sensors.checkup.findings import Finding, error, warning

LATE_S = 0.3
"""Measurements that wait for tf as long as this make the map lag."""


@dataclass(frozen=True)
class Link:
    """What tf knows of one frame in its parent.

    Attributes:
        oldest_ns, newest_ns: stamps between which it is known; of no meaning where it is static.
    """

    parent: str
    is_static: bool
    oldest_ns: int
    newest_ns: int


def judge_links(
    links: Mapping[str, Link], map_frame: str, frame: str, stamp_ns: int, deadline_s: float
) -> tuple[dict[str, str], list[Finding]]:
    """Whether measurements of ``frame`` find their place in the map.

    Args:
        links: by child frame.
        stamp_ns: of the newest measurement.
        deadline_s: ``inputs.tf_deadline_s``.

    Returns:
        facts with the way that was found, findings with tf's reasons as keys.
    """
    if frame == map_frame:
        return {"tf": frame}, []
    up, down = way_to_root(links, frame), way_to_root(links, map_frame)
    if up[-1] != down[-1]:
        return {"tf": " <- ".join(reversed(up))}, [_missing(links, map_frame, frame, up, down)]
    while len(up) > 1 and len(down) > 1 and up[-2] == down[-2]:
        up.pop()
        down.pop()
    facts = {"tf": " <- ".join([*down, *reversed(up[:-1])])}
    moving = [child for child in (*up[:-1], *down[:-1]) if not links[child].is_static]
    if not moving:
        return facts, []
    latest = min(moving, key=lambda child: links[child].newest_ns)
    behind_s = (stamp_ns - links[latest].newest_ns) / 1e9
    facts["tf behind"] = f"{behind_s:.2f} s"
    name = f"the tf link '{links[latest].parent}' -> '{latest}'"
    if behind_s > deadline_s:
        return facts, [
            error(
                "tf_too_new",
                f"{name} is {_seconds(behind_s)} older than what '{frame}' measures, beyond "
                "inputs.tf_deadline_s = "
                f"{deadline_s:g} s: restart its publisher (localisation, odometry), or synchronise its clock",
            )
        ]
    if behind_s > LATE_S:
        return facts, [
            warning(
                "late_tf",
                f"{name} comes {behind_s:.2f} s after what '{frame}' measures, so the map lags: let its "
                "publisher "
                "run faster, or synchronise its clock",
            )
        ]
    youngest = max(moving, key=lambda child: links[child].oldest_ns)
    if stamp_ns < links[youngest].oldest_ns:
        early_s = (links[youngest].oldest_ns - stamp_ns) / 1e9
        link = f"the tf link '{links[youngest].parent}' -> '{youngest}'"
        return facts, [
            error(
                "tf_too_old",
                f"{link} begins {_seconds(early_s)} after what '{frame}' measures: the sensor's clock is "
                "behind, "
                "or its messages are older than the 10 s that tf keeps; synchronise the clocks",
            )
        ]
    return facts, []


def _missing(
    links: Mapping[str, Link], map_frame: str, frame: str, up: list[str], down: list[str]
) -> Finding:
    known = {*links, *(link.parent for link in links.values())}
    if not known:
        return error("tf_unknown_frame", "no tf came at all: start localisation and robot_state_publisher")
    if frame not in known:
        return error(
            "tf_unknown_frame",
            f"nobody publishes the sensor's frame '{frame}' to tf (it knows {_some(known)}): its driver, "
            "the robot's "
            "URDF or a static_transform_publisher must",
        )
    if map_frame not in known:
        return error(
            "tf_unknown_frame",
            f"nobody publishes the frame '{map_frame}' to tf (the sensor's way up ends at '{up[-1]}'): "
            "start the "
            f"localisation or SLAM that publishes '{map_frame}' -> '{up[-1]}', or set inputs.map_frame to "
            f"'{up[-1]}'",
        )
    return error(
        "tf_disconnected",
        f"the link between '{down[-1]}' and '{up[-1]}' is missing in tf, so '{frame}' has no place in "
        f"'{map_frame}': start what publishes '{down[-1]}' -> '{up[-1]}'",
    )


def way_to_root(links: Mapping[str, Link], frame: str) -> list[str]:
    """The frame and all above it; a loop, which a damaged tree may have, ends it."""
    way = [frame]
    while (link := links.get(way[-1])) is not None and link.parent not in way:
        way.append(link.parent)
    return way


def _some(frames: set[str]) -> str:
    names = sorted(frames)
    return ", ".join(names[:8]) + (" …" if len(names) > 8 else "")


def _seconds(value: float) -> str:
    return f"{value:.2f} s" if value < 3600 else f"{value / 3600:.0f} hours"
