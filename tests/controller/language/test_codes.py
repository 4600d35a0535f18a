"""Every code has an explanation, and every explanation a code."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from plateau_rule import CurriculumError
from plateau_rule.controller.language.codes import CODES, explain
from tests.controller.codes_used import codes_in, codes_used


@pytest.mark.source
def test_every_code_is_explained() -> None:
    """What `plateau explain` knows is what the source code uses, no more and no less."""
    assert codes_used() == CODES.keys()


def test_a_forgotten_code_would_be_seen(tmp_path: Path) -> None:
    """Canary: a code in new source is found, also in a conditional one."""
    source = tmp_path / "new.py"
    source.write_text('Fault("brand-new", ())\nFault("one" if x else "other", ())\nFault(code, ())\n')
    assert codes_in([source]) == {"brand-new", "one", "other"}
    ast.parse(source.read_text())


@pytest.mark.parametrize("code", CODES)
def test_explanations_are_sentences(code: str) -> None:
    """A code is a word in lower case; its phrase fits into a line, and the why and the remedy are sentences."""
    phrase, why, remedy = CODES[code]
    assert code == code.lower()
    assert code.isascii()
    assert " " not in code
    assert phrase
    assert len(phrase) < 90
    assert not phrase.endswith(".")
    assert why.endswith(".")
    assert remedy.split(":")[0][0].isupper()


def test_codes_as_they_stand_in_messages() -> None:
    """A code may be given with the brackets that it stands in."""
    assert explain("[off-ladder]") == explain(" OFF-ladder ") == explain("off-ladder") == CODES["off-ladder"]


def test_unknown_code() -> None:
    """A code that there is not is answered by the nearest one."""
    with pytest.raises(CurriculumError, match=r'^no code "of-ladder". Did you mean "off-ladder"\? \[unknown-code\]$'):
        explain("of-ladder")
