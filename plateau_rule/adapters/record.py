"""The run folder of a rule and its trackers, if any are asked for: a step is told when its loss is known."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from os import PathLike
from pathlib import Path

from plateau_rule.controller.controller import Controller
from plateau_rule.controller.machine import Action
from plateau_rule.controller.plan import Decision, Plan
from plateau_rule.sim.run_folder import RunFolder
from plateau_rule.sim.trackers import Tracks, open_tracks, require_trackers

Known = tuple[float, Mapping[str, float]]
"""The loss and the metrics of a step."""


class RunRecord:
    """What becomes of a run, in a folder and in trackers; nothing, where none is named.

    Losses may come late: the row of a step then waits for its own.

    Args:
        out: the folder, whose name is the run's in the trackers; without it, the curriculum's name is.
        track: the trackers, such as "tensorboard:runs/tensorboard".

    Raises:
        TrackerError: a tracker is not known, or not installed.
    """

    def __init__(self, out: str | PathLike[str] | None, track: str | Iterable[str] = ()) -> None:
        self._out = None if out is None else Path(out)
        self._track = [f"{name}:{place}" for name, place in require_trackers(track)]
        self._folder: RunFolder | None = None
        self._tracks: Tracks | None = None
        self._waiting: deque[tuple[Plan, bool]] = deque()  # steps whose losses are to come, and if they were dropped
        self._early = 0  # losses that are to come, and whose rows are written

    def begin(
        self, controller: Controller, step: int, trainer: str, answers: Mapping[str, str] | None, early: int = 0
    ) -> None:
        """Open the folder and the trackers.

        Args:
            controller: bound to the run.
            step: where it begins or goes on.
            trainer: its name.
            answers: of `plateau check`; None where it was not asked.
            early: the first losses to come whose rows are there already.
        """
        if self._out is not None:
            self._folder = RunFolder(self._out, controller, step, trainer, answers)
        if self._track:
            name = controller.machine.curriculum.name if self._out is None else self._out.resolve().name
            self._tracks = open_tracks(self._track, name, controller)
        self._waiting.clear()
        self._early = early

    def step(self, plan: Plan, loss: float | None, skipped: bool, metrics: Mapping[str, float]) -> None:
        """Take the end of a step, and the loss that came with it: its own, or that of an earlier step, or none."""
        if not self._places:
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
        if not self._places:
            return
        for loss, metrics in list(known)[self._early :]:
            self._write(loss, metrics)
            self._early += 1

    def _write(self, loss: float, metrics: Mapping[str, float]) -> None:
        plan, skipped = self._waiting.popleft()
        for place in self._places:
            place.step(plan, loss, skipped, metrics)

    def evaluation(self, step: int, epoch: int, metrics: Mapping[str, float]) -> None:
        """Take what an evaluation brought after a step."""
        for place in self._places:
            place.evaluation(step, epoch, metrics)

    def looked(self, decision: Decision | None) -> None:
        """The loss of a step was looked at, and this came of it: trackers are told how near each transition is."""
        if self._tracks is not None:
            self._tracks.meters(decision)

    def decision(self, decision: Decision, requests: tuple[Action, ...]) -> None:
        """Take a transition, and what it asked for."""
        for place in self._places:
            place.decision(decision, requests)

    def flush(self) -> None:
        """A checkpoint is about to be made."""
        if self._tracks is not None:
            self._tracks.flush()

    def end(self) -> None:
        """Close the folder, and leave the trackers."""
        for place in self._places:
            place.close()
        self._folder = self._tracks = None

    @property
    def _places(self) -> list[RunFolder | Tracks]:
        return [place for place in (self._folder, self._tracks) if place is not None]
