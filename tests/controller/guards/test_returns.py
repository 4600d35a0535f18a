"""Diminishing returns: the blocks, what they are made to say, and that no scale matters."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from math import ceil, exp, inf, sqrt
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plateau_rule import Controller, loads
from plateau_rule.controller.guards.plateau.returns import Returns, judged


def exponential(seed: int, count: int, tau: float, sigma: float = 0.01) -> list[float]:
    """Losses from 3 to 1 with a time constant, under white noise."""
    rng = Random(seed)
    return [(1.0 + 2.0 * exp(-i / tau)) * (1.0 + rng.gauss(0, sigma)) for i in range(count)]


def looks(detector: Returns, values: list[float]) -> Iterator[bool | None]:
    """The verdict after each value."""
    for value in values:
        detector.push(value)
        yield detector.verdict()


def first(detector: Returns, values: list[float]) -> float:
    """The number of values after which it fires, infinity for never."""
    return next((count for count, found in enumerate(looks(detector, values), 1) if found), inf)


def means_by_hand(values: list[float], scale: int) -> list[float]:
    """The means of pairs of pairs of ... blocks of 20 losses, each without its 4 lowest and 4 highest."""
    means = [sum(sorted(values[i : i + 20])[4:-4]) / 12 for i in range(0, len(values) - 19, 20)]
    for _ in range(scale):
        means = [(one + other) / 2 for one, other in zip(means[::2], means[1::2], strict=False)]
    return means


@given(st.integers(0, 9999), st.integers(20, 4000))
@settings(max_examples=settings().max_examples * 3 // 5)
def test_blocks_by_hand(seed: int, count: int) -> None:
    """It keeps 32 to 63 equal blocks of the whole time in the state, and the highest mean on every scale."""
    values, detector, scale = exponential(seed, count, 500.0), Returns(), 0
    for value in values:
        detector.push(value)
    while count // (20 << scale) >= 64:
        scale += 1
    contents = detector.contents()
    assert contents["means"] == pytest.approx(means_by_hand(values, scale), rel=1e-12)
    highest = [max(means) for scale in range(9) if (means := means_by_hand(values, scale))]
    assert contents["highest"] == pytest.approx(highest, rel=1e-12)


def covered(count: int, start: float, end: float) -> np.ndarray:
    """The share of each block that lies in a part of the time."""
    edges = np.linspace(0.0, 1.0, count + 1)
    inside = np.minimum(edges[1:], end) - np.maximum(edges[:-1], start)
    return np.asarray(np.maximum(inside, 0.0) * count)


@given(st.integers(0, 9999), st.integers(32, 63), st.floats(0.001, 0.1), st.sampled_from([1.0, -3.0, 1e300, 1e-300]))
def test_the_judgement_by_numpy(seed: int, count: int, sigma: float, scale: float) -> None:
    """Gain, error and total are those of the definition, computed with numpy."""
    rng = np.random.default_rng(seed)
    means = (3.0 * np.exp(-np.arange(count) / 16) + sigma * rng.standard_normal(count) + 1.0) * np.sign(scale)
    highest = [means.max() * factor for factor in (1.5, 1.2, 1.1, 1.0)]
    middle, last = covered(count, 6 / 16, 10 / 16), covered(count, 12 / 16, 1.0)
    gain = 1.17 * (np.average(means, weights=middle) - np.average(means, weights=last))
    first = ceil(count * 6 / 16)
    first += (count - first) % 2
    later = means[first:]
    rest = later - np.polyval(np.polyfit(np.arange(len(later)), later, 2), np.arange(len(later)))
    pairs = rest[::2] + rest[1::2]
    noise = max((rest**2).sum() / (len(later) - 3), (pairs**2).sum() / 2 / (len(later) / 2 - 3))
    weights = np.concatenate([middle / middle.sum(), last / last.sum()])
    single = min(1.0, sqrt(noise * 160) / abs(later.mean()))
    top = max(high - abs(high) * single / sqrt(20 * 2**i) for i, high in enumerate(highest))
    total = top - np.average(means, weights=last) + 0.16 * gain
    size, unit = max(np.abs(means).max(), *map(abs, highest)), abs(scale)
    found = judged([unit * mean for mean in means], [unit * high for high in highest], 0.1, 160)
    assert found.gain * size == pytest.approx(gain, abs=1e-9)
    assert found.error * size == pytest.approx(1.5 * 1.17 * sqrt(noise * (weights**2).sum()), rel=1e-6)
    assert found.total * size == pytest.approx(total, abs=1e-8)


@pytest.mark.parametrize("sigma", [0.001, 0.01, 0.03, 0.05])
def test_the_same_place_on_every_time_scale(sigma: float) -> None:
    """An exponential stretched 1, 4 and 16 times fires at the same number of time constants, within a block or two."""
    places = [first(Returns(), exponential(7, int(24 * tau), tau, sigma)) / tau for tau in (200.0, 800.0, 3200.0)]
    assert all(4.3 < place < 6.0 for place in places), places
    assert max(places) / min(places) < 1.25


@pytest.mark.parametrize("factor", [-0.5, 2.0, 2.0**-1000, 2.0**900])
def test_the_same_place_for_every_unit(factor: float) -> None:
    """A loss multiplied by a power of two is judged in the same words at every value; a negative one as what it is."""
    values = exponential(3, 3000, 400.0, 0.02)
    one, other = Returns(), Returns()
    for value in values:
        one.push(value)
        other.push(value * factor)
        if factor > 0:
            assert (one.verdict(), one.describe()) == (other.verdict(), other.describe())
        assert factor > 0 or other.verdict() is not True


def test_worsening_is_never_a_plateau() -> None:
    """A loss that rises, from the start or after it fell, never fires, however slowly it rises beside its noise."""
    for seed in range(20):
        rng = Random(seed)
        rises = [1.0 + i / 3000 + rng.gauss(0, 0.02) for i in range(3000)]
        assert True not in set(looks(Returns(0.5), rises))
        turns = [2.0 + abs(i - 500) / 500 + rng.gauss(0, 0.02) for i in range(3000)]
        detector = Returns()
        assert True not in list(looks(detector, turns))[1400:]
        assert detector.describe().startswith("worsening")


def test_one_spike_is_no_level() -> None:
    """A spike in the middle of the state does not count as something that the state has brought since."""
    values = [3.0 - i / 4000 + 0.003 * Random(i).gauss(0, 1) for i in range(640)]
    spiked = values.copy()
    spiked[100] += 60.0
    assert first(Returns(), values) == first(Returns(), spiked) == inf


def test_nothing_is_a_plateau_in_the_end() -> None:
    """A state that changes nothing is a plateau from 1280 values on, or later, when its noise lets one be sure."""
    firsts = []
    for sigma in (0.0, 0.01, 0.03):
        rng = Random(2)
        firsts.append(first(Returns(), [3.0 * (1.0 + rng.gauss(0, sigma)) for _ in range(20_000)]))
    assert firsts[0] == 1280
    assert firsts == sorted(firsts)
    assert firsts[-1] < 10_000


def test_the_bump_after_a_raise_counts() -> None:
    """What follows a raise, a bump and its decay, is no plateau until the bump is behind it."""
    for seed in range(20):
        rng = Random(seed)
        values = [3.0 * (1 + 0.1 * i / 40 * exp(1 - i / 40)) * (1 + rng.gauss(0, 0.01)) for i in range(6000)]
        assert 640 <= first(Returns(), values) < 6000


@given(st.integers(0, 9999), st.floats(0.01, 0.9), st.floats(0.01, 0.9), st.sampled_from([0.003, 0.05]))
@settings(max_examples=settings().max_examples * 2 // 5)
def test_a_larger_share_never_raises_later(seed: int, one: float, other: float, sigma: float) -> None:
    """Path by path, a larger share fires at the same value or before."""
    values, (low, high) = exponential(seed, 2000, 250.0, sigma), sorted((one, other))
    assert first(Returns(high), values) <= first(Returns(low), values)


@pytest.mark.parametrize("cut", [1, 19, 639, 640, 1279, 1280, 1300, 2559, 2560])
def test_resumed_between_merges(cut: int) -> None:
    """Saved before, at and after a merge, it goes on with blocks of the same width."""
    values = exponential(2, 3000, 500.0, 0.05)
    uncut, resumed = Returns(), Returns()
    for value in values[:cut]:
        uncut.push(value)
    resumed.restore(uncut.contents())
    assert list(looks(resumed, values[cut:])) == list(looks(uncut, values[cut:]))
    assert resumed.contents() == uncut.contents()


def test_a_state_that_rises() -> None:
    """Where nothing was brought, the loss worsens if it surely rises, and else nothing can be told."""
    rising = [1.0 + i / 100 for i in range(32)]
    found = judged(rising, [rising[-1]], 0.1, 20)
    assert found.verdict == "worsening"
    assert (found.gain * 1.31, found.total * 1.31) == pytest.approx(
        (-1.17 * 0.12, -0.16 * 1.17 * 0.12 + 0.035), abs=1e-5
    )
    rng = Random(1)
    rough = [1.0 + i / 3000 + rng.gauss(0, 0.1) for i in range(32)]
    assert judged(rough, [1.0], 0.1, 20).verdict == "undecided"
    assert judged([1.0] * 32, [1.0], 0.1, 20).verdict == "undecided"


@pytest.mark.parametrize(("swing", "verdict"), [(0.003, "nothing"), (0.004, "undecided")])
def test_a_state_that_brings_nothing(swing: float, verdict: str) -> None:
    """Nothing is what surely falls by less than half a percent from half to half; it is told with its figures."""
    means = [1.0 + swing * (-1) ** (i // 2) for i in range(40)]
    assert judged(means, [1.0], 0.1, 32).verdict == verdict
    assert judged(means, [1.0], 0.1, 31).verdict == "undecided"  # 1240 losses


@pytest.mark.parametrize(
    ("falls", "verdict"), [(4.9, "nothing"), (5.1, "improving"), (-4.9, "nothing"), (-5.1, "worsening")]
)
def test_half_a_percent(falls: float, verdict: str) -> None:
    """A line that falls, or rises, by less than half a percent from half to half is nothing; no more is."""
    means = [1.0 - falls / 1000 * (i - 15.5) / 16 for i in range(32)]
    assert judged(means, [max(means)], 0.1, 40).verdict == verdict


def test_half_a_percent_of_nothing() -> None:
    """A loss whose mean is 0 is not called nothing: there is nothing to compare with."""
    means = [(-1.0) ** (i // 2) for i in range(32)]
    assert judged(means, [1.0], 0.1, 40).verdict != "nothing"


def test_nothing_from_1280_losses_on() -> None:
    """A state in which nothing happens is a plateau from the 1280th loss on, and unknown before."""
    assert list(looks(Returns(), [20.0] * 1290)) == [None] * 1279 + [True] * 11


def test_lines() -> None:
    """It says what the last half brought, in which blocks; or what is missing."""
    falling, slow, rising, silent, zero = (Returns() for _ in range(5))
    assert falling.describe() == "0 of 640 losses"
    for i in range(1500):
        falling.push(1.0 + 2.0 * exp(-i / 200))
        rising.push(1.0 + i / 1500)
        silent.push(3.0)
        zero.push(0.0)
    for value in exponential(1, 700, 500.0, 0.05):
        slow.push(value)
    brought = "what the state brought"
    assert [detector.describe() for detector in (falling, slow, rising, silent, zero)] == [
        f"flat: the last half brought 3.05% to 3.58% of {brought}, in 37 blocks of 40 losses; flat under 10%",
        f"improving: the last half brought 34.2% to 37.4% of {brought}, in 35 blocks of 20 losses; flat under 10%",
        "worsening: the state has brought nothing yet, in 37 blocks of 40 losses",
        "nothing: from half to half the loss falls by less than 0.5%, in 37 blocks of 40 losses",
        "every loss is 0, in 37 blocks of 40 losses",
    ]
    assert zero.verdict() is None
    early = Returns()
    for _ in range(640):
        early.push(20.0)
    assert early.describe() == "undecided: the state has brought nothing yet, in 32 blocks of 20 losses"


def test_losses_too_large_to_sum() -> None:
    """Losses at the edge of what a float holds are averaged without overflow."""
    detector, huge = Returns(), sys.float_info.max
    for i in range(2000):
        detector.push(huge * exp(-i / 150))
    assert all(mean <= huge for mean in detector.contents()["means"])
    assert detector.verdict() is True


def test_in_a_curriculum() -> None:
    """A controller enters the next state at the very loss at which the detector fires."""
    controller = Controller(
        loads(
            """
            name = "two"
            [lr]
            peak = 1.0
            shape = "constant"
            [knob.cutoff]
            ladder = [1, 2]
            [[state]]
            name = "easy"
            set = { cutoff = 1 }
            [[state]]
            name = "hard"
            set = { cutoff = 2 }
            [[transition]]
            from = "easy"
            to = "hard"
            guards = [{ plateau = { method = "returns", share = 0.2 } }]
            """
        )
    )
    values = exponential(5, 4000, 300.0)
    decided = next(i for i, value in enumerate(values, 1) if controller.observe(value))
    assert decided == first(Returns(0.2), values)
