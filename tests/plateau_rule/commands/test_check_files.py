"""`plateau check` over several files, and as annotations: each defect at its line, and the worst exit code."""

from __future__ import annotations

import io
import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from plateau_rule.commands import app as plateau
from plateau_rule.controller.language.reading import shipped

PLATEAU = shipped()["plateau"].read_text(encoding="utf-8")
BAD = Path(__file__).parents[2] / "machines" / "bad"

# Twenty defects in one change set: the text that is changed, into what, the code, and the text in whose line it shows.
DEFECTS = [
    ("peak   = 2e-4", "peak   = 0,0002", "not-toml", "0,0002"),
    ("peak   = 2e-4", "peak: 2e-4", "not-toml", "peak:"),
    ("peak   = 2e-4", "peak   = -1", "out-of-range", "-1"),
    ("peak   = 2e-4", "paek   = 2e-4", "unknown-key", "paek"),
    ('shape  = "cosine"', 'shape  = "cosin"', "unknown-word", '"cosin"'),
    ('length = "3 epochs"', 'length = "3 epoch s"', "bad-amount", "epoch s"),
    ('length = "3 epochs"', 'length = "0 epochs"', "empty-amount", "0 epochs"),
    ("epochs          = 50", "epochs          = 50.5", "wrong-type", "50.5"),
    ("epochs          = 50", "epochs          = 50;", "not-toml", "50;"),
    ("[knob.cutoff]", "[knobs.cutoff]", "unknown-key", "[knobs.cutoff]"),
    ('[128, 256, 512, "full"]', '[128, 256, 512, "full"', "not-toml", '512, "full"'),
    ('[128, 256, 512, "full"]', '[256, 128, 512, "full"]', "ladder-order", "[256, 128"),
    ("{ cutoff = 256 }", "{ cutoff = 257 }", "off-ladder", "257"),
    ("{ cutoff = 256 }", "{ cutof = 256 }", "unknown-knob", "cutof ="),
    ('from    = "*"', 'from    = "all"', "unknown-state", '"all"'),
    ('to      = "next"', 'to      = "nxt"', "unknown-state", '"nxt"'),
    ('"flat"]', '"flta"]', "unknown-guard", '"flta"'),
    ('actions = ["lr_restart"]', "actions = []", "misaligned", "actions ="),
    ('actions = ["lr_restart"]', 'actions = ["lr_restart"]\nregress = True', "not-toml", "True"),
    ('name = "words"', 'name = "syntax"', "duplicate-name", '"syntax"'),
]


def change_set(folder: Path) -> dict[str, tuple[str, int]]:
    """One file for each defect; by its name, the code and the line where it shows."""
    expected = {}
    for number, (old, new, code, shows) in enumerate(DEFECTS):
        assert old in PLATEAU, old
        text = PLATEAU.replace(old, new, 1)
        lines = [line for line, written in enumerate(text.split("\n"), 1) if shows in written]
        file = folder / f"{number:02}.toml"
        file.write_text(text, encoding="utf-8")
        expected[file.name] = code, lines[-1]
    return expected


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder `curricula` in the present one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "curricula").mkdir()
    return tmp_path / "curricula"


COMMAND = re.compile(
    r"::(error|warning|notice) file=([^,]*),line=(\d+),col=\d+,endColumn=\d+,title=plateau check%3A ([a-z-]+)::.+"
)


def test_twenty_of_twenty_on_github(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Each of twenty planted defects is an error at its line, and no file has another one."""
    expected = change_set(folder)
    assert plateau.main(["check", "curricula", "--format", "github"]) == 2
    found = [COMMAND.fullmatch(line) for line in capfd.readouterr().out.splitlines()]
    errors = {m[2].removeprefix("curricula/"): (m[4], int(m[3])) for m in found if m and m[1] == "error"}
    assert all(found)
    assert errors == expected
    assert sum(m[1] == "error" for m in found if m) == len(DEFECTS)


def test_twenty_of_twenty_as_sarif(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The same in SARIF, written to a file."""
    expected = change_set(folder)
    assert plateau.main(["check", "curricula", "--format", "sarif", "-o", "found.sarif"]) == 2
    assert capfd.readouterr() == ("", "")
    log = json.loads(Path("found.sarif").read_text(encoding="utf-8"))
    errors = {}
    for result in log["runs"][0]["results"]:
        place = result["locations"][0]["physicalLocation"]
        if result["level"] == "error":
            name = place["artifactLocation"]["uri"].removeprefix("curricula/")
            errors[name] = result["ruleId"], place["region"]["startLine"]
    assert errors == expected


def test_paths(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A path is told from here, escaped where a command would take it for something else; others are URIs of files."""
    (folder / "a, 100%: b.toml").write_text("x")
    assert plateau.main(["check", str(folder), "--format", "github"]) == 2
    assert capfd.readouterr().out.startswith("::error file=curricula/a%2C 100%25%3A b.toml,line=1,")
    assert plateau.main(["check", str(folder), str(BAD / "misaligned.toml"), "--format", "sarif"]) == 2
    log = json.loads(capfd.readouterr().out)
    places = [result["locations"][0]["physicalLocation"]["artifactLocation"] for result in log["runs"][0]["results"]]
    assert places[0] == {"uri": "curricula/a%2C%20100%25%3A%20b.toml", "uriBaseId": "%SRCROOT%"}
    assert places[1] == {"uri": (BAD / "misaligned.toml").as_uri()}


def test_worst_counts(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The exit code is the worst: no curriculum, then broken, then open, then nothing."""
    (folder / "empty.toml").write_text("")
    assert plateau.main(["check", "full", "plateau"]) == 0
    assert plateau.main(["check", "full", "plateau", "--strict"]) == 3
    assert plateau.main(["check", "full", "misaligned", "plateau", "--strict"]) == 1
    assert plateau.main(["check", "full", "misaligned", "curricula/empty.toml", "plateau", "--strict"]) == 2
    capfd.readouterr()


def test_text_of_several(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """In text, each file has a heading; a file that is none does not keep the others from being checked."""
    (folder / "a.toml").write_text("x: 1\n")
    (folder / "b.toml").write_text(PLATEAU)
    assert plateau.main(["check", "curricula"]) == 2
    out, err = capfd.readouterr()
    assert err == ""
    first, second = out.split("\n\n== ", 1)
    assert first.startswith('== curricula/a.toml\ncurricula/a.toml:1:2: ":" after the key "x"')
    assert second.startswith("curricula/b.toml\nplateau: 50 epochs of 1000 steps.")


def test_brief(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """In brief, a hook prints what is wrong with the files that fail, and nothing else."""
    words = ["check", "curricula", "full", "plateau", "--format", "brief"]
    (folder / "a.toml").write_text(PLATEAU)
    assert plateau.main(words) == 0
    assert capfd.readouterr() == ("", "")
    (folder / "b.toml").write_text(PLATEAU.replace('actions = ["lr_restart"]', "actions = []"))
    (folder / "c.toml").write_text("x: 1\n")
    assert plateau.main(words) == 2
    out, err = capfd.readouterr()
    assert err == ""
    told = re.findall(r"^(curricula/.*\.toml):.*\[([a-z-]+)\]$", out, re.MULTILINE)
    assert told == [("curricula/b.toml", c) for c in ("misaligned", "may-stay")] + [("curricula/c.toml", "not-toml")]
    assert "property" not in out
    assert plateau.main(["check", "plateau", "--format", "brief", "--strict"]) == 3
    assert "[may-stay]" in capfd.readouterr().out


def test_json_of_several(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """In JSON, several files are a list with the worst exit code; a single one is what --json has always printed."""
    (folder / "a.toml").write_text("x: 1\n")
    assert plateau.main(["check", "curricula", "full", "--json"]) == 2
    data = json.loads(capfd.readouterr().out)
    assert data["exit_code"] == 2
    assert (data["files"][0]["file"], data["files"][0]["error"]) == ("curricula/a.toml", "CurriculumError")
    assert data["files"][1]["curriculum"] == "full"
    assert plateau.main(["check", "full", "--json"]) == 0
    one = capfd.readouterr().out
    assert "file" not in json.loads(one)
    assert plateau.main(["check", "full", "--format", "json"]) == 0
    assert capfd.readouterr().out == one
    assert plateau.main(["check", "curricula/a.toml", "--format", "json"]) == 2
    assert set(json.loads(capfd.readouterr().out)) == {"error", "faults", "more"}


def test_folders_and_patterns(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A folder is searched for curricula alone, a pattern is looked up, and a file named twice is checked once."""
    (folder / "deep" / ".hidden").mkdir(parents=True)
    for name in ("b.toml", "a.toml", "deep/c.toml", "deep/.hidden/d.toml", "a.test.toml", "pyproject.toml", "e.txt"):
        (folder / name).write_text(PLATEAU)

    def checked(*words: str) -> list[str]:
        assert plateau.main(["check", *words, "--json"]) == 0
        return [one["file"] for one in json.loads(capfd.readouterr().out)["files"]]

    here = ["curricula/a.toml", "curricula/b.toml", "curricula/deep/c.toml"]
    assert checked("curricula") == here
    assert checked("curricula/b.toml", "curricula") == [here[1], here[0], here[2]]
    assert checked("curricula/?.toml", "curricula/deep/*.toml") == here
    for word in ("curricula/x*.toml", "curricula/deep/.hidden/../../none"):
        assert plateau.main(["check", word]) == 2
        assert "[no-such-file]" in capfd.readouterr().err
    (folder / "none").mkdir()
    assert plateau.main(["check", "curricula/none"]) == 2
    assert (
        capfd.readouterr().err == "no curriculum in curricula/none; expected files that end in .toml [no-such-file]\n"
    )


def test_standard_input(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """`-` reads the standard input, with whatever line ends and byte order mark it has."""
    content = b"\xef\xbb\xbf" + PLATEAU.replace("\n", "\r\n").encode()
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content)))
    assert plateau.main(["check", "-", "--format", "github"]) == 0
    assert capfd.readouterr().out.startswith("::warning file=<stdin>,line=")
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"x: 1")))
    assert plateau.main(["check", "-"]) == 2
    assert capfd.readouterr().err.startswith('<stdin>:1:2: ":" after the key "x"')


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("full plateau --plot a.png", "--plot with several curricula: expected one\n"),
        ("full plateau --counterexample a", "--counterexample with several curricula: expected one\n"),
    ],
)
def test_words_that_do_not_go_together(words: str, sentence: str, capfd: pytest.CaptureFixture[str]) -> None:
    """What is possible for one curriculum alone is refused with several."""
    assert plateau.main(["check", *words.split()]) == 2
    assert capfd.readouterr() == ("", sentence)


def test_two_formats(capfd: pytest.CaptureFixture[str]) -> None:
    """Who asks for JSON and for another format gets neither, and is told so in JSON."""
    assert plateau.main(["check", "full", "--json", "--format", "sarif"]) == 2
    assert "--json and --format sarif: expected one of the two" in capfd.readouterr().out


def test_without_a_place(capfd: pytest.CaptureFixture[str]) -> None:
    """A curriculum that does not fit its run, or is not there, is annotated at its first line."""
    assert plateau.main(["check", "plateau", "nowhere.toml", "--limit", "cutoff=1", "--format", "github"]) == 2
    first, second = capfd.readouterr().out.splitlines()
    assert "limit-below-ladder" in first
    assert second.startswith("::error file=nowhere.toml,line=1,col=1,endColumn=1,title=plateau check%3A no-such-file::")


@pytest.mark.source
def test_hooks(pytestconfig: pytest.Config) -> None:
    """The hooks of pre-commit call commands that there are, on TOML files."""
    text = (pytestconfig.rootpath / ".pre-commit-hooks.yaml").read_text(encoding="utf-8")
    assert re.findall(r"^- id: (.+)$", text, re.MULTILINE) == ["plateau-check", "plateau-fmt"]
    entries = re.findall(r"^  entry: plateau (.+)$", text, re.MULTILINE)
    assert entries == ["check --format brief", "fmt"]
    assert re.findall(r"^  files: (.+)$", text, re.MULTILINE) == ["(^|/)curricula/"] * 2
