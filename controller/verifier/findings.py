"""What a verification finds: findings with a property, a place, a sentence, a suggestion and a counterexample."""

from __future__ import annotations

import builtins
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

from plateau_rule.controller.errors import Key, Place, spelled
from plateau_rule.controller.machine import BoundState, BoundTransition, Machine
from plateau_rule.controller.verifier.witness import Played, Row, Visit, rows_of

Severity = Literal["error", "undecided", "warning", "note", "waived"]
Answer = Literal["proved", "broken", "not decided", "conditional", "tested", "warned", "not asked", "table"]
ORDER: dict[Severity, int] = {"error": 0, "undecided": 1, "warning": 2, "waived": 3, "note": 4}
LITTLE = 0.05  # of the run: as much as a last state should have


@dataclass(frozen=True, slots=True)
class Counterexample:
    """A run in which a property is broken.

    Attributes:
        visits: its stays, in order.
        step: where it shows.
        shows: how it shows.
        played: observations under which the Controller did it; None where none were found.
    """

    visits: tuple[Visit, ...]
    step: int
    shows: str
    played: tuple[Played, ...] | None = None

    @property
    def happened(self) -> bool:
        """Whether the Controller did it."""
        return self.played is not None

    def rows(self, machine: Machine) -> Iterator[Row]:
        """The observations, by the names of `Controller.observe` and with the plan they belong to."""
        return rows_of(machine, self.played or ())


class Mend(NamedTuple):
    """An edit of one number under which a finding is gone, and no other property is broken.

    Attributes:
        path: of the number in the file.
        old: as it is; None where the file does not say it.
        new: as it would be.
    """

    path: tuple[Key, ...]
    old: int | float | str | None
    new: int | float | str

    def __str__(self) -> str:
        from plateau_rule.controller.language.writing import spell_value

        return f"{spelled(self.path)} = {spell_value(self.new, self.path)}"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that `check` has to say.

    Attributes:
        code: a word that stays the same.
        property: one of consistency.PROPERTIES.
        path: the path in the file of what is at fault.
        at_key: whether its key is at fault and not its value.
        place: the same in the text, filled in by whoever has it.
        mends: the smallest edits of one number that mend it, filled in where they were sought.
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
    was: Severity | None = None  # where it is waived, its severity otherwise
    reason: str | None = None  # why it is waived
    mends: tuple[Mend, ...] | None = None

    @builtins.property
    def unwaived(self) -> Severity:
        """The severity that it has, or would have if it were not waived."""
        return self.was or self.severity

    def __str__(self) -> str:
        where = f"{self.place}: " if self.place else ""
        severity = "not decided" if self.severity == "undecided" else self.severity
        text = f"{where}{severity}: {self.sentence}. {self.suggestion}".rstrip() + f" [{self.code}]"
        return text + (f"\n{self.place.shown()}" if self.place else "")

    def placed(self, place: Place | None) -> Finding:
        """The same finding with its place in the text."""
        return replace(self, place=place)

    def undecided(self, why: str) -> Finding:
        """The same finding as something that may or may not be so, and the reason for it."""
        return replace(self, severity="undecided", sentence=f"{self.sentence} ({why})")


class Entry(NamedTuple):
    """When a state can be entered: the earliest and the latest first step, None where it never is or has no latest.

    Attributes:
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


class Spent(NamedTuple):
    """What a run takes of something.

    Attributes:
        clock: "tokens", "cost", or "FLOP".
        least: at the least, in the units of the file.
        most: at the most; None where nothing bounds it.
    """

    clock: str
    least: float
    most: float | None


class Verdict(NamedTuple):
    """What is known about one property.

    Attributes:
        answer: `proved` for every loss stream; `broken`, by a run of the Controller or for every loss stream; `not
            decided`; `conditional` where a loss that the file means to wait for may keep the run; the others for
            properties that nothing can prove.
        why: what the answer rests on, or what would decide it.
        waived: the file's reason for not asking.
    """

    property: str  # one of consistency.PROPERTIES
    answer: Answer
    why: str = ""
    waived: str | None = None

    @builtins.property
    def stands(self) -> bool:
        """Whether it is asked for."""
        return self.waived is None


@dataclass(frozen=True, slots=True)
class Report:
    """All that was found about a machine.

    Attributes:
        verdicts: one for each property.
        exact: whether every configuration was told apart; where not, errors rest on runs that happened all the same.
        resumed: how often a run was killed and resumed.
        spent: tokens and cost of a run, where the file speaks of them.
        left: by state, the least and the largest share of the run that is left when it is entered, where the run is
            measured in tokens or cost.
    """

    machine: Machine
    findings: tuple[Finding, ...]
    verdicts: tuple[Verdict, ...]
    entries: tuple[Entry, ...]
    raises: tuple[RaiseRates, ...]
    exact: bool
    resumed: int
    spent: tuple[Spent, ...] = ()
    left: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def _repr_html_(self) -> str:
        """What was found, as a notebook shows it."""
        from plateau_rule.controller.notebook.checked import card_of

        return card_of(self)

    def verdict(self, name: str) -> Verdict:
        """The verdict of a property."""
        return next(verdict for verdict in self.verdicts if verdict.property == name)

    def answers(self) -> list[str]:
        """The answers that are not waived."""
        return [verdict.answer for verdict in self.verdicts if verdict.stands]

    @property
    def broken(self) -> bool:
        """Whether a property is broken that the file does not waive."""
        return "broken" in self.answers()

    @property
    def open(self) -> bool:
        """Whether a property is not decided or conditional, or a warning stands."""
        warned = any(finding.severity == "warning" for finding in self.findings)
        return warned or any(answer in ("not decided", "conditional") for answer in self.answers())

    def exit_code(self, strict: bool = False) -> int:
        """The exit status: 0 where nothing is broken, 1 where something is.

        Args:
            strict: 3 where nothing is broken and something is open.
        """
        return 1 if self.broken else 3 if strict and self.open else 0


def visits_of(machine: Machine, trail: Sequence[tuple[int, int]], until: int, over: bool = False) -> tuple[Visit, ...]:
    """The stays of a run that takes transitions one after the other, and goes on up to a step.

    Args:
        machine: the bound curriculum.
        trail: the transitions as (place, step), in order.
        until: the step that the run goes on to.
        over: whether the run is to be over there.
    """
    state: BoundState = machine.states[0]
    entered, visits = 0, []
    for place, step in trail:
        visits.append(Visit(state, entered, step, place))
        state, entered = machine.by_name[state.transitions[place].target], step
    if until > entered:
        visits.append(Visit(state, entered, until, None, over))
    return tuple(visits)


def percent(share: float) -> str:
    """A share as people read it."""
    return f"{100 * share:.3g} %"
