"""Where a run is trained: the device's number, the number of threads, and what is said if they are others now."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch._dynamo  # which notes what torch is when it is loaded: before anything is replaced

from plateau_rule.fftcore import device as device_module
from plateau_rule.fftcore.device import changes, choose_device, device_of, product_type, take_threads
from plateau_rule.fftcore.errors import RunError
from plateau_rule.fftcore.record import Record, read_record, versions
from tests.fftcore.micro import run

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the pictures out, which take longer than these runs."""
    monkeypatch.setattr("plateau_rule.fftcore.finish.draw_run", lambda *given: None)


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Record:
    """The record of a micro run on a CPU."""
    out = tmp_path_factory.mktemp("begun") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("plateau_rule.fftcore.finish.draw_run", lambda *given: None)
        assert run(out, epochs=1, unchecked=True) == 0
    return read_record(out)


@pytest.fixture
def two_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let torch see two GPUs."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"card {device.index}")


@pytest.mark.usefixtures("two_cards")
@pytest.mark.parametrize(
    ("name", "expected"), [(None, "cuda:0"), ("cuda", "cuda:0"), ("cuda:1", "cuda:1"), ("cpu", "cpu"), ("cpu:0", "cpu")]
)
def test_a_gpu_has_a_number(name: str | None, expected: str) -> None:
    """A device that is chosen has the number that torch.cuda.set_device asks for."""
    assert str(choose_device(name)) == expected


@pytest.mark.usefixtures("two_cards")
@pytest.mark.parametrize("name", ["cuda:2", "abacus", "mps"])
def test_no_such_device(name: str) -> None:
    """What is not here is refused by its name."""
    with pytest.raises(RunError, match=f"--device {name}: "):
        choose_device(name)


def test_stays_where_it_was(record: Record, two_cards: None) -> None:
    """A resumed run stays on its device; where that is not here it takes what is; what is asked for comes first."""
    there = record.model_copy(update={"device": "cuda:1"})
    assert str(device_of(there, None)) == "cuda:1"
    assert str(device_of(there, "cpu")) == "cpu"
    assert str(device_of(record.model_copy(update={"device": "cuda:7"}), None)) == "cuda:0"


def test_products(two_cards: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Products are in bfloat16 on a GPU that has it, and in float32 on one that has not, and on a CPU."""
    for has_it, expected in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, has_it=has_it: has_it)
        assert product_type(torch.device("cuda", 0)) == expected
        assert product_type(CPU) == torch.float32


def test_what_changed(record: Record, two_cards: None) -> None:
    """Another kind of device, another card, another torch and another number of threads are said, and nothing else."""
    assert changes(record, CPU) == []
    begun_on_gpu = record.model_copy(update={"device": "cuda:0", "card": "card 0", "threads": 64})
    assert changes(begun_on_gpu, torch.device("cuda", 0)) == []
    assert changes(begun_on_gpu, torch.device("cuda", 1)) == ["on cuda:1 (card 1), not on cuda:0 (card 0)"]
    other = begun_on_gpu.model_copy(update={"versions": record.versions | {"torch": "1.0"}})
    on_cpu, with_torch, threads = changes(other, CPU)
    assert on_cpu == "on cpu, not on cuda:0 (card 0)"
    assert with_torch == f"with torch {record.versions['torch']}, not 1.0"
    assert threads.startswith(f"on {torch.get_num_threads()} threads, not 64: there are ")


def test_threads_are_taken(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    """A resumed run takes the number of threads that it was begun with, if there are cores for them."""
    taken: list[int] = []
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(torch, "set_num_threads", taken.append)
    monkeypatch.setattr(device_module, "cores", lambda: 4)
    told = [take_threads(record.model_copy(update={"threads": threads}), CPU) for threads in (1, 2, 4, 5)]
    assert taken == [1, 4]
    assert told == [
        "threads: 1, as the run was begun with; this process would use 2",
        None,
        "threads: 4, as the run was begun with; this process would use 2",
        None,
    ]


def test_said_once(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is resumed with another torch says so in one line; one that is not says nothing of the kind."""
    assert run(tmp_path / "same", epochs=1, unchecked=True) == 0
    assert run(tmp_path / "same", epochs=2, resume=True) == 0
    assert "resumed with" not in capsys.readouterr().out
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        for room in ("binding", "device"):
            patch.setattr(f"plateau_rule.fftcore.{room}.versions", lambda: versions() | {"torch": "1.0"})
        assert run(out, epochs=1, unchecked=True) == 0
    assert run(out, epochs=2, resume=True) == 0
    told = [line for line in capsys.readouterr().out.splitlines() if line.startswith("resumed with torch ")]
    assert len(told) == 1
    assert "not 1.0. It goes on from the same weights" in told[0]


def test_two_threads_as_begun(tmp_path: Path) -> None:
    """A run that is begun on two threads and resumed by a process of one goes on with two."""
    before = torch.get_num_threads()
    out = tmp_path / "run"
    try:
        torch.set_num_threads(2)
        assert run(out, epochs=1, unchecked=True) == 0
        torch.set_num_threads(1)
        assert run(out, epochs=2, resume=True) == 0
        assert torch.get_num_threads() == min(2, device_module.cores())
    finally:
        torch.set_num_threads(before)


def test_a_run_on_a_cpu_leaves_cuda_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run on the CPU of a machine with a GPU neither reads nor sets the GPU's random numbers, which would wake it."""

    def touched(*given: object) -> None:
        raise AssertionError("CUDA was touched")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for name in ("get_rng_state", "set_rng_state", "set_device", "current_device", "get_device_name"):
        monkeypatch.setattr(torch.cuda, name, touched)
    assert run(tmp_path / "run", epochs=1, unchecked=True) == 0
    assert run(tmp_path / "run", epochs=2, resume=True) == 0


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (lambda: torch.empty(1 << 60), "you tried to allocate"),
        (lambda: np.empty(1 << 50), "Unable to allocate"),
        (lambda: _raise(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")), "CUDA out of memory"),
        (lambda: _raise(MemoryError()), "the memory does not suffice"),
    ],
)
def test_memory_that_does_not_suffice(error: Callable[[], object], sentence: str) -> None:
    """A run that does not fit into the memory ends in a sentence that says what to make smaller."""
    with pytest.raises(RunError, match=sentence) as caught, device_module.enough_memory():
        error()
    assert "smaller --batch-size" in str(caught.value)


def test_another_error_is_not_taken_for_memory() -> None:
    """Canary: an error of torch's that has another cause stays what it is."""
    with pytest.raises(RuntimeError, match="shape"), device_module.enough_memory():
        raise RuntimeError("shape mismatch")


def _raise(error: Exception) -> None:
    raise error
