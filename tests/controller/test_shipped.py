"""Each shipped curriculum does what its comment says, driven by losses made for it."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from math import exp, nan
from random import Random
from typing import Any

import pytest

from plateau_rule import BindingWarning, Controller, Decision, Plan, load
from plateau_rule.controller.language.reading import shipped

LIMITS: dict[str, float | None] = {
    "cutoff": 1025,
    "seq_len": 1024,
    "modes": 16,
    "kernel_taps": 128,
    "image_size": 300,
    "dropout": 1.0,
    "augmentation": 30,
    "teacher_forcing": 1.0,
    "wall_height": 8.0,
    "mix": None,  # its values are no numbers
}
Loss = Callable[[int], float]


def limits_of(name: str) -> dict[str, float | None]:
    """The limits of the knobs that a shipped curriculum turns."""
    return {knob: LIMITS[knob] for knob in load(name).knob}


def driven(controller: Controller, loss: Loss, steps: int | None = None) -> list[Decision]:
    """The decisions on the way through the run, or its first steps; the loss is a function of the time in the state."""
    found, entered = [], 0
    for step in range(steps if steps is not None else controller.total_steps or 0):
        if (decision := controller.observe(loss(step - entered))) is not None:
            found.append(decision)
            entered = decision.step
    return found


def noise(seed: int = 1) -> Iterator[float]:
    """Evenly distributed numbers between -1 and 1, the same on every run."""
    while True:
        seed = seed * 1103515245 + 12345 & 0x7FFFFFFF
        yield seed / 0x40000000 - 1


@pytest.mark.parametrize("name", shipped())
def test_says_what_it_is(name: str) -> None:
    """Each file names the schema, then says in comments when to use it, what it does and where it comes from."""
    lines = shipped()[name].read_text(encoding="utf-8").splitlines()
    about = [line for line in lines[1 : lines.index("format      = 1")] if line.startswith("# ")]
    assert lines[0].startswith("#:schema")
    assert about[0].startswith("# When to use it: ")
    assert about[-1].startswith("# Where it comes from: ")
    assert 3 <= len(about) <= 4
    assert load(name).name == name
    assert load(name).description.endswith(".")


@pytest.mark.parametrize("name", shipped())
def test_fits(name: str) -> None:
    """Each can be bound to the trainer's limits and run with its own run length, without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", BindingWarning)
        controller = Controller(load(name), limits_of(name))
    assert controller.total_steps == (70_000 if name == "sgdr" else 50_000)
    assert controller.plan.step == 0


@pytest.mark.parametrize("name", shipped())
def test_runs_to_its_end(name: str) -> None:
    """Under a loss that falls and flattens in every state, and a score that is high, each comes to its last state."""
    curriculum = load(name)
    controller = Controller(curriculum, limits_of(name), epochs=40, steps_per_epoch=100)
    scores: dict[str, Any] = {metric: 0.9 if said.goal == "max" else 4.0 for metric, said in curriculum.metric.items()}
    bumps, decisions, entered = noise(), list[Decision](), 0
    for step in range(4000):
        if controller.plan.stop is None:
            loss = 4 + exp(-(step - entered) / 40) + 1e-3 * next(bumps)
            if (decision := controller.observe(loss, **(scores if step % 100 == 99 else {}))) is not None:
                decisions.append(decision)
                entered = decision.step
    names = [state.name for state in curriculum.state]
    assert [decision.to_state for decision in decisions if decision.to_state != decision.from_state] == names[1:]
    stay_or_fall = ("sequence-length", "mixture", "plateau-after-decay")
    assert all(decision.raises for decision in decisions if curriculum.knob and name not in stay_or_fall)


@pytest.mark.parametrize("name", shipped())
def test_snapshots_are_small(name: str) -> None:
    """With its windows full of losses of 17 digits, a snapshot is under 8 KB of JSON."""
    controller, rng = Controller(load(name), limits_of(name)), Random(0)
    for step in range(3000):
        controller.observe(3.0 + rng.gauss(0.0, 0.1), val_loss=3.0 + rng.gauss(0.0, 0.1))
        if step % 499 == 0 or step > 2990:
            assert len(json.dumps(controller.state_dict())) < 8000


def test_plateau() -> None:
    """plateau: looked at when an epoch closes, from epoch 2 on, it raises on a flat loss and restarts the rate."""
    controller = Controller(load("plateau"), limits_of("plateau"))
    decisions = driven(controller, lambda time: 5.0, 6000)
    assert [(d.step, d.epoch, d.knobs["cutoff"]) for d in decisions] == [
        (2000, 2, 256),
        (3000, 3, 512),
        (4000, 4, 1025),
    ]
    assert all(d.lr == 2e-4 > d.lr_before for d in decisions)
    improving = Controller(load("plateau"), limits_of("plateau"))
    assert driven(improving, lambda time: 5.0 * 0.9997**time, 6000) == []


def test_plateau_trend() -> None:
    """plateau-trend: it raises when the loss is flat, and not while it improves by 4 % in 1000 steps under noise."""
    bumps = noise()

    def noisy(slope: float) -> list[Decision]:
        controller = Controller(load("plateau-trend"), limits_of("plateau-trend"))
        return driven(controller, lambda time: 5.0 * (1 - slope * time / 1000) * (1 + 0.05 * next(bumps)), 3000)

    assert noisy(0.04) == []
    flat = noisy(0.0)
    assert flat
    assert flat[0].step >= 200
    assert flat[0].lr == 2e-4


def stretched(tau: float) -> Loss:
    """A loss that falls from 5 to 3, by a factor of e in tau steps."""
    return lambda time: 3.0 + 2.0 * exp(-time / tau)


def test_plateau_returns() -> None:
    """plateau-returns: it raises where the last half of the time brought under a tenth, also on a stretched curve."""
    steps = []
    for stretch in (200.0, 400.0, 800.0):
        controller = Controller(load("plateau-returns"), limits_of("plateau-returns"))
        decisions = driven(controller, stretched(stretch), 9000)
        steps.append(decisions[0].step / stretch)
    assert steps == pytest.approx([steps[0]] * 3, rel=0.1)
    assert 3 < steps[0] < 8  # exp(-x) - exp(-2x) = (1 - exp(-2x)) / 10 at x = 2.2, half of the time


def test_patience() -> None:
    """patience: no smoothed loss 0.01 below the best for 50 steps, and two raises from 128 bins to all."""
    controller = Controller(load("patience"), limits_of("patience"))
    decisions = driven(controller, lambda time: max(5.0 - 0.01 * time, 4.0), 1000)
    assert [d.knobs["cutoff"] for d in decisions] == [512, 1025]
    # The loss stops falling at time 100, the mean of 10 at 109; the last new best, by 0.01, comes a little before that.
    assert 150 < decisions[0].step < 162
    assert decisions[0].lr == 2e-4


def test_fixed_epochs_and_misaligned() -> None:
    """fixed-epochs raises at the peak of a cycle, at least twice; misaligned raises into a rate that has decayed."""
    good = driven(Controller(load("fixed-epochs"), limits_of("fixed-epochs")), lambda time: 5.0, 12000)
    bad = driven(Controller(load("misaligned"), limits_of("misaligned")), lambda time: 5.0, 12000)
    assert [d.epoch for d in good] == [d.epoch for d in bad] == [2, 5, 10]
    assert [d.lr for d in good[:2]] == [2e-4, 2e-4]
    assert bad[0].lr < 0.75 * 2e-4


def test_taps() -> None:
    """taps: 16 taps, then twice as many after each fifth of the run, under the cosine of `full`."""
    controller = Controller(load("taps"), limits_of("taps"), epochs=10, steps_per_epoch=100)
    beside = Controller(load("full"), limits_of("full"), epochs=10, steps_per_epoch=100)
    decisions: list[Decision] = []
    for step in range(1000):
        assert controller.plan.lr == beside.plan.lr
        beside.observe(5.0)
        decisions += filter(None, [controller.observe(1e9 if step % 2 else 5.0)])
    assert [(d.step, d.knobs["kernel_taps"]) for d in decisions] == [(200, 32), (400, 64), (600, 128)]
    assert decisions[0].knobs_before["kernel_taps"] == 16


def test_loss_gap() -> None:
    """loss-gap: one more mode when the means of two epochs differ by at most 0.001, up or down; the rate goes on."""
    controller = Controller(load("loss-gap"), limits_of("loss-gap"), epochs=30, steps_per_epoch=10)
    means = [9.0, 8.0, 7.0, 7.0009, 5.0, 4.0, 3.9992, 3.0, 2.0]
    decisions = [controller.observe(mean + bump) for mean in means for bump in (-0.5, 0.5) * 5]
    taken = [(d.step, d.knobs["modes"]) for d in decisions if d is not None]
    assert taken == [(40, 3), (70, 4)]
    assert all(d.lr < d.lr_before for d in decisions if d is not None)


def test_loss_gap_forgets() -> None:
    """loss-gap: both epochs must lie in one state, so there is at most one raise in two epochs."""
    controller = Controller(load("loss-gap"), limits_of("loss-gap"), epochs=30, steps_per_epoch=10)
    assert [d.step for d in driven(controller, lambda time: 5.0)] == [20, 40, 60, 80, 100, 120]


def test_sequence_length() -> None:
    """sequence-length: from 64 to full over the first fifth of the run, in multiples of 8, never falling."""
    controller = Controller(load("sequence-length"), limits_of("sequence-length"), epochs=10, steps_per_epoch=100)
    lengths = []
    for _ in range(400):
        lengths.append(controller.plan.knobs["seq_len"])
        controller.observe(5.0)
    assert lengths[0] == 64
    assert lengths[200:] == [1024] * 200
    assert lengths == sorted(lengths)
    assert all(isinstance(length, int) and length % 8 == 0 for length in lengths)
    assert lengths[100] == (64 + 1024) // 2
    assert controller.plan.state == "full"


def test_two_knobs_with_retreat() -> None:
    """two-knobs-with-retreat: a state lasts 0.15 of the run; two retreats at half the rate, and no third one."""
    controller = Controller(
        load("two-knobs-with-retreat"), limits_of("two-knobs-with-retreat"), epochs=10, steps_per_epoch=100
    )
    found = []
    for step in range(1000):
        in_full = controller.plan.state == "full"
        decision = controller.observe(nan if in_full and step % 30 > 24 else 5.0 - 0.01 * (step % 100))
        if decision is not None:
            found.append((decision.transition, decision.from_state, decision.to_state))
            if decision.transition == "retreat":
                names = [request.name for request in controller.plan.requests]
                assert names == ["rollback"]
    assert found[:4] == [
        ("timeout", a, b) for a, b in (("short", "medium"), ("medium", "finer"), ("finer", "long"), ("long", "full"))
    ]
    assert [way for way, _, _ in found[4:]] == ["retreat", "timeout", "retreat", "timeout"]
    assert controller.plan.state == "full"
    assert controller.plan.knobs == {"cutoff": 1025, "seq_len": 1024}
    assert controller.plan.lr <= 2e-4 / 4


def test_half_rate_on_raise() -> None:
    """half-rate-on-raise: each raise restarts the rate at half of the peak before."""
    controller = Controller(load("half-rate-on-raise"), limits_of("half-rate-on-raise"))
    decisions = driven(controller, lambda time: 5.0, 6000)
    assert [d.lr for d in decisions] == [1e-4, 5e-5, 2.5e-5]


def planned(controller: Controller, losses: Loss, every: int = 1, **scores: Loss) -> list[Plan]:
    """The plan of every step; the loss depends on the step, and so do the scores of an evaluation every few steps."""
    plans: list[Plan] = []
    while (plan := controller.plan).stop is None:
        plans.append(plan)
        evaluated: dict[str, Any] = {name: score(plan.step) for name, score in scores.items()}
        controller.observe(losses(plan.step), **(evaluated if (plan.step + 1) % every == 0 else {}))
    return plans


def test_image_size() -> None:
    """image-size: size, dropout and augmentation rise together after each quarter of the run, under one cosine."""
    controller = Controller(load("image-size"), limits_of("image-size"), epochs=40, steps_per_epoch=10)
    plans = planned(controller, lambda step: 5.0 if step % 2 else 1e9)
    values = [tuple(plan.knobs[name] for name in ("image_size", "dropout", "augmentation")) for plan in plans]
    stages = [(128, 0.1, 5), (184, 0.17, 8), (240, 0.23, 12), (300, 0.3, 15)]
    assert values == [stage for stage in stages for _ in range(100)]
    assert plans[0].lr < plans[9].lr < plans[10].lr == 1e-3  # the warm-up is an epoch
    assert [plan.lr for plan in plans[10:]] == sorted((plan.lr for plan in plans[10:]), reverse=True)


def test_teacher_forcing() -> None:
    """teacher-forcing: from true tokens alone to a quarter of them over the first half of the run, never rising."""
    controller = Controller(load("teacher-forcing"), limits_of("teacher-forcing"), epochs=10, steps_per_epoch=100)
    shares = [float(plan.knobs["teacher_forcing"]) for plan in planned(controller, lambda step: 5.0)]
    assert shares[0] == 1.0
    assert shares[250] == pytest.approx((1 + 0.25) / 2)
    assert shares[500:] == [0.25] * 500
    assert shares == sorted(shares, reverse=True)


def test_mixture() -> None:
    """mixture: after 0.8 of the run the weights of the sources change, and nothing rises, falls or restarts."""
    controller = Controller(load("mixture"), limits_of("mixture"), epochs=10, steps_per_epoch=100)
    plans = planned(controller, lambda step: 5.0)
    mixes = [plan.knobs["mix"] for plan in plans]
    assert mixes[:800] == [{"web": 0.7, "code": 0.15, "papers": 0.1, "books": 0.05}] * 800
    assert mixes[800:] == [{"web": 0.4, "code": 0.3, "papers": 0.2, "books": 0.1}] * 200
    assert all(sum(dict(mix).values()) == pytest.approx(1) for mix in (mixes[0], mixes[-1]))
    assert 0.99 < plans[800].lr / plans[799].lr < 1


def test_reduce_on_plateau() -> None:
    """reduce-on-plateau: a fifth of the rate after five bad evaluations, and the end of the run after twenty."""
    controller = Controller(load("reduce-on-plateau"), epochs=50, steps_per_epoch=10)
    plans = planned(controller, lambda step: 5.0, every=10, val_loss=lambda step: max(3.0, 4.0 - step / 100))
    rates = [plan.lr for plan in plans[::10]]
    # The last new best is that of epoch 10, so every fifth epoch after it reduces, and the twentieth ends the run.
    expected = [1e-3] * 16 + [2e-4] * 5 + [4e-5] * 5 + [8e-6] * 5
    assert rates == pytest.approx(expected)
    assert controller.plan.stop == "no new best in twenty evaluations"


def test_reduce_on_plateau_keeps_the_best() -> None:
    """reduce-on-plateau: a loss that improves again only beyond its best of long ago makes the count start over."""
    controller = Controller(load("reduce-on-plateau"), epochs=50, steps_per_epoch=10)
    values = [4.0, *[4.2] * 5, *[4.1] * 4, 3.9, *[4.0] * 39]
    plans = planned(controller, lambda step: 5.0, every=10, val_loss=lambda step: values[step // 10])
    rates = [plan.lr for plan in plans[::10]]
    # 4.1 after the reduction is better than 4.2, and no new best; 3.9 at epoch 10 is one.
    assert rates[5:17] == pytest.approx([1e-3] + [2e-4] * 10 + [4e-5])


def test_sgdr() -> None:
    """sgdr: the rate is at its peak at epochs 0, 10 and 30, half of it in the middle of each cycle, low at the end."""
    plans = planned(Controller(load("sgdr"), epochs=70, steps_per_epoch=10), lambda step: 5.0)
    for first, last in ((0, 100), (100, 300), (300, 700)):
        assert plans[first].lr == 0.05
        assert plans[(first + last) // 2].lr == pytest.approx(0.025)
        assert plans[last - 1].lr < 0.001 * 0.05


@pytest.mark.parametrize(("flat_from", "begins"), [(800, range(801, 1300)), (3000, range(2700, 2701))])
def test_decay_on_plateau(flat_from: int, begins: range) -> None:
    """decay-on-plateau: the rate falls to 0 and the run ends once the loss is flat, or in its last tenth."""
    controller, bumps = Controller(load("decay-on-plateau"), epochs=10, steps_per_epoch=300), noise()
    plans = planned(controller, lambda step: 5.0 - 0.001 * min(step, flat_from) + 0.01 * next(bumps))
    began, rates = next(plan.step for plan in plans if plan.state == "decay"), [plan.lr for plan in plans]
    assert began in begins
    assert rates[500 : began + 1] == [1e-3] * (began - 499)
    assert rates[began:] == pytest.approx([1e-3 * (1 - step / 300) for step in range(300)])
    assert controller.plan.stop is not None


def test_reward() -> None:
    """reward: a lesson ends at a mean above 0.8; if that falls by a fifth in the last one, back one, twice at most."""
    controller = Controller(load("reward"), limits_of("reward"), epochs=20, steps_per_epoch=1000)
    found, entered = list[tuple[str, float, float]](), 0
    while (plan := controller.plan).stop is None:
        assert controller.observe(5.0) is None  # nothing is looked at without an evaluation
        reward = 0.95 - 1e-4 * (plan.step - entered) if plan.state == "high" else 0.9
        if plan.step % 100 == 99 and (decision := controller.evaluated(reward=reward)) is not None:
            found.append((decision.transition, float(decision.knobs["wall_height"]), decision.lr))
            entered = decision.step
    assert found == [("pass", 3.0, 3e-4), ("pass", 4.0, 3e-4), *[("retreat", 3.0, 3e-4), ("pass", 4.0, 3e-4)] * 2]


def test_full() -> None:
    """full: everything from the first step on, and one cosine to a twentieth of the peak."""
    controller = Controller(load("full"), limits_of("full"), epochs=2, steps_per_epoch=50)
    assert controller.plan.knobs == {"cutoff": 1025}
    assert controller.plan.lr == 2e-4
    assert driven(controller, lambda time: 5.0) == []
    assert controller.plan.lr == pytest.approx(1e-5)
    assert controller.plan.stop is not None


def test_clamped_by_a_small_trainer() -> None:
    """A trainer with 300 bins gets 128, 256 and 300: two states become one, with a warning that names them."""
    with pytest.warns(BindingWarning, match='"full".*"spelling"'):
        controller = Controller(load("plateau"), {"cutoff": 300})
    decisions = driven(controller, lambda time: 5.0, 6000)
    assert [d.knobs["cutoff"] for d in decisions] == [256, 300]
