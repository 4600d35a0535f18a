"""What can go wrong between the Trainer of Lightning and a curriculum: each trap, with the real library."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("lightning")
from lightning.pytorch import LightningDataModule, LightningModule
from lightning.pytorch.callbacks import EarlyStopping, LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger

from plateau_rule.adapters.errors import WiringError
from plateau_rule.adapters.lightning import CurriculumCallback
from plateau_rule.adapters.shapes import cut_length
from tests.conformance.cases import CASES, MIDDLE, ROWS, STOPPED_BY_EVALUATION, curriculum_of, expected
from tests.conformance.drivers.drive_lightning import (
    CHECKPOINTS,
    ScriptedModule,
    curriculum,
    evaluation_loader,
    fit,
    loader_of,
    newest,
    run,
    trainer_of,
)
from tests.conformance.scripted import epoch_of
from tests.conformance.watching import RUN, WatchedSGD, seen_in, watched_of

# What the library warns of is its own; what the adapter warns of is an error.
pytestmark = pytest.mark.filterwarnings("ignore", "error::plateau_rule.adapters.errors.WiringWarning")
LOSS, ACCUMULATION, STOP, EVALUATION = (
    next(case for case in CASES if case.name == name) for name in ("loss", "accumulation", "stop", "evaluation")
)


class Scheduled(ScriptedModule):
    """A module with a scheduler that was left in."""

    def configure_optimizers(self) -> Any:
        """An optimizer, and a scheduler that moves its rates after every step."""
        optimizer = super().configure_optimizers()
        falling = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, total_iters=50)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": falling, "interval": "step"}}


def test_a_scheduler_that_was_left_in_sets_no_rate(tmp_path: Path) -> None:
    """It is told of once; the rate in force, and the one that LearningRateMonitor logs, are the curriculum's."""
    logger = CSVLogger(tmp_path)
    callbacks = [LearningRateMonitor("step"), curriculum(LOSS, tmp_path)]
    trainer = trainer_of(LOSS, tmp_path, callbacks=callbacks, logger=logger, log_every_n_steps=1)
    with pytest.warns(match="something else sets it too, such as a scheduler"):
        trainer.fit(Scheduled(LOSS, tmp_path), loader_of(LOSS))
    rates = expected(LOSS).rates
    assert seen_in(tmp_path).rates == rates
    rows = list(csv.DictReader((Path(logger.log_dir) / "metrics.csv").open()))
    monitored = [float(row["lr-WatchedSGD/pg2"]) for row in rows if row["lr-WatchedSGD/pg2"]]
    assert monitored[1:] == [of_step[1] for of_step in rates[:-1]]


def test_rate_state_and_knobs_are_in_the_trainers_logger(tmp_path: Path) -> None:
    """What was in force on a step is logged with the number of that step."""
    logger = CSVLogger(tmp_path)
    fit(LOSS, tmp_path, trainer_of(LOSS, tmp_path, logger=logger, log_every_n_steps=1))
    rows = [row for row in csv.DictReader((Path(logger.log_dir) / "metrics.csv").open()) if row["plateau/lr"]]
    assert [int(row["step"]) for row in rows] == list(range(60))
    assert [float(row["plateau/lr"]) for row in rows] == [rates[1] for rates in seen_in(tmp_path).rates]
    assert [float(row["plateau/seq_len"]) for row in rows] == seen_in(tmp_path).widths


def test_sanity_checks_and_validations_of_ones_own_do_not_count(tmp_path: Path) -> None:
    """Neither the check before the first step, nor `validate` after the run, is an evaluation of the run."""
    case = replace(EVALUATION, val_losses=(9, *EVALUATION.val_losses, 9))
    trainer = trainer_of(case, tmp_path, num_sanity_val_steps=1)
    module = fit(case, tmp_path, trainer)
    trainer.validate(module, evaluation_loader(), verbose=False)
    assert int(module.model.given[1]) == 14
    assert seen_in(tmp_path) == expected(EVALUATION)


def test_an_evaluation_decides_in_its_own_step(tmp_path: Path) -> None:
    """A checkpoint of the step of an evaluation holds its decision, and a run that is resumed from it goes on so."""
    folder = tmp_path / "checkpoints"
    saving = ModelCheckpoint(folder, "{step}", monitor="val_loss", save_top_k=-1, save_on_train_epoch_end=False)
    case = replace(EVALUATION, evaluate_every=10, val_losses=(3, 3, 2, 2, 1, 1))
    callbacks = [curriculum(case, tmp_path), saving]
    fit(case, tmp_path, trainer_of(case, tmp_path, callbacks=callbacks, enable_checkpointing=True))
    whole = seen_in(tmp_path)
    assert whole == expected(case)
    assert whole.decisions[0][0] == 20
    (tmp_path / watched_of(0)).unlink()
    fit(case, tmp_path, trainer_of(case, tmp_path), checkpoint=folder / "step=20.ckpt")
    seen = seen_in(tmp_path)
    assert (seen.decisions, seen.losses) == (whole.decisions, whole.losses)
    assert seen.rates == whole.rates[20:]


def test_an_evaluation_stops_the_run(tmp_path: Path) -> None:
    """The trainer ends at the step whose evaluation the curriculum stops at, and saves where it is asked to."""
    case = replace(EVALUATION, curriculum=STOPPED_BY_EVALUATION, val_losses=(3, 2.5, 1.5))
    trainer = trainer_of(case, tmp_path)
    fit(case, tmp_path, trainer)
    assert trainer.global_step == 15
    assert (tmp_path / "plateau-step=15.ckpt").exists()


def test_several_evaluation_sets_are_one_evaluation(tmp_path: Path) -> None:
    """Two loaders: a guard names the set whose metric it means."""
    text = EVALUATION.curriculum.replace("val_loss", "val_loss_dataloader_idx_1")
    paired = tuple(loss for own in EVALUATION.val_losses for loss in (7, own))
    case = replace(EVALUATION, curriculum=text, val_losses=paired)
    loaders = [evaluation_loader() for _ in range(2)]
    trainer_of(case, tmp_path).fit(ScriptedModule(case, tmp_path), loader_of(case), loaders)
    assert seen_in(tmp_path) == expected(EVALUATION)


@pytest.mark.parametrize("stopped_by", ["epochs", "max_steps", "curriculum"])
def test_a_finished_run_that_is_resumed_trains_no_step(stopped_by: str, tmp_path: Path) -> None:
    """Neither at the end of its epochs, nor in the middle of one, nor where the curriculum has stopped."""
    case = replace(STOP if stopped_by == "curriculum" else LOSS, save_every=1)
    changed: dict[str, Any] = {"max_steps": 33} if stopped_by == "max_steps" else {}
    run(case, tmp_path, **changed)
    seen = seen_in(tmp_path)
    assert newest(tmp_path).stem == f"step={len(seen.losses)}"
    run(case, tmp_path, True, **changed)
    assert seen_in(tmp_path) == seen


def test_a_resume_inside_an_epoch_is_told_of(tmp_path: Path) -> None:
    """Lightning starts the loader over: the adapter says so, and names what helps."""
    case = replace(LOSS, save_every=30)
    run(case, tmp_path)
    middle = tmp_path / CHECKPOINTS / "step=30.ckpt"
    with pytest.warns(match="goes on inside an epoch, and Lightning starts its loader from the front"):
        fit(case, tmp_path, trainer_of(case, tmp_path), checkpoint=middle)
    assert seen_in(tmp_path).losses == expected(LOSS).losses


@pytest.mark.slow
def test_resumed_inside_an_epoch(tmp_path: Path) -> None:
    """With a loader that remembers its place, a run that goes on inside an epoch ends as the uncut one."""
    stateful = pytest.importorskip("torchdata.stateful_dataloader")
    case = replace(MIDDLE, workers=0, kill_at=None)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    loaders = [stateful.StatefulDataLoader(epoch_of(case), batch_size=ROWS) for _ in range(2)]
    fit(case, whole, trainer_of(case, whole), loader=loaders[0])
    cut.mkdir()
    middle = whole / CHECKPOINTS / "step=30.ckpt"
    fit(case, cut, trainer_of(case, cut), checkpoint=middle, loader=loaders[1])
    one, other = seen_in(whole), seen_in(cut)
    assert other.losses == one.losses[30:]
    assert other.rates == one.rates[30:]
    assert other.widths == one.widths[30 * case.accumulation :]


def test_max_steps_and_early_stopping_beside_a_curriculum(tmp_path: Path) -> None:
    """Lightning's own limits end a run; what the curriculum did until then is unchanged."""
    stopping = EarlyStopping("val_loss", patience=3)
    whole = expected(EVALUATION)
    trainer = trainer_of(EVALUATION, tmp_path, callbacks=[stopping, curriculum(EVALUATION, tmp_path)])
    fit(EVALUATION, tmp_path, trainer)
    seen = seen_in(tmp_path)
    steps = len(seen.losses)
    assert 0 < steps < len(whole.losses)
    assert (seen.losses, seen.rates) == (whole.losses[:steps], whole.rates[:steps])
    limited = tmp_path / "limited"
    run(LOSS, limited, max_steps=33)
    assert seen_in(limited).losses == expected(LOSS).losses[:33]


def test_a_callback_that_is_added_twice_is_refused(tmp_path: Path) -> None:
    """Lightning itself refuses a second one: both would have one place in its checkpoint."""
    with pytest.raises(RuntimeError, match="more than one stateful callback of type `CurriculumCallback`"):
        trainer_of(LOSS, tmp_path, callbacks=[curriculum(LOSS), curriculum(LOSS)])


class TwoOptimizers(ScriptedModule):
    """Two optimizers, stepped by hand."""

    automatic_optimization = False

    def configure_optimizers(self) -> Any:
        """One for each part."""
        return [WatchedSGD([group], self.watched) for group in self.model.groups()]


def test_two_optimizers_are_refused(tmp_path: Path) -> None:
    """Lightning counts the steps of both together, so that no step of one loss is meant."""
    module = TwoOptimizers(LOSS, tmp_path)
    module.automatic_optimization = False
    with pytest.raises(WiringError, match="has 2 optimizers, whose steps are counted together"):
        trainer_of(LOSS, tmp_path).fit(module, loader_of(LOSS))


class ByHand(ScriptedModule):
    """Manual optimization, with accumulation of its own.

    Args:
        returns: whether its training step returns the loss.
    """

    returns = True

    def training_step(self, batch: Any, number: int) -> Any:
        """Forward, backward, and a step of the optimizer after the last micro-batch."""
        loss = super().training_step(batch, number)
        self.manual_backward(loss / self.case.accumulation)
        if (number + 1) % self.case.accumulation == 0:
            optimizer: Any = self.optimizers()
            optimizer.step()
            optimizer.zero_grad()
        return loss if self.returns else None


def test_manual_optimization(tmp_path: Path) -> None:
    """A module that steps by itself, after four micro-batches: losses, rates and widths are those of the plan."""
    module = ByHand(ACCUMULATION, tmp_path)
    module.automatic_optimization = False
    trainer = trainer_of(ACCUMULATION, tmp_path, accumulate_grad_batches=1)
    trainer.callbacks[0] = CurriculumCallback(
        curriculum_of(LOSS), shape={"seq_len": cut_length}, out=tmp_path / RUN, epochs=3, steps_per_epoch=20
    )
    trainer.fit(module, loader_of(ACCUMULATION))
    assert seen_in(tmp_path) == expected(ACCUMULATION)


def test_a_training_step_without_a_loss_is_refused(tmp_path: Path) -> None:
    """The curriculum lives on the loss: who returns none is told to."""
    module = ByHand(LOSS, tmp_path)
    module.automatic_optimization, module.returns = False, False
    with pytest.raises(WiringError, match="training_step returned no loss"):
        trainer_of(LOSS, tmp_path).fit(module, loader_of(LOSS))


def test_a_checkpoint_without_the_curriculums_state_is_refused(tmp_path: Path) -> None:
    """A run without a curriculum is not gone on with as if nothing had happened: the refusal names the remedy."""
    case = replace(LOSS, save_every=20)
    fit(case, tmp_path, trainer_of(case, tmp_path, callbacks=[], max_epochs=1))
    with pytest.raises(WiringError, match=r"goes on at step 20, and there is no state .* adopt\(step=20\)"):
        run(case, tmp_path, True)


def test_the_state_is_plain_data(tmp_path: Path) -> None:
    """torch reads it with `weights_only`, under a name that no setting of the callback changes."""
    case = replace(LOSS, save_every=20)
    run(case, tmp_path)
    saved = torch.load(newest(tmp_path), weights_only=True)
    assert saved["callbacks"]["PlateauRule"]["framework"] == "lightning"


class Pairs(LightningModule):
    """Batches are tuples, of tokens and of what the data module made of them."""

    def __init__(self, case: Any, folder: Path) -> None:
        super().__init__()
        self.inner = ScriptedModule(case, folder)

    def training_step(self, batch: Any, number: int) -> Any:
        """The loss; both tensors have the knob's width."""
        ids, doubled = batch
        assert torch.equal(ids * 2, doubled)
        return self.inner.training_step({"input_ids": ids}, number)

    def configure_optimizers(self) -> Any:
        """Those of the module inside."""
        return self.inner.configure_optimizers()


class Doubling(LightningDataModule):
    """Makes pairs in the hook in which batches are shaped."""

    def train_dataloader(self) -> Any:
        """Rows of tokens."""
        return loader_of(LOSS)

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """A pair out of a batch."""
        return batch["input_ids"], batch["input_ids"] * 2


def test_tuples_of_a_data_module_with_a_hook_of_its_own(tmp_path: Path) -> None:
    """The late transform comes after the user's own hook, and is gone after training."""
    data = Doubling()
    trainer_of(LOSS, tmp_path).fit(Pairs(LOSS, tmp_path), datamodule=data)
    assert seen_in(tmp_path) == expected(LOSS)
    assert "on_before_batch_transfer" not in vars(data)


def test_requests_are_carried_out(tmp_path: Path) -> None:
    """A transition asks for an evaluation and a checkpoint: both come at its step, and Lightning's interval stays."""
    asking = LOSS.curriculum.replace('actions = ["lr_restart"]', 'actions = ["lr_restart", "checkpoint", "evaluate"]')
    case = replace(LOSS, curriculum=asking, evaluate_every=20, val_losses=(1,) * 9)
    trainer = trainer_of(case, tmp_path)
    module = fit(case, tmp_path, trainer)
    steps = [step for step, _, _ in expected(LOSS).decisions]
    assert {path.stem for path in tmp_path.rglob("plateau-step=*.ckpt")} == {f"plateau-step={step}" for step in steps}
    assert int(module.model.given[1]) == 3 + len([step for step in steps if step % 20])
    assert trainer.val_check_batch == 20


def test_a_request_that_is_left_to_the_user_is_told_of(tmp_path: Path) -> None:
    """A signal is the user's own affair: whoever forgets it hears of it."""
    asking = LOSS.curriculum.replace('actions = ["lr_restart"]', 'actions = ["lr_restart", { signal = "grow" }]')
    case = replace(LOSS, curriculum=asking)
    with pytest.warns(match="asks for signal grow, which the callback leaves to you"):
        fit(case, tmp_path, trainer_of(case, tmp_path))


def test_a_batch_that_is_not_shaped_is_seen(tmp_path: Path) -> None:
    """Canary: where the callback shapes no batch, widths are not those of the plan."""
    own = CurriculumCallback(curriculum_of(LOSS), applied=["seq_len"], out=tmp_path / RUN)
    fit(LOSS, tmp_path, trainer_of(LOSS, tmp_path, callbacks=[own]))
    assert seen_in(tmp_path).losses == expected(LOSS).losses
    assert seen_in(tmp_path).widths != expected(LOSS).widths
