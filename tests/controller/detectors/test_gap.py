"""`gap`: two stretches of the metric, one after the other, differ by no more than a value."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller import Controller, CurriculumError, loads
from controller.detectors.gap import Apart

values = st.floats(-1e6, 1e6, allow_nan=False)


@given(st.lists(values, max_size=40), st.integers(1, 6), st.floats(0, 10))
def test_equals_the_definition(losses: list[float], stretch: int, most: float) -> None:
    """After every value it says what the means of the last two stretches say, exactly, and unknown before that."""
    detector = Apart(stretch, most)
    for seen, loss in enumerate(losses, 1):
        detector.push(loss)
        older, newer = losses[max(0, seen - 2 * stretch) : seen - stretch], losses[max(0, seen - stretch) : seen]
        if seen < 2 * stretch:
            assert detector.verdict() is None
            assert detector.describe() == f"{seen} of {2 * stretch} values"
        else:
            means = [float(sum(map(Fraction, half)) / stretch) for half in (older, newer)]
            assert detector.verdict() == (abs(means[0] - means[1]) <= most)


@given(st.lists(values, max_size=30), st.integers(1, 6))
def test_goes_on_from_its_contents(losses: list[float], stretch: int) -> None:
    """A detector made of the contents of another one says the same from there on."""
    one, other = Apart(stretch, 0.5), Apart(stretch, 0.5)
    for loss in losses:
        one.push(loss)
        other.restore(one.contents())
        assert (other.verdict(), other.contents(), other.describe()) == (one.verdict(), one.contents(), one.describe())


def test_wrong_contents() -> None:
    """More contents than two stretches hold are refused."""
    with pytest.raises(ValueError, match="5 values for two stretches of 2"):
        Apart(2, 1.0).restore([1.0] * 5)


TEXT = """
name = "x"
lr.peak = 1
run = { epochs = 9, steps_per_epoch = 3 }
state = [{ name = "a" }, { name = "b" }]
[[transition]]
from = "a"
to = "b"
at = "epoch"
guards = [{ gap = { over = "1 epoch", value = 0.5 } }]
"""


@pytest.mark.parametrize("rising", [False, True])
def test_epochs(rising: bool) -> None:
    """Over one epoch, looked at when an epoch closes, it compares the means of the last two epochs, up or down."""
    controller = Controller(loads(TEXT))
    means = [9.0, 8.0, 6.5, 6.0, 5.0]  # the first two that are 0.5 apart are epochs 2 and 3
    losses = [mean + noise for mean in means for noise in (-0.25, 0.5, -0.25)]
    taken = [s for s, loss in enumerate(losses) if controller.observe(-loss if rising else loss) is not None]
    assert taken == [11]


def test_needs_the_length_of_an_epoch() -> None:
    """Where nobody says how long an epoch is, binding is refused at the place of the amount."""
    curriculum = loads(
        TEXT.replace(", steps_per_epoch = 3", "").replace("lr.peak = 1", 'lr = { peak = 1, shape = "constant" }')
    )
    with pytest.raises(CurriculumError, match=r"guards 1, gap.over: .*unresolved-amount"):
        Controller(curriculum)
