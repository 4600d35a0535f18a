"""A dict that cannot be changed."""

from __future__ import annotations

from typing import Any, NoReturn, TypeVar

from plateau_rule.controller.errors import nearest, visible

Key = TypeVar("Key")
Value = TypeVar("Value")


def _refuse(*_: object, **__: object) -> NoReturn:
    raise TypeError("this dict is read-only: what is planned and bound cannot be changed. Change a copy: dict(...)")


class FrozenDict(dict[Key, Value]):
    """A dict that cannot be changed.

    Unlike a MappingProxyType it can be pickled, deep-copied and written as JSON.
    """

    __slots__ = ()

    __setitem__: Any = _refuse
    __delitem__: Any = _refuse
    __ior__: Any = _refuse
    clear: Any = _refuse
    pop: Any = _refuse
    popitem: Any = _refuse
    setdefault: Any = _refuse
    update: Any = _refuse

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled whole: by default a dict is filled again item by item."""
        return type(self), (dict(self),)


class KnobValues(FrozenDict[str, Any]):
    """The values of knobs by their names; a name that none of them has is answered in a sentence."""

    __slots__ = ()

    def __missing__(self, name: str) -> NoReturn:
        """Raise KeyError, with the name that was probably meant."""
        raise KeyError(f'there is no knob "{visible(str(name))}". {nearest(str(name), self)}'.rstrip())
