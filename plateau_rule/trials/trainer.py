"""What trains a cell: the byte model of `fftcore`, a Python function of a user's, or a command line."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from plateau_rule.controller.errors import nearest, visible
from plateau_rule.controller.language.canonical import digest
from plateau_rule.controller.language.curriculum import Curriculum
from plateau_rule.fftcore.config import DEFAULT_PRESET, PRESETS
from plateau_rule.trials.budget import TrainingBudget, TrialError

Train = Callable[[Curriculum, TrainingBudget, int], Iterable[Mapping[str, Any]]]
PLACES = ("curriculum", "seed", "budget", "out")
ASKED = (
    'expected "fftcore" with options of `plateau train`, a function such as "mine.py:train", or a command line with '
    '"{curriculum}", "{seed}" and "{out}" in it'
)
OURS = ("--out", "-o", "--resume", "--epochs", "--steps-per-epoch", "--seed", "--dry-run", "--config")
_FUNCTION = re.compile(r"(?P<where>[^:]+):(?P<name>[A-Za-z_]\w*)\Z")
_PLACE = re.compile(r"\{(\w*)\}")


@dataclass(frozen=True)
class Trainer:
    """What trains, as it was named on the command line.

    Attributes:
        text: as it was named.
        kind: which of the three it is.
        words: options of `plateau train`; the function's file or module, and its name; or the words of a command.
    """

    text: str
    kind: Literal["fftcore", "function", "command"]
    words: tuple[str, ...]

    @classmethod
    def read(cls, text: str) -> Trainer:
        """Read what was named.

        Raises:
            TrialError: it is no trainer, or not one that is there.
        """
        try:
            words = tuple(shlex.split(text))
        except ValueError as error:
            raise TrialError(f"trainer {visible(text)}: {error}; {ASKED}") from None
        if words[:1] == ("fftcore",):
            if taken := [word for word in words if word.partition("=")[0] in OURS]:
                raise TrialError(f"trainer {visible(text)}: {taken[0]} is said by the experiment; leave it out")
            return cls(text, "fftcore", words[1:])
        if _PLACE.search(text):
            return cls(text, "command", _checked_command(text, words))
        if len(words) == 1 and (match := _FUNCTION.match(words[0])):
            return cls(text, "function", _checked_function(text, match["where"], match["name"]))
        raise TrialError(f"trainer {visible(text)}; {ASKED}")

    @property
    def inputs(self) -> dict[str, Any]:
        """What the words stand for, in SHA-256: what was trained with another file or preset is another cell.

        These are the files that they name and, of the byte model, the preset, which a release may change.
        """
        paths = {Path(word.partition("=")[2] or word) for word in self.words}
        files = {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(paths) if path.is_file()}
        return {"files": files} | ({"preset": _preset(self.words)} if self.kind == "fftcore" else {})

    def function(self) -> Train:
        """Import the function.

        Raises:
            TrialError: there is none of this name.
        """
        where, name = self.words
        if where.endswith(".py"):
            sys.path.insert(0, str(Path(where).parent))
            spec = importlib.util.spec_from_file_location(Path(where).stem, where)
            if spec is None or spec.loader is None:
                raise TrialError(f"{where}: is no Python file")
            module = importlib.util.module_from_spec(spec)
            sys.modules[spec.name] = module
            spec.loader.exec_module(module)
        else:
            sys.path.insert(0, str(Path.cwd()))
            module = importlib.import_module(where)
        if not callable(function := getattr(module, name, None)):
            near = nearest(name, [word for word in vars(module) if callable(vars(module)[word])])
            raise TrialError(f"{where}: there is no function {name} in it. {near}")
        return function  # type: ignore[no-any-return]  # it is callable, and the user says what it takes

    def command(self, curriculum: Path, seed: int, budget: TrainingBudget, out: Path) -> list[str]:
        """The words of the command for one cell."""
        values = {"curriculum": str(curriculum), "seed": str(seed), "budget": str(budget), "out": str(out)}
        return [_PLACE.sub(lambda match: values[match[1]], word) for word in self.words]


def _preset(words: Sequence[str]) -> str:
    """The SHA-256 of the preset that options of `plateau train` ask for, or of the default one."""
    parts = [part for word in words for part in word.split("=", 1)]
    asked = dict(pairwise(parts)).get("--preset", DEFAULT_PRESET)
    # A setting that a release adds stands at its default, and trains no other model.
    return digest(PRESETS[asked].model_dump(mode="json", exclude_defaults=True)) if asked in PRESETS else asked


def _checked_command(text: str, words: tuple[str, ...]) -> tuple[str, ...]:
    named = _PLACE.findall(text)
    if unknown := [name for name in named if name not in PLACES]:
        raise TrialError(
            f"trainer {visible(text)}: there is no {{{unknown[0]}}} to put in; expected {{curriculum}}, {{seed}}, "
            f"{{budget}} or {{out}}. {nearest(unknown[0], PLACES)}".rstrip()
        )
    if missing := [name for name in ("curriculum", "seed", "out") if name not in named]:
        raise TrialError(f"trainer {visible(text)}: {{{missing[0]}}} is nowhere in it; {ASKED}")
    if shutil.which(words[0]) is None:
        raise TrialError(f"trainer {visible(text)}: there is no command {visible(words[0])}")
    return words


def _checked_function(text: str, where: str, name: str) -> tuple[str, str]:
    if where.endswith(".py"):
        path = Path(where).absolute()
        if not path.is_file():
            raise TrialError(f"trainer {visible(text)}: there is no file {visible(str(path))}")
        return str(path), name
    sys.path.insert(0, str(Path.cwd()))
    try:
        spec = importlib.util.find_spec(where)
    except (ImportError, ValueError):
        spec = None
    finally:
        sys.path.pop(0)
    if spec is None:
        raise TrialError(f"trainer {visible(text)}: there is no module {visible(where)} here; {ASKED}")
    return where, name
