"""`gap`: two stretches of the metric, one after the other, differ by no more than a value."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from fractions import Fraction
from functools import reduce
from operator import add
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plateau_rule import Controller, CurriculumError, loads
from plateau_rule.controller.guards.gap import Apart

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


@pytest.mark.parametrize(
    ("stretch", "block"), [(1, 1), (64, 1), (65, 5), (66, 2), (67, 67), (100, 2), (128, 2), (129, 3), (1000, 20)]
)
def test_blocks(stretch: int, block: int) -> None:
    """A stretch is kept as equal blocks, as many as 64 can be; it moves on when one is full, and not in between."""
    value = 0.3 / stretch**0.5
    detector, rng = Apart(stretch, value), Random(stretch)
    losses = [1.0 + rng.gauss(0.0, 0.3) for _ in range(3 * stretch)]
    said, means = set(), list[float]()
    assert (detector.block, detector.knows, detector.needs) == (block, 2 * stretch, 2 * stretch)
    for seen, loss in enumerate(losses, 1):
        detector.push(loss)
        if seen % block == 0:
            means.append(sum_of(x / block for x in losses[seen - block : seen]))
        older, newer = means[-2 * stretch // block : -stretch // block], means[-stretch // block :]
        if seen < 2 * stretch:
            assert (detector.verdict(), detector.describe()) == (None, f"{seen} of {2 * stretch} values")
        else:
            apart = abs(float(sum(map(Fraction, older)) / len(older)) - float(sum(map(Fraction, newer)) / len(newer)))
            said.add(detector.verdict())
            assert detector.verdict() == (apart <= value)
            assert f"{apart:.3g} apart; at most {value:.3g} needed" in detector.describe()
        assert len(detector.contents()) <= 2 * 64 + 1
    assert said == {True, False} or block == stretch


def sum_of(values: Iterable[float]) -> float:
    """Plain additions in order."""
    return reduce(add, values, 0.0)


def test_a_block_too_large_for_a_sum() -> None:
    """Losses as large as a float can be have a mean, and stretches of them are 0 apart."""
    detector = Apart(67, 0.0)
    for _ in range(2 * 67):
        detector.push(sys.float_info.max)
    assert detector.contents() == [sys.float_info.max] * 2
    assert detector.verdict() is True
    for _ in range(67):
        detector.push(-sys.float_info.max)
    assert detector.verdict() is False


@given(st.lists(values, max_size=30), st.sampled_from([1, 2, 3, 6, 67, 65]))
def test_goes_on_from_its_contents(losses: list[float], stretch: int) -> None:
    """A detector made of the contents of another one says the same from there on."""
    one, other = Apart(stretch, 0.5), Apart(stretch, 0.5)
    for loss in losses * (1 + stretch // 20):
        one.push(loss)
        other.restore(one.contents())
        assert (other.verdict(), other.contents(), other.describe()) == (one.verdict(), one.contents(), one.describe())


def test_wrong_contents() -> None:
    """More contents than two stretches, or than a block, hold are refused; what fits is not."""
    with pytest.raises(ValueError, match=r"^5 blocks and 0 values; two stretches are 4 blocks of 1$"):
        Apart(2, 1.0).restore([1.0] * 5)
    for count in (-1, 67):
        with pytest.raises(ValueError, match=rf"^0 blocks and {count} values; two stretches are 2 blocks of 67$"):
            Apart(67, 1.0).restore([[1.0, count]])
    for fits in ([], [1.0] * 2, [[1.0, 66]], [1.0, 2.0, [0.5, 1]]):
        detector = Apart(67, 1.0)
        detector.push(9.0)
        detector.restore(fits)
        assert detector.contents() == fits


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
