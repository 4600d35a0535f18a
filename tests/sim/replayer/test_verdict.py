"""Healthy, too fast, too slow: by the rule's own signs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from plateau_rule import Controller, Curriculum, load, loads
from plateau_rule.controller.binding import Binding
from plateau_rule.controller.language.reading import find
from plateau_rule.sim.lint import lint
from plateau_rule.sim.logs import Log, read
from plateau_rule.sim.noise import Noise, noise_of
from plateau_rule.sim.replayer.lines import line_of, slope_of, surely_flat
from plateau_rule.sim.replayer.replay import replay
from plateau_rule.sim.replayer.timeline import Timeline
from plateau_rule.sim.replayer.verdict import verdict_of, verdict_of_run
from tests.sim.conftest import run_of, write_run

MakeLog = Callable[..., Log]
EPOCH = 200


def published(old: str = "", new: str = "") -> Curriculum:
    """The published rule, with one thing changed."""
    text = find("plateau").read_text()
    assert old in text
    return loads(text.replace(old, new) if old else text)


def judged(timeline: Timeline, log: Log) -> Any:
    """The verdict with the log's own noise."""
    return verdict_of(timeline, noise_of(log))


def curve(count: int, sigma: float, tau: float = 300, seed: int = 0) -> list[float]:
    """A curve that flattens, with noise."""
    random = np.random.default_rng(seed)
    flat = 2 + 3 * np.exp(-np.arange(count) / tau)
    values: list[float] = (flat * (1 + sigma * random.standard_normal(count))).tolist()
    return values


def answering(
    curriculum: Curriculum, folder: Path, spike: float, gain: float, epochs: int = 30, sigma: float = 0.002
) -> Path:
    """A run whose loss answers: each raise brings a spike, then a fall by `gain` below the old plateau."""
    random = np.random.default_rng(1)
    controller = Controller(curriculum, limits={"cutoff": 1025}, epochs=epochs, steps_per_epoch=EPOCH)
    losses, level, floor, since = [], 5.0, 3.0, 0
    for _ in range(epochs * EPOCH):
        level = floor + (level - floor) * 0.985
        losses.append(level * (1 + sigma * random.standard_normal()))
        decision = controller.observe(losses[-1])
        since += 1
        if decision is not None:
            level, floor, since = level * (1 + spike), floor * (1 - gain), 0
    rows, _, _, same = run_of(curriculum, losses, limits={"cutoff": 1025}, epochs=epochs, steps_per_epoch=EPOCH)
    write_run(folder, rows, same)
    return folder


def test_raises_every_few_epochs_with_quick_recoveries_are_healthy(tmp_path: Path) -> None:
    """A run whose loss spikes at each raise and recovers below the old plateau within the epoch is healthy."""
    patient = published("{ min_epoch = 2 }", '{ dwell = "3 epochs" }')
    found = verdict_of_run(patient, answering(patient, tmp_path, spike=0.05, gain=0.15))
    assert found.word == "healthy"
    assert found.signs[0] == "3 raises, after 3.0, 3.0, 3.0 epochs in the state before"
    assert sum("below the old plateau" in sign for sign in found.signs) == 3
    assert found.turn == ()


def test_a_raise_at_every_look_is_too_fast(log_of: MakeLog) -> None:
    """Raises at looks that followed on each other, the loss still falling: first the window, then the threshold."""
    log = log_of(range(4000), curve(4000, 0.03, tau=1500, seed=38))
    found = judged(replay(load("plateau"), log, Binding(steps_per_epoch=EPOCH, epochs=20)), log)
    assert found.word == "too fast"
    assert "a raise in every epoch (steps 400, 600, 800), while the logged loss went on falling" in found.signs[0]
    assert found.turn[0].startswith("first lengthen window from 50 to 15")
    assert any("dwell" in turn for turn in found.turn)


def test_a_guard_that_never_says_no_is_too_fast(log_of: MakeLog) -> None:
    """Raises one and a half epochs apart, at every look that the clock allowed, while the loss goes on falling."""
    log = log_of(range(4000), curve(4000, 0.03, tau=1500, seed=38))
    every = published('at      = "epoch"', "").model_dump(by_alias=True, exclude_unset=True)
    every["transition"][0]["guards"] = [{"dwell": "300 steps"}, {"below": {"value": 9}}]
    found = judged(replay(Curriculum.model_validate(every), log, Binding(steps_per_epoch=EPOCH, epochs=20)), log)
    assert found.word == "too fast"
    assert "a raise at every look that could bring one (steps 300, 600, 900)" in found.signs[0]
    assert found.turn[0] == "lower value of below"


def test_a_loss_that_never_settles_is_too_fast(tmp_path: Path) -> None:
    """A loss that stays above the old plateau until the next raise never settled."""
    found = verdict_of_run(load("plateau"), answering(load("plateau"), tmp_path, spike=0.3, gain=-0.2))
    assert found.word == "too fast"
    assert any("never came below the old plateau" in sign for sign in found.signs)


def test_a_raise_while_the_loss_still_falls_is_too_fast(log_of: MakeLog) -> None:
    """A long look back shows that a raise by noise came while the loss fell at several times the rate asked."""
    random = np.random.default_rng(5)
    losses = 5 * np.exp(-np.arange(800) * 8e-4) * (1 + 0.05 * random.standard_normal(800))
    log = log_of(range(800), losses.tolist())
    timeline = replay(load("plateau"), log, Binding(steps_per_epoch=EPOCH, epochs=20))
    assert timeline.decisions
    found = judged(timeline, log)
    assert found.word == "too fast"
    assert any("raised while the loss still fell" in sign for sign in found.signs)


def test_a_rising_loss_called_flat_is_too_fast(log_of: MakeLog) -> None:
    """The published rule takes a rising loss for a plateau, and the verdict says so."""
    random = np.random.default_rng(5)
    losses = 2 * np.exp(np.arange(800) * 5e-4) * (1 + 0.01 * random.standard_normal(800))
    log = log_of(range(800), losses.tolist())
    found = judged(replay(load("plateau"), log, Binding(steps_per_epoch=EPOCH, epochs=20)), log)
    assert found.word == "too fast"
    assert any("a rising loss was called flat" in sign for sign in found.signs)


def test_ten_flat_epochs_without_a_raise_are_too_slow(log_of: MakeLog) -> None:
    """The guard that held a flat loss for ten epochs is named, and what to turn on it."""
    log = log_of(range(30 * EPOCH), curve(30 * EPOCH, 0.01))
    slow = published("min_epoch = 2", "min_epoch = 28")
    found = judged(replay(slow, log, Binding(steps_per_epoch=EPOCH, epochs=40)), log)
    assert found.word == "too slow"
    assert "held by min_epoch (true at 0 of" in found.signs[0]
    assert found.turn[0].startswith("lower min_epoch: the loss is flat from epoch 8 on")


def test_a_window_that_never_fills_is_named_as_too_slow(log_of: MakeLog) -> None:
    """A window longer than the log never answers; it is to be shortened."""
    log = log_of(range(20 * EPOCH), curve(20 * EPOCH, 0.01))
    found = judged(
        replay(published("window = 50", "window = 5000"), log, Binding(steps_per_epoch=EPOCH, epochs=40)), log
    )
    assert found.word == "too slow"
    assert "held by flat (plateau) (unknown at all 20 looks)" in found.signs[0]
    assert "never had enough losses" in found.turn[0]


def test_the_threshold_goes_up_first_where_the_guard_said_no(log_of: MakeLog) -> None:
    """Raises that come too late by the plateau guard: first a larger threshold, then a shorter window."""
    steps = np.arange(24 * EPOCH)
    # Almost flat over epochs, but every epoch ends in a fall, which is when the rule looks.
    saw = np.where(steps % EPOCH >= EPOCH - 25, 0.97, 1.0)
    log = log_of(
        steps.tolist(), (2 * saw * (1 + 0.0005 * np.random.default_rng(0).standard_normal(len(steps)))).tolist()
    )
    found = judged(replay(load("plateau"), log, Binding(steps_per_epoch=EPOCH, epochs=40)), log)
    assert found.word == "too slow"
    assert found.turn[0].startswith("first raise threshold, then shorten window (closest: improved by 2.9")


def test_the_clock_s_raises_are_not_judged(log_of: MakeLog) -> None:
    """Where no guard on a loss had a say, the verdict says that the clock decided."""
    log = log_of(range(4000), curve(4000, 0.01))
    found = judged(replay(load("fixed-epochs"), log, Binding(steps_per_epoch=EPOCH, epochs=20)), log)
    assert found.word == "unclear"
    assert "the clock decided" in found.signs[0]


def test_without_a_raise_and_without_ten_flat_epochs_nothing_is_claimed(log_of: MakeLog) -> None:
    """A short log without a raise is unclear, and so is a curriculum with one state."""
    log = log_of(range(300), curve(300, 0.01))
    assert (
        judged(replay(load("plateau"), log, Binding(steps_per_epoch=EPOCH)), log).signs[0].startswith("no raise in 1.5")
    )
    assert judged(replay(load("full"), log), log).signs == ("this curriculum has nothing to raise",)


def test_losses_around_zero_are_not_judged(log_of: MakeLog) -> None:
    """A relative rule on losses that change sign means nothing, and that is all that is said."""
    log = log_of(range(2000), np.random.default_rng(0).standard_normal(2000).tolist())
    found = judged(replay(load("plateau"), log, Binding(steps_per_epoch=EPOCH)), log)
    assert found.word == "unclear"
    assert "both sides of 0" in found.signs[0]


def test_the_advice_changes_what_it_should(log_of: MakeLog) -> None:
    """With the window and threshold that a verdict advises, the first raise of the same log does not come earlier."""
    log = log_of(range(4000), curve(4000, 0.03, tau=1500, seed=38))
    given = Binding(steps_per_epoch=EPOCH, epochs=20)
    before = replay(load("plateau"), log, given)
    turn = judged(before, log).turn[0]
    window = int(turn.split(" to ")[1].split(",")[0])
    threshold = float(turn.split("threshold = ")[1].split()[0])
    turned = published("window = 50, threshold = 0.005", f"window = {window}, threshold = {threshold}")
    assert replay(turned, log, given).decisions[0].step >= before.decisions[0].step
    assert not lint(turned, noise_of(log))[0].warning


def test_the_direction_of_tuning_is_the_right_one(log_of: MakeLog) -> None:
    """A larger threshold never raises later: what `too slow` advises cannot make it slower."""
    log = log_of(range(6000), curve(6000, 0.02, tau=1500))
    given = Binding(steps_per_epoch=EPOCH, epochs=30)
    firsts = []
    for threshold in (0.001, 0.002, 0.005, 0.01, 0.05):
        found = replay(published("threshold = 0.005", f"threshold = {threshold}"), log, given).decisions
        firsts.append(found[0].step if found else 10**9)
    assert firsts == sorted(firsts, reverse=True)


def test_a_slope_comes_with_its_error() -> None:
    """The slope of a falling line is found; its error is that of a fit under AR(1) noise."""
    noise = Noise(1000, 1.0, 0.01, 0.5, 0.01, 0.01, 0, 0.0, 0.0, 0.0, 3.0, False)
    falls, error = slope_of(3 - 0.001 * np.arange(300.0), noise, 200) or (0, 0)
    assert falls == pytest.approx(0.001 / 2.8, rel=0.01)
    assert error == pytest.approx(0.01 * np.sqrt(3) * np.sqrt(12 / 200**3), rel=1e-6)
    assert slope_of(np.ones(5), noise, 200) is None


def test_a_line_is_less_sure_where_the_losses_wander_more_than_the_log_says() -> None:
    """Slow noise that the log's own estimate misses widens the error: by five times for AR noise of 0.95."""
    little = Noise(1000, 1.0, 0.01, 0.0, 0.01, 0.01, 0, 0.0, 0.0, 0.0, 3.0, False)
    random = np.random.default_rng(3)
    white = 3 * (1 + 0.01 * random.standard_normal(400))
    slow = np.zeros(400)
    for place in range(1, 400):
        slow[place] = 0.95 * slow[place - 1] + 0.01 * random.standard_normal()
    by_white = line_of(white, np.ones(400), little)
    by_slow = line_of(3 * (1 + slow), np.ones(400), little)
    assert by_white is not None
    assert by_slow is not None
    assert by_slow.error > 5 * by_white.error


def test_a_line_through_means_is_that_through_their_points() -> None:
    """Means of stretches, each with its count, give the slope of the points that they stand for."""
    losses = 3 * np.exp(-1e-3 * np.arange(400.0))
    whole = line_of(losses, np.ones(400), None)
    means = line_of(losses.reshape(-1, 8).mean(axis=1), np.full(50, 8.0), None)
    assert whole is not None
    assert means is not None
    assert means.falls == pytest.approx(whole.falls, rel=1e-3)


def test_a_longer_stretch_shows_flatness_that_noise_hides_in_ten_epochs(log_of: MakeLog) -> None:
    """In 5 % of noise ten epochs of a flat loss tell nothing, and 26 do; a loss that creeps on is not called flat."""
    waits = published('"flat"', '{ min_epoch = 28 }, "flat"').model_copy(
        update={"run": load("plateau").run.model_copy(update={"epochs": 30, "steps_per_epoch": EPOCH})}
    )
    steps = np.arange(30 * EPOCH)
    noise = 1 + 0.05 * np.random.default_rng(5).standard_normal(len(steps))
    flat = log_of(steps.tolist(), (3 * noise).tolist())
    found = judged(replay(waits, flat), flat)
    assert found.word == "too slow"
    creeps = log_of(steps.tolist(), (3 * np.exp(-1.2e-5 * steps) * noise).tolist())
    assert judged(replay(waits, creeps), creeps).word == "unclear"
    trace = replay(waits, flat).trace
    assert surely_flat(trace.between(0, 10 * EPOCH), 0.005, None, noise_of(flat)) is None


def test_raises_in_every_epoch_of_a_flat_loss_are_not_too_fast(log_of: MakeLog) -> None:
    """Where the loss is flat from the first raise on, one raise in each epoch is no more than the rule asks for."""
    quick = published("window = 50, threshold = 0.005", "window = 10, threshold = 0.005")
    steps = np.arange(0, 30 * EPOCH, 20)
    random = np.random.default_rng(11)
    curve = 3 * np.exp(-1e-3 * np.minimum(steps, 1.5 * EPOCH))
    for _ in range(10):
        log = log_of(steps.tolist(), (curve * (1 + 0.05 * random.standard_normal(len(steps)))).tolist())
        assert judged(replay(quick, log, Binding(epochs=30, steps_per_epoch=EPOCH)), log).word != "too fast"


def test_a_run_is_judged_by_its_folder(tmp_path: Path) -> None:
    """`verdict_of_run` needs no more than the folder; its text is what a run prints at its end."""
    text = str(verdict_of_run(load("plateau"), answering(load("plateau"), tmp_path, spike=0.05, gain=0.2)))
    assert text.splitlines()[0].startswith("Verdict: ")


def test_gpt2_under_the_published_rule_is_too_fast(shared_data: Callable[[str], Path]) -> None:
    """llm.c's GPT-2 124M under the published rule: a raise at every look, a window of 84, a far lower threshold."""
    log = read(shared_data("logs/text/llmc-gpt2-124M.main.log"))
    found = judged(replay(load("plateau"), log), log)
    assert found.word == "too fast"
    assert "from 50 to 84" in found.turn[0]
    assert "lower threshold" in found.turn[1]


# Verdicts that hold


@pytest.mark.parametrize("per_epoch", [2, 4, 8])
def test_a_loss_that_improves_faster_than_the_guard_asks_is_never_flat(per_epoch: int, log_of: MakeLog) -> None:
    """Over epochs of few points, noise makes no plateau of a loss that improves at 2.5 times the guard's rate."""
    held = published("min_epoch = 2", "min_epoch = 45")
    for seed in range(40):
        random = np.random.default_rng(seed)
        losses = 3 * np.exp(-np.arange(40 * per_epoch) * 5e-4) * (1 + 0.01 * random.standard_normal(40 * per_epoch))
        log = log_of(range(len(losses)), losses.tolist())
        found = judged(replay(held, log, Binding(steps_per_epoch=per_epoch, epochs=50)), log)
        assert found.word != "too slow", found


def test_a_canary_of_flatness(log_of: MakeLog) -> None:
    """Canary: a loss that is flat over as few points, without noise, is seen to be flat."""
    log = log_of(range(160), (3 + 1e-5 * np.random.default_rng(0).standard_normal(160)).tolist())
    held = published("min_epoch = 2", "min_epoch = 45")
    assert judged(replay(held, log, Binding(steps_per_epoch=4, epochs=50)), log).word == "too slow"


def with_guards(*guards: dict[str, Any]) -> Curriculum:
    """The published rule, its transition with other guards, and a timeout beside it."""
    written = load("plateau").model_dump(by_alias=True, exclude_unset=True)
    first = {**written["transition"][0], "name": "rule"}
    written["transition"] = [{**first, "guards": list(guards)}, {**first, "name": "timeout"}]
    written["transition"][1]["guards"] = [{"dwell": "1 epochs"}]
    return Curriculum.model_validate(written)


def test_a_timeout_is_not_too_fast(log_of: MakeLog) -> None:
    """Raises that a timeout decides say nothing about the loss, and get no advice to add the dwell that is there."""
    log = log_of(range(4000), curve(4000, 0.002, tau=1500))
    waiting = with_guards({"plateau": {"metric": "loss", "window": 50, "threshold": 1e-9}}, {"min_epoch": 15})
    found = judged(replay(waiting, log, Binding(steps_per_epoch=EPOCH, epochs=20)), log)
    assert found.word == "unclear"
    assert "the clock decided, not the loss" in found.signs[0]
    assert found.turn == ()


def test_a_dwell_that_is_there_is_not_advised(log_of: MakeLog) -> None:
    """A curriculum that waits after a raise is not told to wait."""
    log = log_of(range(4000), curve(4000, 0.03, tau=1500, seed=38))
    patient = published("{ min_epoch = 2 }", '{ dwell = "1 epochs" }')
    found = judged(replay(patient, log, Binding(steps_per_epoch=EPOCH, epochs=20)), log)
    assert found.word == "too fast"
    assert not any("dwell" in turn for turn in found.turn)


def test_a_raise_after_the_last_step_is_not_healthy(log_of: MakeLog) -> None:
    """A state that is entered when the run is over was never trained in."""
    log = log_of(range(9 * EPOCH), [*np.linspace(5, 3, 3 * EPOCH).tolist(), *[3.0] * (6 * EPOCH)])
    every = published("{ min_epoch = 2 }", '{ dwell = "3 epochs" }')
    found = judged(replay(every, log, Binding(steps_per_epoch=EPOCH, epochs=9)), log)
    assert found.word == "unclear"
    assert "never trained in" in found.signs[0] or "was not reached" in found.signs[0]


def test_a_curriculum_that_does_not_end_is_not_healthy(log_of: MakeLog) -> None:
    """Raises at good distances are not enough where the last state is never reached."""
    log = log_of(range(8 * EPOCH), [3.0 + 1e-6 * step for step in range(8 * EPOCH, 0, -1)])
    every = published("{ min_epoch = 2 }", '{ dwell = "3 epochs" }')
    found = judged(replay(every, log, Binding(steps_per_epoch=EPOCH, epochs=8)), log)
    assert found.word != "healthy"


def test_a_guard_that_waits_for_nan_is_no_error(log_of: MakeLog) -> None:
    """A flat loss held by a guard of which there is nothing to turn is judged, and nothing is advised for it."""
    log = log_of(range(30 * EPOCH), curve(30 * EPOCH, 0.01))
    written = load("plateau").model_dump(by_alias=True, exclude_unset=True)
    written["transition"][0]["guards"] = [{"nonfinite": 3}]
    found = judged(replay(Curriculum.model_validate(written), log, Binding(steps_per_epoch=EPOCH, epochs=40)), log)
    assert found.word == "too slow"
    assert "held by nonfinite" in found.signs[0]
    assert found.turn == ()


def test_no_window_longer_than_the_log_is_advised(log_of: MakeLog) -> None:
    """In noise that no window of this log can see through, none is proposed, nor a threshold of 1 or more."""
    log = log_of(range(900), curve(900, 0.5, tau=400, seed=3))
    timeline = replay(published("threshold = 0.005", "threshold = 0.05"), log, Binding(steps_per_epoch=30, epochs=30))
    noise = noise_of(log)
    for text in (*judged(timeline, log).turn, *(each.remedy for each in lint(timeline.curriculum, noise))):
        for word in ("window of ", "window from 50 to ", "window = "):
            if word in text:
                assert int(text.split(word)[1].split(",")[0].split()[0].rstrip(").:;")) <= len(log)
        if "threshold = " in text:
            assert float(text.split("threshold = ")[1].split()[0].rstrip(",.;")) < 1


def test_to_loosen_and_to_tighten_are_not_advised_at_once(log_of: MakeLog) -> None:
    """Where some raises were too fast and others too slow, the verdict says so and proposes nothing."""
    for seed in range(12):
        log = log_of(range(6000), curve(6000, 0.03, tau=1500, seed=seed))
        found = judged(replay(published(), log, Binding(steps_per_epoch=EPOCH, epochs=30)), log)
        text = " ".join(found.turn)
        assert not ("raise threshold" in text and "lower threshold" in text)
        assert not ("shorten window" in text and "lengthen window" in text)


def test_a_verdict_is_one_line_with_its_reason(log_of: MakeLog) -> None:
    """The first line of a verdict holds the word and why; everything else comes after it."""
    log = log_of(range(4000), curve(4000, 0.03, tau=1500, seed=38))
    found = judged(replay(load("plateau"), log, Binding(steps_per_epoch=EPOCH, epochs=20)), log)
    assert str(found).splitlines()[0] == f"Verdict: too fast: {found.signs[0]}"


@pytest.mark.parametrize("count", [16, 24, 40, 63])
def test_quarters_of_short_logs_are_quarters(count: int) -> None:
    """Below 64 points too, the first and the last quarter are not both the whole log."""
    losses = [*np.linspace(5, 3, count // 2).tolist(), *[3.0] * (count - count // 2)]
    found = noise_of([(np.arange(count), np.array(losses))])
    assert found.fall_first > 0.01
    assert found.fall_last == pytest.approx(0, abs=1e-9)


def test_noise_says_that_a_window_is_longer_than_the_log(log_of: MakeLog) -> None:
    """A guard that cannot answer on a log is no `ok` there, as a replay says that it never had enough losses."""
    log = log_of(range(30), curve(30, 0.001))
    found = lint(load("plateau"), noise_of(log))[0]
    assert found.warning
    assert "only 30 losses, fewer than the window of 50" in found.remedy


def test_the_end_of_an_earlier_fall_is_no_raise_too_fast(log_of: MakeLog) -> None:
    """A raise on a loss that has just become flat is not too fast, however far back a line shows a fall."""
    rule = published("window = 50, threshold = 0.005", "window = 400, threshold = 0.01")
    steps = np.arange(30 * EPOCH)
    for seed in range(6):
        random = np.random.default_rng(seed)
        losses = 3 * np.exp(-1e-3 * np.minimum(steps, 800)) * (1 + 0.05 * random.standard_normal(len(steps)))
        log = log_of(steps.tolist(), losses.tolist())
        timeline = replay(rule, log, Binding(steps_per_epoch=EPOCH, epochs=30))
        assert timeline.decisions
        assert judged(timeline, log).word != "too fast"
