"""Guards of a user's own: words like any other, whose code cannot hurt what the project promises."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from plateau_rule import (
    Controller,
    Curriculum,
    CurriculumError,
    OwnGuard,
    PlateauError,
    bind,
    dumps,
    forget_guard,
    loads,
    verify,
)
from plateau_rule import register_guard as register
from plateau_rule.controller.guards.own import OwnGuardError
from plateau_rule.controller.language.own_words import OwnWordError, load_words, own_words
from plateau_rule.controller.language.schema import schema, schema_text
from plateau_rule.sim.logs import read
from plateau_rule.sim.replayer.replay import replay
from plateau_rule.sim.testing.own_guards import assert_guard_is_sound
from tests.conftest import ROOT

PAGE = ROOT / "docs" / "own-guards.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
FILE = """
format = 1
name = "calm"
[run]
epochs = 4
steps_per_epoch = 100
[lr]
peak = 1e-3
[metric.grad_norm]
at = "step"
[knob.n]
ladder = [1, 2]
[[state]]
name = "a"
set = { n = 1 }
[[state]]
name = "b"
set = { n = 2 }
[[transition]]
from = "*"
to = "next"
GUARDS
actions = ["lr_restart"]
"""
SHORT = FILE.replace("GUARDS", "guards = [{ grad_norm_calm = { window = 5 } }]")


@pytest.fixture(autouse=True)
def _words_of_the_language_alone() -> Iterator[None]:
    """No test leaves a word behind."""
    yield
    for word in own_words():
        forget_guard(word.name)


@pytest.fixture
def from_page(tmp_path: Path) -> dict[str, Any]:
    """What the page's Python makes, as a file that a user names."""
    file = tmp_path / "words_of_the_page.py"
    file.write_text("\n".join(text for kind, text in BLOCKS if kind == "python"))
    load_words([file])
    return vars(sys.modules[file.stem])


def raise_of(controller: Controller, norms: list[float]) -> int | None:
    """The step whose observation brought the raise."""
    for step, norm in enumerate(norms):
        if controller.observe(3.0, grad_norm=norm):
            return step
    return None


def test_the_page_works_as_written(from_page: dict[str, Any]) -> None:
    """The page's guard is a word once it is registered: bound, asked, explained, and sound by its own test."""
    (guards,) = [text for kind, text in BLOCKS if kind == "toml" and text.startswith("guards")]
    loads(FILE.replace("GUARDS", guards))
    controller = Controller(loads(SHORT))
    assert raise_of(controller, [3.0] * 9 + [0.5] * 9) == 13
    from_page["test_my_guard_is_sound"]()


def test_the_second_guard_of_the_page(from_page: dict[str, Any], tmp_path: Path) -> None:
    """The noise scale's guard is sound; checked, replayed from a log's column, run live, resumed: the same raises."""
    (text,) = [text for kind, text in BLOCKS if kind == "toml" and "noise_scale" in text]
    curriculum = loads(text)
    report = verify(bind(curriculum))
    assert {one.property: one.answer for one in report.verdicts}["monotone"] == "proved"
    assert not [finding for finding in report.findings if finding.code == "seen-late"]
    assert_guard_is_sound(from_page["NoiseScaleAbove"](value=64, window=5))
    scales = [20 * 1.0015**step for step in range(2000)]
    file = tmp_path / "run.csv"
    rows = (f"{step},{2 - step / 2000},{scale}\n" for step, scale in enumerate(scales))
    file.write_text("step,loss,train/noise_scale\n" + "".join(rows))
    log = read(file, metrics={"noise_scale"})
    raises = [decision.step for decision in replay(curriculum, log).decisions]
    controller, live = Controller(curriculum), []
    for step, scale in enumerate(scales):
        if controller.observe(2 - step / 2000, noise_scale=scale):
            live.append(step + 1)
        if step % 333 == 0:
            saved = json.loads(json.dumps(controller.state_dict()))
            controller = Controller(curriculum)
            controller.load_state_dict(saved)
    assert raises == live == [900, 1300]


def test_saved_after_every_step_it_goes_on_alike(from_page: dict[str, Any]) -> None:
    """A run that is saved and resumed after any step raises at the same one."""
    norms = [3.0, 0.5, 0.5, 2.0] + [0.25] * 8
    for cut in range(8):
        first = Controller(loads(SHORT))
        assert raise_of(first, norms[:cut]) is None
        again = Controller(loads(SHORT))
        again.load_state_dict(json.loads(json.dumps(first.state_dict())))
        assert cut + (raise_of(again, norms[cut:]) or 0) == 8


def test_a_word_that_is_not_registered_is_refused_with_what_to_do() -> None:
    """The sentence names the place, and how to name the file that registers the word."""
    with pytest.raises(CurriculumError, match=r"unknown key \"grad_norm_calm\".*--words FILE\.py"):
        loads(SHORT)
    with pytest.raises(CurriculumError, match=r'Did you mean "patience"\?'):
        loads(SHORT.replace("grad_norm_calm", "patiense"))


def test_a_forgotten_word_is_unknown_again(from_page: dict[str, Any]) -> None:
    """The language is what it was, to the letter of the schema."""
    with_it = schema_text()
    assert "grad_norm_calm" in with_it
    forget_guard("grad_norm_calm")
    forget_guard("grad_norm_calm")
    forget_guard("noise_scale_above")
    assert schema_text() == (ROOT / "curricula" / "curriculum-1.schema.json").read_text()
    with pytest.raises(CurriculumError, match="unknown key"):
        loads(SHORT)


def test_its_keys_are_checked_and_described(from_page: dict[str, Any]) -> None:
    """A misspelt key and a wrong type have their place; the schema has the docstring and the keys' texts."""
    with pytest.raises(CurriculumError, match=r'unknown key "windw"\. Did you mean "window"\?'):
        loads(SHORT.replace("window", "windw"))
    with pytest.raises(CurriculumError, match='found "5"; expected a whole number'):
        loads(SHORT.replace("window = 5", 'window = "5"'))
    made = schema()
    described = made["definitions"]["Guard"]["properties"]["grad_norm_calm"]
    assert described["description"] == "The gradient's norm has stayed below a value for a while."
    assert made["definitions"]["GradNormCalm"]["properties"]["value"]["description"] == "The value."


def test_it_is_written_and_read_again(from_page: dict[str, Any]) -> None:
    """`dumps` writes the word, and what it writes means the same."""
    assert loads(dumps(loads(SHORT))) == loads(SHORT)


def test_check_takes_it_to_be_free(from_page: dict[str, Any]) -> None:
    """It may hold from the step on at which it knows enough, and never needs to."""
    report = verify(Controller(loads(SHORT)).machine)
    (found,) = [finding for finding in report.findings if finding.code == "may-stay"]
    assert "A grad_norm on which grad_norm_calm never holds keeps it there." in str(found)
    assert not [finding for finding in report.findings if finding.severity == "error"]


def test_another_version_of_the_code_is_another_curriculum(from_page: dict[str, Any]) -> None:
    """A run that was saved under the first version is not resumed under the second unawares."""
    saved = Controller(loads(SHORT)).state_dict()
    kind = from_page["GradNormCalm"]
    register("grad_norm_calm")(type("GradNormCalm", (kind,), {"__doc__": kind.__doc__, "version": 2}))
    with pytest.raises(PlateauError, match=r"another curriculum|was edited|differs"):
        Controller(loads(SHORT)).load_state_dict(saved)


class Counted(OwnGuard):
    """Holds after three values."""

    def push(self, memory: list[float], value: float) -> None:
        memory[:] = [*memory, value][-3:]

    def holds(self, memory: list[float]) -> bool:
        return len(memory) == 3


@pytest.mark.parametrize(
    ("method", "code", "sentence"),
    [
        ("holds", lambda self, memory: 1 / 0, r"counted: holds\(\) raised ZeroDivisionError.*test_own\.py:\d+"),
        ("holds", lambda self, memory: 1, r"counted: holds\(\) returned 1; expected True, False or None"),
        ("push", OwnGuard.push, r"counted: push\(\) is not written"),
        ("needs", lambda self: 0, r"counted: needs\(\) returned 0; expected a whole number of at least 1"),
        ("describe", lambda self, memory: [][0], r"counted: describe\(\) raised IndexError"),
    ],
)
def test_code_that_fails_is_named(method: str, code: Any, sentence: str) -> None:
    """A failure in a user's code is one sentence with the guard, the method and the line."""
    register("counted")(type("Counted", (Counted,), {"__doc__": "x.", method: code}))
    with pytest.raises(OwnGuardError, match=sentence):
        _three_steps()


def _three_steps() -> None:
    controller = Controller(loads(FILE.replace("GUARDS", "guards = [{ counted = {} }]")))
    for _ in range(3):
        controller.observe(1.0)
        controller.explain()


def test_a_memory_that_json_cannot_hold_is_named() -> None:
    """A saved state is JSON: what is not is refused when it is saved, with what to do."""
    kind = type("Counted", (Counted,), {"__doc__": "x.", "push": lambda self, memory, value: memory.append({value})})
    register("counted")(kind)
    controller = Controller(loads(FILE.replace("GUARDS", "guards = [{ counted = {} }]")))
    controller.observe(1.0)
    with pytest.raises(OwnGuardError, match=r"counted: its memory cannot be saved: .* Keep lists, dicts"):
        controller.state_dict()


class _Outside(Counted):
    """Remembers outside of its memory."""

    def push(self, memory: list[float], value: float) -> None:
        _SEEN.append(value)

    def holds(self, memory: list[float]) -> bool:
        return len(_SEEN) % 2 == 0


class _Changing(Counted):
    """Changes its memory when it is asked."""

    def holds(self, memory: list[float]) -> bool:
        memory.reverse()
        return memory[0] > memory[-1]


class _Growing(Counted):
    """Forgets nothing."""

    def push(self, memory: list[float], value: float) -> None:
        memory.append(value)


class _Keyed(Counted):
    """Has numbers as keys, which JSON makes texts of."""

    def empty(self) -> dict[int, float]:
        return {}

    def push(self, memory: Any, value: float) -> None:
        memory[7] = memory.get(7, 0) + 1

    def holds(self, memory: Any) -> bool:
        return bool(memory.get(7, 0) > 9)


_SEEN: list[float] = []


@pytest.mark.parametrize(
    ("guard", "sentence"),
    [
        (_Outside(), "Nothing outside its memory may decide"),
        (_Changing(), "changed the memory; only push"),
        (_Growing(), "its memory grows"),
        (_Keyed(), "says False, and one saved after value"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_guard_that_is_not_sound_is_told(guard: OwnGuard, sentence: str) -> None:
    """Canary: each promise that a guard breaks is seen by the test that users are given, and named."""
    with pytest.raises(AssertionError, match=sentence):
        assert_guard_is_sound(guard)
    assert_guard_is_sound(Counted())


@pytest.mark.parametrize("name", ["plateau", "Calm", "not", "a-b", "", "model_fields", 3])
def test_a_word_that_cannot_be_is_refused(name: Any) -> None:
    """A word of the language, one that pydantic has, and what no file would spell."""
    with pytest.raises(OwnWordError, match="register_guard"):
        register(name)
    with pytest.raises(OwnWordError):
        forget_guard("plateau")


def test_what_is_no_guard_is_refused() -> None:
    """A class of another kind, and one that does not say what it means."""
    with pytest.raises(OwnWordError, match="expected a class derived from OwnGuard"):
        register("counted")(Curriculum)  # type: ignore[type-var]
    with pytest.raises(OwnWordError, match="has no docstring"):
        register("counted")(type("Silent", (OwnGuard,), {}))


def test_files_of_words(tmp_path: Path) -> None:
    """A file is loaded once; what cannot be used is told in a sentence with its line."""
    file = tmp_path / "words_for_a_test.py"
    file.write_text(next(text for kind, text in BLOCKS if kind == "python"))
    load_words([file, str(file)])
    assert [word.name for word in own_words()] == ["grad_norm_calm"]
    for name, text, sentence in [
        ("idle_words.py", "x = 1\n", "registers no guard"),
        ("failing_words.py", "x = 1\ny = x / 0\n", "failing_words.py:2: ZeroDivisionError"),
        ("broken_words.py", "x = \n", "broken_words.py:1: SyntaxError"),
        ("json.py", "", "a module cannot have the name json here"),
        ("words.txt", "", "there is no such file; expected a Python file"),
    ]:
        (tmp_path / name).write_text(text)
        with pytest.raises(OwnWordError, match=re.escape(sentence)):
            load_words([tmp_path / name])
    with pytest.raises(OwnWordError, match="no file can have such a name"):
        load_words(["null\0.py"])
    with pytest.raises(OwnWordError, match="there is no such file"):
        load_words([tmp_path / "missing.py"])
