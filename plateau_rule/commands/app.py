"""The command `plateau`: mounts its commands, and loads one, with what it needs, only when it is called."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from difflib import get_close_matches

from cyclopts import App, CycloptsError, Parameter, UnknownCommandError

# name: its help. It stands here so that `plateau --help` loads no command; commands/NAME.py holds the function NAME.
COMMANDS = {
    "check": "Check a curriculum for every possible loss stream.",
    "explain": "Say what the code of a fault means, and what to do.",
    "fmt": "Lay out curriculum files in one way; comments and meaning stay.",
    "draw": "Draw a curriculum as Mermaid, DOT or SVG.",
    "schema": "Print the JSON Schema of curriculum files, for editors.",
    "replay": "Show logged losses to a curriculum: when would it have raised, and why not earlier?",
    "noise": "Estimate a log's noise, and whether a curriculum can tell a plateau from it.",
    "plot": "Draw runs: losses, states, knobs and rate on one time axis.",
    "simulate": "Put curricula through thousands of synthetic trainings.",
    "tune": "Show which settings of a plateau raise too early how often, and how late.",
    "fit": "Fit the synthetic learner to a log.",
    "test": "Carry out scenario files: does a curriculum do what was expected of it?",
    "train": "Train the byte-level language model under a curriculum, or resume a run.",
}

# What is imported: the extra that brings it.
EXTRAS = {
    "hypothesis": "test",
    "matplotlib": "plot",
    "optuna": "tune",
    "ray": "ray",
    "safetensors": "train",
    "torch": "train",
}


def version() -> str:
    """The installed version; importing importlib.metadata for it would be a tenth of the start-up."""
    from importlib import metadata

    return metadata.version("plateau-rule")


app = App(
    name="plateau",
    help="Write a training curriculum, test it on logged losses, and train under it.",
    help_format="plaintext",  # rich's Markdown alone would be a quarter of the start-up
    version=version,
    default_parameter=Parameter(negative=""),  # no --no-json, no --empty-limit
)
for name, sentence in COMMANDS.items():
    app.command(f"plateau_rule.commands.{name}:{name}", name=name, help=sentence)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0, 2 for a mistake that the user can mend, 130 when interrupted.

    Args:
        arguments: the words after `plateau`; those of the process by default.
    """
    try:
        code = app(arguments, exit_on_error=False, print_error=False, result_action="return_int_as_exit_code_else_zero")
        sys.stdout.flush()
        return int(code)
    except BrokenPipeError:
        # Whoever read our output has seen enough. What is still buffered must not complain when Python exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except Exception as error:
        if (sentence := remedy(error)) is None:
            raise
        if "--json" in (sys.argv[1:] if arguments is None else arguments) and hasattr(error, "fields"):
            print(json.dumps(error.fields(), ensure_ascii=False))  # whoever asked for JSON reads the standard output
        else:
            print(sentence, file=sys.stderr)
        return 2


def remedy(error: Exception) -> str | None:
    """Say to the user what is wrong and what to do; None if the mistake is not the user's but ours."""
    from plateau_rule.controller.errors import PlateauError  # here, so that a command which needs no room loads none

    match error:
        case PlateauError():
            return str(error)
        case UnknownCommandError():
            return unknown_command(error)
        case CycloptsError():
            return f"{error} See: {' '.join(['plateau', *(error.command_chain or ()), '--help'])}"
        case ImportError():
            missing = next((name for name in missing_modules(error) if name in EXTRAS), None)
            extra = missing and EXTRAS[missing]
            return missing and f"This needs {missing}, which is not installed: pip install 'plateau-rule[{extra}]'"
        case OSError(filename=str() | os.PathLike()):
            return f"{error.filename}: {error.strerror}"
    return None


def unknown_command(error: UnknownCommandError) -> str:
    """Say which word is no command, and which are; cyclopts' own sentence would load every room for it."""
    word = (error.unused_tokens or [""])[0]
    near = get_close_matches(word, COMMANDS, n=1)
    guess = f' Did you mean "{near[0]}"?' if near else ""
    return f'Unknown command "{word}".{guess} Commands: {", ".join(COMMANDS)}.'


def missing_modules(error: BaseException | None) -> Iterator[str]:
    """Name the top-level modules whose absence led to `error`."""
    while error is not None:
        if isinstance(error, ModuleNotFoundError) and error.name:
            yield error.name.partition(".")[0]
        error = error.__cause__ or error.__context__


if __name__ == "__main__":
    sys.exit(main())
