"""A folder as a log: which of the files that trainers leave behind are in it, and whose run each belongs to."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from plateau_rule.sim.logs.errors import LogError
from plateau_rule.sim.logs.series import EVAL, is_eval, rank, words

MOST_FILES = 20_000
# Whole logs by the names that their writers give them; which format one is in, its content tells.
_LOGS = ("metrics.jsonl", "trainer_state.json", "metrics.csv", "trainer_log.jsonl")


@dataclass(slots=True)
class LogPart:
    """What a folder holds of one run: files that follow on each other, by name."""

    run: str
    files: list[Path] = field(default_factory=list)
    alias: str = ""  # a second name of the run
    evals: list[tuple[str, Path]] = field(default_factory=list)  # files of evaluations, with the name of their folder

    def __str__(self) -> str:
        return f"run {self.run!r}" + (f", named {self.alias!r}" if self.alias else "")


def choose_part(folder: Path, name: str, run: str | None) -> tuple[LogPart, bool]:
    """The files of one run in a folder, and whether `run` was needed to choose it.

    Raises:
        LogError: there is no log, or several runs and none was chosen.
    """
    parts = _parts(folder, name)
    if not parts:
        raise LogError(
            name,
            "no log in this folder",
            f"one of {', '.join(_LOGS)}, TensorBoard event files, or MLflow's metrics",
            "Name the log file itself",
        )
    if run is not None:
        matching = [part for part in parts if run in (part.run, part.alias)] or [
            part for part in parts if run in part.run
        ]
        if len(matching) == 1:
            return matching[0], len(parts) > 1
        if len(parts) > 1:
            found = f"{len(matching)} runs match {run!r}" if matching else f"no run {run!r}"
            raise LogError(
                name, f"{found}; there is:", remedy="Choose one with --run", choices=[str(part) for part in parts]
            )
    if len(parts) > 1:
        parts = _with_evals(parts)
    if len(parts) > 1:
        raise LogError(
            name, f"{len(parts)} runs:", remedy="Choose one with --run", choices=[str(part) for part in parts]
        )
    return parts[0], False


def _with_evals(parts: list[LogPart]) -> list[LogPart]:
    """One run and folders of its evaluations (Keras: train and validation) belong together."""
    trained = [part for part in parts if not words(part.run) & EVAL]
    if len(trained) != 1:
        return parts
    for part in parts:
        if part is not trained[0]:
            trained[0].evals += [(part.run, file) for file in part.files]
    return trained


def _parts(folder: Path, name: str) -> list[LogPart]:
    """The runs in a folder: its own log, else those of the folders in it."""
    if own := next((folder / log for log in _LOGS if (folder / log).is_file()), None):
        return [LogPart(folder.name, [own])]
    parts: dict[str, LogPart] = {}
    checkpoints: list[Path] = []
    for path in _files(folder, name):
        run = path.parent.relative_to(folder).as_posix()
        if ".tfevents." in path.name or (path.name in _LOGS and not re.search(r"checkpoint-\d+$", run)):
            parts.setdefault(run, LogPart(run)).files.append(path)
        elif path.name in _LOGS:
            checkpoints.append(path)
        elif "metrics" in path.relative_to(folder).parts[:-1] or folder.name == "metrics":
            root = path
            while root.name != "metrics":
                root = root.parent
            if "model" not in root.parts[len(folder.parts) :]:
                part = parts.setdefault(f"{root}", LogPart(root.parent.name, alias=_run_name(root.parent)))
                part.files.append(path)
    if checkpoints and not parts:
        newest = max(checkpoints, key=lambda path: int(path.parent.name.rpartition("-")[2]))
        return [LogPart(newest.parent.name, [newest])]
    for part in parts.values():
        part.files.sort(key=_order)
    return [parts[run] for run in sorted(parts)]


def _order(path: Path) -> tuple[int, bool, str]:
    """Event files by the time in their names; MLflow's metrics with the training losses first."""
    if ".tfevents." in path.name:
        return 0, False, path.name
    return rank(path.name), not is_eval(path.name), str(path)


def _files(folder: Path, name: str) -> Iterator[Path]:
    """The files below a folder; links are not followed."""
    count = 0
    for root, folders, files in os.walk(folder):
        folders.sort()
        for file in sorted(files):
            count += 1
            if count > MOST_FILES:
                raise LogError(
                    name, f"more than {MOST_FILES:,} files in this folder", remedy="Name the log file itself"
                )
            path = Path(root) / file
            if not path.is_symlink() and not file.startswith("."):
                yield path


def _run_name(run: Path) -> str:
    """The name that MLflow gave a run, if it is written there."""
    try:
        with (run / "tags" / "mlflow.runName").open(encoding="utf-8", errors="replace") as file:
            return file.read(200).strip()
    except OSError:
        return ""
