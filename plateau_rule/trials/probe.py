"""`plateau probe`: each rung of a ladder held for a whole budget, and where the next one gets ahead."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from math import isfinite
from pathlib import Path

import numpy as np

from plateau_rule.controller.language.curriculum import Curriculum
from plateau_rule.sim.shards import Engine
from plateau_rule.trials.budget import TrainingBudget, TrialError
from plateau_rule.trials.cell import Cell
from plateau_rule.trials.curve import RISE, TAME, WILD, Curve, Floats, rise
from plateau_rule.trials.pool import Progress, train_cells
from plateau_rule.trials.prices import Prepared, Prices, prepare
from plateau_rule.trials.rungs import Setting, constant, ladder, moved, settings_of
from plateau_rule.trials.statistics import PairedDifference, difference, spread
from plateau_rule.trials.trainer import Trainer

PLACES = 200  # at which curves are compared
FEWEST = 4  # points of a curve, with which it is one
ALIKE = 1.25  # by this factor may seconds of a unit of cost differ from rung to rung
ENOUGH = 0.98  # of a budget, so that it counts as spent


@dataclass(frozen=True)
class Crossing:
    """Where a harder rung gets ahead of the one that was best until then.

    Attributes:
        rung, over: their places.
        begin: what is spent by then: from there on, to the end, it is ahead by more than the spread over the seeds.
        by_seed: the same for each seed by itself, as soon as it is ahead for good; None where it never is.
    """

    rung: int
    over: int
    begin: float
    by_seed: tuple[float | None, ...]


@dataclass(frozen=True)
class Ladder:
    """The rungs that a probe holds, and the run that it holds them for.

    Attributes:
        prepared: the curriculum whose ladder it is, and the budget of each training.
        settings: the rungs, easiest first.
    """

    prepared: Prepared
    settings: tuple[Setting, ...]

    @property
    def curriculum(self) -> Curriculum:
        """Whose ladder it is, its prices in it where they were measured."""
        return self.prepared.curriculum

    def rung(self, place: int) -> Curriculum:
        """A run that stays on one rung."""
        name = f"{self.curriculum.name}-rung-{place + 1}"
        return self.prepared.bounded(constant(self.curriculum, self.settings[place], name))

    def climb(self, places: Sequence[int], begins: Sequence[float]) -> Curriculum:
        """A run that goes from rung to rung, each but the first from what is spent by then."""
        waits = [f"{_figures(b - a)} {self.prepared.spends.unit}" for a, b in pairwise([0.0, *begins])]
        rungs = [self.settings[place] for place in places]
        climbs = ladder(self.curriculum, rungs, waits, f"{self.curriculum.name}-probed")
        return self.prepared.bounded(climbs)


@dataclass(frozen=True)
class Probed:
    """What a probe has found.

    Attributes:
        rungs: that were held.
        budget: as it was asked for.
        axis: what is spent, in the curves: "cost" or "tokens".
        curves: of each rung, one a seed.
        start: the rung that is best at first.
        crossings: on the way up from it.
        end: each rung's scores at the end of the budget against the best rung's.
    """

    rungs: Ladder
    budget: TrainingBudget
    axis: str
    curves: tuple[tuple[Curve, ...], ...]
    start: int
    crossings: tuple[Crossing, ...]
    end: tuple[PairedDifference, ...]

    @property
    def prices(self) -> Prices | None:
        """What steps take on the rungs, where it was measured."""
        return self.rungs.prepared.prices

    @property
    def climbed(self) -> tuple[int, ...]:
        """The rungs of the ladder that raises where curves cross, by their places."""
        return (self.start, *(crossing.rung for crossing in self.crossings))

    @property
    def best(self) -> int:
        """The rung that is best at the end, by its mean: what is advised, unless all of them diverged."""
        return int(np.argmin([np.mean([curve.last for curve in rung]) for rung in self.curves]))

    @property
    def diverged(self) -> bool:
        """Whether every rung ended with a score that is not finite on some seed, so that none can be advised."""
        return not all(isfinite(curve.last) for curve in self.curves[self.best])

    def knobs(self, rung: int) -> Setting:
        """The knobs that move from rung to rung, as they stand on one of them."""
        settings = self.rungs.settings
        return {name: settings[rung][name] for name in moved(settings)}

    def named(self, rung: int) -> str:
        """A rung by its number and its knobs."""
        return f"rung {rung + 1} ({', '.join(f'{name} = {value}' for name, value in self.knobs(rung).items())})"

    def in_words(self, spent: float) -> str:
        """So much of what is spent, as it was asked for: in seconds where the budget was."""
        if self.budget.unit == "s" and self.prices is not None:
            return f"{spent * self.prices.unit_s:.3g} s"
        return f"{_figures(spent)} {self.axis}"

    def ladder(self) -> Curriculum:
        """The ladder that raises where curves cross; a single rung where none gets ahead of the first."""
        return self.rungs.climb(self.climbed, [crossing.begin for crossing in self.crossings])


def _figures(amount: float) -> str:
    """An amount to three figures, as a file may say it."""
    number = Fraction(f"{amount:.3g}")
    return str(number.numerator) if number.denominator == 1 else f"{float(number):.6f}".rstrip("0")


def probe(
    curriculum: Curriculum,
    budget: TrainingBudget,
    seeds: Sequence[int],
    trainer: Trainer,
    folder: Path,
    knob: str | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
    engine: Engine = "processes",
) -> Probed:
    """Train every rung as a constant for the whole budget, on each seed, and see where harder ones get ahead.

    Args:
        curriculum: whose ladder is probed.
        budget: of each training: seconds, cost or tokens.
        seeds: of the weights and the data, the same for each rung.
        trainer: what trains.
        folder: of the experiment; what is finished in it is not trained again.
        knob: whose ladder is meant, where it is not that of the states.
        workers: trainings at a time.
        progress: is told how many are finished.
        engine: what runs them; steps are priced on this machine.

    Raises:
        TrialError: it cannot be carried out, or a training failed.
    """
    if budget.unit == "steps":
        raise TrialError(
            'a budget in steps says nothing of what they cost: give seconds, cost or tokens, such as "60 s"'
        )
    settings = tuple(settings_of(curriculum, knob))
    (prepared,) = prepare([(curriculum, settings)], budget, trainer, folder, progress)
    held = Ladder(prepared, settings)
    cells = [
        Cell(held.rung(i), trainer, seed, prepared.spends, prepared.step_s)
        for i in range(len(settings))
        for seed in seeds
    ]
    curves = train_cells(cells, folder, workers, progress, engine=engine)
    by_rung = tuple(tuple(curves[i : i + len(seeds)]) for i in range(0, len(curves), len(seeds)))
    axis = "tokens" if budget.unit == "tokens" else "cost"
    require_comparable(by_rung, axis)
    start, crossings = find_crossings(by_rung, axis)
    scores = [np.array([curve.last for curve in rung]) for rung in by_rung]
    best = int(np.argmin([rung.mean() for rung in scores]))
    end = tuple(difference(rung, scores[best]) for rung in scores)
    return Probed(held, budget, axis, by_rung, start, crossings, end)


# Where curves cross


def require_comparable(curves: Sequence[Sequence[Curve]], axis: str) -> None:
    """Raise TrialError where curves cannot be laid over one another."""
    every = [curve for rung in curves for curve in rung]
    if any(axis not in curve.spent for curve in every):
        raise TrialError(f'the points of this trainer do not say the {axis} spent: give "{axis}" in each of them')
    if (fewest := min(len(curve.score) for curve in every)) < FEWEST:
        raise TrialError(
            f"a curve has {fewest} point{'s' * (fewest > 1)}, and where curves cross cannot be said of fewer than "
            f"{FEWEST}: score more often (a smaller --steps-per-epoch), or give a larger budget"
        )


def places_of(curves: Sequence[Sequence[Curve]], axis: str) -> Floats:
    """Where all curves have scores, from the first to the last such place."""
    every = [curve.spent[axis] for rung in curves for curve in rung]
    return np.linspace(max(spent[0] for spent in every), min(spent[-1] for spent in every), PLACES)


def find_crossings(curves: Sequence[Sequence[Curve]], axis: str) -> tuple[int, tuple[Crossing, ...]]:
    """The rung that is best at first, and where harder ones get ahead of the one before, to stay ahead.

    A rung gets ahead where, from there to the end, its mean over the seeds is better by more than the spread of the
    paired differences. With one seed there is no spread, and any difference counts; what is said of it says so. A rung
    whose score is not finite on one seed is behind every one whose scores are.
    """
    places = places_of(curves, axis)
    own = np.array([[curve.at(axis, places) for curve in rung] for rung in curves])  # rung, seed, place
    scores = np.where((own > TAME).any(1, keepdims=True), WILD, own)
    start, climbed = 0, list[tuple[int, int]]()  # a rung, and the place where it is entered
    while True:
        now, begin = climbed[-1] if climbed else (start, 0)
        ahead = {rung: _ahead_from(scores[rung] - scores[now]) for rung in _reachable(scores, now)}
        firsts = [(place, rung) for rung, place in ahead.items() if place is not None]
        if not firsts:
            break
        place, rung = min(firsts)
        if place > begin:
            climbed.append((rung, place))
        elif climbed:  # ahead of that one before it is entered: it is passed over
            climbed[-1] = (rung, begin)
        else:
            start = rung
    found, over = [], start
    for rung, place in climbed:
        alone = [_ahead_from(one[None]) for one in own[rung] - own[over]]
        by_seed = tuple(None if first is None else float(places[first]) for first in alone)
        found.append(Crossing(rung, over, float(places[place]), by_seed))
        over = rung
    return start, tuple(found)


def _reachable(scores: Floats, now: int) -> list[int]:
    """The harder rungs that a ladder may go on to: not those that an easier one among them leaves behind in the end."""
    harder = range(now + 1, len(scores))
    return [
        rung
        for rung in harder
        if all(_ahead_from(scores[other] - scores[rung]) is None for other in harder if other < rung)
    ]


def _ahead_from(differences: Floats) -> int | None:
    """The first place from which on scores are better to the end; differences are (seed, place)."""
    mean = differences.mean(0)
    margin = differences.std(0, ddof=1) if len(differences) > 1 else np.zeros_like(mean)
    behind = np.flatnonzero(~(mean < -margin))
    first = int(behind[-1]) + 1 if len(behind) else 0
    return first if first < len(mean) else None


def seed_spread(rung: Sequence[Curve]) -> float:
    """The spread of a rung's scores at the end over its seeds."""
    return spread(np.array([curve.last for curve in rung]))


# What is said


def advice(probed: Probed) -> list[str]:
    """What a probe says: a sentence a line."""
    seeds = len(probed.curves[0])
    wild = {place: sum(not isfinite(curve.last) for curve in rung) for place, rung in enumerate(probed.curves)}
    lines = [
        f"{probed.named(place)} ended with a score that is not finite on {count} of {seeds} seeds, and is never ahead"
        for place, count in wild.items()
        if count
    ]
    if probed.diverged:
        return [*lines, "No rung can be advised. Lower the rate, or see what the trainer gives"]
    for crossing in probed.crossings:
        own = [place for place in crossing.by_seed if place is not None]
        each = f"{probed.in_words(min(own))} to {probed.in_words(max(own))}" if own else "nowhere"
        but = f", on {seeds - len(own)} not at all" if len(own) < seeds else ""
        lines.append(
            f"{probed.named(crossing.rung)} is ahead of {probed.named(crossing.over)} from "
            f"{probed.in_words(crossing.begin)} on: a ladder raises there"
            + (f" (seed by seed: {each}{but})" * (seeds > 1))
        )
    lines.append(_beside_the_ladder(probed) if probed.crossings else _without_crossing(probed))
    if seeds == 1:
        lines.append("One seed has no spread: whether this is more than chance cannot be said. Give --seeds 3 or more")
    return [*lines, *_doubts(probed)]


def _doubts(probed: Probed) -> Iterator[str]:
    """What speaks against all that was said."""
    spends = float(probed.rungs.prepared.spends.amount)
    for place, rung in enumerate(probed.curves):
        if (spent := min(float(curve.spent[probed.axis][-1]) for curve in rung)) < ENOUGH * spends:
            yield (
                f"The scores of {probed.named(place)} end at {probed.in_words(spent)} of {probed.in_words(spends)}: "
                "curves are compared up to there only. Train until the plan says stop, and score at the end"
            )
    if rise([curve for rung in probed.curves for curve in rung]):
        yield RISE
    units_s = probed.prices.units_s[: len(probed.curves)] if probed.prices is not None else ()
    if probed.axis == "cost" and units_s and max(units_s) > ALIKE * min(units_s):
        each = ", ".join(f"{unit_s * 1000:.3g} ms on rung {place}" for place, unit_s in enumerate(units_s, 1))
        yield (
            f"The prices in the file do not fit what steps take here: a unit of cost is {each}. Take them out, and a "
            "probe in seconds measures them"
        )


def _beside_the_ladder(probed: Probed) -> str:
    # Rungs that score alike are not alike: after the raise a ladder may be ahead of the harder rung, or behind.
    return (
        f"Use {probed.named(probed.best)} throughout, unless a comparison shows that the ladder does better: a "
        "crossing alone does not show it"
    )


def _without_crossing(probed: Probed) -> str:
    best, start = probed.best, probed.start
    if best != start:
        scores = [np.array([curve.last for curve in probed.curves[rung]]) for rung in (start, best)]
        lead = difference(*scores)
        return (
            f"{probed.named(best)} ends ahead of {probed.named(start)} by {lead.mean:.3g}, which is no more than the "
            f"spread of {lead.spread:.3g} over the seeds: not decided. Give more seeds, or a larger budget; without, "
            f"rung {best + 1} is the better guess"
        )
    if start > 0:
        return (
            f"{probed.named(start)} is ahead from the first score to the last: use it from the start; no ladder can be "
            "expected to pay"
        )
    return (
        f"They don't cross within your budget: use the cheap rung, {probed.named(0)}; no ladder can be expected to pay"
    )
