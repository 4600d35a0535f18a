"""Stretches of steps at once, with the very decisions that observing them one by one would bring.

It knows the order of one step as `Controller.observe` has it, and leaves out what cannot matter: looks at which no
guard could hold, and all that lies between looks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from math import inf, nan
from typing import Any

from plateau_rule.controller import clockwork
from plateau_rule.controller.controller import Controller, Decision
from plateau_rule.controller.guards import GuardInState, Joined, Opposite, Reached, Watched
from plateau_rule.controller.machine import BoundTransition

FAR = 2**62


class Stretch:
    """How a controller is taken over stretches of steps.

    controller: nobody else may let it observe a transition without calling `entered`.
    """

    def __init__(self, controller: Controller) -> None:
        self.controller, self.clock = controller, controller.clock
        self.per_epoch = controller.machine.run.steps_per_epoch
        self.entered()

    def entered(self) -> None:
        """Find out, on entering a state, which clocks its guards wait for."""
        controller = self.controller
        guards = controller._stay.guards
        self.ways: list[tuple[BoundTransition, Joined]] = list(zip(controller._state.transitions, guards, strict=True))
        """The transitions out of the present state, each with its guards."""
        self._asks_epochs = any(transition.at == "epoch" for transition, _ in self.ways)
        self._due = sorted(set(_due(guards)))
        looked_at = [(transition, guard) for transition, guard in self.ways if transition.at == "step"]
        self._plain = all(transition.sustain == 1 for transition, _ in looked_at) and not controller.lag
        self._verdicts = [guard.verdict for _, guard in looked_at]
        self._quiet_until = min((self._first_look(guard) for _, guard in looked_at), default=FAR)

    def _first_look(self, guard: Joined) -> int:
        """The first step whose observation could make a transition's guards true."""
        waits = [0]
        for part in guard.parts:
            if isinstance(part, Reached) and part.hand in ("step", "time"):
                waits.append(part.need - getattr(self.clock, part.hand) - 1)
            elif isinstance(part, Reached) and part.hand == "epoch" and self.per_epoch is not None:
                waits.append(part.need * self.per_epoch - self.clock.step - 1)
            elif isinstance(part, Watched):
                waits.append(part.detector.needs - 1)
        return self.clock.step + max(waits)

    # Steps that brought a loss

    def observe_all(self, losses: Sequence[float]) -> tuple[int, Decision | None]:
        """Observe losses up to a transition; how many were observed, and the transition.

        losses: finite, and none of them closes an epoch or comes with an evaluation.
        Raises NonFiniteLoss where one of them was not finite after all, and was one too many.
        """
        if not self._plain:
            return self._one_by_one(losses)
        controller, clock = self.controller, self.clock
        quiet = min(len(losses), max(0, self._quiet_until - clock.step))
        if quiet:
            self.pass_over(quiet)
            clock.nonfinite = 0
            for push in controller._pushes:
                deque(map(push, losses[:quiet]), maxlen=0)
        place = self._looking(losses, quiet)
        if place is None:
            return len(losses), None
        return place + 1, self.controller._take(self._chosen, losses[place])

    def _looking(self, losses: Sequence[float], start: int) -> int | None:
        """Observe losses[start:], looking at each; the place of the one that brought a transition, `_chosen`."""
        if start == len(losses):
            return None
        controller, clock, verdicts = self.controller, self.clock, self._verdicts
        pushes = controller._pushes
        clock.nonfinite, controller._plan, controller._requests = 0, None, ()
        for place in range(start, len(losses)):
            clock.step += 1
            clock.time += 1
            for push in pushes:
                push(losses[place])
            for verdict in verdicts:
                if verdict(clock) is True:
                    chosen = controller._look(False, False, False)
                    if chosen is not None:
                        self._turn(clock.step - 1)
                        self._chosen: int = chosen
                        return place
                    break
        self._turn(clock.step)
        return None

    def _one_by_one(self, losses: Sequence[float]) -> tuple[int, Decision | None]:
        observe = self.controller.observe
        for place, loss in enumerate(losses):
            decision = observe(loss)
            if decision is not None:
                return place + 1, decision
        return len(losses), None

    # Steps that did not

    def pass_over(self, steps: int) -> None:
        """Let so many steps go by, of which none is looked at."""
        controller, clock = self.controller, self.clock
        if self.per_epoch is not None:
            closed = (clock.step + steps) // self.per_epoch - clock.step // self.per_epoch
            clock.epoch += closed
            clock.closings += closed
        clock.step += steps
        clock.time += steps
        controller._plan, controller._requests = None, ()
        self._turn(clock.step)

    def _turn(self, step: int) -> None:
        """The rate's cycles and the ramps' floors as they are on a step, after all that were passed."""
        controller = self.controller
        if controller._state.ramps:
            controller._raise_floors(self.clock.time - self.clock.step + step)
        if controller._state.rate.cycles:
            controller._rate = clockwork.advanced(
                controller._rate, controller.machine, controller._state, step, controller.total_steps
            )

    def next_look(self) -> int:
        """The next step that has to be observed though it brought no loss.

        It is a state's first, an epoch's last if something asks for epochs, or one on which a clock is due. `sustain`
        counts what was logged, and not the steps between.
        """
        clock = self.clock
        if clock.time == 0:
            return clock.step
        stops = [float(FAR)]
        if self.per_epoch is not None and self._asks_epochs:
            stops.append(clock.step + self.per_epoch - 1 - clock.step % self.per_epoch)
        for hand, need in self._due:
            if hand == "epoch":
                stop = inf if self.per_epoch is None else need * self.per_epoch - 1
            else:
                stop = clock.step + need - getattr(clock, hand) - 1
            if stop >= clock.step:
                stops.append(stop)
        return int(min(stops))

    def observe_nothing(self, metrics: Mapping[str, Any]) -> Decision | None:
        """Observe a step that brought no loss, perhaps an evaluation; losses that are NaN in a row stay in a row."""
        controller, clock = self.controller, self.clock
        value = 0.0
        if clock.nonfinite:
            clock.nonfinite -= 1
            controller.skipped_values -= 1
            value = nan
        return controller.observe(value, eval_end=bool(metrics), skipped=True, **metrics)


def _due(guards: Sequence[GuardInState]) -> Iterator[tuple[str, int]]:
    """The clocks that a state's guards wait for: hand and number."""
    for guard in guards:
        if isinstance(guard, Reached) and guard.hand in ("step", "time", "epoch"):
            yield guard.hand, guard.need
        elif isinstance(guard, Joined):
            yield from _due(guard.parts)
        elif isinstance(guard, Opposite):
            yield from _due([guard.part])
