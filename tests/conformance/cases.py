"""Runs that every adapter must carry out alike: prescribed losses, and what a bare Controller makes of them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import nan

from plateau_rule import Binding, Controller, Curriculum, loads

RATIOS = (0.1, 1.0)
"""What the rates of the two parameter groups are to each other."""
WIDEST = 32
"""Characters in a row of the data, before a knob cuts it."""
ROWS = 4
"""Rows in a micro-batch."""

# Every transition below is brought by the loss: by its level, by its having stopped to improve, or by NaN.
LADDER = """
name  = "{name}"
lr    = {{ peak = 0.01, shape = "cosine", floor = 0.1, length = "20 steps" }}
knob  = {{ seq_len = {{ ladder = [8, 16, 32] }} }}
state = [
  {{ name = "short", set = {{ seq_len = 8 }} }},
  {{ name = "medium", set = {{ seq_len = 16 }} }},
  {{ name = "long", set = {{ seq_len = 32 }} }},
]
"""
BY_LOSS = (
    LADDER.format(name="by-loss")
    + """
[[transition]]
from    = "short"
to      = "medium"
guards  = [{ patience = { steps = 5 } }]
actions = ["lr_restart"]

[[transition]]
from    = "medium"
to      = "long"
guards  = [{ below = { value = 2.0, window = 3 } }]
actions = ["lr_restart"]

[[transition]]
name    = "rescue"
from    = "*"
to      = "long"
guards  = [{ nonfinite = 3 }]
actions = [{ lr_scale = 0.5 }]

[check]
waive = { aligned = { rescue = "after NaN a low rate is what is wanted" } }
"""
)
BY_EVALUATION = (
    LADDER.format(name="by-evaluation")
    + """
[[transition]]
from    = "*"
to      = "next"
at      = "eval"
guards  = [{ patience = { metric = "val_loss", steps = 1 } }]
actions = ["lr_restart"]
"""
)
UNSOUND = BY_LOSS.partition("[check]")[0]
"""Broken, since its rescue raises a knob while the rate is low."""
STOPPING = """
name  = "stopping"
lr    = { peak = 0.01, shape = "constant" }
knob  = { seq_len = { ladder = [8, 16, 32] } }
state = [
  { name = "training", set = { seq_len = 16 } },
  { name = "done", stop = "the loss is low enough", set = { seq_len = 16 } },
]

[[transition]]
from   = "training"
to     = "done"
guards = [{ below = { value = 2.0 } }]
"""
STOPPED_BY_EVALUATION = """
name  = "stopped-by-evaluation"
lr    = { peak = 0.01, shape = "constant" }
knob  = { seq_len = { ladder = [8, 16, 32] } }
state = [
  { name = "training", set = { seq_len = 16 } },
  { name = "done", stop = "val_loss is low enough", set = { seq_len = 16 } },
]

[[transition]]
from    = "training"
to      = "done"
at      = "eval"
guards  = [{ below = { metric = "val_loss", value = 2.0 } }]
actions = ["checkpoint", "evaluate"]
"""


@dataclass(frozen=True)
class Case:
    """One run.

    Attributes:
        name: for the list of tests.
        curriculum: its text.
        losses: of every optimizer step in the run.
        steps_per_epoch: optimizer steps in an epoch; the run is whole epochs.
        accumulation: micro-batches in an optimizer step.
        workers: the data loader's.
        precision: "32", or "bf16" for mixed precision with bfloat16.
        evaluate_every: steps between evaluations; 0 for none.
        val_losses: what the evaluations bring, in order.
        save_every: steps between checkpoints; 0 for none.
        kill_at: the optimizer step in which the process kills itself; None for never.
        learns: the loss depends on the weights as well, so that a run can only be compared with another run.
        ranks: processes that train together, each with losses of its own.
        checked: whether the adapter is to refuse what `plateau check` calls broken.
    """

    name: str
    curriculum: str
    losses: tuple[float, ...]
    steps_per_epoch: int = 20
    accumulation: int = 1
    workers: int = 0
    precision: str = "32"
    evaluate_every: int = 0
    val_losses: tuple[float, ...] = ()
    save_every: int = 0
    kill_at: int | None = None
    learns: bool = False
    ranks: int = 1
    checked: bool = True

    @property
    def epochs(self) -> int:
        """Epochs in the run."""
        return len(self.losses) // self.steps_per_epoch

    def micro_losses(self) -> list[float]:
        """The loss of every micro-batch on every rank, ordered by step, then micro-batch, then rank.

        They lie around the step's loss, which is their mean.
        """
        parts = self.accumulation * self.ranks
        return [loss + (place - (parts - 1) / 2) / 64 for loss in self.losses for place in range(parts)]


@dataclass
class Seen:
    """What really happened in a run, step by step, as far as it was watched.

    Attributes:
        losses: as they were observed.
        rates: of every group, read inside the optimizer's step.
        widths: of the batches that the model was given, one for each micro-batch.
        decisions: the first step of the new state, the state left and the state entered.
    """

    losses: list[float] = field(default_factory=list)
    rates: list[list[float]] = field(default_factory=list)
    widths: list[int] = field(default_factory=list)
    decisions: list[tuple[int, str, str]] = field(default_factory=list)


def curriculum_of(case: Case) -> Curriculum:
    """The case's curriculum."""
    return loads(case.curriculum)


def expected(case: Case) -> Seen:
    """What a Controller by itself makes of the case's losses: the truth that every adapter is held against."""
    seen = Seen()
    controller = Controller(curriculum_of(case), Binding(epochs=case.epochs, steps_per_epoch=case.steps_per_epoch))
    evaluations = iter(case.val_losses)
    for loss in case.losses:
        plan = controller.plan
        if plan.stop is not None:
            break
        seen.losses.append(loss)
        seen.rates.append([ratio * plan.lr for ratio in RATIOS])
        seen.widths += [int(plan.knobs["seq_len"])] * case.accumulation
        decisions = [controller.observe(loss, step=plan.step)]
        if case.evaluate_every and (plan.step + 1) % case.evaluate_every == 0:
            decisions.append(controller.evaluated(val_loss=next(evaluations)))
        seen.decisions += [(taken.step, taken.from_state, taken.to_state) for taken in decisions if taken is not None]
    return seen


def _falling(start: float, stop: float, steps: int) -> list[float]:
    """Losses on a straight line, each a multiple of 1/32, which bfloat16 can hold exactly."""
    return [round(32 * (start + (stop - start) * n / steps)) / 32 for n in range(steps)]


FLAT_THEN_LOW = (*_falling(6.0, 4.0, 12), *[4.0] * 8, *_falling(4.0, 1.5, 20), *[1.5] * 20)
WITH_NAN = (*_falling(6.0, 4.0, 25), *[nan] * 4, *_falling(4.0, 3.0, 31))

CASES = [
    Case("loss", BY_LOSS, FLAT_THEN_LOW),
    Case("accumulation", BY_LOSS, FLAT_THEN_LOW, accumulation=4),
    Case("bf16", BY_LOSS, FLAT_THEN_LOW, precision="bf16"),
    Case("nan", BY_LOSS, WITH_NAN),
    Case("stop", STOPPING, FLAT_THEN_LOW),
    Case("worker", BY_LOSS, FLAT_THEN_LOW, workers=1),
    Case("workers", BY_LOSS, FLAT_THEN_LOW, workers=4, accumulation=4),
    Case(
        "evaluation", BY_EVALUATION, FLAT_THEN_LOW, evaluate_every=5, val_losses=(3, 2, 2.5, 2, 1, 1, 1, 1, 1, 1, 1, 1)
    ),
]
RANKS = Case("ranks", BY_LOSS, FLAT_THEN_LOW, accumulation=2, ranks=2)
KILLED = Case("killed", BY_LOSS, FLAT_THEN_LOW, accumulation=4, workers=2, save_every=10, kill_at=47, learns=True)
MIDDLE = replace(KILLED, name="killed-inside-an-epoch", kill_at=37)
