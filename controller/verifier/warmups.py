"""Whether a warm-up gets done: one that outlasts the run, or the stay that it begins in, never brings the rate up."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from plateau_rule.controller.errors import Key
from plateau_rule.controller.guards.dwell import PAUSE
from plateau_rule.controller.machine import Machine
from plateau_rule.controller.rate import warming
from plateau_rule.controller.verifier.findings import Finding, percent
from plateau_rule.controller.verifier.zone_graph import Node, Reach
from plateau_rule.controller.verifier.zones import FAR

LONGER = f"add a least time to the guards that end the stay, such as {PAUSE}"


class Warmed(NamedTuple):
    """A warm-up that begins with a stay, and how long such a stay is, in steps, before a restart or the run ends it."""

    place: int
    steps: int
    start: float | None
    shortest: int
    longest: int


def warmups(machine: Machine, reach: Reach) -> Iterator[Finding]:
    """Warm-ups that are longer than the run, or than the stays in their state."""
    total, of_run = machine.run.total_steps, machine.warmup
    outlasts = total is not None and of_run.steps >= total
    if outlasts:
        yield Finding("warmup-unfinished", "timing", "warning", _path(machine, 0),
                      f"the warm-up of {of_run.steps} steps does not fit into the run of {total} steps",
                      "Shorten the warm-up, or make the run longer")  # fmt: skip
    if not reach.finished:
        return
    cut, short = dict[tuple[Key, ...], list[Warmed]](), dict[tuple[Key, ...], list[Warmed]]()
    for place in range(len(machine.states)):
        one = _warmed(machine, reach, place)
        if one is None or (outlasts and place == 0) or one.shortest >= one.steps:
            continue
        told = cut if one.longest < one.steps else short
        told.setdefault(_path(machine, place), []).append(one)
    for path, warmed in cut.items():
        yield _cut_off(machine, path, warmed)
    for path, warmed in short.items():
        yield _may_be_cut(machine, path, warmed)


def _path(machine: Machine, place: int) -> tuple[Key, ...]:
    """Where the warm-up of a state is written."""
    state = machine.states[place]
    own = machine.curriculum.state[state.index].lr.warmup is not None
    return ("state", state.index, "lr", "warmup") if own else ("lr", "warmup")


def _warmed(machine: Machine, reach: Reach, place: int) -> Warmed | None:
    """The warm-up that a restart into a state, or the start of the run, brings; None where there is none."""
    nodes = [node for node in reach.nodes if node.into is None and _begins_warm(node, place)]
    if machine.states[place].stop is not None or not nodes:
        return None
    ends = [end for node in nodes for end in _ends(machine, node)]
    if not ends:
        return None
    warm = nodes[0].kind.warm
    return Warmed(place, warm.steps, warm.start, min(low for low, _ in ends), max(high for _, high in ends))


def _begins_warm(node: Node, place: int) -> bool:
    return node.kind.state == place and node.kind.warm.steps > 0 and node.zone.since_low == node.zone.since_high == 0


def _ends(machine: Machine, node: Node) -> Iterator[tuple[int, int]]:
    """How long the stays of a node are, at the least and at the most; without a restart its warm-up goes on."""
    for edge in node.to:
        yield edge.spent if edge.shift is None else (FAR, FAR)
    total = machine.run.total_steps
    if node.stays:
        yield (FAR, FAR) if total is None else (total - node.zone.entry_high, total - node.zone.entry_low)


def _cut_off(machine: Machine, path: tuple[Key, ...], warmed: list[Warmed]) -> Finding:
    """Whatever the losses are, the rate does not get to its peak."""
    one = warmed[0]
    top = percent(warming(one.longest - 1, one.steps, one.start))
    return Finding("warmup-unfinished", "timing", "warning", path,
                   f"{_stay(machine, warmed)} ends after {one.longest} steps at the latest, before its warm-up of "
                   f"{one.steps} steps is over: the rate gets to {top} of the peak",
                   f"Shorten the warm-up, or {LONGER}")  # fmt: skip


def _may_be_cut(machine: Machine, path: tuple[Key, ...], warmed: list[Warmed]) -> Finding:
    """Some losses end the stay before the rate has got to its peak."""
    one = warmed[0]
    return Finding("warmup-unfinished", "timing", "note", path,
                   f"{_stay(machine, warmed)} may end after {one.shortest} steps, before its warm-up of {one.steps} "
                   "steps is over",
                   f"Nothing has to be done. To rule it out, {LONGER}")  # fmt: skip


def _stay(machine: Machine, warmed: list[Warmed]) -> str:
    name, more = machine.states[warmed[0].place].name, len(warmed) - 1
    return f'a stay in "{name}"' + (f" (and in {more} other state{'s' * (more > 1)})" if more else "")
