"""One stay in a state, seen from the moment it was entered: when each transition can be taken, and when one must be."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from plateau_rule.controller.guards import TRUE
from plateau_rule.controller.verifier.outcome import Looks
from plateau_rule.controller.verifier.zones import FAR, Arc, moved

MOST_ORDERS = 400  # of the moments that matter in one stay; beyond, only the earliest ones are looked at


class Bound(NamedTuple):
    """A step: this many after the first one of the stay, or a step of the run."""

    relative: bool
    steps: int

    def later(self, steps: int) -> Bound:
        """The bound this many steps later."""
        return Bound(self.relative, self.steps + steps)


@dataclass(frozen=True, slots=True)
class Chance:
    """A stretch of looks at which a transition can be taken: from all of `start` on, before all of `end`."""

    place: int
    start: tuple[Bound, ...]
    end: tuple[Bound, ...]
    arc: Arc | None  # where in an epoch these looks lie


@dataclass(frozen=True, slots=True)
class Deadline:
    """A look at which a transition out of the state is taken whatever the losses are.

    Attributes:
        start: where its guards begin to hold for good.
        looks: the number of looks that it takes.
        at_epochs: whether only looks that close an epoch count.
        place: the place of the transition; None where several share the deadline.
    """

    start: Bound
    looks: int
    at_epochs: bool
    place: int | None

    def bound(self, per_epoch: int, first: int, last: int, arc: Arc | None) -> tuple[Bound, bool]:
        """The last step at which a stay can end that was entered between two steps, and whether it is exact."""
        if not self.at_epochs:
            return self.start.later(self.looks - 1), True
        waited = (self.looks - 1) * per_epoch
        if not self.start.relative:
            return self.start.later(-self.start.steps % per_epoch + waited), True
        if arc is not None and arc[1] == 0:
            return self.start.later(-(arc[0] + self.start.steps) % per_epoch + waited), True
        closing = -(-(first + self.start.steps) // per_epoch) * per_epoch
        if last + self.start.steps <= closing:
            return Bound(False, closing + waited), True
        return self.start.later(waited + per_epoch - 1), False


@dataclass(slots=True)
class Stretch:
    """Looks from all bounds of `starts` on, before all of `ends`, where no clock passes a number that matters."""

    starts: tuple[Bound, ...]
    ends: tuple[Bound, ...]
    times: int  # how many of the state's thresholds in time are passed
    steps: int

    @property
    def start(self) -> Bound:
        """Where it starts, if there is one bound."""
        return self.starts[0]


@dataclass(slots=True)
class Course:
    """What can happen in a stay, for every entry between two steps."""

    first: int
    last: int
    stretches: list[Stretch] = field(default_factory=list)
    chances: list[Chance] = field(default_factory=list)
    deadlines: list[Deadline] = field(default_factory=list)


class Courses:
    """All courses of the stays in one state; `rough`: without telling apart in which order clocks become due."""

    def __init__(self, looks: Looks, rough: bool = False) -> None:
        self.looks = looks
        self.per_epoch = looks.per_epoch or 1
        cuts = {step - time for step in looks.steps for time in (1, *looks.times)}
        self.cuts = sorted(cut for cut in cuts if cut >= 0)
        self.rough = rough or len(self.cuts) > MOST_ORDERS
        if self.rough:
            self.cuts = []
        self._courses: dict[tuple[int, int], Course] = {}
        # What was decided at a look applies so much later at the most; up to then the state is not left.
        self.wait = max((transition.lead for transition in looks.transitions), default=0)

    def entered(self, low: int, high: int, present: int) -> Iterator[Course]:
        """The courses of those who enter between two steps, with these transitions not used up."""
        place = bisect_left(self.cuts, low)
        first = low
        while first <= high:
            exact = place < len(self.cuts) and self.cuts[place] == first
            last = first if exact else self.cuts[place] - 1 if place < len(self.cuts) else FAR
            key = (2 * place + exact, present)
            if key not in self._courses:
                self._courses[key] = self._course(first, 2 * place + exact, present)
            yield self._courses[key]
            place, first = place + exact, last + 1

    def _course(self, entry: int, index: int, present: int) -> Course:
        place, exact = divmod(index, 2)
        first = self.cuts[place] if exact else self.cuts[place - 1] + 1 if place else 0
        last = first if exact else self.cuts[place] - 1 if place < len(self.cuts) else FAR
        course = Course(first, last)
        if self.rough:
            self._roughly(course, present)
            course.chances = [*self._later(course)]
            return course
        course.stretches = self._stretches(entry)
        for j in range(len(self.looks.transitions)):
            if present >> j & 1 and not self._overtaken(course.stretches, j, present):
                course.chances += self._chances(course.stretches, j, present)
        course.chances = [*self._later(course)]
        course.deadlines = self._deadlines(course, present)
        return course

    def _later(self, course: Course) -> Iterator[Chance]:
        """The same chances, those of a transition with a lead by the steps that it can apply from, not by its looks."""
        for chance in course.chances:
            lead, looks = self.looks.transitions[chance.place].lead, self.looks
            if not lead:
                yield chance
                continue
            node, end = looks.nodes[chance.place], tuple(bound.later(lead) for bound in chance.end)
            if any(looks.verdicts(node, stretch.times, stretch.steps) == TRUE for stretch in course.stretches):
                yield Chance(chance.place, chance.start, end, None)  # clocks may have decided it before its look
            else:
                start = tuple(bound.later(lead) for bound in chance.start)
                yield Chance(chance.place, start, end, moved(chance.arc, lead, lead, self.per_epoch))

    def _roughly(self, course: Course, present: int) -> None:
        """Each transition wherever any order of the clocks allows it, sustained or not, and no deadline."""
        looks = self.looks
        times = [Bound(True, time) for time in (1, *looks.times)]
        steps = [Bound(False, step) for step in (0, *looks.steps)]
        course.stretches = [
            Stretch((times[t], steps[s]), (*times[t + 1 : t + 2], *steps[s + 1 : s + 2]), t, s)
            for s in range(len(steps))
            for t in range(len(times))
        ]
        for j, transition in enumerate(looks.transitions):
            last: Chance | None = None
            for stretch in course.stretches if present >> j & 1 else ():
                can = self._can(stretch, j, present)
                if not any(can):
                    last = None
                    continue
                chance = Chance(j, (*stretch.starts, Bound(True, transition.sustain)), stretch.ends, self._arc(j, *can))
                if last is not None and stretch.times and last.arc == chance.arc:  # goes on with the next time
                    course.chances.pop()
                    chance = Chance(j, last.start, chance.end, chance.arc)
                course.chances.append(chance)
                last = chance

    def _stretches(self, entry: int) -> list[Stretch]:
        looks = self.looks
        passed = {entry + time: Bound(True, time) for time in looks.times}
        passed |= {step: Bound(False, step) for step in looks.steps if step > entry + 1}
        times, steps = 0, sum(step <= entry + 1 for step in looks.steps)
        found = [Stretch((Bound(True, 1),), (), times, steps)]
        for moment in sorted(passed):
            times = bisect_left(looks.times, moment - entry + 1)
            steps = bisect_left(looks.steps, moment + 1)
            found[-1].ends = (passed[moment],)
            found.append(Stretch((passed[moment],), (), times, steps))
        return found

    def _can(self, stretch: Stretch, j: int, present: int) -> tuple[bool, bool]:
        """Whether a transition can be taken at a look that closes no epoch, at one that closes one."""
        facts = self.looks.facts(stretch.times, stretch.steps, present)
        off, on = bool(facts.fires_off >> j & 1), bool(facts.fires_on >> j & 1)
        if self.looks.transitions[j].lead:  # what clocks decide before its time, nothing comes before
            off = on = bool(facts.true >> j & 1)
        if self.looks.per_epoch is None:
            return off, off
        if self.looks.per_epoch == 1:
            return on, on
        return (False, on) if self.looks.transitions[j].at == "epoch" else (off, on)

    def _arc(self, j: int, off: bool, on: bool) -> Arc | None:
        if (off and on and self.looks.transitions[j].at != "epoch") or self.per_epoch == 1:
            return None
        return (0, 0) if on else (1, self.per_epoch - 2)

    def _overtaken(self, stretches: list[Stretch], j: int, present: int) -> bool:
        """Whether another transition is sustained whenever this one is, and taken before it."""
        mine, common = self.looks.transitions[j], present & ~self.looks.soft
        if mine.sustain == 1 or mine.lead:
            return False
        for stretch in stretches:
            facts = self.looks.facts(stretch.times, stretch.steps, present)
            if facts.true >> j & 1:
                common &= facts.implies[j]
        return any(
            common >> i & 1 and i != j and other.at == mine.at and other.sustain + (i > j) <= mine.sustain
            for i, other in enumerate(self.looks.transitions)
        )

    def _chances(self, stretches: list[Stretch], j: int, present: int) -> Iterator[Chance]:
        """The looks at which a transition can be taken, in runs of stretches that are alike."""
        sustain = self.looks.transitions[j].sustain
        seldom = self._seldom(j)
        rhythm = self.per_epoch if self.looks.transitions[j].at == "epoch" else 1
        held: Bound | None = None  # where the guards can have begun to hold, so that they do up to here
        open_: Chance | None = None
        for stretch in stretches:
            facts = self.looks.facts(stretch.times, stretch.steps, present)
            held_on = facts.true if self.looks.transitions[j].lead else facts.goes
            goes = sustain == 1 or bool(held_on >> j & 1)
            off, on = self._can(stretch, j, present)
            since = held or (stretch.start if goes else None)
            chance = None
            if (off or on) and since is not None:
                ends = () if goes or seldom else (stretch.start.later(rhythm),)
                start = (stretch.start, since.later((sustain - 1) * rhythm))
                chance = Chance(j, start, ends, self._arc(j, off, on))
            if open_ is not None and (chance is None or open_.end or not _continues(open_, chance)):
                yield Chance(j, open_.start, (*open_.end, stretch.start), open_.arc)
                open_ = None
            open_ = open_ or chance
            held = since if goes or seldom else None
        if open_ is not None:
            yield open_

    def _seldom(self, j: int) -> bool:
        """Whether the trainer decides when a transition is looked at, so that looks can be left out."""
        at = self.looks.transitions[j].at
        return at == "eval" or (at == "epoch" and self.looks.per_epoch is None)

    def _deadlines(self, course: Course, present: int) -> list[Deadline]:
        looks, stretches = self.looks, course.stretches
        facts = [looks.facts(stretch.times, stretch.steps, present) for stretch in stretches]
        found: list[Deadline] = []
        if looks.per_epoch != 1:
            found += self._held(course, [not fact.stays_off for fact in facts], 1, False, None)
        if looks.per_epoch is not None:
            found += self._held(course, [not fact.stays_on for fact in facts], 1, True, None)
        for j, transition in enumerate(looks.transitions):
            if transition.sustain == 1 or self._seldom(j):
                continue
            at_epochs = transition.at == "epoch"
            held = [bool(fact.always >> j & 1) for fact in facts]
            found += self._held(course, held, transition.sustain, at_epochs, j)
        return found

    def _held(
        self, course: Course, held: list[bool], looks: int, at_epochs: bool, place: int | None
    ) -> Iterator[Deadline]:
        """A deadline for each run of stretches that is long enough for this many looks."""
        start: Bound | None = None
        for stretch, holds in zip(course.stretches, held, strict=True):
            if holds and start is None:
                start = stretch.start
            elif not holds and start is not None:
                if self.fits(course, start, stretch.start, looks, at_epochs):
                    yield Deadline(start, looks, at_epochs, place)
                start = None
        if start is not None:
            yield Deadline(start, looks, at_epochs, place)

    def fits(self, course: Course, start: Bound, end: Bound, looks: int, at_epochs: bool) -> bool:
        """Whether this many looks surely lie between two bounds."""
        room = end.steps - start.steps
        if start.relative != end.relative:
            room += course.first if end.relative else -course.last
        if not at_epochs:
            return room >= looks or looks == 1
        wait = self.per_epoch - 1 if start.relative else -start.steps % self.per_epoch
        return room > wait + (looks - 1) * self.per_epoch or (looks == 1 and self.per_epoch == 1)


def _continues(chance: Chance, later: Chance) -> bool:
    """Whether a stretch of looks allows the same as the one before it."""
    return (chance.arc, chance.start[1], ()) == (later.arc, later.start[1], later.end)
