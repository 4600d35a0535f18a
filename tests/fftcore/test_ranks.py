"""Several ranks train as one process does, and stop together: two of them, over gloo."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import torch
from torch.distributed import HashStore, ProcessGroup  # type: ignore[attr-defined]

from plateau_rule import Controller, loads
from plateau_rule.fftcore import lookout, ranks
from plateau_rule.fftcore.binding import plan_run
from plateau_rule.fftcore.checkpoint import Checkpoints
from plateau_rule.fftcore.data import WindowBatch, Windows
from plateau_rule.fftcore.errors import RanksError, RunError
from plateau_rule.fftcore.learner import Learner
from plateau_rule.fftcore.lookout import Lookout
from plateau_rule.fftcore.run import rehearse_run
from plateau_rule.fftcore.storage import Disk
from tests.fftcore.micro import OVERRIDES, asked, micro_text, rows
from tests.fftcore.ranked import REQUESTS, SHAPE, differences, in_step, ranked, train


@pytest.fixture(autouse=True)
def no_time_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the pictures out, which take longer than these runs, and look no longer than needed for who is gone."""
    monkeypatch.setattr("plateau_rule.fftcore.finish.draw_run", lambda *given: None)
    monkeypatch.setattr(ranks, "GRACE_S", 2.0)
    monkeypatch.setattr(lookout, "LOOK_S", 0.1)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the run that one process trained."""
    out = tmp_path_factory.mktemp("alone") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("plateau_rule.fftcore.finish.draw_run", lambda *given: None)
        assert train(out) == 0
    return out


def told_by(tmp_path: Path, codes: list[int], fault: Callable[[], None], **changes: Any) -> str:
    """Train on two ranks, with a fault in rank 1; assert the exit codes, and return what was said."""
    (tmp_path / "micro.txt").write_bytes(micro_text())

    def work(rank: int) -> int:
        if rank == 1:
            fault()
        return train(tmp_path / "run", **changes)

    assert ranked(2, work, tmp_path / "told") == codes, (tmp_path / "told").read_text()
    return (tmp_path / "told").read_text()


def sent(number: int, at: int) -> Callable[[], None]:
    """A fault: this process is sent a signal in a step."""
    return lambda: in_step(at, lambda learner: os.kill(os.getpid(), number))


def goes_on(tmp_path: Path, alone: Path) -> None:
    """Assert that the run, resumed by one process, ends as the one that one process trained."""
    assert train(tmp_path / "run", resume=True) == 0
    assert differences(alone, tmp_path / "run") == []


def test_two_ranks_are_one(alone: Path, tmp_path: Path) -> None:
    """Two ranks decide what one process decides, on losses that differ by rounding, and leave the same files."""
    told = told_by(tmp_path, [0, 0], lambda: None)
    assert differences(alone, tmp_path / "run") == []
    assert {path.name for path in (tmp_path / "run").iterdir()} == {path.name for path in alone.iterdir()}
    assert json.loads((tmp_path / "run" / "run.json").read_text())["ranks"] == 2
    assert told.count("done: the run of 32 steps is over") == 1


def test_a_wrong_share_is_seen(alone: Path, tmp_path: Path) -> None:
    """Canary: where rank 1 takes the windows of rank 0, the comparison with one process fails."""
    batch_of = Windows.batch

    def fault() -> None:
        def batch(self: Windows, step: int, **how: Any) -> WindowBatch:
            return batch_of(self, step, **how | {"rank": 0})

        Windows.batch = batch  # type: ignore[method-assign]

    told_by(tmp_path, [0, 0], fault)
    assert "metrics.jsonl: loss" in differences(alone, tmp_path / "run")


@pytest.mark.parametrize("resumed_on", [1, 2])
def test_a_signal_tells_all(alone: Path, tmp_path: Path, resumed_on: int) -> None:
    """A signal to one rank ends both after the same step, saved, and the run goes on on either number of ranks."""
    told = told_by(tmp_path, [143, 143], sent(signal.SIGTERM, 9))
    assert "told to end, and saved: step 10." in told
    if resumed_on == 1:
        goes_on(tmp_path, alone)
    else:
        told_by(tmp_path, [0, 0], lambda: None, resume=True)
        assert differences(alone, tmp_path / "run") == []


@pytest.mark.parametrize(
    ("save_every", "sentence", "last"),
    [
        (100, "step 16: rank 1 decided otherwise than the others; all stop before the step is taken", 15),
        (5, "step 5: rank 1 is in another state than the others; all stop, and nothing is saved", 4),
    ],
)
def test_another_decision(alone: Path, tmp_path: Path, save_every: int, sentence: str, last: int) -> None:
    """Canary: a rank that decides otherwise, or is about to, stops both and is named; the run then goes on."""
    observe_of = Controller.observe

    def fault() -> None:
        def observe(self: Controller, loss: Any = None, **told: Any) -> Any:
            return observe_of(self, 10.0 ** -told["step"], **told)  # it falls, and is flat on no window

        Controller.observe = observe  # type: ignore[assignment,method-assign]

    told = told_by(tmp_path, [2, 2], fault, overrides={"save_every": save_every})
    assert told.count(sentence) == 1
    assert rows(tmp_path / "run" / "metrics.jsonl")[-1]["step"] == last
    if save_every == SHAPE["save_every"]:
        goes_on(tmp_path, alone)


def test_other_weights(tmp_path: Path) -> None:
    """Canary: a rank whose weights differ in one bit is named before anything is saved."""

    def fault() -> None:
        def spoil(learner: Learner) -> None:
            # A high bit: what a low one makes can vanish in the rounding of the steps until ranks are compared.
            learner.parameters[0].data.view(torch.int32).flatten()[0] ^= 1 << 20

        in_step(7, spoil)

    told = told_by(tmp_path, [2, 2], fault)
    assert "step 10: rank 1 has other weights than the others; all stop, and nothing is saved" in told
    assert Checkpoints(tmp_path / "run" / "checkpoints", 5, Disk()).steps() == [0, 5]


def test_a_loss_that_is_not_finite(tmp_path: Path) -> None:
    """A rank whose loss is not finite is named, its step is skipped on both, and they go on together."""

    hooks: list[Any] = []

    def spoil(learner: Learner) -> None:
        hooks.append(learner.model.norm.register_forward_hook(lambda module, given, result: result * torch.nan))

    def fault() -> None:
        in_step(9, spoil)
        in_step(10, lambda learner: hooks.pop().remove())

    told = told_by(tmp_path, [0, 0], fault)
    assert told.count("step 9: the loss of rank 1 alone is not finite; the step is skipped on all ranks") == 1
    assert [row["step"] for row in rows(tmp_path / "run" / "metrics.jsonl") if row.get("skipped")] == [9]


def rehearsed(folder: Path) -> tuple[list[int], str]:
    """The exit codes of a dry run on two ranks, and what was said."""
    (folder / "micro.txt").write_bytes(micro_text())
    line = asked(folder / "run", overrides=SHAPE)
    codes = ranked(2, lambda rank: rehearse_run(loads(REQUESTS), REQUESTS, line, False), folder / "told")
    return codes, (folder / "told").read_text()


def test_a_dry_run(tmp_path: Path) -> None:
    """A dry run on two ranks takes its steps on both; one speaks, all exit with 0, and nothing is written."""
    codes, told = rehearsed(tmp_path)
    assert codes == [0, 0], told
    assert told.count("2 ranks: the steps that are timed are taken by all of them") == 1
    assert told.count("the run takes") == 1
    assert not (tmp_path / "run").exists()


def test_the_group_outlives_the_learner(tmp_path: Path) -> None:
    """The group is held to the end: taken down with the last learner, it could wait for its own thread for ever."""
    (tmp_path / "micro.txt").write_bytes(micro_text())
    line = asked(tmp_path / "run", overrides=SHAPE)

    def work(rank: int) -> int:
        code = rehearse_run(loads(REQUESTS), REQUESTS, line, False)
        return code or int([type(group) for group in ranks.JOINED] != [ProcessGroup])

    assert ranked(2, work) == [0, 0]


def test_a_dry_run_that_is_refused(tmp_path: Path) -> None:
    """What is refused in a dry run, or in a run, is said once, by rank 0; all exit with 2."""
    (tmp_path / "run").write_bytes(b"")
    codes, told = rehearsed(tmp_path)
    assert codes == [2, 2]
    assert told.strip().count("\n") == 0
    assert "run: is a file, and a run takes a folder" in told


def test_a_rank_that_dies(alone: Path, tmp_path: Path) -> None:
    """A rank that is killed is named by the other, which ends too; the last commit is whole, and the run goes on."""
    told = told_by(tmp_path, [2, -9], sent(signal.SIGKILL, 12))
    assert "rank 1 does not answer any more: killed, stopped, or out of reach" in told
    assert Checkpoints(tmp_path / "run" / "checkpoints", 5, Disk()).newest() is not None
    goes_on(tmp_path, alone)


def test_a_mistake_on_one_rank(tmp_path: Path) -> None:
    """What is wrong on one rank alone is said by it, and by the other as the reason why it ends."""
    (tmp_path / "micro.txt").write_bytes(micro_text())
    (tmp_path / "other.txt").write_bytes(micro_text()[1:])

    def work(rank: int) -> int:
        return train(tmp_path / "run", data=tmp_path / ("other.txt" if rank else "micro.txt"))

    assert ranked(2, work, tmp_path / "told") == [2, 2]
    told = (tmp_path / "told").read_text()
    assert "rank 1: " in told
    assert "other.txt: is another text than the run" in told
    assert "rank 1 has ended, and the run with it: " in told


LADDER = "ladder = [2, 3, 4]"
RAMP = 'set = { batch_size = 2 }\nramp = { batch_size = { to = 4, over = "1 epoch" } }'
RANGE = "range = { min = 2, max = 4, multiple_of = 1 }"


@pytest.mark.parametrize(
    ("knob", "growing", "refused"),
    [
        (LADDER, "set = { batch_size = 3 }", "a batch of 3 windows"),
        (
            LADDER,
            RAMP,
            "a batch of 3 windows",
        ),
        (
            RANGE,
            RAMP,
            "moves in steps of 1",
        ),
        (
            RANGE.replace("1", "2"),
            RAMP,
            None,
        ),
        (LADDER, "set = { batch_size = 2 }", None),
    ],
)
def test_uneven_shares(tmp_path: Path, knob: str, growing: str, refused: str | None) -> None:
    """A batch that cannot be shared out equally, in any state or on any rung, is refused before anything is written."""
    source = f"""
        format = 1
        name = "batches"
        run = {{ epochs = 2, steps_per_epoch = 8 }}
        lr = {{ peak = 1e-2 }}
        [knob.batch_size]
        {knob}
        [[state]]
        name = "growing"
        {growing}
        [[state]]
        name = "full"
        set = {{ batch_size = 4 }}
        [[transition]]
        from = "growing"
        to = "full"
        guards = [{{ dwell = "1 epoch" }}]
    """
    line = asked(tmp_path / "run", overrides={"batch_size": 4}, unchecked=True, ranks=2)
    if refused is None:
        assert plan_run(loads(source), source.encode(), line)[0].ranks == 2
    else:
        with pytest.raises(RunError, match=rf'"growing": .*{refused} cannot be shared out equally among 2'):
            plan_run(loads(source), source.encode(), line)


def test_a_slow_rank_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits long for others says for which, once, and when they have come."""
    monkeypatch.setattr(lookout, "LONG_S", 0.0)
    monkeypatch.setattr(lookout, "LOOK_S", 0.001)
    lines, said = [], Event()

    def say(line: str) -> None:
        lines.append(line)
        said.set()

    store = HashStore()
    store.set("plateau/waiting/2", "1")
    seen = Lookout(store, 0, 3, say)
    with seen.waiting():
        assert said.wait(60)
    seen.close()
    assert lines[0].startswith("rank 1: 0 s behind the others, which wait")
    assert lines[1] == "rank 1 came after 0 s; the run goes on"
    assert len(lines) == 2


def test_who_waits_as_well_is_not_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of ranks that wait in the meeting before, only one whose pulse has stopped is named, not one that is alive."""
    store, lines, said = HashStore(), list[str](), Event()
    monkeypatch.setattr(lookout, "LONG_S", 1.0)
    monkeypatch.setattr(lookout, "LOOK_S", 0.001)
    store.set("plateau/waiting/1", "1")
    store.set("plateau/waiting/2", "1")
    alive = Lookout(store, 2, 3, lines.append)

    def say(line: str) -> None:
        lines.append(line)
        said.set()

    seen = Lookout(store, 0, 3, say)
    with alive.waiting(quiet=True):
        with seen.waiting(quiet=True):
            pass
        with seen.waiting():
            assert said.wait(60)
    seen.close()
    alive.close()
    assert lines[0].startswith("rank 1: ")
    assert len(lines) == 2


class Ended(list[str]):
    """What a lookout says, and whether it has ended the process."""

    def __init__(self) -> None:
        super().__init__()
        self.event = Event()


def watched(monkeypatch: pytest.MonkeyPatch, store: HashStore) -> tuple[Ended, Lookout]:
    """A lookout that has no patience: what it says, and itself."""
    for name in ("LONG_S", "LOOK_S", "LEAVE_S"):
        monkeypatch.setattr(lookout, name, 0.001)
    monkeypatch.setattr(lookout, "SILENT_S", 2.0)
    told = Ended()
    return told, Lookout(store, 0, 3, told.append, told.event.set)


def test_a_rank_without_a_pulse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits for a rank whose pulse has stopped says that it is gone and ends the process."""
    store = HashStore()
    told, seen = watched(monkeypatch, store)
    beat = Lookout(store, 2, 3, told.append, told.event.clear)
    with seen.waiting(quiet=True):
        assert told.event.wait(60)
    seen.close()
    beat.close()
    assert told[0].startswith("rank 1 does not answer any more: killed, stopped, or out of reach. The run ends here")
    assert store.get(lookout.LOST).decode() == told[0]


def test_who_waits_though_a_rank_is_known_to_be_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits on though another rank has found out that one is gone ends, and says nothing that was said."""
    store = HashStore()
    monkeypatch.setattr(lookout, "LONG_S", 1e9)
    store.set(lookout.LOST, "rank 1 is gone")
    assert lookout.speaks_first(store, "rank 1 is gone")
    told, seen = watched(monkeypatch, store)
    with seen.waiting(quiet=True):
        assert told.event.wait(60)
    seen.close()
    assert [line for line in told if "is gone" in line] == []


def test_the_sentence_is_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """All ranks end by one sentence, that of the first to know; a store that does not answer is a reason too."""
    store = HashStore()
    world = ranks.World(0, 2, store)
    monkeypatch.setattr(ranks, "GRACE_S", 0.01)
    first = world.why_lost(RuntimeError("gloo: reset"))
    assert first.startswith("rank 1 does not answer any more")
    assert world.why_lost(RuntimeError("gloo: closed")) == first
    assert world.lookout is not None
    world.lookout.close()

    def out_of_reach(*given: object) -> str:
        raise RuntimeError("Broken pipe")

    monkeypatch.setattr(ranks.World, "_roll_call", out_of_reach)
    assert world.why_lost(RuntimeError("gloo: closed")) == lookout.NO_STORE


def test_a_rank_that_never_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has not come in time is named, before the ranks are joined."""
    monkeypatch.setattr(ranks, "ARRIVAL_S", 0.0)
    world = ranks.World(1, 4, HashStore())
    with pytest.raises(RanksError, match=r"^ranks 0, (1, )?2 and 3 of 4 did not come within 0 s"):
        world.meet()
    assert world.lookout is not None
    world.lookout.close()


@pytest.mark.slow
def test_under_torchrun(alone: Path, tmp_path: Path) -> None:
    """`torchrun -m plateau_rule.fftcore.run` trains on two ranks, and one says so; a run that it began goes on."""
    (tmp_path / "micro.txt").write_bytes(micro_text())
    (tmp_path / "micro.toml").write_bytes(REQUESTS)
    shape = {name: value for name, value in (asdict(OVERRIDES) | SHAPE).items() if value is not None}
    flags = [word for name, value in shape.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    train_it = ["plateau_rule.fftcore.run", "micro.toml", "--data", "micro.txt", "--out", "run", "--device", "cpu"]
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
    done = subprocess.run([*launch, *train_it, *flags], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("2 ranks: each takes one of 2 equal shares of every batch") == 1
    assert differences(alone, tmp_path / "run") == []
