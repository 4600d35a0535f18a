"""What `plateau check --format sarif` writes is SARIF 2.1.0, by the schema of the standard.

sarif-2.1.0.json is that schema by OASIS, as the npm package @microsoft/sarif-multitool-linux 5.7.0 (MIT) ships it.
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote

import pytest

from plateau_rule.commands import app as plateau
from plateau_rule.controller.language.reading import shipped

jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed; make setup installs it")

SCHEMA = json.loads(Path(__file__).with_name("sarif-2.1.0.json").read_text(encoding="utf-8"))
PLATEAU = shipped()["plateau"].read_text(encoding="utf-8")
BROKEN = PLATEAU.replace('actions = ["lr_restart"]', "actions = []")
FAULTY = PLATEAU.replace("peak   = 2e-4", "paek = -1")


def log_of(capfd: pytest.CaptureFixture[str], *words: str) -> Any:
    """What `check` writes, held against the schema, and against what it cannot say: results have their own rule."""
    plateau.main(["check", *words, "--format", "sarif"])
    out, err = capfd.readouterr()
    assert err == ""
    log = json.loads(out)
    jsonschema.Draft202012Validator(SCHEMA).validate(log)
    (run,) = log["runs"]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert [rules[result["ruleIndex"]] for result in run["results"]] == [one["ruleId"] for one in run["results"]]
    assert all(part["region"]["endColumn"] > part["region"]["startColumn"] for part in places(log))
    return log


def places(log: Any) -> list[Any]:
    """The physical locations of all results."""
    return [one["locations"][0]["physicalLocation"] for one in log["runs"][0]["results"]]


@pytest.mark.parametrize(
    ("text", "levels"),
    [
        (shipped()["full"].read_text(encoding="utf-8"), set()),
        (PLATEAU, {"warning"}),
        (BROKEN, {"error", "warning"}),
        (FAULTY, {"error"}),
        ("x: 1", {"error"}),
        ("", {"error"}),
        (PLATEAU.replace('"plateau"', '"über\N{OWL} <&>"', 1), {"error"}),
    ],
    ids=["clean", "warning", "broken", "faults", "no TOML", "empty", "no ASCII"],
)
def test_files(text: str, levels: set[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Whatever is wrong with a file, or nothing, the log is valid, and has the levels of what was found."""
    file = tmp_path / "mine.toml"
    file.write_text(text, encoding="utf-8")
    log = log_of(capfd, str(file))
    assert {result["level"] for result in log["runs"][0]["results"]} == levels


@pytest.mark.parametrize("name", sorted(shipped()))
def test_shipped_files_on_a_short_run(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Every shipped file has a valid log, on a run that is too short for most of them."""
    log_of(capfd, name, "--epochs", "2", "--steps-per-epoch", "50")


def test_several_files_and_their_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Names with blanks, umlauts and marks are URIs, and lead back to the files."""
    monkeypatch.chdir(tmp_path)
    names = ["a b.toml", "kürze/schön #1.toml", "100%.toml", "x;y,z.toml"]
    for name in names:
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text("x: 1")
    found = [place["artifactLocation"]["uri"] for place in places(log_of(capfd, *names, "nowhere.toml"))]
    assert all(uri.isascii() and " " not in uri and "#" not in uri for uri in found)
    assert [unquote(uri) for uri in found] == [*names, "nowhere.toml"]


def test_standard_input(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """The standard input has a valid log as well."""
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(FAULTY.encode())))
    assert len(places(log_of(capfd, "-"))) == 1


@pytest.mark.parametrize(
    ("path", "wrong"),
    [
        (("level",), "fatal"),
        (("ruleIndex",), -2),
        (("message",), {"txt": "what is wrong"}),
        (("locations", 0, "physicalLocation", "region", "startLine"), 0),
        (("locations", 0, "physicalLocation", "region", "endColumn"), "3"),
    ],
)
def test_the_schema_can_fail(path: tuple[Any, ...], wrong: Any, capfd: pytest.CaptureFixture[str]) -> None:
    """Canary: a log with a wrong level, rule, message or region is no SARIF."""
    log = log_of(capfd, "plateau")
    inner = log["runs"][0]["results"][0]
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = wrong
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(SCHEMA).validate(log)
