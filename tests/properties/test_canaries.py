"""Controllers that are broken on purpose, in ways that were seen in the wild, and the properties that catch them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import replace
from math import isfinite, nan
from typing import Any

import pytest

from plateau_rule.controller import Controller, Decision, Plan, load
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
            self._rate, self._before, self._plan = self._before, None, None
        old = self._rate
        decision = super().observe(*loss, **said)
        if decision is not None:
            self._before = old
        return decision


class CutoffFromTheEpoch(Controller):
    """On a resume, infers the state from the epoch, as the published code did."""

    def load_state_dict(self, saved: Mapping[str, Any], on_change: str = "refuse") -> tuple[str, ...]:
        notes = super().load_state_dict(saved, on_change)
        epoch, clock = self.clock.epoch, {hand: getattr(self.clock, hand) for hand in ("step", "epoch", "time")}
        self._enter(self.machine.states[min(max(0, epoch - 4), len(self.machine.states) - 1)], self.total_steps)
        for hand, value in clock.items():
            setattr(self.clock, hand, value)
        return notes


class HistoryKeptAcrossARaise(Controller):
    """Leaves the losses of the state before in the detectors of the next one."""

    def _enter(self, state: Any, total_steps: int | None) -> None:
        old = getattr(self, "_stay", None)
        super()._enter(state, total_steps)
        for key, (_, detector) in self._stay.detectors.items():
            if old is not None and key in old.detectors:
                detector.restore(old.detectors[key][1].contents())


class NanLetIn(Controller):
    """Hands NaN and infinity to the detectors like any other loss."""

    def observe(self, *loss: Any, **said: Any) -> Decision | None:
        value = loss[0]
        if not isfinite(value):
            for push in self._pushes:
                push(value)
        return super().observe(*loss, **said)


class CountersNotSaved(Controller):
    """Forgets the contents of its detectors on a resume."""

    def load_state_dict(self, saved: Mapping[str, Any], on_change: str = "refuse") -> tuple[str, ...]:
        notes = super().load_state_dict(saved, on_change)
        self._stay = self.machine.stay(self._state, self._entered_total)
        self._pushes = [detector.push for _, detector in self._stay.detectors.values()]
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
        self._rate, self._plan = replace(self._rate, anchor=self.clock.step), None
        return notes


def agrees_with_the_naive(curriculum: Any, losses: list[float]) -> None:
    """Fail where the controller under test and the naive interpreter of the same page decide otherwise."""
    run = BINDING
    bound = Bound(curriculum, run["limits"], (run["epochs"], run["steps_per_epoch"], run["tokens_per_step"]))
    real, naive = vars(checks)["Controller"](curriculum, **run), Naive(bound)
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
    monkeypatch.setattr(checks, "Controller", kind)
    with pytest.raises(AssertionError):
        check(STREAMS[stream])


def test_the_streams_are_worth_looking_at() -> None:
    """The streams of the canaries climb: each raises the cutoff twice at least."""
    for losses in STREAMS.values():
        assert len(trace(load("plateau"), losses, **BINDING).decisions) >= 2
