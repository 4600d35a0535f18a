"""Detectors against a second computation from the whole history, and what is true of every one of them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from math import isfinite
from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from plateau_rule.controller.guards.detector import Detector, RunningMean
from plateau_rule.controller.guards.diverging import Diverging, Growing
from plateau_rule.controller.guards.gap import Apart
from plateau_rule.controller.guards.level import Beside, Level
from plateau_rule.controller.guards.patience import NoNewBest, Patience
from plateau_rule.controller.guards.plateau import halves
from plateau_rule.controller.guards.plateau.halves import Halves
from plateau_rule.controller.guards.plateau.returns import Returns
from plateau_rule.controller.guards.plateau.trend import Trend

LARGEST, LEAST = sys.float_info.max, 5e-324
extremes = st.sampled_from([0.0, -0.0, LEAST, -LEAST, 3 * LEAST, 2.3e-308, LARGEST, -LARGEST, 9e307, 1e300, 1e16, 1.0])
finite = st.one_of(st.floats(allow_nan=False, allow_infinity=False), extremes)
losses = st.one_of(st.floats(0.5, 4.0), st.integers(-3, 3).map(float), st.integers(0, 12).map(lambda i: i * LEAST))
streams = st.one_of(*(st.lists(kind, min_size=1, max_size=60) for kind in (losses, finite, st.one_of(losses, finite))))

MAKERS: dict[str, Callable[[], Detector]] = {
    "halves": lambda: Halves(5, 0.01),
    "halves of two": lambda: Halves(2, 0.5),
    "patience": lambda: NoNewBest(Patience(steps=4, min_delta=0.1, smooth=3)),
    "patience of one": lambda: NoNewBest(Patience(steps=1)),
    "below": lambda: Beside(Level(value=1.5, window=4), below=True),
    "above": lambda: Beside(Level(value=1.5), below=False),
    "diverging": lambda: Growing(Diverging(window=5, factor=1.25)),
    "gap": lambda: Apart(3, 0.1),
    "trend": lambda: Trend(0.01, 0.9, min_window=80, cooldown=0),
    "trend that waits": lambda: Trend(0.01, 0.9, min_window=81, cooldown=170),
    "returns": lambda: Returns(0.3),
}
each_detector = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())


def mean(values: list[float]) -> float:
    """The mean, exact and rounded once; of one value, that value with its sign."""
    return float(sum(map(Fraction, values)) / len(values)) if len(values) > 1 else values[0]


def plain_mean(values: list[float]) -> float:
    """The mean as the published rule takes it: additions in order, one division."""
    total = 0.0
    for value in values:
        total += value
    return total / len(values)


def halves_by_hand(values: list[float], window: int, threshold: float) -> bool | None:
    """The published rule on the whole history."""
    if len(values) < window:
        return None
    seen = values[-window:]
    first, second = plain_mean(seen[: window // 2]), plain_mean(seen[window // 2 :])
    if first == 0 or not (isfinite(first) and isfinite(second)):
        return None
    return (first - second) / abs(first) < threshold


class TestHalves:
    """The published rule."""

    @given(streams, st.integers(2, 9), st.sampled_from([1e-9, 0.005, 0.25, 0.5, 1.0, 3.0, 1e300]), st.integers(1, 4))
    @example([LARGEST] * 20, 5, 0.005, 1)
    @example([1.7e308, 0.9e308, 0.9e308, 1.0, 1.0, 1.0, 1.0], 3, 0.005, 1)
    @example([2 * LEAST, LEAST] * 10, 2, 0.75, 1)
    @settings(max_examples=settings().max_examples * 5 // 2)
    def test_equals_the_formula(self, values: list[float], window: int, threshold: float, every: int) -> None:
        """Whatever the values, the verdict at any look is that of the formula on sums made anew, to the bit."""
        detector = Halves(window, threshold)
        for count, value in enumerate(values, 1):
            detector.push(value)
            if count % every == 0:
                assert detector.verdict() == halves_by_hand(values[:count], window, threshold)

    @pytest.mark.parametrize("window", [2, 49, 50, 333])
    @pytest.mark.parametrize("scale", [1.0, -1e-3, 1e290, 1e-300])
    def test_long_streams(self, window: int, scale: float) -> None:
        """Over thousands of noisy losses with spikes the running sums never part from sums made anew."""
        rng, detector, values = Random(window), Halves(window, 0.005), list[float]()
        for step in range(2000):
            spike = 10.0 ** rng.uniform(0, 12) if rng.random() < 0.01 else 1.0
            values.append(scale * spike * (1.0 + rng.gauss(0, 0.01)) * 0.9999**step)
            detector.push(values[-1])
            assert detector.verdict() == halves_by_hand(values, window, 0.005)

    def test_on_the_edge(self) -> None:
        """A loss that falls at the threshold's own rate, so that only rounding decides, is decided by the formula."""
        values = [3.0 * 0.9998**step for step in range(1500)]
        measured = Halves(50, 0.005)
        for value in values[:50]:
            measured.push(value)
        threshold, verdicts = measured.improvement() or 0.0, set()
        detector = Halves(50, threshold)
        for count, value in enumerate(values, 1):
            detector.push(value)
            assert detector.verdict() == halves_by_hand(values[max(0, count - 50) : count], 50, threshold)
            verdicts.add(detector.verdict())
        assert verdicts == {None, True, False}

    def test_odd_window(self) -> None:
        """Of an odd window the first half is the shorter one, as published."""
        detector = Halves(3, 0.1)
        for value in (2.0, 1.0, 3.0):
            assert detector.improvement() is None
            detector.push(value)
        assert detector.improvement() == 0.0
        assert detector.verdict() is True

    def test_losses_too_large_to_sum(self) -> None:
        """Finite losses whose sum is infinite make it unknown, neither flat nor improving, until they have left."""
        detector = Halves(4, 0.005)
        for value in (1.6e308, 1.6e308, 1.0, 1.0):
            detector.push(value)
        assert detector.verdict() is None
        assert "too large" in detector.describe()
        detector.push(1.0)
        assert detector.verdict() is False  # 1.6e308 and 1.0 in the first half: improved by all there was
        detector.push(1.0)
        assert detector.verdict() is True

    @pytest.mark.parametrize("spike", [1e12, 1e200])
    def test_a_spike_is_soon_forgotten(self, spike: float, monkeypatch: pytest.MonkeyPatch) -> None:
        """Sums are made anew about once a window again when a spike that wipes out all digits is half through it."""
        sums: list[float] = []
        plain_sum = halves.plain_sum
        monkeypatch.setattr(halves, "plain_sum", lambda values: (sums.append(1.0), plain_sum(values))[1])  # type: ignore[func-returns-value]
        detector, rng = Halves(200, 0.005), Random(1)
        for step in range(4000):
            detector.push(spike if step == 1000 else 2.0 + rng.gauss(0, 0.1))
            detector.verdict()
            if step == 1110:
                sums.clear()
        assert 28 <= len(sums) < 80

    def test_a_loss_of_zero_is_unknown(self) -> None:
        """A first half whose mean is 0 has no relative improvement: unknown, and said so."""
        detector = Halves(4, 0.005)
        for _ in range(9):
            detector.push(0.0)
        assert detector.verdict() is None
        assert detector.describe() == "the mean of the first half is 0, or a sum is too large for a float"

    @given(st.lists(losses, min_size=8, max_size=60), st.floats(1e-6, 1.0), st.floats(1.0, 10.0))
    def test_a_larger_threshold_never_raises_later(self, values: list[float], threshold: float, more: float) -> None:
        """Path by path, whatever fires under a threshold fires under a larger one at the same value or before."""
        tight, loose = Halves(6, threshold), Halves(6, threshold * more)
        for value in values:
            tight.push(value)
            loose.push(value)
            assert loose.verdict() is True or tight.verdict() is not True


@given(streams, st.integers(1, 7))
@settings(max_examples=settings().max_examples * 6 // 5)
def test_running_mean_is_exact(values: list[float], size: int) -> None:
    """The running mean is the exact mean of its window, rounded once, whatever came before."""
    running = RunningMean(size)
    for count, value in enumerate(values, 1):
        expected = mean(values[count - size : count]) if count >= size else None
        assert running.push(value) == expected
        assert running.mean() == expected


@given(streams, st.integers(1, 4), st.integers(1, 5), st.sampled_from([0.0, LEAST, 0.1, 1.0, 1e15]))
@settings(max_examples=settings().max_examples * 6 // 5)
def test_patience_by_hand(values: list[float], smooth: int, steps: int, least: float) -> None:
    """`patience` is true when `steps` smoothed values have passed since the last one that was better by `min_delta`."""
    detector = NoNewBest(Patience(steps=steps, min_delta=least, smooth=smooth))
    for count, value in enumerate(values, 1):
        detector.push(value)
        smoothed = [mean(values[i - smooth : i]) for i in range(smooth, count + 1)]
        best, since = (smoothed[0] if smoothed else 0.0), 0
        for found in smoothed[1:]:
            best, since = (found, 0) if best - found > least else (best, since + 1)
        assert detector.verdict() == (since >= steps if smoothed else None)


@given(streams, st.integers(1, 6), st.one_of(losses, st.floats(-1e15, 1e15)), st.booleans())
@settings(max_examples=settings().max_examples * 6 // 5)
def test_below_and_above_by_hand(values: list[float], window: int, level: float, below: bool) -> None:
    """`below` and `above` compare the exact mean of the last values with the level; equal is neither."""
    detector = Beside(Level(value=level, window=window), below)
    for count, value in enumerate(values, 1):
        detector.push(value)
        if count < window:
            assert detector.verdict() is None
            continue
        now = mean(values[count - window : count])
        assert detector.verdict() == (now < level if below else now > level)


@given(streams, st.integers(2, 7), st.sampled_from([1.0000001, 1.25, 2.0]))
@settings(max_examples=settings().max_examples * 6 // 5)
def test_diverging_by_hand(values: list[float], window: int, factor: float) -> None:
    """`diverging` compares the last half window with the best one of the state, once a whole window has come."""
    detector, half = Growing(Diverging(window=window, factor=factor)), window - window // 2
    for count, value in enumerate(values, 1):
        detector.push(value)
        if count < window:
            assert detector.verdict() is None
            continue
        means = [mean(values[i - half : i]) for i in range(half, count + 1)]
        best = min(means)
        bound = best * factor if best > 0 else best - best * (factor - 1.0)
        assert detector.verdict() == (None if best == 0 else means[-1] >= bound)


@each_detector
@given(st.data())
@settings(max_examples=settings().max_examples * 3 // 20)
def test_resumed_is_uncut(make: Callable[[], Detector], data: st.DataObject) -> None:
    """Saved as JSON after any value and continued, a detector says what the uncut one says, in every word."""
    rng = Random(data.draw(st.integers(0, 9999)))
    fall = data.draw(st.sampled_from([0.0, 0.02, -0.02]))
    values = [3.0 * (1.0 - fall) ** i * (1.0 + rng.gauss(0, 0.01)) for i in range(data.draw(st.integers(1, 700)))]
    cut = data.draw(st.integers(0, len(values)))
    uncut, first, resumed = make(), make(), make()
    for value in values[:cut]:
        uncut.push(value)
        uncut.verdict()
        first.push(value)
    resumed.restore(json.loads(json.dumps(first.contents(), allow_nan=False)))
    assert resumed.contents() == first.contents()
    for value in [*values[cut:], 2.5]:
        uncut.push(value)
        resumed.push(value)
        assert (resumed.verdict(), resumed.describe()) == (uncut.verdict(), uncut.describe())
    assert resumed.contents() == uncut.contents()


@each_detector
@given(st.one_of(st.lists(finite, max_size=40), st.lists(losses, max_size=40)), st.integers(1, 40))
@settings(max_examples=settings().max_examples // 4)
def test_too_early_to_say(make: Callable[[], Detector], values: list[float], times: int) -> None:
    """Before `knows` values the verdict is unknown, before `needs` it is not true; and nothing crashes it."""
    detector = make()
    assert detector.knows <= detector.needs
    assert detector.verdict() is None
    for count, value in enumerate(values * times, 1):
        detector.push(value)
        found = detector.verdict()
        assert found is None or count >= detector.knows
        assert found is not True or count >= detector.needs
        assert "\n" not in detector.describe()
        assert len(detector.describe()) < 160
    json.dumps(detector.contents(), allow_nan=False)


@each_detector
def test_no_later_than_said(make: Callable[[], Detector]) -> None:
    """`knows` and `needs` are no lower than they must be: some streams are decided, and fire, at just that value."""
    known, fired = 10**6, 10**6
    for values in ([9.0] * 20 + [1.0] * 700, [1.0] * 720, [1.0] * 3 + [9.0] * 700, [1.0, *[9.0] * 700]):
        detector = make()
        for count, value in enumerate(values, 1):
            detector.push(value)
            if detector.verdict() is not None:
                known = min(known, count)
            if detector.verdict() is True:
                fired = min(fired, count)
    assert (known, fired) == (make().knows, make().needs)


@each_detector
def test_contents_stay_small(make: Callable[[], Detector]) -> None:
    """What a detector keeps stops growing, or grows with the logarithm of the values: under 6 kB after 20,000."""
    detector, rng = make(), Random(0)
    for _ in range(20_000):
        detector.push(3.0 + rng.gauss(0, 0.1))
    assert len(json.dumps(detector.contents())) < 6000


RETURNED = {"seen": 40, "open": [], "pending": [1.0, 1.0], "highest": [1.0, 1.0], "means": [1.0, 1.0]}


@pytest.mark.parametrize(
    ("make", "contents", "sentence"),
    [
        (MAKERS["halves"], [1.0] * 6, "6 values for a window of 5"),
        (MAKERS["below"], [1.0] * 5, "5 values for a window of 4"),
        (MAKERS["patience"], {"values": [1.0] * 4, "best": 1.0, "since": 0}, "4 values for a window of 3"),
        (MAKERS["patience"], {"values": [1.0]}, "'best'"),
        (
            MAKERS["diverging"],
            {"values": ["one"], "best": None, "count": 1},
            "could not convert string to float: 'one'",
        ),
        (
            MAKERS["trend"],
            {"seen": 10, "open": 0.0, "levels": [[1.0]]},
            "levels of [1] means; 10 values make [2, 1]",
        ),
        (
            MAKERS["trend"],
            {"seen": 400, "open": 0.0, "levels": [[1.0] * 17, [1.0], [], [], [], [], []]},
            "levels of [17, 1, 0, 0, 0, 0, 0] means; 400 values make [16, 16, 16, 10, 5, 2, 1]",
        ),
        (MAKERS["trend"], {"seen": -1, "open": 0.0, "levels": []}, "levels of [] means; -1 values make [-1]"),
        (MAKERS["trend"], {"seen": 10, "levels": [[1.0, 1.0], [1.0]]}, "'open'"),
        (MAKERS["returns"], RETURNED | {"means": [1.0]}, "1 means and 0 losses; 40 values make 2 and 0"),
        (MAKERS["returns"], RETURNED | {"open": [1.0]}, "2 means and 1 losses; 40 values make 2 and 0"),
        (MAKERS["returns"], RETURNED | {"seen": 39}, "2 means and 0 losses; 39 values make 1 and 19"),
        (MAKERS["returns"], RETURNED | {"highest": [1.0]}, "2 and 1 levels; 40 values make 2"),
        (MAKERS["returns"], RETURNED | {"pending": []}, "0 and 2 levels; 40 values make 2"),
        (
            MAKERS["returns"],
            RETURNED | {"seen": 1280, "means": [1.0] * 64},
            "64 means and 0 losses; 1280 values make 32 and 0",
        ),
        (MAKERS["returns"], RETURNED | {"seen": -1, "means": []}, "0 means and 0 losses; -1 values make -1 and 19"),
        (
            MAKERS["returns"],
            RETURNED | {"open": None},
            "'NoneType' object is not iterable",
        ),
    ],
)
def test_contents_that_do_not_fit(make: Callable[[], Detector], contents: object, sentence: str) -> None:
    """Contents that no such detector could have are refused, not carried on with."""
    with pytest.raises((ValueError, TypeError, KeyError)) as error:
        make().restore(contents)
    assert str(error.value) == sentence


def test_touching_is_neither_below_nor_above() -> None:
    """A mean that equals the value is not below it, and not above it."""
    for below in (True, False):
        detector = Beside(Level(value=2.0, window=2), below)
        for value in (1.0, 3.0):
            detector.push(value)
        assert detector.verdict() is False


def test_contents_that_just_fit() -> None:
    """As many values as a window holds are restored."""
    for make, size in ((MAKERS["halves"], 5), (MAKERS["below"], 4)):
        detector = make()
        detector.restore([1.0] * size)
        assert detector.contents() == [1.0] * size
    growing = MAKERS["diverging"]()
    for _ in range(9):
        growing.push(1.0)
    assert growing.contents() == {"values": [1.0] * 3, "best": 1.0, "count": 5}


def test_a_forgetful_detector_is_seen() -> None:
    """Canary: a detector that forgets one value when it is saved does not pass for the uncut one."""
    uncut, resumed = Halves(4, 0.01), Halves(4, 0.01)
    for value in (4.0, 3.0, 2.0, 1.0):
        uncut.push(value)
    resumed.restore(uncut.contents()[1:])
    assert resumed.verdict() != uncut.verdict()


@pytest.mark.parametrize(
    ("make", "lines"),
    [
        (
            lambda: Halves(4, 0.01),
            {1: "1 of 4 losses", 4: "improved by 33.33 % over 4 losses, flat under 1 %"},
        ),
        (
            lambda: NoNewBest(Patience(steps=3, smooth=2, min_delta=1.0)),
            {1: "1 of 2 values to smooth over", 4: "no new best for 1 values, patience 3; best 3.25"},
        ),
        (
            lambda: Beside(Level(metric="val_loss", value=3.5, window=2), below=True),
            {1: "1 of 2 values of val_loss", 2: "val_loss 4.5, below 3.5 needed"},
        ),
        (
            lambda: Beside(Level(value=1 / 3), below=False),
            {0: "0 of 1 values of loss", 3: "loss 2.5, above 0.333333 needed"},
        ),
        (
            lambda: Growing(Diverging(window=2, factor=1.5)),
            {
                1: "1 of 2 values of loss",
                2: "loss 4, diverging from 6 on; best 4",
                4: "loss 3.5, diverging from 3.75 on; best 2.5",
            },
        ),
        (lambda: Growing(Diverging(metric="val_loss", window=6)), {4: "4 of 6 values of val_loss"}),
        (
            lambda: Apart(2, 0.25),
            {3: "3 of 4 values", 4: "4.5, then 3, 1.5 apart; at most 0.25 needed"},
        ),
    ],
)
def test_lines(make: Callable[[], Detector], lines: dict[int, str]) -> None:
    """A detector says its value, its threshold and, where it is unknown, why."""
    detector = make()
    for count, value in enumerate([None, 5.0, 4.0, 2.5, 3.5]):
        if value is not None:
            detector.push(value)
        if count in lines:
            assert detector.describe() == lines[count]


def test_the_best_of_zero_has_no_multiple() -> None:
    """`diverging` stays unknown while its best mean is 0, and says so."""
    detector = Growing(Diverging(window=2, factor=1.5))
    for value in (0.0, 0.0, 5.0):
        detector.push(value)
    assert detector.verdict() is None
    assert detector.describe() == "the best mean is 0"


def test_monotone_helper_sees_a_fall() -> None:
    """Canary: the comparison that the direction tests rest on does tell a later raise from an earlier one."""
    firsts = []
    for threshold in (0.5, 0.001):
        detector, first = Halves(4, threshold), None
        for count, value in enumerate([8.0, 6.0, 5.0, 4.5, 4.4, 4.4, 4.4, 4.4, 4.4], 1):
            detector.push(value)
            first = count if first is None and detector.verdict() else first
        firsts.append(first or 10**6)
    assert all(early < late for early, late in pairwise(firsts))
