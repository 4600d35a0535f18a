"""The controller over a log: what a curriculum would have done with losses that are there already.

The logged points are what the controller observes. The steps between two of them are passed over: clocks go on as they
would have, an epoch's end and a clock that becomes due are looked at on their own step, and no window sees a loss that
was not logged. So guards that ask a clock mean steps, and a window means logged points.
"""

from __future__ import annotations

import warnings
from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plateau_rule.controller.binding import Binding
from plateau_rule.controller.controller import UnguardedController
from plateau_rule.controller.errors import BindingWarning, NonFiniteLoss
from plateau_rule.controller.falls import refuse_fall, refuse_falls
from plateau_rule.controller.guards import Reached
from plateau_rule.controller.horizon import FastForward
from plateau_rule.controller.language.curriculum import Curriculum
from plateau_rule.controller.language.fingerprint import fingerprints
from plateau_rule.controller.language.metrics import comes_at
from plateau_rule.controller.plan import Decision, count_ends
from plateau_rule.controller.state import SILENT
from plateau_rule.sim.logs import Log
from plateau_rule.sim.replayer.naming import evaluations_of
from plateau_rule.sim.replayer.setting import ReplayError, Setting, per_point, setting_of
from plateau_rule.sim.replayer.timeline import Asked, LoggedStay, Sample, Timeline
from plateau_rule.sim.replayer.trace import Floats, Tracer

PROBES = 4000  # looks at which the guards' values are written down, at most about this many
REMEMBERED = 2048  # losses before a transition that are kept with it
Progress = Callable[[int, int], None]


def replay(
    curriculum: Curriculum,
    log: Log,
    given: Binding | None = None,
    *,
    first_only: bool = False,
    until: int | None = None,
    progress: Progress | None = None,
) -> Timeline:
    """Show a log's losses to a curriculum.

    Args:
        curriculum: what `load` gives.
        log: what `read` gives.
        given: what is known about the run; the rest comes from the run's own record, the log, or the file's [run].
        first_only: stop after the first transition.
        until: stop where this step, as the log counts, would be planned.
        progress: called now and then with the number of points so far and of all points.

    Raises:
        BindingError: the curriculum does not fit.
        ReplayError: the log does not fit.
        RegressionError: a knob would fall by a transition that is not marked.
    """
    setting = setting_of(curriculum, log, given or Binding())
    if until is not None and until < setting.first_step:
        raise ReplayError(f"step {until}: this log counts from {setting.first_step}. Ask for a step of the run")
    return _Replay(curriculum, log, setting, first_only, until).run(progress)


class _Replay:
    """One replay under way."""

    def __init__(self, curriculum: Curriculum, log: Log, setting: Setting, first_only: bool, until: int | None) -> None:
        self.curriculum, self.log, self.setting, self.first_only = curriculum, log, setting, first_only
        self.notes: list[str] = []
        spacing = log.report.spacing * ((setting.steps_per_epoch or 1) if setting.stretched else 1)
        bound = curriculum if spacing == 1 or log.report.counted == "row" else per_point(curriculum, setting, spacing)
        if bound is not curriculum:
            self.notes.append(f"what guards measure by time, they measure in steps: one value stands for {spacing:,}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", BindingWarning)  # what it says is among the timeline's notes
            self.controller = UnguardedController(bound, setting.binding)
        refuse_falls(self.controller.machine)
        self.run_state = self.controller.run_state
        self.run_state.said = SILENT  # so is what the log lacks
        self.forward = FastForward(self.controller.machine, self.run_state)
        self.total = self.controller.total_steps
        self.until = None if until is None else until - (0 if setting.stretched else setting.first_step)
        self.end = min((end for end in (self.total, self.until) if end is not None), default=None)
        self.tracer = Tracer(len(log))
        self.stride = max(1, self._after_log() // PROBES)  # steps between looks, or plans, that are written down
        self.next_probe = self.next_sample = self.points = 0
        self.over: str | None = None
        self.decisions: list[Decision] = []
        self.before: list[Floats] = []
        self.samples: list[Sample] = []
        self.loss: float | None = None  # the last one that was logged
        self.at_once = False  # whether the losses at hand can be observed in one go
        self.tail = (np.empty(0, dtype=np.int64), np.empty(0))  # points before the current chunk
        self.chunk = self.tail
        self.eval_steps, self.evals = self._evaluations()
        self.of_steps = {name for name in self.curriculum.metric if comes_at(self.curriculum, name) != "eval"}
        # A late loss that must not enter a window comes as late as any other.
        self.withheld = {step + setting.lag for step in setting.withheld}
        self.special = sorted({*self.eval_steps, *self.withheld})
        self.stays = [self._new_stay()]
        self._sample()
        self._stop()

    # From the log

    def _ours(self, steps: NDArray[np.int64]) -> NDArray[np.int64]:
        """The log's steps as the controller counts them."""
        steps = steps - self.setting.first_step
        if self.setting.stretched:
            steps = (steps + 1) * (self.setting.steps_per_epoch or 1) - 1
        return steps

    def _evaluations(self) -> tuple[list[int], dict[int, dict[str, float]]]:
        """What evaluations brought, by step, under the names that the curriculum's guards use."""
        found: dict[int, dict[str, float]] = {}
        machine = self.controller.machine
        stays = [machine.stay(state, machine.length).detectors for state in machine.states]
        wanted = {metric for detectors in stays for metric, _ in detectors.values()} - {"loss"}
        pairs, notes = evaluations_of(self.curriculum, self.log, wanted)
        self.notes += notes
        for metric, name in pairs:
            steps, values = self.log.evaluations(name)
            for step, value in zip(self._ours(steps).tolist(), values.tolist(), strict=True):
                if step >= 0:
                    found.setdefault(step, {})[metric] = value
        return sorted(found), found

    def run(self, progress: Progress | None) -> Timeline:
        """Go through the log."""
        seen = 0
        for chunk in self.log.chunks():
            if self.over is not None:
                break
            steps = self._ours(chunk.step)
            kept = steps >= 0
            if self.end is not None:
                kept &= steps < self.end
            steps, losses = steps[kept], chunk.loss[kept]
            self.chunk = (steps, losses)
            self._feed(*self._arriving(steps, losses))
            seen += len(chunk.step)
            self.tail = tuple(np.concatenate(pair)[-REMEMBERED:] for pair in zip(self.tail, self.chunk, strict=True))  # type: ignore[assignment]
            self.chunk = (steps[:0], losses[:0])
            if progress is not None:
                progress(seen, len(self.log))
        last = self._last_step()
        if self.over is None:
            self._pass_to(last)
        return self._timeline()

    def _after_log(self) -> int:  # the step after the last one that was logged
        return int(self._ours(np.array([self.log.report.used.last_step or 0]))[0]) + 1

    def _last_step(self) -> int:
        """Up to where the clocks go on after the last point: the log's last step or evaluation, the end, `until`."""
        of_log = self._after_log()
        if self.until is not None and self.until > of_log:
            asked = self.until + (0 if self.setting.stretched else self.setting.first_step)
            raise ReplayError(
                f"step {asked:,} lies beyond the log, whose last point is step {self.log.report.used.last_step:,}. "
                "Ask for a step up to the one after it"
            )
        last = max(of_log, *(step + 1 for step in self.eval_steps[-1:]), self.run_state.step)
        return last if self.end is None else min(last, self.end)

    def _arriving(self, steps: NDArray[np.int64], losses: Floats) -> tuple[NDArray[np.int64], list[Any]]:
        """The losses on the steps on which they come: `lag` steps after their own, or never where the log ends."""
        if not (lag := self.setting.lag):
            return steps, losses.tolist()
        end = self._after_log() if self.end is None else min(self._after_log(), self.end)
        none = lag if self.run_state.step == 0 and len(steps) and steps[0] == 0 else 0  # observed before any came
        arriving = np.concatenate((np.arange(none), steps + lag))
        arriving = arriving[: int(np.searchsorted(arriving, end))]
        return arriving, [*[None] * none, *losses.tolist()][: len(arriving)]

    def _feed(self, steps: NDArray[np.int64], values: list[Any]) -> None:
        """Show the points of one chunk, stretch by stretch of steps that follow on each other."""
        if not len(steps):
            return
        finite = np.isfinite(np.asarray(values, dtype=np.float64))  # no loss yet is none that is finite
        dead = np.flatnonzero(~finite)
        edges = np.unique(np.concatenate(([0], np.flatnonzero(np.diff(steps) != 1) + 1, dead, dead + 1, [len(values)])))
        starts = edges[:-1]
        for first, start, stop, alive in zip(
            steps[starts].tolist(), starts.tolist(), edges[1:].tolist(), finite[starts].tolist(), strict=True
        ):
            if self.over is not None:
                return
            self._pass_to(first)
            self.at_once = alive and not self.setting.lag
            self._show(values, start, stop)

    # Steps that were logged

    def _show(self, values: list[Any], start: int, stop: int) -> None:
        """Observe losses of steps that follow on each other, with the evaluations among them."""
        step = self.run_state.step
        at = start
        for place in range(bisect_left(self.special, step), bisect_left(self.special, step + stop - start)):
            at = self._plain(values, at, start + self.special[place] - step)
            if self.over is None:
                self._one(values[at], self.special[place])
                at += 1
        self._plain(values, at, stop)

    def _plain(self, values: list[float], at: int, stop: int) -> int:
        """Observe values[at:stop]; an epoch's end, and a look now and then, with care, what lies between at once."""
        run, per_epoch = self.run_state, self.setting.steps_per_epoch
        while at < stop and self.over is None:
            careful = self.next_sample - 1  # the step after which it is due
            if per_epoch is not None:
                careful = min(careful, run.step + per_epoch - 1 - run.step % per_epoch)
            until = min(stop, at + max(0, careful - run.step), at + self._left())
            if until > at and self.at_once:
                count, decision = self.forward.observe_all(values[at:until])
                at += count
                self.points += count
                self.loss = values[at - 1]
                if decision is not None:
                    self._taken(decision)
            else:
                self._one(values[at])
                at += 1
            self._left()
        return at

    def _left(self) -> int:
        """The steps up to where tokens or cost end the run, if it stays in its state; the replay is over there."""
        machine, run = self.controller.machine, self.run_state
        if not machine.bounds:
            return len(self.log) + 1
        left = count_ends(machine, run) - run.step
        if left <= 0 and self.over is None:
            self.over = self.controller.plan.stop
        return max(0, left)

    def _one(self, value: float | None, special: int = -1) -> None:
        """Observe one value and write down what the guards say; `special` is its step if more came with it."""
        self.loss = value
        self.points += value is not None
        metrics: dict[str, Any] = dict(self.evals.get(special, {}))
        skipped = special in self.withheld
        ends = bool(metrics.keys() - self.of_steps)
        self._observed(lambda: self.controller.observe(value, eval_end=ends, skipped=skipped, **metrics), ends)

    def _observed(self, observe: Callable[[], Decision | None], eval_end: bool) -> None:
        run, before = self.run_state, self.run_state.waiting
        try:
            decision = observe()
        except NonFiniteLoss as error:
            self.over = f"the run would have ended here. {error}"
            return
        waiting = run.waiting
        if waiting is not None and waiting is not before and waiting.lines is not None:
            run.waiting = waiting if eval_end and waiting.loss is None else waiting._replace(loss=self.loss)
        if decision is not None:
            waited = before is not None and decision.guards is before.lines  # its loss is that of an earlier step
            by_evaluation = eval_end and decision.loss is None  # as in the run: no loss brought it
            self._taken(decision if waited or by_evaluation else decision._replace(loss=self.loss))
        else:
            self._probe(eval_end)
        self._left()

    # Steps that were not

    def _pass_to(self, step: int) -> None:
        """Let the clocks go on to a step, stopping where a look is due."""
        run = self.run_state
        while run.step < step and self.over is None:
            place = bisect_left(self.eval_steps, run.step)
            stop = min([self.forward.next_look(), *self.eval_steps[place : place + 1]])
            left = self._left() if self.controller.machine.bounds else step
            if min(step, stop, run.step + left) > run.step:
                self.forward.pass_over(min(step, stop, run.step + left) - run.step)
            if not left:
                return
            if stop < step and stop == run.step:
                metrics = self.evals.get(stop, {})
                self._observed(lambda metrics=metrics: self.forward.observe_nothing(metrics), bool(metrics))  # type: ignore[misc]
        self._left()

    # What is written down

    def _stop(self) -> None:
        """A state may end the training."""
        plan = self.controller.plan
        if plan.stop is not None and (self.total is None or plan.step < self.total):
            self.over = f'state "{plan.state}" ends the training: {plan.stop}'

    def _taken(self, decision: Decision) -> None:
        refuse_fall(self.controller.machine, decision)
        entered = self.stays[-1].entered
        steps = np.concatenate((self.tail[0], self.chunk[0]))
        start, stop = np.searchsorted(steps, (entered, decision.step)).tolist()
        losses = np.concatenate((self.tail[1], self.chunk[1]))[max(start, stop - REMEMBERED) : stop]
        self.decisions.append(decision)
        self.before.append(losses[np.isfinite(losses)])
        self.samples.append(Sample(decision.step - 1, decision.lr_before, decision.knobs_before))
        self.stays[-1].left = decision.step
        self.stays.append(self._new_stay())
        self._sample()
        self._stop()
        if self.first_only and self.over is None:
            self.over = "after the first transition, as asked"

    def _new_stay(self) -> LoggedStay:
        """Begin a stay in the controller's present state."""
        plan = self.controller.plan
        resolve = self.controller.machine.curriculum.resolve
        self.guards = [
            (transition, part, Asked.of(transition, part, resolve(written)))
            for transition, guard in zip(self.run_state.state.transitions, self.run_state.stay.guards, strict=True)
            for written, part in zip(transition.guards, guard.parts, strict=True)
        ]
        self.next_probe = 0
        return LoggedStay(plan.state, plan.knobs, plan.step, None, [asked for _, _, asked in self.guards])

    def _sample(self) -> None:
        plan = self.controller.plan
        self.samples.append(Sample(plan.step, plan.lr, plan.knobs))
        self.next_sample = plan.step + self.stride

    def _probe(self, eval_end: bool) -> None:
        """Write down what the guards said at a look that took nothing."""
        run, per_epoch = self.run_state, self.setting.steps_per_epoch
        if run.step >= self.next_sample:
            self._sample()
        closes = per_epoch is not None and run.step % per_epoch == 0
        if run.step < self.next_probe and not eval_end:
            return
        refused: dict[int, bool] = {}
        for transition, part, asked in self.guards:
            if (transition.at == "epoch" and not closes) or (transition.at == "eval" and not eval_end):
                continue
            self.next_probe = run.step + self.stride
            verdict = asked.note(part, run)
            answered = verdict is True if isinstance(part, Reached) else verdict is not None
            refused[transition.index] = refused.get(transition.index, True) and answered
        self.stays[-1].refused += any(refused.values())

    def _timeline(self) -> Timeline:
        for chunk in self.log.chunks():
            steps = self._ours(chunk.step)
            self.tracer.add(steps, chunk.loss)
        plan, report = self.controller.plan, self.log.report
        skipped = dict(report.dropped)
        if self.run_state.skipped_values:
            skipped["not a finite number (only guards on non-finite losses see it)"] = self.run_state.skipped_values
        if left := len(self.log) - self.points:
            skipped["after the end of the replay"] = left
        lines: Sequence[str] = self.controller.explain()
        if self.decisions and self.decisions[-1].step == plan.step:
            lines = [
                f"taken: {self.decisions[-1].from_state} -> {self.decisions[-1].to_state}",
                *self.decisions[-1].guards,
            ]
        return Timeline(
            self.curriculum,
            fingerprints(self.curriculum)[0],
            self.setting,
            report,
            self.points,
            skipped,
            tuple(self.decisions),
            tuple(self.before),
            tuple(self.stays),
            plan,
            self.over or self._why_ended(),
            self.tracer.trace(),
            tuple(self.samples),
            self._answers(),
            tuple(lines),
            (*self.setting.notes, *self.controller.machine.notes, *self.notes),
            max(1, len(self.log) // PROBES),
        )

    def _why_ended(self) -> str:
        if self.until is not None and self.run_state.step >= self.until:
            return "at the step that was asked for"
        if self.total is not None and self.run_state.step >= self.total:
            return f"the run of {self.total:,} steps is over"
        return "the log ends"

    def _answers(self) -> bool | None:
        """Whether the run that wrote the log entered the same states on the same steps."""
        if not self.log.changes:
            return None
        made = [(change.step, change.state) for change in self.log.changes[1:] if change.step <= self.run_state.step]
        # A log shows a state that was left, not one that was entered anew.
        found = [(each.step, each.to_state) for each in self.decisions if each.from_state != each.to_state]
        last = self.log.report.used.last_step or 0
        return made == [pair for pair in found if pair[0] <= last] and self.log.changes[0].state == self.stays[0].state
