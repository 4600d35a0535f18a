"""What the folder of a run says of itself: its curriculum, and what that was bound to. Nothing of its log is read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from plateau_rule.controller.binding import Binding
from plateau_rule.controller.language.fingerprint import fingerprints
from plateau_rule.controller.language.reading import contents, loads
from plateau_rule.page.errors import PageError
from plateau_rule.sim.run_files import METRICS, RECORD

BOUND = ("limits", "epochs", "steps_per_epoch", "tokens_per_step", "peak", "lag", "lead")


@dataclass(frozen=True)
class Recorded:
    """The curriculum of a run, before any of its losses.

    Attributes:
        origin: what to call the run.
        text: the curriculum's file.
        file: the name of that file.
        binding: what the curriculum is bound to.
        notes: what a reader should know about where this comes from.
    """

    origin: str
    text: str
    file: str
    binding: Binding
    notes: tuple[str, ...] = ()


def read_record(folder: Path, curriculum: str | None, given: Binding) -> Recorded:
    """The record of a run, under its own curriculum or another one.

    Raises:
        PageError: it cannot be read.
        CurriculumError: the curriculum cannot.
    """
    path = folder / RECORD
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        own = Binding(**{name: record["bound"].get(name) for name in BOUND})
        text = str(record["curriculum"]["text"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise PageError(
            f"{path}: the record of the run cannot be read ({type(error).__name__}: {error}). Name its log and a "
            f"curriculum instead: plateau page {folder / METRICS} CURRICULUM"
        ) from None
    file, notes = f"{folder.name}/curriculum.toml", []
    if curriculum is not None:
        content, file = contents(curriculum)
        other = content.decode("utf-8-sig", errors="replace")
        if _means(other, file) != _means(text, file):
            knobs = loads(other, file).knob
            product = own.tokens_per_step if isinstance(own.tokens_per_step, tuple) else ()
            tokens = own.tokens_per_step if all(n in knobs for n in product if isinstance(n, str)) else None
            own = replace(own, peak=None, limits=_known(own.limits, knobs), tokens_per_step=tokens)
            notes.append(f"under {Path(file).name}, which is not the curriculum that the run was trained under")
        text = other
    said = {name: value for name, value in vars(given).items() if value is not None}
    return Recorded(str(folder), text, Path(file).name, replace(own, **said), tuple(notes))


def read_curriculum(named: str, curriculum: str, given: Binding) -> Recorded:
    """A log's curriculum, bound to no more than the user said.

    Args:
        named: the log, as the user named it.
        curriculum: a file, or the name of a shipped one.
        given: what the user said of the run.

    Raises:
        CurriculumError: the curriculum cannot be read.
    """
    content, file = contents(curriculum)
    loads(content, file)
    return Recorded(named, content.decode("utf-8-sig", errors="replace"), Path(file).name, given)


def _means(text: str, file: str) -> str:
    return fingerprints(loads(text, file))[0]


def _known(limits: Mapping[str, Any] | None, knobs: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The limits of knobs that a curriculum has, if each of its knobs has one."""
    found = {name: limit for name, limit in (limits or {}).items() if name in knobs}
    return found if found.keys() == knobs.keys() else None
