"""Keras 3: exact losses, what is compiled, its own files, its own callbacks, and wrong use that gets a sentence."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("KERAS_BACKEND", "jax")
pytest.importorskip("keras")
pytest.importorskip("jax")


import keras
import numpy as np

from plateau_rule import loads
from plateau_rule.adapters.errors import WiringError
from plateau_rule.adapters.keras import CurriculumCallback
from plateau_rule.adapters.sidecar import SUFFIX
from tests.conformance.cases import BY_LOSS, CASES, KILLED, LADDER, STOPPED_BY_EVALUATION, Case, expected
from tests.conformance.drivers import in_its_numbers
from tests.conformance.drivers.drive_keras import CHECKPOINTS, curriculum, cut, fit, model_of, newest
from tests.conformance.watching import RUN, seen_in, watched_of

# What the library warns of is its own; what the adapter warns of is an error.
pytestmark = pytest.mark.filterwarnings("ignore", "error::plateau_rule.adapters.errors.WiringWarning")
LOSS, STOP, EVALUATION = (next(case for case in CASES if case.name == name) for name in ("loss", "stop", "evaluation"))
BACKEND = keras.backend.backend()
CONSTANT = loads('name = "constant"\nlr = { peak = 0.01, shape = "constant" }\nstate = [{ name = "only" }]')


def plain(optimizer: Any = None, **compiled: Any) -> Any:
    """A small model of Keras's own, compiled."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((None, 1)), keras.layers.GlobalAveragePooling1D(), keras.layers.Dense(1)])
    model.compile(**{"optimizer": optimizer or keras.optimizers.Adam(0.5), "loss": "mse"} | compiled)
    return model


def data(rows: int = 20) -> tuple[Any, Any]:
    """Rows of eight numbers, and their sums."""
    x = np.random.default_rng(0).random((rows, 8, 1), np.float32)
    return x, x.sum((1, 2))


def test_the_loss_of_a_step_is_exact_after_a_long_epoch(tmp_path: Path) -> None:
    """After 3,000 batches of a large loss, the loss of a step has all its digits; the means' difference has not."""
    x = np.ones((12_000, 1, 1), np.float32)
    wanted = np.linspace(100.0, 200.0, 3000, dtype=np.float32)
    y = np.repeat(np.sqrt(wanted), 4)

    def told(target: Any, given: Any) -> Any:
        return keras.ops.square(target) + 0 * given

    model = plain(keras.optimizers.SGD(0.1), loss=told)
    means: list[float] = []
    keep = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: means.append(logs["loss"]))
    own = CurriculumCallback(CONSTANT, out=tmp_path / RUN)
    model.fit(x, y, batch_size=4, verbose=0, shuffle=False, callbacks=[own, keep])
    rows = [json.loads(line)["loss"] for line in (tmp_path / RUN / "metrics.jsonl").read_text().splitlines()]
    truth = np.square(np.sqrt(wanted)).astype(float)
    totals = np.array(means) * np.arange(1, 3001)
    assert np.max(np.abs(np.array(rows) / truth - 1)) < 3e-7
    assert np.max(np.abs(np.diff(totals, prepend=0) / truth - 1)) > 1e-4


@pytest.mark.skipif(BACKEND == "torch", reason="torch compiles nothing here")
def test_one_compilation_a_rung_and_none_for_a_rate(tmp_path: Path) -> None:
    """Sixty steps, as many rates, three widths: the step is traced three times."""
    model = model_of(LOSS, tmp_path)
    traced, inner = [], model.train_step

    def train_step(state: Any, batch: Any) -> Any:
        traced.append(batch[0].shape[1])
        return inner(state, batch)

    model.train_step = train_step
    fit(LOSS, tmp_path, model, [curriculum(LOSS, tmp_path)])
    assert traced == [8, 16, 32]


def test_backup_and_restore_brings_the_curriculum_back(tmp_path: Path) -> None:
    """Keras's own way to resume: the state is found beside its file, without a word, and the run ends as the uncut."""
    case = replace(LOSS, learns=True)
    whole, parted = tmp_path / "whole", tmp_path / "parted"
    whole.mkdir()
    parted.mkdir()

    class Died(Exception):
        pass

    def die(batch: int, logs: Any) -> None:
        if int(model.optimizer.iterations) == 47:
            raise Died

    backup = keras.callbacks.BackupAndRestore
    fit(case, whole, model_of(case, whole))
    model = model_of(case, parted)
    own = [backup(parted / "backup"), curriculum(case, parted)]
    with pytest.raises(Died):
        fit(case, parted, model, [*own, keras.callbacks.LambdaCallback(on_train_batch_end=die)])
    (parted / watched_of(0)).unlink()
    fit(case, parted, model_of(case, parted), [curriculum(case, parted), backup(parted / "backup")])
    one, other = seen_in(whole), seen_in(parted)
    assert (other.losses, other.decisions) == (one.losses, one.decisions)
    assert other.rates == one.rates[40:]
    assert not (parted / "backup").exists()


def test_a_model_file_and_its_state(tmp_path: Path) -> None:
    """What save() writes is found again by the name of the file; not for other weights, nor where it is missing."""
    model, (x, y) = plain(), data()
    model.fit(x, y, 4, verbose=0, epochs=2, callbacks=[CurriculumCallback(CONSTANT, epochs=4, steps_per_epoch=5)])
    model.save(tmp_path / "model.keras")

    def go_on(model: Any, **said: Any) -> CurriculumCallback:
        own = CurriculumCallback(CONSTANT, resume_from=tmp_path / "model.keras", epochs=4, steps_per_epoch=5, **said)
        model.fit(x, y, 4, verbose=0, epochs=4, initial_epoch=2, callbacks=[own])
        return own

    again = keras.models.load_model(tmp_path / "model.keras")
    assert go_on(again).rule.plan.step == 20
    other = keras.models.load_model(tmp_path / "model.keras")
    other.layers[-1].bias.assign([7.0])
    with pytest.raises(WiringError, match="holds the state of other weights than the model's"):
        go_on(other)
    (tmp_path / f"model.keras{SUFFIX}").unlink()
    with pytest.raises(WiringError, match=r"missing\. It is written beside the model by its save"):
        go_on(keras.models.load_model(tmp_path / "model.keras"))


def test_a_file_that_was_not_overwritten_keeps_its_state(tmp_path: Path) -> None:
    """Killed between the state and the model: the weights that are there find their own state, the one before."""
    case = replace(KILLED, kill_at=None, workers=0, accumulation=1, save_every=20)
    same = tmp_path / CHECKPOINTS / "last.weights.h5"
    saving = keras.callbacks.ModelCheckpoint(same, save_weights_only=True, save_freq=20)

    def keep(epoch: int, logs: Any) -> None:
        if epoch == 1:
            shutil.copy(same, tmp_path / "older")

    keeping = keras.callbacks.LambdaCallback(on_epoch_end=keep)
    fit(replace(case, save_every=0), tmp_path, model_of(case, tmp_path), [saving, curriculum(case, tmp_path), keeping])
    assert len(json.loads(same.with_name(same.name + SUFFIX).read_text())["states"]) == 2
    shutil.copy(tmp_path / "older", same)
    whole = seen_in(tmp_path)
    model = model_of(case, tmp_path)
    model.load_weights(same)
    fit(replace(case, save_every=0), tmp_path, model, [saving, curriculum(case, tmp_path)], initial_epoch=2)
    assert seen_in(tmp_path).losses == whole.losses
    assert seen_in(tmp_path).decisions == whole.decisions


@pytest.mark.parametrize(
    ("compiled", "told"),
    [
        ({"optimizer": keras.optimizers.schedules.CosineDecay(0.1, 10)}, "learning_rate is a schedule"),
        ({"steps_per_execution": 4}, "can only change every 4 steps"),
    ],
)
def test_what_cannot_be_paced_is_refused(compiled: dict[str, Any], told: str) -> None:
    """A rate that is a schedule, and several steps in one call, which Keras itself refuses on torch."""
    refusal: type[Exception] = WiringError
    if BACKEND == "torch" and "steps_per_execution" in compiled:
        refusal, told = ValueError, "must be 1 with the PyTorch backend"
    if "optimizer" in compiled:
        compiled = {"optimizer": keras.optimizers.Adam(compiled["optimizer"])}
    with pytest.raises(refusal, match=told):
        plain(**compiled).fit(*data(), verbose=0, callbacks=[CurriculumCallback(CONSTANT)])


def test_wrong_use_gets_a_sentence() -> None:
    """Two curricula, a model that has stepped without one, and a train_step that keeps its loss to itself."""
    x, y = data()
    with pytest.raises(WiringError, match="two CurriculumCallbacks"):
        plain().fit(x, y, verbose=0, callbacks=[CurriculumCallback(CONSTANT), CurriculumCallback(CONSTANT)])
    model = plain()
    model.fit(x, y, verbose=0)
    with pytest.raises(WiringError, match=r"goes on at step 1, and there is no state .* adopt\(step=1\)"):
        model.fit(x, y, verbose=0, callbacks=[CurriculumCallback(CONSTANT)])

    class Silent(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.dense = keras.layers.Dense(1)

        def call(self, x: Any) -> Any:
            return self.dense(x[:, 0])

        def train_step(self, *given: Any) -> Any:
            if BACKEND == "torch":
                self.optimizer.iterations.assign_add(1)
                return {"loss": 1.0}
            trainable, others, optimizer, metrics = given[0]
            moved = [each + 1 for each in optimizer[:1]]
            return {"loss": 1.0}, (trainable, others, [*moved, *optimizer[1:]], metrics)

    silent = Silent()
    silent.compile("sgd", "mse")
    with pytest.raises(WiringError, match="training went past the mean of the loss"):
        silent.fit(x, y, verbose=0, callbacks=[CurriculumCallback(CONSTANT)])


def test_data_of_unknown_length() -> None:
    """A generator: a curriculum that looks at epochs asks for steps_per_epoch, and another one trains."""
    x, y = data()

    def batches() -> Any:
        yield from ((x[place : place + 4], y[place : place + 4]) for place in range(0, 20, 4))

    asking = LADDER.format(name="by-epoch") + '\n[[transition]]\nfrom = "*"\nto = "next"\nat = "epoch"\n'
    asking += 'guards = [{ patience = { steps = 1 } }]\nactions = ["lr_restart"]'
    own = CurriculumCallback(loads(asking), shape={"seq_len": cut}, checked=False)
    with pytest.raises(WiringError, match="Give fit steps_per_epoch"):
        plain().fit(batches(), verbose=0, callbacks=[own])
    own = CurriculumCallback(CONSTANT)
    plain().fit(batches(), verbose=0, callbacks=[own])
    assert own.rule.plan.step == 5


def test_where_fit_goes_on_is_told() -> None:
    """A forgotten initial_epoch, and a place inside an epoch, which Keras begins anew."""
    x, y = data(40)
    for steps, told in ((5, "Give fit initial_epoch=1"), (7, "inside epoch 1, and Keras begins an epoch anew")):
        model = plain()
        own = CurriculumCallback(CONSTANT, epochs=9, steps_per_epoch=5)
        model.fit(x[: 4 * steps], y[: 4 * steps], 4, verbose=0, callbacks=[own])
        again = CurriculumCallback(CONSTANT, epochs=9, steps_per_epoch=5)
        again.rule.load(own.rule.state())
        with pytest.warns(match=told):
            model.fit(x[:20], y[:20], 4, verbose=0, epochs=2, callbacks=[again])


def test_another_rate_setter_is_named_and_overruled(tmp_path: Path) -> None:
    """Keras's own scheduler beside a curriculum: told of once; the rate inside each step is the curriculum's."""
    scheduler = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)
    case = replace(LOSS, steps_per_epoch=10)
    model = model_of(case, tmp_path)
    with pytest.warns(match="something else sets it too"):
        fit(case, tmp_path, model, [curriculum(case, tmp_path), scheduler])
    assert seen_in(tmp_path).rates == in_its_numbers("keras", expected(case)).rates


def test_the_curriculum_stops_the_run_and_a_finished_one_trains_no_step(tmp_path: Path) -> None:
    """By the loss, also when it is resumed; and by an evaluation, whose checkpoint holds its state."""
    case = replace(STOP, save_every=1)
    fit(case, tmp_path, model_of(case, tmp_path))
    seen = seen_in(tmp_path)
    model = model_of(case, tmp_path)
    model.load_weights(newest(tmp_path))
    with pytest.warns(match="inside epoch"):
        fit(case, tmp_path, model, initial_epoch=int(model.optimizer.iterations) // 20)
    assert seen_in(tmp_path) == seen == in_its_numbers("keras", expected(case))
    folder = tmp_path / "evaluated"
    folder.mkdir()
    stopped: Case = replace(EVALUATION, curriculum=STOPPED_BY_EVALUATION, val_losses=(3, 2.5, 1.5))
    model = model_of(stopped, folder)
    own = curriculum(stopped, folder, epochs=3, steps_per_epoch=20)
    saving = keras.callbacks.ModelCheckpoint(folder / "{epoch}.weights.h5", save_weights_only=True)
    fit(stopped, folder, model, [saving, own])
    assert int(model.optimizer.iterations) == 15
    assert (folder / f"plateau-step=15.weights.h5{SUFFIX}").exists()


def test_reset_optimizer() -> None:
    """Moments are what they were at first; the count of steps and the rate stay."""
    asking = loads(
        'name = "two"\nlr = { peak = 0.01, shape = "constant" }\nstate = [{ name = "a" }, { name = "b" }]\n'
        '[[transition]]\nfrom = "a"\nto = "b"\nguards = [{ dwell = "5 steps" }]\nactions = ["reset_optimizer"]'
    )
    model = plain(keras.optimizers.Nadam(0.5))
    x, y = data()
    model.fit(x, y, 4, verbose=0, callbacks=[CurriculumCallback(asking, checked=False)])
    values = {each.name: np.array(each) for each in model.optimizer.variables}
    assert int(values.pop("iteration")) == 5
    assert float(values.pop("learning_rate")) == pytest.approx(0.01)
    assert {float(value.sum()) for value in values.values()} <= {0.0, 1.0}  # 1 is the begin of Nadam's product


def test_the_numbers_are_in_the_history() -> None:
    """Rate, state and knobs in force at its end stand among the numbers of an epoch; nothing else is new there."""
    own = CurriculumCallback(loads(BY_LOSS), shape={"seq_len": cut}, checked=False)
    x, y = data()
    history = plain().fit(x, y, 4, verbose=0, epochs=2, validation_data=(x, y), callbacks=[own]).history
    assert set(history) == {"loss", "val_loss", "plateau/lr", "plateau/state", "plateau/seq_len"}
    assert history["plateau/seq_len"] == [8.0, own.rule.plan.knobs["seq_len"]]


def test_a_batch_that_is_not_shaped_is_seen(tmp_path: Path) -> None:
    """Canary: where the callback shapes no batch, widths are not those of the plan."""
    own = CurriculumCallback(loads(LOSS.curriculum), applied=["seq_len"], out=tmp_path / RUN)
    fit(LOSS, tmp_path, model_of(LOSS, tmp_path), [own])
    assert seen_in(tmp_path).losses == expected(LOSS).losses
    assert seen_in(tmp_path).widths != expected(LOSS).widths
