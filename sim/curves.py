"""Seeded synthetic loss curves: shapes without noise, noise, spikes and bursts of NaN, many curves at once.

A shape is a function of time and of named parameters. `t` is a vector of steps (divide it to stretch a curve in time);
each parameter is a number, or one number a curve; the result has the parameters' axes first and time last.
`FAMILIES` holds the ranges that `draw` takes parameters from where no others are given.

Whatever is drawn comes from a numpy Generator, or from `Streams`: then a curve is the same whoever else is drawn with
it, in one piece or in many, here or in another process.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Size = int | tuple[int, ...]
Kind = Literal["white", "ar1", "t3", "heteroscedastic", "periodic"]


def _column(parameter: ArrayLike) -> Array:
    return np.asarray(parameter, dtype=np.float64)[..., None]


def exponential(t: Array, start: ArrayLike, end: ArrayLike, tau: ArrayLike) -> Array:
    """From `start` to `end` with the time constant `tau` in steps."""
    return _column(end) + (_column(start) - _column(end)) * np.exp(-t / _column(tau))


def power(t: Array, start: ArrayLike, end: ArrayLike, exponent: ArrayLike, knee: ArrayLike) -> Array:
    """From `start` towards `end` as (1 + t / knee) ** -exponent; `knee` in steps."""
    return _column(end) + (_column(start) - _column(end)) * (1.0 + t / _column(knee)) ** -_column(exponent)


def lm(
    t: Array, start: ArrayLike, middle: ArrayLike, end: ArrayLike, tau: ArrayLike, exponent: ArrayLike, knee: ArrayLike
) -> Array:
    """Like a language model: the unigrams fast, from `start` to `middle`, the rest by a power law towards `end`."""
    fast = (_column(start) - _column(middle)) * np.exp(-t / _column(tau))
    return fast + power(t, middle, end, exponent, knee)


def kink(t: Array, start: ArrayLike, rate: ArrayLike, at: ArrayLike) -> Array:
    """Falling by the share `rate` of itself at each step until step `at`, flat from there."""
    return _column(start) * np.exp(-_column(rate) * np.minimum(t, _column(at)))


def staircase(
    t: Array, start: ArrayLike, end: ArrayLike, stairs: ArrayLike, length: ArrayLike, softness: ArrayLike
) -> Array:
    """Equal falls from `start` to `end`, one after every `length` steps, each about 4 * `softness` steps long."""
    fallen = np.zeros(np.broadcast(_column(start), _column(end), _column(stairs), _column(length), t).shape)
    for stair in range(1, int(np.max(stairs)) + 1):
        position = (t - stair * _column(length)) / _column(softness)
        fallen = fallen + np.where(stair <= _column(stairs), 0.5 + 0.5 * np.tanh(position / 2.0), 0.0)
    return _column(start) + (_column(end) - _column(start)) * fallen / np.floor(_column(stairs))


def drift(t: Array, start: ArrayLike, rate: ArrayLike) -> Array:
    """Growing by the share `rate` of itself at each step."""
    return _column(start) * np.exp(_column(rate) * t)


def double_descent(
    t: Array, start: ArrayLike, end: ArrayLike, tau: ArrayLike, bump: ArrayLike, at: ArrayLike, width: ArrayLike
) -> Array:
    """An exponential with a hill of height `bump` around step `at`, `width` steps (one standard deviation) wide."""
    hill = _column(bump) * np.exp(-0.5 * ((t - _column(at)) / _column(width)) ** 2)
    return exponential(t, start, end, tau) + hill


def silence(t: Array, level: ArrayLike) -> Array:
    """Nothing is learned."""
    return _column(level) + 0.0 * t


class Bounds(NamedTuple):
    """Where a parameter is drawn from; `log` draws its logarithm uniformly."""

    low: float
    high: float
    log: bool = False


class Family(NamedTuple):
    """A shape with the ranges of its parameters."""

    shape: Callable[..., Array]
    ranges: Mapping[str, Bounds]


_START, _END, _TAU = Bounds(4.0, 11.0), Bounds(0.5, 3.5), Bounds(50.0, 2000.0, log=True)
FAMILIES: Mapping[str, Family] = {
    "exponential": Family(exponential, {"start": _START, "end": _END, "tau": _TAU}),
    "power": Family(power, {"start": _START, "end": _END, "exponent": Bounds(0.2, 1.0),
                            "knee": Bounds(10.0, 300.0, log=True)}),
    "lm": Family(lm, {"start": Bounds(8.0, 11.0), "middle": Bounds(5.0, 7.0), "end": Bounds(1.5, 3.5),
                      "tau": Bounds(20.0, 200.0, log=True), "exponent": Bounds(0.3, 0.9),
                      "knee": Bounds(50.0, 500.0, log=True)}),
    "kink": Family(kink, {"start": _START, "rate": Bounds(2e-4, 2e-3, log=True),
                          "at": Bounds(300.0, 3000.0, log=True)}),
    "staircase": Family(staircase, {"start": _START, "end": _END, "stairs": Bounds(2.0, 6.0),
                                    "length": Bounds(200.0, 1500.0, log=True),
                                    "softness": Bounds(3.0, 60.0, log=True)}),
    "drift": Family(drift, {"start": _END, "rate": Bounds(1e-5, 1e-3, log=True)}),
    "double_descent": Family(double_descent, {"start": _START, "end": _END, "tau": _TAU, "bump": Bounds(0.1, 1.0),
                                              "at": Bounds(500.0, 3000.0, log=True),
                                              "width": Bounds(50.0, 500.0, log=True)}),
    "silence": Family(silence, {"level": _START}),
}  # fmt: skip


def generator(pair: tuple[int, int], stream: int) -> np.random.Generator:
    """A stream of random numbers that belongs to number `pair[1]` of seed `pair[0]` (Philox: Salmon et al. 2011)."""
    seed, number = pair
    return np.random.Generator(np.random.Philox(key=np.array([seed, (number << 8) + stream], dtype=np.uint64)))


class Streams:
    """A stream for each of `count` curves, from number `first` of a seed on; drawn from as from one Generator.

    Every size begins with the number of curves.
    """

    def __init__(self, seed: int, first: int, count: int) -> None:
        self._each = [generator((seed, number), 0) for number in range(first, first + count)]

    def _rows(self, draw: Callable[[np.random.Generator, tuple[int, ...]], ArrayLike], size: Size) -> NDArray[Any]:
        shape = size if isinstance(size, tuple) else (size,)
        if shape[0] != len(self._each):
            raise ValueError(f"{shape[0]} rows; expected one for each of {len(self._each)} curves")
        return np.array([draw(one, shape[1:]) for one in self._each]).reshape(shape)

    def random(self, size: Size) -> Array:
        """As Generator.random."""
        return self._rows(lambda one, shape: one.random(shape), size)

    def uniform(self, low: float, high: float, size: Size) -> Array:
        """As Generator.uniform."""
        return self._rows(lambda one, shape: one.uniform(low, high, shape), size)

    def integers(self, low: int, high: int, size: Size) -> NDArray[np.int64]:
        """As Generator.integers."""
        return self._rows(lambda one, shape: one.integers(low, high, shape), size)

    def standard_normal(self, size: Size) -> Array:
        """As Generator.standard_normal."""
        return self._rows(lambda one, shape: one.standard_normal(shape), size)

    def standard_t(self, freedom: float, size: Size) -> Array:
        """As Generator.standard_t."""
        return self._rows(lambda one, shape: one.standard_t(freedom, shape), size)


class Drawn(NamedTuple):
    """Curves without noise, [curve, step], and the parameters that they were made from."""

    clean: Array
    parameters: dict[str, Array]


def draw(
    family: str,
    curves: int,
    steps: int,
    rng: np.random.Generator | Streams,
    stretch: float = 1.0,
    ranges: Mapping[str, Bounds] | None = None,
) -> Drawn:
    """Draw curves of one family.

    family: a key of FAMILIES. curves, steps: how many, how long. stretch: how much slower than the ranges say. ranges:
    replace some of the family's own. Raises KeyError where there is no such family or parameter.
    """
    shape, own = FAMILIES[family]
    given = dict(ranges or {})
    if unknown := sorted(given.keys() - own.keys()):
        raise KeyError(f"{family} has no parameter {', '.join(unknown)}; it has {', '.join(own)}")
    parameters = {name: _drawn(given.get(name, own[name]), curves, rng) for name in own}
    return Drawn(shape(np.arange(steps) / stretch, **parameters), parameters)


def _drawn(bounds: Bounds, curves: int, rng: np.random.Generator | Streams) -> Array:
    low, high, log = Bounds(*bounds)
    if not low <= high:
        raise ValueError(f"a range from {low} to {high}; expected the lower bound first")
    if log:
        return np.exp(rng.uniform(np.log(low), np.log(high), curves))
    return rng.uniform(low, high, curves)


@dataclass(frozen=True, slots=True)
class NoiseModel:
    """Noise relative to the loss: losses are clean * (1 + noise).

    sigma: its standard deviation on one step, whatever the kind. kind: `white` (normal, independent); `ar1` (normal,
    neighbours correlated by `rho`); `t3` (independent, Student's t with 3 degrees of freedom); `heteroscedastic`
    (white, its standard deviation swinging between a half and three halves of the middle once a `period`); `periodic`
    (half the variance white, half a sinusoid of `period` steps with a random phase, as data in a fixed order make).
    """

    sigma: float
    kind: Kind = "white"
    rho: float = 0.5
    period: float = 200.0

    def deviations(self, curves: int, steps: int, rng: np.random.Generator | Streams) -> Array:
        """Draw [curve, step]."""
        if self.kind == "t3":
            return np.asarray(self.sigma / np.sqrt(3.0) * rng.standard_t(3, (curves, steps)))
        normal = rng.standard_normal((curves, steps))
        if self.kind == "white":
            return self.sigma * normal
        if self.kind == "ar1":
            normal[:, 1:] *= np.sqrt(1.0 - self.rho**2)  # from its stationary distribution on
            return self.sigma * _recursive(normal, self.rho)
        phase = rng.uniform(0.0, 2.0 * np.pi, (curves, 1))
        wave: Array = np.sin(2.0 * np.pi * np.arange(steps) / self.period + phase)
        if self.kind == "heteroscedastic":
            return np.asarray(self.sigma / np.sqrt(1.125) * (1.0 + 0.5 * wave) * normal)
        return np.asarray(self.sigma * (np.sqrt(0.5) * normal + wave))


@dataclass(frozen=True, slots=True)
class Spikes:
    """Sudden rises, on a `share` of the steps: by `low` to `high` of the loss, then `decay` times as much a step."""

    share: float = 0.003
    low: float = 0.15
    high: float = 0.60
    decay: float = 0.6

    def deviations(self, curves: int, steps: int, rng: np.random.Generator | Streams) -> Array:
        """Draw [curve, step]."""
        hits = rng.random((curves, steps)) < self.share
        return _recursive(np.where(hits, rng.uniform(self.low, self.high, (curves, steps)), 0.0), self.decay)


@dataclass(frozen=True, slots=True)
class Bursts:
    """Runs of NaN: one begins on a `share` of the steps and lasts 1 to `longest` steps."""

    share: float = 0.001
    longest: int = 3

    def mask(self, curves: int, steps: int, rng: np.random.Generator | Streams) -> NDArray[np.bool_]:
        """Draw [curve, step]: where the loss is lost."""
        lengths = np.where(
            rng.random((curves, steps)) < self.share, rng.integers(1, self.longest + 1, (curves, steps)), 0
        )
        ends = np.maximum.accumulate(np.where(lengths > 0, np.arange(steps) + lengths, 0), axis=1)
        return np.arange(steps) < ends


def noisy(
    clean: Array,
    rng: np.random.Generator | Streams,
    noise: NoiseModel | None = None,
    spikes: Spikes | None = None,
    bursts: Bursts | None = None,
) -> Array:
    """Losses [curve, step] as they would be logged: clean * (1 + noise + spikes), NaN in bursts."""
    curves, steps = clean.shape
    deviations = np.ones_like(clean)
    for part in (noise, spikes):
        if part is not None:
            deviations += part.deviations(curves, steps, rng)
    losses = clean * deviations
    if bursts is not None:
        losses[bursts.mask(curves, steps, rng)] = np.nan
    return losses


def _recursive(x: Array, factor: float) -> Array:
    """y[t] = factor * y[t - 1] + x[t], along the last axis."""
    y = np.ascontiguousarray(x.T)
    for t in range(1, len(y)):
        y[t] += factor * y[t - 1]
    return np.ascontiguousarray(y.T)
