"""Settings are measured on a log's course with fresh noise: false raises, misses and delay, and the best of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from plateau_rule import CurriculumError, load, loads
from plateau_rule.commands import app as plateau
from plateau_rule.controller.binding import Binding
from plateau_rule.sim.logs import Log, read
from plateau_rule.sim.simulator.tune import COPIES, TuneError, course, measure, over, tune, with_settings

RULE = """
name = "rule"
[run]
epochs = 30
steps_per_epoch = 100
[lr]
peak = 1.0
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
guards = [{ plateau = { window = 50, threshold = 0.005 } }]
actions = ["lr_restart"]
"""
RATE = 2 * 0.005 / 50


def logged(folder: Path, steps: int = 1500, sigma: float = 0.03) -> Log:
    """A log that falls at five times the rate for 700 steps, and is flat from there."""
    rng = np.random.default_rng(3)
    clean = 5.0 * np.exp(-5 * RATE * np.minimum(np.arange(steps), 700))
    rows = [
        json.dumps({"step": i, "loss": float(loss)})
        for i, loss in enumerate(clean * (1 + sigma * rng.standard_normal(steps)))
    ]
    path = folder / "log.jsonl"
    path.write_text("\n".join(rows) + "\n")
    return read([str(path)])


def test_a_log_is_taken_apart(tmp_path: Path) -> None:
    """Copies follow the log's course with noise of its strength; it is flat from about where the log was."""
    found = course(logged(tmp_path), RATE, seed=0)
    assert found.losses.shape == (COPIES, 1500)
    assert found.flattens
    assert found.ready == pytest.approx(700, abs=60)
    assert found.losses[:, 300].std() / found.losses[:, 300].mean() == pytest.approx(0.03, rel=0.2)
    assert found.improving[:600].all()
    assert not found.improving[760:].any()


def test_the_original_settings_raise_falsely_and_longer_windows_do_not(tmp_path: Path) -> None:
    """Window 50 under 3 % noise fires while the loss falls; window 300 waits until it is flat, and a bit more."""
    courses, binding = [course(logged(tmp_path), RATE, seed=0)], Binding()
    short = measure(loads(RULE), courses, binding, workers=1)
    long = measure(with_settings(loads(RULE), {"window": 300, "threshold": 0.03}), courses, binding, workers=1)
    assert short.false > 0.7
    assert long.false < 0.05
    assert long.missed == 0
    assert long.delay is not None
    assert 0 < long.delay < 300


def test_a_raise_that_never_comes_is_a_miss(tmp_path: Path) -> None:
    """Settings that no copy fulfils are counted as missed, and have no delay."""
    found = measure(
        with_settings(loads(RULE), {"window": 1501}), [course(logged(tmp_path), RATE, 0)], Binding(), workers=1
    )
    assert (found.false, found.missed, found.delay) == (0.0, 1.0, None)


def test_settings_reach_every_plateau() -> None:
    """Settings go into named guards, and into guards inside others; what does not fit is refused."""
    nested = RULE.replace("{ plateau = { window = 50, threshold = 0.005 } }",
                          '{ any = ["flat", { not = { plateau = { window = 9 } } }] }')  # fmt: skip
    nested += "[guard.flat]\nplateau = { window = 50 }\n"
    found = with_settings(loads(nested), {"window": 77})
    assert found.guard["flat"].value.window == 77
    assert found.transition[0].guards[0].value[1].value.value.window == 77  # type: ignore[union-attr]
    with pytest.raises(CurriculumError):
        with_settings(loads(RULE), {"confidence": 0.9})


def test_ranges_are_read() -> None:
    """NAME=LOW..HIGH names a key of the plateau; anything else is refused with the names there are."""
    found = over(["window=50..800", "threshold=0.001..0.02"])
    assert [(one.name, one.low, one.high, one.whole) for one in found] == [
        ("window", 50, 800, True),
        ("threshold", 0.001, 0.02, False),
    ]
    for word in ("window", "window=50", "window=9..3", "windw=1..2", "metric=1..2", "window=a..b", "window=0..9"):
        with pytest.raises(TuneError, match=r"expected NAME=LOW\.\.HIGH.*window"):
            over([word])


def test_a_log_that_is_too_short_is_refused(tmp_path: Path) -> None:
    """A log of a few hundred losses is refused in words."""
    with pytest.raises(TuneError, match="too few to tune on"):
        course(logged(tmp_path, steps=300), RATE, seed=0)


def test_optuna_finds_a_front(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With Optuna the settings that nothing beats are marked, and they raise less falsely than those as written."""
    pytest.importorskip("optuna", reason="Optuna is not installed: pip install 'plateau-rule[tune]'")
    settings = over(["window=50..600", "threshold=0.005..0.05"])
    found = tune(loads(RULE), [logged(tmp_path)], settings, trials=12, workers=1)
    best = [one for one in found[1:] if one.best]
    assert best
    assert min(one.false for one in best) < found[0].false
    for one in best:
        assert not any(
            two.false < one.false and (two.delay or 0) < (one.delay or 0) and not two.missed for two in found[1:]
        )
    with pytest.raises(TuneError, match="nothing to tune"):
        tune(loads(RULE), [logged(tmp_path)], [], workers=1)
    with pytest.raises(TuneError, match="asks for no plateau"):
        tune(load("fixed-epochs"), [logged(tmp_path)], settings, workers=1)
    (tmp_path / "rule.toml").write_text(RULE)
    words = ["tune", str(tmp_path / "rule.toml"), "--log", str(tmp_path / "log.jsonl"), "--over", "window=50..600"]
    assert plateau.main([*words, "--trials", "3", "--workers", "1", "--plot", str(tmp_path / "front.svg")]) == 0
    assert "as written" in capsys.readouterr().out
    assert (tmp_path / "front.svg").stat().st_size > 1000


def test_without_optuna_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                           capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    """Where Optuna is missing, one sentence says what to install."""
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    logged(tmp_path)
    assert plateau.main(["tune", "plateau", "--log", str(tmp_path / "log.jsonl"), "--over", "window=50..600"]) == 2
    assert "plateau-rule[tune]: pip install 'optuna>=" in capsys.readouterr().err
    assert plateau.main(["tune", "plateau", "--over", "window=50..600"]) == 2
    assert "name a log" in capsys.readouterr().err
