"""Files mistyped out of habit: as in other languages and tools, with words of other trainers, or pasted with marks."""

# ruff: noqa: E501  # sentences are given to the letter

from __future__ import annotations

import pytest

from plateau_rule import CurriculumError, loads
from tests.controller.language.test_typing_mistakes import MINE, said

# What is replaced, or nothing where something is added at the end; by what; and what is said.
HABITS = [
    (
        "[lr]",
        "\ufeff[lr]",
        "8:1: the character U+FEFF, which does not show; expected characters that can be seen, blanks and line ends [hidden-character]",
    ),
    ("2e-4", "2e–4", "9:10: found 2e–4; expected a number with a plain minus sign. Write 2e-4. [not-toml]"),
    ("peak   =", "‘peak’ =", '9:1: the quotation mark ‘ (U+2018); expected the plain one, ". Write "peak". [not-toml]'),
    ("2e-4", "２e-4", "9:10: found ２e-4; expected plain characters. Write 2e-4. [not-toml]"),
    (
        '[128, 256, "full"]',
        '[128, …, "full"]',
        "15:16: found …; expected every value. TOML has no ellipsis: write each value. [not-toml]",
    ),
    (
        '[128, 256, "full"]',
        '[128, ..., "full"]',
        "15:16: found ...; expected every value. TOML has no ellipsis: write each value. [not-toml]",
    ),
    (
        '[128, 256, "full"]',
        "[128..256]",
        "15:11: found 128..256; expected a number. Write 128.256 if it is one number; a list names each value, with commas between them. [not-toml]",
    ),
    (
        "[guard.flat]",
        "[knob.cutoff]\nladder = [1, 2]\n\n[guard.flat]",
        '17:7: the key "cutoff" a second time; expected each key of a table once [duplicate-key]',
    ),
    (
        "{ cutoff = 256 }",
        "{ cutoff = 256, cutoff = 512 }",
        '26:24: the key "cutoff" a second time; expected each key of a table once [duplicate-key]',
    ),
    (
        "",
        '\n[state]\nname = "x"\n',
        "40:1: the header [state] beside [[state]]; expected double brackets for each of them. Write [[state]]. [duplicate-key]",
    ),
    (
        '"mine"',
        '"my "first" run"',
        "2:15: quotation marks inside a text; expected other marks around it. Write 'my \"first\" run'. [not-toml]",
    ),
    (
        '"mine"',
        "'it''s'",
        '2:15: quotation marks inside a text; expected other marks around it. Write "it\'s". [not-toml]',
    ),
    (
        '"mine"',
        '""mine""',
        '2:15: quotation marks inside a text; expected other marks around it. Write "mine". [not-toml]',
    ),
    (
        '"mine"',
        '"""mine"',
        '2:15: the text after """ is not closed; expected """ at its end. In one line, write "mine". [not-toml]',
    ),
    ("window = 50", "window => 50", '18:20: "=>" after the key "window"; expected "=". Write window = 50. [not-toml]'),
    ('from    = "*"', 'from -> "*"', '34:6: "->" after the key "from"; expected "=". Write from = "*". [not-toml]'),
    (
        'from    = "*"\nto      = "next"',
        '"coarse" -> "finer"',
        '34:10: "->" after the key ""coarse""; expected "=". Write from = "coarse" and to = "finer", a line each. [not-toml]',
    ),
    (
        "{ window = 50, threshold = 0.005 }",
        "{ window = 50; threshold = 0.005 }",
        "18:24: a semicolon between two values; expected a comma. Write a comma. [not-toml]",
    ),
    (
        "{ window = 50, threshold = 0.005 }",
        "{ window, threshold = 0.005 }",
        '18:13: "window" without a value; expected KEY = value. Write window = … [not-toml]',
    ),
    (
        "{ window = 50, threshold = 0.005 }",
        "{ window = , threshold = 0.005 }",
        "18:22: nothing where a value should be; expected a number, true, false, or a text in quotation marks [not-toml]",
    ),
    (
        "{ window = 50, threshold = 0.005 }",
        "{ window = 50 threshold = 0.005 }",
        '18:25: no comma before threshold; expected a comma or "}". Write a comma between the two. [not-toml]',
    ),
    (
        '[128, 256, "full"]',
        '[128 256, "full"]',
        '15:15: no comma before 256; expected a comma or "]". Write a comma between the two. [not-toml]',
    ),
    ("2e-4", "2024-01-01", "9:10: lr.peak: found the date or time 2024-01-01; expected a number above 0 [wrong-type]"),
    (
        '"mine"',
        "2024-01-01",
        "2:15: name: found the date or time 2024-01-01; expected a name of letters a-z, digits, - and _, a letter first, at most 64 [wrong-type]",
    ),
    (
        '"3 epochs"',
        "10:30",
        '12:10: found 10:30; expected a number. Texts stand in quotation marks: "10:30". [not-toml]',
    ),
    (
        '"3 epochs"',
        "10:30:00",
        '12:10: lr.length: found the date or time 10:30:00; expected an amount of time such as "500 steps", "3 epochs", "2e9 tokens", "0.3 run" or "rest" [wrong-type]',
    ),
    ("peak   = 2e-4", "Peak   = 2e-4", '9:1: lr: unknown key "Peak". Did you mean "peak"? [unknown-key]'),
    ("[[state]]", "[[State]]", '20:3: State: unknown key "State". Did you mean "state"? [unknown-key]'),
    (
        '"cosine"',
        '"Cosine"',
        '10:10: lr.shape: found "Cosine"; expected one of "cosine", "linear", "constant", "wsd". Did you mean "cosine"? [unknown-word]',
    ),
    (
        "plateau = { window",
        "Plateau = { window",
        '18:1: guard.flat: unknown key "Plateau". Did you mean "plateau"? [unknown-key]',
    ),
    (
        '"lr_restart"',
        '"LR_restart"',
        '38:12: [[transition]] 1, actions 1: found "LR_restart"; expected an action such as "lr_restart" or { lr_scale = 0.5 }. Did you mean "lr_restart"? [unknown-word]',
    ),
    (
        '"full"]',
        '"Full"]',
        '15:21: knob.cutoff.ladder 3: found "Full"; expected a number or "full". Did you mean "full"? [unknown-word]',
    ),
    ('"next"', '"Next"', '35:11: [[transition]] 1, to: no state "Next". Did you mean "next"? [unknown-state]'),
    (
        "steps_per_epoch",
        "stepsPerEpoch",
        '6:1: run: unknown key "stepsPerEpoch". Did you mean "steps_per_epoch"? [unknown-key]',
    ),
    (
        '"3 epochs"',
        '"3 ephocs"',
        '12:10: lr.length: found "3 ephocs"; expected an amount of time such as "500 steps", "3 epochs", "2e9 tokens", "0.3 run" or "rest". Did you mean "3 epochs"? [bad-amount]',
    ),
    (
        '"3 epochs"',
        '"300 setps"',
        '12:10: lr.length: found "300 setps"; expected an amount of time such as "500 steps", "3 epochs", "2e9 tokens", "0.3 run" or "rest". Did you mean "300 steps"? [bad-amount]',
    ),
    (
        '"3 epochs"',
        '"300 iterations"',
        '12:10: lr.length: found "300 iterations"; expected an amount of time such as "500 steps", "3 epochs", "2e9 tokens", "0.3 run" or "rest". Did you mean "300 steps"? [bad-amount]',
    ),
    (
        '"3 epochs"',
        '"300 iters"',
        '12:10: lr.length: found "300 iters"; expected an amount of time such as "500 steps", "3 epochs", "2e9 tokens", "0.3 run" or "rest". Did you mean "300 steps"? [bad-amount]',
    ),
    (
        '"3 epochs"',
        '"300 updates"',
        '12:10: lr.length: found "300 updates"; expected an amount of time such as "500 steps", "3 epochs", "2e9 tokens", "0.3 run" or "rest". Did you mean "300 steps"? [bad-amount]',
    ),
    (
        '"3 epochs"',
        '"300 batches"',
        '12:10: lr.length: found "300 batches"; expected an amount of time such as "500 steps", "3 epochs", "2e9 tokens", "0.3 run" or "rest". Did you mean "300 steps"? [bad-amount]',
    ),
    (
        '"3 epochs"',
        '"3 hours"',
        '12:10: lr.length: found "3 hours"; expected an amount of time such as "500 steps", "3 epochs", "2e9 tokens", "0.3 run" or "rest". Units: steps, epochs, tokens, cost, run. [bad-amount]',
    ),
    (
        '"3 epochs"',
        '"300 it"',
        '12:10: lr.length: found "300 it"; expected an amount of time such as "500 steps", "3 epochs", "2e9 tokens", "0.3 run" or "rest". Did you mean "300 steps"? [bad-amount]',
    ),
    (
        '"3 epochs"',
        '"3 ep"',
        '12:10: lr.length: found "3 ep"; expected an amount of time such as "500 steps", "3 epochs", "2e9 tokens", "0.3 run" or "rest". Did you mean "3 epochs"? [bad-amount]',
    ),
    (
        '"3 epochs"',
        '"300 samples"',
        '12:10: lr.length: found "300 samples"; expected an amount of time such as "500 steps", "3 epochs", "2e9 tokens", "0.3 run" or "rest". Units: steps, epochs, tokens, cost, run. [bad-amount]',
    ),
    (
        '"3 epochs"',
        '"3e5 tok"',
        '12:10: lr.length: found "3e5 tok"; expected an amount of time such as "500 steps", "3 epochs", "2e9 tokens", "0.3 run" or "rest". Did you mean "300000 tokens"? [bad-amount]',
    ),
    (
        '"3 epochs"',
        '"0.3 runs"',
        '12:10: lr.length: found "0.3 runs"; expected an amount of time such as "500 steps", "3 epochs", "2e9 tokens", "0.3 run" or "rest". Did you mean "0.3 run"? [bad-amount]',
    ),
    (
        '"3 epochs"',
        '"-3 epochs"',
        '12:10: lr.length: found "-3 epochs"; expected an amount of time such as "500 steps", "3 epochs", "2e9 tokens", "0.3 run" or "rest". An amount of time is not negative. [bad-amount]',
    ),
    (
        '"3 epochs"',
        '"3.5 steps"',
        '12:10: lr.length: found "3.5 steps"; expected an amount of time such as "500 steps", "3 epochs", "2e9 tokens", "0.3 run" or "rest". Expected a whole number of steps. [bad-amount]',
    ),
    (
        '"3 epochs"',
        '[3, "epochs"]',
        '12:10: lr.length: found a list; expected an amount of time such as "500 steps", "3 epochs", "2e9 tokens", "0.3 run" or "rest". Write "3 epochs". [wrong-type]',
    ),
    (
        '"3 epochs"',
        "{ epochs = 3 }",
        '12:10: lr.length: found a table; expected an amount of time such as "500 steps", "3 epochs", "2e9 tokens", "0.3 run" or "rest". Write "3 epochs". [wrong-type]',
    ),
    (
        "2e-4",
        '"0,0002"',
        '9:10: lr.peak: found "0,0002"; expected a number above 0. Write it without quotation marks. [wrong-type]',
    ),
    (
        "2e-4",
        '"2e-4"',
        '9:10: lr.peak: found "2e-4"; expected a number above 0. Write it without quotation marks. [wrong-type]',
    ),
    (
        "= 50",
        '= "50"',
        '5:19: run.epochs: found "50"; expected a whole number of at least 1. Write it without quotation marks. [wrong-type]',
    ),
    (
        '"mine"',
        '"C:\\Users\\me\\x"',
        "2:18: a backslash in a text; expected a letter that it stands with, such as \\n. Write 'C:\\Users\\me\\x', in single marks, or \\\\ for it. [not-toml]",
    ),
    (
        '"mine"',
        "'C:\\Users\\me'",
        '2:15: name: found "C:\\Users\\me"; expected a name of letters a-z, digits, - and _, a letter first, at most 64 [bad-name]',
    ),
    (
        '"mine"',
        '"C:\\users\\x"',
        "2:18: a backslash in a text; expected a letter that it stands with, such as \\n. Write 'C:\\users\\x', in single marks, or \\\\ for it. [not-toml]",
    ),
    (
        '["lr_restart"]\n',
        '["lr_restart',
        '38:12: the text is not closed; expected " at its end. Write "lr_restart". [not-toml]',
    ),
    (
        "[knob.cutoff]",
        '[knob."cutoff]',
        '14:7: the text is not closed; expected " at its end. Write "cutoff". [not-toml]',
    ),
    ('"mine"', "'mine", "2:15: the text is not closed; expected ' at its end. Write 'mine'. [not-toml]"),
    ("[run]", "[run:]", '4:1: a header with no closing bracket; expected "]". Write [run]. [not-toml]'),
    (
        "{ cutoff = 256 }",
        "dict(cutoff=256)",
        "26:8: found dict(cutoff=256); expected a value. Write { cutoff = 256 }. [not-toml]",
    ),
    (
        '"mine"',
        'f"mine"',
        '2:15: a text with the letter "f" before it, as in Python; expected a plain text. Write "mine". [not-toml]',
    ),
    (
        '"mine"',
        'r"mine"',
        '2:15: a text with the letter "r" before it, as in Python; expected a plain text. Write "mine". [not-toml]',
    ),
    (
        '"3 epochs"',
        "None",
        "12:10: found None; expected a value. TOML has no word for nothing: leave the key out. [not-toml]",
    ),
    (
        '"3 epochs"',
        "null",
        "12:10: found null; expected a value. TOML has no word for nothing: leave the key out. [not-toml]",
    ),
    ("2e-4", "NaN", "9:10: found NaN; expected a number. No value here may be infinite, or no number. [not-toml]"),
    (
        "2e-4",
        "Infinity",
        "9:10: found Infinity; expected a number. No value here may be infinite, or no number. [not-toml]",
    ),
    (
        "2e-4",
        "${PEAK}",
        "9:10: found ${PEAK}; expected a value. TOML has no variables: write the value itself. [not-toml]",
    ),
    ("2e-4", "$PEAK", "9:10: found $PEAK; expected a value. TOML has no variables: write the value itself. [not-toml]"),
    (
        "2e-4",
        "{{ peak }}",
        '9:11: "{{" of a template; expected a value. TOML has no variables: write the value itself. [not-toml]',
    ),
    (
        "2e-4",
        "<peak>",
        "9:10: found <peak>; expected a value. TOML has no variables: write the value itself. [not-toml]",
    ),
    ("2e-4", "?", "9:10: found ?; expected a value. TOML has no variables: write the value itself. [not-toml]"),
    ("2e-4", "2 e-4", "9:10: found 2 e-4; expected a number without blanks or marks in it. Write 2e-4. [not-toml]"),
    ("2e-4", "2e -4", "9:10: found 2e -4; expected a number without blanks in it. Write 2e-4. [not-toml]"),
    ("2e-4", "2x10^-4", "9:10: found 2x10^-4; expected a number. Write 2e-4. [not-toml]"),
    ("2e-4", "2*10**-4", "9:10: found 2*10**-4; expected a number. Write 2e-4. [not-toml]"),
    ("0.1", "0.0.5", "11:10: found 0.0.5; expected a number with one point [not-toml]"),
    (
        "0.1",
        "0..1",
        "11:10: found 0..1; expected a number. Write 0.1 if it is one number; a list names each value, with commas between them. [not-toml]",
    ),
    ("1000", "1 000", "6:19: found 1 000; expected a number without blanks or marks in it. Write 1000. [not-toml]"),
    ("1000", "1'000", "6:19: found 1'000; expected a number without blanks or marks in it. Write 1000. [not-toml]"),
    ("1000", "1000_", "6:19: found 1000_; expected a number. Write 1000. [not-toml]"),
    ("1000", "1000 steps", '6:19: the amount 1000 steps without quotation marks. Write "1000 steps". [not-toml]'),
    ("= 50", "= 50 epochs", '5:19: the amount 50 epochs without quotation marks. Write "50 epochs". [not-toml]'),
    ("[run]", "/* the run */\n[run]", '4:1: a comment with "/*"; expected "#". Write # the run. [not-toml]'),
    ("[run]", "<!-- run -->\n[run]", '4:1: a comment with "<!--"; expected "#". Write # run. [not-toml]'),
    ("[run]", "REM run\n[run]", '4:1: "REM run"; expected KEY = value. Comments begin with #. [not-toml]'),
    (
        "[run]",
        "this is the run\n[run]",
        '4:1: "this is the run"; expected KEY = value. Comments begin with #. [not-toml]',
    ),
    ("[run]", "* run\n[run]", '4:1: "*" at the beginning of a line; expected KEY = value. Delete it. [not-toml]'),
    ("peak   = 2e-4", "peak : 2e-4", '9:6: ":" after the key "peak"; expected "=". Write peak = 2e-4. [not-toml]'),
    (
        "peak   = 2e-4",
        "export peak=2e-4",
        '9:1: the word "export" before a key; expected KEY = value. Write peak = 2e-4. [not-toml]',
    ),
    (
        "peak   = 2e-4",
        "let peak = 2e-4",
        '9:1: the word "let" before a key; expected KEY = value. Write peak = 2e-4. [not-toml]',
    ),
    (
        "[run]",
        "[run],",
        '4:6: "," after a header; expected the end of the line. Remove it; comments begin with #. [not-toml]',
    ),
    (
        "[[state]]",
        "[[state.a]]",
        '20:1: a name in the header of a state; expected [[state]]. Write [[state]], and name = "a" below it. [not-toml]',
    ),
    (
        "[knob.cutoff]",
        "[knob.cutoff]]",
        "14:1: a header with a closing bracket too many; expected as many as at its beginning. Write [knob.cutoff]. [not-toml]",
    ),
    (
        "[knob.cutoff]",
        "[knob]",
        "14:1: knob: [knob] without a name; expected [knob.NAME]. Write [knob.cutoff], for example. [missing-key]",
    ),
    (
        "[guard.flat]",
        "[guard]",
        "17:1: guard: [guard] without a name; expected [guard.NAME]. Write [guard.flat], for example. [missing-key]",
    ),
    (
        "[run]",
        "[[run]]",
        "4:3: run: found a list; expected a table of epochs, steps_per_epoch, tokens_per_step, tokens, cost_per_step, cost, clock, flop_per_token. A table of which there is one has single brackets, […]. [wrong-type]",
    ),
    (
        "[knob.cutoff]",
        "[[knob.cutoff]]",
        "14:8: knob.cutoff: found a list; expected a table of unit, order, ladder, range, cost. A table of which there is one has single brackets, […]. [wrong-type]",
    ),
    (
        "[guard.flat]",
        "[[guard.flat]]",
        "17:9: guard.flat: found a list; expected a table of one key, such as min_epoch. Join several by { any = [ … ] } or { all = [ … ] }. [wrong-type]",
    ),
    (
        "[[transition]]",
        "[transition]",
        "33:1: transition: found a table; expected tables with double brackets, [[…]]. Its header has double brackets. [wrong-type]",
    ),
    (
        '[[state]]\nname = "coarse"',
        "[state.coarse]",
        '20:1: a name in the header of a state; expected [[state]]. Write [[state]], and name = "coarse" below it. [not-toml]',
    ),
    (
        "[[transition]]",
        "[transition.up]",
        "33:1: transition: found a table; expected tables with double brackets, [[…]]. Its header has double brackets. [wrong-type]",
    ),
    (
        "{ cutoff = 256 }",
        '["cutoff", 256]',
        '26:8: state "finer", set: found a list; expected a table, { NAME = … } [wrong-type]',
    ),
    (
        "{ cutoff = 256 }",
        '"cutoff = 256"',
        '26:8: state "finer", set: found "cutoff = 256"; expected a table, { NAME = … }. Write { cutoff = 256 }. [wrong-type]',
    ),
    ("{ cutoff = 256 }", "256", '26:8: state "finer", set: found 256; expected a table, { NAME = … } [wrong-type]'),
    (
        "{ min_epoch = 2 }",
        '"min_epoch = 2"',
        '37:12: [[transition]] 1, guards 1: found "min_epoch = 2"; expected a guard such as { min_epoch = 2 }, or the name of a [guard.NAME]. Write { min_epoch = 2 }, without quotation marks around it. [bad-name]',
    ),
    (
        "{ min_epoch = 2 }",
        '"min_epoch(2)"',
        '37:12: [[transition]] 1, guards 1: found "min_epoch(2)"; expected a guard such as { min_epoch = 2 }, or the name of a [guard.NAME]. Write { min_epoch = 2 }, without quotation marks around it. [bad-name]',
    ),
    (
        '[{ min_epoch = 2 }, "flat"]',
        "{ min_epoch = 2 }",
        "37:11: [[transition]] 1, guards: found a table; expected a list. Put it into brackets: [ { … } ]. [wrong-type]",
    ),
    (
        '[{ min_epoch = 2 }, "flat"]',
        '"flat"',
        '37:11: [[transition]] 1, guards: found "flat"; expected a list. Put it into brackets: [ … ]. [wrong-type]',
    ),
    (
        "{ min_epoch = 2 }",
        "{ min_epoch = 2, min_step = 3 }",
        "37:12: [[transition]] 1, guards 1: found the keys min_epoch, min_step; expected exactly one key. Write one table for each; all of a list must hold. [one-key]",
    ),
    (
        '["lr_restart"]',
        '"lr_restart"',
        '38:11: [[transition]] 1, actions: found "lr_restart"; expected a list. Put it into brackets: [ … ]. [wrong-type]',
    ),
    (
        '["lr_restart"]',
        "true",
        "38:11: [[transition]] 1, actions: found true; expected a list. Put it into brackets: [ … ]. [wrong-type]",
    ),
    (
        '"epoch"',
        '"Epoch"',
        '36:11: [[transition]] 1, at: found "Epoch"; expected one of "step", "epoch", "eval". Did you mean "epoch"? [unknown-word]',
    ),
    (
        '"epoch"',
        '"epochs"',
        '36:11: [[transition]] 1, at: found "epochs"; expected one of "step", "epoch", "eval". Did you mean "epoch"? [unknown-word]',
    ),
    (
        '"epoch"',
        '"every epoch"',
        '36:11: [[transition]] 1, at: found "every epoch"; expected one of "step", "epoch", "eval". Did you mean "epoch"? [unknown-word]',
    ),
    (
        '[128, 256, "full"]',
        '"128, 256, full"',
        '15:10: knob.cutoff.ladder: found "128, 256, full"; expected a list with at least one item. Put it into brackets: [ … ]. [wrong-type]',
    ),
    ('[128, 256, "full"]', "{ 128, 256 }", '15:10: a list in "{ }"; expected "[ ]". Write [128, 256]. [not-toml]'),
    (
        '[128, 256, "full"]',
        '[128,, 256, "full"]',
        "15:15: a comma with no value before it; expected a value. Remove the comma. [not-toml]",
    ),
    (
        "[lr]",
        "\x0c[lr]",
        "8:1: the character U+000C, which does not show; expected characters that can be seen, blanks and line ends [hidden-character]",
    ),
    (
        "[lr]",
        "\x00[lr]",
        "8:1: the character U+0000, which does not show; expected characters that can be seen, blanks and line ends [hidden-character]",
    ),
    (
        "peak   = 2e-4",
        "-peak = 2e-4\n+peak = 3e-4",
        '9:1: "-" at the beginning of a line, as in a diff; expected KEY = value. Delete it. [not-toml]',
    ),
    (
        "peak   = 2e-4",
        "<<<<<<< HEAD\npeak = 2e-4\n=======\npeak = 3\n>>>>>>> b",
        "9:1: a conflict that git left in the file; expected one of its two versions. Keep one of the two versions, and delete the marks. [not-toml]",
    ),
    (
        "peak   = 2e-4",
        "$ peak = 2e-4",
        '9:1: "$" at the beginning of a line; expected KEY = value. Delete it. [not-toml]',
    ),
    (
        "peak   = 2e-4",
        "9 | peak = 2e-4",
        "9:1: the number of a line before it; expected KEY = value. Delete it. [not-toml]",
    ),
    (
        "peak   = 2e-4",
        "9: peak = 2e-4",
        "9:1: the number of a line before it; expected KEY = value. Delete it. [not-toml]",
    ),
    (
        "steps_per_epoch = 1000",
        "steps\\_per\\_epoch = 1000",
        '6:1: the key "steps\\_per\\_epoch"; expected no backslashes. Write steps_per_epoch = … [not-toml]',
    ),
    (
        "{ min_epoch = 2 }",
        "{ min_epoch &gt; 2 }",
        '37:24: "&gt;" after the key "min_epoch"; expected "=". Write min_epoch = 2. [not-toml]',
    ),
    (
        "{ min_epoch = 2 }",
        "{ min_epoch > 2 }",
        '37:24: ">" after the key "min_epoch"; expected "=". Write min_epoch = 2. [not-toml]',
    ),
    (
        "{ min_epoch = 2 }",
        "{ min_epoch >= 2 }",
        '37:24: ">=" after the key "min_epoch"; expected "=". Write min_epoch = 2. [not-toml]',
    ),
    (
        "{ min_epoch = 2 }",
        "{ min_epoch != 2 }",
        '37:24: "!=" after the key "min_epoch"; expected "=". A guard\'s word says how it compares; { not = { … } } is the opposite. [not-toml]',
    ),
    (
        '[{ min_epoch = 2 }, "flat"]',
        '[{ min_epoch = 2 } and "flat"]',
        '37:30: "and" between two values; expected a comma. Write a comma: all of a list must hold. [not-toml]',
    ),
    (
        '[{ min_epoch = 2 }, "flat"]',
        '[{ min_epoch = 2 } && "flat"]',
        '37:30: "&&" between two values; expected a comma. Write a comma: all of a list must hold. [not-toml]',
    ),
    (
        '[{ min_epoch = 2 }, "flat"]',
        '[not "flat"]',
        "37:12: found not; expected a guard. Write { not = … }. [not-toml]",
    ),
    (
        '[{ min_epoch = 2 }, "flat"]',
        '["not flat"]',
        '37:12: [[transition]] 1, guards 1: found "not flat"; expected a guard such as { min_epoch = 2 }, or the name of a [guard.NAME]. Write { not = "flat" }. [bad-name]',
    ),
    (
        '[{ min_epoch = 2 }, "flat"]',
        '["!flat"]',
        '37:12: [[transition]] 1, guards 1: found "!flat"; expected a guard such as { min_epoch = 2 }, or the name of a [guard.NAME]. Write { not = "flat" }. [bad-name]',
    ),
    (
        '[{ min_epoch = 2 }, "flat"]',
        '["flat or min_epoch"]',
        '37:12: [[transition]] 1, guards 1: found "flat or min_epoch"; expected a guard such as { min_epoch = 2 }, or the name of a [guard.NAME]. Join several by { any = [ … ] } or { all = [ … ] }. [bad-name]',
    ),
    (
        "{ window = 50, threshold = 0.005 }",
        "{\n  window = 50,\n  threshold = 0.005\n}",
        '18:12: a table in braces that goes on in the next line; expected "}" in the same line. Write it in one line, or give it a header of its own. [not-toml]',
    ),
    ('"mine"', '"mi\nne"', '2:15: the text is not closed; expected " at its end. Write "mi". [not-toml]'),
    (
        "peak   = 2e-4",
        "peak =\n  2e-4",
        '9:7: nothing after "="; expected a number, true, false, or a text in quotation marks. A value begins in the line of its key. [not-toml]',
    ),
    (
        'ladder = [128, 256, "full"]',
        'ladder =\n  [128, 256, "full"]',
        '15:9: nothing after "="; expected a number, true, false, or a text in quotation marks. A value begins in the line of its key. [not-toml]',
    ),
    ('"*"', '["coarse, "finer"]', '34:12: the text is not closed; expected " at its end. Write "coarse". [not-toml]'),
    (
        '"*"',
        '["coarse, finer"]',
        '34:12: [[transition]] 1, from 1: found "coarse, finer"; expected a name of letters a-z, digits, - and _, a letter first, at most 64. Give each its own quotation marks: "coarse", "finer". [bad-name]',
    ),
    ('"flat"]', '"flat]', '37:31: the text is not closed; expected " at its end. Write "flat". [not-toml]'),
    (
        '"coarse"',
        '"very coarse"',
        '21:8: state "very coarse", name: found "very coarse"; expected a name of letters a-z, digits, - and _, a letter first, at most 64 [bad-name]',
    ),
    (
        '"coarse"',
        '"gröb"',
        '21:8: state "gröb", name: found "gröb", in which "ö" is LATIN SMALL LETTER O WITH DIAERESIS; expected a name of letters a-z, digits, - and _, a letter first, at most 64 [bad-name]',
    ),
    (
        '"coarse"',
        '"coarse.1"',
        '21:8: state "coarse.1", name: found "coarse.1"; expected a name of letters a-z, digits, - and _, a letter first, at most 64 [bad-name]',
    ),
    (
        '"coarse"',
        "1",
        "21:8: [[state]] 1, name: found 1; expected a name of letters a-z, digits, - and _, a letter first, at most 64 [wrong-type]",
    ),
    (
        "{ cutoff = 256 }",
        "{ cut_off = 256 }",
        '26:10: state "finer", set.cut_off: no knob "cut_off". Did you mean "cutoff"? [unknown-knob]',
    ),
    (
        "{ cutoff = 256 }",
        "{ Cutoff = 256 }",
        '26:10: state "finer", set.Cutoff: no knob "Cutoff". Did you mean "cutoff"? [unknown-knob]',
    ),
    (
        '"next"',
        '["next"]',
        '35:11: [[transition]] 1, to: found a list; expected a name of letters a-z, digits, - and _, a letter first, at most 64. Write "next". [wrong-type]',
    ),
    (
        '"next"',
        '"up"',
        '35:11: [[transition]] 1, to: no state "up". Known here: coarse, finer, full, next. [unknown-state]',
    ),
    (
        '"next"',
        '"prev"',
        '35:11: [[transition]] 1, to: no state "prev". Known here: coarse, finer, full, next. [unknown-state]',
    ),
    ("2e-4", "-2e-4", "9:10: lr.peak: found -0.0002; expected a number above 0 [out-of-range]"),
    ("2e-4", "0", "9:10: lr.peak: found 0; expected a number above 0 [out-of-range]"),
    ("2e-4", "true", "9:10: lr.peak: found true; expected a number above 0 [wrong-type]"),
    ("0.1", '"10%"', '11:10: lr.floor: found "10%"; expected a number from 0 to 1. Write 0.1. [wrong-type]'),
    ("0.1", "10", "11:10: lr.floor: found 10; expected a number from 0 to 1 [out-of-range]"),
    (
        "{ min_epoch = 2 }",
        '{ any = ["not flat"] }',
        '37:21: [[transition]] 1, guards 1, any 1: found "not flat"; expected a guard such as { min_epoch = 2 }, or the name of a [guard.NAME]. Write { not = "flat" }. [bad-name]',
    ),
    (
        "{ min_epoch = 2 }",
        '"as soon as it is flat"',
        '37:12: [[transition]] 1, guards 1: found "as soon as it is flat"; expected a guard such as { min_epoch = 2 }, or the name of a [guard.NAME] [bad-name]',
    ),
    (
        '"3 epochs"',
        '{ epochs = "many" }',
        '12:10: lr.length: found a table; expected an amount of time such as "500 steps", "3 epochs", "2e9 tokens", "0.3 run" or "rest" [wrong-type]',
    ),
    (
        '[{ min_epoch = 2 }, "flat"]',
        '["flat" or "flat"]',
        '37:19: "or" between two values; expected a comma. Write a comma, and a guard around the list that asks for one of it. [not-toml]',
    ),
    (
        '[{ min_epoch = 2 }, "flat"]',
        '["flat" | "flat"]',
        '37:19: "|" between two values; expected a comma. Write a comma, and a guard around the list that asks for one of it. [not-toml]',
    ),
    (
        "{ min_epoch = 2 }",
        '"dwell = 3 epochs"',
        '37:12: [[transition]] 1, guards 1: found "dwell = 3 epochs"; expected a guard such as { min_epoch = 2 }, or the name of a [guard.NAME]. Write { dwell = "3 epochs" }, without quotation marks around it. [bad-name]',
    ),
    (
        "{ cutoff = 256 }",
        '"cutoff: full"',
        '26:8: state "finer", set: found "cutoff: full"; expected a table, { NAME = … }. Write { cutoff = "full" }. [wrong-type]',
    ),
    (
        '"3 epochs"',
        "{ iterations = 300 }",
        '12:10: lr.length: found a table; expected an amount of time such as "500 steps", "3 epochs", "2e9 tokens", "0.3 run" or "rest". Did you mean "300 steps"? [wrong-type]',
    ),
    ("[run]", "$ [run]", '4:1: "$" at the beginning of a line; expected KEY = value. Delete it. [not-toml]'),
]


@pytest.mark.parametrize(("old", "new", "sentence"), HABITS)
def test_habit(old: str, new: str, sentence: str) -> None:
    """One mistake is answered by one sentence, in its line, and by what to write where that can be known."""
    assert old in MINE
    assert said(MINE.replace(old, new, 1) if old else MINE + new) == [sentence]


def test_texts_of_numbers_in_a_ladder() -> None:
    """Each number in quotation marks is told, with the number to write."""
    sentences = said(MINE.replace('[128, 256, "full"]', '["128", "256", "full"]', 1))
    told = [sentence.partition("Write ")[2].partition(" [")[0] for sentence in sentences]
    assert told == [f"{number}, without quotation marks." for number in (128, 256)]


def test_carriage_returns_alone() -> None:
    """A file with the line ends of old Macs gets one sentence, not one for each of its lines."""
    (sentence,) = said(MINE.replace("\n", "\r"))
    assert sentence.startswith("1:1: line ends that are carriage returns alone, as on old Macs; expected line feeds.")


def test_other_line_ends() -> None:
    """Windows' line ends, and a file that mixes them, are no mistake."""
    assert loads(MINE.replace("\n", "\r\n")) == loads(MINE.replace("\n", "\r\n", 10)) == loads(MINE)


@pytest.mark.parametrize("table", ["knob", "guard"])
def test_only_the_name_is_told(table: str) -> None:
    """[knob] or [guard] without a name is one fault, at its header; what would use the name is none."""
    text = MINE.replace(f"[{table}.", f"[{table}]  # ", 1)
    with pytest.raises(CurriculumError) as refused:
        loads(text)
    (fault,) = refused.value.faults
    assert (fault.code, fault.found) == ("missing-key", f"[{table}] without a name")


def test_scenarios() -> None:
    """A file of scenarios, given as a curriculum, is called that, with the command that carries it out."""
    (sentence,) = said('curriculum = "plateau"\n[[scenario]]\nname = "x"\n')
    assert sentence == (
        "1:1: the file holds scenarios; expected a curriculum. Carry them out: plateau test x.toml [other-format]"
    )
