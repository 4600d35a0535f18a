"""Each detector over many runs gives the verdicts of the controller's own, value by value, on losses of every kind."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from plateau_rule.controller.guards.detector import Detector, RunningMean
from plateau_rule.controller.guards.diverging import Diverging, Growing
from plateau_rule.controller.guards.gap import Apart
from plateau_rule.controller.guards.level import Beside, Level
from plateau_rule.controller.guards.patience import NoNewBest, Patience
from plateau_rule.controller.guards.plateau.halves import Halves
from plateau_rule.controller.guards.plateau.returns import Returns
from plateau_rule.controller.guards.plateau.sure import Sure
from plateau_rule.controller.guards.plateau.trend import Trend
from plateau_rule.sim.batch.guards import depth_of, many
from plateau_rule.sim.batch.guards.twin import Each
from plateau_rule.sim.batch.history import Floats, History
from plateau_rule.sim.batch.kleene import FALSE, TRUE, UNKNOWN
from plateau_rule.sim.batch.means import RunningMeans

RUNS, STEPS = 12, 900
SPELLED = {None: UNKNOWN, False: FALSE, True: TRUE}

DETECTORS: dict[str, Callable[[], Detector]] = {
    "halves": lambda: Halves(10, 0.005),
    "halves of an odd window": lambda: Halves(7, 0.05),
    "patience": lambda: NoNewBest(Patience(steps=5)),
    "patience, smooth": lambda: NoNewBest(Patience(steps=4, smooth=6, min_delta=0.125)),
    "below": lambda: Beside(Level(value=2.0), True),
    "above, a mean": lambda: Beside(Level(value=2.0, window=10), False),
    "diverging": lambda: Growing(Diverging(window=9, factor=1.25)),
    "gap": lambda: Apart(5, 0.0625),
    "gap of single values": lambda: Apart(1, 0.0),
    "gap of blocks": lambda: Apart(67, 0.0625),
    "gap of many blocks": lambda: Apart(130, 0.01),
    "trend": lambda: Trend(2e-3, 0.9, 80, 20),
    "trend, slow": lambda: Trend(1e-4, 0.99, 300, 0),
    "trend, windows past its reach": lambda: Trend(2e-2, 0.9, 80, 0),
    "sure": lambda: Sure(2e-3),
    "sure, quick": lambda: Sure(8e-3, 0.4),
    "sure, faster than can be asked": lambda: Sure(1.0, 0.4),
    "sure, long windows": lambda: Sure(2e-3, 0.4, 480),
    "returns": lambda: Returns(0.1),
}


def halves_of_eighths(rng: np.random.Generator) -> Floats:
    """Few values, so that equal means and ties are frequent."""
    return np.where(rng.random((STEPS, RUNS)) < 0.7, rng.integers(-8, 17, (STEPS, RUNS)) / 8, 0.0)


def falling(rng: np.random.Generator) -> Floats:
    """Losses as they are."""
    time = np.arange(STEPS)[:, None] / rng.uniform(20, 400, RUNS)
    losses: Floats = (2.0 + 3.0 * np.exp(-time)) * (1.0 + 0.02 * rng.standard_normal((STEPS, RUNS)))
    return losses


def spiky(rng: np.random.Generator) -> Floats:
    """Losses with values so large that they hide the others in a sum."""
    return np.where(rng.random((STEPS, RUNS)) < 0.01, 1e25, 1.0) * falling(rng)


def constant(rng: np.random.Generator) -> Floats:
    """Nothing moves; a tenth is no float."""
    return np.asarray(np.full((STEPS, RUNS), 2.1) + np.arange(RUNS) / 10, dtype=np.float64)


def extreme(rng: np.random.Generator) -> Floats:
    """Sums that overflow, values that have few bits, signs that change."""
    scale = rng.choice([1e308, 1.0, 1e-300, 5e-324, 0.0], (STEPS, RUNS))
    return np.asarray(rng.uniform(-1.7, 1.7, (STEPS, RUNS)) * scale, dtype=np.float64)


def lines(rng: np.random.Generator) -> Floats:
    """Straight falls without noise, at about the rates that are asked for: a line leaves nothing but rounding."""
    about = rng.choice([0.0, 0.5, 1.0 - 1e-9, 1.0, 1.0 + 1e-9, 2.0, -1.0], RUNS)
    rates = rng.choice([1e-4, 2e-3, 4 / 320, 4 / 640], RUNS) * about
    return np.asarray(3.0 - 3.0 * np.arange(STEPS)[:, None] * rates, dtype=np.float64)


def balanced(rng: np.random.Generator) -> Floats:
    """Whole blocks that cancel, so that many means are 0, or all but 0."""
    blocks = rng.choice([-3.0, -1.0, 0.0, 1.0, 3.0], (STEPS // 5, RUNS))
    some = np.repeat(blocks, 5, axis=0)
    return np.asarray(np.where(rng.random(RUNS) < 0.5, some, some * (1.0 + 1e-12 * rng.random((STEPS, RUNS)))))


STREAMS = [halves_of_eighths, falling, spiky, constant, extreme, lines, balanced]


@pytest.mark.parametrize("stream", STREAMS, ids=lambda stream: stream.__name__)
@pytest.mark.parametrize("gaps", [False, True], ids=["together", "apart"])
@pytest.mark.parametrize("name", DETECTORS)
def test_verdicts_are_the_controllers(name: str, stream: Callable[[np.random.Generator], Floats], gaps: bool) -> None:
    """Verdicts agree at every value, with runs that skip values and that enter their state at different times."""
    rng = np.random.default_rng(len(name) + 100 * gaps)
    losses, make = stream(rng), DETECTORS[name]
    enters = rng.random((STEPS, RUNS)) < 1 / 250
    history = History(RUNS, depth_of(make()))
    together = many(make(), history, often=True)
    seldom = many(make(), history, often=False)
    alone = [make() for _ in range(RUNS)]
    for one in (together, seldom):
        one.enter(np.arange(RUNS), True)
    with np.errstate(all="ignore"):
        for step in range(STEPS):
            brought = rng.random(RUNS) < 0.9 if gaps else None
            values = losses[step] if brought is None else np.where(brought, losses[step], 0.0)
            for one in (together, seldom):
                one.push(values, brought)
            if history.depth:
                history.push(values, brought)
            for one in (together, seldom):
                one.settle(brought)
            for run, detector in enumerate(alone):
                if brought is None or brought[run]:
                    detector.push(float(losses[step, run]))
            expected = [SPELLED[detector.verdict()] for detector in alone]
            assert together.verdicts().tolist() == expected, step
            if step % 7 == 0:
                assert seldom.verdicts().tolist() == expected, step
            rows = np.flatnonzero(enters[step])
            if len(rows):
                history.enter(rows)
                together.enter(rows, True)
                seldom.enter(rows, True)
                for row in rows:
                    alone[row] = make()


@pytest.mark.parametrize("kind", ["falling", "rising", "silent", "mixed", "zero", "tiny", "huge"])
def test_long_states_of_returns(kind: str) -> None:
    """`returns`, which decides late, agrees through several merges, on losses of every kind, with runs that skip."""
    runs, steps = 5, 2700
    rng, at = np.random.default_rng(len(kind)), np.arange(2700)[:, None]
    noise = 1.0 + rng.choice([0.0, 1e-9, 0.01, 0.05], runs) * rng.standard_normal((steps, runs))
    courses: dict[str, object] = {
        "falling": 1.0 + 2.0 * np.exp(-at / rng.uniform(50, 900, runs)),
        "rising": 1.0 + at / 3000,
        "silent": 2.1,
        "mixed": 1.0 - at / 2000,
        "zero": 0.0,
        "tiny": 1e-310 * np.exp(-at / 300),
        "huge": 1.7e308 * np.exp(-at / 300),
    }
    clean = np.asarray(courses[kind], dtype=np.float64)
    losses = clean * np.clip(noise, 0.5, 1.0 if kind == "huge" else 2.0)
    together, alone = many(Returns(0.1), History(runs, 0), often=True), [Returns(0.1) for _ in range(runs)]
    together.enter(np.arange(runs), True)
    with np.errstate(all="ignore"):
        for step in range(steps):
            brought = rng.random(runs) < 0.98
            together.push(np.where(brought, losses[step], 0.0), brought)
            for run in np.flatnonzero(brought):
                alone[run].push(float(losses[step, run]))
            assert together.verdicts().tolist() == [SPELLED[detector.verdict()] for detector in alone], step


@pytest.mark.parametrize("stream", STREAMS, ids=lambda stream: stream.__name__)
@pytest.mark.parametrize("size", [1, 2, 3, 10, 64])
def test_means_are_rounded_once(size: int, stream: Callable[[np.random.Generator], Floats]) -> None:
    """A running mean is, to the last bit, that of the controller's exact one."""
    losses = stream(np.random.default_rng(size))
    history = History(RUNS, size)
    means, alone = RunningMeans(size, history), [RunningMean(size) for _ in range(RUNS)]
    with np.errstate(all="ignore"):
        for values in losses:
            means.push(values, None)
            history.push(values, None)
            exact = [one.push(float(value)) for one, value in zip(alone, values, strict=True)]
            if exact[0] is not None:
                assert means.means(np.arange(RUNS)).tolist() == exact


def test_an_unknown_kind_is_asked_run_by_run() -> None:
    """A detector that the engine does not know decides as it would alone, in the runs that watch it."""

    class Even(Beside):
        """A kind of its own."""

        def verdict(self) -> bool | None:
            """Whether the last value is even."""
            mean = self._mean.mean()
            return None if mean is None else mean % 2 == 0

    history = History(3, 1)
    each = Each(Even(Level(value=0.0), True), history)
    each.enter(np.array([0, 2]), True)
    each.push(np.array([2.0, 2.0, 3.0]), None)
    assert each.verdicts().tolist() == [TRUE, UNKNOWN, FALSE]
    each.push(np.array([5.0, 5.0, 4.0]), np.array([True, True, False]))
    assert each.verdicts().tolist() == [FALSE, UNKNOWN, FALSE]
