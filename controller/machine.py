"""What a curriculum has become once it is bound: every name resolved, every value a number, ready to be run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil
from typing import Any, NamedTuple

from plateau_rule.controller.frozen import FrozenDict
from plateau_rule.controller.guards import Detector, GuardInState, Joined
from plateau_rule.controller.guards.word import Feed, MetricWord
from plateau_rule.controller.language.amounts import Amount, RunLength, parse_amount, steps_in
from plateau_rule.controller.language.curriculum import Curriculum, Guard, Rung, word_of
from plateau_rule.controller.language.ladders import SIGNS, number_of, ranks_of
from plateau_rule.controller.language.metrics import asked, evaluated, every, guarded, metric_meaning, metric_of
from plateau_rule.controller.meters import CountedRamp, KnobClock, tally_of
from plateau_rule.controller.ramps import BoundRamp, MeasuredRamp
from plateau_rule.controller.tally import StayTally

Knobs = Mapping[str, Any]  # numbers, `full`, names, lists and tables of numbers: whoever asks knows the knob's kind
Limits = Mapping[str, float | None]  # a trainer's largest values of its knobs; None where a knob has none
Lead = Mapping[str, int]  # steps, of each knob that has a lead
HELD_STEPS = 50  # for which the rate is to stay high after a raise, where the file does not say
HELD_SHARE = Fraction(1, 20)  # of the run, the same in a run so short that 50 steps are more than that
LATE_SHARE = 0.05  # of the run, in whose last part `rest` alone makes the rate fall: that is no fault of the file
LATE_STEPS = 4  # times those steps: with fewer left, a cosine over `rest` cannot keep 80 % for as long as is asked
Kept = Mapping[str, tuple[str, Detector]]  # by what each means, as in a Stay


def limits_shown(limits: Limits | None) -> str:
    """A trainer's largest values of the knobs, as they may stand in a sentence."""
    return ", ".join(f"{knob} {limit}" for knob, limit in (limits or {}).items() if limit is not None) or "none"


@dataclass(frozen=True, slots=True)
class Action:
    """One thing that a transition does: the controller's own, or a request to the trainer."""

    name: str
    argument: float | str | None = None

    def __str__(self) -> str:
        return self.name if self.argument is None else f"{self.name} {self.argument}"


@dataclass(frozen=True, slots=True)
class BoundTransition:
    """A transition out of one state.

    Attributes:
        index: its place in the file.
        key: what its count is saved under; it stays the same where others are added or taken out.
        title: its name, or its number in the file.
        source: the state that it leaves, by name.
        target: the state that it enters, by name.
        lead: steps by which it is decided before its time, or applies later than it was decided.
        at_once: whether it stops the training or asks for a rollback, where there is a lead: then it waits for nothing,
            and what waits is dropped.
    """

    index: int
    key: str
    title: str
    source: str
    target: str
    at: str
    sustain: int
    at_most: int | None
    guards: tuple[Guard | str, ...]
    actions: tuple[Action, ...]
    regress: bool
    lead: int = 0
    at_once: bool = False


class Warmup(NamedTuple):
    """A linear rise to the peak: how many steps it takes, and the share of the peak that it begins with, if said."""

    steps: int = 0
    start: float | None = None


@dataclass(frozen=True, slots=True)
class BoundRate:
    """The learning rate of one state: its own words, and the run's where it has none."""

    peak: float  # a factor
    shape: str
    floor: float
    decay: float
    length: Amount
    cycles: Sequence[Amount]  # empty where there is one length
    warmup: Warmup  # on entering the state by a restart
    own_warmup: bool  # whether it is written in the state
    follow: float = 1.0  # a factor, by the knobs that the rate follows


@dataclass(frozen=True, slots=True)
class BoundState:
    """One state, its transitions out in the order of the file, and the fingerprint of both."""

    index: int
    name: str
    knobs: Knobs
    ramps: Mapping[str, BoundRamp]
    rate: BoundRate
    stop: str | None
    transitions: tuple[BoundTransition, ...] = ()
    fingerprint: str = ""
    final: bool = False  # said to be; a state that no transition leaves is final anyway
    asks_each_step: bool = field(init=False)  # whether some transition is looked at after every step
    asks_seldom: bool = field(init=False)  # whether some transition is looked at when an epoch closes, or an evaluation
    at_once: tuple[tuple[int, BoundTransition], ...] = field(init=False)  # those that are, with their places
    asks_evaluations: bool = field(init=False)  # whether some transition is looked at when an evaluation comes

    def __post_init__(self) -> None:
        object.__setattr__(self, "asks_each_step", any(way.at == "step" for way in self.transitions))
        object.__setattr__(self, "asks_seldom", any(way.at != "step" for way in self.transitions))
        at_once = tuple((place, way) for place, way in enumerate(self.transitions) if way.at_once)
        object.__setattr__(self, "at_once", at_once)
        object.__setattr__(self, "asks_evaluations", any(way.at == "eval" for way in self.transitions))


class BoundAlign(NamedTuple):
    """What the rate must be after a raise, in shares of the new state's peak and in steps.

    Attributes:
        min: the least share on the last of the `within_steps`.
        hold: the least share after them.
        steps: for how long.
        within_steps: the steps that the rate has to get there.
        of_run: whether `steps` is the share of a short run.
        late_steps: at the end of the run; over `rest`, a restart in them is not judged by how soon the run ends.
    """

    min: float
    hold: float
    steps: int
    within_steps: int
    of_run: bool
    late_steps: int

    @property
    def spelled(self) -> str:
        """For how long, as it may stand in a sentence."""
        return f"{self.steps} step{'s' * (self.steps != 1)}" + ", 5 % of the run" * self.of_run


def align_of(curriculum: Curriculum, run: RunLength) -> BoundAlign:
    """What [check] asks of the rate in a run of this length."""
    asked, total = curriculum.check.align, run.total_steps
    within, late = int(parse_amount(asked.within).count), int(LATE_SHARE * (total or 0))
    if asked.steps is not None:
        return BoundAlign(asked.min, asked.hold, asked.steps, within, False, late)
    share = HELD_STEPS if total is None else ceil(HELD_SHARE * total)
    steps = min(HELD_STEPS, share)
    late = 0 if total is None else min(total - 1, max(late, LATE_STEPS * steps))
    return BoundAlign(asked.min, asked.hold, steps, within, share < HELD_STEPS, late)


@dataclass(frozen=True, slots=True)
class Machine:
    """A curriculum that can be run: what a Controller interprets and a verifier explores."""

    curriculum: Curriculum
    limits: Limits | None
    run: RunLength
    peak: float
    warmup: Warmup  # at the start of the run
    states: tuple[BoundState, ...]
    fingerprint: str
    notes: tuple[str, ...] = ()
    by_name: Mapping[str, BoundState] = field(default_factory=FrozenDict)
    lag: int = 0  # steps by which losses arrive late
    lead: Lead = field(default_factory=FrozenDict)  # of no knob, most often
    cycles: Sequence[Amount] = ()  # of the run's rate
    meters: tuple[KnobClock, ...] = ()  # the clocks that follow the knobs
    # Worked out once, since every step asks for them.
    total_steps: int | None = field(init=False)  # None as well where the knobs decide how many steps the run takes
    length: int | None = field(init=False)  # of the run, in steps, or in the units of the meter that shares are of
    sure_steps: int | None = field(init=False)  # the run's length in steps, where nothing else bounds it
    bounds: tuple[tuple[int, int], ...] = field(init=False)  # meters that end the run, and where
    steps_per_epoch: int | None = field(init=False)
    nonfinite_limit: int = field(init=False)
    align: BoundAlign = field(init=False)
    signs: Mapping[str, float] = field(init=False)  # of larger values of each knob: 1 where they are harder, 0, or -1
    ranks: Mapping[str, Mapping[Rung, int]] = field(init=False)  # of values that are no numbers, for each such knob
    warmup_steps: int = field(init=False)
    lowest: float = field(init=False)  # the rate never falls below this
    peaks: float | None = field(init=False)  # the factor on the peak from each cycle to the next
    moves_peak: bool = field(init=False)  # whether cycles or knobs do
    guarded: frozenset[str] = field(init=False)  # metrics that guards watch, beside the loss
    evaluated: frozenset[str] = field(init=False)  # metrics whose values make an evaluation
    keeping: tuple[tuple[MetricWord[Any], Any], ...] = field(init=False)  # words whose detectors outlast a state
    waits: bool = field(init=False)  # whether anything else than the loss must come for some transition
    tallies: dict[tuple[int, int | None], StayTally] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "total_steps", self.run.total_steps)
        bounds = tuple((i, meter.bound) for i, meter in enumerate(self.meters) if meter.bound is not None)
        object.__setattr__(self, "bounds", bounds)
        shared = {meter.name: meter.bound for meter in self.meters}
        object.__setattr__(self, "length", shared.get(self.run.measure, self.run.total_steps))
        object.__setattr__(self, "sure_steps", None if bounds else self.run.total_steps)
        object.__setattr__(self, "steps_per_epoch", self.run.steps_per_epoch)
        object.__setattr__(self, "nonfinite_limit", self.curriculum.nonfinite.limit)
        object.__setattr__(self, "align", align_of(self.curriculum, self.run))
        signs = {name: SIGNS[knob.order] for name, knob in self.curriculum.knob.items()}
        object.__setattr__(self, "signs", FrozenDict(signs))
        object.__setattr__(self, "ranks", ranks_of(self.curriculum))
        rate = self.curriculum.lr
        object.__setattr__(self, "warmup_steps", self.warmup.steps)
        object.__setattr__(self, "lowest", rate.lowest)
        object.__setattr__(self, "peaks", rate.peaks.factor if rate.peaks is not None else None)
        object.__setattr__(self, "moves_peak", rate.peaks is not None or bool(rate.follow))
        object.__setattr__(self, "guarded", guarded(self.curriculum))
        object.__setattr__(self, "evaluated", evaluated(self.curriculum))
        words = ((word_of(guard), guard.value) for guard, _ in asked(self.curriculum))
        keeping = tuple((word, value) for word, value in words if isinstance(word, MetricWord) and word.keeps(value))
        object.__setattr__(self, "keeping", keeping)
        waits = bool(self.guarded) or any(way.at == "eval" for way in self.curriculum.transition)
        object.__setattr__(self, "waits", waits)

    def __deepcopy__(self, memo: object) -> Machine:
        """Nothing in it ever changes: copies of a run share it."""
        return self

    def new_kept(self) -> Kept:
        """The detectors that outlast a state, empty: one for each meaning of the guards that say so."""
        found: dict[str, tuple[str, Detector]] = {}
        for word, value in self.keeping:
            metric = word.metric(value)
            detector = word.detector(value, self.feed(metric, self.length))
            found[detector_key(self.curriculum, word, value)] = metric, detector
        return found

    def hardness(self, name: str, value: Rung) -> float:
        """How hard a knob's value is, among its values; all are as hard where it has no order."""
        sign = self.signs[name]
        return sign * self.number(name, value) if sign else 0.0

    def number(self, name: str, value: Rung) -> float:
        """A knob's value as a number: for a name, a list or a table, its place on the ladder, or in the file."""
        return number_of(self.ranks, name, value)

    def harder(self, new: Knobs, old: Knobs) -> tuple[str, ...]:
        """The knobs that are harder in one plan than in another."""
        return tuple(name for name, value in new.items() if self.hardness(name, value) > self.hardness(name, old[name]))

    def meter_of(self, amount: Amount) -> int | None:
        """The meter that an amount of time is measured by; None where it is steps, whatever the knobs are."""
        if not self.run.follows_knobs(amount):
            return None
        unit = self.run.measure if amount.unit in ("run", "rest") else amount.unit
        return next(i for i, meter in enumerate(self.meters) if meter.name == unit)

    def count_in(self, amount: Amount, length: int | None) -> int:
        """An amount in whole units of the meter that measures it; shares are of a run of such a length."""
        meter = self.meters[self.meter_of(amount) or 0]
        return meter.units(amount.count) if amount.unit != "run" else ceil(amount.count * (length or 0))

    def tally(self, state: BoundState, length: int | None) -> StayTally:
        """What the meters count in a stay in a state, entered in a run of such a length."""
        key = (state.index, length)
        if key not in self.tallies:
            counted = {name for meter in self.meters for name in meter.counted}
            ways = [
                CountedRamp(name, ramp, self.meter_of(ramp.over), self._long(ramp, length))
                for name, ramp in state.ramps.items()
                if name in counted
            ]
            self.tallies[key] = tally_of(self.meters, state.knobs, ways)
        return self.tallies[key]

    def _long(self, ramp: BoundRamp, length: int | None) -> int:
        """How long a ramp is, in steps or by the meter that measures it."""
        by_steps = self.meter_of(ramp.over) is None
        return steps_in(ramp.over, self.run, length) if by_steps else self.count_in(ramp.over, length)

    def steps_of(self, amount: Amount, state: BoundState, length: int | None) -> int:
        """An amount of time from the entry into a state on, in steps."""
        meter = self.meter_of(amount)
        if meter is None:
            return steps_in(amount, self.run, length if self.run.measure == "steps" else None)
        return self.tally(state, length).steps(meter, self.count_in(amount, length))

    def ramps(self, state: BoundState, length: int | None) -> dict[str, MeasuredRamp]:
        """The ramps of a state, measured in a run of such a length."""
        found = {}
        for name, ramp in state.ramps.items():
            meter, steps = self.meter_of(ramp.over), self.steps_of(ramp.over, state, length)
            if meter is None:
                found[name] = MeasuredRamp(ramp, steps, steps)
            else:
                found[name] = MeasuredRamp(ramp, steps, self._long(ramp, length), meter, self.tally(state, length))
        return found

    def feed(self, metric: str, length: int | None) -> Feed:
        """How a metric's values come, in a run that is so long."""

        def steps(amount: Amount) -> int:
            return steps_in(amount, self.run, length)

        often = every(self.curriculum, metric)
        spacing = 1
        with suppress(ValueError):  # what is measured by it is refused at binding
            spacing = 1 if often is None else max(1, steps(parse_amount(often)))
        return Feed(steps, spacing, metric_of(self.curriculum, metric).goal == "max")

    def stay(self, state: BoundState, length: int | None, kept: Kept | None = None) -> Stay:
        """Make what is needed for one stay in a state: empty detectors, guards, ramps measured in steps.

        Args:
            state: the state.
            length: of the run, as `length` is, on which amounts of time are measured.
            kept: the detectors that outlast a state, as the stay before left them; new ones where there was none.
        """
        return StayBuilder(self, state, length, kept).stay()


class Stay:
    """One stay in a state: its guards with empty detectors, and its amounts of time in steps.

    Attributes:
        detectors: the metric and the detector that watches it, by what each means, spelled out; the kept ones last.
        guards: the guards of each transition out of the state.
        ramps: each knob's ramp, measured.
        kept: the detectors that outlast the state: they see the values of the whole run, whichever states ask them.
        pushes: one for each detector that watches the loss.
    """

    __slots__ = ("detectors", "guards", "kept", "pushes", "ramps")

    def __init__(
        self,
        detectors: Mapping[str, tuple[str, Detector]],
        guards: tuple[Joined, ...],
        ramps: Mapping[str, MeasuredRamp],
        kept: Kept,
    ) -> None:
        self.detectors, self.guards, self.ramps, self.kept = detectors, guards, ramps, kept
        self.pushes = [detector.push for metric, detector in detectors.values() if metric == "loss"]

    def copy(self) -> Stay:
        """Another one that goes on alike, to the bit; what one of them sees does not touch the other."""
        copies = {key: (metric, detector.copy()) for key, (metric, detector) in self.detectors.items()}
        by_id = {id(self.detectors[key][1]): detector for key, (_, detector) in copies.items()}
        kept = {key: copies[key] for key in self.kept}
        return Stay(copies, tuple(guard.copy(by_id) for guard in self.guards), self.ramps, kept)


class StayBuilder:
    """Turns guards as written into guards as asked in one stay; one detector serves all that mean the same."""

    def __init__(self, machine: Machine, state: BoundState, length: int | None, kept: Kept | None) -> None:
        self._machine, self._state, self._length = machine, state, length
        self._detectors: dict[str, tuple[str, Detector]] = {}
        self._kept = machine.new_kept() if kept is None else kept
        self.steps_per_epoch = machine.steps_per_epoch
        self._ramps = machine.ramps(state, length)
        self.ramp_steps: Mapping[str, int] = {name: ramp.steps for name, ramp in self._ramps.items()}

    def stay(self) -> Stay:
        """Make the stay."""
        guards = tuple(Joined(False, tuple(map(self.guard, t.guards))) for t in self._state.transitions)
        return Stay({**self._detectors, **self._kept}, guards, self._ramps, self._kept)

    def steps(self, amount: Amount) -> int:
        """An amount of time in optimizer steps."""
        return self._machine.steps_of(amount, self._state, self._length)

    def guard(self, condition: Guard | str) -> GuardInState:
        """Make one condition; the name of a named guard leads its line."""
        guard = self._machine.curriculum.resolve(condition)
        title = guard.word if isinstance(condition, Guard) else f"{condition} ({guard.word})"
        return word_of(guard).bind(guard.value, title, self)

    def detector(self, word: MetricWord[Any], value: Any) -> Detector:
        """The detector of a word that watches a metric, the same for guards that mean the same."""
        key = detector_key(self._machine.curriculum, word, value)
        if key in self._kept:
            return self._kept[key][1]
        if key not in self._detectors:
            metric = word.metric(value)
            self._detectors[key] = (metric, word.detector(value, self._machine.feed(metric, self._length)))
        return self._detectors[key][1]


def detector_key(curriculum: Curriculum, word: MetricWord[Any], value: Any) -> str:
    """What a detector is known by: all that its guard, and its metric, mean.

    Snapshots name a detector by this text, so its spelling is part of their format.
    """
    said = metric_meaning(curriculum, word.metric(value))
    return json.dumps({word.name: word.meaning(value, str), **({"metric": said} if said else {})}, sort_keys=True)
