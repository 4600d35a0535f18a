"""A curriculum bound to a trainer's limits and a run's length: every name resolved, every value a number."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import copysign, floor, inf, sqrt
from types import MappingProxyType
from typing import Any

from controller.detectors.gap import Apart
from controller.detectors.returns import Returns
from controller.detectors.trend import Trend
from controller.detectors.windows import Beside, Detector, Growing, Halves, NoNewBest
from controller.errors import BindingError, BindingWarning, Fault, Key
from controller.guards import GuardInState, Joined, Opposite, Reached, Watched
from controller.language.amounts import Amount, RunLength, parse_amount, steps_in
from controller.language.curriculum import FULL, ActionTable, Curriculum, Guard, Knob, Plateau, Rung, State
from controller.language.meaning import fingerprints, guard_meaning, transition_keys
from controller.language.sense import NEXT, hardness, nearest, sources, walk

Knobs = Mapping[str, Rung]
Path = tuple[Key, ...]


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
        share = 1.0 if time >= over_steps else time / over_steps
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
    by_name: Mapping[str, BoundState] = field(default_factory=dict)

    def stay(self, state: BoundState, total_steps: int | None) -> Stay:
        """Make what is needed for one stay in a state: empty detectors, guards, ramps measured in steps."""
        return Stay(self, state, total_steps)


class Stay:
    """One stay in a state: its guards with empty detectors, and its amounts of time in steps."""

    __slots__ = ("detectors", "guards", "ramp_steps")

    def __init__(self, machine: Machine, state: BoundState, total_steps: int | None) -> None:
        def steps(amount: Amount) -> int:
            return steps_in(amount, machine.run, total_steps)

        self.detectors: dict[str, tuple[str, Detector]] = {}  # what it is, spelled out -> metric, detector
        self.ramp_steps = {name: steps(ramp.over) for name, ramp in state.ramps.items()}
        maker = _GuardMaker(machine, steps, self.ramp_steps, self.detectors)
        self.guards = tuple(Joined("all", tuple(maker.make(g) for g in t.guards)) for t in state.transitions)


class _GuardMaker:
    """Turns guards as written into guards as asked, sharing one detector among equal ones."""

    def __init__(
        self,
        machine: Machine,
        steps: Callable[[Amount], int],
        ramp_steps: Mapping[str, int],
        detectors: dict[str, tuple[str, Detector]],
    ) -> None:
        self._machine, self._steps, self._ramp_steps, self._detectors = machine, steps, ramp_steps, detectors

    def make(self, condition: Guard | str) -> GuardInState:
        """Build one condition; the name of a named guard leads its line."""
        guard = self._machine.curriculum.resolve(condition)
        word, value = guard.word, guard.value
        title = word if isinstance(condition, Guard) else f"{condition} ({word})"
        if word in ("any", "all"):
            return Joined(title if word == title else word, tuple(map(self.make, value)))
        if word == "not":
            return Opposite(self.make(value))
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
            self._detectors[key] = (value.metric, self._new_detector(word, value))
        return Watched(title, self._detectors[key][1])

    def _new_detector(self, word: str, spec: Any) -> Detector:
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


def bind(
    curriculum: Curriculum,
    limits: Mapping[str, float] | None = None,
    *,
    epochs: int | None = None,
    steps_per_epoch: int | None = None,
    tokens_per_step: int | None = None,
    peak: float | None = None,
) -> Machine:
    """Bind a curriculum to a trainer and a run.

    limits: every knob that the trainer can turn, with its largest value; None where there is no trainer, and `full`
    stays a word. epochs, steps_per_epoch, tokens_per_step, peak: replace what the file says.
    Raises BindingError with everything that does not fit.
    """
    run = RunLength(
        epochs if epochs is not None else curriculum.run.epochs,
        steps_per_epoch if steps_per_epoch is not None else curriculum.run.steps_per_epoch,
        tokens_per_step if tokens_per_step is not None else curriculum.run.tokens_per_step,
    )
    faults = _number_faults(run, peak)
    faults += _limit_faults(curriculum, limits) + ([] if faults else _amount_faults(curriculum, run))
    if faults:
        raise BindingError([curriculum.placed(fault) for fault in faults])
    states, merged = _merge(curriculum, _bound_states(curriculum, limits))
    notes = tuple(
        f'state "{gone}" equals "{kept}" within the limits {dict(limits or {})}: merged'
        for gone, kept in merged.items()
    )
    for note in notes:
        warnings.warn(note, BindingWarning, stacklevel=3)
    whole, by_state = fingerprints(curriculum)
    states = tuple(
        replace(state, fingerprint=by_state[state.name]) for state in _with_transitions(curriculum, states, merged)
    )
    warmup = 0 if curriculum.lr.warmup is None else steps_in(parse_amount(curriculum.lr.warmup), run, run.total_steps)
    return Machine(
        curriculum,
        None if limits is None else MappingProxyType(dict(limits)),
        run,
        curriculum.lr.peak if peak is None else peak,
        warmup,
        states,
        whole,
        notes,
        MappingProxyType({state.name: state for state in states}),
    )


def _number_faults(run: RunLength, peak: object) -> list[Fault]:
    given: dict[str, object] = {
        "epochs": run.epochs,
        "steps_per_epoch": run.steps_per_epoch,
        "tokens_per_step": run.tokens_per_step,
    }
    found = [
        Fault("bad-run", ("run", key), f"{value!r}", "a whole number of at least 1")
        for key, value in given.items()
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1)
    ]
    if peak is not None and not (isinstance(peak, int | float) and 0 < peak < float("inf")):
        found.append(Fault("bad-run", ("lr", "peak"), f"{peak!r}", "a number above 0"))
    return found


def _limit_faults(curriculum: Curriculum, limits: Mapping[str, float] | None) -> list[Fault]:
    if limits is None:
        return []
    faults = []
    known = ", ".join(f"{name} (at most {limit})" for name, limit in sorted(limits.items())) or "none"
    for name, knob in curriculum.knob.items():
        if name not in limits:
            faults.append(Fault("unknown-knob", ("knob", name), f'this trainer cannot turn the knob "{name}"',
                                f"one of its knobs: {known}", nearest(name, limits), at_key=True))  # fmt: skip
            continue
        limit: object = limits[name]
        if isinstance(limit, bool) or not isinstance(limit, int | float) or not 0 < limit < float("inf"):
            faults.append(Fault("bad-limit", ("knob", name), f"the limit {limit!r}", "a number above 0"))
            continue
        easiest = knob.ladder[0] if knob.ladder else knob.range.min if knob.range else 0
        if easiest != FULL and float(easiest) > limit:
            faults.append(
                Fault(
                    "limit-below-ladder",
                    ("knob", name),
                    f"the easiest value {easiest} lies above this trainer's limit {limit}",
                )
            )
    return faults


def _amount_faults(curriculum: Curriculum, run: RunLength) -> list[Fault]:
    faults = []
    for text, path, may_count_closings in _amounts(curriculum):
        amount = parse_amount(text)
        if (
            may_count_closings
            and amount.unit == "epochs"
            and run.steps_per_epoch is None
            and amount.count.denominator == 1
        ):
            continue
        try:
            steps_in(amount, run, run.total_steps)
        except ValueError as error:
            faults.append(Fault("unresolved-amount", path, str(error),
                                "steps_per_epoch, epochs or tokens_per_step, in [run] or when binding"))  # fmt: skip
    return faults


def _amounts(curriculum: Curriculum) -> list[tuple[str, Path, bool]]:
    rate = curriculum.lr
    found: list[tuple[str, Path, bool]] = []
    if rate.length is not None:
        found.append((rate.length, ("lr", "length"), False))
    if rate.warmup is not None:
        found.append((rate.warmup, ("lr", "warmup"), False))
    found += [(cycle, ("lr", "cycles", i), False) for i, cycle in enumerate(rate.cycles or ())]
    falls = [(state.lr.shape or rate.shape) != "constant" and state.lr.length is None for state in curriculum.state]
    if rate.length is None and rate.cycles is None and any(falls):
        found.append(("rest", ("lr",), False))
    for i, state in enumerate(curriculum.state):
        if state.lr.length is not None:
            found.append((state.lr.length, ("state", i, "lr", "length"), False))
        found += [(ramp.over, ("state", i, "ramp", name, "over"), False) for name, ramp in state.ramp.items()]
    written: list[tuple[Guard | str, Path]] = []
    for name, guard in curriculum.guard.items():
        written += walk(curriculum, guard, ("guard", name))
    for i, transition in enumerate(curriculum.transition):
        for j, condition in enumerate(transition.guards):
            written += walk(curriculum, condition, ("transition", i, "guards", j))
    for condition, path in written:
        if isinstance(condition, Guard) and condition.word == "dwell":
            found.append((condition.value, (*path, "dwell"), True))
        if isinstance(condition, Guard) and condition.word == "plateau" and condition.value.per != "window":
            found.append((condition.value.per, (*path, "plateau", "per"), False))
        if isinstance(condition, Guard) and condition.word == "gap":
            found.append((condition.value.over, (*path, "gap", "over"), False))
    return found


def _bound_value(name: str, value: Rung, limits: Mapping[str, float] | None) -> Rung:
    if limits is None:
        return value
    limit = limits[name]
    return limit if hardness(value) > limit else value


def _bound_states(curriculum: Curriculum, limits: Mapping[str, float] | None) -> tuple[BoundState, ...]:
    states = []
    for index, state in enumerate(curriculum.state):
        knobs = {name: _bound_value(name, state.set[name], limits) for name in curriculum.knob}
        ramps = {name: _bound_ramp(name, curriculum.knob[name], state, knobs[name], limits) for name in state.ramp}
        states.append(
            BoundState(
                index,
                state.name,
                MappingProxyType(knobs),
                MappingProxyType(ramps),
                _bound_rate(curriculum, state),
                state.stop,
            )
        )
    return tuple(states)


def _bound_ramp(name: str, knob: Knob, state: State, start: Rung, limits: Mapping[str, float] | None) -> BoundRamp:
    ramp = state.ramp[name]
    end = _bound_value(name, ramp.to, limits)
    rungs = None if knob.ladder is None else tuple(hardness(_bound_value(name, rung, limits)) for rung in knob.ladder)
    step = None if knob.range is None or knob.range.multiple_of is None else float(knob.range.multiple_of)
    return BoundRamp(hardness(start), hardness(end), parse_amount(ramp.over), ramp.shape, step, rungs)


def _bound_rate(curriculum: Curriculum, state: State) -> BoundRate:
    rate, own = curriculum.lr, state.lr
    cycles = () if own.length is not None or rate.cycles is None else tuple(map(parse_amount, rate.cycles))
    return BoundRate(
        own.peak,
        own.shape or rate.shape,
        rate.floor if own.floor is None else own.floor,
        rate.decay if own.decay is None else own.decay,
        parse_amount(own.length or rate.length or "rest"),
        cycles,
    )


def _merge(curriculum: Curriculum, states: tuple[BoundState, ...]) -> tuple[tuple[BoundState, ...], dict[str, str]]:
    """Merge states that clamping made equal into the first of them; states that were written equal stay."""

    def hardness_of(state: BoundState) -> tuple[object, ...]:
        return tuple(sorted(state.knobs.items())), tuple(sorted((name, ramp.end) for name, ramp in state.ramps.items()))

    def as_written(state: BoundState) -> tuple[object, ...]:
        source = curriculum.state[state.index]
        return tuple(sorted(source.set.items())), tuple(sorted((name, ramp.to) for name, ramp in source.ramp.items()))

    kept: list[BoundState] = []
    merged: dict[str, str] = {}
    seen: dict[object, list[tuple[object, str]]] = {}
    for state in states:
        written, twins = as_written(state), seen.setdefault(hardness_of(state), [])
        twin = next((name for other, name in twins if other != written), None)
        if twin is None:
            kept.append(state)
            twins.append((written, state.name))
        else:
            merged[state.name] = twin
    return tuple(kept), merged


def _with_transitions(
    curriculum: Curriculum, states: tuple[BoundState, ...], merged: Mapping[str, str]
) -> tuple[BoundState, ...]:
    """The states with the transitions out of each, in the order of the file."""
    keys = transition_keys(curriculum)
    following = dict(pairwise(state.name for state in states))
    found: dict[str, dict[int, BoundTransition]] = {state.name: {} for state in states}
    for index, transition in enumerate(curriculum.transition):
        title = transition.name or f"transition {index + 1}"
        guards, actions = tuple(transition.guards), tuple(map(_action, transition.actions))
        for source in sources(curriculum, index):
            state = merged.get(source, source)
            to = following.get(state) if transition.to == NEXT else merged.get(transition.to, transition.to)
            if to is None or (to == state and transition.to != source):  # by merging, it would raise nothing
                continue
            found[state][index] = BoundTransition(
                index,
                keys[index],
                title,
                state,
                to,
                transition.at,
                transition.sustain,
                transition.at_most,
                guards,
                actions,
                transition.regress,
            )
    return tuple(replace(state, transitions=tuple(found[state.name].values())) for state in states)


def _action(written: ActionTable | str) -> Action:
    return Action(written) if isinstance(written, str) else Action(written.word, written.value)
