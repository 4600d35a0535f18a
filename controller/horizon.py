"""How far the course of a run is certain, and stretches of steps at once, with the decisions that they would bring.

It knows the order of one step as `step.take_step` has it, and leaves out what cannot matter: looks at which no guard
could hold, and all that lies between looks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from math import inf, nan
from typing import NamedTuple

from plateau_rule.controller.certainty import FAR, Openings, first_certain
from plateau_rule.controller.evaluation import take_observation
from plateau_rule.controller.guards import GuardInState, Joined, Opposite, Reached, Watched
from plateau_rule.controller.machine import Machine
from plateau_rule.controller.plan import Decision, Plan, plan_of, run_ends, stop_reason
from plateau_rule.controller.state import RunState
from plateau_rule.controller.step import (
    AT_STEP,
    find_transition,
    go_on,
    raise_floors,
    take_due,
    take_step,
    take_transition,
)


def pass_over(machine: Machine, run: RunState, steps: int) -> None:
    """Let steps go by that are not looked at."""
    per_epoch = machine.steps_per_epoch
    if per_epoch is not None:
        closed = (run.step + steps) // per_epoch - run.step // per_epoch
        run.epoch += closed
        run.closings += closed
    run.step += steps
    run.time += steps
    run.requests = ()
    _turn(machine, run, run.step)


def _turn(machine: Machine, run: RunState, step: int) -> None:
    """Bring the rate's cycles and the ramps' floors to a step, past all that lies before it."""
    if run.state.ramps:
        raise_floors(machine, run, run.time - run.step + step)
    if run.state.rate.cycles:
        go_on(machine, run, step)


def plan_ahead(machine: Machine, run: RunState, steps: int) -> Plan:
    """The plan so many steps from now, if no loss brings a transition; the first that stops, if that comes before."""
    forecast = Forecast(machine, run)
    last = run.step + steps
    while forecast.run.step < last and not forecast.is_over:
        end, event = min(last, forecast.end()), forecast.event()
        if event is None or event.step > end:
            forecast.pass_to(end)
        else:
            forecast.take(event)
    return plan_of(machine, forecast.run)


def certain_steps(machine: Machine, run: RunState, most: int) -> int:
    """The number of coming steps whose plan no loss can change, counted no further than `most`."""
    forecast = Forecast(machine, run)
    last = min(run.step + most, forecast.last)
    while forecast.run.step < last and not forecast.is_over:
        end, event = min(last, forecast.end()), forecast.event()
        change = forecast.first_change(event, end)
        if change is not None:
            return min(change, end) - run.step
        if event is None or event.step > end:
            return end - run.step
        forecast.take(event)
    return forecast.run.step - run.step


class Event(NamedTuple):
    """A transition that is taken unless a loss brings another one.

    Attributes:
        step: the first step that it applies to.
        place: its place among those out of the state.
        decided: the step whose observation decides it; None where it waits already.
    """

    step: int
    place: int
    decided: int | None


class Forecast:
    """A run as it goes on while no loss brings a transition; the run itself is not touched."""

    def __init__(self, machine: Machine, run: RunState) -> None:
        self.machine, self.run = machine, run.copy(run.stay)
        epochs, total = machine.run.epochs, machine.total_steps
        self.last = FAR if total is None else total
        if total is None and epochs is not None:
            self.last = run.step + max(0, epochs - run.epoch)  # the trainer may close one with each step

    @property
    def is_over(self) -> bool:
        """Whether training ends here."""
        return stop_reason(self.machine, self.run) is not None

    def end(self) -> int:
        """The step after the run, if it stays in this state."""
        end = run_ends(self.machine, self.run)
        return FAR if end is None else max(self.run.step, end)

    def event(self) -> Event | None:
        """What clocks have in store for this stay."""
        run, entered = self.run, self.run.step - self.run.time
        if run.waiting is not None:
            return Event(run.waiting.step, run.waiting.place, None)
        due = run.due or first_certain(self.machine, run)
        if due is None:
            return None
        step = entered + due.time
        return Event(step, due.place, step - run.state.transitions[due.place].lead - 1)

    def take(self, event: Event) -> None:
        """Go on to the first step of the next state."""
        machine, run = self.machine, self.run
        self.pass_to(event.step)
        if event.decided is not None and run.due is not None:
            take_due(machine, run, event.decided)
        take_transition(machine, run, event.place, None)

    def pass_to(self, step: int) -> None:
        """Go on to a step, in this state."""
        if step > self.run.step:
            pass_over(self.machine, self.run, step - self.run.step)

    def first_change(self, event: Event | None, end: int) -> int | None:
        """The first step up to `end` on which a loss can have changed the plan, by what it brings in this stay."""
        run, entered = self.run, self.run.step - self.run.time
        transitions, openings = run.state.transitions, Openings(self.machine, run)
        changes = []
        decided = end if event is None else run.step - 1 if event.decided is None else event.decided
        for opening in openings.first(range(len(transitions)), min(decided + 1, end) - entered):
            if event is not None and opening.time + entered == decided + 1 and opening.place >= event.place:
                continue  # the event comes before it, or is it
            changes.append(entered + opening.time + transitions[opening.place].lead)
        if event is not None:
            at_once = [place for place, _ in run.state.at_once if decided < event.step - 1]
            late = openings.first(at_once, min(event.step, end) - entered, decided + 1 - entered)
            changes = [min(change, event.step) for change in (*changes, *(entered + opening.time for opening in late))]
        return min(changes, default=None)


class FastForward:
    """Takes a run over stretches of steps; between two calls, others may take it further.

    Args:
        machine: the bound curriculum.
        run: the state of the run; it is changed in place.
    """

    def __init__(self, machine: Machine, run: RunState) -> None:
        self.machine, self.run, self.per_epoch = machine, run, machine.steps_per_epoch
        self._learn_state()

    def _keep_up(self) -> None:
        if self.run.stay is not self._known_stay:
            self._learn_state()

    def _learn_state(self) -> None:
        """Find out, in a new state, which clocks its guards wait for."""
        run = self.run
        self._known_stay = run.stay
        self._outlasting = {id(detector) for _, detector in run.stay.kept.values()}
        self._asks_epochs = any(transition.at == "epoch" for transition in run.state.transitions)
        self._due = sorted(set(due(run.stay.guards)))
        looked_at = [
            (transition, guard)
            for transition, guard in zip(run.state.transitions, run.stay.guards, strict=True)
            if transition.at == "step"
        ]
        self._plain = (
            all(transition.sustain == 1 for transition, _ in looked_at)
            and not self.machine.lag
            and not self.machine.lead
        )
        self._verdicts = [guard.verdict for _, guard in looked_at]
        self._quiet_until = min((self._first_look(guard) for _, guard in looked_at), default=FAR)

    def _first_look(self, guard: Joined) -> int:
        """The first step whose observation could make a transition's guards true."""
        waits = [0]
        for part in guard.parts:
            if isinstance(part, Reached) and part.hand in ("step", "time"):
                waits.append(part.need - getattr(self.run, part.hand) - 1)
            elif isinstance(part, Reached) and part.hand == "epoch" and self.per_epoch is not None:
                waits.append(part.need * self.per_epoch - self.run.step - 1)
            elif isinstance(part, Watched) and id(part.detector) not in self._outlasting:  # others are filled already
                # It may have seen a value on each step of this stay: a run can be taken up in the middle of one.
                waits.append(part.detector.needs - 1 - self.run.time)
        return self.run.step + max(waits)

    # Steps that brought a loss

    def observe_all(self, losses: Sequence[float]) -> tuple[int, Decision | None]:
        """Observe losses up to a transition.

        Args:
            losses: finite, and none of them closes an epoch or comes with an evaluation.

        Returns:
            How many were observed, and the transition.

        Raises:
            NonFiniteLoss: one of them was not finite after all, and was one too many.
        """
        self._keep_up()
        if not self._plain:
            return self._one_by_one(losses)
        run = self.run
        quiet = min(len(losses), max(0, self._quiet_until - run.step))
        if quiet:
            self.pass_over(quiet)
            run.nonfinite = 0
            for push in run.stay.pushes:
                deque(map(push, losses[:quiet]), maxlen=0)
        if quiet == len(losses):
            return quiet, None
        run.nonfinite, run.requests = 0, ()
        pushes, verdicts = run.stay.pushes, self._verdicts
        for place in range(quiet, len(losses)):
            run.step += 1
            run.time += 1
            for push in pushes:
                push(losses[place])
            for verdict in verdicts:
                if verdict(run) is True:
                    chosen = find_transition(run, AT_STEP, False)
                    if chosen is None:  # it was taken as often as it may be
                        break
                    _turn(self.machine, run, run.step - 1)
                    return place + 1, take_transition(self.machine, run, chosen, losses[place])
        _turn(self.machine, run, run.step)
        return len(losses), None

    def _one_by_one(self, losses: Sequence[float]) -> tuple[int, Decision | None]:
        for place, loss in enumerate(losses):
            decision = take_step(self.machine, self.run, loss)
            if decision is not None:
                return place + 1, decision
        return len(losses), None

    # Steps that did not

    def pass_over(self, steps: int) -> None:
        """Let steps go by that are not looked at."""
        pass_over(self.machine, self.run, steps)

    def next_look(self) -> int:
        """The next step that has to be observed though it brought no loss.

        It is a state's first, an epoch's last if something asks for epochs, or one on which a clock is due. `sustain`
        counts what was logged, and not the steps between.
        """
        self._keep_up()
        run = self.run
        if run.time == 0:
            return run.step
        stops = [float(FAR)]
        if run.waiting is not None:
            stops.append(run.waiting.step - 1)
        elif run.due is not None:
            stops.append(run.step - run.time + run.due.time - run.state.transitions[run.due.place].lead - 1)
        if self.per_epoch is not None and self._asks_epochs:
            stops.append(run.step + self.per_epoch - 1 - run.step % self.per_epoch)
        for hand, need in self._due:  # also where something waits: it may be dropped
            if hand == "epoch":
                stop = inf if self.per_epoch is None else need * self.per_epoch - 1
            else:
                stop = run.step + need - getattr(run, hand) - 1
            if stop >= run.step:
                stops.append(stop)
        return int(min(stops))

    def observe_nothing(self, metrics: Mapping[str, float]) -> Decision | None:
        """Observe a step that brought no loss, perhaps an evaluation; losses that are NaN in a row stay in a row."""
        run, loss = self.run, 0.0
        if run.nonfinite:
            run.nonfinite -= 1
            run.skipped_values -= 1
            loss = nan
        return take_observation(self.machine, run, loss, False, bool(metrics), True, list(metrics.items()))


def due(guards: Sequence[GuardInState]) -> Iterator[tuple[str, int]]:
    """The clocks that a state's guards wait for: hand and number."""
    for guard in guards:
        if isinstance(guard, Reached) and guard.hand in ("step", "time", "epoch"):
            yield guard.hand, guard.need
        elif isinstance(guard, Joined):
            yield from due(guard.parts)
        elif isinstance(guard, Opposite):
            yield from due([guard.part])
