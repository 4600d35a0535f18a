"""Says which option contradicts what is there already: a run, or a backbone that is to be kept."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from plateau_rule.fftcore.config import Model
from plateau_rule.fftcore.errors import RunError

OF_HEADS = {"seq_len", "chunk", "objective", "draft_every"}  # settings of a shape that its backbone does not depend on


def not_as_begun(run: Path, options: Path | None, name: str, value: object, was: object) -> str:
    """Say that an option is not what a run was begun with.

    Args:
        run: the run's folder.
        options: the file of options, if one was given.
        name: of the option.
        value: that it has.
        was: the run's own.
    """
    return (
        f"{run}: {_option(name, value)} contradicts the run, which was begun with {_value(name, was)}. "
        f"Leave {_where(options, name, value)} out to resume, or begin another run with another --out."
    )


def refuse_another_backbone(
    backbone: Path | None, options: Path | None, given: Mapping[str, object], was: Model, now: Model
) -> None:
    """Refuse a new chunk head that asks for another backbone than the one that is to be kept.

    Args:
        backbone: what was named as the one to keep.
        options: the file of options, if one was given.
        given: the settings that were asked for.
        was: the shape of the model that was trained.
        now: the shape that is asked for.

    Raises:
        RunError: an option changes something else than the heads.
    """
    before, after = (shape.model_dump(exclude=OF_HEADS) for shape in (was, now))
    for name, value in given.items():
        if name in before and before[name] != after[name]:
            raise RunError(
                f"{backbone}: {_option(name, value)} contradicts the backbone, which was trained with "
                f"{_value(name, before[name])}. Leave {_where(options, name, value)} out: it is kept as it is"
            )


def _flag(name: str, value: object) -> str:
    """The word of an option on the command line; of a switch that is off, the word that switches it off."""
    return f"--{'no-' if value is False else ''}{name.replace('_', '-')}"


def _option(name: str, value: object) -> str:
    return _flag(name, value) if isinstance(value, bool) else f"{_flag(name, value)} {value}"


def _value(name: str, value: object) -> str:
    return _flag(name, value) if isinstance(value, bool) else f"{value}"


def _where(options: Path | None, name: str, value: object) -> str:
    """What is to be left out, on the command line or in the file of options."""
    flag = _flag(name, value)
    return flag if options is None else f"{flag}, or {name.replace('_', '-')} in {options},"
