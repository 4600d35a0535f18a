"""A curriculum in the `Trainer` of transformers, and in what is built on it, such as TRL.

    Trainer(model, args, train_dataset=rows, callbacks=[CurriculumCallback("plateau", limits={"cutoff": 1025})])

The callback finds its trainer and wraps methods on that object alone: `training_step`, whose value is a micro-batch's
share of the loss; `get_batch_samples`, which hands out the batches; `get_train_dataloader`, where knobs choose rows;
and `log`. The trainer's scheduler stays, behind a proxy that tells the rate in force. The state of the curriculum is
part of `trainer_state.json`.
"""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Iterable, Iterator, Mapping
from os import PathLike
from typing import Any, ClassVar, Self, Unpack

from accelerate.data_loader import DataLoaderDispatcher
from tqdm.auto import tqdm
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState
from transformers.trainer_utils import has_length

from plateau_rule.adapters.base import Rule, Shape, StepResult
from plateau_rule.adapters.errors import WiringError
from plateau_rule.adapters.pytorch import TorchRanks
from plateau_rule.adapters.rows import Choose
from plateau_rule.adapters.stamps import KnobBatches, loader_by_knobs
from plateau_rule.adapters.telling import tell_left_to_you, told
from plateau_rule.controller.binding import Binding, Said
from plateau_rule.controller.controller import Controller
from plateau_rule.controller.language.curriculum import Curriculum

STEPPED_BY_A_METRIC = ("ReduceLROnPlateau", "GreedyLR")
SPEEDS = ("runtime", "samples_per_second", "steps_per_second", "jit_compilation_time", "model_preparation_time")


class CurriculumCallback(TrainerCallback, ExportableState):
    """Trains under a curriculum: `Trainer(…, callbacks=[CurriculumCallback("plateau", …)])`.

    Args:
        curriculum: a shipped name or a file, what `load` gives, or a Controller that is bound already.
        shape: for knobs that change a batch's form: the function that applies each, by the knob's name, such as
            `{"seq_len": cut_length}`.
        rows: for knobs that choose the rows of a batch: the function that chooses by each, such as
            `{"batch_size": count_rows}`. The arguments then need `max_steps`.
        applied: knobs that your own code turns, by reading `callback.rule.knobs`.
        out: a run folder to write, as `plateau train` does; none by default.
        track: trackers that get series and decisions, such as "tensorboard:runs/tensorboard"; one or several.
        checked: whether `plateau check` is asked before the first step; what it calls broken is then refused.
        binding: fields of a Binding, such as `limits` and `peak`. The run's length is the trainer's.

    Attributes:
        rule: the curriculum at work: its plan, its knobs, its Controller.
    """

    _latest: ClassVar[weakref.ref[CurriculumCallback] | None] = None
    """The callback whose state was asked for last."""

    def __new__(cls, *given: Any, _restored: bool = False, **said: Any) -> Self:
        """A new callback; or the one at work, where the trainer makes a copy to restore a checkpoint's state into.

        With `restore_callback_states_from_checkpoint` the trainer replaces every callback with `type(it)(**args)`,
        just after it has asked for its state. The user's own object stays in use instead.
        """
        latest = cls._latest() if _restored and cls._latest is not None else None
        return latest if isinstance(latest, cls) else super().__new__(cls)

    def __init__(
        self,
        curriculum: Curriculum | Controller | str | PathLike[str] = "",
        *,
        shape: Mapping[str, Shape] | None = None,
        rows: Mapping[str, Choose] | None = None,
        applied: Iterable[str] = (),
        out: str | PathLike[str] | None = None,
        track: str | Iterable[str] = (),
        checked: bool = True,
        _restored: bool = False,
        **binding: Unpack[Said],
    ) -> None:
        if _restored:
            return
        super().__init__()
        self.rule = Rule(
            curriculum,
            binding=Binding.of(None, **binding),
            shape=shape,
            rows=rows,
            applied=applied,
            out=out,
            track=track,
            checked=checked,
            combine="sum",
            ranks=TorchRanks(),
            framework="transformers",
        )
        self._trainer: Trainer | None = None
        self._training = False
        self._closed: StepResult | None = None
        self._evaluations: dict[str, float] = {}
        self._clips: Any = None  # the accelerator whose clip_grad_norm_ tells the norm

    # Its trainer

    def attach(self, trainer: Trainer) -> None:
        """Wrap the trainer's methods; needed only where the callback cannot find its trainer by itself.

        Raises:
            WiringError: the trainer has two such callbacks.
        """
        own = [each for each in trainer.callback_handler.callbacks if isinstance(each, CurriculumCallback)]
        if len(own) > 1:
            raise WiringError(
                f"transformers: this Trainer has {len(own)} CurriculumCallbacks, and one curriculum owns the rate. "
                "Keep one of them"
            )
        self._trainer = trainer
        if vars(trainer).get("plateau_callback") is self:
            return
        trainer.plateau_callback = self
        step, batches, log = trainer.training_step, trainer.get_batch_samples, trainer.log
        loader = trainer.get_train_dataloader

        def get_train_dataloader() -> Any:
            return self._by_knobs(trainer, loader()) if self.rule.stamping.rows else loader()

        def training_step(*args: Any, **named: Any) -> Any:
            loss = step(*args, **named)
            if self._trains(trainer):
                self.rule.micro(loss)
            return loss

        def get_batch_samples(iterator: Iterator[Any], *args: Any, **named: Any) -> Any:
            if not self._trains(trainer):
                return batches(iterator, *args, **named)
            state = trainer.state
            if self.rule.stop is not None or state.global_step >= state.max_steps:
                return [], None  # a finished run that is resumed would train one step more
            return batches(map(self.rule.shape, iterator), *args, **named)

        def logged(logs: dict[str, float], *args: Any, **named: Any) -> Any:
            if self._trains(trainer) and self._closed is not None and "loss" in logs:
                logs.update(self.rule.shown())
            return log(logs, *args, **named)

        trainer.training_step, trainer.get_batch_samples, trainer.log = training_step, get_batch_samples, logged
        trainer.get_train_dataloader = get_train_dataloader

    def _by_knobs(self, trainer: Trainer, loader: Any) -> Any:
        """The trainer's own loader, with the same rows for this rank, in batches that the knobs choose."""
        if isinstance(loader, DataLoaderDispatcher):
            raise WiringError(
                "transformers: dispatch_batches hands out batches of the first process, and a knob of `rows` needs "
                "each process to draw its own. Leave dispatch_batches out"
            )
        if trainer.args.max_steps <= 0:
            raise WiringError(
                f"transformers: {', '.join(self.rule.stamping.rows)} changes how many steps an epoch has, so the "
                "trainer cannot know the length of the run by its epochs. Give the arguments max_steps"
            )
        return loader_by_knobs(loader, self.rule)

    def _trains(self, trainer: Trainer) -> bool:
        return self._training and self._trainer is trainer

    def _find_trainer(self) -> Trainer:
        """The trainer that calls this hook: it is handed to none of them, but stands further up in the stack."""
        frame = inspect.currentframe()
        while frame is not None:
            caller = frame.f_locals.get("self")
            if isinstance(caller, Trainer) and any(each is self for each in caller.callback_handler.callbacks):
                return caller
            frame = frame.f_back
        if self._trainer is None:
            raise WiringError(
                "transformers: the CurriculumCallback cannot find its Trainer. Call callback.attach(trainer) before "
                "trainer.train()"
            )
        return self._trainer

    # Hooks

    def on_init_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Wrap the trainer that was made; a callback that is added later is attached when training begins."""
        self.attach(self._find_trainer())

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **context: Any
    ) -> TrainerControl:
        """Bind the curriculum to the run, or go on with the state that the checkpoint holds."""
        trainer = self._find_trainer()
        self.attach(trainer)
        self._closed, self._evaluations = None, {}
        batches = getattr(context["train_dataloader"], "batch_sampler", None)
        if isinstance(batches, KnobBatches):  # what was trained on already, the trainer draws and passes over
            batches.skipped = 0 if args.ignore_data_skip else state.global_step * args.gradient_accumulation_steps
        elif self.rule.stamping.rows:
            raise WiringError(
                "transformers: the trainer made its loader before it knew the CurriculumCallback, and `rows` chooses "
                "by it. Give callbacks=[...] to the Trainer, or call callback.attach(trainer) before trainer.train()"
            )
        notes = self.rule.begin(
            state.global_step,
            context["optimizer"].param_groups,
            saved=self._saved_in(state),
            total_steps=state.max_steps,
            steps_per_epoch=_steps_per_epoch(context["train_dataloader"], args, state),
            accumulation=args.gradient_accumulation_steps,
        )
        # A checkpoint of a run without the callback has no such key, and the next save would need it.
        state.stateful_callbacks[type(self).__name__] = self.state()
        inner = trainer.lr_scheduler
        inner = inner.inner if isinstance(inner, HeldScheduler) else inner
        trainer.lr_scheduler = HeldScheduler(inner, context["optimizer"])
        trainer.callback_handler.lr_scheduler = trainer.lr_scheduler
        self._tell_grad_norm(trainer)
        self._training = True
        for note in notes:
            _say(state, note)
        control.should_training_stop = self.rule.stop is not None or state.global_step >= state.max_steps
        return control

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **context: Any
    ) -> None:
        """Set the rates of the step."""
        self.rule.rates(context["optimizer"].param_groups)

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **context: Any
    ) -> None:
        """Set them once more: another callback may have set its own."""
        self.rule.rates(context["optimizer"].param_groups)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **context: Any
    ) -> TrainerControl:
        """Observe the step's loss."""
        trainer = self._trainer
        skipped = trainer is not None and bool(trainer.accelerator.optimizer_step_was_skipped)
        self._evaluations = {}
        self._closed = self.rule.close(
            state.global_step - 1, skipped=skipped, epoch_end=(state.epoch or 0) >= self.rule.plan.epoch + 1
        )
        return self._answer(self._closed, state, control, context["optimizer"])

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **context: Any
    ) -> TrainerControl:
        """Observe an evaluation: after `on_step_end`, before the save of the same step."""
        if not self._training or self._closed is None:  # one at the start, also of a resumed run
            return control
        brought = context.get("metrics") or {}
        self._evaluations |= brought
        sets = getattr(self._trainer, "eval_dataset", None)
        if isinstance(sets, dict) and any(f"eval_{name}_runtime" not in self._evaluations for name in sets):
            return control  # one set of several: the others come next
        metrics = {name: value for name, value in self._evaluations.items() if not name.endswith(SPEEDS)}
        if "eval_loss" in metrics:  # curricula call it as most trainers do
            metrics["val_loss"] = metrics["eval_loss"]
        self._evaluations = {}
        result = self.rule.evaluated(metrics, state.global_step - 1)
        return control if result is None else self._answer(result, state, control, context["optimizer"])

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **context: Any
    ) -> None:
        """Give the trainer its scheduler back."""
        self._training = False
        trainer = self._trainer
        if trainer is not None and isinstance(trainer.lr_scheduler, HeldScheduler):
            trainer.lr_scheduler = trainer.callback_handler.lr_scheduler = trainer.lr_scheduler.inner
        if self._clips is not None:
            del self._clips.clip_grad_norm_
            self._clips = None
        self.rule.end()

    def _tell_grad_norm(self, trainer: Trainer) -> None:
        """Give the norm that the trainer clips to the guards that ask for `grad_norm`; no hook is told of it."""
        accelerator = trainer.accelerator
        if "grad_norm" not in self.rule.controller.machine.guarded or self._clips is accelerator:
            return
        clip = accelerator.clip_grad_norm_

        def clip_grad_norm_(*args: Any, **named: Any) -> Any:
            norm = clip(*args, **named)
            if norm is not None and self._training:
                self.rule.metrics({"grad_norm": norm})
            return norm

        accelerator.clip_grad_norm_, self._clips = clip_grad_norm_, accelerator

    def _answer(self, result: StepResult, state: TrainerState, control: TrainerControl, optimizer: Any) -> Any:
        """Tell of a decision, and pass on what it asks the trainer to do."""
        if result.decision is not None:
            line = told(result.decision)
            _say(state, line)
            state.log_history.append({"plateau/decision": line, "epoch": state.epoch, "step": state.global_step})
        for request in result.requests:
            if request.name == "checkpoint":
                control.should_save = True
            elif request.name == "evaluate":
                control.should_evaluate = True
            elif request.name == "reset_optimizer":
                getattr(optimizer, "optimizer", optimizer).state.clear()
            else:
                tell_left_to_you("transformers", request)
        if result.stop is not None:
            control.should_training_stop = True
        return control

    # State, in the trainer's own checkpoint

    @property
    def curriculum(self) -> dict[str, Any] | None:
        """The curriculum's state, as `trainer_state.json` holds it; None before a run has begun."""
        return self.rule.state() if self.rule.begun else None

    @curriculum.setter
    def curriculum(self, value: object) -> None:
        """Nothing: the trainer sets it on a copy that is this very object; `on_train_begin` reads the state itself."""

    def state(self) -> dict[str, Any]:
        """What the trainer writes into a checkpoint for this callback."""
        CurriculumCallback._latest = weakref.ref(self)
        return {"args": {"_restored": True}, "attributes": {"curriculum": self.curriculum}}

    def _saved_in(self, state: TrainerState) -> Mapping[str, Any] | None:
        """The curriculum's state out of the checkpoint that is resumed from; None at a run's begin."""
        if state.global_step == 0:
            return None  # what stands there now is this callback's own
        saved = state.stateful_callbacks.get(type(self).__name__)
        if isinstance(saved, list):
            raise WiringError(
                f"transformers: the checkpoint holds the states of {len(saved)} CurriculumCallbacks, and one "
                "curriculum owns the rate. Resume from a checkpoint of a run with one"
            )
        found: Mapping[str, Any] | None = (saved or {}).get("attributes", {}).get("curriculum")
        return found


class HeldScheduler:
    """Stands before the trainer's scheduler while the curriculum sets the rates: it tells those in force.

    Everything else, above all its state in checkpoints, is the scheduler's own: a run can be resumed with the callback
    or without it.

    Args:
        inner: the trainer's scheduler.
        optimizer: whose rates they are.
    """

    def __init__(self, inner: Any, optimizer: Any) -> None:
        self.inner, self._optimizer = inner, optimizer

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def get_last_lr(self) -> list[float]:
        """The rates in force, one for each parameter group."""
        return [float(group["lr"]) for group in self._optimizer.param_groups]

    def step(self, *args: Any, **named: Any) -> None:
        """Let the scheduler count on; the rates stay the curriculum's."""
        held = [group["lr"] for group in self._optimizer.param_groups]
        if type(self.inner).__name__ not in STEPPED_BY_A_METRIC:
            self.inner.step(*args, **named)
        for group, rate in zip(self._optimizer.param_groups, held, strict=True):
            group["lr"] = rate


def _steps_per_epoch(loader: Any, args: TrainingArguments, state: TrainerState) -> int | None:
    """Optimizer steps in an epoch, as the trainer counts them; None where its loader has no length."""
    if not has_length(loader):
        return None
    if args.max_steps <= 0 and state.max_steps % args.num_train_epochs == 0:
        return int(state.max_steps // args.num_train_epochs)
    steps = max(1, -(-len(loader) // args.gradient_accumulation_steps))
    return int(min(steps, state.max_steps))


def _say(state: TrainerState, line: str) -> None:
    """Print a line, once for all ranks, and not across a progress bar."""
    if state.is_world_process_zero:
        tqdm.write(line)
