"""Things that go through a network in place of features."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, TypeVar

import torch

Self = TypeVar("Self", bound="StandIn")


class StandIn(ABC):
    """Passes for the features of a sparse tensor in layers that work row by row.

    Convolutions over neighbours hand it to the pyramid's engine, which must know what to do with it; all
    other functions of torch come to :meth:`combined`.
    """

    device = torch.device("cpu")

    def dim(self) -> int:
        """Rows and channels."""
        return 2

    @classmethod
    @abstractmethod
    def combined(cls: type[Self], parts: list[Self], again: Callable[[list[Any]], Any]) -> Self:
        """What a function of torch makes of stand-ins.

        Args:
            parts: those among its arguments.
            again: calls it with other values in their places.
        """

    @classmethod
    def __torch_function__(
        cls: type[Self], function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Self:
        def again(values: list[Any]) -> Any:
            return function(*_put(args, iter(values)), **(kwargs or {}))

        return cls.combined(_find(args), again)

    def __add__(self: Self, other: Any) -> Self:
        return self.__torch_function__(torch.add, (), (self, other))

    def __matmul__(self: Self, other: Any) -> Self:
        return self.__torch_function__(torch.matmul, (), (self, other))


def _find(args: Any) -> list[Any]:
    if isinstance(args, tuple | list):
        return [found for arg in args for found in _find(arg)]
    return [args] if isinstance(args, StandIn) else []


def _put(args: Any, values: Any) -> Any:
    if isinstance(args, tuple | list):
        return type(args)(_put(arg, values) for arg in args)
    return next(values) if isinstance(args, StandIn) else args
