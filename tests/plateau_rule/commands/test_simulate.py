"""The command `plateau simulate`: tables, JSON, a picture, and sentences where a word is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from plateau_rule.commands import app as plateau

SMALL = ["--learners", "4", "--epochs", "5", "--steps-per-epoch", "40", "--limit", "cutoff=1025", "--workers", "1"]


def test_tables_and_sentences(capsys: pytest.CaptureFixture[str]) -> None:
    """Several curricula are shown one below the other: states, raises, losses, and what to do."""
    assert plateau.main(["simulate", "plateau", "fixed-epochs", *SMALL]) == 0
    out = capsys.readouterr().out
    for words in (
        "plateau: 4 learners, 200 steps each",
        "fixed-epochs: 4 learners",
        "no curriculum, equal cost",
        "\n- ",
    ):
        assert words in out
    assert max(map(len, out.splitlines())) <= 120


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    """With --json one object is printed, or a list of them."""
    assert plateau.main(["simulate", "plateau", *SMALL, "--json", "--learner", "sigma=0.01", "tau=3..9"]) == 0
    assert json.loads(capsys.readouterr().out)["curriculum"] == "plateau"
    assert plateau.main(["simulate", "plateau", "full", *SMALL, "--json"]) == 0
    assert [each["curriculum"] for each in json.loads(capsys.readouterr().out)["simulations"]] == ["plateau", "full"]


def test_a_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With --plot a picture is drawn, the same every time."""
    paths = [tmp_path / "one.svg", tmp_path / "two.svg"]
    for path in paths:
        assert plateau.main(["simulate", "plateau", *SMALL, "--plot", str(path)]) == 0
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert b"learners that got there" in paths[0].read_bytes()
    capsys.readouterr()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "name a curriculum"),
        (["plateu"], 'Did you mean "plateau"?'),
        (["plateau", "--learner", "tau"], "expected NAME=NUMBER or NAME=LOW..HIGH"),
        (["plateau", "--learner", "tao=3"], "Names: floor, height"),
        (["plateau", "--learner", "tau=9..3"], "expected NAME=NUMBER"),
        (["plateau", "--flat", "slow"], "expected a rate such as"),
        (["plateau", "--learners", "0"], "expected at least 1"),
        (["plateau", "--limit", "cutoff=3"], "limit"),
        (["plateau", "--fitted", "/none.json"], "No such file"),
        (["plateau", "--plot", "a.gif"], ".png or .svg"),
        (["plateau", "--engine", "cloud"], "--engine"),
    ],
)
def test_mistakes_are_sentences(words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A word that is wrong is answered with one sentence and exit code 2, before anything is simulated."""
    assert plateau.main(["simulate", *words]) == 2
    said = capsys.readouterr()
    assert sentence in said.err
    assert said.out == ""
