"""What the controller promises for every stream of losses, every curriculum and every cut-and-resume."""

from __future__ import annotations

from math import nan
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from plateau_rule import Curriculum, load
from plateau_rule.controller.language.ladders import ranks_of
from plateau_rule.controller.language.reading import shipped
from plateau_rule.sim.strategies import (
    Cut,
    LossStream,
    Piece,
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

pytestmark = pytest.mark.filterwarnings("ignore::plateau_rule.BindingWarning")

SMALL: dict[str, Any] = {"epochs": 12, "steps_per_epoch": 40, "tokens_per_step": 1000}
STEPS = SMALL["epochs"] * SMALL["steps_per_epoch"]
FLAT = LossStream([Piece("3 for the whole run", (3.0,) * STEPS)])
WIDE = SMALL | {"steps_per_epoch": 100}  # a rate that falls over 3 epochs holds for 50 steps
EXAMPLES = settings().max_examples
few = settings(max_examples=max(3, EXAMPLES // 50), suppress_health_check=list(HealthCheck))


def bound(curriculum: Curriculum) -> dict[str, Any]:
    """What a trainer with limits for every knob binds a small run with."""
    spelled = ranks_of(curriculum)  # these have values that are no numbers, and no limit
    return {"limits": {name: None if name in spelled else 2048 for name in curriculum.knob}, **SMALL}


@pytest.mark.parametrize("name", sorted(shipped()))
@few
@given(losses=loss_streams(min_size=50, max_size=200))
@example(losses=FLAT)
def test_every_shipped_curriculum_resumes_after_every_step(name: str, losses: LossStream) -> None:
    """A run of any shipped curriculum, cut and resumed after every single step, plans and decides as the uncut one."""
    curriculum = load(name)
    assert_resume_identical(curriculum, losses, **bound(curriculum))


@pytest.mark.parametrize("name", sorted(shipped()))
@few
@given(losses=loss_streams(min_size=100, max_size=STEPS), cuts=interruptions(STEPS, max_lost=100))
@example(losses=FLAT, cuts=[Cut(STEPS, STEPS)])
def test_no_knob_of_a_shipped_curriculum_falls(name: str, losses: LossStream, cuts: list[Cut]) -> None:
    """No knob of any shipped curriculum falls but by a transition marked `regress`, wherever the run is cut."""
    curriculum = load(name)
    assert_never_regresses(curriculum, losses, cuts, **bound(curriculum))


@settings(max_examples=EXAMPLES // 2)
@given(data=st.data())
def test_any_curriculum_resumes_after_every_step(data: st.DataObject) -> None:
    """A run of any curriculum, cut and resumed after every single step, plans and decides as the uncut one."""
    curriculum = data.draw(curricula(monotone=False, open_runs=True, max_steps=60, clocks=True, rungs=True))
    within = data.draw(st.none() | limits(curriculum))
    said = data.draw(observations(curriculum, max_size=60, extreme=True))
    assert_resume_identical(curriculum, said, limits=within)


@settings(max_examples=EXAMPLES // 2)
@given(data=st.data())
def test_no_knob_of_any_sound_curriculum_falls(data: st.DataObject) -> None:
    """Where the file marks every fall, no knob falls without the mark, for any observations, limits, lag and cuts."""
    curriculum = data.draw(curricula(open_runs=True, max_steps=60, clocks=True, rungs=True))
    within = data.draw(st.none() | limits(curriculum))
    said = data.draw(observations(curriculum, max_size=60))
    assert_never_regresses(curriculum, said, data.draw(interruptions(len(said))), limits=within)


@settings(max_examples=EXAMPLES // 2)
@given(losses=loss_streams(min_size=200, max_size=1200))
@example(losses=FLAT)
def test_plateau_is_at_its_peak_on_the_first_step_of_every_raise(losses: LossStream) -> None:
    """Under plateau.toml the rate is the peak itself on the first step of every raise, and it holds."""
    curriculum = load("plateau")
    binding = bound(curriculum) | WIDE
    for decision in trace(curriculum, losses, **binding).decisions:
        assert decision.raises == ("cutoff",)
        assert decision.lr == curriculum.lr.peak
    assert_aligned(curriculum, losses, **binding)


@settings(max_examples=EXAMPLES // 2)
@given(
    losses=loss_streams(min_size=100, max_size=STEPS, nonfinite=False),
    thresholds=st.tuples(*[st.floats(1e-6, 1.0)] * 2).map(sorted),
    at=st.sampled_from(("step", "epoch")),
)
def test_a_larger_threshold_never_raises_later(losses: LossStream, thresholds: list[float], at: str) -> None:
    """On the same losses, the published rule with a larger threshold raises at the same step first, or before."""
    first = []
    for threshold in thresholds:
        written = load("plateau").model_dump(by_alias=True, exclude_unset=True)
        written["guard"]["flat"]["plateau"]["threshold"] = threshold
        written["transition"][0]["at"] = at
        decisions = trace(Curriculum.model_validate(written), losses, **bound(load("plateau"))).decisions
        first.append(decisions[0].step if decisions else STEPS + 1)
    assert first[1] <= first[0]


def test_plateau_climbs_on_a_flat_loss() -> None:
    """The examples above are not empty: a flat loss takes plateau.toml through all of its states."""
    curriculum = load("plateau")
    states = [decision.to_state for decision in trace(curriculum, FLAT, **bound(curriculum)).decisions]
    assert states == ["words", "spelling", "full"]
    assert_finishes(curriculum, FLAT, **bound(curriculum))


def test_misaligned_raises_into_a_low_rate() -> None:
    """misaligned.toml breaks what plateau.toml keeps, and the check says where and by how much."""
    curriculum = load("misaligned")
    with pytest.raises(AssertionError) as failure:
        assert_aligned(curriculum, FLAT, **bound(curriculum))
    assert str(failure.value).startswith(
        "syntax -> words at step 80 raises cutoff; on step 80 the rate is 0.000137812, 69% of the peak 0.0002, "
        "and 95% was asked"
    )


def test_fixed_epochs_is_aligned() -> None:
    """fixed-epochs.toml, the same cutoffs with the rate's cycles in their place, is aligned."""
    curriculum = load("fixed-epochs")
    assert_aligned(curriculum, [3.0] * 2000, **bound(curriculum) | WIDE | {"epochs": curriculum.run.epochs})


def test_the_end_of_a_ramp_is_no_raise() -> None:
    """A transition at the end of a ramp raises nothing that the ramp had not: the rate may be anywhere."""
    curriculum = load("sequence-length")
    run = trace(curriculum, FLAT, **bound(curriculum))
    assert [decision.raises for decision in run.decisions] == [("seq_len",)]
    assert run.decisions[0].lr < 0.95 * curriculum.lr.peak
    assert_aligned(curriculum, FLAT, **bound(curriculum))


@few
@given(losses=loss_streams(max_size=STEPS, nonfinite=False))
def test_a_timeout_finishes_on_every_stream(losses: LossStream) -> None:
    """Where a timeout leads on from every state, the final state is reached on every stream of losses."""
    curriculum = without(load("two-knobs-with-retreat"), "retreat")
    assert_finishes(curriculum, losses, **bound(curriculum))


@pytest.mark.parametrize("name", ["reduce-on-plateau", "two-knobs-with-retreat"])
def test_a_goal_that_can_be_left_is_an_end(name: str) -> None:
    """A run has finished in what `check` calls its goal: a final state, though a retreat or an early stop leads out."""
    curriculum = load(name)
    assert_finishes(curriculum, FLAT, **bound(curriculum) | WIDE)


def test_a_plateau_alone_may_never_finish() -> None:
    """Where the plateau alone decides, a loss that keeps falling stays where it is: the check can fail."""
    curriculum = load("plateau")
    falling = [2.0**-step for step in range(1, 1000)]
    with pytest.raises(AssertionError, match='ends in "syntax", which is not a final state'):
        assert_finishes(curriculum, falling, **bound(curriculum) | {"epochs": 10})


def test_a_run_that_dies_says_nothing_about_finishing() -> None:
    """A run that ends by NonFiniteLoss is no run that failed to finish, and none that was misaligned."""
    curriculum = load("plateau")
    assert_finishes(curriculum, [nan], **bound(curriculum))
    assert_aligned(curriculum, [nan] * 30, **bound(curriculum))


def without(curriculum: Curriculum, *titles: str) -> Curriculum:
    """The curriculum without the transitions of these names."""
    written = curriculum.model_dump(by_alias=True, exclude_unset=True)
    written["transition"] = [way for way in written["transition"] if way.get("name") not in titles]
    return Curriculum.model_validate(written)
