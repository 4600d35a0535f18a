"""What a run tells a tracker, by a tracker that writes down what it is told."""

from __future__ import annotations

from math import isnan, nan
from pathlib import Path

import pytest

from plateau_rule import Controller, loads
from plateau_rule.sim.trackers import TrackerError, TrackerWarning, Tracks, open_tracks, require_trackers, track
from plateau_rule.sim.trackers.tracks import meters_of
from tests.sim.trackers.fake import FakeTracker

SMALL = """
name  = "small"
run   = { epochs = 4, steps_per_epoch = 10 }
lr    = { peak = 1.0, shape = "linear", length = "20 steps" }
knob  = { size = { ladder = [4, 8] } }
state = [{ name = "easy", set = { size = 4 } }, { name = "hard", set = { size = 8 } }]

[[transition]]
name    = "ready"
from    = "easy"
to      = "hard"
guards  = [{ min_step = 15 }, { below = { value = 2.5, window = 5 } }]
actions = ["lr_restart", "checkpoint"]
"""


def run(controller: Controller, tracks: Tracks, until: int = 1000) -> None:
    """Take steps whose losses fall from 3 to 2."""
    while (plan := controller.plan).stop is None and plan.step < until:
        loss = 3 - plan.step / 40
        tracks.observed(plan, loss, controller.observe(loss), grad_norm=1.0)


def test_series_and_events_of_a_whole_run() -> None:
    """Each step has its loss, rate, state, knob and meters once; the raise and the end are events."""
    controller, fake = Controller(loads(SMALL)), FakeTracker()
    with Tracks([fake], controller) as tracks:
        run(controller, tracks)
    assert [step for step, _ in fake.points] == list(range(40))
    first, raised, after = fake.points[0][1], fake.points[23][1], fake.points[24][1]
    assert first == {
        "loss": 3.0,
        "grad_norm": 1.0,
        "plateau/lr": 1.0,
        "plateau/state": 0.0,
        "plateau/size": 4.0,
        "plateau/guard/ready/min_step": 1.0,
    }
    assert raised["plateau/guard/ready/below"] == pytest.approx(2.475)
    assert (after["plateau/lr"], after["plateau/state"], after["plateau/size"]) == (1.0, 1.0, 8.0)
    assert [(step, title) for step, title, _ in fake.events] == [
        (24, "raise and restart and checkpoint: easy -> hard"),
        (40, "end"),
    ]
    assert fake.events[0][2].splitlines()[0] == "step 24: size 4 -> 8, lr 0 -> 1"
    assert "below" in fake.events[0][2]
    assert fake.closed == 1


def test_a_step_that_is_held_is_not_given_again() -> None:
    """A run that was killed at step 25 and goes on at 20 adds steps 26 and on, and no second raise."""
    controller = Controller(loads(SMALL))
    run(controller, Tracks([], controller), until=20)
    again = Controller(loads(SMALL))
    again.load_state_dict(controller.state_dict())
    fake = FakeTracker(last=25)
    with Tracks([fake], again) as tracks:
        run(again, tracks)
    assert [step for step, _ in fake.points] == list(range(26, 40))
    assert [title for _, title, _ in fake.events] == ["end"]


def test_a_flush_hands_over_the_step_under_way() -> None:
    """Before a checkpoint nothing is held back, and a process that leaves before the end notes no end."""
    controller, fake = Controller(loads(SMALL)), FakeTracker()
    tracks = Tracks([fake], controller)
    run(controller, tracks, until=7)
    tracks.flush()
    assert fake.flushed == 7
    tracks.close()
    assert (len(fake.points), fake.events) == (7, [])


@pytest.mark.parametrize("where", ["numbers", "event", "flush", "close"])
def test_a_tracker_that_fails_is_told_of_once_and_training_goes_on(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk under one tracker: one warning; it gets nothing more, and another one holds the whole run."""
    full, sound = FakeTracker(), FakeTracker()
    calls: list[str] = []

    def fail(*given: object) -> None:
        calls.append(where)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(full, where, fail)
    controller = Controller(loads(SMALL))

    def track_whole_run() -> None:
        tracks = Tracks([full, sound], controller)
        run(controller, tracks, until=30)
        tracks.flush()
        run(controller, tracks)
        tracks.close()

    with pytest.warns(TrackerWarning, match="FakeTracker failed at step .*No space left .* Training goes on") as told:
        track_whole_run()
    assert len(told) == 1
    assert calls.count(where) == (2 if where == "close" else 1)  # it is tried once more to give its files back
    assert [step for step, _ in sound.points] == list(range(40))
    assert (len(full.points) == 40) == (where == "close")


def test_evaluations_join_their_step_and_nan_stays_nan() -> None:
    """What an evaluation brings stands at its step; a loss that is no number is handed on as one."""
    controller, fake = Controller(loads(SMALL)), FakeTracker()
    tracks = Tracks([fake], controller)
    tracks.step(controller.plan, nan, skipped=True)
    tracks.evaluation(0, 0, {"val_loss": 2.0})
    tracks.close()
    ((step, values),) = fake.points
    assert (step, values["val_loss"], values["plateau/skipped"]) == (0, 2.0, 1.0)
    assert isnan(values["loss"])


def test_two_guards_of_one_word_have_two_series() -> None:
    """Where a transition asks two guards of the same word, the second's series is numbered."""
    text = SMALL.replace("{ min_step = 15 }", "{ any = [{ min_step = 15 }, { min_step = 30 }] }")
    (way,) = Controller(loads(text)).readings()
    assert [name for name, _ in meters_of(way)] == ["plateau/guard/ready/min_step", "plateau/guard/ready/min_step_2"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("tensorbord:runs", "'tensorbord' is no tracker.*tensorboard.*Known are tensorboard:FOLDER"),
        (["wandb", "aim:x"], "'aim' is no tracker"),
    ],
)
def test_an_unknown_tracker_is_a_sentence(words: str | list[str], told: str) -> None:
    """A tracker that is not known is refused with those that are."""
    with pytest.raises(TrackerError, match=told):
        require_trackers(words)


def test_a_missing_library_is_a_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A tracker whose library is not installed is refused with what to install, before anything is written."""
    monkeypatch.setattr("plateau_rule.sim.trackers.opening.find_spec", lambda name: None)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TrackerError, match=r"needs wandb, which is not installed. .*plateau-rule\[wandb\]"):
        track(Controller(loads(SMALL)), "wandb")
    assert list(tmp_path.iterdir()) == []


def test_no_tracker_is_no_tracker() -> None:
    """Without words nothing is opened, and a run can be told all the same."""
    controller = Controller(loads(SMALL))
    with open_tracks((), "run", controller) as tracks:
        run(controller, tracks)
    assert controller.plan.stop is not None
