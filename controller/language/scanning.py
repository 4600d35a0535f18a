"""A TOML text's strings, comments and brackets: enough to bound it before a parser sees it, and to find its headers."""

from __future__ import annotations

import codecs
import re
import tomllib
from collections.abc import Iterator
from typing import Any, NamedTuple

from plateau_rule.controller.errors import CurriculumError, Fault, Key, Place, visible

LARGEST_FILE_BYTES = 64 * 1024
LONGEST_LINE_CHARACTERS = 1000
LOGS = (".csv", ".json", ".jsonl", ".log", ".tsv", ".txt")  # how logs end, which no curriculum does
DEEPEST_NESTING = 32  # brackets and dots, one inside the other
_TOKEN = re.compile(
    r'(?P<string>"""(?:\\.|[^\\])*?"{3,5}|"""[\s\S]*|\'\'\'[\s\S]*?\'{3,5}|\'\'\'[\s\S]*'
    r'|"(?:\\[^\n]|[^"\\\n])*"?|\'[^\'\n]*\'?)'
    r"|(?P<comment>#[^\n]*)|(?P<mark>[][{}=,.])|(?P<newline>\n)|(?P<other>[^][{}=,.\n#\"']+)",
    re.DOTALL,
)
# What is not seen, or makes others be seen in another order: no character of a file that people are to trust.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u115f\u1160\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e0fff]"
)


class Token(NamedTuple):
    """A piece of the text; lines and columns count from 1."""

    kind: str  # string, comment, mark, newline or other
    text: str
    line: int
    column: int


def tokens(text: str) -> Iterator[Token]:
    """Cut a text into pieces, whether it is valid TOML or not."""
    line, start = 1, 0
    for match in _TOKEN.finditer(text):
        piece = match.group()
        yield Token(str(match.lastgroup), piece, line, match.start() - start + 1)
        if (breaks := piece.count("\n")) > 0:
            line += breaks
            start = match.start() + piece.rindex("\n") + 1


def within_limits(content: bytes | str, file: str) -> str:
    """The text of a curriculum, if it is small, flat and plain enough to be parsed.

    A byte order mark in front is dropped, and Windows' line ends become plain ones.

    Raises:
        CurriculumError: with the place of what is too much.
    """
    size = len(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    if size > LARGEST_FILE_BYTES:
        head = content[:LARGEST_FILE_BYTES]
        head = head.decode("utf-8", "replace") if isinstance(head, bytes) else head
        place = _place(head, len(head), file)
        log = f"To show a log to a curriculum: plateau replay CURRICULUM {visible(file)}"
        hint = log if file.endswith(LOGS) else ""
        raise CurriculumError(
            [Fault("file-too-large", (), "a file of more than 64 KiB", "65,536 bytes at most", hint, place)]
        )
    if isinstance(content, bytes) and (found := _utf_16(content, file)) is not None:
        raise CurriculumError([found])
    text = _decoded(content, file).removeprefix("\ufeff").replace("\r\n", "\n")
    if "\r" in text and "\n" not in text:
        hint = "In an editor: save with the line ends LF."
        ends = "line ends that are carriage returns alone, as on old Macs"
        line = text.split("\r")[0]
        raise CurriculumError([Fault("hidden-character", (), ends, "line feeds", hint, Place(file, 1, 1, 1, line))])
    faults = [
        Fault(
            "hidden-character",
            (),
            f"the character U+{ord(match.group()):04X}, which does not show",
            "characters that can be seen, blanks and line ends",
            place=_place(text, match.start(), file),
        )
        for match in _HIDDEN.finditer(text)
    ]
    if faults:
        raise CurriculumError(faults)
    for number, line in enumerate(text.split("\n"), 1):
        if len(line) > LONGEST_LINE_CHARACTERS:
            place = Place(file, number, LONGEST_LINE_CHARACTERS + 1, LONGEST_LINE_CHARACTERS + 1, line)
            raise CurriculumError(
                [Fault("line-too-long", (), f"a line of {len(line)} characters", "1,000 at most", place=place)]
            )
    _flat_enough(text, file)
    return text


def _utf_16(content: bytes, file: str) -> Fault | None:
    """The fault of a file in UTF-16 or UTF-32, which a byte order mark, or zeros between ASCII letters, give away."""
    start = content[:400]
    if start.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        name, codec = "UTF-32", "utf-32"
    elif start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        name, codec = "UTF-16", "utf-16"
    elif len(start) > 3 and (start[1::2].count(0) == len(start) // 2 or start[::2].count(0) == (len(start) + 1) // 2):
        name, codec = "UTF-16", "utf-16-le" if start[1] == 0 else "utf-16-be"
        if not any(start[::2] if start[1] == 0 else start[1::2]):
            return None  # zeros and nothing else
    else:
        return None
    line = start[: len(start) // 4 * 4].decode(codec, "replace").split("\n")[0].rstrip("\r")
    hint = "In an editor: save with the encoding UTF-8. In PowerShell: Get-Content OLD | Set-Content -Encoding utf8 NEW"
    return Fault("not-utf8", (), f"the file is {name}", "UTF-8", hint, Place(file, 1, 1, 1, line))


def _decoded(content: bytes | str, file: str) -> str:
    try:
        if isinstance(content, bytes):
            return content.decode("utf-8")
        content.encode("utf-8")
        return content
    except UnicodeError as error:
        if isinstance(content, bytes) and 0 in content:
            place = Place(file, 1, 1, 1, "")
            raise CurriculumError([Fault("not-utf8", (), "binary data", "a text in UTF-8", place=place)]) from None
        start = error.start  # type: ignore[attr-defined]
        before = content[:start]
        before = before.decode("utf-8", "replace") if isinstance(before, bytes) else before
        rest = content[start:]
        rest = rest.decode("utf-8", "replace") if isinstance(rest, bytes) else rest.encode("utf-8", "replace").decode()
        place = _place(before + rest, len(before), file)
        raise CurriculumError(
            [Fault("not-utf8", (), f"a byte that is no UTF-8{_byte(content, start)}", "a text in UTF-8", place=place)]
        ) from None


def _byte(content: bytes | str, at: int) -> str:
    """The byte, and the letter that it is in Windows' usual encoding."""
    if not isinstance(content, bytes):
        return ""
    letter = content[at : at + 1].decode("cp1252", "ignore")
    return f", 0x{content[at]:02x}" + (
        f', which Windows-1252 has for "{letter}"' if letter.isprintable() and letter else ""
    )


def _place(text: str, offset: int, file: str) -> Place:
    start = text.rfind("\n", 0, offset) + 1
    end = text.find("\n", offset)
    column = offset - start + 1
    line = text[start : end if end >= 0 else len(text)]
    return Place(file, text.count("\n", 0, offset) + 1, column, column, line)


def _flat_enough(text: str, file: str) -> None:
    """Bound what a recursive parser would descend into: brackets, and the dots of keys."""
    lines = text.split("\n")
    levels, dots = [0], 0
    for token in tokens(text):
        if token.kind == "newline" or token.text == ",":
            dots = 0
        elif token.kind != "mark":
            continue
        elif token.text == ".":
            dots += 1
        elif token.text in "[{":
            levels.append(levels[-1] + dots + 1)
            dots = 0
        elif token.text in "]}":
            if len(levels) > 1:
                levels.pop()
            dots = 0
        if levels[-1] + dots > DEEPEST_NESTING:
            place = Place(file, token.line, token.column, token.column, lines[token.line - 1])
            found = f"brackets and dots nested more than {DEEPEST_NESTING} deep"
            raise CurriculumError([Fault("nested-too-deep", (), found, "less", place=place)])


class Header(NamedTuple):
    """A `[table]` or `[[table]]` line: the path of keys that it opens, with the index of each list's last table."""

    path: tuple[Key, ...]
    line: int
    column: int
    end_column: int


def headers(text: str) -> list[Header]:
    """The headers of a text that is valid TOML, in order."""
    found: list[Header] = []
    lines = text.split("\n")
    counts: dict[tuple[Key, ...], int] = {}
    depth, fresh = 0, True  # open brackets; nothing but blanks on this line so far
    for token in tokens(text):
        if token.kind == "newline":
            fresh = True
        elif token.kind == "mark" and token.text in "[{":
            if fresh and depth == 0 and token.text == "[":
                found.append(_header(lines[token.line - 1], token, counts))
            depth, fresh = depth + 1, False
        elif token.kind == "mark" and token.text in "]}":
            depth, fresh = max(0, depth - 1), False
            if found and found[-1].line == token.line:
                found[-1] = found[-1]._replace(end_column=token.column)
        elif token.text.strip(" \t"):
            fresh = False
    return found


def _header(line: str, token: Token, counts: dict[tuple[Key, ...], int]) -> Header:
    node: Any = tomllib.loads(line)
    names, many = list[str](), line.lstrip(" \t").startswith("[[")
    while node:
        ((name, node),) = node.items()
        names.append(name)
        node = node[0] if isinstance(node, list) else node
    path: tuple[Key, ...] = ()
    for place, name in enumerate(names):
        path = (*path, name)
        if many and place + 1 == len(names):
            counts[path] = counts.get(path, -1) + 1
        if path in counts:
            path = (*path, counts[path])
    return Header(path, token.line, token.column, token.column)
