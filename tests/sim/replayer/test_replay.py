"""The controller over a log."""

from __future__ import annotations

import json
import math
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plateau_rule import BindingError, Controller, Curriculum, Decision, NonFiniteLoss, load, loads
from plateau_rule.controller.binding import Binding
from plateau_rule.controller.errors import BindingWarning
from plateau_rule.controller.horizon import FastForward
from plateau_rule.controller.language.reading import find
from plateau_rule.sim.logs import Log, read
from plateau_rule.sim.logs.epochs import steps_per_epoch_of
from plateau_rule.sim.replayer.replay import replay
from plateau_rule.sim.replayer.setting import ReplayError, per_point
from plateau_rule.sim.replayer.verdict import verdict_of
from plateau_rule.sim.strategies import curricula, loss_streams
from tests.sim.conftest import run_of, write_run

LADDER = """
format = 1
name = "small"
[run]
epochs = 10
steps_per_epoch = 100
[lr]
peak = 1.0
length = "2 epochs"
[knob.cutoff]
ladder = [1, 2, "full"]
[[state]]
name = "low"
set = { cutoff = 1 }
[[state]]
name = "mid"
set = { cutoff = 2 }
[[state]]
name = "high"
set = { cutoff = "full" }
[[transition]]
from = "*"
to = "next"
"""
MakeLog = Callable[..., Log]


@pytest.fixture(autouse=True, scope="module")
def _few_probes() -> Iterator[None]:
    """Of short logs, too, most points are observed in one go, as those of long ones are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("plateau_rule.sim.replayer.replay.PROBES", 40)
        yield


def small(transition: str, more: str = "") -> Curriculum:
    """Three states, and one transition up with these lines."""
    return loads(LADDER + transition + more)


def noisy(count: int, seed: int = 0) -> list[float]:
    """A loss that falls and flattens, with noise."""
    random = np.random.default_rng(seed)
    values: list[float] = (
        (2 + 3 * np.exp(-np.arange(count) / 150)) * (1 + 0.02 * random.standard_normal(count))
    ).tolist()
    return values


# The run's own log


def test_a_value_of_each_step_is_no_evaluation(tmp_path: Path) -> None:
    """A metric that comes with each step, alone in a row, is no evaluation: neither for the run nor for its replay."""
    source = (
        'name = "a"\nrun = { epochs = 2, steps_per_epoch = 1 }\nlr = { peak = 1.0, length = "1 step" }\n'
        'knob.k.ladder = [1]\nmetric.val_loss.at = "step"\nstate = [{ name = "a", set = { k = 1 } }]\n'
        'transition = [{ from = "a", to = "a", at = "eval", at_most = 1, guards = [] }]\n'
    )
    rows, decisions, plan, controller = run_of(loads(source), [1.0, 1.0], {0: {"val_loss": 0.0}})
    timeline = replay(loads(source), read(write_run(tmp_path, rows, controller)))
    assert list(timeline.decisions) == decisions == []
    assert timeline.final[:5] == plan[:5]


@given(data=st.data())
@settings(max_examples=60)
def test_the_log_of_a_run_replays_to_the_transitions_that_the_run_made(data: st.DataObject) -> None:
    """Over the metrics that a run wrote, with its record beside them, a replay decides as the run did, to the bit."""
    curriculum = data.draw(curricula(max_steps=200))
    losses = data.draw(loss_streams(min_size=150, max_size=260))
    evals = data.draw(st.dictionaries(st.integers(0, 200), st.floats(0, 8).map(lambda v: {"val_loss": v}), max_size=12))
    lag, lead = data.draw(st.sampled_from((0, 0, 0, 2))), data.draw(st.sampled_from((0, 0, 1, 5, 17)))
    dropped = data.draw(st.sets(st.integers(0, 200), max_size=4))
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore", BindingWarning)
        rows, decisions, plan, controller = run_of(curriculum, losses, evals, dropped, lag=lag, lead=lead)
        if len(rows) < 2 or all(math.isnan(row["loss"]) for row in rows):
            return
        timeline = replay(curriculum, read(write_run(Path(folder), rows, controller)))
    assert list(map(repr, timeline.decisions)) == list(map(repr, decisions))
    assert repr(timeline.final[:5]) == repr(plan[:5])
    assert timeline.answers is not False


def test_the_binding_is_that_of_the_run_and_the_replay_says_so(tmp_path: Path) -> None:
    """Limits, epochs, steps in an epoch and peak come from the record beside the metrics, and a note says so."""
    rows, decisions, _, controller = run_of(
        load("plateau"), noisy(1500), limits={"cutoff": 1025}, epochs=15, steps_per_epoch=100, peak=0.5
    )
    timeline = replay(load("plateau"), read(write_run(tmp_path, rows, controller)))
    assert len(decisions) == 3
    assert list(timeline.decisions) == decisions
    assert timeline.answers is True
    assert "limits cutoff 1025, 15 epochs of 100 steps, peak rate 0.5" in timeline.notes[0]


def test_a_run_s_curriculum_is_known_by_its_text(tmp_path: Path) -> None:
    """A record whose fingerprint another version would spell differently still counts as of the same curriculum."""
    rows, _, _, controller = run_of(load("plateau"), noisy(300), epochs=3, steps_per_epoch=100, peak=0.5)
    log = read(write_run(tmp_path, rows, controller))
    record = json.loads((tmp_path / "run.json").read_text())
    record |= {"fingerprint": "spelt otherwise", "curriculum": {"name": "plateau", "text": find("plateau").read_text()}}
    (tmp_path / "run.json").write_text(json.dumps(record))
    assert replay(load("plateau"), log).setting.binding.peak == 0.5
    assert replay(load("fixed-epochs"), log).setting.binding.peak is None


def test_another_curriculum_over_a_run_keeps_its_own_peak(tmp_path: Path) -> None:
    """A curriculum that the run was not made with is bound to the run's length, not to its peak; `answers` is False."""
    rows, _, _, controller = run_of(load("plateau"), noisy(1500), epochs=15, steps_per_epoch=100, peak=0.5)
    timeline = replay(load("fixed-epochs"), read(write_run(tmp_path, rows, controller)))
    bound = timeline.setting.binding
    assert (bound.epochs, bound.steps_per_epoch, bound.peak) == (15, 100, None)
    assert [decision.step for decision in timeline.decisions] == [200, 500, 1000]
    assert timeline.answers is False


def test_a_knob_that_the_run_did_not_have_is_left_open(tmp_path: Path) -> None:
    """A curriculum with another knob than the run's is replayed without limits, and a note says so."""
    rows, _, _, controller = run_of(load("plateau"), noisy(300), limits={"cutoff": 1025}, epochs=3, steps_per_epoch=100)
    log = read(write_run(tmp_path, rows, controller))
    other = loads(LADDER.replace("cutoff", "seq_len"))
    timeline = replay(other, log)
    assert timeline.setting.binding.limits is None
    assert any("no knob seq_len" in note for note in timeline.notes)


def test_a_damaged_record_is_refused_with_the_remedy(tmp_path: Path) -> None:
    """A run.json that is cut off is named, with the flags that stand in for it."""
    rows, _, _, controller = run_of(load("plateau"), noisy(300), epochs=3, steps_per_epoch=100)
    log = read(write_run(tmp_path, rows, controller))
    (tmp_path / "run.json").write_text('{"bound": {')
    with pytest.raises(ReplayError, match=r"run\.json: the record of the run cannot be read .*--steps-per-epoch"):
        replay(load("plateau"), log)


def test_the_json_has_the_promised_keys_and_nothing_else(log_of: MakeLog) -> None:
    """`as_dict` holds exactly what is promised, and is JSON without NaN."""
    found = replay(load("plateau"), log_of(range(900), noisy(900)), Binding(epochs=9, steps_per_epoch=100)).as_dict()
    assert list(found) == ["curriculum", "fingerprint", "points", "skipped", "transitions", "final", "stays"]
    assert list(found["transitions"][0]) == ["step", "epoch", "from", "to", "knobs", "lr", "loss"]
    assert list(found["final"]) == ["step", "state", "knobs", "lr"]
    assert list(found["stays"][0]) == ["state", "entered", "left", "guards"]
    assert list(found["stays"][0]["guards"][0]) == ["guard", "looks", "true", "unknown", "closest", "closest_step"]
    json.dumps(found, allow_nan=False)


# Points and steps


def stepwise(curriculum: Curriculum, points: dict[int, float], steps: int) -> list[tuple[int, str]]:
    """Transitions if every step is observed, those without a logged loss as steps without one."""
    controller, decisions = Controller(curriculum), []
    for step in range(steps):
        if controller.plan.stop is not None:
            break
        run = controller.run_state
        try:
            if step in points:
                decision = controller.observe(points[step])
            elif run.nonfinite:
                run.nonfinite -= 1
                decision = controller.observe(math.nan, skipped=True)
            else:
                decision = controller.observe(0.0, skipped=True)
        except NonFiniteLoss:
            break
        if decision is not None:
            decisions.append((decision.step, decision.to_state))
    return decisions


@given(data=st.data())
@settings(max_examples=60)
def test_passing_over_steps_decides_as_if_every_step_had_been_observed(data: st.DataObject) -> None:
    """Over a sparse log, clocks and epochs are those of observing every step; windows hold logged points alone."""
    curriculum = data.draw(curricula(max_steps=200, metrics=("loss",)))
    if any(transition.sustain > 1 or transition.at == "eval" for transition in curriculum.transition):
        return
    steps = sorted(data.draw(st.sets(st.integers(1, 200), min_size=2, max_size=60)) | {0})
    losses = data.draw(loss_streams(min_size=len(steps), max_size=len(steps)))
    if not any(map(math.isfinite, losses[:2])):
        return
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore", BindingWarning)
        path = Path(folder) / "log.jsonl"
        path.write_text("".join(json.dumps({"step": s, "loss": v}) + "\n" for s, v in zip(steps, losses, strict=True)))
        run, log = curriculum.run, read(path)
        timeline = replay(curriculum, log, Binding(epochs=run.epochs, steps_per_epoch=run.steps_per_epoch))
        restated = per_point(curriculum, timeline.setting, log.report.spacing)
        expected = stepwise(restated, dict(zip(steps, losses, strict=True)), steps[-1] + 1)
    assert [(decision.step, decision.to_state) for decision in timeline.decisions] == expected


def test_clocks_mean_steps_and_windows_mean_points_in_a_sparse_log(log_of: MakeLog) -> None:
    """With a point every 50 steps, a dwell of 320 steps is due on its own step, and a window of 4 needs 4 points."""
    log = log_of(range(0, 1000, 50), [2.0] * 20)
    assert [d.step for d in replay(small('guards = [{ dwell = "320 steps" }]'), log).decisions] == [320, 640]
    flat = small("guards = [{ plateau = { window = 4, threshold = 0.01 } }]")
    assert [d.step for d in replay(flat, log).decisions] == [151, 351]


def test_what_is_measured_per_time_means_steps_in_a_sparse_log(log_of: MakeLog) -> None:
    """A threshold per 100 steps, and the stretches of `gap`, are as much time with a point every 50 steps as dense."""
    losses = 1 + 2 * np.exp(-np.arange(4000) / 500)
    flat = "guards = [{ plateau = { window = WINDOW, threshold = 0.02, per = '100 steps' } }]"
    gap = "guards = [{ gap = { over = '200 steps', value = 0.1 } }]"
    for guards in (flat, gap):
        dense, sparse = (
            replay(
                small(guards.replace("WINDOW", str(window))),
                log_of(range(0, 4000, spacing), losses[::spacing].tolist()),
                Binding(epochs=40),
            )
            for window, spacing in ((200, 1), (4, 50))
        )
        assert dense.decisions
        assert sparse.decisions[0].step == pytest.approx(dense.decisions[0].step, abs=120)
        assert sparse.fingerprint == dense.fingerprint or "WINDOW" in guards
        assert any("one value stands for 50" in note for note in sparse.notes)


def test_an_epoch_is_looked_at_on_its_own_last_step(log_of: MakeLog) -> None:
    """An epoch that ends between two logged points is looked at there, and the next begins in the new state."""
    log = log_of(range(30, 1000, 70), [2.0] * 14)
    curriculum = small('at = "epoch"\nguards = [{ min_epoch = 2 }]')
    assert [(d.step, d.epoch) for d in replay(curriculum, log).decisions] == [(200, 2), (300, 3)]


def test_sustain_counts_points_in_a_sparse_log(log_of: MakeLog) -> None:
    """Three looks in a row are three logged points, and not three steps after one."""
    log = log_of(range(0, 1000, 50), [2.0] * 20)
    curriculum = small("guards = [{ below = { value = 3 } }]\nsustain = 3")
    assert replay(curriculum, log).decisions[0].step == 101


def test_a_log_that_counts_from_one_is_shown_in_its_own_steps(log_of: MakeLog) -> None:
    """Steps 1, 2, 3 … are the run's first, second, third: a transition is told in the log's own numbers."""
    curriculum = small('guards = [{ dwell = "100 steps" }]')
    found = replay(curriculum, log_of(range(1, 301), noisy(300)))
    assert [decision.step for decision in found.decisions] == [100, 200]
    assert [transition["step"] for transition in found.as_dict()["transitions"]] == [101, 201]
    assert found.as_dict()["final"]["step"] == 301


def test_a_run_that_ends_between_two_points_goes_on_to_its_end(log_of: MakeLog) -> None:
    """Clocks go on to the end of the run, though the log has its next point beyond it."""
    log = log_of([0, 700, 1600], [2.0, 2.0, 2.0])
    found = replay(small("guards = [{ min_step = 900 }]"), log, Binding(epochs=10))
    assert [decision.step for decision in found.decisions] == [900, 901]
    assert found.final.step == 1000


def test_what_comes_before_the_first_point_is_passed_over_by_the_clocks(log_of: MakeLog) -> None:
    """A log that begins in the middle finds the machine where clocks alone have brought it, and a note says so."""
    curriculum = small('guards = [{ dwell = "1 epoch" }]')
    found = replay(curriculum, log_of(range(500, 900), noisy(400)))
    assert [decision.step for decision in found.decisions] == [100, 200]
    assert any("begins at step 500" in note for note in found.notes)


# Epochs


def test_whole_epochs_of_a_sparse_log_tell_their_length(log_of: MakeLog) -> None:
    """Where whole epochs change, their length lies between two bounds, and is exact once these meet."""
    dense = log_of(range(1000), noisy(1000), epoch=[step // 130 for step in range(1000)])
    assert steps_per_epoch_of(dense) == (130, True)
    sparse = log_of(range(0, 10_000, 50), [1.0] * 200, epoch=[step // 777 for step in range(0, 10_000, 50)])
    found, _ = steps_per_epoch_of(sparse) or (0, False)
    assert abs(found - 777) <= 4


def test_epochs_as_fractions_tell_their_length(log_of: MakeLog) -> None:
    """Hugging Face's epochs are shares of the run; their slope is the length of an epoch."""
    steps = range(10, 3000, 10)
    log = log_of(steps, [1.0 + 1 / step for step in steps], epoch=[round(step / 313, 2) for step in steps])
    found, exact = steps_per_epoch_of(log, 1) or (0, True)
    assert abs(found - 313) <= 1
    assert not exact
    timeline = replay(small('at = "epoch"\nguards = [{ min_epoch = 2 }]'), log)
    assert timeline.decisions[0].epoch == 2
    assert abs(timeline.decisions[0].step - 626) <= 2
    assert any("epochs from the log" in note for note in timeline.notes)


def test_epochs_that_count_from_one_have_the_same_length(log_of: MakeLog) -> None:
    """A log whose first epoch is 1 has epochs of the same length as one whose first is 0."""
    log = log_of(range(1000), noisy(1000), epoch=[1 + step // 125 for step in range(1000)])
    assert steps_per_epoch_of(log) == (125, True)


def test_a_flag_outranks_the_log_and_the_log_outranks_the_file(log_of: MakeLog) -> None:
    """Steps in an epoch: what was given, else what the log shows, else what the file's [run] says."""
    curriculum = small("guards = [{ min_epoch = 1 }]")
    with_epochs = log_of(range(500), noisy(500), epoch=[step // 50 for step in range(500)])
    assert replay(curriculum, with_epochs, Binding(steps_per_epoch=70)).decisions[0].step == 70
    assert replay(curriculum, with_epochs).decisions[0].step == 50
    assert replay(curriculum, log_of(range(500), noisy(500))).decisions[0].step == 100


def test_a_log_that_is_longer_than_the_file_s_run_makes_the_run_longer(log_of: MakeLog) -> None:
    """Without --epochs, a replay goes to the end of a log that outlasts [run]; with it, to the end of the run."""
    log = log_of(range(2500), noisy(2500))
    curriculum = small("guards = [{ min_epoch = 24 }]")
    assert replay(curriculum, log).decisions[0].step == 2400
    ended = replay(curriculum, log, Binding(epochs=10))
    assert (ended.decisions, ended.points, ended.ended) == ((), 1000, "the run of 1,000 steps is over")
    assert ended.skipped == {"after the end of the replay": 1500}


def test_one_value_an_epoch_stands_at_the_end_of_its_epoch(tmp_path: Path) -> None:
    """A Keras log has no steps: its values stand at the ends of epochs of the file's length."""
    path = tmp_path / "training.log"
    path.write_text("epoch,accuracy,loss\n" + "".join(f"{i},0.5,{2 - i / 100}\n" for i in range(9)))
    found = replay(small('at = "epoch"\nguards = [{ min_epoch = 2 }, { below = { value = 1.985 } }]'), read(path))
    assert [(decision.step, decision.epoch) for decision in found.decisions] == [(300, 3), (400, 4)]


# Evaluations and other metrics


def test_evaluations_in_the_log_are_looked_at_by_their_name_or_as_the_only_one(log_of: MakeLog) -> None:
    """`at = "eval"` looks where the log has an evaluation; val_loss is read from eval_loss if that is the only one."""
    curriculum = small('at = "eval"\nguards = [{ below = { metric = "val_loss", value = 2.5 } }]')
    values = [None if step % 100 != 99 else 4 - step / 200 for step in range(800)]
    by_name = replay(curriculum, log_of(range(800), noisy(800), val_loss=values))
    alias = replay(curriculum, log_of(range(800), noisy(800), eval_loss=values))
    assert [d.step for d in by_name.decisions] == [d.step for d in alias.decisions] == [400, 500]
    assert "val_loss is read from the log's eval_loss" in alias.notes


def test_a_metric_that_the_log_lacks_is_named(log_of: MakeLog) -> None:
    """A guard on a metric that was not logged stays unknown, and a note says so."""
    curriculum = small('guards = [{ below = { metric = "accuracy", value = 2.5 } }]')
    found = replay(curriculum, log_of(range(200), noisy(200)))
    assert not found.decisions
    assert any("the log holds no accuracy" in note for note in found.notes)


@pytest.mark.parametrize(
    ("asked", "logged", "near"),
    [
        ("val_acc", ["val_accuracy", "val_loss"], 'Did you mean "val_accuracy"?'),
        ("val_f1", ["val_loss"], "Known here: val_loss."),
        ("val_bleu", ["val_loss", "eval_loss"], 'Did you mean "val_loss"?'),
        ("eval_accuracy", ["eval_loss"], "Known here: eval_loss."),
        ("test_wer", ["test_loss"], "Known here: test_loss."),
    ],
)
def test_no_loss_is_put_in_a_scores_place(log_of: MakeLog, asked: str, logged: list[str], near: str) -> None:
    """A guard on a score that the log lacks stays unknown, whatever evaluation losses there are."""
    curriculum = small(f'at = "eval"\nguards = [{{ patience = {{ metric = "{asked}", steps = 2 }} }}]')
    values = [None if step % 50 != 49 else 4 - step / 200 for step in range(800)]
    found = replay(curriculum, log_of(range(800), noisy(800), **dict.fromkeys(logged, values)))
    assert not found.decisions
    assert f"the log holds no {asked}: guards that watch it stay unknown. {near}" in found.notes


@pytest.mark.parametrize(
    ("asked", "logged"), [("val_accuracy", "eval_accuracy"), ("val_loss", "eval_loss"), ("eval_f1", "val_f1")]
)
def test_the_same_metric_by_another_name_is_read(log_of: MakeLog, asked: str, logged: str) -> None:
    """What the log calls by another common name is read, and a note says so; the evaluation loss beside it is not."""
    curriculum = small(f'at = "eval"\nguards = [{{ below = {{ metric = "{asked}", value = 2.5 }} }}]')
    values = [None if step % 50 != 49 else 4 - step / 200 for step in range(800)]
    beside = {"test_loss": [None if value is None else 9.0 for value in values]}
    found = replay(curriculum, log_of(range(800), noisy(800), **{logged: values}, **beside))
    assert [decision.step for decision in found.decisions] == [350, 400]
    assert f"{asked} is read from the log's {logged}" in found.notes


# Ends


def test_twenty_five_nan_in_a_row_end_a_replay_as_they_end_a_run(log_of: MakeLog) -> None:
    """A dead run is dead in a replay: it ends there, and says where."""
    losses = [*noisy(40), *[math.nan] * 40]
    found = replay(small("guards = [{ min_epoch = 5 }]"), log_of(range(80), losses))
    assert "the run would have ended here" in found.ended
    assert found.final.step == 65
    assert found.skipped["not a finite number (only guards on non-finite losses see it)"] == 25


def test_nan_between_passed_steps_still_count_in_a_row(log_of: MakeLog) -> None:
    """Three NaN on logged points in a row answer `nonfinite = 3`, whatever lies between them."""
    losses = [2.0] * 5 + [math.nan] * 3 + [2.0] * 12
    found = replay(small("guards = [{ nonfinite = 3 }]"), log_of(range(0, 1000, 50), losses))
    assert [decision.step for decision in found.decisions] == [351]


def test_a_state_that_stops_ends_the_replay(log_of: MakeLog) -> None:
    """Entering a state with `stop` ends a replay with its reason."""
    curriculum = loads(
        LADDER.replace('name = "mid"', 'name = "mid"\nstop = "good enough"') + "guards = [{ min_step = 50 }]"
    )
    found = replay(curriculum, log_of(range(200), noisy(200)))
    assert found.ended == 'state "mid" ends the training: good enough'
    assert found.points == 50


def test_a_first_state_that_stops_ends_the_replay_before_it_begins(log_of: MakeLog) -> None:
    """Where the first state ends the training, nothing is observed."""
    curriculum = loads(LADDER.replace('name = "low"', 'name = "low"\nstop = "no need"') + "guards = []")
    found = replay(curriculum, log_of(range(200), noisy(200)))
    assert (found.points, found.decisions, found.ended) == (0, (), 'state "low" ends the training: no need')


def test_first_only_stops_after_the_first_transition(log_of: MakeLog) -> None:
    """With first_only nothing is decided by losses that could not have been."""
    found = replay(small("guards = [{ min_step = 50 }]"), log_of(range(200), noisy(200)), first_only=True)
    assert [decision.step for decision in found.decisions] == [50]
    assert found.ended == "after the first transition, as asked"


@pytest.mark.parametrize("at", ["step", "epoch"])
def test_why_gives_every_guard_as_it_stood_at_that_step(log_of: MakeLog, at: str) -> None:
    """`until` stops where a step is planned, and the lines are those of the controller at that moment."""
    curriculum = small(
        f'at = "{at}"\nguards = [{{ min_epoch = 5 }}, {{ plateau = {{ window = 20, threshold = 1e-5 }} }}]'
    )
    losses = noisy(900)
    controller = Controller(curriculum)
    for loss in losses[:437]:
        controller.observe(loss)
    found = replay(curriculum, log_of(range(900), losses), until=437)
    assert list(found.lines) == controller.explain()
    assert found.final.step == 437


def test_why_at_a_transition_shows_the_guards_that_brought_it(log_of: MakeLog) -> None:
    """At the first step of a new state, the guards are those of the transition that led there."""
    found = replay(small("guards = [{ min_step = 50 }]"), log_of(range(200), noisy(200)), until=50)
    assert found.lines[0] == "taken: low -> mid"
    assert "min_step: 50 steps complete, 50 needed -> true" in found.lines[2]


def test_why_beyond_the_log_is_refused(log_of: MakeLog) -> None:
    """A step that the log does not reach is an error that names the last one."""
    with pytest.raises(ReplayError, match="step 500 lies beyond the log, whose last point is step 199"):
        replay(small("guards = [{ min_step = 50 }]"), log_of(range(200), noisy(200)), until=500)


def test_a_limit_below_the_ladder_is_refused(log_of: MakeLog) -> None:
    """Limits are checked as in training."""
    with pytest.raises(BindingError):
        replay(load("plateau"), log_of(range(200), noisy(200)), Binding(limits={"cutoff": 5}))


# How close it came


def test_the_closest_look_of_each_guard_is_kept(log_of: MakeLog) -> None:
    """Of the looks that took nothing, the one at which a guard came closest is told with its step and value."""
    losses = [3.0] * 100 + [2.0] * 100 + [1.99] * 50 + [1.0] * 50
    curriculum = small('at = "epoch"\nguards = [{ below = { value = 0.5, window = 10 } }, { min_epoch = 1 }]')
    stay = replay(curriculum, log_of(range(300), losses)).stays[0]
    below, clock = stay.asked
    assert (below.looks, below.true, below.unknown, below.closest_step) == (3, 0, 0, 300)
    assert "loss 1, below 0.5 needed" in below.closest
    assert (clock.guard, clock.looks, clock.true) == ("min_epoch", 3, 3)
    assert stay.refused == 3


def test_parts_of_a_joined_guard_are_told(log_of: MakeLog) -> None:
    """Of `any`, `all` and `not` the parts are told with their values, as they stood at the last look."""
    any_of = "{ any = [{ below = { value = 0.5 } }, { not = { above = { value = 0.7 } } }, { min_epoch = 9 }] }"
    (asked,) = replay(small(f'at = "epoch"\nguards = [{any_of}]'), log_of(range(200), [3.0] * 200)).stays[0].asked
    assert asked.closest == (
        "any: last look: below: loss 3, below 0.5 needed; above: loss 3, above 0.7 needed; "
        "min_epoch: 2 epochs complete, 9 needed"
    )


def test_a_log_without_evaluations(log_of: MakeLog) -> None:
    """A transition that is looked at with evaluations, over a log that has none: the notes and the verdict say so."""
    waits = small('at = "eval"\nguards = [{ dwell = "20 steps" }]')
    timeline = replay(waits, log_of(range(200), noisy(200)))
    assert timeline.decisions == ()
    assert timeline.notes[-1] == (
        "the log holds no evaluations, so transition 1, which is looked at when one comes, was never looked at"
    )
    assert verdict_of(timeline).signs == ("no transition was ever looked at",)
    scores = [0.5 if step % 50 == 49 else None for step in range(200)]
    evaluated = replay(waits, log_of(range(200), noisy(200), val_acc=scores))  # of a metric that no guard watches
    assert [decision.step for decision in evaluated.decisions] == [50, 100]
    assert not any("evaluations" in note for note in evaluated.notes)


def test_late_losses_of_a_log_with_gaps(log_of: MakeLog) -> None:
    """Of a log of every 7th step, each loss comes `lag` steps after its own; the clocks go on between."""
    curriculum = small("guards = [{ below = { value = 0.5 } }]")
    losses = [1.0 if step < 70 else 0.25 for step in range(0, 200, 7)]
    for lag in (0, 2, 9):
        timeline = replay(curriculum, log_of(range(0, 200, 7), losses), Binding(lag=lag))
        assert [decision.step for decision in timeline.decisions][:1] == [70 + lag + 1]
        late = sum(step + lag > 196 for step in range(0, 200, 7))
        assert timeline.skipped == ({"after the end of the replay": late} if late else {})


@pytest.mark.parametrize(("points", "looks", "sampled"), [(2000, 2000, 1), (20_000, 5000, 4)])
def test_looks_are_sampled_when_there_are_very_many(
    points: int, looks: int, sampled: int, log_of: MakeLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a transition that is looked at at every step, all looks are written down, or of a long log one in so many."""
    monkeypatch.setattr("plateau_rule.sim.replayer.replay.PROBES", 5000)
    found = replay(
        small("guards = [{ below = { value = 0.5 } }]"), log_of(range(points), [1.0] * points), Binding(epochs=200)
    )
    assert found.sampled == sampled
    assert found.stays[0].asked[0].looks == pytest.approx(looks, rel=0.01)


def test_a_dropped_step_does_not_enter_a_window(tmp_path: Path) -> None:
    """A row that the trainer marked as skipped moves the clocks and no window, as it did in the run."""
    curriculum = small("guards = [{ plateau = { window = 10, threshold = 0.01 } }]")
    losses = [2.0] * 30
    rows, decisions, _, controller = run_of(curriculum, losses, dropped={3, 4}, limits={"cutoff": 3})
    assert decisions[0].step == 12
    found = replay(curriculum, read(write_run(tmp_path, rows, controller)))
    assert list(found.decisions) == decisions


# Canary


def test_a_replay_that_forgot_a_window_would_be_caught(log_of: MakeLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the quick way left one loss in a hundred out, the comparison with the plain controller would fail."""
    curriculum = small('at = "epoch"\nguards = [{ plateau = { window = 30, threshold = 0.002 } }]')
    losses = noisy(900, seed=3)
    log = log_of(range(900), losses)
    honest = [decision.guards for decision in replay(curriculum, log).decisions]
    observe_all = FastForward.observe_all

    def forgetful(self: FastForward, values: Sequence[float]) -> tuple[int, Decision | None]:
        return observe_all(self, [*values[:-1], 9.9])

    monkeypatch.setattr(FastForward, "observe_all", forgetful)
    _, decisions, _, _ = run_of(curriculum, losses)
    assert honest == [decision.guards for decision in decisions]
    assert [decision.guards for decision in replay(curriculum, log).decisions] != honest


# Real logs

CHOICES: dict[str, dict[str, Any]] = {
    "wandb_csv/nanogpt-char-models.wandb_export.csv": {"run": "gpt2_augmented"},
    "wandb_csv/astroclip-train_loss.csv": {"run": "8-dim"},
    "text/s21-gpt2-lab-notebook.log.md": {"run": "1"},
}
REFUSED = ("nanogpt-ablation-runs-table", "SoftCap")


def test_every_real_log_replays(shared_data: Callable[[str], Path]) -> None:
    """Every real log that holds a curve goes through a replay with the shipped curricula, whatever wrote it."""
    expected = json.loads(shared_data("logs/expected.json").read_text())
    for name in expected:
        if any(part in name for part in REFUSED):
            continue
        path = shared_data("logs") / name
        choice = CHOICES.get(name, {})
        log = read(path, **choice)
        for curriculum in ("plateau", "fixed-epochs"):
            timeline = replay(load(curriculum), log)
            assert timeline.points == len(log) or timeline.ended != "the log ends"
            json.dumps(timeline.as_dict(), allow_nan=False)


def test_llmc_s_gpt2_raises_at_every_epoch(shared_data: Callable[[str], Path]) -> None:
    """The rule as published, over llm.c's GPT-2 124M with epochs of 1000 steps, raises at 2000, 3000 and 4000."""
    timeline = replay(load("plateau"), read(shared_data("logs/text/llmc-gpt2-124M.main.log")))
    assert [decision.step for decision in timeline.decisions] == [2000, 3000, 4000]
