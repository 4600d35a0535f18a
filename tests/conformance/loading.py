"""Random curricula and data loaders: does the batch that is trained on have the size that the plan asks for?"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from random import Random
from typing import Any

from torch.utils.data import DataLoader

from plateau_rule import Binding, loads
from plateau_rule.adapters.base import Rule
from plateau_rule.adapters.errors import WiringWarning
from plateau_rule.adapters.rows import count_rows
from plateau_rule.adapters.stamp import lead_needed
from plateau_rule.adapters.stamps import KnobLoader

STEPS = 60
"""Optimizer steps in a trial."""


@dataclass(frozen=True)
class Loading:
    """A data loader.

    Attributes:
        workers: its processes.
        prefetch: batches that each draws ahead.
        accumulation: micro-batches in an optimizer step.
        persistent: whether its workers live on from one epoch to the next.
        start: how workers are made, "fork" or "spawn".
    """

    workers: int = 4
    prefetch: int = 4
    accumulation: int = 1
    persistent: bool = False
    start: str = "fork"

    @property
    def lead(self) -> int:
        """The lead that it needs."""
        return lead_needed(self.workers * self.prefetch, self.accumulation)

    def arguments(self) -> dict[str, Any]:
        """As torch's DataLoader takes them."""
        if not self.workers:
            return {"num_workers": 0}
        own: dict[str, Any] = {"num_workers": self.workers, "prefetch_factor": self.prefetch}
        return own | {"persistent_workers": self.persistent, "multiprocessing_context": self.start}


class Numbers:
    """A dataset whose rows are their own indices."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> int:
        return index


def as_list(rows: list[int]) -> list[int]:
    """A batch as the list of its rows."""
    return rows


def random_curriculum(chance: Random) -> str:
    """A curriculum that moves the batch size by the loss, by clocks and by NaN, up and back."""
    sizes = sorted(chance.sample(range(1, 13), chance.randint(2, 5)))
    guards = [
        f"{{ patience = {{ steps = {chance.randint(1, 5)} }} }}",
        f"{{ below = {{ value = {chance.uniform(0.2, 0.8):.2f}, window = {chance.randint(1, 3)} }} }}",
        f'{{ dwell = "{chance.randint(1, 12)} steps" }}',
        f"{{ min_step = {chance.randint(1, 30)} }}",
    ]
    lines = [
        'name = "random"',
        'lr = { peak = 1.0, shape = "constant" }',
        f"knob = {{ batch_size = {{ ladder = {sizes} }} }}",
    ]
    lines += [f'[[state]]\nname = "s{size}"\nset = {{ batch_size = {size} }}' for size in sizes]
    chosen = ", ".join(chance.sample(guards, chance.randint(1, 2)))
    at, sustain = chance.choice(["step", "step", "epoch"]), chance.randint(1, 2)
    lines.append(f'[[transition]]\nfrom = "*"\nto = "next"\nat = "{at}"\nsustain = {sustain}\nguards = [{chosen}]')
    if chance.random() < 0.5:
        last, level = f"s{sizes[-1]}", chance.uniform(0.5, 0.9)
        lines.append(
            f'[[transition]]\nfrom = "{last}"\nto = "s{sizes[0]}"\nregress = true\nat_most = 3\n'
            f"guards = [{{ any = [{{ above = {{ value = {level:.2f} }} }}, {{ nonfinite = 1 }}] }}]"
        )
    return "\n".join(lines)


def trial(seed: int, loading: Loading, less: int = 0) -> tuple[int, int, int]:
    """Train for a while on random losses.

    Args:
        seed: of the curriculum, the losses and the data.
        loading: the loader.
        less: by how much the lead is smaller than it must be.

    Returns:
        How many batches were trained on, how many of them had another size than the plan's (those of an epoch's last
        step may be smaller), and how many transitions were taken.
    """
    chance = Random(seed)
    lead = max(0, loading.lead - less)
    # Some of them say more than is needed, which is refused otherwise.
    bound = Binding(lead={"batch_size": lead} if less else None)
    rule = Rule(loads(random_curriculum(chance)), binding=bound, rows={"batch_size": count_rows}, checked=False)
    rows: Any = Numbers(chance.randint(50, 400))
    loader = KnobLoader(DataLoader(rows, shuffle=True, collate_fn=as_list, **loading.arguments()), rule)
    batches = wrong = decisions = 0
    with warnings.catch_warnings():
        if less:
            warnings.simplefilter("ignore", WiringWarning)
        rule.begin(0, [{"lr": 1.0}], accumulation=loading.accumulation)
        assert rule.controller.lead.get("batch_size", 0) == lead
        while rule.plan.step < STEPS:
            trained: list[int] = []
            smaller = 0
            for stamped in loader:
                wanted = int(rule.plan.knobs["batch_size"])
                batch = rule.shape(stamped)
                trained += batch
                batches += 1
                wrong += len(batch) > wanted
                smaller += len(batch) < wanted
                rule.micro(float("nan") if chance.random() < 0.03 else chance.random())
                if rule.open_micros == loading.accumulation:
                    wrong, smaller = wrong + (0 if stamped.stamp.last else smaller), 0
                    decisions += rule.close().decision is not None
                if rule.plan.step >= STEPS:
                    break
            else:
                # Each row once an epoch, whatever the sizes were, but for too few to make a step of.
                assert len({*trained}) == len(trained) > len(rows) - loading.accumulation
    assert (rule.stamping.stale_batches > 0) == (wrong > 0) or less
    return batches, wrong, decisions
