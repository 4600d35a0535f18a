"""Refusals to the letter, beside those in tests/machines/bad: odd types, long values, deep names."""

from __future__ import annotations

from pathlib import Path

import pytest

from plateau_rule import CurriculumError, loads

GOLDEN = Path(__file__).parents[1] / "golden" / "refusals.txt"
VALUE = 'expected a number, "full", a name, or a list or a table of numbers'
TOP = 'name = "x"\nlr.peak = 1.0\nrun = { epochs = 2, steps_per_epoch = 5 }\n'
STATE = '[[state]]\nname = "a"\nset = {}\n'
ONE_RUNG = 'knob.cutoff.ladder = [1]\nstate = [{ name = "a", set = { cutoff = 1 } }]\n'
WAY = '[[transition]]\nfrom = "a"\nto = "a"\n'
CHAIN = "".join(f'guard.g{i} = {{ not = "g{i + 1}" }}\n' for i in range(40)) + "guard.g40 = { min_step = 1 }\n"
MANY = ",\n".join(["{ min_step = 2 }"] * 70)

GUARDS = (
    "above, all, any, below, diverging, dwell, gap, min_epoch, min_step, nonfinite, not, patience, plateau, ramp_done"
)


def lr(key: str) -> str:
    """A file whose rate has this key."""
    return TOP.replace("lr.peak = 1.0", f"lr = {{ peak = 1.0, {key} }}") + STATE


REFUSED = {
    "format = true\n" + TOP + STATE: ["1:10: format: found true; expected 1 [wrong-type]"],
    'format = "1"\n' + TOP + STATE: ['1:10: format: found "1"; expected 1 [wrong-type]'],
    TOP.replace("1.0", "true") + STATE: ["2:11: lr.peak: found true; expected a number above 0 [wrong-type]"],
    TOP.replace("1.0", "1" + "0" * 400) + STATE: [
        "2:11: lr.peak: found a number of more than 60 digits; expected a number above 0, at most 1e15 [out-of-range]"
    ],
    TOP.replace("epochs = 2", "epochs = 2024-01-01") + STATE: [
        "3:18: run.epochs: found the date or time 2024-01-01; expected a whole number of at least 1 [wrong-type]"
    ],
    TOP + STATE + WAY.replace('from = "a"', "from = []"): [
        "8:8: [[transition]] 1, from: found an empty list; "
        'expected the name of a state, a list of names, or "*" [wrong-count]'
    ],
    TOP + f"[guard.m]\nany = [\n{MANY}\n]\n" + STATE + WAY + 'guards = ["m"]\n': [
        "5:7: guard.m.any: found a list of 70; expected a list, at most 64 [wrong-count]"
    ],
    TOP + CHAIN + STATE + WAY + 'guards = ["g0"]\n': [
        "51:11: [[transition]] 1, guards 1: conditions nested more than 64 deep, names followed; "
        "expected less [guard-too-large]"
    ],
    lr("decay = 2"): ["2:28: lr.decay: found 2; expected a number above 0, at most 1 [out-of-range]"],
    lr("floor = 2"): ["2:28: lr.floor: found 2; expected a number from 0 to 1 [out-of-range]"],
    lr('shape = "zzz"'): [
        '2:28: lr.shape: found "zzz"; expected one of "cosine", "linear", "constant", "wsd" [unknown-word]'
    ],
    TOP + "state = [1]\n": [
        "4:10: [[state]] 1: found 1; expected a table of name, each, set, lr, ramp, stop, final [wrong-type]"
    ],
    TOP + 'state = "a"\n': [
        '4:9: state: found "a"; expected tables with double brackets, [[…]], at least one [wrong-type]'
    ],
    TOP + STATE + '[transition]\nfrom = "a"\n': [
        "7:1: transition: found a table; expected tables with double brackets, [[…]]. "
        "Its header has double brackets. [wrong-type]"
    ],
    TOP + STATE + '[check.waive]\nreach = ""\n': [
        "8:9: check.waive.reach: found an empty text; expected a reason, in one line of 1 to 300 characters, "
        'or { NAME = "a reason" } for the transition of that name [bad-text]'
    ],
    TOP + 'description = "a\\u202eb"\n' + STATE: [
        '4:15: description: found "a\N{REPLACEMENT CHARACTER}b" with the character U+202E; '
        "expected one line of at most 300 characters [bad-text]"
    ],
    TOP + 'knob.k.ladder = [1, 07:32:00]\n[[state]]\nname = "a"\nset = { k = 1 }\n': [
        f"4:21: knob.k.ladder 2: found the date or time 07:32:00; {VALUE} [wrong-type]"
    ],
    TOP + 'knob.k.ladder = [1, 1e20]\n[[state]]\nname = "a"\nset = { k = 1 }\n': [
        f"4:21: knob.k.ladder 2: found 1e+20; {VALUE} [out-of-range]"
    ],
    TOP + 'guard.a = { any = ["b", "c"] }\nguard.b = { not = "a" }\nguard.c = { min_step = 2 }\n' + STATE + WAY
    + 'guards = ["a"]\n': [
        '4:7: guard.a: the guard "a" contains itself; expected guards that end somewhere [circular-guard]',
        '5:7: guard.b: the guard "b" contains itself; expected guards that end somewhere [circular-guard]',
    ],
    TOP + STATE + "x = { a = 1,\n b = 2 }\n": [
        '7:13: a table in braces that goes on in the next line; expected "}" in the same line. '
        "Write it in one line, or give it a header of its own. [not-toml]"
    ],
    TOP + "= 1\n": [
        '4:1: nothing before "="; expected a key. Write NAME = value. [not-toml]'
    ],
    TOP + STATE + WAY + "regress = 1\n": [
        "10:11: [[transition]] 1, regress: found 1; expected true or false [wrong-type]"
    ],
    TOP + 'knob.k.range.min = 3\nknob.k.range.max = 2\nstate = [{ name = "a", set = { k = 2 } }]\n': [
        "5:20: knob.k.range.max: max 2 below min 3; expected 3 or more [range-order]"
    ],
    TOP + STATE + "at = 23:59:60\n": [
        "7:8: Expected newline or end of document after a statement; expected TOML 1.0 [not-toml]"
    ],
    TOP + STATE + "at = 0000-01-01\n": ["7:6: Invalid date or datetime; expected TOML 1.0 [not-toml]"],
    TOP + 'knob.k.range = { min = 1, max = 5, multiple_of = 0 }\nstate = [{ name = "a", set = { k = 2 } }]\n': [
        "4:50: knob.k.range.multiple_of: found 0; expected a number above 0 [range-multiple]"
    ],
    TOP + 200 * "x" + " = 1\n" + STATE: [
        f"4:1: {60 * 'x'}…: unknown key \"{60 * 'x'}…\". Known here: check, description, format, guard, knob, lr, "
        "metric, name, nonfinite, run, state, transition. [unknown-key]"
    ],
    TOP + STATE + WAY + 'guards = [{ dwell = "3 stepp" }, { dwell = "7 epok" }]\n': [
        '10:21: [[transition]] 1, guards 1, dwell: found "3 stepp"; expected an amount of time such as "500 steps", '
        '"3 epochs", "2e9 tokens" or "0.3 run". Did you mean "3 steps"? [bad-amount]',
        '10:44: [[transition]] 1, guards 2, dwell: found "7 epok"; expected an amount of time such as "500 steps", '
        '"3 epochs", "2e9 tokens" or "0.3 run". Units: steps, epochs, tokens, cost, run. [bad-amount]',
    ],
    TOP + STATE + WAY + "guards = [{ below = { value = 1e20 } }, { above = { value = -1e20 } }]\n": [
        f"10:{column}: [[transition]] 1, guards {i}, {word}.value: found {found}; "
        "expected a number from -1e15 to 1e15 [out-of-range]"
        for column, i, word, found in ((31, 1, "below", "1e+20"), (61, 2, "above", "-1e+20"))
    ],
    TOP + "guard.flat = { min_step = 1 }\nguard.Flat = { min_step = 2 }\n" + STATE: [
        '5:7: guard.Flat: the guard "Flat" beside "flat"; expected names that differ by more than case, -, _, or 0, O, '
        "1, l and I [look-alike-name]"
    ],
    TOP + STATE + STATE: [
        '8:8: state "a", name: the state "a" a second time; expected names that differ [duplicate-name]'
    ],
    TOP + STATE + WAY
    + 'guards = [{ gap = { value = 1, over = "rest" } }, { gap = { value = 1, over = "0 steps" } }]\n': [
        '10:39: [[transition]] 1, guards 1, gap.over: found "rest"; expected an amount of time such as "500 steps" '
        "[rest-here]",
        '10:79: [[transition]] 1, guards 2, gap.over: found "0 steps"; expected stretches that last [empty-amount]',
    ],
    TOP + ONE_RUNG + WAY + 'guards = [{ ramp_done = "cutof" }, "not", "any_"]\n': [
        '9:25: [[transition]] 1, guards 1, ramp_done: no knob "cutof". Did you mean "cutoff"? [unknown-knob]',
        '9:36: [[transition]] 1, guards 2: no [guard.NAME] "not". Write a table, { not = … }. [unknown-guard]',
        '9:43: [[transition]] 1, guards 3: no [guard.NAME] "any_". Write a table, { any = … }. [unknown-guard]',
    ],
    TOP + ONE_RUNG + WAY + 'guards = [{ any = [{ ramp_done = "cutoff" }, { min_step = 1 }] }]\n': [
        '9:11: [[transition]] 1, guards 1: no ramp of "cutoff" in "a"; '
        "expected a ramp in every state that the transition leaves [no-ramp]"
    ],
    TOP + STATE + WAY + 'guards = [{ plateau = { method = "returns", window = 3, per = "1 run", cooldown = 3 } }]\n': [
        '10:45: [[transition]] 1, guards 1, plateau.window: "window" with method "returns"; '
        'expected method "halves" or "trend" or "sure" [key-of-other-method]',
        '10:57: [[transition]] 1, guards 1, plateau.per: "per" with method "returns"; '
        'expected method "halves" or "trend" or "sure" [key-of-other-method]',
        '10:72: [[transition]] 1, guards 1, plateau.cooldown: "cooldown" with method "returns"; '
        'expected method "trend" [key-of-other-method]',
    ],
    TOP + STATE + WAY + 'guards = [{ plateau = { method = "trend", window = 5, per = "10 steps" } }]\n': [
        '10:43: [[transition]] 1, guards 1, plateau.window: "window" beside "per"; '
        "expected one of the two: per says what the threshold is measured on [key-without-effect]"
    ],
    TOP + STATE + WAY + 'guards = [{ plateau = { window = 1 } }, { plateau = { per = "rest" } }]\n': [
        "10:34: [[transition]] 1, guards 1, plateau.window: a window of 1; "
        "expected at least 2: it has two halves [window-too-short]",
        '10:61: [[transition]] 1, guards 2, plateau.per: "rest"; '
        'expected "window" or an amount of time such as "1000 steps" [rest-here]',
    ],
    TOP + STATE + WAY + 'guards = [{ plateau = { window = 2 } }, { plateau = { per = "0 run" } }]\n': [
        '10:61: [[transition]] 1, guards 2, plateau.per: "0 run"; '
        'expected "window" or an amount of time such as "1000 steps" [rest-here]'
    ],
    "a\n\x02b": [
        "2:1: the character U+0002, which does not show; expected characters that can be seen, blanks and line ends "
        "[hidden-character]"
    ],
    # A long chain of names is too deep also where its end was measured before, from nearer by.
    TOP + CHAIN + STATE + WAY + 'guards = ["g15", "g0"]\n': [
        "51:18: [[transition]] 1, guards 2: conditions nested more than 64 deep, names followed; "
        "expected less [guard-too-large]"
    ],
    # What follows from what was left out is not reported, what stands by itself is.
    TOP + 'knob.k.range = { min = "x", max = 5 }\nstate = [{ name = "a", set = { k = -5 } }]\n': [
        '4:24: knob.k.range.min: found "x"; expected a number. Write it without quotation marks. [wrong-type]'
    ],
    'name = "x"\nlr.peak = 1.0\ntransition = [3, { from = "a", to = "b" }]\nstate = [{ name = "a" }]\n': [
        "3:15: [[transition]] 1: found 3; expected a table of name, from, to, at, guards, sustain, at_most, actions, "
        "regress [wrong-type]",
        '3:37: [[transition]] 2, to: no state "b". Known here: a, next. [unknown-state]',
    ],
    TOP + STATE + WAY + "guards = [{ aa = 1, all = [{ zz = 1 }] }, { dwell = 'rest' }]\n": [
        f'10:{column}: [[transition]] 1, guards 1{inside}: unknown key "{key}". Known here: {GUARDS}. '
        "A guard of your own? Name the file that registers it: --words FILE.py. [unknown-key]"
        for column, inside, key in ((13, "", "aa"), (30, ", all 1", "zz"))
    ] + ['10:53: [[transition]] 1, guards 2, dwell: found "rest"; expected an amount of time such as "500 steps" '
         "[rest-here]"],
    lr("cycles = []"): [
        "2:29: lr.cycles: found an empty list; expected a list of lengths, or a table such as "
        '{ first = "10 epochs", factor = 2 } [wrong-count]'
    ],
    TOP + STATE + WAY + "guards = [{ plateau = { confidence = 1 } }]\n": [
        "10:38: [[transition]] 1, guards 1, plateau.confidence: found 1; expected a number above 0.5 and below 1 "
        "[out-of-range]"
    ],
    TOP + STATE + WAY + "guards = [{ patience = {} }]\n": [
        '10:13: [[transition]] 1, guards 1, patience: the key "steps" is missing; '
        "expected a whole number from 1 to 1,000,000. Observations without a new best. [missing-key]"
    ],
}  # fmt: skip


@pytest.mark.parametrize("text", REFUSED, ids=range(len(REFUSED)))
def test_refused(text: str) -> None:
    """The file is refused with these sentences, in the order of the file, and no others."""
    with pytest.raises(CurriculumError) as caught:
        loads(text.encode(), "x.toml")
    assert [str(fault).split("\n")[0] for fault in caught.value.faults] == [f"x.toml:{line}" for line in REFUSED[text]]


# No TOML: the line, the carets below what is wrong, and what to do.
SYNTAX = {
    'lr.peak = abc # "x"': (
        'found abc; expected a value. Texts stand in quotation marks: "abc". [not-toml]',
        "          ^^^",
    ),
    "lr.peak = Nan-3": (
        'found Nan-3; expected a value. Texts stand in quotation marks: "Nan-3". [not-toml]',
        "          ^^^^^",
    ),
    "lr.peak = tru": (
        'found tru; expected a value. Texts stand in quotation marks: "tru". [not-toml]',
        "          ^^^",
    ),
    'lr.peak = # "x"': (
        'nothing after "="; expected a number, true, false, or a text in quotation marks [not-toml]',
        "          ^",
    ),
    "ladder = 1, 2": (
        "a comma after the value; expected the end of the line. Lists have brackets: [ … ]. [not-toml]",
        "          ^",
    ),
    "  [ state ]": (
        'the key "state" a second time; expected each key of a table once. '
        "Write [[state]], with double brackets, for each of them. [duplicate-key]",
        "    ^^^^^",
    ),
    "'a b' = 2": ('the key "a b" a second time; expected each key of a table once [duplicate-key]', "^^^^^"),
    '"a b" = 2 # c': ('the key "a b" a second time; expected each key of a table once [duplicate-key]', "^^^^^"),
    "'\"' = 4": ('the key """ a second time; expected each key of a table once [duplicate-key]', "^^^"),
    "a-B = 3": ('the key "a-B" a second time; expected each key of a table once [duplicate-key]', "^^^"),
    "at = 23:59:60": (
        "Expected newline or end of document after a statement; expected TOML 1.0 [not-toml]",
        "       ^",
    ),
    "at = 0000-01-01": ("Invalid date or datetime; expected TOML 1.0 [not-toml]", "     ^"),
}


@pytest.mark.parametrize("line", SYNTAX)
def test_no_toml(line: str) -> None:
    """What is no TOML is shown in its line, with carets below it, and what to do is said."""
    sentence, carets = SYNTAX[line]
    with pytest.raises(CurriculumError) as caught:
        loads(
            f'"a b" = 1\na-B = 2\n[state]\n{line}\n' if "state" in line else f'"a b" = 1\na-B = 2\n"\\"" = 3\n{line}\n',
            "x.toml",
        )
    column = len(carets) - len(carets.lstrip()) + 1
    assert str(caught.value) == f"x.toml:4:{column}: {sentence}\n  |\n4 | {line}\n  | {carets}"


# Files with words that are none, and files that make no sense, each beside the sentences by which it is refused.
GOLDEN_REFUSALS = [block.split("-----\n") for block in GOLDEN.read_text(encoding="utf-8").split("=====\n")]


@pytest.mark.parametrize(("text", "sentences"), GOLDEN_REFUSALS, ids=range(len(GOLDEN_REFUSALS)))
def test_golden_refusals(text: str, sentences: str) -> None:
    """What a file says is wrong is said of each part of it, with its place, and of nothing else."""
    with pytest.raises(CurriculumError) as caught:
        loads(text.encode(), "x.toml")
    assert [str(fault).split("\n")[0] for fault in caught.value.faults] == sentences.splitlines()


@pytest.mark.parametrize(
    ("comments", "sentence"),
    [
        (["x" * 1200], "x.toml:7:1001: a line of 1202 characters; expected 1,000 at most [line-too-long]"),
        (["x" * 990] * 70, "x.toml:72:895: a file of more than 64 KiB; expected 65,536 bytes at most [file-too-large]"),
    ],
)
def test_too_large(comments: list[str], sentence: str) -> None:
    """A file has a largest size, and a line a greatest length; the place is where it is passed."""
    with pytest.raises(CurriculumError) as caught:
        loads(TOP + STATE + "".join(f"# {comment}\n" for comment in comments), "x.toml")
    assert str(caught.value).split("\n")[0] == sentence
