"""Files mistyped in the ways that people mistype them: the sentence names the mistake, in its line, and nothing else."""

# ruff: noqa: E501  # sentences are given to the letter

from __future__ import annotations

from pathlib import Path

import pytest

from plateau_rule import CurriculumError, loads
from plateau_rule.controller.language.formats import other_format
from plateau_rule.controller.language.reading import shipped
from plateau_rule.controller.language.syntax import syntax_mistake

MINE = """\
format      = 1
name        = "mine"

[run]
epochs          = 50
steps_per_epoch = 1000

[lr]
peak   = 2e-4
shape  = "cosine"
floor  = 0.1
length = "3 epochs"

[knob.cutoff]
ladder = [128, 256, "full"]

[guard.flat]
plateau = { window = 50, threshold = 0.005 }

[[state]]
name = "coarse"
set  = { cutoff = 128 }

[[state]]
name = "finer"
set  = { cutoff = 256 }

[[state]]
name = "full"
set  = { cutoff = "full" }
lr   = { floor = 0.05, length = "rest" }

[[transition]]
from    = "*"
to      = "next"
at      = "epoch"
guards  = [{ min_epoch = 2 }, "flat"]
actions = ["lr_restart"]
"""

# What is mistyped, and how; an addition at the end where nothing is replaced. Then what is said.
MISTYPED = [
    (
        "set  = { cutoff = 256 }",
        "set  = { cutoff = 256",
        '26:8: the brace { is not closed; expected "}". Write } at the end of what it holds: { cutoff = 256 }. [not-toml]',
    ),
    (
        'ladder = [128, 256, "full"]',
        'ladder = [128, 256, "full"',
        '15:10: the bracket [ is not closed; expected "]". Write ] at the end of what it holds: [128, 256, "full"]. [not-toml]',
    ),
    (
        'actions = ["lr_restart"]',
        'actions = ["lr_restart"',
        '38:11: the bracket [ is not closed; expected "]". Write ] at the end of what it holds: ["lr_restart"]. [not-toml]',
    ),
    (
        'guards  = [{ min_epoch = 2 }, "flat"]',
        'guards  = [{ min_epoch = 2 , "flat"]',
        '37:12: the brace { is not closed; expected "}". Write } at the end of what it holds. [not-toml]',
    ),
    (
        'guards  = [{ min_epoch = 2 }, "flat"]',
        'guards  = [{ min_epoch = 2 }, "flat"',
        '37:11: the bracket [ is not closed; expected "]". Write ] at the end of what it holds: [{ min_epoch = 2 }, "flat"]. [not-toml]',
    ),
    (
        "set  = { cutoff = 256 }",
        "set  = cutoff = 256 }",
        '26:8: no brace before "cutoff"; expected "{". Write { cutoff = 256 }. [not-toml]',
    ),
    (
        'ladder = [128, 256, "full"]',
        'ladder = [128, 256, "full"}',
        '15:27: the bracket [ is closed by "}"; expected "]". Write ]. [not-toml]',
    ),
    (
        "threshold = 0.005 }",
        "threshold = 0.005",
        '18:11: the brace { is not closed; expected "}". Write } at the end of what it holds: { window = 50, threshold = 0.005 }. [not-toml]',
    ),
    (
        "[guard.flat]",
        "[guard.flat",
        '17:1: a header with no closing bracket; expected "]". Write [guard.flat]. [not-toml]',
    ),
    ("[[state]]", "[[state]", '20:1: a header with one closing bracket; expected "]]". Write [[state]]. [not-toml]'),
    (
        "[[state]]",
        "[state]]",
        "20:1: a header with a closing bracket too many; expected as many as at its beginning. Write [[state]]. [not-toml]",
    ),
    ("[[state]]", "[state", '20:1: a header with no closing bracket; expected "]". Write [[state]]. [not-toml]'),
    (
        "[knob.cutoff]",
        "[knob cutoff]",
        '14:2: "knob cutoff" in a header; expected names with dots between them. Write [knob.cutoff]. [not-toml]',
    ),
    (
        "[run]",
        "[run] epochs = 3",
        "4:7: a key behind a header; expected the end of the line. Give it a line of its own. [not-toml]",
    ),
    (
        "[run]",
        "[run]:",
        '4:6: ":" after a header; expected the end of the line. Remove it; comments begin with #. [not-toml]',
    ),
    ("[run]", "[run];", "4:6: a semicolon after a header. Remove it. [not-toml]"),
    (
        "[[state]]",
        "[state]",
        "20:1: the header [state] beside [[state]]; expected double brackets for each of them. Write [[state]]. [duplicate-key]",
    ),
    ("", "regress = True\n", "39:11: found True; expected true or false. Write true. [not-toml]"),
    ("", "regress = TRUE\n", "39:11: found TRUE; expected true or false. Write true. [not-toml]"),
    ("", "regress = yes\n", "39:11: found yes; expected true or false. Write true. [not-toml]"),
    (
        "",
        'regress = "True"\n',
        '39:11: [[transition]] 1, regress: found "True"; expected true or false. Write true, in small letters and without quotation marks. [wrong-type]',
    ),
    (
        "",
        "regress = None\n",
        "39:11: found None; expected a value. TOML has no word for nothing: leave the key out. [not-toml]",
    ),
    ("", "regress = tru\n", '39:11: found tru; expected a value. Texts stand in quotation marks: "tru". [not-toml]'),
    ("peak   = 2e-4", "peak: 2e-4", '9:5: ":" after the key "peak"; expected "=". Write peak = 2e-4. [not-toml]'),
    ("peak   = 2e-4", "peak == 2e-4", '9:6: "==" after the key "peak"; expected "=". Write peak = 2e-4. [not-toml]'),
    ("peak   = 2e-4", "peak := 2e-4", '9:6: ":=" after the key "peak"; expected "=". Write peak = 2e-4. [not-toml]'),
    ("peak   = 2e-4", "peak 2e-4", '9:6: no "=" after the key "peak"; expected "=". Write peak = 2e-4. [not-toml]'),
    ("peak   = 2e-4", "peak = = 2e-4", '9:8: a second "="; expected a value. Remove it. [not-toml]'),
    ("peak   = 2e-4", "peak => 2e-4", '9:6: "=>" after the key "peak"; expected "=". Write peak = 2e-4. [not-toml]'),
    (
        "{ cutoff = 256 }",
        "{ cutoff: 256 }",
        '26:16: ":" after the key "cutoff"; expected "=". Write cutoff = 256. [not-toml]',
    ),
    (
        "peak   = 2e-4",
        "peak = 0,0002",
        "9:8: found 0,0002; expected a number with a decimal point. Write 0.0002. [not-toml]",
    ),
    ("peak   = 2e-4", "peak = 1e-4,", "9:12: a comma at the end of the line. Remove it. [not-toml]"),
    (
        "epochs          = 50",
        "epochs = 1,000",
        "5:10: found 1,000; expected a number without a comma. Write 1000, or 1.000 if the comma is the decimal one. [not-toml]",
    ),
    (
        "peak   = 2e-4",
        "peak = 2,5e-4",
        "9:8: found 2,5e-4; expected a number with a decimal point. Write 2.5e-4. [not-toml]",
    ),
    (
        "{ floor = 0.05,",
        "{ floor = 0,05,",
        "31:18: found 0,05; expected a number with a decimal point. Write 0.05. [not-toml]",
    ),
    ("[knob.cutoff]", "[knobs.cutoff]", '14:1: knobs: unknown key "knobs". Did you mean "knob"? [unknown-key]'),
    ("[guard.flat]", "[guards.flat]", '17:1: guards: unknown key "guards". Did you mean "guard"? [unknown-key]'),
    (
        "[[transition]]",
        "[[transitions]]",
        '33:3: transitions: unknown key "transitions". Did you mean "transition"? [unknown-key]',
    ),
    ("[[state]]", "[[states]]", '20:3: states: unknown key "states". Did you mean "state"? [unknown-key]'),
    (
        "{ min_epoch = 2 }",
        '{ dwell = "30% run" }',
        '37:22: [[transition]] 1, guards 1, dwell: found "30% run"; expected an amount of time such as "500 steps", "3 epochs", "2e9 tokens" or "0.3 run". Did you mean "0.3 run"? [bad-amount]',
    ),
    (
        "{ min_epoch = 2 }",
        '{ dwell = "30 % of the run" }',
        '37:22: [[transition]] 1, guards 1, dwell: found "30 % of the run"; expected an amount of time such as "500 steps", "3 epochs", "2e9 tokens" or "0.3 run". Did you mean "0.3 run"? [bad-amount]',
    ),
    (
        "{ min_epoch = 2 }",
        '{ dwell = "30%" }',
        '37:22: [[transition]] 1, guards 1, dwell: found "30%"; expected an amount of time such as "500 steps", "3 epochs", "2e9 tokens" or "0.3 run". Did you mean "0.3 run"? [bad-amount]',
    ),
    (
        "{ min_epoch = 2 }",
        '{ dwell = "0,3 run" }',
        '37:22: [[transition]] 1, guards 1, dwell: found "0,3 run"; expected an amount of time such as "500 steps", "3 epochs", "2e9 tokens" or "0.3 run". Did you mean "0.3 run"? [bad-amount]',
    ),
    (
        "{ min_epoch = 2 }",
        '{ dwell = "1k steps" }',
        '37:22: [[transition]] 1, guards 1, dwell: found "1k steps"; expected an amount of time such as "500 steps", "3 epochs", "2e9 tokens" or "0.3 run". Did you mean "1000 steps"? [bad-amount]',
    ),
    (
        "{ min_epoch = 2 }",
        '{ dwell = "500" }',
        '37:22: [[transition]] 1, guards 1, dwell: found "500"; expected an amount of time such as "500 steps", "3 epochs", "2e9 tokens" or "0.3 run". Say the unit: "500 steps". [bad-amount]',
    ),
    (
        "{ min_epoch = 2 }",
        "{ dwell = 500 }",
        '37:22: [[transition]] 1, guards 1, dwell: found 500; expected an amount of time such as "500 steps", "3 epochs", "2e9 tokens" or "0.3 run". Say the unit: "500 steps". [wrong-type]',
    ),
    (
        "{ min_epoch = 2 }",
        '{ dwell = "3epochs" }',
        '37:22: [[transition]] 1, guards 1, dwell: found "3epochs"; expected an amount of time such as "500 steps", "3 epochs", "2e9 tokens" or "0.3 run". Did you mean "3 epochs"? [bad-amount]',
    ),
    (
        "{ min_epoch = 2 }",
        '{ dwell = "3 Epochs" }',
        '37:22: [[transition]] 1, guards 1, dwell: found "3 Epochs"; expected an amount of time such as "500 steps", "3 epochs", "2e9 tokens" or "0.3 run". Did you mean "3 epochs"? [bad-amount]',
    ),
    (
        "{ min_epoch = 2 }",
        '{ dwell = "5 min" }',
        '37:22: [[transition]] 1, guards 1, dwell: found "5 min"; expected an amount of time such as "500 steps", "3 epochs", "2e9 tokens" or "0.3 run". Units: steps, epochs, tokens, cost, run. [bad-amount]',
    ),
    (
        "{ min_epoch = 2 }",
        '{ dwell = "half the run" }',
        '37:22: [[transition]] 1, guards 1, dwell: found "half the run"; expected an amount of time such as "500 steps", "3 epochs", "2e9 tokens" or "0.3 run" [bad-amount]',
    ),
    ('"3 epochs"', "3 epochs", '12:10: the amount 3 epochs without quotation marks. Write "3 epochs". [not-toml]'),
    (
        "{ min_epoch = 2 }",
        "{ dwell = 500 steps }",
        '37:22: the amount 500 steps without quotation marks. Write "500 steps". [not-toml]',
    ),
    ('"3 epochs"', "3epochs", '12:10: found 3epochs; expected a text. Write "3 epochs". [not-toml]'),
    ('"*"', '"all"', '34:11: [[transition]] 1, from: no state "all". Write from = "*" for all states. [unknown-state]'),
    ('"*"', '"any"', '34:11: [[transition]] 1, from: no state "any". Write from = "*" for all states. [unknown-state]'),
    (
        '"*"',
        '["all"]',
        '34:12: [[transition]] 1, from 1: no state "all". Write from = "*" for all states. [unknown-state]',
    ),
    (
        '"*"',
        '["*"]',
        '34:12: [[transition]] 1, from 1: found "*"; expected a name of letters a-z, digits, - and _, a letter first, at most 64. Alone and not in a list, "*" means all states. [bad-name]',
    ),
    ('"*"', "*", '34:11: found *; expected a value. Texts stand in quotation marks: "*". [not-toml]'),
    (
        '"next"',
        '"all"',
        '35:11: [[transition]] 1, to: no state "all". Known here: coarse, finer, full, next. [unknown-state]',
    ),
    (
        '"*"',
        '"every"',
        '34:11: [[transition]] 1, from: no state "every". Write from = "*" for all states. [unknown-state]',
    ),
    (
        '"*"',
        '"**"',
        '34:11: [[transition]] 1, from: found "**"; expected the name of a state, a list of names, or "*". Alone and not in a list, "*" means all states. [bad-name]',
    ),
    ('"mine"', "“mine”", '2:15: the quotation mark “ (U+201C); expected the plain one, ". Write "mine". [not-toml]'),
    ('"mine"', "‘mine’", '2:15: the quotation mark ‘ (U+2018); expected the plain one, ". Write "mine". [not-toml]'),
    ('"full"]', "“full”]", '15:21: the quotation mark “ (U+201C); expected the plain one, ". Write "full". [not-toml]'),
    ('"mine"', "`mine`", '2:15: the quotation mark ` (U+0060); expected the plain one, ". Write "mine". [not-toml]'),
    ('"mine"', "«mine»", '2:15: the quotation mark « (U+00AB); expected the plain one, ". Write "mine". [not-toml]'),
    (
        '"cosine"',
        "cosine",
        '10:10: found cosine; expected a value. Texts stand in quotation marks: "cosine". [not-toml]',
    ),
    (
        'name        = "mine"',
        "name = my first run",
        '2:8: found my first run; expected a value. Texts stand in quotation marks: "my first run". [not-toml]',
    ),
    ('"full"]', "full]", '15:21: found full; expected a value. Texts stand in quotation marks: "full". [not-toml]'),
    (
        '{ cutoff = "full" }',
        "{ cutoff = full }",
        '30:19: found full; expected a value. Texts stand in quotation marks: "full". [not-toml]',
    ),
    ('"mine"', '"mine', '2:15: the text is not closed; expected " at its end. Write "mine". [not-toml]'),
    ('"mine"', 'mine"', '2:15: a text without a quotation mark at its beginning; expected ". Write "mine". [not-toml]'),
    ('"full"]', '"full]', '15:21: the text is not closed; expected " at its end. Write "full". [not-toml]'),
    (
        '["lr_restart"]',
        '["lr_restart]',
        '38:12: the text is not closed; expected " at its end. Write "lr_restart". [not-toml]',
    ),
    (
        '"mine"',
        "\"mine'",
        '2:15: the text begins with " and ends with \'; expected the same mark at both ends, ". Write "mine". [not-toml]',
    ),
    (
        '{ cutoff = "full" }',
        '{ cutoff = "full }',
        '30:19: the text is not closed; expected " at its end. Write "full". [not-toml]',
    ),
    (
        '"mine"',
        '"""mine',
        '2:15: the text after """ is not closed; expected """ at its end. In one line, write "mine". [not-toml]',
    ),
    ("peak   = 2e-4", "peak = 2e-4;", "9:12: a semicolon at the end of the line. Remove it. [not-toml]"),
    (
        "epochs          = 50",
        "epochs = 50; steps_per_epoch = 3",
        "5:12: a second key in the line; expected one key a line. Give it a line of its own. [not-toml]",
    ),
    ("[128, 256,", "[128; 256;", "15:14: a semicolon between two values; expected a comma. Write a comma. [not-toml]"),
    (
        "peak   = 2e-4",
        "peak\xa0= 2e-4",
        "9:5: the blank U+00A0, which is none to TOML; expected a plain blank. Delete it and press the space bar. [not-toml]",
    ),
    (
        "peak   = 2e-4",
        "peak   = 2e-4 // the peak",
        '9:15: a comment with "//"; expected "#". Write # the peak. [not-toml]',
    ),
    ("peak   = 2e-4", "peak   = 2e-4 -- peak", '9:15: a comment with "--"; expected "#". Write # peak. [not-toml]'),
    (
        "peak   = 2e-4",
        "peak   = 2e-4// the peak",
        '9:14: a comment with "//"; expected "#". Write # the peak. [not-toml]',
    ),
    (
        "peak   = 2e-4",
        "peak   = 2e-4 as in the paper",
        '9:15: "as in the paper" after the value; expected the end of the line. Remove it; comments begin with #. [not-toml]',
    ),
    (
        '"cosine"',
        '"cosine" here',
        '10:19: "here" after the value; expected the end of the line. Remove it; comments begin with #. [not-toml]',
    ),
    (
        "epochs          = 50",
        "epochs = 50 steps_per_epoch = 1000",
        "5:13: a second key in the line; expected one key a line. Give it a line of its own. [not-toml]",
    ),
    (
        "epochs          = 50",
        "epochs = 50, steps_per_epoch = 1000",
        "5:12: a second key in the line; expected one key a line. Give it a line of its own. [not-toml]",
    ),
    (
        "[128, 256",
        "[128 256",
        '15:15: no comma before 256; expected a comma or "]". Write a comma between the two. [not-toml]',
    ),
    (
        "{ window = 50, threshold",
        "{ window = 50 threshold",
        '18:25: no comma before threshold; expected a comma or "}". Write a comma between the two. [not-toml]',
    ),
    (
        '}, "flat"',
        '} "flat"',
        '37:30: no comma before "flat"; expected a comma or "]". Write a comma between the two. [not-toml]',
    ),
    (
        '[128, 256, "full"]',
        '(128, 256, "full")',
        '15:10: a list in "( )"; expected "[ ]". Write [128, 256, "full"]. [not-toml]',
    ),
    (
        "{ cutoff = 256 }",
        "{ cutoff = 256, }",
        '26:22: a comma before "}"; expected no comma behind the last key. Remove the comma. [not-toml]',
    ),
    (
        "{ window = 50, threshold = 0.005 }",
        "{\n window = 50,\n threshold = 0.005\n}",
        '18:12: a table in braces that goes on in the next line; expected "}" in the same line. Write it in one line, or give it a header of its own. [not-toml]',
    ),
    (
        "steps_per_epoch =",
        "steps per epoch =",
        '6:1: "steps per epoch" as a key; expected a key without blanks. Write steps_per_epoch = … [not-toml]',
    ),
    (
        "steps_per_epoch",
        "steps-per-epoch",
        '6:1: run: unknown key "steps-per-epoch". Did you mean "steps_per_epoch"? [unknown-key]',
    ),
    ("0.1", ".1", "11:10: found .1; expected a digit before the point. Write 0.1. [not-toml]"),
    ("0.1", "1.", "11:10: found 1.; expected a digit after the point. Write 1.0. [not-toml]"),
    ("2e-4", "2e−4", "9:10: found 2e−4; expected a number with a plain minus sign. Write 2e-4. [not-toml]"),
    ("2e-4", "10^-4", "9:10: found 10^-4; expected a number. Write 1e-4. [not-toml]"),
    ("0.1", "10%", "11:10: found 10%; expected a number. Write 0.1. [not-toml]"),
    ("0.1", "1/3", "11:10: found 1/3; expected a number. Write 0.333333. [not-toml]"),
    ("= 50", "= 050", "5:19: found 050; expected a number without zeros in front. Write 50. [not-toml]"),
    ("1000", "1k", "6:19: found 1k; expected a number. Write 1000. [not-toml]"),
    ("2e-4", "2*10^-4", "9:10: found 2*10^-4; expected a number. Write 2e-4. [not-toml]"),
    ("2e-4", "2e-4f", "9:10: found 2e-4f; expected a number. Write 2e-4. [not-toml]"),
    ("1000", "50 * 20", "6:22: a calculation; expected a number. Write its result. [not-toml]"),
    (
        '"mine"',
        '"C:\\data"',
        "2:18: a backslash in a text; expected a letter that it stands with, such as \\n. Write 'C:\\data', in single marks, or \\\\ for it. [not-toml]",
    ),
    ("peak   = 2e-4", "peak", '9:1: "peak" without a value; expected KEY = value. Write peak = … [not-toml]'),
    (
        "peak   = 2e-4",
        "peak =",
        '9:7: nothing after "="; expected a number, true, false, or a text in quotation marks [not-toml]',
    ),
    ("peak   = 2e-4", "= 2e-4", '9:1: nothing before "="; expected a key. Write NAME = value. [not-toml]'),
    (
        '["lr_restart"]',
        '["lr_restart"]]',
        '38:25: a "]" too many; expected the end of the line. Remove it, or write what opens it. [not-toml]',
    ),
    (
        "{ cutoff = 256 }",
        "{ cutoff = 256 }}",
        '26:24: a "}" too many; expected the end of the line. Remove it, or write what opens it. [not-toml]',
    ),
    (
        "name",
        "\u200bname",
        "2:1: the character U+200B, which does not show; expected characters that can be seen, blanks and line ends [hidden-character]",
    ),
    (
        "peak   = 2e-4",
        "peak   = 2e-4\npeak = 1",
        '10:1: the key "peak" a second time; expected each key of a table once [duplicate-key]',
    ),
    ("", "[lr]\npeak=1\n", '39:2: the key "lr" a second time; expected each key of a table once [duplicate-key]'),
    (
        "peak   = 2e-4",
        "- peak = 3",
        '9:1: a line that begins with "-", as in YAML; expected KEY = value. Lists have brackets: [ … ]. [not-toml]',
    ),
    (
        'ladder = [128, 256, "full"]',
        'ladder = [\n  128,\n  256,\n  "full",',
        '15:10: the bracket [ is not closed; expected "]". Write ] at the end of what it holds. [not-toml]',
    ),
    (
        'ladder = [128, 256, "full"]',
        'ladder = [128, 256, "full"  # bins',
        '15:10: the bracket [ is not closed; expected "]". Write ] at the end of what it holds: [128, 256, "full"]. [not-toml]',
    ),
    (
        "set  = { cutoff = 256 }",
        "set  = { cutoff = 256  # bins",
        '26:8: the brace { is not closed; expected "}". Write } at the end of what it holds: { cutoff = 256 }. [not-toml]',
    ),
    (
        'guards  = [{ min_epoch = 2 }, "flat"]',
        'guards  = [\n  { min_epoch = 2 },\n  "flat",\n',
        '37:11: the bracket [ is not closed; expected "]". Write ] at the end of what it holds. [not-toml]',
    ),
    (
        'guards  = [{ min_epoch = 2 }, "flat"]',
        'guards  = [{ any = [{ min_epoch = 2 }, "flat" }]',
        '37:20: the bracket [ is not closed; expected "]". Write ] at the end of what it holds. [not-toml]',
    ),
    (
        "",
        "x = { a = 1",
        '39:5: the brace { is not closed; expected "}". Write } at the end of what it holds: { a = 1 }. [not-toml]',
    ),
    (
        'guards  = [{ min_epoch = 2 }, "flat"]',
        'guards  = [\n  { min_epoch = 2,\n  "flat",\n]',
        '38:3: the brace { is not closed; expected "}". Write } at the end of what it holds: { min_epoch = 2 }. [not-toml]',
    ),
    (
        'lr   = { floor = 0.05, length = "rest" }',
        'lr   = { floor = 0.05, length = "rest"',
        '31:8: the brace { is not closed; expected "}". Write } at the end of what it holds: { floor = 0.05, length = "rest" }. [not-toml]',
    ),
    (
        "[knob.cutoff]",
        "[knob.cutoff",
        '14:1: a header with no closing bracket; expected "]". Write [knob.cutoff]. [not-toml]',
    ),
    (
        "[knob.cutoff]",
        "[knob.]",
        "14:7: nothing after a dot; expected a name. Remove the dot, or write the name that follows. [not-toml]",
    ),
    (
        "[knob.cutoff]",
        "[knob..cutoff]",
        "14:7: nothing after a dot; expected a name. Remove the dot, or write the name that follows. [not-toml]",
    ),
    (
        "[run]",
        "(run)",
        '4:1: "(" where a key should be; expected a key. Headers have one bracket or two: [run], [[state]]. [not-toml]',
    ),
    (
        "[run]",
        "{run}",
        '4:1: "{" where a key should be; expected a key. Tables have a key, NAME = { … }, or a header, [NAME]. [not-toml]',
    ),
    ("[run]", "[“run”]", '4:2: the quotation mark “ (U+201C); expected the plain one, ". Write "run". [not-toml]'),
    ("[run]", "run]", '4:1: a header without its opening bracket; expected "[". Write [run]. [not-toml]'),
    (
        "[[state]]",
        "[ [state] ]",
        '20:3: "[" where a name should be; expected a name. Headers have one bracket or two: [run], [[state]]. [not-toml]',
    ),
    (
        "[[state]]",
        "[[[state]]]",
        '20:3: "[" where a name should be; expected a name. Headers have one bracket or two: [run], [[state]]. [not-toml]',
    ),
    (
        "",
        'regress = "yes"\n',
        '39:11: [[transition]] 1, regress: found "yes"; expected true or false. Write true. [wrong-type]',
    ),
    ('["lr_restart"]', "[True]", "38:12: found True; expected true or false. Write true. [not-toml]"),
    ("", "regress = False\n", "39:11: found False; expected true or false. Write false. [not-toml]"),
    ("", "regress = true,\n", "39:15: a comma at the end of the line. Remove it. [not-toml]"),
    ("", "regress = true;\n", "39:15: a semicolon at the end of the line. Remove it. [not-toml]"),
    ("", "regress = 1\n", "39:11: [[transition]] 1, regress: found 1; expected true or false [wrong-type]"),
    (
        'name        = "mine"',
        'name: "mine"',
        '2:5: ":" after the key "name"; expected "=". Write name = "mine". [not-toml]',
    ),
    (
        "ladder = [128",
        "ladder: [128",
        '15:7: ":" after the key "ladder"; expected "=". Write ladder = [128, 256, "full"]. [not-toml]',
    ),
    (
        "set  = { cutoff = 256 }",
        "set: { cutoff = 256 }",
        '26:4: ":" after the key "set"; expected "=". Write set = { cutoff = 256 }. [not-toml]',
    ),
    (
        "{ window = 50,",
        "{ window: 50,",
        '18:19: ":" after the key "window"; expected "=". Write window = 50. [not-toml]',
    ),
    (
        "{ window = 50,",
        '{ "window": 50,',
        '18:21: ":" after the key ""window""; expected "=". Write "window" = 50. [not-toml]',
    ),
    (
        "1000",
        "1,000",
        "6:19: found 1,000; expected a number without a comma. Write 1000, or 1.000 if the comma is the decimal one. [not-toml]",
    ),
    ("2e-4", "1.000,5", "9:10: found 1.000,5; expected a number with a decimal point [not-toml]"),
    ("0.1", "0,1", "11:10: found 0,1; expected a number with a decimal point. Write 0.1. [not-toml]"),
    ("0.005", "0,005", "18:38: found 0,005; expected a number with a decimal point. Write 0.005. [not-toml]"),
    (
        '[128, 256, "full"]',
        '128, 256, "full"',
        "15:13: a comma after the value; expected the end of the line. Lists have brackets: [ … ]. [not-toml]",
    ),
    (
        "{ min_epoch = 2 }",
        "{ min_epoch = 2,5 }",
        "37:26: found 2,5; expected a number with a decimal point. Write 2.5. [not-toml]",
    ),
    ("2e-4", "-0,5", "9:10: found -0,5; expected a number with a decimal point. Write -0.5. [not-toml]"),
    ("2e-4", "1e-4,  # peak", "9:14: a comma at the end of the line. Remove it. [not-toml]"),
    ('"cosine"', '"cosine",', "10:18: a comma at the end of the line. Remove it. [not-toml]"),
    ("{ cutoff = 256 }", "{ cutoff = 256 },", "26:24: a comma at the end of the line. Remove it. [not-toml]"),
    ('["lr_restart"]', '["lr_restart"],', "38:25: a comma at the end of the line. Remove it. [not-toml]"),
    ("[knob.cutoff]", "[Knob.cutoff]", '14:1: Knob: unknown key "Knob". Did you mean "knob"? [unknown-key]'),
    ("[knob.cutoff]", "[konb.cutoff]", '14:1: konb: unknown key "konb". Did you mean "knob"? [unknown-key]'),
    ("[run]", "[runs]", '4:1: runs: unknown key "runs". Did you mean "run"? [unknown-key]'),
    ("[lr]", "[LR]", '8:1: LR: unknown key "LR". Did you mean "lr"? [unknown-key]'),
    ("[knob.cutoff]", "[cutoff]", '14:1: cutoff: unknown key "cutoff". Write [knob.cutoff]. [unknown-key]'),
    (
        "{ min_epoch = 2 }",
        '{ dwell = "30 percent" }',
        '37:22: [[transition]] 1, guards 1, dwell: found "30 percent"; expected an amount of time such as "500 steps", "3 epochs", "2e9 tokens" or "0.3 run". Did you mean "0.3 run"? [bad-amount]',
    ),
    (
        "{ min_epoch = 2 }",
        '{ dwell = "30% of run" }',
        '37:22: [[transition]] 1, guards 1, dwell: found "30% of run"; expected an amount of time such as "500 steps", "3 epochs", "2e9 tokens" or "0.3 run". Did you mean "0.3 run"? [bad-amount]',
    ),
    (
        "{ min_epoch = 2 }",
        '{ dwell = ".3 run" }',
        '37:22: [[transition]] 1, guards 1, dwell: found ".3 run"; expected an amount of time such as "500 steps", "3 epochs", "2e9 tokens" or "0.3 run". Did you mean "0.3 run"? [bad-amount]',
    ),
    (
        "{ min_epoch = 2 }",
        '{ dwell = "130% run" }',
        '37:22: [[transition]] 1, guards 1, dwell: found "130% run"; expected an amount of time such as "500 steps", "3 epochs", "2e9 tokens" or "0.3 run". A share of the run is at most 1. [bad-amount]',
    ),
    (
        "{ min_epoch = 2 }",
        '{ dwell = "30 run" }',
        '37:22: [[transition]] 1, guards 1, dwell: found "30 run"; expected an amount of time such as "500 steps", "3 epochs", "2e9 tokens" or "0.3 run". A share of the run is at most 1. Did you mean "0.3 run"? [bad-amount]',
    ),
    (
        "{ min_epoch = 2 }",
        '{ dwell = "1,000 steps" }',
        '37:22: [[transition]] 1, guards 1, dwell: found "1,000 steps"; expected an amount of time such as "500 steps", "3 epochs", "2e9 tokens" or "0.3 run". Did you mean "1000 steps"? [bad-amount]',
    ),
    (
        "{ min_epoch = 2 }",
        '{ dwell = "1.5k steps" }',
        '37:22: [[transition]] 1, guards 1, dwell: found "1.5k steps"; expected an amount of time such as "500 steps", "3 epochs", "2e9 tokens" or "0.3 run". Did you mean "1500 steps"? [bad-amount]',
    ),
    (
        "{ min_epoch = 2 }",
        '{ dwell = "steps 500" }',
        '37:22: [[transition]] 1, guards 1, dwell: found "steps 500"; expected an amount of time such as "500 steps", "3 epochs", "2e9 tokens" or "0.3 run" [bad-amount]',
    ),
    (
        "{ min_epoch = 2 }",
        '{ dwell = "3 epochs." }',
        '37:22: [[transition]] 1, guards 1, dwell: found "3 epochs."; expected an amount of time such as "500 steps", "3 epochs", "2e9 tokens" or "0.3 run". Did you mean "3 epochs"? [bad-amount]',
    ),
    (
        '"3 epochs"',
        '"rest of the run"',
        '12:10: lr.length: found "rest of the run"; expected an amount of time such as "500 steps", "3 epochs", "2e9 tokens", "0.3 run" or "rest". Did you mean "rest"? [bad-amount]',
    ),
    (
        '"3 epochs"',
        '"Rest"',
        '12:10: lr.length: found "Rest"; expected an amount of time such as "500 steps", "3 epochs", "2e9 tokens", "0.3 run" or "rest". Did you mean "rest"? [bad-amount]',
    ),
    (
        "{ min_epoch = 2 }",
        '{ dwell = "1/3 run" }',
        '37:22: [[transition]] 1, guards 1, dwell: found "1/3 run"; expected an amount of time such as "500 steps", "3 epochs", "2e9 tokens" or "0.3 run". Did you mean "0.333333 run"? [bad-amount]',
    ),
    (
        "{ min_epoch = 2 }",
        '{ dwell = "three epochs" }',
        '37:22: [[transition]] 1, guards 1, dwell: found "three epochs"; expected an amount of time such as "500 steps", "3 epochs", "2e9 tokens" or "0.3 run" [bad-amount]',
    ),
    (
        "{ min_epoch = 2 }",
        '{ dwell = "2B tokens" }',
        '37:22: [[transition]] 1, guards 1, dwell: found "2B tokens"; expected an amount of time such as "500 steps", "3 epochs", "2e9 tokens" or "0.3 run". Did you mean "2000000000 tokens"? [bad-amount]',
    ),
    (
        "{ min_epoch = 2 }",
        '{ dwell = "3  epochs" }',
        '37:22: [[transition]] 1, guards 1, dwell: found "3  epochs"; expected an amount of time such as "500 steps", "3 epochs", "2e9 tokens" or "0.3 run". Did you mean "3 epochs"? [bad-amount]',
    ),
    (
        "{ min_epoch = 2 }",
        "{ dwell = 0.3 }",
        '37:22: [[transition]] 1, guards 1, dwell: found 0.3; expected an amount of time such as "500 steps", "3 epochs", "2e9 tokens" or "0.3 run". Say the unit: "0.3 run". [wrong-type]',
    ),
    ("{ min_epoch = 2 }", "{ dwell = 30% }", "37:22: found 30%; expected a number. Write 0.3. [not-toml]"),
    (
        "{ min_epoch = 2 }",
        "{ dwell = 30% run }",
        '37:22: the amount 30% run without quotation marks. Write "0.3 run". [not-toml]',
    ),
    ('"*"', '"All"', '34:11: [[transition]] 1, from: no state "All". Write from = "*" for all states. [unknown-state]'),
    (
        '"*"',
        '"all states"',
        '34:11: [[transition]] 1, from: found "all states"; expected the name of a state, a list of names, or "*" [bad-name]',
    ),
    ('"*"', "[*]", '34:12: found *; expected a value. Texts stand in quotation marks: "*". [not-toml]'),
    ('"*"', "all", '34:11: found all; expected a value. Texts stand in quotation marks: "all". [not-toml]'),
    (
        '"*"',
        '["coarse", "*"]',
        '34:22: [[transition]] 1, from 2: found "*"; expected a name of letters a-z, digits, - and _, a letter first, at most 64. Alone and not in a list, "*" means all states. [bad-name]',
    ),
    (
        '"*"',
        '"_"',
        '34:11: [[transition]] 1, from: found "_"; expected the name of a state, a list of names, or "*" [bad-name]',
    ),
    (
        '"*"',
        '"none"',
        '34:11: [[transition]] 1, from: no state "none". Known here: coarse, finer, full. [unknown-state]',
    ),
    (
        '"cosine"',
        "”cosine”",
        '10:10: the quotation mark ” (U+201D); expected the plain one, ". Write "cosine". [not-toml]',
    ),
    (
        '"cosine"',
        "’cosine’",
        '10:10: the quotation mark ’ (U+2019); expected the plain one, ". Write "cosine". [not-toml]',
    ),
    (
        "name        =",
        "“name” =",
        '2:1: the quotation mark “ (U+201C); expected the plain one, ". Write "name". [not-toml]',
    ),
    (
        '{ cutoff = "full" }',
        "{ cutoff = “full” }",
        '30:19: the quotation mark “ (U+201C); expected the plain one, ". Write "full". [not-toml]',
    ),
    (
        '"cosine"',
        '"cosine”',
        '10:10: the text begins with " and ends with ”; expected the same mark at both ends, ". Write "cosine". [not-toml]',
    ),
    (
        '"cosine"',
        "″cosine″",
        '10:10: the quotation mark ″ (U+2033); expected the plain one, ". Write "cosine". [not-toml]',
    ),
    (
        '"mine"',
        '"mi\tne"',
        '2:15: name: found "mi\tne"; expected a name of letters a-z, digits, - and _, a letter first, at most 64 [bad-name]',
    ),
    ('"cosine"', '"cosine" // shape', '10:19: a comment with "//"; expected "#". Write # shape. [not-toml]'),
    ("peak   = 2e-4", "peak   = 2e-4 /* peak */", '9:15: a comment with "/*"; expected "#". Write # peak. [not-toml]'),
    ("peak   = 2e-4", "peak   = 2e-4 % peak", '9:15: a comment with "%"; expected "#". Write # peak. [not-toml]'),
    ("", "EOF\n", '39:1: "EOF" without a value; expected KEY = value. Write EOF = … [not-toml]'),
    (
        "peak   = 2e-4",
        "peak   = 2e-4)",
        '9:14: a ")" too many; expected the end of the line. Remove it, or write what opens it. [not-toml]',
    ),
    (
        "peak   = 2e-4",
        'peak   = 2e-4 "x"',
        '9:15: ""x"" after the value; expected the end of the line. Remove it; comments begin with #. [not-toml]',
    ),
    (
        "",
        "x = null\n",
        "39:5: found null; expected a value. TOML has no word for nothing: leave the key out. [not-toml]",
    ),
    ("peak   = 2e-4", "peak ＝ 2e-4", '9:6: "＝" after the key "peak"; expected "=". Write peak = 2e-4. [not-toml]'),
    ("[128, 256", "[128， 256", "15:11: found 128，; expected plain characters. Write 128,. [not-toml]"),
    ("= 50", "= ５０", "5:19: found ５０; expected plain characters. Write 50. [not-toml]"),
    (
        "{ floor = 0.05, length",
        "{ floor = 0.05; length",
        "31:22: a semicolon between two values; expected a comma. Write a comma. [not-toml]",
    ),
    ("[128, 256,", "[128. 256.", "15:11: found 128.; expected a digit after the point. Write 128.0. [not-toml]"),
    ("epochs          =", "Epochs =", '5:1: run: unknown key "Epochs". Did you mean "epochs"? [unknown-key]'),
    (
        "{ cutoff = 256 }",
        "{ cutoff == 256 }",
        '26:17: "==" after the key "cutoff"; expected "=". Write cutoff = 256. [not-toml]',
    ),
    ("peak   = 2e-4", "peak === 2e-4", '9:6: "===" after the key "peak"; expected "=". Write peak = 2e-4. [not-toml]'),
    ("", "]\n", '39:1: a "]" too many; expected a key. Remove it, or write what opens it. [not-toml]'),
    ("", "}\n", '39:1: a "}" too many; expected a key. Remove it, or write what opens it. [not-toml]'),
]
ADDED_IN_FRONT = [
    ("// my curriculum\n", '1:1: a comment with "//"; expected "#". Write # my curriculum. [not-toml]'),
    ("/* mine */\n", '1:1: a comment with "/*"; expected "#". Write # mine. [not-toml]'),
    ("; mine\n", '1:1: a comment with ";"; expected "#". Write # mine. [not-toml]'),
    ("```toml\n", "1:1: a fence of Markdown; expected TOML alone. Delete the line. [not-toml]"),
    (
        "<<<<<<< HEAD\n",
        "1:1: a conflict that git left in the file; expected one of its two versions. Keep one of the two versions, and delete the marks. [not-toml]",
    ),
]
WHOLE_FILES = [
    (
        "name: mine\nrun:\n  epochs: 50\n",
        "1:1: the file is YAML; expected TOML. See what one looks like: plateau fmt plateau --print [other-format]",
    ),
    (
        "---\nname: mine\n",
        "1:1: the file is YAML; expected TOML. See what one looks like: plateau fmt plateau --print [other-format]",
    ),
    (
        "states:\n- name: a\n- name: b\n",
        "1:1: the file is YAML; expected TOML. See what one looks like: plateau fmt plateau --print [other-format]",
    ),
    (
        '{\n "name": "mine"\n}\n',
        "1:1: the file is JSON; expected TOML. See what one looks like: plateau fmt plateau --print [other-format]",
    ),
    (
        '[\n {"name": "a"}]',
        "1:1: the file is JSON; expected TOML. See what one looks like: plateau fmt plateau --print [other-format]",
    ),
    (
        "import torch\nx = 1\n",
        "1:1: the file is Python; expected TOML. See what one looks like: plateau fmt plateau --print [other-format]",
    ),
    (
        'curriculum = {\n    "name": "mine",\n}\n',
        "1:1: the file is Python; expected TOML. See what one looks like: plateau fmt plateau --print [other-format]",
    ),
    (
        'name = "x"\nlr = dict(peak=1e-3)\n',
        "2:1: the file is Python; expected TOML. See what one looks like: plateau fmt plateau --print [other-format]",
    ),
    (
        "<!DOCTYPE html>\n<html>",
        "1:1: the file is XML or HTML; expected TOML. See what one looks like: plateau fmt plateau --print [other-format]",
    ),
    (
        "",
        "1:1: an empty file; expected a curriculum: a name, [lr] and [[state]]. Begin with a shipped one: plateau fmt plateau --print [empty-file]",
    ),
    (
        "# hi\n",
        "1:1: a file with nothing but comments; expected a curriculum: a name, [lr] and [[state]]. Begin with a shipped one: plateau fmt plateau --print [empty-file]",
    ),
    (
        "\n\n",
        "1:1: an empty file; expected a curriculum: a name, [lr] and [[state]]. Begin with a shipped one: plateau fmt plateau --print [empty-file]",
    ),
    (
        "# mine\nname: mine\n\nstate:\n  - name: coarse\n    set:\n      cutoff: 128\n",
        "2:1: the file is YAML; expected TOML. See what one looks like: plateau fmt plateau --print [other-format]",
    ),
    (
        '"name": "mine"\n"lr": {peak: 1}\n',
        "1:1: the file is YAML; expected TOML. See what one looks like: plateau fmt plateau --print [other-format]",
    ),
    ("name: mine\n", '1:5: ":" after the key "name"; expected "=". Write name = mine. [not-toml]'),
    (
        '{"name": "mine", "lr": {"peak": 1e-3}}',
        "1:1: the file is JSON; expected TOML. See what one looks like: plateau fmt plateau --print [other-format]",
    ),
    (
        '# hi\n{"name": 1}',
        "2:1: the file is JSON; expected TOML. See what one looks like: plateau fmt plateau --print [other-format]",
    ),
    (
        '{"step": 1, "loss": 3}\n{"step": 2, "loss": 2}\n',
        "1:1: the file is JSON; expected TOML. To show a log to a curriculum: plateau replay CURRICULUM x.toml"
        " [other-format]",
    ),
    (
        "step,loss\n1,3.0\n2,2.9\n",
        "1:1: the file is CSV; expected TOML. To show a log to a curriculum: plateau replay CURRICULUM x.toml"
        " [other-format]",
    ),
    (
        "[run]\nepochs = 50\nshape = cosine\n",
        '3:9: found cosine; expected a value. Texts stand in quotation marks: "cosine". [not-toml]',
    ),
    (
        "from dataclasses import dataclass\n\n@dataclass\nclass A:\n    x: int = 1\n",
        "1:1: the file is Python; expected TOML. See what one looks like: plateau fmt plateau --print [other-format]",
    ),
    (
        "epochs = 50\nlr = dict(\n  peak=1e-3,\n)\n",
        "2:1: the file is Python; expected TOML. See what one looks like: plateau fmt plateau --print [other-format]",
    ),
    (
        'config = {\n  "lr": {"peak": 1e-3},\n}\n',
        "1:1: the file is Python; expected TOML. See what one looks like: plateau fmt plateau --print [other-format]",
    ),
    ("betas = (0.9, 0.95)\n", '1:9: a list in "( )"; expected "[ ]". Write [0.9, 0.95]. [not-toml]'),
    ("# Title\n\nSome text.\n", '3:1: "Some text."; expected KEY = value. Comments begin with #. [not-toml]'),
    (
        "#!/bin/bash\nplateau train x\n",
        '2:1: "plateau train x"; expected KEY = value. Comments begin with #. [not-toml]',
    ),
    (
        '<?xml version="1.0"?>\n<a/>',
        "1:1: the file is XML or HTML; expected TOML. See what one looks like: plateau fmt plateau --print [other-format]",
    ),
    (
        "   \n\t\n",
        "1:1: an empty file; expected a curriculum: a name, [lr] and [[state]]. Begin with a shipped one: plateau fmt plateau --print [empty-file]",
    ),
    (
        '{\n  name: "mine",\n}\n',
        "1:1: the file is JSON; expected TOML. See what one looks like: plateau fmt plateau --print [other-format]",
    ),
]


def said(content: bytes | str) -> list[str]:
    """The sentences by which a file is refused, without the lines that they show."""
    with pytest.raises(CurriculumError) as caught:
        loads(content, "x.toml")
    return [str(fault).split("\n")[0].removeprefix("x.toml:") for fault in caught.value.faults]


def test_sound() -> None:
    """The file that is mistyped below is sound itself."""
    assert loads(MINE).name == "mine"


@pytest.mark.parametrize(("old", "new", "sentence"), MISTYPED)
def test_mistyped(old: str, new: str, sentence: str) -> None:
    """One mistake is answered by one sentence, which names it and says what to write."""
    assert old in MINE
    assert said(MINE.replace(old, new, 1) if old else MINE + new) == [sentence]


@pytest.mark.parametrize(("front", "sentence"), ADDED_IN_FRONT)
def test_added_in_front(front: str, sentence: str) -> None:
    """What stands before the first key, and is no comment, is named."""
    assert said(front + MINE) == [sentence]


@pytest.mark.parametrize(("text", "sentence"), WHOLE_FILES)
def test_other_files(text: str, sentence: str) -> None:
    """A file that is empty, or YAML, JSON, Python or HTML, is called what it is."""
    assert said(text) == [sentence]


@pytest.mark.parametrize(
    ("plural", "single"), [("knobs", "knob"), ("states", "state"), ("guards", "guard"), ("transitions", "transition")]
)
def test_plural_headers(plural: str, single: str) -> None:
    """A table under a misspelt header is one fault, in the line of the first such header; what uses it is none."""
    text = MINE.replace(f"[{single}", f"[{plural}")
    line = next(number for number, written in enumerate(text.split("\n"), 1) if f"[{plural}" in written)
    (sentence,) = said(text)
    assert sentence.startswith(f"{line}:")
    assert sentence.endswith(f'{plural}: unknown key "{plural}". Did you mean "{single}"? [unknown-key]')


@pytest.mark.parametrize("codec", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_utf_16(codec: str) -> None:
    """A file in UTF-16, with a byte order mark or without one, is called that."""
    (sentence,) = said(MINE.encode(codec))
    assert sentence.startswith(f"1:1: the file is UTF-{codec[4:6]}; expected UTF-8. In an editor: save")


def test_byte_order_mark() -> None:
    """A byte order mark before UTF-8 is no mistake, and neither are tabs."""
    assert loads(b"\xef\xbb\xbf" + MINE.encode()) == loads(MINE.replace(" = ", "\t=\t")) == loads(MINE)


SOUND = [*shipped().values(), *(Path(__file__).parents[2] / "machines" / "good").glob("*.toml")]


@pytest.mark.parametrize("file", SOUND, ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_nothing_in_sound_files(file: Path) -> None:
    """The reader that names mistakes has no name for anything in a sound file."""
    text = file.read_text(encoding="utf-8")
    assert syntax_mistake(text, file.name) is None
    assert other_format(text, file.name) is None


def test_all_of_toml() -> None:
    """Nor for what TOML has and curricula rarely use: all kinds of numbers, texts, dates, keys and lists."""
    text = (
        """
a.'b c'."d" = 0xFF
e = [ 1_000, +1.5e-3, -inf, nan, 0o17, 0b1, # a comment, with 'marks
  1979-05-27T07:32:00Z, 1979-05-27 07:32:00, 07:32:00.5,
  [ "a\\tb\\u00e9", 'C:\\x', """
        + '"""x "y" z"""'
        + """, ], { x = { y = true }, "z" = [] },
]
[ x . "y.z" ] # a header
[[state]]
f = """
        + "'''\nfirst = line\n[second]\n'''"
        + """
g = {}
-1 = false
"""
    )
    assert syntax_mistake(text, "x.toml") is None
