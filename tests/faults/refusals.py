"""Lets the disk refuse a call of a whole run, each in turn: a sentence says so, and the run ends as it would have.

`python -m tests.faults.refusals --cases 400`: no space, an error, half a write, a sync or a rename that fails, once or
for ever from there on, under `--on-save-error stop` and `warn`. The run must say it; on a good disk it is then resumed,
and must leave what an undisturbed run leaves, to the byte. One line of JSON counts. `--plant NAME` puts a defect in
first, which must be found.
"""

from __future__ import annotations

import argparse
import errno
import io
import json
import random
import shutil
import sys
from collections import Counter
from contextlib import redirect_stdout, suppress
from itertools import product
from pathlib import Path
from typing import Any

import torch

import plateau_rule.fftcore.finish
from plateau_rule.controller.errors import PlateauError
from plateau_rule.fftcore.checkpoint import Checkpoints
from plateau_rule.fftcore.errors import StorageError
from plateau_rule.fftcore.learner import Learner
from plateau_rule.fftcore.saving import Saving
from plateau_rule.fftcore.storage import Disk
from tests.faults.disks import CountedDisk, FailingDisk
from tests.faults.forks import forked, temporary
from tests.faults.killing import COMMIT, COMPARED, REQUESTS, SAVE_EVERY, picture
from tests.fftcore.micro import run

# What fails: which error, whether half a write is done before, and of which kind of call.
FAULTS = {
    "no space": (errno.ENOSPC, False, ""),
    "error": (errno.EIO, False, ""),
    "short write": (errno.ENOSPC, True, "write"),
    "failed sync": (errno.EIO, False, "fsync"),
    "failed rename": (errno.EIO, False, "rename"),
}
# By policy, what is trained under: a commit that is missing is missing for a rollback too, which then goes elsewhere.
POLICIES = {"stop": REQUESTS, "warn": REQUESTS.replace(b'"rollback", ', b"")}


def carried_out(out: Path, disk: Disk, policy: str = "stop") -> int:
    """Begin a run, or go on with it, and return the exit code; an error is said as the command says it."""
    changes: dict[str, Any] = {"overrides": {"save_every": SAVE_EVERY}, "on_save_error": policy}
    try:
        return run(out, resume=(out / "run.json").exists(), curriculum=POLICIES[policy], disk=disk, **changes)
    except PlateauError as error:
        print(f"error: {error}", flush=True)
        return 2


def planted(name: str) -> None:
    """Put a defect into the trainer."""
    if name == "unsaid":  # what the disk refuses in the thread is dropped
        wait = Saving.wait

        def dropped(self: Saving) -> None:
            with suppress(StorageError):
                wait(self)

        Saving.wait = dropped  # type: ignore[method-assign]
    elif name == "room first":  # old commits are removed before the new one is whole
        save = Checkpoints.save

        def careless(self: Checkpoints, step: int, files: Any) -> Path:
            for old in self.steps():
                self.disk.remove(self.path(old))
            return save(self, step, files)

        Checkpoints.save = careless  # type: ignore[method-assign]
    elif name:
        raise SystemExit(f"no such defect: {name}")


class Refusals:
    """An undisturbed run, and disks that refuse it something.

    Args:
        folder: for all of its runs.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.expected, self.calls = folder, dict[str, dict[str, bytes]](), dict[str, int]()
        for policy in POLICIES:
            whole = folder / policy / "run"
            whole.parent.mkdir()
            carried_out(whole, Disk(), policy)
            self.expected[policy] = {name: self._seen(whole / name) for name in COMPARED}
            self.names = {path.name for path in whole.iterdir()}
        for only in {only for _, _, only in FAULTS.values()}:
            counted = CountedDisk(only)
            (folder / f"calls-{only}").mkdir()
            carried_out(folder / f"calls-{only}" / "run", counted)
            self.calls[only] = counted.calls

    def cases(self) -> list[tuple[str, int, bool, str]]:
        """Every call that can fail, in every way: the fault, the call's number, whether for ever, and the policy."""
        return [
            (fault, at, for_ever, policy)
            for fault, for_ever, policy in product(FAULTS, (False, True), POLICIES)
            for at in range(1, self.calls[FAULTS[fault][2]] + 1)
        ]

    def tried(self, fault: str, at: int, for_ever: bool, policy: str) -> tuple[int, str]:
        """Let one call fail; return the exit code, and what is wrong, if anything."""
        out = self.folder / "try" / "run"
        out.parent.mkdir()
        told = out.parent / "told"
        error, short, only = FAULTS[fault]
        code = forked(lambda: carried_out(out, FailingDisk(at, error, for_ever, short, only), policy), told)
        harmless = short and not for_ever  # the rest is written by the next call
        wrong = "" if harmless and code == 0 else self._judged(code, told.read_text(), policy)
        if not wrong and (again := forked(lambda: carried_out(out, Disk(), policy), told)):
            wrong = f"the resumed run ends with {again}: {told.read_text()[-600:]}"
        wrong = wrong or self._compared(out, policy)
        shutil.rmtree(out.parent)
        return code, wrong

    def _judged(self, code: int, told: str, policy: str) -> str:
        if "Traceback" in told or code not in ((2,) if policy == "stop" else (0, 1, 2)):
            return f"it ends with {code}: {told[-600:]}"
        said = [line for line in told.splitlines() if line.startswith("error: ") or ": not saved: " in line]
        if code == 2 and sum(line.startswith("error: ") for line in said) != 1:
            return f"not one sentence: {said}"
        return "" if said else "the disk refused, and nothing was said"

    def _compared(self, out: Path, policy: str) -> str:
        for name, content in self.expected[policy].items():
            if not (out / name).is_file() or self._seen(out / name) != content:
                return f"{name} differs"
        litter = {path.name for path in out.iterdir()} ^ self.names
        litter |= {path.name for path in (out / "checkpoints").iterdir() if not COMMIT.fullmatch(path.name)}
        return f"left behind: {sorted(litter)}" if litter else ""

    def _seen(self, path: Path) -> bytes:
        """A file's bytes; of a summary all but which checkpoints were refused."""
        if path.suffix != ".json":
            return path.read_bytes()
        return json.dumps(json.loads(path.read_bytes()) | {"checkpoints_refused": None, "checksum": None}).encode()


def main() -> int:
    """Count, and return 1 if any run did not end as it would have."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--cases", type=int, default=400)
    asked.add_argument("--seed", type=int, default=0)
    asked.add_argument("--plant", default="")
    given = asked.parse_args()
    torch.set_num_threads(1)
    plateau_rule.fftcore.finish.draw_run = picture  # type: ignore[attr-defined]
    Learner.sample = lambda *given: b""  # type: ignore[method-assign]
    wrong, ended = 0, Counter[int]()
    with temporary() as folder:
        with redirect_stdout(io.StringIO()):
            refusals = Refusals(Path(folder))
        planted(given.plant)
        cases = refusals.cases()
        for case in random.Random(given.seed).sample(cases, min(given.cases, len(cases))):
            code, fault = refusals.tried(*case)
            ended[code] += 1
            if fault:
                wrong += 1
                print(f"{case}: {fault}", flush=True)
    counts = {"cases": ended.total(), "of": len(cases), "ended": ended, "wrong": wrong}
    print(json.dumps(counts))
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
