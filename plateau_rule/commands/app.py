"""The command `plateau`: mounts its commands, and loads one, with what it needs, only when it is called."""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Sequence
from keyword import iskeyword
from pathlib import Path
from typing import Any, get_args

from cyclopts import App, CoercionError, Parameter, Token, convert
from cyclopts.argument import ArgumentCollection

from plateau_rule.commands.outputs import spare_inputs
from plateau_rule.commands.words import load_named, take_words

# name: its help. It stands here so that `plateau --help` loads no command; commands/NAME.py holds the function NAME.
COMMANDS = {
    "check": "Check a curriculum for every possible loss stream.",
    "diff": "Say what an edit of a curriculum means: for every loss, for your logs, for a run under way.",
    "explain": "Say what the code of a fault means, and what to do.",
    "fmt": "Lay out curriculum files in one way; comments and meaning stay.",
    "import": "Turn the schedule of another trainer into a curriculum: Megatron-LM's arguments, Transformers'.",
    "draw": "Draw a curriculum as Mermaid, DOT or SVG.",
    "schema": "Print the JSON Schema of curriculum files, for editors.",
    "replay": "Show logged losses to a curriculum: when would it have raised, and why not earlier?",
    "noise": "Estimate a log's noise, and whether a curriculum can tell a plateau from it.",
    "plot": "Draw runs: losses, states, knobs and rate on one time axis.",
    "page": "Serve a page of a run: what it did, why, and what another number would have done.",
    "report": "Write the page of a run into one file.",
    "simulate": "Put curricula through thousands of synthetic trainings.",
    "tune": "Show which settings of a plateau raise too early how often, and how late.",
    "fit": "Fit the synthetic learner to a log.",
    "test": "Carry out scenario files: does a curriculum do what was expected of it?",
    "lsp": "Serve an editor: findings while one types, hover, completion.",
    "train": "Train the byte-level language model under a curriculum, or resume a run.",
    "branch": "Begin a run under another curriculum at the steps that it shares with one that was trained.",
    "probe": "Hold each rung of a ladder for a budget: where does the next one get ahead?",
    "compare": "Train under several curricula at one budget: does a difference go beyond the spread over the seeds?",
    "runs": "List runs and their checkpoints, and verify each.",
    "generate": "Let a trained model write on after a prompt.",
    "evaluate": "Score a trained model on a file: bits per byte.",
    "export": "Write a trained model into a folder of its own, as safetensors.",
}


def version() -> str:
    """The installed version; importing importlib.metadata for it would be a tenth of the start-up."""
    from importlib import metadata

    return metadata.version("plateau-rule")


def python_name(command: str) -> str:
    """What the function of a command is called, and its file: as the command, if Python lets it."""
    return f"{command}_" if iskeyword(command) else command


def show_warning(message: Warning | str, *where: object, **more: object) -> None:
    """Print a warning as a sentence; where in our code it comes from is nothing to a user of the command."""
    print(f"warning: {message}", file=sys.stderr)


def converted(kind: Any, tokens: Sequence[Token]) -> Any:
    """Convert words as cyclopts does, but for whole numbers: it would round 3.7 to 4."""
    if int in (kind, *get_args(kind)):
        for token in tokens:
            if not token.value.lstrip("+-").replace("_", "").isdecimal():
                raise CoercionError(token=token, target_type=int)
    return convert(kind, tokens)


def take_config(command: App, names: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Take what the file of `--config` says; what reads it is loaded where there is one."""
    if any("--config" in argument.names and argument.tokens for argument in arguments):
        from plateau_rule.commands.config_file import take_options

        take_options(arguments)


def completed(words: Sequence[str]) -> list[str]:
    """The words of a command, `--resume` with its value: cyclopts would take whatever follows it for that."""
    pairs = zip(words, [*words[1:], ""], strict=False)
    return [f"{word}=true" if word == "--resume" and after != "auto" else word for word, after in pairs]


app = App(
    name="plateau",
    help="Write a training curriculum, test it on logged losses, and train under it.",
    help_epilogue="Any command: --words FILE.py names a file of guards of your own (docs/own-guards.md).",
    help_format="plaintext",  # rich's Markdown alone would be a quarter of the start-up
    version=version,
    default_parameter=Parameter(negative="", converter=converted),  # no --no-json, no --empty-limit
)
for name, sentence in COMMANDS.items():
    # The --out of train and branch is a folder, and import writes TOML: they refuse what is there themselves.
    spare = None if name in ("train", "branch", "import") else spare_inputs
    config = take_config if name == "train" else None
    place = ":".join(2 * [python_name(name)])
    app.command(f"plateau_rule.commands.{place}", name=name, help=sentence, validator=spare, config=config)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0, 2 for a mistake that the user can mend, 130 when interrupted.

    Args:
        arguments: the words after `plateau`; those of the process by default.
    """
    words = completed(sys.argv[1:] if arguments is None else arguments)
    try:
        words, files = take_words(words)
        load_named(files, Path.cwd())
        if words and words[0] in COMMANDS and not {"--help", "-h"}.isdisjoint(words):
            from plateau_rule.commands.examples import epilogue

            app[words[0]].help = None  # a command's own page shows all of its docstring
            app[words[0]].help_epilogue = epilogue(words[0])
        with warnings.catch_warnings():
            warnings.showwarning = show_warning
            code = app(
                completed(words),
                exit_on_error=False,
                print_error=False,
                result_action="return_int_as_exit_code_else_zero",
            )
        if sys.stdout is not None:  # it is None where the shell closed it
            sys.stdout.flush()
        return int(code)
    except BrokenPipeError:
        # Whoever read our output has seen enough. What is still buffered must not complain when Python exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except Exception as error:
        from plateau_rule.commands.mistakes import remedy

        if (sentence := remedy(error, COMMANDS)) is None:
            raise
        if "--json" in words and hasattr(error, "fields"):
            print(json.dumps(error.fields()))  # whoever asked for JSON reads the standard output
        else:
            print(sentence, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
