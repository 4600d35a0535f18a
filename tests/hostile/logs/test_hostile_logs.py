"""Whatever stands in a log, by malice or by accident: its curve comes out, or a LogError, never anything else."""

from __future__ import annotations

import gzip
import json
import random
import sqlite3
import struct
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plateau_rule.sim.logs import Log, LogError, read, source
from plateau_rule.sim.logs.events import masked_crc

SAMPLES = Path(__file__).parents[2] / "sim" / "logs" / "samples"
STEPS = 120


def loss(step: int) -> float:
    """A loss that falls."""
    return 2 + 8 * 0.97**step


def tfrecord(data: bytes) -> bytes:
    """A record with its checksums."""
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", masked_crc(length)) + data + struct.pack("<I", masked_crc(data))


def event(step: int, value: float, tag: bytes = b"loss") -> bytes:
    """An `Event` with one scalar; step below 128."""
    inner = b"\x0a" + bytes([len(tag)]) + tag + b"\x15" + struct.pack("<f", value)
    summary = b"\x0a" + bytes([len(inner)]) + inner
    return b"\x10" + bytes([step]) + b"\x2a" + bytes([len(summary)]) + summary


def trainer_state(steps: range) -> bytes:
    """A trainer_state.json."""
    history = [{"step": step, "loss": loss(step), "epoch": step / 50} for step in steps]
    return json.dumps({"epoch": 1, "log_history": history, "logging_steps": 1}, indent=1).encode()


FORMATS: dict[str, bytes] = {
    "jsonl": b"".join(b'{"step": %d, "loss": %f, "lr": 0.1}\n' % (step, loss(step)) for step in range(STEPS)),
    "nested": b"".join(b'{"step": %d, "train": {"loss": %f}}\n' % (step, loss(step)) for step in range(STEPS)),
    "csv": b"step,loss,val_loss\n" + b"".join(b"%d,%f,\n" % (step, loss(step)) for step in range(STEPS)),
    "epochs": b"epoch;loss\r\n" + b"".join(b"%d;%f\r\n" % (step, loss(step)) for step in range(STEPS)),
    "export": b'"Step","run - loss","run - loss__MIN"\n'
    + b"".join(b'"%d","%f","0"\n' % (s, loss(s)) for s in range(STEPS)),
    "state": trainer_state(range(STEPS)),
    "array": json.dumps([{"step": step, "loss": loss(step)} for step in range(STEPS)]).encode(),
    "metric": b"".join(b"1700000000000 %f %d\n" % (loss(step), step) for step in range(STEPS)),
    "nanogpt": b"".join(b"iter %d: loss %f, time 20.0ms, mfu 1.00%%\n" % (step, loss(step)) for step in range(STEPS)),
    "printed": b"".join(b"[info] step: %d | loss: %f | lr 1e-3\n" % (step, loss(step)) for step in range(STEPS)),
    "hf": b"".join(b"{'loss': '%f', 'grad_norm': '1', 'epoch': '%f'}\n" % (loss(s), s / 50) for s in range(STEPS)),
    "events": b"".join(tfrecord(event(step, loss(step))) for step in range(STEPS)),
}


def cut(data: bytes, rng: random.Random) -> bytes:
    """The file ends too early."""
    return data[: rng.randrange(len(data))]


def flipped(data: bytes, rng: random.Random) -> bytes:
    """Single bits are wrong."""
    changed = bytearray(data)
    for _ in range(20):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def noisy(data: bytes, rng: random.Random) -> bytes:
    """Random bytes stand in the middle."""
    at = rng.randrange(len(data))
    return data[:at] + rng.randbytes(3000) + data[at:]


def zeroed(data: bytes, rng: random.Random) -> bytes:
    """A page of zeros, as a crashed machine leaves it."""
    return data[: len(data) * 2 // 3] + b"\0" * 4096


def shuffled(data: bytes, rng: random.Random) -> bytes:
    """Lines are out of order, the first one too."""
    lines = data.splitlines(keepends=True)
    rng.shuffle(lines)
    return b"".join(lines)


def without_line_breaks(data: bytes, rng: random.Random) -> bytes:
    """Everything stands on one line."""
    return data.replace(b"\n", b" ").replace(b"\r", b" ")


def long_line(data: bytes, rng: random.Random) -> bytes:
    """A line of more than a MiB stands in the middle."""
    at = data.find(b"\n", len(data) // 2) + 1
    return data[:at] + b'"loss": {"loss' * 90_000 + b"\n" + data[at:]


def odd_numbers(data: bytes, rng: random.Random) -> bytes:
    """Numbers are replaced by what else may stand for one."""
    odd = [
        b"NaN",
        b"nan",
        b"-inf",
        b"Infinity",
        b"1e999",
        b"-1",
        b"true",
        b"null",
        b'""',
        b"[1]",
        b"{}",
        b"9" * 400,
        b"x",
    ]
    parts = data.split(b"7")
    return b"".join(part + rng.choice([b"7", b"7", rng.choice(odd)]) for part in parts)


def wide(data: bytes, rng: random.Random) -> bytes:
    """UTF-16, as Windows' shells write it, and cut in the middle of a character."""
    return data.decode("latin-1").encode("utf-16")[:-1]


def doubled(data: bytes, rng: random.Random) -> bytes:
    """The same log twice."""
    return data + data


def packed(data: bytes, rng: random.Random) -> bytes:
    """Packed with gzip."""
    return gzip.compress(data, 1)


def packed_and_cut(data: bytes, rng: random.Random) -> bytes:
    """Packed with gzip, and cut off."""
    return gzip.compress(data, 1)[: rng.randrange(30, 300)]


def packed_and_flipped(data: bytes, rng: random.Random) -> bytes:
    """Packed with gzip, and damaged."""
    return flipped(gzip.compress(data, 1), rng)


def quoted(data: bytes, rng: random.Random) -> bytes:
    """A quote is opened and never closed."""
    at = len(data) // 2
    return data[:at] + b'"' + data[at:]


def foreign(data: bytes, rng: random.Random) -> bytes:
    """Another format follows in the same file."""
    return data + rng.choice(list(FORMATS.values()))


MUTATIONS: list[Callable[[bytes, random.Random], bytes]] = [
    cut, flipped, noisy, zeroed, shuffled, without_line_breaks, long_line, odd_numbers, wide, doubled,
    packed, packed_and_cut, packed_and_flipped, quoted, foreign,
]  # fmt: skip


def holds(log: Log) -> None:
    """What every log that was read promises."""
    report = log.report
    points = log.points()
    assert len(log) == report.used.points == len(points.step) == len(points.loss) >= 2
    assert points.step.dtype == np.int64
    assert points.loss.dtype == np.float64
    assert (np.diff(points.step) > 0).all()
    repeated = sum(count for reason, count in report.dropped.items() if reason.startswith("step that is repeated"))
    assert report.found.points == report.used.points + repeated
    assert report.nonfinite == (~np.isfinite(points.loss)).sum()
    assert sum(len(chunk.step) for chunk in log.chunks(50)) == len(log)
    for name, count in report.evals.items():
        steps, values = log.evaluations(name)
        assert len(steps) == len(values) == count
        assert (np.diff(steps) > 0).all()
    assert json.loads(json.dumps(report.as_dict(), allow_nan=False))["series"] == report.series
    assert str(report)


def survives(path: Path) -> Log | None:
    """Read a log: it holds what it promises, or a LogError names the file and says something."""
    try:
        log = read(path)
    except LogError as error:
        if not str(error).startswith(f"{path}"):
            raise AssertionError(f"an error that does not name its file: {error}") from error
        return None
    holds(log)
    return log


@pytest.mark.parametrize("form", FORMATS)
def test_unharmed(form: str, tmp_path: Path) -> None:
    """Each of the logs that are damaged below is read in full while it is whole, under any name."""
    path = tmp_path / "picture.png"
    path.write_bytes(FORMATS[form])
    log = survives(path)
    assert log is not None
    assert len(log) == STEPS
    assert log.points().loss == pytest.approx([loss(step) for step in range(STEPS)], abs=1e-6)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.__name__)
def test_damaged(mutation: Callable[[bytes, random.Random], bytes], form: str, tmp_path: Path) -> None:
    """A damaged log gives what is left of it, or a LogError."""
    rng = random.Random(f"{mutation.__name__} {form}")
    for attempt in range(3):
        path = tmp_path / f"{attempt}.log"
        path.write_bytes(mutation(FORMATS[form], rng))
        survives(path)


def lines(*rows: object) -> bytes:
    """JSON lines."""
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


GOOD = [{"step": step, "loss": loss(step)} for step in range(20)]
# What stands in a file: what is said about it, or the number of points that it holds.
CASES: dict[str, tuple[bytes, str | int]] = {
    "empty": (b"", "the file is empty"),
    "packed nothing": (gzip.compress(b""), "the file is empty"),
    "blank": (b" \n\t\n\n", "no column holds numbers"),
    "prose": (b"I was at a loss for words.\n" * 50, "no column holds numbers"),
    "binary": (bytes(range(256)) * 50, "binary data"),
    "zip": (b"PK\x03\x04rest", "a zip archive"),
    "zstd": (b"\x28\xb5\x2f\xfdrest", "packed with zstd"),
    "xz": (b"\xfd7zXZ\x00rest", "packed with xz"),
    "bzip2": (b"BZh91AY", "packed with bzip2"),
    "gzip twice": (gzip.compress(gzip.compress(FORMATS["csv"])), "packed with gzip twice"),
    "not gzip": (b"\x1f\x8b" + b"x" * 100, "looks like gzip and is not"),
    "pickle": (b"\x80\x04\x95rest", "a Python pickle"),
    "wandb": (b":W&B\xde\xad\xbe\xefrest", "a W&B run in its own binary form"),
    "one object": (lines({"step": 1, "loss": 2.0}), "one point, which is no curve"),
    "one row": (b"step,loss\n1,2\n", "one point, which is no curve"),
    "header alone": (b"step,loss\n", "a heading and no row"),
    "no loss": (lines(*({"step": i, "accuracy": 0.5} for i in range(9))), "no column is called a loss; there is"),
    "only strings": (
        lines(*({"step": i, "loss": "high"} for i in range(9))),
        "no column is called a loss|no column holds",
    ),
    "only null": (lines(*({"step": i, "loss": None} for i in range(9))), "no column"),
    "losses without steps": (lines(*({"loss": 1.0 / (i + 1)} for i in range(9))), 9),
    "two losses": (lines(*({"step": i, "loss": 1.0, "train_loss": 2.0} for i in range(9))), "2 series could be meant"),
    "part losses": (lines(*({"step": i, "loss": 1.0, "kl_loss": 2.0} for i in range(9))), 9),
    "steps that are text": (lines(*({"step": f"{i:04}", "loss": "1.5"} for i in range(9))), 9),
    "steps that are fractions": (
        lines(*({"step": i + 0.5, "loss": 1.5} for i in range(9))),
        "no point, which is no curve",
    ),
    "steps below zero": (lines(*({"step": i - 5, "loss": 1.5} for i in range(9))), 4),
    "steps beyond counting": (lines(*({"step": 10**i, "loss": 1.5} for i in range(30))), 16),
    "loss beyond floats": (lines(*GOOD) + b'{"step": 99, "loss": 1' + b"0" * 5000 + b"}\n", 20),
    "steps of all types": (lines(*({"step": s, "loss": 1} for s in (1, "2", 3.0, True, None, [4], {"a": 5}, "x"))), 3),
    "losses of all types": (
        lines(*({"step": i, "loss": v} for i, v in enumerate((1, "2", 3.5, True, None, [4], "x")))),
        3,
    ),
    "NaN and infinity": (
        b'{"step": 1, "loss": NaN}\n{"step": 2, "loss": -Infinity}\n{"step": 3, "loss": Infinity}\n',
        3,
    ),
    "NaN in a text": (lines(*({"step": i, "loss": 1.0, "say": "x: NaN, Infinity"} for i in range(9))), 9),
    "nothing but NaN": (b"".join(b'{"step": %d, "loss": NaN}\n' % i for i in range(9)), 9),
    "objects that run over lines": (b'{"step": 1, "loss":\n2.0}\n' * 9, "no column holds numbers"),
    "two objects a line": (b'{"step": 1, "loss": 2.0}{"step": 2, "loss": 2.0}\n' * 9, 9),
    "commas between objects": (b'{"step": 1, "loss": 3.0},\n{"step": 2, "loss": 2.0},\n' * 9, 2),
    "arrays": (b"[1, 2]\n[2, 3]\n" * 9, "no column holds numbers"),
    "array that never ends": (b'[{"step": 1, "loss": 2}, {"step": 2, "loss": 1}, {"step": 3', 2),
    "array of other things": (b'[{"step": 1, "loss": 2}, 3, "x", null, {"step": 2, "loss": 1}]', 2),
    "array of one endless object": (b'[{"step": 1, "loss": 2}, {"x": "' + b"y" * 3_000_000, "one point"),
    "array nested beyond reason": (b'[{"step": 1, "loss": 2}, {"x": ' + b"[" * 200_000, "one point"),
    "line nested beyond reason": (lines(*GOOD) + b'{"step": ' + b"[" * 200_000 + b"\n", 20),
    "history that is no list": (b'{"log_history": {"step": 1}}', "no column"),
    "history that is empty": (b'{"log_history": [], "epoch": 1}', "no column holds numbers"),
    "history of nothing": (b'{"log_history": [{}, {}, {}]}', "no column holds numbers"),
    "keys that are odd": (
        lines(*({"": 1, "step": i, "loss": 2, "\ud800": 3, "a.b": {"c": 1}, "x" * 999: 1} for i in range(9))),
        9,
    ),
    "too many keys": (lines(*({f"k{i}_{j}": 1 for j in range(600)} | GOOD[i] for i in range(20))), 20),
    "repeated header": ((b"step,loss\n" + b"1,2\n2,1\n") * 2, 2),
    "same column twice": (b"step,loss,loss\n" + b"".join(b"%d,1,2\n" % i for i in range(9)), 9),
    "column without name": (b"step,loss,\n" + b"".join(b"%d,1,2\n" % i for i in range(9)), 9),
    "ragged": (b"step,loss,x\n1,2,3\n2,3\n3,4,5,6\n4,5,6,\n5\n\n6,7,8\n", 3),
    "no header": (b"".join(b"%d,%f\n" % (i, loss(i)) for i in range(30)), "no column is called a loss; there is"),
    "header without rows": (b"step,loss,lr\n\n\n", "a heading and no row"),
    "endless quote": (b'step,loss\n1,2\n2,1\n"' + b"x,\n" * 100_000, 2),
    "table of words": (b"name,color\na,b\nc,d\n", "no column holds numbers"),
    "old Mac": (b"step,loss\r1,2\r2,1\r", 2),
    "tabs": (b"step\tloss\n1\t2\n2\t1\n", 2),
    "columns of blanks": (b"step  loss\n0  3.5\n1  3.25\n", 2),
    "UTF-8 with a mark": (b"\xef\xbb\xbfstep,loss\n1,2\n2,1\n", 2),
    "UTF-16": (FORMATS["csv"].decode().encode("utf-16"), STEPS),
    "broken UTF-8": (b"step,loss,caf\xe9\n1,2,\xff\n2,1,\xfe\n", 2),
    "printed tensors": (b"".join(b"step %d loss tensor(%f, device='cuda:0')\n" % (i, loss(i)) for i in range(9)), 9),
    "numpy scalars": (b"".join(b"{'step': %d, 'loss': np.float64(%f)}\n" % (i, loss(i)) for i in range(9)), 9),
    "units": (b"".join(b"step %d loss 2.5ms\n" % i for i in range(9)), "no column is called a loss|no column holds"),
    "colours": (b"".join(b"\x1b[1mstep:\x1b[0m %d \x1b[32mloss:\x1b[0m %f\n" % (i, loss(i)) for i in range(9)), 9),
    "steps in epochs": (b"".join(b"Epoch %d, step %d, loss 1.5\n" % (i // 5, i % 5) for i in range(30)), 30),
    "two runs": (b"".join(b"step %d loss 1.5\n" % (i % 30) for i in range(60)), "2 runs one after the other"),
    "words without end": (b"loss" * 200_000 + b" 1\nstep 1 loss 2\nstep 2 loss 1\n", 2),
    "blanks without end": (b"loss" + b" " * 900_000 + b"1\nstep 1 loss 2\nstep 2 loss 1\n", 2),
    "digits without end": (b"loss " + b"1" * 900_000 + b"\nstep 1 loss 2\nstep 2 loss 1\n", 2),
    "bars without end": (b"1/9 " + b"1s/step " * 100_000 + b"\nstep 1 loss 2\nstep 2 loss 1\n", 2),
    "line breaks without end": (b"\n" * 900_000 + b"step 1 loss 2\nstep 2 loss 1\n", 2),
    "metric without steps": (b"1700000000000 0.5\n" * 9, "no column is called a loss"),
    "metric with rubbish": (b"1700000000000 0.5 1\n1700000000000 0.4 2\nrubbish\n1700000000000 x y\n", 2),
    "events with no scalars": (tfrecord(b"\x1a\x0dbrain.Event:2") * 5, "no column holds numbers"),
    "events of rubbish": (tfrecord(b"\xff" * 50) * 5 + tfrecord(event(1, 2.0)) + tfrecord(event(2, 1.0)), 2),
    "events cut in a number": (tfrecord(b"\x10\x80") + tfrecord(event(1, 2.0)) + tfrecord(event(2, 1.0)), 2),
    "events that claim too much": (
        tfrecord(event(1, 2.0)) + tfrecord(event(2, 1.0)) + tfrecord(b"\x2a\xff\xff\xff\x0f"),
        2,
    ),
    "events of groups": (tfrecord(b"\x0b\x0c") + tfrecord(event(1, 2.0)) + tfrecord(event(2, 1.0)), 2),
    "events with wrong checksums": (tfrecord(event(1, 2.0))[:-4] + b"abcd" + tfrecord(event(2, 1.0)) * 2, 2),
    "event of a petabyte": (
        tfrecord(event(1, 2.0))
        + tfrecord(event(2, 1.0))
        + struct.pack("<Q", 1 << 50)
        + struct.pack("<I", masked_crc(struct.pack("<Q", 1 << 50)))
        + b"x" * 99,
        2,
    ),
    "sqlite in name only": (b"SQLite format 3\x00" + b"rubbish" * 300, "this SQLite database cannot be read"),
    "sqlite cut off": (b"SQLite format 3\x00", "this SQLite database cannot be read|without MLflow's tables"),
}


@pytest.mark.parametrize("case", CASES)
def test_case(case: str, tmp_path: Path) -> None:
    """A file that is odd in one way gives the points that are in it, or the error that says what it is."""
    data, said = CASES[case]
    path = tmp_path / "log"
    path.write_bytes(data)
    if isinstance(said, str):
        with pytest.raises(LogError, match=said):
            read(path)
    else:
        log = survives(path)
        assert log is not None
        assert len(log) == said


def test_there_are_enough() -> None:
    """These lanes read more hostile files than were asked for."""
    assert len(FORMATS) * len(MUTATIONS) * 3 + len(CASES) >= 150


def test_canary(tmp_path: Path) -> None:
    """Canary: a log whose steps do not increase is seen to break its promise."""
    path = tmp_path / "log"
    path.write_bytes(FORMATS["csv"])
    log = read(path)
    points = log.points()
    backwards = points._replace(step=points.step[::-1])
    with mock.patch.object(log, "points", return_value=backwards), pytest.raises(AssertionError):
        holds(log)


def test_gzip_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that unpacks to hundreds of times its size is given up on."""
    monkeypatch.setattr(source, "BOMB_BYTES", 1 << 22)
    for data in (b"\0" * (1 << 24), b'{"step": 1, "loss": 2.0}\n' * 700_000):
        path = tmp_path / "bomb.gz"
        path.write_bytes(gzip.compress(data, 9))
        with pytest.raises(LogError, match=r"binary data|unpacks to more than"):
            read(path)


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ("CREATE TABLE t (x)", "without MLflow's tables"),
        ("CREATE TABLE runs (run_uuid, name); CREATE VIEW metrics AS SELECT 1 AS key", "without MLflow's tables"),
        ("CREATE TABLE runs (run_uuid, name); CREATE TABLE metrics (x)", "tables cannot be read"),
        ("CREATE TABLE runs (run_uuid, name); CREATE TABLE metrics (key, value, step, is_nan, run_uuid)", "no run"),
        (
            "CREATE TABLE runs (run_uuid TEXT, name); CREATE TABLE metrics (key, value, step, is_nan, run_uuid TEXT);"
            "INSERT INTO runs VALUES (1, x'ff'); INSERT INTO metrics VALUES"
            "('loss', 'x', 1, 0, 1), (x'ff', 2, 'y', 0, 1), ('loss', 1.5, 2, 0, 1), ('loss', 1.25, 3, 0, 1),"
            "(NULL, NULL, NULL, NULL, 1)",
            "",
        ),
    ],
)
def test_other_databases(schema: str, said: str, tmp_path: Path) -> None:
    """A SQLite database that is not MLflow's, or holds other things than numbers, is refused or read in part."""
    path = tmp_path / "mlflow.db"
    with closing(sqlite3.connect(path)) as database:
        database.executescript(schema)
    if said:
        with pytest.raises(LogError, match=said):
            read(path)
    else:
        log = survives(path)
        assert log is not None
        assert log.points().loss.tolist() == [1.5, 1.25]


def test_damaged_database(tmp_path: Path) -> None:
    """A database with wrong bytes in it gives a LogError or what is left of it."""
    data = gzip.decompress((SAMPLES / "mlflow_database" / "mlflow.db.gz").read_bytes())
    rng = random.Random(0)
    for attempt in range(10):
        path = tmp_path / f"{attempt}.db"
        path.write_bytes(flipped(data[: rng.randrange(100, len(data))] if attempt % 2 else data, rng))
        survives(path)


@pytest.mark.parametrize("name", ["", "missing", "/dev/null", "/dev/zero", "a\0b", "x" * 5000])
def test_no_file(name: str, tmp_path: Path) -> None:
    """What is no file is refused with a sentence: nothing, a missing one, a device, an impossible name."""
    path = name if name.startswith("/dev") else f"{tmp_path}/{name}"
    with pytest.raises(
        LogError, match=r"no log in this folder|no such file|neither a file nor a folder|cannot be opened"
    ):
        read(path)


def test_unreadable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that may not be read, and one whose reading fails, are refused with the system's reason."""
    path = tmp_path / "log"
    path.write_bytes(FORMATS["csv"])

    def refuse(*arguments: object, **more: object) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", refuse)
        with pytest.raises(LogError, match="cannot be opened: Permission denied"):
            read(path)


ALPHABET = st.sampled_from(
    ['{"step": ', '"loss": ', "}", ",", "\n", "step", "loss", "epoch", "1", "2.5", "nan", ":", " ", '"']
)


@given(text=st.lists(ALPHABET | st.text(max_size=4), max_size=60).map("".join), form=st.sampled_from(list(FORMATS)))
@settings(max_examples=150)
def test_any_text(text: str, form: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Any text, alone or at the end of a log, is read or refused."""
    path = tmp_path_factory.mktemp("any") / "log"
    data = text.encode("utf-8", "replace")
    path.write_bytes(data)
    survives(path)
    path.write_bytes(FORMATS[form] + data)
    survives(path)


@given(
    data=st.binary(max_size=300),
    start=st.sampled_from([b"", b"SQLite format 3\0", b"\x1f\x8b\x08", b"[{", b'{"log_history": [']),
)
@settings(max_examples=150)
def test_any_bytes(data: bytes, start: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Any bytes, also behind the first ones of a known format, are read or refused."""
    path = tmp_path_factory.mktemp("any") / "log"
    path.write_bytes(start + data)
    survives(path)
    path.write_bytes(tfrecord(data) * 2)
    survives(path)
