"""What a word that a guard can be is asked for: all that the rest of the project knows of it.

A word is one object of one file, listed in the registry (`guards/__init__.py`). The file format, the faults, the
fingerprint, binding, the verifier's streams, drawing, the advice of a replay and the drawn curricula of tests ask it
here, and none of them knows a word by its name. `V` is the type of what a file writes behind the word.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from plateau_rule.controller.errors import Fault, Key
from plateau_rule.controller.guards.detector import Detector
from plateau_rule.controller.guards.in_state import GuardInState, Watched
from plateau_rule.controller.language.amounts import Amount, parse_amount
from plateau_rule.controller.language.canonical import plain, written
from plateau_rule.controller.language.values import Table

Path = tuple[Key, ...]
Condition = Any  # a Guard, or the name of one; both belong to language.curriculum, which is made from the words
V = TypeVar("V")


class AmountAsked(NamedTuple):
    """An amount of time in a guard.

    Attributes:
        text: as it is written.
        path: where it stands.
        may_count_closings: whether an epoch may be counted by its closing.
        in_state: whether it is measured from the entry into a state on, and may be tokens or cost by its knobs.
    """

    text: str
    path: Path
    may_count_closings: bool = False
    in_state: bool = False


class Advice(NamedTuple):
    """What to turn in the file so that a guard holds earlier, and so that it holds later."""

    earlier: str
    later: str


class Hint(NamedTuple):
    """What the losses might look like on which a guard's verdict turns; for whoever seeks a loss stream.

    Attributes:
        needs: number of values after which it is worth a try.
        levels: values that the metric is compared with.
        ratio: of one value to the next where the metric surely moves by the guard's measure; None where there is none.
    """

    needs: int
    levels: tuple[float, ...] = ()
    ratio: float | None = None


@dataclass(frozen=True, slots=True)
class Feed:
    """How a metric's values come to a detector.

    Attributes:
        steps: gives an amount of time in optimizer steps; raises ValueError where it cannot be resolved.
        spacing: steps from one value to the next.
        rises: whether more of the metric is better.
    """

    steps: Callable[[Amount], int]
    spacing: int = 1
    rises: bool = False

    def values(self, amount: str) -> float:
        """How many values come in an amount of time, as it is written; a fraction where it is no multiple."""
        return self.steps(parse_amount(amount)) / self.spacing


class Pick(Protocol):
    """Choices, made at random by someone else, of which a word makes an example of itself."""

    metrics: Sequence[str]
    """Metrics that may be watched."""
    timed: Sequence[str]
    """Those of them for which it is known how often they come."""
    methods: Sequence[str]
    """Methods that a detector may be chosen from."""
    ramped: Sequence[str]
    """Knobs that have a ramp wherever the guard is asked."""
    most_steps: int
    """The order of the run's length."""
    by_hand: bool
    """Whether the run does not say how many steps an epoch has."""

    def whole(self, low: int, high: int) -> int:
        """A whole number from `low` to `high`."""

    def one_of(self, choices: Sequence[Any]) -> Any:
        """One of several."""

    def amount(self, most: int, least: int = 1, in_state: bool = False) -> str:
        """An amount of time of about `least` to `most` steps that the run can resolve.

        In a state it may be one whose steps the knobs decide.
        """

    def level(self) -> float:
        """A value that a metric may well pass."""

    def conditions(self, most: int) -> list[Condition]:
        """One to `most` conditions, as a file writes them."""


class Builder(Protocol):
    """What a word is bound with: one stay in a state of a bound curriculum."""

    @property
    def steps_per_epoch(self) -> int | None:
        """Steps in an epoch, None where the trainer says when one closes."""

    @property
    def ramp_steps(self) -> Mapping[str, int]:
        """How long each ramp of the state takes."""

    def steps(self, amount: Amount) -> int:
        """An amount of time in optimizer steps."""

    def guard(self, condition: Condition) -> GuardInState:
        """A guard that this one is made of."""

    def detector(self, word: MetricWord[Any], value: Any) -> Detector:
        """The detector of a word that watches a metric; guards that mean the same share one."""


class Word(ABC, Generic[V]):
    """A word that a guard can be.

    Attributes:
        name: the word as a file spells it.
        description: of its key, for the schema and the reference.
        written: the type of what stands behind it, with pydantic's limits.
        joins: whether it is made of other guards.
        on_ramp: whether it may be asked only where a knob has a ramp.
        on_timed: whether it always measures time in its metric's values, and so asks how often they come.
    """

    name: str
    description: str
    written: Any
    joins: bool = False
    on_ramp: bool = False
    on_timed: bool = False

    # As it stands in a file

    def parts(self, value: V) -> list[tuple[Condition, Path]]:
        """The conditions that it joins, with their paths below the guard's table."""
        return []

    def metric(self, value: V) -> str | None:
        """The metric that it watches."""
        return None

    def faults(self, value: V, path: Path, knobs: Collection[str]) -> Iterator[Fault]:
        """What is wrong with it.

        Args:
            value: what stands behind the word.
            path: the path of the value.
            knobs: the knobs that the curriculum declares.
        """
        yield from ()

    def ramp(self, value: V) -> str | None:
        """The knob whose ramp it waits for; every state that it is asked in must have that ramp."""
        return None

    def amounts(self, value: V) -> Iterator[AmountAsked]:
        """The amounts of time that must be resolved; paths are below its value."""
        yield from ()

    def meaning(self, value: V, of_part: Callable[[Condition], Any]) -> Any:
        """What it means, as JSON-able data in one spelling.

        Args:
            value: what stands behind the word.
            of_part: gives the meaning of a condition that it joins.
        """
        return written(value) if isinstance(value, Table) else plain(value)

    def says(self, value: V, of_part: Callable[[Condition], str]) -> str:
        """How it reads in a drawing.

        Args:
            value: what stands behind the word.
            of_part: gives how a condition that it joins reads.
        """
        if not isinstance(value, Table):
            return f"{self.name} {value}"
        given = [key for key in type(value).model_fields if key in value.model_fields_set]
        return f"{self.name} {', '.join(f'{key} {getattr(value, key)}' for key in given)}".strip()

    def per_point(self, value: dict[str, Any], spacing: int, steps: Callable[[str], int]) -> dict[str, Any] | None:
        """The value, as a file writes it, for losses that stand for `spacing` steps each; None where it is the same.

        Args:
            value: the value, as a file writes it.
            spacing: steps that each loss stands for.
            steps: gives an amount of time in steps; raises ValueError where it cannot be resolved.
        """
        return None

    # As it is asked

    @abstractmethod
    def bind(self, value: V, title: str, builder: Builder) -> GuardInState:
        """The guard of one stay in a state."""

    # What others need to know of it

    def advice(self, value: V) -> Advice | None:
        """What to turn; None where there is no one thing."""
        return None

    def closings(self, value: V) -> int:
        """How many ends of epochs it waits for, where the trainer says when an epoch ends."""
        return 0

    def hint(self, value: V, feed: Feed) -> Hint | None:
        """What losses decide it; None where none do."""
        return None

    @abstractmethod
    def example(self, pick: Pick) -> Any:
        """A value for tests, as a file writes it; a word `on_ramp` is asked only where there is a ramp."""


class MetricWord(Word[V]):
    """A word with a detector behind it, that watches a metric.

    Attributes:
        two_ways: whether it means something else of a metric of which more is better.
    """

    two_ways: bool = False

    def metric(self, value: Any) -> str:
        """What the key `metric` says."""
        return str(value.metric)

    def keeps(self, value: Any) -> bool:
        """Whether what it remembers outlasts the state: the key `since` says so, where there is one."""
        return getattr(value, "since", "state") == "run"

    @abstractmethod
    def detector(self, value: V, feed: Feed) -> Detector:
        """An empty detector.

        Args:
            value: what stands behind the word.
            feed: how the metric's values come.
        """

    def bind(self, value: V, title: str, builder: Builder) -> GuardInState:
        """The guard over the detector that all guards of the state share that mean the same."""
        return Watched(title, builder.detector(self, value), self.keeps(value))

    def hint(self, value: Any, feed: Feed) -> Hint:
        """As many values as the detector needs."""
        return Hint(self.detector(value, feed).needs)
