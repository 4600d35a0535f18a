"""A run that goes on, followed in a browser: to its raises, through a kill and a resume, in many tabs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from plateau_rule.controller.binding import Binding
from plateau_rule.page.growing import follow_log
from plateau_rule.page.opening import Opened, open_folder
from plateau_rule.sim.logs import read
from tests.browser.conftest import Page, raised
from tests.plateau_rule.page.runs import Training, loss_at

Look = Callable[..., Page]
Serve = Callable[[Opened], str]
pytestmark = pytest.mark.slow


def headline(page: Page, words: str) -> None:
    """Wait until the page says so."""
    page.locator("h1").filter(has_text=words).wait_for()


def test_a_run_is_followed_to_its_raise(look: Look, serve: Serve, tmp_path: Path) -> None:
    """From an empty log on, the page shows each loss as it comes, each raise as it falls, and the end."""
    training = Training(tmp_path / "run")
    page = look(serve(open_folder(training.folder, None, Binding())), ready="ready")
    headline(page, "syntax, before the first loss")
    assert page.locator("#live").inner_text() == "live"
    training.train(100)
    headline(page, "syntax from the start")
    page.locator("#subline").filter(has_text="step 100 of 1,600").wait_for()
    training.train(170)
    headline(page, "words since step 160")
    raised(page, "160")
    training.train()
    headline(page, "full since step 560")
    page.locator("#live").wait_for(state="hidden")
    training.close()


def test_a_resume_cuts_back(look: Look, serve: Serve, tmp_path: Path) -> None:
    """A run that was killed and resumed earlier is shown from there, and the page says where it was cut."""
    training = Training(tmp_path / "run").train(430)
    page = look(serve(open_folder(training.folder, None, Binding())))
    headline(page, "spelling since step 320")
    training.resume(240).train(300)
    headline(page, "words since step 160")
    assert page.locator("#cut").inner_text() == "cut back to step 240"
    raised(page, "160")
    training.close()


def test_a_log_of_another_trainer_is_followed(look: Look, serve: Serve, tmp_path: Path) -> None:
    """A log without a record of its run, under a curriculum that is named: from its first line to its raises."""
    path, given = tmp_path / "log.csv", Binding(epochs=20, steps_per_epoch=80)
    reads = partial(read, str(path))
    path.write_text("step,loss\n")

    def log(start: int, stop: int) -> None:
        with path.open("a") as file:
            file.writelines(
                f"{step},{loss_at(step, step - step % 160, step // 160):.5f}\n" for step in range(start, stop)
            )

    page = look(serve(follow_log(str(path), "plateau", given, reads, reads, lambda why: None)), ready="ready")
    headline(page, "syntax, before the first loss")
    log(0, 100)
    headline(page, "syntax from the start")
    assert page.locator("#live").inner_text() == "live"
    log(100, 200)
    headline(page, "words since step 160")
    raised(page, "160")
    log(200, 400)
    headline(page, "spelling since step 320")


def test_ten_tabs(look: Look, serve: Serve, tmp_path: Path) -> None:
    """Ten tabs of one browser follow a run at once, and go on when the first of them is closed."""
    training = Training(tmp_path / "run").train(100)
    url = serve(open_folder(training.folder, None, Binding()))
    first = look(url)
    tabs = [look(url, tab_of=first) for _ in range(9)]
    training.train(200)
    for page in (first, *tabs):
        headline(page, "words since step 160")
    first.close()
    training.train(400)
    for page in tabs:
        headline(page, "spelling since step 320")
    training.close()
