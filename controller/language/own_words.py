"""The words of guards that users add: by a decorator in Python, or from a file that they name to the command."""

from __future__ import annotations

import re
import sys
import traceback
from collections.abc import Callable, Iterable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, Optional, TypeVar

from pydantic.fields import FieldInfo

from plateau_rule.controller.errors import PlateauError, visible
from plateau_rule.controller.guards import WORDS, add_word, take_word
from plateau_rule.controller.guards.own import OwnGuard, OwnWord
from plateau_rule.controller.language.curriculum import Curriculum, Guard, Transition
from plateau_rule.controller.language.values import descriptions
from plateau_rule.controller.language.vocabulary import keys_of

PATTERN = r"[a-z][a-z0-9_]{0,63}"
Kind = TypeVar("Kind", bound=type[OwnGuard])


class OwnWordError(PlateauError):
    """A word that cannot be registered, or a file of words that cannot be used."""


def register_guard(name: str) -> Callable[[Kind], Kind]:
    """Make a class a word that a guard can be, in files and in Python; a decorator.

    Registered anew, as a notebook's cell does, the later class counts for curricula that are read from then on.

    Args:
        name: as files spell it: small letters, digits and underscores, a letter first.

    Raises:
        OwnWordError: it is no such name, or a word of the language; or the class is not an OwnGuard with a docstring.
    """
    known = WORDS.get(str(name))
    if known is not None and not isinstance(known, OwnWord):
        raise OwnWordError(f'register_guard("{name}"): is a word of the language. Choose another name')
    if not re.fullmatch(PATTERN, str(name)) or hasattr(Guard, name):
        raise OwnWordError(
            f"register_guard({name!r:.70}): expected a name of small letters, digits and _, a letter first, at most 64"
        )

    def register(kind: Kind) -> Kind:
        if OwnGuard not in getattr(kind, "__mro__", ()):
            raise OwnWordError(
                f'register_guard("{name}"): expected a class derived from OwnGuard, and {kind!r:.60} is none'
            )
        if kind.__doc__ is OwnGuard.__doc__ or not (kind.__doc__ or "").strip():
            raise OwnWordError(f'register_guard("{name}"): {kind.__name__} has no docstring. Say in one what holds')
        add_word(OwnWord(name, kind))
        _spell()
        return kind

    return register


def forget_guard(name: str) -> None:
    """Take a registered word out again; one that is not there is nothing to take.

    Raises:
        OwnWordError: it is a word of the language.
    """
    known = WORDS.get(name)
    if known is not None and not isinstance(known, OwnWord):
        raise OwnWordError(f'forget_guard("{name}"): is a word of the language')
    if known is not None:
        take_word(name)
        _spell()


def own_words() -> tuple[OwnWord, ...]:
    """Return the words that were registered."""
    return tuple(word for word in WORDS.values() if isinstance(word, OwnWord))


def _spell() -> None:
    """Give the model of a guard a key for each registered word, and no other; and those that hold guards, too."""
    own = {word.name: word for word in own_words()}
    for name in [name for name in Guard.model_fields if name not in _SPELLED and name not in own]:
        del Guard.model_fields[name], Guard.__annotations__[name]
    for name, word in own.items():
        kind: Any = Optional[word.written]  # noqa: UP045 - the class is known at run time alone
        Guard.__annotations__[name] = kind
        Guard.model_fields[name] = FieldInfo(annotation=kind, default=None, description=word.description)
    for model in (Guard, Transition, Curriculum):
        model.model_rebuild(force=True)
    keys_of.cache_clear()
    descriptions.cache_clear()


_SPELLED = frozenset(Guard.model_fields)

_loaded: dict[Path, str] = {}


def load_words(files: Iterable[str | Path]) -> None:
    """Import files that register guards: code that the user names, and that runs as it does in any script.

    Args:
        files: paths of Python files. One that was loaded already is not loaded again.

    Raises:
        OwnWordError: there is no such file, it fails, or it registers nothing.
    """
    for file in files:
        if "\0" in str(file):
            raise OwnWordError(f"--words {visible(str(file))}: no file can have such a name")
        path = Path(file).resolve()
        if path not in _loaded:
            _load(path, str(file))


def loaded_words() -> tuple[str, ...]:
    """Return the files that were loaded, for another process to load them too."""
    return tuple(map(str, _loaded))


def _load(path: Path, said: str) -> None:
    if path.suffix != ".py" or not path.is_file():
        raise OwnWordError(f"--words {said}: there is no such file; expected a Python file that registers guards")
    name = path.stem
    if not name.isidentifier() or (name in sys.modules and name not in _loaded.values()):
        raise OwnWordError(f"--words {said}: a module cannot have the name {name} here. Rename the file")
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise OwnWordError(f"--words {said}: cannot be imported")
    before = set(own_words())
    module = sys.modules[name] = module_from_spec(spec)  # where another process, or a pickle of a guard, looks for it
    try:
        spec.loader.exec_module(module)
    except PlateauError as error:
        del sys.modules[name]
        raise OwnWordError(f"--words {said}: {error}") from None
    except Exception as error:  # the file is the user's: it may raise anything
        del sys.modules[name]
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        line = lines[-1] if lines else getattr(error, "lineno", None)
        at = said if line is None else f"{said}:{line}"
        raise OwnWordError(f"--words {at}: {type(error).__name__}: {error}") from error
    if set(own_words()) == before:
        raise OwnWordError(f'--words {said}: registers no guard. Write @register_guard("NAME") above its class')
    _loaded[path] = name
