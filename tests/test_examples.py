"""The programs in examples/ that are loops of one's own, cut short; whole they are run by `make examples`."""

from __future__ import annotations

import importlib
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from plateau_rule import Curriculum, bind, load, loads, require_sound
from tests.conftest import ROOT

EXAMPLES = ROOT / "examples"
TWO_GRIDS = """
name = "two-grids"
run  = { cost = 6, cost_per_step = [1] }
lr   = { peak = 2e-3, shape = "constant" }
knob = { grid = { ladder = [64, 128], cost = [0.5, 1] } }
state = [{ name = "coarse", set = { grid = 64 } }, { name = "fine", set = { grid = 128 } }]
transition = [{ from = "coarse", to = "fine", guards = [{ dwell = "2 cost" }], actions = ["lr_restart"] }]
"""


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Imports a program as it is imported when it is run: from its folder."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return importlib.import_module


@pytest.fixture(scope="module")
def two_grids() -> Curriculum:
    return loads(TWO_GRIDS)


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.toml")), ids=lambda path: path.name)
def test_curricula_are_sound(path: Path) -> None:
    """Every curriculum beside a program passes `plateau check`."""
    require_sound(bind(load(path)))


def test_waves_obey_the_equation(example: Any) -> None:
    """The exact solution is where steps through time by Runge and Kutta's method lead."""
    burgers = example("burgers")
    before, after = (waves.astype(float) for waves in burgers.make_waves(2, 3))
    k = 2j * np.pi * np.arange(burgers.FULL // 2 + 1)
    steps = 1000
    decay = np.exp(burgers.VISCOSITY * k**2 / (2 * steps))  # of half a step

    def push(wave: Any) -> Any:
        return -0.5 * k * np.fft.rfft(np.fft.irfft(wave) ** 2) / steps

    wave = np.fft.rfft(before)
    for _ in range(steps):
        a = push(wave)
        b = push(decay * (wave + a / 2))
        c = push(decay * wave + b / 2)
        d = push(decay * (decay * wave + c))
        wave = decay**2 * (wave + a / 6) + decay * (b + c) / 3 + d / 6
    np.testing.assert_allclose(np.fft.irfft(wave), after, atol=1e-5)


def test_operator_trains_on_the_grid_that_is_asked_for(example: Any, two_grids: Curriculum, tmp_path: Path) -> None:
    """The curve ends at the budget, on the finer grid; a second training from the same seed is the same."""
    pytest.importorskip("torch")
    operator, burgers = example("fourier_operator"), example("burgers")
    curve = operator.train(two_grids, budget=None, seed=1)
    again = operator.train(two_grids, budget=None, seed=1)
    assert [{**point, "time_s": 0} for point in curve] == [{**point, "time_s": 0} for point in again]
    assert (curve[0]["grid"], curve[-1]["grid"]) == (64, 128)
    assert (curve[-1]["step"], curve[-1]["cost"]) == (8, 6)
    assert burgers.draw({"ladder": curve}, tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_a_ladder_may_watch_the_error_on_the_full_grid(example: Any) -> None:
    """`error` comes with each point of the curve: a guard on it that is true at once raises at the first."""
    pytest.importorskip("torch")
    watching = loads("""
name = "watching"
run  = { epochs = 1, steps_per_epoch = 40 }
lr   = { peak = 2e-3, shape = "constant" }
knob = { grid = { ladder = [64, 128] } }
metric = { error = { at = "eval" } }
state = [{ name = "coarse", set = { grid = 64 } }, { name = "fine", set = { grid = 128 } }]
transition = [{ from = "coarse", to = "fine", at = "eval", guards = [{ below = { metric = "error", value = 100 } }] }]
""")
    curve = example("fourier_operator").train(watching, budget=None, seed=1)
    assert [point["grid"] for point in curve[:3]] == [64, 128, 128]


def test_modes_are_a_knob_and_steps_can_be_priced(example: Any, two_grids: Curriculum) -> None:
    """A run of a few epochs has points to price a step by; its score is by the modes in force."""
    pytest.importorskip("torch")
    operator = example("fourier_operator")
    few, all_of_them = (
        loads(f"""
name = "modes"
run  = {{ epochs = 2, steps_per_epoch = 2 }}
lr   = {{ peak = 2e-3, shape = "constant" }}
knob = {{ grid = {{ ladder = [64] }}, modes = {{ ladder = [4, 16] }} }}
state = [{{ name = "only", set = {{ grid = 64, modes = {modes} }} }}]
""")
        for modes in (4, 16)
    )
    curve = operator.train(few, budget=None, seed=1)
    assert [point["step"] for point in curve] == [1, 2, 3, 4]
    assert all(b["time_s"] > a["time_s"] for a, b in pairwise(curve))
    assert curve[-1]["score"] != operator.train(all_of_them, budget=None, seed=1)[-1]["score"]


def test_flows_obey_the_equation(example: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """In two dimensions, too, the exact solution is where small steps through time lead."""
    pytest.importorskip("torch")
    operator = example("fourier_operator_2d")
    monkeypatch.setattr(operator, "FULL", 32)
    monkeypatch.setattr(operator, "VISCOSITY", 0.05)  # smooth enough for so few points
    flow, after = (flows.astype(float) for flows in operator.make_flows(1, 3))
    points, steps = (operator.FULL, operator.FULL), 250
    k = 2j * np.pi * np.fft.fftfreq(points[0], 1 / points[0])[:, None], 2j * np.pi * np.arange(points[0] // 2 + 1)[None]

    def push(flow: Any) -> Any:
        spectrum = np.fft.rfft2(flow)
        along = [np.fft.irfft2(spectrum * each, points) for each in k]
        moved = sum(flow[:, place, None] * each for place, each in enumerate(along))
        return (operator.VISCOSITY * np.fft.irfft2(spectrum * (k[0] ** 2 + k[1] ** 2), points) - moved) * 0.5 / steps

    for _ in range(steps):
        a = push(flow)
        b = push(flow + a / 2)
        c = push(flow + b / 2)
        flow = flow + (a + 2 * b + 2 * c + push(flow + c)) / 6
    np.testing.assert_allclose(flow, after, atol=1e-3)


def test_operator_in_two_dimensions_has_both_knobs(example: Any) -> None:
    """A ladder of grids and of modes is followed to its end, within its budget; the same again from the same seed."""
    pytest.importorskip("torch")
    operator = example("fourier_operator_2d")
    ladder = loads("""
name = "both"
run  = { cost = 3, cost_per_step = [1] }
lr   = { peak = 2e-3, shape = "constant" }
knob = { grid = { ladder = [16, 32], cost = [0.5, 1] }, modes = { ladder = [4, 8] } }
state = [{ name = "coarse", set = { grid = 16, modes = 4 } }, { name = "fine", set = { grid = 32, modes = 8 } }]
transition = [{ from = "coarse", to = "fine", guards = [{ dwell = "1 cost" }], actions = ["lr_restart"] }]
""")
    one, other = ([{**point, "time_s": 0} for point in operator.train(ladder, None, 2)] for _ in range(2))
    assert one == other
    assert [point["grid"] for point in one] == [16, 16, 32, 32]
    assert one[-1]["cost"] == 3


def test_a_grid_throughout_is_no_curriculum(example: Any) -> None:
    """The training beside the ladder has the prices and the rate of full-grid.toml, and one grid."""
    held, full = example("burgers").held_at(64), load(EXAMPLES / "full-grid.toml")
    assert bind(held).states[0].knobs == {"grid": 64}
    assert (held.lr, held.knob, held.run) == (full.lr, full.knob, full.run)


def test_cart_pole_steps_back_twice_at_most(example: Any, tmp_path: Path) -> None:
    """The run of docs/examples.md, to its third gale: no more retreats; the same again from the same seed."""
    pytest.importorskip("matplotlib")
    cart = example("cart_pole")
    rows = cart.train(steps=150, seed=0)
    gusts = [gust for _, gust in rows]
    assert [gust for gust, _ in groupby(gusts)] == [0, 10, 15, 10, 15, 10, 15]
    assert rows[:20] == cart.train(steps=20, seed=0)
    assert cart.main(tmp_path, steps=15).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(("error", "word"), [(0.5, "lower with"), (1.0, "about the same"), (2.0, "higher with")])
def test_verdict_fits_what_came_out(example: Any, error: float, word: str) -> None:
    """A ladder that loses is said to."""
    burgers = example("burgers")
    point = {"step": 99, "score": 1.0, "time_s": 5.0, "grid": 512}
    assert word in burgers.verdict([point | {"score": error}], [point])
