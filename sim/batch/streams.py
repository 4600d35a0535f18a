"""One curriculum over many loss curves that do not answer to it: every decision, spread over all cores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from plateau_rule.controller.binding import Binding, LeadSaid
from plateau_rule.controller.language.curriculum import Curriculum
from plateau_rule.sim.batch.decisions import Decisions, joined
from plateau_rule.sim.batch.engine import Batch
from plateau_rule.sim.batch.history import Floats, Mask
from plateau_rule.sim.shards import Engine, cores, cut, spread

_PIECE = 64  # steps that are brought into the order of steps at a time
FEWEST = 50_000_000  # losses; below, to hand them to another process takes longer than to replay them


@dataclass(frozen=True)
class Replayed:
    """What a curriculum decided over many curves.

    Attributes:
        decisions: all transitions.
        ended_step: [run], the number of observations until the run was over, or all that there were.
        final_state: [run], the place of its last state among the machine's states.
        dead: [run], whether non-finite losses ended it.
    """

    decisions: Decisions
    ended_step: NDArray[np.int64]
    final_state: NDArray[np.int64]
    dead: Mask


@dataclass(frozen=True)
class _CurveShard:
    curriculum: Curriculum
    losses: Floats
    epoch_end: frozenset[int]
    eval_end: frozenset[int]
    metrics: Mapping[str, Floats]
    binding: Binding


def replay_all(
    curriculum: Curriculum,
    losses: ArrayLike,
    binding: Binding | Mapping[str, float] | None = None,
    *,
    epoch_end: Sequence[int] = (),
    eval_end: Sequence[int] = (),
    metrics: Mapping[str, ArrayLike] | None = None,
    workers: int | None = None,
    engine: Engine = "processes",
    limits: Mapping[str, float] | None = None,
    epochs: int | None = None,
    steps_per_epoch: int | None = None,
    tokens_per_step: int | None = None,
    peak: float | None = None,
    lag: int | None = None,
    lead: LeadSaid | None = None,
) -> Replayed:
    """Replay one curriculum over many curves; each decides as a Controller would over it alone.

    losses: [run, step], NaN and infinities included. epoch_end, eval_end: steps whose observation closes an epoch
    (where steps_per_epoch is not bound) or brings an evaluation. metrics: further values, [run, step] with NaN where
    there are none. workers: processes; unless given, all cores as soon as there is work for a second. engine:
    `processes` or `ray`. binding, and fields of it by name: as for `bind`.
    Raises BindingError where the curriculum does not fit.
    """
    table = np.atleast_2d(np.asarray(losses, dtype=np.float64))
    others = {name: np.atleast_2d(np.asarray(values, dtype=np.float64)) for name, values in (metrics or {}).items()}
    many = workers or (1 if table.size < FEWEST else cores())
    bound = Binding.of(
        binding,
        limits=limits,
        epochs=epochs,
        steps_per_epoch=steps_per_epoch,
        tokens_per_step=tokens_per_step,
        peak=peak,
        lag=lag,
        lead=lead,
    )
    shards = [
        _CurveShard(
            curriculum,
            table[first : first + count],
            frozenset(epoch_end),
            frozenset(eval_end),
            {name: values[first : first + count] for name, values in others.items()},
            bound,
        )
        for first, count in cut(len(table), many)
    ]
    parts = list(spread(_replay, shards, many, engine))
    firsts = np.cumsum([0, *(len(part.ended_step) for part in parts)])[:-1].tolist()
    return Replayed(
        joined([part.decisions.shifted(first) for part, first in zip(parts, firsts, strict=True)]),
        np.concatenate([part.ended_step for part in parts]),
        np.concatenate([part.final_state for part in parts]),
        np.concatenate([part.dead for part in parts]),
    )


def _replay(shard: _CurveShard) -> Replayed:
    runs, steps = shard.losses.shape
    batch = Batch(shard.curriculum, runs, shard.binding, steps=steps)
    for first in range(0, steps, _PIECE):
        piece = np.ascontiguousarray(shard.losses[:, first : first + _PIECE].T)
        for step, loss in enumerate(piece, first):
            if batch.over:
                break
            found = {name: values[:, step] for name, values in shard.metrics.items()}
            batch.observe(loss, step in shard.epoch_end, step in shard.eval_end, metrics=found)
    ended = np.where(batch.ended_step < 0, batch.step, batch.ended_step)
    return Replayed(batch.decisions(), ended, batch.state, batch.dead)
