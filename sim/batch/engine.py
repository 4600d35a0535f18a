"""The controller over many runs at once, in lockstep: the same decisions, and to the bit the same rates.

A Batch is to many runs what a Controller is to one: it has a plan for the next step, as arrays with one place for each
run, and takes what the step has brought. The machine, the order of one step and the meaning of every word are the
controller's; only the arithmetic is done for all runs together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from plateau_rule.controller.binding import Binding, Said, bind
from plateau_rule.controller.errors import StepError
from plateau_rule.controller.guards import Reached, Watched, leaves
from plateau_rule.controller.language.curriculum import Curriculum
from plateau_rule.controller.language.knob_values import hardness
from plateau_rule.controller.machine import BoundState, BoundTransition
from plateau_rule.controller.step import AT_EPOCH, AT_EVAL, AT_STEP
from plateau_rule.sim.batch.clocks import Clocks
from plateau_rule.sim.batch.decisions import Decisions, Ledger, Taken
from plateau_rule.sim.batch.exits import Exit
from plateau_rule.sim.batch.guards.twin import Detectors
from plateau_rule.sim.batch.history import Floats, Mask, Rows
from plateau_rule.sim.batch.kleene import FALSE, TRUE
from plateau_rule.sim.batch.questions import question
from plateau_rule.sim.batch.rates import Rates
from plateau_rule.sim.batch.waits import ALWAYS, NONE, Fired, Waits
from plateau_rule.sim.batch.watched import WatchedMetrics


class Batch:
    """Interprets one curriculum in `runs` runs at once: read the plan, then call `observe`, once for each step.

    A run stands still once its state says stop, a Controller would raise NonFiniteLoss, or its length is reached.

    Args:
        curriculum: what `load` gives.
        runs: the number of runs.
        binding: as for `bind`.
        steps: the most steps that will be observed, where the run's length does not say it.
        said: as for `bind`.

    Raises:
        BindingError: the curriculum does not fit.
    """

    def __init__(
        self,
        curriculum: Curriculum,
        runs: int,
        binding: Binding | Mapping[str, float | None] | None = None,
        *,
        steps: int | None = None,
        **said: Unpack[Said],
    ) -> None:
        self.machine = bind(curriculum, binding, **said)
        self.runs, self.lag = runs, self.machine.lag
        self.total_steps = self.machine.run.total_steps
        self.state = np.zeros(runs, dtype=np.int64)  # which of machine.states each run is in
        self.running = np.ones(runs, dtype=np.bool_)
        self.dead = np.zeros(runs, dtype=np.bool_)  # ended by non-finite losses
        self.ended_step = np.full(runs, -1, dtype=np.int64)  # observations until it was over; -1 while it runs
        self._limit = curriculum.nonfinite.limit
        self._clocks = Clocks(runs)
        self._ramps: dict[tuple[int, str], Floats] = {}
        self._rates = Rates(self.machine, runs)
        self._end_step = np.zeros(runs, dtype=np.int64)  # where a meter ends each run, if it stays where it is
        self._taken_often: dict[str, NDArray[np.int64]] = {}
        self._decided = Ledger()
        self._places = {state.name: place for place, state in enumerate(self.machine.states)}
        self._awaited = any(way.at == "eval" for way in curriculum.transition)
        self._equip(steps if self.total_steps is None else self.total_steps)
        self._inside = [np.full(runs, FALSE, dtype=np.int8) for _ in self._exits]  # TRUE where a run is in a state
        self._population = [0] * len(self._exits)
        self._inhabited: list[int] = []
        self._metrics_needed: set[str] = set()
        self._waits = self._new_waits() if self.machine.lead else None
        self._enter(0, np.arange(runs))
        if self._waits is not None:
            self._waits.enter(0, np.arange(runs), ALWAYS)
        self._rates.advance_to(0)
        if self.machine.states[0].stop is not None:
            self._end(np.arange(runs))
        self._end_in_time()

    def _new_waits(self) -> Waits:
        return Waits(self.machine, self.runs, self._clocks, self._exits, self._taken_often.get, self._count_taken)

    def _equip(self, steps: int | None) -> None:
        """One detector for each that the states ask for, and every transition as a question to them."""
        states = self.machine.states
        self._stays = [self.machine.stay(state, self.machine.length) for state in states]
        often = {
            id(leaf.detector)
            for state, stay in zip(states, self._stays, strict=True)
            for transition, guard in zip(state.transitions, stay.guards, strict=True)
            if transition.at == "step"
            for leaf in leaves(guard)
            if isinstance(leaf, Watched)
        }
        often_keys = {key for stay in self._stays for key, (_, one) in stay.detectors.items() if id(one) in often}
        self._watched = WatchedMetrics(self._stays, self.runs, steps, often_keys)
        self._exits = [self._exits_of(state, place) for place, state in enumerate(states)]
        reach = {place: self._reached_from(place) for place in range(len(states))}
        self._metrics_after = [
            {metric for later in reach[place] for metric, _ in self._stays[later].detectors.values()} for place in reach
        ]

    def _exits_of(self, state: BoundState, place: int) -> list[Exit]:
        stay = self._stays[place]
        key_of = {id(scalar): key for key, (_, scalar) in stay.detectors.items()}

        def detectors(scalar: object) -> Detectors:
            return self._watched.detectors(key_of[id(scalar)])

        exits = []
        for i, (transition, guard) in enumerate(zip(state.transitions, stay.guards, strict=True)):
            clocks_first = sorted(guard.parts, key=lambda part: not isinstance(part, Reached))
            parts = [question(part, self._clocks, detectors) for part in clocks_first]
            exits.append(Exit(transition, i, guard, parts, self.runs))
        return exits

    def _reached_from(self, place: int) -> set[int]:
        reached, todo = {place}, [place]
        while todo:
            for transition in self.machine.states[todo.pop()].transitions:
                later = self._places[transition.target]
                if later not in reached:
                    reached.add(later)
                    todo.append(later)
        return reached

    # What can be read

    @property
    def step(self) -> int:
        """The step about to be taken, from 0."""
        return self._clocks.step

    @property
    def epoch(self) -> int:
        """The epoch it belongs to, from 0."""
        return self._clocks.epoch

    @property
    def over(self) -> bool:
        """Whether no run goes on."""
        return not self._inhabited

    @property
    def metrics(self) -> frozenset[str]:
        """The metrics that some guard watches."""
        return self._watched.metrics

    @property
    def watching(self) -> bool:
        """Whether any run is in, or can still enter, a state in which a loss is looked at."""
        return bool(self._metrics_needed) or self._some_nonfinite

    def lr(self) -> Floats:
        """The learning rate of every run on the step about to be taken."""
        return self._rates.on(self._clocks.step)

    def knob(self, name: str) -> Floats:
        """A knob's value in every run on the step about to be taken, as `Machine.number` has it; `inf` for a `full`."""
        values = np.array([self.machine.number(name, state.knobs[name]) for state in self.machine.states])[self.state]
        for place, state in enumerate(self.machine.states):
            if name in state.ramps:
                rows = np.flatnonzero(self.state == place)
                times = self._clocks.step - self._clocks.entered_step[rows]
                values[rows] = self._ramp(place, name)[np.minimum(times, self._stays[place].ramps[name].steps)]
        return values

    def _ramp(self, place: int, name: str) -> Floats:
        if (place, name) not in self._ramps:
            ramp = self._stays[place].ramps[name]
            self._ramps[place, name] = np.array([hardness(ramp.value(time)) for time in range(ramp.steps + 1)])
        return self._ramps[place, name]

    def decisions(self) -> Decisions:
        """Every transition that was taken so far."""
        return self._decided.decisions()

    # One step

    def observe(
        self,
        loss: ArrayLike | None,
        epoch_end: bool = False,
        eval_end: bool = False,
        *,
        skipped: Mask | None = None,
        metrics: Mapping[str, ArrayLike] | None = None,
    ) -> list[Taken]:
        """Take what the step that was planned has brought, in the order of Controller.observe.

        Args:
            loss: [run]; None where it is still to come in all runs, because of the lag.
            epoch_end: as for Controller.observe, the same for all runs.
            eval_end: as for Controller.observe, the same for all runs; a run has one anyway where a metric of
                evaluations is not NaN.
            skipped: [run], where the optimizer step was dropped.
            metrics: further values by name, [run], NaN where there is none.

        Returns:
            The transitions that were taken.

        Raises:
            StepError: an epoch cannot end here.
        """
        with np.errstate(all="ignore"):
            return self._observe(loss, self._closes(epoch_end), eval_end, skipped, metrics or {})

    def _closes(self, epoch_end: bool) -> bool:
        per_epoch = self.machine.run.steps_per_epoch
        if per_epoch is None:
            return epoch_end
        closes = (self._clocks.step + 1) % per_epoch == 0
        if epoch_end and not closes:
            raise StepError(f"step {self._clocks.step}: epoch_end in the middle of an epoch of {per_epoch} steps")
        return closes

    def _observe(
        self,
        loss: ArrayLike | None,
        closes: bool,
        eval_end: bool,
        skipped: Mask | None,
        metrics: Mapping[str, ArrayLike],
    ) -> list[Taken]:
        clocks = self._clocks
        clocks.step += 1
        clocks.epoch += closes
        losses = None if loss is None else self._take_losses(np.asarray(loss, dtype=np.float64), skipped)
        values = {name: np.asarray(given, dtype=np.float64) for name, given in metrics.items()}
        brought = {name: given for name, given in values.items() if name in self.machine.evaluated}
        for name, given in values.items():
            if name not in brought:
                self._push(name, given, None)
        dead = (clocks.nonfinite >= self._limit) & self.running if self._some_nonfinite else None
        if dead is not None and not dead.any():
            dead = None
        taken = [self._take(*one) for one in self._look(AT_EPOCH if closes else AT_STEP, dead, losses)]
        if dead is not None:
            for one in taken:
                dead[one.rows] = False
            rows = np.flatnonzero(dead)
            self.dead[rows] = True
            self._end(rows)
        if eval_end or brought:
            taken += self._evaluate(eval_end, brought, taken)
        self._rates.advance_to(clocks.step)
        self._end_in_time()
        return taken

    def _evaluate(self, eval_end: bool, metrics: Mapping[str, Floats], before: list[Taken]) -> list[Taken]:
        """An evaluation after the step, in the runs that the step's own look has left where they were."""
        here = self.running.copy()
        for one in before:
            here[one.rows] = False
        for name, values in metrics.items():
            self._push(name, values, here)
        if not eval_end:
            here &= ~np.logical_and.reduce([np.isnan(values) for values in metrics.values()])
        if not self._awaited or not here.any():
            return []
        return [self._take(exit_, rows, loss) for exit_, rows, loss in self._look(AT_EVAL, None, None, here)]

    def _take_losses(self, losses: Floats, skipped: Mask | None) -> Floats:
        """Non-finite losses are counted and go no further; finite ones enter the detectors."""
        clocks = self._clocks
        finite = np.isfinite(losses)
        brought: Mask | None = None
        if self.lag or skipped is not None or self._some_nonfinite or not finite.all():
            timely = clocks.entered_step < clocks.step - self.lag
            clocks.nonfinite += timely & ~finite
            clocks.nonfinite[timely & finite] = 0
            self._some_nonfinite = bool(clocks.nonfinite.any())
            brought = timely & finite if skipped is None else timely & finite & ~skipped
        self._push("loss", losses, brought)
        return losses

    def _push(self, metric: str, values: Floats, among: Mask | None) -> None:
        """Take a metric's values; among: the runs that have one, of which only finite ones count."""
        if metric not in self._metrics_needed:
            return
        if metric != "loss":
            among = np.isfinite(values) if among is None else np.isfinite(values) & among
        self._watched.push(metric, values, among)

    def _look(
        self, asked: tuple[str, ...], dead: Mask | None, losses: Floats | None, among: Mask | None = None
    ) -> list[Fired]:
        """The transitions to take, in which runs, by which loss: of each state in the order of the file, one a run.

        Args:
            asked: which transitions are looked at, by their `at`.
            dead: the runs in which only those are that answer non-finite losses.
            losses: [run].
            among: the runs that are looked at; None for all.
        """
        found = list[Fired]()
        for place in self._inhabited:
            waits, inside, fired = self._waits, self._inside[place], list[tuple[Exit, Rows]]()
            if among is not None:
                inside = np.where(among, inside, np.int8(FALSE))
            looked_at = inside
            here = inside if waits is None else np.where(waits.place == NONE, inside, np.int8(FALSE))
            for exit_ in self._exits[place]:
                if exit_.transition.at not in asked:
                    continue
                at_most = exit_.transition.at_most
                # Where something waits, the only ones that are looked at drop it: nothing else can have fired there.
                eligible = inside if exit_.transition.at_once else here
                if at_most is not None and exit_.transition.key in self._taken_often:
                    eligible = np.where(self._taken_often[exit_.transition.key] < at_most, eligible, np.int8(FALSE))
                if dead is not None and not exit_.answers_nonfinite:
                    eligible = np.where(dead, np.int8(FALSE), eligible)
                rows = exit_.fires(eligible)
                if rows is not None and len(rows):
                    fired.append((exit_, rows))
                    here, inside = here.copy(), inside.copy()
                    here[rows] = inside[rows] = FALSE
            if waits is None:
                found += [(exit_, rows, losses) for exit_, rows in fired]
            else:
                found += waits.sort(place, looked_at == TRUE, fired, losses, dead)
        return found

    def _take(self, exit_: Exit, rows: Rows, losses: Floats | None) -> Taken:
        """The actions, then the new state is entered."""
        transition, step = exit_.transition, self._clocks.step
        source, target = self._places[transition.source], self._places[transition.target]
        old, new = self.machine.states[source], self.machine.states[target]
        lr_before, lr = self._rates.take(rows, transition, old, new, step)
        self._count_taken(transition, rows, 1)
        known = self._waits.known(exit_, source, rows) if self._waits is not None else None
        self._inside[source][rows] = FALSE
        self._population[source] -= len(rows)
        self._enter(target, rows)
        if self._waits is not None and known is not None:
            self._waits.enter(target, rows, known)
        loss = np.full(len(rows), np.nan) if losses is None else losses[rows]
        self._decided.add(rows, (step, self._clocks.epoch, source, target, exit_.place), (lr_before, lr, loss))
        return Taken(transition, rows, step, lr_before, lr)

    def _count_taken(self, transition: BoundTransition, rows: Rows, times: int) -> None:
        if transition.at_most is not None:
            often = self._taken_often.setdefault(transition.key, np.zeros(self.runs, dtype=np.int64))
            often[rows] += times

    def _enter(self, place: int, rows: Rows) -> None:
        """Enter a state: time 0, detectors and sustains empty."""
        clocks = self._clocks
        self.state[rows] = place
        clocks.entered_step[rows], clocks.entered_epoch[rows] = clocks.step, clocks.epoch
        clocks.nonfinite[rows] = 0
        if self.machine.bounds:
            self._end_step[rows] = self._rates.end_of(rows)
        self._watched.enter(rows, self._stays[place].detectors, not clocks.step)
        for exit_ in self._exits[place]:
            if exit_.sustained is not None:
                exit_.sustained[rows] = 0
        self._inside[place][rows] = TRUE
        self._population[place] += len(rows)
        if self.machine.states[place].stop is not None:
            self._end(rows)
        else:
            self._count()

    def _end(self, rows: Rows) -> None:
        self.running[rows] = False
        self.ended_step[rows] = self._clocks.step
        for place, inside in enumerate(self._inside):
            inside[rows] = FALSE
            self._population[place] = int(np.count_nonzero(inside))
        self._count()

    def _end_in_time(self) -> None:
        """End the runs whose length is reached, in steps, in epochs, or in what is counted."""
        run, step = self.machine.run, self._clocks.step
        by_hand = self.total_steps is None and run.epochs is not None and self._clocks.epoch >= run.epochs
        if by_hand or (self.total_steps is not None and step >= self.total_steps):
            self._end(np.flatnonzero(self.running))
        elif self.machine.bounds and (over := self.running & (self._end_step <= step)).any():
            self._end(np.flatnonzero(over))

    def _count(self) -> None:
        """Where runs are, and which metrics a state that they are in, or can still enter, asks for."""
        inhabited = [place for place, runs in enumerate(self._population) if runs]
        if inhabited != self._inhabited:
            self._inhabited = inhabited
            self._metrics_needed = {metric for place in inhabited for metric in self._metrics_after[place]}

    _some_nonfinite = False
