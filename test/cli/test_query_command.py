"""`ws3d query` where it cannot answer; what it answers is in test/instances/test_query.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from ws3d_ros.cli.main import app

GOLDEN = Path(__file__).parents[1] / "reconstruction" / "golden_v1.ws3d"


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["no_such.ws3d", "chair"], "cannot be read"),
        ([str(GOLDEN), "chair"], "cannot be asked"),
    ],
)
def test_what_cannot_be_asked_is_said(arguments: list[str], match: str) -> None:
    result = CliRunner().invoke(app, ["query", *arguments])
    assert result.exit_code == 2
    assert match in " ".join(result.output.split())
