"""The strategies reach the whole language, shrink to what can be read, and the checks can fail."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from math import isfinite, nan
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st

from plateau_rule import Controller, Curriculum, load
from plateau_rule.controller.language.curriculum import ActionTable, Guard, NonFinite
from plateau_rule.sim.strategies import (
    Cut,
    LossStream,
    assert_aligned,
    assert_finishes,
    assert_never_regresses,
    assert_resume_identical,
    curricula,
    interruptions,
    limits,
    loss_streams,
    observations,
    trace,
)
from tests.controller.small import STATES, small

pytestmark = pytest.mark.filterwarnings("ignore::plateau_rule.BindingWarning")
shrinking = settings(derandomize=True, database=None, max_examples=500, suppress_health_check=list(HealthCheck))


# What is drawn


def words(tree: Any) -> Iterator[str]:
    """Every key and every word in a tree."""
    if isinstance(tree, dict):
        yield from tree
    for inner in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ():
        yield from words(inner)
    if isinstance(tree, str):
        yield from tree.split()


def test_the_whole_language_is_drawn() -> None:
    """Every guard, action, method, shape, unit of time and key of the language occurs in what is drawn."""
    seen: set[str] = set()

    @settings(max_examples=400, phases=[Phase.generate], derandomize=True, suppress_health_check=list(HealthCheck))
    @given(curricula(open_runs=True))
    def draw(curriculum: Curriculum) -> None:
        seen.update(words(curriculum.model_dump(by_alias=True, exclude_unset=True)))

    draw()
    guards = {Guard.spelled(name) for name in Guard.model_fields}
    actions = {"lr_restart", "checkpoint", "evaluate", "rollback", "reset_optimizer", *ActionTable.model_fields}
    rates = {
        "peak",
        "shape",
        "floor",
        "length",
        "cycles",
        "decay",
        "warmup",
        "rewarm",
        "cosine",
        "linear",
        "constant",
        "wsd",
    }
    ways = {"*", "next", "epoch", "eval", "sustain", "at_most", "regress", "actions"}
    rest = {
        "rest",
        "step",
        "steps",
        "epochs",
        "tokens",
        "run",
        "ladder",
        "range",
        "multiple_of",
        "full",
        "ramp",
        "root",
    }
    methods = {"halves", "trend", "sure", "returns", "stop", "loss", "val_loss"}
    assert (guards | actions | rates | ways | rest | methods) - seen == set()


@settings(max_examples=50)
@given(st.data())
def test_what_is_drawn_can_be_run(data: st.DataObject) -> None:
    """A drawn curriculum binds to drawn limits, and takes drawn observations with drawn cuts."""
    curriculum = data.draw(curricula(open_runs=True, max_steps=40))
    said = data.draw(observations(curriculum, max_size=40, extreme=True))
    run = trace(curriculum, said, data.draw(interruptions(len(said))), limits=data.draw(st.none() | limits(curriculum)))
    assert [plan.step for plan in run.plans] == list(range(len(run.plans)))
    assert run.ended or len(run.plans) == len(said) + 1


@settings(max_examples=50)
@given(curricula(monotone=True))
def test_monotone_curricula_bound_every_way_back(curriculum: Curriculum) -> None:
    """Where a way leads back, or nowhere, it is bounded by `at_most`."""
    names = [state.name for state in curriculum.state]
    for state in Controller(curriculum).machine.states:
        for way in state.transitions:
            assert way.at_most is not None or names.index(way.target) > names.index(state.name)


@given(st.data(), st.integers(0, 50), st.integers(0, 50))
def test_streams_are_as_long_as_asked(data: st.DataObject, least: int, more: int) -> None:
    """A stream has at least and at most as many losses as was said."""
    assert least <= len(data.draw(loss_streams(min_size=least, max_size=least + more))) <= least + more


@given(loss_streams(nonfinite=False))
def test_streams_may_be_finite(losses: LossStream) -> None:
    """Without `nonfinite`, every loss is finite."""
    assert all(map(isfinite, losses))


def test_curricula_may_be_limited() -> None:
    """A drawn curriculum keeps to the run, the methods, the metrics and the ways that were asked for."""

    @settings(max_examples=40, database=None)
    @given(curricula(run={"epochs": 3, "steps_per_epoch": 4}, methods=("returns",), metrics=("x",), regress=False))
    def draw(curriculum: Curriculum) -> None:
        text = json.dumps(curriculum.model_dump(by_alias=True, exclude_unset=True))
        assert (curriculum.run.epochs, curriculum.run.steps_per_epoch) == (3, 4)
        assert "halves" not in text
        assert '"metric": "loss"' not in text
        assert "regress" not in text

    draw()


# What is shown


def test_streams_print_their_pieces() -> None:
    """A stream that was shrunk is told in words: what it does and for how long."""
    stream = find(
        loss_streams(max_size=60), lambda losses: sum(loss != loss for loss in losses) > 2, settings=shrinking
    )
    assert repr(stream) == "<3 losses: nan for 3 steps>"
    stream = find(
        loss_streams(max_size=60), lambda losses: len(losses) > 9 and losses[0] > losses[9], settings=shrinking
    )
    assert repr(stream) == "<10 losses: 0.125 falls to 0 for 10 steps>"
    assert repr(LossStream()) == "<0 losses: none>"


def test_curricula_print_what_was_written() -> None:
    """A curriculum that was shrunk prints as the code that makes it."""
    drawn = find(curricula(), lambda curriculum: len(curriculum.transition) > 0, settings=shrinking)
    assert eval(repr(drawn), {"Curriculum": Curriculum}).model_dump() == drawn.model_dump()  # noqa: S307


def test_a_failure_prints_the_shortest_stream() -> None:
    """The example of the documentation: a check that fails shows the shortest stream that breaks it, in words."""
    curriculum = small({"guards": [{"plateau": {"window": 4}}]})

    @settings(database=None, derandomize=True)
    @given(loss_streams(min_size=4, max_size=40, nonfinite=False))
    def never_raised_into_a_low_rate(losses: LossStream) -> None:
        assert_aligned(curriculum, losses)

    with pytest.raises(AssertionError) as failure:
        never_raised_into_a_low_rate()
    assert str(failure.value) == (
        "mid -> high at step 8 raises cutoff; on step 8 the rate is 0.92, 92% of the peak 1, and 95% was asked"
    )
    assert "losses=<8 losses: 0.125 for 8 steps>" in "".join(failure.value.__notes__)


# What fails


@pytest.mark.parametrize(
    ("lr", "align", "problem"),
    [
        ({"length": "100 steps"}, {}, "on step 40 the rate is 0.6, 60% of the peak 1, and 95% was asked"),
        (
            {"length": "100 steps"},
            {"min": 0.5, "hold": 0.58},
            "on step 43 the rate is 0.57, 57% of the peak 1, and 58% was",
        ),
        ({"length": "100 steps"}, {"min": 0.5, "hold": 0.5, "steps": 10}, ""),
        ({"length": "10 steps", "floor": 1.0}, {}, ""),
        ({"cycles": ["42 steps", "100 steps"]}, {}, "on step 40 the rate is 0.047619"),
        ({"cycles": ["42 steps", "100 steps"]}, {"within": "3 steps", "steps": 10}, ""),
    ],
)
def test_alignment_is_measured_as_the_file_says(lr: dict[str, Any], align: dict[str, Any], problem: str) -> None:
    """[check] align says how high the rate must be, how soon, for how long, and how much of it must be kept."""
    curriculum = small({"guards": [{"min_step": 40}]}, lr={"peak": 1.0, "shape": "linear"} | lr, check={"align": align},
                       state=STATES[:2])  # fmt: skip
    if not problem:
        assert_aligned(curriculum, [5.0] * 90)
        return
    with pytest.raises(AssertionError) as failure:
        assert_aligned(curriculum, [5.0] * 90)
    assert problem in str(failure.value)


def test_a_fall_is_found() -> None:
    """A knob that falls without a mark is found; with one it is not."""
    for marked in (False, True):
        curriculum = small({"from": "low", "at_most": 1}, {"from": "mid", "to": "low", "regress": marked, "at_most": 1})
        if marked:
            assert_never_regresses(curriculum, [5.0] * 4, [Cut(3, 1)])
        else:
            with pytest.raises(AssertionError, match=r"step 2: cutoff falls from 2 \(mid\) to 1 \(low\)"):
                assert_never_regresses(curriculum, [5.0] * 4)


def test_a_run_that_does_not_finish_is_found() -> None:
    """A run that ends in a state that is not final is found; the stream goes on with its last loss."""
    curriculum = small({"guards": [{"below": {"value": 1.0}}]})
    assert_finishes(curriculum, [5.0, 0.5])
    assert_finishes(small({}, state=[STATES[0], STATES[1] | {"stop": "enough"}, STATES[2]]), [])
    with pytest.raises(AssertionError, match='the run of 100 steps ends in "low", which is not a final state'):
        assert_finishes(curriculum, [5.0])
    with pytest.raises(AssertionError, match="the length of the run is unknown; bind epochs and steps_per_epoch"):
        assert_finishes(small(run={}, lr={"peak": 1.0, "shape": "constant"}), [5.0])


class Late(Controller):
    """A controller that is broken on a resume: by a step, a plan, or a word."""

    def load_state_dict(self, saved: Any, on_change: str = "refuse") -> tuple[str, ...]:
        notes = super().load_state_dict(saved, on_change)
        self.broken()
        return notes

    def broken(self) -> None:
        """What is wrong with it."""


class Forgets(Late):
    """Forgets how long it has been in its state."""

    def broken(self) -> None:
        """No time in the state."""
        self.run_state.time = 0


class Renames(Late):
    """Calls its transitions something else."""

    def broken(self) -> None:
        """Another machine, of which only the names differ."""
        curriculum = self.machine.curriculum
        other = Controller(small({"name": "up", "guards": curriculum.transition[0].guards}))
        self.run_state.state = other.machine.states[0]


class Dies(Late):
    """Counts one non-finite loss as many."""

    def broken(self) -> None:
        """Close to the end."""
        curriculum = self.machine.curriculum.model_copy(update={"nonfinite": NonFinite(limit=1)})
        self.machine = replace(self.machine, curriculum=curriculum)


@pytest.mark.parametrize(
    ("kind", "problem"),
    [
        (Forgets, "step 10: the uncut run plans Plan(step=10, epoch=1, state='mid'"),
        (
            Renames,
            "the uncut run decides Decision(step=10, epoch=1, from_state='low', to_state='mid', transition='trans",
        ),
        (Dies, "the uncut run has 31 plans, the resumed one 6"),
    ],
)
def test_a_resume_that_differs_is_found(kind: type[Late], problem: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another plan, another decision and another end after a resume are found, and told."""
    curriculum = small({"from": "low", "guards": [{"dwell": "10 steps"}]})
    losses = [nan if i == 5 else 5.0 for i in range(30)]
    assert_resume_identical(curriculum, losses)
    monkeypatch.setattr("plateau_rule.sim.strategies.checks.UnguardedController", kind)
    with pytest.raises(AssertionError) as failure:
        assert_resume_identical(curriculum, losses, [Cut(3, 0)])
    assert str(failure.value).startswith(problem)


def test_runs_that_die_say_nothing() -> None:
    """A run that ends by NonFiniteLoss passes the checks that it says nothing about."""
    curriculum = load("plateau")
    binding: dict[str, Any] = {"limits": {"cutoff": 1025}, "epochs": 3, "steps_per_epoch": 60}
    assert trace(curriculum, [nan] * 30, **binding).ended is not None
    assert_finishes(curriculum, [nan], **binding)
    assert_aligned(curriculum, [nan] * 30, **binding)
    assert_never_regresses(curriculum, [nan] * 30, **binding)
    assert_resume_identical(curriculum, [nan] * 30, [Cut(20, 3)], **binding)
