"""Values from a caller's Python: what is taken for a number, and how any other value is named."""

from __future__ import annotations

from numbers import Integral, Real
from reprlib import repr as brief


def python_number(given: object) -> int | float | None:
    """A number of Python's or numpy's as Python's own, int or float; None for anything else, True among it."""
    if isinstance(given, int):
        return None if isinstance(given, bool) else int(given)
    try:
        return int(given) if isinstance(given, Integral) else float(given) if isinstance(given, Real) else None
    except OverflowError:
        return None


def whole_number(given: object) -> int | None:
    """A whole number of Python's or numpy's as Python's own; None for anything else, 3.0 among it."""
    number = python_number(given)
    return number if isinstance(number, int) else None


def kind_of(given: object) -> str:
    """A value as an error names it: shortened, with its type; the type alone where the value would say nothing."""
    kind = type(given)
    if kind.__module__.startswith("plateau_rule.") or kind.__repr__ is object.__repr__:
        return f"a {kind.__name__}"
    return f"{brief(given)} of type {kind.__name__}"
