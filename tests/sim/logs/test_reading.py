"""What `read` promises: the right column, one loss a step, honest counts, and what the values mean."""

from __future__ import annotations

import gzip
import io
import json
import math
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
import pytest

from plateau_rule.sim.logs import Change, LogError, read

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write text, or rows as JSON lines, into a file."""

    def writer(content: str | Iterable[Mapping[str, object]], name: str = "log") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        text = content if isinstance(content, str) else "".join(json.dumps(row) + "\n" for row in content)
        path.write_text(text, newline="")
        return path

    return writer


def rows(steps: Iterable[int], **more: object) -> list[dict[str, object]]:
    """A loss for each of some steps."""
    return [{"step": step, "loss": 5 - step / 1000, **more} for step in steps]


# Our own metrics.jsonl


def test_own_metrics(write: Write) -> None:
    """A metrics.jsonl of ours gives losses, epochs, rates, evaluations, states with knobs, and dropped updates."""
    log_rows: list[dict[str, object]] = []
    for step in range(30):
        state, cutoff = ("syntax", 128) if step < 10 else ("words", 256)
        row: dict[str, object] = {
            "step": step,
            "epoch": step // 10,
            "state": state,
            "knobs": {"cutoff": cutoff},
            "lr": 0.1,
        }
        row |= {"val_loss": 3.0, "val_bpb": 4.2} if step % 10 == 9 else {}
        row |= {"loss": "NaN" if step == 5 else 4.0, "chunk_loss": 9.0, "grad_norm": 1.0}
        row |= {"skipped": True} if step in (5, 6) else {}
        log_rows.append(row)
    log = read(write(log_rows))
    assert log.report.format == "metrics.jsonl of a run of ours"
    assert (log.report.series, log.report.others) == ("loss", ("chunk_loss",))
    assert log.changes == (Change(0, "syntax", {"cutoff": 128}), Change(10, "words", {"cutoff": 256}))
    assert log.skipped == (5, 6)
    assert log.report.evals == {"val_loss": 3, "val_bpb": 3}
    assert log.report.eval_loss == "val_loss"
    steps, values = log.evaluations("val_bpb")
    assert (steps.tolist(), values.tolist()) == ([9, 19, 29], [4.2] * 3)
    points = log.points()
    assert points.epoch is not None
    assert points.epoch.tolist() == [step // 10 for step in range(30)]
    assert points.lr is not None
    assert set(points.lr) == {0.1}
    assert log.report.nonfinite == 1
    assert math.isnan(points.loss[5])
    with pytest.raises(KeyError):
        log.evaluations("val_accuracy")


# Which column


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["step", "loss"], "loss"),
        (["global_step", "train/loss", "train/loss_scale", "lr"], "train/loss"),
        (["trainer/global_step", "train_loss_step", "train_loss_epoch", "val_loss"], "train_loss_step"),
        (["iter", "train/loss", "train/step_loss"], "train/step_loss"),
        (["step", "loss", "loss_ce", "loss_aux"], "loss"),
        (["step", "loss", "avg_loss", "smoothed_loss"], "loss"),
        (["step", "total_loss", "policy_loss", "value_loss"], "total_loss"),
        (["step", "lm loss", "loss scale", "grad norm"], "lm loss"),
        (["step", "trainLoss", "valLoss"], "trainLoss"),
        (["step", "trainloss", "testloss"], "trainloss"),
        (["num_updates", "nll_loss", "ppl"], "nll_loss"),
        (["step", "Training Loss", "Validation Loss"], "Training Loss"),
        (["Wall time", "Step", "Value"], "Value"),
        (["step", "cost", "best_loss", "loss_time"], "cost"),
    ],
)
def test_column_that_is_the_loss(names: list[str], chosen: str, write: Write) -> None:
    """Among the names that tools and people use, the training loss is found, at its finest granularity."""
    log = read(write({name: 2.0 + row if name == chosen else row for name in names} for row in range(20)))
    assert log.report.series == chosen
    assert log.points().loss.tolist() == [2.0 + row for row in range(20)]


@pytest.mark.parametrize(
    ("names", "listed"),
    [
        (["step", "loss", "train_loss"], 2),
        (["step", "loss/train", "train/loss"], 2),
        (["step", "gen_loss", "disc_loss"], 2),
        (["step", "a", "b"], 2),
    ],
)
def test_several_columns_that_could_be_meant(names: list[str], listed: int, write: Write) -> None:
    """Where several columns could be the loss, or none is called so, the error lists them, and one can be named."""
    path = write(dict.fromkeys(names, row) for row in range(20))
    with pytest.raises(LogError, match="--column") as refused:
        read(path)
    assert len(refused.value.choices) == listed
    assert read(path, column=names[-1]).report.series == names[-1]
    assert read(path, metric=names[-1]).report.series == names[-1]


def test_named_columns(write: Write) -> None:
    """A column and a step column are found by name, whatever its capitals; a wrong one gets the nearest."""
    path = write({"step": 1, "My Step": row, "Perplexity": 9 - row, "loss": 1} for row in range(9))
    log = read(path, column="perplexity", step_column="my step")
    assert (log.report.series, log.report.used.last_step) == ("Perplexity", 8)
    for wrong in ({"column": "perplexty"}, {"step_column": "stp"}):
        with pytest.raises(LogError, match=r"Did you mean '(Perplexity|step)'\?"):
            read(path, **wrong)  # type: ignore[arg-type]
    with pytest.raises(LogError, match="Choose one of them as the metric"):
        read(path, metric="zzz")


def test_column_that_comes_late(write: Write) -> None:
    """A loss that is first logged after thousands of rows is found; what stands before it is counted."""
    early: list[dict[str, object]] = [{"step": step, "warm": 1.0} for step in range(20_000)]
    log = read(write([*early, *rows(range(20_000, 20_100))]))
    assert len(log) == 100
    assert log.report.dropped["before the first loss"] + log.report.dropped["row without a loss"] == 20_000
    log = read(write([*early, {"step": 20_000, "x": 3.5}, {"step": 20_001, "x": 3.0}]), column="x")
    assert log.points().loss.tolist() == [3.5, 3.0]
    log = read(write([*early, {"s": 20_000, "warm": 3.5}, {"s": 20_001, "warm": 3.0}]), column="warm", step_column="s")
    assert log.points().loss.tolist() == [3.5, 3.0]


def test_no_column_that_is_a_loss(write: Write) -> None:
    """A single value that sums up the run is no second series; a metric of quality alone is no loss."""
    log = read(write([*rows(range(50)), {"step": 50, "train_loss": 4.9}]))
    assert log.report.series == "loss"
    with pytest.raises(LogError, match="no column is called a loss"):
        read(write("step,accuracy\n1,0.5\n2,0.6\n"))


# Steps


def test_steps_are_sorted_and_joined(write: Write) -> None:
    """Files are joined by step, whatever their order; on a step that both have, the later file wins by default."""
    first, second = write(rows(range(60)), "a"), write(rows(range(40, 100), loss=9.0), "b")
    log = read([second, first])
    assert log.points().step.tolist() == list(range(100))
    assert log.points().loss[50] == 5 - 50 / 1000
    assert log.report.dropped == {"step that is repeated (the last one was kept)": 20}
    assert read([first, second]).points().loss[50] == 9.0
    assert read([second, first], repeats="first").points().loss[50] == 9.0
    assert log.report.files == (str(second), str(first))


def test_resumed_run_in_one_file(write: Write) -> None:
    """A run that was resumed in its middle repeats steps; it is one run, and it is said."""
    log = read(write([*rows(range(100)), *rows(range(60, 150), loss=1.0)]))
    assert len(log) == 150
    assert log.points().loss[70] == 1.0
    assert log.report.steps_back == 1
    assert log.report.dropped == {"step that is repeated (the last one was kept)": 40}


def test_runs_one_after_the_other(write: Write) -> None:
    """A file in which the steps begin anew holds several runs: the error lists them, and one is read by its number."""
    path = write([*rows(range(0, 400, 10)), *rows(range(0, 900, 10), loss=1.0), {"step": 890, "val_loss": 7.0}])
    with pytest.raises(LogError, match="2 runs one after the other") as refused:
        read(path)
    assert refused.value.choices[1].startswith("run 2: 90 points, steps 0 to 890")
    assert len(read(path, run=1)) == 40
    assert read(path, run=1).report.evals == {}
    assert read(path, run="2").report.evals == {"val_loss": 1}
    with pytest.raises(LogError, match="no run '3'"):
        read(path, run=3)
    with pytest.raises(LogError, match="no run 'x'"):
        read(write(rows(range(9)), "single"), run="x")


def test_steps_that_count_within_epochs(write: Write) -> None:
    """Steps that begin anew in each epoch are counted on, for losses and evaluations, and it is said."""
    log_rows = [{"epoch": epoch, "step": step, "loss": 1.0} for epoch in range(4) for step in range(0, 100, 10)]
    log_rows.append({"epoch": 3, "step": 90, "val_loss": 2.0})
    log = read(write(log_rows))
    assert log.points().step.tolist() == list(range(0, 400, 10))
    assert log.evaluations("val_loss")[0].tolist() == [390]
    assert log.report.steps_back == 0
    assert any("begin anew in each epoch" in warning for warning in log.report.warnings)


def test_no_steps(write: Write) -> None:
    """Without steps one row an epoch counts epochs; anything else counts rows, and evaluations stand among them."""
    log = read(write({"epoch": epoch, "loss": 1.0} for epoch in range(3, 20)))
    assert (log.report.counted, log.report.used.first_step, log.report.meaning) == ("epoch", 3, "epoch value")
    log = read(write([{"loss": 1.0}, {"loss": 2.0}, {"val_loss": 3.0}, {"loss": 4.0}]))
    assert (log.report.counted, log.points().step.tolist()) == ("row", [0, 1, 2])
    assert log.evaluations("val_loss")[0].tolist() == [1]
    assert "the log has no steps: its rows were counted" in log.report.warnings
    assert log.report.window(50) == "a window of 50 observations is 50 logged rows"
    log = read(write({"epoch": row // 5, "loss": 1.0} for row in range(20)))
    assert log.report.counted == "row"


def test_steps_all_the_same(write: Write) -> None:
    """Steps that are all the same say nothing: the order of the file counts, and evaluations have no place in it."""
    log = read(write([{"step": 7, "loss": 3.0, "val_loss": 1.0}, {"step": 7, "loss": 2.0}, {"step": 7, "loss": 1.0}]))
    assert log.points().step.tolist() == [0, 1, 2]
    assert log.points().loss.tolist() == [3, 2, 1]
    assert log.report.evals == {}


def test_many_points_out_of_order(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log that does not fit the memory set aside for it comes out sorted from the disk."""
    monkeypatch.setattr("plateau_rule.sim.logs.points.MEMORY_BYTES", 1 << 12)
    steps = np.random.default_rng(0).permutation(30_000)
    log = read(write(rows(steps.tolist())))
    assert log.points().step.tolist() == list(range(30_000))


# Values


def test_zeros_that_stand_for_nan(write: Write) -> None:
    """In a log of Hugging Face's Trainer a 0 is NaN unless its gradient was finite or the loss all but 0 before."""

    def history(*pairs: tuple[float, float | str | None]) -> str:
        entries: list[dict[str, object]] = [{"step": step, "loss": loss} for step, (loss, _) in enumerate(pairs)]
        for entry, (_, grad) in zip(entries, pairs, strict=True):
            entry |= {} if grad is None else {"grad_norm": grad}
        return json.dumps({"log_history": entries})

    def losses(text: str) -> object:
        return read(write(text)).points().loss.tolist()

    nan = pytest.approx(math.nan, nan_ok=True)
    assert losses(history((2.0, None), (0.0, None), (1.5, None))) == [2.0, nan, 1.5]
    assert losses(history((2.0, 1.0), (0.0, "nan"), (0.0, 0.0), (0.0, 0.5))) == [2.0, nan, nan, 0.0]
    assert losses(history((0.004, None), (0.0, None))) == [0.004, 0.0]
    assert losses(history((0.0, None), (2.0, None))) == [nan, 2.0]
    assert read(write("step,loss\n1,2.5\n2,0\n")).report.nonfinite == 0


def test_moving_average(write: Write) -> None:
    """A moving average is recognised and its coefficient named; taking it back returns the losses that went in."""
    rng = np.random.default_rng(1)
    raw = (2 + 3 * np.exp(-np.arange(6000) / 1000)) * (1 + 0.03 * rng.standard_normal(6000))
    averaged = raw.copy()
    for step in range(1, 6000):
        averaged[step] = 0.95 * averaged[step - 1] + 0.05 * raw[step]
    path = write({"step": step, "loss": loss} for step, loss in enumerate(averaged.tolist()))
    report = read(path).report
    assert report.ema == pytest.approx(0.95, abs=0.015)
    assert report.meaning == "exponential moving average"
    assert any("takes it back" in warning for warning in report.warnings)
    log = read(path, ema=0.95)
    assert log.points().loss == pytest.approx(raw, rel=1e-6)
    assert (log.report.undone, log.report.meaning, log.report.ema) == (0.95, "step value", None)
    for coefficient in (-0.1, 1.0, math.nan):
        with pytest.raises(ValueError, match="expected a coefficient from 0 to below 1"):
            read(path, ema=coefficient)


def test_strong_moving_average(write: Write) -> None:
    """A moving average too strong to be measured is still recognised."""
    rng = np.random.default_rng(1)
    value = 3.0
    averaged: list[dict[str, object]] = []
    for loss in 3 + 0.1 * rng.standard_normal(6000):
        value = 0.9995 * value + 0.0005 * loss
        averaged.append({"step": len(averaged), "loss": value})
    report = read(write(averaged)).report
    assert report.ema == 1.0
    assert any("if you know it" in warning for warning in report.warnings)


def test_running_mean(write: Write) -> None:
    """Means that run since the epoch began are recognised by how they settle."""
    rng = np.random.default_rng(0)
    raw = 3 + 0.3 * rng.standard_normal((6, 200))
    running = np.cumsum(raw, axis=1) / np.arange(1, 201)
    points = [{"step": step, "epoch": step // 200, "loss": loss} for step, loss in enumerate(running.ravel().tolist())]
    assert read(write(points)).report.meaning == "running mean since the epoch began"
    points = [{"step": step, "epoch": step // 200, "loss": loss} for step, loss in enumerate(raw.ravel().tolist())]
    assert read(write(points)).report.meaning == "step value"


@pytest.mark.parametrize(
    ("name", "spacing", "meaning"),
    [
        ("loss", 1, "step value"),
        ("loss", 10, "one value, one every 10 steps"),
        ("train_loss_step", 10, "step value, one every 10 steps"),
        ("train_loss_epoch", 10, "epoch value"),
        ("ema_loss", 10, "exponential moving average, one every 10 steps"),
    ],
)
def test_meaning_by_name(name: str, spacing: int, meaning: str, write: Write) -> None:
    """What a value means follows from its name and from how far apart the points are."""
    report = read(write({"step": step * spacing, name: 3 - step / 100} for step in range(100))).report
    assert report.meaning == meaning
    assert report.effect


def test_spacing(write: Write) -> None:
    """The usual distance of points, how regular it is, the gap in them, and what a window means in steps."""
    report = read(write(rows([*range(0, 1000, 10), *range(5000, 6000, 10)]))).report
    assert report.spacing == 10
    assert report.regular == pytest.approx(198 / 199)
    assert "nothing between steps 990 and 5,000" in report.warnings
    assert report.window(50) == "a window of 50 observations is 500 steps: one observation every 10 steps"
    assert read(write(rows(range(9)))).report.window(50) == "a window of 50 observations is 50 steps"


# Files


def test_packed_and_piped(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log is read from gzip, from the standard input and from both, like the plain file."""
    path = write(rows(range(50)))
    packed = path.with_name("packed")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert len(read(packed)) == 50
    for file in (path, packed):
        with file.open("rb") as stream, monkeypatch.context() as patched:
            text = io.TextIOWrapper(stream)
            patched.setattr(sys, "stdin", text)
            assert len(read("-")) == 50
            assert text.detach() is stream
            assert not stream.closed


def test_progress(write: Write) -> None:
    """Progress is told in bytes of the files, up to all of them."""
    first, second = write(rows(range(20_000)), "a"), write(rows(range(20_000, 40_000)), "b")
    told: list[tuple[int, int | None]] = []
    read([first, second], progress=lambda done, total: told.append((done, total)))
    size = first.stat().st_size + second.stat().st_size
    assert told[-1] == (size, size)
    assert told == sorted(told)
    assert len(told) > 5


def test_cut_gzip(write: Write) -> None:
    """A gzip file that is cut off gives what is in it, and says so."""
    path = write(rows(range(50_000)))
    path.write_bytes(gzip.compress(path.read_bytes())[:-20_000])
    log = read(path)
    assert 1000 < len(log) < 50_000
    assert any("cut off or damaged" in warning for warning in log.report.warnings)


def test_dropped_lines_have_a_place(write: Write) -> None:
    """Each reason for passing over a line comes with a count and the place of the first such line."""
    path = write(
        '{"step": 1, "loss": 2}\n{"step": 2, "loss": 1}\n{"step": 3}\nrubbish\n[1]\n{"step": 4, "loss": [1]}\n'
    )
    report = read(path).report
    assert report.dropped == {
        "line is not JSON": 1,
        "line is JSON, but no object": 1,
        "row without a loss": 1,
        "loss is not a number": 1,
    }
    assert set(report.places) == set(report.dropped)
    assert "1: line is not JSON (first: " in str(report)
    path = write("step,loss\n1,2\n2,\n,3\n3,x\n4,1\n")
    report = read(path).report
    assert report.places["row without a loss"] == f"{path}:3"
    assert report.places["loss without a step (a whole number from 0 on)"] == f"{path}:4"
    assert report.places["loss is not a number"] == f"{path}:5"


def test_very_long_lines(write: Write) -> None:
    """Lines above a MiB are passed over and counted, and do not hide what follows."""
    long = json.dumps({"step": 3, "loss": 1.0, "text": "x" * 3_000_000}) + "\n"
    text = "".join(json.dumps(row) + "\n" for row in rows(range(3)))
    log = read(write(text + long + '{"step": 4, "loss": 1}\n{"step": 5, "loss": 1}\n' + long))
    assert log.points().step.tolist() == [0, 1, 2, 4, 5]
    assert log.report.dropped["line longer than 1 MiB"] == 2


def test_arguments() -> None:
    """No file at all, and a way of resolving repeats that is none, are refused."""
    with pytest.raises(LogError, match="Name at least one log"):
        read([])
    with pytest.raises(ValueError, match='expected "last" or "first"'):
        read("x", repeats="mean")  # type: ignore[arg-type]


def test_report_is_plain_data(write: Write) -> None:
    """A report prints as lines and turns into JSON, NaN spelt as text."""
    report = read(write([*rows(range(5), val_loss=1.0), {"step": 9, "loss": "nan"}])).report
    plain = json.loads(json.dumps(report.as_dict(), allow_nan=False))
    assert plain["used"]["last_loss"] == "nan"
    assert plain["files"] == list(report.files)
    assert "6 points, steps 0 to 9" in str(report)
    assert "val_loss (5)" in str(report)


def test_many_choices_are_cut_short() -> None:
    """An error lists no more than 20 choices, but keeps all."""
    error = LogError("file", "several", remedy="Choose", choices=[f"run {number}" for number in range(50)], line=3)
    assert str(error).startswith("file:3: several\n  run 0\n")
    assert str(error).endswith("… and 30 more\nChoose")
    assert len(error.choices) == 50
