"""What a newcomer types wrongly: each is answered by what was given, what was expected, and the command to type."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest

import plateau_rule
from plateau_rule.commands import app as plateau
from plateau_rule.commands.options import Lines
from plateau_rule.controller.language.reading import shipped

PLATEAU = shipped()["plateau"].read_text(encoding="utf-8")
SCENARIOS = (
    'curriculum = "mine.toml"\n'
    '[[scenario]]\nname = "waits"\nlosses = ["flat 3 for 1 epoch"]\nexpect = [{ raises = 0 }]\n'
)
REPLAY = "To show a log to a curriculum: plateau replay CURRICULUM"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A newcomer's folder, which is the present one."""
    (tmp_path / "mine.toml").write_text(PLATEAU, encoding="utf-8")
    (tmp_path / "mine.test.toml").write_text(SCENARIOS)
    (tmp_path / "losses.csv").write_text("step,loss\n" + "".join(f"{step},{3 - step / 99}\n" for step in range(99)))
    (tmp_path / "large.csv").write_text("step,loss\n" + "1,2\n" * 20_000)
    (tmp_path / "losses.jsonl").write_text('{"step": 0, "loss": 3.5}\n{"step": 1, "loss": 3.4}\n')
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")
    (tmp_path / "empty.toml").touch()
    (tmp_path / "nothing").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ("help", "To see all commands: plateau --help"),
        ("mine.toml", '"mine.toml" is no command, and a command comes first: plateau check mine.toml'),
        ("check mine", 'Did you mean "mine.toml"?'),
        ("check ./mine.tml", 'Did you mean "mine.toml"?'),
        ("replay plateua losses.csv", 'Did you mean "plateau"?'),
        ("page plateua losses.csv", "plateua: there is no such folder or file, and no shipped curriculum"),
        ("page plateua losses.csv", 'Did you mean "plateau"?'),
        ("report nowhere", "Name one: plateau report RUN, or plateau report CURRICULUM LOG"),
        ("check losses.csv", f"losses.csv:1:1: the file is CSV; expected TOML. {REPLAY} losses.csv"),
        ("simulate losses.csv", f"the file is CSV; expected TOML. {REPLAY} losses.csv"),
        ("diff plateau losses.jsonl", f"the file is JSON; expected TOML. {REPLAY} losses.jsonl"),
        ("fmt large.csv", f"{REPLAY} large.csv"),
        ("draw picture.png", "picture.png:1:1: binary data; expected a text in UTF-8"),
        ("draw nothing", "nothing is a folder; expected the file of a curriculum"),
        ("explain mine.toml", "takes the code at the end of a finding, such as misaligned. To check a file:"),
        ("explain plateau", "To check a file: plateau check plateau"),
        ("test plateau", "plateau is a shipped curriculum; expected the file of scenarios, such as mine.test.toml."),
        ("test nothing", "no scenarios in nothing; expected files that end in .test.toml"),
        ("test empty.toml", "empty.toml is an empty file; expected scenarios: curriculum = FILE, and [[scenario]]"),
        ("runs", "there is no folder runs here. Name one that holds runs, or a run's own: plateau runs FOLDER"),
        ("runs losses.csv", "losses.csv is no folder."),
        ("fmt", "plateau fmt: FILE is missing."),
    ],
)  # fmt: skip
def test_wrong_word(words: str, answer: str, capfd: pytest.CaptureFixture[str]) -> None:
    """A file of another kind, a folder, a misspelt name or nothing at all: a sentence says what to type, and 2."""
    assert plateau.main(words.split()) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert answer in err


def test_what_is_toml_is_no_csv(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A curriculum with a comma too many is told of the comma, not called a table."""
    (folder / "mine.toml").write_text(PLATEAU.replace("2e-4", "0,0002", 1))
    assert plateau.main(["check", "mine.toml"]) == 2
    assert "CSV" not in capfd.readouterr().err


def test_scenarios_of_a_folder(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """`plateau test FOLDER` carries out the scenarios in it and below it, and passes over virtual environments."""
    for place in ("below", "env"):
        (folder / place).mkdir()
        (folder / place / "other.test.toml").write_text(SCENARIOS.replace("mine.toml", "plateau"))
    (folder / "env" / "pyvenv.cfg").touch()
    assert plateau.main(["test", "."]) == 0
    out = capfd.readouterr().out
    assert "mine.test.toml" in out
    assert "below" in out
    assert "env" not in out


def test_many_files_say_how_many_are_done(capfd: pytest.CaptureFixture[str]) -> None:
    """What goes over many files says so after its first seconds, and not again at each."""
    seconds = count()
    lines = Lines("checked", "files", clock=lambda: next(seconds), first_s=3)
    for done in range(10):
        lines(done, 10)
    assert capfd.readouterr().err == "checked: 2 of 10 files\n"


def test_version_in_python() -> None:
    """`plateau_rule.__version__` is the installed version."""
    assert plateau_rule.__version__ == plateau.version()
