"""Cells of `fftcore`: each is a run of `plateau train`, resumed where it was interrupted; and what a step takes."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from math import ceil
from pathlib import Path
from time import process_time
from typing import TYPE_CHECKING, Any

from plateau_rule.controller.binding import Binding, bind
from plateau_rule.controller.errors import PlateauError
from plateau_rule.controller.language.curriculum import Curriculum
from plateau_rule.controller.language.reading import load
from plateau_rule.controller.machine import Machine
from plateau_rule.sim.run_files import METRICS
from plateau_rule.trials.budget import TrialError

if TYPE_CHECKING:
    from plateau_rule.fftcore.learner import Learner
    from plateau_rule.fftcore.record import Record
    from plateau_rule.trials.cell import Cell

KEPT = 12  # checkpoints that a run keeps for others to branch off at
ROUNDS, STEPS = 7, 3  # a setting is timed so often, so many steps each, in turns with the others
SCORE = "val_bpb"


def train_run(cell: Cell, run: Path, beside: Sequence[Path] | None = None) -> list[Mapping[str, Any]]:
    """Train a cell as a run in a folder, or go on with it.

    Args:
        cell: to be trained.
        run: its folder.
        beside: runs of other cells that differ in the curriculum alone: the steps that it shares with one of them are
            not trained again. None where no other cell shares steps with this one.

    Returns:
        Bits per byte of held-out text, after each epoch and at the end.

    Raises:
        TrialError: `plateau train` failed; what it said stands in the log.
    """
    words = ["--resume=auto", "--seed", str(cell.seed), *cell.trainer.words]
    if beside is not None:
        words += _checkpoints(cell, run)
        if not run.exists():
            _branch_off(cell, run, beside)
    _plateau_train(run.parent / "curriculum.toml", run, *words)
    record = _record(run)
    machine = _machine(cell.curriculum, record)
    step_s = {_key(knobs): seconds for knobs, seconds in cell.step_s}
    points: list[Mapping[str, Any]] = []
    spent = {"tokens": 0.0, "cost": 0.0, "time_s": 0.0}
    row: dict[str, Any] = {}
    for row in _rows(run / METRICS):
        for meter in machine.meters:
            spent[meter.name] += meter.price(row["knobs"])
        spent["time_s"] += step_s.get(_key(row["knobs"]), 0.0)
        if SCORE in row:
            points.append(_point(row["step"] + 1, row[SCORE], spent, machine, step_s))
    if row and SCORE not in row:
        points.append(_point(row["step"] + 1, _score_at_the_end(run, record), spent, machine, step_s))
    return points


def shares(cell: Cell) -> bool:
    """Whether a cell may share steps with others; where it rolls back, its checkpoints decide what it trains."""
    every = cell.curriculum.run.steps_per_epoch is not None
    return every and not any("rollback" in transition.actions for transition in cell.curriculum.transition)


def thin(run: Path) -> None:
    """Remove the checkpoints of a run that others could branch off at."""
    from plateau_rule.fftcore.checkpoint import CHECKPOINTS, Checkpoints
    from plateau_rule.fftcore.storage import Disk

    Checkpoints(run / CHECKPOINTS, None, Disk()).thin()


def _checkpoints(cell: Cell, run: Path) -> list[str]:
    """Options of a run that others may branch off: a checkpoint at the end of an epoch, as often as there is room."""
    length, given = cell.curriculum.run, [word.partition("=")[0] for word in cell.trainer.words]
    every = (length.steps_per_epoch or 1) * ceil((length.epochs or 1) / KEPT)
    words = [] if "--keep" in given else ["--keep", str(KEPT + 1)]
    return words if run.exists() or "--save-every" in given else [*words, "--save-every", str(every)]


def _branch_off(cell: Cell, run: Path, beside: Sequence[Path]) -> None:
    """Begin a run where it leaves the one with which it shares most steps, if it shares any."""
    from plateau_rule.fftcore.branching import BranchOptions, find_branch, write_branch
    from plateau_rule.fftcore.storage import Disk

    source, asked = (run.parent / "curriculum.toml").read_bytes(), BranchOptions(run)
    if "--unchecked" in cell.trainer.words:
        asked = replace(asked, unchecked=True)
    found = []
    for other in beside:
        try:
            found.append(find_branch(other, cell.curriculum, source, asked))
        except PlateauError as error:
            print(f"not branched off {other}: {error}")
    if found:
        longest = max(found, key=lambda each: each.step)
        write_branch(longest, run, Disk())
        print(f"{longest.step} steps are those of {longest.run}")


def _point(
    step: int, score: float | str, spent: Mapping[str, float], machine: Machine, step_s: Mapping[Any, float]
) -> dict[str, Any]:
    scales = {meter.name: meter.scale for meter in machine.meters}
    point = {"step": step, "score": float(score)}
    point |= {name: spent[name] / scale for name, scale in scales.items()}
    if isinstance(machine.run.tokens_per_step, int):
        point["tokens"] = step * machine.run.tokens_per_step
    return point | ({"time_s": spent["time_s"]} if step_s else {})


def _plateau_train(curriculum: Path, run: Path, *words: str) -> None:
    from plateau_rule.trials.cell import ending

    command = [sys.executable, "-m", "plateau_rule", "train", str(curriculum), "--out", str(run), *words]
    sys.stdout.flush()
    code = subprocess.run(command, check=False).returncode
    if code:
        raise TrialError(f"plateau train {ending(code)}")


def _record(run: Path) -> Record:
    from plateau_rule.fftcore.record import read_record

    return read_record(run)


def _machine(curriculum: Curriculum, record: Record) -> Machine:
    """The curriculum as the run has bound it."""
    run = record.bound
    binding = Binding(
        run.limits,
        epochs=run.epochs,
        steps_per_epoch=run.steps_per_epoch,
        tokens_per_step=run.tokens_per_step,
        peak=run.peak,
    )
    return bind(curriculum, binding)


def _rows(metrics: Path) -> Iterator[dict[str, Any]]:
    with metrics.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def _key(knobs: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted(knobs.items()))


def _learner(record: Record) -> Learner:
    import torch

    from plateau_rule.fftcore.data import EMBEDDED, read_text
    from plateau_rule.fftcore.learner import Learner

    text = read_text(None if record.text.name == EMBEDDED else Path(record.text.name))
    return Learner(record.config, text, record.seed, torch.device(record.device), record.heads_only)


def _score_at_the_end(run: Path, record: Record) -> float:
    """Bits per byte after the last step, on the text that epochs are scored on."""
    from plateau_rule.fftcore.checkpoint import CHECKPOINTS, Checkpoints
    from plateau_rule.fftcore.storage import Disk

    commit = Checkpoints(run / CHECKPOINTS, None, Disk()).newest()
    if commit is None:
        raise TrialError(f"{run}: the run is over and has no checkpoint")
    learner = _learner(record)
    learner.restore(commit)
    learner.turn(next(reversed(list(_rows(run / METRICS))))["knobs"])
    return learner.score()[SCORE]


# What a step takes


def measure(folders: Sequence[Path]) -> None:
    """Time steps under the settings that `folders` name, each setting once, and write down what was found in each.

    What was timed before is known beside them; all of them are of one trainer.
    """
    found = [_bound(folder) for folder in folders]
    known = folders[0].parent / json.loads((folders[0] / "asked.json").read_bytes())["known"]
    step_s = json.loads(known.read_bytes()) if known.exists() else {}
    whole = {_spelled({**each["limits"], **knobs}): knobs for each in found for knobs in each["settings"]}
    if new := [key for key in whole if key not in step_s]:
        step_s |= dict(
            zip(new, _step_s(_learner(_record(folders[0] / "run")), [whole[key] for key in new]), strict=True)
        )
        _write(known, step_s)
    for folder, each in zip(folders, found, strict=True):
        seconds = [step_s[_spelled({**each["limits"], **knobs})] for knobs in each["settings"]]
        _write(folder / "prices.json", {**each, "step_s": seconds})


def _bound(folder: Path) -> dict[str, Any]:
    """The settings that a folder names as a run has them, which comes from one of a single step."""
    asked = json.loads((folder / "asked.json").read_bytes())
    run = folder / "run"
    _plateau_train(
        folder / "curriculum.toml", run, "--resume=auto", "--epochs=1", "--steps-per-epoch=1", *asked["words"]
    )
    record = _record(run)
    machine = bind(load(folder / "curriculum.toml"), record.bound.limits)
    limits = dict(machine.limits or {})
    settings = [
        {name: limits.get(name, v) if v == "full" else v for name, v in knobs.items()} for knobs in asked["settings"]
    ]
    return {"limits": limits, "tokens_per_step": record.bound.tokens_per_step, "settings": settings}


def _spelled(setting: Mapping[str, Any]) -> str:
    return json.dumps(setting, sort_keys=True)


def _write(path: Path, content: Mapping[str, Any]) -> None:
    """Write a file that is there whole, or not at all."""
    beside = path.with_name(f".{path.name}.unfinished")
    beside.write_text(json.dumps(content, indent=1) + "\n")
    beside.replace(path)


def _step_s(learner: Learner, settings: Sequence[Mapping[str, Any]]) -> list[float]:
    """Processor seconds of a step under each setting, taken in turns; the fastest counts: other work only slows it."""
    times_s: list[list[float]] = [[] for _ in settings]
    gc.disable()
    for knobs in settings:
        learner.turn(knobs)
        learner.step(0, 0.0).tolist()  # which makes room, and does not count
    for _ in range(ROUNDS):
        for own, knobs in zip(times_s, settings, strict=True):
            learner.turn(knobs)
            began = process_time()
            for step in range(STEPS):
                learner.step(step, 0.0).tolist()
            own.append((process_time() - began) / STEPS)
    gc.enable()
    return [min(own) for own in times_s]


if __name__ == "__main__":
    measure([Path(word) for word in sys.argv[1:]])
