"""The corners of single formats that samples and hostile files do not reach."""

from __future__ import annotations

import csv
import json
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from plateau_rule.sim.logs import LogError, read
from plateau_rule.sim.logs.events import fields, masked_crc, scalars
from plateau_rule.sim.logs.rows import Records, batches, numbers
from plateau_rule.sim.logs.series import granularity, is_eval, is_loss, normal, rank, words


def message(number: int, *parts: bytes) -> bytes:
    """A field of bytes in protobuf's wire format."""
    data = b"".join(parts)
    return bytes([number << 3 | 2, len(data)]) + data


def tensor(*parts: bytes) -> bytes:
    """An `Event` at step 3 whose one scalar is a tensor."""
    value = message(1, message(1, b"loss"), message(8, *parts))
    return b"\x10\x03" + message(5, value, b"\x18\x07")


@pytest.mark.parametrize(
    ("parts", "value"),
    [
        ((b"\x08\x01", message(4, struct.pack("<f", 1.5))), 1.5),
        ((b"\x08\x01", b"\x2d" + struct.pack("<f", 1.5)), 1.5),
        ((b"\x08\x01", message(5, struct.pack("<f", 1.5))), 1.5),
        ((b"\x08\x02", b"\x31" + struct.pack("<d", 2.5)), 2.5),
        ((b"\x08\x02", message(6, struct.pack("<d", 2.5))), 2.5),
        ((b"\x08\x03", b"\x38" + b"\xff" * 9 + b"\x01"), -1),
        ((b"\x08\x09", message(10, b"\x96\x01")), 150),
        ((b"\x08\x09", message(4, struct.pack("<q", -7))), -7),
        ((b"\x08\x01", message(5, struct.pack("<ff", 1, 2))), None),
        ((b"\x08\x09", message(10, b"\x01\x02")), None),
        ((b"\x08\x07", message(8, b"text")), None),
        ((b"\x08\x01", message(2, b"\x12\x00")), None),
    ],
)
def test_tensor(parts: tuple[bytes, ...], value: float | None) -> None:
    """A tensor of one number is a scalar, in each of the ways in which it can be packed; any other tensor is none."""
    assert list(scalars(tensor(*parts))) == ([(3, "loss", value)] if value is not None else [])


def test_wire_format() -> None:
    """Fields of every wire type are told apart; a message that is cut off, or of no wire type, is refused."""
    data = b"\x08\x96\x01\x11" + struct.pack("<d", 0.5) + b"\x1a\x02ab\x25" + struct.pack("<f", 0.25)
    assert list(fields(data)) == [(1, 150), (2, 0.5), (3, b"ab"), (4, 0.25)]
    for wrong in (b"\x08", b"\x08\xff", b"\x1a\x05ab", b"\x0b", b"\x08" + b"\xff" * 11):
        with pytest.raises(ValueError, match=r"cut off|wire type"):
            list(fields(wrong))


def test_checksum() -> None:
    """The checksum is CRC-32C as published (RFC 3720, appendix B.4), masked as TFRecords mask it."""
    crc = (masked_crc(b"\x00" * 32) - 0xA282EAD8) & 0xFFFFFFFF
    assert (crc << 15 | crc >> 17) & 0xFFFFFFFF == 0x8A9136AA


def test_numbers() -> None:
    """Numbers may be spelt as text or printed as tensors; nothing, text and containers are told apart."""
    values = [
        1,
        2.5,
        "3",
        " 4e-1 ",
        "nan",
        "tensor(2.5)",
        "tensor([0.5], device='cuda:0')",
        None,
        "",
        "  ",
        "x",
        True,
        [1],
    ]
    found, kinds = numbers(values)
    assert kinds.tolist() == [0] * 7 + [1] * 3 + [2] * 3
    assert found[[0, 1, 2, 3, 5, 6]].tolist() == [1, 2.5, 3, 0.4, 2.5, 0.5]
    assert numbers([10**400, 1])[1].tolist() == [2, 0]
    assert numbers([None, None])[1].tolist() == [1, 1]


def test_records() -> None:
    """Rows that are dictionaries are seen as columns, with the fields of dictionaries in them."""
    records = Records([{"a": 1}, {"a": 2, "b": {"c": 3, "d": 4}}, {"b": None}])
    assert list(records) == ["a", "b.c", "b.d"]
    assert len(records) == 3
    assert records["a"] == [1, 2, None]
    assert records["b.c"] == [None, 3, None]
    assert records["z.c"] == [None] * 3
    assert list(Records([])) == []


def test_batches() -> None:
    """Rows come in batches of a size, and fewer at once if they are wide."""
    narrow: Iterator[dict[str, object]] = ({"a": row} for row in range(25))
    assert [len(batch) for batch in batches(narrow, 10)] == [10, 10, 5]
    wide: dict[str, object] = {str(key): 1 for key in range(40_000)}
    assert [len(batch) for batch in batches((wide for _ in range(6)), 10)] == [3, 3]


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train/step_loss", {"train", "step", "loss"}),
        ("trainStepLoss", {"train", "step", "loss"}),
        ("Test loss (avg on test)", {"test", "loss", "avg", "on"}),
        ("valloss", {"valloss", "val", "loss"}),
        ("val_acc1", {"val", "acc", "1"}),
    ],
)
def test_words(name: str, split: set[str]) -> None:
    """A name falls into the same words however they are joined."""
    assert words(name) == split


def test_names() -> None:
    """Evaluations, losses and their granularity are told by their names."""
    evals = ["val_loss", "eval_accuracy", "test/bleu", "Validation Loss", "dev_ppl", "val_loss_epoch"]
    assert all(map(is_eval, evals))
    assert not any(map(is_eval, ["train_loss", "eval_runtime", "eval_steps_per_second", "eval_interval", "evaluate"]))
    assert all(map(is_loss, ["loss", "val_loss", "nll", "aux_loss", "trainloss"]))
    assert not any(map(is_loss, ["loss_scale", "best_loss", "glossary", "blossom", "loss_weight", "accuracy"]))
    assert [rank(name) for name in ("train/loss", "total_loss", "kl_loss", "val_loss")] == [0, 1, 2, 3]
    assert [granularity(name) for name in ("loss_step", "loss", "loss_epoch")] == [0, 1, 2]
    assert [normal(name) for name in ("Train/Loss", "_step", "lr-AdamW", "???")] == [
        "train_loss",
        "_step",
        "lr_adamw",
        "???",
    ]


def test_state_of_a_long_run(tmp_path: Path) -> None:
    """States, knobs and dropped updates of our own log are found far behind its first rows."""
    path = tmp_path / "metrics.jsonl"
    with path.open("w") as file:
        for step in range(20_000):
            row = {
                "step": step,
                "epoch": 0,
                "state": "a" if step < 15_000 else "b",
                "knobs": {"cutoff": 128},
                "lr": 0.1,
            }
            more = {"skipped": True} if step == 16_000 else {}
            file.write(json.dumps(row | {"loss": 2.5} | more) + "\n")
    log = read(path)
    assert [(change.step, change.state) for change in log.changes] == [(0, "a"), (15_000, "b")]
    assert log.skipped == (16_000,)


def test_long_utf_16(tmp_path: Path) -> None:
    """A log in UTF-16 is read whole, though its characters fall across the blocks in which it is read."""
    path = tmp_path / "log"
    path.write_bytes("".join(f"step {step} loss 2.5 ✓\n" for step in range(30_000)).encode("utf-16"))
    assert len(read(path)) == 30_000


def test_fields_too_long_to_look_at(tmp_path: Path) -> None:
    """A limit on the size of a CSV field that somebody else has set does no harm."""
    path = tmp_path / "log"
    path.write_text("step,loss\n" + f"1,{'2' * 50}\n" * 9)
    limit = csv.field_size_limit(20)
    try:
        with pytest.raises(LogError, match="no column holds numbers"):
            read(path)
    finally:
        csv.field_size_limit(limit)


def test_repeated_names_of_columns(tmp_path: Path) -> None:
    """Columns with one name, or none, are told apart by their numbers."""
    path = tmp_path / "log"
    path.write_text("step,x,x,,x (3),loss\n" + "".join(f"{row},1,2,3,4,2.5\n" for row in range(9)))
    with pytest.raises(LogError) as refused:
        read(path, column="y")
    names = ["x", "x (3)", "(4)", "x (3) (5)", "loss"]
    assert list(refused.value.choices) == names
    assert read(path, column="x (3)").points().loss[0] == 2
