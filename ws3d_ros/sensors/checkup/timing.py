"""Clocks and stamps: which time a stream tells, and whether two streams tell the same.

Stamps are compared where the messages arrive, as nobody else can compare two clocks: what is stamped
0.3 s older than its neighbour on arrival has another clock, or is delivered later; both smear a map.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone

import numpy as np

from ws3d_ros.sensors.checkup.findings import Finding, error, note, warning
from ws3d_ros.sensors.checkup.stream import Arrivals
from ws3d_ros.sensors.raster import Array

EPOCH_S = 3600.0
"""Stamps that are farther away belong to another time altogether: a recording, a clock never set."""
FUTURE_S = 0.05
OLD_S = 1.0
APART_S = 0.15
"""Two streams whose stamps differ as much on arrival do not tell the same time. A slow transport of
images takes less."""
LEAST = 5
"""Messages needed before anything is said."""


def judge_clock(use_sim_time: bool, clock_publishers: int, now_ns: int) -> list[Finding]:
    """The node's own clock.

    Args:
        now_ns: what it says; 0 while simulated time has not begun.
    """
    if use_sim_time and clock_publishers == 0:
        return [
            error(
                "no_clock",
                "use_sim_time is set, but nobody publishes /clock: start the simulation, play the bag with "
                "--clock, or set use_sim_time to false",
            )
        ]
    if use_sim_time and now_ns == 0:
        return [error("no_clock", "/clock has a publisher, but no time came: is the simulation paused?")]
    return []


def judge_stamps(topic: str, arrivals: Arrivals, use_sim_time: bool, clock_publishers: int) -> list[Finding]:
    """The stamps of one stream against the node's clock."""
    if len(arrivals) == 0:
        return []
    unset = int((arrivals.stamp_ns == 0).sum())
    if unset:
        return [
            error(
                "no_stamp",
                f"{unset} of {len(arrivals)} messages of {topic} have no stamp: the driver must fill in "
                "header.stamp",
            )
        ]
    if len(arrivals) < LEAST or not (arrivals.now_ns > 0).all():
        return []
    if (arrivals.stamp_ns == arrivals.stamp_ns[0]).all():
        return [error("frozen", f"all messages of {topic} have the same stamp: the driver must renew it")]
    age_s = arrivals.age_s()
    clock = "/clock" if use_sim_time else "this computer's clock"
    if abs(age_s) > EPOCH_S:
        when = _date(int(arrivals.stamp_ns[-1]))
        away = f"{topic} is stamped {when}, {_span(abs(age_s))} {'before' if age_s > 0 else 'after'} {clock}"
        if use_sim_time:
            cure = "set use_sim_time for its driver, too, or not for us"
        elif clock_publishers:
            cure = "somebody publishes /clock, so set use_sim_time to true"
        else:
            cure = "play a recording with --clock and set use_sim_time to true; on a robot, set the clocks"
        return [warning("epoch", f"{away}: {cure}")]
    if age_s < -FUTURE_S:
        return [
            warning(
                "future",
                f"{topic} is stamped {-age_s:.2f} s in the future of {clock}: synchronise the clock of the "
                "computer or sensor that stamps it (chrony, PTP), or tf will always be too late for it",
            )
        ]
    if age_s > OLD_S:
        return [
            note(
                "old",
                f"{topic} arrives {age_s:.1f} s after its stamps: its driver or network is slow, or its "
                "clock is behind",
            )
        ]
    return []


def judge_pair(color: Arrivals, depth: Arrivals, tolerance_s: float) -> tuple[dict[str, str], list[Finding]]:
    """Whether the images of a camera find their partners, and whether these are of the same moment.

    Args:
        tolerance_s: ``inputs.sync_tolerance_s``.

    Returns:
        facts, findings: ``no_depth_match`` with the measured gap, ``clock_offset`` where stamps pair
        although the clocks behind them differ.
    """
    if min(len(color), len(depth)) < LEAST:
        return {}, []
    few, many = (color, depth) if len(color) <= len(depth) else (depth, color)
    # What came last may have its partner still on the way.
    gap_s = _gaps_s(few.stamp_ns[:-1], many.stamp_ns) * (1.0 if many is depth else -1.0)
    share = float((np.abs(gap_s) <= tolerance_s + 1e-9).mean())
    typical_s = float(np.median(gap_s))
    apart_s, rate = _apart(color, depth)
    facts = {"paired": f"{share:.0%}", "depth after colour": f"{typical_s:+.3f} s"}
    if share < 0.5:
        later = "later" if typical_s > 0 else "earlier"
        hint = (
            f", and its stamps are {abs(apart_s):.2f} s {_older(apart_s)} on arrival"
            if _is_apart(apart_s, rate)
            else ""
        )
        return facts, [
            error(
                "no_depth_match",
                f"only {share:.0%} of the images find a partner within inputs.sync_tolerance_s = "
                f"{tolerance_s:g} s; the nearest depth image is stamped {abs(typical_s):.3f} s {later} "
                "than the "
                f"colour image{hint}: let the driver synchronise both (enable_sync), or raise the tolerance",
            )
        ]
    # Equal stamps come from one exposure, whatever the way here takes.
    if _is_apart(apart_s, rate) and float((gap_s == 0.0).mean()) < 0.5:
        return facts, [
            warning(
                "clock_offset",
                f"depth is stamped {abs(apart_s):.2f} s {_older(apart_s)} than colour on arrival, so "
                "images of "
                "different moments are paired: both must be stamped by one clock, when they are taken",
            )
        ]
    return facts, []


def judge_clocks(streams: Mapping[str, Arrivals]) -> list[Finding]:
    """Pairs of sensors whose stamps differ on arrival, each stream against the first that it differs from.

    Args:
        streams: one stream for each sensor, by its name.
    """
    findings = []
    names = [name for name, arrivals in streams.items() if len(arrivals) >= LEAST]
    for i, name in enumerate(names):
        for other in names[:i]:
            apart_s, rate = _apart(streams[other], streams[name])
            if _is_apart(apart_s, rate):
                findings.append(
                    warning(
                        f"clocks {other} {name}",
                        f"'{name}' is stamped {abs(apart_s):.2f} s {_older(apart_s)} than '{other}' on "
                        "arrival: "
                        "one of the two clocks is wrong (synchronise them by chrony or PTP), or one is "
                        "stamped when it is sent and not when it is taken",
                    )
                )
                break
    return findings


def _apart(a: Arrivals, b: Arrivals) -> tuple[float, float]:
    """Stamps of ``a`` minus those of ``b`` at the same moments of arrival, median in seconds; and how fast
    stamps run (1 live, 10 for a recording played ten times as fast)."""
    begin, end = b.arrived_s[0], b.arrived_s[-1]
    inside = (a.arrived_s >= begin) & (a.arrived_s <= end)
    if inside.sum() < LEAST:
        return 0.0, 1.0
    origin_ns = int(b.stamp_ns[0])
    b_stamp_s = (b.stamp_ns - origin_ns) / 1e9
    expected_s = np.interp(a.arrived_s[inside], b.arrived_s, b_stamp_s)
    rate = float(b_stamp_s[-1] - b_stamp_s[0]) / max(float(end - begin), 1e-9)
    return float(np.median((a.stamp_ns[inside] - origin_ns) / 1e9 - expected_s)), rate


def _is_apart(apart_s: float, rate: float) -> bool:
    return abs(apart_s) > APART_S * max(rate, 1.0)


def _older(apart_s: float) -> str:
    return "older" if apart_s > 0 else "newer"


def _gaps_s(of_ns: Array, to_ns: Array) -> Array:
    """For each stamp the nearest of the other stream, minus it, in seconds."""
    to_ns = np.sort(to_ns)
    after = np.searchsorted(to_ns, of_ns).clip(1, len(to_ns) - 1)
    before_gap, after_gap = to_ns[after - 1] - of_ns, to_ns[after] - of_ns
    return np.where(np.abs(before_gap) <= np.abs(after_gap), before_gap, after_gap) / 1e9


def _date(stamp_ns: int) -> str:
    return datetime.fromtimestamp(stamp_ns / 1e9, timezone.utc).strftime("%Y-%m-%d %H:%M UTC")


def _span(seconds: float) -> str:
    for unit, length_s in (("years", 31_557_600.0), ("days", 86_400.0)):
        if seconds >= 2 * length_s:
            return f"{seconds / length_s:.0f} {unit}"
    return f"{seconds / 3600.0:.0f} hours"
