"""The faults that a file has besides those in its vocabulary: what is sound in it is still checked for sense."""

from __future__ import annotations

import copy
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError

from plateau_rule.controller.errors import CurriculumError, Fault, Key
from plateau_rule.controller.guards import WORDS
from plateau_rule.controller.guards.joining import Joining
from plateau_rule.controller.guards.min_step import STAND_IN
from plateau_rule.controller.guards.not_ import Not
from plateau_rule.controller.language.curriculum import Curriculum

Path = tuple[Key, ...]
# Faults that may be there only because a name was left out, by the part of the file that would have had it.
_UNKNOWN = {
    "knob": {"unknown-knob"},
    "guard": {"unknown-guard"},
    "state": {"unknown-state", "no-next-state", "leaves-nothing", "no-ramp"},
}
_ABSENT = {
    "knob-not-set",
    "knob-values",
    "no-ramp",
    "rewarm-without-warmup",
    "key-without-effect",
    "key-of-other-method",
}


def further_faults(written: dict[str, Any], faults: list[Fault]) -> list[Fault]:
    """The faults that make no sense of a file whose vocabulary is at fault already.

    What is at fault is left out or replaced, the rest is checked, and whatever may only follow from what was left out
    is not reported.

    Args:
        written: the file's contents.
        faults: the faults of its vocabulary.
    """
    if any(fault.path and fault.path[0] in ("format",) for fault in faults):
        return []
    sound = copy.deepcopy(written)
    left_out = [fault.path for fault in faults]
    for fault in sorted(faults, key=lambda fault: _deepest_last(fault.path)):
        _leave_out(sound, fault)
    left_out += [(meant,) for fault in faults if (meant := _meant(fault)) is not None]
    try:
        Curriculum.model_validate(sound, by_alias=True, by_name=False)
    except CurriculumError as error:
        return [fault for fault in error.faults if not _may_follow(fault, left_out)]
    except (ValidationError, RecursionError):
        pass
    return []


def _meant(fault: Fault) -> str | None:
    """The part of the file that was probably meant by a misspelt header, such as [knobs.cutoff]."""
    if fault.code != "unknown-key" or len(fault.path) != 1:
        return None
    if fault.hint.startswith(("Write [knob.", "Write [guard.")):
        return fault.hint[len("Write [") :].partition(".")[0]
    return next(iter(get_close_matches(fault.word, _UNKNOWN, n=1)), None)


def _deepest_last(path: Path) -> tuple[tuple[bool, Key], ...]:
    return tuple((isinstance(key, str), key) for key in path)


def _leave_out(sound: dict[str, Any], fault: Fault) -> None:
    """Remove what is at fault, or put something harmless into its place where it must be there."""
    path = fault.path
    if fault.code == "missing-key":
        _put(sound, path, _stand_in(path))
        return
    for length in range(len(path), 0, -1):  # a guard or an action has one key: without it, something else must be there
        if (stand_in := _one_key(path[:length])) is not None:
            _put(sound, path[:length], stand_in)
            return
    # A list with a fault in it is left out as a whole, so that the places of all others stay what they are.
    while isinstance(path[-1], int) and not (len(path) == 2 and path[0] in ("state", "transition")):
        path = path[:-1]
    _put(sound, path, _stand_in(path))


def _one_key(path: Path) -> Any:
    match path:
        case ("guard", str()) | (*_, "guards", int()) | (*_, Not.name):
            return dict(STAND_IN)
        case (*_, str(key), int()) if isinstance(WORDS.get(key), Joining):
            return dict(STAND_IN)
        case (*_, "actions", int()):
            return "checkpoint"
    return None


def _put(sound: dict[str, Any], path: Path, value: Any) -> None:
    node: Any = sound
    try:
        for key in path[:-1]:
            node = node[key]
        if value is None:
            node.pop(path[-1], None)
        else:
            node[path[-1]] = value
    except (KeyError, IndexError, TypeError, AttributeError):
        pass  # something around it was left out already


def _stand_in(path: Path) -> Any:
    """Something harmless for what must be there; None for what need not."""
    match path:
        case ("name",):
            return "unnamed"
        case ("lr",) | ("lr", "peak"):
            return {"peak": 1.0} if path == ("lr",) else 1.0
        case ("state",):
            return [{"name": "unnamed"}]
        case ("state", int(i)):
            return {"name": f"unnamed-{i}"}
        case ("state", int(i), "name"):
            return f"unnamed-{i}"
        case ("transition", int()):
            return {"from": "*", "to": "next"}
        case ("transition", int(), "from"):
            return "*"
        case ("transition", int(), "to"):
            return "next"
        case ("knob", str()):
            return {}
        case (*_, "steps" | "over" | "to" | "min" | "max" | "value"):
            return {"steps": 1, "over": "1 step", "to": "full", "min": 0, "max": "full", "value": 0}[str(path[-1])]
    return None


def _may_follow(fault: Fault, left_out: list[Path]) -> bool:
    """Whether a fault may be there only because something else was left out."""
    for path in left_out:
        if path[: len(fault.path)] == fault.path or fault.path[: len(path)] == path:
            return True
        if fault.code in _ABSENT and path[:2] == fault.path[:2]:
            return True
        nameless = len(path) <= 2 or path[2:] == ("name",)
        if nameless and path and fault.code in _UNKNOWN.get(str(path[0]), ()):
            return True
        if (
            path[:1] == ("knob",)
            and fault.code in ("off-ladder", "falling-ramp")
            and (len(path) == 1 or path[1] in fault.path)
        ):
            return True
    return False
