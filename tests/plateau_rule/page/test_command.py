"""The commands `plateau page` and `plateau report`: what they take, and what they say."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import socket
from pathlib import Path

import pytest

from plateau_rule.commands import app as plateau
from plateau_rule.page import serving
from plateau_rule.page.answers import Answers
from plateau_rule.page.assets import joined
from plateau_rule.page.desk import Desk
from plateau_rule.page.link import has_screen
from plateau_rule.page.report import report_of, values_of


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Desk]:
    """What is to be served; nothing is, and a run is opened at once."""
    found: list[Desk] = []

    def serve(desk: Desk, token: str, listening: socket.socket) -> int:
        listening.close()
        desk.begin(lambda: None)
        desk.answers()
        found.append(desk)
        return 0

    monkeypatch.setattr(serving, "serve", serve)
    return found


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log of somebody else's."""
    path = tmp_path / "losses.csv"
    path.write_text("step,loss\n" + "".join(f"{step},{3 + 1 / (1 + step):.4f}\n" for step in range(300)))
    return path


def test_a_run_needs_no_further_word(served: list[Desk], finished: Path) -> None:
    """The folder of a run, or the log in it, says under which curriculum it was trained."""
    for word in (str(finished), str(finished / "metrics.jsonl")):
        assert plateau.main(["page", word]) == 0
    assert [len(desk.answers().run.session) for desk in served] == [1600, 1600]


@pytest.mark.parametrize("words", [("plateau", "LOG"), ("LOG", "plateau")])
def test_a_log_needs_a_curriculum(words: tuple[str, ...], served: list[Desk], log: Path) -> None:
    """A log and a curriculum may be named in either order, and are bound as the options say."""
    named = [str(log) if word == "LOG" else word for word in words]
    bound = ["--epochs", "3", "--steps-per-epoch", "100"]
    assert plateau.main(["page", *named, *bound, "--no-browser", "--port", "0"]) == 0
    session = served[0].answers().run.session
    assert (len(session), session.machine.total_steps) == (300, 300)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "plateau page: name what to show: plateau page RUN, or plateau page CURRICULUM LOG"),
        (["LOG"], "no folder of a run, which would say its curriculum. Name one: plateau page RUN"),
        (["plateau", "full"], "expected one curriculum: plateau page RUN"),
        (["plateau", "nowhere.csv"], "there is no such file"),
        (["nowhere.toml", "LOG"], "nowhere.toml"),
        (["plateau", "LOG", "--port", "70000"], "expected at most 65535"),
    ],
)
def test_what_cannot_be_shown_is_a_sentence(
    words: list[str], sentence: str, served: list[Desk], log: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Words that name too little, too much, or what is not there, are answered by a sentence."""
    assert plateau.main(["page", *(str(log) if word == "LOG" else word for word in words)]) == 2
    assert sentence in capfd.readouterr().err
    assert served == []


def test_a_port_that_is_taken_is_a_sentence(capfd: pytest.CaptureFixture[str]) -> None:
    """A port that somebody else listens on is named, with what to do."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert plateau.main(["page", "plateau", "--no-browser", "--port", str(port)]) == 2
    assert f"--port {port}: cannot be listened on" in capfd.readouterr().err


def test_no_browser_takes_a_terminal_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over ssh, no browser is opened: it would be one for terminals, on the wrong machine."""
    monkeypatch.setenv("SSH_CONNECTION", "there")
    monkeypatch.setenv("DISPLAY", ":0")
    assert not has_screen()


def test_report(finished: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A report is one file that names its script and style by their hashes, and loads nothing."""
    path = tmp_path / "run.html"
    assert plateau.main(["report", str(finished), "-o", str(path)]) == 0
    assert capfd.readouterr().out == f"Written: {path}\n"
    text = path.read_text()
    policy = re.search(r'http-equiv="content-security-policy" content="([^"]*)"', text)
    assert policy is not None
    for tag in ("style", 'script type="module"'):
        body = re.search(rf"<{tag}>(.*?)</{tag.split()[0]}>", text, re.DOTALL)
        assert body is not None
        digest = base64.b64encode(hashlib.sha256(body[1].encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy[1]
    assert not re.search(r"""(src|href)=["'](?!data:)""", text)
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert data is not None
    kept = json.loads(data[1])
    assert [one["to"] for one in kept["meta"]["decisions"]] == ["words", "spelling", "full"]
    assert len(text) < 1_000_000


def test_no_data_of_a_report_ends_its_script(answers: Answers) -> None:
    """A name that holds markup stays data: no `<` of it reaches the file."""
    object.__setattr__(answers.run.opened, "origin", "</script><script>alert(1)</script>")
    text = report_of(answers)
    assert "alert(1)" in text
    assert "<script>alert" not in text


def test_modules_can_stand_behind_each_other() -> None:
    """Joined into one, the modules define each of their names once, and import nothing."""
    text = joined()
    names = re.findall(r"^(?:async )?(?:function|class|const|let) (\w+)", text, re.MULTILINE)
    assert len(names) == len(set(names))
    assert not re.search(r"^(import|export) ", text, re.MULTILINE)


def test_a_report_holds_the_files_own_value() -> None:
    """Among the values of a setting that a report knows are the file's own, the least and the most."""
    tunable = {"min": 2.0, "max": 1600.0, "value": 51.0, "log": True, "whole": True}
    assert {2.0, 51.0, 1600.0} <= set(values_of(tunable))
