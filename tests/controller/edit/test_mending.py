"""The smallest edit of one number that mends a finding."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from plateau_rule import Binding, bind, load, loads
from plateau_rule.commands import app as plateau
from plateau_rule.controller.edit.mending import mends
from plateau_rule.controller.language.reading import shipped
from plateau_rule.controller.verifier.verify import verify
from tests.controller.codes_used import ROOT

BAD = ROOT / "tests" / "machines" / "bad"


def test_the_floor_that_is_asked() -> None:
    """A rate that falls to a tenth is mended by a floor as high as [check] asks; one percent less does not do."""
    report = verify(bind(load(BAD / "misaligned-in-decay.toml")))
    (finding,) = [one for one in report.findings if one.severity == "error"]
    found = mends(report, finding, Binding())
    assert found
    text = (BAD / "misaligned-in-decay.toml").read_text()
    for mend in found:
        key, old = mend.path[-1], re.escape(str(mend.old))
        edited = re.sub(rf"(\b{key}\s*=\s*){old}\b", rf"\g<1>{mend.new}", text, count=1)
        assert edited != text
        assert not verify(bind(loads(edited))).broken


@pytest.mark.slow
@pytest.mark.parametrize(("old", "new", "least"), [("min_epoch = 2", 60, 47), ("window = 50", 90_000, 16_000)])
def test_no_smaller_edit(old: str, new: int, least: int) -> None:
    """The edit is as small as three digits can say, also where a check takes more than a few configurations."""
    text = shipped()["plateau"].read_text(encoding="utf-8").replace(old, f"{old.split()[0]} = {new}")
    report = verify(bind(loads(text)))
    (finding,) = [one for one in report.findings if one.severity == "error"]
    (mend,) = mends(report, finding, Binding())
    assert (mend.old, mend.new) == (new, least)
    step = 1 if least < 1000 else 1000
    for number, broken in ((least, False), (least + step, True)):
        assert verify(bind(loads(text.replace(str(new), str(number))))).broken == broken


def test_no_number_mends_it() -> None:
    """Where it takes another word, no number is told."""
    report = verify(bind(load(BAD / "misaligned-by-patience.toml")))
    (finding,) = [one for one in report.findings if one.severity == "error"]
    assert mends(report, finding, Binding()) == ()


def test_command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """`plateau check --mend` says them below the finding, and as data."""
    monkeypatch.chdir(BAD)
    name = "misaligned-in-decay.toml"
    assert Path(name).is_file()
    assert plateau.main(["check", name, "--mend"]) == 1
    assert "\n  Mended by [[transition]] 1, guards 1, min_step = 525, or lr.decay = 0.312\n" in capsys.readouterr().out
    assert plateau.main(["check", name, "--mend", "--json"]) == 1
    (finding,) = json.loads(capsys.readouterr().out)["findings"]
    assert [mend["new"] for mend in finding["mends"]] == [525, 0.312]
