"""Counterexamples: trails to something bad, and the loss streams that are found for them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

from plateau_rule.controller.controller import Controller
from plateau_rule.controller.machine import Machine
from plateau_rule.controller.verifier.findings import Counterexample, Finding, visits_of
from plateau_rule.controller.verifier.witness import Budget, controller_of, stream_of
from plateau_rule.controller.verifier.zone_graph import Edge, Reach

TRIES = 3  # trails for one finding
TOO_MANY = "there are too many configurations to tell whether that can happen"


class Trail(NamedTuple):
    """A way to something bad: transitions' places with their steps, where it shows, and up to which step it goes."""

    taken: list[tuple[int, int]]
    step: int
    until: int
    shows: str


def trail_of(reach: Reach, edge: Edge, at: tuple[int, int | None], step: int, until: int, shows: str) -> Trail | None:
    """A trail that ends with an edge; at: the step it applies from, and the anchor of the rate."""
    taken = reach.trail_through(edge, *at)
    return None if taken is None else Trail(taken, step, until, shows)


class Examples:
    """Looks for counterexamples, for all findings together within one budget of looks."""

    def __init__(self, machine: Machine, looks: int) -> None:
        self.machine, self.budget = machine, Budget(looks)
        self._controller: Controller | None = None

    def _at_the_start(self) -> Controller:
        """A controller at the start of a run; binding one anew for each trail would take longer than most trails do."""
        if self._controller is None:
            self._controller = controller_of(self.machine)
            self._start = self._controller.state_dict()
        else:
            self._controller.load_state_dict(self._start)
        return self._controller

    def shown(self, finding: Finding, trails: Iterable[Trail | None], seek: bool = True) -> Finding:
        """The finding with the first of some trails that a stream was found for, or without a stream."""
        first: Counterexample | None = None
        for trail in trails:
            if trail is None:
                continue
            visits = visits_of(self.machine, trail.taken, trail.until)
            example = Counterexample(visits, trail.step, trail.shows)
            if seek:
                rows = stream_of(self._at_the_start(), visits, self.budget)
                example = replace(example, rows=None if rows is None else tuple(rows), sought=True)
            if example.rows is not None:
                return replace(finding, counterexample=example)
            first = first or example
        return replace(finding, counterexample=first)

    def happens(self, finding: Finding, trails: Iterable[Trail | None], seek: bool = True) -> Finding:
        """The finding, as an error only if it was seen to happen."""
        shown = self.shown(finding, trails, seek)
        if not seek or (shown.counterexample is not None and shown.counterexample.rows is not None):
            return shown
        if shown.counterexample is None:
            return shown.weaker("warning", TOO_MANY)
        return shown.weaker("warning", "no loss stream was found that brings it about")
