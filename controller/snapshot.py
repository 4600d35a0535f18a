"""What is saved of a controller, and how one goes on from it: exactly, or refused."""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Mapping
from copy import copy
from math import inf
from typing import TYPE_CHECKING, Any

from plateau_rule.controller import clockwork
from plateau_rule.controller.errors import RegressionError, SnapshotError
from plateau_rule.controller.guards import Clock
from plateau_rule.controller.language.consistency import hardness, nearest
from plateau_rule.controller.language.curriculum import FULL
from plateau_rule.controller.machine import Action, limits_shown

if TYPE_CHECKING:
    from plateau_rule.controller.controller import Controller

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
            f"{limits_shown(machine.limits)}: a knob never falls on a resume. Bind the limits it was made with"
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
    controller._raise_floors(controller.clock.time)
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
            before = _finite(int(floor) if floor.is_integer() else floor)
            raise RegressionError(
                f'state "{plan.state}" sets {name} = {value}, and the run was already at {before}: a knob never falls '
                "on a resume. Raise it in the edited curriculum, or start a new run"
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
