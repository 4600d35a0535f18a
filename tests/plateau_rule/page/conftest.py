"""Runs that every test of the page may look at, and a client of their server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from plateau_rule.controller.binding import Binding
from plateau_rule.page.answers import Answers
from plateau_rule.page.desk import Desk
from plateau_rule.page.opening import open_folder
from plateau_rule.page.run import Run
from plateau_rule.page.server import make_app
from tests.plateau_rule.page.runs import Training

TOKEN = "a-token"


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that is over: raises at 160, 320 and 560 of 1,600 steps."""
    folder = tmp_path_factory.mktemp("runs") / "finished"
    Training(folder).train().close()
    return folder


@pytest.fixture
def answers(finished: Path) -> Answers:
    """The answers about that run."""
    return Answers(Run(open_folder(finished, None, Binding())))


@pytest.fixture
def client(answers: Answers) -> TestClient:
    """A browser's place: asks the server of that run as its own page would."""
    return TestClient(make_app(Desk.of(answers), TOKEN), base_url="http://127.0.0.1:8421", raise_server_exceptions=True)


@pytest.fixture
def ask(client: TestClient) -> Callable[..., object]:
    """Ask a question, and give the JSON of the answer."""

    def asked(question: str, /, **values: object) -> object:
        answer = client.get(f"/{TOKEN}/{question}", params={name: str(value) for name, value in values.items()})
        assert answer.status_code == 200, answer.text
        return answer.json()

    return asked
