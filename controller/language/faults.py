"""Faults that several parts of a file can have: names that nothing has, names that look alike, amounts of time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from plateau_rule.controller.errors import Fault, Key
from plateau_rule.controller.language.amounts import parse_amount

Path = tuple[Key, ...]


def unknown(code: str, path: Path, what: str, word: str, words: Iterable[str],
            at_key: bool = False, hint: str = "") -> Fault:  # fmt: skip
    """A name that nothing has, with the names that there are."""
    return Fault(code, path, f'no {what} "{word}"', "", hint, None, at_key, "", word, tuple(words))


def twin_faults(names: Sequence[tuple[str, Path]], what: str, at_key: bool = False) -> Iterator[Fault]:
    """Names that are the same, or that people would take for the same."""
    seen: dict[str, str] = {}
    first: dict[str, Path] = {}
    for name, path in names:
        other = seen.setdefault(_look(name), name)
        if other != name:
            yield Fault("look-alike-name", path, f'{what} "{name}" beside "{other}"',
                        "names that differ by more than case, -, _, or 0, O, 1, l and I", at_key=at_key)  # fmt: skip
        elif path != first.setdefault(name, path):
            yield Fault("duplicate-name", path, f'{what} "{name}" a second time', "names that differ", at_key=at_key)


_LOOKS = str.maketrans({"0": "o", "1": "l", "i": "l", "-": "_"})


def _look(name: str) -> str:
    return name.lower().translate(_LOOKS)


def empty_faults(amount: str | None, path: Path, expected: str) -> Iterator[Fault]:
    """An amount of no time."""
    if amount not in (None, "rest") and parse_amount(str(amount)).count == 0:
        yield Fault("empty-amount", path, f'found "{amount}"', expected)


def rest_faults(amount: str | None, path: Path) -> Iterator[Fault]:
    """`rest` where it has no meaning."""
    if amount == "rest":
        yield Fault("rest-here", path, 'found "rest"', 'an amount of time such as "500 steps"')
