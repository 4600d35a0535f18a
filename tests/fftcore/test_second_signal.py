"""A second signal ends a run at once, whatever it is doing, and the last commit stays whole."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch

import plateau_rule.fftcore.signals as signals
from plateau_rule.fftcore.checkpoint import Checkpoints
from plateau_rule.fftcore.learner import Learner
from plateau_rule.fftcore.signals import Caught
from plateau_rule.fftcore.storage import Disk
from tests.faults.forks import forked
from tests.fftcore.micro import contents, run

CODES = (128 + signal.SIGUSR1, 128 + signal.SIGTERM)  # of two at once, from a thread, either may come first


def hang() -> None:
    """Wait for ever inside C, where no handler of Python's gets its turn."""
    mutex = ctypes.create_string_buffer(128)
    library = ctypes.CDLL(None)
    library.pthread_mutex_init(mutex, None)
    library.pthread_mutex_lock(mutex)
    library.pthread_mutex_lock(mutex)


def on_call(method: Callable[..., Any], number: int, then: Callable[[], None]) -> Callable[..., Any]:
    """Return a method that does something else first on one of its calls."""
    calls = count()

    def called(*given: Any, **more: Any) -> Any:
        if next(calls) == number:
            then()
        return method(*given, **more)

    return called


def commits() -> str:
    """The commits of the run in this folder, in words."""
    return f"commits: {Checkpoints(Path('run/checkpoints'), 5, Disk()).steps()}"


def twice() -> None:
    """Send this process two signals, and hang."""
    os.write(2, commits().encode())
    os.kill(os.getpid(), signal.SIGUSR1)
    os.kill(os.getpid(), signal.SIGTERM)
    hang()


def compiling(model: Any, **how: Any) -> Any:
    """Stand in for torch.compile, which takes its time when the model is first called."""
    return lambda *given: twice()


# Not the final score: the first signal ends that.
PHASES: dict[str, tuple[object, str, Callable[..., Any]]] = {
    "a step": (Learner, "step", on_call(Learner.step, 7, twice)),
    "compilation": (torch, "compile", compiling),
    "an evaluation": (Learner, "score", on_call(Learner.score, 1, twice)),
    "a save": (Disk, "write_file", on_call(Disk.write_file, 25, twice)),
    "a save's rename": (Disk, "rename_folder", on_call(Disk.rename_folder, 5, twice)),
}


@pytest.mark.parametrize("phase", PHASES)
def test_second_signal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, phase: str) -> None:
    """Two signals end a run that hangs in C, in every phase, without a new commit, in a sentence and by their code."""
    place, name, method = PHASES[phase]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(signals, "TWICE_S", 0)
    with monkeypatch.context() as patch:
        patch.setattr(place, name, method)
        assert forked(lambda: run(Path("run"), overrides={"compile": phase == "compilation"}), Path("told")) in CODES
    told = Path("told").read_text()
    assert "told twice to end: ended at once, and saved no more" in told
    assert commits() in told
    assert Checkpoints(Path("run/checkpoints"), 5, Disk()).newest() is not None


def test_the_rest_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that was ended in the middle of a save by a second signal goes on to the same end."""
    monkeypatch.setattr("plateau_rule.fftcore.finish.draw_run", lambda *given: None)
    assert run(tmp_path / "whole") == 0
    monkeypatch.setattr(signals, "TWICE_S", 0)
    with monkeypatch.context() as patch:
        patch.setattr(Disk, "write_file", on_call(Disk.write_file, 25, twice))
        assert forked(lambda: run(tmp_path / "run")) in CODES
    assert run(tmp_path / "run", resume="auto") == 0
    expected, found = contents(tmp_path / "whole"), contents(tmp_path / "run")
    assert {name for name in expected if expected[name] != found.get(name)} <= {"run.json"} | {
        name for name in expected if name.endswith(("state.json", "manifest.json"))
    }
    assert found.keys() == expected.keys()


@pytest.mark.parametrize(
    ("times_s", "code"), [((0.0,), 0), ((0.0, 0.4), 0), ((0.0, 0.4, 0.6), 143), ((0.0, 0.5), 143)], ids=str
)
def test_twice_is_not_two(times_s: tuple[float, ...], code: int) -> None:
    """Signals within half a second are one request, as `timeout` sends it to a process and its group."""

    def work() -> int:
        with Caught(clock=iter(times_s).__next__):
            for _ in times_s:
                os.kill(os.getpid(), signal.SIGTERM)
        return 0

    assert forked(work) == code


def test_what_was_before(tmp_path: Path) -> None:
    """Afterwards signals do what they did before, and whoever listened for their numbers does again."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    before = signal.set_wakeup_fd(writer)
    handlers = [signal.getsignal(number) for number in signals.ENDING]
    try:
        with Caught():
            pass
        assert [signal.getsignal(number) for number in signals.ENDING] == handlers
    finally:
        assert signal.set_wakeup_fd(before) == writer
        os.close(reader)
        os.close(writer)
