"""A run that can be asked: what its curriculum decided, how near it was at any step, what another number would do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import index
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from plateau_rule.controller.binding import Binding
from plateau_rule.controller.edit.numbers import Path, Tunable, edited, tunables
from plateau_rule.controller.errors import ArgumentError, PlateauError
from plateau_rule.controller.horizon import certain_steps
from plateau_rule.controller.language.curriculum import Rung
from plateau_rule.controller.machine import Knobs, Machine
from plateau_rule.controller.plan import Decision, Plan, knobs_at, plan_of
from plateau_rule.controller.rate import advance, learning_rate
from plateau_rule.controller.readings import Way
from plateau_rule.controller.state import RunState
from plateau_rule.controller.step import readings
from plateau_rule.sim.whatif.bound import Restate, bound
from plateau_rule.sim.whatif.log import LOGGED, Evaluations, Kinds, LossLog
from plateau_rule.sim.whatif.player import LogPlayer
from plateau_rule.sim.whatif.thin import Columns, thin

SNAPSHOTS = 126  # along a run, between which it is played again
SAMPLES = 600  # of the rate over a run, at most
Edit = tuple[Path, float]


class PlayedLog(NamedTuple):
    """What a curriculum did with a log.

    Attributes:
        text: the curriculum file.
        machine: the bound curriculum.
        decisions: the transitions, in order.
        plan: of the step after the last one that was observed.
        ended: why nothing more was observed; None where the log simply ends.
    """

    text: str
    machine: Machine
    decisions: tuple[Decision, ...]
    plan: Plan
    ended: str | None


class Moment(NamedTuple):
    """How a run stands when a step is about to be taken.

    Attributes:
        step: the step.
        epoch: the epoch that it belongs to.
        state: the name of the state.
        entered: the first step in that state.
        knobs: of this step.
        lr: of this step.
        loss: that of the step before, observed last; None where there is none, or it is not finite.
        taken: the transition that applies from this step on, if one does.
        next_look: the first step after this one that a transition can apply to; None where only evaluations tell.
        ways: how near each transition out of the state is to being taken.
    """

    step: int
    epoch: int
    state: str
    entered: int
    knobs: Knobs
    lr: float
    loss: float | None
    taken: Decision | None
    next_look: int | None
    ways: tuple[Way, ...]


class Variant(NamedTuple):
    """One row of a raise map.

    Attributes:
        value: the number that stands in the file.
        played: what the curriculum then does; None where it cannot be read, or bound, with it.
        error: why not.
    """

    value: float
    played: PlayedLog | None
    error: str | None


def play(
    text: str,
    losses: ArrayLike,
    binding: Binding | None = None,
    *,
    evaluations: Evaluations | None = None,
    file: str = "<text>",
) -> PlayedLog:
    """Show losses to a curriculum: exactly what a Controller decides.

    Args:
        text: a curriculum file.
        losses: [step], from step 0 on; NaN or infinite where a loss was.
        binding: what the run is.
        evaluations: what came with the observation of a step beside its loss, by step.
        file: the name that errors show.

    Raises:
        CurriculumError: the text is no curriculum.
        BindingError: it does not fit.
    """
    return _played(text, bound(text, binding, file), LossLog(np.asarray(losses, dtype=np.float64), evaluations or {}))


def _played(text: str, machine: Machine, log: LossLog) -> PlayedLog:
    player = LogPlayer(machine)
    player.play(log, len(log.losses))
    return PlayedLog(text, machine, tuple(player.decisions), plan_of(machine, player.run), player.ended)


class Session:
    """One run: a bound curriculum file, its losses so far, and what it has decided on them.

    Args:
        text: a curriculum file.
        binding: what the run is.
        losses: [step], from step 0 on.
        evaluations: what came with the observation of a step beside its loss, by step.
        file: the name that errors show.
        kinds: [step], how each step was logged; None where all were, and none was dropped.
        restate: what is to be done with the curriculum before it is bound, as where a loss stands for several steps.
        evaluates: whether what came beside a loss is an evaluation even where no guard asks for it.

    Attributes:
        text: the curriculum file.
        machine: the bound curriculum.

    Raises:
        CurriculumError: the text is no curriculum.
        BindingError: it does not fit.
    """

    def __init__(
        self,
        text: str,
        binding: Binding | None = None,
        losses: ArrayLike = (),
        *,
        evaluations: Evaluations | None = None,
        file: str = "<text>",
        kinds: Kinds | None = None,
        restate: Restate | None = None,
        evaluates: bool = False,
    ) -> None:
        self._evaluates = evaluates
        self.text, self.file, self.binding, self._restate = text, file, binding or Binding(), restate
        self.machine = bound(text, self.binding, file, restate)
        self._buffer, self._count, self._finite = np.empty(1024), 0, True
        self._kinds: Kinds | None = None
        self._tunables: tuple[Tunable, ...] | None = None
        self._log: LossLog | None = None  # as it is now, until it grows or is cut
        self._evaluations: dict[int, Mapping[str, float]] = {}
        self._player = LogPlayer(self.machine, SNAPSHOTS)
        self.extend(losses, evaluations, kinds)

    # The run

    @property
    def log(self) -> LossLog:
        """All that was logged."""
        if self._log is None:
            losses = self._buffer[: self._count]
            self._log = LossLog(losses, self._evaluations, self._kinds, self._evaluates, self._finite)
        return self._log

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """The transitions so far, in order."""
        return tuple(self._player.decisions)

    @property
    def plan(self) -> Plan:
        """Of the step after the last one that was observed."""
        return plan_of(self.machine, self._player.run)

    @property
    def ended(self) -> str | None:
        """Why nothing more is observed; None as long as the log may go on."""
        return self._player.ended

    def __len__(self) -> int:
        """How many losses were logged."""
        return self._count

    def extend(
        self, losses: ArrayLike, evaluations: Evaluations | None = None, kinds: Kinds | None = None
    ) -> tuple[Decision, ...]:
        """Take the losses of the next steps.

        Args:
            losses: [step], from the first step on that is not there yet.
            evaluations: what came with their observation beside the loss, by step; steps that are there already are
                not observed again.
            kinds: [step], how each of them was logged; None where all were, and none was dropped.

        Returns:
            The transitions that they brought.
        """
        new, before = np.asarray(losses, dtype=np.float64), len(self._player.decisions)
        if self._count + len(new) > len(self._buffer):
            self.reserve(max(2 * len(self._buffer), self._count + len(new)))
        self._buffer[self._count : self._count + len(new)] = new
        self._finite = self._finite and bool(np.isfinite(new).all())  # so that a long log is not searched at each look
        if kinds is not None or self._kinds is not None:
            before_all = np.full(self._count, LOGGED, np.int8) if self._kinds is None else self._kinds
            after_all = np.full(len(new), LOGGED, np.int8) if kinds is None else kinds
            self._kinds = np.concatenate((before_all, after_all))
        self._count += len(new)
        self._evaluations = {**self._evaluations, **(evaluations or {})}
        self._log = None
        self._player.play(self.log, self._count)
        return tuple(self._player.decisions[before:])

    def reserve(self, count: int) -> None:
        """Make room for so many losses in all, so that a long log is not copied while it is read."""
        if count > len(self._buffer):
            grown = np.empty(count)
            grown[: self._count] = self._buffer[: self._count]
            self._buffer, self._log = grown, None

    def cut(self, step: int) -> None:
        """Forget all from `step` on: the run was killed, and resumed there."""
        step = index(step)
        if not 0 <= step <= self._count:
            raise ArgumentError(f"cut: step {step}; expected one of the {self._count} that were logged")
        self._count = step
        self._kinds = None if self._kinds is None else self._kinds[:step]
        self._evaluations = {at: given for at, given in self._evaluations.items() if at < step}
        self._log = None
        self._player.cut(self.log, step)

    # Why

    def why(self, step: int) -> Moment:
        """How the run stood when `step` was about to be taken.

        Args:
            step: 0 to the number of losses; where the run ended before it, its end is told.
        """
        step = index(step)
        if not 0 <= step <= self._count:
            raise ArgumentError(f"why: step {step}; expected 0 to {self._count}")
        return self._moment(self._player.run if step >= self._player.run.step else self._player.at(self.log, step))

    def certain(self, most: int = 10_000) -> int:
        """How many of the coming steps have a plan that no loss can change any more, counted no further than `most`."""
        return certain_steps(self.machine, self._player.run, most)

    def track(self) -> tuple[Moment, ...]:
        """How the run stood at its snapshots, 126 to 252 of them in a long run, at ends of epochs where it has some."""
        return tuple(self._moment(run) for _, run in self._player.saved)

    def _moment(self, run: RunState) -> Moment:
        plan, loss = plan_of(self.machine, run), None
        if 0 < run.step <= self._count and np.isfinite(self._buffer[run.step - 1]):
            loss = float(self._buffer[run.step - 1])
        taken = next((one for one in self._player.decisions if one.step == run.step), None)
        return Moment(
            plan.step,
            plan.epoch,
            plan.state,
            run.step - run.time,
            plan.knobs,
            plan.lr,
            loss,
            taken,
            self._next_look(run),
            readings(run),
        )

    def _next_look(self, run: RunState) -> int | None:
        asked, per_epoch = {way.at for way in run.state.transitions}, self.machine.steps_per_epoch
        if "step" in asked:
            return run.step + 1
        if "epoch" in asked and per_epoch is not None:
            return run.step + per_epoch - run.step % per_epoch
        return None

    # What there was on each step

    def rates(self, most: int = SAMPLES) -> list[tuple[int, float]]:
        """The learning rate on at most about `most` steps of the run so far, and on both sides of each transition."""
        return self.rate_at(self._samples(most))

    def rate_at(self, steps: Iterable[int]) -> list[tuple[int, float]]:
        """The learning rate on these steps, each with its step, in order."""
        found, place, entries = [], 0, self._player.entries
        for step in sorted({*steps}):
            while place + 1 < len(entries) and entries[place + 1].step <= step:
                place += 1
            entry = entries[place]
            clock = advance(entry.rate, self.machine, entry.state, step)
            found.append((step, learning_rate(clock, self.machine, entry.state, step)))
        return found

    def knobs(self, most: int = SAMPLES) -> dict[str, list[tuple[int, Rung]]]:
        """Each knob's values over the run so far: the step from which on, and the value; along a ramp, samples."""
        found: dict[str, list[tuple[int, Rung]]] = {name: [] for name in self.machine.signs}
        place, entries = 0, self._player.entries
        run = RunState(entries[0].state, self.machine.stay(entries[0].state, self.machine.total_steps),
                       entries[0].rate, self.machine.total_steps)  # fmt: skip
        for step in self._samples(most):
            while place + 1 < len(entries) and entries[place + 1].step <= step:
                place += 1
                run.state = entries[place].state
                run.stay = self.machine.stay(run.state, self.machine.total_steps)
            for name, value in knobs_at(run, step - entries[place].step).items():
                if not found[name] or found[name][-1][1] != value:
                    found[name].append((step, value))
        return found

    def _samples(self, most: int) -> list[int]:
        last = self._player.run.step
        even = np.linspace(0, last, max(2, min(most, last + 1))).astype(np.int64).tolist()
        edges = {step for entry in self._player.entries[1:] for step in (entry.step - 1, entry.step)}
        return sorted({*even, *edges})

    def curve(self, start: int, stop: int, width: int) -> Columns:
        """The losses of steps `start` up to `stop` in at most `width` columns."""
        points = self.log.points
        losses = self.log.losses if points is None else self.log.losses[points]
        return thin(points, losses, start, stop, width)

    # What if

    def tunables(self) -> tuple[Tunable, ...]:
        """The numbers of the curriculum file that can be turned, in the order of the file."""
        if self._tunables is None:
            self._tunables = tunables(self.text, self.file)
        return self._tunables

    def edited(self, edits: Sequence[Edit]) -> str:
        """The curriculum file with these numbers changed in their places, each given by its path."""
        text = self.text
        for path, value in edits:
            text = edited(text, path, value, self.file)
        return text

    def whatif(self, edits: Sequence[Edit]) -> PlayedLog:
        """What the curriculum would have decided on the same losses with these numbers.

        Raises:
            PlateauError: with these numbers it cannot be read, or bound.
        """
        text = self.edited(edits)
        return _played(text, bound(text, self.binding, self.file, self._restate), self.log)

    def grid(self, path: Path, values: Iterable[float], edits: Sequence[Edit] = ()) -> Iterator[Variant]:
        """A raise map: what the curriculum would have decided with each of these values, one row after the other.

        Args:
            path: the number, one of the tunables.
            values: what it is set to.
            edits: other numbers that are changed in all rows.
        """
        for value in values:
            try:
                yield Variant(value, self.whatif([*edits, (path, value)]), None)
            except PlateauError as error:
                yield Variant(value, None, str(error))
