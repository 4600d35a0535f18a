"""What a verification finds: findings with a property, a place, a sentence, a suggestion and a counterexample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from controller.binding import BoundState, BoundTransition, Machine
from controller.codes import Code
from controller.errors import Key, Place
from controller.streams import Row, Visit

Severity = Literal["error", "warning", "note", "waived"]


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
    """When a state can be entered: the earliest and the latest first step, None where it never is or has no latest."""

    state: str
    earliest: int | None
    latest: int | None


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


# What `plateau explain` says of each code.
FINDINGS = {
    "unused-guard": Code(
        "a guard that no transition asks for",
        "What is declared was meant for something; a guard that nothing uses is usually a transition that lost it.",
        "Name it in a transition's guards, or remove it.",
    ),
    "unused-rung": Code(
        "a value of a ladder that no state sets",
        "A rung that is skipped may be meant, or a state may be missing.",
        "Add a state for it, or take it off the ladder.",
    ),
    "odd-metric": Code(
        "a metric whose name is almost that of another",
        "Metrics are what the trainer gives to observe; a guard on one that never comes stays unknown for ever.",
        "Use the other spelling, unless the trainer really logs both.",
    ),
    "unreachable": Code(
        "a state that no loss stream leads to",
        "No transition into it can be taken from where the run can be, so nothing that it says has any effect.",
        "Correct the transitions that lead to it, or remove it.",
    ),
    "early-end": Code(
        "a state that nothing leaves, although others are written after it",
        "Whoever gets there stays for the rest of the run. That may be meant; often a transition is missing.",
        "Add a transition out of it, or say so with stop = \"reason\".",
    ),
    "dead-end": Code(
        "a state with transitions out of it of which none can ever be taken",
        "Its guards can never be true together, however long the run is.",
        "Correct the guards.",
    ),
    "too-late": Code(
        "a state that cannot be left before the run ends",
        "Not even a loss that is flat from the first step on could bring the run out of it in time: a window, a time "
        "or an epoch that is asked for lies past the end.",
        "Shorten what is asked for, or make the run longer.",
    ),
    "never-final": Code(
        "no loss stream leads to a final state",
        "A final state is one that stops the training, or that nothing but a retreat leaves. The run ends before.",
        "Let some transition lead on to the last state in time.",
    ),
    "may-stay": Code(
        "a loss stream that keeps the run from its final state",
        "Where a metric alone decides, some losses hold a state for ever: a loss that keeps improving is no plateau.",
        'Add a transition with a timeout, guards = [{ dwell = "0.3 run" }], or accept that such a run stays.',
    ),
    "knob-falls": Code(
        "a knob falls on a transition that is not marked",
        "A knob only rises, so that a run never goes back to easier data unnoticed.",
        "Exchange the states, or write regress = true if this is a retreat.",
    ),
    "unbounded-cycle": Code(
        "states that can be gone round without end",
        "Each way back costs what was learned under other knobs; without a bound, a bad loss can use up a run with it.",
        "Write at_most on the transition that leads back.",
    ),
    "idle-regress": Code(
        "regress = true where no knob falls", "It marks a retreat, and this is none.", "Remove the key."
    ),
    "misaligned": Code(
        "a knob rises while the learning rate is low",
        "New, harder data needs a high rate: raised into a decayed one, training stalls.",
        'Write actions = ["lr_restart"] on the transition, or let the rate\'s cycles end where the knob rises.',
    ),
    "rate-falls": Code(
        "the learning rate falls too soon after a raise",
        "The rate is high when the knob rises, and then leaves no time to learn at it.",
        "Choose a longer length or cycle, or set [check] align to what you mean.",
    ),
    "never-true": Code(
        "a guard that can never be true",
        "No loss stream and no time within the run makes it so; the transition does nothing.",
        "Correct the guard, or remove the transition.",
    ),
    "always-true": Code(
        "a guard that is always true when it is looked at",
        "It says nothing; often another number was meant.",
        "Correct it, or leave it out.",
    ),
    "shadowed": Code(
        "a transition that an earlier one always beats to it",
        "The first transition in the file whose guards are true is taken, and an earlier one always is.",
        "Write the narrower transition first.",
    ),
    "sustain-too-long": Code(
        "a transition whose guards cannot hold for so many looks in a row",
        "Before that, the state is left or the run is over.",
        "Choose a smaller sustain.",
    ),
    "never-looked-at": Code(
        "a transition that is never looked at",
        "Its state is always left before such a look comes, or the run ends before.",
        'Choose another `at`, or correct the other transitions.',
    ),
    "never-taken": Code(
        "a transition that is never taken",
        "Its guards can be true, but the state is always left by another way at the latest when they are.",
        "Correct the times that are asked for.",
    ),
    "little-left": Code(
        "little is left of the run for the last state",
        "The last state is what the model is trained for; entered at the earliest, it has hardly any steps.",
        "Let the states before it end earlier.",
    ),
    "resume-differs": Code(
        "a run that is killed and resumed goes another way",
        "A resumed run must plan the same steps as one that was never killed. This is a mistake of ours.",
        "Please report it, with the file.",
    ),
    "idle-waiver": Code(
        "a property is waived that holds", "The reason no longer applies.", "Remove it from [check] waive."
    ),
    "merged-states": Code(
        "states that are equal within the trainer's limits",
        "Clamped to the limit, they have the same knobs; so that no transition raises nothing, they become one.",
        "Nothing, if the limit is right.",
    ),
    "noise": Code(
        "a window too short for the noise of a log",
        "A plateau of that window is mostly chance: the detector answers the noise, not the loss.",
        "Use a longer window, or method = \"trend\".",
    ),
}  # fmt: skip
