"""The run folder of a rule, if one is asked for: each step's row is written when its loss is known."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path

from plateau_rule.controller.controller import Controller
from plateau_rule.controller.machine import Action
from plateau_rule.controller.plan import Decision, Plan
from plateau_rule.sim.run_folder import RunFolder

Known = tuple[float, Mapping[str, float]]
"""The loss and the metrics of a step."""


class RunRecord:
    """What becomes of a run, in a folder; nothing, where none is named.

    Losses may come late: the row of a step then waits for its own.

    Args:
        out: the folder.
    """

    def __init__(self, out: Path | None) -> None:
        self._out = out
        self._folder: RunFolder | None = None
        self._waiting: deque[tuple[Plan, bool]] = deque()  # steps whose losses are to come, and if they were dropped
        self._early = 0  # losses that are to come, and whose rows are written

    def begin(
        self, controller: Controller, step: int, trainer: str, answers: Mapping[str, str] | None, early: int = 0
    ) -> None:
        """Open the folder.

        Args:
            controller: bound to the run.
            step: where it begins or goes on.
            trainer: its name.
            answers: of `plateau check`; None where it was not asked.
            early: the first losses to come whose rows are there already.
        """
        if self._out is not None:
            self._folder = RunFolder(self._out, controller, step, trainer, answers)
        self._waiting.clear()
        self._early = early

    def step(self, plan: Plan, loss: float | None, skipped: bool, metrics: Mapping[str, float]) -> None:
        """Take the end of a step, and the loss that came with it: its own, or that of an earlier step, or none."""
        if self._folder is None:
            return
        self._waiting.append((plan, skipped))
        if loss is None:
            return
        if self._early:
            self._early -= 1
            return
        self._write(loss, metrics)

    def write_early(self, known: Iterable[Known]) -> None:
        """Write the rows of all steps that wait, whose losses are known now and come to the rule later."""
        if self._folder is None:
            return
        for loss, metrics in list(known)[self._early :]:
            self._write(loss, metrics)
            self._early += 1

    def _write(self, loss: float, metrics: Mapping[str, float]) -> None:
        assert self._folder is not None, "asked before"
        plan, skipped = self._waiting.popleft()
        self._folder.step(plan, loss, skipped, metrics)

    def evaluation(self, step: int, epoch: int, metrics: Mapping[str, float]) -> None:
        """Take what an evaluation brought after a step."""
        if self._folder is not None:
            self._folder.evaluation(step, epoch, metrics)

    def decision(self, decision: Decision, requests: tuple[Action, ...]) -> None:
        """Take a transition, and what it asked for."""
        if self._folder is not None:
            self._folder.decision(decision, requests)

    def end(self) -> None:
        """Close the folder."""
        if self._folder is not None:
            self._folder.close()
            self._folder = None
