"""A data loader whose batches are chosen under the knobs of the step that they will be trained in.

Workers draw batches some steps ahead, so a knob that decides which rows a batch has, or how many, must be looked up for
that step, and not for the present one. `KnobBatches` does so in the main process, where the Controller is; each row
then carries its batch's stamp through the worker (`KnobDataset`, `StampedCollate`), and the rule compares it with the
plan when the batch is trained on. Workers get the dataset and the collate function alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from itertools import chain
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, Sampler, default_collate

from plateau_rule.adapters.base import Rule
from plateau_rule.adapters.errors import WiringError
from plateau_rule.adapters.pytorch import PlateauRule
from plateau_rule.adapters.stamp import KEY, Stamp, StampedBatch

StampedIndex = tuple[Any, Stamp]


class KnobBatches(Sampler[list[StampedIndex]]):
    """A batch sampler that stamps each batch, and chooses how many rows it has by a knob.

    It belongs outside of every layer that shards or skips, on the rank's own order of rows or batches.

    Args:
        rows: the order of rows, such as a sampler; or batches of them, such as a batch sampler.
        rule: that has begun, or begins before the first batch is drawn.
        knobs: those that decide which rows a batch has.
        size: of them, the one that says how many; without it, `rows` must be batches, and they stay as they are.

    Attributes:
        skipped: micro-batches at the next epoch's beginning that a resumed trainer draws and passes over.
    """

    def __init__(self, rows: Iterable[Any], rule: Rule, knobs: Iterable[str], *, size: str | None = None) -> None:
        self.rows, self.rule, self.size = rows, rule, size
        self.knobs = {*knobs, *([size] if size else [])}
        self.skipped = 0

    def __getattr__(self, name: str) -> Any:
        """What a trainer asks its batch sampler for, such as `sampler`, `batch_size` or `set_epoch`."""
        if name.startswith("__") or name == "rows":
            raise AttributeError(name)
        return getattr(self.rows, name)

    def __len__(self) -> int:
        """The number of batches, where no knob changes it.

        Raises:
            TypeError: one does.
        """
        if self.size is not None:
            raise TypeError("how many batches an epoch has depends on the curriculum")
        return len(self.rows)  # type: ignore[arg-type]  # a user's own sampler may have none: TypeError

    def __iter__(self) -> Iterator[list[StampedIndex]]:
        """An epoch's batches; each row is its index with the stamp of its batch."""
        rule = self.rule
        drawn = rule.open_micros - self.skipped
        base, drawn = rule.plan.step + drawn // rule.accumulation, drawn % rule.accumulation
        self.skipped = 0
        rows = iter(self.rows)
        held = next(rows, None)
        if self.size is not None:
            rows = chain([] if held is None else [held], rows)
            rows = chain.from_iterable(row if isinstance(row, list) else [row] for row in rows)
            held = next(rows, None)
        while held is not None:
            plan, stamp = rule.stamp(drawn, base)
            batch, held = self._next(held, rows, 0 if self.size is None else plan.knobs[self.size])
            stamp = stamp._replace(last=int(held is None), rows=len(batch))
            yield [(index, stamp) for index in batch]
            drawn += 1

    def _next(self, held: Any, rows: Iterator[Any], size: object) -> tuple[list[Any], Any]:
        """A batch that begins with what is held, and what comes after it."""
        if self.size is None:
            return list(held), next(rows, None)
        if not isinstance(size, int) or size < 1:
            raise WiringError(f"{self.size} = {size!r} is no number of rows; expected a whole number of at least 1")
        batch = [held]
        for row in rows:
            if len(batch) == size:
                return batch, row
            batch.append(row)
        return batch, None


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
        return self.dataset[index[0] if isinstance(index, tuple) and isinstance(index[-1], Stamp) else index]

    def __getitems__(self, indices: Sequence[StampedIndex]) -> StampedRows:
        """The rows of a batch."""
        plain = [index for index, _ in indices]
        several = getattr(self.dataset, "__getitems__", None)
        rows = several(plain) if several is not None else [self.dataset[index] for index in plain]
        return StampedRows(rows, indices[0][1])


class StampedCollate:
    """The outermost collate function: it puts the stamp onto the batch that the user's function makes.

    Args:
        collate: the user's; torch's own by default.
        as_rows: put it into a dict as a tensor with a row for each row of the batch, which survives being sliced,
            moved to a device and gathered by a trainer; else beside the batch, which costs less.
    """

    def __init__(self, collate: Callable[[list[Any]], Any] | None = None, *, as_rows: bool = False) -> None:
        self.collate, self.as_rows = collate or default_collate, as_rows

    def __call__(self, rows: list[Any]) -> Any:
        """The batch, with its stamp.

        Args:
            rows: what KnobDataset gave.
        """
        if not isinstance(rows, StampedRows):
            raise WiringError(
                "the rows of a batch have lost its stamp: something between KnobDataset and StampedCollate made "
                "another list of them. StampedCollate must be the outermost collate function"
            )
        stamp = rows.stamp
        batch = self.collate(list(rows))
        if not self.as_rows:
            return StampedBatch(batch, stamp)
        if not isinstance(batch, MutableMapping):
            raise WiringError(
                f"a stamp with a row for each row needs a batch that is a dict, not {type(batch).__name__}"
            )
        batch[KEY] = torch.tensor(stamp).repeat(len(rows), 1)
        return batch


class EpochOrder(Sampler[int]):
    """The order of rows of one epoch after the other: as they lie, or shuffled by seed and epoch.

    Args:
        length: the number of rows.
        seed: of the shuffling; None for none.

    Attributes:
        epoch: the number of the epoch, which each one moves on by one.
        start: rows that the epoch leaves out at its beginning: they were trained on before a resume.
    """

    def __init__(self, length: int, seed: int | None) -> None:
        self.length, self.seed, self.epoch, self.start = length, seed, 0, 0

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[int]:
        order = list(range(self.length))
        if self.seed is not None:
            drawing = torch.Generator().manual_seed(self.seed + self.epoch)
            order = torch.randperm(self.length, generator=drawing).tolist()
        start, self.start = self.start, 0
        return iter(order[start:])


class KnobLoader:
    """A DataLoader whose batch size, and whatever else chooses rows, follows the curriculum.

    Its batches go through the rule's `shape`, or `batches`, before they are trained on. It can be saved and resumed in
    the middle of an epoch.

    Args:
        dataset: with indices.
        rule: a PlateauRule, or the Rule of another adapter that has begun.
        size: the knob that says how many rows a micro-batch has.
        knobs: further knobs that the order of rows depends on.
        sampler: the order of rows; by default as they lie, or shuffled by `seed`. One of your own is not resumed in the
            middle of an epoch.
        seed: shuffle by it and the number of the epoch.
        collate_fn: makes a batch of rows.
        ahead: batches that the trainer itself draws ahead: 1 under Accelerate.
        loading: further arguments of torch's DataLoader, such as num_workers and prefetch_factor.

    Raises:
        WiringError: the order of batches would not be that in which they are trained on.
    """

    tells_last = True
    """Its batches carry the end of an epoch: nobody needs to look one ahead."""

    def __init__(
        self,
        dataset: Any,
        rule: PlateauRule | Rule,
        *,
        size: str | None = None,
        knobs: Iterable[str] = (),
        sampler: Iterable[Any] | None = None,
        seed: int | None = None,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        ahead: int = 0,
        **loading: Any,
    ) -> None:
        if isinstance(dataset, IterableDataset):
            raise WiringError(
                "a knob that chooses rows needs a dataset with indices: in an IterableDataset each worker draws for "
                "itself. Use one with indices, or a knob that changes the form of a batch, by `shape`"
            )
        if loading.get("in_order") is False:
            raise WiringError(
                "in_order=False: batches would be trained on in another order than they were drawn in, and so under "
                "the knobs of other steps. Leave it out"
            )
        self._given, self._ahead = rule, ahead
        self._order = EpochOrder(len(dataset), seed)
        self._rows, self._begun = 0, False
        own = rule.rule if isinstance(rule, PlateauRule) else rule
        self.batches = KnobBatches(self._order if sampler is None else sampler, own, knobs, size=size)
        self.loader: DataLoader[Any] = DataLoader(
            KnobDataset(dataset), batch_sampler=self.batches, collate_fn=StampedCollate(collate_fn), **loading
        )

    def __iter__(self) -> Iterator[StampedBatch]:
        """An epoch's batches, each with its stamp; after a resume, those that were not trained on yet."""
        self._begin()
        self._order.start = self._rows
        for batch in self.loader:
            self._rows += batch.stamp.rows
            if batch.stamp.last:
                self._order.epoch, self._rows = self._order.epoch + 1, 0
            yield batch

    def _begin(self) -> None:
        """Begin the rule if it has not begun, and compare the lead with what this loader needs."""
        rule = self._given.start() if isinstance(self._given, PlateauRule) else self._given
        if not self._begun:
            self._begun = True
            workers, prefetch = self.loader.num_workers, self.loader.prefetch_factor or 0
            rule.stamps(self.batches.knobs, rule.lead_needed(workers, prefetch, self._ahead, rule.accumulation))

    def state_dict(self) -> dict[str, int]:
        """Where it stands: the epoch, and how many of its rows were handed out."""
        return {"epoch": self._order.epoch, "rows": self._rows}

    def load_state_dict(self, saved: Mapping[str, int]) -> None:
        """Go on from there; the rows that come are those that had not been handed out."""
        self._order.epoch, self._rows = int(saved["epoch"]), int(saved["rows"])
