"""My curriculum, tried on losses that hypothesis draws."""

from pathlib import Path

from hypothesis import given

from plateau_rule import load
from plateau_rule.sim.strategies import (
    Cut,
    LossStream,
    assert_aligned,
    assert_never_regresses,
    interruptions,
    loss_streams,
)

MINE = load(Path(__file__).parent / "mine.toml")
STEPS = 600  # three epochs of it


@given(losses=loss_streams(min_size=STEPS, max_size=STEPS, nonfinite=False))
def test_the_rate_is_high_after_a_raise(losses: LossStream) -> None:
    """Whatever the losses, a raise meets a high rate."""
    assert_aligned(MINE, losses)


@given(losses=loss_streams(min_size=STEPS, max_size=STEPS), cuts=interruptions(STEPS))
def test_the_cutoff_never_falls(losses: LossStream, cuts: list[Cut]) -> None:
    """Wherever the run is killed and resumed, the cutoff does not fall."""
    assert_never_regresses(MINE, losses, cuts)
