"""The Controller: plan, observe, explain, save and resume, around a bound curriculum and the state of one run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from functools import partial
from typing import Any, SupportsFloat, SupportsIndex

from plateau_rule.controller import adoption, missing, snapshot
from plateau_rule.controller.arguments import kind_of, whole_number
from plateau_rule.controller.binding import Binding, LeadSaid, Limited, TokensSaid, bind
from plateau_rule.controller.errors import ArgumentError, NonFiniteLoss, SnapshotError, StepError
from plateau_rule.controller.evaluation import take_evaluation, take_observation
from plateau_rule.controller.falls import refuse_fall, refuse_falls
from plateau_rule.controller.horizon import certain_steps, plan_ahead
from plateau_rule.controller.language.curriculum import Curriculum
from plateau_rule.controller.language.metrics import LOSS, comes_at
from plateau_rule.controller.machine import Lead, Machine
from plateau_rule.controller.plan import Decision, Plan, plan_of
from plateau_rule.controller.readings import Way
from plateau_rule.controller.state import RunState
from plateau_rule.controller.step import explain, readings, start_run, take_step


class Controller:
    """Interprets a curriculum against a loss stream: `plan`, then `observe`, once for each optimizer step.

    It can be pickled and deep-copied at any time; a copy goes on by itself.

    Args:
        curriculum: what `load` gives.
        binding: what the trainer says of itself and of the run; or its limits alone: its knobs with their largest
            values, None where there is no trainer.
        limits: the keywords are the fields of a Binding, in place of its own.
        metrics: names of what is observed beside the loss.
        epochs: epochs in the run.
        steps_per_epoch: optimizer steps in an epoch.
        tokens_per_step: tokens in an optimizer step: a number, or numbers and knobs, whose product they are.
        peak: the peak learning rate.
        lag: the loss given at step s is that of step s - lag (None for the first `lag` observations).
        lead: steps by which a transition is decided before it applies, for each knob that it may change, or for all.

    Attributes:
        machine: the bound curriculum; it never changes.
        run_state: everything that changes in the run.

    Raises:
        ArgumentError: `curriculum` is no Curriculum.
        BindingError: the curriculum does not fit.
        RegressionError: a transition without `regress` lowers a knob.
    """

    def __init__(
        self,
        curriculum: Curriculum,
        binding: Binding | Limited | None = None,
        *,
        limits: Limited | None = None,
        metrics: Iterable[str] | None = None,
        epochs: SupportsIndex | None = None,
        steps_per_epoch: SupportsIndex | None = None,
        tokens_per_step: TokensSaid | None = None,
        peak: SupportsFloat | None = None,
        lag: SupportsIndex | None = None,
        lead: LeadSaid | None = None,
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
            lead=lead,
        )
        self._cut_short = self._refuse_falls()
        self.run_state: RunState = start_run(self.machine)
        self.run_state.said = frozenset()

    def _refuse_falls(self) -> frozenset[str] | None:
        """The states that are stepped on a copy, since leaving them can lower a knob; None, as of most files."""
        return refuse_falls(self.machine) or None

    def __copy__(self) -> Controller:
        """A shallow copy would share its run with this one."""
        return deepcopy(self)

    # What can be read

    @property
    def plan(self) -> Plan:
        """What to do on the next step; reading it changes nothing."""
        return plan_of(self.machine, self.run_state)

    @property
    def total_steps(self) -> int | None:
        """The bound run's length in optimizer steps, or None where it is unknown, or where the knobs decide it."""
        return self.machine.total_steps

    @property
    def counted(self) -> dict[str, float]:
        """What was counted before the planned step by the clocks that follow the knobs: tokens, cost."""
        counts = self.run_state.rate.counts
        if counts is None:
            return {}
        now = counts.all_at(self.run_state.step)
        return {
            meter.name: count if meter.scale == 1 else count / meter.scale
            for meter, count in zip(self.machine.meters, now, strict=True)
        }

    @property
    def lag(self) -> int:
        """The number of steps by which losses arrive late."""
        return self.machine.lag

    @property
    def lead(self) -> Lead:
        """The number of steps by which a knob's values are settled before they apply, for each knob that has a lead."""
        return self.machine.lead

    def horizon(self, most: int = 10_000) -> int:
        """The number of coming steps whose plan no loss can change any more.

        The plan of the step after them can be another one, unless the run ends there. Beside the losses, evaluations
        and skipped steps are free as well; epochs that you close yourself may end with each step. Two guards that watch
        one metric are taken to be free of each other, and a guard on an evaluation to see that of its own step: there
        it can be less than it might be, never more. Ask after the step's evaluation, if it has one.

        Args:
            most: it is counted no further than this.

        Returns:
            At least 1 as long as training goes on, 0 once `plan.stop` is set.
        """
        return certain_steps(self.machine, self.run_state, most)

    def ahead(self, k: int) -> Plan:
        """The plan of the step `k` steps from now, if no loss brings a transition by then; reading it changes nothing.

        For k below `horizon()` it is certain. For k up to a knob's lead, the value of that knob is certain, unless a
        transition stops the training or asks for a rollback.

        Args:
            k: 0 is the step that is planned now.

        Returns:
            The plan; where the run ends before that step, the plan that says so.

        Raises:
            ArgumentError: `k` is no whole number from 0.
        """
        steps = whole_number(k)
        if steps is None or steps < 0:
            raise ArgumentError(f"ahead: {kind_of(k)}; expected a whole number of steps from 0, such as the lead")
        return plan_ahead(self.machine, self.run_state, steps)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the curriculum's meaning."""
        return self.machine.fingerprint

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

        Args:
            loss: the same, reduced value on every rank.
            epoch_end: this observation closes an epoch (not needed where steps_per_epoch is bound).
            eval_end: it brings an evaluation; not needed where it brings a metric of evaluations.
            step: the step it belongs to, checked if given.
            skipped: the optimizer step of this loss was dropped (by an AMP scaler); clocks advance, a finite loss is
                not shown to the detectors.
            metrics: further values, such as val_loss; names that no guard asks for are ignored. Those that come with
                evaluations make it one: then this is `observe` and, after it, `evaluated`.

        Returns:
            The Decision if a transition was taken.

        Raises:
            StepError: the observation does not belong to the planned step; nothing was changed.
            NonFiniteLoss: the run is dead.
            RegressionError: a ramp is cut short by a transition without `regress`, and its knob would fall; nothing was
                changed.
        """
        run = self.run_state
        if step is not None and step != run.step:
            raise StepError(_out_of_order(step, run.step))
        value = loss if type(loss) is float or loss is None else _number("loss", loss)
        if self._cut_short is not None:
            # A closure made here would cost every step of every file a tenth of its time.
            said = (value, epoch_end, eval_end, skipped, _numbers(metrics))
            return self._unless_a_knob_falls(partial(take_observation, self.machine), said)
        if metrics or eval_end:
            return take_observation(self.machine, run, value, epoch_end, eval_end, skipped, _numbers(metrics))
        return take_step(self.machine, run, value, epoch_end, skipped)

    def evaluated(self, **metrics: SupportsFloat) -> Decision | None:
        """Take an evaluation that came after its step was observed, and before the next one is planned.

        It is a look of its own, at transitions with `at = "eval"`; no clock moves. `observe(loss, val_loss=...)` is
        short for `observe(loss)`, then `evaluated(val_loss=...)`. If the step's own look has taken a transition, none
        is taken here and the values enter no detector: they belong to the state that was left.

        Args:
            metrics: what the evaluation measured, such as val_loss; names that no guard asks for are ignored.

        Returns:
            The Decision if a transition was taken; it applies to the step that is planned now.

        Raises:
            StepError: the step was evaluated already, or a metric does not come with evaluations; nothing was changed.
        """
        for name in metrics:
            if name == LOSS or (name in self.machine.guarded and name not in self.machine.evaluated):
                raise StepError(_not_of_evaluations(name, comes_at(self.machine.curriculum, name)))
        return self._unless_a_knob_falls(partial(take_evaluation, self.machine), (_numbers(metrics),))

    def _unless_a_knob_falls(self, take: Callable[..., Decision | None], said: tuple[Any, ...]) -> Decision | None:
        """Let the run take something in; on a copy first, where a knob can fall by it."""
        run = self.run_state
        if self._cut_short is None or run.state.name not in self._cut_short:
            return take(run, *said)
        twin = run.copy()
        try:
            decision = take(twin, *said)
        except NonFiniteLoss:
            self.run_state = twin
            raise
        if decision is not None:
            refuse_fall(self.machine, decision)
        self.run_state = twin
        return decision

    def explain(self, step: int | None = None) -> list[str]:
        """Why the last observation moved or held: a line for each transition out of this state and each of its guards.

        Args:
            step: instead, what was seen at one of the last 64 looks at which an epoch closed, an evaluation came or a
                transition was taken, by the first step that it applied, or could have applied, to.

        Returns:
            Lines; none where there was no look at `step`.
        """
        if step is not None:
            return [line for seen in self.run_state.looks if seen.step == step for line in seen.lines()]
        return [*explain(self.run_state), *missing.lines(self.machine, self.run_state)]

    def readings(self) -> tuple[Way, ...]:
        """How near each transition out of this state is to being taken: what `explain` says, as numbers.

        Returns:
            One for each transition, in the order of the file; none in a final state.
        """
        return readings(self.run_state)

    # Saving and resuming

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed controller needs, as JSON-able data; put it into the commit that holds the weights."""
        return snapshot.save(self.machine, self.run_state)

    def load_state_dict(self, saved: Mapping[str, Any], on_change: str = "refuse") -> tuple[str, ...]:
        """Continue as the controller that was saved; no guard is evaluated and no action run.

        Args:
            saved: what `state_dict` gave.
            on_change: what to do where the curriculum was edited since: "refuse", or "accept", which goes on in the
                state of the same name.

        Returns:
            Sentences about what differs.

        Raises:
            SnapshotError: it does not fit or is damaged; nothing was changed.
            RegressionError: a knob would fall; nothing was changed.
        """
        said = self.run_state.said
        self.run_state, notes = snapshot.load(self.machine, saved, on_change)
        self.run_state.said = said
        return notes

    def adopt(
        self,
        *,
        epoch: int | None = None,
        step: int | None = None,
        knobs: Mapping[str, Any] | None = None,
        tokens: SupportsFloat | None = None,
        cost: SupportsFloat | None = None,
    ) -> tuple[str, ...]:
        """Continue a run whose checkpoint holds no controller state.

        Args:
            epoch: how many epochs are complete.
            step: how many optimizer steps are complete.
            knobs: the values it was trained with, where they are known; where they are not, the hardest state that
                this curriculum could have reached by then is entered. Never an easier one.
            tokens: how many were trained on; needed where the curriculum counts them by its knobs.
            cost: what was spent; needed where the curriculum counts it.

        Returns:
            A sentence that says which state was entered, and why.

        Raises:
            SnapshotError: the position does not fit the run, or something was observed already.
            RegressionError: no state is as hard as the knobs.
        """
        if self.run_state.step:
            raise SnapshotError("adopt is for a controller that has observed nothing yet")
        said = self.run_state.said
        self.run_state, note = adoption.adopt(self.machine, epoch, step, knobs, {"tokens": tokens, "cost": cost})
        self.run_state.said = said
        return (note,)


class UnguardedController(Controller):
    """A controller that lets knobs fall: what the verifier steps to show that one does, and what tests compare."""

    def _refuse_falls(self) -> None:
        """None of the states is stepped with care."""


def _numbers(metrics: Mapping[str, SupportsFloat]) -> list[tuple[str, float]]:
    return [(name, _number(name, given)) for name, given in metrics.items()]


def _number(name: str, given: SupportsFloat) -> float:
    try:
        if isinstance(given, str | bytes):
            raise TypeError
        return float(given)
    except (TypeError, ValueError, OverflowError, RuntimeError):  # RuntimeError: a tensor of several elements
        raise StepError(f"{name} is {kind_of(given)}; expected a number") from None


def _not_of_evaluations(name: str, at: str) -> str:
    if name == LOSS:
        return "loss: the training loss comes with observe; give that of an evaluation another name, such as val_loss"
    return (
        f'{name}: [metric.{name}] says at = "{at}", so it comes with observe. Write at = "eval" if it comes with '
        "evaluations"
    )


def _out_of_order(given: object, planned: int) -> str:
    number = whole_number(given)
    if number is None:
        return f"step is {kind_of(given)}; expected a whole number, that of plan.step"
    given = number
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
