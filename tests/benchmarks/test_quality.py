"""The quality table: equal time, fair choices, right statistics; finished runs are not run again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import _runs, quality
from benchmarks._runs import Entry, controller_of, knobs_used, step_seconds
from benchmarks._table import show
from plateau_rule.fftcore.config import Config, Model
from plateau_rule.fftcore.evaluate import LEAK_BITS
from plateau_rule.fftcore.spectral import BINS

CONFIG = Config(
    model=Model(d_model=32, layers=1, seq_len=32, kernel_len=128, kernel_groups=2, chunk=4),
    batch_size=2,
    peak=1e-2,
    final_windows=4,
)


class Inline(Executor):
    """Runs everything where it is called."""

    def map(self, call: Any, *arguments: Iterable[Any], **_: Any) -> Iterator[Any]:  # type: ignore[override]
        """Call it for each."""
        return map(call, *arguments)


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Entry]:
    """All entries of the table at a micro size, on a short text; what is kept goes to `out`."""
    (tmp_path / "out").mkdir()
    text = tmp_path / "text"
    text.write_bytes(bytes(range(32, 128)) * 100)
    monkeypatch.setattr(quality, "texts", lambda: {"short": text})
    return quality.entries(CONFIG)


def result(name: str, seed: int, stream: float, peak: float = 1.0) -> dict[str, Any]:
    """What a run leaves behind."""
    scores = {split: {"stream": stream + more, "parallel": 0.0} for split, more in (("validation", 0), ("test", 1))}
    own = {"text": "t", "name": name, "seed": seed, "peak": peak, "steps": 7, "seconds": 2.0 + seed, "parameters": 9}
    return own | {"weight_decay": 0.3} | scores


def test_the_statistics_of_the_table() -> None:
    """A row has mean and deviation over the seeds, and the difference to the preset seed by seed."""
    results = [result(quality.BASELINE, seed, bits) for seed, bits in enumerate((2.0, 2.2, 2.4))]
    results += [result("other", seed, bits) for seed, bits in enumerate((2.1, 2.3, 2.5))]
    base, other = quality.table(results, "t")
    assert base["validation"] == pytest.approx((2.2, 0.2))
    assert base["validation_beside"] == (0.0, 0.0)
    assert other["test"] == pytest.approx((3.3, 0.2))
    assert other["test_beside"] == pytest.approx((0.1, 0.0), abs=1e-9)
    assert (other["seconds"], other["seeds"], other["steps"]) == (3.0, 3, 7)
    assert quality.table(results, "another text") == []


def test_the_best_peak_is_chosen_on_the_validation_split() -> None:
    """Of several peaks the row takes the one whose first seed scored best on validation, at every seed."""
    results = [result(quality.BASELINE, 0, 2.0)]
    results += [result("other", 0, 2.5, peak=1.0), result("other", 0, 2.1, peak=3.0), result("other", 1, 2.3, peak=3.0)]
    results[1]["test"]["stream"] = 0.0
    row = quality.table(results, "t")[1]
    assert (row["peak"], row["seeds"]) == (3.0, 2)
    assert row["validation"][0] == pytest.approx(2.2)
    assert row["test_beside"][0] == pytest.approx(0.1)  # the one seed that both have


def test_the_ladders_are_what_they_are_called(lines: dict[str, Entry]) -> None:
    """The ladders spend 15 % and 60 % of the run below the full knobs, in equal parts; the others none of it."""

    def shares(name: str, knob: str) -> dict[float, int]:
        return {dict(knobs)[knob]: steps for knobs, steps in knobs_used(lines[name]).items()}

    assert shares("cutoff ladder, 15 % of the run", "cutoff") == {128: 50, 256: 50, 512: 50, BINS: 850}
    assert shares("cutoff ladder, 60 % of the run", "cutoff") == {128: 200, 256: 200, 512: 200, BINS: 400}
    assert shares("tap ladder, 60 % of the run", "kernel_taps") == {16: 200, 32: 200, 64: 200, 128: 400}
    assert len(knobs_used(lines["convolutions alone"])) == 1


def test_all_have_the_same_rate(lines: dict[str, Entry]) -> None:
    """No ladder restarts the rate: at every step it is the cosine's of the run without a curriculum."""

    def rates(entry: Entry) -> list[float]:
        controller, found = controller_of(entry, 60, 1e-2), []
        while (plan := controller.plan).stop is None:
            found.append(plan.lr)
            controller.observe(1.0)
        return found

    full = rates(lines[quality.BASELINE])
    assert full[0] == pytest.approx(1e-2)
    for name, entry in lines.items():
        if entry.curriculum != "warmup":
            assert rates(entry) == full, name


def test_every_entry_is_timed(lines: dict[str, Entry]) -> None:
    """A step of every entry takes time, also where its knobs change over the run."""
    seconds = step_seconds(lines, turns=2)
    assert seconds.keys() == lines.keys()
    assert all(value > 0 for value in seconds.values())


def test_runs_are_carried_out_once(
    lines: dict[str, Entry], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every entry is trained at every peak and seed, repeatably, without a leak; what is finished is not run again."""
    steps = dict.fromkeys(lines, 6)
    first = quality.all_runs(lines, steps, 2, tmp_path / "out", Inline(), quality.texts())
    peaks = sum(len(entry.peaks) for entry in lines.values())
    assert len(first) == peaks + len(lines)
    for one in first:
        assert one["first_bits"] == pytest.approx(8.0, abs=0.3)
        assert abs(one["test"]["stream"] - one["test"]["parallel"]) < LEAK_BITS
    monkeypatch.setattr(_runs, "carry_out", lambda job: pytest.fail("it was run again"))
    assert quality.all_runs(lines, steps, 2, tmp_path / "out", Inline(), quality.texts()) == first
    show(quality.table(first, "short"), "short", quality.BASELINE)
    printed = capsys.readouterr().out
    assert all(f"| {name} |" in printed for name in lines)


def test_a_finished_run_of_another_length_is_run_again(lines: dict[str, Entry], tmp_path: Path) -> None:
    """What is kept is kept for the same config, steps and seed alone."""
    job = _runs.Job("short", quality.texts()["short"], "a", lines[quality.BASELINE], 0, 1e-2, 3)
    assert _runs.carried_out(job, tmp_path / "out")["steps"] == 3
    assert _runs.carried_out(job._replace(steps=4), tmp_path / "out")["steps"] == 4


def test_the_same_seed_gives_the_same_run(lines: dict[str, Entry]) -> None:
    """A run is repeatable to the bit, and another seed is another run."""
    job = _runs.Job("short", quality.texts()["short"], "a", lines[quality.BASELINE], 0, 1e-2, 4)
    one, same, other = (_runs.carry_out(each)["test"] for each in (job, job, job._replace(seed=1)))
    assert one == same != other
    assert torch.get_num_threads() == 1
