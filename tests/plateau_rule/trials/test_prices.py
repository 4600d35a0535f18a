"""What a step is said to take: without what first steps take, however seldom a trainer gives points."""

from __future__ import annotations

from pathlib import Path

import pytest

from plateau_rule import loads
from plateau_rule.trials.budget import TrialError
from plateau_rule.trials.prices import measure_prices
from plateau_rule.trials.trainer import Trainer
from tests.plateau_rule.trials.toy import LADDER

# By a clock of the trainer's own a step takes 4 or 16 hundredths of a second, and the first one 5 seconds more.
TRAINER = """
from plateau_rule import Controller


def train(curriculum, budget, seed):
    controller, time_s, step = Controller(curriculum), {first_s}, 0
    while (plan := controller.plan).stop is None:
        controller.observe(1.0)
        time_s, step = time_s + {step_s}, step + 1
        if step % {every} == 0 or controller.plan.stop is not None:
            yield {{"step": step, "score": 1.0, "{axis}": time_s}}
"""


def priced(
    folder: Path, every: int, step_s: str = 'plan.knobs["grid"] / 400', first_s: str = "5.0", axis: str = "time_s"
) -> tuple[tuple[float, ...], list[str]]:
    """The seconds of a step on either grid, and the names of what was trained for it."""
    (folder / "mine.py").write_text(TRAINER.format(every=every, step_s=step_s, first_s=first_s, axis=axis))
    ladder, trainer = loads(LADDER), Trainer.read(f"{folder / 'mine.py'}:train")
    (prices,) = measure_prices([(ladder, [{"grid": 16}, {"grid": 64}])], trainer, folder)
    return prices.step_s, sorted(place.name.partition("-seed")[0] for place in (folder / "cells").iterdir())


@pytest.mark.parametrize("every", [5, 50, 1000])
def test_the_first_step_is_not_in_the_price(tmp_path: Path, every: int) -> None:
    """A step has one price where points come often, seldom, or at the end alone; then longer runs are timed too."""
    step_s, trained = priced(tmp_path, every)
    assert step_s == pytest.approx((0.04, 0.16))
    runs = [""] if every == 5 else ["", "-again", "-longer"]
    assert trained == [f"{rung}{run}" for rung in ("grid-price-1", "grid-price-2") for run in runs]


def test_the_first_run_of_all_may_wait_for_the_disk(tmp_path: Path) -> None:
    """Where a first run begins more slowly than those after it, it is run again, and no step seems cheap for it."""
    step_s, _ = priced(tmp_path, 1000, first_s='5.0 if curriculum.name.endswith(("again", "longer")) else 7.0')
    assert step_s == pytest.approx((0.04, 0.16))


def test_without_a_clock_nothing_is_trained_for_longer(tmp_path: Path) -> None:
    """Points without seconds are refused after a few steps of each setting."""
    with pytest.raises(TrialError, match='have no "time_s"'):
        priced(tmp_path, 1000, axis="wall_s")
    assert len([*(tmp_path / "cells").iterdir()]) == 2


def test_a_busy_machine_makes_no_step_free(tmp_path: Path) -> None:
    """Where the longer run took less time than the short one, the mean of its steps is the price."""
    step_s, _ = priced(tmp_path, 1000, "(0.04 if curriculum.name.endswith('longer') else 1)")
    assert step_s == pytest.approx(((5 + 80 * 0.04) / 80,) * 2)
