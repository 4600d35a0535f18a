"""What every adapter does, whatever the trainer: `Rule`. No framework is imported here.

An adapter calls the methods of a Rule from its trainer's hooks, in this order:

    rule.begin(...)                      # once, where the trainer knows how long it will train
    for each optimizer step:
        rule.rates(groups)               # as often as a hook offers, the last time just before the optimizer steps
        for each micro-batch:
            batch = rule.shape(batch)    # in the main process, just before the model gets it
            rule.micro(loss)
        result = rule.close(step)        # once the optimizer has stepped, or its step was dropped
        rule.evaluated(metrics, step)    # where the trainer evaluates after this step
    rule.end()
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from math import nan
from os import PathLike
from pathlib import Path
from typing import Any, Literal

from plateau_rule.adapters.beginning import Groups, controller_for, out_of_order, ratios_of, refuse_other_step
from plateau_rule.adapters.errors import WiringError
from plateau_rule.adapters.ranks import OneRank, Ranks
from plateau_rule.adapters.saved import SavedRule, read_saved
from plateau_rule.adapters.stamp import Stamp, Stamping, lead_needed, unstamped
from plateau_rule.adapters.steps import StepResult, StepShare
from plateau_rule.adapters.telling import plain_metrics
from plateau_rule.adapters.watch import KnobsRead, Watch
from plateau_rule.controller.binding import Binding
from plateau_rule.controller.controller import Controller
from plateau_rule.controller.language.curriculum import Curriculum
from plateau_rule.controller.language.reading import load
from plateau_rule.controller.plan import Decision, Plan
from plateau_rule.controller.soundness import answers_of, require_sound
from plateau_rule.sim.run_folder import RunFolder

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
        applied: knobs that the user's own code turns, which this object cannot see.
        out: a run folder to write, like that of `plateau train`; none by default.
        combine: what a step's loss is of its micro-batches' losses: their weighted "mean", or their "sum", where each
            is a share of the step's already.
        ranks: the processes that train together; this one alone by default.
        on_change: where the curriculum was edited since a checkpoint was made: "refuse", or "accept", which goes on in
            the state of the same name.
        checked: whether `begin` asks what `plateau check` asks, and refuses a curriculum that is broken.
        framework: its name, for the saved state and for messages.

    Attributes:
        given: the curriculum, read; or the Controller that was given.
        ratios: each parameter group's rate, divided by the largest group's.
        accumulation: micro-batches in an optimizer step.
        stamping: the knobs that reach batches as they are drawn, and what was seen of their stamps.
    """

    def __init__(
        self,
        curriculum: Curriculum | Controller | str | PathLike[str],
        *,
        binding: Binding | None = None,
        shape: Mapping[str, Shape] | None = None,
        applied: Iterable[str] = (),
        out: str | PathLike[str] | None = None,
        combine: Literal["mean", "sum"] = "mean",
        ranks: Ranks | None = None,
        on_change: Literal["refuse", "accept"] = "refuse",
        checked: bool = True,
        framework: str = "the trainer",
    ) -> None:
        self.given = curriculum if isinstance(curriculum, Curriculum | Controller) else load(curriculum)
        self._binding = binding or Binding()
        self._shape = dict(shape or {})
        self._out = None if out is None else Path(out)
        self._combine, self._on_change, self._framework = combine, on_change, framework
        self._checked = checked
        self._ranks: Ranks = ranks or OneRank()
        self.ratios: tuple[float, ...] = ()
        self.accumulation = 1
        self._controller: Controller | None = None
        self._saved: SavedRule | None = None
        self._folder: RunFolder | None = None
        self._share = StepShare()
        self._watch = Watch(framework, applied)
        self._rates: tuple[float, ...] = ()  # as they were set last
        self._last: StepResult | None = None
        self._trains = False
        self.stamping = Stamping(self._watch)

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
        plan = self.plan if self._last is None else self._last.plan
        machine = self.controller.machine
        knobs = {f"plateau/{name}": float(n) for name, n in plan.knobs.items() if isinstance(n, int | float)}
        return {"plateau/lr": plan.lr, "plateau/state": float(machine.by_name[plan.state].index), **knobs}

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
            steps_per_epoch: optimizer steps in an epoch; None where the trainer does not know, or where a knob changes
                it. `close` is then told of each epoch's end.
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
        controller, notes = controller_for(self.given, self._binding, total_steps, steps_per_epoch)
        answers = answers_of(require_sound(controller.machine)) if self._checked else None
        self._controller = controller
        if state is not None:
            notes += controller.load_state_dict(state.controller, self._on_change)
            if state.accumulation != accumulation:
                notes.append(f"accumulation was {state.accumulation} micro-batches a step, and is {accumulation}")
        self._saved = None
        refuse_other_step(self._framework, self.plan.step, trainer_step, state is not None)
        self.ratios = ratios_of(self._framework, groups, state)
        self.accumulation = accumulation
        self._share = StepShare() if state is None else StepShare(*state.share)
        self._last, self._trains = None, True
        self._rates = ()
        if self._out is not None and self._ranks.rank == 0:
            self._folder = RunFolder(self._out, controller, trainer_step, self._framework, answers)
        self.rates(groups)
        return tuple(notes)

    def end(self) -> None:
        """Training is over: the run folder is closed, and evaluations that still come are no part of the run."""
        self._trains = False
        if self._folder is not None:
            self._folder.close()
            self._folder = None

    # One step

    def rates(self, groups: Groups) -> None:
        """Set every group's rate for the step under way: its ratio times the plan's.

        It may be called at any time and as often as one likes; the call just before the optimizer steps is the one
        that counts. If something else keeps setting the rates too, that is said once.

        Args:
            groups: the parameter groups that `begin` was given.
        """
        plan = self.plan
        wanted = tuple(ratio * plan.lr for ratio in self.ratios)
        for place, (group, rate) in enumerate(zip(groups, wanted, strict=True)):
            if hasattr(group["lr"], "fill_"):  # a tensor, which a compiled optimizer reads
                group["lr"].fill_(rate)
                continue
            if self._rates and group["lr"] != self._rates[place]:
                self._watch.rate_changed(plan.step, place, group["lr"], self._rates[place])
            group["lr"] = rate
        self._rates = wanted

    def shape(self, batch: Any) -> Any:
        """Apply the knobs of the step under way that change a batch's form; call it on every micro-batch, once.

        Returns:
            The batch, without its stamp, in a new form where `shape` functions were given.
        """
        batch, stamp = unstamped(batch)
        if stamp is not None:
            self.stamping.check(stamp, self.plan)
        if self._shape:
            knobs = self.knobs
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

    def close(self, trainer_step: int | None = None, *, skipped: bool = False, epoch_end: bool = False) -> StepResult:
        """End the optimizer step: its loss, the same on every rank, is observed, and the next plan is made.

        Args:
            trainer_step: the number of the step, from 0, by the trainer's own count; checked where it is given.
            skipped: the optimizer's step was dropped, by a gradient scaler.
            epoch_end: it is the last of an epoch; only where `begin` knew no steps_per_epoch.

        Raises:
            WiringError: this step was closed already, the trainer is at another one, or no loss was given.
            NonFiniteLoss: the run is dead.
        """
        plan, share = self.plan, self._share
        if trainer_step is not None and trainer_step != plan.step:
            raise WiringError(f"{self._framework}: {out_of_order(trainer_step, plan.step)}")
        if not share.count:
            raise WiringError(
                f"{self._framework}: step {plan.step} is to be closed, and no loss was given for it. Give every "
                "micro-batch's loss first, and close each optimizer step once"
            )
        total, weight = self._ranks.add(share.total, share.weight if self._combine == "mean" else 1.0)
        loss = total / weight if weight else float("nan")
        self._share = StepShare()
        if self._folder is not None:
            self._folder.step(plan, loss, skipped)
        decision = self.controller.observe(loss, epoch_end, step=plan.step, skipped=skipped)
        self._last = self._result(plan, loss, decision)
        self._watch.look_for_unapplied(self.controller.machine)
        if plan.step % RANKS_COMPARED_EVERY == 0:
            self._refuse_other_ranks()
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
        if self._folder is not None:
            self._folder.evaluation(trainer_step, self._epoch_of(trainer_step), numbers)
        decision = self.controller.evaluated(**numbers)
        result = self._result(plan, loss, decision)
        asked = () if decision is None else result.requests  # `close` has handed over those of its own transition
        return replace(result, requests=tuple(each for each in asked if each.name != "evaluate"))

    def _epoch_of(self, closed: int) -> int:
        """The epoch of the step that was closed last, also just after a resume."""
        if self._last is not None:
            return self._last.plan.epoch
        per_epoch = self.controller.machine.steps_per_epoch
        return self.plan.epoch if per_epoch is None else closed // per_epoch

    def _result(self, plan: Plan, loss: float, decision: Decision | None) -> StepResult:
        now = self.plan
        if decision is not None and self._folder is not None:
            self._folder.decision(decision, now.requests)
        return StepResult(plan, loss, decision, now.requests, now.stop)

    # Saving and resuming

    def state(self, position: int | None = None) -> dict[str, Any]:
        """What belongs into the trainer's own checkpoint, as JSON-able data.

        Args:
            position: micro-batches drawn in the present epoch, where a loader can go on from there.
        """
        share = self._share
        saved = SavedRule(
            self.controller.state_dict(),
            self.ratios,
            self._framework,
            self.accumulation,
            (float(share.total), share.weight, share.count),
            position,
        )
        return saved.plain()

    def load(self, state: Mapping[str, Any]) -> None:
        """Keep what `state` gave until `begin`.

        Raises:
            SnapshotError: it is something else.
        """
        self._saved = read_saved(state)

    # Knobs that are stamped onto batches as they are drawn

    lead_needed = staticmethod(lead_needed)

    def stamps(self, names: Iterable[str], needed: int) -> None:
        """From here on, these knobs reach the batches when they are drawn, up to `needed` steps before their step.

        Args:
            names: of the knobs.
            needed: what `lead_needed` gives for the loader. A lead that is smaller is said.
        """
        self.stamping.require(names, needed, self.controller.lead)

    def planned(self, step: int) -> Plan:
        """The plan of a coming step, as far as it can be known; that of the step under way for any before."""
        return self.controller.ahead(max(0, step - self.plan.step))

    def stamp(self, micro: int, base: int) -> tuple[Plan, Stamp]:
        """The plan and the stamp for a micro-batch that is drawn now.

        Args:
            micro: its number since `base`, from 0.
            base: the step that the first of them belongs to.
        """
        step = base + micro // self.accumulation
        plan = self.planned(step)
        return plan, Stamp(step, self.stamping.digest(plan))

    def _refuse_other_ranks(self) -> None:
        plan = self.plan
        if not self._ranks.agree(f"{plan.step} {plan.state} {plan.lr!r} {dict(plan.knobs)!r}"):
            raise WiringError(
                f"{self._framework}: step {plan.step}: the ranks have different plans. Give every rank the same "
                "curriculum and binding, and load the same state on each"
            )
