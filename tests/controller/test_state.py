"""The state of a run is a value: a copy goes on by itself, whichever way it was made."""

from __future__ import annotations

import copy
import json
import pickle
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from multiprocessing import get_context
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plateau_rule import Controller, Curriculum, Decision, NonFiniteLoss, load
from plateau_rule.controller.controller import UnguardedController
from plateau_rule.controller.language.reading import shipped
from plateau_rule.controller.machine import Stay
from plateau_rule.controller.plan import plan_of
from plateau_rule.controller.state import SILENT, RunState
from plateau_rule.controller.verifier.resuming import losses
from plateau_rule.sim.strategies import curricula, observations, observe
from tests.controller.small import STATES, small, through

Said = dict[str, Any]


def go_on(controller: Controller, said: Sequence[Said]) -> list[Any]:
    """What is decided and planned on some observations, up to where the run is dead."""
    found: list[Any] = []
    with suppress(NonFiniteLoss):
        for one in said:
            found += [observe(controller, one), controller.plan]
    return found


def all_of(run: RunState) -> dict[str, Any]:
    """Everything in a state of a run, in a form that can be compared and shares nothing with it."""
    values = {name: getattr(run, name) for kind in RunState.__mro__ for name in getattr(kind, "__slots__", ())}
    values["stay"] = [[key, detector.contents()] for key, (_, detector) in run.stay.detectors.items()]
    return {name: copy.deepcopy(value) for name, value in values.items()}


def independent(curriculum: Curriculum, before: Sequence[Said], one: Sequence[Said], other: Sequence[Said]) -> None:
    """Fail where a run that goes on changes its copy, or where the copy goes on otherwise than the run would have."""
    controller, uncut = UnguardedController(curriculum), UnguardedController(curriculum)
    if len(go_on(controller, before)) < 2 * len(before):
        return  # dead already
    twin = copy.copy(controller)
    then = all_of(twin.run_state)
    go_on(controller, one)
    assert all_of(twin.run_state) == then
    go_on(uncut, before)
    assert go_on(twin, other) == go_on(uncut, other)
    assert all_of(twin.run_state) == all_of(uncut.run_state)


@given(st.data())
def test_a_copy_goes_on_by_itself(data: st.DataObject) -> None:
    """Whatever a run observes, its copy stays as it was, and goes on from there as the run would have."""
    curriculum = data.draw(curricula(open_runs=True, monotone=False, max_steps=60))
    said = observations(curriculum, max_size=20, extreme=True)
    independent(curriculum, data.draw(said), data.draw(said), data.draw(said))


def shallow(run: RunState) -> RunState:
    """Canary: a copy that shares the counts of transitions."""
    twin = RunState(run.state, run.stay.copy(), run.rate, run.entered_length)
    for name in (name for kind in RunState.__mro__ for name in getattr(kind, "__slots__", ()) if name != "stay"):
        setattr(twin, name, getattr(run, name))
    return twin


@pytest.mark.parametrize(("owner", "broken"), [(Stay, lambda stay: stay), (RunState, shallow)])
def test_a_copy_that_shares_something_is_caught(
    owner: type, broken: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Canary: a copy that shares the detectors, and one that shares the counts, are caught."""
    monkeypatch.setattr(owner, "copy", broken)
    said = [dict[str, Any](loss=loss) for loss in (5.0, 4.0, 5.0, 5.0, 5.0)]
    with pytest.raises(AssertionError):
        independent(small({"guards": [{"plateau": {"window": 4}}]}), said[:2], said[2:], said)


@pytest.mark.parametrize("copied", [RunState.copy, copy.copy, copy.deepcopy], ids=["method", "copy", "deepcopy"])
def test_a_copy_shares_nothing_that_changes(copied: Callable[[RunState], RunState]) -> None:
    """Every list, dict and detector of a copy is another one; only what never changes is shared."""
    controller = Controller(small({"guards": [{"plateau": {"window": 4}}]}))
    through(controller, [5.0] * 6)
    run = controller.run_state
    twin = copied(run)
    changing = [name for name in RunState.__slots__ if isinstance(getattr(run, name), list | dict | deque | Stay)]
    assert sorted(changing) == ["floors", "looks", "stay", "sustained", "taken"]
    assert all(getattr(run, name) is not getattr(twin, name) for name in changing)
    assert not {id(one) for _, one in run.stay.detectors.values()} & {
        id(one) for _, one in twin.stay.detectors.values()
    }
    assert twin.state is run.state


def unpickled(controller: Controller) -> Controller:
    """A controller that went through bytes."""
    again = pickle.loads(pickle.dumps(controller))  # noqa: S301  # our own
    assert isinstance(again, Controller)
    return again


@pytest.mark.parametrize("name", shipped())
@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, unpickled])
def test_copies_of_shipped_curricula(name: str, copied: Callable[[Controller], Controller]) -> None:
    """Copied or pickled after any number of steps, a controller goes on as the one that was not, and apart from it."""
    said = [dict[str, Any](loss=loss) for loss in losses(400)]
    uncut, controller = (Controller(load(name), epochs=10, steps_per_epoch=40) for _ in range(2))
    for start in range(0, 400, 50):
        twin = copied(controller)
        assert twin.state_dict() == controller.state_dict()
        assert twin.explain() == controller.explain()
        go_on(controller, [{"loss": 1.0}] * 30)  # must not matter to the copy
        assert go_on(twin, said[start : start + 50]) == go_on(uncut, said[start : start + 50])
        assert twin.state_dict() == uncut.state_dict()
        controller = twin


def plain(value: Any) -> Any:
    """A value as JSON has it: tuples are lists."""
    return [plain(part) for part in value] if isinstance(value, tuple) else value


def test_plans_and_decisions_are_plain_values() -> None:
    """A plan and a decision are the same after pickling and copying, and are written as JSON."""
    ramped = [STATES[0] | {"ramp": {"cutoff": {"to": 8, "over": "10 steps"}}}, *STATES[1:]]
    controller = Controller(small({"guards": [{"dwell": "3 steps"}], "actions": ["checkpoint"]}, state=ramped))
    (decision,) = through(controller, [5.0] * 3)
    for value in (controller.plan, decision):
        assert pickle.loads(pickle.dumps(value)) == copy.deepcopy(value) == value  # noqa: S301  # our own
    assert json.loads(json.dumps(controller.plan.knobs)) == controller.plan.knobs
    assert json.loads(json.dumps(decision)) == plain(decision)


def test_a_controller_goes_to_another_process() -> None:
    """A worker that was spawned takes a controller, observes, and gives the decision back."""
    controller = Controller(small({"guards": [{"dwell": "3 steps"}]}))
    through(controller, [5.0] * 2)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        decision = pool.submit(controller.observe, 5.0).result()
    assert isinstance(decision, Decision)
    assert (decision.step, decision.to_state) == (3, "mid")
    assert controller.plan.step == 2
    assert controller.observe(5.0) == decision


@given(st.data())
def test_planning_changes_nothing(data: st.DataObject) -> None:
    """Reading the plan and the explanation, however often, changes nothing in the state of the run."""
    curriculum = data.draw(curricula(open_runs=True, monotone=False, max_steps=60))
    controller = UnguardedController(curriculum)
    controller.run_state.said = SILENT  # but for what the user is told once, such as that the run is over
    for said in data.draw(observations(curriculum, max_size=20, extreme=True)):
        before = all_of(controller.run_state)
        assert plan_of(controller.machine, controller.run_state) == controller.plan
        controller.explain()
        assert all_of(controller.run_state) == before
        try:
            observe(controller, said)
        except NonFiniteLoss:
            return
