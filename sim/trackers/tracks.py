"""What is told of a run, to every tracker that was asked for."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Self
from warnings import warn

from plateau_rule.controller.controller import Controller
from plateau_rule.controller.guards import Reading
from plateau_rule.controller.machine import Action
from plateau_rule.controller.plan import Decision, Plan
from plateau_rule.controller.readings import Way
from plateau_rule.sim.run_folder import plan_row
from plateau_rule.sim.trackers.tracker import Tracker, TrackerWarning

OURS = "plateau"  # what stands before the names of our own series


class Tracks:
    """A run's series and events, in any number of trackers.

    The points of a step are handed over together, once the next step's come, or at a `flush`. A step that a tracker
    holds already, of a run that was killed and is gone on with, is not given to it again.

    A tracker that fails, such as on a full disk, is named in a warning and left out from there on.

    Args:
        trackers: where they go; opened for this run.
        controller: of the run.
    """

    def __init__(self, trackers: Sequence[Tracker], controller: Controller) -> None:
        self._trackers = trackers
        self._controller = controller
        self._step, self._values = 0, dict[str, float]()
        self._events: list[tuple[int, str, str]] = []
        self._ended = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    # What a run brings

    def observed(
        self, plan: Plan, loss: float | None, decision: Decision | None = None, **metrics: float
    ) -> None:  # fmt: skip
        """Take a whole step, where nothing else writes it down: for loops around a Controller.

        Args:
            plan: that was in force during the step.
            loss: what was observed.
            decision: what `observe` returned.
            metrics: what else was observed.
        """
        self.row({**metrics, **plan_row(plan), "loss": loss})
        self.meters(decision)
        if decision is not None:
            self.decision(decision, self._controller.plan.requests)

    def row(self, row: Mapping[str, Any]) -> None:
        """Take a row of metrics.jsonl: a step's, or an evaluation's."""
        if int(row["step"]) != self._step:
            self._hand_over()
            self._step = int(row["step"])
        self._values.update(self._numbers_of(row))

    def step(self, plan: Plan, loss: float, skipped: bool = False, metrics: Mapping[str, float] | None = None) -> None:
        """Take a step, as a run folder does."""
        self.row({**(metrics or {}), **plan_row(plan), "loss": loss, "skipped": skipped})

    def evaluation(self, step: int, epoch: int, metrics: Mapping[str, float]) -> None:
        """Take what an evaluation brought after a step."""
        self.row({**metrics, "step": step, "epoch": epoch})

    def meters(self, decision: Decision | None) -> None:
        """Take how near each transition is, now that the loss of the last row was looked at.

        Args:
            decision: what that look has brought: the readings are then those of the transition that was taken.
        """
        for way in self._controller.readings() if decision is None else decision.readings:
            self._values.update(meters_of(way))

    def decision(self, decision: Decision, requests: Sequence[Action]) -> None:
        """Take a transition, and what it asked for."""
        self._events.append((decision.step, *event_of(decision, requests)))

    def end(self) -> None:
        """Note why training is over, if it is."""
        plan = self._controller.plan
        if plan.stop is not None and not self._ended:
            self._ended = True
            self._events.append((plan.step, "end", f"step {plan.step}: {plan.stop}"))

    def flush(self) -> None:
        """Hand over all that came so far: a checkpoint is about to be made."""
        self._hand_over()
        self._each(lambda tracker: tracker.flush())

    def close(self) -> None:
        """The process leaves the run."""
        self.end()
        self._hand_over()
        self._each(lambda tracker: tracker.close())
        self._trackers = ()

    # Inside

    def _numbers_of(self, row: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
        own = {"step", "epoch", "state", "knobs", "lr", "skipped"}
        for name, value in row.items():
            if name not in own and isinstance(value, int | float):
                yield name, float(value)
        if "state" in row:
            yield f"{OURS}/lr", float(row["lr"])
            yield f"{OURS}/state", float(self._controller.machine.by_name[row["state"]].index)
            for name, value in row["knobs"].items():
                if isinstance(value, int | float):
                    yield f"{OURS}/{name}", float(value)
        if row.get("skipped"):
            yield f"{OURS}/skipped", 1.0

    def _hand_over(self) -> None:
        step, values, events = self._step, self._values, self._events
        self._values, self._events = {}, []

        def hand(tracker: Tracker) -> None:
            if values and step > tracker.last:
                tracker.numbers(step, values)
            for decided, title, text in events:
                if decided > tracker.last + 1 or title == "end":  # one of step n was decided at the look of step n - 1
                    tracker.event(decided, title, text)

        self._each(hand)

    def _each(self, call: Callable[[Tracker], None]) -> None:
        """Call each tracker; one that fails is told of, and gets nothing more: it must not end a training."""
        for tracker in tuple(self._trackers):
            try:
                call(tracker)
            except Exception as error:  # a full disk is an OSError of one library, and of another its own
                self._trackers = tuple(each for each in self._trackers if each is not tracker)
                with suppress(Exception):
                    tracker.close()
                told = (str(error).splitlines() or [""])[0]
                warn(
                    f"{type(tracker).__name__} failed at step {self._step} ({type(error).__name__}: {told}) and gets "
                    "nothing more. Training goes on",
                    TrackerWarning,
                    stacklevel=2,
                )


def meters_of(way: Way) -> Iterator[tuple[str, float]]:
    """What the guards of a transition compare, as series: the value, and its error where it has one."""
    counted: dict[str, int] = {}
    for reading in _leaves(way.parts):
        title = _plain(reading.title)
        counted[title] = counted.get(title, 0) + 1
        number = f"_{counted[title]}" if counted[title] > 1 else ""
        name = f"{OURS}/guard/{_plain(way.transition)}/{title}{number}"
        for what, value in (("", reading.value), ("/low", reading.low), ("/high", reading.high)):
            if value is not None:
                yield name + what, float(value)


def event_of(decision: Decision, requests: Sequence[Action]) -> tuple[str, str]:
    """A transition as a title, and as text with its guards."""
    asked = [str(request) for request in requests]
    moved = {name: (decision.knobs_before[name], value) for name, value in decision.knobs.items()}
    changed = [f"{name} {before} -> {after}" for name, (before, after) in moved.items() if before != after]
    kinds = ["raise"] if decision.raises else ["change"] if changed else []
    kinds += ["restart"] if decision.lr > decision.lr_before else []
    kinds += [request.name for request in requests]
    title = f"{' and '.join(kinds) or 'transition'}: {decision.from_state} -> {decision.to_state}"
    lines = [
        f"step {decision.step}: {', '.join([*changed, f'lr {decision.lr_before:.3g} -> {decision.lr:.3g}'])}",
        f"by {decision.transition}",
        *decision.guards,
        *([f"asks for {', '.join(asked)}"] if asked else []),
    ]
    return title, "\n".join(lines)


def _leaves(readings: Iterable[Reading]) -> Iterator[Reading]:
    for reading in readings:
        if reading.parts:
            yield from _leaves(reading.parts)
        else:
            yield reading


def _plain(name: str) -> str:
    """A name that every tracker takes."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", name).strip("_") or "_"
