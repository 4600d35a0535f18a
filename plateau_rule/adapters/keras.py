"""A curriculum in Keras 3: `model.fit(…, callbacks=[CurriculumCallback("plateau", limits={"cutoff": 1025})])`.

Hooks are enough, but for four things that are set on the objects themselves. The model's own mean of its loss keeps the
last value too, which the mean hides. `train_function` hands the batch that is about to be trained on to the late
transforms. `save` and `save_weights` write the curriculum's state beside the model's file, whoever calls them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from math import inf
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Unpack
from warnings import warn

import keras
import numpy as np

from plateau_rule.adapters.base import Rule, Shape, StepResult
from plateau_rule.adapters.errors import WiringError, WiringWarning
from plateau_rule.adapters.sidecar import digest_of, find_state, read_beside, write_beside
from plateau_rule.adapters.telling import tell_left_to_you, told
from plateau_rule.controller.binding import Binding, Said
from plateau_rule.controller.controller import Controller
from plateau_rule.controller.language.curriculum import Curriculum

TRIED = ("jax", "torch")
"""The backends that this module was tried on."""
UNTOLD = -inf  # no loss has been seen yet


class CurriculumCallback(keras.callbacks.Callback):  # type: ignore[misc, unused-ignore]  # untyped where it is missing
    """Trains under a curriculum: `model.fit(…, callbacks=[CurriculumCallback("plateau", …)])`.

    Args:
        curriculum: a shipped name or a file, what `load` gives, or a Controller that is bound already.
        shape: for knobs that change a batch's form: the function that applies each, by the knob's name. A batch is what
            the data gives: arrays, or a tuple (x, y) or (x, y, sample_weight) of them.
        applied: knobs that your own code turns, by reading `callback.rule.knobs`.
        out: a run folder to write, as `plateau train` does; none by default.
        track: trackers that get series and decisions, such as "tensorboard:runs/tensorboard"; one or several.
        resume_from: the file that the model was loaded from. It is needed only where no ModelCheckpoint or
            BackupAndRestore among the callbacks writes into its folder.
        checked: whether `plateau check` is asked before the first step; what it calls broken is then refused.
        binding: fields of a Binding, such as `limits` and `peak`. The run's length is that of `fit`.

    Attributes:
        rule: the curriculum at work: its plan, its knobs, its Controller.
    """

    def __init__(
        self,
        curriculum: Curriculum | Controller | str | PathLike[str],
        *,
        shape: Mapping[str, Shape] | None = None,
        applied: Iterable[str] = (),
        out: str | PathLike[str] | None = None,
        track: str | Iterable[str] = (),
        resume_from: str | PathLike[str] | None = None,
        checked: bool = True,
        **binding: Unpack[Said],
    ) -> None:
        super().__init__()
        self.rule = Rule(
            curriculum,
            binding=Binding.of(None, **binding),
            shape=shape,
            applied=applied,
            out=out,
            track=track,
            checked=checked,
            framework="keras",
        )
        self._resume_from = None if resume_from is None else Path(resume_from)
        self._saves: list[tuple[Path, bool]] = []  # where the other callbacks save, and if it is weights alone
        self._group: dict[str, Any] = {"lr": 0.0}
        self._written: float | None = None  # the rate, as the optimizer's variable holds it
        self._last: Any = None
        self._waits = self._begun = self._armed = self._trained = self._evaluates = False
        self._batch = self._steps = 0  # the batch in the epoch; the optimizer's steps
        self._batches: int | None = None  # in an epoch

    # A run

    def set_model(self, model: Any) -> None:
        """Keras gives the model here, and holds the other callbacks further up in the stack."""
        super().set_model(model)
        self._last = _remember_last(model)  # before Keras counts the variables that it trains with
        others = _callbacks_beside(self)
        if sum(isinstance(each, CurriculumCallback) for each in others) > 1:
            raise WiringError("keras: two CurriculumCallbacks are given, and one curriculum owns the rate. Keep one")
        self._saves = [saves for each in others if (saves := _saves_of(each)) is not None]

    def on_train_begin(self, logs: Any = None) -> None:
        """Refuse what cannot be paced. The run begins with its first epoch, when others have loaded what they saved."""
        backend = keras.backend.backend()
        if backend not in TRIED:
            raise WiringError(f"keras: the backend is {backend}; this was tried on {' and '.join(TRIED)} alone")
        if (often := getattr(self.model, "steps_per_execution", 1)) > 1:
            raise WiringError(
                f"keras: the model is compiled with steps_per_execution={often}: rate and knobs can only change every "
                f"{often} steps, and the losses between are not told. Compile it with steps_per_execution=1"
            )
        self._waits, self._begun = True, False

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Bind the curriculum to the run at its first epoch, or go on with the state beside the model's file."""
        if self._waits:
            self._waits = False
            self._begin(epoch)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Set the rate of the step; the batch is shaped in `train_function`, which comes next."""
        self._batch, self._armed = batch, True
        self._set_rate()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Observe the step's loss, once the optimizer has stepped."""
        if self.rule.stop is None:
            self._settle()
        if self.rule.stop is not None:
            self.model.stop_training = True

    def on_test_end(self, logs: Any = None) -> None:
        """Observe the evaluation at an epoch's end, before anybody saves the model of that epoch."""
        if not self._begun or not self._evaluates:
            return
        metrics = {f"val_{name}": value for name, value in (logs or {}).items()}
        result = self.rule.evaluated(metrics, self._steps - 1)
        if result is not None:
            self._answer(result)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Add the numbers of the step to the epoch's logs."""
        if self._evaluates and logs is not None:
            logs.update(self.rule.shown())

    def on_train_end(self, logs: Any = None) -> None:
        """Close the run; `save` goes on to write the curriculum's state."""
        self._evaluates = False
        self.model.train_function = getattr(self.model.train_function, "plateau_inner", self.model.train_function)
        self.rule.end()

    # Its parts

    def _begin(self, epoch: int) -> None:
        model, rule = self.model, self.rule
        optimizer = model.optimizer
        if not optimizer.built:
            optimizer.build(model.trainable_variables)
        accumulation = _innermost(optimizer).gradient_accumulation_steps or 1
        self._batches = (self.params or {}).get("steps")
        per_epoch = None
        if self._batches and self._batches % accumulation == 0:
            per_epoch = self._batches // accumulation
        epochs = int((self.params or {}).get("epochs") or 1)
        self._steps = int(optimizer.iterations)
        _refuse_schedule(optimizer)
        self._group = {"lr": float(optimizer.learning_rate)}
        notes = rule.begin(
            self._steps,
            [self._group],
            saved=self._saved(),
            total_steps=None if per_epoch is None else epochs * per_epoch,
            steps_per_epoch=per_epoch,
            accumulation=accumulation,
        )
        self._refuse_unknown_epochs()
        if self._last is None:
            raise WiringError(
                "keras: the model has no metric called loss. A model with a train_step of its own must have a "
                'keras.metrics.Mean(name="loss") in its metrics, and tell it the loss of each batch'
            )
        self._written = None
        self._trained = self._armed = self._evaluates = False
        self._begun = True
        if per_epoch is not None:
            _warn_of_place(self._steps, epoch, per_epoch)
        _wrap_training(model, self._train)
        _wrap_saving(model, self._write_state)
        for note in notes:
            print(f"plateau: {note}")

    def _saved(self) -> Mapping[str, Any] | None:
        """The state of the model's weights, from beside a file; None at a run's begin."""
        if not self._steps:
            return None
        digest = self._digest()
        if self._resume_from is not None:
            return read_beside(self._resume_from, digest)
        return find_state([folder for folder, _ in self._saves], digest)

    def _refuse_unknown_epochs(self) -> None:
        machine = self.rule.controller.machine
        if self._batches or machine.steps_per_epoch is not None:
            return
        if any(way.at == "epoch" for state in machine.states for way in state.transitions):
            raise WiringError(
                "keras: the data does not say how many batches it has, and the curriculum looks at the ends of epochs. "
                "Give fit steps_per_epoch"
            )

    def _train(self, inner: Callable[..., Any], *given: Any) -> Any:
        """Train on a batch, in the form that the plan asks for; `given` ends with the batches, one of them."""
        if not self._armed:  # of a fit without this callback
            return inner(*given)
        self._armed = False
        if self.rule.stop is not None:  # a finished run that is resumed: Keras would train a step more
            return ({}, *given[:-1]) if len(given) > 1 else {}
        *state, batches = given
        shaped = [*map(self.rule.shape, batches)] if isinstance(batches, list) else map(self.rule.shape, batches)
        result = inner(*state, shaped)
        self._trained = self._evaluates = True
        return result

    def _set_rate(self) -> None:
        optimizer = self.model.optimizer
        here = float(optimizer.learning_rate)
        if here != self._written:
            self._group["lr"] = here
        self.rule.rates([self._group])
        rate = self._group["lr"]
        if self._written != (held := float(np.float32(rate))):
            optimizer.learning_rate, self._written = rate, held

    def _settle(self) -> None:
        """Take the loss of the batch that was trained on, if that has not happened; close the step if it is over."""
        if not self._trained:
            return
        self._trained = False
        rule, steps = self.rule, int(self.model.optimizer.iterations)
        loss = float(keras.ops.convert_to_numpy(self._last))
        if loss == UNTOLD:
            raise WiringError(
                "keras: training went past the mean of the loss. A train_step of one's own must tell each batch's loss "
                'to the keras.metrics.Mean called "loss" that stands in model.metrics, by update_state'
            )
        if steps == self._steps and rule.accumulation == 1:
            return  # the optimizer found no finite gradient, and took no step
        rule.micro(loss)
        if steps == self._steps:
            return
        self._steps = steps
        ends = self._batches is not None and self._batch + 1 >= self._batches
        self._answer(rule.close(steps - 1, epoch_end=ends and rule.controller.machine.steps_per_epoch is None))

    def _answer(self, result: StepResult) -> None:
        """Tell of a decision, and carry out what it asks for."""
        if result.decision is not None:
            print(told(result.decision))
        for request in result.requests:
            if request.name == "checkpoint" and self._saves:
                self._save()
            elif request.name == "reset_optimizer":
                _reset(self.model.optimizer, self.model.trainable_variables)
            else:
                tell_left_to_you("keras", request)
        if result.stop is not None:
            self.model.stop_training = True

    # State, beside the model's file

    def _digest(self) -> str:
        weights = (keras.ops.convert_to_numpy(weight) for weight in self.model.weights)
        return digest_of(weights, int(self.model.optimizer.iterations))

    def _save(self) -> None:
        """Save the model beside the files of the first callback that saves it, and as it does."""
        folder, weights_alone = self._saves[0]
        folder.mkdir(parents=True, exist_ok=True)
        name = f"plateau-step={self._steps}"
        if weights_alone:
            self.model.save_weights(folder / f"{name}.weights.h5")
        else:
            self.model.save(folder / f"{name}.keras")

    def _write_state(self, path: Any) -> None:
        """Write the state of this very moment beside a file of the model that is about to be written."""
        if self._begun and isinstance(path, str | PathLike):
            self._settle()
            write_beside(Path(fspath(path)), self._digest(), self.rule.state())


# What is set on objects of Keras


def _wrap_training(model: Any, train: Callable[..., Any]) -> None:
    """Let batches pass through `train` on their way into the model's train_function."""
    inner = getattr(model.train_function, "plateau_inner", model.train_function)

    def train_function(*given: Any) -> Any:
        return train(inner, *given)

    train_function.plateau_inner = inner  # type: ignore[attr-defined]  # any function takes attributes
    model.train_function = train_function


def _wrap_saving(model: Any, write: Callable[[Any], None]) -> None:
    """Call `write` with the path of each file of the model, before it is written."""
    for name in ("save", "save_weights"):
        present = getattr(model, name)
        inner = getattr(present, "plateau_inner", present)

        def saved(filepath: Any, *given: Any, inner: Any = inner, **named: Any) -> Any:
            write(filepath)
            return inner(filepath, *given, **named)

        saved.plateau_inner = inner  # type: ignore[attr-defined]  # any function takes attributes
        setattr(model, name, saved)


def _remember_last(model: Any) -> Any:
    """Let the model's mean of its loss keep the last value too; the variable that holds it, None where it has no mean.

    The difference of two means would have lost digits, the more the longer the epoch is.
    """
    mean = next((metric for metric in model.metrics if metric.name == "loss"), None)
    if mean is None:
        return None
    if (kept := getattr(mean, "plateau_last", None)) is not None:
        return kept
    last = mean.add_variable((), initializer=keras.initializers.Constant(UNTOLD), dtype="float32", name="last")
    inner = mean.update_state

    def update_state(values: Any, *given: Any, **named: Any) -> Any:
        last.assign(keras.ops.stop_gradient(keras.ops.mean(keras.ops.cast(values, "float32"))))
        return inner(values, *given, **named)

    mean.update_state, mean.plateau_last = update_state, last
    return last


# What is asked of objects of Keras


def _callbacks_beside(callback: keras.callbacks.Callback) -> list[Any]:
    """All callbacks of the list that calls this one; no hook is given it, but it stands further up in the stack."""
    frame = inspect.currentframe()
    while frame is not None:
        caller = frame.f_locals.get("self")
        if isinstance(caller, keras.callbacks.CallbackList) and any(each is callback for each in caller.callbacks):
            return list(caller.callbacks)
        frame = frame.f_back
    return [callback]


def _saves_of(callback: Any) -> tuple[Path, bool] | None:
    """Where a callback saves the model (of a pattern, the part before its first field), and if it is weights alone."""
    if isinstance(callback, keras.callbacks.ModelCheckpoint):
        before = str(callback.filepath).partition("{")[0]
        return Path(f"{before}x").parent, bool(callback.save_weights_only)
    return (Path(callback.backup_dir), True) if isinstance(callback, keras.callbacks.BackupAndRestore) else None


def _innermost(optimizer: Any) -> Any:
    """The optimizer inside one that scales the loss."""
    return getattr(optimizer, "inner_optimizer", optimizer)


def _refuse_schedule(optimizer: Any) -> None:
    try:
        optimizer.learning_rate = float(optimizer.learning_rate)
    except (TypeError, AttributeError):
        raise WiringError(
            "keras: the optimizer's learning_rate is a schedule, which cannot be set; the curriculum owns the rate. "
            "Compile the model with a number, such as 1e-3; the curriculum replaces it"
        ) from None


def _warn_of_place(steps: int, epoch: int, per_epoch: int) -> None:
    """Keras knows no place inside an epoch, and which epoch it goes on with it must be told."""
    if steps == epoch * per_epoch:
        return
    due = steps // per_epoch
    told_epoch = f" Give fit initial_epoch={due}." if due != epoch else ""
    if steps % per_epoch:
        why = (
            f"the run goes on at step {steps}, inside epoch {due}, and Keras begins an epoch anew: rows, losses and "
            "perhaps decisions differ from those of the uncut run. Save at the end of an epoch."
        )
    else:
        why = f"the run goes on at step {steps}, where epoch {due} begins, and fit begins with epoch {epoch}."
    warn(f"keras: {why}{told_epoch}", WiringWarning, stacklevel=2)


def _reset(optimizer: Any, variables: list[Any]) -> None:
    """Give the optimizer the state that it began with, but for its count of steps, its rate and averages of weights."""
    inner = _innermost(optimizer)
    fresh = type(inner).from_config(inner.get_config())
    fresh.build(variables)
    for own, new in zip(inner.variables, fresh.variables, strict=True):
        if own.name not in ("iteration", "learning_rate") and not (inner.use_ema and own.name.endswith("average")):
            own.assign(new)
