"""The command `plateau`: mounts the rooms' commands, and loads a room only when one of its commands is called."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from importlib.metadata import version

from cyclopts import App, CycloptsError, UnknownCommandError

from controller.errors import PlateauError

# name: (where its function is, its help). The help stands here so that `plateau --help` loads no room.
COMMANDS = {
    "check": ("controller.command:check", "Check a curriculum for every possible loss stream."),
}

# What is imported: the extra that brings it.
EXTRAS = {
    "accelerate": "transformers",
    "hypothesis": "test",
    "jax": "jax",
    "keras": "keras",
    "lightning": "lightning",
    "matplotlib": "plot",
    "mlflow": "mlflow",
    "optax": "jax",
    "optuna": "tune",
    "ray": "ray",
    "safetensors": "train",
    "tensorboard": "tensorboard",
    "torch": "train",
    "transformers": "transformers",
}

app = App(
    name="plateau",
    help="Write a training curriculum, test it on logged losses, and train under it.",
    version=lambda: version("plateau-rule"),
)
for name, (place, sentence) in COMMANDS.items():
    app.command(place, name=name, help=sentence)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0, 2 for a mistake that the user can mend, 130 when interrupted.

    Args:
        arguments: the words after `plateau`; those of the process by default.
    """
    try:
        code = app(arguments, exit_on_error=False, print_error=False, result_action="return_int_as_exit_code_else_zero")
        sys.stdout.flush()
        return int(code)
    except PlateauError as error:
        return refuse(str(error))
    except UnknownCommandError as error:
        return refuse(unknown_command(error))
    except CycloptsError as error:
        words = ["plateau", *(error.command_chain or ()), "--help"]
        return refuse(f"{error} See: {' '.join(words)}")
    except BrokenPipeError:
        # Whoever read our output has seen enough. What is still buffered must not complain when Python exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except ImportError as error:
        if missing := next((name for name in missing_modules(error) if name in EXTRAS), None):
            remedy = f"pip install 'plateau-rule[{EXTRAS[missing]}]'"
            return refuse(f"This needs {missing}, which is not installed: {remedy}")
        raise
    except OSError as error:
        if error.filename is None:
            raise
        return refuse(f"{error.filename}: {error.strerror}")


def refuse(sentence: str) -> int:
    """Say what is wrong on the standard error, and return the exit code for it."""
    print(sentence, file=sys.stderr)
    return 2


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
