"""`plateau train --dry-run`: what a run would be, take and cost; nothing is written."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="a dry run needs torch")

from plateau_rule.commands import app as plateau
from tests.fftcore.micro import CURRICULUM, contents, micro_text
from tests.fftcore.test_introduction import MISALIGNED
from tests.fftcore.test_signals import in_steps
from tests.plateau_rule.commands.test_train import FLAGS


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with curricula and a text, in which commands are given; pictures are left out."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("plateau_rule.fftcore.finish.draw_run", lambda *given: None)
    Path("micro.toml").write_bytes(CURRICULUM)
    Path("broken.toml").write_bytes(MISALIGNED)
    Path("text").write_bytes(micro_text())


def rehearsed(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    """What a dry run says; whatever is in the folder must stay as it is."""
    before, folders = contents(Path()), sorted(Path().rglob("*"))
    capsys.readouterr()
    assert plateau.main(["train", *words, "--dry-run"]) == code
    assert contents(Path()) == before
    assert sorted(Path().rglob("*")) == folders
    told = capsys.readouterr()
    return told.out + told.err


def test_a_new_run(capsys: pytest.CaptureFixture[str]) -> None:
    """It says what `check` says, the length, the parameters, the memory and the time, each in a line."""
    told = rehearsed(capsys, "micro.toml", *FLAGS)
    assert "micro: 4 epochs of 8 steps; cutoff at most 1025" in told
    assert "monotone  proved" in told
    assert "micro.toml:" in told
    assert "The run would begin in runs/micro" in told
    assert "4 epochs of 8 steps are 32 steps, of 48 bytes (tokens): 1,536, 0.0853 times the training text" in told
    assert "4,121 parameters" in told
    assert "that of the preset tiny; the file's " in told
    assert re.search(r"memory: weights 16 KiB, gradients 16 KiB, optimizer \d+ KiB, activations \d+ KiB, which a", told)
    assert re.search(r"every state: [\d,]+ ms a step, [\d,]+ tokens/s", told)
    assert re.search(r"the run takes \d+ s on this machine", told)


def test_a_broken_curriculum(capsys: pytest.CaptureFixture[str]) -> None:
    """A curriculum that is broken ends a dry run by `check`'s exit code; unchecked it is rehearsed all the same."""
    told = rehearsed(capsys, "broken.toml", *FLAGS, code=1)
    assert "[misaligned]" in told
    assert "A dry run ends here" in told
    assert "the run takes" not in told
    assert "the run takes" in rehearsed(capsys, "broken.toml", *FLAGS, "--unchecked", code=1)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--data absent", "absent: the text to train on does not exist"),
        ("--dropout 1", "--dropout 1"),
        ("--resume", "there is no run to resume here"),
        ("--out text", "text: is a file"),
        ("--out full", "full: holds files that are no run"),
    ],
)
def test_what_is_refused(capsys: pytest.CaptureFixture[str], words: str, told: str) -> None:
    """What would be refused is refused in the same words."""
    Path("full").mkdir()
    (Path("full") / "a").touch()
    given = [*FLAGS, *words.split()] if "--data" not in words else [*FLAGS[2:], *words.split()]
    assert told in rehearsed(capsys, "micro.toml", *given, code=2)


def test_a_run_that_goes_on(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a run that is there it says where it goes on, and what is left; an edited curriculum is refused."""
    with monkeypatch.context() as patch:
        in_steps(patch, {19: 15})
        assert plateau.main(["train", "micro.toml", *FLAGS]) == 143
    told = rehearsed(capsys, "micro.toml", *FLAGS, "--resume", "auto")
    assert "The run would go on at step 20 in runs/micro" in told
    assert "32 steps, 12 of them left, of 48 bytes (tokens): 576" in told
    assert re.search(r"the rest of the run takes \d+ s", told)
    Path("micro.toml").write_bytes(CURRICULUM.replace(b"threshold = 0.9", b"threshold = 0.8"))
    assert "on_change" in rehearsed(capsys, "micro.toml", *FLAGS, "--resume", "auto", code=2)


def test_rungs_that_differ(capsys: pytest.CaptureFixture[str]) -> None:
    """Where rungs differ in price each is timed by itself, and length and time are told from the least to the most."""
    ladder = CURRICULUM.replace(b"cutoff", b"seq_len").replace(b"64", b"8").replace(b"256", b"16")
    Path("micro.toml").write_bytes(ladder)
    told = rehearsed(capsys, "micro.toml", *FLAGS)
    assert "of 16 to 48 bytes (tokens): 512 to 1,536, at most 0.0853 times" in told
    assert [f"seq_len {size}: " in told for size in (8, 16, 24)] == [True] * 3


def test_depths_that_differ(capsys: pytest.CaptureFixture[str]) -> None:
    """Each depth is timed by itself, and it says how many parameters are in blocks that come to run."""
    ladder = CURRICULUM.replace(b"cutoff", b"depth")
    for cutoff, depth in ((b"64", b"1"), (b"256", b"2"), (b'"full"]', b"3]"), (b'= "full" }', b"= 3 }")):
        ladder = ladder.replace(cutoff, depth)
    Path("micro.toml").write_bytes(ladder)
    flags = ["4" if before == "--layers" else flag for before, flag in pairwise(("", *FLAGS))]
    told = rehearsed(capsys, "micro.toml", *flags)
    assert [f"depth {depth}: " in told for depth in (1, 2, 3)] == [True] * 3
    assert "8,146 parameters, 7,114 of them trained" in told


def test_activations_grow_with_the_batch(capsys: pytest.CaptureFixture[str]) -> None:
    """What a forward pass keeps is measured: as much more as there are more windows, and no more of three passes."""

    def kept(*more: str) -> int:
        told = rehearsed(capsys, "micro.toml", *FLAGS[:-1], *more)
        return int(re.findall(r"activations (\d+) KiB", told)[0])

    two, four, eight = (kept(str(windows)) for windows in (2, 4, 8))
    assert eight - four == pytest.approx(2 * (four - two), abs=2)
    assert kept("2", "--accumulation", "3") == two


def test_a_frozen_backbone(capsys: pytest.CaptureFixture[str]) -> None:
    """Where the backbone is frozen, it says how many of the parameters are trained."""
    assert plateau.main(["train", "micro.toml", *FLAGS]) == 0
    told = rehearsed(capsys, "micro.toml", *FLAGS[:4], "--out", "heads", "--freeze-backbone", "runs/micro")
    assert re.search(r"4,121 parameters, \d+ of them trained", told)


def test_from_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    """The file of options can ask for it."""
    Path("run.toml").write_text("dry-run = true\nepochs = 5\n")
    before = contents(Path())
    assert plateau.main(["train", "micro.toml", *FLAGS, "--config", "run.toml"]) == 0
    assert contents(Path()) == before
    assert "5 epochs of 8 steps are 40 steps" in capsys.readouterr().out
