"""`--dry-run`: what a run would be, take and cost, by a few steps that nobody keeps; nothing is written."""

from __future__ import annotations

import gc
import resource
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from time import perf_counter

import torch
from torch import Tensor

from plateau_rule.controller.checking import in_words as report_in_words
from plateau_rule.controller.controller import Controller
from plateau_rule.controller.errors import visible
from plateau_rule.controller.language.places import Places
from plateau_rule.controller.language.scanning import within_limits
from plateau_rule.controller.machine import Machine
from plateau_rule.controller.plan import Plan
from plateau_rule.controller.verifier.verify import verify
from plateau_rule.fftcore.evaluate import evaluate
from plateau_rule.fftcore.introduction import replaced_peak, silent_states
from plateau_rule.fftcore.learner import Learner
from plateau_rule.fftcore.record import Record
from plateau_rule.fftcore.remaining import SURE_STEPS, Price, Remaining, in_words

Say = Callable[[str], None]
TIMED_STEPS = 3
LONGEST_S = 5.0  # for the steps of one size; one is timed in any case
SCORED_SHARE = 8  # an eighth of the bytes is scored, and the time taken eight times
KIB, MIB = 1 << 10, 1 << 20


def check_in_words(machine: Machine, source: bytes, say: Say) -> int:
    """Say of a bound curriculum what `plateau check` says.

    Args:
        machine: the curriculum, bound to the trainer.
        source: its file.
        say: says a line to the user.

    Returns:
        The exit code of `plateau check`.
    """
    place = machine.curriculum.place(())
    file = place.file if place else "<text>"
    report = verify(machine)
    places = Places(within_limits(source, file), file)
    placed = tuple(replace(one, place=places.of(one.path, one.at_key)) for one in report.findings)
    for line in report_in_words(replace(report, findings=placed), places, {}, strict=False):
        say(visible(line))
    say("")
    return report.exit_code(strict=False)


def rehearse(record: Record, controller: Controller, learner: Learner) -> Iterator[str]:
    """Say how long a run is, how much it holds in memory and on disk, and how long it takes on this machine.

    Args:
        record: what the run is.
        controller: where the run would begin, or go on.
        learner: taken for a few steps, and useless after that.

    Yields:
        Lines to the user.
    """
    run, plan = record.bound, controller.plan
    total_steps = run.epochs * run.steps_per_epoch
    remaining = Remaining(controller.machine, total_steps)
    prices = remaining.prices(plan)
    sizes = {price: _bytes(learner, price) for price in prices}
    machine = controller.machine
    yield from (*machine.notes, *replaced_peak(record, machine), *silent_states(machine))
    if (ranks := learner.world.size) > 1:
        yield f"{ranks} ranks: the steps that are timed are taken by all of them; memory is that of one"
    yield _length(record, plan, sizes)
    dearest = max(prices, key=lambda price: (sizes[price], price))
    learner.turn(dict(dearest))
    yield from _memory(learner, _activations(learner, plan))
    evaluation_s = _score_s(learner, learner.epoch_windows_BW)
    for price in sorted(prices):
        step_s = _step_s(learner, plan, price)
        yield f"{_named(price, prices)}: {step_s * 1000:,.0f} ms a step, {sizes[price] / step_s:,.0f} tokens/s"
        for _ in range(SURE_STEPS):
            remaining.measure(price, step_s + evaluation_s / run.steps_per_epoch, True)
    final_s = _score_s(learner, learner.final_windows_BW)
    yield f"an evaluation when an epoch closes: {in_words(evaluation_s)}; the score at the end: {in_words(final_s)}"
    what = "the run takes" if plan.step == 0 else "the rest of the run takes"
    yield f"{what} {remaining.time(plan, total_steps - plan.step)} on this machine, as busy as it is now"


def _length(record: Record, plan: Plan, sizes: Mapping[Price, int]) -> str:
    run = record.bound
    steps = run.epochs * run.steps_per_epoch
    least, most = min(sizes.values()), max(sizes.values())
    left = steps - plan.step
    total = f"{least * left:,}" if least == most else f"{least * left:,} to {most * left:,}"
    each = f"{least:,}" if least == most else f"{least:,} to {most:,}"
    passes = most * left / max(1, int(record.text.bytes * 0.9))
    done = f", {left:,} of them left" if plan.step else ""
    return (
        f"{run.epochs} epochs of {run.steps_per_epoch} steps are {steps:,} steps{done}, of {each} bytes (tokens): "
        f"{total}, {'at most ' if least != most else ''}{passes:.3g} times the training text"
    )


def _bytes(learner: Learner, price: Price) -> int:
    sizes = dict(price)
    return int(sizes["batch_size"] * sizes["seq_len"] * learner.config.accumulation)


def _named(price: Price, prices: frozenset[Price]) -> str:
    """Name a size of step by the knobs in which it differs from others."""
    told = [f"{name} {value}" for name, value in price if len({dict(one)[name] for one in prices}) > 1]
    return ", ".join(told) or "every state"


# Memory


def _activations(learner: Learner, plan: Plan) -> int:
    """Bytes that one forward pass keeps for its backward pass, parameters aside."""
    own = {value.untyped_storage().data_ptr() for value in learner.model.parameters()}
    kept: dict[int, int] = {}
    backward = False

    def keep(value: Tensor) -> Tensor:
        nonlocal backward
        if backward:  # of the pass before, where there are several in a step
            kept.clear()
            backward = False
        storage = value.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return value

    def give(value: Tensor) -> Tensor:
        nonlocal backward
        backward = True
        return value

    with torch.autograd.graph.saved_tensors_hooks(keep, give):
        learner.step(plan.step, plan.lr).tolist()
    return sum(kept.values())


def _memory(learner: Learner, activations: int) -> Iterator[str]:
    weights = sum(value.nbytes for value in learner.model.state_dict().values())
    # What has moments by now is what a step has moved: not the blocks that do not run in the dearest of states.
    moved = list(learner.optimizer.state)
    gradients = sum(value.nbytes for value in moved)
    moments = sum(
        value.nbytes for state in learner.optimizer.state.values() for value in state.values() if torch.is_tensor(value)
    )
    count = sum(value.numel() for value in learner.model.parameters())
    trained = sum(value.numel() for value in moved)
    yield f"{count:,} parameters" + ("" if trained == count else f", {trained:,} of them trained")
    parts = {"weights": weights, "gradients": gradients, "optimizer": moments, "activations": activations}
    if learner.device.type == "cuda":
        peak, where = torch.cuda.max_memory_allocated(learner.device), "of the GPU were taken at the peak"
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        where = "were taken by this process at its peak, torch and the text included"
    told = ", ".join(f"{name} {_size(size)}" for name, size in parts.items())
    yield f"memory: {told}, which a forward pass was measured to keep; {_size(peak)} {where}"
    yield f"a checkpoint: {_size(weights + moments)}"


def _size(count: int) -> str:
    """Spell a number of bytes."""
    return f"{count / KIB:,.0f} KiB" if count < MIB else f"{count / MIB:,.1f} MiB"


# Time


def _step_s(learner: Learner, plan: Plan, price: Price) -> float:
    """Seconds that a step takes: the median of a few, after one that does not count."""
    learner.turn(dict(price))
    learner.step(plan.step, plan.lr).tolist()
    times_s: list[float] = []
    with _no_collection():
        while len(times_s) < TIMED_STEPS and sum(times_s) < LONGEST_S:
            began = perf_counter()
            learner.step(plan.step, plan.lr).tolist()
            (took_s,) = max(learner.world.gather([perf_counter() - began]))  # all ranks take as many steps
            times_s.append(took_s)
    return sorted(times_s)[len(times_s) // 2]


def _score_s(learner: Learner, windows_BW: Tensor) -> float:
    """Seconds that these windows take to be scored, by an eighth of their length: on rank 0, as in a run."""
    return learner.world.share_scores(lambda: {"took_s": _part_scored_s(learner, windows_BW)})["took_s"]


def _part_scored_s(learner: Learner, windows_BW: Tensor) -> float:
    chunk = learner.config.model.chunk
    length = windows_BW.shape[1] - chunk
    part = max(1, length // SCORED_SHARE)
    began = perf_counter()
    evaluate(learner.model, windows_BW[:, : part + chunk])
    return (perf_counter() - began) * length / part


@contextmanager
def _no_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
