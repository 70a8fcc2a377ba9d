"""A network that segments pure colours, written as ONNX by hand: tests need no exporter.

Field numbers are those of onnx.proto3.
"""

from __future__ import annotations

import struct

import numpy as np


def color_network(height: int, width: int, classes: np.ndarray, stride: int = 4, nhwc: bool = False) -> bytes:
    """Logits are ``classes`` (C, 3) times the mean colour of each block of ``stride`` x ``stride`` pixels."""
    shape = (1, height, width, 3) if nhwc else (1, 3, height, width)
    grid = (1, len(classes), height // stride, width // stride)
    transpose = _node("Transpose", ["image"], "first", _ints("perm", [0, 3, 1, 2]))
    convolution = _node(
        "Conv", ["first" if nhwc else "image", "weight"], "logits", _ints("strides", [stride] * 2)
    )
    kernel = np.broadcast_to(classes[:, :, None, None] / stride**2, (*classes.shape, stride, stride))
    weight = _tensor("weight", kernel)
    graph = b"".join(_field(1, node) for node in ([transpose] if nhwc else []) + [convolution])
    graph += _field(2, b"colors") + _field(5, weight)
    graph += _field(11, _value("image", shape)) + _field(12, _value("logits", grid))
    opset = _number(2, 13)
    return _number(1, 8) + _field(7, graph) + _field(8, opset)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _field(field: int, payload: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(payload)) + payload


def _ints(name: str, values: list[int]) -> bytes:
    return _field(1, name.encode()) + b"".join(_number(8, value) for value in values) + _number(20, 7)


def _node(kind: str, inputs: list[str], output: str, attribute: bytes) -> bytes:
    names = b"".join(_field(1, name.encode()) for name in inputs)
    return names + _field(2, output.encode()) + _field(4, kind.encode()) + _field(5, attribute)


def _tensor(name: str, values: np.ndarray) -> bytes:
    dims = b"".join(_number(1, size) for size in values.shape)
    data = struct.pack(f"<{values.size}f", *values.ravel())
    return dims + _number(2, 1) + _field(8, name.encode()) + _field(9, data)


def _value(name: str, shape: tuple[int, ...]) -> bytes:
    dims = b"".join(_field(1, _number(1, size)) for size in shape)
    return _field(1, name.encode()) + _field(2, _field(1, _number(1, 1) + _field(2, dims)))
