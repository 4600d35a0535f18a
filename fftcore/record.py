"""What a run folder says about its run: `run.json` holds everything needed to repeat it."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from plateau_rule.fftcore.config import Config
from plateau_rule.fftcore.errors import RunError
from plateau_rule.fftcore.storage import UNFINISHED, Disk, read_file

RECORD = "run.json"
CURRICULUM = "curriculum.toml"
LARGEST_RECORD_BYTES = 1 << 22


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Bound(_Frozen):
    """What the curriculum was bound to, as `sim` reads it for a replay."""

    limits: dict[str, int]
    epochs: int
    steps_per_epoch: int
    tokens_per_step: int
    peak: float
    lag: int


class TextRecord(_Frozen):
    """The text that is trained on."""

    name: str
    bytes: int
    sha256: str


class Resumed(_Frozen):
    """One continuation."""

    step: int
    epochs: int
    command: tuple[str, ...]


class Record(_Frozen):
    """All that is known of a run when it begins.

    Args:
        curriculum: its name, and every byte of its file.
        bound: what it was bound to.
        preset, config: the model and how it is trained.
        heads_only: whether the backbone is frozen and only the chunk head is trained; `backbone` says where it is from.
        card: the name of the GPU; None on a CPU.
        threads: that torch used on the CPU.
    """

    format: Literal[1] = 1
    fingerprint: str
    curriculum: dict[str, str]
    bound: Bound
    preset: str
    config: Config
    seed: int
    text: TextRecord
    heads_only: bool
    backbone: str | None
    device: str
    card: str | None = None
    threads: int
    versions: dict[str, str]
    command: tuple[str, ...]
    resumed: tuple[Resumed, ...] = ()


def versions() -> dict[str, str]:
    """Return the versions of all that a result depends on."""
    found = {"python": platform.python_version(), "platform": f"{platform.system()} {platform.machine()}"}
    for name in ("plateau-rule", "torch", "numpy", "safetensors", "pydantic"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def command_line() -> tuple[str, ...]:
    """Return the words that this process was started with."""
    return tuple(sys.argv)


def write_record(folder: Path, record: Record, disk: Disk) -> None:
    """Write `run.json`, which makes the folder a run, and beside it the curriculum as it was."""
    disk.replace_file(folder / CURRICULUM, record.curriculum["text"].encode())
    disk.replace_file(folder / RECORD, (record.model_dump_json(indent=1) + "\n").encode())


def read_record(folder: Path) -> Record:
    """Read what a run folder says about its run.

    Raises:
        RunError: there is no run in this folder, or its record is damaged.
    """
    path = folder / RECORD
    try:
        return Record.model_validate_json(read_file(path, LARGEST_RECORD_BYTES))
    except (FileNotFoundError, NotADirectoryError):
        raise RunError(
            f"{folder}: there is no run to resume here. Name the folder of one by --out, or leave --resume out to begin"
        ) from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(key) for key in first["loc"])
        raise RunError(f"{path}: damaged: {where or 'the file'}: {first['msg']}. Put it back from a copy") from None
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None


def make_run_folder(folder: Path, disk: Disk) -> None:
    """Make the folder of a new run.

    Raises:
        RunError: it holds something already.
    """
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder}: is a file, and a run takes a folder. Name another by --out")
    if (folder / RECORD).exists():
        raise RunError(
            f"{folder}: holds a run already. Continue it with --resume, or begin another with another --out; "
            "nothing in it was touched"
        )
    # A start that was cut off before its record was written has left no more than these.
    leftover = {CURRICULUM, f".{CURRICULUM}{UNFINISHED}", f".{RECORD}{UNFINISHED}"}
    if folder.is_dir() and (found := sorted({entry.name for entry in folder.iterdir()} - leftover)):
        raise RunError(
            f"{folder}: holds files that are no run ({', '.join(found[:3])}{', …' if len(found) > 3 else ''}). "
            "Name a new folder by --out; nothing in it was touched"
        )
    disk.make_folder(folder)


def one_line(row: Mapping[str, Any]) -> str:
    """Spell a row as one line of JSON; NaN and infinities, which JSON has no numbers for, become words."""
    return json.dumps({key: spelled(value) for key, value in row.items()}, allow_nan=False, ensure_ascii=False)


def spelled(value: object) -> object:
    """Return what JSON can hold of a value: NaN, Infinity and -Infinity as words that `float` reads again."""
    if isinstance(value, float) and not -float("inf") < value < float("inf"):
        return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
    return value
