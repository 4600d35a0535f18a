"""What a step takes under each setting of the knobs: measured once for an experiment, and kept in its folder."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from math import ceil, inf
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from plateau_rule.controller.language.canonical import digest
from plateau_rule.controller.language.curriculum import Curriculum, Run
from plateau_rule.controller.language.writing import dumps
from plateau_rule.trials.budget import TrainingBudget, TrialError, bounded, changed, has_prices, meters_in
from plateau_rule.trials.cell import LOG, Cell
from plateau_rule.trials.curve import Curve
from plateau_rule.trials.pool import Progress, logged, train_cells
from plateau_rule.trials.rungs import Setting, constant, moved, priced
from plateau_rule.trials.trainer import Trainer

Asked = tuple[Curriculum, Sequence[Setting]]  # a curriculum, and the settings of its knobs
EPOCHS, STEPS = 4, 5  # of a run that is timed; its fastest epoch counts, for a busy machine only makes steps slower
LONGER = 4  # times as many epochs, where the first points come later: else the price has the first steps' warming up


@dataclass(frozen=True)
class Prices:
    """What steps take.

    Attributes:
        settings: of the knobs, as they are written.
        step_s: seconds of a step under each of them.
        bound: the settings as the trainer has them, `full` as a number, where it says so.
        limits: the trainer's largest values, where it says them.
        tokens_per_step: of the trainer, where it says them.
        unit_s: seconds of a unit of cost.
        units_s: the same by each of the settings, where the prices are those of the file; else there are none.
    """

    settings: tuple[Setting, ...]
    step_s: tuple[float, ...]
    bound: tuple[Setting, ...] = ()
    limits: Mapping[str, float] = field(default_factory=dict)
    tokens_per_step: Any = None
    unit_s: float = 1.0
    units_s: tuple[float, ...] = ()

    def of(self, setting: Setting) -> float:
        """The price of a step under a setting, that of the dearest one being 1; at least a millionth."""
        seconds = self.step_s[self.settings.index(dict(setting))]
        return max(1e-6, round(seconds / self.unit_s, 4))


def measure_prices(
    asked: Sequence[Asked], trainer: Trainer, folder: Path, progress: Progress | None = None
) -> list[Prices]:
    """Time a few steps under each setting, one after the other; what was measured before is read.

    Raises:
        TrialError: the trainer failed, or does not say how long its steps took.
    """
    if trainer.kind == "fftcore":
        return _of_the_byte_model(asked, trainer, folder)
    return _of_a_trainer(asked, trainer, folder, progress)


def _of_a_trainer(asked: Sequence[Asked], trainer: Trainer, folder: Path, progress: Progress | None) -> list[Prices]:
    # A setting that several curricula have is timed once, and has one price: else noise would change their budgets.
    cells: dict[str, Cell] = {}
    for curriculum, settings in asked:
        for place, setting in enumerate(settings, 1):
            if (known := _known(setting)) not in cells:
                cells[known] = _timing(curriculum, setting, place, trainer)
    curves = {
        known: [curve]
        for known, curve in zip(cells, train_cells(list(cells.values()), folder, 1, progress), strict=True)
    }
    if seldom := [known for known, (curve,) in curves.items() if len(curve.score) == 1 and "time_s" in curve.spent]:
        more = iter(train_cells([each for known in seldom for each in _more(cells[known])], folder, 1, progress))
        for known in seldom:
            curves[known] += [next(more), next(more)]
    step_s = {known: _step_s(each) for known, each in curves.items()}
    return [
        Prices(tuple(dict(each) for each in settings), tuple(step_s[_known(each)] for each in settings))
        for _, settings in asked
    ]


def _known(setting: Setting) -> str:
    """What tells a setting from another."""
    return json.dumps(dict(setting), sort_keys=True)


def _timing(curriculum: Curriculum, setting: Setting, place: int, trainer: Trainer) -> Cell:
    """A few steps under one setting, the curriculum's `place`th."""
    run = Run(epochs=EPOCHS, steps_per_epoch=STEPS)
    still = constant(curriculum, setting, f"{curriculum.name}-price-{place}")
    kept = {key: value for key, value in vars(curriculum.run).items() if key in ("tokens_per_step", "cost_per_step")}
    still = changed(still, run=changed(run, **kept))
    return Cell(still, trainer, 0, TrainingBudget.read(f"{EPOCHS * STEPS} steps"))


def _more(cell: Cell) -> tuple[Cell, Cell]:
    """The same for longer, and once more: what was read from the disk for the first time had to be waited for."""
    still, epochs = cell.curriculum, LONGER * EPOCHS
    longer = changed(still, name=f"{still.name}-longer", run=changed(still.run, epochs=epochs))
    again = changed(still, name=f"{still.name}-again")
    return (
        replace(cell, curriculum=longer, budget=TrainingBudget.read(f"{epochs * STEPS} steps")),
        replace(cell, curriculum=again),
    )


def _step_s(curves: Sequence[Curve]) -> float:
    """Seconds of a step, by the fastest of the stretches between two points.

    Args:
        curves: of a few steps; where that has one point alone, of more steps and of the few once more as well.
    """
    if any("time_s" not in curve.spent for curve in curves):
        raise TrialError(
            'the points of this trainer have no "time_s", the seconds of training until then, so that a step has no '
            "price. Give them, or write prices into the file, [knob.NAME] cost = [ … ], or give a budget in tokens"
        )
    found, ends = [], dict[float, float]()  # the fastest run, by its number of steps
    for curve in curves:
        step, time_s = (np.diff(curve.spent[axis], prepend=0.0) for axis in ("step", "time_s"))
        found.append(float((time_s / step).min()))
        ends[step.sum()] = min(time_s.sum(), ends.get(step.sum(), inf))
    if all(len(curve.score) == 1 for curve in curves) and len(ends) == 2:
        (few, few_s), (many, many_s) = sorted(ends.items())
        if many_s > few_s:
            found.append((many_s - few_s) / (many - few))
    if min(found) <= 0:
        raise TrialError('steps took no time by the "time_s" of this trainer: its clock is too coarse, or stands still')
    return min(found)


def _of_the_byte_model(asked: Sequence[Asked], trainer: Trainer, folder: Path) -> list[Prices]:
    places = [_place(curriculum, settings, trainer, folder) for curriculum, settings in asked]
    if missing := [place for place in dict.fromkeys(places) if not (place / "prices.json").exists()]:
        # In one process: a setting that several of them have is timed once, and has one price.
        log = missing[0] / LOG
        log.unlink(missing_ok=True)
        if logged([sys.executable, "-m", f"{__package__}.byte_model", *map(str, missing)], log):
            lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            said = next((line for line in lines if "ended with" not in line), "no word of why")
            raise TrialError(f"a step could not be timed: {said}\nAll that was printed: {log}")
    return [_read(place, settings) for place, (_, settings) in zip(places, asked, strict=True)]


def _place(curriculum: Curriculum, settings: Sequence[Setting], trainer: Trainer, folder: Path) -> Path:
    """The folder of a curriculum's prices, in which stands what is asked for."""
    trained = {"words": trainer.words, **trainer.inputs}
    asked = {"words": trainer.words, "settings": [dict(each) for each in settings]}
    place = folder / "prices" / digest({**asked, **trained, "curriculum": dumps(curriculum)})[:10]
    place.mkdir(parents=True, exist_ok=True)
    still = constant(curriculum, settings[-1], curriculum.name)
    still = changed(still, run=Run(epochs=1, steps_per_epoch=1))
    (place / "curriculum.toml").write_text(dumps(still), encoding="utf-8", newline="\n")
    asked["known"] = f"known-{digest(trained)[:10]}.json"  # beside it: what one setting takes, for all curricula
    (place / "asked.json").write_text(json.dumps(asked), encoding="utf-8")
    return place


def _read(place: Path, settings: Sequence[Setting]) -> Prices:
    found = json.loads((place / "prices.json").read_bytes())
    return Prices(
        tuple(dict(each) for each in settings),
        tuple(found["step_s"]),
        tuple(found["settings"]),
        found["limits"],
        found["tokens_per_step"],
    )


# What a trainer is given


@dataclass(frozen=True)
class Prepared:
    """A curriculum that a budget can be counted in.

    Attributes:
        curriculum: with the prices of its steps, and the tokens, where they were measured.
        spends: the budget, in what is counted: seconds have become a cost.
        prices: what steps take, where it was measured.
        most_steps: that the budget lasts for, where the trainer must know.
    """

    curriculum: Curriculum
    spends: TrainingBudget
    prices: Prices | None
    most_steps: int | None

    def bounded(self, curriculum: Curriculum) -> Curriculum:
        """This curriculum, or one made from it, in a run that ends with the budget."""
        return bounded(curriculum, self.spends, self.most_steps)

    @property
    def step_s(self) -> tuple[tuple[Setting, float], ...]:
        """Seconds of a step for the settings, where the trainer does not measure them in a run."""
        return () if self.prices is None else tuple(zip(self.prices.bound, self.prices.step_s, strict=False))

    @property
    def unit_s(self) -> float | None:
        """Seconds of a unit of cost, where they were measured."""
        return None if self.prices is None else self.prices.unit_s


def prepare(
    asked: Sequence[Asked],
    budget: TrainingBudget,
    trainer: Trainer,
    folder: Path,
    progress: Progress | None = None,
) -> list[Prepared]:
    """Measure what a budget is counted by, where the files and the trainer do not say it.

    Args:
        asked: the curricula to be trained under.
        budget: of each training.
        trainer: what trains.
        folder: of the experiment.
        progress: is told how many timings are finished.

    Raises:
        TrialError: it cannot be measured.
    """
    timed = [_to_be_timed(*each, budget) for each in asked if not _is_counted(each[0], budget, trainer)]
    prices = iter(measure_prices(timed, trainer, folder, progress))
    return [
        Prepared(curriculum, budget, None, None)
        if _is_counted(curriculum, budget, trainer)
        else _prepared(curriculum, settings, budget, trainer, next(prices))
        for curriculum, settings in asked
    ]


def _is_counted(curriculum: Curriculum, budget: TrainingBudget, trainer: Trainer) -> bool:
    """Whether the file says all that a budget is counted by."""
    own = budget.unit != "cost" or has_prices(curriculum)
    return trainer.kind != "fftcore" and budget.unit != "s" and own


def _prepared(
    curriculum: Curriculum, settings: Sequence[Setting], budget: TrainingBudget, trainer: Trainer, prices: Prices
) -> Prepared:
    spends = budget
    curriculum = _with_tokens(curriculum, prices)
    if budget.unit in ("s", "cost"):
        units_s = _units_s(curriculum, prices) if has_prices(curriculum) else ()
        prices = replace(prices, unit_s=median(units_s) if units_s else max(prices.step_s), units_s=units_s)
        curriculum = _with_prices(curriculum, settings, prices)
    if budget.unit == "s":
        spends = TrainingBudget(_cost(float(budget.amount) / prices.unit_s), "cost")
    most_steps = None
    if trainer.kind == "fftcore" and budget.unit != "steps":
        most_steps = _most_steps(curriculum, settings, spends, prices)
    return Prepared(curriculum, spends, prices, most_steps)


def _cost(amount: float) -> Fraction:
    """A cost as a file may say it: six figures, and no more than six decimals."""
    return Fraction(f"{amount:.6g}") if amount >= 1 else max(Fraction(f"{amount:.6f}"), Fraction(1, 10**6))


def _units_s(curriculum: Curriculum, prices: Prices) -> tuple[float, ...]:
    """Seconds of a unit of cost by each setting, with the prices of the file: alike where those are right."""
    meter = next(meter for meter in meters_in(curriculum, prices.limits or None) if meter.name == "cost")
    bound = prices.bound or prices.settings
    return tuple(
        seconds * meter.scale / meter.price(knobs) for knobs, seconds in zip(bound, prices.step_s, strict=True)
    )


def _with_prices(curriculum: Curriculum, settings: Sequence[Setting], prices: Prices) -> Curriculum:
    """The curriculum with a price for each rung of the knob that moves, and with the trainer's tokens."""
    if not has_prices(curriculum) and not (knobs := moved(settings)):
        curriculum = changed(curriculum, run=changed(curriculum.run, cost_per_step=[1]))
    elif not has_prices(curriculum):
        knob = knobs[0]
        rungs = [{**settings[-1], knob: rung} for rung in curriculum.knob[knob].ladder or []]
        curriculum = priced(curriculum, knob, [prices.of(rung) for rung in rungs])
    return curriculum


def _with_tokens(curriculum: Curriculum, prices: Prices) -> Curriculum:
    """The curriculum with the tokens of a step that the trainer says."""
    if (own := prices.tokens_per_step) is None:
        return curriculum
    tokens = own if isinstance(own, int) else list(own)
    return changed(curriculum, run=changed(curriculum.run, tokens_per_step=tokens))


def _to_be_timed(curriculum: Curriculum, settings: Sequence[Setting], budget: TrainingBudget) -> Asked:
    """The rungs, and those of the same ladder that no state has: a file that has one price must have all."""
    knobs = moved(settings)
    if budget.unit not in ("s", "cost") or has_prices(curriculum) or not knobs:
        return curriculum, list(settings)
    if len(knobs) > 1:
        raise TrialError(
            f"{curriculum.name}: {' and '.join(knobs)} move together, and a price belongs to a rung of one knob. Write "
            "prices into the file, [knob.NAME] cost = [ … ], probe one of them by --knob, or give a budget in tokens"
        )
    rungs = curriculum.knob[knobs[0]].ladder
    if rungs is None:
        raise TrialError(f"{curriculum.name}: {knobs[0]} has a range, and prices belong to a ladder. Write a ladder")
    others = [{**settings[-1], knobs[0]: rung} for rung in rungs]
    return curriculum, [*settings, *(each for each in others if each not in settings)]


def _most_steps(curriculum: Curriculum, settings: Sequence[Setting], spends: TrainingBudget, prices: Prices) -> int:
    """Steps that a budget lasts for on the cheapest rung."""
    if spends.unit == "tokens" and isinstance(curriculum.run.tokens_per_step, int):
        return ceil(spends.amount / curriculum.run.tokens_per_step)
    meter = next(meter for meter in meters_in(curriculum, prices.limits) if meter.name == spends.unit)
    least = min(meter.price(prices.bound[prices.settings.index(dict(setting))]) for setting in settings)
    return ceil(spends.amount * meter.scale / least)
