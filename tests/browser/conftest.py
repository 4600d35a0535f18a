"""A real browser that looks at the page: `make test-page` runs these tests, and names the browser by PLATEAU_BROWSER.

It is Chromium, or a Firefox as new as Playwright expects.

Whatever goes wrong in a page, an error, a warning on the console, or a request to anybody but its own server, fails the
test that opened it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from plateau_rule.controller.binding import Binding
from plateau_rule.page.answers import Answers
from plateau_rule.page.desk import Desk
from plateau_rule.page.link import listen
from plateau_rule.page.opening import Opened, open_folder
from plateau_rule.page.run import Run
from plateau_rule.page.serving import make_server
from tests.plateau_rule.page.runs import Training

BROWSER = os.environ.get("PLATEAU_BROWSER", "")
TOKEN = "a-token"
Page = Any  # playwright's; it is installed where the lane runs

pytestmark = pytest.mark.slow


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave these tests to their own lane."""
    for item in items:
        if Path(__file__).parent in item.path.parents and not BROWSER:
            item.add_marker(pytest.mark.skip(reason="`make test-page` runs this, in a browser"))


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """The browser, started once."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        if "firefox" in Path(BROWSER).name:
            started = driver.firefox.launch(channel="moz-firefox", executable_path=BROWSER)
        else:
            started = driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox", "--disable-gpu"])
        yield started
        started.close()


@contextmanager
def served(desk: Desk) -> Iterator[str]:
    """Serve a page in a thread; its address."""
    listening = listen(0)
    server = make_server(desk, TOKEN)
    thread = Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/{TOKEN}/"
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


@pytest.fixture
def serve() -> Iterator[Callable[[Opened], str]]:
    """A function that serves a run until the test is over."""
    with ExitStack() as stack:
        yield lambda opened: stack.enter_context(served(Desk.of(Answers(Run(opened)))))


@pytest.fixture
def problems() -> list[str]:
    """What has gone wrong in the pages of a test, which fails if there is anything."""
    return []


@pytest.fixture
def look(browser: Any, serve: Callable[[Opened], str], problems: list[str]) -> Iterator[Callable[..., Page]]:
    """A function that opens a page, and waits until it is ready."""
    contexts: list[Any] = []

    def opened(
        url: str, width: int = 1280, height: int = 800, scheme: str = "light", tab_of: Page = None, ready: str = "map"
    ) -> Page:
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        if tab_of is not None:
            context.close()
            context = tab_of.context
        else:
            contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(15_000)
        watch(page, url, problems)
        page.goto(url)
        page.wait_for_selector(f"body[data-{ready}]")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert problems == []


def raised(page: Page, *steps: str) -> None:
    """Wait until these are the raises on the curve, which is drawn after the headline."""
    from playwright.sync_api import expect

    expect(page.locator("#chart text.raise")).to_have_text(list(steps), timeout=15_000)


def watch(page: Page, url: str, problems: list[str]) -> None:
    """Write down what goes wrong in a page."""
    own = url if url.startswith("http") else url.rpartition("/")[0]

    def said(line: Any) -> None:
        if line.type in ("error", "warning"):
            problems.append(f"{line.type}: {line.text}")

    def sent(request: Any) -> None:
        if not request.url.startswith((own, "data:")):
            problems.append(f"asks {request.url}")

    def asked(dialog: Any) -> None:
        problems.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    page.on("pageerror", lambda error: problems.append(f"error: {error}"))
    page.on("console", said)
    page.on("request", sent)
    page.on("dialog", asked)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that is over: raises at 160, 320 and 560 of 1,600 steps."""
    folder = tmp_path_factory.mktemp("runs") / "finished"
    Training(folder).train().close()
    return folder


@pytest.fixture
def page(look: Callable[..., Page], serve: Callable[[Opened], str], finished: Path) -> Page:
    """The page of that run."""
    return look(serve(open_folder(finished, None, Binding())))
