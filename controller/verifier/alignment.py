"""Whether the learning rate is high where a knob rises, for every moment at which a loss stream can make it rise.

After a raise the rate is asked for on every step up to the next transition that raises, is marked `regress`, scales
the rate, or stops the run; the transitions between them are followed. All moments of a raise are one box of entries and
anchors. A lower bound on the rate over a box proves it; where it doesn't, the box is cut in two, the earlier half
first, down to single moments, which are exact. So the first bad moment comes out first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from heapq import heappop, heappush
from typing import NamedTuple

from plateau_rule.controller.machine import BoundState, Knobs, Machine
from plateau_rule.controller.verifier.budget import Budget, Part
from plateau_rule.controller.verifier.metered import Meterings, Phase0
from plateau_rule.controller.verifier.shares import Range, Shares
from plateau_rule.controller.verifier.trails import Taken
from plateau_rule.controller.verifier.zone_graph import Edge, Kind, Node, Reach
from plateau_rule.controller.verifier.zones import FAR, Zone, closed, cut

TOLERANCE = 1e-9  # of a share of the peak, so that a restart reaches 100 % of it
MOST_STAYS = 64  # that are followed after one box of raises, before the box is cut


class Jump(NamedTuple):
    """The knobs around an edge, and those that it raises.

    Attributes:
        before: the knobs before the edge.
        after: the knobs after it.
        raised: the names of those that it raises.
        longest: the longest stay after which it still raises them, in steps.
        unsure: those of the raised that rise or not by a limit that is not known.
    """

    before: Knobs
    after: Knobs
    raised: tuple[str, ...]
    longest: int
    unsure: tuple[str, ...] = ()


class Low(NamedTuple):
    """A rate that is lower than [check] asks.

    Attributes:
        step: the step on which it is low.
        share: the rate, as a share of the peak.
        asked: the share that was asked.
        late: whether that is after the steps within which the rate must be there.
        taken: the transitions since the raise, with their steps.
    """

    step: int
    share: float
    asked: float
    late: bool
    taken: tuple[tuple[int, int], ...] = ()


class Miss(NamedTuple):
    """A raise into a low rate: a transition, the step that it applies from, the anchor of the rate, what is low."""

    edge: Edge
    entry: int
    anchor: int
    low: Low


@dataclass(frozen=True, slots=True)
class JudgedStay:
    """A stay that a raise is still judged in: the node, how long ago the raise was, whether the rate was restarted.

    In a state with a warm-up of its own, which is meant, the raise counts as one at the end of it.
    """

    node: Node
    ago: Range
    restarted: bool
    taken: tuple[tuple[int, int], ...] = ()


class Alignment:
    """The raises of a machine, and the rates around them."""

    def __init__(self, machine: Machine, budget: Budget | Part) -> None:
        self.machine, self.budget, self.total = machine, budget, machine.run.total_steps
        self.shares = Shares(machine)
        self.meterings = Meterings.deciding(machine)
        self.align = machine.align
        self.due = self.align.within_steps - 1  # steps after a raise on which `min` is asked
        self.judged = max(self.due, self.align.steps)  # steps after a raise on which anything is asked
        self.late_from = FAR if self.total is None else self.total - self.align.late_steps
        self._jumps: dict[tuple[int, int], Jump] = {}
        self._carries: dict[int, bool] = {}
        self._asked = ((self.due, self.due, self.align.min), (self.due + 1, self.align.steps, self.align.hold))

    # Raises

    def jump(self, edge: Edge) -> Jump:
        """What an edge does to the knobs.

        A ramp is where it would have stood on the first step of the new state: what it would have done by itself is no
        raise.
        """
        old, new = self.machine.states[edge.source.kind.state], self.machine.states[edge.kind.state]
        if old.ramps:
            return self._from_ramp(old, new, edge.spent)
        key = (edge.source.kind.state, edge.kind.state)
        if key not in self._jumps:
            self._jumps[key] = Jump(old.knobs, new.knobs, self.machine.harder(new.knobs, old.knobs), FAR)
        return self._jumps[key]

    def _from_ramp(self, old: BoundState, new: BoundState, spent: Range) -> Jump:
        ramps = self.machine.ramps(old, self.machine.length)

        def knobs(time: int) -> Knobs:
            return {**old.knobs, **{name: ramp.value(time) for name, ramp in ramps.items()}}

        first, last = spent[0], min(spent[1], max([spent[0], *(ramp.steps for ramp in ramps.values())]))
        names = self.machine.harder(new.knobs, knobs(first))
        # Without a limit a ramp to `full` is somewhere on its way: above its start, and below `full`.
        unsure = tuple(n for n in names if n in old.ramps and old.ramps[n].is_unmeasured and new.knobs[n] != "full")
        if not names or self.machine.harder(new.knobs, knobs(last)):
            return Jump(knobs(first), new.knobs, names, FAR, unsure)
        while first < last:  # ramps only rise: find the last time at which something is still raised
            middle = (first + last + 1) // 2
            first, last = (middle, last) if self.machine.harder(new.knobs, knobs(middle)) else (first, middle - 1)
        return Jump(knobs(spent[0]), new.knobs, names, first, unsure)

    def raising(self, reach: Reach, edge: Edge) -> Zone | None:
        """When an edge raises a knob: after a stay that is short enough."""
        high = min(edge.zone.entry_high, edge.entered[1] + self.jump(edge).longest)
        return closed(edge.zone._replace(entry_high=high), reach.period)

    # What is low

    def misses(self, reach: Reach, edge: Edge) -> Iterator[Miss | None]:
        """Raises into a low rate, the earliest first; then further ones, each at least twice as far on.

        None stands for a box that may hold one, where nodes are merged and no moment is exact.
        """
        zone, count, number = self.raising(reach, edge), 0, 0
        boxes: list[tuple[int, int, Zone]] = [] if zone is None else [(zone.entry_low, 0, zone)]
        after, leap = -1, 1
        while boxes:
            _, _, box = heappop(boxes)
            if box.entry_high <= after:
                continue
            if box.entry_low <= after:
                part = closed(box._replace(entry_low=after + 1), reach.period)
                if part is None:
                    continue
                box = part
            self.budget.spend(0.5)
            warm = self._own_warmup(edge)
            if not self._may_be_low(reach, JudgedStay(Node(edge.kind, box, edge), (-warm, -warm), edge.shift is None)):
                continue
            if not reach.exact:
                count += 1
                if count > MOST_STAYS:
                    yield None
                    return
            halves = list(cut(box, reach.period))
            for half in halves:
                number += 1
                heappush(boxes, (half.entry_low, number, half))
            if halves:
                continue
            if not reach.exact:
                yield None
                return
            stay = JudgedStay(Node(edge.kind, box, edge), (-warm, -warm), edge.shift is None)
            low = self._low(reach, stay, box.entry_low + warm)
            if low is not None:
                yield Miss(edge, box.entry_low, box.anchor_low, low)
                after, leap = box.entry_low + leap - 1, 2 * leap

    def _may_be_low(self, reach: Reach, first: JudgedStay) -> bool:
        """Whether a bound on the rate, over all that a stay and those after it may be, is lower than asked."""
        todo, count = [first], 0
        while todo:
            stay = todo.pop()
            count += 1
            if count > MOST_STAYS:
                return True
            for low in self._bounds(reach, stay):
                if low:
                    return True
            todo += self._onward(reach, stay)
        return False

    def _bounds(self, reach: Reach, stay: JudgedStay) -> Iterator[bool]:
        """Whether the rate may be lower than asked, for each of the two things that are asked."""
        kind, zone, (ago_low, ago_high) = stay.node.kind, stay.node.zone, stay.ago
        longest = self._longest(reach, stay.node)
        for first, last, least in self._asked:
            low, high = max(0, first - ago_high), min(last - ago_low, longest - 1)
            if low > high:
                continue
            since = (zone.since_low + low, zone.since_high + high)
            if self.total is not None:
                since = (since[0], min(since[1], self.total - 1 - zone.anchor_low))
                if since[0] > since[1]:
                    continue
            anchors = self._judged_as(stay, kind, zone.anchor_low), self._judged_as(stay, kind, zone.anchor_high)
            counted = self.counted(stay.node, (low, min(high, longest - 1)))
            yield self.shares.bounds(kind, since, anchors, counted, stay.restarted)[0] < least - TOLERANCE

    def _low(self, reach: Reach, stay: JudgedStay, raised: int) -> Low | None:
        """The first step on which the rate is lower than asked, after a raise that counts as one at a known step."""
        kind, zone = stay.node.kind, stay.node.zone
        entry, anchor = zone.entry_low, zone.anchor_low
        end = min(raised + self.judged, entry + self._longest(reach, stay.node) - 1)
        end = end if self.total is None else min(end, self.total - 1)
        begun = self._judged_as(stay, kind, anchor)
        for first, last, least in self._asked:
            low, high = max(entry, raised + first), min(end, raised + last)
            since = self._first_below(stay, begun, low - anchor, high - anchor, least - TOLERANCE)
            if since is not None:
                step = anchor + since
                share = self.shares.share(kind, anchor, step, self.counted(stay.node, (step - entry, step - entry)))
                return Low(step, share, least, step > raised + self.due, stay.taken)
        for further in self._onward(reach, stay):
            if not self._may_be_low(reach, further):
                continue
            for point in _points(further.node.zone, reach.period):
                self.budget.spend(0.5)
                edge = further.node.by
                assert edge is not None  # it was followed
                taken = (*stay.taken, (edge.place, point.entry_low))
                warm = self._own_warmup(edge)
                counts_from = point.entry_low + warm if warm else raised
                ago = (point.entry_low - counts_from,) * 2
                exact = JudgedStay(Node(edge.kind, point, edge), ago, further.restarted, taken)
                if self._raises_after(edge, point.entry_low - entry):
                    continue
                if (later := self._low(reach, exact, counts_from)) is not None:
                    return later
        return None

    def _first_below(self, stay: JudgedStay, anchor: int, low: int, high: int, least: float) -> int | None:
        """The first number of steps since an anchor, within bounds, on which the rate is below a share of the peak."""
        if low > high:
            return None
        kind, zone = stay.node.kind, stay.node.zone
        counted = self.counted(stay.node, (low - zone.since_high, high - zone.since_low))
        if self.shares.bounds(kind, (low, high), (anchor, anchor), counted, stay.restarted)[0] >= least:
            return None
        if low == high:
            return low
        middle = (low + high) // 2
        first = self._first_below(stay, anchor, low, middle, least)
        return self._first_below(stay, anchor, middle + 1, high, least) if first is None else first

    def counted(self, node: Node, times: Range) -> Sequence[Phase0]:
        """What meters have counted after some times in a node's state; nothing where there are none."""
        if self.meterings is None:
            return ()
        state, (low, high) = self.machine.states[node.kind.state], times
        return self.meterings.at(state, node.zone, (max(0, low), max(0, min(high, FAR))))

    def _judged_as(self, stay: JudgedStay, kind: Kind, anchor: int) -> int:
        """The anchor that the rate is judged by.

        Over `rest`, a later restart has less time to fall, so it falls faster: one in the last part of the run is
        judged as if it had come just before that part.
        """
        late = stay.restarted and self._over_rest(kind.state, kind.cycle)
        return min(anchor, self.late_from - 1) if late else anchor

    def ending(self, edge: Edge) -> int:
        """The steps that are left of the run when a raise is first followed by too low a rate for its end alone."""
        kind, total = edge.kind, self.total
        first, last = max(self.late_from, edge.zone.entry_low), edge.zone.entry_high
        warm = self._own_warmup(edge)
        if total is None or edge.shift is not None or not self._over_rest(kind.state, max(0, kind.cycle)):
            return 0

        def low(entry: int) -> bool:
            point = edge.zone._replace(since_low=0, since_high=0)
            stay = JudgedStay(Node(kind, point, edge), (0, 0), False)
            return any(
                self._first_below(stay, entry, at + warm, min(to + warm, total - 1 - entry), least - TOLERANCE)
                is not None
                for at, to, least in self._asked
            )

        if first > last or not low(max(first, last - self.judged // 2)):
            return 0
        last = max(first, last - self.judged // 2)
        while first < last:
            middle = (first + last) // 2
            first, last = (first, middle) if low(middle) else (middle + 1, last)
        return total - first

    def _own_warmup(self, edge: Edge) -> int:
        """The steps of a warm-up that is written in the state that an edge enters; 0 where it begins none."""
        rate = self.machine.states[edge.kind.state].rate
        return rate.warmup.steps if rate.own_warmup and edge.shift is None else 0

    def _over_rest(self, state: int, cycle: int) -> bool:
        """Whether the rate falls up to the end of the run, so that a later beginning makes it fall faster."""
        rate = self.machine.states[state].rate
        if self.total is None:
            return False
        cycles = rate.cycles
        amount = rate.length if not cycles else cycles[cycle if cycle >= 0 else len(cycles) - 1]
        return amount.unit == "rest" and self.machine.meter_of(amount) is None

    # The stays that follow

    def _onward(self, reach: Reach, stay: JudgedStay) -> Iterator[JudgedStay]:
        """The stays after a stay in which the raise is still judged."""
        node, (ago_low, ago_high) = stay.node, stay.ago
        left = self.judged - ago_low
        if left < 1 or not self._carrying(node.kind.state):
            return
        edges = reach.ways_on(node)[0] if reach.finished or reach.exact else node.by.to.to  # type: ignore[union-attr]
        for edge in edges:
            if edge.spent[0] > left or not self._carried(edge):
                continue
            zone = edge.zone._replace(entry_high=min(edge.zone.entry_high, node.zone.entry_high + left))
            entered = closed(zone, reach.period)
            if entered is not None:
                ago = (ago_low + edge.spent[0], min(self.judged, ago_high + edge.spent[1]))
                if warm := self._own_warmup(edge):
                    ago = (-warm, -warm)
                yield JudgedStay(Node(edge.kind, entered, edge), ago, stay.restarted or edge.shift is None, stay.taken)

    def _carrying(self, state: int) -> bool:
        """Whether any transition out of a state leaves a raise judged that came before it."""
        if state not in self._carries:
            old = self.machine.states[state]
            self._carries[state] = any(
                not t.regress and not _scales(t.actions) and self.machine.by_name[t.target].stop is None
                and (bool(old.ramps) or not self.machine.harder(self.machine.by_name[t.target].knobs, old.knobs))
                for t in old.transitions
            )  # fmt: skip
        return self._carries[state]

    def _carried(self, edge: Edge) -> bool:
        """Whether a raise before an edge may still be judged after it."""
        new = self.machine.states[edge.kind.state]
        transition = self.machine.states[edge.source.kind.state].transitions[edge.place]
        if new.stop is not None or transition.regress or _scales(transition.actions):
            return False
        jump = self.jump(edge)
        return not jump.raised or bool(jump.unsure) or jump.longest < edge.spent[1]

    def _raises_after(self, edge: Edge, spent: int) -> bool:
        """Whether an edge raises a knob, taken after this many steps."""
        jump = self.jump(replace(edge, spent=(spent, spent)))
        return bool(jump.raised) and not jump.unsure

    def _longest(self, reach: Reach, node: Node) -> int:
        """How many steps a stay in a node can have at most."""
        if not (reach.finished or reach.exact):
            return FAR
        longest = 0
        for course, first, last in reach.courses_of(node):
            most = FAR
            for deadline in course.deadlines:
                bound, _ = deadline.bound(reach.period, first, last, node.zone.entry_arc)
                most = min(most, bound.steps if bound.relative else bound.steps - first)
            longest = max(longest, most)
        if self.meterings is not None:
            over = self.meterings.over_by(reach.state(node), node.zone)
            longest = min(longest, over)
        return longest


def trail_after(miss: Miss, taken: Taken | None) -> Taken | None:
    """A trail to a raise, and on to where the rate is low."""
    return None if taken is None else [*taken, *miss.low.taken]


def _scales(actions: object) -> bool:
    return any(action.name == "lr_scale" for action in actions)  # type: ignore[attr-defined]


def _points(zone: Zone, period: int) -> Iterator[Zone]:
    """The single moments of a zone, the earliest first."""
    todo = [zone]
    while todo:
        box = todo.pop()
        halves = list(cut(box, period))
        if not halves and (box.entry_low, box.anchor_low) == (box.entry_high, box.anchor_high):
            yield box
        todo += halves[::-1]
