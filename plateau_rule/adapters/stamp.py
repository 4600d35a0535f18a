"""Batches that are drawn ahead of time: for which step, and under which knobs. No framework is needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple
from zlib import crc32

from plateau_rule.adapters.rows import Choose
from plateau_rule.adapters.watch import Watch
from plateau_rule.controller.controller import Controller
from plateau_rule.controller.machine import Knobs
from plateau_rule.controller.plan import Plan


class Stamp(NamedTuple):
    """What a batch carries from where it is drawn to where it is trained on.

    Attributes:
        step: the optimizer step that the batch was drawn for.
        digest: of the values of the stamped knobs that it was drawn under.
        last: 1 where it is the last batch of an epoch, else 0.
        rows: how many rows of the epoch were taken or passed over up to its end.
    """

    step: int
    digest: int
    last: int = 0
    rows: int = 0


class StampedBatch(NamedTuple):
    """A batch, and its stamp."""

    batch: Any
    stamp: Stamp


def lead_needed(drawn: int, accumulation: int = 1) -> int:
    """How many optimizer steps before it is trained on a batch may be drawn from the sampler.

    Args:
        drawn: batches that are drawn ahead: by the loader, its workers times what each prefetches; and by the trainer.
        accumulation: micro-batches in an optimizer step.
    """
    return (drawn + accumulation - 1) // accumulation


@dataclass
class RowPlace:
    """Where a run stands in its rows, so that a resumed one goes on there.

    Attributes:
        epoch: how many epochs of rows were trained on.
        rows: of the present one, how many.
        seed: of the order that they are shuffled in; None where the order is the trainer's own.
    """

    epoch: int = 0
    rows: int = 0
    seed: int | None = None


class Stamping:
    """The knobs that reach batches as they are drawn, and what was seen of their stamps when they were trained on.

    Args:
        watch: says what is wrong.
        rows: for each knob, the function that chooses rows by it.

    Attributes:
        place: in the rows, by the batches that were trained on.
        stale_batches: how many batches were trained on that had been drawn under other values.
        epoch_ends: whether the newest batch ends an epoch.
    """

    def __init__(self, watch: Watch, rows: Mapping[str, Choose]) -> None:
        self._watch, self.rows = watch, dict(rows)
        self.place = RowPlace()
        self.stale_batches, self.epoch_ends = 0, False
        self._broken_off = self._closes_late = False
        self._drawn = 0
        self._controller: Controller | None = None
        self._accumulation = 1
        self._digested: Knobs | None = None
        self._digest = 0

    # How far ahead

    def draw_ahead(self, batches: int) -> None:
        """Say how many batches a loader and its trainer draw ahead; best before the run begins.

        If it has begun, and the lead of a knob is too small for that, a warning says so.
        """
        self._drawn = batches
        if self._controller is not None:
            self._compare(self._controller)

    def lead(self, accumulation: int, saved: Mapping[str, Any] | None = None) -> dict[str, int]:
        """The lead in steps that each knob needs.

        Args:
            accumulation: micro-batches in an optimizer step.
            saved: the snapshot of a Controller, whose lead it is while no loader is known.
        """
        needed = lead_needed(self._drawn, accumulation)
        if needed or saved is None:
            return dict.fromkeys(self.rows, needed) if needed else {}
        return {name: int(steps) for name, steps in saved["bound"].get("lead", {}).items() if name in self.rows}

    def begin(self, controller: Controller, accumulation: int, place: RowPlace | None) -> None:
        """Take these knobs as applied, in a run that begins or goes on at a place."""
        self._controller, self._accumulation, self._digested = controller, accumulation, None
        self.place, self.epoch_ends = place or RowPlace(), False
        if self.rows:
            self._watch.applied |= self.rows.keys()
            self._compare(controller)

    def _compare(self, controller: Controller) -> None:
        for name, needed in self.lead(self._accumulation).items():
            if controller.lead.get(name, 0) < needed:
                self._watch.say(
                    f"lead of {name}",
                    f"the loader draws batches up to {needed} steps ahead, and {name} has a lead of "
                    f"{controller.lead.get(name, 0)}: for some steps after it changes, batches will come with its old "
                    f"value. Bind lead={{{name!r}: {needed}}}, or use fewer workers or a smaller prefetch",
                )

    # An epoch of rows

    def begin_epoch(self, repeats: bool) -> None:
        """Before its batches are drawn, and when all of the one before were trained on.

        Args:
            repeats: whether the order of an epoch can be made again, if a resumed run goes on inside one.
        """
        if self._broken_off:
            self.place.epoch, self.place.rows = self.place.epoch + 1, 0
            self._broken_off, self._closes_late = False, True
        elif self.place.rows and not repeats:
            self._watch.say(
                "rows",
                "the run goes on inside an epoch, and its sampler cannot repeat the order of that epoch: some rows "
                "come twice in it, and some not at all. Shuffle by torch's own sampler, or by one that has set_epoch",
            )

    def break_off(self) -> None:
        """No knob admits what is left: the epoch ended with the batch before, which did not know it."""
        self._broken_off = True

    def take_epoch_end(self) -> bool:
        """Whether the step that is closed now ends an epoch of rows; the step after, where that was known too late."""
        ends = self.epoch_ends or self._closes_late
        self.epoch_ends = self._closes_late = False
        return ends

    # Stamps

    def stamp(self, step: int) -> tuple[Plan, Stamp]:
        """The plan of a step, as far as it can be known now, and the stamp for a batch that is drawn for it."""
        assert self._controller is not None, "batches are drawn once the run has begun"
        plan = self._controller.ahead(max(0, step - self._controller.run_state.step))
        return plan, Stamp(step, self._digest_of(plan))

    def _digest_of(self, plan: Plan) -> int:
        """A number that differs, but for one case in four billion, where the values of the stamped knobs do."""
        if plan.knobs is not self._digested:  # a state without ramps has the same knobs on every step
            self._digested = plan.knobs
            self._digest = crc32(repr([(name, plan.knobs[name]) for name in sorted(self.rows)]).encode())
        return self._digest

    def unstamped(self, batch: Any, plan: Plan) -> Any:
        """A batch that is about to be trained on, without its stamp, which is checked here."""
        if not isinstance(batch, StampedBatch):
            return batch
        self.check(batch.stamp, plan)
        return batch.batch

    def check(self, stamp: Stamp, plan: Plan) -> None:
        """Note where a batch ends, and say once if it was drawn under other values than its step has."""
        place, self.epoch_ends = self.place, bool(stamp.last)
        place.epoch, place.rows = (place.epoch + 1, 0) if stamp.last else (place.epoch, stamp.rows)
        if stamp.digest != self._digest_of(plan):
            self.stale_batches += 1
            self._watch.say(
                "stale",
                f"step {plan.step}: this batch was drawn for step {stamp.step}, under other values of "
                f"{', '.join(sorted(self.rows))} than are planned now. It is trained on all the same. A lead that is "
                "too small does this, and a transition that doesn't wait for its lead: one that stops or rolls back",
            )
        elif stamp.step != plan.step:
            self._watch.say(
                "count",
                f"step {plan.step}: this batch was drawn for step {stamp.step}. Are batches passed over, or is the "
                "number of micro-batches in a step another than the rule was told?",
            )
