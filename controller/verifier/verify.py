"""What holds for every possible loss stream, and a counterexample where it doesn't.

Metrics are free as soon as a detector has seen enough, clocks are exact (zone_graph). That something *cannot* happen
follows from what is reachable. That something bad *can* happen is said only where a stream was found under which the
Controller really does it (witness); else it is not decided. README.md is the argument.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cached_property

from plateau_rule.controller.arguments import kind_of
from plateau_rule.controller.errors import ArgumentError
from plateau_rule.controller.machine import Machine
from plateau_rule.controller.verifier.budget import MOST_CONFIGURATIONS, Budget
from plateau_rule.controller.verifier.declared import metric_findings
from plateau_rule.controller.verifier.escape import Escape
from plateau_rule.controller.verifier.examples import Examples
from plateau_rule.controller.verifier.explored import explore
from plateau_rule.controller.verifier.findings import LITTLE, ORDER, Answer, Entry, Finding, Report, percent
from plateau_rule.controller.verifier.idle import idle, unused
from plateau_rule.controller.verifier.monotone import monotone
from plateau_rule.controller.verifier.order import cover, not_shown
from plateau_rule.controller.verifier.raises import aligned, raise_rates
from plateau_rule.controller.verifier.resuming import killed_and_resumed
from plateau_rule.controller.verifier.spending import decays, left, spent
from plateau_rule.controller.verifier.verdicts import verdicts
from plateau_rule.controller.verifier.warmups import warmups
from plateau_rule.controller.verifier.witness import Player
from plateau_rule.controller.verifier.zones import FAR

RESUMED_STEPS = 2_500
WITHOUT_TRANSITION = 100  # steps of a run that is killed and resumed, where none can be taken among the others


def verify(
    machine: Machine, *, budget: float = MOST_CONFIGURATIONS, tick: Callable[[float], None] | None = None
) -> Report:
    """Decide every property of a bound curriculum for every loss stream.

    Args:
        machine: what `bind` gives.
        budget: configurations that may be tried; what is left then is not decided. The same budget brings the same
            verdicts on every machine.
        tick: called now and then with the share of the budget that was spent.
    """
    if not isinstance(machine, Machine):
        raise ArgumentError(f"verify: {kind_of(machine)}; expected a Machine, which bind makes of a Curriculum")
    return _Verification(machine, Budget(budget, tick)).report()


class _Verification:
    def __init__(self, machine: Machine, budget: Budget) -> None:
        self.machine, self.budget = machine, budget
        self.total = machine.run.total_steps
        self.explored = explore(machine, budget.part(0.6))
        self.reach = self.explored.whole
        # What the graph is asked later on is not explored anew; where it is, it counts.
        for reach in filter(None, self.explored):
            reach.budget = budget
        self.player = Player(machine)
        self.resumed = 0

    def report(self) -> Report:
        """All findings, the worst first, then in the order of the file."""
        machine, budget, player = self.machine, self.budget, self.player
        found = [*unused(machine), *metric_findings(machine), *self._merged(), *self._resume()]
        escape = Escape(machine, self.explored, Examples(machine, budget.part(0.4), player), budget.part(0.3))
        found += escape.escape_findings()
        found += monotone(machine, self.explored, Examples(machine, budget.part(0.4), player))
        found += aligned(machine, self.explored, Examples(machine, budget.part(0.5), player), budget.part(0.5))
        cover(machine, self.explored, player, budget.part(0.8))
        found += escape.reach_findings(player.coverage)
        found += self._order(escape.stuck)
        found += [*self._timing(), *decays(machine, self.reach), *warmups(machine, self.reach)]
        found = [*map(self._waived, found), *self._idle_waivers(found)]
        written = machine.curriculum.written_path
        placed = {(f.code, written(f.path), f.sentence): replace(f, path=written(f.path)) for f in found}
        found = list(placed.values())
        found.sort(key=lambda finding: ORDER[finding.severity])
        raises = tuple(raise_rates(machine, self.explored, budget.part(0.5)))
        answers = verdicts(machine, self.explored, found, self.resumed, dict(self._implied(escape, found)))
        return Report(machine, tuple(found), answers, self.entries, raises, self.reach.told_apart, self.resumed,
                      tuple(spent(machine, self.reach)), self.left)  # fmt: skip

    def _implied(self, escape: Escape, found: list[Finding]) -> Iterator[tuple[str, tuple[Answer, str]]]:
        """Properties that are broken by what was told as a finding about another one."""
        never = [entry.state for entry in self.entries if entry.earliest is None]
        if never:
            yield "reach", ("broken", f'"{never[0]}" is never entered')
        if escape.stuck:
            shown = any(f.unwaived == "error" and f.code in ("dead-end", "too-late") for f in found)
            yield "escape", ("broken" if shown else "not decided", "a state can never be left")

    def _order(self, stuck: set[int]) -> Iterator[Finding]:
        told = set[int]()
        if self.explored.decides:
            for finding in idle(self.reach, stuck):
                told.add(int(finding.path[1]))
                yield finding
        told |= {t.index for place in stuck for t in self.machine.states[place].transitions}
        reached = {node.kind.state for node in self.reach.nodes}
        told |= {t.index for p, s in enumerate(self.machine.states) for t in s.transitions if p not in reached}
        yield from not_shown(self.machine, self.player.coverage, told)

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

    @cached_property
    def left(self) -> dict[str, tuple[float, float]]:
        """What is left of a run in tokens or cost when each state is entered."""
        return dict(left(self.machine, self.reach))

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
        if earliest is not None and last.stop is None and (self.left or self.total is not None):
            share = self.left[last.name][1] if self.total is None else (self.total - earliest) / self.total
            if share < LITTLE:
                yield Finding("little-left", "timing", "warning", ("state", last.index, "name"),
                              f'entered at the earliest, "{last.name}" has {percent(share)} of the run left',
                              "Let the states before it end earlier")  # fmt: skip

    def _resume(self) -> Iterator[Finding]:
        first = min((edge.steps[0] for edge in self.reach.edges()), default=FAR)
        steps = RESUMED_STEPS if first <= RESUMED_STEPS else WITHOUT_TRANSITION
        self.resumed, difference = killed_and_resumed(self.machine, steps, budget=self.budget.part(0.25))
        if difference:
            yield Finding("resume-differs", "resume", "error", (), difference, "Please report this, with the file")

    def _merged(self) -> Iterator[Finding]:
        for note in self.machine.notes:
            yield Finding("merged-states", "names", "note", ("knob",), note)

    def _waived(self, finding: Finding) -> Finding:
        waiver = self.machine.curriculum.check.waive.get(finding.property)
        if waiver is None or finding.severity == "note":
            return finding
        reason = waiver if isinstance(waiver, str) else waiver.get(self._transition(finding))
        return finding if reason is None else replace(finding, severity="waived", was=finding.severity, reason=reason)

    def _transition(self, finding: Finding) -> str:
        """The name of the transition that a finding is about; empty where there is none."""
        if finding.path[:1] != ("transition",):
            return ""
        return self.machine.curriculum.transition[int(finding.path[1])].name or ""

    def _idle_waivers(self, found: list[Finding]) -> Iterator[Finding]:
        needed = {(f.property, name) for f in found if f.severity != "note" for name in ("", self._transition(f))}
        for name, waiver in self.machine.curriculum.check.waive.items():
            for title in [""] if isinstance(waiver, str) else waiver:
                if (name, title) not in needed and name != "noise":
                    path, of = ("check", "waive", name), f' for "{title}"' if title else ""
                    yield Finding("idle-waiver", name, "note", (*path, title) if title else path,
                                  f'"{name}" is waived{of}, and holds', "Remove it", at_key=True)  # fmt: skip
