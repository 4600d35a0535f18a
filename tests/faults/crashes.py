"""Plays every crash of the machine during saves, and some during whole runs: what was saved is there afterwards.

`python -m tests.faults.crashes --runs 100`: the calls of four saves are written down, and every folder is made that a
crash could have left between two of them, with whatever was not synced lost in any combination. Each must load a commit
that is no older than the last that was reported, and take the next. Then the same of whole micro runs, one combination
by chance at each of so many places; each is resumed and must end as it would have. One line of JSON counts. `--plant
NAME` puts a defect in first, which must be found.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import shutil
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from itertools import islice
from pathlib import Path

import torch

import plateau_rule.fftcore.finish
from plateau_rule.fftcore.checkpoint import STATE, Checkpoints
from plateau_rule.fftcore.errors import CheckpointError
from plateau_rule.fftcore.learner import Learner
from plateau_rule.fftcore.storage import Disk
from tests.faults.forks import forked, temporary
from tests.faults.killing import COMPARED, micro, picture, resumed
from tests.faults.machines import Machine, RecordingDisk, Tree, lay

STEPS = (0, 10, 20, 30)
MOST = 256  # after one call; there are fewer, but where a planted defect syncs nothing
ENOUGH = 10  # faults, to say that there are some
PLANTS = {"": "", "folders": "folders", "files": "files"}


def files(step: int) -> dict[str, bytes]:
    """What a commit of a step holds here."""
    return {STATE: b"{}", "weights": b"%08d" % step * 4}


def crashes_of_saves(folder: Path, unsynced: str) -> Iterator[tuple[Tree, int]]:
    """Every folder that a crash could leave during some saves, each with the last step that was reported by then."""
    disk = RecordingDisk(folder, unsynced)
    for step in STEPS:
        Checkpoints(folder / "checkpoints", 10, disk).save(step, files(step))
        disk.calls.append(("saved", step))
    machine, reported, seen = Machine(), -1, set[tuple[Tree, int]]()
    for call in disk.calls:
        if call[0] == "saved" and isinstance(call[1], int):
            reported = call[1]
        else:
            machine.do(call)
        for left in islice(machine.root.left(), MOST):
            if (left, reported) not in seen:
                seen.add((left, reported))
                yield left, reported


def fault_after(folder: Path, reported: int) -> str:
    """What is wrong with the commits that a crash has left, if anything."""
    checkpoints = Checkpoints(folder / "checkpoints", 10, Disk())
    try:
        newest = checkpoints.newest()
        step = -1 if newest is None else newest.step
        if step < reported:
            return f"lost: step {reported} was reported, and step {step} is the newest"
        if newest is not None and newest.files != files(step):
            return f"other files at step {step}"
        checkpoints.set_aside(step)
        checkpoints.sweep()
        following = step + 10 if step >= 0 else 0
        checkpoints.save(following, files(following))
        again = checkpoints.newest()
    except CheckpointError as error:
        return str(error)
    return "" if again is not None and again.step == following else "the next save is not there"


def crash_of_run(machine: Machine, chance: random.Random, place: Path, expected: dict[str, bytes]) -> str:
    """What is wrong with a run that is resumed after a crash, if anything."""
    place.mkdir()
    (left,) = machine.root.left(chance)
    lay(left, place / "run")
    told = place / "told"
    if code := forked(lambda: resumed(place / "run"), told):
        return f"the resumed run ends with {code}: {told.read_text()[-600:]}"
    for name, content in expected.items():
        if (place / "run" / name).read_bytes() != content:
            return f"{name} differs"
    shutil.rmtree(place)
    return ""


def main() -> int:
    """Count, and return 1 if anything was lost."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--runs", type=int, default=100)
    asked.add_argument("--seed", type=int, default=0)
    asked.add_argument("--plant", default="", choices=PLANTS)
    given = asked.parse_args()
    torch.set_num_threads(1)
    plateau_rule.fftcore.finish.draw_run = picture  # type: ignore[attr-defined]
    Learner.sample = lambda *given: b""  # type: ignore[method-assign]
    chance, wrong = random.Random(given.seed), 0
    with temporary() as name:
        folder = Path(name)
        (folder / "saves").mkdir()
        number = 0
        for number, (left, reported) in enumerate(crashes_of_saves(folder / "saves", PLANTS[given.plant]), 1):
            lay(left, folder / f"{number}")
            if fault := fault_after(folder / f"{number}", reported):
                wrong += 1
                print(f"crash {number} of the saves: {fault}", flush=True)
            shutil.rmtree(folder / f"{number}")
            if wrong == ENOUGH:
                break
        if given.runs:
            wrong += _runs(folder, chance, given.runs, PLANTS[given.plant])
    print(json.dumps({"crashes": number, "runs": given.runs, "wrong": wrong}))
    return int(wrong > 0)


def _runs(folder: Path, chance: random.Random, count: int, unsynced: str) -> int:
    (folder / "whole").mkdir()
    disk = RecordingDisk(folder / "whole" / "run", unsynced)
    with redirect_stdout(io.StringIO()):
        micro(folder / "whole" / "run", disk=disk)
    expected = {name: (folder / "whole" / "run" / name).read_bytes() for name in COMPARED}
    places, machine, wrong = sorted(chance.choices(range(len(disk.calls)), k=count)), Machine(), 0
    for number, call in enumerate(disk.calls):
        machine.do(call)
        for place in (at for at, where in enumerate(places) if where == number):
            if fault := crash_of_run(machine, chance, folder / f"run-{place}", expected):
                wrong += 1
                print(f"crash after call {number}, {call[:2]}: {fault}", flush=True)
    return wrong


if __name__ == "__main__":
    sys.exit(main())
