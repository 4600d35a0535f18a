"""Binding a curriculum to a trainer's limits and a run's length; or saying everything that does not fit."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from types import MappingProxyType

from plateau_rule.controller.errors import BindingError, BindingWarning, Fault, Key
from plateau_rule.controller.language.amounts import RunLength, parse_amount, steps_in
from plateau_rule.controller.language.consistency import NEXT, hardness, nearest, sources, walk
from plateau_rule.controller.language.curriculum import FULL, ActionTable, Curriculum, Guard, Knob, Rung, State
from plateau_rule.controller.language.fingerprint import fingerprints, transition_keys
from plateau_rule.controller.machine import (
    Action,
    BoundRamp,
    BoundRate,
    BoundState,
    BoundTransition,
    Machine,
    limits_shown,
)

Path = tuple[Key, ...]


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
        f'state "{gone}" equals "{kept}" within the limits {limits_shown(limits)}: merged'
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
