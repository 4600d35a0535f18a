"""A guard of the user's own: its keys are the fields of a class, and what it has seen is data that JSON has.

    @register_guard("grad_norm_calm")
    class GradNormCalm(OwnGuard): ...

The object is a table of the file: frozen, and shared by all states and runs. So what a guard has seen can only lie in
its memory, which the project makes, copies, saves and brings back. docs/own-guards.md shows one whole.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import deepcopy
from math import inf
from typing import Any, ClassVar

from plateau_rule.controller.errors import PlateauError, visible
from plateau_rule.controller.guards.detector import Soonest
from plateau_rule.controller.guards.reading import OPEN, Reading, measured
from plateau_rule.controller.guards.word import Feed, Hint, MetricWord, Pick
from plateau_rule.controller.language.canonical import written
from plateau_rule.controller.language.values import MetricName, Table

Memory = Any  # lists and dicts, numbers, texts, true, false, null


class OwnGuardError(PlateauError):
    """The code of a user's guard failed; the sentence names the guard, the method and the line."""


class OwnGuard(Table):
    """Base class of a guard of one's own, which watches one metric.

    Fields are the keys of the file, with their types and limits; the docstring describes the guard. `holds` must
    depend on the memory and the fields alone, `push` must change the memory alone: `assert_guard_is_sound` tests both.

    Attributes:
        version: raise it when the code decides differently than before: a saved run is then not resumed under it
            unawares.
    """

    version: ClassVar[int] = 1

    metric: MetricName = "loss"
    """The metric to watch."""

    def needs(self) -> int:
        """Return after how many values, at the least, the guard may be true or false; before, it is unknown."""
        return 1

    def empty(self) -> Memory:
        """Return the memory of a guard that has seen nothing: a new list or dict, which JSON can hold."""
        return []

    def push(self, memory: Memory, value: float) -> None:
        """Take the next finite value into the memory, in place, and forget what is not needed any more.

        Args:
            memory: what `empty` returned, as `push` has left it.
            value: of the metric.
        """
        raise NotImplementedError  # a subclass writes it; `_ask` says so where none did

    def holds(self, memory: Memory) -> bool | None:
        """Return whether the guard is true; None where that is not known. Asked once `needs()` values have come."""
        raise NotImplementedError  # as for push

    def describe(self, memory: Memory) -> str:
        """Return in one line, for people, what the verdict rests on."""
        return ""


class OwnDetector:
    """What asks a user's guard: counts, keeps the memory, and says who failed.

    Args:
        name: the word.
        guard: the table of the file.
    """

    __slots__ = ("_answer", "_asked", "_memory", "_seen", "guard", "knows", "name", "needs")

    def __init__(self, name: str, guard: OwnGuard) -> None:
        self.name, self.guard = name, guard
        self.knows = self.needs = _ask(name, guard, "needs")
        self._memory = _ask(name, guard, "empty")
        if type(self.needs) is not int or self.needs < 1:
            raise OwnGuardError(f"{name}: needs() returned {self.needs!r:.60}; expected a whole number of at least 1")
        self._seen, self._asked = 0, False
        self._answer: bool | None = None

    def push(self, value: float) -> None:
        """Take the next finite value."""
        _ask(self.name, self.guard, "push", self._memory, value)
        self._seen += 1
        self._asked = False

    def verdict(self) -> bool | None:
        """True, false, or None for unknown; the guard's code is asked once a value."""
        if not self._asked:
            self._answer, self._asked = self._holds(), True
        return self._answer

    def _holds(self) -> bool | None:
        if self._seen < self.needs:
            return None
        answer = _ask(self.name, self.guard, "holds", self._memory)
        if answer is None or type(answer) is bool:
            return answer
        raise OwnGuardError(
            f"{self.name}: holds() returned {answer!r:.60}; expected True, False or None. Write bool(…) around it"
        )

    def reading(self) -> Reading:
        """How many values have come, or what the guard says of itself."""
        if self._seen < self.needs:
            text = f"{self._seen} of {self.needs} values of {self.guard.metric}"
        else:
            said = _ask(self.name, self.guard, "describe", self._memory)
            text = visible(" ".join(str(said).split())) or f"{self._seen} values of {self.guard.metric}"
        seen = min(self._seen, self.needs)
        return measured(None, None, None, OPEN, self.guard.metric, seen, self.needs, "", text)

    def describe(self) -> str:
        """The text of its reading."""
        return self.reading().text

    def distance(self) -> float:
        """Not in units that could be compared with others."""
        return inf

    def soonest(self) -> Soonest:
        """Anything with the next value, once there are enough."""
        room = max(1, self.needs - self._seen)
        return Soonest.of(self.verdict(), room, room, 1)

    def contents(self) -> dict[str, Any]:
        """The number of values that came, and the memory."""
        try:
            memory = json.loads(json.dumps(self._memory, allow_nan=False))
        except (TypeError, ValueError, RecursionError) as error:
            raise OwnGuardError(
                f"{self.name}: its memory cannot be saved: {error}. Keep lists, dicts, finite numbers and texts in it"
            ) from None
        return {"seen": self._seen, "memory": memory}

    def restore(self, contents: Mapping[str, Any]) -> None:
        """Continue as the detector whose contents these are."""
        if contents.keys() != {"seen", "memory"}:
            raise ValueError(f"what is there is not of {self.name}, a guard of your own")
        seen, memory = contents["seen"], contents["memory"]
        if type(seen) is not int or seen < 0 or type(memory) is not type(self._memory):
            raise ValueError(f"its memory is not one of {self.name}: its code was changed. Raise its version")
        self._seen, self._memory, self._asked = seen, deepcopy(memory), False

    def copy(self) -> OwnDetector:
        """Another one that goes on alike."""
        twin = OwnDetector(self.name, self.guard)
        twin._seen, twin._memory = self._seen, deepcopy(self._memory)
        return twin


class OwnWord(MetricWord[OwnGuard]):
    """A user's guard as a word of the language.

    Args:
        name: as a file spells it.
        written: the class.
    """

    def __init__(self, name: str, written: type[OwnGuard]) -> None:
        self.name, self.written = name, written
        self.description = (written.__doc__ or "A guard of one's own.").strip().partition("\n")[0]

    def meaning(self, value: OwnGuard, of_part: Any) -> Any:
        """The keys, and the version of the code where it is not the first."""
        said = written(value)
        return said if value.version == 1 else {"version": value.version, **said}

    def detector(self, value: OwnGuard, feed: Feed) -> OwnDetector:
        """Shows the guard the values as they come: which way is better is for its code to know."""
        return OwnDetector(self.name, value)

    def hint(self, value: OwnGuard, feed: Feed) -> Hint:
        """Worth a try once enough values have come."""
        return Hint(self.detector(value, feed).needs)

    def example(self, pick: Pick) -> Any:
        """None: how to fill the fields is not known, and drawn curricula hold the words of the language alone."""
        raise NotImplementedError(self.name)  # whoever draws words goes through LANGUAGE, where this one is not


def _ask(name: str, guard: OwnGuard, method: str, *given: Any) -> Any:
    """Call a method of a user's guard, and say which line of it failed; the error itself is the cause."""
    try:
        return getattr(guard, method)(*given)
    except Exception as error:  # the code is the user's: it may raise anything
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        at = "" if trace is None else f" ({trace.tb_frame.f_code.co_filename}:{trace.tb_lineno})"
        missing = isinstance(error, NotImplementedError)
        what = "is not written" if missing else f"raised {type(error).__name__}: {error}"
        raise OwnGuardError(f"{name}: {method}() {what}{at}") from error
