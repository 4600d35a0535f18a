"""The trend detector: its levels, its line, its four answers, and which way its settings turn."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from math import inf, nan
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from plateau_rule import Controller, Curriculum, loads
from plateau_rule.controller.guards.plateau import Plateau, new_plateau
from plateau_rule.controller.guards.plateau.trend import Trend, fitted, four_valued

FLAT, IMPROVING, WORSENING = "flat", "improving", "worsening"


def noisy(seed: int, count: int, falls: float, sigma: float = 0.01) -> list[float]:
    """Losses that fall by a share of themselves at each step until half of them have come, and are flat from there."""
    rng = Random(seed)
    return [3.0 * (1.0 - falls) ** min(i, count // 2) * (1.0 + rng.gauss(0, sigma)) for i in range(count)]


def quick(max_rate: float, confidence: float = 0.99) -> Trend:
    """A trend that decides as early as it can."""
    return Trend(max_rate, confidence, min_window=80, cooldown=0)


def looks(detector: Trend, values: list[float]) -> Iterator[bool | None]:
    """The verdict after each value."""
    for value in values:
        detector.push(value)
        yield detector.verdict()


def first(detector: Trend, values: list[float]) -> float:
    """The number of values after which it fires, infinity for never."""
    return next((count for count, found in enumerate(looks(detector, values), 1) if found), inf)


def test_defaults_are_those_of_the_language() -> None:
    """What a file leaves out is what the detector takes by itself, so that what is measured of it is true of files."""
    detector, written = Trend(1e-3), new_plateau(Plateau(method="trend"), None)
    assert isinstance(written, Trend)
    assert (detector.confidence, detector.min_window, detector.cooldown) == (
        written.confidence, written.min_window, written.cooldown,
    )  # fmt: skip


def levels_by_hand(values: list[float]) -> list[list[float]]:
    """The means on each level, from the whole history."""
    blocks = []
    for start in range(0, len(values) - 4, 5):
        total = 0.0
        for value in values[start : start + 5]:
            total += value / 5
        blocks.append(total)
    levels = []
    while blocks:
        levels.append(blocks[-16:])
        blocks = [0.5 * a + 0.5 * b for a, b in zip(blocks[::2], blocks[1::2], strict=False)]
    return levels


@given(st.integers(0, 9999), st.integers(1, 1500))
@settings(max_examples=settings().max_examples * 3 // 5)
def test_levels_by_hand(seed: int, count: int) -> None:
    """Level j holds the last 16 means of blocks of 5 * 2**j values, to the bit."""
    values, detector = noisy(seed, count, 1e-3), Trend(1e-3)
    for value in values:
        detector.push(value)
    assert detector.contents()["levels"] == levels_by_hand(values)


@given(st.integers(0, 9999), st.floats(-1e-2, 1e-2), st.floats(1e-6, 1.0), st.sampled_from([1.0, -7.0, 1e-200, 1e300]))
def test_the_line_is_least_squares(seed: int, falls: float, sigma: float, scale: float) -> None:
    """Slope and error are those of scipy's regression, divided by the mean's magnitude, whatever the scale."""
    rng = Random(seed)
    means = [scale * (2.0 - falls * i + sigma * rng.gauss(0, 1)) for i in range(16)]
    found, error = fitted(means, 40, 2.5)
    line = stats.linregress(np.arange(16) * 40, np.array(means) / abs(np.mean(np.array(means) / scale)) / abs(scale))
    assert found == pytest.approx(-line.slope, rel=1e-6, abs=1e-12)
    assert error == pytest.approx(2.5 * line.stderr, rel=1e-6, abs=1e-12)


def test_a_line_without_noise() -> None:
    """Means on a line have no error, whichever way rounding leaves their residue."""
    falls, error = fitted([1.0 + i / 10 for i in range(16)], 5, 2.5)  # a residue of -2e-16
    assert falls == pytest.approx(-0.1 / 1.75 / 5)
    assert error == 0.0
    assert fitted([4.0 - i / 4 for i in range(16)], 5, 2.5)[1] == pytest.approx(0.0, abs=1e-8)


def test_lines_that_no_float_holds() -> None:
    """A mean of 0, or differences too large for a float, give an answer that is never flat."""
    assert fitted([0.0] * 16, 5, 2.5) == (0.0, inf)
    assert fitted([1.0, -1.0] * 8, 5, 2.5)[1] == inf
    huge = sys.float_info.max
    for means in ([huge, -huge] * 7 + [huge, huge], [5e-324] * 15 + [huge], [1e-300] * 15 + [-huge]):
        falls, error = fitted(means, 5, 2.5)
        assert four_valued(falls, error, 0.05) != FLAT
    assert fitted([huge] * 16, 5, 2.5) == (0.0, 0.0)
    assert fitted([5e-324] * 16, 5, 2.5)[1] in (0.0, inf)


@pytest.mark.parametrize(
    ("falls", "error", "answer"),
    [
        (0.0, 0.5, FLAT),
        (0.4, 0.5, FLAT),
        (-0.4, 0.5, FLAT),
        (0.5, 0.5, "undecided"),
        (-0.5, 0.5, "undecided"),
        (1.5, 0.5, IMPROVING),
        (1.4, 0.5, "undecided"),
        (-1.5, 0.5, WORSENING),
        (-1.4, 0.5, "undecided"),
        (0.0, inf, "undecided"),
        (nan, 0.5, "undecided"),
        (0.0, nan, "undecided"),
    ],
)
def test_four_answers(falls: float, error: float, answer: str) -> None:
    """With a bound of 1 a fall and its error are flat, improving, worsening or undecided; touching is not inside."""
    assert four_valued(falls, error, 1.0) == answer


@pytest.mark.parametrize(("min_window", "least"), [(1, 80), (80, 80), (81, 160), (200, 320), (10**6, 80 * 2**14)])
def test_min_window_rounds_up(min_window: int, least: int) -> None:
    """The shortest window that decides is the first of 80, 160, 320 ... that is no shorter than `min_window`."""
    assert Trend(1e-3, min_window=min_window, cooldown=0).knows == least


def test_cooldown() -> None:
    """The detector stays silent for all but the last of `cooldown` values, and says how far it is."""
    detector = Trend(0.01, cooldown=200)
    for count in range(1, 200):
        detector.push(1.0)
        assert detector.verdict() is None
        assert detector.describe() == f"cooldown: {count} of 200 losses"
    detector.push(1.0)
    assert detector.verdict() is True


@given(st.integers(0, 9999), st.floats(-1e-2, -1.1e-3), st.floats(0.0, 0.1))
@settings(max_examples=settings().max_examples * 2 // 5)
def test_worsening_is_never_a_plateau(seed: int, rises: float, sigma: float) -> None:
    """A loss that grows faster than the rate, or whose noise hides it, is false or unknown, never true."""
    values = noisy(seed, 1200, rises, sigma)[:600]
    assert True not in set(looks(quick(1e-3, 0.9999), values))


def test_four_lines() -> None:
    """It says what it found, over which losses, against which rate; and what is missing."""
    lines = {}
    for name, falls, sigma in ((FLAT, 0, 0.001), (IMPROVING, 2e-3, 0.001), (WORSENING, -2e-3, 0.001), ("wait", 0, 0.2)):
        detector = quick(3e-4)
        for value in noisy(3, 320, falls, sigma)[:160]:
            detector.push(value)
        lines[name] = detector.describe()
        assert detector.verdict() is {FLAT: True, "wait": None}.get(name, False)
    assert lines == {
        FLAT: "flat: falls -0.527% to 0.373% per 1000 losses, by the last 160; flat within 30%",
        IMPROVING: "improving: falls 197% to 203% per 1000 losses, by the last 80; flat within 30%",
        WORSENING: "worsening: falls -203% to -197% per 1000 losses, by the last 80; flat within 30%",
        "wait": "undecided: falls -109% to 77.1% per 1000 losses, by the last 160; flat within 30%",
    }
    assert Trend(3e-4, min_window=400, cooldown=0).describe() == "0 of 640 losses"
    early = Trend(3e-4, min_window=160, cooldown=160)
    for count in range(1, 161):
        early.push(2.0)
        assert (early.describe() == f"cooldown: {count} of 160 losses") == (count < 160)
    assert early.describe() == "flat: falls 0% to 0% per 1000 losses, by the last 160; flat within 30%"


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("times", [1.5, 2.0, 5.0, -2.0])
def test_a_long_window_does_not_hide_the_rate(times: float, sign: float) -> None:
    """A loss that falls, or rises, at 1.5, 2 or 5 times the rate for ever is never called flat, however long it is."""
    rate = 1e-3
    detector = Trend(rate)
    for step in range(60_000):  # 60 times the time constant of the rate
        detector.push(sign * (1.0 - sign * times * rate) ** step)
        if step % 80 == 79:
            assert detector.verdict() is not True, detector.describe()


def test_a_window_past_its_reach_asks_for_less() -> None:
    """L losses are flat within 4 / L at most, and that is what it says."""
    detector = Trend(0.1, min_window=640)
    for _ in range(640):
        detector.push(1.0)
    assert detector.describe() == "flat: falls 0% to 0% per 1000 losses, by the last 640; flat within 625%"


def test_noise_makes_it_wait() -> None:
    """The noisier a flat loss, the more losses it asks for, and it fires in the end."""
    firsts = [first(quick(3e-4), noisy(3, 20_000, 0.0, sigma)) for sigma in (0.001, 0.01, 0.03, 0.1)]
    assert firsts == sorted(firsts)
    assert firsts[0] == 80
    assert 250 < firsts[-1] < 5000


paths = st.tuples(st.integers(0, 9999), st.sampled_from([0.0, 5e-4, 1e-3, 3e-3]), st.sampled_from([0.003, 0.03]))


@given(paths, st.floats(1e-4, 3e-3), st.floats(1.0, 5.0))
@settings(max_examples=settings().max_examples * 2 // 5)
def test_a_larger_rate_never_raises_later(path: tuple[int, float, float], rate: float, more: float) -> None:
    """Path by path, a larger threshold fires at the same value or before."""
    values = noisy(path[0], 900, path[1], path[2])
    assert first(quick(rate * more), values) <= first(quick(rate), values)


@given(paths, st.floats(0.51, 0.999), st.floats(0.51, 0.999))
@settings(max_examples=settings().max_examples * 2 // 5)
def test_a_smaller_confidence_never_raises_later(path: tuple[int, float, float], one: float, other: float) -> None:
    """Path by path, a smaller confidence fires at the same value or before."""
    values, (low, high) = noisy(path[0], 900, path[1], path[2]), sorted((one, other))
    assert first(quick(1e-3, low), values) <= first(quick(1e-3, high), values)


@given(paths, st.integers(1, 400), st.integers(1, 400))
@settings(max_examples=settings().max_examples * 2 // 5)
def test_a_smaller_min_window_never_raises_later(path: tuple[int, float, float], one: int, other: int) -> None:
    """Path by path, a smaller `min_window` fires at the same value or before; so does a smaller `cooldown`."""
    values, (low, high) = noisy(path[0], 900, path[1], path[2]), sorted((one, other))
    assert first(Trend(1e-3, 0.99, low, 0), values) <= first(Trend(1e-3, 0.99, high, 0), values)
    assert first(Trend(1e-3, 0.99, 80, low), values) <= first(Trend(1e-3, 0.99, 80, high), values)


def test_the_rate_of_a_threshold() -> None:
    """Per window, the rate is 1.5 * 2 * threshold / window; per an amount, the threshold over its steps, exactly."""
    trend = new_plateau(Plateau(method="trend", threshold=0.005, window=50), None)
    assert isinstance(trend, Trend)
    assert trend.max_rate == 1.5 * 2.0 * 0.005 / 50
    stated = new_plateau(Plateau(method="trend", threshold=0.02, per="1000 steps"), 1000)
    assert isinstance(stated, Trend)
    assert stated.max_rate == 0.02 / 1000


FILE = """
format = 1
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
guards = [{ plateau = { method = "trend", threshold = 0.02, per = "100 steps", confidence = 0.95, cooldown = 100 } }]
"""


@pytest.mark.parametrize("method", ["trend", "sure"])
def test_a_rate_is_told_by_the_unit_of_the_file(method: str) -> None:
    """Where the file says what its threshold is measured on, a fall is told for as many losses; else for 1000."""
    spec = {"method": method, "threshold": 0.05}
    detector = new_plateau(Plateau.model_validate({**spec, "per": "100 steps"}), 100.0)
    for step in range(3200):
        detector.push(1.0 - 1e-5 * step)
    reading = detector.reading()
    assert reading.unit == "% per 100 losses"
    assert [round(bound or 0.0, 9) for bound in reading.holds] == [-5.0, 5.0]
    assert reading.value == pytest.approx(0.1, abs=0.01)
    assert "% per 100 losses, by the last" in reading.text
    assert "flat within 5%" in reading.text
    assert new_plateau(Plateau.model_validate({**spec, "per": "1 epoch"}), 1.0).reading().unit == "% per loss"
    assert new_plateau(Plateau.model_validate(spec), None).reading().unit == "% per 1000 losses"


@pytest.fixture(scope="module")
def two_states() -> Curriculum:
    """Two states with a trend between them."""
    return loads(FILE)


def test_in_a_curriculum(two_states: Curriculum) -> None:
    """A controller enters the next state at the very loss at which the detector fires, and says why."""
    values = noisy(5, 2000, 1e-3)
    controller = Controller(two_states)
    decided = next(i for i, value in enumerate(values, 1) if controller.observe(value))
    assert decided == first(Trend(0.02 / 100, 0.95, 160, 100), values)
    assert controller.plan.state == "hard"


def test_infinite_sums_stay_out(two_states: Curriculum) -> None:
    """Losses at the edge of what a float holds are averaged without overflow, saved, and found flat."""
    controller, huge = Controller(two_states), sys.float_info.max
    for _ in range(159):
        assert controller.observe(huge) is None
    Controller(two_states).load_state_dict(controller.state_dict())
    assert controller.observe(huge) is not None
