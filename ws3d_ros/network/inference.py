"""A trained student made ready to read maps on one device, in the precision that is fast there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from ws3d_ros.network.backends.backend import Backend
from ws3d_ros.network.backends.native import bf16_pays
from ws3d_ros.network.folding import fold_batch_norms
from ws3d_ros.network.heads import Reading
from ws3d_ros.network.inputs import input_features
from ws3d_ros.network.sparse_tensor import SparseTensor, sparse_tensor
from ws3d_ros.network.student import Student

PRECISIONS = ("float32", "bfloat16", "float16")


class NotFiniteError(ArithmeticError):
    """A network that gave NaN or infinity. The message says in which precision, and what to do."""


class Reader:
    """Reads clouds of voxels with one student. The same cloud gives the same bits again.

    Attributes:
        spec: of the student.
        student: whose weights it reads with, as it was given.
        backend: that convolves.
        device: where it runs and where readings are.
        precision: that it computes with, out of ``PRECISIONS``.
    """

    def __init__(
        self, student: Student, backend: Backend, device: torch.device, precision: str = "auto"
    ) -> None:
        """``student`` is copied; ``precision`` as :func:`prepare` takes it."""
        self.spec, self.device = student.spec, device
        self.precision = choose_precision(device, precision)
        self.backend = backend
        self._network: Callable[[SparseTensor], Reading]
        self.renew(student)

    def renew(self, student: Student) -> None:
        """Reads with other weights of the same network from now on; ``student`` is copied."""
        self.student = student
        self._network = prepare(student, self.device, self.precision)

    @torch.inference_mode()
    def read(self, coords: Tensor, color: Tensor, normal: Tensor) -> Reading:
        """What the network says of N voxels. May be called from any thread.

        Args:
            coords: (N, 3) integer cells of ``spec.voxel_size_m``, in any order; those that occur more
                than once are averaged and get the same answer.
            color: (N, 3) float32 RGB in 0..255; NaN where unknown.
            normal: (N, 3) float32 unit; 0 where unknown.

        Returns:
            float32, rows in the order of the input.

        Raises:
            ValueError: for other shapes, coordinates out of range, or infinite colours or normals.
            NotFiniteError: if any value comes out as NaN or infinite.
        """
        inputs = input_features(self.spec.inputs, color.to(self.device), normal.to(self.device))
        if bad := int((~inputs.isfinite()).any(dim=1).sum()):
            raise ValueError(f"colours or normals of {bad} of {len(inputs)} voxels are not finite")
        cells = pad(coords.to(self.device), (1, 0))
        voxels, cell = sparse_tensor(cells, inputs, self.backend)
        reading = self._network(voxels.replace(voxels.features.to(getattr(torch, self.precision))))

        # Windows of the map ascend already: their readings, a hundred megabytes, need not be moved.
        in_order = bool((cell.diff() > 0).all())

        def of_input(name: str, rows: Tensor | None) -> Any:
            if rows is None:
                return None
            rows = rows.float()
            self._check(name, rows)
            return rows if in_order else rows[cell]

        return Reading(**{name: of_input(name, rows) for name, rows in vars(reading).items()})

    def forget(self) -> None:
        """Lets go of what it keeps from one reading to the next, which is nothing here."""

    def warm_up(self) -> None:
        """Reads a small empty room once, so that the first real reading is as fast as the others.

        Raises:
            NotFiniteError: if the network does not compute in this precision.
        """
        size = torch.tensor([40, 30, 25])
        cells = torch.cartesian_prod(*(torch.arange(int(n)) for n in size))
        walls = cells[((cells == 0) | (cells == size - 1)).any(dim=1)]
        self.read(walls, torch.full(walls.shape, 128.0), torch.zeros(walls.shape))

    def _check(self, name: str, values: Tensor) -> None:
        if values.sum().isfinite():
            return  # in one quick pass; then so are all of them
        if bad := int((~values.isfinite()).any(dim=1).sum()):
            advice = "" if self.precision == "float32" else "; set network.precision to float32"
            raise NotFiniteError(
                f"the {self.spec.architecture} gave NaN or infinity as {name} of {bad} of {len(values)} "
                f"voxels in {self.precision}{advice}"
            )


def prepare(student: Student, device: torch.device, precision: str = "auto") -> Student:
    """A copy of a student for inference: norms folded, on a device, all its tensors in one precision.

    Args:
        student: trained; left as it is.
        device: where the copy goes.
        precision: out of ``PRECISIONS``, or ``auto``.

    Raises:
        ValueError: for another precision.
    """
    dtype = getattr(torch, choose_precision(device, precision))
    return fold_batch_norms(student).to(device, dtype)


def choose_precision(device: torch.device, precision: str = "auto") -> str:
    """``auto`` as what the device is good at: float16 on GPUs; on CPUs bfloat16 if they multiply it faster.

    Raises:
        ValueError: for what is neither ``auto`` nor in ``PRECISIONS``.
    """
    if precision not in ("auto", *PRECISIONS):
        raise ValueError(f"unknown precision '{precision}'; known are auto, {', '.join(PRECISIONS)}")
    if precision != "auto":
        return precision
    if device.type == "cpu":
        return "bfloat16" if bf16_pays() else "float32"
    return "float16"
