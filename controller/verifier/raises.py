"""What transitions do to knobs and to the rate: `monotone` and `aligned`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from plateau_rule.controller.language.consistency import hardness
from plateau_rule.controller.machine import BoundState, Knobs, Machine
from plateau_rule.controller.verifier.alignment import Alignment, Miss
from plateau_rule.controller.verifier.examples import TRIES, Examples, Trail, trail_of
from plateau_rule.controller.verifier.findings import LITTLE, Finding, RaiseRates, percent
from plateau_rule.controller.verifier.zone_graph import Edge, Explored, Reach, restarts_rate
from plateau_rule.controller.verifier.zones import FAR


class _Found(NamedTuple):
    """Something that a transition does, on an edge of what was explored."""

    reach: Reach
    edge: Edge
    name: str


# monotone


def monotone(machine: Machine, explored: Explored, examples: Examples) -> Iterator[Finding]:
    """Knobs that fall unmarked, and ways round that at_most does not bound."""
    falls: dict[int, list[_Found]] = {}
    fallen, taken = set[int](), set[int]()
    for reach, edge in explored.edges():
        name, transition = _falls(machine, edge), reach.transition(edge)
        taken.add(transition.index)
        if name and transition.regress:
            fallen.add(transition.index)
        elif name:
            falls.setdefault(transition.index, []).append(_Found(reach, edge, name))
    for index, found in sorted(falls.items()):
        yield _fall(machine, index, found, examples)
    for index, written in enumerate(machine.curriculum.transition):
        if written.regress and index in taken - fallen:
            yield Finding("idle-regress", "monotone", "note", ("transition", index, "regress"),
                          "regress = true, and no knob falls", "Remove it", at_key=True)  # fmt: skip
    yield from _cycles(machine, explored, examples)


def _fall(machine: Machine, index: int, found: list[_Found], examples: Examples) -> Finding:
    reach, edge, name = found[0]
    old, new = reach.state(edge.source), machine.states[edge.kind.state]
    ramp = ", which its ramp can have reached," if name in old.ramps else ""
    finding = Finding("knob-falls", "monotone", "error", ("transition", index, "to"),
                      f"{name} falls from {_at_last(machine, edge)[name]}{ramp} to {new.knobs[name]} between "
                      f'"{old.name}" and "{new.name}", and the transition is not marked',
                      "Exchange the states, or write regress = true and at_most if this is a retreat")  # fmt: skip
    exact = [one for one in found if one.reach.exact][:TRIES]
    return examples.happens(finding, (_fallen(machine, *one) for one in exact))


def _fallen(machine: Machine, reach: Reach, edge: Edge, name: str) -> Trail | None:
    """A trail on which a knob falls; over a ramp, the longest stay is the likeliest."""
    old, new = reach.state(edge.source), machine.states[edge.kind.state]
    step = edge.zone.entry_high if old.ramps else edge.zone.entry_low
    trail = trail_of(reach, edge, (step, None), step, step, "")
    if trail is None:
        return None
    entered = trail.taken[-2][1] if len(trail.taken) > 1 else 0
    before, after = _ramped(machine, old, step - entered)[name], new.knobs[name]
    falls = hardness(before) > hardness(after)
    return trail._replace(shows=f"{name} falls from {before} to {after}") if falls else None


def _at_last(machine: Machine, edge: Edge) -> Knobs:
    """The knobs on the last step of the longest stay that an edge ends."""
    return _ramped(machine, machine.states[edge.source.kind.state], edge.spent[1])


def _ramped(machine: Machine, state: BoundState, spent: int) -> Knobs:
    """The knobs on the last step of a stay of so many steps."""
    if not state.ramps:
        return state.knobs
    over = machine.ramp_steps(state, machine.run.total_steps)
    time = min(spent - 1, max(over.values()))
    return {**state.knobs, **{name: ramp.value(time, over[name]) for name, ramp in state.ramps.items()}}


def _falls(machine: Machine, edge: Edge) -> str:
    """A knob that falls on an edge, or nothing."""
    old, new = _at_last(machine, edge), machine.states[edge.kind.state].knobs
    return next((name for name, value in new.items() if hardness(value) < hardness(old[name])), "")


def _cycles(machine: Machine, explored: Explored, examples: Examples) -> Iterator[Finding]:
    """Ways round that at_most does not bound, one for each set of states that can be gone round."""
    told: set[frozenset[int]] = set()
    for reach, edge in explored.edges():
        around = _way_round(reach, edge)
        if around is None or frozenset(around) in told:
            continue
        told.add(frozenset(around))
        names = " -> ".join(machine.states[place].name for place in [*around, around[0]])
        step, entered = edge.zone.entry_low, machine.states[edge.kind.state].name
        finding = Finding("unbounded-cycle", "monotone", "error", ("transition", reach.transition(edge).index),
                          f"{names} can be gone round without end",
                          "Write at_most on the transition that leads back")  # fmt: skip
        trail = trail_of(reach, edge, (step, None), step, step, f'"{entered}" is entered again')
        yield examples.happens(finding, [trail] if reach.exact else [])


def _way_round(reach: Reach, edge: Edge) -> list[int] | None:
    """The states from the one that an edge enters, through transitions without at_most, to the one that it leaves."""
    if reach.transition(edge).at_most is not None:
        return None
    around, node = [], edge.source
    while True:
        around.append(node.kind.state)
        if node.kind.state == edge.kind.state:
            return around[::-1]
        if node.by is None or reach.transition(node.by).at_most is not None:
            return None
        node = node.by.source


# aligned


def aligned(
    machine: Machine, explored: Explored, examples: Examples, *, waived: bool, streams: bool
) -> Iterator[Finding]:
    """Raises into a low rate, the earliest of each transition.

    waived: no stream need be found. streams: look for the streams of warnings, and of what is waived, as well.
    """
    rates = Alignment(machine)
    misses: dict[int, list[tuple[Reach, Miss]]] = {}
    for reach, edge in _raises(rates, explored):
        index = reach.transition(edge).index
        for known, moment in rates.moments(reach, edge):
            if not reach.exact and index in misses:
                break  # where nodes were merged, more moments make it no more certain
            if (found := rates.miss(reach, known, moment)) is not None:
                misses.setdefault(index, []).append((reach, found))
    for index, all_found in sorted(misses.items()):
        all_found.sort(key=lambda one: (not one[0].exact, one[1].moment.step, one[1].step))
        trails = (_missed(reach, found) for reach, found in all_found[:TRIES] if reach.exact)
        worst = min(found.share for _, found in all_found)
        finding = _low_rate(rates, index, *all_found[0], worst)
        left = max(rates.left(found) for _, found in all_found)
        if left <= LITTLE * (machine.run.total_steps or 0):
            finding = finding.weaker("warning", f"only in the last {left} steps of the run")
            yield examples.shown(finding, trails, streams)
        else:
            yield examples.happens(finding, trails, streams or not waived)


def _raises(rates: Alignment, explored: Explored) -> Iterator[tuple[Reach, Edge]]:
    """Every edge that raises a knob, those that are alike once; in a state that stops the training no step is taken."""
    seen = set()
    for reach, edge in explored.edges():
        if rates.machine.states[edge.kind.state].stop is not None:
            continue
        key = (reach.exact, edge.source.kind.state, edge.place, edge.shift is None, edge.kind.state, edge.kind.cycle,
               edge.kind.warm, edge.zone)  # fmt: skip
        if key not in seen and rates.jump(edge).raised:
            seen.add(key)
            yield reach, edge


def _missed(reach: Reach, found: Miss) -> Trail | None:
    shows = f"the rate is {percent(found.share)} of the peak, {percent(found.asked)} is asked"
    return trail_of(reach, found.edge, found.moment, found.step, found.step + 1, shows)


def _low_rate(rates: Alignment, index: int, reach: Reach, found: Miss, worst: float) -> Finding:
    jump, align, remedy = rates.jump(found.edge), rates.align, _remedy(rates.machine, reach, found)
    knobs = ", ".join(f"{name} rises from {jump.before[name]} to {jump.after[name]}" for name in jump.raised)
    more = f", at other moments {percent(worst)}" if worst < found.share - 0.005 else ""
    if not found.late:
        return Finding("misaligned", "aligned", "error", ("transition", index),
                       f"{knobs} while the rate is at {percent(found.share)} of the peak{more}; "
                       f"{percent(align.min)} is asked", remedy)  # fmt: skip
    later = found.step - found.moment.step
    return Finding("rate-falls", "aligned", "error", ("transition", index),
                   f"{knobs}, and {later} steps later the rate is at {percent(found.share)} of the peak{more}; "
                   f"{percent(align.hold)} is asked for {align.steps} steps", remedy)  # fmt: skip


def _remedy(machine: Machine, reach: Reach, found: Miss) -> str:
    """What would keep the rate high after a raise."""
    kind = found.edge.kind
    if not restarts_rate(reach.transition(found.edge)):
        cycles = ", or let the cycles of the rate end where the knob rises"
        return 'Add "lr_restart" to its actions' + cycles * bool(machine.states[kind.state].rate.cycles)
    if kind.warm and not found.late:
        return (f"The restart warms up for {kind.warm} steps: leave rewarm out, or ask for the rate after them: "
                f'[check] align = {{ within = "{kind.warm + 1} steps" }}')  # fmt: skip
    return "Choose a longer length of the rate, or set [check] align to what is meant"


def raise_rates(machine: Machine, explored: Explored) -> Iterator[RaiseRates]:
    """The rates around each raise."""
    rates = Alignment(machine)
    shares: dict[tuple[int, str], tuple[RaiseRates, list[float], list[float]]] = {}
    for reach, edge in _raises(rates, explored):
        if not reach.exact or edge.zone.entry_high >= FAR:
            continue
        before = [*rates.before(reach, edge)]
        after = [rates.share(known.kind, moment.anchor, moment.step) for known, moment in rates.moments(reach, edge)]
        if before and after:  # some stay is short enough to end in a raise
            jump, transition = rates.jump(edge), reach.transition(edge)
            knobs: dict[str, tuple[object, object]] = {n: (jump.before[n], jump.after[n]) for n in jump.raised}
            empty = RaiseRates(transition, knobs, (1.0, 1.0), (1.0, 1.0))
            _, all_before, all_after = shares.setdefault((transition.index, transition.source), (empty, [], []))
            all_before += before
            all_after += after
    for one, before, after in shares.values():
        yield one._replace(before=(min(before), max(before)), after=(min(after), max(after)))
