"""The smallest edit of one number that mends what `check` finds: each is tried by a check of its own."""

from __future__ import annotations

import copy
import tomllib
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from math import log
from typing import Any

from plateau_rule.controller.binding import Binding, bind
from plateau_rule.controller.edit.numbers import Path, number_in, numbers
from plateau_rule.controller.errors import BindingWarning, CurriculumError
from plateau_rule.controller.language.curriculum import Curriculum
from plateau_rule.controller.language.writing import dumps
from plateau_rule.controller.verifier.budget import MOST_CONFIGURATIONS
from plateau_rule.controller.verifier.findings import Finding, Mend, Report
from plateau_rule.controller.verifier.verify import verify

MOST_TRIES = 150  # edits that are tried for one finding
LITTLE = 2_000  # configurations that settle most checks; where they do not, a check may try as many as any
MOST_TOLD = 2
TABLES = ("lr", "state", "transition", "guard")  # whose numbers are tried; not those of [check], which only measure
NOT_TRIED = ("set", "name")
FACTORS = (4.0, 32.0, 0.25, 0.03125)
UNSAID: tuple[tuple[Path, float], ...] = ((("lr", "floor"), 0.0),)  # numbers that count where a file does not say them


def mends(report: Report, finding: Finding, binding: Binding) -> tuple[Mend, ...]:
    """The smallest edits of one number each that mend a finding, the smallest first.

    Args:
        report: what was found.
        finding: one of its errors.
        binding: what the curriculum was bound to.
    """
    trial = _Trial(report, finding, binding)
    found = sorted(trial.found(), key=lambda one: one[0])
    return tuple(mend for _, mend in found[:MOST_TOLD])


def with_mends(report: Report, binding: Binding) -> Report:
    """The report, with the smallest edits of each error.

    Args:
        report: what was found.
        binding: what the curriculum was bound to.
    """
    found = [
        replace(one, mends=mends(report, one, binding)) if one.severity == "error" else one for one in report.findings
    ]
    return replace(report, findings=tuple(found))


class _Trial:
    """Tries edits of one curriculum against one finding."""

    def __init__(self, report: Report, finding: Finding, binding: Binding) -> None:
        self.finding, self.binding, self.left = finding, binding, MOST_TRIES
        self.written: dict[str, Any] = tomllib.loads(dumps(report.machine.curriculum))
        self.errors = _errors(report)

    def found(self) -> Iterator[tuple[float, Mend]]:
        """What mends, with how large a change it is."""
        for path, value in [*numbers(self.written), *self._unsaid()]:
            if not path or path[0] not in TABLES or any(key in NOT_TRIED for key in path):
                continue
            number, spell = number_in(value)
            best = None
            for far in _far(number):
                if self._mends(path, spell(far)):
                    near = self._nearest(path, number, far, spell)
                    size = abs(log(near / number)) if near > 0 < number else abs(near - number)
                    best = min(best or (size, near), (size, near))
            if best is not None:
                old = None if (path, value) in UNSAID else value
                yield best[0], Mend(path, old, spell(best[1]))

    def _unsaid(self) -> Iterator[tuple[Path, float]]:
        for path, value in UNSAID:
            if path[-1] not in self.written.get(str(path[0]), {}):
                yield path, value

    def _nearest(self, path: Path, number: float, far: float, spell: Callable[[float], Any]) -> float:
        """The value nearest to the one that stands there, between it and one that mends."""
        bad, good = number, far
        while True:
            middle = _between(bad, good)
            if middle in (bad, good) or self.left <= 0:
                return good
            if self._mends(path, spell(middle)):
                good = middle
            else:
                bad = middle

    def _mends(self, path: Path, value: Any) -> bool:
        """Whether the finding is gone with this value, and nothing new is broken."""
        if self.left <= 0:
            return False
        self.left -= 1
        edited = copy.deepcopy(self.written)
        inner: Any = edited
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = value
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", BindingWarning)
                machine = bind(Curriculum.model_validate(edited, by_alias=True, by_name=False), self.binding)
        except (CurriculumError, ValueError):  # pydantic's ValidationError is a ValueError
            return False
        report = verify(machine, budget=LITTLE)
        if self._is_better(report) and any(finding.severity == "undecided" for finding in report.findings):
            report = verify(machine, budget=MOST_CONFIGURATIONS)
        return self._is_better(report) and report.verdict(self.finding.property).answer != "not decided"

    def _is_better(self, report: Report) -> bool:
        """Whether the finding is gone, and no error is new."""
        errors = _errors(report)
        return (self.finding.code, self.finding.path) not in errors and errors < self.errors


def _errors(report: Report) -> set[tuple[str, Path]]:
    return {(finding.code, finding.path) for finding in report.findings if finding.severity == "error"}


def _far(number: float) -> list[float]:
    """Values far from a number, in which a mend is looked for; of a share also the ends."""
    ends = [1.0, 0.0] if 0 <= number <= 1 else [0.0]
    return list(dict.fromkeys(one for one in (*(number * factor for factor in FACTORS), *ends) if one != number))


def _between(one: float, other: float) -> float:
    """A number between two, with three digits at most."""
    return float(f"{(one + other) / 2:.3g}")
