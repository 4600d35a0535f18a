"""Knobs that fall unmarked, and ways round that at_most does not bound."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from plateau_rule.controller.machine import BoundState, Knobs, Machine
from plateau_rule.controller.verifier.examples import TRIES, Examples, Trail, trail_of
from plateau_rule.controller.verifier.explored import Explored
from plateau_rule.controller.verifier.findings import Finding
from plateau_rule.controller.verifier.trails import trail
from plateau_rule.controller.verifier.zone_graph import Edge, Node, Reach

MOST_WAYS = 20  # round, that are tried for one set of states


class Fall(NamedTuple):
    """A knob that falls on an edge of what was explored.

    Attributes:
        reach: what was explored.
        edge: the edge.
        name: the knob.
        surely: whether it falls whatever the limits are.
    """

    reach: Reach
    edge: Edge
    name: str
    surely: bool


def monotone(machine: Machine, explored: Explored, examples: Examples) -> Iterator[Finding]:
    """All that is to be said of knobs that fall, and of ways round."""
    falls: dict[int, list[Fall]] = {}
    fallen, taken = set[int](), set[int]()
    for reach, edge in explored.edges():
        transition = reach.transition(edge)
        taken.add(transition.index)
        found = list(_falls(machine, reach, edge))
        if found and transition.regress:
            fallen.add(transition.index)
        elif found:
            falls.setdefault(transition.index, []).extend(found)
    for index, found in sorted(falls.items()):
        yield _fall(machine, index, found, examples)
    for index, written in enumerate(machine.curriculum.transition):
        if written.regress and index in taken - fallen:
            yield Finding("idle-regress", "monotone", "note", ("transition", index, "regress"),
                          "regress = true, and no knob falls", "Remove it", at_key=True)  # fmt: skip
    yield from _cycles(machine, explored, examples)


# Falls


def _falls(machine: Machine, reach: Reach, edge: Edge) -> Iterator[Fall]:
    """The knobs that fall on an edge after some stay."""
    old, new = machine.states[edge.source.kind.state], machine.states[edge.kind.state].knobs
    last = _ramped(machine, old, edge.spent[1])
    for name, value in new.items():
        ramp = old.ramps.get(name)
        if machine.hardness(name, value) < machine.hardness(name, last[name]):
            yield Fall(reach, edge, name, True)
        elif ramp is not None and ramp.is_unmeasured and edge.spent[1] > 1 and value != "full":
            yield Fall(reach, edge, name, False)  # how far the ramp has come is not known without a limit


def _fall(machine: Machine, index: int, found: list[Fall], examples: Examples) -> Finding:
    """The finding about a transition on which a knob falls."""
    reach, edge, name, surely = min(found, key=lambda one: (not one.surely, not one.reach.exact))
    old, new = reach.state(edge.source), machine.states[edge.kind.state]
    path = ("transition", index, "to")
    if not surely:
        return Finding("knob-falls", "monotone", "undecided", path,
                       f'{name} may fall to {new.knobs[name]} between "{old.name}" and "{new.name}": how far its ramp '
                       "to full has come by then depends on where full is",
                       f"Say it: --limit {name}=NUMBER decides, as binding it to a trainer does")  # fmt: skip
    ramp = ", which its ramp can have reached," if name in old.ramps else ""
    last = _ramped(machine, old, edge.spent[1])[name]
    finding = Finding("knob-falls", "monotone", "error", path,
                      f"{name} {eased(machine, name)} from {last}{ramp} to {new.knobs[name]} "
                      f'between "{old.name}" and "{new.name}", and the transition is not marked',
                      "Exchange the states, or write regress = true and at_most if this is a retreat")  # fmt: skip
    exact = [one for one in found if one.reach.exact and one.surely]
    trails = (trail for one in exact for trail in _fallen(machine, *one[:3]))
    return examples.happens(finding, islice(trails, 2 * TRIES))


def eased(machine: Machine, name: str) -> str:
    """What a knob does that becomes easier."""
    return "falls" if machine.signs[name] > 0 else "gets easier, and rises"


def _fallen(machine: Machine, reach: Reach, edge: Edge, name: str) -> Iterator[Trail | None]:
    """Trails on which a knob falls; over a ramp, first the shortest stay after which it does."""
    old, new = reach.state(edge.source), machine.states[edge.kind.state]
    steps = [edge.zone.entry_low]
    if old.ramps:
        low, high = edge.spent[0], edge.spent[1]
        while low < high:
            middle = (low + high) // 2
            falls = name in machine.harder(_ramped(machine, old, middle), new.knobs)
            low, high = (low, middle) if falls else (middle + 1, high)
        steps = [max(edge.zone.entry_low, min(edge.entered[0] + low, edge.zone.entry_high)), edge.zone.entry_high]
    for step in dict.fromkeys(steps):
        found = trail_of(reach, edge, (step, None), step, step, "")
        if found is None:
            continue
        entered = found.taken[-2][1] if len(found.taken) > 1 else 0
        before, after = _ramped(machine, old, step - entered)[name], new.knobs[name]
        if machine.hardness(name, before) > machine.hardness(name, after):
            yield found._replace(shows=f"{name} {eased(machine, name)} from {before} to {after}")


def _ramped(machine: Machine, state: BoundState, spent: int) -> Knobs:
    """The knobs on the last step of a stay of this many steps."""
    if not state.ramps:
        return state.knobs
    ramps = machine.ramps(state, machine.length)
    time = min(spent - 1, max(ramp.steps for ramp in ramps.values()))
    return {**state.knobs, **{name: ramp.value(time) for name, ramp in ramps.items()}}


# Ways round


def _cycles(machine: Machine, explored: Explored, examples: Examples) -> Iterator[Finding]:
    """Ways round that at_most does not bound, one for each set of states that lead to each other."""
    whole = explored.whole
    unbound = [edge for edge in whole.edges() if whole.transition(edge).at_most is None]
    for states in components({(edge.source.kind.state, edge.kind.state) for edge in unbound}):
        near = explored.by_run
        rounds = [around for place in sorted(states) for around in islice(_rounds(near, place, states), MOST_WAYS)]
        if not rounds and near.told_apart:
            continue  # each transition can be taken, and yet they never make a way round
        rounds.sort(key=lambda around: (around[-1].zone.entry_low, len(around)))
        names = " -> ".join(machine.states[place].name for place in _names(rounds, states))
        index = near.transition(rounds[0][-1]).index if rounds else _within(machine, states)
        finding = Finding("unbounded-cycle", "monotone", "error", ("transition", index),
                          f"{names} can be gone round, and no at_most bounds it",
                          "Write at_most on the transition that leads back")  # fmt: skip
        trails = (_gone_round(near, around) for around in rounds[:TRIES])
        yield examples.happens(finding, trails)


def _names(rounds: list[list[Edge]], states: set[int]) -> list[int]:
    if not rounds:
        return sorted(states)
    return [rounds[0][0].source.kind.state, *(edge.kind.state for edge in rounds[0])]


def _within(machine: Machine, states: set[int]) -> int:
    """The last transition in the file between some states."""
    names = {machine.states[place].name for place in states}
    return max(t.index for place in states for t in machine.states[place].transitions if t.target in names)


def components(ways: set[tuple[int, int]]) -> list[set[int]]:
    """The strongly connected components of a graph that hold a way round."""
    to: dict[int, set[int]] = {}
    for source, target in ways:
        to.setdefault(source, set()).add(target)
    after = {place: _reached(to, place) for place in to}
    found: list[set[int]] = []
    for place in sorted(to):
        mine = {other for other in after[place] if place in after.get(other, ())}
        if place in after[place] and mine not in found:
            found.append(mine)
    return found


def _reached(to: dict[int, set[int]], place: int) -> set[int]:
    seen, todo = set[int](), [place]
    while todo:
        for following in to.get(todo.pop(), ()):
            if following not in seen:
                seen.add(following)
                todo.append(following)
    return seen


def _rounds(reach: Reach, place: int, states: set[int]) -> Iterator[list[Edge]]:
    """Ways from nodes of a state back to that state, by transitions without at_most, within a set of states."""
    for start in reach.nodes:
        if start.kind.state != place or start.into is not None:
            continue
        todo: deque[tuple[Node, tuple[Edge, ...]]] = deque([(start, ())])
        seen = {id(start)}
        while todo:
            node, way = todo.popleft()
            for edge in node.to:
                if edge.kind.state not in states or reach.transition(edge).at_most is not None or edge.to is None:
                    continue
                if edge.kind.state == place:
                    yield [*way, edge]
                elif id(edge.to) not in seen:
                    seen.add(id(edge.to))
                    todo.append((edge.to, (*way, edge)))


def _gone_round(reach: Reach, around: list[Edge]) -> Trail | None:
    """A trail that goes round once; each transition is followed anew from where the one before it leads."""
    if not reach.exact:
        return None
    ends = [around[0].source]
    for edge in around:
        following = []
        for node in ends:
            for way in reach.ways_on(node)[0] if node is not edge.source else node.to:
                if way.place == edge.place and way.kind.state == edge.kind.state:
                    following.append(Node(way.kind, way.zone, way))
        ends = following[:MOST_WAYS]
    name = reach.state(ends[0]).name if ends else ""
    for node in ends:
        step = node.zone.entry_low
        taken = trail(reach, node, step, None)
        if taken is not None:
            return Trail(taken, step, step, f'"{name}" is entered again')
    return None
