"""What every adapter does, whatever the trainer: `Rule`. No framework is imported here.

An adapter calls the methods of a Rule from its trainer's hooks, in this order:

    rule.begin(...)                      # once, where the trainer knows how long it will train
    for each optimizer step:
        rule.rates(groups)               # as often as a hook offers, the last time just before the optimizer steps
        for each micro-batch:
            batch = rule.shape(batch)    # in the main process, just before the model gets it
            rule.micro(loss)
        rule.metrics({...})              # what else the step brought, if guards ask for it; as often as it comes
        result = rule.close(step)        # once the optimizer has stepped, or its step was dropped
        rule.evaluated(metrics, step)    # where the trainer evaluates after this step
    rule.end()
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from math import nan
from os import PathLike
from typing import Any, Literal

from plateau_rule.adapters.beginning import (
    controller_for,
    out_of_order,
    refuse_other_step,
    refuse_unknown_knobs,
)
from plateau_rule.adapters.errors import WiringError
from plateau_rule.adapters.ranks import OneRank, Ranks, refuse_other_plans
from plateau_rule.adapters.rates import GroupRates, Groups, ratios_of
from plateau_rule.adapters.record import RunRecord
from plateau_rule.adapters.rows import Choose
from plateau_rule.adapters.saved import SavedRule, read_saved
from plateau_rule.adapters.stamp import Stamping
from plateau_rule.adapters.steps import StepResult, StepShare, asked_beside_loss
from plateau_rule.adapters.telling import numbers_of, plain_metrics, plain_name
from plateau_rule.adapters.watch import KnobsRead, Watch
from plateau_rule.controller import missing
from plateau_rule.controller.binding import Binding
from plateau_rule.controller.controller import Controller
from plateau_rule.controller.language.curriculum import Curriculum
from plateau_rule.controller.language.reading import load
from plateau_rule.controller.lead import steps_shown
from plateau_rule.controller.plan import Decision, Plan
from plateau_rule.controller.soundness import answers_of, require_sound

Shape = Callable[[Any, Any], Any]
"""(batch, the knob's value) -> the batch with that knob applied."""

__all__ = ["Groups", "Rule", "Shape", "StepResult"]

RANKS_COMPARED_EVERY = 1000  # steps


class Rule:
    """A curriculum at work in a trainer: the shared part of every adapter.

    Args:
        curriculum: a shipped name or a file, what `load` gives, or a Controller that is bound already.
        binding: what the trainer says of itself: limits of knobs, metrics, peak. `begin` adds the run's length where
            it is not said here. A Controller has a binding of its own.
        shape: for knobs that change a batch's form: the function that applies each, by the knob's name. It is called
            in the main process on the batch that is about to be trained on, so it is never late.
        rows: for knobs that choose the rows of a batch: the function that chooses by each, such as `count_rows`.
        applied: knobs that the user's own code turns, which this object cannot see.
        out: a run folder to write, like that of `plateau train`; none by default.
        track: trackers that get series and decisions, such as "tensorboard:runs/tensorboard"; one or several.
        combine: what a step's loss is of its micro-batches' losses: their weighted "mean", or their "sum", where each
            is a share of the step's already.
        ranks: the processes that train together; this one alone by default.
        on_change: where the curriculum was edited since a checkpoint was made: "refuse", or "accept", which goes on in
            the state of the same name.
        checked: whether `begin` asks what `plateau check` asks, and refuses a curriculum that is broken.
        framework: its name, for the saved state and for messages.

    Attributes:
        given: the curriculum, read; or the Controller that was given.
        accumulation: micro-batches in an optimizer step.
        record: the run folder, where one is written.
        stamping: the knobs that reach batches as they are drawn, and what was seen of their stamps.
    """

    def __init__(
        self,
        curriculum: Curriculum | Controller | str | PathLike[str],
        *,
        binding: Binding | None = None,
        shape: Mapping[str, Shape] | None = None,
        rows: Mapping[str, Choose] | None = None,
        applied: Iterable[str] = (),
        out: str | PathLike[str] | None = None,
        track: str | Iterable[str] = (),
        combine: Literal["mean", "sum"] = "mean",
        ranks: Ranks | None = None,
        on_change: Literal["refuse", "accept"] = "refuse",
        checked: bool = True,
        framework: str = "the trainer",
    ) -> None:
        self.given = curriculum if isinstance(curriculum, Curriculum | Controller) else load(curriculum)
        self._binding = binding or Binding()
        self._shape = dict(shape or {})
        self.record = RunRecord(out, track)
        self._combine, self._on_change, self._framework = combine, on_change, framework
        self._checked = checked
        self._ranks: Ranks = ranks or OneRank()
        self.accumulation = 1
        self._controller: Controller | None = None
        self._saved: SavedRule | None = None
        self._share = StepShare()
        self._watch = Watch(framework, applied)
        self._rates = GroupRates(self._watch)
        self._last: StepResult | None = None
        self._trains = False
        self._held: dict[str, float] = {}  # what an evaluation brought that the coming step's state asked for
        self._asked: dict[str, str] = {}  # metrics that come with the loss, and at what
        self.stamping = Stamping(self._watch, rows or {})

    # What can be read

    @property
    def begun(self) -> bool:
        """Whether training has begun and is not over."""
        return self._controller is not None

    @property
    def controller(self) -> Controller:
        """The Controller of the run under way.

        Raises:
            WiringError: no run is.
        """
        if self._controller is None:
            raise WiringError(
                f"{self._framework}: the curriculum has no plan before training begins. Read it while training: in "
                "the loop, or in a hook that comes after the start"
            )
        return self._controller

    @property
    def plan(self) -> Plan:
        """What to do on the step under way; reading it changes nothing."""
        return self.controller.plan

    @property
    def asks_for_metrics(self) -> bool:
        """Whether guards ask for metrics that come with the loss."""
        return bool(self._asked)

    @property
    def knobs(self) -> Mapping[str, Any]:
        """The knobs of the step under way; what is read here counts as applied."""
        return KnobsRead(self.plan.knobs, self._watch.applied)

    @property
    def stop(self) -> str | None:
        """Why training should end here, or None."""
        return self.plan.stop

    @property
    def open_micros(self) -> int:
        """How many micro-batches of the step under way were taken already."""
        return self._share.count

    def shown(self) -> dict[str, float]:
        """Numbers for a logger, of the step that was closed last: largest rate, number of the state, numeric knobs."""
        return numbers_of(self.controller.machine, self.plan if self._last is None else self._last.plan)

    # A run

    def begin(
        self,
        trainer_step: int,
        groups: Groups,
        *,
        saved: Mapping[str, Any] | None = None,
        total_steps: int | None = None,
        steps_per_epoch: int | None = None,
        accumulation: int = 1,
    ) -> tuple[str, ...]:
        """Bind the curriculum to the run that the trainer begins or goes on with, and set its first rates.

        Args:
            trainer_step: optimizer steps that the trainer has taken already.
            groups: the parameter groups whose rates the curriculum sets.
            saved: what `state` gave, out of the checkpoint that is gone on from; or give it to `load` before.
            total_steps: optimizer steps in the run, None where the trainer does not know.
            steps_per_epoch: optimizer steps in an epoch; None where the trainer does not know. `close` is then told of
                each epoch's end. Where knobs choose rows, it is the loader that ends an epoch.
            accumulation: micro-batches in an optimizer step.

        Returns:
            Sentences to show to the user.

        Raises:
            WiringError: the trainer resumes without this curriculum's state, or with that of another step.
            BindingError: the curriculum does not fit the run.
            UnsoundError: it is broken, and `checked` holds.
            SnapshotError: the state is damaged, or of another curriculum.
        """
        state = self._saved if saved is None else read_saved(saved)
        rows = self.stamping.rows
        refuse_unknown_knobs(self._framework, self.given, shape=self._shape, rows=rows)
        saved_by = None if state is None else state.controller
        lead = None if self._binding.lead is not None else self.stamping.lead(accumulation, saved_by)
        controller, notes = controller_for(self.given, self._binding, total_steps, steps_per_epoch, lead, bool(rows))
        if lead and state is None and isinstance(self.given, Curriculum):
            notes.append(f"the loader draws batches ahead, so what changes them is decided {steps_shown(lead)} before")
        answers = answers_of(require_sound(controller.machine)) if self._checked else None
        self._controller = controller
        if state is not None:
            notes += controller.load_state_dict(state.controller, self._on_change)
            if state.accumulation != accumulation:
                notes.append(f"accumulation was {state.accumulation} micro-batches a step, and is {accumulation}")
        self._saved = None
        refuse_other_step(self._framework, self.plan.step, trainer_step, state is not None)
        self._rates.begin(ratios_of(self._framework, groups, state))
        self.accumulation = accumulation
        self._share = StepShare() if state is None else state.share
        self._held = {} if state is None else state.held
        self._asked = asked_beside_loss(controller.machine)
        self.stamping.begin(controller, accumulation, None if state is None else state.place)
        self._last, self._trains = None, True
        if self._ranks.rank == 0:
            late = 0 if state is None else min(trainer_step, controller.lag)
            self.record.begin(controller, trainer_step, self._framework, answers, late)
        self.rates(groups)
        return tuple(notes)

    def end(self) -> None:
        """Training is over: folder and trackers are closed, and evaluations that still come are no part of the run."""
        self._trains = False
        self.record.end()

    # One step

    def rates(self, groups: Groups) -> None:
        """Set every group's rate for the step under way: its ratio times the plan's.

        It may be called at any time and as often as one likes; the call just before the optimizer steps is the one
        that counts. If something else keeps setting the rates too, that is said once.

        Args:
            groups: the parameter groups that `begin` was given.
        """
        self._rates.set(groups, self.plan)

    def shape(self, batch: Any) -> Any:
        """Apply the knobs of the step under way that change a batch's form; call it on every micro-batch, once.

        Returns:
            The batch, without its stamp, in a new form where `shape` functions were given.
        """
        return self.form(self.stamping.unstamped(batch, self.plan))

    def form(self, batch: Any, knobs: Mapping[str, Any] | None = None) -> Any:
        """The batch in the form that the step's knobs ask for, or others that are given: the second half of `shape`."""
        knobs = self.knobs if knobs is None else knobs
        for name, function in self._shape.items():
            batch = function(batch, knobs[name])
        return batch

    def micro(self, loss: Any, weight: float = 1.0) -> None:
        """Take one micro-batch's part of the step's loss; it stays on its device until `close`.

        Args:
            loss: a number, or a tensor of one element.
            weight: how much it counts in the mean, such as its number of tokens.
        """
        self._share.add(self._framework, loss, weight)

    def metrics(self, values: Mapping[str, object]) -> None:
        """Take what the step under way has brought beside its loss, such as an accuracy or the norm of its gradient.

        The mean of its values in the step, over micro-batches and ranks, is observed with the loss; in the epoch, for a
        metric that comes at epochs. What no guard asks for, and what comes with evaluations, is passed over.

        Args:
            values: numbers, or tensors of one element, by name.
        """
        if self._asked:
            named = {plain_name(name): value for name, value in values.items()}
            asked = {name: value for name, value in named.items() if name in self._asked}
            self._share.add_metrics(self._framework, asked)

    def close(self, trainer_step: int | None = None, *, skipped: bool = False, epoch_end: bool = False) -> StepResult:
        """End the optimizer step: its loss, the same on every rank, is observed, and the next plan is made.

        Args:
            trainer_step: the number of the step, from 0, by the trainer's own count; checked where it is given.
            skipped: the optimizer's step was dropped, by a gradient scaler.
            epoch_end: it is the last of an epoch; only where `begin` knew no steps_per_epoch, and no knob chooses rows.

        Raises:
            WiringError: this step was closed already, the trainer is at another one, or no loss was given.
            NonFiniteLoss: the run is dead.
        """
        plan, share = self.plan, self._share
        if trainer_step is not None and trainer_step != plan.step:
            raise WiringError(f"{self._framework}: {out_of_order(trainer_step, plan.step)}")
        late = not share.count and plan.step < self.controller.lag  # the first losses are still to come
        if not share.count and not late:
            raise WiringError(
                f"{self._framework}: step {plan.step} is to be closed, and no loss was given for it. Give every "
                "micro-batch's loss first, and close each optimizer step once"
            )
        total, weight = self._ranks.add(share.total, share.weight if self._combine == "mean" else 1.0)
        loss = total / weight if weight else nan
        per_epoch = self.controller.machine.steps_per_epoch
        if self.stamping.rows:
            epoch_end = self.stamping.take_epoch_end() and per_epoch is None
        closes = epoch_end if per_epoch is None else (plan.step + 1) % per_epoch == 0
        metrics, self._share = share.settled(self._asked, closes, self._ranks)
        told = None if late else loss
        self.record.step(plan, told, skipped, metrics)
        decision = self.controller.observe(told, epoch_end, step=plan.step, skipped=skipped, **metrics)
        self.record.looked(decision)
        if self._held:
            decision = self._evaluate(plan.step, plan.epoch, self._held) or decision
            self._held = {}
        else:
            missing.after_step(self.controller.machine, self.controller.run_state)
        self._last = self._result(plan, loss, decision)
        self._watch.look_for_unapplied(self.controller.machine)
        if plan.step % RANKS_COMPARED_EVERY == 0:
            refuse_other_plans(self._framework, self._ranks, self.plan)
        return self._last

    def evaluated(self, metrics: Mapping[str, object], trainer_step: int) -> StepResult | None:
        """Take what an evaluation brought, if it belongs to the run: the controller looks at it at once.

        A sanity check before the first step, an evaluation at the start, and one after training do not; they are
        dropped. So is all but the first of one step, also after a resume: where several data sets are evaluated, give
        them together.

        Args:
            metrics: values by name; what is no number is left out, and what no guard asks for does no harm. A metric
                that comes at each step or epoch, by the curriculum, is left out as well; if a guard asks for it, that
                is said once.
            trainer_step: the number of the step after which it came, from 0.

        Returns:
            What it brought, or None where it was dropped. The request to evaluate is answered already.
        """
        if not self._trains or trainer_step < 0 or trainer_step != self.plan.step - 1:
            return None
        if self.controller.run_state.evaluated == self.plan.step:
            return None
        plan, loss = (self.plan, nan) if self._last is None else (self._last.plan, self._last.loss)
        numbers = self._watch.of_evaluations(self.controller.machine, plain_metrics(metrics))
        if any(request.name == "evaluate" for request in self.plan.requests):
            self._held = numbers  # the state that asked for it sees it with its first step
            return replace(self._result(plan, loss, None), requests=())
        decision = self._evaluate(trainer_step, self._epoch_of(trainer_step), numbers)
        result = self._result(plan, loss, decision)
        asked = () if decision is None else result.requests  # `close` has handed over those of its own transition
        return replace(result, requests=tuple(each for each in asked if each.name != "evaluate"))

    def _evaluate(self, step: int, epoch: int, numbers: dict[str, float]) -> Decision | None:
        self.record.evaluation(step, epoch, numbers)
        return self.controller.evaluated(**numbers)

    def _epoch_of(self, closed: int) -> int:
        """The epoch of the step that was closed last, also just after a resume."""
        if self._last is not None:
            return self._last.plan.epoch
        per_epoch = self.controller.machine.steps_per_epoch
        return self.plan.epoch if per_epoch is None else closed // per_epoch

    def _result(self, plan: Plan, loss: float, decision: Decision | None) -> StepResult:
        now = self.plan
        if decision is not None:
            self.record.decision(decision, now.requests)
        return StepResult(plan, loss, decision, now.requests, now.stop)

    # Saving and resuming

    def state(self) -> dict[str, Any]:
        """What belongs into the trainer's own checkpoint, as JSON-able data."""
        self.record.flush()
        controller, ratios = self.controller.state_dict(), self._rates.ratios
        saved = SavedRule(
            controller, ratios, self._framework, self.accumulation, self._share, self.stamping.place, self._held
        )
        return saved.plain()

    def load(self, state: Mapping[str, Any]) -> None:
        """Keep what `state` gave until `begin`.

        Raises:
            SnapshotError: it is something else.
        """
        self._saved = read_saved(state)
