"""Whether a run gets to its goal, and whether any state can be entered that nothing leads out of: reach and escape."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from plateau_rule.controller.guards.dwell import TIMEOUT
from plateau_rule.controller.machine import BoundState, Machine
from plateau_rule.controller.rate import counts_over
from plateau_rule.controller.verifier.budget import Budget, BudgetSpent, Part
from plateau_rule.controller.verifier.coverage import Coverage
from plateau_rule.controller.verifier.examples import TOO_MANY, Examples, Trail
from plateau_rule.controller.verifier.explored import Explored
from plateau_rule.controller.verifier.findings import Finding
from plateau_rule.controller.verifier.idle import idle
from plateau_rule.controller.verifier.longer import in_a_longer_run
from plateau_rule.controller.verifier.trails import Taken, clock_on, trail
from plateau_rule.controller.verifier.zone_graph import Node, Reach
from plateau_rule.controller.verifier.zones import FAR

MOST_ENDS = 20  # nodes that are followed without the run's end, to tell a dead end from a run that is over


class Escape:
    """What holds a run in a state.

    Attributes:
        trapped: states from which no stream leads to the goal, nor to a state that stops.
        stuck: those of them that no stream leads out of.
    """

    def __init__(self, machine: Machine, explored: Explored, examples: Examples, budget: Budget | Part) -> None:
        self.machine, self.explored, self.examples, self.budget = machine, explored, examples, budget
        self.reach, self.total = explored.whole, machine.run.total_steps
        self.good = _leading(self.reach, self._is_end)
        first = [node for node in self.reach.nodes if not node.kind.done and not self._is_end(node)]
        good = {node.kind.state for node in first if id(node) in self.good}
        self.trapped = {node.kind.state for node in first} - good
        self.stuck = self.trapped - {node.kind.state for node in first if node.to}

    def _is_end(self, node: Node) -> bool:
        return node.kind.state in self.reach.goal or self.reach.state(node).stop is not None

    # reach

    def reach_findings(self, coverage: Coverage) -> Iterator[Finding]:
        """States that are never entered, or not left again."""
        machine, reached = self.machine, {node.kind.state for node in self.reach.nodes}
        into: dict[int, set[int]] = {state: set() for state in range(len(machine.states))}
        for place, state in enumerate(machine.states):
            for transition in state.transitions:
                into[machine.states.index(machine.by_name[transition.target])].add(place)
        for place, state in enumerate(machine.states):
            path = ("state", state.index, "name")
            if place not in reached and not self._explained(place, into, reached):
                why = "no transition leads to it" if not into[place] - {place} else "no loss stream leads to it"
                yield Finding("unreachable", "reach", "error", path, f'state "{state.name}" is never entered: {why}',
                              "Add a transition to it, or correct those that lead there")  # fmt: skip
            elif place in reached and place not in coverage.entered:
                yield Finding("unreachable", "reach", "undecided", path,
                              f'no loss stream was found that leads to "{state.name}"',
                              "Show one: plateau replay, with a log that leads there")  # fmt: skip
            last = place + 1 == len(machine.states)
            if place in reached and not last and not state.transitions and state.stop is None and not state.final:
                following = machine.states[place + 1].name
                yield Finding("early-end", "reach", "warning", path,
                              f'nothing leaves state "{state.name}", although "{following}" is written after it',
                              'Add a transition out of it; if training ends there, final = true or stop = "reason"'
                              )  # fmt: skip
        yield from self._dead_ends()

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

    def _dead_ends(self) -> Iterator[Finding]:
        """States that can be entered in such a way that nothing leads on, however long the run were."""
        near = self.explored.by_run
        if not self.reach.told_apart:
            left = [s for p, s in enumerate(self.machine.states) if p not in self.reach.goal and s.transitions]
            if left:
                yield Finding("dead-end", "reach", "undecided", ("state", left[0].index, "name"),
                              f'"{left[0].name}" may be entered when nothing leads on from it any more ({TOO_MANY})',
                              "Allow more: --budget NUMBER")  # fmt: skip
        told = set[tuple[str, int]]()
        for node in self._suspects(near):
            state, ends = near.state(node), self._ends_of(near, node)
            key = (ends, node.kind.state)
            if ends and key not in told:
                told.add(key)
                yield self._end(near, node, state, ends)

    def _suspects(self, near: Reach) -> Iterator[Node]:
        """Nodes that lead to no end in the graph, be it for lack of time or for good."""
        if not near.exact:
            return
        count = 0
        for node in near.nodes:
            if self._is_end(node) or node.kind.state in self.trapped:
                continue
            used_up = bool(near.state(node).transitions) and not near.present(node.kind)
            if used_up or (near.finished and id(node) not in self.good):
                count += not used_up
                if count > MOST_ENDS:
                    return
                yield node

    def _ends_of(self, near: Reach, node: Node) -> str:
        """What a node lacks for good: a way on ("dead-end"), a way to the goal ("never-final"), or nothing."""
        if not near.present(node.kind):
            return "dead-end"
        try:
            budget = self.budget.part(0.3)
            endless = Reach(self.machine, endless=True, budget=budget, start=(node.kind, node.zone))
            if not endless.nodes[0].to and endless.finished:
                return "dead-end"
            if node.kind.done:
                return ""
            if not endless.finished:
                endless = Reach(self.machine, endless=True, exact=False, budget=budget)
        except BudgetSpent:
            return ""
        leads = any(self._is_end(other) for other in endless.nodes) or not endless.finished
        return "" if leads else "never-final"

    def _end(self, near: Reach, node: Node, state: BoundState, code: str) -> Finding:
        gone = [t.title for t in state.transitions
                if t.at_most is not None and node.kind.used[near.counted[t.key][0]] >= t.at_most]  # fmt: skip
        why = f": {_listed(gone, quoted=False)} {'was' if len(gone) == 1 else 'were'} taken as often as at_most allows"
        what = "nothing leads on from it" if code == "dead-end" else f"no loss stream leads from it to {self._goal()}"
        finding = Finding(code, "reach" if code == "dead-end" else "escape", "error", ("state", state.index, "name"),
                          f'"{state.name}" can be entered when {what} any more' + (why if gone else ""),
                          "Allow more of what leads on, or fewer of what leads back; final = true if a run may end here"
                          )  # fmt: skip
        entry = node.zone.entry_low
        taken = trail(near, node, entry, None)
        shows = f'"{state.name}" is entered, and {what.replace("from it ", "")} any more'
        return self.examples.happens(finding, [None if taken is None else Trail(taken, entry, entry, shows)])

    def _goal(self) -> str:
        return _listed((self.machine.states[place].name for place in sorted(self.reach.goal)), "or")

    # escape

    def escape_findings(self) -> Iterator[Finding]:
        """States that keep the run from its goal."""
        for place in sorted(self.stuck):
            yield self._stuck(place)
        if self.trapped and not self.stuck:
            yield self._never_final()
        staying = {n.kind.state for n in self.reach.nodes if n.stays and not n.kind.done and not self._is_end(n)}
        if staying and not self.trapped:
            yield self._may_stay(staying)

    def _never_final(self) -> Finding:
        place = min(self.trapped)
        names = _listed(self.machine.states[p].name for p in sorted(self.trapped))
        finding = Finding("never-final", "escape", "error", ("state", self.machine.states[place].index, "name"),
                          f"no loss stream leads from {names} to {self._goal()}"
                          + (f" within the run of {self.total} steps" if self.total else ""),
                          "Let a transition lead on to the last state in time")  # fmt: skip
        return self.examples.happens(finding, self._stays_in(self.trapped))

    def _may_stay(self, staying: set[int]) -> Finding:
        """Conditional, if a run was seen to stay; a loss that does so is what the file waits for."""
        states = [self.machine.states[place] for place in sorted(staying)]
        finding = Finding("may-stay", "escape", "warning", ("transition", states[0].transitions[0].index),
                          f"{self._goal()} may never be entered: some losses keep the run in "
                          f"{_listed((s.name for s in states), 'or')}",
                          self._way_out(staying))  # fmt: skip
        return self.examples.happens(finding, self._stays_in(staying))

    def _way_out(self, staying: set[int]) -> str:
        """What keeps the run in some states, in the words of its guards, and what to do about it."""
        if self.total is None and not self.machine.bounds and self.machine.run.epochs is not None:
            return "Where the trainer closes the epochs, a run may be as short as it likes: state steps_per_epoch"
        nodes = [node for node in self.reach.nodes if node.stays and node.kind.state in staying]
        if self.reach.finished and all(c.deadlines for node in nodes for c, _, _ in self.reach.courses_of(node)):
            return "The longest stays add up to more than the run: shorten their timeouts, or make the run longer"
        why = ""
        if self.reach.finished:
            looks = {place: self.reach.courses(place).looks for place in sorted(staying)}
            why = _kept_by(said for place, look in looks.items() for said in look.keeping(*self._time_in(place, nodes)))
            why += "Evaluations need not come. " * any(t.at == "eval" for look in looks.values()
                                                       for t in look.transitions)  # fmt: skip
        return f"{why}To bound the stay, add a transition with a timeout: guards = [{TIMEOUT}]"

    def _time_in(self, place: int, nodes: list[Node]) -> tuple[int, int]:
        """How long the longest of the stays in a state is that last until the end of the run, and when that is."""
        end = FAR if self.total is None else self.total
        return end - min(node.lasts_from or 0 for node in nodes if node.kind.state == place), end

    def _stays_in(self, places: set[int]) -> Iterator[Trail | None]:
        """Ways to stay in one of some states until the run is over."""
        near = self.explored.by_run
        if not near.exact:
            return
        tries = 0
        for node in near.nodes:
            if node.kind.state in places and not node.kind.done and node.lasts_from is not None:
                taken = trail(near, node, node.lasts_from, None)
                end = self._end_after(taken or [], node.lasts_from)
                if taken is not None:
                    over = bool(self.machine.bounds) or self.total is not None or self.machine.run.epochs is not None
                    shows = "the run is over" if over else "and so on, without end"
                    yield Trail(taken, end, end, f'{shows}, in state "{near.state(node).name}"', over)
                tries += 1
                if tries > 3:
                    return

    def _end_after(self, taken: Taken, entry: int) -> int:
        """The step on which the run is over, if it stays in the state that some transitions lead to."""
        if self.machine.bounds:
            end = counts_over(self.machine, clock_on(self.machine, taken, entry)[0])
            return end if self.total is None else min(self.total, end)
        return self.total or max(entry + (self.machine.run.epochs or 100), 1)

    def _can_be_left(self, place: int) -> bool:
        """Whether a state could be left if the run were long enough."""
        near = self.explored.by_run
        if near.exact and near.finished:
            entered = [node for node in near.nodes if node.kind.state == place][:MOST_ENDS]
            endless = [Reach(self.machine, endless=True, budget=self.budget.part(0.2), start=(node.kind, node.zone))
                       for node in entered]  # fmt: skip
            return any(reach.nodes[0].to or not reach.finished for reach in endless)
        reach = Reach(self.machine, endless=True, exact=False, budget=self.budget.part(0.3))
        return any(node.kind.state == place and node.to for node in reach.nodes) or not reach.finished

    def _stuck(self, place: int) -> Finding:
        state = self.machine.states[place]
        leaves = self._can_be_left(place)
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
                              in_a_longer_run(self.machine, after, self.budget.part(0.3)))  # fmt: skip
        else:
            finding = Finding("dead-end", "reach", "error", path, f'state "{state.name}" can never be left{so}{why}',
                              "Correct the guards of its transitions")  # fmt: skip
        return self.examples.happens(finding, self._stays_in({place}))


def _leading(reach: Reach, is_end: Callable[[Node], bool]) -> set[int]:
    """The nodes, by id, from which some stream leads to an end; `done` ones are behind it."""
    sources: dict[int, list[Node]] = {}
    for node in reach.nodes:
        for edge in node.to:
            to = edge.to
            while to is not None:
                sources.setdefault(id(to), []).append(node)
                to = to.into
    todo = [node for node in reach.nodes if is_end(node)]
    good = set(map(id, todo))
    while todo:
        for node in sources.get(id(todo.pop()), []):
            if id(node) not in good:
                good.add(id(node))
                todo.append(node)
    return good


def _kept_by(reasons: Iterable[str]) -> str:
    """What keeps a run in its states, each reason once, as one sentence."""
    told = list(dict.fromkeys(reasons))[:4]
    if not told:
        return ""
    text = "; ".join(told)
    return f"{text[0].upper()}{text[1:]} keeps it there. "


def _listed(names: Iterable[str], word: str = "and", quoted: bool = True) -> str:
    *most, last = [f'"{name}"' if quoted else name for name in names] or [""]
    if len(most) > 6:
        most, last = most[:6], f"{len(most) - 5} others"
    return f"{', '.join(most)} {word} {last}" if most else last
