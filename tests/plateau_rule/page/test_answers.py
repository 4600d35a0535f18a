"""What the page is told is what the Controller decided, and would have decided."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plateau_rule.controller.binding import Binding
from plateau_rule.controller.controller import Controller
from plateau_rule.controller.errors import CurriculumError
from plateau_rule.controller.language.reading import loads
from plateau_rule.controller.language.writing import formatted
from plateau_rule.page.answers import Answers
from plateau_rule.page.errors import PageError
from plateau_rule.page.means import means_around
from plateau_rule.page.opening import open_folder, open_nothing
from plateau_rule.page.run import Run
from tests.plateau_rule.page.runs import LIMITS, PER_EPOCH, TOTAL, Training

Ask = Callable[..., Any]
WINDOW = '["guard","flat","plateau","window"]'


def losses(folder: Path) -> list[float]:
    """The losses that a run logged."""
    return [json.loads(line)["loss"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


def raises(text: str, values: list[float]) -> list[tuple[int, str]]:
    """What a Controller of its own decides on losses, under a curriculum's text."""
    controller = Controller(loads(text), limits=LIMITS, epochs=TOTAL // PER_EPOCH, steps_per_epoch=PER_EPOCH)
    found = [controller.observe(value) for value in values]
    return [(one.step, one.to_state) for one in found if one is not None]


def test_meta_tells_what_was_decided(ask: Ask, finished: Path) -> None:
    """The decisions are those that the run itself wrote down, and the stays lie between them."""
    meta = ask("meta")
    written = [json.loads(line) for line in (finished / "decisions.jsonl").read_text().splitlines()]
    assert [(one["step"], one["to"]) for one in meta["decisions"]] == [(one["step"], one["to"]) for one in written]
    assert [stay["from"] for stay in meta["stays"]] == [0, *(one["step"] for one in written)]
    assert (meta["live"], meta["points"], meta["total"], meta["per"]) == (False, TOTAL, TOTAL, PER_EPOCH)
    assert [state["hardness"] for state in meta["states"]] == pytest.approx([0, 1 / 3, 2 / 3, 1])


@pytest.mark.parametrize("value", [10, 40, 50, 120, 200, 700])
def test_whatif_is_what_a_controller_decides(value: int, ask: Ask, finished: Path) -> None:
    """With another window the raises are those of a Controller under the file that is shown beside them."""
    answer = ask("whatif", set=json.dumps([[WINDOW, value]]))
    assert f"window = {value}," in answer["text"]
    assert [(one["step"], one["to"]) for one in answer["decisions"]] == raises(answer["text"], losses(finished))


def test_whatif_says_where_it_parts(ask: Ask) -> None:
    """The first raise that differs is where the losses become those of another run; the file's own number does not."""
    assert ask("whatif", set=json.dumps([[WINDOW, 200]]))["parts"] == 160
    assert ask("whatif", set=json.dumps([[WINDOW, 50]]))["parts"] is None


def test_a_value_that_does_not_fit_is_a_sentence(ask: Ask) -> None:
    """A number that the file may not hold is answered by the fault's own words."""
    assert "window" in ask("whatif", set=json.dumps([[WINDOW, -3]]))["error"]


def test_the_map_holds_the_same(ask: Ask) -> None:
    """Each row of the map is what `whatif` says of its value."""
    values = [20, 50, 200]
    rows = ask("grid", path=WINDOW, values=json.dumps(values))["rows"]
    for row, value in zip(rows, values, strict=True):
        assert row["stays"] == ask("whatif", set=json.dumps([[WINDOW, value]]))["stays"]


def test_why_is_what_explain_says(ask: Ask, finished: Path) -> None:
    """At any step the guards say what `Controller.explain` says there."""
    controller = Controller(
        loads((finished / "curriculum.toml").read_text()), limits=LIMITS, epochs=TOTAL // PER_EPOCH,
        steps_per_epoch=PER_EPOCH,
    )  # fmt: skip
    for step, loss in enumerate(losses(finished)[:150]):
        controller.observe(loss)
        if step % 37 == 0:
            explained = "\n".join(controller.explain())
            ways = ask("why", step=step + 1)["ways"]
            assert all(part["text"] in explained for way in ways for part in way["parts"])


def test_why_at_a_raise_shows_what_took_it(ask: Ask) -> None:
    """At the step of a raise the guards stand as they stood when it was taken, in the state that was left."""
    why = ask("why", step=160)
    assert (why["state"], why["decision"]["to"]) == ("syntax", "words")
    assert [part["verdict"] for part in why["ways"][0]["parts"]] == [True, True]


def test_the_end_tells_how_it_got_there(ask: Ask) -> None:
    """In a run that is over, the last step tells of each transition and what brought it."""
    assert [one["to"] for one in ask("why", step=TOTAL)["history"]] == ["words", "spelling", "full"]
    assert ask("why", step=100)["history"] is None


def test_the_guard_over_time(ask: Ask) -> None:
    """The guard's lane holds its value, unknown at first, and each look at the end of an epoch."""
    lane = ask("track", **{"from": 0}, to=TOTAL, width=600)
    assert (lane["title"], lane["holds"]) == ("flat (plateau)", [None, 0.5])
    assert lane["points"][0][1] is None
    assert [step for step, _, held in lane["looks"] if held] == [160, 320, 560]


def test_check_says_the_same_as_the_command(ask: Ask) -> None:
    """What is checked for every loss: proved properties as one line, what is open with its sentence."""
    kinds = [line["kind"] for line in ask("check")["lines"]]
    assert kinds[0] == "proved"
    assert "broken" not in kinds


def test_a_broken_curriculum_says_so_first(finished: Path) -> None:
    """What is broken stands before what is proved."""
    lines = Answers(Run(open_folder(finished, "misaligned", Binding()))).check()["lines"]
    assert lines[0]["kind"] == "broken"


def test_a_run_is_followed(tmp_path: Path) -> None:
    """A run that goes on, and is then resumed from an earlier step, is at each look what it would be if read anew."""
    training = Training(tmp_path / "run")
    run = Run(open_folder(training.folder, None, Binding()))
    answers = Answers(run)
    assert (answers.meta()["points"], answers.meta()["live"]) == (0, True)
    for until in (1, 100, 170, 400):
        training.train(until)
        event = run.poll()
        assert event is not None
        assert event["n"] == until
    training.resume(240).train(300)
    event = run.poll()
    assert event is not None
    assert (event["cut"], event["n"], event["gen"]) == (240, 300, 1)
    assert run.poll() is None
    anew = Answers(Run(open_folder(training.folder, None, Binding())))
    followed, fresh = answers.meta(), anew.meta()
    assert {**followed, "gen": 0, "cut": None} == fresh
    assert answers.track(0, 300, 1) == anew.track(0, 300, 1)
    assert answers.why(300) == anew.why(300)


def test_an_evaluation_that_comes_later_is_seen_with_its_step(tmp_path: Path) -> None:
    """An evaluation whose row comes after its step was seen already still counts at that step."""
    run = Run(open_folder(Training(tmp_path / "run").train(100).folder, None, Binding()))
    with (tmp_path / "run" / "metrics.jsonl").open("a") as log:
        log.write('{"step": 99, "epoch": 1, "val_loss": 2.5}\n')
    assert run.poll() is not None
    assert run.session.log.evaluations == {99: {"val_loss": 2.5}}
    assert len(run.session) == 100


def test_a_curriculum_by_itself_has_a_page() -> None:
    """Without a log the page shows simulated losses, more or less noisy as asked, and says that they are."""
    answers = Answers(Run(open_nothing("plateau", Binding(epochs=20, steps_per_epoch=100))))
    meta = answers.meta()
    assert (meta["points"], meta["simulated"], meta["live"]) == (2000, 0.03, False)
    assert "simulated" in meta["notes"][0]
    losses = answers.run.session.log.losses
    assert losses[:50].mean() > 2 > losses[-50:].mean()
    answers.simulate(0.2)
    again = answers.meta()
    assert (again["points"], again["simulated"], again["gen"] > meta["gen"]) == (2000, 0.2, True)


def test_what_is_tried_can_be_saved(finished: Path, tmp_path: Path) -> None:
    """With --edit, what was tried is written into the file as `fmt` lays it out, and the page goes on under it."""
    path = tmp_path / "mine.toml"
    path.write_text((finished / "curriculum.toml").read_text())
    answers = Answers(Run(replace(open_folder(finished, str(path), Binding()), edit=path)))
    tried = answers.whatif([(WINDOW, 200)])
    answers.save([(WINDOW, 200)])
    assert path.read_text() == formatted(tried["text"])
    assert answers.meta()["text"] == path.read_text()
    assert [one["step"] for one in answers.meta()["decisions"]] == [one["step"] for one in tried["decisions"]]
    path.write_text(path.read_text() + "# by somebody else\n")
    with pytest.raises(PageError, match="was changed since"):
        answers.save([(WINDOW, 300)])
    with pytest.raises(CurriculumError):
        answers.save([(WINDOW, -3)])
    assert path.read_text().endswith("# by somebody else\n")


def test_a_file_is_saved_where_it_lies(finished: Path, tmp_path: Path) -> None:
    """A link stays a link, the permissions stay, and line ends of another system are no change by somebody else."""
    real, path = tmp_path / "real.toml", tmp_path / "mine.toml"
    real.write_bytes((finished / "curriculum.toml").read_bytes().replace(b"\n", b"\r\n"))
    real.chmod(0o640)
    path.symlink_to(real)
    answers = Answers(Run(replace(open_folder(finished, str(path), Binding()), edit=path)))
    answers.save([(WINDOW, 200)])
    assert path.is_symlink()
    assert "window = 200," in real.read_text()
    assert real.stat().st_mode & 0o777 == 0o640
    real.unlink()
    with pytest.raises(PageError, match="was not saved: No such file"):
        answers.save([(WINDOW, 300)])
    assert [one.name for one in tmp_path.iterdir()] == ["mine.toml"]


def test_logged_losses_cannot_be_simulated(answers: Answers) -> None:
    """A run that was logged keeps its losses."""
    with pytest.raises(PageError, match="were logged"):
        answers.simulate(0.1)


def test_noise_of_a_setting(ask: Ask) -> None:
    """The page says what the noise of the losses does to each plateau guard, also to one that is tried."""
    (line,) = ask("noise")["lines"]
    assert line["guard"] == 'guard "flat"'
    assert "over 50 losses" in line["text"]
    assert "over 700 losses" in ask("noise", set=json.dumps([[WINDOW, 700]]))["lines"][0]["text"]


def test_runs_beside_each_other(finished: Path, tmp_path: Path) -> None:
    """The losses of further runs are drawn beside those of the first."""
    other = Training(tmp_path / "other").train(300)
    other.close()
    one, two = (Run(open_folder(folder, None, Binding())) for folder in (finished, other.folder))
    answers = Answers(one, [two])
    assert answers.meta()["others"] == [str(other.folder)]
    assert answers.curve(0, 300, 50, 1) == Answers(two).curve(0, 300, 50)
    with pytest.raises(PageError, match="expected at most 1"):
        answers.curve(0, 300, 50, 2)


def test_a_broken_property_shows_the_run_that_breaks_it(finished: Path) -> None:
    """What `check` shows by an example can be drawn: its states, and the step where it shows."""
    line = Answers(Run(open_folder(finished, "misaligned", Binding()))).check()["lines"][0]
    assert line["example"]["stays"][0]["state"] == "syntax"
    assert line["example"]["step"] == 160


def test_a_damaged_record_is_a_sentence(tmp_path: Path) -> None:
    """A run.json that cannot be read names what to do."""
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(PageError, match="the record of the run cannot be read"):
        open_folder(tmp_path, None, Binding())


def test_another_curriculum_takes_the_place_of_the_runs_own(finished: Path) -> None:
    """A run's losses under another curriculum: bound as the run was, but for the peak, and the page says so."""
    opened = open_folder(finished, "plateau-trend", Binding())
    assert (opened.binding.epochs, opened.binding.peak, opened.file) == (TOTAL // PER_EPOCH, None, "plateau-trend.toml")
    assert "is not the curriculum that the run was trained under" in opened.notes[0]


def test_the_mean_does_not_reach_across_a_raise() -> None:
    """The drawn mean of a stay is made of that stay's losses alone, and of at least three of them."""
    values = np.concatenate((np.full(50, 1.0), np.full(50, 5.0)))
    assert set(means_around(values, np.arange(100), np.array([0, 50, 100]), 9).tolist()) == {1.0, 5.0}
    spike = np.ones(30)
    spike[0] = 7.0
    assert means_around(spike, np.array([0]), np.array([0, 30]), 9)[0] == pytest.approx(3.0)


@given(st.integers(1, 40), st.integers(1, 15), st.sets(st.integers(1, 39), max_size=4), st.sets(st.integers(0, 39)))
def test_the_mean_is_one_of_a_window(count: int, wide: int, inner: set[int], lost: set[int]) -> None:
    """At each step it is the mean of finite losses around it, of its own stay; NaN where none of them is finite."""
    values = np.arange(float(count)) ** 2
    values[[place for place in lost if place < count]] = np.nan
    edges = [0, *sorted(edge for edge in inner if edge < count), count]
    found = means_around(values, np.arange(count), np.array(edges), wide)
    for start, stop in pairwise(edges):
        finite = values[start:stop][np.isfinite(values[start:stop])]
        for mean in found[start:stop]:
            assert np.isnan(mean) or finite.min() <= mean <= finite.max()
    assert np.isfinite(found[np.isfinite(values)]).all()
