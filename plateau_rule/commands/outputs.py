"""No command writes over what it reads. Asked of every command that writes a file, before it begins."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

CURRICULA = ("file", "files", "curricula", "curriculum")  # parameters; folders of these are read for .toml alone
RUNS = ("words", "run", "runs", "logs", "log", "fitted")
OUTPUTS = ("out", "output", "plot")
LOGS = (".csv", ".jsonl", ".log", "trainer_state.json")  # how logs end, in the folder of a run


def spare_inputs(**given: object) -> None:
    """Refuse an output that would replace an input of the command, or a file in TOML, which no such output is.

    Args:
        given: The parameters of a command that were named, by their names.

    Raises:
        UsageError: Naming the file, and what to do.
    """
    for name in OUTPUTS:
        output = given.get(name)
        if not isinstance(output, Path) or not output.is_file():
            continue
        if any(_reads(word, output) for word in _inputs(given)):
            _refuse(output, "this command reads that file, and would write over it")
        if output.resolve().suffix.lower() == ".toml":
            _refuse(output, "that file exists, and what is to be written is not TOML")


def _inputs(given: dict[str, object]) -> Iterator[Path]:
    """What a command reads, as far as its words are paths."""
    for name in (*CURRICULA, *RUNS):
        value = given.get(name)
        paths = [Path(word) for word in (value if isinstance(value, tuple) else (value,)) if word is not None]
        yield from (path for path in paths if name in RUNS or not path.is_dir())


def _reads(word: Path, output: Path) -> bool:
    """Whether whoever reads `word` reads the file `output`, by whatever name or link."""
    if word.is_dir():
        return output.name.lower().endswith(LOGS) and output.resolve().is_relative_to(word.resolve())
    return word.exists() and word.samefile(output)


def _refuse(output: Path, why: str) -> None:
    from plateau_rule.commands.options import UsageError
    from plateau_rule.controller.errors import visible

    raise UsageError(f"{visible(str(output))}: {why}. Name another file to write to; nothing was changed")
