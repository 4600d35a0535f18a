"""Every configuration that some loss stream can bring a bound curriculum into; time is kept in zones, not counted out.

A node is a state with what was used up of its transitions, the rate's cycle, and a zone of moments of entry. Nodes are
exact up to remainders in an epoch. Where a file has too many of them they are merged: then too much is called possible,
never too little (`exact` says which), and what rests on them is to be confirmed by a run. README.md says why it is so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import inf
from typing import NamedTuple

from plateau_rule.controller.bound_rates import EndlessCycles
from plateau_rule.controller.language.amounts import steps_in
from plateau_rule.controller.machine import BoundState, BoundTransition, Machine, Warmup
from plateau_rule.controller.verifier.budget import Budget, BudgetSpent, Part
from plateau_rule.controller.verifier.metered import Meterings
from plateau_rule.controller.verifier.outcome import Looks
from plateau_rule.controller.verifier.sojourn import Bound, Course, Courses
from plateau_rule.controller.verifier.structure import goals, restarts_rate
from plateau_rule.controller.verifier.zones import FAR, Moments, Spans, Zone, closed, contains, hull, moments, moved, up

MOST_ALIKE = 150  # nodes of one kind, before nodes are merged
ANY_CYCLE = -1  # where nodes are merged, and the rate's cycle is not kept
ANY_WARMUP = Warmup(-1)  # likewise
MOST_BLOCKS = 8  # epochs in which a state can be entered, if what happens next is looked at for each of them
MOST_GROWTHS = 2  # of a merged zone towards the start of the run, before it is taken to begin there


class Kind(NamedTuple):
    """What makes two nodes comparable.

    state: its place among the machine's; used: how often each counted transition was taken; cycle, warm: the rate's
    cycle at its anchor, and the warm-up after it; done: whether the goal was entered before.
    """

    state: int
    used: tuple[int, ...]
    cycle: int
    warm: Warmup
    done: bool


@dataclass(eq=False, slots=True)
class Node:
    """Configurations at the moment when a state is entered; `by` is how the first of them came about."""

    kind: Kind
    zone: Zone
    by: Edge | None
    into: Node | None = None  # the node that this one was merged into
    to: list[Edge] = field(default_factory=list)
    lasts_from: int | None = None  # the first entry from which a stay can last until the end of the run

    @property
    def stays(self) -> bool:
        """Whether a stay can last until the end of the run."""
        return self.lasts_from is not None


@dataclass(eq=False, slots=True)
class Edge:
    """A transition, taken from a node within bounds; `zone` and `kind` are what is entered, `to` the node around it."""

    source: Node
    place: int
    spent: tuple[int, int]
    steps: tuple[int, int]
    entered: tuple[int, int]
    phase: tuple[int, int]  # bounds on the step that it applies from, less the anchor before it
    shift: int | None  # of the anchor; None where it is set anew
    kind: Kind
    zone: Zone
    to: Node | None = None


class Reach:
    """What is reachable in a machine within its run.

    endless: as if the run had no end. exact: False merges nodes. budget: what may be explored. start: kind and zone to
    begin with, in place of the run's first step. explored: False leaves it at that. finished: whether all was explored;
    if not, nothing that was not found is thereby impossible.
    """

    def __init__(
        self,
        machine: Machine,
        *,
        endless: bool = False,
        exact: bool = True,
        budget: Budget | Part | None = None,
        start: tuple[Kind, Zone] | None = None,
        explored: bool = True,
    ) -> None:
        self.machine, self.exact = machine, exact
        self.budget = budget or Budget(inf)
        self.period = machine.run.steps_per_epoch or 1
        self.total = None if endless else machine.run.total_steps
        self.meterings = Meterings.deciding(machine)
        self.metered = self.meterings is not None and bool(machine.bounds) and not endless  # whether one ends the run
        most = self.meterings.run_steps()[1] if self.meterings and self.metered else self.total
        self.last = FAR if most is None else most - 1  # the last step on which a state can be entered
        # The first step on which the run can be over. Where the trainer closes epochs, one may be a single step.
        self.ends_from = self.total if self.total is not None or endless else machine.run.epochs
        self.goal = goals(machine)
        counted = {t.key: t.at_most for state in machine.states for t in state.transitions if t.at_most is not None}
        self.counted = {key: (place, most) for place, (key, most) in enumerate(counted.items())}
        self.looked: dict[tuple[int, int], set[tuple[int, int]]] = {}  # state, transition -> thresholds passed at looks
        self._noted: set[tuple[int, int, tuple[int, int]]] = set()
        self.places = {state.name: place for place, state in enumerate(machine.states)}
        self._courses: dict[int, Courses] = {}
        self.nodes: list[Node] = []
        self._of_kind: dict[Kind, list[Node]] = {}
        self._growths: dict[Kind, int] = {}
        self._todo: list[tuple[int, int, Node]] = []
        self.finished = False
        kind, zone = start or self._start()
        self.add(kind, zone, None)
        if explored:
            self.finished = self._explore()

    def forget(self) -> None:
        """Begin without any node."""
        self.nodes, self._of_kind, self._todo = [], {}, []

    def courses(self, state: int) -> Courses:
        """What can happen in the stays in a state."""
        if state not in self._courses:
            looks = Looks(self.machine, self.machine.states[state], not self.exact, self.budget)
            self._courses[state] = Courses(looks, not self.exact)
        return self._courses[state]

    # Exploring

    def _start(self) -> tuple[Kind, Zone]:
        """The first step of a run."""
        used, arc = (0,) * len(self.counted) if self.exact else (), (0, 0) if self.period > 1 else None
        kind = Kind(0, used, 0 if self.exact else ANY_CYCLE, self.machine.warmup, 0 in self.goal)
        return kind, Zone(0, 0, 0, 0, 0, 0, arc, arc, self.meterings.start() if self.meterings else ())

    def anything(self) -> Spans:
        """What meters have counted where nothing is known of it."""
        return self.meterings.anything() if self.meterings else ()

    def _explore(self) -> bool:
        try:
            while self._todo:
                _, _, node = heappop(self._todo)
                if self.state(node).stop is not None or node.into is not None:
                    continue
                for stay in self.courses_of(node):
                    self._go_on(node, *stay)
                    if self.exact and len(self._of_kind[node.kind]) > MOST_ALIKE:
                        return False
        except BudgetSpent:
            return False
        return True

    def _go_on(self, node: Node, course: Course, first: int, last: int) -> None:
        """Follow a node's stays, those of one course, wherever they lead."""
        self.budget.spend(1.0)
        edges, lasts_from = self._ways_on(node, course, first, last)
        for edge in edges:
            node.to.append(edge)
            edge.to = self._entered(edge)
        if node.lasts_from is None:
            node.lasts_from = lasts_from

    def add(self, kind: Kind, zone: Zone, by: Edge | None) -> Node:
        """A new node, still to be explored."""
        node = Node(kind, zone, by)
        self.nodes.append(node)
        self._of_kind.setdefault(kind, []).append(node)
        # Ways of few transitions first; where nodes are merged, early ones, so that what is merged later lies behind.
        heappush(self._todo, (0 if self.exact else zone.entry_low, len(self.nodes), node))
        return node

    def _entered(self, edge: Edge) -> Node:
        """The node that an edge leads into: one that holds all of it, or a new one."""
        same = self._of_kind.get(edge.kind, [])
        for node in same:
            if contains(node.zone, edge.zone, self.period):
                return node
        zone = edge.zone
        merged: list[Node] = []
        if not self.exact and same:
            zone = hull(zone, same[0].zone)
            growths = self._growths[edge.kind] = self._growths.get(edge.kind, 0) + 1
            zone = Zone(zone.entry_low if growths <= MOST_GROWTHS else 0, self.last, 0, self.last, 0, self.last,
                        zone.entry_arc, zone.anchor_arc, self.anything())  # fmt: skip
            merged = list(same)
            same.clear()
        node = self.add(edge.kind, zone, edge)
        for other in merged:
            other.into = node
        return node

    def present(self, kind: Kind) -> int:
        """The transitions out of a node that are not used up, as bits."""
        if not self.exact or not self.counted:
            return (1 << len(self.machine.states[kind.state].transitions)) - 1
        found = 0
        for j, transition in enumerate(self.machine.states[kind.state].transitions):
            place, most = self.counted.get(transition.key, (0, 0))
            if transition.at_most is None or kind.used[place] < (most or 0):
                found |= 1 << j
        return found

    def courses_of(self, node: Node) -> Iterator[tuple[Course, int, int]]:
        """What can happen to those who enter between two steps; few enough entries are told apart by their epoch."""
        zone = node.zone
        courses = self.courses(node.kind.state)
        for course in courses.entered(zone.entry_low, zone.entry_high, self.present(node.kind)):
            first, last = max(course.first, zone.entry_low), min(course.last, zone.entry_high)
            starts = {d.start.steps for d in course.deadlines if d.at_epochs and d.start.relative}
            cuts: set[int] = set()
            if len(starts) * (last - first) <= MOST_BLOCKS * self.period and (zone.entry_arc or (0, 1))[1]:
                for start in starts:
                    cuts.update(
                        range(up(first + 1, ((1 - start) % self.period, 0), self.period), last + 1, self.period)
                    )
            for cut in sorted(cuts):
                yield course, first, cut - 1
                first = cut
            yield course, first, last

    def ways_on(self, node: Node) -> tuple[list[Edge], bool]:
        """The transitions that end a stay, and whether it can last until the end of the run."""
        found = [self._ways_on(node, *stay) for stay in self.courses_of(node)]
        return [edge for edges, _ in found for edge in edges], any(lasts is not None for _, lasts in found)

    def _ways_on(self, node: Node, course: Course, first: int, last: int) -> tuple[list[Edge], int | None]:
        self.budget.spend(0.2 * (len(course.stretches) + len(course.chances)))
        limits = self._limits(node, course, first, last)
        edges = list(self._edges(node, course, (first, last), limits))
        return edges, self._lasts_from(node, (first, last), limits)

    def _limits(self, node: Node, course: Course, first: int, last: int) -> list[tuple[Bound, int | None]]:
        """The last steps that a stay can end on, each with the transition that then ends it, if that is known."""
        found: list[tuple[Bound, int | None]] = []
        wait = self.courses(node.kind.state).wait
        for deadline in course.deadlines:
            bound, sure = deadline.bound(self.period, first, last, node.zone.entry_arc)
            found.append((bound.later(wait), deadline.place if sure and not wait else None))
        return found

    def _edges(
        self, node: Node, course: Course, entered: tuple[int, int], limits: list[tuple[Bound, int | None]]
    ) -> Iterator[Edge]:
        state = self.machine.states[node.kind.state]
        answers = self.courses(node.kind.state).looks.answers
        over = self._over_by(node) - 1
        for stretch in course.stretches:
            times, steps = self._within(limits, None, 0, stretch.starts, stretch.ends, over)
            self._note(node, state, entered, times, steps, (stretch.times, stretch.steps))
        for chance in course.chances:
            times, steps = self._within(limits, chance.place, answers, chance.start, chance.end, over)
            found = moments(node.zone, self.period, entered, times, steps, chance.arc)
            if found is not None:
                yield from self._taken(node, chance.place, found)

    def _within(
        self,
        limits: list[tuple[Bound, int | None]],
        place: int | None,
        answers: int,
        start: Iterable[Bound],
        end: Iterable[Bound],
        over: int,
    ) -> tuple[tuple[int, int], tuple[int, int]]:
        """Bounds on the time in the state and on the step, for a transition or (None) for any look.

        answers: the transitions that ask for non-finite losses, as bits. over: the longest time before the run is over.
        """
        times, steps = [1, over], [1, self.last]
        for bound, by in limits:
            # At the last look of all that may be one of those at which only transitions that ask for NaN are tried.
            beaten = place is not None and by is not None and place > by and not answers >> place & 1
            bounds = times if bound.relative else steps
            bounds[1] = min(bounds[1], bound.steps - beaten)
        for bound in start:
            bounds = times if bound.relative else steps
            bounds[0] = max(bounds[0], bound.steps)
        for bound in end:
            bounds = times if bound.relative else steps
            bounds[1] = min(bounds[1], bound.steps - 1)
        return (times[0], times[1]), (steps[0], steps[1])

    def _over_by(self, node: Node) -> int:
        """After how many steps in a node's state the run is over, whatever was counted before."""
        if self.meterings is None or not self.metered:
            return FAR + 1
        return self.meterings.over_by(self.state(node), node.zone)

    def _note(
        self,
        node: Node,
        state: BoundState,
        entered: tuple[int, int],
        spent: tuple[int, int],
        steps: tuple[int, int],
        passed: tuple[int, int],
    ) -> None:
        """Remember which guards are looked at after which thresholds."""
        present = self.present(node.kind)
        key = (state.index, present, passed)
        if key in self._noted:
            return
        everything = True
        for at, arc in (("step", None), ("eval", None), ("epoch", (0, 0) if self.period > 1 else None)):
            places = [j for j, t in enumerate(state.transitions) if t.at == at and present >> j & 1]
            new = [j for j in places if passed not in self.looked.setdefault((node.kind.state, j), set())]
            if new and moments(node.zone, self.period, entered, spent, steps, arc) is not None:
                for j in new:
                    self.looked[node.kind.state, j].add(passed)
            elif new:
                everything = False
        if everything:
            self._noted.add(key)

    def _taken(self, node: Node, place: int, found: Moments) -> Iterator[Edge]:
        """The edges of one transition at some moments: one for each cycle of the rate that it can be taken in."""
        machine, kind = self.machine, node.kind
        old = machine.states[kind.state]
        transition = old.transitions[place]
        index = self.places[transition.target]
        new = machine.states[index]
        restarts = restarts_rate(transition)
        zone = found.zone
        since = (zone.since_low + found.spent_low, zone.since_high + found.spent_high)
        same_cycles = bool(old.rate.cycles and new.rate.cycles)
        if not self.exact:
            yield self._roughly_taken(node, place, found, index, restarts)
            return
        for low, high, cycle, shift, warm in self._cycles(old, kind, since, same_cycles and not restarts):
            anchors = zone.anchor_low, zone.anchor_high
            entered = closed(
                Zone(found.low, found.high, *anchors, low, high, found.arc, zone.anchor_arc, zone.spans), self.period
            )
            if entered is None:
                continue
            spans = self._spans(zone, old, new, found, (low, high), warm, restarts)
            if shift and self.meterings is not None:
                spans = self.meterings.in_another_cycle(spans)
            if restarts:
                warm = new.rate.warmup
                entered = Zone(*entered[:2], *entered[:2], 0, 0, found.arc, found.arc, spans)
            else:
                entered = _later(entered, shift, self.period)._replace(spans=spans)
            for used in self._used_after(kind.used, old, transition):
                reached = Kind(index, used, cycle, warm, kind.done or index in self.goal)
                yield Edge(node, place, (found.spent_low, found.spent_high), (found.low, found.high),
                           (zone.entry_low, zone.entry_high), (low, high), None if restarts else shift,
                           reached, entered)  # fmt: skip

    def _spans(
        self,
        zone: Zone,
        old: BoundState,
        new: BoundState,
        found: Moments,
        since: tuple[int, int],
        warm: Warmup,
        restarts: bool,
    ) -> Spans:
        """What meters have counted when the next state is entered."""
        if self.meterings is None:
            return ()
        spent = found.spent_low, found.spent_high
        if spent[1] >= FAR // 2:
            return self.meterings.anything()
        if restarts:
            return self.meterings.restarted(zone, old, new, spent)
        return self.meterings.entered(zone, old, new, spent, since, warm)

    def _used_after(
        self, used: tuple[int, ...], state: BoundState, transition: BoundTransition
    ) -> Iterator[tuple[int, ...]]:
        """How often counted transitions were taken after one more; where it drops one that waits, that counts too."""
        used = self._once_more(used, transition)
        yield used
        for other in state.transitions if transition.at_once else ():
            if other.lead and other.at_most is not None and used[self.counted[other.key][0]] < other.at_most:
                yield self._once_more(used, other)

    def _once_more(self, used: tuple[int, ...], transition: BoundTransition) -> tuple[int, ...]:
        if transition.key not in self.counted:
            return used
        counter = self.counted[transition.key][0]
        return (*used[:counter], used[counter] + 1, *used[counter + 1 :])

    def _roughly_taken(self, node: Node, place: int, found: Moments, index: int, restarts: bool) -> Edge:
        """The edge of a transition, where nothing is known of the rate but whether it was restarted."""
        anchors, since = ((found.low, found.high), (0, 0)) if restarts else ((0, found.high), (0, found.high))
        zone = Zone(found.low, found.high, *anchors, *since, found.arc, found.arc if restarts else None,
                    self.anything())  # fmt: skip
        warm = self.machine.states[index].rate.warmup if restarts else any_warmup(self.machine)
        kind = Kind(index, (), ANY_CYCLE, warm, node.kind.done or index in self.goal)
        return Edge(node, place, (found.spent_low, found.spent_high), (found.low, found.high),
                    (found.zone.entry_low, found.zone.entry_high), (0, FAR),
                    None if restarts else 0, kind, zone)  # fmt: skip

    def _cycles(
        self, state: BoundState, kind: Kind, since: tuple[int, int], whole: bool
    ) -> Iterator[tuple[int, int, int, int, Warmup]]:
        """Bounds on the phase's steps, and the cycle, the anchor's shift and the warm-up that hold between them."""
        cycles, cycle, start, warm = state.rate.cycles, kind.cycle, 0, kind.warm
        if self.last >= FAR and isinstance(cycles, EndlessCycles):
            raise BudgetSpent  # cycles without end, in a run without end, cannot be told apart
        while not whole and cycle + 1 < len(cycles) and start <= since[1]:
            length = steps_in(cycles[cycle], self.machine.run, self.machine.run.total_steps)
            end = start + warm.steps + length - 1
            low, high = max(since[0], start), min(since[1], end)
            if low <= high:
                self.budget.spend(0.1)
                yield low, high, cycle, start, warm
            cycle, start, warm = cycle + 1, end + 1, Warmup()
        low, high = max(since[0], start), since[1]
        if low <= high:
            yield low, high, cycle, start, warm

    def _lasts_from(self, node: Node, entered: tuple[int, int], limits: list[tuple[Bound, int | None]]) -> int | None:
        """The first step between two on which someone can enter and still be there at the end of the run."""
        if self.meterings is not None and self.metered:
            over = self.meterings.over_from(self.state(node), node.zone)
            first = max(entered[0], node.zone.entry_low)
            if all(over <= (bound.steps if bound.relative else bound.steps - first) for bound, _ in limits):
                return first
        first, end = entered[0], self.ends_from
        for bound, _ in limits:
            if end is None or (not bound.relative and bound.steps < end):
                return None
            if bound.relative:
                first = max(first, end - bound.steps)
        zone = node.zone
        inside = zone._replace(entry_low=max(zone.entry_low, first), entry_high=min(zone.entry_high, entered[1]))
        found = closed(inside, self.period)
        return None if found is None else found.entry_low

    # Reading what was found

    @property
    def told_apart(self) -> bool:
        """Whether no configurations were merged, and no orders of clocks taken together."""
        return self.exact and self.finished and not any(courses.rough for courses in self._courses.values())

    def edges(self) -> Iterator[Edge]:
        """Every transition that can be taken, from the nodes that were not merged into others."""
        for node in self.nodes:
            if node.into is None:
                yield from node.to

    def state(self, node: Node) -> BoundState:
        """The state that a node is in."""
        return self.machine.states[node.kind.state]

    def transition(self, edge: Edge) -> BoundTransition:
        """The transition that an edge takes."""
        return self.state(edge.source).transitions[edge.place]


def any_warmup(machine: Machine) -> Warmup:
    """The warm-up that may lie behind a node where that is not known: the run's, if states have none of their own."""
    return ANY_WARMUP if any(state.rate.own_warmup for state in machine.states) else machine.warmup


def _later(zone: Zone, steps: int, period: int) -> Zone:
    """The same moments, with anchors this many steps later."""
    return zone._replace(anchor_low=zone.anchor_low + steps, anchor_high=zone.anchor_high + steps,
                         since_low=zone.since_low - steps, since_high=zone.since_high - steps,
                         anchor_arc=moved(zone.anchor_arc, steps, steps, period))  # fmt: skip
