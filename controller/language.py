"""The vocabulary: what a curriculum file may say.

Each class is a table of the file and each field a key, spelt as in the file; the JSON Schema, the reference's rows and the
parser's unknown-key suggestions come from these models. Whether the names in a file fit together is `sense.py`'s matter.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from controller.amounts import PATTERN, parse_amount


def _amount(text: str) -> str:
    try:
        parse_amount(text)
    except ValueError as error:
        raise PydanticCustomError("bad-amount", "{reason}", {"reason": str(error)}) from None
    return text


Amount = Annotated[str, AfterValidator(_amount), Field(json_schema_extra={"pattern": PATTERN})]
Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,63}$")]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1, le=10**15)]
Window = Annotated[int, Field(ge=1, le=10**6)]
Number = int | float
Rung = Number | Literal["full"]
FULL = "full"


def _table_or_name(written: Any) -> str:
    """Which of the two a condition or an action is, so that only faults of that kind are reported."""
    return "name" if isinstance(written, str) else "table"


class Table(BaseModel):
    """Base of all tables: nothing unknown, nothing coerced, nothing changed afterwards."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        populate_by_name=True,
        use_attribute_docstrings=True,
    )


class OneKey(Table):
    """A table of which exactly one key is set."""

    @model_validator(mode="after")
    def _one_key(self) -> OneKey:
        if len(self.model_fields_set) != 1:
            found = ", ".join(sorted(self.model_fields_set)) or "none"
            raise PydanticCustomError("one-key", "expected exactly one key, found {found}", {"found": found})
        return self

    @property
    def word(self) -> str:
        """The one key that is set, as the file spells it."""
        (name,) = self.model_fields_set
        return type(self).model_fields[name].alias or name

    @property
    def value(self) -> Any:
        """What that key holds."""
        (name,) = self.model_fields_set
        return getattr(self, name)


class Run(Table):
    """What one run is; the trainer confirms or overrides it when it binds the file."""

    epochs: Count | None = None
    """Number of epochs in the run."""
    steps_per_epoch: Count | None = None
    """Optimizer steps (not micro-batches) in an epoch."""
    tokens_per_step: Count | None = None
    """Tokens that one optimizer step consumes; needed for amounts in tokens."""


class Rate(Table):
    """The learning rate of the whole run."""

    peak: Positive
    """The rate at the start of a cycle, and after every `lr_restart`."""
    shape: Literal["cosine", "linear", "constant", "wsd"] = "cosine"
    """How the rate falls from the peak to the floor."""
    floor: Share = 0.0
    """Fraction of the peak that is reached after `length` and held from there."""
    length: Amount | None = None
    """How long the fall takes; `rest`, to the end of the run, where neither it nor `cycles` is given."""
    cycles: Annotated[list[Amount], Field(min_length=1, max_length=256)] | None = None
    """Instead of `length`: the lengths of cycles, each of which starts at the peak."""
    decay: Annotated[float, Field(gt=0, le=1)] = 0.2
    """With `wsd`: the last part of the length, over which the rate falls."""
    warmup: Amount | None = None
    """Linear rise before the first step at the peak, at the start of the run."""
    rewarm: bool = False
    """Whether the warm-up is repeated after each `lr_restart`."""


class StateRate(Table):
    """What a state changes about the learning rate while it lasts."""

    peak: Positive = 1.0
    """A factor on the peak."""
    shape: Literal["cosine", "linear", "constant", "wsd"] | None = None
    """How the rate falls in this state."""
    floor: Share | None = None
    """Fraction of the peak that is reached at the end of the length."""
    length: Amount | None = None
    """How long the fall takes, from the last restart on; replaces `cycles` as well."""
    decay: Annotated[float, Field(gt=0, le=1)] | None = None
    """With `wsd`: the last part of the length, over which the rate falls."""


class Range(Table):
    """A knob that can take many values."""

    min: Number
    """The easiest value."""
    max: Rung
    """The hardest value, or `full`."""
    multiple_of: Number | None = None
    """Values are multiples of this."""


class Knob(Table):
    """A quantity that says how hard the training is."""

    unit: str = ""
    """What the values count, for people."""
    ladder: Annotated[list[Rung], Field(min_length=1, max_length=256)] | None = None
    """The values, easiest first; `full` stands for the limit that the trainer gives."""
    range: Range | None = None
    """Instead of a ladder: a lowest and a highest value."""


class Plateau(Table):
    """The loss has stopped improving."""

    metric: Name = "loss"
    """The metric to watch."""
    method: Literal["halves", "trend", "returns"] = "halves"
    """The detector: `halves` (as published), `trend` (tells noise from a plateau), `returns` (needs no scale)."""
    window: Window = 50
    """Observations over which the improvement is taken."""
    threshold: Positive = 0.005
    """Relative improvement per `per` under which the metric counts as flat."""
    per: Amount | Literal["window"] = "window"
    """What the threshold is measured on: `window`, or an amount of time such as `1000 steps`."""
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.99
    """With `trend`: how sure it must be."""
    min_window: Window = 80
    """With `trend`: the least number of observations that it decides on."""
    cooldown: Annotated[int, Field(ge=0, le=10**9)] = 200
    """With `trend`: observations after entering a state in which it stays silent."""
    share: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """With `returns`: the last half of the time in the state brought less than this share of it all."""


class Patience(Table):
    """No new best for a while."""

    metric: Name = "loss"
    """The metric to watch."""
    steps: Window
    """Observations without a new best."""
    min_delta: Annotated[float, Field(ge=0)] = 0.0
    """How much better than the best a value must be to count."""
    smooth: Window = 1
    """The metric is averaged over so many observations first."""


class Level(Table):
    """The mean of the last values against a fixed value."""

    metric: Name = "loss"
    """The metric to watch."""
    value: float
    """The value to compare with."""
    window: Window = 1
    """Observations in the mean."""


class Diverging(Table):
    """The loss grows."""

    metric: Name = "loss"
    """The metric to watch."""
    window: Annotated[int, Field(ge=2, le=10**6)] = 200
    """Observations; the means of half windows are compared."""
    factor: Annotated[float, Field(gt=1)] = 1.25
    """The mean of the last half window must reach the best half window's mean of this state times this."""


class Guard(OneKey):
    """A condition; three-valued, and only true lets a transition fire."""

    min_epoch: Annotated[int, Field(ge=0, le=10**9)] | None = None
    """So many epochs of the run are complete."""
    min_step: Annotated[int, Field(ge=0, le=10**15)] | None = None
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
    nonfinite: Annotated[int, Field(ge=1, le=10**6)] | None = None
    """So many NaN or infinite losses in a row."""
    ramp_done: Name | None = None
    """The ramp of this knob has reached its end."""
    any: Annotated[list[Condition], Field(min_length=1, max_length=64)] | None = None
    """True if one of these is, false if all are, else unknown."""
    all: Annotated[list[Condition], Field(min_length=1, max_length=64)] | None = None
    """True if all of these are, false if one is, else unknown."""
    not_: Annotated[Condition | None, Field(alias="not")] = None
    """True if this is false, false if it is true, else unknown."""


Condition = Annotated[Annotated[Guard, Tag("table")] | Annotated[Name, Tag("name")], Discriminator(_table_or_name)]


class ActionTable(OneKey):
    """An action with an argument."""

    lr_scale: Positive | None = None
    """Multiply the rate by this, from here on."""
    signal: Name | None = None
    """Hand this name to the trainer."""


ActionWord = Literal["lr_restart", "checkpoint", "evaluate", "rollback", "reset_optimizer"]
Action = Annotated[
    Annotated[ActionTable, Tag("table")] | Annotated[ActionWord, Tag("name")], Discriminator(_table_or_name)
]


class Ramp(Table):
    """A knob that moves while a state lasts, as a pure function of the time in it."""

    to: Rung
    """The value at the end of the ramp."""
    over: Amount
    """How long the ramp takes, from entering the state on."""
    shape: Literal["linear", "root"] = "linear"
    """`linear`, or `root`: the square grows linearly (Platanios et al. 2019, competence)."""


class State(Table):
    """How hard the training is, and how the rate behaves, while the state lasts."""

    name: Name
    """The state's name."""
    set: dict[Name, Rung] = Field(default_factory=dict)
    """The value of every knob in this state."""
    lr: StateRate = StateRate()
    """What this state changes about the learning rate."""
    ramp: dict[Name, Ramp] = Field(default_factory=dict)
    """Knobs that move while the state lasts."""
    stop: str | None = None
    """Entering this state ends the training, for this reason."""


class Transition(Table):
    """When training becomes harder, and what happens then."""

    name: Name | None = None
    """A name for logs."""
    from_: Annotated[Name | list[Name] | Literal["*"], Field(alias="from")]
    """The state, or states, that are left; `*` is every state from which `to` makes sense."""
    to: Name
    """The state that is entered; `next` is the one written after it."""
    at: Literal["step", "epoch", "eval"] = "step"
    """At which observations the guards are looked at."""
    guards: Annotated[list[Condition], Field(max_length=64)] = Field(default_factory=list)
    """Conditions that must all hold."""
    sustain: Annotated[int, Field(ge=1, le=10**9)] = 1
    """How many looks in a row they must hold."""
    at_most: Annotated[int, Field(ge=1, le=10**9)] | None = None
    """How often the transition may be taken in one run."""
    actions: Annotated[list[Action], Field(max_length=16)] = Field(default_factory=list)
    """What is done, in this order, before the state is entered."""
    regress: bool = False
    """Whether a knob may fall."""


class NonFinite(Table):
    """What is done about NaN and infinite losses."""

    limit: Annotated[int, Field(ge=1, le=10**6)] = 25
    """So many in a row end the run, unless a transition answers them."""


class Align(Table):
    """What "the rate is high when a knob rises" means."""

    min: Share = 0.95
    """Share of the peak on the first step after a raise."""
    hold: Share = 0.8
    """Share of the peak that is kept after it."""
    steps: Annotated[int, Field(ge=0, le=10**9)] = 50
    """For so many steps."""
    within: Amount = "1 step"
    """The time in which the rate must have got there."""


class Check(Table):
    """What findings of `plateau check` are measured against."""

    align: Align = Align()
    """The measure of `aligned`."""
    waive: dict[str, Annotated[str, Field(min_length=1)]] = Field(default_factory=dict)
    """Properties that are not asked for, each with the reason."""


class Curriculum(Table):
    """A whole curriculum file."""

    format: Literal[1] = 1
    """Version of the language."""
    name: Name
    """The curriculum's name."""
    description: str = ""
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

    @model_validator(mode="after")
    def _makes_sense(self) -> Curriculum:
        from controller.errors import CurriculumError
        from controller.sense import faults_of

        faults = faults_of(self)
        if faults:
            raise CurriculumError(faults)
        return self

    def resolve(self, condition: Guard | str) -> Guard:
        """Follow the name of a `[guard.NAME]` to its guard."""
        seen: set[str] = set()
        while isinstance(condition, str):
            if condition in seen:
                raise RecursionError(condition)  # faults_of refuses such a file before anyone gets here
            seen.add(condition)
            condition = self.guard[condition]
        return condition
