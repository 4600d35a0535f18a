"""The command `plateau explain`, as it is called from a shell."""

from __future__ import annotations

import json

import pytest

from plateau_rule.commands import app as plateau
from plateau_rule.controller.language.codes import CODES


def test_explain(capfd: pytest.CaptureFixture[str]) -> None:
    """`explain CODE` says what it means, why it matters, and what to do."""
    for written in ("off-ladder", "[Off-Ladder]", " off-ladder "):
        assert plateau.main(["explain", written]) == 0
        out, _ = capfd.readouterr()
        assert out == (
            "off-ladder: a value that the knob does not have\n\n"
            "Ladders and ranges say what a knob can be; a value beside them is a slip more often than not.\n\n"
            "Use one of the values, or add it to the ladder.\n"
        )
    for code in CODES:
        assert plateau.main(["explain", code]) == 0
        assert all(len(line) <= 100 for line in capfd.readouterr().out.splitlines())


def test_explain_all(capfd: pytest.CaptureFixture[str]) -> None:
    """`explain` alone lists every code."""
    assert plateau.main(["explain"]) == 0
    assert [line.split()[0] for line in capfd.readouterr().out.splitlines()] == list(CODES)


def test_explain_json(capfd: pytest.CaptureFixture[str]) -> None:
    """With --json the same comes as data."""
    assert plateau.main(["explain", "[off-ladder]", "--json"]) == 0
    (found,) = json.loads(capfd.readouterr().out)
    assert found == {"code": "off-ladder", **CODES["off-ladder"]._asdict()}


def test_explain_unknown(capfd: pytest.CaptureFixture[str]) -> None:
    """A code that there is not is a mistake with exit code 2 and a suggestion."""
    assert plateau.main(["explain", "of-ladder"]) == 2
    assert 'Did you mean "off-ladder"?' in capfd.readouterr().err
