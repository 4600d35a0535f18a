"""Says which option contradicts what is there already: a run, or a backbone that is to be kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plateau_rule.fftcore.config import Model
from plateau_rule.fftcore.errors import RunError

if TYPE_CHECKING:
    from plateau_rule.fftcore.binding import RunOptions

OF_HEADS = {"seq_len", "chunk", "objective", "draft_every"}  # settings of a shape that its backbone does not depend on


def not_as_begun(asked: RunOptions, name: str, value: object, was: object) -> str:
    """Say that an option is not what a run was begun with.

    Args:
        asked: what was asked for.
        name: of the option.
        value: that it has.
        was: the run's own.
    """
    return (
        f"{asked.out}: {_option(name, value)} contradicts the run, which was begun with {_value(name, was)}. "
        f"Leave {_where(asked, name, value)} out to resume, or begin another run with another --out."
    )


def refuse_another_backbone(asked: RunOptions, was: Model, now: Model) -> None:
    """Refuse a new chunk head that asks for another backbone than the one that is to be kept.

    Args:
        asked: what was asked for.
        was: the shape of the model that was trained.
        now: the shape that is asked for.

    Raises:
        RunError: an option changes something else than the heads.
    """
    before, after = (shape.model_dump(exclude=OF_HEADS) for shape in (was, now))
    for name, value in asked.overrides.given().items():
        if name in before and before[name] != after[name]:
            raise RunError(
                f"{asked.freeze_backbone}: {_option(name, value)} contradicts the backbone, which was trained with "
                f"{_value(name, before[name])}. Leave {_where(asked, name, value)} out: it is kept as it is"
            )


def _flag(name: str, value: object) -> str:
    """The word of an option on the command line; of a switch that is off, the word that switches it off."""
    return f"--{'no-' if value is False else ''}{name.replace('_', '-')}"


def _option(name: str, value: object) -> str:
    return _flag(name, value) if isinstance(value, bool) else f"{_flag(name, value)} {value}"


def _value(name: str, value: object) -> str:
    return _flag(name, value) if isinstance(value, bool) else f"{value}"


def _where(asked: RunOptions, name: str, value: object) -> str:
    """What is to be left out, on the command line or in the file of options."""
    flag = _flag(name, value)
    return flag if asked.config is None else f"{flag}, or {name.replace('_', '-')} in {asked.config},"
