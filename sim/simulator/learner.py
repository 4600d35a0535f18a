"""A synthetic learner whose loss answers to what a curriculum decides: to the knobs and to the learning rate.

It is a caricature with few parameters, so that what comes out of it can be understood. What is to be learned lies in
bands, one for each value that a knob takes, easiest first. With

    eta      the learning rate, eta* (`rate_optimum`) the one that this learner learns fastest under, u = eta / eta*
    x_i      the share of band i that is not learned yet, from 1 to 0; a_i (`amplitude`) its height in units of the loss
    o_i      1 where the knob has reached band i, so that it can be learned, else 0

a step changes, in this order of time constants (all in steps at u >= 1),

    heat     h += (alpha u^2 - h) / tau_h          a high rate holds the loss up, a falling one lets it down
    spike    s -= g(u) s / tau_s                   g(u) = min(u, 1)^2: under a low rate everything goes slowly
    bands    x_i -= o_i g(u) / tau_i * (1 - kappa x_{i-1}) / (1 + iota sum_{j>i} o_j x_j) * x_i (1 - beta + beta x_i)

so a band is learned exponentially (beta = 0) or ever more slowly (beta = 1: as 1/t), is held back by up to kappa while
the band below it is not learned, and by iota while open bands above it are not. When a knob rises, s += J a_i x_i for
each band that opens. The loss without noise and the loss that is observed on a step are

    L = l + sum_i a_i x_i + s + h                  never below l plus the closed bands: each cutoff has a floor
    L (1 + sigma e),  e = rho e' + sqrt(1 - rho^2) z    with z normal and e' the e of the step before

and where u exceeds `rate_limit`, s += (s + 0.01 L) u / rate_limit / tau_s as well: it diverges; beyond 1000 times the
loss at the start it is NaN. A step costs c_0 + (1 - c_0) times the mean of the knobs' shares of their limits.

The equations are ours. The parts are what is known of real curves: spectral bias (Rahaman et al. 2019), the bump and
the recovery after a restart (Loshchilov & Hutter 2017), the gain from a falling rate (Hu et al. 2024).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from plateau_rule.controller.machine import Machine
from plateau_rule.sim.curves import Bounds, generator

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Rows = NDArray[np.intp]
HELD = 8  # steps for which the speed of the bands is held: they are slow, and this is what takes time
BLOWN_UP = 1000.0
LARGEST_SHARE = 0.25  # of a time constant, that one step may cover


def ranges(run_steps: int, peak: float) -> dict[str, Bounds]:
    """Where learners are drawn from unless it is said otherwise: such that a run of this length is worth while.

    run_steps: optimizer steps. peak: the curriculum's learning rate.
    """
    part = max(run_steps, 1)
    return {
        "floor": Bounds(1.5, 3.0),
        "height": Bounds(3.0, 8.0),
        "falloff": Bounds(0.35, 0.7),
        "tau": Bounds(0.01 * part, 0.04 * part, log=True),
        "tau_growth": Bounds(1.0, 2.0),
        "beta": Bounds(0.2, 1.0),
        "kappa": Bounds(0.0, 0.9),
        "iota": Bounds(0.0, 0.5),
        "jump": Bounds(0.5, 1.5),
        "tau_spike": Bounds(0.003 * part, 0.01 * part, log=True),
        "alpha": Bounds(0.02, 0.1),
        "tau_heat": Bounds(0.001 * part, 0.003 * part, log=True),
        "rate_optimum": Bounds(0.8 * peak, 1.25 * peak, log=True),
        "rate_limit": Bounds(4.0, 10.0, log=True),
        "sigma": Bounds(0.005, 0.05, log=True),
        "rho": Bounds(0.0, 0.7),
        "fixed_cost": Bounds(0.3, 0.7),
    }


PARAMETERS = {
    "floor": "l, the loss that nothing gets below",
    "height": "what all bands add to it",
    "falloff": "how much of one band's height the next one has",
    "tau": "steps in which the first band is learned to 1/e, at the best rate",
    "tau_growth": "how much longer each band takes than the one before",
    "beta": "0: bands are learned exponentially; 1: as 1/t",
    "kappa": "how far a band that is not learned holds back the next one",
    "iota": "how far open bands that are not learned slow the ones below",
    "jump": "J, by how much of a band's height the loss jumps when it opens",
    "tau_spike": "steps in which such a jump decays, at the best rate",
    "alpha": "how far the best rate holds the loss up",
    "tau_heat": "steps in which that follows the rate",
    "rate_optimum": "eta*, the rate from which on learning is no faster",
    "rate_limit": "so many times eta* diverge",
    "sigma": "noise on one step, relative to the loss",
    "rho": "its correlation from one step to the next",
    "fixed_cost": "c_0, the share of a step's cost that no knob changes",
}


@dataclass(frozen=True)
class Bands:
    """What there is to be learned: (knob, value from which on a band is open), easiest first for each knob.

    limits: each knob's largest value, for the cost; none for a knob of which smaller is harder, or of no numbers.
    signs: of larger values of each knob, 1 where they are harder and -1 where they are easier; a band is open from a
    hardness on.
    """

    edges: tuple[tuple[str, float], ...]
    limits: Mapping[str, float]
    signs: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, machine: Machine) -> Bands:
        """One band for each value that a state gives a knob, and three more on the way of a ramp."""
        edges: list[tuple[str, float]] = []
        limits = {}
        for name, sign in machine.signs.items():
            values = {machine.number(name, state.knobs[name]) for state in machine.states}
            for state in machine.states:
                if name in state.ramps:
                    ramp = state.ramps[name]
                    values |= {ramp.start + (ramp.end - ramp.start) * quarter / 4 for quarter in (1, 2, 3, 4)}
            edges += [(name, hard) for hard in sorted(sign * value for value in values) if sign]
            if sign >= 0 and name not in machine.ranks and max(values) > 0:
                limits[name] = max(values)
        return cls(tuple(edges) or (("", 0.0),), limits, machine.signs)

    def open(self, knobs: Mapping[str, Floats], runs: int) -> Mask:
        """Which bands are open: [band, run]; knobs: the value of each in every run."""
        every = np.ones(runs, dtype=np.bool_)
        return np.array([self._hard(name, knobs) >= value if name else every for name, value in self.edges])

    def _hard(self, name: str, knobs: Mapping[str, Floats]) -> Floats:
        return knobs[name] if self.signs.get(name, 1.0) > 0 else -knobs[name]


@dataclass(frozen=True)
class Learners:
    """Parameters of many learners: `of[name]` has one value for each; seeds: what each one's noise is drawn from."""

    of: Mapping[str, Floats]
    seeds: Sequence[tuple[int, int]]

    @classmethod
    def drawn(cls, bounds: Mapping[str, Bounds], runs: int, seed: int, first: int = 0) -> Learners:
        """Draw learners `first` to `first + runs`: each from its own stream, whoever else is drawn."""
        seeds = [(seed, first + run) for run in range(runs)]
        shares = np.array([generator(pair, 0).random(len(PARAMETERS)) for pair in seeds]).reshape(runs, -1)
        of = {}
        for place, name in enumerate(PARAMETERS):
            low, high, log = bounds[name]
            share = shares[:, place]
            of[name] = low * (high / low) ** share if log and low > 0 else low + (high - low) * share
        return cls(of, seeds)

    def __len__(self) -> int:
        return len(self.seeds)

    def twice(self) -> Learners:
        """Each of them a second time, after all the others."""
        return Learners({name: np.tile(values, 2) for name, values in self.of.items()}, [*self.seeds, *self.seeds])

    def with_values(self, **values: float) -> Learners:
        """The same with one value for all in place of what was drawn."""
        return replace(self, of={**self.of, **{name: np.full(len(self), value) for name, value in values.items()}})


class Learning:
    """Learners while they learn; every array has a place for each of them.

    learners: their parameters. bands: what there is to learn. is_open: which bands are, at the start: [band, run].
    held: steps for which the speed of the bands is held.
    """

    def __init__(self, learners: Learners, bands: Bands, is_open: Mask, held: int = HELD) -> None:
        p, runs, count = learners.of, len(learners), len(bands.edges)
        self.runs = runs
        self._names = [name for name, _ in bands.edges]
        place = np.array([self._names[:i].count(name) for i, name in enumerate(self._names)])[:, None]
        height = p["falloff"] ** place
        self.amplitude: Floats = p["height"] * height / height.sum(axis=0)
        slow = np.maximum(1.0 / LARGEST_SHARE, p["tau"] * p["tau_growth"] ** place)
        self._speed = 1.0 / slow
        self._beta, self._kappa, self._iota = p["beta"], p["kappa"], p["iota"]
        self._jump = p["jump"]
        self._per_spike = 1.0 / np.maximum(p["tau_spike"], 1.0 / LARGEST_SHARE)
        self._per_heat = 1.0 / np.maximum(p["tau_heat"], 1.0 / LARGEST_SHARE)
        self._alpha, self._floor = p["alpha"], p["floor"]
        self._per_optimum, self._limit = 1.0 / p["rate_optimum"], p["rate_limit"]
        self._open = is_open.astype(np.float64)
        self._x = np.ones((count, runs))  # at the last full account
        self._since = np.zeros(runs)  # g summed since then
        self.spike, self.heat = np.zeros(runs), p["alpha"].copy()
        self._steps, self._held = 0, held
        self._account(np.arange(runs))
        self._most = BLOWN_UP * np.maximum(self.loss(), 1.0)
        self._saved = self._x.copy(), self.spike.copy(), self.heat.copy()

    def _account(self, rows: Rows | slice) -> None:
        """Bring the shares up to date, and work out the speeds that hold for the next steps."""
        if not hasattr(self, "_slope"):
            self._slope = np.zeros_like(self._x)
            self._fall, self._unlearned = np.zeros(self.runs), np.zeros(self.runs)
        x = np.clip(self._x[:, rows] - self._since[rows] * self._slope[:, rows], 0.0, 1.0)
        self._x[:, rows], self._since[rows] = x, 0.0
        is_open, above = self._open[:, rows], np.zeros_like(x[0])
        slope = np.empty_like(x)
        for band in range(len(x) - 1, -1, -1):
            own = x[band]
            held = 1.0 - self._kappa[rows] * x[band - 1] if band and self._names[band] == self._names[band - 1] else 1.0
            curve = own * (1.0 - self._beta[rows] + self._beta[rows] * own)
            slope[band] = is_open[band] * self._speed[band, rows] * held / (1.0 + self._iota[rows] * above) * curve
            above = above + is_open[band] * own
        self._slope[:, rows] = slope
        amplitude = self.amplitude[:, rows]
        self._unlearned[rows] = (amplitude * x).sum(axis=0)
        self._fall[rows] = (amplitude * slope).sum(axis=0)

    def loss(self) -> Floats:
        """The loss of every learner, without noise, as it stands."""
        found: Floats = self._floor + (self._unlearned - self._since * self._fall) + self.spike + self.heat
        return found

    def learn(self, lr: Floats) -> None:
        """Take one optimizer step at these rates."""
        u = lr * self._per_optimum
        low = np.minimum(u, 1.0)
        speed = low * low
        self._since += speed
        self.heat += (self._alpha * (u * u) - self.heat) * self._per_heat
        self.spike -= self.spike * speed * self._per_spike
        wild = u > self._limit
        if wild.any():
            rows = np.flatnonzero(wild)
            pushed = self.spike[rows] + 0.01 * self.loss()[rows]
            self.spike[rows] += pushed * u[rows] / self._limit[rows] * self._per_spike[rows]
            self.spike[self.loss() > self._most] = np.nan
        self._steps += 1
        if self._steps % self._held == 0:
            self._account(slice(None))

    def turn(self, rows: Rows, is_open: Mask) -> None:
        """The knobs of these runs changed; is_open: which of their bands are open now."""
        opening = np.maximum(is_open - self._open[:, rows], 0.0)
        self._account(rows)
        self.spike[rows] += self._jump[rows] * (self.amplitude[:, rows] * self._x[:, rows] * opening).sum(axis=0)
        self._open[:, rows] = is_open
        self._account(rows)

    @property
    def is_open(self) -> Mask:
        """Which bands are open: [band, run]."""
        return self._open > 0.0

    def save(self, rows: Rows | slice) -> None:
        """A checkpoint of these runs."""
        x, spike, heat = self._saved
        x[:, rows] = self._x[:, rows] - self._since[rows] * self._slope[:, rows]
        spike[rows], heat[rows] = self.spike[rows], self.heat[rows]

    def restore(self, rows: Rows) -> None:
        """These runs go on from their last checkpoint."""
        x, spike, heat = self._saved
        self._x[:, rows], self.spike[rows], self.heat[rows] = x[:, rows], spike[rows], heat[rows]
        self._slope[:, rows], self._since[rows] = 0.0, 0.0
        self._account(rows)


class Observed:
    """The noise of every learner, a block of steps at a time; each has a stream of its own."""

    BLOCK = 256

    def __init__(self, learners: Learners) -> None:
        self._sigma, self._rho = learners.of["sigma"], learners.of["rho"]
        self._rest = np.sqrt(1.0 - self._rho**2)
        self._generators = [generator(pair, 1) for pair in learners.seeds]
        self._drawn = np.empty((len(learners), self.BLOCK))
        self._block = np.empty((self.BLOCK, len(learners)))
        self._next = self.BLOCK
        self._last = np.zeros(len(learners))
        self._first = True

    def __call__(self, loss: Floats) -> Floats:
        """The losses as they are observed on the next step."""
        if self._next == self.BLOCK:
            for one, row in zip(self._generators, self._drawn, strict=True):
                one.standard_normal(out=row)
            self._block[:] = self._drawn.T
            self._next = 0
        normal = self._block[self._next]
        self._last = normal.copy() if self._first else self._rho * self._last + self._rest * normal
        self._first, self._next = False, self._next + 1
        found: Floats = loss * (1.0 + self._sigma * self._last)
        return found
