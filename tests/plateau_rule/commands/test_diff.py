"""The command `plateau diff`."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from plateau_rule.commands import app as plateau
from plateau_rule.controller.language.reading import shipped

TEXT = shipped()["plateau"].read_text(encoding="utf-8")
BOUND = ["--epochs", "20", "--steps-per-epoch", "100", "--limit", "cutoff=1025"]


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file, its edit, one that is no curriculum, and a log that is flat."""
    monkeypatch.chdir(tmp_path)
    Path("old.toml").write_text(TEXT)
    Path("new.toml").write_text(TEXT.replace("min_epoch = 2", "min_epoch = 4"))
    Path("wrong.toml").write_text('name = "wrong"\n')
    Path("losses.csv").write_text("step,loss\n" + "".join(f"{step},3.0\n" for step in range(2000)))


def told(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    """What the command prints."""
    assert plateau.main(["diff", *words]) == code
    out, err = capsys.readouterr()
    assert (err == "") == (code == 0)
    return out or err


def test_text(capsys: pytest.CaptureFixture[str]) -> None:
    """An edit in words, with what both do over a log."""
    assert told(capsys, "old.toml", "new.toml", *BOUND, "--log", "losses.csv").splitlines() == [
        "old.toml -> new.toml",
        "edited",
        "  transition 1 (* to next), guards.min_epoch: 2 -> 4",
        "entered",
        "  words: step 200 to 1900, or never -> step 400 to 1900, or never",
        "  spelling: step 300 to 1900, or never -> step 500 to 1900, or never",
        "  full: step 400 to 1900, or never -> step 600 to 1900, or never",
        "a run that stands in",
        "  syntax, words, spelling, full: goes on, if the edit is accepted (on_change =",
        '    "accept")',
        "over the log",
        "  transition 1: step 200, syntax to words -> step 400, syntax to words",
        "  transition 2: step 300, words to spelling -> step 500, words to spelling",
        "  transition 3: step 400, spelling to full -> step 600, spelling to full",
    ]


def test_nothing_to_say(capsys: pytest.CaptureFixture[str]) -> None:
    """The same file twice, or with another comment, is answered in one line."""
    Path("comment.toml").write_text(TEXT + "\n# the end\n")
    for other in ("old.toml", "comment.toml"):
        assert told(capsys, "old.toml", other).splitlines()[1:] == [
            "nothing changed: both mean the same, and are bound alike"
        ]


@pytest.mark.parametrize("words", [["-", "new.toml"], ["old.toml", "-"]])
def test_standard_input(words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """`-` is the standard input, on either side."""
    edited = TEXT.replace("min_epoch = 2", "min_epoch = 3").encode()
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(edited)))
    change = "3 -> 4" if words[0] == "-" else "2 -> 3"
    assert told(capsys, *words).splitlines()[:3] == [
        " -> ".join(words), "edited", f'  transition 1 (* to next), guards.min_epoch: {change}'
    ]  # fmt: skip


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    """The same as data."""
    data = json.loads(told(capsys, "old.toml", "new.toml", *BOUND, "--log", "losses.csv", "--json"))
    assert data["same"] is False
    assert [row["step"] for row in data["log"]["old"]] == [200, 300, 400]
    assert [row["new"]["earliest"] for row in data["entries"]] == [400, 500, 600]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["old.toml"], "plateau diff: NEW is missing"),
        (["old.toml", "absent.toml"], 'there is no curriculum "absent.toml"'),
        (["absent.toml", "absent.toml"], 'there is no curriculum "absent.toml"'),
        (["wrong.toml", "new.toml"], "wrong.toml:1:"),
        (["old.toml", "losses.csv"], "losses.csv:1:1:"),
        (["-", "-"], "expected the standard input for one of the two files"),
        (["old.toml", "--lgo", "losses.csv", "new.toml"], 'unknown option --lgo. Did you mean "--log"?'),
        (["--jsn", "old.toml", "new.toml"], 'unknown option --jsn. Did you mean "--json"?'),
        (["old.toml", "new.toml", "--log", "absent.csv"], "absent.csv"),
        (["old.toml", "new.toml", "--log", "old.toml"], "old.toml"),
        (["old.toml", "new.toml", "--limit", "cutoff"], "KNOB=NUMBER"),
        (["old.toml", "new.toml", "--limit", "size=3"], '--limit size: these curricula have no knob "size"'),
        (["old.toml", "new.toml", "third.toml"], "is one word too many"),
        (["old.toml", "new.toml", "--epochs", "0"], "--epochs"),
    ],
)
def test_mistakes(capsys: pytest.CaptureFixture[str], words: list[str], sentence: str) -> None:
    """Each mistake is answered by a sentence and exit code 2."""
    assert sentence in told(capsys, *words, code=2)
