"""A synthetic learner answers to cutoff and rate as its equations say, and each is the same in any company."""

from __future__ import annotations

import numpy as np
import pytest

from plateau_rule import load, loads
from plateau_rule.controller.binding import bind
from plateau_rule.sim.simulator.learner import HELD, PARAMETERS, Bands, Floats, Learners, Learning, Observed, ranges

PEAK = 2e-4
BANDS = Bands((("cutoff", 128.0), ("cutoff", 256.0)), {"cutoff": 256.0})
PLAIN = {
    "floor": 2.0,
    "height": 4.0,
    "falloff": 0.5,
    "tau": 100.0,
    "tau_growth": 1.0,
    "beta": 0.0,
    "kappa": 0.0,
    "iota": 0.0,
    "jump": 1.0,
    "tau_spike": 50.0,
    "alpha": 0.0,
    "tau_heat": 20.0,
    "rate_optimum": PEAK,
    "rate_limit": 4.0,
    "sigma": 0.03,
    "rho": 0.5,
    "fixed_cost": 0.5,
}


def learners(count: int, **values: float) -> Learners:
    """Learners that are all alike."""
    return Learners.drawn(ranges(1000, PEAK), count, seed=0).with_values(**PLAIN | values)


def learning(both: bool = False, **values: float) -> Learning:
    """One learner, with the first of two bands open, or with both."""
    return Learning(learners(1, **values), BANDS, np.array([[True], [both]]))


def losses(one: Learning, steps: int, rate: float = PEAK) -> list[float]:
    """The losses of so many steps at one rate."""
    found = []
    for _ in range(steps):
        found.append(float(one.loss()[0]))
        one.learn(np.full(one.runs, rate))
    return found


def test_a_closed_band_is_a_floor() -> None:
    """Under a low cutoff the loss ends at the floor plus what the closed bands hold, and opening them lowers it."""
    one = learning()
    assert losses(one, 3000)[-1] == pytest.approx(2.0 + 4.0 / 3.0, abs=1e-6)  # heights 8/3 and 4/3
    one.turn(np.array([0]), np.array([[True], [True]]))
    assert losses(one, 3000)[-1] == pytest.approx(2.0, abs=1e-6)


def test_a_band_is_learned_as_its_equation_says() -> None:
    """With beta = 0 a band falls to 1/e in tau steps; with beta = 1 it falls as 1 / (1 + t / tau)."""
    assert losses(learning(both=True), 101)[100] - 2.0 == pytest.approx(4.0 / np.e, rel=0.05)
    assert losses(learning(both=True, beta=1.0), 301)[300] - 2.0 == pytest.approx(4.0 / 4.0, rel=0.05)


def test_bands_hold_each_other_back() -> None:
    """A band that is not learned slows the one above it by kappa, and the one below it by iota."""

    def after(**values: float) -> float:
        return losses(learning(both=True, **values), 60)[-1]

    assert after() < after(kappa=0.9)
    assert after() < after(iota=1.0)


def test_a_low_rate_stalls() -> None:
    """At a tenth of the best rate learning takes a hundred times as long; above it, it is no faster."""
    assert losses(learning(), 200, PEAK / 10)[-1] == pytest.approx(losses(learning(), 3, PEAK)[-1], rel=0.01)
    assert losses(learning(), 100, 2 * PEAK)[-1] == pytest.approx(losses(learning(), 100, PEAK)[-1])


def test_a_falling_rate_lowers_the_loss() -> None:
    """The rate holds the loss up by alpha times its square, and lets it down when it falls."""
    one = learning(alpha=0.5)
    high = losses(one, 3000)[-1]
    assert high - losses(one, 500, 0.0)[-1] == pytest.approx(0.5, rel=1e-3)


def test_too_high_a_rate_ends_in_nan() -> None:
    """Beyond rate_limit times the best rate the loss grows without bound and is NaN in the end."""
    found = losses(learning(), 3000, 6 * PEAK)
    assert found[700] > found[500] > found[300]
    assert np.isnan(found[-1])
    assert np.isfinite(losses(learning(), 3000, 3.9 * PEAK)).all()


def test_a_raise_makes_a_spike_that_a_high_rate_heals() -> None:
    """When a band opens, the loss jumps by J times what it holds; a high rate brings it back sooner than a low one."""

    def back(rate: float) -> int:
        one = learning()
        before = losses(one, 500)[-1]
        one.turn(np.array([0]), np.array([[True], [True]]))
        after = losses(one, 3000, rate)
        assert after[0] == pytest.approx(before + 4.0 / 3.0, rel=0.01)
        return next(step for step, loss in enumerate(after) if loss <= before)

    assert 2 * back(PEAK) < back(PEAK / 2)


def test_a_rollback_restores_what_was_saved() -> None:
    """After a rollback a learner goes on exactly from its last checkpoint, whatever came between."""
    one, other = learning(alpha=0.3), learning(alpha=0.3)
    everyone = np.array([0])
    for each in (one, other):
        losses(each, 40)
        each.save(slice(None))
    losses(one, 10 * HELD, 2 * PEAK)
    for each in (one, other):
        each.restore(everyone)
    assert losses(one, 50) == losses(other, 50)


def test_a_learner_is_the_same_in_any_company() -> None:
    """Learner 5 has the same parameters and the same noise among ten as alone, and another seed makes another one."""
    bounds = ranges(50_000, PEAK)
    ten, alone, other = (Learners.drawn(bounds, *which) for which in ((10, 3), (1, 3, 5), (1, 4, 5)))
    assert {name: values[5] for name, values in ten.of.items()} == {
        name: values[0] for name, values in alone.of.items()
    }
    assert alone.of["tau"][0] != other.of["tau"][0]
    many, one = Observed(ten), Observed(alone)
    for _ in range(300):
        assert many(np.ones(10))[5] == one(np.ones(1))[0]


def test_parameters_are_drawn_from_their_ranges() -> None:
    """Every parameter has a range and a meaning, and every draw lies within."""
    bounds = ranges(50_000, PEAK)
    drawn = Learners.drawn(bounds, 300, seed=1).of
    assert drawn.keys() == bounds.keys() == PARAMETERS.keys()
    for name, (low, high, _) in bounds.items():
        assert low <= drawn[name].min() <= drawn[name].max() <= high, name


def test_noise_is_what_was_asked_for() -> None:
    """Observed losses scatter by sigma and are correlated by rho from one step to the next."""
    observed = Observed(learners(200))
    noise: Floats = np.array([observed(np.ones(200)) for _ in range(400)]) - 1.0
    assert noise.std() == pytest.approx(0.03, rel=0.03)
    assert np.corrcoef(noise[:-1].ravel(), noise[1:].ravel())[0, 1] == pytest.approx(0.5, abs=0.02)


def test_bands_of_a_curriculum() -> None:
    """Every value that a knob takes makes a band, easiest first; without knobs there is one, always open."""
    machine = bind(load("plateau"), {"cutoff": 1025})
    assert Bands.of(machine).edges == tuple(("cutoff", value) for value in (128.0, 256.0, 512.0, 1025.0))
    is_open = Bands.of(machine).open({"cutoff": np.array([128.0, 512.0])}, 2)
    assert is_open.T.tolist() == [[True, False, False, False], [True, True, True, False]]
    assert Bands((("", 0.0),), {}).open({}, 2).tolist() == [[True, True]]


def test_a_ramp_opens_bands_on_its_way() -> None:
    """A knob that moves within a state opens a band at each quarter of its way."""
    machine = bind(load("sequence-length"), {"seq_len": 4096})
    edges = Bands.of(machine).edges
    assert len(edges) >= 4
    assert [value for _, value in edges] == sorted(value for _, value in edges)


def test_bands_open_the_way_that_is_harder() -> None:
    """Downwards where smaller is harder, by the ladder where the values are names, never where a knob has no order."""
    text = """name = "x"
lr   = { peak = 1.0, shape = "constant" }
knob.forcing = { ladder = [1.0, 0.5, 0.0], order = "down" }
knob.source  = { ladder = ["web", "all"] }
knob.batch   = { order = "none" }
state = [
  { name = "a", set = { forcing = 1.0, source = "web", batch = 64 } },
  { name = "b", set = { forcing = 0.5, source = "web", batch = 32 } },
  { name = "c", set = { forcing = 0.0, source = "all", batch = 64 } },
]
"""
    bands = Bands.of(bind(loads(text)))
    values = {"forcing": np.array([1.0, 0.5, 0.0]), "source": np.array([0.0, 0, 1]), "batch": np.array([64.0, 32, 64])}
    assert [name for name, _ in bands.edges] == ["forcing"] * 3 + ["source"] * 2
    assert bands.open(values, 3).sum(axis=0).tolist() == [2, 3, 5]
    assert bands.limits == {"batch": 64.0}
