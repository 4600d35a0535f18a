"""What is saved: its form, its size, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from math import sin
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plateau_rule import BindingWarning, Controller, Curriculum, NonFiniteLoss, RegressionError, SnapshotError, load
from plateau_rule.controller.controller import UnguardedController
from plateau_rule.controller.snapshot import checksum
from plateau_rule.sim.strategies import curricula, observations, observe
from tests.controller.small import STATES, resumed, small, through

GOLDEN = Path(__file__).parent / "golden"
NOTES = (
    "the run was 10 epochs long, and is {}: what has begun keeps its length, what has not is measured on the new one"
)


def everything() -> Curriculum:
    """A curriculum whose snapshot has something to say under every key."""
    states = [
        STATES[0] | {"ramp": {"cutoff": {"to": 2, "over": "0.1 run"}}},
        STATES[1] | {"lr": {"peak": 0.5}},
        STATES[2],
    ]
    wait = {"name": "wait", "at": "epoch", "sustain": 2, "guards": [{"min_epoch": 1}, "flat"]}
    alarms = {"any": [{"diverging": {"window": 4}}, {"nonfinite": 9}, {"not": {"ramp_done": "cutoff"}}]}
    watch = [
        {"patience": {"steps": 3, "smooth": 2}},
        {"below": {"metric": "val_loss", "value": 1.0, "window": 3}},
        {"gap": {"over": "2 steps", "value": 0.5}},
        {"plateau": {"method": "trend"}},
        {"plateau": {"method": "returns"}},
        alarms,
    ]
    return small(
        {
            "from": "low",
            "at_most": 1,
            "guards": [{"dwell": "9 steps"}],
            "actions": [{"lr_scale": 0.5}, {"signal": "x"}],
        },
        {"from": "mid", "guards": watch[:5]},
        wait,
        {"from": "low", "to": "high", "guards": [alarms, {"dwell": "1 run"}]},
        state=states,
        lr={"peak": 1.0, "cycles": ["0.1 run", "2 epochs", "rest"], "warmup": "3 steps"},
        knob={"cutoff": {"ladder": [1, 2, 4, "full"]}},
        guard={"flat": {"plateau": {"window": 6, "threshold": 0.005}}},
    )


def golden_runs() -> dict[str, Controller]:
    """The controllers whose snapshots are kept: on the step of a request, and in the middle of windows."""
    at_request = Controller(everything(), {"cutoff": 6})
    through(at_request, [5.0] * 9)
    in_windows = Controller(everything(), {"cutoff": 6})
    for i in range(16):
        in_windows.observe(5.0 if i != 13 else float("nan"), eval_end=i % 4 == 3, val_loss=3.0 + i / 8)
    rule = {"at": "epoch", "guards": [{"min_epoch": 2}, {"plateau": {"window": 12}}], "actions": ["lr_restart"]}
    late = Controller(small(rule), {"cutoff": 8}, lag=2)
    for i in range(47):
        late.observe(None if i < 2 else round(3.0 + sin(i) / 1000, 6))
    return {"at-request": at_request, "in-windows": in_windows, "late": late}


# The form


@pytest.mark.parametrize("name", ["at-request", "in-windows", "late"])
def test_golden_snapshot_is_what_is_saved(name: str) -> None:
    """A snapshot is, to the byte, the one of format 2 that is kept: another form needs another number."""
    controller = golden_runs()[name]
    assert json.dumps(controller.state_dict(), indent=1) + "\n" == (GOLDEN / f"{name}.json").read_text()


@pytest.mark.parametrize("name", ["at-request", "in-windows", "late"])
def test_golden_snapshot_is_resumed(name: str) -> None:
    """A kept snapshot of format 2 is resumed, and goes on as the run that it was saved from."""
    controller = golden_runs()[name]
    machine = controller.machine
    run: dict[str, Any] = {
        "epochs": machine.run.epochs,
        "steps_per_epoch": machine.run.steps_per_epoch,
        "lag": controller.lag,
    }
    other = Controller(machine.curriculum, machine.limits, **run)
    assert other.load_state_dict(json.loads((GOLDEN / f"{name}.json").read_text())) == ()
    assert other.plan == controller.plan
    for i in range(80):
        assert observe(other, 3.0 + i % 7) == observe(controller, 3.0 + i % 7)
        assert other.plan == controller.plan
    assert other.state_dict() == controller.state_dict()


def test_a_snapshot_of_format_1() -> None:
    """It is resumed as one of format 2, unless it holds the blocks of that time's `returns`."""
    runs = golden_runs()
    for name, how in (("late", "resumed"), ("at-request", "refused")):
        controller = runs[name]
        saved = controller.state_dict() | {"format": 1}
        for key, contents in saved["detectors"]:
            if "returns" in key:
                contents["open"] = 0.5
        saved["checksum"] = checksum(saved)
        if how == "refused":
            with pytest.raises(SnapshotError, match="an earlier version's `returns`"):
                controller.load_state_dict(saved)
        else:
            assert controller.load_state_dict(saved) == ()


@settings(max_examples=settings().max_examples // 2)
@given(st.data())
def test_snapshot_is_plain_json_and_nothing_is_lost(data: st.DataObject) -> None:
    """Through JSON and another controller, a snapshot of any curriculum after any observations comes back the same."""
    curriculum = data.draw(curricula(open_runs=True, monotone=False, max_steps=60))
    controller = UnguardedController(curriculum)
    try:
        for said in data.draw(observations(curriculum, max_size=40, extreme=True)):
            observe(controller, said)
    except NonFiniteLoss:
        pass
    saved = controller.state_dict()
    assert json.loads(json.dumps(saved, allow_nan=False)) == saved
    other = UnguardedController(curriculum)
    other.load_state_dict(saved)
    assert other.state_dict() == saved
    assert other.plan == controller.plan
    assert other.explain() == controller.explain()


@pytest.mark.slow
def test_snapshot_stays_small_over_a_million_steps() -> None:
    """After a million steps of a loss that never becomes flat, the snapshot of plateau-trend is under 8 KB of JSON."""
    curriculum = load("plateau-trend")
    controller = Controller(curriculum, {"cutoff": 1025}, epochs=2000, steps_per_epoch=1000)
    state = controller.plan.state
    for i in range(1_000_000):
        controller.observe(0.9996**i)
    assert (controller.plan.step, controller.plan.state) == (1_000_000, state)
    assert len(json.dumps(controller.state_dict())) < 8_000


def test_earlier_looks_are_not_another_timelines() -> None:
    """After a load, what was seen on the way that was given up is no longer told."""
    controller = Controller(small({"at": "epoch", "guards": [{"min_epoch": 99}]}), epochs=100)
    saved = controller.state_dict()
    through(controller, [5.0] * 20)
    assert controller.explain(step=20)
    controller.load_state_dict(saved)
    assert controller.explain(step=20) == []
    through(controller, [5.0] * 700)
    assert len([step for step in range(701) if controller.explain(step=step)]) == 64


# What is refused


@pytest.mark.parametrize("name", ["at-request", "late"])
def test_every_changed_byte_is_refused(name: str) -> None:
    """Whatever byte of a snapshot is changed, or cut off, it is refused or means the same; nothing else happens."""
    text = json.dumps(json.loads((GOLDEN / f"{name}.json").read_text()))
    original = json.loads(text)
    controller = golden_runs()[name]
    before = controller.state_dict()
    damaged = [text[:i] + chr(ord(text[i]) ^ bit) + text[i + 1 :] for i in range(len(text)) for bit in (1, 8)]
    damaged += [text[:i] for i in range(0, len(text), 7)]
    refused = 0
    for one in damaged:
        try:
            saved = json.loads(one)
        except ValueError:
            continue
        if saved != original:
            with pytest.raises(SnapshotError):
                controller.load_state_dict(saved)
            refused += 1
    assert refused > len(text)
    assert controller.state_dict() == before


def paths(tree: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to everything in a tree of JSON."""
    if here:
        yield here
    for key in tree if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ():
        yield from paths(tree[key], (*here, key))


@pytest.mark.parametrize("name", ["at-request", "in-windows", "late"])
@pytest.mark.parametrize("on_change", ["refuse", "accept"])
@pytest.mark.parametrize("value", [None, -1, 10**30, 1e308, "x", [], {}, [[]], True], ids=repr)
def test_a_forged_snapshot_does_no_harm(name: str, on_change: str, value: Any) -> None:
    """Anything in the place of anything, under a checksum that fits, is refused or loaded whole."""
    controller = golden_runs()[name]
    original = controller.state_dict()
    for path in paths(original):
        forged = deepcopy(original)
        inside = forged
        for key in path[:-1]:
            inside = inside[key]
        inside[path[-1]] = value
        forged["checksum"] = checksum(forged) if path != ("checksum",) else value
        before = controller.state_dict()
        try:
            controller.load_state_dict(forged, on_change)
        except SnapshotError:
            assert controller.state_dict() == before
        else:
            assert controller.load_state_dict(json.loads(json.dumps(controller.state_dict()))) == ()
            controller.load_state_dict(original, "accept")


@pytest.mark.parametrize("key", sorted(Controller(small({})).state_dict()))
def test_a_missing_key_is_refused(key: str) -> None:
    """A snapshot that lacks any of its keys is refused."""
    saved = Controller(small({})).state_dict()
    del saved[key]
    if key != "checksum":
        saved["checksum"] = checksum(saved)
    with pytest.raises(SnapshotError, match=r"cannot be read|damaged|would differ|expected what"):
        Controller(small({})).load_state_dict(saved)


@pytest.mark.parametrize("saved", [None, [], 5, "x", {}, {"format": 1}, {"format": 2}])
def test_what_is_no_snapshot_is_refused(saved: Any) -> None:
    """What is no snapshot at all is refused with a sentence."""
    with pytest.raises(SnapshotError):
        Controller(small()).load_state_dict(saved)


def test_refusals_are_readable() -> None:
    """Another format, another checksum and a wrong word say what is wrong and what to do."""
    controller = Controller(small())
    saved = controller.state_dict()
    for changed, sentence in (
        ({"format": 3}, "the saved controller has format 3; this version reads formats up to 2"),
        ({"checksum": "0"}, "the saved controller is damaged: its checksum does not fit. Use an older checkpoint"),
    ):
        with pytest.raises(SnapshotError) as error:
            controller.load_state_dict(saved | changed)
        assert str(error.value) == sentence
    with pytest.raises(SnapshotError) as error:
        controller.load_state_dict(saved, on_change="maybe")
    assert str(error.value) == 'on_change is \'maybe\'; expected "refuse" or "accept"'
    with pytest.raises(SnapshotError) as error:
        controller.load_state_dict({})
    assert str(error.value) == "the saved controller is {} of type dict; expected what state_dict gave"


def test_a_plan_that_is_computed_otherwise_is_refused() -> None:
    """If the same state gives another plan, by another version for instance, that is said and nothing is loaded."""
    controller = Controller(small())
    saved = controller.state_dict()
    saved["plan"] |= {"lr": 0.75, "epoch": 3, "step": 7, "state": "x", "knobs": {"cutoff": 9}}
    saved["checksum"] = checksum(saved)
    with pytest.raises(SnapshotError) as error:
        controller.load_state_dict(saved)
    assert str(error.value) == (
        "the plan that was saved and the one computed from the same state differ: step 7 and 0, epoch 3 and 0, "
        "state x and low, knobs {'cutoff': 9} and {'cutoff': 1}, lr 0.75 and 1.0"
    )


def test_a_detector_without_contents_is_refused() -> None:
    """Under the same fingerprint, every detector must find what it had, and every transition its count of looks."""
    controller = Controller(small({"guards": [{"plateau": {"window": 6}}]}))
    ((key, _),) = controller.state_dict()["detectors"]
    assert key.startswith('{"plateau": {')
    changes: list[tuple[dict[str, Any], str]] = [
        ({"detectors": []}, f"the contents of a detector are missing: {key}"),
        ({"sustained": []}, "the counts of looks in a row do not fit the state's transitions"),
    ]
    for changed, sentence in changes:
        saved = controller.state_dict() | changed
        with pytest.raises(SnapshotError) as error:
            controller.load_state_dict(saved | {"checksum": checksum(saved)})
        assert str(error.value) == sentence


def test_what_cannot_be_restored_as_it_was_is_refused() -> None:
    """Numbers that no controller saves are refused, whatever the checksum, and named."""
    saved = Controller(small()).state_dict() | {"skipped_values": 0.5, "taken": {"x": 1.5}}
    with pytest.raises(SnapshotError) as error:
        Controller(small()).load_state_dict(saved | {"checksum": checksum(saved)})
    assert str(error.value) == ("the saved controller cannot be restored as it was: taken, skipped_values would differ")


# Edited curricula


@pytest.mark.parametrize(
    ("edited", "differences"),
    [
        (
            {"state": [*STATES[:3], {"name": "peak", "set": {"cutoff": 8}}]},
            ['state "top" is gone; state "peak" is new; state "high" or a transition out of it was edited'],
        ),
        (
            {"state": [STATES[0] | {"lr": {"peak": 0.5}}, *STATES[1:]]},
            ['state "low" or a transition out of it was edited'],
        ),
        ({"nonfinite": {"limit": 3}}, ["the rate, the knobs or the order of the states was edited"]),
        (
            {"lr": {"peak": 0.5, "shape": "linear", "length": "100 steps"}},
            [
                "the rate, the knobs or the order of the states was edited",
                "peak was 1.0, and is 0.5",
                "the rate was 0.99 and is 0.495: the phase began at step 0; a transition with lr_restart starts it "
                "anew",
            ],
        ),
        ({"run": {"epochs": 10, "steps_per_epoch": 20}}, ["steps_per_epoch was 10, and is 20"]),
        ({"run": {"epochs": 10, "steps_per_epoch": 10, "tokens_per_step": 5}}, ["tokens_per_step was None, and is 5"]),
        ({"run": {"steps_per_epoch": 10}}, ["epochs was 10, and is None"]),
    ],
)
def test_edited_curriculum_is_refused_with_the_difference(edited: dict[str, Any], differences: list[str]) -> None:
    """Another fingerprint or another binding is refused with what differs, and taken with `accept`."""
    controller = Controller(small({}))
    through(controller, [5.0])
    other = Controller(small({}, **edited))
    refused = [one for one in differences if not one.startswith("the rate was")]  # what a resume would bring
    with pytest.raises(SnapshotError) as error:
        other.load_state_dict(controller.state_dict())
    assert str(error.value) == (
        f"the checkpoint was made under another curriculum: {'; '.join(refused)}. Resume with the curriculum it "
        'was made with, or go on with the new one by on_change="accept"'
    )
    assert other.load_state_dict(controller.state_dict(), on_change="accept") == tuple(differences)
    assert (other.plan.step, other.plan.state) == (1, "mid")


@pytest.mark.parametrize("binding", [{"limits": {"cutoff": 9}}, {"lag": 1}, {"peak": 3.0}])
def test_other_binding_is_an_edit(binding: dict[str, Any]) -> None:
    """Other limits, another lag and another peak are refused like an edited file."""
    saved = Controller(small()).state_dict()
    ((key, now),) = binding.items()
    before = {"limits": None, "lag": 0, "peak": 1.0}[key]
    with pytest.raises(SnapshotError) as error:
        Controller(small(), **binding).load_state_dict(saved)
    assert str(error.value).startswith(
        f"the checkpoint was made under another curriculum: {key} was {before}, and is {now}. Resume"
    )


def test_spelling_is_no_edit() -> None:
    """Another spelling of the same meaning resumes as if nothing had changed, contents of detectors included."""
    first = small({"guards": [{"plateau": {"window": 6, "per": "20 steps"}}]}, lr={"peak": 1.0, "length": "1000 steps"})
    second = small(
        {"from": ["low", "mid", "high"], "guards": ["flat"], "name": "up"},
        guard={"flat": {"plateau": {"per": "2e1 steps", "window": 6, "method": "halves"}}},
        lr={"length": "1_000 steps", "peak": 1, "shape": "cosine"},
        name="other",
        description="other words",
    )
    assert (
        Controller(first).fingerprint != Controller(second).fingerprint
    )  # the names that transitions are counted under
    second = small(
        {"guards": ["flat"]},
        guard={"flat": {"plateau": {"per": "2e1 steps", "window": 6, "method": "halves"}}},
        lr={"length": "1_000 steps", "peak": 1, "shape": "cosine"},
        name="other",
        description="other words",
    )
    controller, other = Controller(first), Controller(second)
    through(controller, [5.0] * 4)
    assert other.load_state_dict(controller.state_dict()) == ()
    assert len(through(other, [5.0] * 2)) == 1


def test_state_that_is_gone_is_refused() -> None:
    """Without a state of the same name there is nothing to go on in, accepted or not."""
    controller = Controller(small({}))
    through(controller, [5.0])
    renamed = [STATES[0], {"name": "middle", "set": {"cutoff": 2}}, *STATES[2:]]
    with pytest.raises(SnapshotError) as error:
        Controller(small({}, state=renamed)).load_state_dict(controller.state_dict(), on_change="accept")
    assert str(error.value) == (
        'the checkpoint is in state "mid", which the curriculum no longer has. Did you mean "middle"?'
    )


def test_state_that_lower_limits_merge_is_refused() -> None:
    """A checkpoint in a state that lower limits would merge into an easier one is refused, and that is what is said."""
    controller = Controller(small({}), {"cutoff": 8})
    through(controller, [5.0] * 3)
    with pytest.warns(BindingWarning):
        other = Controller(small({}), {"cutoff": 4})
    with pytest.raises(RegressionError) as error:
        other.load_state_dict(controller.state_dict(), on_change="accept")
    assert str(error.value) == (
        'the checkpoint is in state "top", which equals an easier one within the limits cutoff 4: a knob never '
        "falls on a resume. Bind the limits it was made with"
    )


def test_slower_ramp_would_lower_a_knob() -> None:
    """A ramp that was made slower, so that its knob would fall back on the resume, is refused."""

    def ramped(over: str) -> Curriculum:
        return small(state=[STATES[0] | {"ramp": {"cutoff": {"to": 8, "over": over}}}])

    controller = Controller(ramped("14 steps"))
    through(controller, [5.0] * 10)
    assert controller.plan.knobs["cutoff"] == 4
    with pytest.raises(RegressionError) as error:
        Controller(ramped("90 steps")).load_state_dict(controller.state_dict(), on_change="accept")
    assert str(error.value) == (
        'state "low" sets cutoff = 1, and the run was already at 4: a knob never falls on a resume. Raise it in the '
        "edited curriculum, or start a new run"
    )
    assert resumed(controller, ramped("15 steps")).plan.knobs["cutoff"] == 4


def test_a_knob_may_be_no_whole_number() -> None:
    """What a knob would fall from is told as it was, whole or not, or as "full"."""
    for high, told in ((2.5, "2.5"), ("full", "full"), (2.0, "2")):
        knob = {"cutoff": {"ladder": [1, high] if isinstance(high, str) else [0.5, 1, high]}}
        states = [{"name": "low", "set": {"cutoff": 1}}, {"name": "high", "set": {"cutoff": high}}]
        controller = Controller(small({}, state=states, knob=knob))
        controller.observe(5.0)
        lower = small({}, state=[states[0], {"name": "high", "set": {"cutoff": 1}}], knob=knob)
        with pytest.raises(RegressionError) as error:
            resumed(controller, lower)
        assert str(error.value).startswith(f'state "high" sets cutoff = 1, and the run was already at {told}: a knob')


def test_losses_under_other_knobs_are_forgotten() -> None:
    """An edit of the current state's knob, or of what a step is, forgets its losses; any other edit keeps them."""
    way: dict[str, Any] = {"from": "low", "to": "high", "guards": [{"plateau": {"window": 6}}]}
    controller = Controller(small(way))
    through(controller, [5.0] * 4)
    for edited, seen in (
        (small(way, state=[{"name": "low", "set": {"cutoff": 2}}, *STATES[1:]]), 0),
        (small(way, run={"epochs": 10, "steps_per_epoch": 20}), 0),
        (small(way, lr={"peak": 0.5, "shape": "constant"}), 4),
        (small(way | {"to": "top"}), 4),
        (small(way, lr={"peak": 0.5, "shape": "constant"}, run={"epochs": 20, "steps_per_epoch": 10}), 4),
    ):
        assert resumed(controller, edited).explain()[1] == f"  plateau: {seen} of 6 losses -> unknown"


def test_a_new_knob_has_never_been_anywhere() -> None:
    """A knob that an edit adds has no value that it could fall below."""
    controller = Controller(small({}))
    through(controller, [5.0])
    states = [{"name": state["name"], "set": {"cutoff": 2**i, "depth": 1}} for i, state in enumerate(STATES)]
    edited = small({}, state=states, knob={"cutoff": {"ladder": [1, 2, 4, 8]}, "depth": {"ladder": [1, 2]}})
    assert resumed(controller, edited).plan.knobs == {"cutoff": 2, "depth": 1}


def test_edited_length_takes_effect_from_where_the_phase_began() -> None:
    """A length that was edited is measured anew from the beginning of the phase; one that was not is kept."""
    controller = Controller(small())
    through(controller, [5.0] * 20)
    assert controller.plan.lr == 0.8
    line: dict[str, Any] = {"peak": 1.0, "shape": "linear"}
    assert resumed(controller, small(lr=line | {"length": "40 steps"})).plan.lr == 0.5
    assert resumed(controller, small(lr=line | {"cycles": ["8 steps", "16 steps"]})).plan.lr == 1.0 - 12 / 16
    assert resumed(controller, small(lr=line | {"length": "100 steps", "floor": 0.5})).plan.lr == 0.5 + 0.5 * 0.8
    assert resumed(controller, small(lr=line | {"length": "rest"}), epochs=20).plan.lr == 0.9
    rest = Controller(small(lr=line | {"length": "rest"}))
    through(rest, [5.0] * 20)
    half = resumed(rest, small(lr=line | {"length": "rest", "floor": 0.5}), epochs=20)
    assert half.plan.lr == 0.5 + 0.5 * 0.8  # over the 100 steps that had begun


def test_fewer_cycles_than_were_passed() -> None:
    """A run in its third cycle goes on in the last one, where an edit left fewer."""
    line: dict[str, Any] = {"peak": 1.0, "shape": "linear"}
    controller = Controller(small(lr=line | {"cycles": ["4 steps", "4 steps", "40 steps"]}))
    through(controller, [5.0] * 18)
    assert controller.plan.lr == 0.75
    assert resumed(controller, small(lr=line | {"cycles": ["4 steps", "20 steps"]})).plan.lr == 0.5
    assert resumed(controller, small(lr=line | {"cycles": ["8 steps", "8 steps", "80 steps"]})).plan.lr == 1.0 - 10 / 80
    first = Controller(small(lr=line | {"cycles": ["40 steps", "rest"]}))
    through(first, [5.0] * 18)
    assert resumed(first, small(lr=line | {"cycles": ["8 steps", "rest"]})).plan.lr == 1.0 - 10 / 92


def test_a_run_that_gets_a_length() -> None:
    """A run that was bound without a length measures shares of it on the length that it gets."""
    curriculum = small(run={"steps_per_epoch": 10}, lr={"peak": 1.0, "shape": "constant"})
    controller = Controller(curriculum)
    through(controller, [5.0] * 4)
    way = {"guards": [{"dwell": "0.3 run"}]}
    edited = small(way, run={"epochs": 10, "steps_per_epoch": 10}, lr={"peak": 1.0, "shape": "constant"})
    assert resumed(controller, edited).explain()[1] == "  dwell: 4 steps in this state, 30 needed -> false"


# Longer and shorter runs


def test_longer_run_is_resumed() -> None:
    """A longer run resumes and says so: what has begun keeps its length, what has not is measured on the new one."""
    way = {"guards": [{"dwell": "0.3 run"}], "actions": ["lr_restart"]}
    curriculum = small(way, lr={"peak": 1.0, "shape": "linear", "length": "rest"})
    controller = Controller(curriculum)
    through(controller, [5.0] * 20)
    longer = Controller(curriculum, epochs=20)
    assert longer.load_state_dict(controller.state_dict()) == (NOTES.format(20),)
    assert longer.plan == controller.plan
    decisions = through(longer, [5.0] * 180)
    assert [d.step for d in decisions] == [30, 90, 150]  # 0.3 of 100 steps that had begun, then of 200
    assert longer.plan.stop == "the run of 200 steps is over"


def test_length_that_has_begun_is_kept() -> None:
    """A rest of the run that has begun ends where it would have, and stays at its floor from there on."""
    curriculum = small(lr={"peak": 1.0, "shape": "linear", "floor": 0.25, "length": "rest"})
    controller = Controller(curriculum)
    through(controller, [5.0] * 50)
    longer = Controller(curriculum, epochs=20)
    longer.load_state_dict(controller.state_dict())
    through(longer, [5.0] * 50)
    assert longer.plan.lr == 0.25
    through(longer, [5.0] * 50)
    assert longer.plan.lr == 0.25


def test_cycle_that_has_not_begun_is_measured_on_the_new_run() -> None:
    """The rest that begins after the extension lasts to the new end."""
    curriculum = small(lr={"peak": 1.0, "shape": "linear", "cycles": ["30 steps", "rest"]})
    controller = Controller(curriculum)
    through(controller, [5.0] * 20)
    longer = Controller(curriculum, epochs=20)
    longer.load_state_dict(controller.state_dict())
    through(longer, [5.0] * 95)
    assert longer.plan.lr == 1.0 - 85 / 170


def test_finished_run_is_resumed_longer_but_not_shorter() -> None:
    """A run that is over can be looked at and extended; bound shorter than it already is, it is refused."""
    controller = Controller(small())
    through(controller, [5.0] * 100)
    assert controller.plan.stop
    assert resumed(controller).plan == controller.plan
    assert resumed(controller, epochs=11).plan.stop is None
    other = Controller(small(), epochs=9)
    with pytest.raises(SnapshotError) as error:
        other.load_state_dict(controller.state_dict())
    assert str(error.value) == (
        "the checkpoint is at step 100, epoch 10, and the run bound now has only 90 steps. Bind a longer run"
    )
    assert other.plan.step == 0
    nearly = Controller(small())
    through(nearly, [5.0] * 90)
    with pytest.raises(SnapshotError, match=r"at step 90, epoch 9, and the run bound now has only 90 steps"):
        resumed(nearly, epochs=9)


def test_shorter_run_in_epochs() -> None:
    """Where only epochs are known, a run that is already over by them is refused; one that is not is taken."""
    curriculum = small(run={"epochs": 10}, lr={"peak": 1.0, "shape": "constant"})
    controller = Controller(curriculum)
    through(controller, [5.0] * 3, epoch_end=True)
    with pytest.raises(SnapshotError) as error:
        Controller(curriculum, epochs=3).load_state_dict(controller.state_dict())
    assert str(error.value) == (
        "the checkpoint is at step 3, epoch 3, and the run bound now has only 3 epochs. Bind a longer run"
    )
    assert Controller(curriculum, epochs=4).load_state_dict(controller.state_dict()) == (NOTES.format(4),)


if __name__ == "__main__":  # writes the golden files anew, for another format
    for name, run in golden_runs().items():
        (GOLDEN / f"{name}.json").write_text(json.dumps(run.state_dict(), indent=1) + "\n")
