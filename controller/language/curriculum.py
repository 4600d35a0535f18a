"""The vocabulary: what a curriculum file may say.

Each class is a table of the file and each field a key, spelt as in the file; the JSON Schema, the reference's rows and
the parser's suggestions come from these models. Whether the names in a file fit together is
`consistency.py`'s matter. The words of guards are listed in `controller/guards`.
"""

from __future__ import annotations

from keyword import iskeyword
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, PrivateAttr, Tag, create_model, model_validator
from pydantic_core import PydanticCustomError

from plateau_rule.controller.guards import WORDS, Word
from plateau_rule.controller.guards.min_epoch import EXAMPLE
from plateau_rule.controller.language.knob_values import AnyRung
from plateau_rule.controller.language.knob_values import Rung as Rung
from plateau_rule.controller.language.rates import GrowingCycles as GrowingCycles
from plateau_rule.controller.language.rates import Peaks as Peaks
from plateau_rule.controller.language.rates import Rate as Rate
from plateau_rule.controller.language.rates import StateRate as StateRate
from plateau_rule.controller.language.values import FULL as FULL
from plateau_rule.controller.language.values import (
    Amount,
    AnyNumber,
    Asks,
    Count,
    CountOrProduct,
    Duration,
    MetricName,
    Name,
    NumberOrFull,
    OneKey,
    Positive,
    Product,
    Reason,
    Share,
    Source,
    StateName,
    Table,
    Text,
    Whole,
)
from plateau_rule.controller.language.values import Number as Number

if TYPE_CHECKING:
    from plateau_rule.controller.errors import Fault, Key, Place


def _table_or_name(written: Any) -> str:
    """Which of the two a condition or an action is, so that only faults of that kind are reported."""
    return "name" if isinstance(written, str) else "table"


def _names_or_name(written: Any) -> str:
    return "names" if isinstance(written, list) else "name"


def _format(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int):
        raise PydanticCustomError("wrong-type", "expected 1")
    return value


class Run(Table):
    """What one run is; the trainer confirms or overrides it when it binds the file."""

    epochs: Count | None = None
    """Epochs in the run; needed for shares of the run and for `rest`."""
    steps_per_epoch: Count | None = None
    """Optimizer steps, not micro-batches, in an epoch; without it the trainer says when an epoch closes."""
    tokens_per_step: CountOrProduct | None = None
    """Tokens that one step consumes: a number, or numbers and knobs, whose product is counted at each step."""
    tokens: Whole | None = None
    """The run ends before the first step that begins at or beyond so many tokens."""
    cost_per_step: Product | None = None
    """What one step costs: numbers and knobs, whose product is counted; beside it, knobs may have prices."""
    cost: Positive | None = None
    """The run ends before the first step that begins at or beyond this cost."""
    clock: Literal["steps", "tokens", "cost"] | None = None
    """Which of its bounds shares of the run, and `rest`, are measured on, where the run has several."""
    flop_per_token: Positive | None = None
    """Floating-point operations for one token; with it, `plateau check` also says how many a run takes."""


class Metric(Table):
    """What a trainer measures. The loss needs no table: it comes at every step, and less of it is better."""

    goal: Literal["min", "max"] = "min"
    """Which way is better: `max` for a score, an accuracy, a reward."""
    at: Literal["step", "epoch", "eval"] = "eval"
    """When its values come: with evaluations, or with the observation of a step, or of one that closes an epoch."""
    every: Duration | None = None
    """How often; an amount of time in a guard on it is measured by this. An epoch where `at` says epoch."""
    unit: Text = ""
    """What the values count, for people."""


class Range(Table):
    """A knob that can take every number, or every multiple of one, between two."""

    min: AnyNumber
    """The smallest value; the easiest, unless smaller is harder."""
    max: NumberOrFull
    """The largest value, or `full`: the limit that the trainer gives."""
    multiple_of: AnyNumber | None = None
    """Values are multiples of this, or the largest one."""


class Knob(Table):
    """A quantity that says how hard the training is; it has a ladder or a range."""

    unit: Text = ""
    """What the values count, for people."""
    order: Literal["up", "down", "none"] = "up"
    """Whether larger values are harder, smaller ones are, or neither: then it neither rises nor falls."""
    ladder: Annotated[list[AnyRung], Field(min_length=1, max_length=256)] | None = None
    """The values, easiest first: numbers, names, lists or tables of numbers; `full` is the trainer's limit."""
    range: Range | None = None
    """Instead of a ladder: the smallest and the largest value."""
    cost: Annotated[list[Positive], Field(min_length=1, max_length=256)] | None = None
    """The price of a step on each rung of the ladder, such as its share of the time that one on the hardest takes."""


def _guard() -> Any:
    """The model of a guard: a key for each word of the registry."""
    fields: dict[str, Any] = {}
    for word in WORDS.values():
        # Not every word can be a name in Python: `not` is `not_` there.
        name, alias = (f"{word.name}_", word.name) if iskeyword(word.name) else (word.name, None)
        fields[name] = (Annotated[word.written | None, Field(alias=alias, description=word.description)], None)
    about = "A condition: true, false, or unknown while there is too little data; only true lets a transition be taken."
    return create_model("Guard", __base__=OneKey, __module__=__name__, __doc__=about, **fields)


if TYPE_CHECKING:

    class Guard(OneKey):
        """A condition, which is one of the words of the registry."""

        def __init__(self, **keys: Any) -> None: ...
        def __getattr__(self, name: str) -> Any: ...
else:
    Guard = _guard()


Condition = Annotated[
    Annotated[Guard, Tag("table")] | Annotated[Name, Tag("name")],
    Discriminator(_table_or_name),
    Asks(f"a guard such as {EXAMPLE}, or the name of a [guard.NAME]"),
]
Guard.model_rebuild()  # now that Condition exists; without it `not` has no alias


def word_of(guard: Guard) -> Word[Any]:
    """What the registry knows of a guard's word."""
    return WORDS[guard.word]


class ActionTable(OneKey):
    """An action with an argument."""

    lr_scale: Positive | None = None
    """Multiply the rate by this, from here on."""
    signal: Name | None = None
    """Hand this name to the trainer."""


ActionWord = Literal["lr_restart", "checkpoint", "evaluate", "rollback", "reset_optimizer"]
Action = Annotated[
    Annotated[ActionTable, Tag("table")] | Annotated[ActionWord, Tag("name")],
    Discriminator(_table_or_name),
    Asks('an action such as "lr_restart" or { lr_scale = 0.5 }'),
]


class Ramp(Table):
    """A knob that moves while a state lasts, from the value in `set`, as a pure function of the time in the state."""

    to: AnyRung
    """The value at the end of the ramp."""
    over: Duration
    """How long the ramp takes, from entering the state on."""
    shape: Literal["linear", "root"] = "linear"
    """`linear`, or `root`: the square moves linearly, so a rise is faster at first (Platanios et al. 2019)."""


class State(Table):
    """How hard the training is, and how the rate behaves, while the state lasts."""

    name: Name
    """The state's name."""
    each: Name | None = None
    """One state for each rung of this knob, NAME.RUNG, easiest first: `to` its name enters the first."""
    set: dict[Name, AnyRung] = Field(default_factory=dict)
    """The value of every knob in this state, but for that of `each`."""
    lr: StateRate = StateRate()
    """What this state changes about the learning rate."""
    ramp: dict[Name, Ramp] = Field(default_factory=dict)
    """Knobs that move while the state lasts."""
    stop: Reason | None = None
    """Entering this state ends the training, for this reason."""
    final: bool = False
    """A run is to get here, though retreats lead out of it; a state that no transition leaves is final anyway."""


class Transition(Table):
    """When training becomes harder, and what happens then."""

    name: Name | None = None
    """A name for logs and for counting `at_most`."""
    from_: Annotated[
        Annotated[Source, Tag("name")] | Annotated[list[StateName], Field(min_length=1, max_length=256), Tag("names")],
        Discriminator(_names_or_name),
        Field(alias="from"),
        Asks('the name of a state, a list of names, or "*"'),
    ]
    """The state, or states, that are left; `*` is every state that has a next one, or every other state than `to`."""
    to: StateName
    """The state that is entered; `next` is the one written after the state that is left."""
    at: Literal["step", "epoch", "eval"] = "step"
    """At which observations the guards are looked at: each, those that close an epoch, those with an evaluation."""
    guards: Annotated[list[Condition], Field(max_length=64)] = Field(default_factory=list)
    """Conditions that must all hold. A transition without guards is taken at the first look."""
    sustain: Annotated[int, Field(ge=1, le=10**9)] = 1
    """How many looks in a row they must hold."""
    at_most: Annotated[int, Field(ge=1, le=10**9)] | None = None
    """How often the transition may be taken in one run; without limit where it is not given."""
    actions: Annotated[list[Action], Field(max_length=16)] = Field(default_factory=list)
    """What is done, in this order: `lr_restart` starts the rate over; the others are handed to the trainer."""
    regress: bool = False
    """Whether a knob may fall."""


class NonFinite(Table):
    """What is done about NaN and infinite losses."""

    limit: Annotated[int, Field(ge=1, le=10**6)] = 25
    """This many in a row end the run, unless a transition responds to them."""


class Align(Table):
    """What "the rate is high when a knob rises" means."""

    min: Share = 0.95
    """Share of the new state's peak that the rate must have on the first step after a raise."""
    hold: Share = 0.8
    """Share of that peak that the rate must keep after it."""
    steps: Annotated[int, Field(ge=0, le=10**9)] | None = None
    """The number of steps for which the rate must keep it: 50 unless said, or 5 % of a run of less than 1,000 steps."""
    within: Amount = "1 step"
    """In steps: the time from the raise on in which the rate must have got there."""


def _text_or_table(written: Any) -> str:
    return "text" if isinstance(written, str) else "table"


Waiver = Annotated[
    Annotated[Reason, Tag("text")] | Annotated[dict[Name, Reason], Field(min_length=1), Tag("table")],
    Discriminator(_text_or_table),
    Asks('a reason, in one line of 1 to 300 characters, or { NAME = "a reason" } for the transition of that name'),
]


class Check(Table):
    """What findings of `plateau check` are measured against."""

    align: Align = Align()
    """The measure of the property `aligned`."""
    waive: dict[str, Waiver] = Field(default_factory=dict)
    """Properties that are not asked for, each with the reason; or with reasons for some transitions, by their names."""


class Curriculum(Table):
    """A whole curriculum file."""

    format: Annotated[Literal[1], BeforeValidator(_format)] = 1
    """Version of the language."""
    name: Name
    """The curriculum's name."""
    description: Text = ""
    """One sentence for people."""
    run: Run = Run()
    """What one run is."""
    lr: Rate
    """The learning rate."""
    knob: dict[Name, Knob] = Field(default_factory=dict)
    """The quantities that say how hard the training is."""
    metric: dict[MetricName, Metric] = Field(default_factory=dict)
    """What the trainer measures beside the loss: once one is declared, each that a guard names must be."""
    guard: dict[Name, Guard] = Field(default_factory=dict)
    """Guards with names, to be used by name."""
    state: Annotated[list[State], Field(min_length=1, max_length=256)]
    """The states; the first is the initial one."""
    transition: Annotated[list[Transition], Field(max_length=1024)] = Field(default_factory=list)
    """The transitions; the first in the file whose guards are true is taken."""
    nonfinite: NonFinite = NonFinite()
    """What is done about NaN and infinite losses."""
    check: Check = Check()
    """What `plateau check` measures findings against."""

    _source: tuple[str, str] | None = PrivateAttr(default=None)  # text and file name, where it was read from one
    _origin: tuple[Curriculum, tuple[int, ...]] | None = PrivateAttr(default=None)  # where its states are spelled out

    @model_validator(mode="after")
    def _makes_sense(self) -> Curriculum:
        from plateau_rule.controller.errors import CurriculumError
        from plateau_rule.controller.language.consistency import faults_of

        faults = faults_of(self)
        if faults:
            raise CurriculumError(faults)
        return self

    def __eq__(self, other: object) -> bool:
        """Whether both say the same, wherever they were read from."""
        return isinstance(other, Curriculum) and self.__dict__ == other.__dict__

    __hash__ = None  # type: ignore[assignment]  # it holds dicts

    def resolve(self, condition: Guard | str) -> Guard:
        """Follow the name of a `[guard.NAME]` to its guard."""
        return self.guard[condition] if isinstance(condition, str) else condition

    def remember_source(self, text: str, file: str) -> None:
        """Keep the text that it was read from, so that faults found later have their place."""
        self._source = (text, file)

    def remember_origin(self, written: Curriculum, places: tuple[int, ...]) -> None:
        """Keep the curriculum that this one spells out, and which of its states each of these comes from."""
        self._origin = (written, places)

    def _repr_html_(self) -> str:
        """The machine, as a notebook shows it."""
        from plateau_rule.controller.notebook.machine import card_of

        return card_of(self)

    @property
    def written(self) -> Curriculum:
        """The curriculum as it is written, where this one spells it out; else itself."""
        return self if self._origin is None else self._origin[0]

    def written_path(self, path: tuple[Key, ...]) -> tuple[Key, ...]:
        """The path of something in the curriculum as it is written."""
        if self._origin is None or len(path) < 2:
            return path
        written, origins = self._origin
        if path[0] == "transition" and path[2:3] == ("from",) and isinstance(path[1], int):
            same = self.transition[path[1]].from_ == written.transition[path[1]].from_
            return path if same else path[:3]
        if path[0] != "state" or not isinstance(path[1], int):
            return path
        state = written.state[origins[path[1]]]
        if state.each is not None and path[2:3] == ("set",) and state.each in path[3:4]:
            return ("state", origins[path[1]], "each")
        return ("state", origins[path[1]], *path[2:])

    def placed(self, fault: Fault) -> Fault:
        """The fault with its place in the file that this curriculum was read from, if it was."""
        from dataclasses import replace

        path = self.written_path(fault.path)
        return fault if fault.place is not None else replace(fault, place=self.place(path, fault.at_key), path=path)

    def place(self, path: tuple[Key, ...], at_key: bool = False) -> Place | None:
        """Where something stands in the file that this curriculum was read from; None if it was not.

        Args:
            path: the keys that lead to it.
            at_key: whether the key itself is meant and not its value.
        """
        if self._source is None:
            return None
        from plateau_rule.controller.language.places import Places

        return Places(*self._source).of(path, at_key)
