"""The batch engine decides as the controller does, run by run, and to the bit at the same rates."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plateau_rule import Controller, Curriculum, Decision, NonFiniteLoss, load
from plateau_rule.controller.controller import UnguardedController
from plateau_rule.controller.language.ladders import ranks_of
from plateau_rule.sim.batch import Batch
from plateau_rule.sim.batch.history import Floats
from plateau_rule.sim.batch.rates import Rates
from plateau_rule.sim.strategies import curricula, limits, loss_streams
from plateau_rule.sim.testing import drawn

METRICS = ("loss", "val_loss", "norm")


def comparable(decision: Decision) -> Decision:
    """Without the lines on guards, which a batch does not write, and with a loss that equals itself."""
    loss = decision.loss if decision.loss is not None and decision.loss == decision.loss else None
    return decision._replace(
        guards=(), readings=(), loss=loss, knobs=dict(decision.knobs), knobs_before=dict(decision.knobs_before)
    )


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


Case = tuple[Curriculum, dict[str, Any], list[dict[str, Any]]]
SELDOM = st.integers(0, 5).map(lambda one: one == 5)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """A curriculum, what it is bound to, and what a few runs observe: a list of arguments with a place for each run."""
    curriculum = draw(curricula(metrics=METRICS, open_runs=True, max_steps=80, clocks=True, rungs=True))
    runs, steps = draw(st.integers(1, 4)), draw(st.integers(1, 80))
    streams = [draw(loss_streams(min_size=steps, max_size=steps, extreme=draw(st.booleans()))) for _ in range(runs)]
    return draw(observed(curriculum, np.array(streams)))


@st.composite
def long_cases(draw: st.DrawFn) -> Case:
    """The same over runs that are long enough for every detector to decide."""
    curriculum = draw(curricula(metrics=METRICS, open_runs=True, max_steps=700, clocks=True, rungs=True))
    runs, steps = draw(st.integers(1, 4)), draw(st.integers(300, 700))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    return draw(observed(curriculum, drawn.losses(rng, runs, steps)))


def leads(curriculum: Curriculum) -> st.SearchStrategy[Any]:
    """None, one for all knobs, or one for each."""
    steps = st.integers(0, 6)
    return st.none() | steps | st.fixed_dictionaries(dict.fromkeys(curriculum.knob, steps))


@st.composite
def observed(draw: st.DrawFn, curriculum: Curriculum, streams: Floats) -> Case:
    """What runs observe whose losses are these, [run, step]: late or in time, evaluations, dropped steps, epochs."""
    runs, steps = streams.shape
    binding: dict[str, Any] = {
        "limits": draw(st.none() | limits(curriculum)),
        "lag": draw(st.sampled_from((0, 0, 1, 3))),
        "lead": draw(leads(curriculum)),
    }
    said = []
    for step in range(steps):
        one: dict[str, Any] = {"loss": streams[:, step].tolist()}
        if step < binding["lag"] and draw(st.booleans()):
            one["loss"] = [None] * runs
        if draw(SELDOM):
            one["eval_end"] = True
            one["val_loss"] = streams[:, steps - 1 - step].tolist()
            one["norm"] = (0.5 * streams[:, steps // 2]).tolist()
        if draw(SELDOM):
            one["skipped"] = [draw(st.booleans()) for _ in range(runs)]
        if curriculum.run.steps_per_epoch is None and draw(SELDOM):
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
        arrays["metrics"] = {name: arrays.pop(name) for name in METRICS[1:] if name in arrays}
        if one["loss"][0] is None:
            arrays["loss"] = None
        batch.observe(**arrays)
        rates.append(batch.lr())
        knobs.append({name: batch.knob(name) for name in curriculum.knob})
    return batch, np.array(rates), knobs


def agrees(curriculum: Curriculum, binding: dict[str, Any], said: list[dict[str, Any]]) -> None:
    """Every run of a batch decides, and has the rate and the knobs, that a controller of its own has on every step."""
    batch, rates, knobs = together(curriculum, binding, said)
    decisions = batch.decisions()
    for run in range(batch.runs):
        controller = UnguardedController(curriculum, **binding)
        expected, taken, (step, state, values) = alone(controller, of_run(said, run))
        assert [*map(comparable, decisions.spelled(batch.machine, run))] == taken
        assert rates[: len(expected), run].tolist() == expected
        assert batch.machine.states[batch.state[run]].name == state
        places = ranks_of(curriculum)  # of values that are no numbers
        assert {name: knobs[step][name][run] for name in values} == {
            name: np.inf if value == "full" else places.get(name, {}).get(value, value)
            for name, value in values.items()
        }
        ended = int(batch.ended_step[run])
        assert (step if ended < 0 else ended) == step


@pytest.mark.filterwarnings("ignore::plateau_rule.BindingWarning")
@settings(max_examples=settings().max_examples * 2)
@given(cases())
def test_batch_is_the_controller(case: Case) -> None:
    """Random curricula of the whole language over random streams: every decision and every rate is the controller's."""
    agrees(*case)


@pytest.mark.filterwarnings("ignore::plateau_rule.BindingWarning")
@settings(suppress_health_check=list(HealthCheck))
@given(long_cases())
def test_batch_is_the_controller_in_long_runs(case: Case) -> None:
    """The same over hundreds of steps, in which trends and diminishing returns are found as well."""
    agrees(*case)


def test_a_batch_that_is_slightly_off_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Canary: a rate that differs in its last bit is seen."""
    said: list[dict[str, Any]] = [{"loss": [3.0]}] * 20
    on = Rates.on
    monkeypatch.setattr(Rates, "on", lambda rates, step: np.nextafter(on(rates, step), 1.0))
    with pytest.raises(AssertionError):
        agrees(load("plateau"), {"limits": {"cutoff": 1025}}, said)
