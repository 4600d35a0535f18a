"""What runs of the real Controller have shown to happen: states entered, transitions taken, verdicts of guards.

That a transition can be taken, and a guard be true, is no matter of bounds: it is said only of what a run has done.
"""

from __future__ import annotations

from collections.abc import Iterator

from plateau_rule.controller.controller import Controller
from plateau_rule.controller.errors import Key
from plateau_rule.controller.language.curriculum import Guard, word_of
from plateau_rule.controller.machine import BoundState, BoundTransition, Machine
from plateau_rule.controller.plan import Decision, length_over

Path = tuple[Key, ...]


class Coverage:
    """Collects what was seen.

    Attributes:
        entered: states by their places.
        taken: transitions by their places in the file.
        verdicts: the words that the guards of transitions were seen to say when they were looked at, by their paths in
            the file.
    """

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.entered = {0}
        self.taken: set[int] = set()
        self.verdicts: dict[Path, set[str]] = {}
        self._places = {state.name: place for place, state in enumerate(machine.states)}
        self._looked: set[tuple[str, bool, bool]] = set()
        self._paths: dict[int, list[Path | None]] = {}

    def note_decision(
        self, state: BoundState, decision: Decision, controller: Controller, closed: bool, evaluated: bool
    ) -> None:
        """A transition was taken out of a state; on the last step of a run it has no step to apply to."""
        if length_over(controller.machine, controller.run_state):
            return
        taken = next(t for t in state.transitions if (t.title, t.target) == (decision.transition, decision.to_state))
        self.taken.add(taken.index)
        self.entered.add(self._places[decision.to_state])
        self._note(state, controller, controller.explain(decision.step), closed, evaluated, taken.key)

    def note_step(
        self, state: BoundState, decision: Decision | None, controller: Controller, evaluated: bool = False
    ) -> None:
        """An observation in a state, with or without a transition."""
        if decision is None:
            self.note_look(state, controller, False, evaluated)
        else:
            self.note_decision(state, decision, controller, False, evaluated)

    def is_new(self, state: BoundState, controller: Controller, closed: bool, evaluated: bool) -> bool:
        """Whether it is the first look of its kind in a state: of a step, with an epoch's end, of an evaluation."""
        kind = (state.name, self._closes(controller, closed), evaluated)
        if kind in self._looked:
            return False
        self._looked.add(kind)
        return True

    @staticmethod
    def _closes(controller: Controller, closed: bool) -> bool:
        per_epoch = controller.machine.run.steps_per_epoch
        return closed if per_epoch is None else controller.run_state.step % per_epoch == 0

    def note_look(self, state: BoundState, controller: Controller, closed: bool, evaluated: bool) -> None:
        """No transition was taken at an observation."""
        if not length_over(controller.machine, controller.run_state):
            self._note(state, controller, controller.explain(), closed, evaluated, "")

    def _note(
        self, state: BoundState, controller: Controller, lines: list[str], closed: bool, evaluated: bool, taken: str
    ) -> None:
        """What all guards of a state said, line by line, at a look; taken: the transition that was, by its key."""
        closed = self._closes(controller, closed)
        for transition in state.transitions:
            count = 1 + len(self._paths_of(transition))
            looked = {"step": not evaluated, "epoch": closed and not evaluated, "eval": evaluated}[transition.at]
            times = controller.run_state.taken.get(transition.key, 0) - (transition.key == taken)
            if looked and (transition.at_most is None or times < transition.at_most):
                self._note_lines(transition, lines[:count])
            lines = lines[count:]

    def _note_lines(self, transition: BoundTransition, lines: list[str]) -> None:
        for path, line in zip(self._paths_of(transition), lines[1:], strict=True):
            if path is not None:
                self.verdicts.setdefault(path, set()).add(line.rpartition("-> ")[2])

    def _paths_of(self, transition: BoundTransition) -> list[Path | None]:
        """The paths of a transition's guards and of their parts, in the order of the lines of `explain`."""
        if transition.index not in self._paths:
            self._paths[transition.index] = [
                path
                for j, guard in enumerate(transition.guards)
                for path in self._inside(guard, ("transition", transition.index, "guards", j))
            ]
        return self._paths[transition.index]

    def _inside(self, condition: Guard | str, path: Path | None) -> Iterator[Path | None]:
        """None stands for a part of a guard with a name, which is written elsewhere."""
        yield path
        guard = self.machine.curriculum.resolve(condition)
        inner = path if isinstance(condition, Guard) else None
        for part, below in word_of(guard).parts(guard.value):
            yield from self._inside(part, None if inner is None else (*inner, *below))
