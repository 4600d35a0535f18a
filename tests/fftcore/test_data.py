"""From bytes to windows."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from plateau_rule.fftcore.data import Split, TextInMemory, Windows, held_out, read_text
from plateau_rule.fftcore.errors import TextError

CPU = torch.device("cpu")
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


def numbered(size: int) -> TextInMemory:
    """A text in which 4 bytes tell where they stand."""
    content = b"".join(i.to_bytes(4, "big") for i in range(size // 4 + 1))[:size]
    return TextInMemory(torch.frombuffer(bytearray(content), dtype=torch.uint8), "numbered")


@settings(max_examples=30)
@given(seed=st.integers(0, 2**40), step=st.integers(0, 10**7), rank=st.integers(0, 64), part=st.integers(0, 16))
def test_batch_is_a_pure_function(seed: int, step: int, rank: int, part: int) -> None:
    """A batch depends on seed, step, rank and part alone, and differs where one of them does."""
    text = numbered(20_000)
    windows = Windows(text, seed, 16, CPU)
    windows.batch(step + 1, batch_size=2, seq_len=32)  # what was drawn before leaves no trace
    batch = windows.batch(step, rank, part=part, batch_size=4, seq_len=32)
    again = Windows(text, seed, 16, CPU).batch(step, rank, part=part, batch_size=4, seq_len=32)
    assert torch.equal(batch.windows_BW, again.windows_BW)
    assert batch.phase == again.phase
    others = [
        windows.batch(step + 1, rank, part=part, batch_size=4, seq_len=32),
        windows.batch(step, rank + 1, part=part, batch_size=4, seq_len=32),
        windows.batch(step, rank, part=part + 1, batch_size=4, seq_len=32),
        Windows(text, seed + 1, 16, CPU).batch(step, rank, part=part, batch_size=4, seq_len=32),
    ]
    assert all(not torch.equal(batch.windows_BW, other.windows_BW) for other in others)


def test_windows_are_training_text() -> None:
    """Every window is a stretch of the training split, its last possible start included, and phases take all values."""
    text = numbered(2_000)
    windows = Windows(text, 0, 8, CPU)
    train = bytes(text.split("train").tolist())
    starts, phases = set(), set()
    for step in range(200):
        batch = windows.batch(step, batch_size=64, seq_len=24)
        assert batch.windows_BW.dtype == torch.uint8
        assert batch.windows_BW.shape == (64, 32)
        starts |= {train.find(bytes(window)) for window in batch.windows_BW.tolist()}
        phases.add(int(batch.phase))
    assert min(starts) == 0
    assert max(starts) == len(train) - 32
    assert phases == set(range(8))


def test_splits() -> None:
    """The splits are 90, 5 and 5 hundredths, one after the other, and together the whole text."""
    text = numbered(10_000)
    parts = [text.split("train"), text.split("validation"), text.split("test")]
    assert [len(part) for part in parts] == [9_000, 500, 500]
    assert torch.equal(torch.cat(parts), text.content_N)


@given(size=st.integers(200, 5_000), count=st.integers(1, 50), width=st.integers(1, 10))
def test_held_out_windows(size: int, count: int, width: int) -> None:
    """Held-out windows lie within their split, do not overlap, and begin and end with it if there are several."""
    text = numbered(size)
    windows_BW = held_out(text, "validation", count, width)
    split = bytes(text.split("validation").tolist())
    assert 1 <= len(windows_BW) <= count
    assert windows_BW.shape[1] == width
    if len(windows_BW) > 1:
        assert bytes(windows_BW[0].tolist()) == split[:width]
        assert bytes(windows_BW[-1].tolist()) == split[-width:]
        assert len(windows_BW) * width <= len(split)


def test_default_text() -> None:
    """Without a file the embedded text is read, all 5,057,198 bytes of it."""
    text = read_text(None)
    assert (len(text), text.name) == (5_057_198, "embedded")
    assert text.sha256 == "da68ca4e8201d41a12c1d5e82d967bda85105f1dabe823d5735138bccabdd387"


def test_any_bytes(tmp_path: Path) -> None:
    """A file of any bytes is a text, and is not changed by being read."""
    content = bytes(range(256)) * 10
    (tmp_path / "bytes").write_bytes(content)
    text = read_text(tmp_path / "bytes")
    assert b"".join(bytes(text.split(split).tolist()) for split in SPLITS) == content
    text.split("train")[0] = 7
    assert (tmp_path / "bytes").read_bytes() == content


def test_bad_files(tmp_path: Path) -> None:
    """A missing file, a folder and an empty file are each refused in a sentence that names them and a remedy."""
    (tmp_path / "empty").touch()
    for path, told in (("absent", "does not exist"), ("", "is no regular file"), ("empty", "is empty")):
        with pytest.raises(TextError, match=rf"{tmp_path / path}: .*{told}.*--data"):
            read_text(tmp_path / path)


@given(size=st.integers(1, 3_000), window=st.integers(2, 150))
def test_short_texts(size: int, window: int) -> None:
    """A text is refused exactly where a split is shorter than a window, and the length that is asked for suffices."""
    text = numbered(size)
    shortest = min(len(text.split(split)) for split in ("train", "validation", "test"))
    if shortest >= window:
        text.require(window)
    else:
        with pytest.raises(TextError, match=f"at least {20 * window + 20} bytes"):
            text.require(window)
        numbered(20 * window + 20).require(window)
