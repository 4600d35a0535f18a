"""One cell: a curriculum, a seed, a budget and a trainer, in a folder of its own; it is trained once.

The folder holds `cell.json` and `curriculum.toml`, which say what it is, `log.txt`, what was printed, and
`curve.jsonl`, which stands there only when it is finished. Its name comes from what it is: what differs in anything is
another cell.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plateau_rule.controller.errors import PlateauError, visible
from plateau_rule.controller.language.canonical import digest
from plateau_rule.controller.language.curriculum import Curriculum
from plateau_rule.controller.language.reading import load
from plateau_rule.controller.language.writing import dumps
from plateau_rule.controller.meters import KnobClock
from plateau_rule.trials.budget import TrainingBudget, TrialError, meters_in
from plateau_rule.trials.curve import ASKED, Curve, read_curve, write_curve
from plateau_rule.trials.trainer import Trainer

CELL, CURRICULUM, CURVE, LOG, RUN = "cell.json", "curriculum.toml", "curve.jsonl", "log.txt", "run"


@dataclass(frozen=True)
class Cell:
    """One training.

    Attributes:
        curriculum: that it follows, its budget in its `[run]`.
        trainer: what trains.
        seed: of the weights and of the order of the data.
        budget: how much it may spend.
        step_s: seconds of a step for settings of the knobs, where the trainer does not measure them itself.
    """

    curriculum: Curriculum
    trainer: Trainer
    seed: int
    budget: TrainingBudget
    step_s: tuple[tuple[Mapping[str, Any], float], ...] = ()

    def said(self) -> dict[str, Any]:
        """What its folder says of it, but for the curriculum."""
        return {
            "format": 1,
            "trainer": self.trainer.text,
            "seed": self.seed,
            "budget": str(self.budget),
            **self.trainer.inputs,
        }

    @property
    def name(self) -> str:
        """The name of its folder."""
        known = digest({**self.said(), "curriculum": dumps(self.curriculum)})
        return f"{self.curriculum.name}-seed-{self.seed}-{known[:10]}"

    def write(self, cells: Path) -> Path:
        """Make its folder below `cells`, if it is not there; the folder."""
        folder = cells / self.name
        if not (folder / CELL).exists():
            folder.mkdir(parents=True, exist_ok=True)
            (folder / CURRICULUM).write_text(dumps(self.curriculum), encoding="utf-8", newline="\n")
            beside = folder / f".{CELL}.unfinished"
            said = {**self.said(), "step_s": [[dict(knobs), seconds] for knobs, seconds in self.step_s]}
            beside.write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")
            beside.replace(folder / CELL)
        return folder


def read_cell(folder: Path) -> Cell:
    """Read what a cell's folder says.

    Raises:
        TrialError: it is none.
    """
    try:
        said = json.loads((folder / CELL).read_bytes())
        curriculum, trainer = load(folder / CURRICULUM), Trainer.read(said["trainer"])
        step_s = tuple((dict(knobs), float(seconds)) for knobs, seconds in said["step_s"])
        return Cell(curriculum, trainer, int(said["seed"]), TrainingBudget.read(said["budget"]), step_s)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrialError(f"{folder}: holds no cell of an experiment: {error}") from None


def curve_of(folder: Path) -> Curve | None:
    """The curve of a cell that is finished."""
    return read_curve(folder / CURVE) if (folder / CURVE).exists() else None


def command_of(folder: Path, beside: Sequence[Path] | None = None) -> list[str]:
    """The command that trains one cell, and nothing else."""
    others = [] if beside is None else ["--beside", *map(str, beside)]
    return [sys.executable, "-m", __package__, str(folder), *others]


def main(folder: Path, beside: Sequence[Path] | None = None) -> int:
    """Train a cell, unless it is finished; the exit code.

    Args:
        folder: of the cell.
        beside: those of cells that differ in their curriculum alone, trained before; None where none shares its steps.
    """
    try:
        with _locked(folder):
            if not (folder / CURVE).exists():
                _begin_log(folder / LOG)
                train(read_cell(folder), folder, beside)
    except PlateauError as error:
        print(error, file=sys.stderr)
        return 2
    except SystemExit as error:
        print(f"the trainer ended by sys.exit({error.code!r}), and gave no curve", file=sys.stderr)
        return 1
    except Exception as error:  # a trainer of a user's: its own words, and last what went wrong
        traceback.print_exc()
        if len(lines := str(error).strip().splitlines()) > 1:
            print(f"{type(error).__name__}: {lines[0]}", file=sys.stderr)
        return 1
    return 0


def _begin_log(log: Path) -> None:
    """Empty the log that this process prints into; one that only waited for another has left it to that one."""
    sys.stdout.flush()
    if log.exists() and os.path.samestat(log.stat(), os.fstat(1)):
        os.ftruncate(1, 0)


def train(cell: Cell, folder: Path, beside: Sequence[Path] | None = None) -> None:
    """Train a cell, and put its curve into its folder."""
    if cell.trainer.kind == "fftcore":
        from plateau_rule.trials.byte_model import train_run

        points = train_run(cell, folder / RUN, None if beside is None else [other / RUN for other in beside])
    elif cell.trainer.kind == "function":
        points = _listed(cell.trainer.function()(cell.curriculum, cell.budget, cell.seed))
    else:
        points = _run_command(cell, folder)
    Curve.of(points)
    write_curve(folder / CURVE, list(_counted(cell.curriculum, points)))


def _listed(points: object) -> list[Mapping[str, Any]]:
    """What a function gave."""
    if isinstance(points, str | bytes | Mapping) or not isinstance(points, Iterable):
        raise TrialError(
            f"the function gave {type(points).__name__}; expected a list of points, or that it yields them"
        )
    return list(points)


def _run_command(cell: Cell, folder: Path) -> list[Mapping[str, Any]]:
    out = (folder / ".out.jsonl").absolute()
    out.unlink(missing_ok=True)
    words = cell.trainer.command((folder / CURRICULUM).absolute(), cell.seed, cell.budget, out)
    sys.stdout.flush()
    code = subprocess.run(words, check=False).returncode
    if code:
        raise TrialError(f"the command {ending(code)}")
    if not out.exists():
        raise TrialError(f"the command ended well and wrote no curve to {out}")
    with out.open(encoding="utf-8", errors="replace") as lines:
        points = [_point(line, number) for number, line in enumerate(lines, 1) if line.strip()]
    out.unlink()
    return points


def _point(line: str, number: int) -> Mapping[str, Any]:
    try:
        return json.loads(line)  # type: ignore[no-any-return]  # what it is, the curve asks
    except ValueError:
        found = visible(line.strip()[:80])
        raise TrialError(
            f"line {number} of what the command wrote is no JSON: {found}; expected {ASKED}, each in a line of its own"
        ) from None


def ending(code: int) -> str:
    """How a process ended that did not end well."""
    if code >= 0:
        return f"ended with {code}"
    killed = " (a system that runs out of memory does that)" if -code == signal.SIGKILL else ""
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    return f"was ended by {name}{killed}"


def _counted(curriculum: Curriculum, points: list[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Points with the tokens and the cost of their steps, where each step of the curriculum has the same."""
    prices = {meter.name: meter.price(curriculum.state[0].set) / meter.scale for meter in _constant_meters(curriculum)}
    if isinstance(curriculum.run.tokens_per_step, int):
        prices["tokens"] = curriculum.run.tokens_per_step
    for point in points:
        yield {**{name: price * float(point["step"]) for name, price in prices.items()}, **point}


def _constant_meters(curriculum: Curriculum) -> tuple[KnobClock, ...]:
    if len(curriculum.state) > 1 or curriculum.state[0].ramp or curriculum.state[0].each:
        return ()
    return tuple(
        meter
        for meter in meters_in(curriculum)
        if all(not isinstance(curriculum.state[0].set[name], str) for name in meter.knobs)
    )


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep a cell to one process: another one waits, and finds it finished."""
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)
