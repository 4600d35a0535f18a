"""The command `plateau schema`, as it is called from a shell."""

from __future__ import annotations

from pathlib import Path

import pytest

from plateau_rule.commands import app as plateau
from plateau_rule.controller.language.schema import schema_text


def test_schema(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """`schema` prints the schema, or writes it where -o says."""
    assert plateau.main(["schema"]) == 0
    assert capfd.readouterr().out == schema_text()
    assert plateau.main(["schema", "-o", str(tmp_path / "s.json")]) == 0
    assert (tmp_path / "s.json").read_text(encoding="utf-8") == schema_text()
