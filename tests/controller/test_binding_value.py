"""Binding as a value: what it takes for a number, what it refuses, and in which words."""

from __future__ import annotations

import json
import pickle
import warnings
from collections import OrderedDict, defaultdict
from decimal import Decimal
from fractions import Fraction
from math import inf, nan
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from plateau_rule import BindingError, Controller, PlateauError, load
from plateau_rule.controller.binding import Binding, bind
from plateau_rule.controller.errors import ArgumentError
from plateau_rule.controller.limits import limits_in
from tests.controller.small import small

NUMPY = {
    "limits": {"cutoff": np.int32(1025)},
    "epochs": np.int64(3),
    "steps_per_epoch": np.uint8(100),
    "tokens_per_step": np.int16(7),
    "peak": np.float32(0.25),
    "lag": np.int8(1),
}
PLAIN = {"limits": {"cutoff": 1025}, "epochs": 3, "steps_per_epoch": 100, "tokens_per_step": 7, "peak": 0.25, "lag": 1}


def kinds(value: Any) -> Any:
    """The types of a value, and of what it holds."""
    return {name: kinds(one) for name, one in value.items()} if isinstance(value, dict) else type(value)


@pytest.mark.parametrize("given", [NUMPY, PLAIN])
def test_numbers_of_numpy_are_numbers(given: dict[str, Any]) -> None:
    """Numbers of numpy's are taken wherever a number is, and kept as Python's, so that they can be saved."""
    binding = Binding(**given)
    assert vars(binding) == PLAIN | {"metrics": None, "lead": None}
    assert kinds({**vars(binding)}) == kinds(PLAIN | {"metrics": None, "lead": None})
    controller = Controller(load("plateau"), **given)
    assert controller.plan.lr == 0.25
    assert (controller.total_steps, controller.lag) == (300, 1)
    assert json.loads(json.dumps(controller.state_dict()))["bound"] == PLAIN


def test_a_limit_of_1025_is_a_whole_number_however_it_is_written() -> None:
    """1025.0, a Fraction and numpy's 1025.0 are the limit 1025; a limit that is no whole number stays what it is."""
    for limit in (1025, 1025.0, np.float64(1025), Fraction(1025)):
        kept = (Binding({"cutoff": limit}).limits or {})["cutoff"]
        assert (kept, type(kept)) == (1025, int)
    assert Binding({"cutoff": 0.5}).limits == {"cutoff": 0.5}
    assert limits_in(["cutoff=1025.0", "length=2.5", "size=1e3"]) == {"cutoff": 1025, "length": 2.5, "size": 1000}
    assert kinds(limits_in(["cutoff=1025.0"])) == {"cutoff": int}
    assert limits_in([]) is None


@pytest.mark.parametrize("kind", [dict, OrderedDict, MappingProxyType, lambda given: defaultdict(int, given)])
def test_every_mapping_holds_limits(kind: Any) -> None:
    """Any mapping is taken for limits; what is changed in it later changes nothing here."""
    own = {"cutoff": 1025}
    binding = Binding(kind(own))
    own["cutoff"] = 5
    assert binding.limits == {"cutoff": 1025}
    assert type(binding.limits) is dict


WHOLE = "expected a whole number of at least 1"
ABOVE = "expected a number above 0"
LIMITS = 'expected the trainer\'s knobs with their largest values, such as {"cutoff": 1025}'
NAMES = 'expected names in a list, such as ["val_loss"]'


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"epochs": -3}, f"epochs: -3; {WHOLE}"),
        ({"epochs": np.int64(0)}, f"epochs: np.int64(0); {WHOLE}"),
        ({"epochs": 3.0}, f"epochs: 3.0; {WHOLE}. Write 3, or divide by // where it is a quotient."),
        ({"epochs": np.float32(3)}, f"epochs: np.float32(3.0); {WHOLE}. Write 3, or divide by //"),
        ({"epochs": 3.5}, f"epochs: 3.5; {WHOLE}"),
        ({"epochs": nan}, f"epochs: nan; {WHOLE}"),
        ({"epochs": inf}, f"epochs: inf; {WHOLE}"),
        ({"epochs": True}, f"epochs: True; {WHOLE}"),
        ({"epochs": np.bool_(True)}, f"epochs: np.True_; {WHOLE}"),
        ({"steps_per_epoch": "100"}, f"steps_per_epoch: '100'; {WHOLE}"),
        ({"tokens_per_step": [0.5]}, f"tokens_per_step: 0.5; {WHOLE}"),
        ({"tokens_per_step": []}, "tokens_per_step: an empty list; expected numbers and knobs"),
        ({"lag": "1"}, "lag: '1'; expected a whole number of at least 0"),
        ({"lag": -1}, "lag: -1; expected a whole number of at least 0"),
        ({"lag": False}, "lag: False; expected a whole number of at least 0"),
        ({"peak": 0}, f"peak: 0; {ABOVE}"),
        ({"peak": np.float32(nan)}, f"peak: np.float32(nan); {ABOVE}"),
        ({"peak": True}, f"peak: True; {ABOVE}"),
        ({"peak": Decimal(1)}, f"peak: Decimal('1'); {ABOVE}"),
        ({"peak": Fraction(10**400)}, f"peak: Fraction(1000...0000000000, 1); {ABOVE}"),
        ({"peak": 10**400}, f"peak: 100000000000000000...0000000000000000000; {ABOVE}"),
        ({"limits": [1025]}, f"limits: [1025] of type list; {LIMITS}"),
        ({"limits": 1025}, f"limits: 1025 of type int; {LIMITS}"),
        ({"limits": "cutoff=1025"}, f"limits: 'cutoff=1025' of type str; {LIMITS}"),
        ({"limits": {1: 2}}, f"limits: the key 1; {LIMITS}"),
        ({"limits": {"cutoff": nan}}, f"limits.cutoff: nan; {ABOVE}"),
        ({"limits": {"cutoff": "none"}}, f"limits.cutoff: 'none'; {ABOVE}"),
        ({"metrics": "val_loss"}, f"metrics: 'val_loss' of type str; {NAMES}"),
        ({"metrics": [1]}, f"metrics: [1] of type list; {NAMES}"),
        ({"metrics": 7}, f"metrics: 7 of type int; {NAMES}"),
    ],
)  # fmt: skip
def test_a_value_that_is_none_is_the_callers_mistake(given: dict[str, Any], sentence: str) -> None:
    """What cannot be bound is named by the argument that it was given as, without a line of a file that is right."""
    for make in (
        Binding,
        lambda **said: bind(load("plateau"), **said),
        lambda **said: Controller(load("plateau"), **said),
    ):
        with pytest.raises(BindingError) as error:
            make(**given)
        assert str(error.value).startswith(sentence)
        assert ".toml" not in str(error.value)
        assert [fault.place for fault in error.value.faults] == [None]


def test_every_wrong_value_is_said_at_once() -> None:
    """Two wrong values are two sentences of one error."""
    with pytest.raises(BindingError) as error:
        Binding({"cutoff": nan, "length": 0}, epochs=0)
    assert [fault.path for fault in error.value.faults] == [("limits", "cutoff"), ("limits", "length"), ("epochs",)]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("plateau", "the curriculum is 'plateau' of type str; expected a Curriculum: load('plateau') reads one"),
        (Path("a.toml"), "expected a Curriculum: load('a.toml') reads one"),
        (None, "the curriculum is None of type NoneType; expected a Curriculum, which load and loads give"),
        ({"name": "x"}, "the curriculum is {'name': 'x'} of type dict; expected a Curriculum, which load and"),
    ],
)  # fmt: skip
def test_what_is_no_curriculum(given: Any, sentence: str) -> None:
    """Something else in the place of a curriculum is refused with how to make one of it, as a TypeError of ours."""
    for make in (bind, Controller):
        with pytest.raises(ArgumentError) as error:
            make(given)
        assert sentence in str(error.value)
        assert isinstance(error.value, TypeError)
        assert isinstance(error.value, PlateauError)


def test_keywords_that_there_are_not() -> None:
    """A misspelt keyword is refused, with the one that was probably meant."""
    with pytest.raises(ArgumentError, match=r'epoch: there is no such keyword. Did you mean "epochs"\?'):
        bind(load("plateau"), epoch=3)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="epoch"):
        Controller(load("plateau"), epoch=3)  # type: ignore[call-arg]
    with pytest.raises(ArgumentError, match="limits: given twice"):
        bind(load("plateau"), {"cutoff": 5}, limits={"cutoff": 5})


def test_a_binding_and_keywords() -> None:
    """Keywords replace the fields of a binding; None says nothing; limits alone are a binding too."""
    binding = Binding({"cutoff": 1025}, epochs=3, lag=2)
    assert Binding.of(binding, epochs=5, lag=None) == Binding({"cutoff": 1025}, epochs=5, lag=2)
    assert Binding.of({"cutoff": 1025}, epochs=3, lag=2) == binding
    assert Binding.of(None) == Binding()
    for controller in (
        Controller(load("plateau"), binding, epochs=5),
        Controller(load("plateau"), {"cutoff": 1025}, epochs=5, lag=2),
        Controller(load("plateau"), limits={"cutoff": 1025}, epochs=5, lag=2),
    ):
        assert (controller.total_steps, controller.lag) == (5000, 2)
        assert controller.machine.limits == {"cutoff": 1025}


def test_a_binding_is_a_value() -> None:
    """Bindings of the same values are equal, can be sent to another process, and cannot be changed."""
    binding = Binding({"cutoff": 1025}, metrics=["val_loss", "a", "a"], peak=0.5)
    assert binding.metrics == ("a", "val_loss")
    assert pickle.loads(pickle.dumps(binding)) == binding  # noqa: S301
    with pytest.raises(AttributeError):
        binding.peak = 1.0  # type: ignore[misc]


def test_a_metric_that_the_trainer_does_not_give() -> None:
    """Where the trainer names its metrics, a guard on another one is refused at its line; the loss is always there."""
    watched = small({"guards": [{"below": {"metric": "val_los", "value": 1.0}}, {"above": {"value": 0}}]})
    bind(watched)
    bind(watched, metrics=["val_los"])
    with pytest.raises(BindingError) as error:
        bind(watched, metrics=["val_loss"])
    assert str(error.value) == (
        '[[transition]] 1, guards 1, below.metric: this trainer does not give the metric "val_los"; '
        'expected one of its metrics: loss, val_loss. Did you mean "val_loss"? [unknown-metric]'
    )


@pytest.mark.parametrize(
    "word",
    ["cutoff", "cutoff=", "=5", "cutoff=many", "cutoff=nan", "cutoff=inf", "cutoff=0", "cutoff=-5", "cutoff=1e999"],
)
def test_a_limit_is_knob_number(word: str) -> None:
    """Where a limit is a word, it is KNOB=NUMBER, a finite number above 0, under whichever option it stands."""
    with pytest.raises(BindingError) as error:
        limits_in(["length=5", word], "--curricula-limit")
    assert str(error.value) == (
        f'--curricula-limit "{word}"; expected KNOB=NUMBER with a number above 0, such as '
        "--curricula-limit cutoff=1025 [bad-limit]"
    )


def test_a_limit_comes_once() -> None:
    """Two limits of one knob are a mistake, not the last of them."""
    with pytest.raises(BindingError, match="expected one limit for the knob cutoff"):
        limits_in(["cutoff=5", "cutoff=6"])


@pytest.mark.source
def test_warnings_of_bind_point_at_the_caller() -> None:
    """A warning about merged states names the line outside of the package that bound, by whatever way."""
    for make in (bind, Controller):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            make(load("plateau"), {"cutoff": 300})
        assert {one.filename for one in caught} == {__file__}
