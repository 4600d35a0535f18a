"""The controller and a naive interpreter of the same page agree, whatever is observed, saved, lost and edited."""

from __future__ import annotations

import json
from copy import deepcopy
from math import inf, nan
from typing import Any

import pytest
from hypothesis import note, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from plateau_rule import Controller, Curriculum, Decision, NonFiniteLoss, SnapshotError, StepError
from plateau_rule.controller.controller import UnguardedController
from plateau_rule.sim.strategies import curricula, limits
from tests.controller.naive import Bound, Naive

pytestmark = pytest.mark.filterwarnings(
    "ignore::plateau_rule.BindingWarning", "ignore::plateau_rule.ObservationWarning"
)

levels = st.integers(0, 64).map(lambda eighths: eighths / 8)
values = st.one_of(levels, levels, st.floats())
metrics = st.fixed_dictionaries({}, optional={"val_loss": values, "score": values})


def of_plan(controller: Controller) -> tuple[Any, ...]:
    """A controller's plan as the naive interpreter writes it."""
    step, epoch, state, knobs, lr, requests, stop, _ = controller.plan
    over = controller.machine.by_name[state].stop or ("over" if stop else None)
    return (step, epoch, state, dict(knobs), lr, tuple((r.name, r.argument) for r in requests), over)


def of_decision_or_none(decision: tuple[Any, ...] | None, edited: bool) -> tuple[Any, ...] | None:
    """The same, without what stood before it where the curriculum was edited after that."""
    return decision and ((*decision[:5], decision[6], *decision[8:]) if edited else decision)


def of_decision(decision: Decision | None) -> tuple[Any, ...] | None:
    """A decision as the naive interpreter writes it."""
    return decision and (*decision[:5], dict(decision.knobs_before), dict(decision.knobs), *decision[7:10])


def rebound(bound: Bound) -> tuple[Any, ...]:
    """What a curriculum is bound to, but for how long a run may be that its clocks end."""
    run = bound.curriculum.run
    return (bound.limits, bound.run, run.cost_per_step, run.clock, run.tokens is None, run.cost is None)


class TwoInterpreters(RuleBasedStateMachine):
    """Runs both beside each other, through everything that a trainer, a user and a crash may do."""

    @initialize(data=st.data(), lag=st.sampled_from((0, 0, 0, 1, 3)), lead=st.integers(0, 5), every=st.booleans())
    def start(self, data: st.DataObject, lag: int, lead: int, every: bool) -> None:
        """Bind a curriculum, for both."""
        self.lag, self.lead, self.dead = lag, (lead, every), False
        self.edited = False  # since the last step: what its rate was is then the edited curriculum's guess
        self.bound = self._draw_bound(data)
        self.real, self.naive = self._controller(self.bound), Naive(self.bound, lag)
        self.saved = (json.dumps(self.real.state_dict()), deepcopy(self.naive), self.edited, self.bound)

    def _lead(self, curriculum: Curriculum) -> dict[str, int]:
        """The same lead for all knobs of a curriculum, or for the first one alone."""
        steps, every = self.lead
        return dict.fromkeys([*curriculum.knob][: None if every else 1], steps) if steps else {}

    def _draw_bound(self, data: st.DataObject) -> Bound:
        curriculum = data.draw(
            curricula(
                monotone=False,
                open_runs=True,
                max_steps=60,
                max_transitions=6,
                methods=("halves",),
                clocks=True,
                rungs=True,
            )
        )
        run = curriculum.run
        bound = data.draw(st.one_of(st.none(), limits(curriculum)))
        return Bound(curriculum, bound, (run.epochs, run.steps_per_epoch, run.tokens_per_step), self._lead(curriculum))

    def _controller(self, bound: Bound) -> Controller:
        epochs, steps_per_epoch, tokens_per_step = bound.run
        return UnguardedController(
            bound.curriculum,
            bound.limits,
            epochs=epochs,
            steps_per_epoch=steps_per_epoch,
            tokens_per_step=tokens_per_step,
            lag=self.lag,
            lead=bound.lead,
        )

    @precondition(lambda self: not self.dead)
    @rule(loss=levels, times=st.integers(1, 8))
    def observe(self, loss: float, times: int) -> None:
        """Observe the same loss a few times."""
        for _ in range(times):
            self._observe(loss)

    @precondition(lambda self: not self.dead)
    @rule(losses=st.lists(levels, min_size=2, max_size=8))
    def observe_several(self, losses: list[float]) -> None:
        """Observe losses that move."""
        for loss in losses:
            self._observe(loss)

    @precondition(lambda self: not self.dead)
    @rule(loss=st.one_of(st.sampled_from((nan, inf, -inf)), st.floats()), skipped=st.booleans())
    def observe_anything(self, loss: float, skipped: bool) -> None:
        """Observe any float, for a step that an AMP scaler may have dropped."""
        self._observe(loss, skipped=skipped)

    @precondition(lambda self: not self.dead)
    @rule(loss=levels, metrics=metrics, marked=st.booleans())
    def evaluate(self, loss: float, metrics: dict[str, float], marked: bool) -> None:
        """Observe a step that brings an evaluation."""
        self._observe(loss, **({"eval_end": True} if marked else {}), **metrics)

    @precondition(lambda self: not self.dead)
    @rule(metrics=metrics)
    def evaluate_later(self, metrics: dict[str, float]) -> None:
        """Bring an evaluation after the step, and after whatever came in between."""
        metrics = {name: value for name, value in metrics.items() if self.naive.evaluates(name)}
        try:
            expected = of_decision_or_none(self.naive.evaluate(dict(metrics)), self.edited)
        except LookupError:
            with pytest.raises(StepError):
                self.real.evaluated(**metrics)
        else:
            assert of_decision_or_none(of_decision(self.real.evaluated(**metrics)), self.edited) == expected
        self.compare()

    @precondition(lambda self: not self.dead)
    @rule(loss=levels, metrics=metrics)
    def close_epoch(self, loss: float, metrics: dict[str, float]) -> None:
        """Observe the last step of an epoch, where the trainer says so; perhaps with metrics."""
        self._observe(loss, **metrics, **({"epoch_end": True} if self.bound.run[1] is None else {}))

    def _observe(self, loss: float, **said: Any) -> None:
        if self.dead:
            return
        said["loss"] = None if self.naive.time < self.lag else loss
        try:
            expected = self.naive.observe(dict(said))
        except ArithmeticError:
            with pytest.raises(NonFiniteLoss):
                self.real.observe(**said)
            self.dead = True
        else:
            assert of_decision(self.real.observe(**said)) == expected
        self.edited = False
        self.compare()

    @rule()
    def save(self) -> None:
        """Save both."""
        self.saved = (json.dumps(self.real.state_dict()), deepcopy(self.naive), self.edited, self.bound)

    @rule()
    def crash(self) -> None:
        """Lose what came after the last save, and resume from it."""
        snapshot, self.naive = self.saved[0], deepcopy(self.saved[1])
        self.bound, self.dead, self.edited = self.saved[3], False, self.saved[2]
        self.real = self._controller(self.bound)
        assert self.real.load_state_dict(json.loads(snapshot)) == ()

    @precondition(lambda self: None not in self.bound.run[:2])
    @rule(epochs=st.integers(1, 5))
    def extend(self, epochs: int) -> None:
        """Stop, and go on with a longer run."""
        run = (self.bound.run[0] + epochs, *self.bound.run[1:])  # type: ignore[operator]
        self._go_on(self.bound._replace(run=run), "refuse")

    @rule(lead=st.integers(0, 5), every=st.booleans())
    def prepare_otherwise(self, lead: int, every: bool) -> None:
        """Stop, and go on with another lead."""
        before, self.lead = self.lead, (lead, every)
        if not self._go_on(self.bound._replace(lead=self._lead(self.bound.curriculum)), "refuse"):
            self.lead = before

    @rule(data=st.data())
    def replace(self, data: st.DataObject) -> None:
        """Stop, and go on with another curriculum, whose states happen to have the same names."""
        self._go_on(self._draw_bound(data), "accept")

    @rule(data=st.data())
    def edit(self, data: st.DataObject) -> None:
        """Stop, edit one table of the curriculum, and go on."""
        written = self.bound.curriculum.model_dump(by_alias=True, exclude_unset=True)
        run = {key: number for key, number in written["run"].items() if isinstance(number, int) and key != "tokens"}
        if {"clock", "tokens", "cost"} & set(written["run"]):
            run.pop("epochs", None)  # shares of the run need not be steps
        other = data.draw(
            curricula(monotone=False, max_knobs=0, max_states=len(written["state"]), run=run, methods=("halves",))
        )
        fresh = other.model_dump(by_alias=True, exclude_unset=True)
        table = data.draw(st.sampled_from(("peak", "length", "state", "transition")))
        if table == "peak":
            written["lr"]["peak"] *= 0.5
            written["lr"] |= {key: value * 0.5 for key, value in written["lr"].items() if key == "lowest"}
        elif table == "length":
            written["lr"] = {key: value for key, value in written["lr"].items() if key not in ("cycles", "peaks")} | {
                "length": "9 steps"
            }
        elif table == "state":
            for state, new in zip(written["state"], fresh["state"], strict=False):
                kept = {key: value for key, value in state.get("lr", {}).items() if key in ("shape", "decay")}
                state["lr"] = {
                    key: value for key, value in new.get("lr", {}).items() if key in ("peak", "floor")
                } | kept
        else:
            fresh["transition"] = [way for way in fresh["transition"] if "ramp_done" not in json.dumps(way)]
            written |= {key: fresh[key] for key in ("metric", "guard", "transition")}
            for state in written["state"]:  # nothing may lead there by a restart any more
                state["lr"] = {key: value for key, value in state.get("lr", {}).items() if "warmup" not in key}
        edited = self.bound._replace(curriculum=Curriculum.model_validate(written))
        self._go_on(edited, "accept")

    def _go_on(self, bound: Bound, on_change: str) -> bool:
        real = self._controller(bound)
        snapshot = json.loads(json.dumps(self.real.state_dict()))
        changed = real.fingerprint != self.real.fingerprint or rebound(bound) != rebound(self.bound)
        changed = changed and on_change == "accept"
        note(f"goes on under {bound}, {'edited' if changed else 'extended'}")
        try:
            self.naive.edit(bound, changed)
        except LookupError:
            with pytest.raises(SnapshotError):
                real.load_state_dict(snapshot, on_change=on_change)
            return False
        real.load_state_dict(snapshot, on_change=on_change)
        self.real, self.bound, self.dead = real, bound, False
        self.edited = self.edited or changed
        return True

    @invariant()
    def compare(self) -> None:
        """Every field of the plan is the same, to the bit."""
        assert of_plan(self.real) == self.naive.plans[-1]


def test_two_interpreters() -> None:
    """No history of observations, saves, crashes, extensions and edits tells the two interpreters apart: 100 of 50."""
    examples = max(100, settings().max_examples * 2 // 5)
    run_state_machine_as_test(TwoInterpreters, settings=settings(max_examples=examples, stateful_step_count=50))
