"""The shipped curricula that know more than the training loss: the rate's floor, the price of a step, the target."""

from __future__ import annotations

from collections.abc import Callable
from math import exp
from random import Random
from typing import Any

import pytest

from plateau_rule import Controller, Decision, load

LIMITS = {"cutoff": 1025}
Loss = Callable[[int, float], float]  # of the time in the state, and of the rate as a share of its peak


def held_up(time: int, rate: float) -> float:
    """A loss that falls within 600 steps as far as the noise of a high rate lets it: 16 % lower at a tenth of it."""
    return 4.0 + exp(-time / 150) + 0.8 * rate


def driven(name: str, loss: Loss, steps: int, steps_per_epoch: int = 400) -> list[Decision]:
    """The decisions of a shipped curriculum, under a loss that depends on its own rate, with 1 % of noise."""
    controller = Controller(load(name), LIMITS, epochs=60, steps_per_epoch=steps_per_epoch)
    chance, found, entered = Random(1), list[Decision](), 0
    peak = controller.machine.peak
    for step in range(steps):
        value = loss(step - entered, controller.plan.lr / peak) * chance.gauss(1.0, 0.01)
        if (decision := controller.observe(value)) is not None:
            found.append(decision)
            entered = decision.step
    return found


def test_the_floor_of_a_rate_is_taken_for_a_plateau() -> None:
    """plateau-trend raises while the rate is high and holds the loss up: it takes the noise for the end of learning."""
    first = driven("plateau-trend", held_up, 3000, steps_per_epoch=4000)[0]
    assert first.lr_before > 0.9 * load("plateau-trend").lr.peak


def test_low_rate() -> None:
    """plateau-low-rate: a rung is left only with the rate at its floor, and soon after it got there."""
    found = driven("plateau-low-rate", held_up, 6000)
    assert [decision.knobs["cutoff"] for decision in found] == [256, 512, 1025]
    entered = 0
    for decision in found:
        assert decision.lr_before == pytest.approx(0.1 * decision.lr)
        assert 1200 <= decision.step - entered < 2000
        entered = decision.step


def test_after_decay() -> None:
    """plateau-after-decay: a plateau at the peak lets the rate fall, and one at the low rate raises and restarts it."""
    found = driven("plateau-after-decay", held_up, 7000)
    assert [decision.transition for decision in found] == ["decay", "raise"] * 3
    assert [decision.knobs["cutoff"] for decision in found if decision.raises] == [256, 512, 1025]
    peak = load("plateau-after-decay").lr.peak
    for decision in found:
        assert decision.lr_before == pytest.approx(peak if decision.transition == "decay" else 0.1 * peak)


def test_after_decay_stays_while_the_low_rate_pays() -> None:
    """plateau-after-decay: where the loss goes on falling at the low rate, the rung is not left."""
    found = driven("plateau-after-decay", lambda time, rate: 4.0 if rate == 1 else 4.0 * exp(-1e-4 * time), 6000)
    assert [decision.transition for decision in found] == ["decay"]


def test_per_cost() -> None:
    """plateau-per-cost: what is too slow at the full price, and so for plateau-trend, is worth it at a quarter."""

    def slow(time: int, rate: float) -> float:
        return 4.0 * exp(-1e-5 * time)  # 1 % in 1000 steps, 4 % for 1000 units of cost at a quarter of the price

    assert driven("plateau-per-cost", slow, 4000) == []
    assert len(driven("plateau-trend", slow, 4000)) == 3
    still = driven("plateau-per-cost", lambda time, rate: 4.0, 6000)
    assert [decision.knobs["cutoff"] for decision in still] == [256, 512, 1025]


def test_on_target() -> None:
    """plateau-on-target: three evaluations at the target without a new best raise, whatever the training loss does."""
    controller = Controller(load("plateau-on-target"), LIMITS, epochs=20, steps_per_epoch=10)
    values = iter([3.0, 2.5, 2.0, 1.999, 1.998, 1.997, *[1.5] * 14])
    found = list[Decision]()
    for step in range(200):
        scores: dict[str, Any] = {"val_bpb_target": next(values)} if step % 10 == 9 else {}
        if (decision := controller.observe(5.0 * 0.99**step, **scores)) is not None:
            found.append(decision)
    assert [(decision.epoch, decision.knobs["cutoff"]) for decision in found] == [(6, 256), (10, 512), (14, 1025)]
