"""What a look at the guards of one state can find: clocks are exact, detectors free as soon as they have seen enough.

Guards of a state that ask the same detector, or detectors of which one implies the other, are decided together, so
that a transition which another one always beats to it is known to be shadowed. Metrics are taken as independent of each
other, and a detector as free at every look.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from math import inf
from typing import Any, NamedTuple

from plateau_rule.controller.guards import (
    FALSE,
    TRUE,
    UNKNOWN,
    Detector,
    GuardInState,
    Joined,
    Opposite,
    Reached,
    Watched,
    answers_nonfinite,
)
from plateau_rule.controller.machine import BoundState, Machine
from plateau_rule.controller.verifier.budget import Budget, Part
from plateau_rule.controller.verifier.implications import Pairs, together
from plateau_rule.controller.verifier.logic import (
    Node,
    Values,
    can_fire,
    can_stay,
    common_to,
    possible,
    signs_of,
    truth,
    undecided,
    union,
)
from plateau_rule.controller.verifier.words import keeping

MOST_ASSIGNMENTS = 2048  # of truth values to the detectors that guards share; beyond, guards are taken as independent
FREE, TIME, STEP, COUNT = "free", "time", "step", "count"


class Atom(NamedTuple):
    """A part of a guard that is not made of parts.

    Attributes:
        kind: TIME and STEP are clocks, true from `needs` on; COUNT is the number of non-finite losses in a row; FREE is
            anything else.
        knows: observations in the state before it can be false.
        needs: observations in the state before it can be true.
        on_loss: whether a non-finite loss keeps a value from it.
        in_run: `knows` and `needs` count steps of the run, not of the stay.
        late: it is asked at the look of a step, and its values come with evaluations, after that look.
    """

    kind: str
    knows: int
    needs: int
    on_loss: bool = False
    in_run: bool = False
    unsure: bool = True
    late: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """What looks can find while no clock passes a number that matters; sets of transitions are bits.

    Attributes:
        fires_off: transitions that can be taken at a look that closes no epoch.
        fires_on: transitions that can be taken at a look that closes one.
        goes: those that can hold there without being taken yet.
        true: those whose guards can hold.
        implies: for each transition, those whose guards hold as well when its own do.
        stays_off: whether all can be refused at a look that closes no epoch.
        stays_on: whether all can be refused at a look that closes one.
        always: those whose guards hold at every look.
    """

    fires_off: int
    fires_on: int
    goes: int
    true: int
    implies: tuple[int, ...]
    stays_off: bool
    stays_on: bool
    always: int


class Looks:
    """The guards of one state, as any loss stream could answer them; `soft` transitions may have been used up."""

    def __init__(self, machine: Machine, state: BoundState, soft: bool, budget: Budget | Part | None = None) -> None:
        self.state, self.transitions, self._budget = state, state.transitions, budget or Budget(inf)
        self.per_epoch = machine.run.steps_per_epoch
        self.limit, self.lag = machine.nonfinite_limit, machine.lag
        self.soft = sum(1 << j for j, t in enumerate(self.transitions) if soft and t.at_most is not None)
        self.atoms: list[Atom] = []
        self._known: dict[Any, int] = {}
        stay = machine.stay(state, machine.length)
        self._evaluated = machine.evaluated
        self._metrics = {id(detector): metric for metric, detector in stay.detectors.values()}
        self._detectors: dict[int, tuple[str, Detector]] = {}  # of the atoms that watch a metric
        asked = [(guard, transition.at) for guard, transition in zip(stay.guards, self.transitions, strict=True)]
        self.nodes = [self._node(guard, at) for guard, at in asked]
        self.parts = [[self._node(part, at) for part in guard.parts] for guard, at in asked]
        # An evaluation is looked at after its step, which has ended the run if too many losses were not finite.
        self.answers = sum(1 << j for j, (guard, at) in enumerate(asked) if at != "eval" and answers_nonfinite(guard))
        # At the `limit`-th non-finite loss in a row only those that answer it are tried: that look is one of its own.
        dead = {self.limit} if self.answers else set()
        self.counts = sorted({atom.needs for atom in self.atoms if atom.kind == COUNT} | dead)
        self._related = self._relations()
        self.times, self.steps = self._thresholds()
        self.groups = self._grouped()
        self._asked = [
            sorted({atom for j in places for atom, _ in signs_of(self.nodes[j], True)}) for _, places, _ in self.groups
        ]
        self._known_truths: dict[tuple[int, ...], set[int]] = {}
        self._facts: dict[tuple[int, int, int], Facts] = {}

    def _node(self, guard: GuardInState, at: str) -> Node:
        if isinstance(guard, Joined):
            return "any" if guard.decisive else "all", [self._node(part, at) for part in guard.parts]
        if isinstance(guard, Opposite):
            return "not", self._node(guard.part, at)
        key: Any = (guard.hand, guard.need) if isinstance(guard, Reached) else id(guard)
        if isinstance(guard, Watched):
            key = (id(guard.detector), self._is_late(guard, at))
        if key not in self._known:
            self._known[key] = len(self.atoms)
            self.atoms.append(self.atom_of(guard, at))
        return "atom", self._known[key]

    def _is_late(self, guard: Watched, at: str) -> bool:
        return at != "eval" and self._metrics[id(guard.detector)] in self._evaluated

    def atom_of(self, guard: GuardInState, at: str) -> Atom:
        """What a guard waits for, as an atom of the logic; at: when it is looked at."""
        if isinstance(guard, Watched):
            detector, metric = guard.detector, self._metrics[id(guard.detector)]
            self._detectors[len(self.atoms)] = metric, detector
            late = self._is_late(guard, at)
            return Atom(FREE, detector.knows, detector.needs, metric == "loss", guard.in_run, late=late)
        if not isinstance(guard, Reached):
            raise TypeError(guard)
        if guard.hand == "nonfinite":
            return Atom(COUNT, 0, guard.need)
        if guard.hand == "step":
            return Atom(STEP, 0, guard.need)
        if guard.hand == "time":
            return Atom(TIME, 0, guard.need)
        if guard.need == 0:
            return Atom(STEP, 0, 0)
        if guard.hand == "epoch" and self.per_epoch is not None:
            return Atom(STEP, 0, guard.need * self.per_epoch)
        return Atom(FREE, 0, guard.need, False, guard.hand == "epoch", False)  # epochs that the trainer closes

    def _thresholds(self) -> tuple[list[int], list[int]]:
        """The times in the state, and the steps of the run, from which on something is different."""
        times, steps = {count + self.lag for count in self.counts}, set[int]()
        for atom in self.atoms:
            if atom.kind == TIME:
                times.add(atom.needs)
            elif atom.kind == STEP:
                steps.add(atom.needs)
            elif atom.kind == FREE:
                late = [self.lag + count for count in (0, *self.counts)] if atom.on_loss else [int(atom.late)]
                bounds = {bound + waited for bound in (atom.knows, atom.needs) for waited in late}
                if atom.in_run:
                    steps |= bounds
                else:
                    times |= bounds
        return sorted(time for time in times if time > 1), sorted(step for step in steps if step > 0)

    def _relations(self) -> dict[int, dict[int, Pairs]]:
        """For each atom, the other ones whose verdicts are not free of its own, with the pairs that can be."""
        found: dict[int, dict[int, Pairs]] = {}
        for (one, (metric, detector)), (other, (its, another)) in combinations(self._detectors.items(), 2):
            alike = metric == its and self.atoms[one].late == self.atoms[other].late  # they have seen the same
            pairs = together(detector, another) if alike else None
            if pairs is not None:
                found.setdefault(one, {})[other] = pairs
                found.setdefault(other, {})[one] = frozenset((b, a) for a, b in pairs)
        return found

    def _grouped(self) -> list[tuple[int, list[int], list[int]]]:
        """Transitions that share free atoms, or ask related ones: their bits, their places, the atoms."""
        groups: list[tuple[set[int], set[int]]] = []
        for place, node in enumerate(self.nodes):
            mine = ({place}, {atom for atom, _ in signs_of(node, True) if self.atoms[atom].kind == FREE})
            near = mine[1].union(*(self._related.get(atom, ()) for atom in mine[1]))
            for group in [group for group in groups if group[1] & near]:
                mine = (mine[0] | group[0], mine[1] | group[1])
                groups.remove(group)
            groups.append(mine)
        return [(sum(1 << j for j in places), sorted(places), sorted(atoms)) for places, atoms in groups]

    def facts(self, time_index: int, step_index: int, present: int) -> Facts:
        """The facts after this many of `times` and of `steps`, where only some transitions are not yet used up."""
        key = (time_index, step_index, present)
        if key not in self._facts:
            time = self.times[time_index - 1] if time_index else 1
            step = self.steps[step_index - 1] if step_index else 0
            levels = self.levels(time)
            self._budget.spend(0.1 * len(levels) * (1 + len(self.transitions)))
            found = [(level >= self.limit, self.truths(time, step, level, present)) for level in levels]
            self._facts[key] = self._summed(found, present)
        return self._facts[key]

    def _summed(self, levels: list[tuple[bool, list[set[int]]]], present: int) -> Facts:
        """What can happen at one look, given the sets of guards that can be true together, by group and level."""
        fires_off = fires_on = goes = true = 0
        stays_off = stays_on = False
        always = present & ~self.soft
        implies = [present] * len(self.transitions)
        solo = {
            (closes, evaluates): self._solo(closes, evaluates, present)
            for closes in (False, True)
            for evaluates in (False, True)
        }
        for dead, groups in levels:
            certain = union({common_to(group) & bits for (bits, _, _), group in zip(self.groups, groups, strict=True)})
            hard = [group for group in groups if 0 not in group]  # some guard of theirs always holds
            for (bits, places, _), group in zip(self.groups, groups, strict=True):
                true |= union(group)
                for j in places:
                    mine = {truth for truth in group if truth >> j & 1}
                    common = common_to(mine)
                    implies[j] &= (common & bits) | (certain & ~bits)
                    if not (present >> j & 1 and mine):
                        continue
                    off, on = self._beside(j, solo)
                    fires_off |= can_fire(group, mine, hard, off & self._first(j)) << j
                    fires_on |= can_fire(group, mine, hard, on & self._first(j)) << j
                    if self.transitions[j].sustain > 1:
                        beside = on if self.transitions[j].at == "epoch" else off
                        goes |= can_fire(group, mine, hard, beside) << j
            if dead:
                continue  # whoever refuses here has ended the run
            stays_off |= can_stay(hard, solo[False, False])
            stays_on |= can_stay(hard, solo[True, False])
            for (bits, _, _), group in zip(self.groups, groups, strict=True):
                always &= ~bits | common_to(group)
        return Facts(fires_off, fires_on, goes, true, tuple(implies), stays_off, stays_on, always)

    def _beside(self, j: int, solo: dict[tuple[bool, bool], int]) -> tuple[int, int]:
        """The others that are looked at with a transition, where the step closes no epoch, and where it closes one."""
        at, others = self.transitions[j].at, ~(1 << j)
        by_hand, evaluates = at == "epoch" and self.per_epoch is None, at == "eval"
        return solo[by_hand, evaluates] & others, solo[True, evaluates] & others

    def _first(self, j: int) -> int:
        """The transitions that come before one: earlier in the file; before those of evaluations, all of the step's."""
        steps = sum(1 << i for i, other in enumerate(self.transitions) if other.at != "eval")
        earlier = (1 << j) - 1
        return earlier | steps if self.transitions[j].at == "eval" else earlier

    def _solo(self, closes: bool, evaluates: bool, present: int) -> int:
        """The transitions that are taken at one true look of a kind, or of a step and of the evaluation after it."""
        looked = ("step", *["epoch"] * closes, *["eval"] * evaluates)
        return sum(
            1 << i
            for i, other in enumerate(self.transitions)
            if other.sustain == 1 and (present & ~self.soft) >> i & 1 and other.at in looked
        )

    def levels(self, time: int) -> list[int]:
        """The counts of non-finite losses in a row that make a difference, as far as they fit into so much time."""
        return [level for level in (0, *self.counts) if level <= max(0, time - self.lag) and level <= self.limit]

    def truths(self, time: int, step: int, level: int, present: int) -> list[set[int]]:
        """For each group: which of its guards can be true together, with this many non-finite losses in a row."""
        bits = [self.bits_of(atom, time, step, level) for atom in self.atoms]
        allowed = present & self.answers if level >= self.limit else present
        found = []
        for number, group in enumerate(self.groups):
            # As long as no clock passes a number of its own, a group's truths stay what they were.
            key = (number, allowed & group[0], *[bits[atom] for atom in self._asked[number]])
            truths = self._known_truths.get(key)
            if truths is None:
                self._budget.spend(0.2 * (1 + len(group[1])))
                truths = self._known_truths[key] = self._truths_of(number, bits, allowed)
            found.append(truths)
        return found

    def _truths_of(self, number: int, bits: list[int], allowed: int) -> set[int]:
        _, places, atoms = self.groups[number]
        values: Values = [None] * len(self.atoms)
        for atom in self._asked[number]:
            if self.atoms[atom].kind != FREE:
                values[atom] = bits[atom] == TRUE
        signs = {sign for j in places for sign in signs_of(self.nodes[j], True)}
        assignments: list[tuple[bool | None, ...]] = [()]
        for k, atom in enumerate(atoms):
            related = [(i, pairs) for i in range(k) if (pairs := self._related.get(atoms[i], {}).get(atom))]
            assignments = [
                (*before, value)
                for before in assignments
                for value in self._choices(atom, bits[atom], signs)
                if all((before[i], value) in pairs for i, pairs in related)
            ]
            if len(assignments) > MOST_ASSIGNMENTS:
                return self._independent(places, bits, allowed)
        self._budget.spend(0.02 * len(assignments) * len(places))
        found = set[int]()
        for assignment in assignments:
            for atom, value in zip(atoms, assignment, strict=True):
                values[atom] = value
            found.add(sum(1 << j for j in places if truth(self.nodes[j], values) is True) & allowed)
        return found

    def _choices(self, atom: int, bits: int, signs: set[tuple[int, bool]]) -> list[bool | None]:
        """The values of a free atom that make a difference: under no `not`, unknown is as good as false."""
        if atom in self._related:  # what it says decides what others can say
            return [value for value, bit in ((None, UNKNOWN), (True, TRUE), (False, FALSE)) if bits & bit]
        wanted = (TRUE if (atom, True) in signs else 0) | (FALSE if (atom, False) in signs else 0)
        if not self.atoms[atom].unsure:
            return [value for value, bit in ((True, TRUE), (False, FALSE)) if bits & bit]
        return [None, *(value for value, bit in ((True, TRUE), (False, FALSE)) if bits & bit & wanted)]

    def _independent(self, places: list[int], bits: list[int], allowed: int) -> set[int]:
        """Too many shared detectors to try: every guard for itself, which says too much and never too little."""
        found = {0}
        for j in places:
            own = possible(self.nodes[j], bits)
            true = {truth | 1 << j for truth in found} if own & TRUE and allowed >> j & 1 else set()
            found = (found if own & (FALSE | UNKNOWN) else set()) | true
            if len(found) > MOST_ASSIGNMENTS:
                return {0, *(1 << k for k in places if allowed >> k & 1)}
        return found

    def bits_of(self, atom: Atom, time: int, step: int, level: int) -> int:
        """Which verdicts an atom can have."""
        if atom.kind != FREE:
            return TRUE if {TIME: time, STEP: step, COUNT: level}[atom.kind] >= atom.needs else FALSE
        seen = (step if atom.in_run else time) - (self.lag + level if atom.on_loss else int(atom.late))
        if not atom.unsure:
            return TRUE | FALSE if seen >= atom.needs else FALSE
        return UNKNOWN | (FALSE if seen >= atom.knows else 0) | (TRUE if seen >= atom.needs else 0)

    def keeping(self, time: int, step: int) -> Iterator[str]:
        """What the metrics would do to keep a run in this state, in the words of the guards that ask them.

        Args:
            time: spent in the state by then. A metric beside a clock that has decided by then keeps nothing.
            step: of the run.
        """
        bits = [self.bits_of(atom, time, step, 0) for atom in self.atoms]
        asked = {atom for node in self.nodes for atom in undecided(node, bits)}
        for atom, (metric, detector) in self._detectors.items():
            if atom in asked:
                yield keeping(metric, detector)

    def verdicts(self, node: Node, time_index: int, step_index: int) -> int:
        """Which verdicts a guard can have after this many of `times` and `steps`, whatever losses are not finite."""
        time = self.times[time_index - 1] if time_index else 1
        step = self.steps[step_index - 1] if step_index else 0
        found = 0
        for level in self.levels(time):
            found |= possible(node, [self.bits_of(atom, time, step, level) for atom in self.atoms])
        return found
