"""Names and values that fit together, and those that do not; each fault has its own file in tests/machines/bad."""

from __future__ import annotations

import pytest

from plateau_rule import Curriculum, CurriculumError, loads
from plateau_rule.controller.guards.plateau import METHOD_KEYS, Plateau
from plateau_rule.controller.language.conditions import walk
from plateau_rule.controller.language.consistency import sources, target
from plateau_rule.controller.language.curriculum import Guard, Knob, Range
from plateau_rule.controller.language.knob_faults import misfit
from tests.controller.small import codes_of

HEAD = 'name = "x"\nlr.peak = 1\n'
STATES = 'state = [{ name = "a" }, { name = "b" }, { name = "c" }]\n'
KNOB = 'knob.k.ladder = [1, 2, "full"]\nstate = [{ name = "a", set.k = 1 }, { name = "b", set.k = "full" }]\n'


def way(**keys: str) -> str:
    """A transition from any state to the next, with some keys in place of others."""
    spelled = {"from": '"*"', "to": '"next"'} | {key.rstrip("_"): value for key, value in keys.items()}
    return "[[transition]]\n" + "".join(f"{key} = {value}\n" for key, value in spelled.items())


@pytest.mark.parametrize(
    "text",
    [
        HEAD + STATES,
        HEAD + STATES + way() + way(from_='["a", "b"]', to='"c"') + way(from_='"c"', to='"a"', regress="true"),
        HEAD + STATES + way(from_='"b"', to='"b"'),  # a transition may lead back into the state it leaves
        HEAD + STATES + way(guards='[{ any = ["f", { not = "f" }] }]') + "[guard.f]\nnonfinite = 3\n",
        HEAD + KNOB + way(guards='[{ dwell = "0 steps" }]'),  # no time is a time that has passed
        HEAD + KNOB.replace('"full"]', "4.5]").replace('"full"', "4.5"),
        HEAD + KNOB.replace("set.k = 1", "set.k = 1.0"),  # the same number
        HEAD + KNOB.replace('"b"', '"b", lr = { shape = "wsd", decay = 0.5 }'),
        HEAD + KNOB + 'lr.decay = 0.1\nlr.shape = "wsd"\n',
        HEAD + 'lr.warmup = "0 steps"\nlr.rewarm = true\nlr.cycles = ["2 steps", "rest"]\n' + STATES,
        HEAD + KNOB.replace("set.k = 1", 'set.k = 1, ramp.k = { to = 1, over = "1 step" }'),  # a ramp that stays
        HEAD + 'knob.k.range = { min = 0.1, max = 0.7, multiple_of = 0.1 }\nstate = [{ name = "a", set.k = 0.3 }]\n',
        HEAD
        + 'knob.k.range = { min = 8, max = 20, multiple_of = 8 }\nstate = [{ name = "a", set.k = 20 }]\n',  # the end
        HEAD + STATES + "[guard.g]\nplateau = { method = 'trend', per = '100 steps', threshold = 0.1, cooldown = 0 }\n",
        HEAD
        + STATES
        + "[guard.one]\nnot = 'two'\n[guard.two]\nall = ['three', 'three']\n[guard.three]\nmin_step = 1\n",
    ],
)
def test_sound(text: str) -> None:
    """What makes sense is accused of nothing."""
    assert codes_of(text) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (HEAD + STATES.replace('"b"', '"A"'), ["look-alike-name"]),
        (HEAD + STATES.replace('"b"', '"a1"').replace('"c"', '"al"'), ["look-alike-name"]),
        (HEAD + KNOB + "knob.K.ladder = [1]\n", ["knob-not-set", "knob-not-set", "look-alike-name"]),
        (HEAD + STATES + way(name='"go"') + way(name='"go"'), ["duplicate-name"]),
        (HEAD + STATES + way(name='"go-1"') + way(name='"go_1"'), ["look-alike-name"]),
        (HEAD + STATES + "guard.on.min_step = 1\nguard.ON.min_step = 1\n", ["look-alike-name"]),
        (HEAD + STATES + way(from_='["a", "a"]'), ["duplicate-name"]),
        (HEAD + STATES + way(from_='["*"]'), ["bad-name"]),
        (HEAD + STATES + way(to='"*"'), ["bad-name"]),
        (HEAD + KNOB.replace('[1, 2, "full"]', '[1, "full", 2]'), ["ladder-order"]),
        (HEAD + KNOB.replace("[1, 2", "[1, 1.0"), ["ladder-order"]),
        (HEAD + KNOB + "knob.k.range = 1\n", ["wrong-type"]),
        (
            HEAD + 'knob.k = { ladder = [1], range = { min = 1, max = 2 } }\nstate = [{ name = "a", set.k = 1 }]\n',
            ["knob-values"],
        ),
        (
            HEAD + 'knob.k.range = { min = 8, max = 24, multiple_of = 0 }\nstate = [{ name = "a", set.k = 8 }]\n',
            ["range-multiple"],
        ),
        (
            HEAD + 'knob.k.range = { min = 8, max = 24, multiple_of = 8 }\nstate = [{ name = "a", set.k = 12 }]\n',
            ["off-ladder"],
        ),
        (HEAD + 'knob.k.range = { min = 8, max = 24 }\nstate = [{ name = "a", set.k = "full" }]\n', ["off-ladder"]),
        (
            HEAD + KNOB.replace("set.k = 1", 'set.k = 2, ramp.k = { to = 1, over = "0 steps" }'),
            ["falling-ramp", "empty-amount"],
        ),
        (HEAD + KNOB.replace("set.k = 1", 'set.k = 1, ramp.j = { to = 1, over = "rest" }'), ["unknown-knob"]),
        (
            HEAD + KNOB.replace("set.k = 1", 'set.k = 1, ramp.k = { to = 3, over = "rest" }'),
            ["off-ladder", "rest-here"],
        ),
        (HEAD + KNOB + way(guards='[{ all = [{ ramp_done = "j" }] }]'), ["unknown-knob"]),
        (HEAD + KNOB + "[guard.g]\nramp_done = 'k'\n" + way(guards='[{ not = "g" }]'), ["no-ramp"]),
        (HEAD + STATES + "[guard.g]\nany = ['h', 'i']\n", ["unknown-guard", "unknown-guard"]),
        (HEAD + STATES + "[guard.g]\ngap = { over = 'rest', value = 0 }\n", ["rest-here"]),
        (HEAD + STATES + "[guard.g]\ngap = { over = '0 steps', value = 0 }\n", ["empty-amount"]),
        (HEAD + STATES + "[guard.g]\nplateau = { per = '0 steps' }\n", ["rest-here"]),
        (
            HEAD + STATES + "[guard.g]\nplateau = { method = 'trend', window = 9, per = '9 steps' }\n",
            ["key-without-effect"],
        ),
        (HEAD + "lr.warmup = 'rest'\n" + STATES, ["rest-here"]),
        (HEAD + "lr.cycles = ['0 steps', 'rest']\n" + STATES, ["empty-amount"]),
        (HEAD + STATES.replace('"b"', '"b", lr.length = "0 epochs"'), ["empty-amount"]),
        (HEAD + STATES.replace('"b"', '"b", lr.decay = 0.5'), ["key-without-effect"]),
        (HEAD + STATES + "[check]\nalign.within = 'rest'\n", ["within-in-steps"]),
    ],
)
def test_senseless(text: str, found: list[str]) -> None:
    """What makes no sense is told by its code, once."""
    assert codes_of(text) == found


def test_where_people_read_it() -> None:
    """Faults name states and transitions as the file does, and count from 1 what has no name."""
    text = HEAD + KNOB.replace('"b", set.k = "full"', '"b", set.k = 3') + way(to='"d"') + way(name='"go"', to='"e"')
    with pytest.raises(CurriculumError) as caught:
        loads(text)
    assert [fault.where for fault in caught.value.faults] == [
        'state "b", set.k',
        "[[transition]] 1, to",
        'transition "go", to',
    ]


def test_method_keys_are_keys() -> None:
    """The keys that belong to each method of `plateau` are keys of it, and none belongs to no method."""
    own = {key for keys in METHOD_KEYS.values() for key in keys}
    assert own | {"metric", "method"} == Plateau.model_fields.keys()


@pytest.mark.parametrize(
    ("method", "key"), [(m, k) for m, keys in METHOD_KEYS.items() for k in Plateau.model_fields if k not in keys]
)
def test_keys_of_other_methods(method: str, key: str) -> None:
    """A key that another method has is told so."""
    value = {"per": '"9 steps"', "confidence": "0.9", "share": "0.5", "alpha": "0.1", "threshold": "0.1"}.get(key, "9")
    if key not in ("metric", "method"):
        assert codes_of(HEAD + STATES + f"[guard.g]\nplateau = {{ method = '{method}', {key} = {value} }}\n") == [
            "key-of-other-method"
        ]


def test_sources_and_targets() -> None:
    """`*` is every state that has a next one, or every state but the one that is entered; `next` the one after."""
    found = loads(
        HEAD + STATES + way() + way(to='"b"') + way(from_='["c", "a"]', to='"b"') + way(from_='"a"', to='"a"')
    )
    assert [sources(found, index) for index in range(4)] == [["a", "b"], ["a", "c"], ["c", "a"], ["a"]]
    assert [target(found, 0, name) for name in "ab"] == ["b", "c"]
    assert target(found, 1, "c") == "b"


def test_misfit() -> None:
    """A value that a knob cannot have is answered by those that it can."""
    ladder, span = Knob(ladder=[128, "full"]), Knob(range=Range(min=8, max="full", multiple_of=8))
    assert misfit(ladder, 128) == misfit(ladder, "full") == misfit(span, 800) == misfit(span, "full") == ""
    assert misfit(ladder, 256) == 'one of 128, "full"'
    assert misfit(span, 4) == '8 to "full"'
    assert misfit(span, 12) == 'a multiple of 8, or "full"'


def test_walk() -> None:
    """Every condition in a condition is met, with its path, in the order of the file; names are not followed."""
    guard = Guard(any=["a", Guard(not_=Guard(all=["b", Guard(min_step=1)])), "c"])
    found = [path for _, path in walk(Curriculum.model_construct(), guard, ("g",))]
    inner = ("g", "any", 1, "not")
    assert found == [
        ("g",),
        ("g", "any", 0),
        ("g", "any", 1),
        inner,
        (*inner, "all", 0),
        (*inner, "all", 1),
        ("g", "any", 2),
    ]
