"""What `plateau check` calls sound stays aligned and never regresses; `make transitions` goes on to a million."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import accumulate
from typing import Any

import numpy as np
import pytest

from plateau_rule import load
from plateau_rule.controller.machine import Machine
from plateau_rule.controller.rate import RateClock, after_transition
from plateau_rule.sim.batch import Batch
from plateau_rule.sim.batch.rates import Rates
from plateau_rule.sim.testing import drawn
from plateau_rule.sim.testing.drawn import DrawnTally, Draws, watched

RUNS = 60


def tried(count: int, first: int = 0) -> DrawnTally:
    """What comes of `count` drawn curricula, from the one numbered `first` on."""
    return drawn.tally(Draws(0, first, count, RUNS))


def tried_by_eights(count: int) -> Iterator[DrawnTally]:
    """The same, eight at a time, for who stops at the first that shows something."""
    return (tried(8, first) for first in range(0, count, 8))


def test_sound_curricula_keep_their_promises_and_broken_ones_do_not() -> None:
    """Thousands of transitions of sound curricula keep both promises; broken ones break them where `check` says so."""
    found = tried(80)
    assert found.watched.violations == []
    assert found.unseen == []
    assert found.watched.transitions > 4000
    assert found.watched.raises > 2000
    assert found.broken > 3


def test_misaligned_is_seen() -> None:
    """Canary: the curriculum that `check` calls misaligned is seen to raise into a low rate."""
    curriculum = load("misaligned")
    short = curriculum.run.model_copy(update={"steps_per_epoch": 60})
    found = watched(curriculum.model_copy(update={"run": short}), np.full((2, 1000), 3.0))
    assert len(found.violations) > 0
    assert 'state "words": the rate is low after a raise' in found.violations[0]


def broken_restart(clock: RateClock, machine: Machine, transition: Any, step: int) -> RateClock:
    """The phase goes on where it should begin anew."""
    kept = tuple(action for action in transition.actions if action.name != "lr_restart")
    return after_transition(clock, machine, replace(transition, actions=kept), step)


def one_step_restart(clock: RateClock, machine: Machine, transition: Any, step: int) -> RateClock:
    """The rate is at its peak for one step, and then where it was."""
    clock = after_transition(clock, machine, transition, step)
    return RateClock(clock.anchor - 1, clock.warm_steps, clock.cycle, min(clock.length_steps, 2), clock.scale)


def falling_knobs(batch: Batch, name: str) -> Any:
    """A knob that is inferred from the epoch, and falls when an epoch closes."""
    return UNBROKEN(batch, name) / (1 + batch.epoch)


UNBROKEN = Batch.knob


@pytest.mark.parametrize(
    ("place", "broken", "sentence"),
    [
        ("plateau_rule.sim.batch.rates.after_transition", broken_restart, "the rate is low after a raise"),
        ("plateau_rule.sim.batch.rates.after_transition", one_step_restart, "the rate is low after a raise"),
        ("plateau_rule.sim.batch.Batch.knob", falling_knobs, "falls"),
    ],
)
def test_a_broken_controller_is_caught(
    place: str, broken: Callable[..., Any], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Canary: no restart, a restart for one step, and a knob inferred from the epoch are each caught."""
    monkeypatch.setattr(place, broken)
    assert any(sentence in violation for tally in tried_by_eights(40) for violation in tally.watched.violations)


def test_a_counterexample_that_breaks_nothing_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Canary: where the rate is always at its peak, streams that `check` says break a curriculum break nothing."""
    monkeypatch.setattr(Rates, "on", lambda rates, step: np.full(len(rates.clock_of), np.inf))
    unseen = accumulate(len(tally.unseen) for tally in tried_by_eights(160))
    assert any(count > 3 for count in unseen)


def test_what_is_drawn_is_varied() -> None:
    """The drawn curricula use every kind of guard, restarts, retreats, cycles and ladders, no two of them alike."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        curricula = [drawn.curriculum(np.random.default_rng([1, place])) for place in range(200)]
    texts = [curriculum.model_dump_json(exclude_unset=True) for curriculum in curricula]
    for word in ("plateau", "patience", "below", "gap", "dwell", "min_epoch", "diverging", "nonfinite", "any", "not_",
                 "cycles", "rest", "warmup", "regress", "sustain", "lr_scale", "full", "wsd"):  # fmt: skip
        assert sum(word in text for text in texts) >= 5, word
    assert len(set(texts)) == 200
