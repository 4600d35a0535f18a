"""Whether each transition can be taken, and each guard be true and not true: `order`.

What can never happen follows from the zone graph. What can is shown by runs of the real Controller.
"""

from __future__ import annotations

from collections.abc import Iterator

from plateau_rule.controller.guards.not_ import Not
from plateau_rule.controller.language.consistency import walk
from plateau_rule.controller.language.curriculum import Guard, word_of
from plateau_rule.controller.machine import Machine
from plateau_rule.controller.verifier.budget import Budget, BudgetSpent, Part
from plateau_rule.controller.verifier.coverage import Coverage, Path
from plateau_rule.controller.verifier.examples import trail_of
from plateau_rule.controller.verifier.explored import Explored
from plateau_rule.controller.verifier.findings import Finding, visits_of
from plateau_rule.controller.verifier.trails import trail
from plateau_rule.controller.verifier.witness import Player, Visit
from plateau_rule.controller.verifier.zone_graph import Edge, Node, Reach

MOST_TRAILS = 4  # that are tried for one transition
MOST_WAYS = 40  # to play a stay, that are tried for one guard


def cover(machine: Machine, explored: Explored, player: Player, budget: Budget | Part) -> None:
    """Run the Controller into every state, over every transition and past every guard, as far as runs are found."""
    reach, coverage = explored.by_run, player.coverage
    if not reach.exact:
        return
    try:
        for edges in _by_transition(reach):
            for edge in edges[:MOST_TRAILS]:
                if reach.transition(edge).index in coverage.taken and edge.kind.state in coverage.entered:
                    break
                step = edge.zone.entry_low
                found = trail_of(reach, edge, (step, None), step, step, "")
                if found is not None:
                    player.play(visits_of(machine, found.taken, step), budget.part(0.2))
        for index, path, word in _unseen_verdicts(machine, coverage):
            _look_for(reach, player, index, path, word, budget.part(0.2))
    except BudgetSpent:
        pass


def _by_transition(reach: Reach) -> Iterator[list[Edge]]:
    """The edges of each way from state to state, the earliest first; ways that are entered early come first."""
    ways: dict[tuple[int, int], list[Edge]] = {}
    for edge in reach.edges():
        ways.setdefault((edge.source.kind.state, edge.place), []).append(edge)
    found = [sorted(edges, key=lambda edge: edge.zone.entry_low) for edges in ways.values()]
    yield from sorted(found, key=lambda edges: edges[0].zone.entry_low)


def _unseen_verdicts(machine: Machine, coverage: Coverage) -> Iterator[tuple[int, Path, str]]:
    """Guards that were not seen true, or never otherwise, each with its transition and what was not seen."""
    for index, transition in enumerate(machine.curriculum.transition):
        for j, condition in enumerate(transition.guards):
            for part, path in walk(machine.curriculum, condition, ("transition", index, "guards", j)):
                seen = coverage.verdicts.get(path, set())
                if path[-1] == Not.name and not (isinstance(part, Guard) and word_of(part).joins):
                    continue  # what `not` is around is judged with it
                if "true" not in seen:
                    yield index, path, "true"
                elif seen == {"true"}:
                    yield index, path, "not true"


def _look_for(reach: Reach, player: Player, index: int, path: Path, word: str, budget: Budget | Part) -> None:
    """Try to see a guard say something."""
    coverage = player.coverage

    def seen() -> bool:
        said = coverage.verdicts.get(path, set())
        return "true" in said if word == "true" else bool(said - {"true"})

    try:
        for node in _first_nodes(reach, index):
            state = reach.state(node)
            looks = reach.courses(node.kind.state).looks
            taken = trail(reach, node, node.zone.entry_low, None)
            if taken is None:
                continue
            last = reach.machine.run.total_steps
            # With one more step than a detector needs, it can be true and not true; with fewer, only some can.
            for time in sorted({1, *(atom.needs + extra for atom in looks.atoms for extra in (0, 1))}):
                until = node.zone.entry_low + max(1, time)
                if seen() or (last is not None and until >= last):
                    break
                visits = [*visits_of(reach.machine, taken, node.zone.entry_low)]
                visits.append(Visit(state, node.zone.entry_low, until, None))
                player.look_for(visits, seen, budget, MOST_WAYS)
    except BudgetSpent:
        pass


def _first_nodes(reach: Reach, index: int) -> Iterator[Node]:
    """The earliest node of each state that a transition leaves."""
    told = set()
    for node in sorted(reach.nodes, key=lambda node: node.zone.entry_low):
        state = reach.state(node)
        if node.kind.state not in told and any(t.index == index for t in state.transitions) and state.stop is None:
            told.add(node.kind.state)
            yield node


def not_shown(machine: Machine, coverage: Coverage, told: set[int]) -> Iterator[Finding]:
    """Transitions and guards that may be idle: no run was found that shows otherwise; not those that were told of."""
    left = {t.index: t for state in machine.states for t in state.transitions}
    silent = set(told)
    for index, transition in sorted(left.items()):
        if index not in coverage.taken and index not in told:
            silent.add(index)
            yield Finding("never-taken", "order", "undecided", ("transition", index),
                          f"no loss stream was found under which {transition.title} is taken",
                          "Show one: plateau replay, with a log under which it is")  # fmt: skip
    for index, path, word in _unseen_verdicts(machine, coverage):
        if index not in silent and index in left:
            code, what = ("never-true", "true") if word == "true" else ("always-true", "anything but true")
            yield Finding(code, "order", "undecided", path,
                          f"no loss stream was found under which this guard is {what} when it is looked at",
                          "Show one: plateau replay, with a log under which it is")  # fmt: skip
