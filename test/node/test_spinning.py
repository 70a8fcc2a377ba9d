"""A callback that raises ends nothing; what rclpy raises because a signal ended it is no error."""

from types import SimpleNamespace

import pytest

main = pytest.importorskip("ws3d_ros.node.main", reason="no rclpy here")


@pytest.mark.parametrize("alive", [True, False])
def test_errors_are_told_while_ros_lives(monkeypatch: pytest.MonkeyPatch, alive: bool) -> None:
    told: list[Exception] = []
    error = RuntimeError("Unable to convert call argument '0' to Python object")

    def spin() -> None:
        raise error

    monkeypatch.setattr(main.rclpy, "ok", lambda: alive)
    main.spin_until_error(SimpleNamespace(spin=spin), SimpleNamespace(survive=told.append))
    assert told == ([error] if alive else [])
