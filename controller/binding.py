"""Binding a curriculum to a trainer and the length of a run; or saying everything that does not fit."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from os import PathLike
from reprlib import repr as brief
from sys import float_info
from typing import SupportsFloat, SupportsIndex, TypedDict, Unpack

from plateau_rule.controller.arguments import kind_of, python_number
from plateau_rule.controller.bound_amounts import amount_faults
from plateau_rule.controller.bound_rates import bound_cycles, follow_faults, peak_faults, with_warmups
from plateau_rule.controller.clamping import clamped_states, merged_states, with_transitions
from plateau_rule.controller.errors import (
    ArgumentError,
    BindingError,
    BindingWarning,
    Fault,
    Key,
    callers_level,
)
from plateau_rule.controller.frozen import FrozenDict
from plateau_rule.controller.language.amounts import Product, RunLength
from plateau_rule.controller.language.consistency import nearest
from plateau_rule.controller.language.curriculum import Curriculum, word_of
from plateau_rule.controller.language.fingerprint import fingerprints
from plateau_rule.controller.language.metrics import LOSS, asked
from plateau_rule.controller.language.rungs import spelled_out
from plateau_rule.controller.lead import lead_by_knob, lead_faults, lead_of, with_lead
from plateau_rule.controller.limits import unfit_limits
from plateau_rule.controller.machine import Limits, Machine, Warmup, limits_shown
from plateau_rule.controller.meters import limit_faults, meters_of, product_faults, product_of, whole_product

Path = tuple[Key, ...]
LARGEST = float_info.max
Limited = Mapping[str, SupportsFloat | None]
LeadSaid = SupportsIndex | Mapping[str, SupportsIndex]
TokensSaid = SupportsIndex | Sequence[int | str]


class Said(TypedDict, total=False):
    """The fields of a Binding as keywords, where None says nothing."""

    limits: Limited | None
    metrics: Iterable[str] | None
    epochs: SupportsIndex | None
    steps_per_epoch: SupportsIndex | None
    tokens_per_step: TokensSaid | None
    peak: SupportsFloat | None
    lag: SupportsIndex | None
    lead: LeadSaid | None


@dataclass(frozen=True, init=False)
class Binding:
    """What a trainer says of itself and of a run, as one value; None where it says nothing.

    Numbers may be Python's or numpy's, and are kept as Python's.

    Attributes:
        limits: every knob that the trainer can turn, with its largest value, or None where it has none, as for a knob
            of names; None in all where there is no trainer, and `full` stays a word.
        metrics: names of what it observes beside the loss, such as `val_loss`; None where any may come.
        epochs: epochs in the run, in place of the curriculum's.
        steps_per_epoch: optimizer steps in an epoch, in place of the curriculum's.
        tokens_per_step: tokens in an optimizer step, in place of the curriculum's: a number, or a product of numbers
            and knobs.
        peak: the peak learning rate, in place of the curriculum's.
        lag: by how many steps losses arrive late; None means 0 as well.
        lead: by how many steps a transition is decided before it applies, if it changes one of these knobs: steps for
            each knob by name, or one number for all; None means 0 as well.
    """

    limits: Limits | None
    metrics: tuple[str, ...] | None
    epochs: int | None
    steps_per_epoch: int | None
    tokens_per_step: int | Product | None
    peak: float | None
    lag: int | None
    lead: int | Mapping[str, int] | None

    def __init__(
        self,
        limits: Limited | None = None,
        *,
        metrics: Iterable[str] | None = None,
        epochs: SupportsIndex | None = None,
        steps_per_epoch: SupportsIndex | None = None,
        tokens_per_step: TokensSaid | None = None,
        peak: SupportsFloat | None = None,
        lag: SupportsIndex | None = None,
        lead: LeadSaid | None = None,
    ) -> None:
        faults: list[Fault] = []
        values: dict[str, object] = {
            "limits": _limits(limits, faults),
            "metrics": _metrics(metrics, faults),
            "epochs": _count("epochs", epochs, 1, faults),
            "steps_per_epoch": _count("steps_per_epoch", steps_per_epoch, 1, faults),
            "tokens_per_step": _tokens(tokens_per_step, faults),
            "peak": None if peak is None else _above_zero("bad-run", ("peak",), peak, faults),
            "lag": _count("lag", lag, 0, faults),
            "lead": lead_of(lead, faults),
        }
        if faults:
            raise BindingError(faults)
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @classmethod
    def of(cls, binding: Binding | Limited | None, **said: Unpack[Said]) -> Binding:
        """One value of a Binding, or of limits alone, with fields by name in place of its own.

        Raises:
            ArgumentError: a keyword is no field, or limits are given twice.
            BindingError: a value is none that the field can have.
        """
        if unknown := [name for name in said if name not in Said.__annotations__]:
            near = nearest(unknown[0], Said.__annotations__)
            raise ArgumentError(f"{unknown[0]}: there is no such keyword. {near}")
        fields = {name: value for name, value in said.items() if value is not None}
        if isinstance(binding, Binding):
            return cls(**{**vars(binding), **fields})
        if binding is not None and "limits" in fields:
            raise ArgumentError("limits: given twice, by position and by name; expected them once")
        return cls(**{"limits": binding, **fields})  # type: ignore[arg-type]

    @property
    def run(self) -> RunLength:
        """The length of the run, as far as it is said here."""
        return RunLength(self.epochs, self.steps_per_epoch, self.tokens_per_step)


def bind(curriculum: Curriculum, binding: Binding | Limited | None = None, **said: Unpack[Said]) -> Machine:
    """Bind a curriculum to a trainer and a run.

    Args:
        curriculum: what `load` gives.
        binding: what the trainer says; or its limits alone.
        said: fields of a Binding by name, in place of those of `binding`.

    Raises:
        ArgumentError: `curriculum` is no Curriculum, or a keyword is no field of a Binding.
        BindingError: with everything that does not fit.
    """
    if not isinstance(curriculum, Curriculum):
        raise ArgumentError(_no_curriculum(curriculum))
    curriculum = spelled_out(curriculum)
    binding = Binding.of(binding, **said)
    limits = binding.limits
    run = run_of(curriculum, binding)
    faults = [
        *product_faults(curriculum, run),
        *unfit_limits(curriculum, limits),
        *_metric_faults(curriculum, binding),
        *amount_faults(curriculum, run),
        *lead_faults(curriculum, binding.lead, limits),
        *peak_faults(curriculum, binding.peak),
        *follow_faults(curriculum, limits),
    ]
    faults += [] if faults else limit_faults(curriculum, run, limits)
    if faults:
        raise BindingError([curriculum.placed(fault) for fault in faults])
    states, merged = merged_states(curriculum, clamped_states(curriculum, limits))
    notes = tuple(
        f'state "{gone}" equals "{kept}" within the limits {limits_shown(limits)}: merged'
        for gone, kept in merged.items()
    )
    for note in notes:
        warnings.warn(note, BindingWarning, stacklevel=callers_level())
    whole, by_state = fingerprints(curriculum)
    states = tuple(
        replace(state, fingerprint=by_state[state.name]) for state in with_transitions(curriculum, states, merged)
    )
    lead = lead_by_knob(curriculum, binding.lead)
    states = with_lead(states, lead)
    machine = Machine(
        curriculum,
        None if limits is None else FrozenDict(limits),
        run,
        binding.peak or curriculum.lr.peak,
        Warmup(),
        states,
        whole,
        notes,
        FrozenDict({state.name: state for state in states}),
        binding.lag or 0,
        lead,
        bound_cycles(curriculum),
        meters_of(curriculum, run, limits),
    )
    return with_warmups(machine)


def run_of(curriculum: Curriculum, binding: Binding | None = None) -> RunLength:
    """The length of a run of a curriculum, with what a trainer says of it in place of what the file does."""
    told, run = binding or Binding(), curriculum.run
    return RunLength(
        told.epochs or run.epochs,
        told.steps_per_epoch or run.steps_per_epoch,
        told.tokens_per_step or product_of(curriculum),
        run.tokens,
        None if run.cost is None else Fraction(str(run.cost)),
        run.clock,
    )


def binding_of(machine: Machine) -> Binding:
    """A binding under which the machine's curriculum is bound as it was."""
    run = machine.run
    return Binding(
        machine.limits,
        epochs=run.epochs,
        steps_per_epoch=run.steps_per_epoch,
        tokens_per_step=run.tokens_per_step,
        peak=machine.peak,
        lag=machine.lag,
        lead=machine.lead,
    )


def _no_curriculum(given: object) -> str:
    """What is wrong with something that is given in the place of a Curriculum."""
    hint = "expected a Curriculum, which load and loads give"
    if isinstance(given, str | PathLike):
        hint = f"expected a Curriculum: load({brief(str(given))}) reads one"
    return f"the curriculum is {kind_of(given)}; {hint}"


# What is no number, and what does not fit


def _count(name: str, given: object, least: int, faults: list[Fault]) -> int | None:
    """A whole number as Python's. A float is none: a quotient that comes out even today may not tomorrow."""
    if given is None:
        return None
    number = python_number(given)
    if isinstance(number, int) and number >= least:
        return number
    even = isinstance(number, float) and number.is_integer() and number >= least
    hint = f"Write {int(number or 0)}, or divide by // where it is a quotient." if even else ""
    faults.append(Fault("bad-run", (name,), brief(given), f"a whole number of at least {least}", hint))
    return None


def _tokens(given: object, faults: list[Fault]) -> int | Product | None:
    """Tokens of a step: a number, or a product."""
    if not isinstance(given, list | tuple):
        return _count("tokens_per_step", given, 1, faults)
    factors = [factor if isinstance(factor, str) else _count("tokens_per_step", factor, 1, faults) for factor in given]
    if not factors:
        faults.append(Fault("bad-run", ("tokens_per_step",), "an empty list", "numbers and knobs"))
    return whole_product([factor for factor in factors if factor is not None])


def _above_zero(code: str, path: Path, given: object, faults: list[Fault]) -> float:
    number = python_number(given)
    if number is not None and 0 < number <= LARGEST:
        return number
    faults.append(Fault(code, path, brief(given), "a number above 0"))
    return 0.0


def _limits(given: object, faults: list[Fault]) -> dict[str, float | None] | None:
    if given is None:
        return None
    expected = 'the trainer\'s knobs with their largest values, such as {"cutoff": 1025}'
    if not isinstance(given, Mapping):
        faults.append(Fault("bad-limit", ("limits",), kind_of(given), expected))
        return None
    if wrong := [name for name in given if not isinstance(name, str)]:
        faults.append(Fault("bad-limit", ("limits",), f"the key {brief(wrong[0])}", expected))
        return None
    limits: dict[str, float | None] = {}
    for name, written in given.items():
        limit = None if written is None else _above_zero("bad-limit", ("limits", name), written, faults)
        limits[name] = int(limit) if limit is not None and limit == int(limit) else limit
    return limits


def _metrics(given: object, faults: list[Fault]) -> tuple[str, ...] | None:
    """The names in alphabetical order, each once."""
    if given is None:
        return None
    names = list(given) if isinstance(given, Iterable) and not isinstance(given, str | bytes) else [None]
    if any(not isinstance(name, str) for name in names):
        found = kind_of(given)
        faults.append(Fault("bad-metrics", ("metrics",), found, 'names in a list, such as ["val_loss"]'))
        return None
    return tuple(sorted(set(map(str, names))))


def _metric_faults(curriculum: Curriculum, binding: Binding) -> list[Fault]:
    """Guards on metrics that this trainer does not give; they would stay unknown for the whole run."""
    if binding.metrics is None:
        return []
    known = {LOSS, *binding.metrics}
    return [
        Fault("unknown-metric", (*path, "metric"), f'this trainer does not give the metric "{metric}"',
              f"one of its metrics: {', '.join(sorted(known))}", nearest(metric, known))
        for guard, path in asked(curriculum)
        if (metric := word_of(guard).metric(guard.value) or LOSS) not in known
    ]  # fmt: skip
