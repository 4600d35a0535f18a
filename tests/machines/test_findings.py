"""Each thing that `plateau check` finds has a file that shows it, with the report that it gets, to the letter."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from plateau_rule import load
from plateau_rule.commands import app as plateau
from plateau_rule.controller.binding import bind
from plateau_rule.controller.language.consistency import PROPERTIES
from plateau_rule.controller.verifier.verify import verify
from tests.controller.codes_used import ROOT, codes_in, codes_of_reading

HERE = Path(__file__).parent
BROKEN = sorted(file.stem for file in (HERE / "bad").glob("*.toml") if file.stem not in codes_of_reading())
SOUND = sorted(file.stem for file in (HERE / "good").glob("*.toml"))

# What no file alone can show: states merged by a trainer's limits, and a resume that goes wrong.
OF_NO_FILE = {"merged-states", "resume-differs"}

# The property that a finding breaks, and by which it is waived.
PROPERTY = {
    **dict.fromkeys(("early-end", "dead-end", "unreachable"), "reach"),
    **dict.fromkeys(("may-stay", "never-final", "too-late"), "escape"),
    **dict.fromkeys(("idle-regress", "knob-falls", "unbounded-cycle"), "monotone"),
    **dict.fromkeys(("late-raise", "measured-later", "misaligned", "rate-falls", "rate-vanishes"), "aligned"),
    **dict.fromkeys(("always-true", "loop-forgets", "never-looked-at", "never-taken", "never-true"), "order"),
    **dict.fromkeys(("seen-late", "shadowed", "sustain-too-long"), "order"),
    **dict.fromkeys(("assumed-metric", "odd-metric", "score-as-loss", "unused-metric"), "names"),
    **dict.fromkeys(("unused-guard", "unused-rung"), "names"),
    **dict.fromkeys(("decay-unfinished", "little-left", "warmup-unfinished"), "timing"),
}


@pytest.mark.source
def test_every_finding_has_a_file() -> None:
    """No finding of the verifier is without a file that is named after it; there are dozens of broken ones."""
    codes = codes_in((ROOT / "controller" / "verifier").glob("*.py")) - OF_NO_FILE
    named = {code for code in codes if any(name == code or name.startswith(f"{code}-") for name in BROKEN)}
    assert codes - named == {"unresolved-amount"}
    assert len(BROKEN) >= 40
    assert len(SOUND) >= 15


@pytest.mark.parametrize("name", BROKEN)
def test_report(name: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The report is exactly the one beside the file; its worst finding is what the file is named after."""
    monkeypatch.chdir(HERE / "bad")
    code = plateau.main(["check", f"{name}.toml"])
    out, err = capfd.readouterr()
    assert (out, err) == (Path(f"{name}.expected").read_text(encoding="utf-8"), "")
    report = verify(bind(load(f"{name}.toml")))
    assert name.startswith(report.findings[0].code)
    own = [finding for finding in report.findings if finding.code != "idle-waiver"]
    assert [finding.property for finding in own] == [PROPERTY[finding.code] for finding in own]
    worst = report.findings[0].severity
    assert code == (1 if worst == "error" else 0)
    assert plateau.main(["check", "--strict", f"{name}.toml"]) == {"error": 1, "note": 0}.get(worst, 3)


@pytest.mark.parametrize("name", ["misaligned", "may-stay"])
def test_report_as_json(name: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """With --json the same comes as data, key by key as in the file beside it, limits and strictness included."""
    monkeypatch.chdir(HERE / "bad")
    plateau.main(["check", f"{name}.toml", "--json", "--limit", "cutoff=1025"])
    loosely = json.loads(capfd.readouterr().out)
    plateau.main(["check", f"{name}.toml", "--json", "--limit", "cutoff=1025", "--strict"])
    strictly = json.loads(capfd.readouterr().out)
    assert loosely == json.loads(Path(f"{name}.json").read_text(encoding="utf-8"))
    assert strictly == loosely | {"exit_code": 3 if name == "may-stay" else 1}
    assert loosely["broken"] == (name == "misaligned")
    assert [verdict["property"] for verdict in loosely["properties"]] == list(PROPERTIES)


@pytest.mark.parametrize("name", BROKEN)
def test_counterexamples_are_replayed(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command that is printed with a counterexample takes the transitions of its trace, on the same steps.

    None is printed where a knob falls: a replay refuses that, in the words of the finding.
    """
    monkeypatch.chdir(HERE / "bad")
    plateau.main(["check", f"{name}.toml", "--counterexample", str(tmp_path)])
    words = capfd.readouterr().out
    commands = [line.partition("See: plateau ")[2] for line in words.splitlines() if "See: plateau " in line]
    plateau.main(["check", f"{name}.toml", "--counterexample", str(tmp_path), "--json"])
    found = json.loads(capfd.readouterr().out)
    shown = [finding for finding in found["findings"] if finding["counterexample"]]
    shown = [finding for finding in shown if finding["counterexample"]["happened"]]
    happened = [finding["counterexample"] for finding in shown if finding["code"] != "knob-falls"]
    for finding in shown:
        if finding["code"] == "knob-falls":
            losses = finding["counterexample"]["file"]
            length = [
                "--epochs",
                str(found["run"]["epochs"]),
                "--steps-per-epoch",
                str(found["run"]["steps_per_epoch"]),
            ]
            assert plateau.main(["replay", f"{name}.toml", losses, *length, "--json"]) == 2
            refusal = json.loads(capfd.readouterr().out)
            assert refusal["error"] == "RegressionError"
            assert finding["counterexample"]["shows"] in refusal["message"]
    assert len(commands) == len(happened)
    for command, example in zip(commands, happened, strict=True):
        assert plateau.main([*shlex.split(command), "--json"]) == 0
        replayed = json.loads(capfd.readouterr().out)["transitions"]
        # What is decided on the last step of the run has no step to apply to.
        total = found["run"]["total_steps"]
        within = [(one["step"], one["from"], one["to"]) for one in replayed if total is None or one["step"] < total]
        assert within == [(one["step"], one["from"], one["to"]) for one in example["transitions"]]


@pytest.mark.parametrize("name", SOUND)
def test_sound_ones_are_not_accused(name: str) -> None:
    """Nothing is found in a sound curriculum but what it waives; and the run is bound to come to an end of its own."""
    report = verify(bind(load(HERE / "good" / f"{name}.toml")))
    assert {finding.severity for finding in report.findings} <= {"waived"}
    assert report.exit_code(strict=True) == 0
    assert {verdict.answer for verdict in report.verdicts if verdict.stands} <= {
        "proved",
        "table",
        "not asked",
        "tested",
    }
    assert report.exact
    assert report.resumed > 0


def test_options_that_are_suggested_exist(capsys: pytest.CaptureFixture[str]) -> None:
    """An option that a report names as what would decide it is one that `check` takes."""
    plateau.main(["check", "--help"])
    known = capsys.readouterr().out
    named = {
        word.split("=")[0].strip(".,:;()")
        for report in (HERE / "bad").glob("*.expected")
        for line in report.read_text().splitlines()
        if "not decided" in line
        for word in line.split()
        if word.startswith("--")
    }
    assert "--limit" in named
    assert {option for option in named if f"{option} " not in known} == set()
