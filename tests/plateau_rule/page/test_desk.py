"""The page is there before its run is read, and says why where it cannot be."""

from __future__ import annotations

import re
from threading import Event

import pytest
from starlette.testclient import TestClient

from plateau_rule.controller.binding import Binding
from plateau_rule.page import desk as module
from plateau_rule.page.answers import Answers
from plateau_rule.page.desk import Desk
from plateau_rule.page.errors import PageError
from plateau_rule.page.outline import outline_of
from plateau_rule.page.record import read_curriculum
from plateau_rule.page.server import make_app
from tests.plateau_rule.page.conftest import TOKEN

ORIGIN = "http://127.0.0.1:8421"


def client_of(desk: Desk) -> TestClient:
    """A browser's place."""
    return TestClient(make_app(desk, TOKEN), base_url=ORIGIN)


def test_the_machine_is_there_before_the_log(answers: Answers) -> None:
    """While the run is opened the machine is told, with the same fields as later; then comes what the log says."""
    release = Event()

    def opens() -> Answers:
        release.wait()
        return answers

    desk = Desk(opens, lambda: outline_of(read_curriculum("log", "plateau", Binding())))
    client = client_of(desk)
    assert client.get(f"/{TOKEN}/page.js").status_code == 200
    assert desk.poll() is None
    desk.begin(lambda: None)
    before = client.get(f"/{TOKEN}/meta").json()
    release.set()
    assert len(client.get(f"/{TOKEN}/curve?from=0&to=1600&width=100").content) == 2000  # it waits
    after = client.get(f"/{TOKEN}/meta").json()
    assert before.keys() == after.keys()
    assert (before["opening"], before["points"], after["opening"], after["points"]) == (True, 0, False, 1600)
    assert [one["name"] for one in before["states"]] == [one["name"] for one in after["states"]]
    assert desk.poll() == {"n": 1600, "gen": 0, "more": False}
    assert desk.poll() is None


@pytest.mark.parametrize("outlined", [True, False])
def test_what_cannot_be_opened_is_said_to_the_page(outlined: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that is open already hears why the run cannot be shown, and the server is told to end."""
    ended = Event()
    monkeypatch.setattr(module, "TOLD_S", 0.0)

    def opens() -> Answers:
        raise PageError("the log goes up to step 10**12")

    def outlines() -> dict[str, str]:
        if not outlined:
            raise PageError("the same, earlier")
        return {"name": "x"}

    desk = Desk(opens, outlines)
    client = client_of(desk)
    desk.load()
    desk.begin(ended.set)
    while (answer := client.get(f"/{TOKEN}/meta")).status_code == 200:
        pass
    assert (answer.status_code, answer.text) == (422, "the log goes up to step 10**12")
    assert re.match("the log", str(desk.fault))
    assert desk.poll() is None
    assert ended.wait(10)


def test_a_server_that_ends_lets_go_who_waits(answers: Answers) -> None:
    """Ctrl-C while a log is still read keeps nobody waiting for it, and is no fault."""
    release, opened = Event(), Event()

    def opens() -> Answers:
        release.wait()
        opened.set()
        return answers

    desk = Desk(opens)
    desk.load()
    desk.begin(lambda: None)
    desk.end()
    for question in (desk.answers, desk.meta):
        with pytest.raises(PageError, match="the server was stopped"):
            question()
    release.set()
    assert opened.wait(10)
    assert (desk.fault, desk.poll()) == (None, None)
