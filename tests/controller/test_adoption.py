"""Adopting a run that has no controller state."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plateau_rule import Controller, NonFiniteLoss, SnapshotError, load
from plateau_rule.controller.adoption import earliest, hardest
from plateau_rule.controller.binding import bind
from plateau_rule.controller.guards import TRUE, Clock
from plateau_rule.controller.machine import BoundState, Machine
from plateau_rule.sim.strategies import curricula, observations, observe
from tests.controller.small import STATES, resumed, small


@pytest.mark.parametrize(("epoch", "cutoff"), [(0, 128), (1, 128), (2, 256), (3, 512), (4, 1025), (20, 1025)])
def test_adoption_as_published(epoch: int, cutoff: int) -> None:
    """A run of plateau.toml without controller state is at 128 in epochs 0 and 1, then as high as it can be."""
    controller = Controller(load("plateau"), {"cutoff": 1025})
    (note,) = controller.adopt(epoch=epoch)
    plan = controller.plan
    assert (plan.step, plan.epoch, plan.knobs["cutoff"]) == (1000 * epoch, epoch, cutoff)
    assert note == (
        f'adopted at step {1000 * epoch}, epoch {epoch}: entered "{plan.state}", '
        "the hardest state that this curriculum could have reached by then"
    )
    assert resumed(controller).plan == plan


@pytest.mark.parametrize(("known", "state"), [(1, "low"), (2, "mid"), (3, "high"), (8, "top"), ("full", "top")])
def test_adoption_by_known_knobs(known: float | str, state: str) -> None:
    """With known knobs the first state that is at least as hard is entered, and never an easier one."""
    ladder = {"cutoff": {"ladder": [1, 2, 4, 8, "full"]}}
    states = [*STATES[:3], {"name": "top", "set": {"cutoff": "full"}}]
    controller = Controller(small({}, state=states, knob=ladder), {"cutoff": 8})
    (note,) = controller.adopt(step=55, knobs={"cutoff": known})
    assert (controller.plan.state, controller.plan.step, controller.plan.epoch) == (state, 55, 5)
    assert note.endswith(f"the first state at least as hard as {{'cutoff': {known!r}}}")


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"step": 5, "epoch": 3}, "step 5 is not in epoch 3 of 10 steps each; both count from 0"),
        ({"step": -1}, "step -1 is not in epoch -1 of 10 steps each; both count from 0"),
        ({"epoch": -1}, "step -10 is not in epoch -1 of 10 steps each; both count from 0"),
        ({"step": 5, "knobs": {"cut": 3}}, 'the curriculum has no knob "cut". Did you mean "cutoff"?'),
        ({"step": 5, "knobs": {"cutoff": "half"}}, "cutoff is 'half'; expected a number or \"full\""),
        ({"step": 5, "knobs": {"cutoff": float("nan")}}, 'cutoff is nan; expected a number or "full"'),
        ({"step": 5, "knobs": {"cutoff": True}}, 'cutoff is True; expected a number or "full"'),
        (
            {"step": 5, "knobs": {"cutoff": 9}},
            "no state is as hard as {'cutoff': 9}: a knob never falls on a resume. Add a state, or start a new run",
        ),
    ],
)
def test_adoption_that_is_refused(given: dict[str, Any], sentence: str) -> None:
    """A place that is none and knobs that no state has are refused, and the controller is left as it was."""
    controller = Controller(small({}))
    before = controller.state_dict()
    with pytest.raises(SnapshotError) as error:
        controller.adopt(**given)
    assert str(error.value) == sentence
    assert controller.state_dict() == before


def test_adoption_comes_first() -> None:
    """A controller that has observed something adopts nothing."""
    controller = Controller(small({}))
    controller.observe(5.0)
    with pytest.raises(SnapshotError, match=r"^adopt is for a controller that has observed nothing yet$"):
        controller.adopt(step=5)


def test_adoption_without_the_length_of_an_epoch() -> None:
    """Where epochs are closed by the trainer, adoption needs the step as well, and takes every step for a close."""
    curriculum = small({"at": "epoch", "guards": [{"min_epoch": 2}]}, run={}, lr={"peak": 1.0, "shape": "constant"})
    refused: list[tuple[dict[str, Any], str]] = [
        ({"epoch": 3}, "adopt(epoch=...) needs step= as well where steps_per_epoch is not bound"),
        ({"step": -1}, "step -1 is not in epoch 0 of None steps each; both count from 0"),
        ({"step": 5, "epoch": -1}, "step 5 is not in epoch -1 of None steps each; both count from 0"),
    ]
    for place, sentence in refused:
        with pytest.raises(SnapshotError) as error:
            Controller(curriculum).adopt(**place)
        assert str(error.value) == sentence
    for epoch, state in ((0, "low"), (1, "low"), (2, "top")):
        controller = Controller(curriculum)
        controller.adopt(epoch=epoch, step=300)
        assert (controller.plan.state, controller.plan.epoch, controller.plan.step) == (state, epoch, 300)
    controller = Controller(curriculum)
    controller.adopt()
    assert (controller.plan.step, controller.plan.epoch) == (0, 0)
    controller = Controller(curriculum)
    controller.adopt(step=7)
    assert (controller.plan.step, controller.plan.epoch) == (7, 0)


def test_adoption_by_knobs_alone() -> None:
    """Where nobody says how far it was, a run is adopted at its first step."""
    controller = Controller(small({}))
    controller.adopt(knobs={"cutoff": 4})
    assert (controller.plan.step, controller.plan.epoch, controller.plan.state) == (0, 0, "high")


def test_adopted_rate() -> None:
    """An adopted run is in the cycle that its step lies in; a state that is entered by a restart begins with one."""
    line: dict[str, Any] = {"peak": 1.0, "shape": "linear"}
    controller = Controller(small(lr=line | {"cycles": ["2 epochs", "4 epochs", "rest"]}))
    controller.adopt(step=30)
    assert controller.plan.lr == 0.75
    way: dict[str, Any] = {"guards": [{"min_epoch": 2}], "actions": ["lr_restart"]}
    controller = Controller(small(way, lr=line | {"length": "100 steps"}))
    controller.adopt(step=15)
    assert (controller.plan.state, controller.plan.lr) == ("low", 0.85)
    controller = Controller(small(way, lr=line | {"length": "100 steps"}))
    controller.adopt(step=25)
    assert (controller.plan.state, controller.plan.lr) == ("top", 1.0)
    own = [STATES[0], STATES[1] | {"lr": {"length": "20 steps"}}]
    controller = Controller(
        small({"guards": [{"min_epoch": 2}]}, state=own, lr=line | {"cycles": ["15 steps", "rest"]})
    )
    controller.adopt(step=25)
    assert (controller.plan.state, controller.plan.lr) == ("mid", 0.5)


def adopted(step: int, *transitions: dict[str, Any], lr: dict[str, Any], **tables: Any) -> Controller:
    """A run of 100 steps, adopted at a step."""
    controller = Controller(small(*transitions, lr={"peak": 1.0, "shape": "linear"} | lr, **tables))
    controller.adopt(step=step)
    return controller


def test_adopted_rest() -> None:
    """What lasts for the rest of the run is measured on it: the length, the last cycle, and what a restart begins."""
    assert adopted(25, lr={"length": "rest"}).plan.lr == 0.75
    assert adopted(80, lr={"cycles": ["2 epochs", "4 epochs", "rest"]}).plan.lr == 0.5
    assert adopted(60, lr={"cycles": ["0.2 run", "0.3 run", "rest"]}).plan.lr == 0.8
    restarted = adopted(25, {"actions": ["lr_restart"]}, lr={"length": "rest"})
    assert restarted.plan.lr == 1.0
    assert restarted.state_dict()["rate"] == {
        "anchor": 25, "warm_steps": 0, "cycle": 0, "length_steps": 75, "length": "rest", "scale": 1.0,
    }  # fmt: skip
    own = [STATES[0] | {"lr": {"length": "100 steps"}}, STATES[1]]
    later = adopted(40, {}, lr={"cycles": ["10 steps", "10 steps", "rest"]}, state=own)
    assert (later.plan.state, later.plan.lr) == ("mid", 0.75)


def test_adopted_rate_restarts_only_on_the_way_into_the_state() -> None:
    """Restarts on the way into other states are none of its own; nor does the first state begin with one."""
    lr = {"length": "100 steps"}
    into_mid = {"from": "low", "to": "mid", "actions": ["lr_restart"]}
    into_high = {"from": "mid", "to": "high", "actions": ["checkpoint"]}
    high = adopted(25, into_mid, into_high, lr=lr)
    assert (high.plan.state, high.plan.lr, high.plan.requests) == ("high", 0.75, ())
    back = {"from": "high", "to": "low", "actions": ["lr_restart"], "regress": True, "guards": [{"min_step": 90}]}
    first = adopted(25, {"guards": [{"min_step": 90}]}, back, lr=lr)
    assert (first.plan.state, first.plan.lr) == ("low", 0.75)


def test_adoption_with_late_losses() -> None:
    """After an adoption the first k losses are as unknown as after a start."""
    controller = Controller(small(), lag=2)
    controller.adopt(step=50)
    for loss in (None, None, 5.0):
        controller.observe(loss)
    assert controller.plan.step == 53


@pytest.mark.parametrize(
    ("transitions", "step", "state"),
    [
        ([{"to": "mid", "from": "low", "guards": [{"below": {"value": 1}}]}, {"from": "low", "to": "top"}], 1, "top"),
        ([{"from": "low", "to": "mid"}, {"from": "low", "to": "top"}], 50, "mid"),  # nothing passes the first
        ([{"from": "low", "guards": [{"dwell": "5 steps"}], "sustain": 3}], 6, "low"),
        ([{"from": "low", "guards": [{"dwell": "5 steps"}], "sustain": 3}], 7, "mid"),
        ([{"guards": [{"plateau": {"window": 6}}]}], 17, "high"),
        ([{"guards": [{"plateau": {"window": 6}}]}], 18, "top"),
        ([{"guards": [{"nonfinite": 4}]}], 4, "mid"),
        ([{"at": "eval"}], 2, "high"),
        ([{"from": "low", "sustain": 3}, {"from": "mid", "guards": [{"min_step": 8}]}], 7, "mid"),
        ([{"from": "low", "sustain": 3}, {"from": "mid", "guards": [{"min_step": 8}]}], 8, "high"),
        ([{"from": "low", "sustain": 3}, {"from": "mid", "guards": [{"min_epoch": 2}]}], 19, "mid"),
        (
            [{"from": "low", "sustain": 3}, {"from": "mid", "guards": [{"min_epoch": 2}]}],
            20,
            "high",
        ),
        ([{"from": "low"}, {"from": "mid", "at": "epoch", "sustain": 3}], 29, "mid"),
        ([{"from": "low"}, {"from": "mid", "at": "epoch", "sustain": 3}], 30, "high"),
        ([{"from": "low", "sustain": 25}], 24, "low"),
        ([{"from": "low", "sustain": 25}], 25, "mid"),
        ([{"guards": [{"not": {"min_step": 5}}]}, {"from": "top", "to": "low", "regress": True}], 50, "top"),
        ([{"from": "low", "to": "low", "at_most": 1}, {"guards": [{"patience": {"steps": 2}}]}], 3, "mid"),
    ],
)
def test_what_a_stream_could_have_reached(transitions: list[dict[str, Any]], step: int, state: str) -> None:
    """Adoption enters the hardest state that some stream reaches by then: clocks are exact, metrics are free."""
    machine = Controller(small(*transitions)).machine
    assert hardest(machine, step, step // 10).name == state


def test_what_no_stream_can_pass() -> None:
    """A way that is surely taken hides the later ones; one that waits for an evaluation, or for a close, may not be."""
    late = {"from": "low", "to": "top", "guards": [{"dwell": "11 steps"}]}

    def reached(way: dict[str, Any], **tables: Any) -> dict[str, int]:
        return earliest(Controller(small({"from": "low"} | way, late, **tables)).machine, 50, 5)

    assert reached({}) == {"low": 0, "mid": 1}
    assert reached({"at": "epoch"}) == {"low": 0, "mid": 10}
    assert reached({"at": "epoch", "sustain": 2}) == {"low": 0, "top": 11}
    assert reached({"at": "eval"}) == {"low": 0, "mid": 1, "top": 11}
    assert reached({"at_most": 1}) == {"low": 0, "mid": 1, "top": 11}
    unbound: dict[str, Any] = {"run": {}, "lr": {"peak": 1.0, "shape": "constant"}}
    assert reached({}, **unbound) == {"low": 0, "mid": 1}
    assert reached({"at": "epoch"}, **unbound) == {"low": 0, "mid": 1, "top": 11}


def test_epochs_that_the_trainer_closes() -> None:
    """Where no one knows how long an epoch is, as many as are known to be over may have been over from the start."""
    unbound: dict[str, Any] = {"run": {}, "lr": {"peak": 1.0, "shape": "constant"}}
    wait = {"from": "low", "sustain": 3}
    epoch = Controller(small(wait, {"from": "mid", "guards": [{"min_epoch": 8}]}, **unbound)).machine
    assert earliest(epoch, 20, 9) == {"low": 0, "mid": 3, "high": 8}
    assert earliest(epoch, 20, 7) == {"low": 0, "mid": 3}
    closings = Controller(small(wait, {"from": "mid", "guards": [{"dwell": "4 epochs"}]}, **unbound)).machine
    assert earliest(closings, 20, 9) == {"low": 0, "mid": 3, "high": 7}
    assert earliest(closings, 20, 3) == {"low": 0, "mid": 3}


def test_which_of_two_states_is_harder() -> None:
    """Easier is what no knob is harder in, and one is easier; of equal ones, and where knobs disagree, the later."""

    def last_adopted(*knobs: tuple[int, int]) -> str:
        states = [{"name": f"s{i}", "set": {"cutoff": a, "depth": b}} for i, (a, b) in enumerate(knobs)]
        ladders = {"cutoff": {"ladder": [1, 2, 4]}, "depth": {"ladder": [1, 2, 4]}}
        machine = bind(small({"regress": False}, state=states, knob=ladders))
        return hardest(machine, 50, 5).name

    assert last_adopted((1, 1), (2, 2), (1, 2)) == "s1"
    assert last_adopted((1, 1), (2, 2), (2, 1)) == "s1"
    assert last_adopted((1, 1), (2, 2), (2, 2)) == "s2"
    assert last_adopted((1, 1), (1, 4), (2, 2)) == "s2"
    assert last_adopted((1, 1), (4, 1), (2, 2)) == "s2"


def test_states_that_stop_are_not_adopted() -> None:
    """A run is not adopted into a state that ends it, nor into one that is easier in every knob."""
    states = [
        STATES[0],
        STATES[1],
        {"name": "failed", "set": {"cutoff": 2}, "stop": "diverged"},
        STATES[0] | {"name": "end"},
    ]
    machine = Controller(small({}, state=states)).machine
    assert hardest(machine, 50, 5).name == "mid"
    assert earliest(machine, 50, 5) == {"low": 0, "mid": 1, "failed": 2, "end": 3}


@settings(max_examples=settings().max_examples // 2)
@given(st.data())
def test_adoption_is_never_easier_than_any_stream(data: st.DataObject) -> None:
    """Whatever a run has seen, the state that would be adopted at its step has been possible, or is as hard."""
    curriculum = data.draw(curricula(max_steps=60, max_knobs=1, regress=False))
    controller = Controller(curriculum)
    for said in data.draw(observations(curriculum, max_size=60)):
        try:
            observe(controller, said)
        except NonFiniteLoss:
            return
    plan = controller.plan
    assert plan.state in earliest(controller.machine, plan.step, plan.epoch)
    found = hardest(controller.machine, plan.step, plan.epoch)
    here = controller.machine.by_name[plan.state]
    assert here.stop is not None or all(_hard(found.knobs[name]) >= _hard(value) for name, value in here.knobs.items())


def ways_out(machine: Machine, state: BoundState, entered: int, step: int, epoch: int) -> dict[str, int]:
    """The first step that each state that can follow on this one can apply to, by going through every step."""
    per_epoch, clock = machine.run.steps_per_epoch, Clock()
    stay = machine.stay(state, machine.run.total_steps)
    may, must = [0] * len(state.transitions), [0] * len(state.transitions)
    found: dict[str, int] = {}
    for clock.step in range(entered + 1, step + 1):
        closes = clock.step % per_epoch == 0 if per_epoch else True
        clock.time += 1
        clock.epoch = clock.step // per_epoch if per_epoch else min(clock.step, epoch)
        clock.closings = clock.closings + closes if per_epoch else min(clock.time, epoch)
        for place, way in enumerate(state.transitions):
            if way.regress or (way.at == "epoch" and not closes):
                continue
            bits = stay.guards[place].possible(clock, clock.time)
            may[place], must[place] = bool(bits & TRUE) * (may[place] + 1), (bits == TRUE) * (must[place] + 1)
            if may[place] >= way.sustain:
                found.setdefault(way.target, clock.step)
            known = way.at == "step" or (way.at == "epoch" and per_epoch is not None)
            if known and way.at_most is None and must[place] >= way.sustain:
                return found
    return found


@given(st.data())
def test_steps_that_tell_nothing_are_left_out(data: st.DataObject) -> None:
    """The earliest steps are those that one finds by going through every step."""
    machine = Controller(data.draw(curricula(max_steps=60))).machine
    step, epoch = data.draw(st.integers(0, 150)), data.draw(st.integers(0, 20))
    reached: dict[str, int] = {}
    todo = {machine.states[0].name: 0}
    while todo:
        name = min(todo, key=lambda name: todo[name])
        reached[name] = todo.pop(name)
        for target, at in ways_out(machine, machine.by_name[name], reached[name], step, epoch).items():
            if target not in reached:
                todo[target] = min(at, todo.get(target, at))
    assert earliest(machine, step, epoch) == reached


def test_adoption_at_a_billion_steps() -> None:
    """How long the run was makes no difference to how long it takes, nor how many looks in a row are asked for."""
    curriculum = small(
        {"guards": [{"dwell": "0.3 run"}], "sustain": 40}, run={"epochs": 10**6, "steps_per_epoch": 1000}
    )
    machine = Controller(curriculum).machine
    third = 300_000_000
    assert earliest(machine, 10**9, 10**6) == {"low": 0} | {
        name: n * (third + 39) for n, name in enumerate(("mid", "high", "top"), 1)
    }


def _hard(value: float | str) -> float:
    return float("inf") if value == "full" else float(value)
