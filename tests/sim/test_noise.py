"""The noise of a log, and what it does to plateau guards."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from plateau_rule import load, loads
from plateau_rule.sim.lint import lint
from plateau_rule.sim.logs import Log, read
from plateau_rule.sim.noise import Noise, NoiseError, false_raise, noise_of, spread_of_halves, window_needed
from plateau_rule.sim.noise import _taken_by_a_line as taken_by_a_line

MakeLog = Callable[..., Log]


def ar(runs: int, count: int, sigma: float, rho: float, seed: int) -> NDArray[np.float64]:
    """AR(1) noise: runs x count."""
    random = np.random.default_rng(seed)
    fresh = random.standard_normal((runs, count)) * sigma * math.sqrt(1 - rho**2)
    fresh[:, 0] /= math.sqrt(1 - rho**2)
    for i in range(1, count):
        fresh[:, i] += rho * fresh[:, i - 1]
    return fresh


def curve_with(sigma: float, rho: float, count: int = 4000, seed: int = 0) -> NDArray[np.float64]:
    """A curve that falls from 10 to 3, with relative noise."""
    curve: NDArray[np.float64] = 3 + 7 * np.exp(-np.arange(count) / 500)
    curve *= 1 + ar(1, count, sigma, rho, seed)[0]
    return curve


# Closed forms


def test_the_closed_forms_give_the_known_figures() -> None:
    """For window 50, threshold 0.5 % and noise of 3 %: 27.8 % white and 36.1 % at rho 0.5; windows of 153 and 220."""
    assert false_raise(50, 0.005, 0.03) == pytest.approx(0.278, abs=0.0005)
    assert false_raise(50, 0.005, 0.03, 0.5) == pytest.approx(0.361, abs=0.0005)
    assert false_raise(50, 0.005, 0.01, 0.5) == pytest.approx(0.144, abs=0.0005)
    assert (window_needed(2e-4, 0.03), window_needed(2e-4, 0.03, 0.5)) == (153, 220)
    assert spread_of_halves(50, 1.0) == pytest.approx(0.283, abs=0.0005)
    assert spread_of_halves(50, 1.0, 0.5) == pytest.approx(0.470, abs=0.0005)


@given(st.integers(2, 60), st.floats(-0.8, 0.95))
@settings(max_examples=60)
def test_the_spread_is_that_of_the_covariance_matrix(window: int, rho: float) -> None:
    """The closed form equals the quadratic form over the full covariance of AR(1) noise."""
    first = window // 2
    weights = np.concatenate((np.full(first, 1 / first), np.full(window - first, -1 / (window - first))))
    covariance = rho ** np.abs(np.subtract.outer(np.arange(window), np.arange(window)))
    assert spread_of_halves(window, 1.0, rho) == pytest.approx(math.sqrt(weights @ covariance @ weights), rel=1e-6)


@pytest.mark.parametrize(("sigma", "rho"), [(0.03, 0.0), (0.03, 0.5), (0.01, 0.5)])
def test_the_probability_is_what_the_rule_does_on_simulated_losses(sigma: float, rho: float) -> None:
    """Looks at curves that fall at twice the threshold fire as often as the closed form says, within 0.02."""
    window, threshold, runs = 50, 0.005, 20_000
    slope = 2 * (2 * threshold / window)
    losses = (1 - slope * np.arange(window)) * (1 + ar(runs, window, sigma, rho, 1))
    first, second = losses[:, :25].mean(axis=1), losses[:, 25:].mean(axis=1)
    share = float(((first - second) / first < threshold).mean())
    assert share == pytest.approx(false_raise(window, threshold, sigma, rho), abs=0.02)


def test_the_window_that_is_needed_separates() -> None:
    """At the window that is advised, a fitted slope tells twice the rate from once: 1 % false, 90 % power."""
    rate, sigma, rho, runs = 2e-4, 0.03, 0.5, 4000
    window = window_needed(rate, sigma, rho)
    place = np.arange(window) - (window - 1) / 2
    noise = ar(runs, window, sigma, rho, 2)
    slopes = (noise * place).sum(axis=1) / (place**2).sum()
    bound = 2.326 / 3.61 * rate  # between the two, as their errors ask
    assert float((slopes > bound).mean()) < 0.02
    assert float((rate - slopes > bound).mean()) == pytest.approx(0.9, abs=0.03)


# Estimates


@pytest.mark.parametrize(("sigma", "rho"), [(0.01, 0.0), (0.03, 0.5), (0.05, 0.8), (0.03, -0.3)])
def test_noise_is_found_again_under_a_curve(sigma: float, rho: float) -> None:
    """Sigma within 8 % and rho within 0.05 of what a curve of 4000 losses was made with."""
    found = noise_of([(np.arange(4000), curve_with(sigma, rho))])
    assert found.sigma == pytest.approx(sigma, rel=0.08)
    assert found.rho == pytest.approx(rho, abs=0.05)
    assert (found.points, found.spacing, found.crosses_zero) == (4000, 1.0, False)
    assert found.fall_first > 10 * abs(found.fall_last)


def test_spikes_are_counted_and_do_not_pass_for_noise() -> None:
    """Three spikes in a thousand, 40 % high, are counted as spikes; sigma stays what it was."""
    losses = curve_with(0.02, 0.0)
    spiked = np.arange(100, 4000, 333)
    losses[spiked] *= 1.4
    found = noise_of([(np.arange(4000), losses)])
    assert found.spikes == len(spiked)
    assert found.spike_height == pytest.approx(0.4, abs=0.05)
    assert found.sigma == pytest.approx(0.02, rel=0.08)


def test_batches_do_not_matter(log_of: MakeLog) -> None:
    """The estimate of a log that comes in pieces is that of the whole one, and NaN are left out."""
    losses = curve_with(0.03, 0.3)
    losses[500] = math.nan
    steps = np.arange(4000)
    parts = [(steps[i : i + 123], losses[i : i + 123]) for i in range(0, 4000, 123)]
    whole, pieces = noise_of([(steps, losses)]), noise_of(parts)
    assert whole.points == pieces.points == 3999
    assert pieces.sigma == pytest.approx(whole.sigma, rel=0.02)
    assert noise_of(log_of(steps.tolist(), losses.tolist())).sigma == pytest.approx(whole.sigma, rel=0.02)


def test_a_line_takes_from_a_block_what_theory_says() -> None:
    """Of white noise, a fitted line takes two of n squares; neighbours become negatively correlated."""
    own, neighbours, rhos = taken_by_a_line(64)
    white = int(np.argmin(np.abs(rhos)))
    assert own[white] == pytest.approx(62)
    assert neighbours[white] < 0
    assert np.all(np.diff(neighbours / own) > 0)


def test_too_few_losses_are_refused() -> None:
    """Fifteen losses tell nothing about noise, and the error says how many it takes."""
    with pytest.raises(NoiseError, match=r"15 finite losses are too few .* at least 16"):
        noise_of([(np.arange(15), np.ones(15))])


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=80), st.integers(1, 40))
@settings(max_examples=80)
def test_any_losses_give_noise_or_a_refusal(losses: list[float], size: int) -> None:
    """Whatever is logged, there comes an estimate or a NoiseError, and no warning."""
    values = np.array(losses)
    parts = [(np.arange(i, i + len(values[i : i + size])), values[i : i + size]) for i in range(0, len(values), size)]
    try:
        found = noise_of(parts)
    except NoiseError:
        return
    assert found.sigma >= 0
    assert -1 <= found.rho < 1


# The lint


def noise(sigma: float, rho: float = 0.0, crosses_zero: bool = False) -> Noise:
    """Noise with these figures."""
    return Noise(1000, 1.0, sigma, rho, sigma, sigma, 0, 0.0, 0.0, 0.0, 3.0, crosses_zero)


def test_the_lint_of_the_published_rule_under_three_percent() -> None:
    """The guard of plateau.toml is warned about, with its probability, its rate, and the window that it needs."""
    (found,) = lint(load("plateau"), noise(0.03))
    assert found.warning
    assert found.path == ("guard", "flat", "plateau", "window")
    assert found.false_raise == pytest.approx(0.278, abs=0.0005)
    assert found.window_needed == 153
    assert "probability 27.8%" in str(found)
    assert "20% per 1000 steps" in str(found)
    assert "window = 153, threshold = 0.0153" in str(found)


def test_the_advice_of_the_lint_satisfies_the_lint() -> None:
    """With the window and threshold that it advises, the same noise gives no warning."""
    text = load_text().replace("window = 50, threshold = 0.005", "window = 153, threshold = 0.0153")
    (found,) = lint(loads(text), noise(0.03))
    assert not found.warning
    assert (found.false_raise or 1) < 0.01


def load_text() -> str:
    """The text of plateau.toml."""
    from plateau_rule.controller.language.reading import find

    return find("plateau").read_text()


def test_low_noise_is_no_warning() -> None:
    """At 0.3 % the published rule is fine."""
    (found,) = lint(load("plateau"), noise(0.003))
    assert not found.warning


def test_methods_that_know_noise_are_not_warned_about() -> None:
    """`trend` bounds its own errors and is told how long it needs; `returns` has no window."""
    trend = load_text().replace("window = 50, threshold = 0.005", 'window = 50, threshold = 0.005, method = "trend"')
    returns = load_text().replace("window = 50, threshold = 0.005", 'method = "returns"')
    (one,), (other,) = lint(loads(trend), noise(0.03)), lint(loads(returns), noise(0.03))
    assert not one.warning
    assert not other.warning
    assert (one.window_needed or 0) >= 80


def test_a_threshold_per_steps_is_taken_as_that_rate() -> None:
    """20 % per 1000 steps is the published threshold in other words, and gets the same lint."""
    text = load_text().replace("threshold = 0.005", 'threshold = 0.2, per = "1000 steps"')
    (found,) = lint(loads(text), noise(0.03))
    assert found.false_raise == pytest.approx(0.278, abs=0.0005)


def test_losses_on_both_sides_of_zero_are_named() -> None:
    """Where losses change sign, a relative threshold is told to mean nothing."""
    (found,) = lint(load("plateau"), noise(0.03, crosses_zero=True))
    assert found.warning
    assert "both sides of 0" in str(found)


def test_guards_on_other_metrics_and_of_other_kinds_are_left_alone() -> None:
    """Only plateaus of the logged loss are looked at."""
    text = load_text().replace('metric = "loss"', 'metric = "val_loss"')
    assert lint(loads(text), noise(0.03)) == []
    assert lint(load("fixed-epochs"), noise(0.03)) == []


def test_a_log_is_linted_by_its_path(log_of: MakeLog, tmp_path: Path) -> None:
    """`lint` takes a log, its path, or noise that was estimated before."""
    log = log_of(range(4000), curve_with(0.03, 0.0).tolist())
    (by_path,), (by_log,) = lint(load("plateau"), tmp_path / "log.jsonl"), lint(load("plateau"), log)
    assert by_path == by_log
    assert by_path.warning


def test_real_noise_is_about_what_is_known_of_it(shared_data: Callable[[str], Path]) -> None:
    """llm.c's GPT-2 124M: about 1.2 % and white; modded-nanogpt's: about 3 %."""
    llmc = noise_of(read(shared_data("logs/text/llmc-gpt2-124M.main.log")))
    muon = noise_of(read(shared_data("logs/text/modded-nanogpt-2024-10-10_Muon.log-section.txt")))
    assert llmc.sigma == pytest.approx(0.0121, abs=0.001)
    assert abs(llmc.rho) < 0.05
    assert muon.sigma == pytest.approx(0.0298, abs=0.002)
