"""Amounts of time: as they are spelled, as they are meant, in steps."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plateau_rule.controller.language.amounts import UNITS, Amount, RunLength, amount_hint, parse_amount, steps_in

RUN = RunLength(50, 1000, 512)


@pytest.mark.parametrize(
    ("text", "count", "unit", "steps"),
    [
        ("500 steps", 500, "steps", 500),
        ("1 step", 1, "steps", 1),
        ("1_000 steps", 1000, "steps", 1000),
        ("2.5e3 steps", 2500, "steps", 2500),
        ("3 epochs", 3, "epochs", 3000),
        ("1 epoch", 1, "epochs", 1000),
        ("0.0015 epochs", Fraction(3, 2000), "epochs", 2),
        ("2e9 tokens", 2 * 10**9, "tokens", 3906250),
        ("513 tokens", 513, "tokens", 2),
        ("1 token", 1, "tokens", 1),
        ("0.3 run", Fraction(3, 10), "run", 15000),
        ("1 run", 1, "run", 50000),
        ("0.00001 run", Fraction(1, 100000), "run", 1),
        ("0 steps", 0, "steps", 0),
        ("rest", 0, "rest", 49990),
    ],
)
def test_amounts(text: str, count: Fraction, unit: str, steps: int) -> None:
    """Each unit is read exactly, and turned into optimizer steps, rounded up."""
    amount = parse_amount(text)
    assert amount == Amount(Fraction(count), unit)
    assert steps_in(amount, RUN, RUN.total_steps, 10) == steps


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "expected an amount of time"),
        ("500", "expected an amount of time"),
        ("500steps", "expected an amount of time"),
        ("500  steps", "expected an amount of time"),
        ("500 steps\n", "expected an amount of time"),
        ("-1 steps", "expected an amount of time"),
        ("1e-3 run", "expected an amount of time"),
        ("inf steps", "expected an amount of time"),
        ("5 stepss", "expected an amount of time"),
        ("1.5 steps", "expected a whole number of steps"),
        ("0.5 tokens", "expected a whole number of tokens"),
        ("2e15 steps", "expected at most 1e15"),
        ("1e99 epochs", "expected at most 1e15"),
        ("1.5 run", "expected a share of the run between 0 and 1"),
    ],
)
def test_what_is_no_amount(text: str, sentence: str) -> None:
    """What is no amount of time is refused with a sentence that says what was expected."""
    with pytest.raises(ValueError, match=sentence):
        parse_amount(text)


@given(
    st.sampled_from(UNITS),
    st.one_of(st.integers(0, 10**15), st.decimals(0, 1000, places=3, allow_nan=False).map(Fraction)),
)
def test_spelling_is_one(unit: str, count: int | Fraction) -> None:
    """An amount is spelled in one way, which is read as the same amount again."""
    if unit in ("steps", "tokens"):
        count = int(count)
    if unit == "run":
        count = Fraction(count) / 10**15 if count > 1 else Fraction(count)
        if float(count) != count:
            count = Fraction(str(float(count))) if "e" not in str(float(count)) else Fraction(1)
    amount = Amount(Fraction(count), unit)
    assert parse_amount(str(amount)) == amount
    assert str(parse_amount(str(amount))) == str(amount)
    assert str(parse_amount("rest")) == "rest"


@pytest.mark.parametrize(
    ("text", "run", "sentence"),
    [
        ("3 epochs", RunLength(50), "an amount in epochs needs steps_per_epoch here"),
        ("3 tokens", RunLength(50, 1000), "an amount in tokens needs tokens_per_step"),
        ("0.5 run", RunLength(50), '"0.5 run" needs the length of the run: epochs and steps_per_epoch'),
        ("rest", RunLength(None, 1000), '"rest" needs the length of the run: epochs and steps_per_epoch'),
    ],
)
def test_amount_that_cannot_be_resolved(text: str, run: RunLength, sentence: str) -> None:
    """An amount that a run cannot resolve is refused with what is missing."""
    with pytest.raises(ValueError, match=sentence):
        steps_in(parse_amount(text), run, run.total_steps)


def test_rest_is_never_below_nothing() -> None:
    """A rest that begins after the end of the run is no time."""
    assert steps_in(parse_amount("rest"), RUN, 100, 200) == 0


def test_length_of_a_run() -> None:
    """A run's length in steps is known where epochs and steps_per_epoch are."""
    assert [RunLength(*known).total_steps for known in ((5, 10), (5, None), (None, 10), ())] == [50, None, None, None]


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("Rest", 'Did you mean "rest"?'),
        ("500steps", 'Did you mean "500 steps"?'),
        ("3 Epoch", 'Did you mean "3 epochs"?'),
        ("30%", 'Did you mean "0.3 run"?'),
        ("5 x", "Units: steps, epochs, tokens, cost, run."),
        ("7 runs", "Expected a share of the run between 0 and 1."),
        ("soon", ""),
    ],
)
def test_what_was_probably_meant(text: str, hint: str) -> None:
    """A misspelled amount is answered with the one that was probably meant, or with the units that there are."""
    assert amount_hint(text) == hint
