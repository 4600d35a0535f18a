"""What-if questions over a log are answered as a Controller would, whatever is asked, and at whatever step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plateau_rule import Binding, Curriculum, Decision, NonFiniteLoss, Plan, dumps
from plateau_rule.controller.controller import UnguardedController
from plateau_rule.controller.readings import Way
from plateau_rule.controller.state import SILENT
from plateau_rule.sim.batch.along import halves, trend
from plateau_rule.sim.strategies import curricula, limits, loss_streams
from plateau_rule.sim.testing import drawn
from plateau_rule.sim.whatif import player, stay
from plateau_rule.sim.whatif.log import DROPPED, LOGGED, PASSED, Kinds, LossLog
from plateau_rule.sim.whatif.player import LogPlayer
from plateau_rule.sim.whatif.session import Session, play

METRICS = ("loss", "val_loss", "score")
Case = tuple[Curriculum, Binding, list[float], dict[int, dict[str, Any]]]


class Alone:
    """A controller that observes a log as a trainer would: its plans, its decisions, and its readings, by step."""

    def __init__(self, case: Case) -> None:
        curriculum, binding, losses, evaluations = case
        controller = UnguardedController(curriculum, binding)
        controller.run_state.said = SILENT
        self.plans, self.decisions = [controller.plan], list[Decision]()
        self.readings: list[tuple[Way, ...]] = [controller.readings()]
        late: list[Any] = [*[None] * controller.lag, *losses]
        self.died = False
        for step in range(len(losses)):
            if controller.plan.stop:
                break
            try:
                decision = controller.observe(late[step], **evaluations.get(step, {}))
            except NonFiniteLoss:
                self.died = True
                break
            self.decisions += [decision] if decision else []
            self.plans.append(controller.plan)
            self.readings.append(controller.readings())


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """A curriculum, what it is bound to, a log, and evaluations at some of its steps."""
    curriculum = draw(curricula(metrics=METRICS, max_steps=80))
    losses = list(draw(loss_streams(max_size=80, extreme=draw(st.booleans()))))
    return draw(bound_cases(curriculum, losses))


@st.composite
def long_cases(draw: st.DrawFn) -> Case:
    """The same over runs that are long enough for every detector to decide."""
    curriculum = draw(curricula(metrics=METRICS, max_steps=700))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    losses = drawn.losses(rng, 1, draw(st.integers(300, 700)))[0].tolist()
    return draw(bound_cases(curriculum, losses))


@st.composite
def bound_cases(draw: st.DrawFn, curriculum: Curriculum, losses: list[float]) -> Case:
    """Limits, losses that come late or transitions that are decided early, and evaluations."""
    binding = Binding(
        limits=draw(st.none() | limits(curriculum)),
        lag=draw(st.sampled_from((0, 0, 0, 3))),
        lead=draw(st.sampled_from((None, None, None, 2))),
    )
    evaluations = dict[int, dict[str, Any]]()
    for step in draw(st.lists(st.integers(0, max(0, len(losses) - 1)), max_size=6, unique=True)):
        names = draw(st.lists(st.sampled_from(METRICS[1:]), min_size=1, unique=True))
        evaluations[step] = dict.fromkeys(names, losses[-1 - step] if losses else 1.0)
    return curriculum, binding, losses, evaluations


def spelled(plan: Plan) -> str:
    """A plan as a text, so that NaN equals itself."""
    return repr(plan._replace(knobs=dict(plan.knobs)))


@contextmanager
def in_arrays() -> Iterator[None]:
    """However short a log is, it is played in arrays, and in small pieces."""
    with (
        patch.object(player, "SHORT", -1),
        patch.object(stay, "FEWEST", 3),
        patch.object(stay, "MOST", 40),
        patch.object(trend, "_AT_ONCE", 7),
        patch.object(halves, "_AT_ONCE", 30),
    ):
        yield


def agrees(case: Case) -> None:
    """Decisions, the last plan, and whether the run had died, are the controller's."""
    with in_arrays():
        _agrees(case)
    _agrees(case)


def _agrees(case: Case) -> None:
    curriculum, binding, losses, evaluations = case
    alone = Alone(case)
    played = play(dumps(curriculum), losses, binding, evaluations=evaluations)
    assert repr(played.decisions) == repr(tuple(alone.decisions))
    assert (played.plan.step, played.ended is not None) == (
        len(alone.plans) - 1 + alone.died,
        alone.died or alone.plans[-1].stop is not None,
    )
    if not alone.died:
        assert spelled(played.plan) == spelled(alone.plans[-1])


quiet = pytest.mark.filterwarnings("ignore::plateau_rule.BindingWarning")


@quiet
@given(cases())
def test_play_is_the_controller(case: Case) -> None:
    """Random curricula of the whole language over random logs: every decision is the controller's, to the bit."""
    agrees(case)


@quiet
@settings(suppress_health_check=list(HealthCheck))
@given(long_cases())
def test_play_is_the_controller_in_long_runs(case: Case) -> None:
    """The same over hundreds of steps, in which trends and diminishing returns are found as well."""
    agrees(case)


@quiet
@given(long_cases(), st.data())
def test_why_is_what_the_controller_said(case: Case, data: st.DataObject) -> None:
    """At any step, state, knobs, rate and readings are those that a controller had when the step was planned."""
    curriculum, binding, losses, evaluations = case
    alone = Alone(case)
    with in_arrays() if data.draw(st.booleans()) else nullcontext():
        session = Session(dumps(curriculum), binding, losses, evaluations=evaluations)
    for step in data.draw(st.lists(st.integers(0, len(alone.plans) - 1), min_size=1, max_size=8)):
        moment = session.why(step)
        plan = alone.plans[step]
        assert (moment.step, moment.epoch, moment.state, moment.lr) == (plan.step, plan.epoch, plan.state, plan.lr)
        assert (dict(moment.knobs), moment.ways) == (dict(plan.knobs), alone.readings[step])
        assert (moment.taken is not None) == any(one.step == step for one in alone.decisions)
    steps = range(len(alone.plans))
    assert session.rate_at(steps) == [(step, alone.plans[step].lr) for step in steps]
    for name, changes in session.knobs(most=10**6).items():
        held, values = dict(changes), list[Any]()
        for step in steps:
            values.append(held.get(step, values[-1] if values else None))
        assert values == [alone.plans[step].knobs[name] for step in steps]


@quiet
@given(long_cases(), st.data())
def test_a_growing_run_is_the_whole_one(case: Case, data: st.DataObject) -> None:
    """A run that grows in pieces, is cut back and grows again, decides and stands as one that was played at once."""
    curriculum, binding, losses, evaluations = case
    whole = Session(dumps(curriculum), binding, losses, evaluations=evaluations)
    growing = Session(dumps(curriculum), binding)
    with in_arrays() if data.draw(st.booleans()) else nullcontext():
        grow(growing, case, data)
    assert repr(growing.decisions) == repr(whole.decisions)
    assert (spelled(growing.plan), growing.ended) == (spelled(whole.plan), whole.ended)
    step = data.draw(st.integers(0, len(losses)))
    assert repr(growing.why(step)) == repr(whole.why(step))
    assert growing.rates() == whole.rates()


def grow(growing: Session, case: Case, data: st.DataObject) -> None:
    """Let a session grow to the whole log, in pieces and with cuts."""
    _, _, losses, evaluations = case
    at = 0
    for _ in range(data.draw(st.integers(1, 6))):
        if data.draw(st.booleans()):
            at = data.draw(st.integers(0, at))
            growing.cut(at)
        upto = data.draw(st.integers(at, len(losses)))
        growing.extend(losses[at:upto], {step: given for step, given in evaluations.items() if at <= step < upto})
        at = upto
    growing.extend(losses[at:], {step: given for step, given in evaluations.items() if step >= at})


@st.composite
def kinds_of(draw: st.DrawFn, case: Case) -> Kinds:
    """How each step of a log was logged: most of them, or now and then, and some dropped."""
    weights = draw(st.sampled_from(((0.9, 0.05, 0.05), (0.3, 0.65, 0.05), (0.1, 0.9, 0.0))))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    return rng.choice([LOGGED, PASSED, DROPPED], len(case[2]), p=weights).astype(np.int8)


def as_logged(case: Case, kinds: Kinds) -> Session:
    """A session over a log that lacks steps."""
    curriculum, binding, losses, evaluations = case
    given = np.where(kinds == PASSED, np.nan, np.asarray(losses, dtype=np.float64))
    return Session(dumps(curriculum), binding, given, evaluations=evaluations, kinds=kinds)


@quiet
@given(st.one_of(cases(), long_cases()), st.data())
def test_logs_that_lack_steps(case: Case, data: st.DataObject) -> None:
    """Where steps were not logged, or dropped, arrays find what is found point by point, and stand alike anywhere."""
    kinds = data.draw(kinds_of(case))
    expected = as_logged(case, kinds)
    with in_arrays():
        found = as_logged(case, kinds)
    assert repr(found.decisions) == repr(expected.decisions)
    assert (spelled(found.plan), found.ended) == (spelled(expected.plan), expected.ended)
    for step in data.draw(st.lists(st.integers(0, len(kinds)), max_size=4)):
        assert repr(found.why(step)) == repr(expected.why(step))


def test_a_player_that_is_slightly_off_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Canary: a player that passes over the first loss of each piece is seen."""
    binding = Binding(limits={"cutoff": 4})
    curriculum = Curriculum.model_validate(SMALL)
    case: Case = (curriculum, binding, [3.0, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0], {})
    agrees(case)
    real = LogPlayer.play
    monkeypatch.setattr(LogPlayer, "play", lambda one, log, stop: real(one, LossLog(np.roll(log.losses, 1), {}), stop))
    with pytest.raises(AssertionError):
        agrees(case)


SMALL: dict[str, Any] = {
    "name": "small",
    "run": {"epochs": 4, "steps_per_epoch": 5},
    "lr": {"peak": 1.0, "length": "rest"},
    "knob": {"cutoff": {"ladder": [1, 2, 4]}},
    "state": [{"name": name, "set": {"cutoff": cutoff}} for name, cutoff in (("a", 1), ("b", 2), ("c", 4))],
    "transition": [{"from": "*", "to": "next", "guards": [{"plateau": {"window": 2}}]}],
}
