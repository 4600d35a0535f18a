"""How much a training may spend: the bound that is written into the `[run]` of its curriculum."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import Any, Literal, TypeVar

from plateau_rule.controller.errors import PlateauError, visible
from plateau_rule.controller.language.amounts import RunLength
from plateau_rule.controller.language.curriculum import Curriculum
from plateau_rule.controller.language.values import Table
from plateau_rule.controller.meters import KnobClock, meters_of, product_of

AnyTable = TypeVar("AnyTable", bound=Table)
Unit = Literal["steps", "tokens", "cost", "s"]
SECONDS = {"s": 1, "second": 1, "seconds": 1, "minute": 60, "minutes": 60, "hour": 3600, "hours": 3600}
_WRITTEN = re.compile(r"(\d{1,16}(?:\.\d{1,6})?(?:e\d{1,2})?) ?([a-z]+)\Z", re.ASCII)


class TrialError(PlateauError):
    """An experiment that cannot be carried out, or a training that failed."""


@dataclass(frozen=True)
class TrainingBudget:
    """How much one training may spend.

    Attributes:
        amount: above 0, with at most six decimals.
        unit: "steps", "tokens", "cost", or "s", seconds of training.
    """

    amount: Fraction
    unit: Unit

    @classmethod
    def read(cls, text: str) -> TrainingBudget:
        """Read a budget such as "90 s", "10 minutes", "500 cost", "2e6 tokens" or "2000 steps".

        Raises:
            TrialError: it is none.
        """
        match = _WRITTEN.match(text.strip())
        number, word = (Fraction(match[1]), match[2]) if match else (Fraction(0), "")
        unit: Unit | None = None
        if word in SECONDS:
            number, unit = number * SECONDS[word], "s"
        elif word in ("step", "token"):
            unit = "steps" if word == "step" else "tokens"
        elif word in ("steps", "tokens", "cost"):
            unit = word  # type: ignore[assignment]  # mypy does not narrow a text by `in`
        if unit is None or not 0 < number <= 10**15 or (unit in ("steps", "tokens") and number.denominator != 1):
            wrong = "" if unit is None else " above 0, at most 1e15, of steps and tokens a whole one,"
            raise TrialError(
                f'budget "{visible(text)}"; expected a number{wrong} and a unit, such as "90 s", "10 minutes", '
                '"500 cost", "2e6 tokens" or "2000 steps"'
            )
        return cls(number, unit)

    def __str__(self) -> str:
        return f"{f'{float(self.amount):.6f}'.rstrip('0').rstrip('.')} {self.unit}"


def changed(table: AnyTable, **values: Any) -> AnyTable:
    """A table of a curriculum, or a whole one, with other values; None takes a key out.

    Raises:
        CurriculumError: together they make none.
    """
    written = {name: getattr(table, name) for name in table.model_fields_set}
    return type(table)(**{name: value for name, value in (written | values).items() if value is not None})


def bounded(curriculum: Curriculum, budget: TrainingBudget, most_steps: int | None = None) -> Curriculum:
    """The curriculum in a run that ends with the budget, and whose shares and `rest` are measured on it.

    Args:
        curriculum: any, with the prices or tokens of a step that the budget is counted in.
        budget: not in seconds: those become a cost first.
        most_steps: steps that the budget lasts for at the most, for a trainer that must know epochs; else the run has
            none.

    Raises:
        TrialError: the curriculum does not say what the budget is counted by.
    """
    run, unit = curriculum.run, budget.unit
    if unit == "steps":
        each = run.steps_per_epoch
        if each is None:
            raise TrialError(f"{curriculum.name}: how many steps has an epoch? Give --steps-per-epoch, or write it")
        if budget.amount % each:
            low = budget.amount // each * each
            fit = f"{low} or {low + each} steps are" if low else f"{each} steps are"
            raise TrialError(f"a budget of {budget} is not a whole number of epochs of {each} steps; {fit}")
        bound: dict[str, Any] = {"epochs": int(budget.amount / each), "tokens": None, "cost": None, "clock": None}
    else:
        source = run.tokens_per_step if unit == "tokens" else has_prices(curriculum)
        if not source:
            word = "tokens_per_step in [run]" if unit == "tokens" else "prices, [knob.NAME] cost = [ … ],"
            raise TrialError(f"{curriculum.name}: a budget in {unit} needs {word}, and there are none in the file")
        epochs = None
        if most_steps is not None:
            epochs = ceil(most_steps / (run.steps_per_epoch or most_steps)) + 1
        bound = {"epochs": epochs, "tokens": None, "cost": None, "clock": unit}
        bound[unit] = int(budget.amount) if unit == "tokens" else float(budget.amount)
    return changed(curriculum, run=changed(run, **bound))


def has_prices(curriculum: Curriculum) -> bool:
    """Whether a file says what its steps cost."""
    return curriculum.run.cost_per_step is not None or any(knob.cost is not None for knob in curriculum.knob.values())


def meters_in(curriculum: Curriculum, limits: Mapping[str, float | None] | None = None) -> tuple[KnobClock, ...]:
    """The clocks of a curriculum that follow its knobs, under a trainer's limits."""
    return meters_of(curriculum, RunLength(tokens_per_step=product_of(curriculum)), limits)
