"""What holds for every possible loss stream, and a counterexample where it doesn't.

Metrics are free as soon as a detector has seen enough, clocks are exact (`reach`). That something *cannot* happen
follows from what is reachable. That something bad *can* happen is called an error only if a stream was found under which the
Controller really does it (`streams`); else it is a warning that says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

from controller.alignment import Miss, clock_of, miss, moments_of, raised, share
from controller.binding import Knobs, Machine
from controller.errors import Key
from controller.findings import Counterexample, Entry, Finding, RaiseRates, Report, visits_of
from controller.idle import idle, unused
from controller.reach import Edge, Node, Reach, explored
from controller.resuming import killed_and_resumed
from controller.sense import hardness
from controller.streams import Budget, stream_of
from controller.zones import FAR

MOST_OBSERVATIONS = 400_000  # tried for the counterexamples of one verification
RESUMED_STEPS = 2_500
LITTLE = 0.05  # of the run, for the last state
TRIES = 3  # for the counterexample of one finding
ORDER = {"error": 0, "warning": 1, "waived": 2, "note": 3}


class Trail(NamedTuple):
    """A way to something bad: transitions' places with their steps, where it shows, and up to which step it goes."""

    taken: list[tuple[int, int]]
    step: int
    until: int
    shows: str


def verify(machine: Machine, *, streams: bool = False, observations: int = MOST_OBSERVATIONS) -> Report:
    """Decide every property of a bound curriculum for every loss stream.

    streams: look for the streams of warnings as well, which need the whole run. observations: how many may be tried for
    counterexamples.
    """
    return _Verification(machine, streams, observations).report()


class _Verification:
    def __init__(self, machine: Machine, streams: bool, observations: int) -> None:
        self.machine, self.streams = machine, streams
        self.budget = Budget(observations)
        self.reach, self.before_merging = explored(machine)
        self.total = machine.run.total_steps
        self.trapped, self.stuck = self._trapped()
        self.resumed = 0

    def report(self) -> Report:
        """All findings, the worst first, then in the order of the file."""
        found = [
            *unused(self.machine),
            *self._merged(),
            *self._reach(),
            *self._escape(),
            *self._monotone(),
            *self._aligned(),
            *idle(self.reach, self.stuck),
            *self._timing(),
            *self._resume(),
        ]
        found = [*map(self._waived, found), *self._idle_waivers(found)]
        found.sort(key=lambda finding: ORDER[finding.severity])
        return Report(self.machine, tuple(found), tuple(self.entries()), tuple(self.raises()), self.reach.exact,
                      self.resumed)  # fmt: skip

    # Counterexamples

    def _shown(self, finding: Finding, trails: Iterable[Trail | None], seek: bool = True) -> Finding:
        """The finding with the first of some trails that a stream was found for, or without a stream."""
        first: Counterexample | None = None
        for trail in trails:
            if trail is None:
                continue
            visits = visits_of(self.machine, trail.taken, trail.until)
            example = Counterexample(visits, trail.step, trail.shows)
            if seek and trail.until <= max(self.budget.observations, 0):
                rows = stream_of(self.machine, visits, self.budget)
                example = replace(example, rows=None if rows is None else tuple(rows), sought=True)
            if example.rows is not None:
                return replace(finding, counterexample=example)
            first = first or example
        return replace(finding, counterexample=first)

    def _happens(self, finding: Finding, trails: Iterable[Trail | None]) -> Finding:
        """The finding, as an error only if it was seen to happen."""
        shown = self._shown(finding, trails)
        if shown.counterexample is not None and shown.counterexample.rows is not None:
            return shown
        return shown.weaker("warning", "no loss stream was found that brings it about")

    def _trail(
        self, reach: Reach, edge: Edge, step: int, anchor: int | None, until: int, at: int, shows: str
    ) -> Trail | None:
        taken = reach.trail_through(edge, step, anchor)
        return None if taken is None else Trail(taken, at, until, shows)

    def _edges(self) -> Iterator[tuple[Reach, Edge]]:
        for reach in filter(None, (self.before_merging, self.reach)):
            for node in reach.nodes:
                for edge in node.to:
                    yield reach, edge

    # reach, escape

    def _trapped(self) -> tuple[set[int], set[int]]:
        """States from which no stream leads to a final one; of these, the states that no stream leads out of."""
        first = [node for node in self.reach.nodes if not node.kind.done]
        sources: dict[int, list[Node]] = {}
        for node in self.reach.nodes:
            for edge in node.to:
                to = edge.to
                while to is not None:
                    sources.setdefault(id(to), []).append(node)
                    to = to.into
        todo = [node for node in self.reach.nodes if node.kind.done]
        good = set(map(id, todo))
        while todo:
            for node in sources.get(id(todo.pop()), []):
                if id(node) not in good:
                    good.add(id(node))
                    todo.append(node)
        trapped = {node.kind.state for node in first} - {node.kind.state for node in first if id(node) in good}
        left = {node.kind.state for node in first if node.to}
        return trapped, trapped - left

    def _reach(self) -> Iterator[Finding]:
        machine, reached = self.machine, {node.kind.state for node in self.reach.nodes}
        into: dict[int, set[int]] = {state: set() for state in range(len(machine.states))}
        for place, state in enumerate(machine.states):
            for transition in state.transitions:
                into[_place(machine, transition.target)].add(place)
        for place, state in enumerate(machine.states):
            path: tuple[Key, ...] = ("state", state.index)
            if place not in reached and not self._explained(place, into, reached):
                why = "no transition leads to it" if not into[place] - {place} else "no loss stream leads to it"
                yield Finding("unreachable", "reach", "error", (*path, "name"),
                              f'state "{state.name}" is never entered: {why}', "Add a transition to it, or correct those that lead there")  # fmt: skip
            last = place + 1 == len(machine.states)
            if place in reached and not last and not state.transitions and state.stop is None:
                following = machine.states[place + 1].name
                yield Finding("early-end", "reach", "warning", (*path, "name"),
                              f'nothing leaves state "{state.name}", although "{following}" is written after it',
                              'Add a transition out of it, or say stop = "reason" if the training ends there')  # fmt: skip

    def _explained(self, place: int, into: dict[int, set[int]], reached: set[int]) -> bool:
        """Whether a state is not entered because a state before it cannot be left."""
        todo, seen = [place], {place}
        while todo:
            for source in into[todo.pop()] - seen:
                if source in self.stuck:
                    return True
                seen.add(source)
                if source not in reached:
                    todo.append(source)
        return False

    def _escape(self) -> Iterator[Finding]:
        for place in sorted(self.stuck):
            yield self._stuck(place)
        if self.trapped and not self.stuck:
            place = min(self.trapped)
            names = _listed(self.machine.states[p].name for p in sorted(self.trapped))
            finding = Finding("never-final", "escape", "error", ("state", self.machine.states[place].index, "name"),
                              f"no loss stream leads from {names} to a final state"
                              + (f" within the run of {self.total} steps" if self.total else ""),
                              "Let a transition lead on to the last state in time; a final state is one that only a "
                              "retreat leaves, or that stops the training")  # fmt: skip
            yield self._shown(finding, [self._stay_in({place})])
        staying = {node.kind.state for node in self.reach.nodes if node.stays and not node.kind.done}
        if staying and not self.trapped:
            states = [self.machine.states[place] for place in sorted(staying)]
            final = _listed(s.name for p, s in enumerate(self.machine.states) if self.reach.final[p])
            finding = Finding("may-stay", "escape", "warning", ("transition", states[0].transitions[0].index),
                              f"{final} may never be entered: some losses keep the run in "
                              f"{_listed((s.name for s in states), 'or')}",
                              "A loss that keeps improving is no plateau. To bound the stay, add a transition with a "
                              'timeout: guards = [{ dwell = "0.3 run" }]')  # fmt: skip
            yield self._shown(finding, [self._stay_in(staying)], seek=self.streams)

    def _stay_in(self, places: set[int]) -> Trail | None:
        """A way to stay in one of some states until the run is over."""
        for reach in filter(None, (self.before_merging, self.reach)):
            for node in reach.nodes:
                if node.kind.state in places and not node.kind.done and (node.stays or not node.to):
                    taken = reach.trail(node, node.zone.entry_low, None)
                    end = self.total or node.zone.entry_low + 100
                    if taken is not None:
                        shows = "the run is over" if self.total else "and so on, without end"
                        return Trail(taken, end, end, f'{shows}, in state "{reach.state(node).name}"')
        return None

    def _stuck(self, place: int) -> Finding:
        state = self.machine.states[place]
        endless = Reach(self.machine, endless=True, exact=False, budget=FAR)
        leaves = any(node.kind.state == place and node.to for node in endless.nodes)
        guards = list(idle(self.reach, set(range(len(self.machine.states))) - {place}))
        blamed = next((f for f in guards if f.code == "never-true"), None)
        path = blamed.path if blamed else ("transition", state.transitions[0].index)
        why = f": {blamed.sentence}" if blamed else ""
        after = [
            s.name for p, s in enumerate(self.machine.states) if not any(n.kind.state == p for n in self.reach.nodes)
        ]
        so = f", so {_listed(after)} {'is' if len(after) == 1 else 'are'} never entered" if after else ""
        if leaves:
            finding = Finding("too-late", "escape", "error", path,
                              f'state "{state.name}" cannot be left within the run{so}{why}',
                              "Shorten what is asked for, or make the run longer")  # fmt: skip
        else:
            finding = Finding("dead-end", "reach", "error", path, f'state "{state.name}" can never be left{so}{why}',
                              "Correct the guards of its transitions")  # fmt: skip
        return self._shown(finding, [self._stay_in({place})])

    # monotone

    def _monotone(self) -> Iterator[Finding]:
        falls: dict[int, list[tuple[Reach, Edge, str]]] = {}
        fallen: set[int] = set()
        for reach, edge in self._edges():
            name = _falls(self.machine, edge)
            transition = reach.transition(edge)
            if name and transition.regress:
                fallen.add(transition.index)
            elif name:
                falls.setdefault(transition.index, []).append((reach, edge, name))
        for index, found in sorted(falls.items()):
            yield self._happens(*self._fall(index, found))
        taken = {reach.transition(edge).index for reach, edge in self._edges()}
        for index, written in enumerate(self.machine.curriculum.transition):
            if written.regress and index in taken - fallen:
                yield Finding("idle-regress", "monotone", "note", ("transition", index, "regress"),
                              "regress = true, and no knob falls", "Remove it", at_key=True)  # fmt: skip
        yield from self._cycles()

    def _fall(self, index: int, found: list[tuple[Reach, Edge, str]]) -> tuple[Finding, list[Trail | None]]:
        reach, edge, name = found[0]
        old, new = reach.state(edge.source), self.machine.states[edge.kind.state]
        ramp = f", where its ramp can have got to {_ramped(self.machine, edge)[name]}" if name in old.ramps else ""
        finding = Finding("knob-falls", "monotone", "error", ("transition", index, "to"),
                          f"{name} falls from {old.knobs[name]} to {new.knobs[name]} between {old.name} and {new.name}"
                          f"{ramp}, and the transition is not marked",
                          "Exchange the states, or write regress = true and at_most if this is a retreat")  # fmt: skip
        trails = []
        for reach, edge, name in found[:TRIES]:
            step = edge.zone.entry_high if reach.state(edge.source).ramps else edge.zone.entry_low
            trails.append(self._trail(reach, edge, step, None, step, step, f"{name} falls"))
        return finding, trails

    def _cycles(self) -> Iterator[Finding]:
        """Ways round that at_most does not bound, one for each set of states that can be gone round."""
        told: set[frozenset[int]] = set()
        for reach, edge in self._edges():
            around = _way_round(reach, edge)
            if around is None or frozenset(around) in told:
                continue
            told.add(frozenset(around))
            names = " -> ".join(self.machine.states[place].name for place in [*around, around[0]])
            transition = reach.transition(edge)
            step = edge.zone.entry_low
            finding = Finding("unbounded-cycle", "monotone", "error", ("transition", transition.index),
                              f"{names} can be gone round without end",
                              "Write at_most on the transition that leads back")  # fmt: skip
            shows = f'"{self.machine.states[edge.kind.state].name}" is entered again'
            yield self._happens(finding, [self._trail(reach, edge, step, None, step, step, shows)])

    # aligned

    def _aligned(self) -> Iterator[Finding]:
        misses: dict[int, list[tuple[Reach, Miss, tuple[str, ...]]]] = {}
        for reach, edge in self._edges():
            if edge.zone.entry_high >= FAR and not reach.exact:
                continue
            _, _, names, longest = raised(self.machine, edge)
            for moment in moments_of(self.machine, reach, edge, longest) if names else ():
                found = miss(self.machine, reach, edge, moment)
                if found is not None:
                    misses.setdefault(reach.transition(edge).index, []).append((reach, found, names))
        for index, found_here in sorted(misses.items()):
            found_here.sort(key=lambda entry: (entry[1].moment.step, entry[1].step))
            trails = (self._missed(reach, found) for reach, found, _ in found_here[:TRIES])
            yield self._happens(self._low_rate(index, *found_here[0], min(f.share for _, f, _ in found_here)), trails)

    def _missed(self, reach: Reach, found: Miss) -> Trail | None:
        shows = f"the rate is {percent(found.share)} of the peak, {percent(found.asked)} is asked"
        moment = found.moment
        return self._trail(reach, found.edge, moment.step, moment.anchor, found.step + 1, found.step, shows)

    def _low_rate(self, index: int, reach: Reach, found: Miss, names: tuple[str, ...], worst: float) -> Finding:
        old, new = reach.state(found.edge.source), self.machine.states[found.edge.kind.state]
        knobs = ", ".join(f"{name} rises from {old.knobs[name]} to {new.knobs[name]}" for name in names)
        more = f", at other moments {percent(worst)}" if worst < found.share - 0.005 else ""
        align, late = self.machine.curriculum.check.align, found.step - found.moment.step
        path = ("transition", index)
        if found.asked == align.min and late < max(1, int(align.within.split()[0])):
            return Finding("misaligned", "aligned", "error", path,
                           f"{knobs} while the rate is at {percent(found.share)} of the peak{more}; "
                           f"{percent(align.min)} is asked", 'Write actions = ["lr_restart"], or let the cycles of the '
                           "rate end where the knob rises")  # fmt: skip
        return Finding("rate-falls", "aligned", "error", path,
                       f"{knobs}, and {late} steps later the rate is at {percent(found.share)} of the peak{more}; "
                       f"{percent(align.hold)} is asked for {align.steps} steps",
                       "Choose a longer length of the rate, or set [check] align to what is meant")  # fmt: skip

    # timing, resume, waivers

    def entries(self) -> Iterator[Entry]:
        """The earliest and the latest entry of each state."""
        for place, state in enumerate(self.machine.states):
            zones = [node.zone for node in self.reach.nodes if node.kind.state == place]
            if not zones:
                yield Entry(state.name, None, None)
                continue
            latest = max(zone.entry_high for zone in zones)
            yield Entry(state.name, min(zone.entry_low for zone in zones), None if latest >= FAR else latest)

    def raises(self) -> Iterator[RaiseRates]:
        """The rates around each raise."""
        found: dict[tuple[int, str], RaiseRates] = {}
        for node in self.reach.nodes:
            for edge in node.to:
                before, after, names, longest = raised(self.machine, edge)
                if not names:
                    continue
                transition = self.reach.transition(edge)
                shares = [
                    share(self.machine, clock_of(self.machine, edge.kind, m.anchor, m.step),
                          self.machine.states[edge.kind.state], m.step)
                    for m in moments_of(self.machine, self.reach, edge, longest)
                ]  # fmt: skip
                earlier = list(self._shares_before(edge))
                key = (transition.index, transition.source)
                if key in found:
                    shares += found[key].after
                    earlier += found[key].before
                if shares and earlier:
                    knobs: dict[str, tuple[object, object]] = {n: (before[n], after[n]) for n in names}
                    found[key] = RaiseRates(transition, knobs, (min(earlier), max(earlier)), (min(shares), max(shares)))
        yield from found.values()

    def _shares_before(self, edge: Edge) -> Iterator[float]:
        """Shares of the peak on the last step of the stay that an edge ends, for its first and last moments."""
        state = self.reach.state(edge.source)
        for step in {edge.zone.entry_low, min(edge.zone.entry_high, FAR - 1)}:
            anchor = None if edge.shift is None else edge.zone.anchor_low
            for _, before in self.reach.before(edge, step, anchor):
                if before is not None and step >= 1:
                    clock = clock_of(self.machine, edge.source.kind, before, step - 1)
                    yield share(self.machine, clock, state, step - 1)

    def _timing(self) -> Iterator[Finding]:
        last = self.machine.states[-1]
        earliest = next((entry.earliest for entry in self.entries() if entry.state == last.name), None)
        if self.total is not None and earliest is not None and last.stop is None:
            left = (self.total - earliest) / self.total
            if left < LITTLE:
                yield Finding("little-left", "timing", "warning", ("state", last.index, "name"),
                              f'entered at the earliest, "{last.name}" has {percent(left)} of the run left',
                              "Let the states before it end earlier")  # fmt: skip

    def _resume(self) -> Iterator[Finding]:
        self.resumed, difference = killed_and_resumed(self.machine, RESUMED_STEPS)
        if difference:
            yield Finding("resume-differs", "resume", "error", (), difference, "Please report this, with the file")

    def _merged(self) -> Iterator[Finding]:
        for note in self.machine.notes:
            yield Finding("merged-states", "names", "note", ("knob",), note)

    def _waived(self, finding: Finding) -> Finding:
        waive = self.machine.curriculum.check.waive
        counts = finding.property in waive and finding.severity != "note"
        return replace(finding, severity="waived") if counts else finding

    def _idle_waivers(self, found: list[Finding]) -> Iterator[Finding]:
        broken = {finding.property for finding in found if finding.severity != "note"}
        for name in self.machine.curriculum.check.waive:
            if name not in broken and name != "noise":
                yield Finding("idle-waiver", name, "note", ("check", "waive", name),
                              f'"{name}" is waived, and holds', "Remove it", at_key=True)  # fmt: skip


def percent(share_of_one: float) -> str:
    """A share as people read it."""
    return f"{100 * share_of_one:.3g} %"


def _place(machine: Machine, name: str) -> int:
    return machine.states.index(machine.by_name[name])


def _listed(names: Iterable[str], word: str = "and") -> str:
    *most, last = [f'"{name}"' for name in names] or [""]
    if len(most) > 6:
        most, last = most[:6], f"{len(most) - 5} others"
    return f"{', '.join(most)} {word} {last}" if most else last


def _ramped(machine: Machine, edge: Edge) -> Knobs:
    """The knobs on the last step of the longest stay that an edge ends."""
    old = machine.states[edge.source.kind.state]
    stay = machine.stay(old, machine.run.total_steps)
    time = min(edge.spent[1] - 1, max([0, *stay.ramp_steps.values()]))
    return {**old.knobs, **{name: ramp.value(time, stay.ramp_steps[name]) for name, ramp in old.ramps.items()}}


def _falls(machine: Machine, edge: Edge) -> str:
    """A knob that falls on an edge, or nothing."""
    old, new = _ramped(machine, edge), machine.states[edge.kind.state].knobs
    return next((name for name, value in new.items() if hardness(value) < hardness(old[name])), "")


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
