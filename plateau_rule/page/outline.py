"""What the page shows before a log is read: the machine, and where every run under it begins."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from plateau_rule.controller.binding import Binding
from plateau_rule.controller.edit.numbers import tunables
from plateau_rule.controller.errors import PlateauError, visible
from plateau_rule.controller.machine import Machine
from plateau_rule.controller.plan import plan_of
from plateau_rule.controller.step import start_run
from plateau_rule.page.as_data import drawn_machine, key_of, plan_as_data, stays
from plateau_rule.page.record import Recorded
from plateau_rule.sim.whatif.bound import bound


def outline_of(said: Recorded) -> dict[str, Any] | None:
    """The answer to `meta` while a run is still being opened; None where its curriculum says too little."""
    machine = _bound(said)
    if machine is None:
        return None
    return {
        "name": machine.curriculum.name,
        "origin": visible(said.origin),
        "file": said.file,
        "text": said.text,
        "notes": said.notes,
        "gen": 0,
        "cut": None,
        "live": False,
        "follows": True,
        "quiet": False,
        "opening": True,
        "reading": True,
        "ended": None,
        "points": 0,
        "steps": 0,
        "first": 0,
        "total": machine.total_steps,
        "per": machine.steps_per_epoch,
        "plan": plan_as_data(plan_of(machine, start_run(machine))),
        **drawn_machine(machine),
        "stays": stays(machine, ()),
        "decisions": [],
        "knobs": [],
        "rate": [],
        "edit": None,
        "simulated": None,
        "metrics": [],
        "others": [],
        "tunables": [{**one._asdict(), "path": key_of(one.path)} for one in tunables(said.text, said.file)],
    }


def _bound(said: Recorded) -> Machine | None:
    """The machine, bound without what only the log says: its drawing is the same."""
    for binding in (said.binding, Binding()):
        with suppress(PlateauError):
            return bound(said.text, binding, said.file)
    return None
