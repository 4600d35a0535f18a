"""What can go wrong between the Trainer of transformers and a curriculum: each trap, with the real library."""

from __future__ import annotations

import json
from dataclasses import replace
from math import isnan
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("transformers")
from transformers import EarlyStoppingCallback, LlamaConfig, LlamaForCausalLM, Trainer, TrainerCallback

from plateau_rule import Controller
from plateau_rule.adapters.errors import WiringError
from plateau_rule.adapters.shapes import cut_length
from plateau_rule.adapters.transformers import CurriculumCallback
from tests.conformance.cases import CASES, MIDDLE, RATIOS, ROWS, STOPPED_BY_EVALUATION, Case, curriculum_of, expected
from tests.conformance.drivers.drive_transformers import CHECKPOINTS, arguments, curriculum, newest, run, trainer_of
from tests.conformance.scripted import ScriptedModel, tokens
from tests.conformance.test_conformance import carried_out
from tests.conformance.watching import WatchedSGD, seen_in, watched_in, watched_of

# What the library warns of is its own; what the adapter warns of is an error.
pytestmark = pytest.mark.filterwarnings("ignore", "error::plateau_rule.adapters.errors.WiringWarning")
LOSS, NAN, STOP, EVALUATION = (
    next(case for case in CASES if case.name == name) for name in ("loss", "nan", "stop", "evaluation")
)


def logged(trainer: Trainer, key: str) -> list[float]:
    """What the trainer's own log says of the steps."""
    return [row[key] for row in trainer.state.log_history if "loss" in row]


def test_the_trainers_own_scheduler_counts_on_and_sets_no_rate(tmp_path: Path) -> None:
    """A scheduler with warm-up is left in: rates are the curriculum's, and its own state is in the checkpoint."""
    trainer = trainer_of(replace(LOSS, save_every=20), tmp_path, lr_scheduler_type="cosine", warmup_steps=10)
    trainer.train()
    assert seen_in(tmp_path).rates == expected(LOSS).rates
    assert type(trainer.lr_scheduler) is torch.optim.lr_scheduler.LambdaLR, "the trainer has its own back"
    assert trainer.lr_scheduler.last_epoch == len(LOSS.losses)
    assert torch.load(tmp_path / CHECKPOINTS / "checkpoint-20" / "scheduler.pt")["last_epoch"] == 20


def test_a_scheduler_that_watches_a_metric_sets_no_rate(tmp_path: Path) -> None:
    """ReduceLROnPlateau, which the trainer steps after evaluations, changes nothing."""
    case = replace(LOSS, evaluate_every=5, val_losses=(3.0,) * 12)
    run(case, tmp_path, lr_scheduler_type="reduce_lr_on_plateau", metric_for_best_model="loss")
    assert seen_in(tmp_path).rates == expected(LOSS).rates


def test_the_logged_rate_is_the_one_in_force(tmp_path: Path) -> None:
    """Each row of the log has the rate, the state and the knob of its own step; decisions are in the log as well."""
    trainer = trainer_of(LOSS, tmp_path)
    trainer.train()
    seen = seen_in(tmp_path)
    assert logged(trainer, "learning_rate") == [rates[0] for rates in seen.rates]
    assert logged(trainer, "plateau/lr") == [rates[1] for rates in seen.rates]
    assert logged(trainer, "plateau/seq_len") == seen.widths
    told = [row["step"] for row in trainer.state.log_history if "plateau/decision" in row]
    assert told == [step for step, _, _ in seen.decisions]


def test_nan_is_observed_though_the_log_hides_it(tmp_path: Path) -> None:
    """The trainer's filter keeps NaN out of its log; the curriculum sees it and answers."""
    trainer = trainer_of(NAN, tmp_path)
    trainer.train()
    assert sum(map(isnan, seen_in(tmp_path).losses)) == 4
    assert not any(map(isnan, logged(trainer, "loss")))
    assert seen_in(tmp_path).decisions == expected(NAN).decisions


@pytest.mark.slow
def test_killed_inside_an_epoch_and_resumed(tmp_path: Path) -> None:
    """After SIGKILL in the middle of an epoch: losses, rates, widths and decisions go on as in the uncut run."""
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    run(replace(MIDDLE, kill_at=None), whole)
    cut.mkdir()
    assert carried_out("transformers", MIDDLE, cut) == -9
    (cut / watched_of(0)).unlink()
    step = int(newest(cut).name.partition("-")[2])
    assert step % MIDDLE.steps_per_epoch
    run(MIDDLE, cut, True, restore_callback_states_from_checkpoint=True)
    one, other = seen_in(whole), seen_in(cut)
    assert other.losses == one.losses
    assert other.decisions == one.decisions
    assert other.rates == one.rates[step:]
    assert other.widths == one.widths[step * MIDDLE.accumulation :]


@pytest.mark.parametrize("restored", [False, True], ids=["flag-off", "flag-on"])
def test_the_users_own_object_stays_in_use(restored: bool, tmp_path: Path) -> None:
    """After a resume the callback that the user made holds the run, whether the trainer restores callbacks or not."""
    case = replace(LOSS, save_every=30)
    run(case, tmp_path)
    own = curriculum(case, tmp_path)
    trainer = trainer_of(
        case, tmp_path, callbacks=[own], restore_callback_states_from_checkpoint=restored, max_steps=60
    )
    trainer.train(resume_from_checkpoint=str(tmp_path / CHECKPOINTS / "checkpoint-30"))
    assert [each for each in trainer.callback_handler.callbacks if isinstance(each, CurriculumCallback)] == [own]
    assert own.rule.plan.step == 60
    assert seen_in(tmp_path).losses == list(LOSS.losses)
    assert seen_in(tmp_path).rates[60:] == expected(LOSS).rates[30:]


@pytest.mark.parametrize("stopped_by", ["epochs", "max_steps", "curriculum"])
def test_a_finished_run_that_is_resumed_trains_no_step(stopped_by: str, tmp_path: Path) -> None:
    """Neither at the end of its epochs, nor in the middle of one, nor where the curriculum has stopped."""
    case = replace(STOP if stopped_by == "curriculum" else LOSS, save_every=1)
    changed: dict[str, Any] = {"save_total_limit": 1} | ({"max_steps": 33} if stopped_by == "max_steps" else {})
    run(case, tmp_path, **changed)
    seen = seen_in(tmp_path)
    assert newest(tmp_path).name == f"checkpoint-{len(seen.losses)}"
    run(case, tmp_path, True, **changed)
    assert seen_in(tmp_path) == seen
    assert len(list((tmp_path / CHECKPOINTS).glob("checkpoint-*"))) == 1


def test_evaluations_at_the_start_and_after_the_run_do_not_count(tmp_path: Path) -> None:
    """`eval_on_start` and an evaluation of the user's own, later, are no part of the run."""
    case = replace(EVALUATION, val_losses=(9, *EVALUATION.val_losses, 9))
    trainer = trainer_of(case, tmp_path, eval_on_start=True)
    trainer.train()
    assert trainer.evaluate()["eval_loss"] == 9
    assert seen_in(tmp_path) == expected(EVALUATION)


def test_an_evaluation_decides_in_its_own_step(tmp_path: Path) -> None:
    """A checkpoint of the step of an evaluation holds its decision, the log tells it, and a resumed run goes on so."""
    case = replace(EVALUATION, save_every=5)
    trainer = trainer_of(case, tmp_path)
    trainer.train()
    whole = seen_in(tmp_path)
    told = [row["step"] for row in trainer.state.log_history if "plateau/decision" in row]
    assert told == [step for step, _, _ in whole.decisions]
    step = whole.decisions[0][0]
    (tmp_path / watched_of(0)).unlink()
    # It evaluates at the start: what the checkpoint's step has brought already does not count again.
    case = replace(case, val_losses=(9, *case.val_losses))
    again = trainer_of(case, tmp_path, eval_on_start=True)
    again.train(resume_from_checkpoint=str(tmp_path / CHECKPOINTS / f"checkpoint-{step}"))
    seen = seen_in(tmp_path)
    assert (seen.decisions, seen.losses) == (whole.decisions, whole.losses)
    assert seen.rates == whole.rates[step:]


def test_an_evaluation_stops_the_run(tmp_path: Path) -> None:
    """The trainer ends at the step whose evaluation the curriculum stops at, and saves where it is asked to."""
    trainer = trainer_of(replace(EVALUATION, curriculum=STOPPED_BY_EVALUATION, val_losses=(3, 2.5, 1.5)), tmp_path)
    trainer.train()
    assert trainer.state.global_step == 15
    assert newest(tmp_path).name == "checkpoint-15"


def test_several_evaluation_sets_are_one_evaluation(tmp_path: Path) -> None:
    """The sets of a dict come one after another; a guard on the last sees them all as one evaluation."""
    text = EVALUATION.curriculum.replace("val_loss", "eval_b_loss")
    paired = tuple(loss for own in EVALUATION.val_losses for loss in (7, own))
    trainer = trainer_of(replace(EVALUATION, curriculum=text, val_losses=paired), tmp_path)
    trainer.eval_dataset = {"a": tokens(ROWS), "b": tokens(ROWS)}
    trainer.train()
    assert seen_in(tmp_path) == expected(EVALUATION)


def test_max_steps_ends_a_run(tmp_path: Path) -> None:
    """`max_steps` in the middle of an epoch: the curriculum goes as far as that."""
    run(LOSS, tmp_path, max_steps=33)
    whole, seen = expected(LOSS), seen_in(tmp_path)
    assert seen.losses == whole.losses[:33]
    assert len(seen.rates) == 33


def test_early_stopping_and_the_best_model_beside_a_curriculum(tmp_path: Path) -> None:
    """The trainer's own early stopping ends the run; what the curriculum did until then is unchanged."""
    best: dict[str, Any] = {"load_best_model_at_end": True, "metric_for_best_model": "loss", "greater_is_better": False}
    trainer = trainer_of(replace(EVALUATION, save_every=5), tmp_path, **best)
    trainer.add_callback(EarlyStoppingCallback(early_stopping_patience=3))
    trainer.train()
    whole, seen = expected(EVALUATION), seen_in(tmp_path)
    steps = len(seen.losses)
    assert 0 < steps < len(whole.losses)
    assert seen.losses == whole.losses[:steps]
    assert seen.rates == whole.rates[:steps]
    assert seen.decisions == [decision for decision in whole.decisions if decision[0] <= steps]
    assert Path(trainer.state.best_model_checkpoint).name == "checkpoint-25"
    assert int(trainer.model.given[0]) == 25, "the weights are those of the best step"


def test_a_callback_that_is_added_twice_is_refused(tmp_path: Path) -> None:
    """Two curricula cannot own one rate: whoever adds a second hears so before the first step."""
    with pytest.raises(WiringError, match="has 2 CurriculumCallbacks, and one curriculum owns the rate"):
        trainer_of(LOSS, tmp_path, callbacks=[curriculum(LOSS), curriculum(LOSS)])
    trainer = trainer_of(LOSS, tmp_path)
    trainer.add_callback(curriculum(LOSS))
    with pytest.raises(WiringError, match="has 2 CurriculumCallbacks"):
        trainer.train()


def test_a_callback_that_is_added_later_works_as_well(tmp_path: Path) -> None:
    """`add_callback` comes after the hook in which the others find their trainer."""
    trainer = trainer_of(LOSS, tmp_path, callbacks=[])
    trainer.add_callback(curriculum(LOSS, tmp_path))
    trainer.train()
    assert seen_in(tmp_path) == expected(LOSS)


def test_a_second_run_begins_anew(tmp_path: Path) -> None:
    """`train()` a second time is a new run, under the same methods, which are wrapped once."""
    own = curriculum(LOSS)
    trainer = trainer_of(LOSS, tmp_path, callbacks=[own])
    for _ in range(2):
        trainer.model.given.zero_()
        for group, ratio in zip(trainer.optimizer.param_groups, RATIOS, strict=True):
            group["lr"] = ratio
        trainer.train()
        told = [row for row in trainer.state.log_history if "plateau/decision" in row]
        assert [row["step"] for row in told] == [step for step, _, _ in expected(LOSS).decisions]


def test_a_checkpoint_without_the_curriculums_state_is_refused(tmp_path: Path) -> None:
    """A run without a curriculum is not gone on with as if nothing had happened: the refusal names the remedy."""
    case = replace(LOSS, save_every=30)
    trainer_of(case, tmp_path, callbacks=[], max_steps=30).train()
    with pytest.raises(WiringError, match=r"goes on at step 30, and there is no state .* adopt\(step=30\)"):
        run(case, tmp_path, True)


def test_a_checkpoint_without_state_can_be_adopted(tmp_path: Path) -> None:
    """What the refusal proposes works: a Controller that was told where the run stands."""
    case = replace(LOSS, save_every=30)
    trainer_of(case, tmp_path, callbacks=[], max_steps=30).train()
    (tmp_path / watched_of(0)).unlink()
    controller = Controller(curriculum_of(LOSS), epochs=LOSS.epochs, steps_per_epoch=LOSS.steps_per_epoch)
    controller.adopt(step=30, knobs={"seq_len": 16})
    own = CurriculumCallback(controller, shape={"seq_len": cut_length})
    trainer = trainer_of(case, tmp_path, callbacks=[own])
    trainer.train(resume_from_checkpoint=str(newest(tmp_path)))
    watched = [json.loads(line) for line in (tmp_path / watched_of(0)).read_text().splitlines()]
    widths = [value for kind, value in watched if kind == "width"]
    assert (widths[0], len(widths)) == (16, 30)
    saved = json.loads((newest(tmp_path) / "trainer_state.json").read_text())
    assert saved["stateful_callbacks"]["CurriculumCallback"]["attributes"]["curriculum"]["framework"] == "transformers"


def test_a_checkpoint_of_a_curriculum_resumes_without_it(tmp_path: Path) -> None:
    """Whoever takes the callback out can go on: the scheduler's state in the checkpoint is its own."""
    case = replace(LOSS, save_every=30)
    run(case, tmp_path)
    trainer = trainer_of(case, tmp_path, callbacks=[])
    trainer.train(resume_from_checkpoint=str(tmp_path / CHECKPOINTS / "checkpoint-30"))
    assert trainer.state.global_step == 60


class OtherSchedule(TrainerCallback):
    """A second owner of the rate."""

    def on_step_begin(self, *args: Any, **context: Any) -> None:
        """Set a rate of its own."""
        for group in context["optimizer"].param_groups:
            group["lr"] = 1.0


def test_a_second_owner_of_the_rate_is_told_of_and_overruled(tmp_path: Path) -> None:
    """Another callback sets rates too: one warning, and the curriculum's are in force all the same."""
    trainer = trainer_of(LOSS, tmp_path)
    trainer.add_callback(OtherSchedule())
    with pytest.warns(match="something else sets it too") as told:
        trainer.train()
    assert len([one for one in told if "something else" in str(one.message)]) == 1
    assert seen_in(tmp_path).rates == expected(LOSS).rates


def test_a_knob_that_nobody_applies_is_told_of(tmp_path: Path) -> None:
    """Without a function for its knob the curriculum moves nothing, and says so."""
    trainer = trainer_of(LOSS, tmp_path, callbacks=[CurriculumCallback(curriculum_of(LOSS))])
    with pytest.warns(match="nobody applies seq_len"):
        trainer.train()


@pytest.mark.parametrize("accumulation", [1, 4])
def test_a_language_models_losses_are_those_of_the_log(accumulation: int, tmp_path: Path) -> None:
    """A model that counts tokens over the whole step, padding left out: what is observed is what the trainer logs."""
    torch.manual_seed(0)
    size = {"vocab_size": 128, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1}
    model = LlamaForCausalLM(LlamaConfig(**size, num_attention_heads=1))
    case: Case = replace(LOSS, accumulation=accumulation)
    data = tokens(ROWS * 10 * accumulation)
    for number, row in enumerate(data):
        row["labels"] = row["labels"].clone()
        row["labels"][: number % 7] = -100
    groups = [{"params": list(model.parameters()), "lr": 1.0}]
    trainer = Trainer(
        model,
        arguments(tmp_path, case, num_train_epochs=2),
        train_dataset=data,
        callbacks=[curriculum(case, tmp_path)],
        optimizers=(WatchedSGD(groups, watched_in(tmp_path)), None),
    )
    trainer.train()
    losses = seen_in(tmp_path).losses
    assert len(losses) == 20
    assert logged(trainer, "loss") == pytest.approx(losses, abs=1e-4)


def test_a_request_that_is_left_to_the_user_is_told_of(tmp_path: Path) -> None:
    """A signal is the user's own affair: whoever forgets it hears of it."""
    asking = LOSS.curriculum.replace('actions = ["lr_restart"]', 'actions = ["lr_restart", { signal = "grow" }]')
    case = replace(LOSS, curriculum=asking)
    with pytest.warns(match="asks for signal grow, which the callback leaves to you"):
        trainer_of(case, tmp_path).train()


def test_a_batch_that_is_not_shaped_is_seen(tmp_path: Path) -> None:
    """Canary: where the callback shapes no batch, widths are not those of the plan."""
    own = CurriculumCallback(curriculum_of(LOSS), applied=["seq_len"], out=tmp_path / "run")
    trainer_of(LOSS, tmp_path, callbacks=[own]).train()
    assert seen_in(tmp_path).losses == expected(LOSS).losses
    assert seen_in(tmp_path).widths != expected(LOSS).widths


def test_micro_batches_differ(tmp_path: Path) -> None:
    """Canary: the prescribed losses differ from one micro-batch to the next, so that a sum of the wrong ones shows."""
    model = ScriptedModel(replace(LOSS, accumulation=4), watched_in(tmp_path))
    first, second = (float(model(torch.zeros(1, 4, dtype=torch.int64))["loss"]) for _ in range(2))
    assert first != second
