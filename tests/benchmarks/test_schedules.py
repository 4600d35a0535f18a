"""The schedules of benchmarks/schedules: at every step, rate and knobs are those of the published formula.

Each formula is written here from its description, in whole numbers and fractions as far as they go, and shares nothing
with the library. Long runs are shortened by changing lengths in the text of the file; a slow test takes one in full.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from itertools import count, pairwise
from math import acos, cos, isqrt, pi, sqrt
from random import Random
from typing import Any, NamedTuple

import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingWarmRestarts, LRScheduler, OneCycleLR

from plateau_rule import Controller, bind, loads, verify
from plateau_rule.controller.language.writing import formatted
from tests.conftest import ROOT

FOLDER = ROOT / "benchmarks" / "schedules"
TEXTS = {path.stem: path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.toml"))}

# What `plateau check` says of the files as they stand; of those that are not named, nothing.
FINDINGS = {
    "bert-two-phases": [("measured-later", "note")],  # phase 2 has a warm-up of its own
    "efficienttrain-pp": [("misaligned", "waived")],  # the cosine goes on through the raises, as published
    "ifno": [("may-stay", "warning")],  # a loss that keeps changing never adds a mode
    # The batch doubles within the warm-up, and the run ends before the cosine does.
    "llama3-batch": [("misaligned", "waived"), ("misaligned", "waived"), ("decay-unfinished", "note")],
}


class Asked(NamedTuple):
    """What a formula asks for on a step."""

    lr: float
    knobs: dict[str, float]


def half_cosine(share: Fraction | float) -> float:
    """From 1 to 0 as the share of the way goes from 0 to 1."""
    return 0.5 * (1.0 + cos(pi * float(share)))


def deviation(
    name: str,
    formula: Iterator[Asked],
    changes: Sequence[tuple[str, str]] = (),
    losses: Callable[[int], float] = lambda step: 1.0,
    **run: Any,
) -> float:
    """Drive the file to its end and hold each step against the formula.

    Args:
        name: of the file.
        formula: one value a step; it ends where the run does.
        changes: of the text, each of which must change something.
        losses: of a step.
        run: what the Controller is bound with.

    Returns:
        The largest relative difference of a rate.
    """
    text = TEXTS[name]
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    controller, largest, steps = Controller(loads(text), **run), 0.0, 0
    while (plan := controller.plan).stop is None:
        asked = next(formula)
        knobs = dict(plan.knobs)
        assert knobs == asked.knobs or knobs == pytest.approx(asked.knobs, rel=1e-12, abs=0.0), f"step {plan.step}"
        largest = max(largest, abs(plan.lr - asked.lr) / max(abs(asked.lr), 1e-300))
        controller.observe(losses(plan.step))
        steps += 1
    assert next(formula, None) is None
    assert steps > 100
    return largest


@pytest.mark.parametrize("name", TEXTS)
def test_check_sees_each(name: str) -> None:
    """Each file has at most 40 lines of TOML and begins with its source; nothing is broken, and findings are named."""
    assert sum(bool(line.strip()) and not line.startswith("#") for line in TEXTS[name].splitlines()) <= 40
    assert formatted(TEXTS[name]) == TEXTS[name]
    assert re.match(r"# .*\d{4}.*\n# ", TEXTS[name])
    report = verify(bind(loads(TEXTS[name])))
    assert not report.broken
    assert "not decided" not in report.answers()
    assert [(finding.code, finding.severity) for finding in report.findings] == FINDINGS.get(name, [])


def efficienttrain(full_steps: int) -> Iterator[Asked]:
    """A step at B pixels costs (B / 32) ** 2; sizes, magnitude and rate go by the share of the cost that is spent."""
    whole, spent = 49 * full_steps, 0
    while spent < whole:
        share = Fraction(spent, whole)
        size = 96 if share < Fraction(1, 5) else 160 if share < Fraction(3, 5) else 224
        rising = share < Fraction(1, 5)
        lr = 4e-3 * (float(share * 5) if rising else half_cosine((share - Fraction(1, 5)) / Fraction(4, 5)))
        yield Asked(lr, {"input_size": size, "magnitude": share * 10 // 1})
        spent += (size // 32) ** 2


def efficientnetv2(epoch_steps: int) -> Iterator[Asked]:
    """Stage i of M = 4: size and strengths are first + (last - first) * i / (M - 1); 0.97 every 2.4 epochs."""
    for step in range(350 * epoch_steps):
        stage = step * 4 // (350 * epoch_steps)
        knobs = {
            "image_size": 128 + 172 * stage // 3,
            "magnitude": 5 + 10 * stage / 3,
            "dropout": 0.1 + 0.2 * stage / 3,
        }
        since = Fraction(step, epoch_steps) - 5
        yield Asked(0.256 * (step / (5 * epoch_steps) if since < 0 else 0.97 ** (since / Fraction("2.4") // 1)), knobs)


def lengths(total: int, root: bool) -> Iterator[int]:
    """The multiple of 8 that is passed last between 64 and 1,024, or, by the root, between their squares."""
    for step in count():
        at = min(step, total)
        if root:  # (value / 8) ** 2 = 8 ** 2 + (128 ** 2 - 8 ** 2) * at / total
            yield 8 * isqrt((64 * total + (128**2 - 64) * at) // total)
        else:
            yield 8 * (8 + 120 * at // total)


def seqlen(total: int, warmup: int, tokens: int, root: bool) -> Iterator[Asked]:
    """A warm-up over steps, then a cosine of the tokens that follow, to a tenth."""
    seen, begun = 0, 0
    for step, length in enumerate(lengths(total, root)):
        if seen >= tokens:
            return
        if step < warmup:
            share, begun = step / warmup, seen + 512 * length
        else:
            share = 0.1 + 0.9 * half_cosine(Fraction(seen - begun, tokens - begun))
        yield Asked(1.5e-4 * share, {"seq_len": length})
        seen += 512 * length


def gpt3(unit: int) -> Iterator[Asked]:
    """Megatron-LM: 16 sequences more after each 95th of the ramp; a cosine of tokens to a tenth, which then stays."""
    ramp, warm, decay, tokens = 12 * unit, 375 * unit // 1000, 259_625_000_960 * unit // 10**9, 300 * unit
    seen = [0]
    while seen[-1] < tokens:
        seen.append(seen[-1] + 2048 * 16 * (1 + min(95 * seen[-1] // ramp, 95)))
    warmup = next(step for step, before in enumerate(seen) if before >= warm)
    for step, before in enumerate(seen[:-1]):
        share = Fraction(min(before - seen[warmup], decay), decay)
        lr = step / warmup if step < warmup else 0.1 + 0.9 * half_cosine(share)
        yield Asked(6e-5 * lr, {"batch_size": 16 * (1 + min(95 * before // ramp, 95))})


def llama3(second: int, tokens: int, warmup: int, steps: int) -> Iterator[Asked]:
    """The batch doubles at the first step by which so many tokens of the run were seen; the rate counts steps."""
    seen, step = 0, 0
    while seen < tokens:
        sequences, length = 2048 if seen >= second else 1024, 8192 if seen >= 252_000_000 else 4096
        share = 0.01 + 0.99 * half_cosine((step - warmup) / (steps - warmup))
        yield Asked(8e-5 * (step / warmup if step < warmup else share), {"sequences": sequences, "seq_len": length})
        seen, step = seen + sequences * length, step + 1


def seesaw() -> Iterator[Asked]:
    """A cosine is at 1 / 2 ** k after acos(2 ** (1 - k) - 1) / pi of its tokens: there the batch doubles, to 2,048."""
    tokens, seen = 3_145_728_000, 0
    cuts = [round(tokens * acos(2.0 ** (1 - k) - 1) / pi) for k in (1, 2, 3)]
    while seen < tokens:
        k = sum(seen >= cut for cut in cuts)
        yield Asked(3e-3 / sqrt(2) ** k, {"batch_size": 256 * 2**k})
        seen += 1024 * 256 * 2**k


def bert() -> Iterator[Asked]:
    """Two phases, each with a warm-up from 0 to its own peak and a straight line to 0."""
    for steps, warmup, peak, length, batch in [(7038, 2000, 6e-3, 128, 65536), (1563, 200, 4e-3, 512, 32768)]:
        for step in range(steps):
            share = Fraction(step, warmup) if step < warmup else Fraction(steps - step, steps - warmup)
            yield Asked(peak * float(share), {"seq_len": length, "batch_size": batch})


def wsd() -> Iterator[Asked]:
    """300 steps up, 8,000 at the peak, 2,000 down."""
    for step in range(10_300):
        yield Asked(1e-3 * float(min(Fraction(step, 300), Fraction(1), Fraction(10_300 - step, 2000))), {})


def sgdr(epoch_steps: int) -> Iterator[Asked]:
    """Equation 5 of the paper with a minimum of 0: half a cosine of T_cur / T_i."""
    for cycle in range(4):
        steps = 10 * 2**cycle * epoch_steps
        for step in range(steps):
            yield Asked(0.05 * half_cosine(Fraction(step, steps)), {})


def one_cycle() -> Iterator[Asked]:
    """Straight lines between (step, rate, momentum) of four corners; the last step has the smallest rate."""
    corners = [
        (0, Fraction("0.004"), Fraction("0.95")),
        (449, Fraction("0.1"), Fraction("0.85")),
        (898, Fraction("0.004"), Fraction("0.95")),
        (999, Fraction("4e-7"), Fraction("0.95")),
    ]
    for step in range(1000):
        (left, rate, momentum), (right, rate_after, momentum_after) = next(
            pair for pair in pairwise(corners) if step <= pair[1][0]
        )
        way = Fraction(step - left, right - left)
        there = float(momentum + way * (momentum_after - momentum))
        yield Asked(float(rate + way * (rate_after - rate)), {"momentum": there})


def context() -> Iterator[Asked]:
    """The table of the model's card: lengths, bases of the embedding, tokens; and sequences and steps, which agree."""
    for length, theta, tokens, sequences, steps in [
        (65536, 15.3e6, 62_914_560, 32, 30),
        (262144, 207.1e6, 100_663_296, 16, 24),
        (524288, 1.06e9, 419_430_400, 16, 50),
        (1048576, 2.80e9, 838_860_800, 16, 50),
    ]:
        assert sequences * length * steps == tokens
        yield from [Asked(2e-5, {"seq_len": length, "rope_theta": theta, "sequences": sequences})] * steps


SHORT_SEQLEN = [("20000 steps", "2000 steps"), ("3000 steps", "300 steps"), ("1.57e11", "1.57e9")]
SHORT_GPT3 = [
    ("3e11", "3e9"), ("1.2e10", "1.2e8"), ("3.75e8", "3.75e6"), ("259625000960", "2596250009"),
]  # fmt: skip
SHORT_LLAMA3 = [
    ("1.56e13", "1.56e10"), ("2869744147456", "2614147456"), ("8000 steps", "80 steps"), ("1192000", "1120"),
]  # fmt: skip
RUNS: list[tuple[str, Iterator[Asked], list[tuple[str, str]], dict[str, Any]]] = [
    ("efficienttrain-pp", efficienttrain(1125), [("3087000", "55125")], {}),
    ("efficientnetv2", efficientnetv2(10), [], {"steps_per_epoch": 10}),
    ("seqlen-linear", seqlen(2000, 300, 1_570_000_000, root=False), SHORT_SEQLEN, {}),
    ("seqlen-root", seqlen(2000, 300, 1_570_000_000, root=True), SHORT_SEQLEN, {}),
    ("gpt3-batch-ramp", gpt3(10_000_000), SHORT_GPT3, {}),
    ("llama3-batch", llama3(2_870_000_000, 15_600_000_000, 80, 1200), SHORT_LLAMA3, {}),
    ("seesaw", seesaw(), [], {}),
    ("bert-two-phases", bert(), [], {}),
    ("wsd", wsd(), [], {}),
    ("sgdr", sgdr(39), [], {"steps_per_epoch": 39}),
    ("one-cycle", one_cycle(), [], {}),
    ("context-extension", context(), [], {}),
]


@pytest.mark.parametrize(("name", "formula", "changes", "run"), RUNS, ids=[case[0] for case in RUNS])
def test_each_step_is_the_published_one(
    name: str, formula: Iterator[Asked], changes: list[tuple[str, str]], run: dict[str, Any]
) -> None:
    """Over a whole run, knobs are the published ones and the rate differs by at most 1e-12 of itself, at every step."""
    assert deviation(name, formula, changes, **run) <= 1e-12


@pytest.mark.slow
def test_a_million_steps_of_llama3() -> None:
    """The file as it stands, over its 1.1 million steps: the batch doubles where 2.87 trillion tokens were seen."""
    assert deviation("llama3-batch", llama3(2_870_000_000_000, 15_600_000_000_000, 8000, 1_200_000)) <= 1e-12


def losses_of_epochs(seed: int) -> list[float]:
    """A loss for each of 500 epochs that stays, or moves by more than 0.001, and can be averaged without rounding."""
    draw, level = Random(seed), 1024
    return [(level := level + draw.choice([0, 0, 0, 1, -1])) / 512 for _ in range(500)]


def ifno(losses: Sequence[float], epoch_steps: int, forget: bool) -> Iterator[Asked]:
    """One more mode where the last two losses differ by at most 0.001; with `forget`, only of those modes."""
    modes, seen = 16, list[float]()
    for epoch, loss in enumerate(losses):
        yield from [Asked(1e-3 * 0.5 ** (epoch // 100), {"modes": modes})] * epoch_steps
        seen.append(loss)
        if len(seen) > 1 and abs(seen[-1] - seen[-2]) <= 1e-3 and modes < 64:
            modes += 1
            seen = [] if forget else seen


@pytest.mark.parametrize("seed", range(3))
def test_the_loss_gap_adds_modes(seed: int) -> None:
    """All 49 modes are passed as the authors' rule has it, if it forgets the losses from before a mode was added."""
    losses = losses_of_epochs(seed)
    last = list(ifno(losses, 1, forget=True))[-1]
    assert last.knobs == {"modes": 64}
    found = deviation("ifno", ifno(losses, 4, forget=True), losses=lambda step: losses[step // 4], steps_per_epoch=4)
    assert found <= 1e-12


def test_the_authors_rule_compares_across_a_mode() -> None:
    """As the table says: on a loss that never moves, theirs adds a mode with each epoch, ours with each second one."""
    theirs, ours = (list(ifno([1.0] * 500, 1, forget)) for forget in (False, True))
    assert [modes.knobs["modes"] for modes in theirs].index(64) == 49
    assert [modes.knobs["modes"] for modes in ours].index(64) == 96
    assert deviation("ifno", iter(ours), steps_per_epoch=1) == 0.0


def scheduled(make: Callable[[torch.optim.Optimizer], LRScheduler], steps: int, **keys: Any) -> list[dict[str, Any]]:
    """What a scheduler of torch has set on each step."""
    optimizer, found = torch.optim.SGD([torch.zeros(1, requires_grad=True)], momentum=0.9, **keys), []
    scheduler = make(optimizer)
    for _ in range(steps):
        found.append(dict(optimizer.param_groups[0]))
        optimizer.step()
        scheduler.step()
    return found


def test_torch_says_the_same() -> None:
    """The formulas of one-cycle and SGDR are those of torch's schedulers, as the files say, as far as it rounds."""
    cycle = scheduled(
        lambda of: OneCycleLR(of, 0.1, 1000, pct_start=0.45, anneal_strategy="linear", three_phase=True), 1000
    )
    cycles = scheduled(lambda of: CosineAnnealingWarmRestarts(of, 390, 2), 5850, lr=0.05)
    for theirs, ours in zip(cycle, one_cycle(), strict=True):
        assert theirs["momentum"] == pytest.approx(ours.knobs["momentum"], rel=1e-12)
        assert theirs["lr"] == pytest.approx(ours.lr, rel=1e-12, abs=1e-15)
    for theirs, ours in zip(cycles, sgdr(39), strict=True):
        assert theirs["lr"] == pytest.approx(ours.lr, rel=1e-12, abs=1e-15)


@pytest.mark.parametrize(
    ("name", "formula", "old", "new"),
    [
        ("wsd", wsd, "peak        = 1e-3", "peak        = 1.000000000002e-3"),
        ("seesaw", seesaw, "325058560 tokens", "325058561 tokens"),
        ("bert-two-phases", bert, "200 steps", "201 steps"),
        ("context-extension", context, "100663296 tokens", "100663297 tokens"),
    ],
)
def test_a_small_mistake_is_seen(name: str, formula: Callable[[], Iterator[Asked]], old: str, new: str) -> None:
    """Canary: a peak that is off by 2e-12, a token too many, or a step too many does not pass."""
    with pytest.raises(AssertionError):
        assert deviation(name, formula(), [(old, new)]) <= 1e-12
