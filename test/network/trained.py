"""A student that could have been trained: its norms have seen something."""

from __future__ import annotations

import torch
from students import spec
from torch import Tensor, nn

from ws3d_ros.network.student import Student


def trained_student(seed: int = 0, **changes: object) -> Student:
    """In evaluation mode, of :func:`students.spec` with changes; the same for the same seed."""
    torch.manual_seed(seed)
    student = Student(spec(**changes)).eval()
    for module in student.modules():
        if isinstance(module, nn.BatchNorm1d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
            nn.init.normal_(module.running_mean, std=0.5)
            nn.init.uniform_(module.running_var, 0.5, 4.0)
    return student


def corner(seed: int = 0, size: int = 14) -> tuple[Tensor, Tensor, Tensor]:
    """A floor and two walls in any order: cells (some negative), colour (some unknown), normal."""
    generator = torch.Generator().manual_seed(seed)
    cells = torch.cartesian_prod(*[torch.arange(size)] * 3)
    cells = cells[(cells == 0).any(dim=1)]
    cells = cells[torch.randperm(len(cells), generator=generator)]
    color = torch.rand(len(cells), 3, generator=generator) * 255.0
    color[torch.rand(len(cells), generator=generator) < 0.2] = torch.nan
    return cells - 5, color, (cells == 0).float()
