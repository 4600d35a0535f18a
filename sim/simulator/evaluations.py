"""When evaluations come in simulated trainings: as the file says of its metrics, else as was asked, else by epochs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from plateau_rule.controller.errors import PlateauError, visible
from plateau_rule.controller.language.amounts import AMOUNT, parse_amount, steps_in
from plateau_rule.controller.language.metrics import comes_at, every
from plateau_rule.controller.machine import Machine


class SimulateError(PlateauError):
    """A curriculum that cannot be simulated as it is."""


@dataclass(frozen=True)
class Evaluations:
    """How many steps lie between two values of each metric; a value comes at the end of as many.

    Attributes:
        by_metric: of the metrics that guards watch.
        others: evaluations that no guard watches a metric of; None where there are none.
    """

    by_metric: Mapping[str, int]
    others: int | None

    @classmethod
    def of(cls, machine: Machine, metrics: Iterable[str], asked: str | None) -> Evaluations:
        """The evaluations of a curriculum.

        Args:
            machine: the curriculum as it is bound.
            metrics: those that are to come, beside the loss.
            asked: every how much time, where the file does not say.

        Raises:
            SimulateError: an amount of time is none, or its steps depend on the knobs.
        """
        default = _steps(machine, asked, "--evaluate-every") if asked else machine.run.steps_per_epoch
        curriculum, found = machine.curriculum, dict[str, int]()
        for name in metrics:
            amount = every(curriculum, name)
            steps = _steps(machine, amount, f"[metric.{name}] every") if amount else default
            if steps is not None:
                found[name] = steps
        come = any(comes_at(curriculum, name) == "eval" for name in found)  # then those are the evaluations
        return cls(found, None if come else default)

    def due(self, step: int) -> list[str]:
        """The metrics whose values come with a step."""
        return [name for name, steps in self.by_metric.items() if (step + 1) % steps == 0]

    def evaluates(self, step: int) -> bool:
        """Whether a step brings an evaluation that no guard watches a metric of."""
        return self.others is not None and (step + 1) % self.others == 0

    def in_words(self, machine: Machine) -> str:
        """When they come; empty where nothing waits for one."""
        named = {n: s for n, s in self.by_metric.items() if comes_at(machine.curriculum, n) == "eval"}
        if named:
            return ", ".join(f"{name} every {steps:,} steps" for name, steps in sorted(named.items()))
        if self.others is not None and any(state.asks_evaluations for state in machine.states):
            return f"every {self.others:,} steps"
        return ""


def _steps(machine: Machine, text: str, where: str) -> int:
    if not AMOUNT.fullmatch(text) or text == "rest" or not parse_amount(text).count:
        raise SimulateError(f'{where} "{visible(text)}"; expected an amount of time such as "500 steps" or "1 epoch"')
    try:
        return max(1, steps_in(parse_amount(text), machine.run, machine.run.total_steps))
    except ValueError as error:
        raise SimulateError(f'{where} "{visible(text)}": {error}') from None
