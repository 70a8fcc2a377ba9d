"""What goes wrong with a measurement."""

from __future__ import annotations


class SensorError(ValueError):
    """A measurement that cannot be used. The message says what is wrong and what to do.

    Attributes:
        reason: a short stable key such as ``bad_encoding``, under which such measurements are
            counted and reported.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
