"""Transformers' schedulers against the curricula that their arguments become: the rate of every step."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from math import ceil, cos, pi
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plateau_rule import Controller, loads
from plateau_rule.sim.schedules import ScheduleError, import_schedule

Share = Callable[[int], float]  # of the peak, on a step


def imported(arguments: dict[str, Any], steps_per_epoch: int | None = None) -> str:
    """The curriculum that TrainingArguments become."""
    content = json.dumps(arguments).encode()
    text, report = import_schedule(content, "args.json", steps_per_epoch=steps_per_epoch)
    assert not report.broken
    return text


def rates(text: str, **run: Any) -> list[float]:
    """The rate of every step of a run."""
    controller, found = Controller(loads(text), **run), []
    while (plan := controller.plan).stop is None:
        found.append(plan.lr)
        controller.observe(1.0)
    return found


# What the library's documentation says of each schedule, written afresh: N steps in all, W of them a warm-up.


def rise(step: int, warm: int) -> float:
    """A line from 0 to 1."""
    return step / warm


def half_wave(part: float) -> float:
    """From 1 to 0 along half a cosine."""
    return (1 + cos(pi * part)) / 2


def onto(floor: float, share: float) -> float:
    """A share of what is above a floor."""
    return floor + (1 - floor) * share


def linear(n: int, w: int) -> Share:
    """A line from the peak to 0 at step N."""
    return lambda i: rise(i, w) if i < w else (n - i) / (n - w)


def steady(w: int) -> Share:
    """The peak, after the warm-up."""
    return lambda i: rise(i, w) if i < w else 1.0


def cosine(n: int, w: int, waves: float = 0.5, floor: float = 0.0) -> Share:
    """Half a wave, or less of one, to a floor."""
    return lambda i: rise(i, w) if i < w else onto(floor, half_wave(2 * waves * (i - w) / (n - w)))


def restarts(n: int, w: int, cycles: int) -> Share:
    """Equal cycles, each half a wave."""
    return lambda i: rise(i, w) if i < w else half_wave((i - w) * cycles % (n - w) / (n - w))


def polynomial(n: int, w: int, peak: float, end: float) -> Share:
    """A line from the peak to a rate above 0."""
    return lambda i: rise(i, w) if i < w else onto(end / peak, (n - i) / (n - w))


def ahead(n: int, w: int, floor: float, start: float | None) -> Share:
    """A warm-up whose last step has the peak, and a cosine whose last step has the floor."""

    def share(i: int) -> float:
        if i < w:
            return (i + 1) / w if start is None else onto(start, i / (w - 1))
        return onto(floor, half_wave((i - w + 1) / (n - w)))

    return share


def stable(w: int, s: int, d: int, floor: float, fall: Callable[[float], float]) -> Share:
    """Up from the floor, s steps at the peak, d steps down, and on at the floor."""

    def share(i: int) -> float:
        if i < w:
            return onto(floor, rise(i, w))
        return 1.0 if i < w + s else onto(floor, fall((i - w - s) / d)) if i < w + s + d else floor

    return share


N, W = 1200, 100
LENGTH = {"max_steps": N, "warmup_steps": W, "learning_rate": 3e-4}
CASES: dict[str, tuple[dict[str, Any], Share]] = {
    "linear": ({"lr_scheduler_type": "linear"}, linear(N, W)),
    "by default": ({}, linear(N, W)),
    "cosine": ({"lr_scheduler_type": "cosine"}, cosine(N, W)),
    "part of a wave": ({"lr_scheduler_type": "cosine", "lr_scheduler_kwargs": {"num_cycles": 0.4}}, cosine(N, W, 0.4)),
    "restarts": (
        {"lr_scheduler_type": "cosine_with_restarts", "lr_scheduler_kwargs": {"num_cycles": 4}}, restarts(N, W, 4),
    ),
    "one restart": ({"lr_scheduler_type": "cosine_with_restarts"}, cosine(N, W)),
    "polynomial": ({"lr_scheduler_type": "polynomial"}, polynomial(N, W, 3e-4, 1e-7)),
    "polynomial to": (
        {"lr_scheduler_type": "polynomial", "lr_scheduler_kwargs": {"lr_end": 1e-5}}, polynomial(N, W, 3e-4, 1e-5),
    ),
    "constant": ({"lr_scheduler_type": "constant"}, lambda i: 1.0),
    "constant, warm": ({"lr_scheduler_type": "constant_with_warmup"}, steady(W)),
    "min_lr": (
        {"lr_scheduler_type": "cosine_with_min_lr", "lr_scheduler_kwargs": {"min_lr": 3e-5}}, cosine(N, W, floor=0.1),
    ),
    "min_lr_rate": (
        {"lr_scheduler_type": "cosine_with_min_lr", "lr_scheduler_kwargs": {"min_lr_rate": 0.2}},
        cosine(N, W, floor=0.2),
    ),
    "a step ahead": (
        {"lr_scheduler_type": "cosine_warmup_with_min_lr", "lr_scheduler_kwargs": {"min_lr_rate": 0.1}},
        ahead(N, W, 0.1, None),
    ),
    "a step ahead, from": (
        {
            "lr_scheduler_type": "cosine_warmup_with_min_lr",
            "lr_scheduler_kwargs": {"min_lr": 3e-6, "warmup_lr_rate": 0.05},
        },
        ahead(N, W, 0.01, 0.05),
    ),
    "wsd": (
        {"lr_scheduler_type": "warmup_stable_decay", "lr_scheduler_kwargs": {"num_decay_steps": 300}},
        stable(W, N - W - 300, 300, 0.0, half_wave),
    ),
    "wsd, a line": (
        {
            "lr_scheduler_type": "warmup_stable_decay",
            "lr_scheduler_kwargs": {"num_decay_steps": 300, "decay_type": "linear", "min_lr_ratio": 0.1},
        },
        stable(W, N - W - 300, 300, 0.1, lambda part: 1 - part),
    ),
    "wsd, stable": (
        {
            "lr_scheduler_type": "warmup_stable_decay",
            "lr_scheduler_kwargs": {"num_decay_steps": 300, "num_stable_steps": 500, "min_lr_ratio": 0.1},
        },
        stable(W, 500, 300, 0.1, half_wave),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_every_rate(case: str) -> None:
    """The rate of every step is that of the library's scheduler."""
    arguments, share = CASES[case]
    found = rates(imported(LENGTH | arguments))
    assert found == pytest.approx([3e-4 * share(i) for i in range(N)], rel=1e-12, abs=3e-4 * 1e-12)
    assert len(found) == N


@pytest.mark.filterwarnings("ignore:Both num_training_steps and num_stable_steps")
@pytest.mark.parametrize("case", CASES)
def test_the_formulas_are_the_librarys(case: str) -> None:
    """Where Transformers is installed, its schedulers have the rates that the formulas of this file have."""
    optimization: Any = pytest.importorskip("transformers.optimization")
    torch: Any = pytest.importorskip("torch")
    arguments, share = CASES[case]
    if arguments.get("lr_scheduler_type", "linear") not in {str(kind.value) for kind in optimization.SchedulerType}:
        pytest.skip("this release does not have it")
    optimizer: Any = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=3e-4)
    scheduler = optimization.get_scheduler(
        arguments.get("lr_scheduler_type", "linear"), optimizer, W, N, arguments.get("lr_scheduler_kwargs")
    )
    for i in range(N):
        assert optimizer.param_groups[0]["lr"] == pytest.approx(3e-4 * share(i), rel=1e-9, abs=1e-15), i
        optimizer.step()
        scheduler.step()


@given(
    st.sampled_from(["linear", "cosine", "constant_with_warmup"]),
    st.integers(2, 300),
    st.floats(0, 0.9),
    st.floats(1e-8, 10.0),
)
def test_any_length(kind: str, total: int, ratio: float, peak: float) -> None:
    """For every length, every share of warm-up and every peak, each rate is that of the scheduler."""
    arguments = {"lr_scheduler_type": kind, "max_steps": total, "warmup_ratio": ratio, "learning_rate": peak}
    warm = ceil(total * ratio)
    shares = {"linear": linear(total, warm), "cosine": cosine(total, warm), "constant_with_warmup": steady(warm)}
    share = shares[kind]
    found = rates(imported(arguments))
    assert found == pytest.approx([peak * share(i) for i in range(total)], rel=1e-12, abs=peak * 1e-12)


def test_a_warmup_longer_than_the_run() -> None:
    """The rate rises to the end, as it does there."""
    found = rates(imported(LENGTH | {"warmup_steps": 5000}))
    assert found == pytest.approx([3e-4 * i / 5000 for i in range(N)], rel=1e-12)


@pytest.mark.parametrize("epochs", [2.0, 2.5])
def test_epochs(epochs: float) -> None:
    """Epochs become steps by --steps-per-epoch, a part of one rounded up, as the library does."""
    arguments = {"num_train_epochs": epochs, "warmup_ratio": 0.07, "lr_scheduler_type": "cosine"}
    total = ceil(epochs * 101)
    found = rates(imported(arguments, steps_per_epoch=101))
    share = cosine(total, ceil(total * 0.07))
    assert found == pytest.approx([5e-5 * share(i) for i in range(total)], rel=1e-12, abs=1e-17)


def test_epochs_without_their_steps() -> None:
    """Without --steps-per-epoch a share stays a share, and whoever binds the curriculum says how long an epoch is."""
    text = imported({"num_train_epochs": 3.0, "warmup_ratio": 0.03, "lr_scheduler_type": "cosine"})
    assert 'warmup      = "0.03 run"' in text
    share = cosine(3000, 90)
    found = rates(text, steps_per_epoch=1000)
    assert found == pytest.approx([5e-5 * share(i) for i in range(3000)], rel=1e-12, abs=1e-17)


def refused(arguments: dict[str, Any]) -> str:
    """What is said of arguments that cannot become a curriculum."""
    with pytest.raises(ScheduleError) as error:
        import_schedule(json.dumps(LENGTH | arguments).encode(), "args.json")
    assert "\n" not in str(error.value)
    return str(error.value)


REFUSED: Sequence[tuple[dict[str, Any], str]] = [
    ({"lr_scheduler_type": "inverse_sqrt"}, "lr_scheduler_type: inverse_sqrt has no word"),
    ({"lr_scheduler_type": "reduce_lr_on_plateau"}, "docs/coming-from.md"),
    ({"lr_scheduler_type": "greedy"}, "has no word"),
    ({"lr_scheduler_type": "cosin"}, 'Did you mean "cosine"?'),
    ({"lr_scheduler_type": "cosine", "lr_scheduler_kwargs": {"num_cycles": 1.5}}, "num_cycles: 1.5 has no word"),
    ({"lr_scheduler_type": "cosine", "lr_scheduler_kwargs": {"min_lr": 1e-6}}, "which cosine does not take"),
    ({"lr_scheduler_type": "cosine", "lr_scheduler_kwargs": "[1]"}, "lr_scheduler_kwargs is no table"),
    ({"lr_scheduler_type": "cosine_with_restarts", "lr_scheduler_kwargs": {"num_cycles": 7}}, "whole cycles"),
    ({"lr_scheduler_type": "polynomial", "lr_scheduler_kwargs": {"power": 2.0}}, "power: 2.0 has no word"),
    ({"lr_scheduler_type": "polynomial", "learning_rate": 1e-8}, "is not below the peak 1e-08"),
    ({"lr_scheduler_type": "cosine_with_min_lr"}, "neither min_lr nor min_lr_rate"),
    ({"lr_scheduler_type": "cosine_warmup_with_min_lr", "warmup_steps": 0,
      "lr_scheduler_kwargs": {"min_lr_rate": 0.1}}, "a warm-up of 0 steps"),
    ({"lr_scheduler_type": "warmup_stable_decay"}, "without num_decay_steps"),
    ({"lr_scheduler_type": "warmup_stable_decay",
      "lr_scheduler_kwargs": {"num_decay_steps": 9, "decay_type": "1-sqrt"}}, "decay_type: 1-sqrt has no word"),
    ({"lr_scheduler_type": "warmup_stable_decay",
      "lr_scheduler_kwargs": {"num_decay_steps": 9, "warmup_type": "cosine"}}, "warmup_type: cosine has no word"),
    ({"lr_scheduler_type": "warmup_stable_decay", "lr_scheduler_kwargs": {"num_decay_steps": 1150}}, "longer than the"),
    ({"warmup_ratio": 0.1}, "are both given"),
    ({"warmup_steps": 0, "warmup_ratio": 3}, "is no share of a run"),
    ({"learning_rate": "fast"}, "learning_rate: fast is not a number"),
    ({"learning_rate": 0}, "is no rate"),
    ({"max_steps": -1, "num_train_epochs": 2.5}, "--steps-per-epoch"),
    ({"max_steps": -1, "num_train_epochs": 0}, "is no length of a run"),
    ({"max_steps": -1, "lr_scheduler_type": "warmup_stable_decay", "lr_scheduler_kwargs": {"num_decay_steps": 9}},
     "Say them with --steps-per-epoch"),
    ({"lr_schedular_type": "cosine"}, 'Did you mean "lr_scheduler_type"?'),
    ({"lr": 1e-4}, "arguments of two trainers"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "said"), REFUSED)
def test_what_is_refused(arguments: dict[str, Any], said: str) -> None:
    """What has no word, or does not fit together, is said in one line that names the argument."""
    assert said in refused(arguments)


def test_what_is_said_in_the_head() -> None:
    """The head names source and verdict; each line names its argument, and a default is said to be one."""
    text = imported({"max_steps": 100, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 8})
    head, _, rest = text.partition("format = 1")
    assert "Imported from args.json, arguments of Transformers" in head
    assert "plateau check: nothing broken." in head
    assert "32 samples on each device" in head
    assert "# max_steps: 100" in rest
    assert "# Transformers' default: linear" in rest
    warm = imported({"max_steps": 100, "warmup_steps": 10, "lr_scheduler_type": "constant"})
    assert "no effect on lr_scheduler_type constant" in warm
