"""What a batch carries that was drawn ahead of time: for which step, and under which knobs. No framework is needed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any, NamedTuple
from zlib import crc32

from plateau_rule.adapters.watch import Watch
from plateau_rule.controller.machine import Knobs
from plateau_rule.controller.plan import Plan

KEY = "stamp"
"""Where a batch that is a dict carries its stamp."""


class Stamp(NamedTuple):
    """Whole numbers, so that a tensor can hold them.

    Attributes:
        step: the optimizer step that the batch was drawn for.
        digest: of the values of the stamped knobs that it was drawn under.
        last: 1 where it is the last batch of an epoch, else 0.
        rows: how many rows it has.
    """

    step: int
    digest: int
    last: int = 0
    rows: int = 0


class StampedBatch(NamedTuple):
    """A batch that is no dict, and its stamp."""

    batch: Any
    stamp: Stamp


def unstamped(batch: Any) -> tuple[Any, Stamp | None]:
    """The batch as the model takes it, and the stamp that it carried, if any.

    A dict may hold its stamp as a tensor with a row for each of the batch's rows, so that it survives being sliced.
    """
    if isinstance(batch, StampedBatch):
        return batch.batch, Stamp(*batch.stamp)
    if isinstance(batch, MutableMapping) and KEY in batch:
        held = batch.pop(KEY)
        numbers = held[0].tolist() if hasattr(held, "tolist") else held
        return batch, Stamp(*map(int, numbers))
    return batch, None


def lead_needed(workers: int, prefetch: int, ahead: int = 0, accumulation: int = 1, dispatching: int = 1) -> int:
    """How many optimizer steps before it is trained on a batch may be drawn from the sampler.

    Args:
        workers: the loader's worker processes.
        prefetch: batches that each of them draws ahead; it does not count where there are none.
        ahead: batches that the trainer itself draws ahead: 1 under Accelerate, else 0.
        accumulation: micro-batches in an optimizer step.
        dispatching: the number of ranks that one loader feeds (Accelerate's `dispatch_batches`), else 1.
    """
    drawn = workers * prefetch + ahead * dispatching
    step = accumulation * dispatching
    return (drawn + step - 1) // step


class Stamping:
    """The knobs that reach batches as they are drawn, and what was seen of their stamps when they were trained on.

    Args:
        watch: says what is wrong.

    Attributes:
        names: of the knobs.
        stale_batches: how many batches were trained on that had been drawn under other values.
        epoch_ends: whether the newest batch ends an epoch.
    """

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self.names: set[str] = set()
        self.stale_batches, self.epoch_ends = 0, False
        self._digested: Knobs | None = None
        self._digest = 0

    def require(self, names: Iterable[str], needed: int, lead: Mapping[str, int]) -> None:
        """Take these knobs as stamped, and say it where the lead of one is smaller than its loader needs."""
        self.names |= set(names)
        self._digested = None
        self._watch.applied |= self.names
        for name in sorted(names):
            if lead.get(name, 0) < needed:
                self._watch.say(
                    f"lead of {name}",
                    f"the loader draws batches up to {needed} steps ahead, and {name} has a lead of "
                    f"{lead.get(name, 0)}: for some steps after it changes, batches will come with its old value. Bind "
                    f"lead={{{name!r}: {needed}}}, or use fewer workers or a smaller prefetch",
                )

    def digest(self, plan: Plan) -> int:
        """A number that differs, but for one case in four billion, where the values of the stamped knobs do."""
        if plan.knobs is not self._digested:  # a state without ramps has the same knobs on every step
            self._digested, self._digest = plan.knobs, self._digest_of(plan)
        return self._digest

    def _digest_of(self, plan: Plan) -> int:
        return crc32(repr([(name, plan.knobs[name]) for name in sorted(self.names)]).encode())

    def check(self, stamp: Stamp, plan: Plan) -> None:
        """Count a batch that was drawn under other values than those of the step it is trained in, and say so once."""
        self.epoch_ends = bool(stamp.last)
        if stamp.digest != self.digest(plan):
            self.stale_batches += 1
            self._watch.say(
                "stale",
                f"step {plan.step}: this batch was drawn for step {stamp.step}, under other values of "
                f"{', '.join(sorted(self.names))} than are planned now. It is trained on all the same. A lead that is "
                "too small does this, and a transition that doesn't wait for its lead: one that stops or rolls back",
            )
        elif stamp.step != plan.step:
            self._watch.say(
                "count",
                f"step {plan.step}: this batch was drawn for step {stamp.step}. Are batches passed over, or is the "
                "number of micro-batches in a step another than the rule was told?",
            )
