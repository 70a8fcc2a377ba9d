"""What is published out there, and which of it a base topic means.

Decides over plain values, so that it can be tested without a graph.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED = "sensor_msgs/msg/CompressedImage"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
CLOUD = "sensor_msgs/msg/PointCloud2"

# Suffixes of image_transport by preference: raw costs no decoding.
TRANSPORTS: dict[str, list[tuple[str, str]]] = {
    "color": [("", IMAGE), ("", COMPRESSED), ("/compressed", COMPRESSED)],
    "depth": [
        ("", IMAGE),
        ("", COMPRESSED),
        ("/compressedDepth", COMPRESSED),
        ("/compressed", COMPRESSED),
    ],
    "info": [("", CAMERA_INFO)],
    "points": [("", CLOUD)],
}


@dataclass(frozen=True)
class Published:
    """One publisher in the graph."""

    topic: str
    type: str
    reliable: bool
    latched: bool


@dataclass(frozen=True)
class Source:
    """What to subscribe to so that every publisher of the topic is heard."""

    topic: str
    type: str
    reliable: bool
    latched: bool


def candidates(base: str, role: str) -> list[tuple[str, str]]:
    """(topic, type) that may carry a base topic, best first.

    Args:
        base: resolved topic name without an image_transport suffix.
        role: ``color``, ``depth``, ``info`` or ``points``.
    """
    return [(base + suffix, kind) for suffix, kind in TRANSPORTS[role]]


def choose(base: str, role: str, published: list[Published]) -> Source | None:
    """The best candidate that somebody publishes, None while nobody does.

    The quality of service is the strongest that all publishers of it offer: asking for more
    would silence one of them, asking for less loses messages or misses latched ones.
    """
    for topic, kind in candidates(base, role):
        offers = [offer for offer in published if offer.topic == topic and offer.type == kind]
        if offers:
            return Source(
                topic, kind, all(offer.reliable for offer in offers), all(offer.latched for offer in offers)
            )
    return None


def explain_silence(base: str, role: str, types: dict[str, str], is_subscribed: bool) -> str:
    """One sentence on why nothing comes, with what to do.

    Args:
        types: published topics and their types.
        is_subscribed: whether a publisher was found, which then says nothing.
    """
    if is_subscribed:
        return f"{base} is silent: it has a publisher, but no message came; check that the driver streams"
    wrong = types.get(base)
    if wrong is not None:
        wanted = " or ".join(sorted({kind for topic, kind in candidates(base, role) if topic == base}))
        return f"{base} is published as {wrong}, needed is {wanted}"
    near = similar(base, role, types)
    if not near:
        kind = TRANSPORTS[role][0][1]
        return f"{base} is silent: nobody publishes it, nor any other topic of type {kind}; start the driver"
    others = ", ".join(f"{topic} ({types[topic]})" for topic in near)
    return f"{base} is silent: nobody publishes it; published are {others}: remap {base} to one of them"


def similar(base: str, role: str, types: dict[str, str]) -> list[str]:
    """Up to three published topics that could fill the role, most alike by name first."""
    kinds = {kind for _, kind in TRANSPORTS[role]}
    fitting = [topic for topic, kind in types.items() if kind in kinds and _is_plausible(topic, role)]
    return sorted(fitting, key=lambda topic: -difflib.SequenceMatcher(None, base, topic).ratio())[:3]


def _is_plausible(topic: str, role: str) -> bool:
    """Colour and depth images have the same type; their names tell them apart."""
    is_depth = "depth" in topic.lower()
    return is_depth if role == "depth" else not (role == "color" and is_depth)
