"""Scenarios: losses spelled out piece by piece, and what a curriculum must have done by when; for `plateau test`.

    curriculum = "mine.toml"                  # beside this file, or the name of a shipped one
    limits     = { cutoff = 1025 }

    [[scenario]]
    name   = "a flat loss raises the cutoff when the third epoch closes"
    losses = ["falls from 5.0 to 3.0 over 2 epochs", "flat for 2 epochs"]
    expect = [
      { before = "2 epochs", raises = 0 },
      { at = "3 epochs", state = "words", cutoff = 256, lr = 2e-4 },
    ]

In the manner of `promtool test rules`.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, repeat
from math import inf, isclose, nan
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from plateau_rule.controller.binding import Binding
from plateau_rule.controller.controller import Controller
from plateau_rule.controller.errors import (
    BindingError,
    CurriculumError,
    Key,
    NonFiniteLoss,
    PlateauError,
    nearest,
    spelled,
    visible,
)
from plateau_rule.controller.given_values import value_given
from plateau_rule.controller.language.amounts import RunLength, parse_amount, steps_in
from plateau_rule.controller.language.curriculum import Curriculum
from plateau_rule.controller.language.knob_values import value_of
from plateau_rule.controller.language.places import Places
from plateau_rule.controller.language.reading import load, toml_of
from plateau_rule.controller.language.scanning import within_limits
from plateau_rule.controller.plan import Decision, Plan
from plateau_rule.controller.verifier.coverage import Coverage

LONGEST = 10_000_000  # losses in a scenario
NOTHING = Binding()
_NUMBER = r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"
_PIECES = {
    "flat": re.compile(rf"^flat(?: (?:at )?({_NUMBER}))? for (.+)$"),
    "slope": re.compile(rf"^(?:falls|rises)(?: from ({_NUMBER}))? to ({_NUMBER}) over (.+)$"),
    "lost": re.compile(r"^(nan|inf|-inf)(?: ([0-9]+))?$"),
    "spike": re.compile(rf"^spike (?:to |of )?({_NUMBER})$"),
    "values": re.compile(rf"^({_NUMBER})(?:[ ,]+{_NUMBER})*$"),
}
_EXAMPLES = '"flat 3.0 for 200 steps", "falls to 2.5 over 1 epoch", "nan 3", "spike 9.0" or "3.0 2.9 2.8"'


class ScenarioError(PlateauError):
    """A scenario file that cannot be carried out."""


class At(NamedTuple):
    """Where in a scenario file something stands: the keys that lead to it."""

    places: Places
    keys: tuple[Key, ...] = ()

    def inside(self, *keys: Key) -> At:
        """What stands below it."""
        return At(self.places, (*self.keys, *keys))

    def wrong(self, sentence: str, at_key: bool = False) -> ScenarioError:
        """What is wrong here, with the line and a caret; at_key: with the key, not with its value."""
        place = self.places.of(self.keys, at_key)
        return ScenarioError(f"{place}: {sentence}\n{place.shown()}")


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Expectation(BaseModel):
    """What must hold at a time, up to it, or from the start to the end.

    at: the plan of the step after so much time. by: the state has been entered by that step. before: it has not been,
    on any earlier step. Without a time, the end is meant. never: a state that is not entered. raises: how many
    transitions were taken by then. dead: whether the run ends by NonFiniteLoss. Any other key is a knob with its value.
    """

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    at: str | None = None
    by: str | None = None
    before: str | None = None
    state: str | None = None
    never: str | None = None
    lr: float | None = None
    epoch: int | None = None
    raises: int | None = None
    dead: bool | None = None

    @model_validator(mode="after")
    def _one_time(self) -> Expectation:
        if sum(when is not None for when in (self.at, self.by, self.before)) > 1:
            raise ValueError("one of at, by and before, not several")
        if self.by is not None and self.state is None:
            raise ValueError("by asks for a state")
        return self

    @property
    def knobs(self) -> Mapping[str, Any]:
        """The knobs that it names, with the values that they must have."""
        return self.__pydantic_extra__ or {}


class Scenario(_Table):
    """One scenario: its losses, and what must come of them."""

    name: str
    """What it shows."""
    losses: Annotated[list[str], Field(min_length=1, max_length=1000)]
    """The stream, piece by piece."""
    noise: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Standard deviation of normal noise, relative to the loss."""
    seed: int = 0
    """Of the noise."""
    eval_every: Annotated[int, Field(ge=1)] | None = None
    """Steps after each of which there is an evaluation; its val_loss is the loss without noise."""
    expect: Annotated[list[Expectation], Field(min_length=1, max_length=1000)]
    """What must hold."""


class File(_Table):
    """A scenario file."""

    curriculum: str
    """A file beside this one, or the name of a shipped curriculum."""
    limits: dict[str, float | int] | None = None
    """The trainer's knobs with their largest values."""
    epochs: Annotated[int, Field(ge=1)] | None = None
    """Replaces the curriculum's."""
    steps_per_epoch: Annotated[int, Field(ge=1)] | None = None
    """Replaces the curriculum's."""
    tokens_per_step: Annotated[int, Field(ge=1)] | None = None
    """Replaces the curriculum's."""
    scenario: Annotated[list[Scenario], Field(min_length=1, max_length=1000)]
    """The scenarios."""


@dataclass(frozen=True)
class Suite:
    """A scenario file that has been read, with its curriculum."""

    path: Path
    file: File
    curriculum: Curriculum
    places: Places
    binding: Binding

    def controller(self, binding: Binding) -> Controller:
        """A fresh controller, bound as is said here, else as the file says.

        Raises:
            BindingError: the curriculum does not fit.
        """
        said: Any = {name: value for name, value in vars(binding).items() if value is not None}
        return Controller(self.curriculum, self.binding, **said)


@dataclass
class Result:
    """What became of a scenario: the failures, a sentence each, and the decisions that were taken."""

    scenario: Scenario
    failures: list[str] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    explained: list[str] = field(default_factory=list)  # the guards at the first failure's time


def read(path: Path) -> Suite:
    """Read a scenario file and its curriculum. Raises ScenarioError or CurriculumError where something is wrong."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ScenarioError(f"{path} cannot be read: {error.strerror or error}") from None
    text = within_limits(content, str(path))
    written = toml_of(text, str(path))
    at = At(Places(text, str(path)))
    if "state" in written and "scenario" not in written:
        raise at.wrong(f"a curriculum; expected scenarios. To check it: plateau check {visible(str(path))}")
    try:
        file = File.model_validate(written)
    except ValidationError as error:
        raise ScenarioError("\n".join(str(_refusal(detail, at)) for detail in error.errors()[:20])) from None
    try:
        binding = Binding.of(file.limits, **file.model_dump(include={"epochs", "steps_per_epoch", "tokens_per_step"}))
    except BindingError as error:
        wrong = (at.inside(*fault.path).wrong(f"{spelled(fault.path)}: {fault.sentence}") for fault in error.faults)
        raise ScenarioError("\n".join(map(str, wrong))) from None
    beside = path.parent / file.curriculum
    try:
        return Suite(path, file, load(beside if beside.is_file() else file.curriculum), at.places, binding)
    except CurriculumError as error:
        if beside.is_file():  # it says by itself where in that file something is wrong
            raise
        raise at.inside("curriculum").wrong(str(error)) from None


def _refusal(detail: Any, at: At) -> ScenarioError:
    keys = detail["loc"]
    if detail["type"] == "extra_forbidden":
        model = Scenario if keys[0] == "scenario" and len(keys) > 2 else File
        sentence = f'unknown key "{visible(str(keys[-1]))}". {nearest(str(keys[-1]), model.model_fields)}'
        return at.inside(*keys).wrong(sentence, at_key=True)
    if detail["type"] == "missing":
        return at.inside(*keys[:-1]).wrong(f'there is no "{keys[-1]}"', at_key=True)
    if detail["type"] == "string_type" and isinstance(detail["input"], int | float):
        unit = f'. Say the unit: "{detail["input"]} steps"' if keys[-1] in ("at", "by", "before") else ""
        return at.inside(*keys).wrong(f"found {detail['input']}; expected a text in quotation marks{unit}")
    message = str(detail["ctx"]["error"]) if detail["type"] == "value_error" else detail["msg"]
    return at.inside(*keys).wrong(message[0].lower() + message[1:])


# Losses


def losses(scenario: Scenario, run: RunLength, at: At) -> Iterator[tuple[float, float]]:
    """The losses of a scenario, step by step, without and with noise. Raises ScenarioError at a piece of nonsense."""
    rng = random.Random(scenario.seed)
    level: float | None = None
    pieces, count = [], 0
    for place, text in enumerate(scenario.losses):  # all of them first: a mistake at the end is seen in any case
        values, steps, level = _piece(text, level, run, at.inside("losses", place))
        pieces.append(values)
        count += steps
    if count > LONGEST:
        raise at.inside("losses").wrong(f"{count:,} losses; expected at most {LONGEST:,}")
    for value in chain.from_iterable(pieces):
        yield value, value * (1.0 + scenario.noise * rng.gauss()) if scenario.noise else value


def _piece(text: str, level: float | None, run: RunLength, at: At) -> tuple[Iterable[float], int, float | None]:
    """The losses of a piece, how many they are, and the level after them."""
    found = {kind: match for kind, pattern in _PIECES.items() if (match := pattern.match(text.strip()))}
    if match := found.get("flat"):
        level = float(match[1]) if match[1] else _known(level, text, at)
        steps = _steps(match[2], run, at)
        return repeat(level, steps), steps, level
    if match := found.get("slope"):
        start, end = float(match[1]) if match[1] else _known(level, text, at), float(match[2])
        steps = _steps(match[3], run, at)
        return (start + (end - start) * (step + 1) / steps for step in range(steps)), steps, end
    if match := found.get("lost"):
        steps = int(match[2] or 1)
        return repeat({"nan": nan, "inf": inf, "-inf": -inf}[match[1]], steps), steps, level
    if match := found.get("spike"):
        return [float(match[1])], 1, level
    if found.get("values"):
        values = [float(value) for value in re.split(r"[ ,]+", text.strip())]
        return values, len(values), values[-1]
    raise at.wrong(f'"{visible(text)}": expected a piece such as {_EXAMPLES}')


def _known(level: float | None, text: str, at: At) -> float:
    if level is None:
        raise at.wrong(f'"{text}" does not say from where, and nothing comes before it')
    return level


def _steps(amount: str, run: RunLength, at: At) -> int:
    try:
        return steps_in(parse_amount(amount), run, run.total_steps)
    except ValueError as error:
        raise at.wrong(f'"{visible(amount)}": {error}') from None


# Running


def run(suite: Suite, scenario: Scenario, binding: Binding = NOTHING, coverage: Coverage | None = None) -> Result:
    """Carry out one scenario, bound as is said here, else as its file says; `coverage` notes what it took and saw.

    Raises:
        ScenarioError: it asks for a time, a state or a knob that does not exist.
    """
    controller, result = suite.controller(binding), Result(scenario)
    length = controller.machine.run
    at = At(suite.places, ("scenario", suite.file.scenario.index(scenario)))
    checks = [_Check(one, length, controller, at.inside("expect", i)) for i, one in enumerate(scenario.expect)]
    dead = False
    for clean, loss in losses(scenario, length, at):
        if controller.plan.stop:
            break
        _look(checks, controller, result)
        step, state = controller.plan.step, controller.run_state.state
        due = scenario.eval_every is not None and (step + 1) % scenario.eval_every == 0
        try:
            decision = controller.observe(loss, eval_end=True, val_loss=clean) if due else controller.observe(loss)
        except NonFiniteLoss:
            dead = True
            break
        if decision is not None:
            result.decisions.append(decision)
        if coverage is not None:
            coverage.note_step(state, decision, controller, due)
    _look(checks, controller, result)
    for check in checks:
        result.failures += check.at_the_end(controller.plan, result, dead)
    return result


def _look(checks: list[_Check], controller: Controller, result: Result) -> None:
    plan = controller.plan
    for check in checks:
        if not check.done and plan.step >= check.step:
            check.done = True
            found = check.now(plan, result)
            if found and not result.failures:
                result.explained = controller.explain()
            result.failures += found


def _end_of(one: Expectation, run: RunLength, at: At) -> float:
    for word in ("at", "by", "before"):
        if (when := getattr(one, word)) is not None:
            steps = _steps(when, run, at.inside(word))
            return max(0, steps - 1) if word == "before" else steps
    return inf


class _Check:
    """One expectation while its scenario runs."""

    def __init__(self, one: Expectation, run: RunLength, controller: Controller, at: At) -> None:
        self.one, self.step, self.done = one, _end_of(one, run, at), False
        self.first = controller.plan.state
        states, knobs = controller.machine.by_name, controller.machine.curriculum.knob
        for word, name in (("state", one.state), ("never", one.never)):
            if name is not None and name not in states:
                raise at.inside(word).wrong(f'no state "{visible(name)}". {nearest(name, states)}')
        for name in one.knobs:
            if name not in knobs:
                sentence = f'no knob "{visible(name)}". {nearest(name, [*Expectation.model_fields, *knobs])}'
                raise at.inside(name).wrong(sentence, at_key=True)
            try:
                value_given(controller.machine, name, one.knobs[name])
            except ValueError as error:
                raise at.inside(name).wrong(str(error)) from None

    def now(self, plan: Plan, result: Result) -> list[str]:
        """What is wrong at its time."""
        one = self.one
        entered = {self.first, *(decision.to_state for decision in result.decisions)}
        when, failures = f"step {plan.step} (epoch {plan.epoch})", []
        if one.by is not None:
            if one.state not in entered:
                failures.append(f'by {one.by}: expected state "{one.state}" to be entered; {when} is in "{plan.state}"')
        elif one.before is not None:
            if one.state in entered:
                failures.append(f'before {one.before}: expected state "{one.state}" not to be entered')
        elif one.state is not None and one.state != plan.state:
            failures.append(f'at {one.at or "the end"}: expected state "{one.state}", found "{plan.state}" on {when}')
        label = f"at {one.at}" if one.at else f"before {one.before}" if one.before else f"by {one.by}" if one.by else ""
        label = label or "at the end"
        if one.lr is not None and not isclose(plan.lr, one.lr, rel_tol=1e-6):
            failures.append(f"{label}: expected lr {one.lr:g}, found {plan.lr:g} on {when}")
        if one.epoch is not None and plan.epoch != one.epoch:
            failures.append(f"{label}: expected epoch {one.epoch}, found {plan.epoch} on step {plan.step}")
        if one.raises is not None and len(result.decisions) != one.raises:
            failures.append(f"{label}: expected {one.raises} transitions, found {len(result.decisions)} by {when}")
        for name, value in one.knobs.items():
            if value_of(value) != plan.knobs[name]:
                failures.append(f"{label}: expected {name} {value}, found {plan.knobs[name]} on {when}")
        return failures

    def at_the_end(self, plan: Plan, result: Result, dead: bool) -> list[str]:
        """What is wrong when there are no more losses."""
        one, failures = self.one, []
        if not self.done:
            if self.step == inf:
                failures += self.now(plan, result)
            else:
                when = one.at or one.by or one.before
                over = plan.stop or ("the run died of NaN" if dead else "there are no more losses")
                failures.append(f"{when} is never reached: {over}, at step {plan.step}")
        if one.never is not None and (hit := [d for d in result.decisions if d.to_state == one.never]):
            failures.append(f'expected state "{one.never}" never to be entered; it is, on step {hit[0].step}')
        if one.dead is not None and dead is not one.dead:
            failures.append(
                f"expected the run {'' if one.dead else 'not '}to die of NaN; it {'did' if dead else 'did not'}"
            )
        return failures
