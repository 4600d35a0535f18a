"""From bytes to windows."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from plateau_rule.fftcore.data import Split, Text, TextInMemory, Windows, held_out, read_text
from plateau_rule.fftcore.errors import TextError

CPU = torch.device("cpu")
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


def numbered(size: int) -> TextInMemory:
    """A text in which 4 bytes tell where they stand."""
    content = b"".join(i.to_bytes(4, "big") for i in range(size // 4 + 1))[:size]
    return TextInMemory(torch.frombuffer(bytearray(content), dtype=torch.uint8), "numbered")


@settings(max_examples=30)
@given(seed=st.integers(0, 2**40), step=st.integers(0, 10**7), part=st.integers(0, 16))
def test_batch_is_a_pure_function(seed: int, step: int, part: int) -> None:
    """A batch depends on seed, step and part alone, and differs where one of them does."""
    text = numbered(20_000)
    windows = Windows(text, seed, 16, CPU)
    windows.batch(step + 1, batch_size=2, seq_len=32)  # what was drawn before leaves no trace
    batch = windows.batch(step, part=part, batch_size=4, seq_len=32)
    again = Windows(text, seed, 16, CPU).batch(step, part=part, batch_size=4, seq_len=32)
    assert torch.equal(batch.windows_BW, again.windows_BW)
    assert batch.phase == again.phase
    others = [
        windows.batch(step + 1, part=part, batch_size=4, seq_len=32),
        windows.batch(step, part=part + 1, batch_size=4, seq_len=32),
        Windows(text, seed + 1, 16, CPU).batch(step, part=part, batch_size=4, seq_len=32),
    ]
    assert all(not torch.equal(batch.windows_BW, other.windows_BW) for other in others)


@given(step=st.integers(0, 10**7), share=st.integers(1, 5), ranks=st.integers(1, 6))
def test_ranks_share_a_batch(step: int, share: int, ranks: int) -> None:
    """What several ranks take is, put together in their order, what one alone takes; the phase is the same."""
    windows = Windows(numbered(20_000), 7, 16, CPU)
    size = share * ranks
    whole = windows.batch(step, batch_size=size, seq_len=32)
    shares = [windows.batch(step, batch_size=size, seq_len=32, rank=rank, ranks=ranks) for rank in range(ranks)]
    assert torch.equal(torch.cat([one.windows_BW for one in shares]), whole.windows_BW)
    assert {int(one.phase) for one in shares} == {int(whole.phase)}
    assert {len(one.windows_BW) for one in shares} == {share}


def test_windows_that_runs_began_with() -> None:
    """Runs that were begun before ranks shared a batch draw the same windows when they are resumed."""
    batch = Windows(numbered(20_000), 3, 16, CPU).batch(5, part=1, batch_size=3, seq_len=32)
    assert [bytes(window[:6]).hex() for window in batch.windows_BW.tolist()] == [
        "e500000ae600", "0e1300000e14", "000705000007"
    ]  # fmt: skip
    assert batch.phase == 7


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
    with pytest.raises(TextError, match="no file can have such a name"):
        read_text(Path("a record can name\0this"))


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


# Files that change


def long_text(path: Path) -> Text:
    """A text that is read window by window."""
    return read_text(path, largest_in_memory=100)


def test_a_long_text_is_the_same(tmp_path: Path) -> None:
    """What is read window by window is what is in memory: the same hash, splits and batches."""
    content = bytes(i * 7 % 251 for i in range(5_000))
    (tmp_path / "text").write_bytes(content)
    short, long = read_text(tmp_path / "text"), long_text(tmp_path / "text")
    assert (short.in_memory, long.in_memory) == (True, False)
    assert (short.sha256, len(short)) == (long.sha256, len(long))
    for split in SPLITS:
        assert torch.equal(short.split(split), long.split(split))
        assert torch.equal(held_out(short, split, 5, 20), held_out(long, split, 5, 20))
    batches = [Windows(text, 3, 4, CPU).batch(9, batch_size=4, seq_len=16) for text in (short, long)]
    assert torch.equal(batches[0].windows_BW, batches[1].windows_BW)
    assert batches[0].phase == batches[1].phase


def test_a_text_that_is_cut(tmp_path: Path) -> None:
    """A long text that is cut short while it is trained on is an error in a sentence, and not the process's end."""
    (tmp_path / "text").write_bytes(bytes(5_000))
    windows = Windows(long_text(tmp_path / "text"), 0, 4, CPU)
    windows.batch(0, batch_size=4, seq_len=16)
    os.truncate(tmp_path / "text", 10)
    with pytest.raises(TextError, match=r"text: was changed while it was trained on\. Put the text back"):
        windows.batch(1, batch_size=4, seq_len=16)


@pytest.mark.parametrize("back", [False, True])
def test_a_text_that_is_overwritten(tmp_path: Path, back: bool) -> None:
    """Other bytes in the same file are noticed, even if its time was set back; the same bytes again are no change."""
    path = tmp_path / "text"
    path.write_bytes(bytes(5_000))
    short, long, before = read_text(path), long_text(path), path.stat()
    assert (short.warning(), long.warning()) == (None, None)
    path.write_bytes(bytes(5_000))
    assert (short.warning(), long.warning()) == (None, None)
    path.write_bytes(bytes(4_999) + b"x")
    if back:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert "text: was changed since it was read" in (short.warning() or "")
    assert short.warning() is None  # once
    with pytest.raises(TextError, match="was changed while it was trained on"):
        long.warning()


def test_a_text_that_is_moved(tmp_path: Path) -> None:
    """A text may get another name, or another file its name: it is read to the end as it was."""
    path = tmp_path / "text"
    path.write_bytes(bytes(range(250)) * 20)
    long = long_text(path)
    path.rename(tmp_path / "other")
    path.write_bytes(b"new")
    assert long.warning() is None
    assert bytes(long.split("train").tolist()[:3]) == b"\x00\x01\x02"
