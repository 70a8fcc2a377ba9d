"""Ways to spoil messages between the drivers and the node. A recipe gets a random generator and gives a change."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
from relay import Change
from rig import Rig
from sensor_msgs.msg import PointField

Recipe = Callable[[np.random.Generator], Change]
Spoil = Callable[[Any], Any]
"""A message to what comes instead, None for nothing."""
Make = Callable[[Rig], AbstractContextManager[None]]
"""The fault lasts as long as the context."""


def relayed(*recipes: Recipe) -> Make:
    """The relay changes messages; with several recipes one after the other changes them."""

    @contextmanager
    def make(rig: Rig) -> Iterator[None]:
        changes = [recipe(rig.random) for recipe in recipes]

        def change(topic: str, message: Any) -> list[tuple[float, Any]]:
            passed = [(0.0, message)]
            for one in changes:
                passed = [(late + more, out) for late, each in passed for more, out in one(topic, each)]
            return passed

        rig.relay.change = change
        try:
            yield
        finally:
            rig.relay.change = None

    return make


def on(topic: str, spoil: Spoil) -> Recipe:
    """Spoils the messages of one topic."""

    def change(name: str, message: Any) -> list[tuple[float, Any]]:
        if name != topic:
            return [(0.0, message)]
        out = spoil(message)
        return [] if out is None else [(0.0, out)]

    return lambda random: change


def every(spoil: Spoil, but: tuple[str, ...] = ()) -> Recipe:
    """Spoils the messages of all topics but some."""

    def change(name: str, message: Any) -> list[tuple[float, Any]]:
        out = message if name in but else spoil(message)
        return [] if out is None else [(0.0, out)]

    return lambda random: change


def nothing(message: Any) -> None:
    """The message is lost."""


def sets(**values: Any) -> Spoil:
    """Other values in some fields."""

    def spoil(message: Any) -> Any:
        for name, value in values.items():
            setattr(message, name, value)
        return message

    return spoil


def stamped(sec: int, nanosec: int = 0) -> Spoil:
    def spoil(message: Any) -> Any:
        for header in headers(message):
            header.stamp.sec, header.stamp.nanosec = sec, nanosec
        return message

    return spoil


def shifted(by_s: float) -> Spoil:
    def spoil(message: Any) -> Any:
        for header in headers(message):
            ns = header.stamp.sec * 10**9 + header.stamp.nanosec + round(by_s * 1e9)
            header.stamp.sec, header.stamp.nanosec = divmod(ns, 10**9)
        return message

    return spoil


def headers(message: Any) -> list[Any]:
    """Of an image, a cloud, a calibration or transforms."""
    return (
        [each.header for each in message.transforms] if hasattr(message, "transforms") else [message.header]
    )


def framed(frame: str) -> Spoil:
    def spoil(message: Any) -> Any:
        message.header.frame_id = frame
        return message

    return spoil


def cut(share: float) -> Spoil:
    """Only the first part of the data comes."""

    def spoil(message: Any) -> Any:
        message.data = message.data[: int(len(message.data) * share)]
        return message

    return spoil


def depth_as_float(of_metres: Callable[[np.ndarray], np.ndarray]) -> Spoil:
    """A 16UC1 image in millimetres as 32FC1, of what the function makes of it."""

    def spoil(message: Any) -> Any:
        metres = np.frombuffer(message.data, np.uint16).astype(np.float32) / 1000.0
        message.encoding, message.step = "32FC1", 4 * message.width
        message.data = of_metres(metres).astype(np.float32).tobytes()
        return message

    return spoil


def points(of_points: Callable[[np.ndarray], np.ndarray]) -> Spoil:
    """Other points of the same number in an x, y, z cloud."""

    def spoil(message: Any) -> Any:
        xyz = np.frombuffer(message.data, np.float32).reshape(-1, 3)
        message.data = of_points(xyz).astype(np.float32).tobytes()
        return message

    return spoil


def fields(change: Callable[[PointField], None]) -> Spoil:
    """Another description of each field of a cloud."""

    def spoil(message: Any) -> Any:
        for field in message.fields:
            change(field)
        return message

    return spoil


def placed(child: str, change: Callable[[Any], None]) -> Recipe:
    """Changes the transforms (geometry_msgs/TransformStamped) to one frame."""

    def spoil(message: Any) -> Any:
        for each in message.transforms:
            if each.child_frame_id == child:
                change(each)
        return message

    return on("/tf", spoil)
