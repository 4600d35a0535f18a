"""Guards as they are asked in one state: built when the state is entered, one of four kinds.

A clock has reached a number (`Reached`), a detector watches a metric (`Watched`), or a guard is made of others
(`Joined`, `Opposite`). Whoever looks into guards (the verifier, the batch engine, the replay) tells these kinds apart,
not the words: a new word is one of them, and nobody need learn of it.

`verdict` is what the loss stream says. `possible` is what any loss stream could have made it say by now: clocks are
exact, detectors are free as soon as they have seen enough.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from math import inf
from typing import Protocol

from plateau_rule.controller.guards.detector import Detector
from plateau_rule.controller.guards.kleene import FALSE, TRUE, UNKNOWN, Verdict, join_sets, negate, negate_set
from plateau_rule.controller.guards.reading import CLOCK, DETECTOR, OPEN, Reading


class Clock:
    """What the clocks say after an observation; counts, all of them from 0."""

    __slots__ = ("closings", "epoch", "nonfinite", "step", "time")

    def __init__(self) -> None:
        self.step = 0  # optimizer steps complete in the run
        self.epoch = 0  # epochs complete in the run
        self.time = 0  # observations made in this state
        self.closings = 0  # epochs closed in this state
        self.nonfinite = 0  # NaN or infinite losses in a row, in this state


class GuardInState(Protocol):
    """One guard, bound to one stay in a state."""

    @property
    def title(self) -> str:
        """What to call it: its word, after its name where it has one."""

    @property
    def parts(self) -> tuple[GuardInState, ...]:
        """The guards that it is made of; none of a guard that asks a clock or a detector itself."""

    def verdict(self, clock: Clock) -> Verdict:
        """What the losses and clocks say."""

    def possible(self, clock: Clock, seen: int) -> int:
        """Which verdicts some loss stream could give by now, as a set of bits; `seen` values came in this state."""

    def turns(self) -> Iterator[tuple[str, int]]:
        """The hands of the clock, and their numbers, at which what is possible may change; nothing else changes it."""

    def reading(self, clock: Clock) -> Reading:
        """What it says, as numbers and as words."""

    def distance(self, clock: Clock) -> float:
        """How far it is from being true, in units of its own; infinite where that is not known."""

    def copy(self, copies: Mapping[int, Detector]) -> GuardInState:
        """The same guard over other detectors: the copy of each, by the id of the original."""


@dataclass(frozen=True, slots=True)
class Reached:
    """A clock has reached a number; never unknown."""

    title: str
    hand: str  # which clock
    need: int
    unit: tuple[str, str]  # what it counts, of one and of several: "epoch complete", "epochs complete"

    parts: tuple[GuardInState, ...] = field(default=(), init=False, repr=False)

    @property
    def is_count(self) -> bool:
        """Whether losses move it, not time."""
        return self.hand == "nonfinite"

    def verdict(self, clock: Clock) -> Verdict:
        """What the clocks say."""
        return bool(getattr(clock, self.hand) >= self.need)

    def possible(self, clock: Clock, seen: int) -> int:
        """Exact, except for the count of non-finite values, which a stream is free to make."""
        if self.hand == "nonfinite":
            return TRUE | FALSE if clock.time >= self.need else FALSE
        return TRUE if self.verdict(clock) else FALSE

    def turns(self) -> Iterator[tuple[str, int]]:
        """Where it is reached; as many non-finite values take as much time."""
        yield "time" if self.hand == "nonfinite" else self.hand, self.need

    def reading(self, clock: Clock) -> Reading:
        """Its number, and the one that it has to reach."""
        now, need = getattr(clock, self.hand), self.need
        text = f"{now} {self.unit[now != 1]}, {need} needed"
        unit, holds = self.unit[1], (need, None)
        said = (self.title, CLOCK, now >= need, now, None, None, holds, unit, now, need, "", text, ())
        return tuple.__new__(Reading, said)

    def distance(self, clock: Clock) -> float:
        """How much of the clock's time is missing."""
        return float(max(0, self.need - getattr(clock, self.hand)))

    def copy(self, copies: Mapping[int, Detector]) -> Reached:
        """Itself: it remembers nothing."""
        return self


@dataclass(frozen=True, slots=True)
class Watched:
    """A guard with a detector behind it.

    Attributes:
        in_run: whether the detector sees the values of the whole run, and not of this state alone.
    """

    title: str
    detector: Detector
    in_run: bool = False

    parts: tuple[GuardInState, ...] = field(default=(), init=False, repr=False)

    def verdict(self, clock: Clock) -> Verdict:
        """What the losses say."""
        return self.detector.verdict()

    def possible(self, clock: Clock, seen: int) -> int:
        """Anything, once enough values have come."""
        seen = clock.step if self.in_run else seen
        if seen < self.detector.knows:
            return UNKNOWN
        return FALSE | UNKNOWN | (TRUE if seen >= self.detector.needs else 0)

    def turns(self) -> Iterator[tuple[str, int]]:
        """Where the detector has values enough."""
        hand = "step" if self.in_run else "time"
        yield from ((hand, self.detector.knows), (hand, self.detector.needs))

    def reading(self, clock: Clock) -> Reading:
        """What the detector says."""
        # A named tuple made as the tuple that it is: a call with the fields takes twice as long.
        said = (self.title, DETECTOR, self.detector.verdict(), *self.detector.reading()[3:])
        return tuple.__new__(Reading, said)

    def distance(self, clock: Clock) -> float:
        """What the detector says."""
        return self.detector.distance()

    def copy(self, copies: Mapping[int, Detector]) -> Watched:
        """The same over the copy of its detector."""
        return Watched(self.title, copies[id(self.detector)], self.in_run)


@dataclass(frozen=True, slots=True)
class Opposite:
    """`not`."""

    part: GuardInState
    title: str = ""
    word: str = ""

    @property
    def parts(self) -> tuple[GuardInState, ...]:
        """The one."""
        return (self.part,)

    def verdict(self, clock: Clock) -> Verdict:
        """Kleene's not."""
        return negate(self.part.verdict(clock))

    def possible(self, clock: Clock, seen: int) -> int:
        """True and false change places."""
        return negate_set(self.part.possible(clock, seen))

    def turns(self) -> Iterator[tuple[str, int]]:
        """Those of the part."""
        return self.part.turns()

    def reading(self, clock: Clock) -> Reading:
        """The part's, below its own."""
        part = self.part.reading(clock)
        return _of_parts(self.title, self.word, negate(part.verdict), (part,))

    def distance(self, clock: Clock) -> float:
        """Not known."""
        return inf

    def copy(self, copies: Mapping[int, Detector]) -> Opposite:
        """The same over a copy of the part."""
        return Opposite(self.part.copy(copies), self.title, self.word)


@dataclass(frozen=True, slots=True)
class Joined:
    """`any` and `all`, and a transition's list of guards, which is an `all`.

    Attributes:
        decisive: the verdict of a part that decides the whole, True for `any` and False for `all`.
    """

    decisive: bool
    parts: tuple[GuardInState, ...]
    title: str = ""
    word: str = ""

    def verdict(self, clock: Clock) -> Verdict:
        """Kleene's or, and: `kleene.join`, spelled out, for a generator costs as much as all the rest of a step."""
        decisive = self.decisive
        joined: Verdict = not decisive
        for part in self.parts:
            verdict = part.verdict(clock)
            if verdict is decisive:
                return decisive
            if verdict is None:
                joined = None
        return joined

    def possible(self, clock: Clock, seen: int) -> int:
        """Parts are taken as independent; where they share a detector this says too much, never too little."""
        return join_sets(self.decisive, [part.possible(clock, seen) for part in self.parts])

    def turns(self) -> Iterator[tuple[str, int]]:
        """Those of the parts."""
        return chain.from_iterable(part.turns() for part in self.parts)

    def reading(self, clock: Clock) -> Reading:
        """Those of the parts, below its own."""
        parts = tuple(part.reading(clock) for part in self.parts)
        return _of_parts(self.title, self.word, self.verdict(clock), parts)

    def distance(self, clock: Clock) -> float:
        """Not known."""
        return inf

    def copy(self, copies: Mapping[int, Detector]) -> Joined:
        """The same over copies of the parts."""
        return Joined(self.decisive, tuple(part.copy(copies) for part in self.parts), self.title, self.word)


def _of_parts(title: str, word: str, verdict: Verdict, parts: tuple[Reading, ...]) -> Reading:
    return Reading(title, word, verdict, None, None, None, OPEN, "", 0, 0, "", "", parts)


def leaves(guard: GuardInState) -> Iterator[GuardInState]:
    """The guards inside a guard that are not made of others, in the order of the file; itself if it is one."""
    if not isinstance(guard, Joined | Opposite):
        yield guard
    for part in guard.parts:
        yield from leaves(part)


def answers_nonfinite(guard: GuardInState) -> bool:
    """Whether a guard asks for non-finite values anywhere."""
    return any(isinstance(leaf, Reached) and leaf.hand == "nonfinite" for leaf in leaves(guard))
