"""The state of a run as JSON-able data, and the way back: exactly as it was, or refused."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Any

from plateau_rule.controller.arguments import kind_of
from plateau_rule.controller.counts_saved import BOUNDS, bounds_saved, counts_saved, same_bounds, with_counts
from plateau_rule.controller.errors import RegressionError, SnapshotError
from plateau_rule.controller.guards import Clock
from plateau_rule.controller.language.canonical import digest
from plateau_rule.controller.language.consistency import nearest
from plateau_rule.controller.language.curriculum import FULL
from plateau_rule.controller.language.knob_values import NUMBER, as_data, hardness, kind_of_value, value_of
from plateau_rule.controller.lead import steps_shown
from plateau_rule.controller.machine import Action, BoundState, Machine, limits_shown
from plateau_rule.controller.plan import Plan, count_ends, plan_of
from plateau_rule.controller.rate import RateClock, advance, amount_in_force, carry_over, share_of_peak
from plateau_rule.controller.readings import as_saved, from_saved
from plateau_rule.controller.state import Due, RunState, Waiting
from plateau_rule.controller.step import enter, raise_floors, settle, start_run

FORMAT = 2
EARLIER = (1,)  # the same but for what a plateau by `returns` holds
SAME_RATE = 1e-9  # relative; a larger difference is told


def save(machine: Machine, run: RunState) -> dict[str, Any]:
    """All that a resumed run needs, as JSON-able data with a checksum."""
    rate, plan = run.rate, plan_of(machine, run)
    saved: dict[str, Any] = {
        "format": FORMAT,
        "curriculum": machine.curriculum.name,
        "fingerprint": machine.fingerprint,
        "states": {state.name: state.fingerprint for state in machine.states},
        "bound": _bound(machine),
        "state": run.state.name,
        "entered_total_steps": run.entered_length,
        "clock": {hand: getattr(run, hand) for hand in Clock.__slots__},
        "rate": {
            "anchor": rate.anchor,
            "warm_steps": rate.warm_steps,
            "cycle": rate.cycle,
            "length_steps": rate.length_steps,
            "length": str(amount_in_force(rate, run.state)),
            "scale": rate.scale,
            **({} if rate.warm_from is None else {"warm_from": rate.warm_from}),
            **counts_saved(machine, rate, run.step),
            **({} if run.lr_before is None or rate.anchor != run.step else {"before": run.lr_before}),
        },
        "detectors": [[key, detector.contents()] for key, (_, detector) in run.stay.detectors.items()],
        "sustained": list(run.sustained),
        "taken": dict(run.taken),
        "floors": {name: _floor(machine, name, value) for name, value in run.floors.items()},
        "skipped_values": run.skipped_values,
        **_evaluations(run),
        "plan": {
            "step": plan.step,
            "epoch": plan.epoch,
            "state": plan.state,
            "knobs": _knobs(plan),
            "lr": plan.lr,
            "requests": [[action.name, action.argument] for action in plan.requests],
        },
    }
    if machine.lead:
        saved["lead"] = _under_lead(run)
    saved["checksum"] = checksum(saved)
    return saved


def _under_lead(run: RunState) -> dict[str, Any]:
    """What waits and what is in store; transitions by key and by place."""
    waiting = run.waiting and {
        "transition": run.state.transitions[run.waiting.place].key,
        "step": run.waiting.step,
        "since": run.waiting.since,
        "loss": run.waiting.loss if run.waiting.loss is None else repr(run.waiting.loss),
        "lines": run.waiting.lines and list(run.waiting.lines),
        **({"readings": [as_saved(way) for way in run.waiting.readings]} if run.waiting.readings else {}),
    }
    return {"since": run.since, "due": run.due and list(run.due), "waiting": waiting}


def _evaluations(run: RunState) -> dict[str, Any]:
    """What is remembered of metrics and evaluations; nothing where none came."""
    if run.evaluated < 0 and not run.given:
        return {}
    remark = run.remark[1:] if run.remark is not None and run.remark[0] == run.step else ()
    return {
        "evaluations": {"step": run.evaluated, "given": sorted(run.given), **({"remark": remark[0]} if remark else {})}
    }


def checksum(saved: Mapping[str, Any]) -> str:
    """SHA-256 of a snapshot's canonical JSON without its checksum, in hex."""
    content = {key: value for key, value in saved.items() if key != "checksum"}
    return digest(content)


def _bound(machine: Machine) -> dict[str, Any]:
    return {
        "limits": None if machine.limits is None else {name: machine.limits[name] for name in machine.curriculum.knob},
        "epochs": machine.run.epochs,
        "steps_per_epoch": machine.run.steps_per_epoch,
        "tokens_per_step": list(told) if isinstance(told := machine.run.tokens_per_step, tuple) else told,
        "peak": machine.peak,
        "lag": machine.lag,
        **bounds_saved(machine),
        **({"lead": dict(machine.lead)} if machine.lead else {}),
    }


def _knobs(plan: Plan) -> dict[str, Any]:
    """The knobs of a plan as JSON gives them back."""
    return {name: as_data(value) for name, value in plan.knobs.items()}


def _floor(machine: Machine, name: str, hard: float) -> Any:
    """The value of a knob that is as hard as a run has been."""
    if name in machine.ranks:
        return as_data(next(value for value, place in machine.ranks[name].items() if place == hard))
    value = machine.signs.get(name, 1.0) * hard
    return FULL if value == inf else value


def _floor_in(machine: Machine, name: str, saved: Any) -> float | None:
    """How hard a saved value is; None where the knob has no order, or the curriculum no longer has the value."""
    sign, value = machine.signs.get(name, 1.0), value_of(saved)
    if not sign:
        return None
    ranks = machine.ranks.get(name)
    if ranks is not None or kind_of_value(value) != NUMBER:
        return None if ranks is None or value not in ranks else float(ranks[value])
    return sign * hardness(value)


def load(machine: Machine, saved: object, on_change: str) -> tuple[RunState, tuple[str, ...]]:
    """The state of the run that was saved.

    Args:
        machine: the curriculum as it is bound now.
        saved: what `save` gave.
        on_change: where the curriculum was edited since, "refuse" or "accept".

    Returns:
        The state, and sentences about what differs.

    Raises:
        SnapshotError: it does not fit or is damaged.
        RegressionError: a knob would fall.
    """
    if on_change not in ("refuse", "accept"):
        raise SnapshotError(f'on_change is {on_change!r}; expected "refuse" or "accept"')
    if not isinstance(saved, Mapping) or "format" not in saved:
        raise SnapshotError(f"the saved controller is {kind_of(saved)}; expected what state_dict gave")
    try:
        if saved["format"] not in (*EARLIER, FORMAT):
            raise SnapshotError(
                f"the saved controller has format {saved['format']!r}; this version reads formats up to {FORMAT}"
            )
        if checksum(saved) != saved["checksum"]:
            raise SnapshotError("the saved controller is damaged: its checksum does not fit. Use an older checkpoint")
        changes, notes = _changes(machine, saved)
        if changes and on_change == "refuse":
            raise SnapshotError(
                "the checkpoint was made under another curriculum: " + "; ".join(changes) + ". "
                'Resume with the curriculum it was made with, or go on with the new one by on_change="accept"'
            )
        run = _restore(machine, saved, bool(changes))
        return run, (*changes, *_jump(machine, run, saved["plan"]["lr"]), *notes)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise SnapshotError(f"the saved controller cannot be read: {type(error).__name__}: {error}") from None


def _restore(machine: Machine, saved: Mapping[str, Any], changed: bool) -> RunState:
    """The state that was saved; `changed` says whether the curriculum was edited since."""
    run, state, total = start_run(machine), _state_named(machine, saved["state"]), saved["entered_total_steps"]
    enter(machine, run, state, machine.length if total is None else total)
    for hand in Clock.__slots__:
        setattr(run, hand, int(saved["clock"][hand]))
    _refuse_shorter(machine, run, saved["bound"])
    run.rate = _rate(machine, run, saved, changed)
    if machine.bounds and not same_bounds(machine, saved["bound"]) and count_ends(machine, run) <= run.step:
        raise SnapshotError(f"the run bound now is over by what the checkpoint has counted, at step {run.step}. "
                            "Bind a longer run")  # fmt: skip
    run.requests = tuple(Action(name, argument) for name, argument in saved["plan"]["requests"])
    run.taken = {str(key): int(count) for key, count in saved["taken"].items()}
    if changed and (waiting := _waiting_in(saved)):
        run.taken[waiting["transition"]] -= 1  # the edited curriculum decides it anew
    floors = {name: _floor_in(machine, name, value) for name, value in saved["floors"].items()}
    run.floors = {name: hard for name, hard in floors.items() if hard is not None}
    run.skipped_values = int(saved["skipped_values"])
    evaluations = saved.get("evaluations", {"step": -1, "given": []})
    run.evaluated, run.given = int(evaluations["step"]), set(map(str, evaluations["given"]))
    run.remark = (run.step, str(evaluations["remark"])) if "remark" in evaluations else None
    plan = plan_of(machine, run)
    if changed:
        _refuse_regression(machine, run, plan)
    elif difference := _difference(plan, saved["plan"]):
        raise SnapshotError(f"the plan that was saved and the one computed from the same state differ: {difference}")
    _restore_detectors(run, dict(saved["detectors"]), changed, not changed or _comparable(machine, plan, saved))
    if not changed:
        run.sustained = [int(count) for count in saved["sustained"]]
        if len(run.sustained) != len(state.transitions):
            raise SnapshotError("the counts of looks in a row do not fit the state's transitions")
    anew = changed or saved["bound"].get("lead", {}) != machine.lead
    if machine.lead and not anew:
        _restore_waiting(run, saved["lead"])
    if not changed and (unlike := _unlike(save(machine, run), saved)):
        raise SnapshotError(f"the saved controller cannot be restored as it was: {', '.join(unlike)} would differ")
    if machine.lead and anew:
        settle(machine, run, None)  # nothing was told to anyone yet
    raise_floors(machine, run, run.time)
    return run


def _restore_waiting(run: RunState, under: Mapping[str, Any]) -> None:
    run.since = under["since"]
    if under["due"]:
        run.due = Due(*map(int, under["due"]))
    if under["waiting"]:
        given = under["waiting"]
        keys = [transition.key for transition in run.state.transitions]
        loss, lines = given["loss"], given["lines"]
        run.waiting = Waiting(
            keys.index(given["transition"]),
            int(given["step"]),
            given["since"],
            None if loss is None else float(loss),
            None if lines is None else tuple(map(str, lines)),
            tuple(map(from_saved, given.get("readings", ()))),
        )


def _waiting_in(saved: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The transition that waits in a snapshot."""
    waiting: Mapping[str, Any] | None = saved.get("lead", {}).get("waiting")
    return waiting


def _state_named(machine: Machine, name: str) -> BoundState:
    state = machine.by_name.get(name)
    if state is not None:
        return state
    if any(written.name == name for written in machine.curriculum.state):
        raise RegressionError(
            f'the checkpoint is in state "{name}", which equals an easier one within the limits '
            f"{limits_shown(machine.limits)}: a knob never falls on a resume. Bind the limits it was made with"
        )
    raise SnapshotError(
        f'the checkpoint is in state "{name}", which the curriculum no longer has. {nearest(name, machine.by_name)}'
    )


def _unlike(again: Mapping[str, Any], saved: Mapping[str, Any]) -> list[str]:
    """The parts of a snapshot that are not saved again as they were; names and a longer run may differ."""
    free = ("format", "curriculum", "bound", "checksum")
    asked = [key for key in again if key != "lead" or saved["bound"].get("lead") == again["bound"].get("lead")]
    return [key for key in asked if key not in saved or (key not in free and saved[key] != again[key])]


def _rate(machine: Machine, run: RunState, snapshot: Mapping[str, Any], changed: bool) -> RateClock:
    saved = snapshot["rate"]
    anchor, warm, cycle, length = (int(saved[key]) for key in ("anchor", "warm_steps", "cycle", "length_steps"))
    warm_from = saved.get("warm_from")
    warm_from = None if warm_from is None else float(warm_from)
    rate = RateClock(anchor, warm, cycle, length, float(saved["scale"]), warm_from)
    rate = with_counts(rate, machine, run, snapshot, changed)
    run.lr_before = None if "before" not in saved else float(saved["before"])
    if not changed:
        return rate
    return advance(carry_over(rate, machine, run.state, saved["length"]), machine, run.state, run.step)


def _jump(machine: Machine, run: RunState, before: float) -> list[str]:
    """Whether an edit makes the rate jump, and why it is low where its phase goes on."""
    now = plan_of(machine, run).lr
    if abs(now - before) <= SAME_RATE * max(now, before):
        return []
    goes_on = ""
    if now < before and share_of_peak(run.rate, run.state, run.step) < 1.0:
        goes_on = f": the phase began at step {run.rate.anchor}; a transition with lr_restart starts it anew"
    return [f"the rate was {before:.3g} and is {now:.3g}{goes_on}"]


def _comparable(machine: Machine, plan: Plan, saved: Mapping[str, Any]) -> bool:
    """Whether losses from before an edit compare with those after it: the same knobs, the same steps."""
    after = {key: value for key, value in _bound(machine).items() if key not in (*BOUNDS, "clock", "peak", "lead")}
    before = {key: saved["bound"].get(key) for key in after}
    return before == after and bool(saved["plan"]["knobs"] == _knobs(plan))


def _restore_detectors(run: RunState, contents: Mapping[str, Any], changed: bool, comparable: bool) -> None:
    """Fill the detectors; those of the whole run also where this state's losses no longer compare."""
    for key, (_, detector) in run.stay.detectors.items():
        if not comparable and key not in run.stay.kept:
            continue
        if key in contents:
            detector.restore(contents[key])
        elif not changed:
            raise SnapshotError(f"the contents of a detector are missing: {key}")


def _refuse_shorter(machine: Machine, run: RunState, bound: Mapping[str, Any]) -> None:
    length = machine.run
    if (bound["epochs"], bound["steps_per_epoch"]) == (length.epochs, length.steps_per_epoch):
        return  # a run that is over may be looked at
    over = f"the checkpoint is at step {run.step}, epoch {run.epoch}, and the run bound now has only"
    if length.total_steps is not None and run.step >= length.total_steps:
        raise SnapshotError(f"{over} {length.total_steps} steps. Bind a longer run")
    if length.total_steps is None and length.epochs is not None and run.epoch >= length.epochs:
        raise SnapshotError(f"{over} {length.epochs} epochs. Bind a longer run")


def _changes(machine: Machine, saved: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """What was edited since, in words; and what differs without being an edit."""
    changes, notes, bound = [], [], _bound(machine)
    if saved["fingerprint"] != machine.fingerprint:
        now = {state.name: state.fingerprint for state in machine.states}
        then = saved["states"]
        parts = [f'state "{name}" is gone' for name in then if name not in now]
        parts += [f'state "{name}" is new' for name in now if name not in then]
        edited = [name for name in now if name in then and now[name] != then[name]]
        parts += [f'state "{name}" or a transition out of it was edited' for name in edited]
        changes.append("; ".join(parts) or "the rate, the knobs or the order of the states was edited")
    if (lead := saved["bound"].get("lead", {})) != machine.lead:
        told = f"lead was {steps_shown(lead)}, and is {steps_shown(machine.lead)}"
        if waiting := _waiting_in(saved):
            changes.append(f"{told}, while a transition waits for step {waiting['step']}")
        else:
            notes.append(f"{told}: taken up from here")
    for key in dict.fromkeys((*saved["bound"], *bound)):
        before, after = saved["bound"].get(key), bound.get(key)
        if key == "lead" or before == after:
            continue
        if key not in BOUNDS or before is None or after is None:
            changes.append(f"{key} was {before}, and is {after}")
        else:
            kept = "what has begun keeps its length, what has not is measured on the new one"
            unit = "" if key == "cost" else f" {key}"
            notes.append(f"the run was {before}{unit} long, and is {after}: {kept}")
    return changes, notes


def _refuse_regression(machine: Machine, run: RunState, plan: Plan) -> None:
    for name, value in plan.knobs.items():
        floor = run.floors.get(name, -inf)
        if machine.hardness(name, value) < floor:
            before = _floor(machine, name, floor)
            before = int(before) if isinstance(before, float) and before.is_integer() else before
            raise RegressionError(
                f'state "{plan.state}" sets {name} = {value}, and the run was already at {before}: a knob never falls '
                "on a resume. Raise it in the edited curriculum, or start a new run"
            )


def _difference(now: Plan, saved: Mapping[str, Any]) -> str:
    pairs = {
        "step": (saved["step"], now.step),
        "epoch": (saved["epoch"], now.epoch),
        "state": (saved["state"], now.state),
        "knobs": (saved["knobs"], _knobs(now)),
        "lr": (saved["lr"], now.lr),
    }
    return ", ".join(f"{key} {then} and {after}" for key, (then, after) in pairs.items() if then != after)
