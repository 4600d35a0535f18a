"""The tail of a log gives what is new, and says from where on an old log no longer holds."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plateau_rule import Controller, load
from plateau_rule.page import tail as module
from plateau_rule.page.tail import Rows, Tail
from plateau_rule.sim.logs import jsonl
from plateau_rule.sim.run_folder import RunFolder


def row(step: int, loss: object = None, **more: object) -> str:
    """A line of metrics.jsonl."""
    return json.dumps({"step": step, "loss": float(step) if loss is None else loss, **more}) + "\n"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Where the log is to be."""
    return tmp_path / "metrics.jsonl"


class Reader:
    """Reads a tail, and keeps the losses as the page does."""

    def __init__(self, folder: Path) -> None:
        self.tail, self.known = Tail(folder), np.empty(0)
        self.rows: Rows | None = None

    def read(self) -> tuple[int, list[float]] | None:
        """The first step of what is new, and its losses."""
        self.rows = self.tail.read(self.known)
        if self.rows is None:
            return None
        self.known = np.concatenate((self.known[: self.rows.first], self.rows.losses))
        return self.rows.first, self.rows.losses.tolist()


@pytest.fixture
def tail(log: Path) -> Reader:
    """Its tail."""
    return Reader(log.parent)


def test_what_is_new_is_given_once(log: Path, tail: Reader) -> None:
    """Each row is given once, as soon as its line is whole."""
    assert tail.read() is None
    log.write_text(row(0) + row(1) + row(2)[:9])
    assert tail.read() == (0, [0.0, 1.0])
    assert tail.read() is None
    log.write_text(row(0) + row(1) + row(2) + row(3))
    assert tail.read() == (2, [2.0, 3.0])


def test_a_log_that_was_cut_back_is_given_from_there(log: Path, tail: Reader) -> None:
    """A log that was cut back and has grown again, beyond its old end, is given from the first row that differs."""
    log.write_text("".join(row(step) for step in range(50)))
    tail.read()
    log.write_text("".join(row(step) for step in range(30)) + "".join(row(step, 7.0) for step in range(30, 90)))
    assert tail.read() == (30, [7.0] * 60)


def test_a_log_that_was_only_cut_back(log: Path, tail: Reader) -> None:
    """A log that was cut back and has not grown yet is shorter from then on."""
    log.write_text("".join(row(step) for step in range(50)))
    tail.read()
    log.write_text("".join(row(step) for step in range(30)))
    assert tail.read() == (30, [])
    log.write_text("".join(row(step) for step in range(31)))
    assert tail.read() == (30, [30.0])


def test_rows_that_go_back(log: Path, tail: Reader) -> None:
    """A row whose step was logged already takes the place of it and of what came after, as a resume without a cut."""
    log.write_text("".join(row(step) for step in range(5)))
    tail.read()
    with log.open("a") as file:
        file.write(row(2, 9.0) + row(3, 8.0))
    assert tail.read() == (2, [9.0, 8.0])


def test_a_log_that_is_another_file(log: Path, tail: Reader) -> None:
    """A new file of the same name is read from its beginning."""
    log.write_text("".join(row(step) for step in range(5)))
    tail.read()
    log.unlink()
    assert tail.read() == (0, [])
    log.write_text(row(0, 3.0))
    assert tail.read() == (0, [3.0])


def test_what_a_row_may_hold(log: Path, tail: Reader) -> None:
    """Losses that are no finite number, dropped steps and evaluations are told apart; other lines are passed over."""
    log.write_text(
        row(0, "NaN") + row(1, "Infinity", skipped=True) + "no json\n[1]\n" + row(2, None, val_loss=1.5)
        + json.dumps({"step": 2, "epoch": 0, "accuracy": 0.5}) + "\n" + row(5)
    )  # fmt: skip
    tail.read()
    rows = tail.rows
    assert rows is not None
    assert math.isnan(rows.losses[0])
    assert rows.losses[1:3].tolist() == [math.inf, 2.0]
    assert [math.isnan(loss) for loss in rows.losses[3:5]] == [True, True]
    assert (rows.skipped, rows.metrics) == ({1}, {2: {"val_loss": 1.5, "accuracy": 0.5}})


def test_a_long_log_comes_in_parts(log: Path, tail: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log that is longer than one look is given part by part, also where it is read from its beginning again."""
    monkeypatch.setattr(module, "READ_BYTES", 500)
    log.write_text("".join(row(step) for step in range(100)))
    while tail.read() is not None:
        pass
    assert tail.known.tolist() == [float(step) for step in range(100)]
    log.write_text("".join(row(step) for step in range(40)) + "".join(row(step, 7.0) for step in range(40, 120)))
    while tail.read() is not None:
        pass
    assert tail.known.tolist() == [float(step) for step in range(40)] + [7.0] * 80


STEP = st.fixed_dictionaries(
    {"epoch": st.integers(0, 9), "state": st.sampled_from(["a", 'b"', "c\\"]), "lr": st.floats(0, 1)},
).flatmap(
    lambda plan: st.fixed_dictionaries(
        {
            "knobs": st.sampled_from([{}, {"x": 1, "y": "full"}, {"mix": {"loss": 9.0}}, {"x": '"loss": 9}'}]),
            "loss": st.one_of(st.floats(-9, 9), st.just("NaN"), st.integers(0, 9), st.none()),
        },
        optional={"chunk_loss": st.floats(0, 9), "grad_norm": st.just("Infinity"), "skipped": st.just(True),
                  "val_loss": st.floats(0, 9)},
    ).map(lambda rest: {**plan, **rest})
)  # fmt: skip
EVALUATION = st.fixed_dictionaries({"epoch": st.integers(0, 9), "val_loss": st.floats(0, 9)})


@given(rows=st.lists(st.one_of(STEP, STEP, EVALUATION), max_size=12), back=st.integers(0, 3), torn=st.booleans())
@settings(deadline=None)
def test_every_spelling_is_read_alike(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, object]], back: int, torn: bool
) -> None:
    """Rows are read alike whether they are spelled as a run of ours spells them, which is fast, or as anybody does."""
    steps, step = list[dict[str, object]](), 0
    for row in rows:
        steps.append({"step": max(0, step - (back if len(steps) == 7 else 0)), **row})
        step += "loss" in row
    found = []
    for separators in ((", ", ": "), (",", ":")):
        folder = tmp_path_factory.mktemp("log")
        lines = [json.dumps(row, separators=separators) + "\n" for row in steps]
        text = "".join(lines)
        (folder / "metrics.jsonl").write_text(text + '{"step": 1, "lo' if torn else text)
        found.append(Tail(folder).read(np.empty(0)))
    assert repr(found[0]) == repr(found[1])


def test_rows_of_ours_are_read_without_json(log: Path, tail: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a run of ours writes for a step goes the fast way; evaluations between the steps are the only JSON."""
    controller = Controller(load("plateau"), epochs=2, steps_per_epoch=100)
    folder, plan, parsed = RunFolder(log.parent, controller, 0, "test"), controller.plan, list[int]()
    for step in range(50):
        folder.step(plan._replace(step=step), 2.5)
        if step % 10 == 9:
            folder.evaluation(step, 0, {"val_loss": 3.0})
    folder.close()

    def parse(data: bytes) -> object:
        parsed.append(data.count(b"\n"))
        return jsonl.parse(data)

    monkeypatch.setattr(module, "parse", parse)
    assert tail.read() == (0, [2.5] * 50)
    assert tail.rows is not None
    assert tail.rows.metrics == {step: {"val_loss": 3.0} for step in range(9, 50, 10)}
    assert parsed == [5]


def test_how_much_of_a_log_was_read(log: Path, tail: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a log that is read in pieces it is known after each which share of it that was."""
    monkeypatch.setattr(module, "READ_BYTES", 300)
    log.write_text("".join(row(step) for step in range(20)))
    tail.read()
    assert 0.4 < tail.tail.share < 0.8
    tail.read()
    assert tail.tail.share == 1.0
