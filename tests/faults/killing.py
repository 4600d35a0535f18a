"""Kills micro runs and resumes them, each in a child of a process that has torch loaded already.

`python -m tests.faults.killing --kills 100` prints a line for each kill after which the run did not end as it would
have, and one line of JSON, which counts. `--plant NAME` puts a defect in first, which must be found.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from functools import partial
from itertools import accumulate, repeat
from pathlib import Path
from time import perf_counter

import torch
from torch import Tensor

import plateau_rule.fftcore.finish
import plateau_rule.fftcore.learner
from plateau_rule.fftcore import saving
from plateau_rule.fftcore.checkpoint import Checkpoints
from plateau_rule.fftcore.learner import Learner
from plateau_rule.fftcore.muon import Muon
from plateau_rule.fftcore.storage import Disk
from tests.faults.disks import CountedDisk, KillingDisk
from tests.faults.forks import forked, temporary
from tests.fftcore.micro import CURRICULUM, run

# Every request, at steps 16 and 24, which are multiples of save_every: there the order of what is done counts.
REQUESTS = CURRICULUM.replace(
    b'["lr_restart", "checkpoint"]', b'["lr_restart", "evaluate", "rollback", "reset_optimizer", "checkpoint"]'
)
SAVE_EVERY = 4
COMPARED = ("metrics.jsonl", "decisions.jsonl", "summary.json", "checkpoints/step-00000032/weights.safetensors")
COMMIT = re.compile(r"step-\d{8}")
ENDINGS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)
CALM = REQUESTS.replace(b'"rollback", ', b"")  # what runs that are saved by the clock are trained under
Work = Callable[[], int]


def micro(out: Path, resume: bool = False, disk: Disk | None = None, by_clock: bool = False) -> int:
    """Carry out the run that is killed here, or go on with it; saved by its steps, or by the clock."""
    save_every, curriculum = ("1 minute", CALM) if by_clock else (SAVE_EVERY, REQUESTS)
    return run(out, resume=resume, curriculum=curriculum, disk=disk, overrides={"save_every": save_every})


def resumed(out: Path, disk: Disk | None = None, by_clock: bool = False) -> int:
    """Go on with a run; begin it if it was killed before there was one."""
    return micro(out, (out / "run.json").exists(), disk, by_clock)


def clock_jumps(out: Path, chance: random.Random) -> None:
    """From now on, let the time of day jump by years and the other clock by hours, and date files anyhow."""
    seconds = accumulate(repeat(0), lambda now, _: now + chance.choice((0, 1, 20, 3600)), initial=0)
    saving.Saving = partial(saving.Saving, clock=lambda: next(seconds))  # type: ignore[misc,assignment]
    time.time = lambda: chance.uniform(-1e9, 4e9)
    for path in sorted(out.rglob("*")):
        os.utime(path, (chance.uniform(0, 4e9), chance.uniform(0, 4e9)), follow_symlinks=False)


def picture(folder: str | Path, path: str | Path) -> Path:
    """Stand in for the picture, which takes longer than the run."""
    Path(path).write_bytes(b"picture")
    return Path(path)


def in_step(number: int, ending: int) -> None:
    """From now on, send this process a signal in a step: after its gradients, before its update."""
    step_of = Learner.step

    def step(self: Learner, step: int, lr: float) -> Tensor:
        if step == number:
            os.kill(os.getpid(), ending)
        return step_of(self, step, lr)

    Learner.step = step  # type: ignore[method-assign]


def in_update(number: int) -> None:
    """From now on, kill this process in a step: after its gradients, before its update."""
    step_of = Learner.step

    def step(self: Learner, step: int, lr: float) -> Tensor:
        if step == number:
            torch.optim.AdamW.step = lambda *given: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[method-assign]
        return step_of(self, step, lr)

    Learner.step = step  # type: ignore[method-assign]


def in_score(ending: int) -> None:
    """From now on, send this process a signal while the run is scored at its end."""
    score_of = Learner.score

    def score(self: Learner, final: bool = False) -> dict[str, float]:
        if final:
            os.kill(os.getpid(), ending)
        return score_of(self, final)

    Learner.score = score  # type: ignore[method-assign]


def planted(name: str) -> None:
    """Put a defect into the trainer."""
    if name == "no moments":  # a commit that holds weights alone
        plateau_rule.fftcore.learner.copy_optimizer = lambda model, optimizer: _copy_nothing(model, optimizer)  # type: ignore[attr-defined]
    elif name == "no sweep":  # what a kill leaves behind stays
        Checkpoints.sweep = lambda self: None  # type: ignore[method-assign]
    elif name:
        raise SystemExit(f"no such defect: {name}")


_copy = plateau_rule.fftcore.learner.copy_optimizer  # type: ignore[attr-defined]


def _copy_nothing(model: torch.nn.Module, optimizer: Muon) -> dict[str, Tensor]:
    state = optimizer.state.copy()
    optimizer.state.clear()
    try:
        copied: dict[str, Tensor] = _copy(model, optimizer)
        return copied
    finally:
        optimizer.state.update(state)


class Kills:
    """An uninterrupted run, and ways to interrupt it.

    Args:
        folder: for all of its runs.
        chance: which way, and when.
    """

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self.folder, self.chance = folder, chance
        for name in ("whole", "calls", "calm"):
            (folder / name).mkdir()
        counted = CountedDisk()
        # Here and not in a child: what torch does only once is done then, and a child is three times as fast.
        micro(folder / "whole" / "run")
        began = perf_counter()
        micro(folder / "calls" / "run", disk=counted)
        self.run_s, self.calls = perf_counter() - began, counted.calls
        micro(folder / "calm" / "run", by_clock=True)
        self.expected = {
            by_clock: {name: (folder / place / "run" / name).read_bytes() for name in COMPARED}
            for by_clock, place in ((False, "whole"), (True, "calm"))
        }
        self.names = {path.name for path in (folder / "whole" / "run").iterdir()}

    def ways(self, out: Path, by_clock: bool) -> Mapping[str, Work]:
        """Return one way of each kind to interrupt a run, or a resumed one, at another place each time."""
        go_on = partial(resumed, out, by_clock=by_clock)
        call, step, ending = self.chance.randint(1, self.calls), self.chance.randrange(32), self.chance.choice(ENDINGS)
        late = self.chance.randint(self.calls - 60, self.calls)  # the last save, what it removes, and the summary
        after_s = self.chance.uniform(0.05, 1) * self.run_s

        def at_any_time() -> int:
            signal.setitimer(signal.ITIMER_REAL, after_s)
            return go_on()

        def after(change: Callable[[], None], disk: Disk | None = None) -> Work:
            def work() -> int:
                change()
                return go_on(disk)

            return work

        return {
            f"before call {call}": lambda: go_on(KillingDisk(call, torn=False)),
            f"in call {call}": lambda: go_on(KillingDisk(call, torn=True)),
            f"before call {late}": lambda: go_on(KillingDisk(late, torn=False)),
            f"in the update of step {step}": after(lambda: in_update(step)),
            f"at any time, {after_s:.3f} s": at_any_time,
            f"signal {ending} in step {step}": after(lambda: in_step(step, ending)),
            f"signal {ending} in the final score": after(lambda: in_score(ending)),
            f"clocks that jump, before call {call}": after(
                lambda: clock_jumps(out, self.chance), KillingDisk(call, False)
            ),
            "signal 15 in step 15": after(lambda: in_step(15, signal.SIGTERM)),  # a rollback comes next
        }

    def tried(self, number: int) -> tuple[list[str], str]:
        """Interrupt a run once or more, let it end, and return how, and what is wrong with it then, if anything."""
        out, by_clock = self.folder / f"{number}" / "run", number % 4 == 3
        out.parent.mkdir()
        told, done = out.parent / "told", []
        for turn in range(self.chance.choice((1, 1, 2, 3))):
            ways = self.ways(out, by_clock)
            way = list(ways)[(number + turn) % len(ways)]
            done.append(f"{way}: {forked(ways[way], told)}")
        if code := forked(lambda: resumed(out, by_clock=by_clock), told):
            return done, f"the resumed run ends with {code}: {told.read_text()[-600:]}"
        for name, content in self.expected[by_clock].items():
            if not (out / name).is_file() or (out / name).read_bytes() != content:
                return done, f"{name} differs"
        litter = {path.name for path in out.iterdir()} ^ self.names
        litter |= {path.name for path in (out / "checkpoints").iterdir() if not COMMIT.fullmatch(path.name)}
        return done, f"left behind: {sorted(litter)}" if litter else ""


def main() -> int:
    """Count, and return 1 if any run did not end as it would have."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--kills", type=int, default=100)
    asked.add_argument("--seed", type=int, default=0)
    asked.add_argument("--plant", default="")
    given = asked.parse_args()
    torch.set_num_threads(1)
    plateau_rule.fftcore.finish.draw_run = picture  # type: ignore[attr-defined]
    Learner.sample = lambda *given: b""  # type: ignore[method-assign]
    planted(given.plant)
    wrong, ended = 0, Counter[str]()
    with temporary() as folder:
        with redirect_stdout(io.StringIO()):
            kills = Kills(Path(folder), random.Random(given.seed))
        for number in range(given.kills):
            done, fault = kills.tried(number)
            ended.update(way.rpartition(": ")[2] for way in done)
            if fault:
                wrong += 1
                print(f"{'; then '.join(done)}: {fault}")
    print(
        json.dumps({"runs": given.kills, "kills": ended.total(), "ended": ended, "wrong": wrong, "calls": kills.calls})
    )
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
