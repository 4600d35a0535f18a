"""The command `plateau fmt`."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from plateau_rule.commands.options import Flag, UsageError
from plateau_rule.commands.sources import STDIN, Source, content_of, refuse_options
from plateau_rule.controller.errors import CurriculumError, Fault, visible
from plateau_rule.controller.language.reading import find, shipped


def fmt(
    *files: Source,
    check: Flag = False,
    to_stdout: Annotated[bool, Parameter(name="--print", show_default=False)] = False,
) -> int:
    """Lay out curriculum files in one way: keys in the order of the language, comments kept, meaning unchanged.

    Args:
        files: Curriculum files. With --print, names of shipped curricula as well; `-` reads the standard input.
        check: Write nothing. Name the files that would change, and exit with 1 if there are any.
        to_stdout: Print the result instead of changing the files.
    """
    if not files:
        raise UsageError("plateau fmt: FILE is missing. See: plateau fmt --help")
    refuse_options("fmt", files)
    changed, unchanged, faults = 0, 0, list[Fault]()
    for name in files:
        try:
            content, shown = content_of(name)
            text = _formatted(content, shown)
        except CurriculumError as error:  # the others are laid out all the same
            faults += error.faults
            continue
        if to_stdout or (name == STDIN and not check):
            sys.stdout.write(_without_schema(text) if name in shipped() else text)
        elif text.encode() != content:
            changed += 1
            if not check:
                _overwrite(name, text.encode())
            print(f"{visible(shown)}: {'would change' if check else 'formatted'}")
        else:
            unchanged += 1
    if unchanged:
        print(f"{unchanged:,} file{'s'[: unchanged > 1]} unchanged")
    if faults:
        raise CurriculumError(faults)
    return 1 if check and changed else 0


def _formatted(content: bytes, file: str) -> str:
    """The text in the one layout, with the line ends that it had."""
    from plateau_rule.controller.language.writing import formatted

    text = formatted(content, file)
    return text.replace("\n", "\r\n") if content.count(b"\r\n") * 2 > content.count(b"\n") else text


def _without_schema(text: str) -> str:
    """The text of a shipped curriculum, to be a file of a user's own: without a schema that is not beside it there."""
    line, rest = text.split("\n", 1)
    named = line.removeprefix("#:schema ")
    return rest if named != line and not Path(named).exists() else text


def _overwrite(name: str, content: bytes) -> None:
    """Replace a file at once, so that an interruption leaves the old one or the new one."""
    path = find(name).resolve()
    if path in {file.resolve() for file in shipped().values()} and name in shipped():
        raise CurriculumError([Fault("would-overwrite", (), f'"{name}" is a shipped curriculum', "a file of your own",
                                     f"Print it: plateau fmt {name} --print")])  # fmt: skip
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".plateau-fmt-") as folder:
        beside = Path(folder) / path.name
        beside.write_bytes(content)
        shutil.copymode(path, beside)
        beside.replace(path)
