"""What a curriculum has become once it is bound: every name resolved, every value a number, ready to be run."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from math import copysign, floor, inf, sqrt
from typing import Any

from plateau_rule.controller.detectors.gap import Apart
from plateau_rule.controller.detectors.returns import Returns
from plateau_rule.controller.detectors.trend import Trend
from plateau_rule.controller.detectors.windows import Beside, Detector, Growing, Halves, NoNewBest
from plateau_rule.controller.frozen import FrozenDict
from plateau_rule.controller.guards import GuardInState, Joined, Opposite, Reached, Watched
from plateau_rule.controller.language.amounts import Amount, RunLength, parse_amount, steps_in
from plateau_rule.controller.language.curriculum import FULL, Curriculum, Guard, Plateau, Rung
from plateau_rule.controller.language.fingerprint import guard_meaning

Knobs = Mapping[str, Rung]


def limits_shown(limits: Mapping[str, float] | None) -> str:
    """A trainer's largest values of the knobs, as they may stand in a sentence."""
    return ", ".join(f"{knob} {limit}" for knob, limit in (limits or {}).items()) or "none"


@dataclass(frozen=True, slots=True)
class Action:
    """One thing that a transition does: the controller's own, or a request to the trainer."""

    name: str
    argument: float | str | None = None

    def __str__(self) -> str:
        return self.name if self.argument is None else f"{self.name} {self.argument}"


@dataclass(frozen=True, slots=True)
class BoundTransition:
    """A transition out of one state; `index` is its place in the file, `key` what its counter is saved under."""

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


@dataclass(frozen=True, slots=True)
class BoundRamp:
    """A knob's way from one value to another, as a pure function of the time in the state."""

    start: float
    end: float
    over: Amount
    shape: str
    multiple_of: float | None
    rungs: tuple[float, ...] | None

    def value(self, time: int, over_steps: int) -> Rung:
        """The knob after `time` steps in the state, rounded down to what the knob can be."""
        share = time / over_steps
        if share >= 1.0:
            found = self.end
        elif self.end == inf:  # no trainer and no limit: there is nothing to measure the way on
            found = self.start
        elif self.shape == "linear":
            found = self.start + (self.end - self.start) * share
        else:
            low, high = copysign(self.start**2, self.start), copysign(self.end**2, self.end)
            square = low + (high - low) * share
            found = copysign(sqrt(abs(square)), square)
        if self.rungs is not None:
            found = max((rung for rung in self.rungs if self.start <= rung <= found), default=self.start)
        elif self.multiple_of is not None and found != self.end:
            found = max(self.start, floor(found / self.multiple_of) * self.multiple_of)
        if found == inf:
            return FULL
        return int(found) if float(found).is_integer() else found


@dataclass(frozen=True, slots=True)
class BoundRate:
    """The learning rate of one state; `own_length` says whether the state replaces the run's length or cycles."""

    peak: float  # a factor
    shape: str
    floor: float
    decay: float
    length: Amount
    cycles: tuple[Amount, ...]  # empty where there is one length


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
    asks_each_step: bool = field(init=False)  # whether some transition is looked at after every step
    asks_seldom: bool = field(init=False)  # whether some transition is looked at when an epoch closes, or an evaluation

    def __post_init__(self) -> None:
        object.__setattr__(self, "asks_each_step", any(way.at == "step" for way in self.transitions))
        object.__setattr__(self, "asks_seldom", any(way.at != "step" for way in self.transitions))


@dataclass(frozen=True, slots=True)
class Machine:
    """A curriculum that can be run: what a Controller interprets and a verifier explores."""

    curriculum: Curriculum
    limits: Mapping[str, float] | None
    run: RunLength
    peak: float
    warmup_steps: int
    states: tuple[BoundState, ...]
    fingerprint: str
    notes: tuple[str, ...] = ()
    by_name: Mapping[str, BoundState] = field(default_factory=FrozenDict)
    lag: int = 0  # steps by which losses arrive late
    # Worked out once, since every step asks for them.
    total_steps: int | None = field(init=False)
    steps_per_epoch: int | None = field(init=False)
    nonfinite_limit: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "total_steps", self.run.total_steps)
        object.__setattr__(self, "steps_per_epoch", self.run.steps_per_epoch)
        object.__setattr__(self, "nonfinite_limit", self.curriculum.nonfinite.limit)

    def __deepcopy__(self, memo: object) -> Machine:
        """Nothing in it ever changes: copies of a run share it."""
        return self

    def ramp_steps(self, state: BoundState, total_steps: int | None) -> dict[str, int]:
        """How long each ramp of a state takes."""
        return {name: steps_in(ramp.over, self.run, total_steps) for name, ramp in state.ramps.items()}

    def stay(self, state: BoundState, total_steps: int | None) -> Stay:
        """Make what is needed for one stay in a state: empty detectors, guards, ramps measured in steps."""
        return Stay(self, state, total_steps)


class Stay:
    """One stay in a state: its guards with empty detectors, and its amounts of time in steps."""

    __slots__ = ("detectors", "guards", "pushes", "ramp_steps")

    def __init__(self, machine: Machine, state: BoundState, total_steps: int | None) -> None:
        def steps(amount: Amount) -> int:
            return steps_in(amount, machine.run, total_steps)

        self.detectors: dict[str, tuple[str, Detector]] = {}  # what it is, spelled out -> metric, detector
        self.ramp_steps = machine.ramp_steps(state, total_steps)
        builder = StayBuilder(machine, steps, self.ramp_steps, self.detectors)
        self.guards = tuple(Joined("all", tuple(builder.build(g) for g in t.guards)) for t in state.transitions)
        self.pushes = [detector.push for metric, detector in self.detectors.values() if metric == "loss"]

    def copy(self) -> Stay:
        """A stay that stands where this one stands, and goes on without it."""
        return deepcopy(self)


class StayBuilder:
    """Turns guards as written into guards as asked, sharing one detector among equal ones."""

    def __init__(
        self,
        machine: Machine,
        steps: Callable[[Amount], int],
        ramp_steps: Mapping[str, int],
        detectors: dict[str, tuple[str, Detector]],
    ) -> None:
        self._machine, self._steps, self._ramp_steps, self._detectors = machine, steps, ramp_steps, detectors

    def build(self, condition: Guard | str) -> GuardInState:
        """Build one condition; the name of a named guard leads its line."""
        guard = self._machine.curriculum.resolve(condition)
        word, value = guard.word, guard.value
        title = word if isinstance(condition, Guard) else f"{condition} ({word})"
        if word in ("any", "all"):
            return Joined(word, tuple(map(self.build, value)), title)
        if word == "not":
            return Opposite(self.build(value), title)
        if word in ("min_epoch", "min_step"):
            hand, unit = ("epoch", "epochs") if word == "min_epoch" else ("step", "steps")
            return Reached(title, hand, value, unit)
        if word == "dwell":
            amount = parse_amount(value)
            if amount.unit == "epochs" and self._machine.run.steps_per_epoch is None:
                return Reached(title, "closings", int(amount.count), "epochs in this state")
            return Reached(title, "time", self._steps(amount), "steps in this state")
        if word == "nonfinite":
            return Reached(title, "nonfinite", value, "non-finite losses in a row")
        if word == "ramp_done":
            return Reached(title, "time", self._ramp_steps[value], "steps of the ramp")
        key = json.dumps(guard_meaning(self._machine.curriculum, guard), sort_keys=True)
        if key not in self._detectors:
            self._detectors[key] = (value.metric, self.new_detector(word, value))
        return Watched(title, self._detectors[key][1])

    def new_detector(self, word: str, spec: Any) -> Detector:
        """An empty detector for a guard."""
        if word == "patience":
            return NoNewBest(spec)
        if word == "diverging":
            return Growing(spec)
        if word in ("below", "above"):
            return Beside(spec, word == "below")
        if word == "gap":
            return Apart(self._steps(parse_amount(spec.over)), spec.value)
        return new_plateau(spec, None if spec.per == "window" else self._steps(parse_amount(spec.per)))


def new_plateau(spec: Plateau, per_steps: int | None) -> Detector:
    """An empty plateau detector; `per_steps` is what the threshold is measured on, None for the window itself."""
    if spec.method == "returns":
        return Returns(spec.share)
    if spec.method == "trend":
        # The means of two halves stand half a window apart; 1.5 leaves room for being sure at the threshold itself.
        rate = 1.5 * 2.0 * spec.threshold / spec.window if per_steps is None else spec.threshold / per_steps
        return Trend(rate, spec.confidence, spec.min_window, spec.cooldown)
    return Halves(spec.window, spec.threshold if per_steps is None else spec.threshold * (spec.window / 2) / per_steps)
