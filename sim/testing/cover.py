"""What scenarios and logs leave untried: transitions that none of them took, guards that were never true."""

from __future__ import annotations

from collections.abc import Iterator

from plateau_rule.controller.errors import Key, spelled
from plateau_rule.controller.language.curriculum import Curriculum
from plateau_rule.controller.machine import Machine
from plateau_rule.controller.verifier.coverage import Coverage
from plateau_rule.sim.replayer.timeline import Timeline

Path = tuple[Key, ...]


class Tried:
    """What was taken, and what was true, of one curriculum.

    Args:
        machine: the curriculum, bound as the first of its scenarios was.
    """

    def __init__(self, machine: Machine) -> None:
        self.machine, self.curriculum = machine, machine.curriculum
        self.taken: set[int] = set()
        self.true: set[Path] = set()

    def note_runs(self, coverage: Coverage) -> None:
        """What the runs of scenarios have shown."""
        self.taken |= coverage.taken
        self.true |= {path for path, verdicts in coverage.verdicts.items() if "true" in verdicts}

    def note_replay(self, timeline: Timeline) -> None:
        """What a replay has shown; of guards that are made of others, the whole alone."""
        ways = {(t.title, s.name, t.target): t for s in self.machine.states for t in s.transitions}
        for decision in timeline.decisions:
            way = ways[decision.transition, decision.from_state, decision.to_state]
            self.taken.add(way.index)
            self.true |= {("transition", way.index, "guards", place) for place in range(len(way.guards))}
        for stay in timeline.stays:
            seen: dict[tuple[str, str], int] = {}
            for asked in stay.asked:
                place = seen.get((asked.transition, asked.to), 0)
                seen[asked.transition, asked.to] = place + 1
                if asked.true:
                    index = ways[asked.transition, stay.state, asked.to].index
                    self.true.add(("transition", index, "guards", place))

    def untaken(self) -> Iterator[Path]:
        """The transitions that were never taken."""
        for index in range(len(self.curriculum.transition)):
            if index not in self.taken:
                yield ("transition", index)

    def untrue(self) -> Iterator[Path]:
        """The guards that were never true when they were looked at."""
        yield from (path for path in guards(self.curriculum) if path not in self.true)

    def lines(self, file: str) -> Iterator[str]:
        """What is to be printed."""
        untaken, untrue = [*self.untaken()], [*self.untrue()]
        ways, all_guards = len(self.curriculum.transition), len([*guards(self.curriculum)])
        yield (
            f"{file}: {ways - len(untaken)} of {ways} transitions taken, "
            f"{all_guards - len(untrue)} of {all_guards} guards true"
        )
        for said, paths in (("never taken", untaken), ("never true", untrue)):
            for path in paths:
                place = self.curriculum.place(path)
                yield f"  {said}: {spelled(path)}" + (f" (line {place.line})" if place else "")


def guards(curriculum: Curriculum) -> Iterator[Path]:
    """The guards of transitions, by their paths in the file."""
    for index, transition in enumerate(curriculum.transition):
        for place, _ in enumerate(transition.guards):
            yield ("transition", index, "guards", place)
