"""What losses cannot change any more, and when they first can: one stay in a state, looked at from where it stands.

Clocks are exact. A detector says what it says, and is free of what it has seen as soon as enough values could have
come (`Detector.soonest`). Guards that ask the same detector are decided together.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from itertools import product
from math import inf
from typing import NamedTuple

from plateau_rule.controller.guards import (
    FALSE,
    TRUE,
    UNKNOWN,
    Clock,
    Detector,
    GuardInState,
    Joined,
    Opposite,
    Reached,
    Watched,
    answers_nonfinite,
    leaves,
)
from plateau_rule.controller.guards.kleene import join_sets, negate_set
from plateau_rule.controller.machine import BoundState, BoundTransition, Machine, Stay
from plateau_rule.controller.state import Due, RunState

FAR = 2**62  # steps; later than any run ends
MOST_ASSIGNMENTS = 729  # of verdicts to the detectors of a state; beyond, each guard is taken for itself
Verdicts = dict[int, int]  # sets of verdicts as bits, by the id of a detector


def first_certain(machine: Machine, run: RunState) -> Due | None:
    """The next look of a stay at which clocks alone take a transition, whatever the losses are; None where none is."""
    entered, per_epoch = run.step - run.time, machine.steps_per_epoch
    ways = [
        (place, way, guard)
        for (place, way), guard in zip(enumerate(run.state.transitions), run.stay.guards, strict=True)
        if way.at == "step" or (way.at == "epoch" and per_epoch is not None)
        if is_left(run, way)
    ]
    turns = {run.time + 1}
    for _, _, guard in ways:
        turns.update(time_of(*turn, entered, per_epoch) for turn in guard.turns())
    row = list(run.sustained)  # looks in a row
    hands = Hands(machine, run)
    for time in times_that_tell([way for _, way, _ in ways], turns, entered, FAR, per_epoch):
        if time <= run.time:
            continue
        clock = hands.at(time)
        for place, way, guard in ways:
            if way.at == "epoch" and clock.step % (per_epoch or 1):
                continue
            row[place] = row[place] + 1 if verdicts(guard, clock, machine, None) == TRUE else 0
            if row[place] >= way.sustain:
                return Due(time, place)
    return None


def is_clockwork(machine: Machine, state: BoundState, stay: Stay) -> bool:
    """Whether nothing but clocks leads out of a state, but for what applies at once."""
    for way, guard in zip(state.transitions, stay.guards, strict=True):
        if way.at_once:
            continue
        if way.at == "eval" or (way.at == "epoch" and machine.steps_per_epoch is None):
            return False
        if not all(isinstance(leaf, Reached) and _is_exact(leaf, machine) for leaf in leaves(guard)):
            return False
    return True


def is_left(run: RunState, way: BoundTransition) -> bool:
    """Whether a transition may be taken once more."""
    return way.at_most is None or run.taken.get(way.key, 0) < way.at_most


def _is_exact(guard: Reached, machine: Machine) -> bool:
    """Whether nothing that is observed moves a clock but time."""
    return guard.hand in ("step", "time") or (guard.hand == "epoch" and machine.steps_per_epoch is not None)


class Look(Clock):
    """The clock at another look of a stay, `ahead` observations from now; of epochs, those that are surely closed."""

    __slots__ = ("ahead",)
    ahead: int


class Hands:
    """The clock of a stay at other looks."""

    def __init__(self, machine: Machine, run: RunState) -> None:
        self._run, self._per_epoch, self._clock = run, machine.steps_per_epoch, Look()

    def at(self, time: int) -> Look:
        """The clock after so many observations in the state; the next call changes it."""
        run, clock = self._run, self._clock
        clock.time, clock.step, clock.ahead = time, run.step - run.time + time, time - run.time
        clock.epoch = run.epoch if self._per_epoch is None else clock.step // self._per_epoch
        clock.closings, clock.nonfinite = run.closings, run.nonfinite
        return clock


def verdicts(guard: GuardInState, clock: Look, machine: Machine, watched: Verdicts | None) -> int:
    """Which verdicts a guard can have at a look, as bits; parts are taken as independent.

    Args:
        guard: of the present stay.
        clock: as it stands at the look.
        machine: the bound curriculum.
        watched: which verdicts each detector can have; where it is None, anything watched can have any, and values in
            a row that are not finite can be any number.
    """
    if isinstance(guard, Joined):
        return join_sets(guard.decisive, [verdicts(part, clock, machine, watched) for part in guard.parts])
    if isinstance(guard, Opposite):
        return negate_set(verdicts(guard.part, clock, machine, watched))
    if isinstance(guard, Watched):
        return TRUE | FALSE | UNKNOWN if watched is None else watched[id(guard.detector)]
    if not isinstance(guard, Reached):
        # A new kind of guard must say here what makes it certain: silence would be a wrong horizon.
        raise NotImplementedError(type(guard).__name__)
    if guard.is_count and watched is None:
        return guard.possible(clock, clock.time)
    if guard.verdict(clock):
        return TRUE
    by_hand = not guard.is_count and not _is_exact(guard, machine)
    # An epoch that the trainer closes may have ended with each step.
    return TRUE | FALSE if by_hand and getattr(clock, guard.hand) + clock.ahead >= guard.need else FALSE


# The looks at which something can be different


def time_of(hand: str, need: int, entered: int, per_epoch: int | None) -> int:
    """The time in a state at which a clock can first show a number, or 1 where it did from the start."""
    if hand == "step":
        need -= entered
    elif hand == "epoch":
        need = need * (per_epoch or 1) - entered
    return max(1, need)


def times_that_tell(
    ways: list[BoundTransition], turns: Collection[int], entered: int, last: int, per_epoch: int | None
) -> list[int]:
    """The looks that can end a row of looks: as many as `sustain` asks for, after what is possible has turned."""
    times: set[int] = set()
    for way in ways:
        apart = per_epoch if way.at == "epoch" and per_epoch else 1
        for turn in turns:
            first = turn + -(entered + turn) % apart
            times.update(range(first, min(first + way.sustain * apart, last + 1), apart))
    return sorted(times)


# What losses can bring


class Opening(NamedTuple):
    """The first look of a stay at which some losses bring a transition."""

    time: int
    place: int


class Openings:
    """When losses can first bring each transition out of the state that a run is in.

    Args:
        machine: the bound curriculum.
        run: the state of the run.
    """

    def __init__(self, machine: Machine, run: RunState) -> None:
        self._machine, self._run = machine, run
        self._hands, self._per_epoch = Hands(machine, run), machine.steps_per_epoch
        self._limit, self._lag = machine.nonfinite_limit, machine.lag
        asked = {id(leaf.detector) for g in run.stay.guards for leaf in leaves(g) if isinstance(leaf, Watched)}
        self._detectors: list[tuple[bool, Detector]] = [
            (metric == "loss", detector) for metric, detector in run.stay.detectors.values() if id(detector) in asked
        ]
        self._counts = sorted(
            {
                leaf.need
                for guard in run.stay.guards
                for leaf in leaves(guard)
                if isinstance(leaf, Reached) and leaf.is_count
            }
        )

    def first(self, places: Iterable[int], last: int, since: int = 0) -> Iterator[Opening]:
        """The first chance of each of these transitions, in the order of the looks.

        Args:
            places: their places; no others are looked at.
            last: the time of the last look.
            since: the time after which a chance counts.
        """
        run = self._run
        ways = {place: run.state.transitions[place] for place in places if is_left(run, run.state.transitions[place])}
        row = {place: run.sustained[place] for place in ways}
        entered, missing = run.step - run.time, set(ways)
        for time in times_that_tell(list(ways.values()), self._turns(ways), entered, last, self._per_epoch):
            if time <= run.time or not missing:
                continue
            can = self._can(time, ways)
            for place in sorted(missing):
                way = ways[place]
                if not self._may_look(way, entered + time):
                    continue
                seldom = way.at == "eval" or (way.at == "epoch" and self._per_epoch is None)
                row[place] = row[place] + 1 if place in can else row[place] if seldom else 0
                if place in can and row[place] >= way.sustain and time > since:
                    missing.remove(place)
                    yield Opening(time, place)

    def _may_look(self, way: BoundTransition, step: int) -> bool:
        return way.at != "epoch" or self._per_epoch is None or step % self._per_epoch == 0

    def _turns(self, ways: Collection[int]) -> set[int]:
        run = self._run
        turns, entered = {run.time + 1}, run.step - run.time
        for place in ways:
            for leaf in leaves(run.stay.guards[place]):
                if isinstance(leaf, Reached) and not leaf.is_count:
                    epochs = leaf.hand in ("epoch", "closings") and self._per_epoch is None
                    need = leaf.need - getattr(run, leaf.hand) + run.time if epochs else 0
                    turns.add(max(1, need) if epochs else time_of(leaf.hand, leaf.need, entered, self._per_epoch))
        first = max(run.time, self._lag)
        counts = [0, *self._counts, *({self._limit} if self._counts else ())]
        turns |= {first + count for count in counts} | {first + count + 1 for count in counts}
        turns |= {first + count - run.nonfinite for count in counts if count > run.nonfinite}
        for on_loss, detector in self._detectors:
            for values in detector.soonest():
                if 0 < values < inf:
                    turns |= {first + count + int(values) for count in counts} if on_loss else {run.time + int(values)}
        return turns

    def _can(self, time: int, ways: Collection[int]) -> set[int]:
        """The transitions that some losses bring at a look, if their looks in a row are enough."""
        clock, found = self._hands.at(time), set[int]()
        closes = self._per_epoch is not None and clock.step % self._per_epoch == 0
        for level, values in self._levels(time):
            clock.nonfinite = level
            for watched in self._assignments(time, values):
                self._brought(clock, watched, closes, ways, found)
        return found

    def _brought(self, clock: Look, watched: Verdicts, closes: bool, ways: Collection[int], found: set[int]) -> None:
        """Add the transitions that are taken under some verdicts of the detectors."""
        run, dead = self._run, clock.nonfinite >= self._limit
        # Kinds of looks at which an earlier transition is taken in any case; "before" an evaluation, which comes later.
        always = set[str]()
        for place, (way, guard) in enumerate(zip(run.state.transitions, run.stay.guards, strict=True)):
            # What waits does not save a run that dies.
            if not is_left(run, way) or (dead and (way.lead or not answers_nonfinite(guard))):
                continue
            before = "step" if way.at == "eval" else "before"
            if not always.isdisjoint(("step", before, way.at, "epoch" if closes else way.at)):
                continue
            bits = verdicts(guard, clock, self._machine, watched)
            if bits & TRUE and place in ways:
                found.add(place)
            if bits == TRUE and way.sustain == 1 and place in ways:
                always.add("before" if way.at != "eval" and self._waits_for_evaluations(guard) else way.at)

    def _waits_for_evaluations(self, guard: GuardInState) -> bool:
        """Whether a guard watches what an evaluation brings, which it then sees at the look after."""
        metrics = {id(detector): metric for metric, detector in self._run.stay.detectors.values()}
        watched = (leaf for leaf in leaves(guard) if isinstance(leaf, Watched))
        return any(metrics[id(leaf.detector)] in self._machine.evaluated for leaf in watched)

    def _levels(self, time: int) -> Iterator[tuple[int, int]]:
        """How many values in a row can be non-finite at a look, where it matters; with how many others before them."""
        before = max(0, self._run.time - self._lag)
        fresh = max(0, time - self._lag) - before  # observations of this state's losses until then
        chain = self._run.nonfinite + fresh
        if not fresh:
            yield chain, 0
            return
        yield 0, fresh
        for count in {*self._counts, self._limit, chain} if self._counts else ():
            if count > self._limit and count != chain:
                continue
            if 0 < count < fresh or (count == fresh and not self._run.nonfinite):
                yield count, fresh - count
            elif count == chain:
                yield count, 0

    def _assignments(self, time: int, values: int) -> Iterator[Verdicts]:
        """What the detectors can say at a look by which the loss brought so many more values, or fewer."""
        sets = []
        for on_loss, detector in self._detectors:
            most = values if on_loss else time - self._run.time
            bits = zip((TRUE, FALSE, UNKNOWN), detector.soonest(), strict=True)
            sets.append([bit for bit, needed in bits if needed <= most])
        names, size = [id(detector) for _, detector in self._detectors], 1
        for some in sets:
            size *= len(some)
        if size > MOST_ASSIGNMENTS:
            yield {name: sum(some) for name, some in zip(names, sets, strict=True)}
            return
        for chosen in product(*sets):
            yield dict(zip(names, chosen, strict=True))
