"""Amounts of time, as a curriculum spells them: "500 steps", "3 epochs", "2e9 tokens", "500 cost", "0.3 run"."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from fractions import Fraction

UNITS = ("steps", "epochs", "tokens", "cost", "run")
PATTERN = r"^(rest|[0-9]+(_[0-9]+)*(\.[0-9]+)?([eE]\+?[0-9]{1,2})? (steps?|epochs?|tokens?|cost|run))$"
AMOUNT = re.compile(PATTERN)
_WITHOUT_PLURAL = ("run", "cost")
_LARGEST = Fraction(10) ** 15
# What people write for an amount: "30% of the run", "0,3 run", "2k steps", "3epochs".
_ALMOST = re.compile(
    r"((?:[0-9]+(?:[.,_][0-9]+)*|\.[0-9]+)(?:e\+?[0-9]{1,2})?) ?([kmb](?![a-z]))?\s*(%|percent|per cent)?\s*"
    r"(?:of\s+)?(?:the\s+|a\s+)?([a-z]{0,20})"
)
_THOUSANDS = re.compile(r"[1-9][0-9]{0,2}(?:,[0-9]{3})+")
_FRACTION = re.compile(r"([0-9]{1,4}) ?/ ?([0-9]{1,4}) (?:of (?:the )?)?run")
_FACTORS = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9}
_OTHERS = {
    **dict.fromkeys(("it", "its", "iter", "iters", "iteration", "iterations"), "steps"),
    **dict.fromkeys(("update", "updates", "batch", "batches", "minibatches"), "steps"),
    **dict.fromkeys(("ep", "eps", "pass", "passes"), "epochs"),
    **dict.fromkeys(("tok", "toks"), "tokens"),
}
_REST = {"rest", "therest", "restoftherun", "therestoftherun", "restofrun", "remainder", "untiltheend"}


@dataclass(frozen=True, slots=True)
class Amount:
    """So much of a unit; kept as an exact fraction, so that "0.1 run" is a tenth and no float."""

    count: Fraction
    unit: str  # one of UNITS, or "rest"

    def __str__(self) -> str:
        if self.unit == "rest":
            return "rest"
        number = str(self.count.numerator) if self.count.denominator == 1 else repr(float(self.count))
        unit = self.unit[:-1] if self.count == 1 and self.unit not in _WITHOUT_PLURAL else self.unit
        return f"{number} {unit}"


def parse_amount(text: str) -> Amount:
    """Read an amount of time.

    Args:
        text: a number, one blank, a unit (`steps`, `epochs`, `tokens`, `cost`, `run`; the singular is allowed), or
            `rest`.

    Raises:
        ValueError: with a sentence that says what was expected.
    """
    if not AMOUNT.fullmatch(text):
        raise ValueError(
            'expected an amount of time such as "500 steps", "3 epochs", "2e9 tokens", "0.3 run" or "rest"'
        )
    if text == "rest":
        return Amount(Fraction(0), "rest")
    number, unit = text.split(" ")
    count = Fraction(number)
    unit = unit if unit in _WITHOUT_PLURAL or unit.endswith("s") else unit + "s"
    if unit in ("steps", "tokens") and count.denominator != 1:
        raise ValueError(f"expected a whole number of {unit}")
    if count > _LARGEST:
        raise ValueError("expected at most 1e15")
    if unit == "run" and count > 1:
        raise ValueError("expected a share of the run between 0 and 1")
    return Amount(count, unit)


def amount_hint(text: str) -> str:
    """A sentence that suggests the amount of time that was probably meant, or nothing."""
    plain = text[:100].strip().lower().removesuffix(".")
    if match := _FRACTION.fullmatch(plain):
        part = Fraction(int(match[1]), int(match[2]) or 1)
        return f'Did you mean "{float(part):.6g} run"?' if part <= 1 else "A share of the run is at most 1."
    if plain.replace(" ", "") in _REST:
        return 'Did you mean "rest"?'
    found = _ALMOST.fullmatch(plain)
    if found is None:
        return "An amount of time is not negative." if re.match(r"[-\u2212] ?[0-9]", plain) else ""
    number, factor, percent, unit = found.groups()
    number = f"0{number}" if number.startswith(".") else number
    if _THOUSANDS.fullmatch(number):
        number = number.replace(",", "")
    count = Fraction(number.replace(",", ".").replace("_", "")) * _FACTORS[factor or ""]
    if percent or unit == "run":
        count, units = count / 100 if percent else count, ["run"]
    else:
        close = get_close_matches(unit, [*UNITS, "step", "epoch", "token"], n=1, cutoff=0.7)
        units = [_OTHERS[unit]] if unit in _OTHERS else close
        units = [one if count == 1 or one.endswith("s") or one == "run" else f"{one}s" for one in units]
    if not unit and not percent:
        return f'Say the unit: "{number} steps".' if number.isdecimal() else f"Units: {', '.join(UNITS)}."
    if unit in ("run", "") and units == ["run"] and count > 1:
        share = f' Did you mean "{float(count / 100):.15g} run"?' if not percent and count <= 100 else ""
        return f"A share of the run is at most 1.{share}"
    written = number if number.isdecimal() and not factor and not percent else f"{float(count):.15g}"
    suggested = f"{written} {units[0]}" if units else ""
    try:
        parse_amount(suggested)
    except ValueError as error:
        return f"{error}.".capitalize() if units else f"Units: {', '.join(UNITS)}."
    return f'Did you mean "{suggested}"?'


Product = tuple[int | str, ...]  # whole numbers, and knobs by name


@dataclass(frozen=True, slots=True)
class RunLength:
    """How long one run is, as far as it is known.

    Attributes:
        epochs: number of epochs, or None.
        steps_per_epoch: optimizer steps in an epoch, or None.
        tokens_per_step: tokens that one optimizer step consumes, as a number or as a product with knobs, or None.
        tokens: where the run ends, in tokens, or None.
        cost: the same in units of cost, or None.
        clock: which of its bounds shares of the run are measured on, where it has several; or None.
    """

    epochs: int | None = None
    steps_per_epoch: int | None = None
    tokens_per_step: int | Product | None = None
    tokens: int | None = None
    cost: Fraction | None = None
    clock: str | None = None

    @property
    def total_steps(self) -> int | None:
        """The run's length in optimizer steps, or None where it is unknown, or depends on the knobs."""
        if self.tokens is not None and isinstance(self.tokens_per_step, int):
            steps = -(-self.tokens // self.tokens_per_step)
            if self.epochs is None or self.steps_per_epoch is None:
                return steps
            return min(steps, self.epochs * self.steps_per_epoch)
        if self.epochs is None or self.steps_per_epoch is None:
            return None
        return self.epochs * self.steps_per_epoch

    @property
    def measure(self) -> str:
        """What shares of the run and `rest` are amounts of: "steps", or "tokens" or "cost" where knobs decide them."""
        if self.cost is not None and self.clock in (None, "cost"):
            return "cost"
        if self.tokens is not None and self.clock in (None, "tokens") and not isinstance(self.tokens_per_step, int):
            return "tokens"
        return "steps"

    def follows_knobs(self, amount: Amount) -> bool:
        """Whether the knobs decide how many steps an amount is."""
        unit = self.measure if amount.unit in ("run", "rest") else amount.unit
        return unit == "cost" or (unit == "tokens" and isinstance(self.tokens_per_step, tuple))


def steps_in(amount: Amount, run: RunLength, total_steps: int | None, since_step: int = 0) -> int:
    """Turn an amount into optimizer steps, rounded up.

    Args:
        amount: the amount of time.
        run: the length of the run.
        total_steps: the length of the run that shares of it are measured on, in steps.
        since_step: the step where `rest` begins.

    Raises:
        ValueError: naming what the binding lacks, or that the knobs decide how many steps it is.
    """
    over, under = amount.count.numerator, amount.count.denominator  # whole numbers are many times faster than Fractions
    if amount.unit == "steps":
        return over // under
    if amount.unit == "epochs":
        if run.steps_per_epoch is None:
            raise ValueError("an amount in epochs needs steps_per_epoch here")
        return -(-over * run.steps_per_epoch // under)
    if run.follows_knobs(amount):
        raise ValueError(f'how many steps "{amount}" is depends on the knobs; here it is to be steps or epochs')
    if amount.unit == "tokens":
        if not isinstance(run.tokens_per_step, int):
            raise ValueError("an amount in tokens needs tokens_per_step")
        return -(-over // (under * run.tokens_per_step))
    if total_steps is None:
        raise ValueError(f'"{amount}" needs the length of the run: epochs and steps_per_epoch')
    if amount.unit == "rest":
        return max(0, total_steps - since_step)
    return -(-over * total_steps // under)
