"""Two settings held against each other in a browser: A is kept, B is turned."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from plateau_rule.controller.binding import Binding
from plateau_rule.page.opening import open_folder
from plateau_rule.page.report import write_report
from plateau_rule.page.run import Run
from tests.browser.conftest import Page
from tests.browser.test_page import outcome

pytestmark = pytest.mark.slow


def turn(page: Page, value: str, words: str) -> None:
    """Set the window, and wait until the table of entries has such words."""
    page.fill("#setting-0", value)
    page.locator("#outcome td.changed").filter(has_text=words).first.wait_for()


def hold(page: Page) -> None:
    """Hold a window of 200 as A, and turn on to 120."""
    assert page.locator("#hold").is_hidden()
    turn(page, "200", "960")
    page.click("#hold")
    turn(page, "120", "−80")


def test_two_settings_beside_each_other(page: Page) -> None:
    """Both are on the curve, in the table with what B moves against A, and in the file; letting A go takes it away."""
    hold(page)
    assert page.locator("#held").inner_text().split() == ["A", "window", "200", "let", "go", "B", "window", "120"]
    assert outcome(page) == [
        "words 160 960 +800 880 −80",
        "spelling 320 1,200 +880 1,040 −160",
        "full 560 1,440 +880 1,200 −240",
    ]
    assert page.locator("#chart text.label.tried").all_text_contents() == ["A", "B"]
    assert {"A 960", "B 880"} <= {*page.locator("#chart text.tried").all_text_contents()}
    assert (page.locator("#file del").inner_text(), page.locator("#file ins").inner_text()) == ("200", "120")
    page.get_by_role("button", name="let A go").click()
    assert outcome(page)[0] == "words 160 880 +720"
    assert page.locator("#file del").inner_text() == "50"
    assert page.locator("#chart text.label.tried").all_text_contents() == ["what if"]


def test_a_setting_beside_the_file(page: Page) -> None:
    """Back at the file's own numbers, A stands beside the file alone."""
    hold(page)
    page.click("#reset")
    page.locator("#outcome th").filter(has_text="B").wait_for(state="detached")
    assert outcome(page)[0] == "words 160 960 +800"
    assert page.locator("#file ins").inner_text() == "200"
    assert page.locator(".held-b").inner_text().split() == ["B", "the", "file"]


def test_a_report_holds_two_settings(look: Callable[..., Page], finished: Path, tmp_path: Path) -> None:
    """A report does the same among the values that it knows."""
    write_report(Run(open_folder(finished, None, Binding())), tmp_path / "run.html")
    page = look((tmp_path / "run.html").as_uri())
    page.fill("#setting-0", "200")
    page.wait_for_selector("#hold:visible")
    page.click("#hold")
    page.fill("#setting-0", "1600")
    page.locator("#outcome td.changed").filter(has_text="never").first.wait_for()
    assert page.locator("#outcome th").all_inner_texts() == ["to", "the file", "A", "B"]
