"""A PyTorch loop of one's own, also with Accelerate or Fabric: `PlateauRule`.

rule = PlateauRule(optimizer, Controller(load("sizes.toml")), shape={"image_size": resize})
for images, labels in rule.batches(loader):
    loss = cross_entropy(model(images), labels)
    ...                     # backward, optimizer.step(), zero_grad, as ever; the rate is set when it steps
    rule.observe(loss)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from hashlib import sha256
from os import PathLike
from typing import Any
from weakref import WeakKeyDictionary, ref

import torch
from torch import Tensor, distributed
from torch.optim import Optimizer

from plateau_rule.adapters.base import Rule, Shape
from plateau_rule.adapters.errors import WiringError
from plateau_rule.adapters.loop import LoopRule
from plateau_rule.adapters.rows import Choose
from plateau_rule.adapters.stamps import KnobLoader
from plateau_rule.adapters.steps import StepResult
from plateau_rule.controller.binding import Binding
from plateau_rule.controller.controller import Controller
from plateau_rule.controller.language.curriculum import Curriculum

FRAMEWORK = "torch"


class TorchRanks:
    """The processes of `torch.distributed`; one that trains alone where it is not initialised."""

    @property
    def rank(self) -> int:
        """The number of this process, from 0."""
        return distributed.get_rank() if _distributed() else 0

    def add(self, total: Any, weight: float) -> tuple[float, float]:
        """Both numbers as sums over all ranks, in double precision."""
        if not _distributed():
            return float(total), float(weight)
        device = total.device if isinstance(total, Tensor) else _device()
        pair = torch.tensor([0.0, weight], dtype=torch.float64, device=device)
        pair[0] = total
        distributed.all_reduce(pair)
        summed: list[float] = pair.tolist()
        return summed[0], summed[1]

    def agree(self, text: str) -> bool:
        """Whether every rank calls this with the same text; its hash is compared."""
        if not _distributed():
            return True
        number = int.from_bytes(sha256(text.encode()).digest()[:7])
        extremes = torch.tensor([number, -number], device=_device())
        distributed.all_reduce(extremes, op=distributed.ReduceOp.MAX)
        highest, lowest = extremes.tolist()
        return bool(highest == -lowest)


def _distributed() -> bool:
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1


def _device() -> torch.device:
    """Where a tensor must be that is sent to the other ranks."""
    return torch.device("cuda" if distributed.get_backend() == "nccl" else "cpu")


# Whose rates are set by a rule, and which Controller is at work: a second rule on either would be one too many.
_TAKEN: WeakKeyDictionary[object, ref[PlateauRule]] = WeakKeyDictionary()


class PlateauRule(LoopRule):
    """A curriculum in a PyTorch loop: it sets the rates as the optimizer steps, and takes the loss of each step.

    Args:
        optimizer: torch's, or what Accelerate or Fabric made of it. Each of its groups keeps its own ratio to the
            largest. It is its steps that count.
        curriculum: a Controller; or a curriculum and a `binding`.
        others: further optimizers that step along with it; the curriculum sets their rates as well.
        binding: what is said of the run, where a curriculum is given.
        shape: for knobs that change a batch's form: the function (batch, value) -> batch that applies each, by the
            knob's name; `batches` and `shape` call it.
        rows: for knobs that choose the rows of a batch: the function that chooses by each, such as `count_rows`;
            `batches` sees to it. Where a curriculum is given, the lead that the loader needs is bound by itself.
        applied: knobs that your own code turns in a way that is not seen here.
        scaler: the gradient scaler, if there is one: it drops steps. Close a step after its `update`.
        accumulation: micro-batches in an optimizer step.
        out: a run folder to write, like that of `plateau train`.
        track: trackers that get series and decisions, such as "tensorboard:runs/tensorboard"; one or several.
        checked: whether `plateau check` is asked before the first step; what it calls broken is then refused.

    Raises:
        WiringError: a rule is at work on this optimizer or Controller already.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        curriculum: Controller | Curriculum | str | PathLike[str],
        *,
        others: Iterable[Optimizer] = (),
        binding: Binding | None = None,
        shape: Mapping[str, Shape] | None = None,
        rows: Mapping[str, Choose] | None = None,
        applied: Iterable[str] = (),
        scaler: Any = None,
        accumulation: int = 1,
        out: str | PathLike[str] | None = None,
        track: str | Iterable[str] = (),
        checked: bool = True,
    ) -> None:
        self._wrapper, self._optimizers = optimizer, [_innermost(each) for each in (optimizer, *others)]
        self.rule = Rule(
            curriculum,
            binding=binding,
            shape=shape,
            rows=rows,
            applied=applied,
            out=out,
            track=track,
            checked=checked,
            ranks=TorchRanks(),
            framework=FRAMEWORK,
        )
        self._accumulation, self._scaler = accumulation, scaler
        self._scale = _scale_of(scaler)
        self._stepped, self._stepping, self._found_inf = 0, False, False
        self._loaded = self._epoch_ends = False
        for owned, what in [(each, "optimizer") for each in self._optimizers] + [(curriculum, "Controller")]:
            if isinstance(owned, Optimizer | Controller):
                _take(owned, what, self)
        first = self._optimizers[0]
        self._hooks = [
            first.register_step_pre_hook(self._before_step),
            first.register_step_post_hook(self._after_step),
            *(each.register_step_pre_hook(self._before_step) for each in self._optimizers[1:]),
        ]

    # What can be read

    @property
    def groups(self) -> list[MutableMapping[str, Any]]:
        """The parameter groups of all optimizers, in order."""
        return [group for optimizer in self._optimizers for group in optimizer.param_groups]

    # Batches

    def batches(self, loader: Iterable[Any]) -> Iterator[Any]:
        """The loader's batches, epoch after epoch while training should go on, each with its knobs applied.

        Where the Controller doesn't know how long an epoch is, it is told of the end of each.

        Args:
            loader: torch's DataLoader where `rows` choose; else any.
        """
        if self.rule.stamping.rows:
            loader = KnobLoader(loader, self.rule)
        while self.stop is None:
            drawn = False
            for batch, last in _with_last(loader):
                if self.stop is not None:
                    return
                drawn, self._epoch_ends = True, self._epoch_ends or last
                yield self.shape(batch)
            if not drawn:
                raise WiringError(f"{FRAMEWORK}: the loader has no batch")

    def shape(self, batch: Any) -> Any:
        """Apply the `shape` functions with the knobs of the step under way, once to every micro-batch.

        A stamp that the batch carries is taken off and checked.
        """
        return self.start().shape(batch)

    # One step

    def observe(self, loss: Any, *, skipped: bool = False, epoch_end: bool | None = None, **metrics: Any) -> StepResult:
        """Take the loss of an optimizer step that has one micro-batch, after the optimizer has stepped.

        Args:
            loss: a number, or a tensor of one element.
            skipped: your code dropped the optimizer's step.
            epoch_end: the step closes an epoch; `batches` knows it by itself.
            metrics: what else the step brought, such as `grad_norm=...`, for guards that ask for it: numbers, or
                tensors of one element. Over ranks, their mean counts.
        """
        self.micro(loss)
        return self.close(skipped=skipped, epoch_end=epoch_end, **metrics)

    def micro(self, loss: Any, weight: float = 1.0, **metrics: Any) -> None:
        """Take the loss of one micro-batch of several; `close` ends their step.

        Args:
            loss: its mean, not divided by the number of micro-batches.
            weight: how much it counts in the step's mean, such as its number of tokens.
            metrics: what else it brought, as in `observe`; the mean over the step's micro-batches counts.
        """
        rule = self.start()
        rule.micro(loss, weight)
        rule.metrics(metrics)

    def close(self, *, skipped: bool = False, epoch_end: bool | None = None, **metrics: Any) -> StepResult:
        """End an optimizer step, after the optimizer has stepped; the next plan is made.

        Of the requests of a transition, `reset_optimizer` is carried out here; the others are the result's.

        Raises:
            WiringError: the optimizer has not stepped once since the last step was closed.
            NonFiniteLoss: the run is dead.
        """
        rule = self.start()
        dropped = skipped or self._was_dropped()
        if self._stepped != 1 and not dropped:
            often = f"stepped {self._stepped} times" if self._stepped else "not stepped"
            raise WiringError(
                f"{FRAMEWORK}: step {rule.plan.step} is to be closed, and the optimizer has {often} since the last one "
                "was. Close each optimizer step once, after optimizer.step(): give the loss of a micro-batch to "
                "micro(), and call close() when the optimizer has stepped. Under a gradient scaler, name it (scaler=) "
                "and close after its update()"
            )
        rule.metrics(metrics)
        self._stepped, self._found_inf = 0, False
        self._scale = _scale_of(self._scaler)
        ended, self._epoch_ends = self._epoch_ends, False
        ends = ended and rule.controller.machine.steps_per_epoch is None if epoch_end is None else epoch_end
        return self._reset_if_asked(rule.close(skipped=dropped, epoch_end=ends))

    def evaluated(self, **metrics: float) -> StepResult | None:
        """Take what an evaluation after the last closed step brought, such as `val_loss`; it is looked at here.

        Returns:
            As `close` does, with the decision that the evaluation brought; None where it was dropped: before the first
            step, and if the step was evaluated already.
        """
        rule = self.start()
        result = rule.evaluated(metrics, rule.plan.step - 1)
        return None if result is None else self._reset_if_asked(result)

    # Saving and resuming

    def state_dict(self) -> dict[str, Any]:
        """What belongs into the checkpoint, beside model and optimizer: plain data."""
        return self.start().state()

    def load_state_dict(self, saved: Mapping[str, Any]) -> tuple[str, ...]:
        """Go on where a checkpoint was made.

        Returns:
            Sentences about what differs.

        Raises:
            SnapshotError: it is damaged, or of another curriculum.
        """
        self.rule.load(saved)
        self._loaded = True
        return self._begin(int(saved["controller"]["plan"]["step"]))

    def end(self) -> None:
        """Let go of optimizer and Controller, and close the run folder."""
        for hook in self._hooks:
            hook.remove()
        for key in [key for key, taken in _TAKEN.items() if taken() is self]:
            del _TAKEN[key]
        self.rule.end()

    def start(self) -> Rule:
        """Begin, if that has not happened; return the rule inside."""
        if not self.rule.begun:
            given = self.rule.given
            self._begin(given.plan.step if isinstance(given, Controller) else 0)
        return self.rule

    # Inside

    def _begin(self, step: int) -> tuple[str, ...]:
        return self.rule.begin(step, self.groups, accumulation=self._accumulation)

    def _reset_if_asked(self, result: StepResult) -> StepResult:
        if any(request.name == "reset_optimizer" for request in result.requests):
            for optimizer in self._optimizers:
                optimizer.state.clear()
        return result

    def _before_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        rule, self._stepping = self.start(), True
        if not rule.plan.step and not self._loaded and (taken := _steps_taken(optimizer)):
            raise WiringError(
                f"{FRAMEWORK}: the curriculum is at step 0, and the optimizer has taken {taken} steps: a checkpoint "
                "was loaded without the curriculum's state. Call load_state_dict with what state_dict gave; or make "
                f"the Controller and say where it stands: adopt(step={taken})"
            )
        rule.rates(self.groups)

    def _after_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        # An optimizer whose step calls that of its class above, as torch's own, runs the hooks of both.
        self._stepped, self._stepping = self._stepped + self._stepping, False
        # A fused optimizer is called on a dropped step too, and told what the scaler found.
        found = getattr(optimizer, "found_inf", None)
        self._found_inf = found is not None and bool(found)

    def _was_dropped(self) -> bool:
        if self._stepped:
            return self._found_inf
        if getattr(self._wrapper, "step_was_skipped", False):  # Accelerate's
            return True
        scale = _scale_of(self._scaler)
        return scale is not None and self._scale is not None and scale < self._scale


def _innermost(optimizer: Any) -> Optimizer:
    """Torch's own optimizer, inside what Accelerate or Fabric wrapped around it.

    Raises:
        WiringError: there is none.
    """
    while isinstance(inner := getattr(optimizer, "optimizer", None), Optimizer):
        optimizer = inner
    if not isinstance(optimizer, Optimizer):
        raise WiringError(
            f"{FRAMEWORK}: a {type(optimizer).__name__} is no optimizer of torch's. Give first the one whose steps "
            "count, and further ones by others="
        )
    return optimizer


def _take(owned: object, what: str, rule: PlateauRule) -> None:
    other = _TAKEN.get(owned)
    if other is not None and other() is not None:
        raise WiringError(
            f"{FRAMEWORK}: a PlateauRule is at work on this {what} already. Make one for all of training; end() lets "
            "go of the first"
        )
    _TAKEN[owned] = ref(rule)


def _steps_taken(optimizer: Optimizer) -> int:
    """The steps that an optimizer has taken, as far as its state tells."""
    counts = (state["step"] for state in optimizer.state.values() if isinstance(state, Mapping) and "step" in state)
    return max((int(count) for count in counts), default=0)


def _scale_of(scaler: Any) -> float | None:
    return None if scaler is None or not scaler.is_enabled() else float(scaler.get_scale())


def _with_last(loader: Iterable[Any]) -> Iterator[tuple[Any, bool]]:
    """Each batch, and whether it is the epoch's last; one without a length is read one batch ahead."""
    if getattr(loader, "tells_last", False):  # by the stamps of its batches
        yield from ((batch, False) for batch in loader)
        return
    try:
        length = len(loader)  # type: ignore[arg-type]  # it may have none: asked
    except TypeError:
        nothing = object()
        batches = iter(loader)
        batch = next(batches, nothing)
        while batch is not nothing:
            following = next(batches, nothing)
            yield batch, following is nothing
            batch = following
        return
    for place, batch in enumerate(loader, 1):
        yield batch, place == length
