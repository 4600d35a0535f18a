"""Everything that can go wrong by a user's hand, each with a sentence that says what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class PlateauError(Exception):
    """Base of every error of this project that is fit to be shown to a user as it is."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a file something stands; lines and columns count from 1, `end_column` is inclusive."""

    file: str
    line: int
    column: int
    end_column: int
    text: str


Key = str | int


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong: a stable code, the path of keys to it, what was found and what was expected."""

    code: str
    path: tuple[Key, ...]
    found: str
    expected: str = ""
    hint: str = ""
    place: Place | None = None
    at_key: bool = False  # the caret belongs under the key, not under its value

    def __str__(self) -> str:
        where = dotted(self.path) or "the file"
        sentence = f"{where}: {self.found}"
        if self.expected:
            sentence += f"; expected {self.expected}"
        if self.hint:
            sentence += f". {self.hint}"
        if self.place is None:
            return f"{sentence} [{self.code}]"
        place = self.place
        gutter = " " * len(str(place.line))
        caret = " " * (place.column - 1) + "^" * max(1, place.end_column - place.column + 1)
        return (
            f"{place.file}:{place.line}:{place.column}: {sentence} [{self.code}]\n"
            f"{gutter} |\n{place.line} | {place.text}\n{gutter} | {caret}"
        )


def dotted(path: Sequence[Key]) -> str:
    """Spell a path of keys as TOML would: `state[1].set.cutoff`."""
    spelled = ""
    for key in path:
        if isinstance(key, int):
            spelled += f"[{key}]"
        else:
            spelled += f".{key}" if spelled else key
    return spelled


class CurriculumError(PlateauError):
    """A curriculum that cannot be used; `faults` holds every fault that was found, up to 20."""

    LIMIT = 20

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults[: self.LIMIT])
        more = len(faults) - len(self.faults)
        text = "\n".join(str(fault) for fault in self.faults)
        super().__init__(text + (f"\n… and {more} more" if more > 0 else ""))


class BindingError(CurriculumError):
    """A sound curriculum that does not fit this trainer or this run."""


class StepError(PlateauError):
    """An observation that does not belong to the step that was planned."""


class NonFiniteLoss(PlateauError):
    """So many NaN or infinite losses in a row that the run is dead."""


class SnapshotError(PlateauError):
    """A saved controller state that does not fit, or is damaged."""


class RegressionError(SnapshotError):
    """A resume that would lower a knob."""


class BindingWarning(UserWarning):
    """A curriculum was changed by binding it: states that became equal were merged."""
