"""The form of a run folder, whoever writes it: `plateau train`, or an adapter in somebody else's trainer.

`replay`, `noise`, `tune` and `plot` read such a folder; docs/run-folder.md describes it. No framework is known here.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, BinaryIO
from weakref import finalize

from plateau_rule.controller.controller import Controller
from plateau_rule.controller.errors import PlateauError
from plateau_rule.controller.language.canonical import digest
from plateau_rule.controller.language.writing import dumps
from plateau_rule.controller.machine import Action
from plateau_rule.controller.plan import Decision, Plan
from plateau_rule.sim.run_files import CURRICULUM, DECISIONS, METRICS, RECORD

FORMAT = 1


class RunFolderError(PlateauError):
    """A run folder that cannot be written, or not as it was asked for."""


def plan_row(plan: Plan) -> dict[str, Any]:
    """What a row of metrics.jsonl says of the plan that was in force during its step."""
    return {
        "step": plan.step,
        "epoch": plan.epoch,
        "state": plan.state,
        "knobs": dict(plan.knobs),
        "lr": plan.lr,
    }


def decision_row(decision: Decision, requests: Sequence[Action]) -> dict[str, Any]:
    """A row of decisions.jsonl.

    Args:
        decision: the transition that was taken.
        requests: what it asked the trainer to do.
    """
    return {
        "step": decision.step,
        "epoch": decision.epoch,
        "from": decision.from_state,
        "to": decision.to_state,
        "transition": decision.transition,
        "knobs": dict(decision.knobs),
        "knobs_before": dict(decision.knobs_before),
        "lr": decision.lr,
        "lr_before": decision.lr_before,
        "loss": decision.loss,
        "guards": list(decision.guards),
        "requests": [str(request) for request in requests],
    }


def one_line(row: Mapping[str, Any]) -> str:
    """Spell a row as one line of JSON; NaN and infinities, which JSON has no numbers for, become words."""
    return json.dumps({key: spelled(value) for key, value in row.items()}, allow_nan=False, ensure_ascii=False)


def spelled(value: object) -> object:
    """Return what JSON can hold of a value: NaN, Infinity and -Infinity as words that `float` reads again."""
    if isinstance(value, float) and not -float("inf") < value < float("inf"):
        return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
    return value


class RunFolder:
    """Writes the folder of a run that somebody else's trainer carries out, row by row.

    Each row is in the system's hands as soon as its method returns, so that a killed process loses none. A run that
    goes on at an earlier step has the rows from there on cut off.

    Args:
        folder: to write; made where it is missing.
        controller: bound to the run.
        step: where the run begins or goes on: 0 begins a new one.
        trainer: the name of what trains.
        checked: what `plateau check` said of each property before the first step; None where nobody asked it.

    Raises:
        RunFolderError: the folder holds another run, or cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        controller: Controller,
        step: int,
        trainer: str,
        checked: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        if not step and (folder / RECORD).exists():
            raise RunFolderError(
                f"{folder}: holds a run already, and this one begins at step 0. Name another folder, or resume from a "
                "checkpoint; nothing in it was touched"
            )
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._write_record(controller, step, trainer, checked)
            # What came after the last step is kept only if the state that is gone on from has seen it: the evaluation
            # after it, and a decision, which applies from the next step on.
            run = controller.run_state
            self._metrics = _cut(folder / METRICS, step, step if run.evaluated == step else step - 1)
            self._decisions = _cut(folder / DECISIONS, step + (run.time == 0))
            self._close = finalize(self, _close, self._metrics, self._decisions)
        except OSError as error:
            raise RunFolderError(
                f"{error.filename or folder}: cannot be written: {error.strerror or error}. Name another folder"
            ) from None

    def _write_record(self, controller: Controller, step: int, trainer: str, checked: Mapping[str, str] | None) -> None:
        saved, curriculum = controller.state_dict(), controller.machine.curriculum
        text = dumps(curriculum)
        resumed = [*_resumed(self.folder / RECORD), step] if step else []
        record = {
            "format": FORMAT,
            "trainer": trainer,
            "fingerprint": controller.fingerprint,
            "curriculum": {"name": curriculum.name, "text": text},
            "bound": saved["bound"],
            "versions": {"plateau-rule": _version("plateau-rule"), trainer: _version(trainer)},
            "checked": checked,
            "resumed": resumed,
        }
        sealed = json.dumps({**record, "checksum": digest(record)}, indent=1, allow_nan=False) + "\n"
        for name, content in ((CURRICULUM, text.encode()), (RECORD, sealed.encode())):
            beside = self.folder / f".{name}.unfinished"
            beside.write_bytes(content)
            beside.replace(self.folder / name)

    def step(self, plan: Plan, loss: float, skipped: bool = False, metrics: Mapping[str, float] | None = None) -> None:
        """Write down one optimizer step: the plan that was in force, the loss and metrics, and if it was dropped."""
        own = plan_row(plan) | {"loss": loss}
        row = {**(metrics or {}), **own}
        _write(self._metrics, row | {"skipped": True} if skipped else row)

    def evaluation(self, step: int, epoch: int, metrics: Mapping[str, float]) -> None:
        """Write down what an evaluation brought after a step, in a row of its own."""
        own = {"step": step, "epoch": epoch}
        _write(self._metrics, own | {name: value for name, value in metrics.items() if name not in own})

    def decision(self, decision: Decision, requests: Sequence[Action]) -> None:
        """Write down a transition, and what it asked for."""
        _write(self._decisions, decision_row(decision, requests))

    def close(self) -> None:
        """Give the files back."""
        self._close()


def _close(*files: BinaryIO) -> None:
    for file in files:
        file.close()


def _write(file: BinaryIO, row: Mapping[str, Any]) -> None:
    file.write(one_line(row).encode() + b"\n")


def _cut(path: Path, step: int, evaluated: int | None = None) -> BinaryIO:
    """Open a log to append to, behind its last whole row of a step before `step`.

    Args:
        path: of the log.
        step: rows of this step and what comes after them are cut off.
        evaluated: an evaluation's row is cut off if it is of this step already, or a later one.
    """
    keep = 0
    if path.exists():
        with path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n") or _is_beyond(line, step, evaluated):
                    break
                keep += len(line)
        os.truncate(path, keep)
    return path.open("ab", buffering=0)


def _is_beyond(line: bytes, step: int, evaluated: int | None) -> bool:
    try:
        row = json.loads(line)
        return int(row["step"]) >= (step if evaluated is None or "state" in row else evaluated)
    except (ValueError, KeyError, TypeError):
        return True  # it was torn, or is no row of ours: nothing behind it counts


def _resumed(record: Path) -> list[int]:
    """Where the run was resumed before, as its record says."""
    try:
        return [int(step) for step in json.loads(record.read_bytes())["resumed"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
