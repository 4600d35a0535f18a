"""Synthetic curves: their shapes, their noise, and that a seed fixes them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from plateau_rule.sim import curves
from plateau_rule.sim.curves import FAMILIES, Bounds, Bursts, Kind, NoiseModel, Spikes, Streams, draw, noisy

KINDS: tuple[Kind, ...] = ("white", "ar1", "t3", "heteroscedastic", "periodic")
each_family = pytest.mark.parametrize("family", FAMILIES)
each_kind = pytest.mark.parametrize("kind", KINDS)


def rng(seed: int = 0) -> np.random.Generator:
    """A source of randomness."""
    return np.random.default_rng(seed)


@each_family
def test_a_seed_fixes_the_curves(family: str) -> None:
    """The same seed draws the same curves, another seed others; all are finite and above 0."""
    one, same, other = (draw(family, 5, 400, rng(seed)) for seed in (1, 1, 2))
    assert one.clean.shape == (5, 400)
    assert np.array_equal(one.clean, same.clean)
    assert not np.array_equal(one.clean, other.clean)
    assert np.isfinite(one.clean).all()
    assert (one.clean > 0).all()


@each_family
def test_one_curve_is_a_row_of_many(family: str) -> None:
    """A shape computed for many curves at once is, row by row, the shape computed for one."""
    many = draw(family, 4, 300, rng(3))
    for i in range(4):
        parameters = {name: values[i] for name, values in many.parameters.items()}
        alone = FAMILIES[family].shape(np.arange(300.0), **parameters)
        assert alone == pytest.approx(many.clean[i], rel=1e-14)


@each_family
@given(st.integers(0, 999), st.integers(2, 8))
@settings(max_examples=10)
def test_stretched(family: str, seed: int, stretch: int) -> None:
    """A curve stretched in time passes through the same losses, so many times later."""
    short = draw(family, 3, 200, rng(seed))
    long = draw(family, 3, 200 * stretch, rng(seed), stretch=stretch)
    assert long.clean[:, ::stretch] == pytest.approx(short.clean, rel=1e-12)


@each_family
def test_parameters_stay_in_their_ranges(family: str) -> None:
    """Parameters fill their ranges, and a range that is given replaces the family's own."""
    found = draw(family, 500, 2, rng(4)).parameters
    for name, bounds in FAMILIES[family].ranges.items():
        assert bounds.low <= found[name].min() < found[name].max() <= bounds.high
        middle = np.sqrt(bounds.low * bounds.high) if bounds.log else (bounds.low + bounds.high) / 2
        assert 0.4 < (found[name] < middle).mean() < 0.6
        fixed = draw(family, 5, 2, rng(4), ranges={name: Bounds(bounds.low, bounds.low)})
        assert fixed.parameters[name] == pytest.approx(bounds.low, rel=1e-12)


def test_what_cannot_be_drawn() -> None:
    """A family or a parameter that does not exist, and a range the wrong way round, are refused by name."""
    with pytest.raises(KeyError, match="cubic"):
        draw("cubic", 1, 1, rng())
    with pytest.raises(KeyError, match="drift has no parameter tau; it has start, rate"):
        draw("drift", 1, 1, rng(), ranges={"tau": Bounds(1, 2)})
    with pytest.raises(ValueError, match="from 2 to 1"):
        draw("drift", 1, 1, rng(), ranges={"rate": Bounds(2, 1)})


def test_shapes() -> None:
    """Each shape does what its name says, at points where the value is known."""
    t = np.arange(4001.0)
    assert curves.exponential(t, 3, 1, 500)[[0, 500]] == pytest.approx([3, 1 + 2 / np.e])
    assert curves.power(t, 10, 0, 0.5, 50)[[0, 150]] == pytest.approx([10, 5])
    assert curves.lm(t, 11, 7, 3, 50, 0.5, 100)[0] == pytest.approx(11)
    assert 3 < curves.lm(t, 11, 7, 3, 50, 0.5, 100)[-1] < 4
    kink = curves.kink(t, 2, 1e-3, 1000)
    assert kink[999] / kink[1000] == pytest.approx(np.exp(1e-3))
    assert kink[1000] == kink[4000] == 2 / np.e
    stairs = curves.staircase(t, 5, 2, 3, 1000, 10)
    assert stairs[[0, 500, 1000, 1500, 2500, 4000]] == pytest.approx([5, 5, 4.5, 4, 3, 2])
    assert curves.drift(t, 1, 1e-3)[1000] == pytest.approx(np.e)
    hill = curves.double_descent(t, 3, 1, 300, 0.5, 2000, 100)
    assert hill[2000] == pytest.approx(1.5, abs=0.01)
    assert hill[1500] < hill[2000] > hill[2500]
    assert np.ptp(curves.silence(t, 2)) == 0


@each_kind
def test_noise_has_its_sigma(kind: Kind) -> None:
    """Noise of any kind has mean 0 and, over many curves, the standard deviation that it is named by."""
    found = NoiseModel(0.03, kind).deviations(400, 1000, rng(5))
    assert abs(found.mean()) < 5e-4
    assert found.std() == pytest.approx(0.03, rel=0.05)
    if kind in ("white", "ar1"):
        assert found.std(axis=0) == pytest.approx(np.full(1000, 0.03), rel=0.25)


def test_kinds_of_noise_differ_as_they_say() -> None:
    """AR(1) neighbours correlate by rho, t3 has heavy tails, the swinging kinds swing with their period."""
    white, ar1, t3, swinging, periodic = (NoiseModel(0.1, kind).deviations(200, 2000, rng(6)) for kind in KINDS)

    def correlation(x: curves.Array, lag: int) -> float:
        return float((x[:, lag:] * x[:, :-lag]).mean() / x.var())

    assert correlation(white, 1) == pytest.approx(0, abs=0.01)
    assert [correlation(ar1, lag) for lag in (1, 2)] == pytest.approx([0.5, 0.25], abs=0.01)
    assert (np.abs(t3) > 0.5).mean() > 1e-3 > (np.abs(white) > 0.5).mean()
    assert correlation(swinging, 200) == pytest.approx(0, abs=0.02)
    assert correlation(np.square(swinging) - 0.01, 200) > 0.1 > correlation(np.square(white) - 0.01, 200)
    assert [correlation(periodic, lag) for lag in (100, 200)] == pytest.approx([-0.5, 0.5], abs=0.02)


def test_spikes() -> None:
    """Spikes come on their share of the steps, are as high as they say, and decay by their factor."""
    found = Spikes(0.003, 0.2, 0.4, 0.5).deviations(300, 2000, rng(7))
    begins = np.diff(found, axis=1) > 0.1
    assert begins.mean() == pytest.approx(0.003, rel=0.1)
    assert found.min() >= 0.0
    assert 0.39 < found.max() < 0.9
    curve, step = (place[0] for place in np.nonzero(begins[:, :-3]))
    assert found[curve, step + 2] >= 0.5 * found[curve, step + 1]


def test_bursts() -> None:
    """Bursts of NaN are as long as they say and hit their share of the steps; the rest is untouched."""
    clean = np.ones((200, 3000))
    losses = noisy(clean, rng(8), bursts=Bursts(0.002, 4))
    lost = np.isnan(losses)
    assert lost.mean() == pytest.approx(0.002 * 2.5, rel=0.15)
    assert (losses[~lost] == 1.0).all()
    runs = "".join("x" if gone else " " for gone in lost.ravel()).split()
    assert {1, 2, 3, 4} <= {len(run) for run in runs}


def test_noisy_adds_up() -> None:
    """Without noise, spikes or bursts the losses are the clean curve; with them they are clean * (1 + deviations)."""
    clean = draw("exponential", 3, 100, rng(9)).clean
    assert np.array_equal(noisy(clean, rng()), clean)
    both, source = noisy(clean, rng(10), NoiseModel(0.02), Spikes(0.1)), rng(10)
    expected = 1.0 + NoiseModel(0.02).deviations(3, 100, source) + Spikes(0.1).deviations(3, 100, source)
    assert both == pytest.approx(clean * expected, rel=1e-14)


@given(
    family=st.sampled_from(sorted(FAMILIES)),
    kind=st.sampled_from(KINDS),
    seed=st.integers(0, 2**63),
    cuts=st.sets(st.integers(0, 7)),
)
def test_a_curve_is_the_same_in_any_company(family: str, kind: Kind, seed: int, cuts: set[int]) -> None:
    """Curves of a seed are the same to the bit, parameters, noise, spikes and NaN, drawn at once or in any pieces."""

    def drawn(first: int, count: int) -> NDArray[np.float64]:
        rng = Streams(seed, first, count)
        return noisy(draw(family, count, 40, rng).clean, rng, NoiseModel(0.03, kind), Spikes(0.1), Bursts(0.1))

    edges = sorted({0, 7, *cuts})
    pieces = [drawn(first, last - first) for first, last in pairwise(edges)]
    assert np.array_equal(np.concatenate(pieces), drawn(0, 7), equal_nan=True)


def test_streams_know_how_many_they_are() -> None:
    """A size that does not begin with the number of curves is refused."""
    with pytest.raises(ValueError, match="expected one for each of 2 curves"):
        Streams(0, 0, 2).random((3, 4))
