"""Logs in which several series stand under one name, numbers with decimal commas, and other forms of JSON and CSV."""

from __future__ import annotations

import json

import pytest

from plateau_rule.sim.logs import LogError, read
from tests.sim.logs.families import curve
from tests.sim.logs.test_kinds import Write, steps_of, write

__all__ = ["write"]  # a fixture

# Several series under one name


STEPS = list(range(10, 210, 10))


@pytest.mark.parametrize(
    ("train", "test", "name"),
    [
        ({"type": "train"}, {"type": "eval"}, "eval loss"),
        ({"event": "train_step"}, {"event": "evaluation"}, "evaluation loss"),
        ({"set": "train"}, {"set": "test"}, "test loss"),
        ({"dataset": "train"}, {"dataset": "valid"}, "valid loss"),
        ({"is_train": True}, {"is_train": False}, "eval loss"),
        ({"is_val": 0}, {"is_val": 1}, "val loss"),
    ],
)
def test_a_column_of_any_name_tells_the_split(
    train: dict[str, object], test: dict[str, object], name: str, write: Write
) -> None:
    """A row that says by a word, or by yes and no, that it is of an evaluation brings no loss of training."""
    rows: list[dict[str, object]] = []
    for s in STEPS:
        rows.append({"step": s, "loss": curve(s / 10), **train})
        if s % 50 == 0:
            rows.append({"step": s, "loss": 9.0, **test})
    log = read(write(map(json.dumps, rows)))
    assert steps_of(log) == STEPS
    assert 9 not in log.points().loss
    assert dict(log.report.evals) == {name: 4}


def test_a_metric_a_row(write: Write) -> None:
    """Rows of step, metric and value are told apart by the metric."""
    rows = [
        f"{s},{name},{value}" for s in STEPS for name, value in (("train_loss", curve(s)), ("val_loss", 9), ("lr", 1))
    ]
    log = read(write(["step,metric,value", *rows]))
    assert steps_of(log) == STEPS
    assert log.report.series == "train_loss"
    assert dict(log.report.evals) == {"val_loss": 20}


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ('{{"rank": {r}, "step": {s}, "loss": {l}}}', "loss (rank 1)"),
        ('{{"run_id": "{r}", "step": {s}, "loss": {l}}}', "loss (run_id 1)"),
        ('{{"fold": {r}, "epoch": {s}, "loss": {l}}}', "loss (fold 1)"),
        ("[rank{r}]: step {s} loss {l}", "loss (rank 1)"),
        ("GPU {r} | step {s} | loss {l}", "loss (GPU 1)"),
    ],
)
def test_rows_of_several_writers(line: str, name: str, write: Write) -> None:
    """Rows that processes, runs or folds write in turns are series of their own: the person chooses one."""
    path = write(line.format(r=r, s=s, l=curve(s) + r) for s in range(20) for r in (0, 1))
    with pytest.raises(LogError, match="2 series could be meant") as raised:
        read(path)
    assert name in str(raised.value)
    log = read(path, column=name)
    assert len(log) == 20
    assert log.points().loss[0] == curve(0) + 1


def test_writers_that_tell_the_same(write: Write) -> None:
    """Processes that all print the mean over all of them are one series."""
    log = read(write(f"[rank{r}]: step {s} loss {curve(s)}" for s in range(20) for r in (0, 1)))
    assert len(log) == 20


def test_losses_behind_another_of_their_step_are_said(write: Write) -> None:
    """Where nothing tells the rows of one step apart, the report says that something may be mixed."""
    log = read(write(f"{r}: step {s} loss {curve(s) + r}" for s in range(20) for r in (0, 1)))
    assert any("may be mixed" in warning for warning in log.report.warnings)


# Numbers


@pytest.mark.parametrize(
    ("form", "digits", "head"),
    [
        ("step {s}: loss {l}", 4, None),
        ("step {s}: loss {l}, lr 0,001", 3, None),
        ("{s};{l};0,001", 3, "step;loss;lr"),
        ("{s}\t{l}", 3, "step\tloss"),
    ],
)
def test_decimal_commas(form: str, digits: int, head: str | None, write: Write) -> None:
    """Commas before decimals are read as such, and the report says so."""
    losses = [2.5 - 0.1 * s for s in range(20)]
    lines = [form.format(s=s, l=f"{loss:.{digits}f}".replace(".", ",")) for s, loss in enumerate(losses)]
    log = read(write([head, *lines] if head else lines))
    assert log.points().loss.tolist() == pytest.approx(losses, abs=1e-3)
    assert any("decimal points" in warning for warning in log.report.warnings)


def test_commas_that_may_be_either(write: Write) -> None:
    """Where every loss could be one of thousands, it is read so, and the report says what else it could be."""
    log = read(write(f"step {s}: loss {9000 - s:,}" for s in range(20)))
    assert log.points().loss[0] == 9000
    assert any("one of thousands" in warning for warning in log.report.warnings)


@pytest.mark.parametrize("line", ["<{s}/200> loss {l}", "{{{s}/200}} loss {l}", "{s}it [00:10, 10.1it/s, loss={l}]"])
def test_clocks_in_other_brackets(line: str, write: Write) -> None:
    """A pair in any brackets is the clock, and so is what a bar without an end has counted."""
    assert steps_of(read(write(line.format(s=s, l=curve(s)) for s in STEPS))) == STEPS


def test_an_epoch_before_its_pair(write: Write) -> None:
    """A number alone before the pair is the epoch: no epoch is taken for a resume of the one before."""
    log = read(write(f"{e}: [{b}/50] loss {curve(b)}" for e in range(4) for b in range(10, 60, 10)))
    assert steps_of(log) == STEPS


def test_a_clock_before_numbers_with_names_behind_them(write: Write) -> None:
    """The step keeps its name where the other numbers stand before theirs."""
    assert steps_of(read(write(f"step {s}: {curve(s)} loss, 0.1 lr" for s in STEPS))) == STEPS


# Files of JSON and CSV


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("inside", [False, True])
def test_a_list_a_metric(indent: int | None, inside: bool, write: Write) -> None:
    """One object of lists, as Keras' History is written, is a table; so it is inside another object."""
    lists = {"loss": [curve(e) for e in range(20)], "val_loss": [9.0] * 19 + [float("nan")]}
    document = {"config": {"lr": 1}, "history": lists} if inside else lists
    log = read(write([json.dumps(document, indent=indent)], "history.json"))
    assert log.points().loss.tolist() == lists["loss"]
    assert dict(log.report.evals) == {"val_loss": 20}


def test_a_history_that_is_cut_off(write: Write) -> None:
    """Such an object without its end is refused with the place."""
    with pytest.raises(LogError, match="cannot be read"):
        read(write(['{"loss": [2.5, 2.4, 2.3'], "history.json"))


def test_objects_in_objects(write: Write) -> None:
    """A loss two objects deep is found by its whole name."""
    log = read(write(json.dumps({"step": s, "m": {"train": {"loss": curve(s), "lr": 1}}}) for s in STEPS))
    assert log.report.series == "m.train.loss"
    assert steps_of(log) == STEPS


def test_remarks_above_a_table(write: Write) -> None:
    """Lines that begin with # above the header of a table are passed over; a header may begin so itself."""
    rows = [f"{s},{curve(s)},1" for s in STEPS]
    assert steps_of(read(write(["# begun at 10:00", "# a=1", "step,loss,lr", *rows]))) == STEPS
    assert len(read(write(["# begun", "step,loss,lr", *rows]))) == 20
    assert len(read(write(["#step,loss,lr", *rows]))) == 20
