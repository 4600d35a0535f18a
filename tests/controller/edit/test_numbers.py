"""Numbers of a file that can be turned, and the text with one of them changed."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plateau_rule import ArgumentError, CurriculumError, dumps, loads
from plateau_rule.controller.edit.numbers import Tunable, edited, number_in, tunables
from plateau_rule.controller.language.reading import shipped
from plateau_rule.sim.strategies import curricula

TEXT = """name = "small"  # the number 50 stays
run = { epochs = 4, steps_per_epoch = 5 }
lr = { peak = 1.0, length = "rest" }

[guard.flat]
plateau = { window = 50, threshold = 5e-3 }  # ü 50

[[state]]
name = "a"
[[state]]
name = "b"

[[transition]]
name = "up"
from = "*"
to = "next"
sustain = 2
guards = [ "flat", { dwell = '7 steps' }, { any = [ { below = { value = -1.5, window = 3 } }, { min_epoch = 1 } ] } ]
"""


def value_at(text: str, path: tuple[Any, ...]) -> Any:
    """What a text says at a path."""
    value: Any = tomllib.loads(text)
    for key in path:
        value = value[key]
    return value


def test_the_numbers_of_a_file() -> None:
    """They come in the order of the file, with their guard, and as far as the schema and good sense allow."""
    found = {".".join(map(str, one.path)): one for one in tunables(TEXT)}
    assert list(found) == [
        "guard.flat.plateau.window",
        "guard.flat.plateau.threshold",
        "transition.0.sustain",
        "transition.0.guards.1.dwell",
        "transition.0.guards.2.any.0.below.value",
        "transition.0.guards.2.any.0.below.window",
        "transition.0.guards.2.any.1.min_epoch",
    ]
    assert found["guard.flat.plateau.window"] == Tunable(
        ("guard", "flat", "plateau", "window"), "flat", "window", 50.0, 2.0, 1600.0, True, True, ""
    )
    assert found["transition.0.guards.1.dwell"][1:] == ("up", "dwell", 7.0, 0.0, 224.0, False, True, "steps")
    assert found["transition.0.guards.2.any.0.below.value"][3:6] == (-1.5, -48.0, -0.046875)


@pytest.mark.parametrize(
    ("path", "value", "old", "new"),
    [
        (("guard", "flat", "plateau", "window"), 200, "window = 50", "window = 200"),
        (("guard", "flat", "plateau", "threshold"), 0.0123, "5e-3", "0.0123"),
        (("transition", 0, "guards", 1, "dwell"), 12, "'7 steps'", '"12 steps"'),
        (("transition", 0, "guards", 2, "any", 0, "below", "value"), 0.1 + 0.2, "-1.5", "0.3"),
    ],
)
def test_one_number_changes_in_its_place(path: tuple[Any, ...], value: float, old: str, new: str) -> None:
    """Nothing else moves: comments and spaces stay, an amount of time keeps its unit."""
    assert edited(TEXT, path, value) == TEXT.replace(old, new, 1)


@pytest.mark.parametrize("path", [("name",), ("guard", "flat"), ("guard", "none", "window"), ("run", 3), ()])
def test_what_is_no_number_is_refused(path: tuple[Any, ...]) -> None:
    """A path that leads to no number is refused by a sentence."""
    with pytest.raises(ArgumentError, match="no number is written there"):
        edited(TEXT, path, 3)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_no_file_can_hold_is_refused(value: float) -> None:
    """A number that TOML or JSON has no word for is refused."""
    with pytest.raises(ArgumentError, match="finite"):
        edited(TEXT, ("guard", "flat", "plateau", "window"), value)


@given(curricula(), st.data())
def test_every_number_can_be_turned(curriculum: Any, data: st.DataObject) -> None:
    """In any file, each number can be set to each end of its slider: the text then says that, and nothing else new."""
    text = dumps(curriculum)
    found = tunables(text)
    for one in found:
        value = data.draw(st.sampled_from((one.value, one.min, one.max)))
        changed = edited(text, one.path, value)
        number, _ = number_in(value_at(changed, one.path))
        assert number == pytest.approx(value, rel=1e-5)
        assert edited(changed, one.path, one.value).splitlines()[0] == text.splitlines()[0]
        assert len(changed.splitlines()) == len(text.splitlines())
        assert sum(a != b for a, b in zip(changed.splitlines(), text.splitlines(), strict=True)) <= 1


@pytest.mark.parametrize("name", shipped())
def test_the_ends_of_sliders_can_be_read(name: str) -> None:
    """In the shipped files, the file is a curriculum wherever a slider stands, or says by a fault what it breaks."""
    text = shipped()[name].read_text()
    for one in tunables(text):
        for value in (one.min, one.max):
            try:
                loads(edited(text, one.path, value))
            except CurriculumError as error:
                assert {fault.code for fault in error.faults} <= {"window-too-short"}  # noqa: PT017
