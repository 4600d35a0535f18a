"""What `plateau check` calls sound stays aligned and never regresses, in bulk; `make million` goes on to a million."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from controller import Curriculum, load
from controller.binding import bind
from controller.clockwork import RateClock
from controller.verifier.verify import verify
from sim.batch import Batch
from sim.batch.rates import Rates
from sim.testing import drawn
from sim.testing.drawn import Watched, watched

RUNS = 60


def sound(count: int, seed: int = 0) -> list[tuple[Curriculum, np.random.Generator]]:
    """The first so many drawn curricula that are sound, each with its own source of streams."""
    found: list[tuple[Curriculum, np.random.Generator]] = []
    for rng in drawn.seeds(seed, 100 * count):
        curriculum = drawn.curriculum(rng)
        if not verify(bind(curriculum, dict.fromkeys(curriculum.knob, 1025.0))).failed():
            found.append((curriculum, rng))
        if len(found) == count:
            return found
    raise LookupError(f"only {len(found)} of {100 * count} drawn curricula are sound")


def steps_of(curriculum: Curriculum) -> int:
    """Steps in a run."""
    return (curriculum.run.epochs or 1) * (curriculum.run.steps_per_epoch or 1)


def tried(curricula: list[tuple[Curriculum, np.random.Generator]]) -> Watched:
    """Run each curriculum over streams, and watch."""
    found = Watched()
    for curriculum, rng in curricula:
        found += watched(curriculum, drawn.losses(rng, RUNS, steps_of(curriculum)))
    return found


def test_sound_curricula_keep_their_promises() -> None:
    """In thousands of transitions of curricula called sound no knob rises into a low rate, and none falls."""
    found = tried(sound(40))
    assert found.violations == []
    assert found.transitions > 4000
    assert found.raises > 2000


def test_misaligned_is_seen() -> None:
    """Canary: the curriculum that `check` calls misaligned is seen to raise into a low rate."""
    curriculum = load("misaligned")
    short = curriculum.run.model_copy(update={"steps_per_epoch": 60})
    found = watched(curriculum.model_copy(update={"run": short}), np.full((2, 1000), 3.0))
    assert len(found.violations) > 0
    assert 'state "words": the rate is low after a raise' in found.violations[0]


def broken_restart(rates: Rates, *given: Any) -> Any:
    """The phase goes on where it should begin anew."""
    clock, transition, old, new, step = given
    kept = tuple(action for action in transition.actions if action.name != "lr_restart")
    return UNBROKEN["restart"](rates, clock, _with_actions(transition, kept), old, new, step)


def one_step_restart(rates: Rates, *given: Any) -> Any:
    """The rate is at its peak for one step, and then where it was."""
    clock: RateClock = UNBROKEN["restart"](rates, *given)
    return RateClock(clock.anchor - 1, clock.warm_steps, clock.cycle, min(clock.length_steps, 2), clock.scale)


def falling_knobs(batch: Batch, name: str) -> Any:
    """A knob that is inferred from the epoch, and falls when an epoch closes."""
    return UNBROKEN["knob"](batch, name) / (1 + batch.epoch)


def _with_actions(transition: Any, actions: Any) -> Any:
    return replace(transition, actions=actions)


UNBROKEN: dict[str, Callable[..., Any]] = {"restart": Rates._taken, "knob": Batch.knob}


@pytest.mark.parametrize(
    ("owner", "name", "broken", "sentence"),
    [
        (Rates, "_taken", broken_restart, "the rate is low after a raise"),
        (Rates, "_taken", one_step_restart, "the rate is low after a raise"),
        (Batch, "knob", falling_knobs, "falls"),
    ],
)
def test_a_broken_controller_is_caught(
    owner: type, name: str, broken: Callable[..., Any], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Canary: no restart, a restart for one step, and a knob inferred from the epoch are each caught."""
    curricula = sound(6)
    monkeypatch.setattr(owner, name, broken)
    assert any(sentence in violation for violation in tried(curricula).violations)


def test_what_is_drawn_is_varied() -> None:
    """The drawn curricula use every kind of guard, restarts, retreats, cycles and ladders, no two of them alike."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        texts = [drawn.curriculum(rng).model_dump_json(exclude_unset=True) for rng in drawn.seeds(1, 200)]
    for word in ("plateau", "patience", "below", "gap", "dwell", "min_epoch", "diverging", "nonfinite", "any", "not_",
                 "cycles", "rest", "warmup", "regress", "sustain", "lr_scale", "full", "wsd"):  # fmt: skip
        assert sum(word in text for text in texts) >= 5, word
    assert len(set(texts)) == 200
