"""Passing over stretches of steps at once, with the decisions that observing them one by one would bring.

It knows the order of one step as `step.take_step` has it, and leaves out what cannot matter: looks at which no guard
could hold, and all that lies between looks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from math import inf, nan

from plateau_rule.controller.guards import GuardInState, Joined, Opposite, Reached, Watched
from plateau_rule.controller.machine import Machine
from plateau_rule.controller.plan import Decision
from plateau_rule.controller.rate import advance
from plateau_rule.controller.state import RunState
from plateau_rule.controller.step import find_transition, raise_floors, take_step, take_transition

FAR = 2**62


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
        self._asks_epochs = any(transition.at == "epoch" for transition in run.state.transitions)
        self._due = sorted(set(_due(run.stay.guards)))
        looked_at = [
            (transition, guard)
            for transition, guard in zip(run.state.transitions, run.stay.guards, strict=True)
            if transition.at == "step"
        ]
        self._plain = all(transition.sustain == 1 for transition, _ in looked_at) and not self.machine.lag
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
            elif isinstance(part, Watched):
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
                    chosen = find_transition(run, False, False, False)
                    if chosen is None:  # it was taken as often as it may be
                        break
                    self._turn(run.step - 1)
                    return place + 1, take_transition(self.machine, run, chosen, losses[place])
        self._turn(run.step)
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
        run = self.run
        if self.per_epoch is not None:
            closed = (run.step + steps) // self.per_epoch - run.step // self.per_epoch
            run.epoch += closed
            run.closings += closed
        run.step += steps
        run.time += steps
        run.requests = ()
        self._turn(run.step)

    def _turn(self, step: int) -> None:
        """Bring the rate's cycles and the ramps' floors to a step, past all that lies before it."""
        run = self.run
        if run.state.ramps:
            raise_floors(run, run.time - run.step + step)
        if run.state.rate.cycles:
            run.rate = advance(run.rate, self.machine, run.state, step)

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
        if self.per_epoch is not None and self._asks_epochs:
            stops.append(run.step + self.per_epoch - 1 - run.step % self.per_epoch)
        for hand, need in self._due:
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
        return take_step(self.machine, run, loss, False, bool(metrics), True, list(metrics.items()))


def _due(guards: Sequence[GuardInState]) -> Iterator[tuple[str, int]]:
    """The clocks that a state's guards wait for: hand and number."""
    for guard in guards:
        if isinstance(guard, Reached) and guard.hand in ("step", "time", "epoch"):
            yield guard.hand, guard.need
        elif isinstance(guard, Joined):
            yield from _due(guard.parts)
        elif isinstance(guard, Opposite):
            yield from _due([guard.part])
