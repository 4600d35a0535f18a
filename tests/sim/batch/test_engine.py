"""The batch engine decides as the controller does, run by run, and to the bit at the same rates."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller import Controller, Curriculum, Decision, NonFiniteLoss
from sim.batch import Batch
from sim.strategies import curricula, limits, loss_streams

METHODS = ("halves",)


def comparable(decision: Decision) -> Decision:
    """Without the lines on guards, which a batch does not write, and with a loss that equals itself."""
    loss = decision.loss if decision.loss is not None and decision.loss == decision.loss else None
    return decision._replace(guards=(), loss=loss, knobs=dict(decision.knobs), knobs_before=dict(decision.knobs_before))


def alone(controller: Controller, said: list[dict[str, Any]]) -> tuple[list[float], list[Decision], list[Any]]:
    """Drive one controller as a trainer would: the rates that it planned, its decisions, and its last plan."""
    rates, decisions = [controller.plan.lr], []
    for observation in said:
        if controller.plan.stop:
            break
        try:
            decision = controller.observe(**observation)
        except NonFiniteLoss:
            break
        rates.append(controller.plan.lr)
        if decision:
            decisions.append(comparable(decision))
    plan = controller.plan
    return rates, decisions, [plan.step, plan.state, dict(plan.knobs)]


@st.composite
def cases(
    draw: st.DrawFn, methods: tuple[str, ...] = METHODS
) -> tuple[Curriculum, dict[str, Any], list[dict[str, Any]]]:
    """A curriculum, what it is bound to, and what a few runs observe: a list of arguments with a place for each run."""
    curriculum = draw(curricula(methods=methods, open_runs=True, max_steps=80))
    binding: dict[str, Any] = {
        "limits": draw(st.none() | limits(curriculum)),
        "lag": draw(st.sampled_from((0, 0, 1, 3))),
    }
    runs, steps = draw(st.integers(1, 4)), draw(st.integers(1, 80))
    streams = [draw(loss_streams(min_size=steps, max_size=steps, extreme=draw(st.booleans()))) for _ in range(runs)]
    seldom = st.integers(0, 5).map(lambda one: one == 5)
    said = []
    for step in range(steps):
        one: dict[str, Any] = {"loss": [stream[step] for stream in streams]}
        if step < binding["lag"] and draw(st.booleans()):
            one["loss"] = [None] * runs
        if draw(seldom):
            one["eval_end"] = True
            one["val_loss"] = [stream[steps - 1 - step] for stream in streams]
        if draw(seldom):
            one["skipped"] = [draw(st.booleans()) for _ in range(runs)]
        if curriculum.run.steps_per_epoch is None and draw(seldom):
            one["epoch_end"] = True
        said.append(one)
    return curriculum, binding, said


def of_run(said: list[dict[str, Any]], run: int) -> list[dict[str, Any]]:
    """What one run observes."""
    return [{key: value[run] if isinstance(value, list) else value for key, value in one.items()} for one in said]


def together(
    curriculum: Curriculum, binding: dict[str, Any], said: list[dict[str, Any]]
) -> tuple[Batch, Any, list[Any]]:
    """Drive a batch: the batch, every step's rates, and the knobs of every step."""
    runs = len(said[0]["loss"])
    batch = Batch(curriculum, runs, **binding, steps=len(said))
    rates, knobs = [batch.lr()], [{name: batch.knob(name) for name in curriculum.knob}]
    for one in said:
        if batch.over:
            break
        arrays: dict[str, Any] = {
            key: np.array(value) if isinstance(value, list) else value for key, value in one.items()
        }
        if "val_loss" in arrays:
            arrays["metrics"] = {"val_loss": arrays.pop("val_loss")}
        if one["loss"][0] is None:
            arrays["loss"] = None
        batch.observe(**arrays)
        rates.append(batch.lr())
        knobs.append({name: batch.knob(name) for name in curriculum.knob})
    return batch, np.array(rates), knobs


@pytest.mark.filterwarnings("ignore::controller.BindingWarning")
@settings(max_examples=200)
@given(cases())
def test_batch_is_the_controller(case: tuple[Curriculum, dict[str, Any], list[dict[str, Any]]]) -> None:
    """Random curricula of the whole language over random streams: every decision and every rate is the controller's."""
    curriculum, binding, said = case
    batch, rates, knobs = together(curriculum, binding, said)
    decisions = batch.decisions()
    for run in range(batch.runs):
        controller = Controller(curriculum, **binding)
        expected, taken, (step, state, values) = alone(controller, of_run(said, run))
        assert [*map(comparable, decisions.spelled(batch.machine, run))] == taken
        assert rates[: len(expected), run].tolist() == expected
        assert batch.machine.states[batch.state[run]].name == state
        assert {name: knobs[len(expected) - 1][name][run] for name in values} == {
            name: np.inf if value == "full" else value for name, value in values.items()
        }
        ended = int(batch.ended_step[run])
        assert (step if ended < 0 else ended) == step
