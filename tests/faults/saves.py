"""Kills a process while it saves, over and over: no commit that was reported as saved is ever lost.

`python -m tests.faults.saves --kills 10000`: a child observes losses and saves each step in the background; it is
killed by SIGKILL at a random instant, and another goes on in the same folder. What was reported as saved must be there,
whole, and the plan it brings back must be that of an uninterrupted run: no step, cutoff or rate falls back. One line of
JSON counts. `--plant NAME` puts a defect in first, which must be found.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from time import perf_counter, sleep

from plateau_rule.controller.controller import Controller
from plateau_rule.controller.language.reading import loads
from plateau_rule.fftcore.checkpoint import STATE, Checkpoints, Commit
from plateau_rule.fftcore.errors import CheckpointError
from plateau_rule.fftcore.saving import Saving
from plateau_rule.fftcore.storage import Disk
from tests.faults.forks import temporary
from tests.fftcore.micro import CURRICULUM

EPOCHS = 200
LIMITS = {"cutoff": 1025}
WEIGHTS_BYTES = 50_000


MICRO = loads(CURRICULUM.replace(b"epochs = 4", f"epochs = {EPOCHS}".encode()), "micro.toml")


def controller() -> Controller:
    """The controller of the run that is saved, at its first step."""
    return Controller(MICRO, LIMITS)


def loss(step: int) -> float:
    """The loss of a step: it falls, as far as every epoch's end would have it."""
    return 5 / (1 + step)


def files(saved: Controller) -> Mapping[str, bytes]:
    """What is saved before a step: the controller, and as many bytes as make writing take a while."""
    step = saved.plan.step
    state = {"step": step, "controller": saved.state_dict()}
    return {STATE: json.dumps(state).encode(), "weights": step.to_bytes(4, "big") * (WEIGHTS_BYTES // 4)}


def save_on(folder: Path, report: int) -> None:
    """Go on from the newest commit, save before each step in the background, and report what is durable."""
    disk, run = Disk(), controller()
    checkpoints = Checkpoints(folder, 10, disk)
    newest = checkpoints.newest()
    if newest is not None:
        run.load_state_dict(newest.state["controller"])
        checkpoints.set_aside(newest.step)
        checkpoints.sweep()
    saving = Saving(checkpoints, 1, "stop", print)
    saving.saved = reported = None if newest is None else newest.step
    while run.plan.stop is None:
        held = files(run)
        saving.begin(run.plan.step, lambda held=held: held)  # type: ignore[misc]
        if saving.saved != reported:
            reported = saving.saved
            os.write(report, f"{reported}\n".encode())
        run.observe(loss(run.plan.step))
    saving.close()


class InPlace(Checkpoints):
    """Writes a commit where it will stand, its manifest first."""

    def save(self, step: int, files: Mapping[str, bytes]) -> Path:
        """Write it file by file, and remove what was before."""
        self.disk.make_folder(self.folder)
        for old in self.steps():
            self.disk.remove(self.path(old))
        super().save(step, files)
        moved = self.path(step).with_name("moved")
        self.path(step).rename(moved)
        self.path(step).mkdir()
        for path in sorted(moved.iterdir()):
            path.rename(self.path(step) / path.name)
        moved.rmdir()
        return self.path(step)


def planted(name: str) -> None:
    """Put a defect into what saves."""
    if name == "in place":
        globals()["Checkpoints"] = InPlace
    elif name == "early":  # reported when it is begun
        begin = Saving.begin

        def early(self: Saving, step: int, pack: object) -> None:
            begin(self, step, pack)  # type: ignore[arg-type]
            self.saved = step

        Saving.begin = early  # type: ignore[method-assign]
    elif name:
        raise SystemExit(f"no such defect: {name}")


class Saves:
    """A folder in which a run is saved and killed, and the plans of the uninterrupted run.

    Args:
        folder: for all of its runs.
        chance: when a process is killed.
    """

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self.place, self.chance, self.runs = folder, chance, 0
        run, self.plans = controller(), []
        while run.plan.stop is None:
            self.plans.append((run.plan.step, dict(run.plan.knobs), run.plan.lr))
            run.observe(loss(run.plan.step))
        self.save_s = 0.01
        self.begin()

    def begin(self) -> None:
        """Begin another run, in another folder."""
        self.runs += 1
        self.folder, self.acknowledged = self.place / f"run-{self.runs}", -1

    def killed(self) -> tuple[int, str]:
        """Let a child save, kill it, and return how many commits it reported, and what is wrong then, if anything."""
        reader, report = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.close(reader)
                save_on(self.folder, report)
            finally:
                os._exit(0)
        os.close(report)
        told = os.read(reader, 1)  # it saves by now
        began = perf_counter()
        sleep(self.chance.uniform(0, 3 * self.save_s))
        os.kill(child, signal.SIGKILL)
        spent_s = perf_counter() - began
        while piece := os.read(reader, 4096):
            told += piece
        os.close(reader)
        status = os.waitpid(child, 0)[1]
        reported = [int(line) for line in told.split(b"\n")[:-1]]
        if len(reported) > 1:
            self.save_s += 0.1 * (spent_s / len(reported) - self.save_s)
        self.acknowledged = max([self.acknowledged, *reported])
        fault = self._judged()
        if not os.WIFSIGNALED(status):  # it came to its end before it was killed
            self.begin()
        return len(reported), fault

    def _judged(self) -> str:
        try:
            found = Checkpoints(self.folder, 10, Disk()).newest()
        except CheckpointError as error:
            return str(error)
        if found is None:
            return "lost: there is no commit" if self.acknowledged >= 0 else ""
        if found.step < self.acknowledged:
            return f"lost: step {self.acknowledged} was reported, and step {found.step} is the newest"
        return self._compared(found)

    def _compared(self, found: Commit) -> str:
        run = controller()
        run.load_state_dict(found.state["controller"])
        plan = (run.plan.step, dict(run.plan.knobs), run.plan.lr)
        if run.plan.step != found.step or (run.plan.stop is None and plan != self.plans[found.step]):
            return f"another plan: {plan} at step {found.step}"
        whole = found.files["weights"] == found.step.to_bytes(4, "big") * (WEIGHTS_BYTES // 4)
        return "" if whole else f"other weights at step {found.step}"


def main() -> int:
    """Count, and return 1 if anything was lost."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--kills", type=int, default=10_000)
    asked.add_argument("--seed", type=int, default=0)
    asked.add_argument("--plant", default="")
    given = asked.parse_args()
    planted(given.plant)
    reported = wrong = 0
    with temporary() as folder:
        saves = Saves(Path(folder), random.Random(given.seed))
        for number in range(given.kills):
            count, fault = saves.killed()
            reported += count
            if fault:
                wrong += 1
                print(f"kill {number}: {fault}", flush=True)
                saves.begin()
    print(json.dumps({"kills": given.kills, "reported": reported, "runs": saves.runs, "wrong": wrong}))
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
