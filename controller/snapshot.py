"""What is saved of a controller, and how one goes on: load (exactly, or refused), adopt (nothing was saved)."""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Iterator, Mapping
from copy import copy
from heapq import heappop, heappush
from math import inf
from typing import TYPE_CHECKING, Any

from controller import clockwork
from controller.bound import Action, BoundState, Machine
from controller.errors import RegressionError, SnapshotError
from controller.guards import TRUE, Clock
from controller.language.curriculum import FULL
from controller.language.sense import hardness, nearest

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
            "length": str(clockwork.amount_in_force(rate, controller._state)),
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
        "limits": None if machine.limits is None else {name: machine.limits[name] for name in machine.curriculum.knob},
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
    trial = copy(controller)  # what fails half-way, fails on this one
    try:
        if saved["format"] != FORMAT:
            raise SnapshotError(
                f"the saved controller has format {saved['format']!r}; this version reads format {FORMAT}"
            )
        if checksum(saved) != saved["checksum"]:
            raise SnapshotError("the saved controller is damaged: its checksum does not fit. Use an older checkpoint")
        notes = _load(trial, saved, on_change)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise SnapshotError(f"the saved controller cannot be read: {type(error).__name__}: {error}") from None
    controller.__dict__.update(trial.__dict__)
    return notes


def _load(controller: Controller, saved: Mapping[str, Any], on_change: str) -> tuple[str, ...]:
    machine, total = controller.machine, controller.total_steps
    changes, notes = _changes(controller, saved)
    if changes and on_change == "refuse":
        raise SnapshotError(
            "the checkpoint was made under another curriculum: " + "; ".join(changes) + ". "
            'Resume with the curriculum it was made with, or go on with the new one by on_change="accept"'
        )
    state = machine.by_name.get(saved["state"])
    if state is None and any(written.name == saved["state"] for written in machine.curriculum.state):
        raise RegressionError(
            f'the checkpoint is in state "{saved["state"]}", which equals an easier one within the limits '
            f"{dict(machine.limits or {})}: a knob never falls on a resume. Bind the limits it was made with"
        )
    if state is None:
        raise SnapshotError(
            f'the checkpoint is in state "{saved["state"]}", which the curriculum no longer has. '
            + nearest(saved["state"], machine.by_name)
        )
    controller.clock, controller.floors = Clock(), {}
    controller._enter(state, total if saved["entered_total_steps"] is None else saved["entered_total_steps"])
    for hand in Clock.__slots__:
        setattr(controller.clock, hand, int(saved["clock"][hand]))
    _refuse_shorter(controller, saved["bound"])
    controller._rate = _rate(controller, saved["rate"], bool(changes))
    controller._requests = tuple(Action(name, argument) for name, argument in saved["plan"]["requests"])
    controller.taken = {str(key): int(count) for key, count in saved["taken"].items()}
    controller.floors = {name: hardness(value) for name, value in saved["floors"].items()}
    controller.skipped_values = int(saved["skipped_values"])
    controller._looks = deque(maxlen=controller._looks.maxlen)
    controller._plan = None
    if changes:
        _refuse_regression(controller)
    elif difference := _difference(controller, saved["plan"]):
        raise SnapshotError(f"the plan that was saved and the one computed from the same state differ: {difference}")
    if not changes or _comparable(controller, saved):
        _restore_detectors(controller, dict(saved["detectors"]), bool(changes))
    if not changes:
        controller._sustained = [int(count) for count in saved["sustained"]]
        if len(controller._sustained) != len(state.transitions):
            raise SnapshotError("the counts of looks in a row do not fit the state's transitions")
        if unlike := _unlike(controller, saved):
            raise SnapshotError(f"the saved controller cannot be restored as it was: {', '.join(unlike)} would differ")
    controller._raise_floors()
    return (*changes, *notes)


def _unlike(controller: Controller, saved: Mapping[str, Any]) -> list[str]:
    """The parts of a snapshot that would not be saved again as they are; names and a longer run may differ."""
    again = save(controller)
    free = ("curriculum", "bound", "checksum")
    return [key for key in again if key not in saved or (key not in free and saved[key] != again[key])]


def _rate(controller: Controller, saved: Mapping[str, Any], changed: bool) -> clockwork.RateClock:
    hands = {key: int(saved[key]) for key in ("anchor", "warm_steps", "cycle", "length_steps")}
    rate = clockwork.RateClock(**hands, scale=float(saved["scale"]))
    if not changed:
        return rate
    machine, state, total = controller.machine, controller._state, controller.total_steps
    rate = clockwork.carried(rate, machine, state, saved["length"], total)
    return clockwork.advanced(rate, machine, state, controller.clock.step, total)


def _comparable(controller: Controller, saved: Mapping[str, Any]) -> bool:
    """Whether losses from before an edit compare with those after it: the same knobs, the same steps."""
    after = {key: value for key, value in _bound(controller).items() if key not in ("epochs", "peak")}
    before = {key: saved["bound"][key] for key in after}
    return before == after and bool(saved["plan"]["knobs"] == dict(controller.plan.knobs))


def _restore_detectors(controller: Controller, contents: Mapping[str, Any], changed: bool) -> None:
    for key, (_, detector) in controller._stay.detectors.items():
        if key in contents:
            detector.restore(contents[key])
        elif not changed:
            raise SnapshotError(f"the contents of a detector are missing: {key}")


def _refuse_shorter(controller: Controller, bound: Mapping[str, Any]) -> None:
    clock, run = controller.clock, controller.machine.run
    if (bound["epochs"], bound["steps_per_epoch"]) == (run.epochs, run.steps_per_epoch):
        return  # a run that is over may be looked at
    over = f"the checkpoint is at step {clock.step}, epoch {clock.epoch}, and the run bound now has only"
    if run.total_steps is not None and clock.step >= run.total_steps:
        raise SnapshotError(f"{over} {run.total_steps} steps. Bind a longer run")
    if run.total_steps is None and run.epochs is not None and clock.epoch >= run.epochs:
        raise SnapshotError(f"{over} {run.epochs} epochs. Bind a longer run")


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


def _refuse_regression(controller: Controller) -> None:
    plan = controller.plan
    for name, value in plan.knobs.items():
        floor = controller.floors.get(name, -inf)
        if hardness(value) < floor:
            raise RegressionError(
                f'state "{plan.state}" sets {name} = {value}, and the run was already at {_finite(floor)}: a knob '
                "never falls on a resume. Raise it in the edited curriculum, or start a new run"
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
            hardest(machine, step, epoch),
            "the hardest state that this curriculum could have reached by then",
        )
    total = controller.total_steps
    controller._enter(state, total)
    controller.clock.step, controller.clock.epoch = step, epoch
    first = machine.states[0]
    rate = clockwork.advanced(clockwork.start(machine, first, total), machine, first, step, total)
    rate = clockwork.carried(rate, machine, state, str(clockwork.amount_in_force(rate, first)), total)
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


def hardest(machine: Machine, step: int, epoch: int) -> BoundState:
    """The hardest state that some loss stream could have brought a run to by then.

    Where knobs disagree about which of two states is harder, it is the later one in the file; a state that stops the
    run is none to go on in.
    """
    reached = earliest(machine, step, epoch)
    found = machine.states[0]
    for state in machine.states:
        if state.name in reached and state.stop is None and not _easier(state, found):
            found = state
    return found


def _easier(one: BoundState, other: BoundState) -> bool:
    pairs = [(hardness(one.knobs[name]), hardness(other.knobs[name])) for name in one.knobs]
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)


def earliest(machine: Machine, step: int, epoch: int) -> dict[str, int]:
    """The first step that each state could have applied to, for the states that could have been entered by `step`.

    Every guard holds as soon as some loss stream could make it hold; transitions that may lower a knob are left out.
    Where steps_per_epoch is not bound, any observation may have closed an epoch, `epoch` of them at most.
    """
    reached: dict[str, int] = {}
    todo = [(0, machine.states[0].name)]
    while todo:
        entered, name = heappop(todo)
        if name not in reached:
            reached[name] = entered
            for way in _ways_out(machine, machine.by_name[name], entered, step, epoch):
                heappush(todo, way)
    return reached


def _ways_out(machine: Machine, state: BoundState, entered: int, step: int, epoch: int) -> Iterator[tuple[int, str]]:
    """The first step that each state that can follow on this one can apply to."""
    per_epoch, clock = machine.run.steps_per_epoch, Clock()
    stay = machine.stay(state, machine.run.total_steps)
    ways = [(place, way) for place, way in enumerate(state.transitions) if not way.regress]
    may, must = [0] * len(state.transitions), [0] * len(state.transitions)  # looks in a row
    left = {way.target for _, way in ways}
    clock.epoch = entered // per_epoch if per_epoch else min(entered, epoch)
    for clock.step in range(entered + 1, step + 1):
        closes = clock.step % per_epoch == 0 if per_epoch else True
        clock.time += 1
        clock.epoch = clock.epoch + closes if per_epoch else min(clock.step, epoch)
        clock.closings = clock.closings + closes if per_epoch else min(clock.time, epoch)
        for place, way in ways:
            if way.at == "epoch" and not closes:
                continue
            bits = stay.guards[place].possible(clock, clock.time)
            may[place] = may[place] + 1 if bits & TRUE else 0
            must[place] = must[place] + 1 if bits == TRUE else 0
            if may[place] >= way.sustain and way.target in left:
                left.remove(way.target)
                yield clock.step, way.target
            known = way.at == "step" or (way.at == "epoch" and per_epoch is not None)
            if known and way.at_most is None and must[place] >= way.sustain:
                return  # no stream stays any longer
        if not left:
            return
