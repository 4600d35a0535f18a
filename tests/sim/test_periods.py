"""Periods in losses: seen where they are, not where they are not, and what covers them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from plateau_rule import load, loads
from plateau_rule.sim.curves import NoiseModel
from plateau_rule.sim.lint import lint
from plateau_rule.sim.logs import Log
from plateau_rule.sim.noise import Noise, noise_of
from plateau_rule.sim.periods import ROOM, Period, Thinned, period_of

Floats = NDArray[np.float64]
MakeLog = Callable[..., Log]


def losses_with(swing: float, period: float, count: int = 4000, sigma: float = 0.01, seed: int = 0) -> Floats:
    """A curve from 10 to 3 with white noise and a sinusoid."""
    t = np.arange(count)
    noise = sigma * np.random.default_rng(seed).standard_normal(count)
    losses: Floats = (3 + 7 * np.exp(-t / 500)) * (1 + noise + swing * np.sin(2 * np.pi * t / period + seed))
    return losses


@pytest.mark.parametrize("period", [7.0, 61.3, 200.0, 777.0])
def test_a_period_is_seen_with_its_length_and_swing(period: float) -> None:
    """A sinusoid of the noise's size: its length to within a hundredth, its swing to within a sixth."""
    found = period_of(losses_with(0.01, period))
    assert found is not None
    assert found.losses == pytest.approx(period, rel=0.01)
    assert found.swing == pytest.approx(0.01, rel=1 / 6)
    assert found.repeats == pytest.approx(4000 / period, rel=0.01)
    assert found.window == pytest.approx(period, abs=0.02 * period + 1)
    assert found.epochs is None


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_noise_alone_has_no_period(rho: float) -> None:
    """In white and in correlated noise next to none is seen; benchmarks/periods.py asks more of them."""
    model = NoiseModel(0.03, "ar1", rho)
    deviations = model.deviations(100, 800, np.random.default_rng(11))
    assert sum(period_of(3 * np.exp(each)) is not None for each in deviations) <= 2


def test_a_walk_has_no_period() -> None:
    """Random walks, whose slow waves look like periods to the eye, are none."""
    walks = np.random.default_rng(5).standard_normal((100, 800)).cumsum(axis=1) * 0.002
    assert sum(period_of(3 * np.exp(each)) is not None for each in walks) <= 2


def test_four_repeats_are_too_few() -> None:
    """However clear it is, a wave that was seen four times may be a coincidence."""
    assert period_of(losses_with(0.05, 1000.0)) is None
    assert period_of(losses_with(0.05, 3.0, count=63)) is None


def test_an_epoch_is_known_as_one_by_its_length() -> None:
    """The same period is an epoch, or two of them, where the length of an epoch is known; then its length is exact."""
    losses = losses_with(0.02, 200.0)
    assert (found := period_of(losses, 200.0)) is not None
    assert (found.losses, found.epochs) == (200.0, 1)
    assert (found := period_of(losses, 100.0)) is not None
    assert (found.losses, found.epochs) == (200.0, 2)


def test_the_whole_is_told_from_its_part() -> None:
    """A repeat whose second wave is the strongest is still one whole repeat long."""
    t = np.arange(4000)
    wave = 0.02 * np.sin(2 * np.pi * t / 100) + 0.01 * np.sin(2 * np.pi * t / 200 + 1)
    found = period_of(losses_with(0.0, 1.0) * (1 + wave))
    assert found is not None
    assert found.losses == pytest.approx(200, rel=0.01)


def test_one_bump_is_no_period() -> None:
    """A few waves in one place of the log do not repeat through it."""
    t = np.arange(2000)
    bump = 0.1 * np.exp(-0.5 * ((t - 900) / 150) ** 2) * np.sin(2 * np.pi * t / 150)
    assert period_of(losses_with(0.0, 1.0, count=2000) * (1 + bump)) is None


def test_losses_around_zero_and_constants_have_none_or_theirs() -> None:
    """A constant has none, nor have zeros; losses below zero show theirs."""
    assert period_of(np.zeros(500)) is None
    assert period_of(np.full(500, 2.0)) is None
    assert period_of(np.round(losses_with(0.0, 1.0), 1)) is None
    found = period_of(-losses_with(0.02, 200.0))
    assert found is not None
    assert found.losses == pytest.approx(200, rel=0.01)


def test_long_logs_are_kept_as_means() -> None:
    """Of more values than there is room for, means are kept, whatever the pieces they come in; the period is theirs."""
    losses = losses_with(0.02, 1000.0, count=2 * ROOM + 5000)
    thinned = Thinned()
    for piece in np.array_split(losses, 7):
        thinned.add(piece)
    assert thinned.width == 4
    whole = len(thinned.means) * 4
    assert np.allclose(thinned.means, losses[:whole].reshape(-1, 4).mean(axis=1))
    assert (found := thinned.period()) is not None
    assert found.losses == pytest.approx(1000, rel=0.01)


def test_a_log_tells_its_epochs(log_of: MakeLog) -> None:
    """Of a log with a column of epochs, the period is known as one, in points and in steps."""
    losses = losses_with(0.03, 50.0, count=1000)
    steps = range(0, 10_000, 10)
    log = log_of(steps, losses.tolist(), epoch=[step // 500 for step in steps])
    found = noise_of(log)
    assert found.period is not None
    assert (found.period.losses, found.period.epochs) == (50.0, 1)
    assert found.told_period(found.period) == "50 losses (500 steps, an epoch)"


# What it does to guards


def noise(period: Period | None) -> Noise:
    """Little noise, with a period."""
    return Noise(4000, 1.0, 0.002, 0.0, 0.002, 0.002, 0, 0.0, 0.0, 0.0, 3.0, False, period=period)


def with_plateau(words: str) -> str:
    """plateau.toml with another plateau."""
    from plateau_rule.controller.language.reading import find

    text = find("plateau").read_text()
    assert "window = 50, threshold = 0.005" in text
    return text.replace("window = 50, threshold = 0.005", words)


def test_halves_that_hold_a_part_of_a_repeat_are_warned_about_and_the_advice_is_enough() -> None:
    """The published rule is moved by a period of 200; what is advised is not."""
    period = noise(Period(200.0, 0.02, 20.0))
    _, found = lint(load("plateau"), period)
    assert found.warning
    assert found.path == ("guard", "flat", "plateau", "window")
    assert "window = 400, threshold = 0.04" in found.remedy
    assert len(lint(loads(with_plateau("window = 400, threshold = 0.04")), period)) == 1
    assert len(lint(load("plateau"), noise(Period(200.0, 0.0005, 20.0)))) == 1  # too small to move it


@pytest.mark.parametrize("method", ["trend", "sure"])
def test_a_min_window_that_covers_the_period_is_advised_and_is_enough(method: str) -> None:
    """A window shorter than the period is warned about; with the min_window that is advised, no more."""
    words = f'method = "{method}", window = 50, threshold = 0.005'
    period = noise(Period(500.0, 0.02, 8.0))
    short = f"{words}, min_window = 240"
    _, found = lint(loads(with_plateau(short)), period)
    assert found.warning
    assert found.path == ("guard", "flat", "plateau", "min_window")
    assert "min_window = 500 covers a whole repeat" in found.remedy
    assert len(lint(loads(with_plateau(f"{words}, min_window = 500")), period)) == 1


def test_returns_has_no_window_for_a_period_to_deceive() -> None:
    """A method that looks at the whole state is not warned about."""
    assert len(lint(loads(with_plateau('method = "returns"')), noise(Period(500.0, 0.02, 8.0)))) == 1
