"""Ways to spoil messages between the drivers and the node: recipes, which make a change by chance or not."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import numpy as np
from rclpy.serialization import serialize_message
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
        rig.relay.changes += changes
        try:
            yield
        finally:
            for change in changes:
                rig.relay.changes.remove(change)

    return make


def together(*makes: Make) -> Make:
    """Several faults at once."""

    @contextmanager
    def make(rig: Rig) -> Iterator[None]:
        with ExitStack() as stack:
            for one in makes:
                stack.enter_context(one(rig))
            yield

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


def swollen(size: int) -> Spoil:
    """So many bytes behind what the message needs."""

    def spoil(message: Any) -> Any:
        message.data = bytes(message.data) + bytes(size)
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


def moved(x_m: float) -> Callable[[Any], None]:
    """Moves a transform along x."""

    def change(each: Any) -> None:
        each.transform.translation.x += x_m

    return change


def turned(x: float, y: float, z: float, w: float) -> Callable[[Any], None]:
    """Gives a transform this quaternion."""

    def change(each: Any) -> None:
        rotation = each.transform.rotation
        rotation.x, rotation.y, rotation.z, rotation.w = x, y, z, w

    return change


def hung(parent: str) -> Callable[[Any], None]:
    """Hangs a transform under another frame."""

    def change(each: Any) -> None:
        each.header.frame_id = parent

    return change


def sometimes(share: float, recipe: Recipe) -> Recipe:
    """Changes that share of the messages, by chance."""

    def build(random: np.random.Generator) -> Change:
        whole = recipe(random)
        return lambda topic, message: whole(topic, message) if random.random() < share else [(0.0, message)]

    return build


def lost(share: float) -> Recipe:
    """Of all messages that share is lost."""

    def build(random: np.random.Generator) -> Change:
        return lambda topic, message: [] if random.random() < share else [(0.0, message)]

    return build


def late(least_s: float, most_s: float) -> Recipe:
    """Every message takes its own time, so that they overtake each other."""

    def build(random: np.random.Generator) -> Change:
        return lambda topic, message: [(float(random.uniform(least_s, most_s)), message)]

    return build


def in_bursts(period_s: float) -> Recipe:
    """Messages wait, and come all at once."""

    def build(random: np.random.Generator) -> Change:
        begun_s = time.monotonic()
        return lambda topic, message: [(period_s - (time.monotonic() - begun_s) % period_s, message)]

    return build


def repeated(topic: str, times: int) -> Recipe:
    """Each message comes several times."""

    def build(random: np.random.Generator) -> Change:
        return lambda name, message: [(0.0, message)] * (times if name == topic else 1)

    return build


def crowded(topic: str, times: int) -> Recipe:
    """Many more messages come, a millisecond after each other by their stamps."""

    def build(random: np.random.Generator) -> Change:
        def change(name: str, message: Any) -> list[tuple[float, Any]]:
            if name != topic:
                return [(0.0, message)]
            copies = [copy.copy(message) for _ in range(times)]
            for i, each in enumerate(copies):
                each.header = copy.deepcopy(message.header)
                shifted(i / 1000.0)(each)
            return [(0.0, each) for each in copies]

        return change

    return build


def flipped(topic: str, bits: int) -> Recipe:
    """Some bits of the data are wrong."""

    def build(random: np.random.Generator) -> Change:
        def spoil(message: Any) -> Any:
            data = np.frombuffer(message.data, np.uint8).copy()
            np.bitwise_xor.at(
                data,
                random.integers(len(data), size=bits),
                1 << random.integers(8, size=bits).astype(np.uint8),
            )
            message.data = data.tobytes()
            return message

        return on(topic, spoil)(random)

    return build


def noise(topic: str) -> Recipe:
    """The data is random."""

    def build(random: np.random.Generator) -> Change:
        def spoil(message: Any) -> Any:
            message.data = random.bytes(len(message.data))
            return message

        return on(topic, spoil)(random)

    return build


def damaged_on_the_wire(topic: str, bits: int) -> Recipe:
    """Bits of the serialised message are wrong, lengths and strings included."""

    def build(random: np.random.Generator) -> Change:
        def spoil(message: Any) -> bytes:
            data = bytearray(serialize_message(message))
            # Behind the representation header, and mostly where the fields are.
            for at in random.integers(4, min(len(data), 200), size=bits):
                data[at] ^= 1 << int(random.integers(8))
            return bytes(data)

        return on(topic, spoil)(random)

    return build


def many_frames(count: int) -> Recipe:
    """Transforms of many frames that nobody asked for, other ones each time."""

    def build(random: np.random.Generator) -> Change:
        def spoil(message: Any) -> Any:
            [one] = message.transforms
            for _ in range(count):
                other = copy.deepcopy(one)
                other.child_frame_id = f"frame_{random.integers(1 << 40)}"
                message.transforms.append(other)
            return message

        return on("/tf", spoil)(random)

    return build
