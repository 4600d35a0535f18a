"""A data loader whose batches are chosen under the knobs of the step that they will be trained in.

Workers draw batches some steps ahead, so a knob that decides which rows a batch has, or how many, must be looked up for
that step, and not for the present one. `KnobBatches` does so in the main process, where the Controller is; each row
then carries its batch's stamp through the worker (`KnobDataset`, `StampedCollate`), and the rule compares it with the
plan when the batch is trained on. Workers get the dataset and the collate function alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    Sampler,
    SequentialSampler,
    default_collate,
)

from plateau_rule.adapters.base import Rule
from plateau_rule.adapters.errors import WiringError
from plateau_rule.adapters.rows import count_rows
from plateau_rule.adapters.shapes import each_tensor
from plateau_rule.adapters.stamp import RowPlace, Stamp, StampedBatch
from plateau_rule.controller.plan import Plan

StampedIndex = tuple[Any, Stamp]
# What a loader is made with, beside its dataset, its batches and its collate function.
KEPT = (
    "num_workers", "pin_memory", "timeout", "worker_init_fn", "multiprocessing_context", "generator",
    "prefetch_factor", "persistent_workers",
)  # fmt: skip


class RowOrder:
    """The order in which a loader's rows come, epoch by epoch.

    A loader that shuffles by torch's own sampler gets an order by seed and epoch instead, which a resumed run can make
    again. Any other sampler keeps its order; it is told the epoch if it has `set_epoch`.

    Args:
        batches: the loader's batch sampler, with all that shards it for this rank.

    Attributes:
        repeats: whether the order of an epoch can be made again after a resume.
    """

    def __init__(self, batches: Any) -> None:
        self._batches, self._layers = batches, [batches]
        while (inner := getattr(self._layers[-1], "batch_sampler", None)) is not None:
            self._layers.append(inner)
        self._layers.append(getattr(self._layers[-1], "sampler", None))
        self._shuffles = _shuffles(batches)
        told = any(hasattr(layer, "set_epoch") for layer in self._layers)
        self.repeats = told or self._shuffles or type(self._layers[-1]) is SequentialSampler

    def of_epoch(self, place: RowPlace) -> Iterator[Any]:
        """The rows of the epoch at a place, from its beginning."""
        if self._shuffles:
            sampler = self._layers[-1]
            if place.seed is None:
                place.seed = int(torch.randint(2**62, (), generator=sampler.generator))
            drawing = torch.Generator().manual_seed(place.seed + place.epoch)
            return iter(torch.randperm(len(sampler.data_source), generator=drawing).tolist())
        for layer in self._layers:
            if hasattr(layer, "set_epoch"):
                layer.set_epoch(place.epoch)
        return chain.from_iterable(self._batches)


def _shuffles(batches: Any) -> bool:
    """Whether it is torch's own shuffling of all rows, each once."""
    sampler: Any = getattr(batches, "sampler", None)
    plain = type(batches) is BatchSampler and type(sampler) is RandomSampler
    return plain and not sampler.replacement and len(sampler) == len(sampler.data_source)


class RowsLeft(Iterator[Any]):
    """The rows that are left in an epoch; some can be given back.

    Args:
        rows: of the epoch, from its beginning.
        start: how many of them are left out.

    Attributes:
        position: how many rows of the epoch lie before the next one.
    """

    def __init__(self, rows: Iterator[Any], start: int) -> None:
        self._fresh, self._passed = islice(rows, start, None), start
        self._back: deque[tuple[Any, int]] = deque()
        self.position = start

    def __next__(self) -> Any:
        if self._back:
            row, self.position = self._back.popleft()
            return row
        row = next(self._fresh)
        self._passed = self.position = self._passed + 1
        return row

    def draw(self, chosen: Iterable[Any], number: int) -> list[tuple[Any, int]]:
        """Some rows of those that are chosen among these, each with the position after it."""
        return [(row, self.position) for row in islice(chosen, number)]

    def give_back(self, drawn: Sequence[tuple[Any, int]]) -> None:
        """Let rows come once more."""
        self._back.extendleft(reversed(drawn))


class KnobBatches(Sampler[list[StampedIndex]]):
    """A batch sampler that chooses its rows by knobs, and stamps each batch.

    It stands outside of every layer that shards, on the rank's own order of rows. An epoch is whole optimizer steps:
    rows at its end that are too few for a full one are spread over its micro-batches, and left out if there are fewer
    of them than micro-batches.

    Args:
        batches: the loader's own batch sampler.
        rule: it must have begun when batches are drawn.

    Attributes:
        order: of the rows.
        skipped: empty batches at the beginning, for a resumed trainer that passes over as many as it has trained on.
    """

    def __init__(self, batches: Any, rule: Rule) -> None:
        self.order, self.rule, self.skipped = RowOrder(batches), rule, 0
        rows = rule.stamping.rows
        self._counts = next((name for name, choose in rows.items() if choose is count_rows), None)
        self._chooses = [(name, choose) for name, choose in rows.items() if choose is not count_rows]
        self._size: Any = getattr(batches, "batch_size", None)
        if self._counts is None and not self._size:
            raise WiringError(
                f"the loader's {type(batches).__name__} has no batch_size. Give it one, or a knob for it by `rows`, "
                'such as {"batch_size": count_rows}'
            )

    def __len__(self) -> int:
        """How many batches come depends on the curriculum.

        Raises:
            TypeError: always; a trainer then takes the loader as one without a length.
        """
        raise TypeError("how many batches an epoch has depends on the curriculum")

    def __iter__(self) -> Iterator[list[StampedIndex]]:
        """An epoch's batches, from where the run stands in it; each row is its index with the stamp of its batch."""
        yield from ([] for _ in range(self.skipped))
        self.skipped, rule, stamping = 0, self.rule, self.rule.stamping
        stamping.begin_epoch(self.order.repeats)
        step, missing, last = rule.plan.step, rule.accumulation - rule.open_micros, False
        left, begun = RowsLeft(self.order.of_epoch(stamping.place), stamping.place.rows), step
        while not last:
            plan, stamp = stamping.stamp(step)
            chosen = self._chosen(left, plan)
            drawn = left.draw(chosen, self._size_in(plan) * missing)
            if len(drawn) < missing:
                stamping.break_off()
                break
            left.give_back(following := left.draw(chosen, rule.accumulation))
            last = len(following) < rule.accumulation
            for number in range(missing):
                part = drawn[len(drawn) * number // missing : len(drawn) * (number + 1) // missing]
                ends = last and number == missing - 1
                stamped = Stamp(step, stamp.digest, int(ends), part[-1][1])
                yield [(row, stamped) for row, _ in part]
            step, missing = step + 1, rule.accumulation
        if step == begun and stamping.place.rows:  # a resumed run had nothing left of its epoch
            yield from self

    def _chosen(self, left: Iterator[Any], plan: Plan) -> Iterator[Any]:
        """The rows that the knobs admit in a step."""
        for name, choose in self._chooses:
            left = iter(choose(left, plan.knobs[name]))
        return left

    def _size_in(self, plan: Plan) -> int:
        """The number of rows in a micro-batch of a step."""
        if self._counts is None:
            return int(self._size)
        size: Any = plan.knobs[self._counts]
        count_rows(iter(()), size)  # says what is no number of rows
        return int(size)


class StampedRows(list[Any]):
    """The rows of a batch on their way to the collate function, with its stamp."""

    def __init__(self, rows: Iterable[Any], stamp: Stamp) -> None:
        super().__init__(rows)
        self.stamp = stamp


class KnobDataset(Dataset[Any]):
    """A dataset that takes the stamps off the indices and hands them on to the collate function.

    Args:
        dataset: the user's, with indices.
    """

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __getattr__(self, name: str) -> Any:
        """What a trainer asks its dataset for, such as `column_names`."""
        if name.startswith("__") or name == "dataset":
            raise AttributeError(name)
        return getattr(self.dataset, name)

    def __len__(self) -> int:
        """The number of rows."""
        return len(self.dataset)

    def __getitem__(self, index: Any) -> Any:
        """One row, for whoever asks without a stamp."""
        return self.dataset[index]

    def __getitems__(self, indices: Sequence[StampedIndex]) -> StampedRows:
        """The rows of a batch."""
        plain = [index for index, _ in indices]
        several = getattr(self.dataset, "__getitems__", None)
        rows = several(plain) if several is not None else [self.dataset[index] for index in plain]
        return StampedRows(rows, indices[0][1])


class StampedCollate:
    """The outermost collate function: it puts the stamp beside the batch that the user's function makes.

    Args:
        collate: the user's; torch's own by default.
    """

    def __init__(self, collate: Callable[[list[Any]], Any] | None = None) -> None:
        self.collate = collate or default_collate

    def __call__(self, rows: StampedRows) -> StampedBatch:
        """The batch, with its stamp."""
        return StampedBatch(self.collate(list(rows)), rows.stamp)


def loader_by_knobs(loader: Any, rule: Rule, ahead: int = 0) -> DataLoader[Any]:
    """A loader like the given one, whose batches follow the knobs of `rows`; the rule is told how far ahead it draws.

    Args:
        loader: torch's DataLoader, with everything that shards its rows for this rank.
        rule: with `rows`; it must have begun when batches are drawn.
        ahead: batches that the trainer draws ahead of the one it trains on.

    Raises:
        WiringError: its rows cannot be chosen, or come in another order than that in which they are trained on.
    """
    if not isinstance(loader, DataLoader):
        raise WiringError(
            f"`rows` chooses the rows of torch's DataLoader, and the loader is a {type(loader).__name__}. Give the "
            "DataLoader itself"
        )
    if isinstance(loader.dataset, IterableDataset) or loader.batch_sampler is None:
        raise WiringError(
            "a knob that chooses rows needs a dataset with indices, in batches: in an IterableDataset each worker "
            "draws for itself. Use one with indices, or a knob that changes the form of a batch, by `shape`"
        )
    if not getattr(loader, "in_order", True):
        raise WiringError(
            "in_order=False: batches would be trained on in another order than they were drawn in, and so under the "
            "knobs of other steps. Leave it out"
        )
    rule.stamping.draw_ahead(loader.num_workers * (loader.prefetch_factor or 0) + ahead)
    kept: dict[str, Any] = {name: getattr(loader, name) for name in KEPT}
    batches, collate = KnobBatches(loader.batch_sampler, rule), StampedCollate(loader.collate_fn)
    return DataLoader(KnobDataset(loader.dataset), batch_sampler=batches, collate_fn=collate, **kept)  # type: ignore[arg-type]  # it takes StampedRows


class KnobLoader:
    """The batches of a DataLoader whose rows follow the curriculum, each with its stamp, which `shape` takes off.

    It has no length, and no state: the rule saves where it stands.

    Args:
        loader: torch's DataLoader; one that Accelerate has prepared keeps its shards and its device.
        rule: with `rows`.
        begin: called before the first batch is drawn; the rule must have begun then.
        ahead: batches that the trainer draws ahead of the one it trains on.
    """

    tells_last = True
    """Its batches carry the end of an epoch: nobody needs to look one ahead."""

    def __init__(self, loader: Any, rule: Rule, begin: Callable[[], object] | None = None, *, ahead: int = 0) -> None:
        self.loader, self._begin = loader_by_knobs(loader, rule, ahead), begin
        self._device = getattr(loader, "device", None)

    def __iter__(self) -> Iterator[StampedBatch]:
        """An epoch's batches, from where the run stands in it."""
        if self._begin is not None:
            self._begin()
        for batch, stamp in self.loader:
            yield StampedBatch(batch if self._device is None else each_tensor(batch, self._moved), stamp)

    def _moved(self, tensor: Tensor) -> Tensor:
        return tensor.to(self._device, non_blocking=True)
