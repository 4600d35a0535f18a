"""The commands explain, fmt, schema and draw."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import textwrap
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from plateau_rule.controller.errors import CurriculumError, Fault, visible
from plateau_rule.controller.language.codes import CODES
from plateau_rule.controller.language.codes import explain as explained
from plateau_rule.controller.language.reading import contents, find, loads, shipped

JsonFlag = Annotated[bool, Parameter(name="--json", negative="")]
Output = Annotated[Path | None, Parameter(name=["--output", "-o"])]


def explain(code: str | None = None, /, *, as_json: JsonFlag = False) -> int:
    """Say what the code at the end of a fault means, why it matters, and what to do.

    Args:
        code: such as off-ladder; all codes are listed where none is given.
        as_json: print JSON.
    """
    chosen = CODES if code is None else {code.strip().strip("[]").lower(): explained(code)}
    if as_json:
        print(json.dumps([{"code": name, **found._asdict()} for name, found in chosen.items()], ensure_ascii=False))
    elif code is None:
        width = max(map(len, CODES))
        print("\n".join(f"{name:<{width}}  {found.phrase}" for name, found in CODES.items()))
    else:
        for name, found in chosen.items():
            lines = [f"{name}: {found.phrase}", "", *textwrap.wrap(found.why, 96), "", *textwrap.wrap(found.remedy, 96)]
            print("\n".join(lines))
    return 0


def fmt(
    *files: Annotated[str, Parameter(allow_leading_hyphen=True)],
    check: Annotated[bool, Parameter(negative="")] = False,
    to_stdout: Annotated[bool, Parameter(name="--print", negative="")] = False,
) -> int:
    """Lay out curriculum files in one way: keys in the order of the language, comments kept, meaning unchanged.

    Args:
        files: paths; with --print also bare names of shipped curricula. `-` reads the standard input and prints.
        check: write nothing; exit with 1 and name the files that would change.
        to_stdout: print the result and leave the files as they are.
    """
    if not files:
        raise CurriculumError(
            [Fault("no-such-file", (), "no file is named", "at least one, or - for the standard input")]
        )
    changed = 0
    if option := next((name for name in files if name.startswith("-") and name != "-"), None):
        raise CurriculumError(
            [Fault("no-such-file", (), f"unknown option {visible(option)}", "a file, --check or --print")]
        )
    for name in files:
        content, shown = (sys.stdin.buffer.read(), "<stdin>") if name == "-" else contents(name)
        text = _formatted(content, shown)
        if to_stdout or (name == "-" and not check):
            sys.stdout.write(text)
        elif text.encode() != content:
            changed += 1
            if not check:
                _overwrite(name, text.encode())
            print(f"{visible(shown)}: {'would change' if check else 'formatted'}")
    return 1 if check and changed else 0


def _formatted(content: bytes, file: str) -> str:
    """The text in the one layout, with the line ends that it had."""
    from plateau_rule.controller.language.writing import formatted

    text = formatted(content, file)
    return text.replace("\n", "\r\n") if content.count(b"\r\n") * 2 > content.count(b"\n") else text


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


def schema(*, output: Output = None) -> int:
    """Print the JSON Schema of curriculum files, for editors that complete and check TOML.

    Args:
        output: a file to write it to instead.
    """
    from plateau_rule.controller.language.schema import schema_text

    return _give(schema_text(), output)


def draw(
    file: str,
    /,
    *,
    as_: Annotated[Literal["mermaid", "dot", "svg"] | None, Parameter(name="--as")] = None,
    output: Output = None,
) -> int:
    """Draw a curriculum: its states with knobs and rate, its transitions with guards and actions.

    Args:
        file: a path, or the bare name of a shipped curriculum.
        as_: mermaid (the default), dot or svg; with -o, the end of the file's name decides where it is not given.
        output: a file to write to instead of the standard output.
    """
    from plateau_rule.controller.drawing import DRAWINGS

    ends = {".svg": "svg", ".dot": "dot", ".gv": "dot"}
    kind = as_ or (ends.get(output.suffix.lower(), "mermaid") if output else "mermaid")
    return _give(DRAWINGS[kind](loads(*contents(file))), output)


def _give(text: str, output: Path | None) -> int:
    if output is None:
        sys.stdout.write(text)
    else:
        output.write_text(text, encoding="utf-8", newline="\n")
    return 0
