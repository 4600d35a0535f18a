"""The command `plateau`: mounts the rooms' commands, and loads a room only when one of its commands is called."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import version

from cyclopts import App

from controller.errors import PlateauError

# name: (where it is, its help). The sentence stands here so that `plateau --help` need not load what it describes.
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
for name, (where, sentence) in COMMANDS.items():
    app.command(where, name=name, help=sentence)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0, 2 for a mistake that the user can mend, 130 when interrupted.

    Args:
        arguments: the words after `plateau`; those of the process by default.
    """
    try:
        code = int(app(arguments, result_action="return_int_as_exit_code_else_zero"))
        sys.stdout.flush()
        return code
    except PlateauError as error:
        return refuse(str(error))
    except BrokenPipeError:
        # Whoever read our output has seen enough. What is still buffered must not complain when Python exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except ImportError as error:
        if missing := next((name for name in missing_modules(error) if name in EXTRAS), None):
            return refuse(f"This needs {missing}, which is not installed: pip install 'plateau-rule[{EXTRAS[missing]}]'")
        raise
    except OSError as error:
        if error.filename is None:
            raise
        return refuse(f"{error.filename}: {error.strerror}")


def refuse(sentence: str) -> int:
    """Say what is wrong on the standard error, and return the exit code for it."""
    print(sentence, file=sys.stderr)
    return 2


def missing_modules(error: BaseException | None) -> Iterator[str]:
    """Name the top-level modules whose absence led to `error`."""
    while error is not None:
        if isinstance(error, ModuleNotFoundError) and error.name:
            yield error.name.partition(".")[0]
        error = error.__cause__ or error.__context__


if __name__ == "__main__":
    sys.exit(main())
