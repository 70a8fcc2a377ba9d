"""Students in files: safetensors, whose header says in JSON what the student is. Nothing is unpickled.

A file holds every tensor of ``Student(spec).state_dict()`` and no other. Its metadata has one JSON
value for each field of :class:`ws3d_ros.network.student.Spec`, ``format_version``, and whatever else
the writer told, as plain text.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from ws3d_ros.network.inputs import CHANNELS
from ws3d_ros.network.student import Spec, Student
from ws3d_ros.network.unet import ARCHITECTURES

FORMAT_VERSION = 1
_FIELDS = tuple(field.name for field in fields(Spec))


class CheckpointError(ValueError):
    """A file that is not a student's. The message names the file and the first thing that does not fit."""


def save(
    student: Student, path: str | Path, extra: Mapping[str, str] | None = None, half: bool = False
) -> None:
    """Writes a student, whole or not at all: a kill leaves the old file.

    Args:
        student: on any device, as trained: not folded.
        path: the folder is made if it is not there.
        extra: more for the header, such as the recipe and the scores.
        half: kernels and matrices as float16, which halves the file; what is small stays float32.

    Raises:
        ValueError: if :func:`load` would refuse the file; nothing is written then.
    """
    path, extra = Path(path), dict(extra or {})
    if taken := sorted({"format_version", *_FIELDS} & extra.keys()):
        raise ValueError(f"{path}: the header has its own '{taken[0]}'")
    _check_spec(student.spec, path)
    tensors = {name: _stored(tensor, half) for name, tensor in student.state_dict().items()}
    _check_shapes({name: tuple(tensor.shape) for name, tensor in tensors.items()}, student.spec, path)
    for name, tensor in tensors.items():
        _check_finite(name, tensor, path)
    header = {"format_version": FORMAT_VERSION} | {name: getattr(student.spec, name) for name in _FIELDS}
    metadata = {name: json.dumps(value) for name, value in header.items()} | extra
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(to_bytes(tensors, metadata))
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def load(path: str | Path) -> Student:
    """The student in a file: on the CPU, float32, in evaluation mode.

    Raises:
        CheckpointError: if the file cannot be read, its header is not a student's, or a tensor is missing,
            superfluous, of another shape or not finite.
    """
    path = Path(path)
    with _opened(path) as file:
        spec = _spec_in(file.metadata(), path)
        return assemble(spec, {name: file.get_tensor(name) for name in file.keys()}, path)  # noqa: SIM118


def assemble(spec: Spec, tensors: Mapping[str, Tensor], source: str | Path) -> Student:
    """A student out of its state dict, copied: float32, in evaluation mode.

    Raises:
        CheckpointError: that names the source and the first tensor that does not fit the spec.
    """
    _check_spec(spec, source)
    _check_shapes({name: tuple(tensor.shape) for name, tensor in tensors.items()}, spec, source)
    with torch.device("meta"):
        student = Student(spec)
    state = {}
    for name, expected in student.state_dict().items():
        # A copy, since a file's memory changes if somebody overwrites it.
        state[name] = tensors[name].detach().to("cpu", expected.dtype, copy=True).contiguous()
        _check_finite(name, state[name], source)
    student.load_state_dict(state, assign=True)
    return student.eval()


def read_spec(path: str | Path) -> Spec:
    """What the student in a file is, from the header alone.

    Raises:
        CheckpointError: if the file cannot be read or its header is not a student's.
    """
    with _opened(Path(path)) as file:
        return _spec_in(file.metadata(), Path(path))


def read_extra(path: str | Path) -> dict[str, str]:
    """What else the writer told in the header. Raises as :func:`read_spec`."""
    with _opened(Path(path)) as file:
        metadata = file.metadata()
        _spec_in(metadata, Path(path))
    return {name: text for name, text in metadata.items() if name not in {"format_version", *_FIELDS}}


def _stored(tensor: Tensor, half: bool) -> Tensor:
    narrow = half and tensor.is_floating_point() and tensor.ndim >= 2
    return tensor.detach().to("cpu", torch.float16 if narrow else tensor.dtype, copy=True).contiguous()


def _opened(path: Path) -> Any:
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder, not a checkpoint")
    try:
        return safe_open(path, framework="pt")
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: there is no such file") from error
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    except SafetensorError as error:
        raise CheckpointError(f"{path}: {_why_unreadable(path)} ({error})") from error


def _why_unreadable(path: Path) -> str:
    """In words, and with the first tensor that is cut off if the header is still whole."""
    size = path.stat().st_size
    with (
        path.open("rb") as file,
        suppress(ValueError, RecursionError, LookupError, TypeError, AttributeError),
    ):
        length = int.from_bytes(file.read(8), "little")
        if size < 8 + length:
            return "not a safetensors file, or one cut off in its header"
        header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        ends = {name: 8 + length + entry["data_offsets"][1] for name, entry in header.items()}
        cut = [name for name in sorted(ends, key=lambda name: int(ends[name])) if ends[name] > size]
        if cut:
            return f"cut off: '{cut[0]}' should end at byte {ends[cut[0]]}, the file has {size}"
    return "not a safetensors file"


def _spec_in(metadata: Mapping[str, str] | None, path: Path) -> Spec:
    if not metadata or "format_version" not in metadata:
        raise CheckpointError(
            f"{path}: the header has no 'format_version', so this is not a student of ws3d; "
            "for the networks of others see `ws3d import-weights`"
        )
    header: dict[str, Any] = {}
    for name in ("format_version", *_FIELDS):
        try:
            header[name] = json.loads(metadata[name])
        except KeyError as error:
            raise CheckpointError(f"{path}: the header has no '{name}'") from error
        except (ValueError, RecursionError) as error:
            raise CheckpointError(f"{path}: the header's '{name}' is not JSON: {error}") from error
        if name == "format_version" and header[name] != FORMAT_VERSION:
            raise CheckpointError(
                f"{path} has format version {header[name]!r}, this version of ws3d reads {FORMAT_VERSION}"
            )
    del header["format_version"]
    for name, value in header.items():
        header[name] = tuple(value) if isinstance(value, list) else value
    spec = Spec(**header)
    _check_spec(spec, path)
    return spec


def _check_spec(spec: Spec, source: str | Path) -> None:
    def words(value: Any) -> bool:
        return isinstance(value, tuple) and all(isinstance(word, str) for word in value)

    def number(value: Any, kinds: Any) -> bool:
        return isinstance(value, kinds) and not isinstance(value, bool) and 0 < value < math.inf

    wanted = {
        "architecture": (
            isinstance(spec.architecture, str) and spec.architecture in ARCHITECTURES,
            "one of " + ", ".join(ARCHITECTURES),
        ),
        "inputs": (
            words(spec.inputs) and spec.inputs != () and set(spec.inputs) <= CHANNELS.keys(),
            "some of " + ", ".join(CHANNELS),
        ),
        "voxel_size_m": (number(spec.voxel_size_m, (int, float)), "a length in metres"),
        "space": (isinstance(spec.space, str), "text"),
        "dim": (number(spec.dim, int), "a number of values"),
        "classes": (words(spec.classes), "a list of names"),
        "boundary": (isinstance(spec.boundary, bool), "true or false"),
        "offset": (isinstance(spec.offset, bool), "true or false"),
        "vocabulary": (words(spec.vocabulary), "a list of words"),
        "licence": (isinstance(spec.licence, str), "text"),
    }
    for name, (fits, what) in wanted.items():
        if not fits:
            raise CheckpointError(f"{source}: '{name}' should be {what}, not {_short(getattr(spec, name))}")


def _check_shapes(found: Mapping[str, tuple[int, ...]], spec: Spec, source: str | Path) -> None:
    try:
        with torch.device("meta"):
            expected = {name: tuple(tensor.shape) for name, tensor in Student(spec).state_dict().items()}
    except (RuntimeError, TypeError) as error:
        raise CheckpointError(f"{source}: no network can be that large: {error}") from error
    for name, shape in expected.items():
        if name not in found:
            raise CheckpointError(f"{source}: '{name}' is missing; {spec.architecture} needs it as {shape}")
        if found[name] != shape:
            raise CheckpointError(
                f"{source}: '{name}' has shape {found[name]}, {spec.architecture} needs {shape}"
            )
    for name in sorted(found):
        if name not in expected:
            raise CheckpointError(f"{source}: '{name}' has no place in this {spec.architecture}")


def _check_finite(name: str, tensor: Tensor, source: str | Path) -> None:
    if not tensor.isfinite().all():
        raise CheckpointError(f"{source}: '{name}' has values that are not finite")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}…"
