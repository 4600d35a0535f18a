"""What the meters have counted, and where they end a run, as a snapshot holds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from plateau_rule.controller.errors import SnapshotError
from plateau_rule.controller.machine import Machine
from plateau_rule.controller.meters import KnobClock
from plateau_rule.controller.rate import Counts, RateClock, amount_in_force, begin, measure
from plateau_rule.controller.state import RunState
from plateau_rule.controller.tally import Counted

BOUNDS = ("epochs", "tokens", "cost")  # of a run: a longer one is no edit


def bounds_saved(machine: Machine) -> dict[str, Any]:
    """Where the meters end a run, and what a step costs; nothing where nothing is said of it."""
    run, factors = machine.run, machine.curriculum.run.cost_per_step
    cost = None if run.cost is None else float(run.cost)
    found = {"tokens": run.tokens, "cost": cost, "clock": run.clock, "cost_per_step": factors and list(factors)}
    return {key: value for key, value in found.items() if value is not None}


def same_bounds(machine: Machine, bound: Mapping[str, Any]) -> bool:
    """Whether a run ends where it did when it was saved, by its epochs as by its meters."""
    length = machine.run
    now = {"epochs": length.epochs, "steps_per_epoch": length.steps_per_epoch, **bounds_saved(machine)}
    return all(now.get(key) == bound.get(key) for key in ("steps_per_epoch", *BOUNDS))


def counts_saved(machine: Machine, rate: RateClock, step: int) -> dict[str, Any]:
    """Where the meters stand, by their names; nothing where there are none."""
    counts = rate.counts
    if counts is None:
        return {}
    names = [meter.name for meter in machine.meters]

    def named(counted: Counted) -> dict[str, int]:
        return dict(zip(names, counted, strict=True))

    return {
        "counts": {
            "step": counts.step,
            "entered": named(counts.entered),
            "begun": named(counts.begun),
            "now": named(counts.all_at(step)),
            "meter": None if counts.meter is None else names[counts.meter],
            "length": counts.length,
            "scale": {meter.name: meter.scale for meter in machine.meters},
        }
    }


def with_counts(rate: RateClock, machine: Machine, run: RunState, saved: Mapping[str, Any], changed: bool) -> RateClock:
    """The rate's clock with the counts that were saved with it.

    After an edit, what was counted by now stays, and goes on by the knobs of the edited curriculum.
    """
    given = saved["rate"].get("counts")
    if changed:
        rate = replace(rate, cycle=min(rate.cycle, max(0, len(machine.cycles) - 1)))
    if not machine.meters:
        if given is None or given["meter"] is None:
            return rate
        return measure(rate, machine, run.state)
    tally, names = machine.tally(run.state, run.entered_length), [meter.name for meter in machine.meters]
    if not changed:
        meter = None if given["meter"] is None else names.index(given["meter"])
        entered, begun = (tuple(int(given[key][name]) for name in names) for key in ("entered", "begun"))
        return replace(rate, counts=Counts(int(given["step"]), entered, begun, tally, meter, int(given["length"])))
    entry = run.step - run.time
    now = tuple(_known(meter, given, "now") for meter in machine.meters)
    entered = tuple(count - tally.at(meter, run.time) for meter, count in enumerate(now))
    begun = tuple(_known(meter, given, "begun") for meter in machine.meters)
    before, amount = given["meter"], amount_in_force(rate, run.state)
    after = machine.meter_of(amount)
    alike = before == (None if after is None else names[after])
    if after is not None and alike:
        length = int(given["length"]) * machine.meters[after].scale // int(given["scale"][names[after]])
        rate = replace(rate, counts=Counts(entry, entered, begun, tally, after, length))
    else:
        rate = replace(rate, counts=Counts(entry, entered, begun, tally))
    warms = run.step < rate.begun
    rate = begin(rate) if warms else rate
    return rate if alike and not (warms and amount.unit == "rest") else measure(rate, machine, run.state)


def _known(meter: KnobClock, given: Mapping[str, Any] | None, key: str) -> int:
    """What a meter had counted, or would have, in the whole units that it counts in now."""
    name = meter.name
    if given is not None and name in given[key]:
        return int(given[key][name]) * meter.scale // int(given["scale"][name])
    raise SnapshotError(
        f"the checkpoint has counted no {name}, which this curriculum does. Resume with the curriculum that it was "
        "made with, or take it up by adopt"
    )
