"""What is saved of a controller, and how one goes on: load (exactly, or refused), adopt (nothing was saved)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from math import inf
from typing import TYPE_CHECKING, Any

from controller import clockwork
from controller.binding import Action, BoundState, Machine
from controller.errors import RegressionError, SnapshotError
from controller.guards import TRUE, Clock
from controller.language import FULL
from controller.sense import hardness, nearest

if TYPE_CHECKING:
    from controller.machine import Controller

FORMAT = 1


def save(controller: Controller) -> dict[str, Any]:
    """All that a resumed controller needs, as JSON-able data with a checksum."""
    machine, clock, rate, plan = controller.machine, controller.clock, controller._rate, controller.plan
    saved: dict[str, Any] = {
        "format": FORMAT,
        "curriculum": machine.curriculum.name,
        "fingerprint": machine.fingerprint,
        "states": {state.name: state.fingerprint for state in machine.states},
        "bound": _bound(controller),
        "state": controller._state.name,
        "entered_total_steps": controller._entered_total,
        "clock": {hand: getattr(clock, hand) for hand in Clock.__slots__},
        "rate": {
            "anchor": rate.anchor,
            "warm_steps": rate.warm_steps,
            "cycle": rate.cycle,
            "length_steps": rate.length_steps,
            "scale": rate.scale,
        },
        "detectors": [[key, detector.contents()] for key, (_, detector) in controller._stay.detectors.items()],
        "sustained": list(controller._sustained),
        "taken": dict(controller.taken),
        "floors": {name: _finite(value) for name, value in controller.floors.items()},
        "skipped_values": controller.skipped_values,
        "plan": {
            "step": plan.step,
            "epoch": plan.epoch,
            "state": plan.state,
            "knobs": dict(plan.knobs),
            "lr": plan.lr,
            "requests": [[action.name, action.argument] for action in plan.requests],
        },
    }
    saved["checksum"] = checksum(saved)
    return saved


def checksum(saved: Mapping[str, Any]) -> str:
    """SHA-256 of a snapshot's canonical JSON without its checksum, in hex."""
    content = {key: value for key, value in saved.items() if key != "checksum"}
    return hashlib.sha256(
        json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
    ).hexdigest()


def _bound(controller: Controller) -> dict[str, Any]:
    machine = controller.machine
    return {
        "limits": None if machine.limits is None else dict(machine.limits),
        "epochs": machine.run.epochs,
        "steps_per_epoch": machine.run.steps_per_epoch,
        "tokens_per_step": machine.run.tokens_per_step,
        "peak": machine.peak,
        "lag": controller.lag,
    }


def _finite(value: float) -> float | str:
    return FULL if value == inf else value


def load(controller: Controller, saved: Mapping[str, Any], on_change: str) -> tuple[str, ...]:
    """Put a saved state into a controller, or leave it as it was and say why not."""
    if on_change not in ("refuse", "accept"):
        raise SnapshotError(f'on_change is {on_change!r}; expected "refuse" or "accept"')
    try:
        if saved["format"] != FORMAT:
            raise SnapshotError(
                f"the saved controller has format {saved['format']!r}; this version reads format {FORMAT}"
            )
        if checksum(saved) != saved["checksum"]:
            raise SnapshotError("the saved controller is damaged: its checksum does not fit. Use an older checkpoint")
        return _load(controller, saved, on_change)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise SnapshotError(f"the saved controller cannot be read: {type(error).__name__}: {error}") from None


def _load(controller: Controller, saved: Mapping[str, Any], on_change: str) -> tuple[str, ...]:
    machine = controller.machine
    changes, notes = _changes(controller, saved)
    if changes and on_change == "refuse":
        raise SnapshotError(
            "the checkpoint was made under another curriculum: " + "; ".join(changes) + ". "
            'Resume with the curriculum it was made with, or go on with the new one by on_change="accept"'
        )
    state = machine.by_name.get(saved["state"])
    if state is None:
        raise SnapshotError(
            f'the checkpoint is in state "{saved["state"]}", which the curriculum no longer has. '
            + nearest(saved["state"], machine.by_name)
        )
    clock = Clock()
    for hand in Clock.__slots__:
        setattr(clock, hand, int(saved["clock"][hand]))
    total = controller.total_steps
    if total is not None and clock.step >= total and total != _total(saved["bound"]):
        raise SnapshotError(
            f"the checkpoint is at step {clock.step}, and the run bound now has only {total} steps. Bind a longer run"
        )
    entered_total = saved["entered_total_steps"] if saved["entered_total_steps"] is not None else total
    stay = machine.stay(state, entered_total)
    contents = dict(saved["detectors"])
    for key, (_, detector) in stay.detectors.items():
        if key in contents:
            detector.restore(contents[key])
        elif not changes:
            raise SnapshotError(f"the contents of a detector are missing: {key}")
    hands = {key: int(saved["rate"][key]) for key in ("anchor", "warm_steps", "cycle", "length_steps")}
    rate = clockwork.RateClock(**hands, scale=float(saved["rate"]["scale"]))
    if changes:
        rate = clockwork.carried(rate, machine, machine.states[0], state, total) if state.rate.cycles == () else rate
        rate = clockwork.advanced(rate, machine, state, clock.step, total)
    floors = {name: hardness(value) for name, value in saved["floors"].items()}
    _refuse_regression(machine, state, floors)
    sustained = saved["sustained"] if not changes else [0] * len(state.transitions)
    if len(sustained) != len(state.transitions):
        raise SnapshotError("the counts of looks in a row do not fit the state's transitions")
    before = dict(controller.__dict__)
    controller._enter(state, entered_total)
    controller.clock, controller._stay, controller._rate = clock, stay, rate
    controller._pushes = [detector.push for metric, detector in stay.detectors.values() if metric == "loss"]
    controller._sustained = [int(count) for count in sustained]
    controller.taken = {str(key): int(count) for key, count in saved["taken"].items()}
    controller.floors = floors
    controller.skipped_values = int(saved["skipped_values"])
    controller._requests = tuple(Action(name, argument) for name, argument in saved["plan"]["requests"])
    controller._plan = None
    if not changes and (difference := _difference(controller, saved["plan"])):
        controller.__dict__.update(before)
        raise SnapshotError(f"the plan that was saved and the one computed from the same state differ: {difference}")
    controller._raise_floors()
    return (*changes, *notes)


def _total(bound: Mapping[str, Any]) -> int | None:
    return (
        None
        if bound["epochs"] is None or bound["steps_per_epoch"] is None
        else bound["epochs"] * bound["steps_per_epoch"]
    )


def _changes(controller: Controller, saved: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """What was edited since, in words; and what differs without being an edit."""
    machine, bound = controller.machine, _bound(controller)
    changes, notes = [], []
    if saved["fingerprint"] != machine.fingerprint:
        now = {state.name: state.fingerprint for state in machine.states}
        then = saved["states"]
        parts = [f'state "{name}" is gone' for name in then if name not in now]
        parts += [f'state "{name}" is new' for name in now if name not in then]
        edited = [name for name in now if name in then and now[name] != then[name]]
        parts += [f'state "{name}" or a transition out of it was edited' for name in edited]
        changes.append("; ".join(parts) or "the rate, the knobs or the order of the states was edited")
    for key, before in saved["bound"].items():
        after = bound[key]
        if before == after:
            continue
        if key != "epochs":
            changes.append(f"{key} was {before}, and is {after}")
        elif before is not None and after is not None:
            kept = "what has begun keeps its length, what has not is measured on the new one"
            notes.append(f"the run was {before} epochs long, and is {after}: {kept}")
        else:
            changes.append(f"epochs was {before}, and is {after}")
    return changes, notes


def _refuse_regression(machine: Machine, state: BoundState, floors: Mapping[str, float]) -> None:
    for name, floor in floors.items():
        if name not in state.knobs:
            continue
        hardest = state.ramps[name].end if name in state.ramps else hardness(state.knobs[name])
        if hardest < floor:
            raise RegressionError(
                f'state "{state.name}" sets {name} = {state.knobs[name]}, and the run was already at {_finite(floor)}: '
                "a knob never falls on a resume. Raise it in the edited curriculum, or start a new run"
            )


def _difference(controller: Controller, plan: Mapping[str, Any]) -> str:
    now = controller.plan
    pairs = {
        "step": (plan["step"], now.step),
        "epoch": (plan["epoch"], now.epoch),
        "state": (plan["state"], now.state),
        "knobs": (plan["knobs"], dict(now.knobs)),
        "lr": (plan["lr"], now.lr),
    }
    return ", ".join(f"{key} {then} and {found}" for key, (then, found) in pairs.items() if then != found)


def adopt(
    controller: Controller, epoch: int | None, step: int | None, knobs: Mapping[str, float | str] | None
) -> tuple[str, ...]:
    """Enter the state that a run without controller state must be in, never an easier one."""
    machine = controller.machine
    step, epoch = _position(machine, epoch, step)
    if controller.clock.step:
        raise SnapshotError("adopt is for a controller that has observed nothing yet")
    if knobs:
        state, why = _at_least_as_hard(machine, knobs), f"the first state at least as hard as {dict(knobs)}"
    else:
        state, why = (
            earliest(machine, step, controller.lag),
            "the hardest state that this curriculum could have reached by then",
        )
    total = controller.total_steps
    controller._enter(state, total)
    controller.clock.step, controller.clock.epoch = step, epoch
    first = machine.states[0]
    rate = clockwork.carried(clockwork.start(machine, first, total), machine, first, state, total)
    rate = clockwork.advanced(rate, machine, state, step, total)
    entering = [t for s in machine.states for t in s.transitions if t.target == state.name]
    if state.index and any(action.name == "lr_restart" for t in entering for action in t.actions):
        rate = clockwork.restarted(rate, machine, state, step, total)
    controller._rate, controller._plan = rate, None
    return (f'adopted at step {step}, epoch {epoch}: entered "{state.name}", {why}',)


def _position(machine: Machine, epoch: int | None, step: int | None) -> tuple[int, int]:
    per_epoch = machine.run.steps_per_epoch
    if step is None:
        if epoch and per_epoch is None:
            raise SnapshotError("adopt(epoch=...) needs step= as well where steps_per_epoch is not bound")
        step = (epoch or 0) * (per_epoch or 0)
    if epoch is None:
        epoch = step // per_epoch if per_epoch else 0
    if step < 0 or epoch < 0 or (per_epoch is not None and step // per_epoch != epoch):
        raise SnapshotError(f"step {step} is not in epoch {epoch} of {per_epoch} steps each; both count from 0")
    return step, epoch


def _at_least_as_hard(machine: Machine, knobs: Mapping[str, float | str]) -> BoundState:
    for name in knobs:
        if name not in machine.curriculum.knob:
            raise SnapshotError(f'the curriculum has no knob "{name}". {nearest(name, machine.curriculum.knob)}')
    least = {name: min(_as_hardness(name, value), _limit(machine, name)) for name, value in knobs.items()}
    for state in machine.states:
        if all(hardness(state.knobs[name]) >= value for name, value in least.items()):
            return state
    raise RegressionError(
        f"no state is as hard as {dict(knobs)}: a knob never falls on a resume. Add a state, or start a new run"
    )


def _as_hardness(name: str, value: float | str) -> float:
    if value == FULL:
        return inf
    if isinstance(value, str | bool) or value != value:
        raise SnapshotError(f'{name} is {value!r}; expected a number or "full"')
    return float(value)


def _limit(machine: Machine, name: str) -> float:
    return inf if machine.limits is None else machine.limits[name]


def earliest(machine: Machine, steps: int, lag: int = 0) -> BoundState:
    """The state after `steps` observations when every guard holds as soon as some loss stream could make it hold."""
    clock, state, taken = Clock(), machine.states[0], dict[str, int]()
    stay = machine.stay(state, machine.run.total_steps)
    sustained = [0] * len(state.transitions)
    per_epoch = machine.run.steps_per_epoch
    for step in range(1, steps + 1):
        if not state.transitions:
            break
        closes = per_epoch is not None and step % per_epoch == 0
        clock.step, clock.time = step, clock.time + 1
        clock.epoch, clock.closings = clock.epoch + closes, clock.closings + closes
        for place, transition in enumerate(state.transitions):
            if transition.regress or (transition.at == "epoch" and not closes):
                continue
            if transition.at_most is not None and taken.get(transition.key, 0) >= transition.at_most:
                continue
            holds = stay.guards[place].possible(clock, clock.time - lag) & TRUE
            sustained[place] = sustained[place] + 1 if holds else 0
            if sustained[place] >= transition.sustain:
                taken[transition.key] = taken.get(transition.key, 0) + 1
                state = machine.by_name[transition.target]
                stay, sustained = machine.stay(state, machine.run.total_steps), [0] * len(state.transitions)
                clock.time = clock.closings = 0
                break
    return state
