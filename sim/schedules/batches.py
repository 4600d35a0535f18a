"""How Megatron-LM's batch grows: by what was consumed before a step, in samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

MOST_STAGES = 20_000  # batches of a ramp; each is gone through


class Stage(NamedTuple):
    """A stretch of steps with one batch.

    Attributes:
        step: its first step.
        consumed: the samples before that.
        batch: the samples of each step.
    """

    step: int
    consumed: int
    batch: int


@dataclass(frozen=True, slots=True)
class Batches:
    """All the batches of a run, each with its first step; the last one stays.

    Attributes:
        stages: in order.
        ramp: start, increment and samples, where they came of a ramp; None where they stand in a list.
    """

    stages: tuple[Stage, ...]
    ramp: tuple[int, int, int] | None = None

    def steps_in(self, samples: int) -> int:
        """The steps that a run of so many samples takes; a last batch that is not whole is left out."""
        stage = self._at(samples)
        return stage.step + (samples - stage.consumed) // stage.batch

    def consumed_by(self, step: int) -> int:
        """The samples consumed before a step."""
        stage = max((one for one in self.stages if one.step <= step), key=lambda one: one.step)
        return stage.consumed + (step - stage.step) * stage.batch

    def step_at(self, samples: float) -> tuple[int, bool]:
        """The first step before which so many samples are consumed, and whether it is exactly so many."""
        stage = self._at(samples)
        past = samples - stage.consumed
        steps = past / stage.batch
        whole = abs(steps - round(steps)) <= 1e-9 * max(1.0, steps)  # a share of the run is a float there
        return stage.step + (round(steps) if whole else int(steps) + 1), whole

    def _at(self, samples: float) -> Stage:
        return max((one for one in self.stages if one.consumed <= samples), key=lambda one: one.step)


def ramp(start: int, increment: int, samples: int, last: int) -> Batches:
    """The batches of `--rampup-batch-size START INCREMENT SAMPLES --global-batch-size LAST`.

    Each increment comes when an equal part of the samples is consumed; Megatron-LM divides floats, and so is done here.

    Args:
        start: the first batch.
        increment: what is added; a whole number of them leads to the last batch.
        samples: over which it grows, at least 1.
        last: the last batch, above the first.
    """
    part = samples / ((last - start) // increment)

    def batch_after(consumed: int) -> int:
        return last if consumed > samples else start + int(consumed / part) * increment

    return Batches(_stages(batch_after, samples), (start, increment, samples))


def listed(entries: Sequence[tuple[int, int]]) -> Batches:
    """The batches of `--step-batch-size-schedule`.

    Args:
        entries: samples consumed, from 0 on and rising, and the batch from there on.
    """

    def batch_after(consumed: int) -> int:
        return next(batch for samples, batch in reversed(entries) if samples <= consumed)

    return Batches(_stages(batch_after, entries[-1][0]))


def _stages(batch_after: Callable[[int], int], settled: int) -> tuple[Stage, ...]:
    """Every stretch of steps with one batch; beyond `settled` samples it stays."""
    found = [Stage(0, 0, batch_after(0))]
    while found[-1].consumed <= settled:
        step, consumed, batch = found[-1]
        few, many = 0, (settled - consumed) // batch + 1  # steps that keep the batch, and that go beyond
        if batch_after(consumed + many * batch) == batch:
            break
        while many - few > 1:
            half = (few + many) // 2
            few, many = (half, many) if batch_after(consumed + half * batch) == batch else (few, half)
        after = consumed + many * batch
        found.append(Stage(step + many, after, batch_after(after)))
    return tuple(found)
