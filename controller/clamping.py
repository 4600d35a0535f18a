"""The states of a curriculum within a trainer's limits: clamped, merged where equal, and with their ways out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise

from plateau_rule.controller.bound_rates import bound_rate, follow_factor
from plateau_rule.controller.frozen import FrozenDict, KnobValues
from plateau_rule.controller.language.amounts import parse_amount
from plateau_rule.controller.language.consistency import NEXT, sources
from plateau_rule.controller.language.curriculum import ActionTable, Curriculum, Knob, Rung, State
from plateau_rule.controller.language.fingerprint import transition_keys
from plateau_rule.controller.language.knob_values import hardness
from plateau_rule.controller.machine import Action, BoundState, BoundTransition, Limits, Machine
from plateau_rule.controller.ramps import BoundRamp


def _bound_value(name: str, value: Rung, limits: Limits | None) -> Rung:
    limit = None if limits is None else limits[name]
    return value if limit is None or hardness(value) <= limit else limit


def clamped_states(curriculum: Curriculum, limits: Limits | None) -> tuple[BoundState, ...]:
    """Every state with its knobs and ramps within the limits, as yet without transitions."""
    states: list[BoundState] = []
    for index, state in enumerate(curriculum.state):
        knobs = {name: _bound_value(name, state.set[name], limits) for name in curriculum.knob}
        first = states[0].knobs if states else knobs
        ramps = {name: _bound_ramp(name, curriculum.knob[name], state, knobs[name], limits) for name in state.ramp}
        states.append(
            BoundState(
                index,
                state.name,
                KnobValues(knobs),
                FrozenDict(ramps),
                bound_rate(curriculum, state, follow_factor(curriculum.lr.follow, first, knobs)),
                state.stop,
                final=state.final,
            )
        )
    return tuple(states)


def _bound_ramp(name: str, knob: Knob, state: State, start: Rung, limits: Limits | None) -> BoundRamp:
    ramp = state.ramp[name]
    end = _bound_value(name, ramp.to, limits)
    rungs = None if knob.ladder is None else tuple(hardness(_bound_value(name, rung, limits)) for rung in knob.ladder)
    step = None if knob.range is None or knob.range.multiple_of is None else float(knob.range.multiple_of)
    return BoundRamp(hardness(start), hardness(end), parse_amount(ramp.over), ramp.shape, step, rungs)


def merged_states(
    curriculum: Curriculum, states: tuple[BoundState, ...]
) -> tuple[tuple[BoundState, ...], dict[str, str]]:
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


def with_transitions(
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


def as_bound(machine: Machine) -> Curriculum:
    """The curriculum as binding made it, to be shown: limits in place of larger values, merged states gone.

    Each way from a state to another is a transition of its own; the text that it was read from is no longer its own.
    """
    written, run = machine.curriculum, machine.run
    states = []
    for state in machine.states:
        was = written.state[state.index]
        ramps = {
            name: ramp.model_copy(update={"to": _bound_value(name, ramp.to, machine.limits)})
            for name, ramp in was.ramp.items()
        }
        states.append(was.model_copy(update={"set": dict(state.knobs), "ramp": ramps}))
    ways = sorted((way for state in machine.states for way in state.transitions), key=lambda way: way.index)
    changed = {
        "run": written.run.model_copy(
            update={
                "epochs": run.epochs,
                "steps_per_epoch": run.steps_per_epoch,
                "tokens_per_step": list(told) if isinstance(told := run.tokens_per_step, tuple) else told,
            }
        ),
        "lr": written.lr.model_copy(update={"peak": machine.peak}),
        "state": states,
        "transition": [
            written.transition[way.index].model_copy(update={"from_": way.source, "to": way.target}) for way in ways
        ],
    }
    return written.model_copy(update=changed)
