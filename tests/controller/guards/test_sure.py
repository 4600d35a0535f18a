"""The sure detector: its blocks and lines, its shares of alpha, its answers, and that interruptions change nothing."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from math import inf
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from plateau_rule import bind, loads
from plateau_rule.controller.guards.plateau import Plateau, new_plateau
from plateau_rule.controller.guards.plateau.blocks import trimmed
from plateau_rule.controller.guards.plateau.roughness import inflation_of, roughness
from plateau_rule.controller.guards.plateau.student import quantile, quantile_above
from plateau_rule.controller.guards.plateau.sure import (
    FALL,
    FASTEST,
    HOP,
    KEPT,
    RISE,
    Sure,
    lines_through,
    share_of,
    undone,
    windows_of,
)


def noisy(seed: int, count: int, falls: float, sigma: float = 0.01) -> list[float]:
    """Losses that fall by a share of themselves at each step."""
    rng = Random(seed)
    return [3.0 * (1.0 - falls) ** i * (1.0 + rng.gauss(0, sigma)) for i in range(count)]


def looks(detector: Sure, values: list[float]) -> Iterator[bool | None]:
    """The verdict after each value."""
    for value in values:
        detector.push(value)
        yield detector.verdict()


def first(detector: Sure, values: list[float]) -> float:
    """The number of values after which it fires, infinity for never."""
    return next((count for count, found in enumerate(looks(detector, values), 1) if found), inf)


def test_defaults_are_those_of_the_language() -> None:
    """What a file leaves out is what the detector takes by itself."""
    detector, written = Sure(1e-3), new_plateau(Plateau(method="sure"), None)
    assert isinstance(written, Sure)
    assert (detector.alpha, detector.min_window) == (written.alpha, written.min_window)


def test_the_shares_of_all_looks_add_up_to_alpha() -> None:
    """Over every window and every look of a long life the shares stay below alpha, and come near it."""
    detector, spent = Sure(3e-4, 0.05), 0.0
    for level, sizes in enumerate(detector.windows):
        for size in sizes:
            for count in range(HOP, 400_000 >> level, HOP):
                if count >= size:
                    spent += share_of(detector.window_alpha, size, (count // size).bit_length() - 1)
    assert 0.9 * 0.05 < spent < 0.05


@pytest.mark.parametrize("freedom", [2, 10, 14, 22, 30])
@pytest.mark.parametrize("share", [0.25, 0.01, 1e-5, 1e-12, 1e-40])
def test_quantiles_of_small_shares(share: float, freedom: int) -> None:
    """Student's quantiles are scipy's, also where 1 - share is 1, and agree with those of a confidence."""
    found = quantile_above(share, freedom)
    assert found == pytest.approx(stats.t.isf(share, freedom), rel=1e-9)
    if share > 1e-6:
        assert found == pytest.approx(quantile(1.0 - share, freedom), rel=1e-8)


def test_a_share_without_quantile_is_refused() -> None:
    """A share of 0 or above a quarter, and an odd freedom, are named."""
    for share, freedom in ((0.0, 10), (0.3, 10), (0.1, 9)):
        with pytest.raises(ValueError, match="expected"):
            quantile_above(share, freedom)


def test_blocks_leave_out_what_sticks_out() -> None:
    """The 4 lowest and 4 highest of 20 losses do not matter, however large; nothing overflows."""
    assert trimmed([1e300] * 4 + [-1e300] * 4 + [2.0] * 12) == pytest.approx(2.0)
    assert trimmed([sys.float_info.max] * 20) == pytest.approx(sys.float_info.max)


@given(st.integers(0, 9999), st.floats(-1e-3, 1e-3), st.floats(1e-4, 0.1))
def test_lines_are_least_squares(seed: int, falls: float, sigma: float) -> None:
    """Every window's line is that of scipy's regression; its error is no less, and the largest of three."""
    rng = np.random.default_rng(seed)
    z = (1.0 + falls * np.arange(32) + sigma * rng.standard_normal(32)).tolist()
    for size, line in zip((12, 16, 24, 32), lines_through(z, (12, 16, 24, 32), 1.0), strict=True):
        fit = stats.linregress(np.arange(size), np.array(z[:size]))
        rest = np.array(z[:size]) - fit.intercept - fit.slope * np.arange(size)
        pairs = rest.reshape(-1, 2).sum(axis=1)
        variances = [(rest**2).sum() / (size - 2), (pairs**2).sum() / 2 / (size / 2 - 2)]
        if size >= 24:
            variances.append((rest.reshape(-1, 4).sum(axis=1) ** 2).sum() / 4 / (size / 4 - 2))
        spread = size * (size * size - 1) / 12
        assert line.slope == pytest.approx(-fit.slope, rel=1e-6, abs=1e-12)  # z begins with the newest
        assert line.error == pytest.approx((max(variances) / spread) ** 0.5, rel=1e-6)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_rate_undone_leaves_a_level_line(sign: float) -> None:
    """What falls, or rises, by the rate at every loss is constant once the rate is undone, whatever its sign."""
    rate, width = 1e-3, 40
    for way in (FALL, RISE):
        change = 1.0 - rate if (way == FALL) == (sign > 0) else 1.0 + rate
        y = [sign * change ** (-width * i) for i in range(32)]  # the newest first
        z = undone(y, rate, width, way)
        assert z == pytest.approx([sign] * 32, rel=1e-12)


def test_roughness_is_blind_to_a_curve_and_never_above_1() -> None:
    """Means on a parabola have none; without a middle, or with absurd means, it is 1."""
    assert roughness(*(3.0 + i * i for i in range(5))) < 1e-28
    assert roughness(1.0, 1.0, 0.0, 1.0, 1.0) == 1.0
    huge = sys.float_info.max
    assert roughness(huge, -huge, 1e-300, -huge, huge) == 1.0


def test_inflation_is_what_the_longer_blocks_show() -> None:
    """White noise halves from level to level; what does not is taken for correlation, and never for less than 1."""
    assert inflation_of(4.0, 2.0, 1.0) == 1.0
    assert inflation_of(4.0, 4.0, 0.0) == 2.0
    assert inflation_of(4.0, 2.0, 3.0) == 3.0
    assert inflation_of(0.0, 0.0, 0.0) == 1.0
    assert inflation_of(1e-320, 1.0, 1.0) == 1e9


@given(st.floats(1e-9, 1.0), st.integers(1, 10**6))
def test_windows_reach_no_further_than_the_rate_allows(rate: float, min_window: int) -> None:
    """There is always a window; none is longer than 4 / rate, none shorter than `min_window` unless all would be."""
    rate = min(rate, FASTEST)
    lengths = [size * 20 << level for level, sizes in enumerate(windows_of(rate, min_window)) for size in sizes]
    every = [size * 20 << level for level, sizes in enumerate(windows_of(rate, 1)) for size in sizes]
    assert lengths
    assert all(rate * length <= 4.0 for length in lengths)
    assert lengths == [length for length in every if length >= min_window] or lengths == [max(every)]


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("times", [1.0, 1.25, 2.0, -1.0, -2.0])
def test_without_noise_the_rate_is_never_called_flat(times: float, sign: float) -> None:
    """A loss that falls, or rises, by the rate or more at every step is never flat, however long it is looked at."""
    rate, detector = 1e-3, Sure(1e-3)
    for step in range(40_000):
        detector.push(sign * (1.0 - sign * times * rate) ** step)
        if step % 20 == 19:
            assert detector.verdict() is not True, detector.describe()


def test_at_the_boundary_under_noise_few_are_wrong() -> None:
    """Of 40 runs of 10,000 losses that improve by the rate for ever under 3 % of noise, `trend` calls most flat."""
    from plateau_rule.controller.guards.plateau.trend import Trend

    wrong = {"sure": 0, "trend": 0}
    for seed in range(40):
        values = noisy(seed, 10_000, 3e-4, 0.03)
        wrong["sure"] += first(Sure(3e-4), values) < inf
        wrong["trend"] += first(Trend(3e-4), values) < inf  # type: ignore[arg-type]
    assert wrong["sure"] <= 5
    assert wrong["trend"] >= 15


@pytest.mark.parametrize(("sigma", "least", "most"), [(0.0, 240, 240), (0.01, 240, 400), (0.03, 240, 800)])
def test_a_constant_loss_is_called_flat(sigma: float, least: int, most: int) -> None:
    """Silence is a plateau, the sooner the less noise there is."""
    assert least <= first(Sure(3e-4), noisy(7, 4000, 0.0, sigma)) <= most


def test_a_turn_is_not_flat() -> None:
    """A loss that falls at twice the rate and then rises at twice the rate is at no time flat."""
    rate = 3e-4
    clean = [(1 - 2 * rate) ** min(i, 3000) * (1 + 2 * rate) ** max(0, i - 3000) for i in range(9000)]
    for seed in range(5):
        rng = Random(seed)
        assert first(Sure(rate), [value * (1 + rng.gauss(0, 0.01)) for value in clean]) == inf


def test_what_it_says() -> None:
    """It says what it found, over which losses, how surely, against which rate; and what is missing."""
    lines = {}
    for name, falls, sigma in (
        ("flat", 0, 0.001),
        ("improving", 2e-3, 0.001),
        ("worsening", -2e-3, 0.001),
        ("wait", 0, 0.3),
    ):
        detector = Sure(3e-4)
        for value in noisy(3, 320, falls, sigma):
            detector.push(value)
        lines[name] = detector.describe()
        assert detector.verdict() is {"flat": True, "wait": None}.get(name, False)
    assert {name: line.split(":")[0] for name, line in lines.items()} == {
        "flat": "flat", "improving": "improving", "worsening": "worsening", "wait": "undecided",
    }  # fmt: skip
    assert lines["flat"].endswith("(this look's share of 5%); flat within 30%")
    assert "per 1000 losses, by the last 320, at 99.9" in lines["flat"]
    assert Sure(3e-4).describe() == "0 of 240 losses"
    assert Sure(3e-4, min_window=10**6).describe() == (
        "0 of 10240 losses; windows of 10240 losses, not 1000000: the rate allows no longer one"
    )
    zero = Sure(3e-4)
    for _ in range(240):
        zero.push(0.0)
    assert zero.verdict() is None
    assert zero.describe() == "undecided: the losses are 0, or cancel, in the last 240"


@pytest.mark.parametrize("scale", [1e-300, 1e300, sys.float_info.max, -1.0])
def test_any_float_will_do(scale: float) -> None:
    """A constant loss is flat whatever its size and sign; nothing overflows."""
    assert first(Sure(3e-4), [scale] * 300) == 240


@given(st.integers(0, 9999), st.integers(0, 1500), st.integers(1, 400), st.sampled_from([0.0, 1e-3, -1e-3]))
@settings(max_examples=settings().max_examples // 2)
def test_interruptions_change_nothing(seed: int, before: int, after: int, falls: float) -> None:
    """Saved and restored, or copied, after any loss, it says the same of everything that follows."""
    values, one = noisy(seed, before + after, falls, 0.02), Sure(2e-3, 0.2)
    for value in values[:before]:
        one.push(value)
    other, third = Sure(2e-3, 0.2), one.copy()
    other.restore(one.contents())
    for value in values[before:]:
        for each in (one, other, third):
            each.push(value)
        assert one.verdict() is other.verdict() is third.verdict()
    assert one.describe() == other.describe() == third.describe()
    assert one.contents() == other.contents() == third.contents()


def test_contents_that_do_not_fit_are_refused() -> None:
    """Too few means, or figures of another rate, raise ValueError."""
    one = Sure(2e-3)
    for value in noisy(1, 700, 0.0):
        one.push(value)
    for changed in ({"seen": 699}, {"levels": [[1.0]] * 6}, {"rough": [1.0]}):
        with pytest.raises(ValueError, match=r"for|make"):
            Sure(2e-3).restore(one.contents() | changed)
    with pytest.raises(ValueError, match="make"):
        Sure(2e-5).restore(one.contents())


def test_memory_is_bounded() -> None:
    """After 200,000 losses it holds no more than 35 means on each of its few levels."""
    one = Sure(3e-4)
    for value in noisy(2, 200_000, 0.0):
        one.push(value)
    assert {len(means) for means in one.contents()["levels"]} == {KEPT}
    assert len(one.contents()["levels"]) == 7


@given(st.integers(0, 9999), st.sampled_from([0.0, 5e-4, 1e-3]), st.floats(0.001, 0.4), st.floats(0.001, 0.4))
@settings(max_examples=settings().max_examples * 2 // 5)
def test_a_larger_alpha_never_raises_later(seed: int, falls: float, one: float, other: float) -> None:
    """Path by path, a larger alpha fires at the same value or before."""
    values, (low, high) = noisy(seed, 1200, falls, 0.02), sorted((one, other))
    assert first(Sure(2e-3, high), values) <= first(Sure(2e-3, low), values)


FILE = """
name = "two"
[lr]
peak = 1.0
shape = "constant"
[knob.cutoff]
ladder = [1, 2]
[[state]]
name = "easy"
set = {{ cutoff = 1 }}
[[state]]
name = "hard"
set = {{ cutoff = 2 }}
[[transition]]
from = "easy"
to = "hard"
guards = [{{ plateau = {{ method = "sure", threshold = 0.3, per = "1000 steps"{more} }} }}]
"""


@pytest.mark.parametrize(
    ("more", "epoch", "needs"),
    [("", None, 240), ("", 100, 240), ("", 500, 640), (", min_window = 300", 500, 320), ("", 10**6, 10240)],
)
def test_the_least_window_is_an_epoch(more: str, epoch: int | None, needs: int) -> None:
    """Where the length of an epoch is bound, no shorter window decides, unless the file says otherwise."""
    said = {} if epoch is None else {"epochs": 3, "steps_per_epoch": epoch}
    machine = bind(loads(FILE.format(more=more)), **said)  # type: ignore[arg-type]
    ((_, detector),) = machine.stay(machine.states[0], machine.run.total_steps).detectors.values()
    assert detector.needs == needs
