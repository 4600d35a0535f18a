"""Knobs that choose rows reach the batches of their own steps, however far ahead these are drawn."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

from plateau_rule import Binding, Controller, loads
from plateau_rule.adapters.errors import WiringError, WiringWarning
from plateau_rule.adapters.pytorch import PlateauRule
from plateau_rule.adapters.stamp import unstamped
from plateau_rule.adapters.stamps import KnobBatches, KnobDataset, KnobLoader, StampedCollate
from tests.conformance.loading import Loading, Numbers, as_list, trial

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")

GROWING = loads("""
name  = "growing"
lr    = { peak = 0.1, shape = "constant" }
knob  = { batch_size = { ladder = [2, 5] } }
state = [{ name = "small", set = { batch_size = 2 } }, { name = "large", set = { batch_size = 5 } }]

[[transition]]
from   = "small"
to     = "large"
guards = [{ below = { value = 1.0 } }]
""")


def rule_of(lead: int = 0, **said: Any) -> PlateauRule:
    """A rule on a model of one weight."""
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=0.1)
    return PlateauRule(optimizer, Controller(GROWING, Binding(lead={"batch_size": lead})), **said)


def step(rule: PlateauRule, loss: float) -> None:
    """One optimizer step, of an optimizer that need not move."""
    rule.rule.micro(loss)
    rule.rule.close(epoch_end=rule.rule.stamping.epoch_ends)


@pytest.mark.parametrize(
    "loading",
    [Loading(0, 0), Loading(1, 2), Loading(4, 4), Loading(4, 2, 4), Loading(2, 2, 3, persistent=True)],
    ids=str,
)
def test_random_curricula(loading: Loading) -> None:
    """Under the lead that the formula gives, no batch has a wrong size, and each row comes once an epoch."""
    batches, wrong, decisions = map(sum, zip(*(trial(seed, loading) for seed in range(4)), strict=True))
    assert batches > 100
    assert decisions > 4
    assert wrong == 0


@pytest.mark.slow
def test_spawned_workers() -> None:
    """Workers that are spawned get the dataset and the collate function alone, and are as right."""
    batches, wrong, decisions = trial(3, Loading(1, 2, persistent=True, start="spawn"))
    assert (batches, wrong) == (60, 0)
    assert decisions


def test_one_less_is_seen() -> None:
    """Canary: with one step less of lead some batches are wrong, and the test above would see them."""
    results = [trial(seed, Loading(4, 4), less=1) for seed in range(6)]
    assert sum(wrong for _, wrong, _ in results) > 0


def test_too_small_a_lead_is_said() -> None:
    """Before the first batch the lead that the loader needs is named, and then the first batch that is wrong."""
    rule = rule_of(1)
    loader = KnobLoader(Numbers(40), rule, size="batch_size", collate_fn=as_list, num_workers=1, prefetch_factor=2)
    with pytest.warns(WiringWarning, match=r"up to 2 steps ahead, and batch_size has a lead of 1.*'batch_size': 2"):
        first = next(batches := iter(loader))
    rule.shape(first)
    step(rule, 0.5)
    rule.shape(next(batches))
    step(rule, 0.5)
    assert rule.knobs["batch_size"] == 5
    with pytest.warns(WiringWarning, match="step 2: this batch was drawn for step 2, under other values of batch_size"):
        assert len(rule.shape(next(batches))) == 2


class Endless(IterableDataset[int]):
    """A dataset without indices."""

    def __iter__(self) -> Iterator[int]:
        return count()


def test_what_cannot_work_is_refused() -> None:
    """A dataset without indices, and batches that overtake each other, are refused in a sentence."""
    with pytest.raises(WiringError, match="needs a dataset with indices"):
        KnobLoader(Endless(), rule_of(), size="batch_size")
    with pytest.raises(WiringError, match="in_order=False"):
        KnobLoader(Numbers(9), rule_of(), size="batch_size", in_order=False)
    with pytest.raises(WiringError, match="outermost collate function"):
        StampedCollate()([1, 2])


def drawn(loader: KnobLoader, rule: PlateauRule, number: int) -> list[list[int]]:
    """Train on some batches."""
    rows, batches = [], iter(rule.batches(loader))
    for _ in range(number):
        rows.append(next(batches))
        step(rule, 2.0 if rule.plan.step < 4 else 0.5)
    return rows


def test_resumed_in_the_middle_of_an_epoch() -> None:
    """A loader that is saved and loaded goes on with the rows that were not handed out, in their order."""
    whole, first = rule_of(), rule_of()
    own: dict[str, Any] = {"size": "batch_size", "seed": 7, "collate_fn": as_list}
    rows = drawn(KnobLoader(Numbers(23), whole, **own), whole, 12)
    cut = KnobLoader(Numbers(23), first, **own)
    assert drawn(cut, first, 7) == rows[:7]
    resumed = rule_of()
    resumed.load_state_dict(first.state_dict())
    again = KnobLoader(Numbers(23), resumed, **own)
    again.load_state_dict(cut.state_dict())
    assert drawn(again, resumed, 5) == rows[7:]
    assert resumed.plan == whole.plan
    assert (whole.plan.epoch, whole.plan.state) == (1, "large")


def test_around_a_trainers_own_batches() -> None:
    """Around a batch sampler that is there, batches stay as they are; a dict carries its stamp in each row."""
    rule = rule_of(4)
    rule.rule.begin(0, rule.groups, accumulation=2)
    sampler = torch.utils.data.BatchSampler(range(9), 3, drop_last=False)
    batches = KnobBatches(sampler, rule.rule, ["batch_size"])
    rule.rule.stamps(["batch_size"], 4)
    assert (len(batches), batches.batch_size) == (3, 3)
    rows = [{"row": torch.tensor(number)} for number in range(9)]
    loader: DataLoader[Any] = DataLoader(
        KnobDataset(rows), batch_sampler=batches, collate_fn=StampedCollate(as_rows=True)
    )
    seen = []
    for batch in loader:
        assert batch["stamp"].shape == (3, 4)
        plain, stamp = unstamped(batch)
        assert stamp is not None
        seen.append((plain["row"].tolist(), stamp.step, stamp.last))
        assert plain.keys() == {"row"}
    assert seen == [([0, 1, 2], 0, 0), ([3, 4, 5], 0, 0), ([6, 7, 8], 1, 1)]
    batches.skipped = 2
    assert [batch[0][1].step for batch in batches] == [-1, -1, 0]


def test_a_knob_that_is_no_number_of_rows() -> None:
    """A batch size that is a word is refused."""
    words = loads("""
name  = "words"
lr    = { peak = 0.1, shape = "constant" }
knob  = { batch_size = { ladder = [2, "full"] } }
state = [{ name = "all", set = { batch_size = "full" } }]
""")
    rule = PlateauRule(torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=0.1), Controller(words))
    with pytest.raises(WiringError, match=r"batch_size = 'full' is no number of rows"):
        next(iter(KnobLoader(Numbers(9), rule, size="batch_size", collate_fn=as_list)))
