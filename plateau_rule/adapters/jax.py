"""A training loop in JAX, with an optimizer of optax: `OptaxRule`, and `CompiledSteps` for each form of its batches.

    optimizer = optax.inject_hyperparams(optax.adamw)(learning_rate=1.0)
    opt_state = optimizer.init(params)
    rule = OptaxRule(opt_state, "sizes.toml", shape={"image_size": resize})
    train = rule.compiled(step)             # step(params, opt_state, batch) -> params, opt_state, loss
    for batch in rule.batches(data):
        opt_state = rule.rates(opt_state)
        params, opt_state, loss = train(params, opt_state, batch)
        rule.observe(loss)

The rate is an array in the optimizer's state, so that a new one compiles nothing. A new form of the batch does, once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from os import PathLike
from typing import Any

import jax
import numpy as np
import optax

from plateau_rule.adapters.base import Rule, Shape
from plateau_rule.adapters.compiled import CompiledSteps
from plateau_rule.adapters.errors import WiringError
from plateau_rule.adapters.loop import LoopRule
from plateau_rule.adapters.steps import StepResult
from plateau_rule.adapters.telling import plain_name
from plateau_rule.controller.binding import Binding
from plateau_rule.controller.controller import Controller
from plateau_rule.controller.errors import SnapshotError
from plateau_rule.controller.language.curriculum import Curriculum

FRAMEWORK = "jax"
RATE = "learning_rate"


@dataclass
class InFlight:
    """What a step brought, as it lies on the device.

    Attributes:
        losses: of its micro-batches, each with its weight.
        metrics: as they came.
    """

    losses: list[tuple[Any, float]] = field(default_factory=list)
    metrics: list[dict[str, Any]] = field(default_factory=list)

    def send(self, values: Iterable[Any]) -> None:
        """Let copies to this machine begin, without waiting for what computes the values."""
        for value in values:
            if isinstance(value, jax.Array):
                value.copy_to_host_async()

    def plain(self) -> dict[str, Any]:
        """The same as JSON-able data; it waits for what is still computed."""
        return {
            "losses": [[_number("the loss", loss), weight] for loss, weight in self.losses],
            "metrics": [{name: _number(name, value) for name, value in each.items()} for each in self.metrics],
        }


class OptaxRule(LoopRule):
    """A curriculum in a JAX loop: it writes rates into the optimizer's state, and takes the loss of each step.

    Args:
        opt_state: what `init` of the optimizer gave, or what a checkpoint holds. Every rate that
            `optax.inject_hyperparams` keeps in it is set, and keeps its own ratio to the largest.
        curriculum: a Controller; or a curriculum and a `binding`. With a lag of n steps, losses are looked at n steps
            after their own, and nothing waits for the device until then.
        binding: what is said of the run, where a curriculum is given.
        shape: for knobs that change a batch's form: the function (batch, value) -> batch that applies each, by the
            knob's name; `batches` and `shape` call it, outside of what is compiled.
        applied: knobs that your own code turns in a way that is not seen here.
        accumulation: micro-batches in an optimizer step, as `optax.MultiSteps` counts them.
        out: a run folder to write, like that of `plateau train`.
        track: trackers that get series and decisions, such as "tensorboard:runs/tensorboard"; one or several.
        checked: whether `plateau check` is asked before the first step; what it calls broken is then refused.

    Raises:
        WiringError: there is no rate in the state that could be set.
    """

    def __init__(
        self,
        opt_state: Any,
        curriculum: Controller | Curriculum | str | PathLike[str],
        *,
        binding: Binding | None = None,
        shape: Mapping[str, Shape] | None = None,
        applied: Iterable[str] = (),
        accumulation: int = 1,
        out: str | PathLike[str] | None = None,
        track: str | Iterable[str] = (),
        checked: bool = True,
    ) -> None:
        self._places = _places_of_rates(opt_state)
        leaves = jax.tree_util.tree_leaves(opt_state)
        self._groups: list[dict[str, Any]] = [{"lr": float(leaves[place])} for place in self._places]
        self._taken = _steps_taken(opt_state)
        self.rule = Rule(
            curriculum,
            binding=binding,
            shape=shape,
            applied=applied,
            out=out,
            track=track,
            checked=checked,
            framework=FRAMEWORK,
        )
        self._accumulation = accumulation
        self._now, self._late = InFlight(), deque[InFlight]()
        self._rated = self._epoch_ends = False
        self._steps: list[CompiledSteps] = []

    # One step

    def batches(self, data: Iterable[Any]) -> Iterator[Any]:
        """The batches of the data, epoch after epoch while training should go on, each with its knobs applied.

        Args:
            data: may be gone through again and again. Its end closes an epoch, where the Controller does not know how
                long one is.
        """
        while self.stop is None:
            batches, nothing = iter(data), object()
            batch = next(batches, nothing)
            if batch is nothing:
                raise WiringError(f"{FRAMEWORK}: the data has no batch. Give a list, or what begins anew each time")
            while batch is not nothing:
                if self.stop is not None:
                    return
                following = next(batches, nothing)
                self._epoch_ends = following is nothing
                yield self.shape(batch)
                batch = following

    def shape(self, batch: Any) -> Any:
        """Apply the `shape` functions with the knobs of the step under way, once to every micro-batch."""
        rule = self.start()
        for steps in self._steps:
            steps.note_batch(batch)
        return rule.shape(batch)

    def rates(self, opt_state: Any) -> Any:
        """The optimizer's state with the rates of the step under way; give it to the step.

        They are arrays of float32, whatever they were, so that the same compiled step takes them all.

        Raises:
            WiringError: the state has other rates than the one that this rule was made with.
        """
        self.start().rates(self._groups)
        leaves, form = jax.tree_util.tree_flatten(opt_state)
        if self._places[-1] >= len(leaves):
            raise WiringError(f"{FRAMEWORK}: this is not the state of the optimizer that the rule was made with")
        for place, group in zip(self._places, self._groups, strict=True):
            leaves[place] = _rate_like(leaves[place], group["lr"])
        self._rated = True
        return jax.tree_util.tree_unflatten(form, leaves)

    def compiled(
        self, step: Any, *, static: Iterable[str] = (), donate_argnums: int | tuple[int, ...] = (), ahead: bool = True
    ) -> CompiledSteps:
        """A step of yours, compiled once for each form of a batch and kept.

        Args:
            step: a function whose last argument is the batch; it must not be jitted yet.
            static: knobs whose values it is compiled for, beside the form: it is given them by name.
            donate_argnums: as `jax.jit` takes them.
            ahead: while a state is at work, compile in another thread what the states after it need.
        """
        steps = CompiledSteps(step, self.start, static=static, donate_argnums=donate_argnums, ahead=ahead)
        self._steps.append(steps)
        return steps

    def observe(self, loss: Any, *, epoch_end: bool | None = None, **metrics: Any) -> StepResult:
        """Take the loss of an optimizer step that has one micro-batch.

        Args:
            loss: an array of one element, on whatever device; or a number.
            epoch_end: the step closes an epoch; `batches` knows it by itself.
            metrics: what else the step brought, for guards that ask for it; it comes as late as the loss.
        """
        self.micro(loss)
        return self.close(epoch_end=epoch_end, **metrics)

    def micro(self, loss: Any, weight: float = 1.0, **metrics: Any) -> None:
        """Take the loss of one micro-batch of several; `close` ends their step.

        Args:
            loss: its mean, not divided by the number of micro-batches.
            weight: how much it counts in the step's mean, such as its number of tokens.
            metrics: what else it brought; the mean over the step's micro-batches counts.
        """
        self.start()
        self._now.losses.append((loss, weight))
        self._now.send((loss,))
        self._take(metrics)

    def close(self, *, epoch_end: bool | None = None, **metrics: Any) -> StepResult:
        """End an optimizer step; the loss that is due is observed, and the next plan is made.

        What a transition asks for is the result's `requests`; all of it is yours to do.

        Raises:
            WiringError: `rates` was not called in this step, or no loss was given.
            NonFiniteLoss: the run is dead.
        """
        rule = self.start()
        if not self._rated:
            raise WiringError(
                f"{FRAMEWORK}: step {rule.plan.step} is to be closed, and its rate was not written. Call "
                "opt_state = rule.rates(opt_state) before each step"
            )
        if not self._now.losses:
            raise WiringError(f"{FRAMEWORK}: step {rule.plan.step} is to be closed, and no loss was given for it")
        self._take(metrics)
        self._late.append(self._now)
        self._now, self._rated = InFlight(), False
        if len(self._late) > rule.controller.lag:
            due = self._late.popleft().plain()
            for loss, weight in due["losses"]:
                rule.micro(loss, weight)
            for values in due["metrics"]:
                rule.metrics(values)
        ended, self._epoch_ends = self._epoch_ends, False
        ends = ended and rule.controller.machine.steps_per_epoch is None if epoch_end is None else epoch_end
        return rule.close(epoch_end=ends)

    def evaluated(self, **metrics: Any) -> StepResult | None:
        """Take what an evaluation after the last closed step brought, such as `val_loss`; it is looked at here.

        Returns:
            As `close` does; None where it was dropped: before the first step, and if the step was evaluated already.
        """
        rule = self.start()
        return rule.evaluated({name: _number(name, value) for name, value in metrics.items()}, rule.plan.step - 1)

    # Saving and resuming

    def state_dict(self) -> dict[str, Any]:
        """What belongs into the checkpoint, beside parameters and opt_state: JSON-able data, with losses under way."""
        rule = self.start()
        self._write_early()
        now, late = self._now.plain(), [each.plain() for each in self._late]
        return {**rule.state(), "in_flight": late, "open": now}

    def load_state_dict(self, saved: Mapping[str, Any]) -> tuple[str, ...]:
        """Go on where a checkpoint was made; make the rule with the opt_state of the same checkpoint.

        Returns:
            Sentences about what differs.

        Raises:
            SnapshotError: it is damaged, or of another curriculum.
            WiringError: it is of another step than the opt_state.
        """
        self.rule.load(saved)
        try:
            self._late = deque(map(_in_flight, saved["in_flight"]))
            self._now = _in_flight(saved["open"])
        except (KeyError, TypeError, ValueError) as error:
            raise SnapshotError(f"the saved rule cannot be read: {type(error).__name__}: {error}") from None
        return self._begin()

    def end(self) -> None:
        """Training is over: the run folder gets its last rows and is closed; nothing more is compiled ahead."""
        if self.rule.begun:
            self._write_early()
        for steps in self._steps:
            steps.close()
        self.rule.end()

    def start(self) -> Rule:
        """Begin, if that has not happened; return the rule inside."""
        if not self.rule.begun:
            self._begin()
        return self.rule

    # Inside

    def _begin(self) -> tuple[str, ...]:
        return self.rule.begin(self._taken, self._groups, accumulation=self._accumulation)

    def _take(self, metrics: dict[str, Any]) -> None:
        if metrics:
            self._now.metrics.append(metrics)
            self._now.send(metrics.values())

    def _write_early(self) -> None:
        """Write the rows of steps whose losses are not observed yet; their losses are waited for here."""
        known = []
        for each in self._late:
            plain = each.plain()
            total = sum(weight for _, weight in plain["losses"])
            loss = sum(loss * weight for loss, weight in plain["losses"]) / total if total else float("nan")
            known.append((loss, _means(plain["metrics"])))
        self.rule.record.write_early(known)


def _means(metrics: Iterable[Mapping[str, float]]) -> dict[str, float]:
    values: dict[str, list[float]] = {}
    for each in metrics:
        for name, value in each.items():
            values.setdefault(plain_name(name), []).append(value)
    return {name: sum(several) / len(several) for name, several in values.items()}


def _in_flight(plain: Mapping[str, Any]) -> InFlight:
    losses = [(float(loss), float(weight)) for loss, weight in plain["losses"]]
    return InFlight(losses, [{str(name): float(value) for name, value in each.items()} for each in plain["metrics"]])


def _number(what: str, value: Any) -> float:
    """A number out of an array of one element; it waits for what computes it."""
    if np.size(value) != 1:
        raise WiringError(f"{FRAMEWORK}: {what} has {np.size(value)} elements; expected one number, such as their mean")
    return float(np.asarray(value).reshape(()))


def _rate_like(present: Any, rate: float) -> Any:
    """A rate as an array of float32, on the devices on which the present one is, if it is bound to some."""
    number = np.float32(rate)
    if getattr(present, "committed", False):
        return jax.device_put(number, present.sharding)
    return jax.numpy.asarray(number)


def _places_of_rates(opt_state: Any) -> list[int]:
    """Which leaves of an optimizer's state are rates that can be set.

    Raises:
        WiringError: none is, or a schedule overwrites one.
    """
    names = [
        [getattr(key, "name", getattr(key, "key", None)) for key in path]
        for path, _ in jax.tree_util.tree_flatten_with_path(opt_state)[0]
    ]
    places = [place for place, name in enumerate(names) if name[-2:] == ["hyperparams", RATE]]
    inject = "optax.inject_hyperparams(optax.adamw)(learning_rate=1.0)"
    if any("hyperparams_states" in name and RATE in name for name in names):
        raise WiringError(
            f"{FRAMEWORK}: {RATE} is a schedule inside inject_hyperparams, which overwrites what is written there, and "
            f"the curriculum owns the rate. Give a number: {inject}; the curriculum replaces it"
        )
    if not places:
        raise WiringError(
            f"{FRAMEWORK}: the optimizer's state holds no {RATE} that could be set. Make the optimizer by {inject}"
        )
    return places


def _steps_taken(opt_state: Any) -> int:
    """Optimizer steps, as the first injected state has counted them."""
    leaves = jax.tree_util.tree_leaves
    if any(_is_schedule(node) for node in leaves(opt_state, is_leaf=_is_schedule)):
        raise WiringError(
            f"{FRAMEWORK}: the optimizer scales its updates by a schedule as well, which multiplies the curriculum's "
            "rate. Leave scale_by_schedule out"
        )
    injected = leaves(opt_state, is_leaf=lambda node: hasattr(node, "hyperparams"))
    return next(int(node.count) for node in injected if hasattr(node, "hyperparams"))


def _is_schedule(node: Any) -> bool:
    return isinstance(node, optax.ScaleByScheduleState)
