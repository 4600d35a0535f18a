"""Guards as they are asked in one state: three-valued (true, false, None for unknown), built when the state is entered.

`verdict` is what the loss stream says. `possible` is what any loss stream could have made it by now: clocks are exact,
detectors are free as soon as they have seen enough.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Protocol

from plateau_rule.controller.detectors.windows import Detector

TRUE, FALSE, UNKNOWN = 1, 2, 4  # members of a set of verdicts, as bits


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

    def verdict(self, clock: Clock) -> bool | None:
        """What the losses and clocks say."""

    def possible(self, clock: Clock, seen: int) -> int:
        """Which verdicts some loss stream could give by now, as bits; `seen` values have come in this state."""

    def turns(self) -> Iterator[tuple[str, int]]:
        """The hands of the clock, and their numbers, at which what is possible may change; nothing else changes it."""

    def lines(self, clock: Clock, indent: str) -> list[str]:
        """One readable line, and one for each part."""


def spelled(verdict: bool | None) -> str:
    """A verdict as a word."""
    return "unknown" if verdict is None else "true" if verdict else "false"


@dataclass(frozen=True, slots=True)
class Reached:
    """`min_epoch`, `min_step`, `dwell`, `nonfinite`, `ramp_done`: a clock has reached a number."""

    word: str
    hand: str  # which clock
    need: int
    unit: str

    def verdict(self, clock: Clock) -> bool | None:
        """What the clocks say."""
        return bool(getattr(clock, self.hand) >= self.need)

    def possible(self, clock: Clock, seen: int) -> int:
        """Exact, but for the count of non-finite values, which a stream is free to make."""
        if self.hand == "nonfinite":
            return TRUE | FALSE if clock.time >= self.need else FALSE
        return TRUE if self.verdict(clock) else FALSE

    def turns(self) -> Iterator[tuple[str, int]]:
        """Where it is reached; so many non-finite values take as much time."""
        yield "time" if self.hand == "nonfinite" else self.hand, self.need

    def lines(self, clock: Clock, indent: str) -> list[str]:
        """One readable line."""
        now = getattr(clock, self.hand)
        missing = "" if now >= self.need else f", {self.need - now} to go"
        return [f"{indent}{self.word}: {now} of {self.need} {self.unit}{missing} -> {spelled(self.verdict(clock))}"]


@dataclass(frozen=True, slots=True)
class Watched:
    """A guard with a detector behind it."""

    word: str
    detector: Detector

    def verdict(self, clock: Clock) -> bool | None:
        """What the losses say."""
        return self.detector.verdict()

    def possible(self, clock: Clock, seen: int) -> int:
        """Anything, once enough values have come."""
        if seen < self.detector.knows:
            return UNKNOWN
        return FALSE | UNKNOWN | (TRUE if seen >= self.detector.needs else 0)

    def turns(self) -> Iterator[tuple[str, int]]:
        """Where the detector has values enough."""
        yield from (("time", self.detector.knows), ("time", self.detector.needs))

    def lines(self, clock: Clock, indent: str) -> list[str]:
        """One readable line."""
        return [f"{indent}{self.word}: {self.detector.describe()} -> {spelled(self.detector.verdict())}"]


@dataclass(frozen=True, slots=True)
class Opposite:
    """`not`."""

    part: GuardInState
    title: str = "not"

    def verdict(self, clock: Clock) -> bool | None:
        """Kleene's not."""
        verdict = self.part.verdict(clock)
        return None if verdict is None else not verdict

    def possible(self, clock: Clock, seen: int) -> int:
        """True and false change places."""
        bits = self.part.possible(clock, seen)
        return (bits & UNKNOWN) | (TRUE if bits & FALSE else 0) | (FALSE if bits & TRUE else 0)

    def turns(self) -> Iterator[tuple[str, int]]:
        """Those of the part."""
        return self.part.turns()

    def lines(self, clock: Clock, indent: str) -> list[str]:
        """One readable line, and one for the part."""
        return [f"{indent}{self.title} -> {spelled(self.verdict(clock))}", *self.part.lines(clock, indent + "  ")]


@dataclass(frozen=True, slots=True)
class Joined:
    """`any` and `all`, and a transition's list of guards, which is an `all`."""

    word: str
    parts: tuple[GuardInState, ...]
    title: str = ""

    def verdict(self, clock: Clock) -> bool | None:
        """Kleene's or, and."""
        decisive = self.word == "any"
        verdict: bool | None = not decisive
        for part in self.parts:
            found = part.verdict(clock)
            if found is decisive:
                return decisive
            if found is None:
                verdict = None
        return verdict

    def possible(self, clock: Clock, seen: int) -> int:
        """Parts are taken as independent; where they share a detector this says too much, never too little."""
        decisive, other = (TRUE, FALSE) if self.word == "any" else (FALSE, TRUE)
        bits = [part.possible(clock, seen) for part in self.parts]
        found = decisive if any(b & decisive for b in bits) else 0
        if all(b & other for b in bits):
            found |= other
        if any(b & UNKNOWN for b in bits) and all(b & (UNKNOWN | other) for b in bits):
            found |= UNKNOWN
        return found

    def turns(self) -> Iterator[tuple[str, int]]:
        """Those of the parts."""
        return chain.from_iterable(part.turns() for part in self.parts)

    def lines(self, clock: Clock, indent: str) -> list[str]:
        """One readable line, and those of the parts."""
        inner = [line for part in self.parts for line in part.lines(clock, indent + "  ")]
        return [f"{indent}{self.title} -> {spelled(self.verdict(clock))}", *inner]


def answers_nonfinite(guard: GuardInState) -> bool:
    """Whether a guard asks for non-finite values anywhere."""
    if isinstance(guard, Reached):
        return guard.hand == "nonfinite"
    if isinstance(guard, Joined):
        return any(map(answers_nonfinite, guard.parts))
    return isinstance(guard, Opposite) and answers_nonfinite(guard.part)
