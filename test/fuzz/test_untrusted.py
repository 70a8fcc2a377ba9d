"""What others wrote: parsed into plain values or refused, and never repeated at length."""

from __future__ import annotations

import pytest

from ws3d_ros.untrusted import clipped, parse_yaml, short


@pytest.mark.parametrize(
    "content", [b"[" * 3000, b"\x80", b"2001-99-99", b"!!python/name:os.system", b"9" * 5000]
)
def test_no_plain_yaml(content: bytes) -> None:
    with pytest.raises(ValueError, match=r".") as raised:
        parse_yaml(content)
    assert type(raised.value) is ValueError
    assert len(str(raised.value)) <= 201


def test_plain_yaml() -> None:
    assert parse_yaml("a: [1, 2.5, ü]".encode()) == {"a": [1, 2.5, "ü"]}


def test_messages_stay_short() -> None:
    nested: list[object] = ["x"] * 6
    for _ in range(12):
        nested = [nested] * 6  # 6^13 letters, written out
    assert len(short(nested)) <= 201
    assert len(short("x" * 10**6)) <= 201
    assert len(clipped("x" * 10**6)) == 201
    assert (short("box"), short(7), clipped("as it is")) == ("'box'", "7", "as it is")
