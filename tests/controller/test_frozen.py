"""A dict that cannot be changed: read, compared, copied and written like any other."""

from __future__ import annotations

import copy
import json
import operator
import pickle
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from plateau_rule import Controller, load
from plateau_rule.controller.frozen import FrozenDict

KNOBS = FrozenDict({"cutoff": 128, "seq_len": "full"})


CHANGES: dict[str, Callable[[Any], Any]] = {
    "set": lambda knobs: operator.setitem(knobs, "cutoff", 8),
    "delete": lambda knobs: operator.delitem(knobs, "cutoff"),
    "or": lambda knobs: knobs.__ior__({"cutoff": 8}),
    "clear": lambda knobs: knobs.clear(),
    "pop": lambda knobs: knobs.pop("cutoff"),
    "popitem": lambda knobs: knobs.popitem(),
    "setdefault": lambda knobs: knobs.setdefault("modes", 1),
    "update": lambda knobs: knobs.update(cutoff=8),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_no_change_is_taken(change: Callable[[Any], Any]) -> None:
    """Every way of changing a dict is refused with a sentence that says what to do instead."""
    with pytest.raises(TypeError, match=r"read-only: what is planned and bound cannot be changed"):
        change(KNOBS)
    assert KNOBS == {"cutoff": 128, "seq_len": "full"}


def test_it_is_written_as_json() -> None:
    """`json` and orjson write it as they write any dict."""
    assert json.loads(json.dumps(KNOBS)) == json.loads(orjson.dumps(KNOBS)) == KNOBS


def test_copies_are_frozen_and_a_dict_of_it_is_not() -> None:
    """Pickled and copied it stays what it is; `dict` and `|` give a dict that can be changed."""
    for same in (pickle.loads(pickle.dumps(KNOBS)), copy.copy(KNOBS), copy.deepcopy(KNOBS)):  # noqa: S301  # our own
        assert type(same) is FrozenDict
        assert same == KNOBS
    assert type(dict(KNOBS)) is type(KNOBS | {"cutoff": 8}) is type(KNOBS.copy()) is dict


def test_a_knob_that_is_not_there() -> None:
    """A knob's name that is wrong is answered with the one that was meant, from a plan as from a copy of it."""
    plan = Controller(load("plateau-trend"), {"cutoff": 1025}).plan
    for knobs in (plan.knobs, copy.deepcopy(plan.knobs)):
        with pytest.raises(KeyError, match=r'there is no knob "cutof"\. Did you mean "cutoff"'):
            knobs["cutof"]
        assert knobs.get("cutof") is None
        assert "cutof" not in knobs
