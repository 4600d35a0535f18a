"""What a verification finds: findings with a property, a place, a sentence, a suggestion and a counterexample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from plateau_rule.controller.errors import Key, Place
from plateau_rule.controller.machine import BoundState, BoundTransition, Machine
from plateau_rule.controller.verifier.witness import Row, Visit

Severity = Literal["error", "warning", "note", "waived"]
LITTLE = 0.05  # of the run: as much as a last state should have, and within it a raise is no more than warned of


@dataclass(frozen=True, slots=True)
class Counterexample:
    """A run in which a property is broken.

    visits: its stays, in order. step: where it shows, and `shows` says how. rows: observations that bring it about,
    found by trying; None where they were not looked for, or (`sought`) none were found.
    """

    visits: tuple[Visit, ...]
    step: int
    shows: str
    rows: tuple[Row, ...] | None = None
    sought: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that `check` has to say.

    code: a word that stays the same; property: one of sense.PROPERTIES; path: of what is at fault in the file, `at_key`
    of its key and not its value; place: the same in the text, filled in by whoever has it.
    """

    code: str
    property: str
    severity: Severity
    path: tuple[Key, ...]
    sentence: str
    suggestion: str = ""
    counterexample: Counterexample | None = None
    at_key: bool = False
    place: Place | None = None

    def __str__(self) -> str:
        where = f"{self.place}: " if self.place else ""
        text = f"{where}{self.severity}: {self.sentence}. {self.suggestion}".rstrip() + f" [{self.code}]"
        return text + (f"\n{self.place.shown()}" if self.place else "")

    def weaker(self, severity: Severity, why: str) -> Finding:
        """The same finding with less weight, and the reason for it."""
        return replace(self, severity=severity, sentence=f"{self.sentence} ({why})")


class Entry(NamedTuple):
    """When a state can be entered: the earliest and the latest first step, None where it never is or has no latest.

    certain: whether every loss stream leads into it.
    """

    state: str
    earliest: int | None
    latest: int | None
    certain: bool


class RaiseRates(NamedTuple):
    """A raise, and the lowest and highest share of the peak on the last step before it and the first one after it."""

    transition: BoundTransition
    knobs: dict[str, tuple[object, object]]
    before: tuple[float, float]
    after: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Report:
    """All that was found about a machine.

    exact: whether every configuration was told apart; where not, errors rest on runs that happened all the same.
    resumed: how often a run was killed and resumed.
    """

    machine: Machine
    findings: tuple[Finding, ...]
    entries: tuple[Entry, ...]
    raises: tuple[RaiseRates, ...]
    exact: bool
    resumed: int

    def failed(self, strict: bool = False) -> bool:
        """Whether a property is broken; strict: warnings count as well."""
        counting = ("error", "warning") if strict else ("error",)
        return any(finding.severity in counting for finding in self.findings)


def visits_of(machine: Machine, trail: Sequence[tuple[int, int]], until: int) -> tuple[Visit, ...]:
    """The stays of a run that takes transitions (place, step) one after the other, and goes on up to a step."""
    state: BoundState = machine.states[0]
    entered, visits = 0, []
    for place, step in trail:
        visits.append(Visit(state, entered, step, place))
        state, entered = machine.by_name[state.transitions[place].target], step
    if until > entered:
        visits.append(Visit(state, entered, until, None))
    return tuple(visits)


def percent(share: float) -> str:
    """A share as people read it."""
    return f"{100 * share:.3g} %"
