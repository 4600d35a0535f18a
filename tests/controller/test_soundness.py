"""What a trainer asks before its first step."""

from __future__ import annotations

import copy
import tomllib
from pathlib import Path

import pytest

from plateau_rule import Curriculum, UnsoundError, bind, load, loads, require_sound
from plateau_rule.controller.soundness import answers_of, open_in_words
from plateau_rule.controller.verifier.verify import verify
from tests.controller.codes_used import ROOT, codes_of_reading

BAD = ROOT / "tests" / "machines" / "bad"
CURRICULA = sorted(file for file in BAD.glob("*.toml") if file.stem not in codes_of_reading())


def test_sound() -> None:
    """A sound curriculum gives its report, and what is left open is no reason to refuse it."""
    report = require_sound(bind(load(BAD / "may-stay.toml")))
    assert report.verdict("escape").answer == "conditional"
    assert open_in_words(answers_of(report)) == "checked: nothing is broken; escape conditional"
    assert open_in_words(answers_of(require_sound(bind(load("fixed-epochs"))))) == "checked: nothing is broken"


@pytest.mark.parametrize("file", CURRICULA, ids=lambda file: str(file.stem))
def test_refused_as_check_refuses(file: Path) -> None:
    """A machine is refused exactly where `plateau check` exits with 1, with each of its errors in its line."""
    machine = bind(load(file))
    report = verify(machine)
    if not report.broken:
        assert require_sound(machine).findings == report.findings
        return
    with pytest.raises(UnsoundError) as caught:
        require_sound(machine)
    told = str(caught.value)
    broken = [finding for finding in report.findings if finding.severity == "error"]
    assert all(finding.sentence in told for finding in broken)
    assert f"{file}:" in told
    assert caught.value.report.findings == report.findings
    assert told.endswith("To train under it as it is: checked=False")


def test_waived_is_trained() -> None:
    """What the file waives with a reason is trained."""
    text = (BAD / "misaligned.toml").read_text() + '\n[check]\nwaive = { aligned = "by design" }\n'
    assert answers_of(require_sound(bind(loads(text))))["aligned"] == "broken"


def test_without_a_file() -> None:
    """Of a curriculum that was made in Python the findings have no line; the error can be copied to another process."""
    text = (BAD / "misaligned.toml").read_text()
    made = Curriculum.model_validate(tomllib.loads(text), by_alias=True, by_name=False)
    with pytest.raises(UnsoundError) as caught:
        require_sound(bind(made))
    told = str(caught.value)
    assert "\nerror: cutoff rises from" in told
    assert "More: plateau check FILE --epochs" in told
    assert str(copy.copy(caught.value)) == told
