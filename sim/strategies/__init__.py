"""Hypothesis strategies for losses, curricula and interruptions, and ready checks that shrink to a readable case.

    @given(loss_streams(min_size=300))
    def test_mine(losses):
        assert_aligned(load("mine.toml"), losses, limits={"cutoff": 1025}, epochs=5, steps_per_epoch=60)

A failing check raises AssertionError; hypothesis then prints the shortest stream of losses that it found, in the words
of `LossStream`. Needs the extra `test` (hypothesis).
"""

from plateau_rule.sim.strategies.binding import limits
from plateau_rule.sim.strategies.checks import (
    Observation,
    PlayedRun,
    assert_aligned,
    assert_finishes,
    assert_never_regresses,
    assert_resume_identical,
    observe,
    trace,
)
from plateau_rule.sim.strategies.curricula import curricula
from plateau_rule.sim.strategies.interruptions import Cut, interruptions
from plateau_rule.sim.strategies.losses import LossStream, Piece, loss_streams, observations

__all__ = [
    "Cut",
    "LossStream",
    "Observation",
    "Piece",
    "PlayedRun",
    "assert_aligned",
    "assert_finishes",
    "assert_never_regresses",
    "assert_resume_identical",
    "curricula",
    "interruptions",
    "limits",
    "loss_streams",
    "observations",
    "observe",
    "trace",
]
