"""`plateau compare`: curricula at one budget, on the same seeds, held against the first of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path

import numpy as np

from plateau_rule.controller.language.curriculum import Curriculum
from plateau_rule.controller.language.rungs import spelled_out
from plateau_rule.sim.shards import Engine
from plateau_rule.trials.budget import TrainingBudget, TrialError, has_prices
from plateau_rule.trials.cell import Cell
from plateau_rule.trials.curve import AXES, Curve
from plateau_rule.trials.pool import Progress, train_cells
from plateau_rule.trials.prices import Prepared, prepare
from plateau_rule.trials.rungs import Setting
from plateau_rule.trials.statistics import PairedDifference, holm, tested
from plateau_rule.trials.trainer import Trainer

SURE = 0.05  # a corrected p below this is called more than chance


@dataclass(frozen=True)
class Compared:
    """What a comparison has found.

    Attributes:
        names: of the curricula, in the order in which they were given.
        budget: of each training.
        curves: of each curriculum, one a seed.
        differences: scores at the end less those of the first curriculum; p corrected for their number (Holm).
    """

    names: tuple[str, ...]
    budget: TrainingBudget
    curves: tuple[tuple[Curve, ...], ...]
    differences: tuple[PairedDifference, ...]

    @property
    def seeds(self) -> int:
        """How many there were."""
        return len(self.curves[0])

    @property
    def axes(self) -> list[str]:
        """What every curve says that it has spent."""
        return [axis for axis in AXES if all(axis in curve.spent for curves in self.curves for curve in curves)]


def compare(
    curricula: Mapping[str, Curriculum],
    budget: TrainingBudget,
    seeds: Sequence[int],
    trainer: Trainer,
    folder: Path,
    workers: int | None = None,
    progress: Progress | None = None,
    engine: Engine = "processes",
) -> Compared:
    """Train under each curriculum, on each seed, with one budget, and hold the scores against those of the first.

    Args:
        curricula: by their names; the first is what the others are held against.
        budget: of each training.
        seeds: of the weights and the data, the same for each curriculum.
        trainer: what trains.
        folder: of the experiment; what is finished in it is not trained again.
        workers: trainings at a time.
        progress: is told how many are finished.
        engine: what runs them; steps are priced on this machine.

    Raises:
        TrialError: it cannot be carried out, or a training failed.
    """
    unpriced = [name for name, curriculum in curricula.items() if not has_prices(curriculum)]
    if unpriced and budget.unit == "cost":  # measured, each would have a unit of its own: its dearest step
        raise TrialError(
            f"{unpriced[0]}: a budget in cost is the same for all only by prices in the files, [knob.NAME] cost = "
            "[ … ], and there are none in this one. Write them (plateau probe measures them), or give seconds"
        )
    asked = [(curriculum, _settings(curriculum)) for curriculum in curricula.values()]
    cells, ready = [], prepare(asked, budget, trainer, folder, progress)
    for prepared in ready:
        bound = prepared.bounded(prepared.curriculum)
        cells += [Cell(bound, trainer, seed, prepared.spends, prepared.step_s) for seed in seeds]
    curves = train_cells(cells, folder, workers, progress, share=True, engine=engine)
    own = [curves[i : i + len(seeds)] for i in range(0, len(curves), len(seeds))]
    timed = tuple(
        tuple(_timed(curve, prepared, not unpriced) for curve in each)
        for each, prepared in zip(own, ready, strict=True)
    )
    return held_against_first(dict(zip(curricula, timed, strict=True)), budget)


def held_against_first(curves: Mapping[str, tuple[Curve, ...]], budget: TrainingBudget) -> Compared:
    """Hold scores at the end against those of the first curriculum.

    Args:
        curves: of each curriculum, one a seed, in the same order.
        budget: of each training.
    """
    scores = [np.array([curve.last for curve in each]) for each in curves.values()]
    differences = [tested(each, scores[0]) for each in scores[1:]]
    corrected = holm([each.p for each in differences])
    found = [replace(each, p=p) for each, p in zip(differences, corrected, strict=True)]
    return Compared(tuple(curves), budget, tuple(curves.values()), tuple(found))


def _settings(curriculum: Curriculum) -> list[Setting]:
    """Every setting of the knobs in a state, once."""
    found: list[Setting] = []
    for state in spelled_out(curriculum).state:
        if state.stop is None and dict(state.set) not in found:
            found.append(dict(state.set))
    return found


def _timed(curve: Curve, prepared: Prepared, comparable: bool) -> Curve:
    """The curve with the time that its cost stands for, where it has no other; without a cost that others count not."""
    spent = dict(curve.spent)
    if prepared.unit_s is not None and "cost" in spent:
        spent.setdefault("time_s", spent["cost"] * prepared.unit_s)
    if not comparable:
        spent.pop("cost", None)
    return Curve(curve.score, spent)


def verdict(compared: Compared) -> str:
    """One sentence: whether the best of the others differs from the first by more than the spread over the seeds."""
    means = [np.mean([curve.last for curve in curves]) for curves in compared.curves]
    place = 1 + int(np.argmin(means[1:]))
    name, first, found = compared.names[place], compared.names[0], compared.differences[place - 1]
    if not isfinite(found.mean):
        wild = {each: sum(not isfinite(c.last) for c in compared.curves[i]) for each, i in ((first, 0), (name, place))}
        which = " and ".join(f"of {each} on {count} of {compared.seeds} seeds" for each, count in wild.items() if count)
        return f"{name} cannot be held against {first}: the score at the end is not finite {which}"
    if found.mean == 0 and not found.spread > 0:
        return f"{name} and {first} end with the same score on every seed: no difference was found"
    word = "better" if found.mean < 0 else "worse"
    lead = f"{name} is {word} than {first} by {abs(found.mean):.3g}"
    if compared.seeds == 1:
        return f"{lead} on one seed, which has no spread: nothing follows from it. Give --seeds 5 or more"
    lead = f"{lead} ± {found.spread:.2g}"
    p = f"p = {found.p:.2g}" if isfinite(found.p) else "p is not defined"
    if not found.is_larger_than_spread:
        return f"{lead}, which is no more than the spread over {compared.seeds} seeds ({p}): no difference was found"
    if isfinite(found.p) and found.p >= SURE:
        return (
            f"{lead}, which is more than the spread over {compared.seeds} seeds, and may still be chance ({p}): "
            "give more seeds"
        )
    return f"{lead}, which is more than the spread over {compared.seeds} seeds ({p})"
