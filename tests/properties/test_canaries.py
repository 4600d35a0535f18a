"""Controllers that are broken on purpose, in ways that were seen in the wild, and the properties that catch them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import replace
from math import isfinite, nan
from typing import Any

import pytest

from plateau_rule import Controller, Decision, Plan, load
from plateau_rule.controller.step import enter
from plateau_rule.sim.strategies import (
    Cut,
    assert_aligned,
    assert_never_regresses,
    assert_resume_identical,
    checks,
    trace,
)
from tests.controller.naive import Bound, Naive
from tests.properties.test_promises import SMALL
from tests.properties.test_two_interpreters import of_decision

STEPS = 280
BINDING: dict[str, Any] = {"limits": {"cutoff": 1025}} | SMALL
NOISY = [3.0 + (i * 0.6180339887498949) % 1.0 / 100 for i in range(STEPS)]
JUMPY = [(5.0 if (i // 40) % 2 else 3.0) + (i * 0.6180339887498949) % 1.0 for i in range(STEPS)]
BURSTS = [nan if i % 29 in (11, 12) else loss for i, loss in enumerate(NOISY)]


class RestartForOneStep(Controller):
    """Lifts the rate to the peak for one step and falls back into the old decay, as the published code did."""

    _before: Any = None

    def observe(self, *loss: Any, **said: Any) -> Decision | None:
        if self._before is not None:
            self.run_state.rate, self._before = self._before, None
        old = self.run_state.rate
        decision = super().observe(*loss, **said)
        if decision is not None:
            self._before = old
        return decision


class CutoffFromTheEpoch(Controller):
    """On a resume, infers the state from the epoch, as the published code did."""

    def load_state_dict(self, saved: Mapping[str, Any], on_change: str = "refuse") -> tuple[str, ...]:
        notes = super().load_state_dict(saved, on_change)
        run, states = self.run_state, self.machine.states
        time = run.time
        enter(self.machine, run, states[min(max(0, run.epoch - 4), len(states) - 1)], self.total_steps)
        run.time = time
        return notes


class HistoryKeptAcrossARaise(Controller):
    """Leaves the losses of the state before in the detectors of the next one."""

    def observe(self, *loss: Any, **said: Any) -> Decision | None:
        before = self.run_state.stay.detectors
        decision = super().observe(*loss, **said)
        for key, (_, detector) in self.run_state.stay.detectors.items() if decision is not None else ():
            if key in before:
                detector.restore(before[key][1].contents())
        return decision


class NanLetIn(Controller):
    """Hands NaN and infinity to the detectors like any other loss."""

    def observe(self, *loss: Any, **said: Any) -> Decision | None:
        value = loss[0]
        if not isfinite(value):
            for push in self.run_state.stay.pushes:
                push(value)
        return super().observe(*loss, **said)


class CountersNotSaved(Controller):
    """Forgets the contents of its detectors on a resume."""

    def load_state_dict(self, saved: Mapping[str, Any], on_change: str = "refuse") -> tuple[str, ...]:
        notes = super().load_state_dict(saved, on_change)
        self.run_state.stay = self.machine.stay(self.run_state.state, self.run_state.entered_length)
        return notes


class OneStepLate(Controller):
    """Applies a restart one step after the knob has risen."""

    @property
    def plan(self) -> Plan:
        plan = super().plan
        late = getattr(self, "_lr_before", None)
        return plan if late is None else plan._replace(lr=late)

    def observe(self, *loss: Any, **said: Any) -> Decision | None:
        before = super().plan.lr
        decision = super().observe(*loss, **said)
        self._lr_before = before if decision is not None else None
        return decision


class RateFromTheConstructor(Controller):
    """Starts the rate over on every resume."""

    def load_state_dict(self, saved: Mapping[str, Any], on_change: str = "refuse") -> tuple[str, ...]:
        notes = super().load_state_dict(saved, on_change)
        self.run_state.rate = replace(self.run_state.rate, anchor=self.run_state.step)
        return notes


def agrees_with_the_naive(curriculum: Any, losses: list[float]) -> None:
    """Fail where the controller under test and the naive interpreter of the same page decide otherwise."""
    run = BINDING
    bound = Bound(curriculum, run["limits"], (run["epochs"], run["steps_per_epoch"], run["tokens_per_step"]))
    real, naive = vars(checks)["UnguardedController"](curriculum, **run), Naive(bound)
    for loss in losses:
        assert of_decision(real.observe(loss)) == naive.observe({"loss": loss})


def aligned(losses: list[float]) -> None:
    """plateau.toml is aligned."""
    assert_aligned(load("plateau"), losses, **BINDING | {"steps_per_epoch": 100})


def resumes(losses: list[float]) -> None:
    """plateau.toml and patience.toml resume as if nothing had happened."""
    for name in ("plateau", "patience"):
        assert_resume_identical(load(name), losses, **BINDING)


def climbs_only(losses: list[float]) -> None:
    """No knob of plateau.toml falls where it is cut."""
    assert_never_regresses(load("plateau"), losses, [Cut(130, 0), Cut(200, 3)], **BINDING)


def agrees(losses: list[float]) -> None:
    """plateau.toml, looked at after every step, is what the reference says."""
    written = load("plateau").model_dump(by_alias=True, exclude_unset=True)
    written["transition"][0] |= {"at": "step", "guards": [{"dwell": "20 steps"}, "flat"]}
    agrees_with_the_naive(type(load("plateau")).model_validate(written), losses)


CHECKS: tuple[Callable[[list[float]], None], ...] = (aligned, resumes, climbs_only, agrees)
STREAMS = {"noisy": NOISY, "jumpy": JUMPY, "bursts": BURSTS}

CAUGHT: list[tuple[type[Controller], Callable[[list[float]], None], str]] = [
    (RestartForOneStep, aligned, "noisy"),
    (RestartForOneStep, resumes, "noisy"),
    (CutoffFromTheEpoch, climbs_only, "noisy"),
    (CutoffFromTheEpoch, resumes, "noisy"),
    (HistoryKeptAcrossARaise, agrees, "jumpy"),
    (NanLetIn, agrees, "bursts"),
    (CountersNotSaved, resumes, "noisy"),
    (OneStepLate, aligned, "noisy"),
    (RateFromTheConstructor, resumes, "noisy"),
]


@pytest.mark.parametrize(("check", "stream"), [*itertools.product(CHECKS, STREAMS)])
def test_the_real_controller_passes(check: Callable[[list[float]], None], stream: str) -> None:
    """On the streams below, the real controller breaks none of the properties."""
    check(STREAMS[stream])


@pytest.mark.parametrize(("kind", "check", "stream"), CAUGHT)
def test_a_broken_controller_is_caught(
    kind: type[Controller], check: Callable[[list[float]], None], stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A controller that is broken in this way breaks this property."""
    monkeypatch.setattr(checks, "UnguardedController", kind)
    with pytest.raises(AssertionError):
        check(STREAMS[stream])


def test_the_streams_are_worth_looking_at() -> None:
    """The streams of the canaries climb: each raises the cutoff twice at least."""
    for losses in STREAMS.values():
        assert len(trace(load("plateau"), losses, **BINDING).decisions) >= 2
