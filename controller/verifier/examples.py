"""Counterexamples: trails to something bad, and the loss streams that are found for them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

from plateau_rule.controller.machine import Machine
from plateau_rule.controller.verifier.budget import Budget, BudgetSpent, Part
from plateau_rule.controller.verifier.findings import Counterexample, Finding, visits_of
from plateau_rule.controller.verifier.trails import Taken, trail_through
from plateau_rule.controller.verifier.witness import Player
from plateau_rule.controller.verifier.zone_graph import Edge, Reach

TRIES = 3  # trails for one finding
TOO_MANY = "there are too many configurations to tell whether that can happen"


class Trail(NamedTuple):
    """A way to something bad.

    Attributes:
        taken: the places of the transitions, with their steps.
        step: where it shows.
        until: the step up to which it goes.
        shows: how it shows.
        over: whether the run is to be over there.
    """

    taken: Taken
    step: int
    until: int
    shows: str
    over: bool = False


def trail_of(reach: Reach, edge: Edge, at: tuple[int, int | None], step: int, until: int, shows: str) -> Trail | None:
    """A trail that ends with an edge; at: the step it applies from, and the anchor of the rate."""
    taken = trail_through(reach, edge, *at)
    return None if taken is None else Trail(taken, step, until, shows)


class Examples:
    """Looks for counterexamples, for the findings of one property within one budget."""

    def __init__(self, machine: Machine, budget: Budget | Part, player: Player | None = None) -> None:
        self.machine, self.budget = machine, budget
        self.player = player or Player(machine)

    def happens(self, finding: Finding, trails: Iterable[Trail | None]) -> Finding:
        """The finding with the first of some trails that the real Controller took; not decided if it took none."""
        first: Counterexample | None = None
        try:
            for trail in trails:
                if trail is None:
                    continue
                visits = visits_of(self.machine, trail.taken, trail.until, trail.over)
                example = Counterexample(visits, trail.step, trail.shows)
                played = self.player.play(visits, self.budget)
                if played is not None:
                    return replace(finding, counterexample=replace(example, played=played))
                first = first or example
        except BudgetSpent:
            return replace(finding.undecided("the budget ran out"), counterexample=first)
        if first is None:
            return finding.undecided(TOO_MANY)
        return replace(finding.undecided("no loss stream was found that brings it about"), counterexample=first)
