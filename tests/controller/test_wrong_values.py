"""Values of a wrong kind from a caller's Python: one sentence each, of the right type, never an error from inside."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import plateau_rule
from plateau_rule import ArgumentError, Controller, CurriculumError, PlateauError, SnapshotError, StepError, bind, load
from plateau_rule.controller.arguments import kind_of, python_number, whole_number

PLATEAU = load("plateau")
FACE: Any = plateau_rule  # whose functions are given what their types forbid


def controller() -> Any:
    """A controller at its first step, which is given what its types forbid."""
    return Controller(PLATEAU)


def saved(at: int = 0) -> dict[str, Any]:
    """What a controller saves after some steps."""
    one = Controller(PLATEAU)
    for _ in range(at):
        one.observe(3.0)
    return one.state_dict()


PATH = "expected a path, or the name of a shipped curriculum. loads reads a text"
TOML = "expected TOML, as str or bytes"
MACHINE = "expected a Machine, which bind makes of a Curriculum"
STATE = "expected what state_dict gave"
COMPLETE = "expected how many are complete, a whole number"


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda: FACE.load(3), ArgumentError, f"load: 3 of type int; {PATH}"),
        (lambda: FACE.load(None), ArgumentError, f"load: None of type NoneType; {PATH}"),
        (lambda: FACE.load(b"plateau"), ArgumentError, f"load: b'plateau' of type bytes; {PATH}"),
        (lambda: FACE.load(PLATEAU), ArgumentError, f"load: a Curriculum; {PATH}"),
        (lambda: FACE.load(""), CurriculumError, 'there is no curriculum "". Known here: '),
        (
            lambda: FACE.load('name = "x"\nlr.peak = 1'),
            CurriculumError,
            "To read a curriculum from its text, use loads. [no-such-file]",
        ),
        (lambda: FACE.loads(3), ArgumentError, f"loads: 3 of type int; {TOML}"),
        (lambda: FACE.loads(None), ArgumentError, f"loads: None of type NoneType; {TOML}"),
        (lambda: FACE.loads(Path("a.toml")), ArgumentError, f"{TOML}. load reads a file"),
        (lambda: FACE.loads(PLATEAU), ArgumentError, f"loads: a Curriculum; {TOML}"),
        (lambda: FACE.dumps("plateau"), ArgumentError, "dumps: 'plateau' of type str; expected a Curriculum"),
        (lambda: FACE.dumps(bind(PLATEAU)), ArgumentError, "dumps: a Machine; expected a Curriculum"),
        (lambda: FACE.verify("plateau"), ArgumentError, f"verify: 'plateau' of type str; {MACHINE}"),
        (lambda: FACE.verify(PLATEAU), ArgumentError, f"verify: a Curriculum; {MACHINE}"),
        (lambda: controller().load_state_dict(None), SnapshotError, f"is None of type NoneType; {STATE}"),
        (lambda: controller().load_state_dict("{}"), SnapshotError, f"is '{{}}' of type str; {STATE}"),
        (lambda: controller().load_state_dict([]), SnapshotError, f"is [] of type list; {STATE}"),
        (lambda: controller().load_state_dict({}), SnapshotError, f"is {{}} of type dict; {STATE}"),
        (lambda: controller().load_state_dict(controller()), SnapshotError, f"is a Controller; {STATE}"),
        (lambda: controller().load_state_dict(saved(), True), SnapshotError, 'on_change is True; expected "refuse" or'),
        (lambda: controller().observe("x"), StepError, "loss is 'x' of type str; expected a number"),
        (lambda: controller().observe({"loss": 1}), StepError, "loss is {'loss': 1} of type dict; expected a number"),
        (lambda: controller().observe(np.ones(2)), StepError, "of type ndarray; expected a number"),
        (lambda: controller().observe(1j), StepError, "loss is 1j of type complex; expected a number"),
        (lambda: controller().observe(1.0, val_loss=None), StepError, "val_loss is None of type NoneType; expected a"),
        (
            lambda: controller().observe(1.0, step="0"),
            StepError,
            "step is '0' of type str; expected a whole number, that of plan.step",
        ),
        (lambda: controller().observe(1.0, step=nan), StepError, "step is nan of type float; expected a whole number"),
        (lambda: controller().adopt(epoch="3"), SnapshotError, f"epoch is '3' of type str; {COMPLETE}"),
        (lambda: controller().adopt(step=3.0), SnapshotError, f"step is 3.0 of type float; {COMPLETE}"),
        (lambda: controller().adopt(step=True), SnapshotError, f"step is True of type bool; {COMPLETE}"),
        (
            lambda: controller().adopt(epoch=3, knobs=[128]),
            SnapshotError,
            'knobs is [128] of type list; expected their values by name, such as {"cutoff": 256}',
        ),
        (
            lambda: controller().adopt(epoch=3, knobs={"cutoff": "128"}),
            SnapshotError,
            "cutoff is '128'; expected a number or \"full\"",
        ),
        (
            lambda: controller().adopt(epoch=3, knobs={"cutoff": nan}),
            SnapshotError,
            'cutoff is nan; expected a number or "full"',
        ),
    ],
)
def test_a_wrong_value_is_one_sentence(call: Callable[[], object], error: type[PlateauError], sentence: str) -> None:
    """Each wrong value is answered by an error that can be shown to a user, which says what was expected."""
    with pytest.raises(error) as wrong:
        call()
    assert sentence in str(wrong.value)
    assert "\n" not in str(wrong.value)


def test_numbers_of_numpy_are_numbers_everywhere() -> None:
    """numpy's numbers are observed, name steps and adopt a run; what is then saved is plain JSON."""
    one = controller()
    one.observe(np.float32(3.0), step=np.int64(0), val_loss=np.float16(2.0))
    assert one.plan.step == 1
    one = controller()
    one.adopt(step=np.int64(3000), epoch=np.int32(3), knobs={"cutoff": np.int16(256)})
    assert (one.plan.step, one.plan.state) == (3000, "words")
    assert json.loads(json.dumps(one.state_dict()))["plan"]["step"] == 3000


def test_a_saved_state_may_be_any_mapping() -> None:
    """What is loaded may be another kind of mapping than was saved, as other libraries make them."""
    one = controller()
    one.load_state_dict(OrderedDict(saved(5)))
    assert one.plan.step == 5


def test_what_counts_as_a_number() -> None:
    """Numbers are those of Python and numpy, truth values aside; whole ones are ints, not floats that come out even."""
    values = [3, 3.5, np.int8(3), np.float32(3.5), True, np.bool_(True), "3", None, 10**400, 3.0, 3j]
    assert [python_number(value) for value in values] == [3, 3.5, 3, 3.5, None, None, None, None, 10**400, 3.0, None]
    assert [whole_number(value) for value in (3, np.uint8(3), 3.0, True)] == [3, 3, None, None]
    assert {type(python_number(value)) for value in (np.int8(3), 3)} == {int}
    assert kind_of("x" * 1000) == "'xxxxxxxxxxxx...xxxxxxxxxxxxx' of type str"
