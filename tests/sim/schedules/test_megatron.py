"""Megatron-LM's batches and rates against the curricula that its arguments become: on every step of a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import cos, pi
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from plateau_rule import Controller, loads
from plateau_rule.sim.schedules import ScheduleError, import_schedule

BatchAfter = Callable[[int], int]  # the batch, by the samples that were consumed


@dataclass(frozen=True)
class Schedule:
    """What Megatron-LM's documentation and its arguments' help say, written afresh.

    The rate is a function of the samples consumed before the step: a line from `first` to `peak` over `warm`, then a
    fall to `lowest` at `decay`. The batch is one too.
    """

    batch_after: BatchAfter
    peak: float
    lowest: float = 0.0
    first: float = 0.0
    warm: int = 0
    decay: int = 0
    style: str = "linear"
    last: int = 0
    fall: str = "linear"

    def rate(self, samples: int) -> float:
        """The rate of the step that begins when so many samples are consumed."""
        if self.warm and samples <= self.warm:
            return self.first + (self.peak - self.first) * samples / self.warm
        if self.style == "constant":
            return self.peak
        if samples > self.decay:
            return self.lowest
        part = (samples - self.warm) / (self.decay - self.warm)
        way = self.style
        if self.style == "WSD":
            part = max(0.0, (samples - (self.decay - self.last)) / self.last)
            way = self.fall
        left = 1 - part if way == "linear" else (1 + cos(pi * part)) / 2
        return self.lowest + (self.peak - self.lowest) * left

    def steps(self, count: int) -> list[tuple[int, float]]:
        """Batch and rate of so many steps."""
        found, samples = [], 0
        for _ in range(count):
            found.append((self.batch_after(samples), self.rate(samples)))
            samples += found[-1][0]
        return found


def ramp(start: int, increment: int, samples: int, last: int) -> BatchAfter:
    """Equal parts of the samples, each with an increment more than the one before."""
    parts = (last - start) // increment
    return lambda consumed: last if consumed > samples else start + int(consumed / (samples / parts)) * increment


def listed(*entries: tuple[int, int]) -> BatchAfter:
    """The batch of the last threshold that is reached."""
    return lambda consumed: [batch for threshold, batch in entries if threshold <= consumed][-1]


def imported(arguments: str, nearest: bool = False) -> str:
    """The curriculum that arguments become."""
    text, report = import_schedule(arguments.encode(), "pretrain.sh", nearest=nearest)
    assert not report.broken
    return text


def run(text: str, batch: int | None = None, steps: int | None = None) -> list[tuple[int, float]]:
    """Batch and rate of every step; a batch that is no knob is the one that is given."""
    length: dict[str, Any] = {} if steps is None else {"epochs": 1, "steps_per_epoch": steps}
    controller, found = Controller(loads(text), **length), []
    while (plan := controller.plan).stop is None:
        size = plan.knobs.get("batch_size", batch)
        assert isinstance(size, int)
        found.append((size, plan.lr))
        controller.observe(1.0)
    return found


def require_equal(found: Sequence[tuple[int, float]], schedule: Schedule) -> None:
    """Each batch is that of the schedule, and each rate, to 1e-12 of the peak."""
    expected = schedule.steps(len(found))
    assert [batch for batch, _ in found] == [batch for batch, _ in expected]
    rates = [rate for _, rate in expected]
    assert [rate for _, rate in found] == pytest.approx(rates, rel=1e-12, abs=schedule.peak * 1e-12)


RATE = "--lr 6e-5 --min-lr 6e-6 "
STYLES = {
    "constant": ("--lr-decay-style constant", "constant", 0, "linear"),
    "linear": ("", "linear", 0, "linear"),
    "cosine": ("--lr-decay-style cosine", "cosine", 0, "linear"),
    "WSD, linear": (
        "--lr-decay-style WSD --lr-wsd-decay-style linear --lr-wsd-decay-{unit} {last}",
        "WSD",
        1,
        "linear",
    ),
    "WSD, cosine": (
        "--lr-decay-style WSD --lr-wsd-decay-style cosine --lr-wsd-decay-{unit} {last}",
        "WSD",
        1,
        "cosine",
    ),
}


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("warm", ["", "--lr-warmup-iters 5 --lr-warmup-init 1e-6", "--lr-warmup-fraction 0.05"])
@pytest.mark.parametrize("decay", [80, 100])
def test_iterations(style: str, warm: str, decay: int) -> None:
    """A run of iterations: every rate, also behind the end of the fall."""
    words, name, last, fall = STYLES[style]
    text = imported(f"{RATE} --train-iters 100 --lr-decay-iters {decay} --global-batch-size 64 {warm} "
                    + words.format(unit="iters", last=20))  # fmt: skip
    warm_iters = 5 if "iters" in warm else decay // 20 if warm else 0
    first = 1e-6 if "init" in warm else 0.0
    schedule = Schedule(lambda consumed: 64, 6e-5, 6e-6, first, warm_iters * 64, decay * 64, name, last * 20 * 64, fall)
    found = run(text, 64)
    assert len(found) == 100
    require_equal(found, schedule)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize(
    ("warm", "length"), [(0, ""), (320, "--seq-length 2048"), (1536, ""), (8000, "--seq-length 2048")]
)
def test_a_ramp_of_the_batch(style: str, warm: int, length: str) -> None:
    """While the batch grows, rate and batch of every step are those of Megatron-LM, where the warm-up ends with one."""
    words, name, last, fall = STYLES[style]
    batch_after = ramp(32, 16, 20_000, 256)
    samples, ends = 0, [0]  # where steps end
    while samples < 200_000:
        samples += batch_after(samples)
        ends.append(samples)
    warm = min(ends, key=lambda end: abs(end - warm))
    last *= 150_000 - min(ends, key=lambda end: abs(end - 100_000))
    text = imported(
        f"{RATE} --rampup-batch-size 32 16 20000 --global-batch-size 256 --train-samples 200000 "
        f"--lr-decay-samples 150000 --lr-warmup-samples {warm} {length} " + words.format(unit="samples", last=last)
    )
    found = run(text)
    require_equal(found, Schedule(batch_after, 6e-5, 6e-6, 0.0, warm, 150_000, name, last, fall))
    assert sum(batch for batch, _ in found) <= 200_000 < sum(batch for batch, _ in found) + 256
    assert ("multiple_of" in text) == (name == "constant" or warm <= 20_000 / 14 or "range" in text)


@settings(max_examples=20)
@given(
    st.integers(1, 40), st.integers(1, 20), st.integers(1, 12), st.integers(1, 5000), st.integers(0, 60),
    st.sampled_from(["linear", "cosine", "constant"]), st.integers(0, 3000),
)  # fmt: skip
def test_any_ramp(
    start: int, increment: int, parts: int, samples: int, warm_steps: int, style: str, beyond: int
) -> None:
    """For every ramp, batch and rate of every step are those of Megatron-LM."""
    last = start + increment * parts
    batch_after = ramp(start, increment, samples, last)
    consumed, warm, steps = 0, 0, 0
    while consumed <= samples:
        consumed += batch_after(consumed)
        steps += 1
        warm = consumed if steps <= warm_steps else warm
    assume(steps < 1000)
    total = consumed + 10 * last + beyond
    assume(warm < total)
    text = imported(
        f"--lr 1e-3 --min-lr 1e-5 --lr-decay-style {style} --global-batch-size {last} --train-samples {total} "
        f"--rampup-batch-size {start} {increment} {samples} --lr-warmup-samples {warm}"
    )
    found = run(text)
    assert len(found) == steps + (total - consumed) // last
    require_equal(found, Schedule(batch_after, 1e-3, 1e-5, 0.0, warm, total, style))


def test_gpt3() -> None:
    """The ramp alone, as in Megatron-LM's example for GPT-3: short, and each of its first 20,000 batches is right."""
    text = imported("--rampup-batch-size 16 16 5859375 --global-batch-size 1536 --seq-length 2048")
    assert "range = { min = 16, max = 1536, multiple_of = 16 }  # --rampup-batch-size 16 16 5859375" in text
    assert len(text.splitlines()) < 40
    require_equal(run(text, steps=20_000), Schedule(ramp(16, 16, 5_859_375, 1536), 1.0, style="constant"))


@pytest.mark.parametrize("schedule", ["0:16 1000:32 5000:64", "0:64,1000:16,5000:32", "0:8 1K:16 0.005M:32"])
def test_a_list_of_batches(schedule: str) -> None:
    """--step-batch-size-schedule in samples: batches that rise, or fall, from their thresholds on."""
    text = imported(f'{RATE} --step-batch-size-schedule "{schedule}" --train-samples 20000 --lr-decay-style cosine')
    entries = [entry.split(":") for entry in schedule.replace(",", " ").split()]
    thresholds = {"1K": 1000, "0.005M": 5000}
    batches = listed(*((thresholds.get(after) or int(after), int(batch)) for after, batch in entries))
    require_equal(run(text), Schedule(batches, 6e-5, 6e-6, decay=20_000, style="cosine"))


def test_a_list_in_tokens() -> None:
    """With --seq-length the thresholds are tokens, rounded down to samples."""
    text = imported(f'{RATE} --step-batch-size-schedule "0:4 1M:8 3M:16" --seq-length 300 --train-samples 30000')
    batches = listed((0, 4), (3333, 8), (10_000, 16))
    require_equal(run(text), Schedule(batches, 6e-5, 6e-6, decay=30_000))


def test_samples_that_are_no_whole_steps() -> None:
    """A fall that ends within a step is measured in samples, though the batch stays."""
    text = imported(f"{RATE} --global-batch-size 32 --train-samples 10000 --lr-decay-samples 9001 --seq-length 128")
    assert 'tokens_per_step = [128, "batch_size"]' in text
    require_equal(run(text), Schedule(lambda consumed: 32, 6e-5, 6e-6, decay=9001))


def test_nearest() -> None:
    """A warm-up that ends within a step is refused, with what to write instead; --nearest takes the next step's end."""
    arguments = (f"{RATE} --rampup-batch-size 192 16 97656 --global-batch-size 2048 --train-samples 2200000 "
                 "--lr-warmup-samples 18310 --lr-decay-style cosine")  # fmt: skip
    with pytest.raises(ScheduleError, match=r"Write it so that this is 18\d+ or 18608, or import with --nearest"):
        imported(arguments)
    text = imported(arguments, nearest=True)
    assert "its warm-up turns with a step, at 18608 samples for 18310." in text
    found = run(text)
    require_equal(found, Schedule(ramp(192, 16, 97_656, 2048), 6e-5, 6e-6, 0.0, 18_608, 2_200_000, "cosine"))


REFUSED = [
    ("--lr 1e-4 --lr-decay-style inverse-square-root --train-iters 9", "inverse-square-root has no word"),
    ("--lr 1e-4 --lr-decay-style WSD --lr-wsd-decay-iters 3 --train-iters 9", "falls exponentially unless told"),
    ("--lr 1e-4 --lr-decay-style WSD --lr-wsd-decay-style minus_sqrt --train-iters 9", "minus_sqrt has no word"),
    ("--lr 1e-4 --lr-decay-style WSD --lr-wsd-decay-style linear --train-iters 9", "how long its last part is"),
    (
        "--lr 1e-4 --lr-decay-style WSD --lr-wsd-decay-style linear --train-iters 9 --lr-wsd-decay-iters 10",
        "longer than",
    ),
    ("--lr 1e-4 --lr-decay-style cosin --train-iters 9", 'Did you mean "cosine"?'),
    ("--lr 1e-4", "neither --train-iters nor --lr-decay-iters"),
    ("--lr 1e-4 --min-lr 1e-3 --train-iters 9", "is above --lr 1e-4"),
    ("--lr -1 --train-iters 9", "not a number"),
    ("--lr 0 --train-iters 9", "is no rate"),
    ("--lr nan --train-iters 9", "is not a number"),
    ("--lr 1e-4 --train-iters 9 --lr-warmup-iters 9", "a warm-up of 9 iterations in a fall of 9"),
    ("--lr 1e-4 --train-iters 1000 --lr-warmup-fraction 0.0123", "turns within a step, at 12.3 iters"),
    ("--lr 1e-4 --train-iters 9 --lr-warmup-fraction 0.1 --lr-warmup-iters 1", "takes one of them"),
    ("--lr 1e-4 --train-iters 9 --train-samples 90", "in iterations or in samples"),
    ("--lr 1e-4 --train-iters 9 --rampup-batch-size 1 1 9 --global-batch-size 3", "in iterations or in samples"),
    ("--lr 1e-4 --train-samples 900", "--global-batch-size is not given"),
    ("--lr 1e-4 --train-samples 3 --global-batch-size 9", "less than a batch"),
    ("--lr 1e-4 --lr 1e-3 --train-iters 9", "stand beside each other"),
    ("--lr --train-iters 9", "--lr has no value"),
    ("--lr $LR --train-iters 9", "--lr depends on LR, which it does not set"),
    ("LR=1\nLR=2\ntrain --lr $LR --train-iters 9", "which it sets to 1 and to 2"),
    ("--lr 1e-4 --train-iters 9.5", "is not a whole number"),
    ("--lr 1e-4 --lr-decay-stile cosine --train-iters 9", 'Did you mean "lr_decay_style"?'),
    ("--lr 1e-4 --decoupled-lr 1e-3 --train-iters 9", "--decoupled-lr 1e-3 has no word"),
    ("--lr-warmup-iters 3", "without --lr"),
    ("--global-batch-size 3", "no rate and no growing batch"),
    ("--rampup-batch-size 16 16 --global-batch-size 32", "not three whole numbers"),
    ("--rampup-batch-size 16 16 99", "without --global-batch-size"),
    ("--rampup-batch-size 16 7 99 --global-batch-size 32", "does not lead to --global-batch-size 32"),
    ("--rampup-batch-size 64 16 99 --global-batch-size 32", "does not lead to"),
    ("--rampup-batch-size 1 1 1000000000 --global-batch-size 100000", "more than 20000 batches"),
    (
        "--lr 1e-4 --rampup-batch-size 7 3 900000 --global-batch-size 1207 --train-samples 9999999",
        "more than a file may",
    ),
    ("--lr 1e-4 --rampup-batch-size 8 8 900 --global-batch-size 64 --train-samples 900", "ends within the ramp"),
    ("--rampup-batch-size 8 8 99 --global-batch-size 64 --step-batch-size-schedule 0:8", "both given"),
    (
        "--rampup-batch-size 8 8 99 --global-batch-size 64 --decrease-batch-size-if-needed --bf16",
        "the batch depend on the machines",
    ),
    ("--step-batch-size-schedule 9:8", "the first threshold is not 0"),
    ("--step-batch-size-schedule 0:8 --global-batch-size 9", "beside --step-batch-size-schedule"),
    ("--step-batch-size-schedule 0:x", "is no batch"),
]


@pytest.mark.parametrize(("arguments", "said"), REFUSED)
def test_what_is_refused(arguments: str, said: str) -> None:
    """What has no word, or does not fit together, is said in one line that names the argument."""
    with pytest.raises(ScheduleError) as error:
        imported(arguments)
    assert said in str(error.value)
    assert "\n" not in str(error.value)
