"""The vocabulary: what a curriculum file may say.

Each class is a table of the file and each field a key, spelt as in the file; the JSON Schema, the reference's rows and
the parser's suggestions come from these models. Whether the names in a file fit together is `sense.py`'s matter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, PrivateAttr, Tag, model_validator
from pydantic_core import PydanticCustomError

from plateau_rule.controller.language.values import FULL as FULL
from plateau_rule.controller.language.values import (
    LARGEST,
    Amount,
    AmountOrWindow,
    AnyNumber,
    AnyRung,
    Asks,
    Count,
    Decay,
    Finite,
    Name,
    OneKey,
    Positive,
    Reason,
    Shape,
    Share,
    Source,
    Table,
    Text,
    Window,
)
from plateau_rule.controller.language.values import Number as Number
from plateau_rule.controller.language.values import Rung as Rung

if TYPE_CHECKING:
    from plateau_rule.controller.errors import Fault


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
    tokens_per_step: Count | None = None
    """Tokens that one optimizer step consumes; needed for amounts in tokens."""


class Rate(Table):
    """The learning rate of the whole run."""

    peak: Positive
    """The rate at the start, and after every `lr_restart`."""
    shape: Shape = "cosine"
    """How the rate falls from the peak to the floor; `wsd` stays at the peak and falls over the last part."""
    floor: Share = 0.0
    """Share of the peak that is reached at the end of `length` and held from there; `constant` has none."""
    length: Amount | None = None
    """How long the fall takes, from the start or the last restart on; `rest` where neither it nor `cycles` is."""
    cycles: Annotated[list[Amount], Field(min_length=1, max_length=256)] | None = None
    """Instead of `length`: the lengths of cycles that follow each other, each of which starts at the peak."""
    decay: Decay = 0.2
    """With `wsd`: the last part of the length, over which the rate falls."""
    warmup: Amount | None = None
    """Linear rise to the peak at the start of the run, before the first step of the fall."""
    rewarm: bool = False
    """Whether the warm-up is repeated after each `lr_restart`."""


class StateRate(Table):
    """What a state changes about the learning rate while it lasts."""

    peak: Positive = 1.0
    """A factor on the run's peak."""
    shape: Shape | None = None
    """How the rate falls in this state; as in `[lr]` where it is not given."""
    floor: Share | None = None
    """Share of the peak that is reached at the end of the length; as in `[lr]` where it is not given."""
    length: Amount | None = None
    """How long the fall takes, from the last restart on; replaces the length or the cycles of `[lr]`."""
    decay: Decay | None = None
    """With `wsd`: the last part of the length, over which the rate falls; as in `[lr]` where it is not given."""


class Range(Table):
    """A knob that can take every number, or every multiple of one, between two."""

    min: AnyNumber
    """The easiest value."""
    max: AnyRung
    """The hardest value, or `full`: the limit that the trainer gives."""
    multiple_of: AnyNumber | None = None
    """Values are multiples of this, or the hardest one."""


class Knob(Table):
    """A quantity that says how hard the training is; it has a ladder or a range."""

    unit: Text = ""
    """What the values count, for people."""
    ladder: Annotated[list[AnyRung], Field(min_length=1, max_length=256)] | None = None
    """The values, easiest first; `full` stands for the limit that the trainer gives."""
    range: Range | None = None
    """Instead of a ladder: the easiest and the hardest value."""


class Plateau(Table):
    """The metric has stopped improving."""

    metric: Name = "loss"
    """The metric to watch."""
    method: Literal["halves", "trend", "returns"] = "halves"
    """The detector: `halves` as published, `trend` tells a plateau from noise, `returns` needs no threshold."""
    window: Window = 50
    """Observations over which the improvement is taken; not with `returns`."""
    threshold: Positive = 0.005
    """Flat below this relative improvement for each `per`; a larger one fires earlier; not with `returns`."""
    per: AmountOrWindow = "window"
    """What the threshold is measured on: `window`, or an amount of time such as `1000 steps`; not with `returns`."""
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.998
    """With `trend`: how sure it must be."""
    min_window: Window = 160
    """With `trend`: the least observations that it decides on; no less than a period of the order of the data."""
    cooldown: Annotated[int, Field(ge=0, le=10**9)] = 200
    """With `trend`: observations in a state before it decides."""
    share: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """With `returns`: flat when the last half of the time in the state brought less than this share of it all."""


class Patience(Table):
    """No new best of the metric for a while."""

    metric: Name = "loss"
    """The metric to watch."""
    steps: Window
    """Observations without a new best."""
    min_delta: Annotated[float, Field(ge=0, le=LARGEST)] = 0.0
    """How much below the best a value must be to count as a new one."""
    smooth: Window = 1
    """The metric is averaged over so many observations first."""


class Level(Table):
    """The mean of the last values against a fixed value."""

    metric: Name = "loss"
    """The metric to watch."""
    value: Finite
    """The value to compare with."""
    window: Window = 1
    """Observations in the mean."""


class Diverging(Table):
    """The metric grows."""

    metric: Name = "loss"
    """The metric to watch."""
    window: Annotated[int, Field(ge=2, le=10**6)] = 200
    """Observations; the means of half windows are compared."""
    factor: Annotated[float, Field(gt=1, le=LARGEST)] = 1.25
    """True when the mean of the last half window reaches the state's best half window times this."""


class Gap(Table):
    """Two stretches of time running, the metric is about the same."""

    metric: Name = "loss"
    """The metric to watch."""
    over: Amount
    """How long a stretch is: `1 epoch` compares the means of the last two epochs."""
    value: Annotated[float, Field(ge=0, le=LARGEST)]
    """True when the two means differ, up or down, by no more than this."""


class Guard(OneKey):
    """A condition: true, false, or unknown while there is too little data; only true lets a transition be taken."""

    min_epoch: Annotated[int, Field(ge=0, le=10**9)] | None = None
    """So many epochs of the run are complete: with 2, from the first step of epoch 2 on, as epochs count from 0."""
    min_step: Annotated[int, Field(ge=0, le=LARGEST)] | None = None
    """So many optimizer steps of the run are complete."""
    dwell: Amount | None = None
    """So much time was spent in this state."""
    plateau: Plateau | None = None
    """The metric has stopped improving."""
    patience: Patience | None = None
    """The metric has seen no new best for a while."""
    below: Level | None = None
    """The mean of the last values is below a value."""
    above: Level | None = None
    """The mean of the last values is above a value."""
    diverging: Diverging | None = None
    """The metric grows."""
    gap: Gap | None = None
    """The metric is about the same over two stretches of time."""
    nonfinite: Annotated[int, Field(ge=1, le=10**6)] | None = None
    """So many NaN or infinite losses in a row, in this state."""
    ramp_done: Name | None = None
    """The ramp of this knob has reached its end."""
    any: Annotated[list[Condition], Field(min_length=1, max_length=64)] | None = None
    """True if one of these is, false if all are, else unknown."""
    all: Annotated[list[Condition], Field(min_length=1, max_length=64)] | None = None
    """True if all of these are, false if one is, else unknown."""
    not_: Annotated[Condition | None, Field(alias="not")] = None
    """True if this is false, false if it is true, else unknown."""


Condition = Annotated[
    Annotated[Guard, Tag("table")] | Annotated[Name, Tag("name")],
    Discriminator(_table_or_name),
    Asks("a guard such as { min_epoch = 2 }, or the name of a [guard.NAME]"),
]
Guard.model_rebuild()  # now that Condition exists; without it `not` has no alias


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
    over: Amount
    """How long the ramp takes, from entering the state on."""
    shape: Literal["linear", "root"] = "linear"
    """`linear`, or `root`: the square grows linearly, so it rises faster at first (Platanios et al. 2019)."""


class State(Table):
    """How hard the training is, and how the rate behaves, while the state lasts."""

    name: Name
    """The state's name."""
    set: dict[Name, AnyRung] = Field(default_factory=dict)
    """The value of every knob in this state."""
    lr: StateRate = StateRate()
    """What this state changes about the learning rate."""
    ramp: dict[Name, Ramp] = Field(default_factory=dict)
    """Knobs that move while the state lasts."""
    stop: Reason | None = None
    """Entering this state ends the training, for this reason."""


class Transition(Table):
    """When training becomes harder, and what happens then."""

    name: Name | None = None
    """A name for logs and for counting `at_most`."""
    from_: Annotated[
        Annotated[Source, Tag("name")] | Annotated[list[Name], Field(min_length=1, max_length=256), Tag("names")],
        Discriminator(_names_or_name),
        Field(alias="from"),
        Asks('the name of a state, a list of names, or "*"'),
    ]
    """The state, or states, that are left; `*` is every state that has a next one, or every other state than `to`."""
    to: Name
    """The state that is entered; `next` is the one written after the state that is left."""
    at: Literal["step", "epoch", "eval"] = "step"
    """At which observations the guards are looked at: each, those that close an epoch, those with an evaluation."""
    guards: Annotated[list[Condition], Field(max_length=64)] = Field(default_factory=list)
    """Conditions that must all hold; none always hold."""
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
    """So many in a row end the run, unless a transition answers them."""


class Align(Table):
    """What "the rate is high when a knob rises" means."""

    min: Share = 0.95
    """Share of the new state's peak that the rate must have on the first step after a raise."""
    hold: Share = 0.8
    """Share of that peak that the rate must keep after it."""
    steps: Annotated[int, Field(ge=0, le=10**9)] = 50
    """For so many steps the rate must keep it."""
    within: Amount = "1 step"
    """In steps: the time from the raise on in which the rate must have got there."""


class Check(Table):
    """What findings of `plateau check` are measured against."""

    align: Align = Align()
    """The measure of the property `aligned`."""
    waive: dict[str, Reason] = Field(default_factory=dict)
    """Properties that are not asked for, each with the reason."""


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

    def placed(self, fault: Fault) -> Fault:
        """The fault with its place in the file that this curriculum was read from, if it was."""
        if self._source is None or fault.place is not None:
            return fault
        from dataclasses import replace

        from plateau_rule.controller.language.places import Places

        return replace(fault, place=Places(*self._source).of(fault.path, fault.at_key))
