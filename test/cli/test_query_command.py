"""`ws3d query` where it cannot answer; what it answers is in test/instances/test_query.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from ws3d_ros.cli.main import app
from ws3d_ros.cli.query import _still_fit

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


def test_settings_that_no_longer_fit_do_not_keep_a_map_from_being_asked() -> None:
    made_with = {
        "semantics.virtual_views": 0.0,  # a number once
        "semantics.gone": 1,
        "semantics.encoder": "concept",
    }
    assert _still_fit(made_with) == {"semantics.encoder": "concept"}
