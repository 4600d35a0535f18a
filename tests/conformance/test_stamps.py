"""Knobs that choose rows reach the batches of their own steps, however far ahead these are drawn."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import chain, count
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

from plateau_rule import Binding, loads
from plateau_rule.adapters.errors import WiringError, WiringWarning
from plateau_rule.adapters.pytorch import PlateauRule
from plateau_rule.adapters.rows import count_rows
from plateau_rule.adapters.stamps import KnobBatches, KnobLoader
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


def rule_of(**said: Any) -> PlateauRule:
    """A rule on a model of one weight."""
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=0.1)
    return PlateauRule(optimizer, GROWING, rows={"batch_size": count_rows}, **said)


def loader_of(rows: Any, **said: Any) -> DataLoader[Any]:
    """A loader of so many rows, whose batches are lists of them."""
    return DataLoader(Numbers(rows) if isinstance(rows, int) else rows, collate_fn=as_list, **said)  # type: ignore[arg-type]


def step(rule: PlateauRule, loss: float) -> None:
    """One optimizer step, of an optimizer that need not move."""
    rule.rule.micro(loss)
    rule.rule.close()


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


def test_the_lead_is_bound_by_itself() -> None:
    """A rule that is given a curriculum learns from its loader how far ahead it draws, also under accumulation."""
    rule = rule_of(accumulation=3)
    next(iter(rule.batches(loader_of(40, num_workers=2, prefetch_factor=4))))
    assert rule.controller.lead == {"batch_size": 3}


def test_too_small_a_lead_is_said() -> None:
    """Before the first batch the lead that the loader needs is named, and then the first batch that is wrong."""
    rule = rule_of(binding=Binding(lead={"batch_size": 1}))
    batches = rule.batches(loader_of(40, num_workers=1, prefetch_factor=2))
    with pytest.warns(WiringWarning, match=r"up to 2 steps ahead, and batch_size has a lead of 1.*'batch_size': 2"):
        next(batches)
    step(rule, 0.5)
    next(batches)
    step(rule, 0.5)
    assert rule.knobs["batch_size"] == 5
    with pytest.warns(WiringWarning, match="step 2: this batch was drawn for step 2, under other values of batch_size"):
        assert len(next(batches)) == 2


class Endless(IterableDataset[int]):
    """A dataset without indices."""

    def __iter__(self) -> Iterator[int]:
        return count()


def test_what_cannot_work_is_refused() -> None:
    """A loader without indices, one whose batches overtake each other, and a knob that is not there, are refused."""
    with pytest.raises(WiringError, match="needs a dataset with indices"):
        next(rule_of().batches(loader_of(Endless())))
    with pytest.raises(WiringError, match="needs a dataset with indices, in batches"):
        next(rule_of().batches(loader_of(9, batch_size=None)))
    with pytest.raises(WiringError, match="in_order=False"):
        next(rule_of().batches(loader_of(9, in_order=False, num_workers=1)))
    with pytest.raises(WiringError, match="of torch's DataLoader, and the loader is a list"):
        next(rule_of().batches([1, 2]))
    rule = PlateauRule(torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=0.1), GROWING, rows={"batch": count_rows})
    with pytest.raises(WiringError, match=r"rows has a function for 'batch', and .* Expected one of: batch_size"):
        rule.start()


def drawn(loader: Any, rule: PlateauRule, number: int) -> list[list[int]]:
    """Train on some batches."""
    rows, batches = [], iter(rule.batches(loader))
    for _ in range(number):
        rows.append(next(batches))
        step(rule, 2.0 if rule.plan.step < 4 else 0.5)
    return rows


@pytest.mark.parametrize("workers", [0, 1])
def test_resumed_in_the_middle_of_an_epoch(workers: int) -> None:
    """A run that is saved and loaded goes on with the rows that were not trained on, in the order of that epoch."""
    whole, first = rule_of(), rule_of()
    own: dict[str, Any] = {"shuffle": True, "num_workers": workers}
    torch.manual_seed(3)
    rows = drawn(loader_of(23, **own), whole, 12)
    torch.manual_seed(3)
    assert drawn(loader_of(23, **own), first, 7) == rows[:7]
    resumed = rule_of()
    assert resumed.load_state_dict(json.loads(json.dumps(first.state_dict()))) == ()
    torch.manual_seed(4)
    assert drawn(loader_of(23, **own), resumed, 5) == rows[7:]
    assert resumed.plan == whole.plan
    assert (whole.plan.epoch, whole.plan.state) == (1, "large")
    assert sorted(list(chain.from_iterable(rows))[:23]) == [*range(23)]


class Backwards(torch.utils.data.Sampler[int]):
    """An order that is made anew each time, and knows no epoch."""

    def __iter__(self) -> Iterator[int]:
        return iter(range(22, -1, -1))


def test_an_order_that_cannot_be_repeated() -> None:
    """A run that goes on inside an epoch says it where the sampler cannot make the order of that epoch again."""
    first, resumed = rule_of(), rule_of()
    drawn(loader_of(23, sampler=Backwards()), first, 3)
    resumed.load_state_dict(first.state_dict())
    with pytest.warns(WiringWarning, match="cannot repeat the order of that epoch"):
        drawn(loader_of(23, sampler=Backwards()), resumed, 3)


def test_the_end_of_an_epoch() -> None:
    """An epoch is whole steps: what is left is spread over the micro-batches of the last, or left out if too little."""
    rule = rule_of(accumulation=3)
    batches = rule.batches(loader_of(16))
    taken = []
    for _ in range(9):
        taken.append(next(batches))
        rule.rule.micro(0.5)
        if len(taken) % 3 == 0:
            rule.rule.close()
    sizes = [len(batch) for batch in taken]
    assert sizes == [2, 2, 2, 3, 3, 4, 5, 5, 5]
    assert rule.plan.epoch == 2
    assert [*chain.from_iterable(taken[:6])] == [*range(16)]
    assert taken[6] == [0, 1, 2, 3, 4]


EASY_FIRST = loads("""
name  = "easy-first"
lr    = { peak = 0.1, shape = "constant" }
knob  = { hardest = { ladder = [4, 8] } }
state = [{ name = "easy", set = { hardest = 4 } }, { name = "all", set = { hardest = 8 } }]

[[transition]]
from   = "easy"
to     = "all"
at     = "epoch"
guards = [{ dwell = "1 epoch" }]
""")


def test_a_knob_that_chooses_which_rows() -> None:
    """A function of one's own passes rows over; batches keep the loader's size, and the rest ends the epoch."""
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=0.1)
    score = [7, 1, 2, 8, 3, 4, 6]
    rows: Any = {"hardest": lambda left, most: (row for row in left if score[row] <= most)}
    rule = PlateauRule(optimizer, EASY_FIRST, rows=rows)
    batches = rule.batches(loader_of(7, batch_size=3))
    taken = []
    for _ in range(5):
        taken.append(next(batches))
        step(rule, 1.0)
    assert taken == [[1, 2, 4], [5], [0, 1, 2], [3, 4, 5], [6]]
    assert rule.plan.epoch == 2


def test_rows_that_no_knob_admits_any_more() -> None:
    """Where a knob falls back inside an epoch and admits nothing that is left, the next epoch begins."""
    retreat = loads("""
name  = "retreat"
lr    = { peak = 0.1, shape = "constant" }
knob  = { hardest = { ladder = [1, 8] } }
state = [{ name = "all", set = { hardest = 8 } }, { name = "easy", set = { hardest = 1 } }]

[[transition]]
from    = "all"
to      = "easy"
regress = true
guards  = [{ above = { value = 5.0 } }]
""")
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=0.1)
    rows: Any = {"hardest": lambda left, most: (row for row in left if row <= most)}
    rule = PlateauRule(optimizer, retreat, rows=rows, checked=False)
    batches = rule.batches(loader_of(8, batch_size=4))
    assert next(batches) == [0, 1, 2, 3]
    step(rule, 9.0)
    assert next(batches) == [0, 1]
    assert rule.plan.epoch == 0
    step(rule, 1.0)
    assert rule.plan.epoch == 1


def test_around_a_trainers_own_batches() -> None:
    """A prepared loader keeps shards, batch size and device; a resumed trainer passes over empty batches."""
    rule = rule_of()
    sampler = torch.utils.data.BatchSampler(range(1, 9, 2), 3, drop_last=False)
    loader: Any = DataLoader(Numbers(9), batch_sampler=sampler)  # type: ignore[arg-type]
    loader.device = torch.device("cpu")
    ours = KnobLoader(loader, rule.rule, rule.start)
    seen = [(batch.tolist(), stamp.step, stamp.last) for batch, stamp in ours]
    assert seen == [([1, 3], 0, 0), ([5, 7], 1, 1)]
    with pytest.raises(TypeError, match="depends on the curriculum"):
        len(ours.loader)
    batches = ours.loader.batch_sampler
    assert isinstance(batches, KnobBatches)
    batches.skipped = 2
    assert [len(batch) for batch in batches] == [0, 0, 2, 2]


def test_a_knob_that_is_no_number_of_rows() -> None:
    """A batch size that is a word is refused."""
    words = loads("""
name  = "words"
lr    = { peak = 0.1, shape = "constant" }
knob  = { batch_size = { ladder = [2, "full"] } }
state = [{ name = "all", set = { batch_size = "full" } }]
""")
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=0.1)
    rule = PlateauRule(optimizer, words, rows={"batch_size": count_rows})
    with pytest.raises(WiringError, match=r"'full' is no number of rows"):
        next(rule.batches(loader_of(9)))
