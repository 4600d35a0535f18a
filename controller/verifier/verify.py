"""What holds for every possible loss stream, and a counterexample where it doesn't.

Metrics are free as soon as a detector has seen enough, clocks are exact (`reach`). That something *cannot* happen
follows from what is reachable. That something bad *can* happen is called an error only if a stream was found under
which the Controller really does it (`streams`); else it is a warning that says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cached_property

from plateau_rule.controller.arguments import kind_of
from plateau_rule.controller.errors import ArgumentError, Key
from plateau_rule.controller.guards.dwell import TIMEOUT
from plateau_rule.controller.machine import Machine
from plateau_rule.controller.verifier.examples import TOO_MANY, Examples, Trail
from plateau_rule.controller.verifier.findings import LITTLE, Entry, Finding, Report, percent
from plateau_rule.controller.verifier.idle import idle, unused
from plateau_rule.controller.verifier.outcome import FREE
from plateau_rule.controller.verifier.raises import aligned, monotone, raise_rates
from plateau_rule.controller.verifier.resuming import killed_and_resumed
from plateau_rule.controller.verifier.zone_graph import Node, Reach, explore
from plateau_rule.controller.verifier.zones import FAR

MOST_LOOKS = 200_000  # tried for the counterexamples of one verification
RESUMED_STEPS = 2_500
WITHOUT_TRANSITION = 100  # steps of a run that is killed and resumed, where none can be taken among the others
ORDER = {"error": 0, "warning": 1, "waived": 2, "note": 3}


def verify(machine: Machine, *, streams: bool = False, looks: int = MOST_LOOKS) -> Report:
    """Decide every property of a bound curriculum for every loss stream.

    streams: look for the streams of warnings as well, which need the whole run. looks: how many may be tried for
    counterexamples.
    """
    if not isinstance(machine, Machine):
        raise ArgumentError(f"verify: {kind_of(machine)}; expected a Machine, which bind makes of a Curriculum")
    return _Verification(machine, streams, looks).report()


class _Verification:
    def __init__(self, machine: Machine, streams: bool, looks: int) -> None:
        self.machine, self.streams = machine, streams
        self.examples = Examples(machine, looks)
        self.explored = explore(machine)
        self.reach = self.explored.whole
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
            *monotone(self.machine, self.explored, self.examples),
            *self._aligned(),
            *idle(self.reach, self.stuck),
            *self._timing(),
            *self._resume(),
        ]
        found = [*map(self._waived, found), *self._idle_waivers(found)]
        found.sort(key=lambda finding: ORDER[finding.severity])
        raises = tuple(raise_rates(self.machine, self.explored))
        return Report(self.machine, tuple(found), self.entries, raises, self.reach.told_apart, self.resumed)

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
                              f'state "{state.name}" is never entered: {why}',
                              "Add a transition to it, or correct those that lead there")  # fmt: skip
            last = place + 1 == len(machine.states)
            if place in reached and not last and not state.transitions and state.stop is None:
                following = machine.states[place + 1].name
                yield Finding("early-end", "reach", "warning", (*path, "name"),
                              f'nothing leaves state "{state.name}", although "{following}" is written after it',
                              'Add a transition out of it, or stop = "reason" if training ends there')  # fmt: skip

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
            yield self.examples.shown(finding, [self._stay_in(self.trapped)])
        staying = {node.kind.state for node in self.reach.nodes if node.stays and not node.kind.done}
        if staying and not self.trapped:
            states = [self.machine.states[place] for place in sorted(staying)]
            final = _listed(s.name for p, s in enumerate(self.machine.states) if self.reach.final[p])
            finding = Finding("may-stay", "escape", "warning", ("transition", states[0].transitions[0].index),
                              f"{final} may never be entered: some losses keep the run in "
                              f"{_listed((s.name for s in states), 'or')}",
                              self._way_out(staying))  # fmt: skip
            trail = self._stay_in(staying)
            finding = finding if trail else finding.weaker("warning", TOO_MANY)
            yield self.examples.shown(finding, [trail], seek=self.streams)

    def _way_out(self, staying: set[int]) -> str:
        """What keeps the run in some states, and what to do about it."""
        nodes = [node for node in self.reach.nodes if node.stays and node.kind.state in staying]
        if all(course.deadlines for node in nodes for course, _, _ in self.reach.courses_of(node)):
            return "The longest stays add up to more than the run: shorten their timeouts, or make the run longer"
        looks = [self.reach.courses[place].looks for place in sorted(staying)]
        free = any(atom.kind == FREE for look in looks for atom in look.atoms)
        evaluations = any(transition.at == "eval" for look in looks for transition in look.transitions)
        why = "A loss that keeps improving is no plateau. " if free else "Evaluations need not come. " * evaluations
        return f"{why}To bound the stay, add a transition with a timeout: guards = [{TIMEOUT}]"

    def _stay_in(self, places: set[int]) -> Trail | None:
        """A way to stay in one of some states until the run is over, if one is known exactly."""
        reach = self.explored.near or self.reach
        for node in reach.nodes:
            if node.kind.state in places and not node.kind.done and node.lasts_from is not None:
                taken = reach.trail(node, node.lasts_from, None)
                end = self.total or node.lasts_from + 100
                if taken is not None:
                    shows = "the run is over" if self.total else "and so on, without end"
                    return Trail(taken, end, end, f'{shows}, in state "{reach.state(node).name}"')
        return None

    def _stuck(self, place: int) -> Finding:
        state = self.machine.states[place]
        endless = Reach(self.machine, endless=True, exact=False, budget=FAR)
        leaves = any(node.kind.state == place and node.to for node in endless.nodes)
        own = {transition.index for transition in state.transitions}
        blamed = next((f for f in idle(self.reach, set()) if f.code == "never-true" and f.path[1] in own), None)
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
        return self.examples.shown(finding, [self._stay_in({place})])

    def _aligned(self) -> Iterator[Finding]:
        waived = "aligned" in self.machine.curriculum.check.waive
        return aligned(self.machine, self.explored, self.examples, waived=waived, streams=self.streams)

    # timing, resume, waivers

    @cached_property
    def entries(self) -> tuple[Entry, ...]:
        """The earliest and the latest entry of each state."""
        found = []
        for place, state in enumerate(self.machine.states):
            zones = [node.zone for node in self.reach.nodes if node.kind.state == place]
            earliest = min((zone.entry_low for zone in zones), default=None)
            latest = max((zone.entry_high for zone in zones), default=None)
            latest = None if latest is not None and latest >= FAR else latest
            found.append(Entry(state.name, earliest, latest, not self._avoidable(place)))
        return tuple(found)

    def _avoidable(self, place: int) -> bool:
        """Whether a run can end without ever having entered a state."""
        todo = [self.reach.nodes[0]]
        seen = set(map(id, todo))
        while todo:
            node = todo.pop()
            if node.kind.state == place:
                continue
            if node.into is None and (node.stays or not node.to):
                return True
            following = [edge.to for edge in node.to] if node.into is None else [node.into]
            for to in following:
                if to is not None and id(to) not in seen:
                    seen.add(id(to))
                    todo.append(to)
        return False

    def _timing(self) -> Iterator[Finding]:
        last = self.machine.states[-1]
        earliest = next((entry.earliest for entry in self.entries if entry.state == last.name), None)
        if self.total is not None and earliest is not None and last.stop is None:
            left = (self.total - earliest) / self.total
            if left < LITTLE:
                yield Finding("little-left", "timing", "warning", ("state", last.index, "name"),
                              f'entered at the earliest, "{last.name}" has {percent(left)} of the run left',
                              "Let the states before it end earlier")  # fmt: skip

    def _resume(self) -> Iterator[Finding]:
        first = min((edge.steps[0] for edge in self.reach.edges()), default=FAR)
        steps = RESUMED_STEPS if first <= RESUMED_STEPS else WITHOUT_TRANSITION
        self.resumed, difference = killed_and_resumed(self.machine, steps)
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


def _place(machine: Machine, name: str) -> int:
    return machine.states.index(machine.by_name[name])


def _listed(names: Iterable[str], word: str = "and") -> str:
    *most, last = [f'"{name}"' for name in names] or [""]
    if len(most) > 6:
        most, last = most[:6], f"{len(most) - 5} others"
    return f"{', '.join(most)} {word} {last}" if most else last
