"""What tells a run to end: signals, and a standard output that nobody reads."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from torch import Tensor

from plateau_rule.fftcore.checkpoint import Checkpoints
from plateau_rule.fftcore.errors import StorageError
from plateau_rule.fftcore.learner import Learner
from plateau_rule.fftcore.progress import Output
from plateau_rule.fftcore.signals import Caught
from plateau_rule.fftcore.storage import Disk
from tests.fftcore.micro import rows, run


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the pictures out."""
    monkeypatch.setattr("plateau_rule.fftcore.finish.draw_run", lambda *given: None)


def saved(out: Path) -> int:
    """The step of a run's newest commit."""
    return Checkpoints(out / "checkpoints", 5, Disk()).steps()[-1]


def test_hangup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal that is closed ends a run as SIGTERM does: saved."""
    with monkeypatch.context() as patch:
        in_steps(patch, {7: signal.SIGHUP})
        assert run(tmp_path / "run") == 128 + signal.SIGHUP
    assert saved(tmp_path / "run") == 8


def test_nohup() -> None:
    """A signal that was ignored before, as under nohup, stays ignored."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Caught() as caught:
            os.kill(os.getpid(), signal.SIGHUP)
            assert caught.signal is None
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def in_steps(patch: pytest.MonkeyPatch, steps: dict[int, int]) -> None:
    """Send this process signals in these steps."""
    step_of = Learner.step

    def step(self: Learner, number: int, lr: float) -> Tensor:
        if number in steps:
            os.kill(os.getpid(), steps[number])
        return step_of(self, number, lr)

    patch.setattr(Learner, "step", step)


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_in_the_final_score(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], ending: int
) -> None:
    """A signal while the run is scored ends that at once; the run is saved, and a resume scores it as it would have."""
    assert run(tmp_path / "whole") == 0
    score_of = Learner.score

    def score(self: Learner, final: bool = False) -> dict[str, float]:
        if final:
            os.kill(os.getpid(), ending)
            raise AssertionError("the score goes on")
        return score_of(self, final)

    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(Learner, "score", score)
        assert run(out) == 128 + ending
    assert "told to end before the run was scored; it is saved" in capsys.readouterr().out
    assert not (out / "summary.json").exists()
    assert saved(out) == 32
    assert run(out, resume=True) == 0
    assert (out / "summary.json").read_bytes() == (tmp_path / "whole" / "summary.json").read_bytes()


class Broken:
    """A standard output that fails at some time."""

    encoding = "utf-8"

    def __init__(self, error: int, after: int = 0) -> None:
        self.error, self.after, self.told = error, after, ""

    def write(self, text: str) -> int:
        """Take some, then fail."""
        if len(self.told) > self.after:
            raise OSError(self.error, os.strerror(self.error))
        self.told += text
        return len(text)

    def flush(self) -> None:
        """Do nothing."""

    def isatty(self) -> bool:
        """It is no terminal."""
        return False

    def fileno(self) -> int:
        """It has no descriptor."""
        raise OSError("none")


def test_a_closed_pipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Where whoever reads has gone, as in `| head`, the run ends and is saved, and says so where it still can."""
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", Broken(errno.EPIPE, 900))
        assert run(tmp_path / "run", log_every=1) == 128 + signal.SIGPIPE
    step = saved(tmp_path / "run")
    assert 0 < step < 32
    told = capsys.readouterr().err
    assert f"the standard output cannot be written: Broken pipe; the run has ended, and is saved: step {step}" in told
    assert run(tmp_path / "run", resume=True) == 0
    assert len(rows(tmp_path / "run" / "metrics.jsonl")) == 32


def test_a_full_disk_for_the_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the standard output goes to a full disk, the run ends, is saved, and that is one sentence."""
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", Broken(errno.ENOSPC, 900))
        with pytest.raises(StorageError, match="No space left on device; the run has ended, and is saved: step"):
            run(tmp_path / "run", log_every=1)
    assert saved(tmp_path / "run") > 0


def test_lost_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the output is lost when the run is being scored, it is scored to the end all the same."""
    with monkeypatch.context() as patch:
        broken = Broken(errno.ENOSPC, 1_000_000)
        patch.setattr(sys, "stdout", broken)
        score_of = Learner.score

        def score(self: Learner, final: bool = False) -> dict[str, float]:
            if final:
                broken.after = 0
            return score_of(self, final)

        patch.setattr(Learner, "score", score)
        with pytest.raises(StorageError, match="the run is over"):
            run(tmp_path / "run")
    assert (tmp_path / "run" / "summary.json").exists()


def test_no_output_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the standard output was closed from the beginning, nothing is said and nothing is lost."""
    monkeypatch.setattr(sys, "stdout", None)
    output = Output()
    output.write("word")
    output.flush()
    assert not output.isatty()
    assert output.lost is None


def test_letters_that_it_does_not_have(monkeypatch: pytest.MonkeyPatch) -> None:
    """A standard output without the letters that are to be said gets others."""

    class Plain(Broken):
        encoding = "ascii"

        def write(self, text: str) -> int:
            return super().write(text.encode("ascii").decode())

    plain = Plain(errno.EPIPE, 1000)
    monkeypatch.setattr(sys, "stdout", plain)
    Output().write("▲ 1 → 2")
    assert plain.told == "? 1 ? 2"


def test_dev_full(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    """`> /dev/full`: one sentence and no traceback, whatever Python itself still has to say at its end."""
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full here")
    code = (
        "import sys; from plateau_rule.fftcore.progress import Output; output = Output(); "
        "print('word', file=output, flush=True); print(output.lost, file=sys.stderr); print('more')"
    )
    with Path("/dev/full").open("wb") as full:
        result = subprocess.run(
            [sys.executable, "-c", code], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (result.returncode, result.stderr) == (0, "[Errno 28] No space left on device\n")
