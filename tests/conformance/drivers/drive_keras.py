"""Keras 3, on JAX unless KERAS_BACKEND says torch."""

from __future__ import annotations

import os
import signal
import warnings
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "jax")
import keras
import numpy as np
from keras import ops

from plateau_rule.adapters.errors import WiringWarning
from plateau_rule.adapters.keras import CurriculumCallback
from tests.conformance.cases import ROWS, WIDEST, Case, curriculum_of
from tests.conformance.watching import RUN, Watched, watched_in

CHECKPOINTS = "checkpoints"


def watch(function: Callable[..., None], *values: Any) -> None:
    """Call a function when the step is taken: inside what JAX compiles, and at once in torch."""
    if keras.backend.backend() == "jax":
        io_callback = import_module("jax.experimental").io_callback
        io_callback(function, None, *map(ops.convert_to_tensor, values), ordered=True)
    else:
        function(*values)


class KerasScripted(keras.Model):
    """Gives the losses of a case, one for each batch; how many were given is saved with its weights.

    Args:
        case: the run.
        watched: the width of each batch it is given while training is written there.
    """

    def __init__(self, case: Case, watched: Watched) -> None:
        super().__init__()
        self.case, self.watched = case, watched
        dtype = "mixed_bfloat16" if case.precision == "bf16" else "float32"
        self.slow = keras.layers.Dense(4, activation="tanh", dtype=dtype)
        self.fast = keras.layers.Dense(1, dtype=dtype)

    def build(self, shape: Any = None) -> None:
        """Make the weights."""
        self.slow.build((None, 1))
        self.fast.build((None, 4))
        self.given = self.add_weight(shape=(2,), initializer="zeros", dtype="int32", trainable=False, name="given")

    def call(self, text: Any, training: bool = False) -> Any:
        """The loss of each row; weights count in it only where the case learns. Shape (rows, 1)."""
        told = self.fast(self.slow(ops.mean(ops.cast(text, "float32"), axis=1, keepdims=True) / 100))
        own = ops.square(ops.cast(told, "float32"))
        losses = self.case.micro_losses() if training else (*self.case.val_losses, 0.0)
        place = 0 if training else 1
        prescribed = ops.take(ops.convert_to_tensor(losses, "float32"), self.given[place])
        self.given.assign(self.given + np.eye(2, dtype=np.int32)[place])
        if training:
            width = int(text.shape[1])
            watch(lambda: self.watched.write("width", width))
        return prescribed + own * int(self.case.learns and training)


def as_prescribed(_: Any, told: Any) -> Any:
    """The loss of each row, as the model gives it."""
    return told[:, 0]


class KerasWatchedSGD(keras.optimizers.SGD):
    """SGD that writes down its rate inside each step, and may kill its process there.

    Args:
        watched: the rates are written there.
        kill_at: the step, counted from the start of this process, in which the process is killed; None for never.
        said: what SGD is told.
    """

    def __init__(self, watched: Watched, kill_at: int | None = None, **said: Any) -> None:
        super().__init__(0.5, momentum=0.9, **said)
        self.watched, self.kill_at, self.taken = watched, kill_at, 0

    def _backend_update_step(self, grads: Any, trainable_variables: Any, learning_rate: Any) -> None:
        watch(self._happen, learning_rate, self._iterations)
        super()._backend_update_step(grads, trainable_variables, learning_rate)

    def _happen(self, rate: Any, batches: Any) -> None:
        if (int(batches) + 1) % (self.gradient_accumulation_steps or 1):
            return  # JAX computes the step of every micro-batch, and takes that of the last
        if self.taken == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        self.taken += 1
        self.watched.write("rates", [float(rate)])


class Characters(keras.utils.PyDataset):
    """Batches of ROWS rows, all of them alike: with several workers, each fit of Keras's begins with the second one.

    Args:
        batches: how many there are.
        said: what a PyDataset is told.
    """

    def __init__(self, batches: int, **said: Any) -> None:
        super().__init__(**said)
        self.batches = batches

    def __len__(self) -> int:
        return self.batches

    def __getitem__(self, number: int) -> Any:
        text = np.arange(ROWS * WIDEST, dtype=np.int32).reshape(ROWS, WIDEST) % 97
        return text, np.zeros((ROWS, 1), np.float32)


def cut(batch: tuple[Any, Any], width: int) -> tuple[Any, Any]:
    """Apply the knob seq_len: the first `width` characters of every row."""
    return batch[0][:, :width], batch[1]


def model_of(case: Case, folder: Path, **compiled: Any) -> Any:
    """A compiled model for a case."""
    keras.utils.set_random_seed(0)
    watched = watched_in(folder)
    model = KerasScripted(case, watched)
    steps = case.accumulation if case.accumulation > 1 else None
    optimizer = KerasWatchedSGD(watched, case.kill_at, gradient_accumulation_steps=steps)
    model.compile(**{"optimizer": optimizer, "loss": as_prescribed} | compiled)
    model.build((None, WIDEST))
    optimizer.build(model.trainable_variables)
    return model


def curriculum(case: Case, folder: Path | None = None, **said: Any) -> CurriculumCallback:
    """The callback for a case; it writes a run folder where a folder is given."""
    out = None if folder is None else folder / RUN
    return CurriculumCallback(curriculum_of(case), shape={"seq_len": cut}, out=out, checked=case.checked, **said)


def saving(case: Case, folder: Path) -> Any:
    """Saves as often as the case asks for."""
    path = folder / CHECKPOINTS / "{epoch:02d}-{batch:03d}.weights.h5"
    return keras.callbacks.ModelCheckpoint(path, save_weights_only=True, save_freq=case.save_every * case.accumulation)


def newest(folder: Path) -> Path:
    """The newest checkpoint of a run."""
    return max((folder / CHECKPOINTS).glob("*.weights.h5"))


def fit(case: Case, folder: Path, model: Any, callbacks: list[Any] | None = None, **changed: Any) -> Any:
    """Train a case; the history.

    Args:
        case: the run.
        folder: for everything that is written.
        model: that `model_of` gave.
        callbacks: in place of a CurriculumCallback.
        changed: arguments of Keras's own `fit`.
    """
    own = [curriculum(case, folder)] if callbacks is None else callbacks
    batches = (case.evaluate_every or case.steps_per_epoch) * case.accumulation
    options: dict[str, Any] = {
        "epochs": len(case.losses) * case.accumulation // batches,  # Keras evaluates at the end of an epoch alone
        "callbacks": [saving(case, folder), *own] if case.save_every else own,
        "verbose": 0,
        "shuffle": False,
    }
    if case.evaluate_every:
        options["validation_data"] = Characters(1)
    return model.fit(Characters(batches, workers=case.workers), **options | changed)


def run(case: Case, folder: Path, resume: bool = False) -> None:
    """Carry a case out."""
    if resume:
        case = replace(case, kill_at=None)
    model = model_of(case, folder)
    own = curriculum(case, folder)
    if case.evaluate_every:
        own = curriculum(case, folder, epochs=case.epochs, steps_per_epoch=case.steps_per_epoch)
    if resume:
        model.load_weights(newest(folder))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what the library warns of is its own
        warnings.simplefilter("error", WiringWarning)
        fit(case, folder, model, [own], initial_epoch=int(model.optimizer.iterations) // case.steps_per_epoch)
