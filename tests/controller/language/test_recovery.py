"""A file with a fault in its words is still checked for sense, and told of nothing that may only follow from that."""

from __future__ import annotations

import copy
import tomllib

import pytest

from plateau_rule import CurriculumError, loads
from plateau_rule.controller.language.recovery import further_faults
from tests.controller.small import codes_of

SOUND = """\
format = 1
name = "sound"
[run]
epochs = 2
steps_per_epoch = 5
[lr]
peak = 1.0
[knob.cutoff]
ladder = [0, 2, "full"]
[knob.width]
range = { min = 0, max = 9 }
[guard.flat]
plateau = { window = 4 }
[guard.slow]
patience = { steps = 5 }
[guard.near]
gap = { over = "2 steps", value = 0.5 }
[guard.low]
any = [{ below = { value = 1.0 } }, "near"]
[guard.both]
all = [{ min_step = 2 }, "slow"]
[guard.never]
not = { min_epoch = 1 }
[[state]]
name = "a"
set = { cutoff = 0, width = 0 }
ramp.width = { to = 8, over = "3 steps" }
[[state]]
name = "b"
set = { cutoff = 2, width = 9 }
[[transition]]
from = "a"
to = "next"
guards = ["flat", "low", { ramp_done = "width" }]
actions = ["lr_restart", { lr_scale = 0.5 }]
[[transition]]
from = ["a"]
to = "b"
guards = ["both", "never"]
"""
ODD = "guard.odd.plateau = { window = 4, share = 0.5 }\n"  # what makes no sense, far from all else
FORMAT = "format = 1\n"


def with_odd(text: str) -> str:
    """The file with one more guard, which is sound in its words and makes no sense."""
    return text.replace(FORMAT, FORMAT + ODD, 1)


FAULTS = {
    "no name": ('name = "sound"\n', "", ["missing-key"]),
    "name of a wrong type": ('name = "sound"', "name = 3", ["wrong-type"]),
    "no rate": ("[lr]\npeak = 1.0\n", "", ["missing-key"]),
    "rate of a wrong type": ("[lr]\npeak = 1.0\n", "", ["wrong-type"]),
    "no peak": ("peak = 1.0\n", "", ["missing-key"]),
    "peak of a wrong type": ("peak = 1.0", 'peak = "one"', ["wrong-type"]),
    "unknown key": ("peak = 1.0\n", "peak = 1.0\npeek = 2\n", ["unknown-key"]),
    "a knob that is no table": ('[knob.cutoff]\nladder = [0, 2, "full"]\n', "[knob]\ncutoff = 3\n", ["wrong-type"]),
    "a rung of a wrong type": ('[0, 2, "full"]', '[0, true, "full"]', ["wrong-type"]),
    "no least value": ("min = 0, max = 9", "max = 9", ["missing-key"]),
    "no largest value": ("min = 0, max = 9", "min = 0", ["missing-key"]),
    "a guard that is no table": ("[guard.flat]\nplateau = { window = 4 }\n", "", ["wrong-type"]),
    "a guard without a word": ("plateau = { window = 4 }\n", "", ["one-key"]),
    "no steps": ("{ steps = 5 }", "{ min_delta = 0.5 }", ["missing-key"]),
    "no stretch": ('over = "2 steps", value = 0.5', "value = 0.5", ["missing-key"]),
    "a stretch that is no amount": ('over = "2 steps"', 'over = "2 moons"', ["bad-amount"]),
    "no value": ("{ value = 1.0 }", "{ window = 2 }", ["missing-key"]),
    "a part of any": ("{ below = { value = 1.0 } }", "{ belwo = { value = 1.0 } }", ["unknown-key"]),
    "a part of all": ("all = [{ min_step = 2 }", "all = [3", ["wrong-type"]),
    "what is not to hold": ("not = { min_epoch = 1 }", "not = 3", ["wrong-type"]),
    "a guard of a transition": ('["both", "never"]', '[3, "both", "never"]', ["wrong-type"]),
    "a guard with two words": ('["both", "never"]', '[{ min_step = 1, min_epoch = 1 }, "both", "never"]', ["one-key"]),
    "an action": ('"lr_restart"', '"lr_restrat"', ["unknown-word"]),
    "an action of a wrong type": ("{ lr_scale = 0.5 }", "5", ["wrong-type"]),
    "a state without a name": ('name = "b"\n', "", ["missing-key"]),
    "a state's name of a wrong type": ('name = "b"\n', "name = 3\n", ["wrong-type"]),
    "a ramp without an end": ('to = 8, over = "3 steps"', 'over = "3 steps"', ["missing-key"]),
    "a ramp without a length": ('to = 8, over = "3 steps"', "to = 8", ["missing-key"]),
    "a way from nowhere": ('from = "a"\n', "", ["missing-key"]),
    "a way from a wrong type": ('from = "a"\n', "from = 3\n", ["wrong-type"]),
    "a way from a list with a wrong type": ('from = ["a"]', 'from = ["a", 3]', ["wrong-type"]),
    "a way to nowhere": ('to = "next"\n', "", ["missing-key"]),
    "a way to a wrong type": ('to = "next"\n', "to = 3\n", ["wrong-type"]),
    "a sustain below 1": ('to = "b"\n', 'to = "b"\nsustain = 0\n', ["out-of-range"]),
}
INSTEAD = {"rate of a wrong type": "lr = 3\n", "a guard that is no table": "guard.flat = 3\n"}  # at the top of the file


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_sound_is_checked(fault: str) -> None:
    """Whatever is at fault in the words, what makes no sense elsewhere is told too, and nothing that only follows."""
    old, new, expected = FAULTS[fault]
    assert SOUND.count(old) == 1
    broken = SOUND.replace(old, new)
    broken = broken.replace(FORMAT, FORMAT + INSTEAD.get(fault, ""))
    assert codes_of(broken) == expected
    assert sorted(codes_of(with_odd(broken))) == sorted([*expected, "key-of-other-method"])


def test_the_file_itself_is_sound() -> None:
    """Without a fault there is nothing to tell; with the odd guard there is that."""
    assert codes_of(SOUND) == []
    assert codes_of(with_odd(SOUND)) == ["key-of-other-method"]


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ("", "missing-key"),
        ("state = 3", "wrong-type"),
        ("state = []", "wrong-count"),
        ('state = [3, { name = "b", set = { cutoff = 2, width = 9 } }]', "wrong-type"),
    ],
)
def test_states_that_are_none(states: str, expected: str) -> None:
    """Where states are no states, ways between them may not be blamed, and other guards may."""
    start, end = SOUND.index("[[state]]"), SOUND.index("[[transition]]")
    broken = with_odd(SOUND[:start] + SOUND[end:]).replace(FORMAT, f"{FORMAT}{states}\n")
    assert sorted(codes_of(broken)) == sorted([expected, "key-of-other-method"])


def test_transitions_that_are_none() -> None:
    """What stands in the place of a transition is replaced, and the others keep their numbers."""
    text = with_odd(SOUND[: SOUND.index("[[transition]]")]).replace(
        "[run]", 'transition = [3, { from = "x", to = "next" }]\n[run]'
    )
    with pytest.raises(CurriculumError) as caught:
        loads(text)
    assert sorted((fault.code, fault.path[:2]) for fault in caught.value.faults) == [
        ("key-of-other-method", ("guard", "odd")),
        ("unknown-state", ("transition", 1)),
        ("wrong-type", ("transition", 0)),
    ]


def test_another_format() -> None:
    """A file of another format is told that, and nothing of what format 1 would say of it."""
    assert codes_of(with_odd(SOUND).replace(FORMAT, "format = 2\n")) == ["unknown-format"]
    assert codes_of(SOUND.replace('name = "sound"', "name = 3").replace(FORMAT, "format = 2\n")) == [
        "unknown-format", "wrong-type",
    ]  # fmt: skip


def test_what_was_written_stays() -> None:
    """Leaving out what is at fault changes a copy, and not what was read."""
    written = tomllib.loads(with_odd(SOUND.replace("window = 4", 'window = "4"', 1)))
    before = copy.deepcopy(written)
    with pytest.raises(CurriculumError) as caught:
        loads(SOUND.replace("window = 4", 'window = "4"', 1))
    assert [fault.code for fault in further_faults(written, list(caught.value.faults))] == ["key-of-other-method"]
    assert written == before


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        # A knob is left out: nothing is known of its rungs, of what is set, and of ramps to what is set.
        ('ladder = [0, 2, "full"]', 'ladder = [0, true, "full"]', ["wrong-type"]),
        ("set = { cutoff = 2, width = 9 }", "set = { cutoff = true, width = 9 }", ["wrong-type"]),
        # A name is left out: whoever names it may have meant it.
        ('name = "a"', 'name = "1a"', ["bad-name"]),
        ("[guard.slow]\npatience = { steps = 5 }", '[guard]\n"s low" = { patience = { steps = 5 } }', ["bad-name"]),
        # What is there all the same is blamed: another name, another knob.
        ('to = "b"', 'to = "c"\nsustain = 0', ["out-of-range", "unknown-state"]),
        ('"flat", "low"', '"flat", "lwo", { min_step = "1" }', ["unknown-guard", "wrong-type"]),
    ],
)
def test_what_may_follow(old: str, new: str, expected: list[str]) -> None:
    """Nothing is told that may only follow from what was left out; what cannot is told."""
    assert SOUND.count(old) == 1
    assert sorted(codes_of(SOUND.replace(old, new))) == expected
