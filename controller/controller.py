"""The Controller: plan, observe, explain. The order of one step is in one function, `observe`."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from math import inf, isfinite
from types import MappingProxyType
from typing import Any, NamedTuple, SupportsFloat, SupportsIndex

from plateau_rule.controller import adoption, clockwork, snapshot
from plateau_rule.controller.binding import Binding, bind
from plateau_rule.controller.errors import NonFiniteLoss, StepError
from plateau_rule.controller.guards import Clock, answers_nonfinite
from plateau_rule.controller.language.consistency import hardness
from plateau_rule.controller.language.curriculum import Curriculum
from plateau_rule.controller.machine import Action, BoundState, Knobs, Machine

OWN_ACTIONS = ("lr_restart", "lr_scale")
LOOKS_REMEMBERED = 64


class Plan(NamedTuple):
    """What to do on the next optimizer step; a pure read."""

    step: int
    """The step about to be taken, from 0."""
    epoch: int
    """The epoch it belongs to, from 0."""
    state: str
    """The state's name."""
    knobs: Knobs
    """The value of every knob on this step."""
    lr: float
    """The learning rate of this step."""
    requests: tuple[Action, ...]
    """What the trainer is asked to do before this step; handed over with this plan only."""
    stop: str | None
    """Why training should end here, or None."""


class Decision(NamedTuple):
    """A transition that was taken, and why."""

    step: int
    """The first step that the new state applies to."""
    epoch: int
    from_state: str
    to_state: str
    transition: str
    knobs_before: Knobs
    knobs: Knobs
    lr_before: float
    lr: float
    loss: float | None
    """The loss whose observation brought it."""
    guards: tuple[str, ...]
    """Every guard that was looked at, one line each."""

    @property
    def raises(self) -> tuple[str, ...]:
        """The knobs that it raised."""
        return tuple(name for name, value in self.knobs.items() if hardness(value) > hardness(self.knobs_before[name]))


class Controller:
    """Interprets a curriculum against a loss stream: `plan`, then `observe`, once for each optimizer step.

    curriculum: what `load` gives. binding: what the trainer says of itself and of the run, or its limits alone: its
    knobs with their largest values, None where there is no trainer. Further keywords: fields of a Binding, in place of
    its own. Under a lag, the loss given at step s is that of step s - lag (None for the first `lag` observations).
    Raises BindingError where the curriculum does not fit, ArgumentError where it is none.
    """

    def __init__(
        self,
        curriculum: Curriculum,
        binding: Binding | Mapping[str, SupportsFloat] | None = None,
        *,
        limits: Mapping[str, SupportsFloat] | None = None,
        metrics: Iterable[str] | None = None,
        epochs: SupportsIndex | None = None,
        steps_per_epoch: SupportsIndex | None = None,
        tokens_per_step: SupportsIndex | None = None,
        peak: SupportsFloat | None = None,
        lag: SupportsIndex | None = None,
    ) -> None:
        self.machine: Machine = bind(
            curriculum,
            binding,
            limits=limits,
            metrics=metrics,
            epochs=epochs,
            steps_per_epoch=steps_per_epoch,
            tokens_per_step=tokens_per_step,
            peak=peak,
            lag=lag,
        )
        self.lag = self.machine.lag
        self._total = self.machine.run.total_steps
        self.clock = Clock()
        self.skipped_values = 0
        self.taken: dict[str, int] = {}
        self.floors: dict[str, float] = {}
        self._requests: tuple[Action, ...] = ()
        self._plan: Plan | None = None
        self._looks: deque[tuple[int, tuple[str, ...]]] = deque(maxlen=LOOKS_REMEMBERED)
        self._limit = curriculum.nonfinite.limit
        self._enter(self.machine.states[0], self.total_steps)
        self._rate = clockwork.start(self.machine, self._state, self.total_steps)
        self._rate = clockwork.advanced(self._rate, self.machine, self._state, 0, self.total_steps)

    # What can be read

    @property
    def plan(self) -> Plan:
        """What to do on the next step; reading it changes nothing."""
        if self._plan is None:
            step, state = self.clock.step, self._state
            lr = clockwork.rate(self._rate, self.machine, state, step)
            knobs = self._knobs_at(self.clock.time) if state.ramps else state.knobs
            # _make takes half the time of a call with the fields.
            self._plan = Plan._make((step, self.clock.epoch, state.name, knobs, lr, self._requests, self._stop()))
        return self._plan

    @property
    def total_steps(self) -> int | None:
        """The bound run's length in optimizer steps, or None where it is unknown."""
        return self._total

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the curriculum's meaning."""
        return self.machine.fingerprint

    def _stop(self) -> str | None:
        if self._state.stop is not None:
            return self._state.stop
        run, total = self.machine.run, self._total
        if total is not None:
            return f"the run of {total} steps is over" if self.clock.step >= total else None
        if run.epochs is not None and self.clock.epoch >= run.epochs:
            return f"the run of {run.epochs} epochs is over"
        return None

    # One step

    def observe(
        self,
        loss: SupportsFloat | None,
        epoch_end: bool = False,
        eval_end: bool = False,
        *,
        step: int | None = None,
        skipped: bool = False,
        **metrics: SupportsFloat,
    ) -> Decision | None:
        """Take what the step that was planned has brought; call it exactly once for each optimizer step.

        loss: the same, reduced value on every rank. epoch_end: this observation closes an epoch (not needed where
        steps_per_epoch is bound). eval_end: it brings an evaluation. step: the step it belongs to, checked if given.
        skipped: the optimizer step of this loss was dropped (by an AMP scaler); clocks advance, a finite loss is
        not shown to the detectors. metrics: further values, such as val_loss.
        Returns the Decision if a transition was taken. Raises StepError where the observation does not belong to the
        planned step, NonFiniteLoss where the run is dead.
        """
        clock = self.clock
        if step is not None and step != clock.step:
            raise StepError(_out_of_order(step, clock.step))
        value = loss if type(loss) is float else self._loss(loss)
        others = [(name, _number(name, given)) for name, given in metrics.items()] if metrics else ()
        closes = self._closes(epoch_end)
        # 1. Clocks advance.
        clock.step += 1
        clock.time += 1
        if closes:
            clock.epoch += 1
            clock.closings += 1
        self._plan, self._requests = None, ()
        # 2. Non-finite values are counted and go no further; 3. finite ones enter this state's detectors. A late loss
        #    belongs to the state before until as many observations were made as it is late.
        if value is not None and clock.time > self.lag:
            if not isfinite(value):
                clock.nonfinite += 1
                self.skipped_values += 1
            else:
                clock.nonfinite = 0
                if not skipped:
                    for push in self._pushes:
                        push(value)
        if others:
            self._push_metrics(others)
        # 4. Transitions that are looked at here, in file order; the first whose guards hold, often enough, is taken.
        dead = clock.nonfinite >= self._limit
        chosen = self._look(closes, eval_end, dead) if self._every_step or closes or eval_end or dead else None
        if chosen is None:
            if (closes or eval_end) and self._seldom:
                self._remember()
            # 6. The next plan is made.
            if self._state.rate.cycles:
                self._rate = clockwork.advanced(self._rate, self.machine, self._state, clock.step, self.total_steps)
            if self._state.ramps:
                self._raise_floors(clock.time)
            if dead:
                raise NonFiniteLoss(
                    f"step {clock.step - 1}: {clock.nonfinite} NaN or infinite losses in a row in state "
                    f'"{self._state.name}", and no transition answers them. Resume from the last checkpoint with a '
                    f"lower peak rate, or clip gradients; [nonfinite] limit = {self._limit} is where a run is given up"
                )
            return None
        return self._take(chosen, value)

    def _loss(self, loss: SupportsFloat | None) -> float | None:
        if loss is None:
            if self.clock.time < self.lag:  # it would belong to the state before, or to no step at all
                return None
            raise StepError(
                f"step {self.clock.step}: no loss; only the first `lag` observations in a state may come without one "
                f"(lag is {self.lag})"
            )
        return _number("loss", loss)

    def _closes(self, epoch_end: bool) -> bool:
        per_epoch = self.machine.run.steps_per_epoch
        if per_epoch is None:
            return epoch_end
        closes = (self.clock.step + 1) % per_epoch == 0
        if epoch_end and not closes:
            raise StepError(
                f"step {self.clock.step}: epoch_end in the middle of an epoch of {per_epoch} steps. Bind the number of "
                f"optimizer steps that an epoch really has, or leave epoch_end to the controller"
            )
        return closes

    def _push_metrics(self, metrics: Sequence[tuple[str, float]]) -> None:
        for name, value in metrics:
            if not isfinite(value):
                self.skipped_values += 1
                continue
            for metric, detector in self._stay.detectors.values():
                if metric == name:
                    detector.push(value)

    def _look(self, closes: bool, eval_end: bool, dead: bool) -> int | None:
        """The place, among this state's transitions, of the one to take."""
        for place, transition in enumerate(self._state.transitions):
            at = transition.at
            if (at == "epoch" and not closes) or (at == "eval" and not eval_end):
                continue
            if transition.at_most is not None and self.taken.get(transition.key, 0) >= transition.at_most:
                continue
            guard = self._stay.guards[place]
            if dead and not answers_nonfinite(guard):
                continue
            if guard.verdict(self.clock) is not True:
                self._sustained[place] = 0
                continue
            self._sustained[place] += 1
            if self._sustained[place] >= transition.sustain:
                return place
        return None

    def _take(self, place: int, loss: float | None) -> Decision:
        """5. The actions, left to right; then the new state is entered. 6. The next plan is made."""
        transition, old, step = self._state.transitions[place], self._state, self.clock.step
        lines = tuple(self._lines_of(place))
        self._remember()
        knobs_before = self._knobs_at(self.clock.time - 1)
        lr_before = clockwork.rate(self._rate, self.machine, old, step - 1)
        new = self.machine.by_name[transition.target]
        total = self.total_steps
        rate = clockwork.after(self._rate, self.machine, transition, step, total)
        requests = [action for action in transition.actions if action.name not in ("lr_restart", "lr_scale")]
        self.taken[transition.key] = self.taken.get(transition.key, 0) + 1
        if transition.regress:
            self.floors.clear()
        self._enter(new, total)
        self._rate = rate
        self._requests = tuple(requests)
        plan = self.plan
        return Decision(
            plan.step,
            plan.epoch,
            old.name,
            new.name,
            transition.title,
            knobs_before,
            plan.knobs,
            lr_before,
            plan.lr,
            loss,
            lines,
        )

    def _knobs_at(self, time: int) -> Knobs:
        """The knobs after so many steps in the present state."""
        ramped = {name: ramp.value(time, self._stay.ramp_steps[name]) for name, ramp in self._state.ramps.items()}
        return MappingProxyType({**self._state.knobs, **ramped}) if ramped else self._state.knobs

    def _enter(self, state: BoundState, total_steps: int | None) -> None:
        """Enter a state: time 0, detectors and sustains empty, amounts measured on the run as it is bound now."""
        self._state = state
        self._entered_total = total_steps
        self._stay = self.machine.stay(state, total_steps)
        self._sustained = [0] * len(state.transitions)
        self._pushes = [detector.push for metric, detector in self._stay.detectors.values() if metric == "loss"]
        self._every_step = any(t.at == "step" for t in state.transitions)
        self._seldom = any(t.at != "step" for t in state.transitions)
        self.clock.time = self.clock.closings = self.clock.nonfinite = 0
        self._plan = None
        self._raise_floors(0)

    def _raise_floors(self, time: int) -> None:
        for name, value in self._knobs_at(time).items():
            self.floors[name] = max(self.floors.get(name, -inf), hardness(value))

    # Why

    def _remember(self) -> None:
        self._looks.append((self.clock.step, tuple(self.explain())))

    def explain(self, step: int | None = None) -> list[str]:
        """Why the last observation moved or held: a line for each transition out of this state and each of its guards.

        step: instead, what was seen at one of the last 64 looks at which an epoch closed, an evaluation came or a
        transition was taken, by the first step that it applied, or could have applied, to; empty if it was none.
        """
        if step is not None:
            return [line for at, lines in self._looks if at == step for line in lines]
        if not self._state.transitions:
            return [f'step {self.clock.step}: "{self._state.name}" is a final state']
        return [line for place in range(len(self._state.transitions)) for line in self._lines_of(place)]

    def _lines_of(self, place: int) -> list[str]:
        transition = self._state.transitions[place]
        when = {"step": "at every step", "epoch": "when an epoch closes", "eval": "at an evaluation"}[transition.at]
        often = f", {self._sustained[place]} of {transition.sustain} looks in a row" if transition.sustain > 1 else ""
        left = ""
        if transition.at_most is not None:
            left = f", taken {self.taken.get(transition.key, 0)} of {transition.at_most} times"
        head = f"{transition.title}: {transition.source} -> {transition.target}, asked {when}{often}{left}"
        parts = self._stay.guards[place].parts
        return [head, *(line for part in parts for line in part.lines(self.clock, "  "))]

    # Saving and resuming

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed controller needs, as JSON-able data; put it into the commit that holds the weights."""
        return snapshot.save(self)

    def load_state_dict(self, saved: Mapping[str, Any], on_change: str = "refuse") -> tuple[str, ...]:
        """Continue as the controller that was saved; no guard is evaluated and no action run.

        saved: what `state_dict` gave. on_change: what to do where the curriculum was edited since: "refuse", or
        "accept", which goes on in the state of the same name.
        Returns sentences about what differs. Raises SnapshotError where it does not fit or is damaged,
        RegressionError where a knob would fall.
        """
        return snapshot.load(self, saved, on_change)

    def adopt(
        self, *, epoch: int | None = None, step: int | None = None, knobs: Mapping[str, float | str] | None = None
    ) -> tuple[str, ...]:
        """Continue a run whose checkpoint holds no controller state.

        epoch, step: how many are complete. knobs: the values it was trained with, where they are known; where they are
        not, the hardest state that this curriculum could have reached by then is entered. Never an easier one.
        """
        return adoption.adopt(self, epoch, step, knobs)


def _number(name: str, given: SupportsFloat) -> float:
    try:
        if isinstance(given, str | bytes):
            raise TypeError
        return float(given)
    except (TypeError, ValueError, OverflowError, RuntimeError):  # RuntimeError: a tensor of several elements
        raise StepError(f"{name} is {given!r} of type {type(given).__name__}; expected a number") from None


def _out_of_order(given: int, planned: int) -> str:
    if given == planned - 1:
        return (
            f"step {given} was observed a second time; the next one is step {planned}. "
            "Call observe once for each optimizer step"
        )
    if given < planned:
        return (
            f"step {given} was observed already; the next one is step {planned}. "
            "A resumed trainer must go on at plan.step"
        )
    return f"step {given} came while step {planned} was planned: {given - planned} step(s) were not observed"
