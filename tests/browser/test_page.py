"""The page in a browser: what a user sees, and what happens when it is touched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from plateau_rule.controller.binding import Binding
from plateau_rule.page.answers import Answers
from plateau_rule.page.desk import Desk
from plateau_rule.page.opening import Opened, open_folder, open_log, open_nothing
from plateau_rule.page.outline import outline_of
from plateau_rule.page.record import read_record
from plateau_rule.page.report import write_report
from plateau_rule.page.run import Run
from plateau_rule.sim.logs import read
from tests.browser.conftest import Page, raised, served, watch
from tests.plateau_rule.page.runs import Training

Look = Callable[..., Page]
Serve = Callable[[Opened], str]
pytestmark = pytest.mark.slow


def text(page: Page, selector: str) -> str:
    """The text of an element."""
    return str(page.locator(selector).text_content())


def at(page: Page, step: int, row: float | None = None) -> tuple[float, float]:
    """Where a step is on the chart; in the map's row at a share of its height, if one is named."""
    box = page.locator("#chart").bounding_box()
    left, right, last = 70, 8, 1600
    x = box["x"] + left + (box["width"] - left - right) * step / last
    return x, box["y"] + (100 if row is None else box["height"] - 20 - 90 * (1 - row))


def outcome(page: Page) -> list[str]:
    """The rows of the table of entries."""
    return [row.replace("\t", " ") for row in page.locator("#outcome tbody tr").all_inner_texts()]


def test_where_the_run_is(page: Page) -> None:
    """The page opens with a sentence that says where the run is, its states, its raises and what was checked."""
    assert text(page, "h1") == "full since step 560"
    assert "step 1,600 of 1,600 · epoch 20 · cutoff 1,025" in text(page, "#subline")
    assert page.locator("[data-state].here").get_attribute("data-state") == "full"
    raised(page, "160", "320", "560")
    assert page.locator("#why .history button").first.inner_text().startswith("syntax → words at step 160")
    page.wait_for_selector("body[data-checked]")
    assert "5 properties proved" in text(page, "#check-list")


def test_the_cursor_reads_a_step(page: Page) -> None:
    """Moving over the chart says what held at that step."""
    page.mouse.move(*at(page, 100))
    said = text(page, "#readout")
    assert "· epoch 1 · syntax · loss 2.6" in said
    assert "cutoff 128 · rate" in said


def test_why_not_at_a_step(page: Page) -> None:
    """A click tells why there was no raise at that step: each guard, its value, and a meter; `now` goes back."""
    page.mouse.click(*at(page, 120))
    page.wait_for_selector("#now:visible")
    assert text(page, "#why-title").startswith("Why not at step 1")
    assert text(page, ".verdict") == "In syntax, held by min_epoch and flat."
    assert "improved by" in text(page, "#why")
    assert page.locator("#why .meter .value-dot").count() == 1
    assert page.locator("[data-state].here").get_attribute("data-state") == "syntax"
    page.click("#now")
    page.locator("#now").wait_for(state="hidden")
    step = page.get_by_role("spinbutton", name="Why at step", exact=True)
    assert step.input_value() == ""
    step.fill("300")
    step.press("Enter")
    page.locator("#why-title").filter(has_text="Why not at step 300").wait_for()
    assert text(page, ".verdict").startswith("In words")
    step.fill("")
    step.press("Enter")
    page.locator("#now").wait_for(state="hidden")


def test_other_windows_that_would_have_raised(page: Page) -> None:
    """At a step that waits, the page names windows that would have raised by then; one click tries such a window."""
    page.mouse.click(*at(page, 300))
    option = page.locator("#others .option").first
    option.wait_for()
    window = option.locator("b").inner_text()
    option.click()
    page.wait_for_selector("#outcome td.changed")
    assert page.locator("#setting-0").input_value() == window


def test_a_slider_moves_the_raises(page: Page) -> None:
    """While a slider is turned the raises move, and so does the number in the file; Home brings it back."""
    assert outcome(page) == ["words 160", "spelling 320", "full 560"]
    slider = page.locator("#tunables input[type=range]").first
    slider.focus()
    for _ in range(10):
        page.keyboard.press("PageUp")
    page.locator("#file ins").filter(has_text="1600").wait_for()
    assert all("never" in row for row in outcome(page))
    page.keyboard.press("Home")
    page.wait_for_selector("#outcome td.changed", state="detached")
    assert page.locator("#file ins").count() == 0
    assert outcome(page) == ["words 160", "spelling 320", "full 560"]


def test_a_number_moves_the_raises(page: Page) -> None:
    """A typed number does the same, and what differs is hatched from the first raise that moved."""
    page.fill("#setting-0", "200")
    page.wait_for_selector("#outcome td.changed")
    assert outcome(page) == ["words 160 960 +800", "spelling 320 1,200 +880", "full 560 1,440 +880"]
    assert page.locator("#chart text.tried").filter(has_text="960").count() == 1
    assert "these losses are of another run" in text(page, "#outcome")
    page.click("#reset")
    page.wait_for_selector("#outcome td.changed", state="detached")


def test_a_number_that_cannot_be_is_said(page: Page) -> None:
    """A number that the file may not hold is answered by the fault's words, and the picture stays."""
    page.fill("#setting-0", "-3")
    page.wait_for_selector("#outcome .fault")
    assert "window" in text(page, "#outcome .fault")
    raised(page, "160", "320", "560")


def test_dragging_through_the_map(page: Page) -> None:
    """Dragging through the map of raises tries its values, as the slider does."""
    page.mouse.move(*at(page, 800, row=0.95))
    page.mouse.down()
    page.mouse.move(*at(page, 800, row=0.1), steps=5)
    page.mouse.up()
    page.wait_for_selector("#outcome td.changed")
    assert float(page.locator("#setting-0").input_value()) > 500


def test_zoom(page: Page) -> None:
    """Dragging zooms, and Esc shows all of it again."""
    page.mouse.move(*at(page, 300))
    page.mouse.down()
    page.mouse.move(*at(page, 700), steps=5)
    page.mouse.up()
    raised(page, "320", "560")
    page.keyboard.press("Escape")
    raised(page, "160", "320", "560")


def test_by_keys_alone(page: Page) -> None:
    """Everything on the chart can be done by keys: to a raise, along the steps, why, zoom, and back."""
    page.focus("#chart")
    for key in ("Home", "n", "n"):
        page.keyboard.press(key)
    page.locator("#why-title").filter(has_text="320").wait_for()
    assert text(page, ".verdict") == "From words to spelling at this step, by transition 1."
    page.keyboard.press("Shift+ArrowLeft")
    assert "words" in str(page.locator("#chart").get_attribute("aria-valuetext"))
    page.keyboard.press("Enter")
    page.locator("#why-title").filter(has_text="Why not at step").wait_for()
    page.keyboard.press("+")
    page.keyboard.press("+")
    page.locator("#chart text.raise").nth(2).wait_for(state="detached")
    page.keyboard.press("Escape")
    page.locator("#chart text.raise").nth(2).wait_for()
    page.keyboard.press("Escape")
    page.locator("#now").wait_for(state="hidden")


NAME = """node => node.ariaLabel || node.innerText
    || document.getElementById(node.getAttribute("aria-labelledby"))?.innerText"""


def test_everything_has_a_name(page: Page) -> None:
    """All that can be used has a name for a screen reader, and the chart says its step and what holds there."""
    for element in page.locator("button, input, [tabindex='0'], section").all():
        name = element.evaluate(NAME)
        assert name, element.evaluate("node => node.outerHTML.slice(0, 200)")
    chart = page.get_by_role("slider", name="Step of the run")
    assert chart.get_attribute("aria-valuenow") == "1599"
    assert page.get_by_role("slider", name="window, flat").count() == 1
    assert page.get_by_role("heading", level=1).inner_text() == "full since step 560"


@pytest.mark.parametrize("width", [390, 320, 768])
def test_on_a_phone(width: int, look: Look, serve: Serve, finished: Path) -> None:
    """On a phone all stands in one column, and nothing sticks out sideways."""
    page = look(serve(open_folder(finished, None, Binding())), width=width, height=844)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    tops = [
        page.locator(one).bounding_box()["y"] for one in ("#run-card", "#why-card", "#whatif-card", "#machine-card")
    ]
    assert tops == sorted(tops)


def test_light_and_dark(look: Look, serve: Serve, finished: Path) -> None:
    """The page follows the system's colours, and the button turns them."""
    page = look(serve(open_folder(finished, None, Binding())), scheme="dark")
    colour = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(colour) == "rgb(19, 21, 23)"
    page.click("#theme")
    assert page.evaluate(colour) == "rgb(244, 244, 241)"


def test_a_broken_curriculum(look: Look, serve: Serve, finished: Path) -> None:
    """What `check` calls broken stands first; a click shows the run that breaks it, on the curve and on the machine."""
    page = look(serve(open_folder(finished, "misaligned", Binding())), ready="checked")
    assert page.locator("#check-list li").first.inner_text().startswith("✕")
    found = page.locator("#check-list button").first
    found.click()
    assert "95 % is asked" in text(page, "#chart text.shows")
    assert page.locator(".example-run [data-state].been").get_attribute("data-state") == "syntax"
    assert page.locator(".example-run [data-state].here").get_attribute("data-state") == "words"
    assert page.locator("#machine .when").all_text_contents() == ["at step 160"]
    found.click()
    assert page.locator("[data-state].here").get_attribute("data-state") == "full"
    assert page.locator(".example-run, #chart text.shows").count() == 0


def test_without_losses(look: Look, serve: Serve) -> None:
    """A curriculum alone shows its machine over simulated losses, as noisy as a slider says."""
    page = look(serve(open_nothing("plateau", Binding(epochs=20, steps_per_epoch=100))), ready="checked")
    assert "simulated losses" in text(page, "#origin")
    before = text(page, "#noise")
    page.get_by_role("slider", name="noise, of simulated losses").focus()
    page.keyboard.press("PageUp")
    page.locator("#noise").filter(has_not_text=before).wait_for()


def test_a_run_before_its_first_loss(look: Look, serve: Serve, tmp_path: Path) -> None:
    """A run that has just begun says that its curve is to come."""
    page = look(serve(open_folder(Training(tmp_path / "run").folder, None, Binding())), ready="checked")
    assert page.locator("[data-state].here").get_attribute("data-state") == "syntax"
    assert "No loss yet" in text(page, "#chart")


def test_what_is_tried_can_be_saved(look: Look, serve: Serve, finished: Path, tmp_path: Path) -> None:
    """With --edit a button saves what was tried, and the page goes on under the saved file."""
    path = tmp_path / "mine.toml"
    path.write_text((finished / "curriculum.toml").read_text())
    page = look(serve(replace(open_folder(finished, str(path), Binding()), edit=path)))
    assert page.locator("#save").is_hidden()
    page.fill("#setting-0", "200")
    page.get_by_role("button", name="save into mine.toml").click()
    page.locator("h1").filter(has_text="full since step 1,440").wait_for()
    assert "window = 200," in path.read_text()
    page.locator("#save").wait_for(state="hidden")


def test_a_refused_save_stays_on_the_page(
    look: Look, serve: Serve, finished: Path, tmp_path: Path, problems: list[str]
) -> None:
    """A file that another program changed is not overwritten, and no later answer takes the words about it away."""
    path = tmp_path / "mine.toml"
    path.write_text((finished / "curriculum.toml").read_text())
    page = look(serve(replace(open_folder(finished, str(path), Binding()), edit=path)))
    path.write_text("mine = true\n")
    page.fill("#setting-0", "200")
    page.get_by_role("button", name="save into mine.toml").click()
    page.locator("#trouble").filter(has_text="was changed since this page was opened").wait_for()
    page.fill("#setting-0", "300")
    page.locator(".outcome, #outcome").filter(has_text="what if").wait_for()
    assert page.locator("#trouble").is_visible()
    assert path.read_text() == "mine = true\n"
    page.get_by_role("button", name="back to the file").click()
    page.locator("#trouble").wait_for(state="hidden")
    assert ["422" in one for one in problems] == [True]  # as the console says it
    problems.clear()


def test_a_logarithmic_axis(page: Page) -> None:
    """The axis of the loss turns logarithmic by a button, or by `l`."""
    page.click("#log")
    assert "log loss" in text(page, "#chart")
    page.focus("#chart")
    page.keyboard.press("l")
    assert "log loss" not in text(page, "#chart")


def test_a_log_without_a_finite_loss(look: Look, serve: Serve, tmp_path: Path) -> None:
    """A log of NaN alone is drawn as such, and says how it ended."""
    path = tmp_path / "nan.csv"
    path.write_text("step,loss\n" + "".join(f"{step},nan\n" for step in range(50)))
    page = look(serve(open_log(read(str(path)), str(path), "plateau", Binding())), ready="ready")
    assert "not a finite number" in text(page, "#chart")


def test_many_states(look: Look, serve: Serve, tmp_path: Path) -> None:
    """A curriculum of 256 states is drawn, and can be asked."""
    states = "".join(f'[[state]]\nname = "s{i}"\nset = {{ x = {i + 1} }}\n' for i in range(256))
    (tmp_path / "many.toml").write_text(
        'format = 1\nname = "many"\n[run]\nepochs = 30\nsteps_per_epoch = 100\n[lr]\npeak = 1.0\n'
        f"[knob.x]\nrange = {{ min = 1, max = 256 }}\n{states}"
        '[[transition]]\nfrom = "*"\nto = "next"\nguards = [{ dwell = "9 steps" }]\nactions = ["lr_restart"]\n'
    )
    path = tmp_path / "losses.csv"
    path.write_text("step,loss\n" + "".join(f"{step},{3 - step / 3000}\n" for step in range(3000)))
    page = look(serve(open_log(read(str(path)), str(path), str(tmp_path / "many.toml"), Binding())))
    assert page.locator("[data-state]").count() == 256
    assert page.locator("[data-state].here").is_visible()
    page.mouse.click(*at(page, 800))
    page.wait_for_selector("#now:visible")


HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>\"'&"


def test_text_from_outside_stays_text(look: Look, serve: Serve, tmp_path: Path) -> None:
    """Markup in what a file says, and in the names of files, is shown as text, and nothing of it runs."""
    folder = tmp_path / "<b>bold"
    folder.mkdir()
    file, log = folder / "<i>.toml", folder / "<img src=y onerror=alert(3)>.csv"
    said = HOSTILE.replace("\\", "").replace('"', '\\"')
    file.write_text(
        f'format = 1\nname = "x"\ndescription = "{said}"\n# {HOSTILE}\n[run]\nepochs = 3\nsteps_per_epoch = 100\n'
        f'[lr]\npeak = 1.0\n[knob.x]\nunit = "{said}"\nladder = [1, 2]\n'
        '[[state]]\nname = "a"\nset = { x = 1 }\n[[state]]\nname = "b"\n'
        f'set = {{ x = 2 }}\nstop = "{said}"\n[[transition]]\nfrom = "a"\nto = "b"\nguards = [{{ min_epoch = 2 }}]\n'
        'actions = ["lr_restart"]\n'
    )
    log.write_text("step,loss,<b>val_loss</b>\n" + "".join(f"{step},2.5,1\n" for step in range(250)))
    opened = open_log(read(str(log), column="loss"), str(log), str(file), Binding())
    page = look(serve(opened))
    assert HOSTILE in text(page, "#file")
    assert HOSTILE in text(page, "#subline")
    assert "<img src=y onerror=alert(3)>" in text(page, "#origin")
    assert page.locator("img, #file script, b b").count() == 0
    report = tmp_path / "report.html"
    write_report(Run(opened), report)
    assert HOSTILE in text(look(report.as_uri()), "#file")


def test_a_report_needs_no_server(look: Look, finished: Path, tmp_path: Path) -> None:
    """A report opens from the disk, asks nobody, and answers: why, other values, zoom."""
    path = tmp_path / "run.html"
    write_report(Run(open_folder(finished, None, Binding())), path)
    page = look(path.as_uri())
    assert text(page, "h1") == "full since step 560"
    page.mouse.click(*at(page, 120))
    page.wait_for_selector("#now:visible")
    assert text(page, ".verdict").startswith("In syntax, held by")
    page.fill("#setting-0", "300")
    page.wait_for_selector("#outcome td.changed")
    assert page.locator("#file ins").count() == 1
    page.focus("#chart")
    page.keyboard.press("+")
    assert page.locator("#chart .mean").get_attribute("d")


def test_a_report_of_a_log_with_gaps_reads_as_the_page(look: Look, serve: Serve, tmp_path: Path) -> None:
    """Where every tenth step was logged, a report and the page say the same of the last step: its loss, smoothed."""
    log, path = tmp_path / "log.csv", tmp_path / "run.html"
    log.write_text("step,loss\n" + "".join(f"{10 * row},{3 - row / 1000}\n" for row in range(400)))
    opened = open_log(read(str(log)), str(log), "plateau", Binding())
    write_report(Run(opened), path)
    said = [text(look(url), "#readout") for url in (path.as_uri(), serve(opened))]
    assert "loss 2.602 " in said[0]
    assert said[0] == said[1]


@pytest.mark.parametrize(
    ("does", "said"),
    [
        ("setTimeout(() => { throw new Error('planted'); })", "error: planted"),
        ("console.error('planted')", "error: planted"),
    ],
)
def test_what_goes_wrong_is_seen(does: str, said: str, browser: Any, serve: Serve, finished: Path) -> None:
    """Canary: an error and a line on the console are each written down."""
    url, problems = serve(open_folder(finished, None, Binding())), list[str]()
    context = browser.new_context()
    page = context.new_page()
    watch(page, url, problems)
    page.goto(url)
    page.wait_for_selector("body[data-checked]")
    page.evaluate(does)
    page.wait_for_timeout(100)
    context.close()
    assert any(said in problem for problem in problems), problems


def test_a_request_to_somebody_else_is_seen(browser: Any, serve: Serve, finished: Path) -> None:
    """Canary: where another server is the page's own, each request of the page is one to somebody else."""
    problems = list[str]()
    context = browser.new_context()
    page = context.new_page()
    watch(page, "http://127.0.0.1:1/elsewhere/", problems)
    page.goto(serve(open_folder(finished, None, Binding())))
    page.wait_for_selector("body[data-checked]")
    context.close()
    assert any(problem.startswith("asks http://127.0.0.1:") for problem in problems)


def test_answers_of_a_report_are_the_servers(finished: Path) -> None:
    """What stands in a report is what the server answers."""
    answers = Answers(Run(open_folder(finished, None, Binding())))
    assert answers.tried_beside('["guard","flat","plateau","window"]', 200)["parts"] == 160


def test_the_machine_is_drawn_while_the_log_is_read(browser: Page, finished: Path, problems: list[str]) -> None:
    """Before the log is read the page stands there with its machine; then the curve comes by itself."""
    release = Event()

    def opens() -> Answers:
        release.wait()
        return Answers(Run(open_folder(finished, None, Binding())))

    with served(Desk(opens, lambda: outline_of(read_record(finished, None, Binding())))) as url:
        page = browser.new_page()
        watch(page, url, problems)
        page.goto(url)
        page.locator("#machine svg").wait_for()
        assert page.locator("h1").inner_text() == "Reading the run"
        assert page.locator("#chart .mean").count() == 0
        release.set()
        page.locator("h1").filter(has_text="full since step 560").wait_for()
        page.locator("#chart .mean").wait_for()
        page.close()
    assert problems == []
