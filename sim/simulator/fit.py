"""The synthetic learner fitted to real logs: which of all learners would have lost what was logged?

A search among learners by the cross-entropy method (Rubinstein 1999): many are drawn, put through the log's own knobs
and rates without noise, and the next ones are drawn around the best. Floor, height and alpha enter the loss linearly,
so they are solved for by least squares, learner by learner. The last part of the log is not shown to the search, and
how well the best learner foretells it is the measure of the fit.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plateau_rule.controller.errors import PlateauError
from plateau_rule.controller.language.curriculum import FULL
from plateau_rule.controller.language.knob_values import hardness
from plateau_rule.sim.curves import Bounds
from plateau_rule.sim.logs import Log
from plateau_rule.sim.noise import NoiseError, noise_of
from plateau_rule.sim.simulator.learner import (
    LARGEST_SHARE,
    PARAMETERS,
    Bands,
    Floats,
    Learners,
    Learning,
    Mask,
    ranges,
)

FORMAT = 1
POINTS = 1500  # the log is averaged down to this many stretches of equal length
FEWEST = 50
ROUNDS, DRAWN, KEPT = 30, 400, 40
SEARCHED = ("falloff", "tau", "tau_growth", "beta", "kappa", "iota", "jump", "tau_spike", "tau_heat", "rate_optimum")
SOLVED = ("floor", "height", "alpha")


class FitError(PlateauError):
    """A log that no learner can be fitted to, or a file that `fit` did not write."""


@dataclass(frozen=True)
class Fit:
    """What was found.

    log: its name. steps: how many it covers. seen: the share that the search was shown. best: the learner that fits
    best, as far as this log tells its parameters. spread: for each of them the lowest and highest of the best ones.
    error_seen, error_unseen: root mean square of what is left, relative to the loss, in means of `stretch` steps.
    noise: what the log's noise alone would leave. error_still: what is left of the unseen part if the loss stayed as
    it was.
    """

    log: str
    steps: int
    stretch: int
    seen: float
    best: dict[str, float]
    spread: dict[str, tuple[float, float]]
    error_seen: float
    error_unseen: float
    error_still: float
    noise: float

    def as_dict(self) -> dict[str, Any]:
        """The same as JSON-able data."""
        return {"format": FORMAT, **asdict(self)}

    def write(self, path: Path) -> None:
        """Write it as JSON, for `plateau simulate --fitted`."""
        path.write_text(json.dumps(self.as_dict(), indent=1, allow_nan=False) + "\n")


def ranges_in(path: Path) -> Mapping[str, Bounds]:
    """The ranges that learners like a fitted one are drawn from. Raises FitError where the file is no fit."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["format"] != FORMAT:
            raise ValueError(f"format {found['format']}, expected {FORMAT}")
        spread = {name: tuple(map(float, bounds)) for name, bounds in found["spread"].items() if name in PARAMETERS}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FitError(f"{path}: not a file that `plateau fit` wrote ({type(error).__name__}: {error})") from None
    return {name: Bounds(low, high, log=low > 0) for name, (low, high) in spread.items()}


@dataclass(frozen=True)
class _Data:
    """A log as the search sees it: means over stretches of equal length; rates, and which bands were open."""

    loss: Floats
    lr: Floats
    is_open: Mask  # [stretch, band]
    bands: Bands
    stretch: int
    first_step: int
    has_lr: bool


def fit(
    log: Log, name: str, *, seen: float = 0.7, seed: int = 0, progress: Callable[[int, int], None] | None = None
) -> Fit:
    """Fit the learner to a log.

    log: losses with their rates; a log of our own trainer also tells the knobs. seen: the share, from the start, that
    the search is shown. progress: called with the rounds of the search that are done, and how many there are.
    Raises FitError where the log is too short, or knows no losses.
    """
    data = _data(log)
    shown = int(len(data.loss) * seen)
    if not 0.0 < seen < 1.0 or min(shown, len(data.loss) - shown) < FEWEST // 5:
        raise FitError(f"--seen {seen:g}: expected a share that leaves at least {FEWEST // 5} points on either side")
    peak = float(np.nanmax(data.lr))
    bounds = _bounds(data, peak)
    rng = np.random.default_rng(seed)
    names = [name for name in SEARCHED if bounds[name].low < bounds[name].high]
    centre, width = np.full(len(names), 0.5), np.full(len(names), 0.35)
    pool: list[tuple[Floats, Floats, Floats]] = []
    for done in range(ROUNDS):
        if progress is not None:
            progress(done, ROUNDS)
        units = np.clip(centre + width * rng.standard_normal((DRAWN, len(names))), 0.0, 1.0)
        solved, errors = _tried(units, names, bounds, data, shown)
        pool = _best([*pool, (units, solved, errors)])
        kept = pool[0][0]
        centre, width = kept.mean(axis=0), np.maximum(0.5 * width + 0.5 * kept.std(axis=0), 0.01)
    units, solved, errors = pool[0]
    parameters = {**_values(units, names, bounds), **dict(zip(SOLVED, solved.T, strict=True))}
    parameters |= {name: parameters[name] * data.stretch for name in ("tau", "tau_spike", "tau_heat")}
    whole = _predicted(units[:1], names, bounds, data) @ solved[0]
    noise = _noise(log, data.stretch)
    told = {name: values for name, values in parameters.items() if name in (*names, *SOLVED)}
    best = {name: float(values[0]) for name, values in told.items()} | noise
    spread = {key: (float(values.min()), float(values.max())) for key, values in told.items()}
    spread |= {key: (value, value) for key, value in noise.items()}
    still = data.loss[:shown][-max(1, shown // 20) :].mean()
    return Fit(
        name,
        len(data.loss) * data.stretch,
        data.stretch,
        seen,
        best,
        spread,
        float(errors[0]),
        _error(data.loss[shown:], whole[0, shown:]),
        _error(data.loss[shown:], np.full(len(data.loss) - shown, still)),
        noise["sigma"] * float(np.sqrt((1 + noise["rho"]) / (1 - noise["rho"]) / data.stretch)),
    )


def _best(tried: Sequence[tuple[Floats, Floats, Floats]]) -> list[tuple[Floats, Floats, Floats]]:
    units, solved, errors = (np.concatenate(column) for column in zip(*tried, strict=True))
    order = np.argsort(errors, kind="stable")[:KEPT]
    return [(units[order], solved[order], errors[order])]


def _error(loss: Floats, predicted: Floats) -> float:
    return float(np.sqrt(np.mean(((predicted - loss) / loss) ** 2)))


def _bounds(data: _Data, peak: float) -> dict[str, Bounds]:
    """Wider than where simulations draw from; in stretches where those count steps."""
    run = len(data.loss)
    found = {
        **ranges(run, peak),
        "falloff": Bounds(0.1, 1.0),
        "tau": Bounds(1.0 / LARGEST_SHARE, 0.5 * run, log=True),
        "tau_growth": Bounds(0.5, 3.0, log=True),
        "beta": Bounds(0.0, 1.0),
        "jump": Bounds(0.0, 3.0),
        "tau_spike": Bounds(1.0 / LARGEST_SHARE, 0.1 * run, log=True),
        "tau_heat": Bounds(1.0 / LARGEST_SHARE, 0.1 * run, log=True),
        "rate_optimum": Bounds(0.1 * peak, 3.0 * peak, log=True) if data.has_lr else Bounds(peak, peak),
    }
    if len(data.bands.edges) == 1:  # nothing to tell these by
        for name in ("falloff", "tau_growth", "kappa", "iota", "jump", "tau_spike"):
            found[name] = Bounds(1.0, 1.0) if name.startswith("tau") else Bounds(0.0, 0.0)
    return found


def _values(units: Floats, names: Sequence[str], bounds: Mapping[str, Bounds]) -> dict[str, Floats]:
    found = {name: np.full(len(units), bounds[name].low) for name in SEARCHED}
    for place, name in enumerate(names):
        low, high, log = bounds[name]
        found[name] = low * (high / low) ** units[:, place] if log else low + (high - low) * units[:, place]
    return found


def _predicted(units: Floats, names: Sequence[str], bounds: Mapping[str, Bounds], data: _Data) -> Floats:
    """What each learner's loss is made of: [learner, stretch, part]; parts are weighed by floor, height and alpha."""
    values, count = _values(units, names, bounds), len(units)
    values |= {"floor": np.zeros(count), "height": np.ones(count), "alpha": np.ones(count)}
    values |= {"rate_limit": np.full(count, 1e9), "sigma": np.zeros(count), "rho": np.zeros(count)}
    learning = Learning(Learners(values, [(0, 0)] * count), data.bands, _column(data.is_open[0], count), held=1)
    parts = np.ones((count, len(data.loss), 3))
    is_open = data.is_open[0]
    for place, rate in enumerate(data.lr):
        if (data.is_open[place] != is_open).any():
            is_open = data.is_open[place]
            learning.turn(np.arange(count), _column(is_open, count))
        parts[:, place, 2] = learning.heat
        parts[:, place, 1] = learning.loss() - learning.heat
        learning.learn(np.full(count, rate))
    return parts


def _column(is_open: Mask, count: int) -> Mask:
    return np.repeat(is_open[:, None], count, axis=1)


def _tried(
    units: Floats, names: Sequence[str], bounds: Mapping[str, Bounds], data: _Data, shown: int
) -> tuple[Floats, Floats]:
    """The best floor, height and alpha of each learner, none negative, and what is left of the part that is shown."""
    parts = _predicted(units, names, bounds, data)[:, :shown] / data.loss[:shown, None]  # relative errors count
    solved = np.zeros((len(units), 3))
    errors = np.full(len(units), np.inf)
    for chosen in ((0, 1, 2), (0, 1), (1, 2), (1,)):
        some = parts[:, :, chosen]
        square = np.einsum("ltp,ltq->lpq", some, some) + 1e-9 * np.eye(len(chosen))
        answer = np.linalg.solve(square, some.sum(axis=1)[:, :, None])[:, :, 0]
        error = np.sqrt(np.mean((np.einsum("ltp,lp->lt", some, answer) - 1.0) ** 2, axis=1))
        better = (answer >= 0.0).all(axis=1) & (error < errors)
        errors[better] = error[better]
        solved[better] = 0.0
        for place, part in enumerate(chosen):
            solved[better, part] = answer[better, place]
    return solved, errors


def _data(log: Log) -> _Data:
    points = log.points()
    finite = np.isfinite(points.loss) & (points.loss > 0)
    step, loss = points.step[finite], points.loss[finite]
    if len(step) < FEWEST:
        raise FitError(f"{len(step)} losses above 0 are too few to fit a learner to; expected at least {FEWEST}")
    first, last = int(step[0]), int(step[-1])
    stretch = max(1, -(-(last - first + 1) // POINTS), round((last - first + 1) / len(step)))
    place = (step - first) // stretch
    lr = None if points.lr is None else points.lr[finite]
    has_lr = lr is not None and bool(np.isfinite(lr).any())
    kept, where = np.unique(place, return_inverse=True)
    counts = np.bincount(where)

    def mean(values: Floats) -> Floats:
        """Means over stretches; where a stretch has no point, on a line between those around it."""
        return np.interp(np.arange(kept[-1] + 1), kept, np.bincount(where, values) / counts)

    rates = np.ones(int(kept[-1]) + 1)
    if lr is not None and has_lr:
        rates = mean(np.interp(step, step[np.isfinite(lr)], lr[np.isfinite(lr)]))
    bands, is_open = _bands(log, first, stretch, int(kept[-1]) + 1)
    return _Data(mean(loss), rates, is_open, bands, stretch, first, has_lr)


def _bands(log: Log, first: int, stretch: int, count: int) -> tuple[Bands, NDArray[np.bool_]]:
    """The bands that the log's states speak of, and which were open in each stretch; one where it has no states."""
    knobs: dict[str, list[tuple[int, float]]] = {}
    for change in log.changes:
        for name, value in change.knobs.items():
            if value != FULL and not isinstance(value, int | float):
                continue  # a name, a list or a table: nobody knows which is harder
            number = hardness(value)
            knobs.setdefault(name, []).append((max(0, (change.step - first) // stretch), number))
    edges = [(name, value) for name, values in knobs.items() for value in sorted({value for _, value in values})]
    moving = {name for name, values in knobs.items() if len({value for _, value in values}) > 1}
    edges = [edge for edge in edges if edge[0] in moving] or [("", 0.0)]
    is_open = np.ones((count, len(edges)), dtype=np.bool_)
    for place, (name, edge) in enumerate(edges):
        for at, value in knobs.get(name, []):
            is_open[at:, place] = value >= edge
    return Bands(tuple(edges), {name: 1.0 for name, _ in edges}), is_open


def _noise(log: Log, stretch: int) -> dict[str, float]:
    try:
        found = noise_of(log)
    except NoiseError:
        return {"sigma": 0.0, "rho": 0.0}
    return {"sigma": found.sigma, "rho": min(0.95, max(0.0, found.rho))}


def sentences(found: Fit) -> list[str]:
    """What a fit says, in sentences."""
    lines = [
        f"{found.log}: {found.steps:,} steps in means of {found.stretch}; the first {found.seen:.0%} were shown.",
        f"left of what was shown: {found.error_seen:.2%} of the loss (its noise alone: {found.noise:.2%}).",
        f"left of what was not: {found.error_unseen:.2%}; if the loss stayed as it was: {found.error_still:.2%}.",
    ]
    still = found.error_still**2 - found.noise**2
    if still <= 0.0:
        lines.append("The part that was not shown holds nothing to foretell but noise.")
        return lines
    skill = 1.0 - (max(0.0, found.error_unseen**2 - found.noise**2) / still) ** 0.5
    verdict = "foretells it well" if skill > 0.5 else "foretells some of it" if skill > 0 else "does not foretell it"
    lines.append(f"The learner {verdict}: beyond the noise, {skill:.0%} of the error of taking it to stay is gone.")
    return lines


def table(found: Fit) -> list[dict[str, Any]]:
    """The parameters: name, meaning, value, and how far the best learners are apart."""
    return [
        {"name": name, "meaning": PARAMETERS[name], "value": found.best[name], "spread": found.spread.get(name)}
        for name in PARAMETERS
        if name in found.best
    ]
