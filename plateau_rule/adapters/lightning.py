"""A curriculum in the `Trainer` of Lightning.

    Trainer(max_epochs=10, callbacks=[CurriculumCallback("plateau", limits={"cutoff": 1025})])

Lightning's hooks are enough, but for two: a late transform stands around `on_before_batch_transfer` of the module, or
of the data module, while it trains; and where knobs choose rows, the training loader is exchanged in the strategy's
`process_dataloader`, the last that Lightning does to a loader. The state of the curriculum is part of Lightning's
checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import ceil, inf
from os import PathLike
from pathlib import Path
from typing import Any, Unpack
from warnings import warn

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.model_helpers import is_overridden
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from torch import Tensor

from plateau_rule.adapters.base import Rule, Shape, StepResult
from plateau_rule.adapters.errors import WiringError, WiringWarning
from plateau_rule.adapters.pytorch import TorchRanks
from plateau_rule.adapters.rows import Choose
from plateau_rule.adapters.stamps import KnobLoader
from plateau_rule.adapters.telling import tell_left_to_you, told
from plateau_rule.controller.binding import Binding, Said
from plateau_rule.controller.controller import Controller
from plateau_rule.controller.language.curriculum import Curriculum


class CurriculumCallback(Callback):
    """Trains under a curriculum: `Trainer(…, callbacks=[CurriculumCallback("plateau", …)])`.

    Args:
        curriculum: a shipped name or a file, what `load` gives, or a Controller that is bound already.
        shape: for knobs that change a batch's form: the function that applies each, by the knob's name, such as
            `{"image_size": resize_images}`.
        rows: for knobs that choose the rows of a batch: the function that chooses by each, such as
            `{"batch_size": count_rows}`.
        applied: knobs that your own code turns, by reading `callback.rule.knobs`.
        out: a run folder to write, as `plateau train` does; none by default.
        track: trackers that get series and decisions, such as "tensorboard:runs/tensorboard"; one or several.
        checked: whether `plateau check` is asked before the first step; what it calls broken is then refused.
        binding: fields of a Binding, such as `limits` and `peak`. The run's length is the trainer's.

    Attributes:
        rule: the curriculum at work: its plan, its knobs, its Controller.
    """

    state_key = "PlateauRule"

    def __init__(
        self,
        curriculum: Curriculum | Controller | str | PathLike[str],
        *,
        shape: Mapping[str, Shape] | None = None,
        rows: Mapping[str, Choose] | None = None,
        applied: Iterable[str] = (),
        out: str | PathLike[str] | None = None,
        track: str | Iterable[str] = (),
        checked: bool = True,
        **binding: Unpack[Said],
    ) -> None:
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
            ranks=TorchRanks(),
            framework="lightning",
        )
        self._wrapped: list[tuple[Any, str]] = []  # objects, and the methods of theirs that have something around them
        self._interval: int | float | None = None  # Lightning's own, while an evaluation is asked for
        self._scale = 0.0
        self._begun = False  # the loader may do it, which draws before on_train_start

    # A run

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Where knobs choose rows: exchange the training loader, when Lightning has made it ready for this rank."""
        if stage != "fit" or not self.rule.stamping.rows:
            return
        strategy = trainer.strategy
        inner = strategy.process_dataloader

        def process_dataloader(loader: Any) -> Any:
            loader = inner(loader)
            if not trainer.training:  # it is one for validation
                return loader
            # Lightning looks one batch ahead in a loader without a length.
            return KnobLoader(loader, self.rule, lambda: self._begin_early(trainer), ahead=1)

        self._wrap(strategy, "process_dataloader", process_dataloader)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Bind the curriculum to the run, or go on with the state that the checkpoint held."""
        self._begin(trainer, _steps_per_epoch(trainer), trainer.estimated_stepping_batches)
        self._shape_batches(trainer, pl_module)
        self._take_logged(trainer, pl_module)
        if self.rule.stop is not None:
            trainer.should_stop = True
        elif (
            not self.rule.stamping.rows
            and 0 < trainer.fit_loop.epoch_loop.batch_progress.current.ready < trainer.num_training_batches
        ):
            _warn_of_rows(trainer)

    def _begin_early(self, trainer: Trainer) -> None:
        """Begin where the loader is asked for its first batch, with what is known then of the length of the run."""
        if not trainer.optimizers:
            raise WiringError(
                "lightning: estimated_stepping_batches was asked before there is an optimizer, and draws a batch, "
                "whose rows the curriculum chooses. Ask for max_steps instead in configure_optimizers"
            )
        self._begin(trainer, None, trainer.max_steps)

    def _begin(self, trainer: Trainer, per_epoch: int | None, total: float) -> None:
        if self._begun:
            return
        if len(trainer.optimizers) != 1:
            raise WiringError(
                f"lightning: this module has {len(trainer.optimizers)} optimizers, whose steps are counted together; a "
                "curriculum paces one. Train with one optimizer, and give it several parameter groups"
            )
        self._begun = True
        notes = self.rule.begin(
            trainer.global_step,
            trainer.optimizers[0].param_groups,
            total_steps=int(total) if 0 < total < inf else None,
            steps_per_epoch=None if self.rule.stamping.rows else per_epoch,
            accumulation=trainer.accumulate_grad_batches,
        )
        for note in notes:
            rank_zero_info(note)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Set the rates of the step."""
        self.rule.rates(trainer.optimizers[0].param_groups)

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Any) -> None:
        """Set them once more: a scheduler may have set its own."""
        self.rule.rates(optimizer.param_groups)
        self._scale = _loss_scale(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Take a micro-batch's loss; observe the step's once the optimizer has stepped."""
        rule = self.rule
        rule.micro(self._loss(trainer, pl_module, outputs))
        # A scheduler moved the rates after the step; whoever logs them now should see those that were in force.
        rule.rates(trainer.optimizers[0].param_groups)
        if trainer.global_step == rule.plan.step:
            return
        skipped = _loss_scale(trainer) < self._scale
        result = rule.close(trainer.global_step - 1, skipped=skipped, epoch_end=trainer.is_last_batch)
        self._log(trainer)
        self._answer(result, trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Observe an evaluation: it comes after its step's `on_train_batch_end`, before the next step."""
        if self._interval is not None:
            trainer.val_check_batch, self._interval = self._interval, None
        if trainer.sanity_checking or trainer.state.fn != "fit" or not self.rule.begun:
            return
        metrics = {name: value for name, value in trainer.callback_metrics.items() if name != "loss"}
        result = self.rule.evaluated(metrics, trainer.global_step - 1)
        if result is not None:
            self._answer(result, trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Close the run."""
        self.rule.end()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Give every object its own methods back, also after an error."""
        for owner, name in self._wrapped:
            delattr(owner, name)
        self._wrapped, self._begun = [], False

    # Its parts

    def _wrap(self, owner: Any, name: str, method: Any) -> None:
        setattr(owner, name, method)
        self._wrapped.append((owner, name))

    def _take_logged(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Where guards ask for metrics that come with the loss: take what the module logs while it trains."""
        inner = pl_module.log

        def log(name: str, value: Any, *args: Any, **named: Any) -> None:
            inner(name, value, *args, **named)
            if trainer.training and isinstance(value, int | float | Tensor):
                self.rule.metrics({name: value})

        if self.rule.asks_for_metrics:
            self._wrap(pl_module, "log", log)

    def _shape_batches(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Apply late transforms before a batch goes to the device: in the hook that the trainer will call for that."""
        data = getattr(trainer, "datamodule", None)
        owner = pl_module if data is None or is_overridden("on_before_batch_transfer", pl_module) else data
        if "on_before_batch_transfer" in vars(owner):
            raise WiringError(
                "lightning: on_before_batch_transfer is set on the object itself, where the late transforms go. Make "
                "it a method of the class"
            )
        inner = owner.on_before_batch_transfer

        def on_before_batch_transfer(batch: Any, dataloader_idx: int) -> Any:
            if not trainer.training:
                return inner(batch, dataloader_idx)
            batch = self.rule.stamping.unstamped(batch, self.rule.plan)
            return self.rule.form(inner(batch, dataloader_idx))

        self._wrap(owner, "on_before_batch_transfer", on_before_batch_transfer)

    def _loss(self, trainer: Trainer, pl_module: LightningModule, outputs: Any) -> Any:
        """A micro-batch's loss, as `training_step` gave it."""
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        if loss is None:
            raise WiringError(
                "lightning: training_step returned no loss, and the curriculum needs one for each batch. Return it, "
                "alone or as {'loss': …}; with manual optimization too"
            )
        # Lightning has divided it already, for the sum of the gradients.
        return loss * trainer.accumulate_grad_batches if pl_module.automatic_optimization else loss

    def _answer(self, result: StepResult, trainer: Trainer) -> None:
        """Tell of a decision, and carry out what it asks for."""
        if result.decision is not None:
            rank_zero_info(told(result.decision))
        for request in result.requests:
            if request.name == "checkpoint":
                folder = getattr(trainer.checkpoint_callback, "dirpath", None) or trainer.default_root_dir
                trainer.save_checkpoint(Path(folder) / f"plateau-step={trainer.global_step}.ckpt")
            elif request.name == "evaluate" and trainer.enable_validation:
                self._interval = trainer.val_check_batch
                trainer.val_check_batch = 1  # validate after this batch; on_validation_end puts it back
            elif request.name == "reset_optimizer":
                trainer.optimizers[0].state.clear()
            else:
                tell_left_to_you("lightning", request)
        if result.stop is not None:
            trainer.should_stop = True

    def _log(self, trainer: Trainer) -> None:
        """Give the numbers of the step to the trainer's loggers, as often as it logs its own."""
        if trainer.log_every_n_steps and trainer.global_step % trainer.log_every_n_steps == 0:
            for logger in trainer.loggers:
                logger.log_metrics(self.rule.shown(), step=trainer.global_step - 1)

    # State, in Lightning's checkpoint

    def state_dict(self) -> dict[str, Any]:
        """What Lightning writes into a checkpoint for this callback."""
        return self.rule.state() if self.rule.begun else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep it until training begins."""
        if state_dict:
            self.rule.load(state_dict)


def _steps_per_epoch(trainer: Trainer) -> int | None:
    """Optimizer steps in an epoch; None where the loader has no length."""
    batches = trainer.num_training_batches
    if batches == inf:
        return None
    steps = ceil(int(batches) / int(trainer.accumulate_grad_batches))
    limit = int(trainer.max_steps)
    return steps if limit < 0 else min(steps, limit)


def _loss_scale(trainer: Trainer) -> float:
    """The scale of the gradient scaler, which falls when a step is skipped; 0 where there is none."""
    scaler = getattr(trainer.precision_plugin, "scaler", None)
    return 0.0 if scaler is None else float(scaler.get_scale())


def _warn_of_rows(trainer: Trainer) -> None:
    """A run that goes on inside an epoch sees that epoch's first rows again, unless its loader remembers its place."""
    if not hasattr(trainer.train_dataloader, "load_state_dict"):
        warn(
            "lightning: the run goes on inside an epoch, and Lightning starts its loader from the front: rows, losses "
            "and perhaps decisions differ from those of the uncut run. Save at the end of an epoch, or use a loader "
            "that remembers its place, such as torchdata's StatefulDataLoader",
            WiringWarning,
            stacklevel=2,
        )
