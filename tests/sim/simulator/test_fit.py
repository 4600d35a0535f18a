"""The learner is fitted to logs: to one of its own it fits well, and how well it foretells any log is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from plateau_rule.commands import app as plateau
from plateau_rule.sim.logs import Log, read
from plateau_rule.sim.simulator.fit import Fit, FitError, fit, ranges_in, sentences, table
from plateau_rule.sim.simulator.learner import PARAMETERS, Bands, Learners, Learning, Observed, ranges

PEAK = 1e-3


def logged(folder: Path, steps: int = 600, raised: int | None = 250, noise: float = 0.01) -> Log:
    """A log in our trainer's words, of a synthetic learner whose cutoff rises once, under a rate that decays twice."""
    learners = Learners.drawn(ranges(steps, PEAK), 1, seed=5).with_values(
        tau=80.0, tau_growth=1.5, beta=0.3, jump=0.8, tau_spike=20.0, sigma=noise, rho=0.0, rate_optimum=PEAK
    )
    bands = Bands((("cutoff", 128.0), ("cutoff", 256.0)), {"cutoff": 256.0})
    one, observed = Learning(learners, bands, np.array([[True], [False]])), Observed(learners)
    rows = []
    for step in range(steps):
        if step == raised:
            one.turn(np.array([0]), np.array([[True], [True]]))
        high = raised is not None and step >= raised
        since = step - (raised if high and raised is not None else 0)
        rate = PEAK * (0.2 + 0.8 * 0.5 * (1 + np.cos(np.pi * min(1.0, since / 350))))
        row: dict[str, object] = {"step": step, "epoch": step // 100, "state": "b" if high else "a", "lr": float(rate)}
        row |= {"knobs": {"cutoff": 256 if high else 128}, "loss": float(observed(one.loss())[0])}
        rows.append(json.dumps(row))
        one.learn(np.array([rate]))
    folder.mkdir(exist_ok=True)
    path = folder / "metrics.jsonl"
    path.write_text("\n".join(rows) + "\n")
    return read([str(path)])


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Fit:
    """A fit to a log of a learner."""
    return fit(logged(tmp_path_factory.mktemp("run")), "own", seen=0.8)


def test_a_learners_log_is_foretold(fitted: Fit) -> None:
    """Of a log that a learner made, little more than its noise is left, also in the part that was not shown."""
    assert fitted.error_seen < 0.012
    assert fitted.error_unseen < 0.012
    assert fitted.error_still > 0.018
    assert "foretells it well" in sentences(fitted)[-1]


def test_a_learners_parameters_are_found(fitted: Fit) -> None:
    """The time constant of the first band, the noise and the two bands' raise come out about right."""
    assert 40 < fitted.best["tau"] < 160
    assert fitted.best["sigma"] == pytest.approx(0.01, rel=0.2)
    assert 0.2 < fitted.best["jump"] < 2.0
    assert {row["name"] for row in table(fitted)} == set(fitted.best)
    assert all(low <= fitted.best[name] <= high for name, (low, high) in fitted.spread.items())


def test_a_fit_is_the_same_every_time(fitted: Fit, tmp_path: Path) -> None:
    """The search is seeded."""
    assert fit(logged(tmp_path), "own", seen=0.8) == fitted


def test_a_fit_can_be_simulated_from(fitted: Fit, tmp_path: Path) -> None:
    """What was written is read back as ranges of a learner's parameters."""
    path = tmp_path / "fit.json"
    fitted.write(path)
    found = ranges_in(path)
    assert found.keys() <= PARAMETERS.keys()
    assert {name: (low, high) for name, (low, high, _) in found.items()} == fitted.spread


def test_a_log_without_states_has_one_band(tmp_path: Path) -> None:
    """Where nothing is raised, what only a raise could tell is left open."""
    found = fit(logged(tmp_path, raised=None), "plain")
    assert {"tau", "beta", "floor", "height", "sigma"} <= found.best.keys()
    assert not {"jump", "tau_spike", "falloff"} & found.best.keys()


def test_a_log_that_is_too_short_is_refused(tmp_path: Path) -> None:
    """Too few losses, or a share that leaves nothing to foretell, are refused in words."""
    log = logged(tmp_path, steps=40, raised=None)
    with pytest.raises(FitError, match="too few"):
        fit(log, "short")
    with pytest.raises(FitError, match="leaves at least"):
        fit(logged(tmp_path, steps=100, raised=None), "short", seen=0.999)


@pytest.mark.parametrize("text", ["", "{}", '{"format": 2}', '{"format": 1, "spread": {"tau": 3}}', "[1]"])
def test_a_file_that_is_no_fit_is_refused(tmp_path: Path, text: str) -> None:
    """A file that `fit` did not write is refused, with its name."""
    path = tmp_path / "fit.json"
    path.write_text(text)
    with pytest.raises(FitError, match=r"fit\.json: not a file that `plateau fit` wrote"):
        ranges_in(path)


def test_a_real_log_is_fitted(shared_data: Callable[[str], Path]) -> None:
    """Of a real run, GPT-2 124M, the last third is foretold better than by taking the loss to stay as it was."""
    found = fit(read([str(shared_data("logs/text/llmc-gpt2-124M.main.log"))]), "gpt2")
    assert found.error_unseen < found.error_still < 0.02
    assert 0 < found.error_seen < 0.03


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`plateau fit` says how good the fit is, writes it down, and `plateau simulate` draws learners from it."""
    logged(tmp_path / "run", steps=300, raised=100)
    out = tmp_path / "fit.json"
    assert plateau.main(["fit", str(tmp_path / "run"), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "The learner" in said
    assert "tau_spike" in said
    words = ["simulate", "plateau", "--fitted", str(out), "--learners", "3", "--epochs", "4", "--steps-per-epoch", "20"]
    assert plateau.main([*words, "--workers", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["learners"] == 3
    assert plateau.main(["fit"]) == 2
