"""Where a reader of a mistyped text is, what is ahead of it, and how it says what it stumbled on."""

from __future__ import annotations

import re
from typing import NamedTuple, NoReturn

from plateau_rule.controller.errors import Place, visible

LONGEST_SHOWN = 40  # characters of what was written
_BLANKS = re.compile(r"[ \t]*")
HEADER_LINE = re.compile(r"[ \t]*\[{1,2}[ \t]*(?!true\b|false\b|inf\b|nan\b)[A-Za-z_][\w.\" -]*\]{0,2}[ \t]*(?:#|\n|$)")
KEY_LINE = re.compile(r"[ \t]*[A-Za-z_][\w.-]*[ \t]*=")
BLANK_LOOKALIKE = re.compile(r"[^\S\r\n\t ]")
COMMENT = re.compile(r"//|/\*|--(?!-*\d)|<!--|;|%|\(\*")
CLOSES = {"[": "]", "{": "}"}
NAMES = {"[": "bracket [", "{": "brace {"}


class Stumble(Exception):
    """The reading ended at a mistake; start and end are offsets in the text."""

    def __init__(self, start: int, end: int, found: str, expected: str, hint: str, code: str = "not-toml") -> None:
        self.start, self.end, self.code = start, end, code
        self.found, self.expected, self.hint = found, expected, hint


class Open(NamedTuple):
    """A bracket that is open: which, and where."""

    mark: str
    start: int


def place_at(text: str, file: str, start: int, end: int) -> Place:
    """The place of a piece of a text; of one over several lines, what is in its first."""
    begin = text.rfind("\n", 0, start) + 1
    line = text[begin:].split("\n", 1)[0]
    column = start - begin + 1
    return Place(file, text.count("\n", 0, start) + 1, column, max(column, min(end - begin, len(line))), line)


def short(text: str) -> str:
    """A piece of the text, as it may stand in a sentence."""
    text = text.strip()
    return visible(text if len(text) <= LONGEST_SHOWN else text[:LONGEST_SHOWN] + "…")


class Cursor:
    """Reads a text from left to right, and raises at the first mistake that it knows."""

    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0
        self.open: list[Open] = []
        self.value_start = 0

    # Where we are

    def ahead(self, length: int = 1) -> str:
        """The next characters."""
        return self.text[self.at : self.at + length]

    def line(self) -> str:
        """The rest of the line, without a comment behind it."""
        return self.whole_line().split(" #")[0].rstrip()

    def whole_line(self) -> str:
        """The rest of the line."""
        end = self.text.find("\n", self.at)
        return self.text[self.at : end if end >= 0 else len(self.text)]

    def skip_blanks(self) -> None:
        """Pass over blanks and tabs."""
        if match := _BLANKS.match(self.text, self.at):
            self.at = match.end()
        if match := BLANK_LOOKALIKE.match(self.text, self.at):
            found = f"the blank U+{ord(match.group()):04X}, which is none to TOML"
            self.stumble(found, "a plain blank", "Delete it and press the space bar.", 1)

    def ends(self) -> bool:
        """Whether nothing but a comment is left of the line."""
        return self.ahead() in ("", "\n", "#")

    def skip_lines(self, opened: Open) -> None:
        """Pass over line ends and comments inside a bracket that may go over several lines."""
        while True:
            self.skip_blanks()
            if self.ahead() == "#":
                self.at += len(self.whole_line())
            elif self.ahead() == "\n":
                self.at += 1
                if HEADER_LINE.match(self.text, self.at) or KEY_LINE.match(self.text, self.at):
                    self.not_closed(opened)
            elif self.ahead() == "":
                self.not_closed(opened)
            else:
                return

    def stumble(self, found: str, expected: str = "", hint: str = "", length: int = 1) -> NoReturn:
        """End the reading here, with a sentence."""
        raise Stumble(self.at, self.at + max(1, length), found, expected, hint)

    def not_closed(self, opened: Open) -> NoReturn:
        """End the reading: a bracket is left open. What should close it goes behind what it holds."""
        close = CLOSES[opened.mark]
        self.at = opened.start
        written = self.line().rstrip(" ,")
        hint = f"Write {close} at the end of what it holds"
        balanced = all(written.count(a) - written.count(b) == (a == opened.mark) for a, b in CLOSES.items())
        inner = written and len(written) <= LONGEST_SHOWN and balanced and written != opened.mark
        blank = " " if close == "}" else ""
        self.stumble(
            f"the {NAMES[opened.mark]} is not closed",
            f'"{close}"',
            f"{hint}{f': {visible(written)}{blank}{close}' if inner else ''}.",
        )

    def comment(self, mark: str) -> NoReturn:
        """End the reading: a comment begins as in another language."""
        about = short(self.whole_line()[len(mark) :].removesuffix("*/").removesuffix("-->"))
        self.stumble(f'a comment with "{mark}"', '"#"', f"Write # {about}".rstrip() + ".", len(mark))

    def smart(self) -> NoReturn:
        """Quotation marks that a word processor made."""
        mark = self.ahead()
        closed = re.match(r".([^\u2018-\u201f\u00ab\u00bb\u2039\u203a`\u00b4\"'\n]*).", self.text[self.at :])
        hint = f'Write "{short(closed[1])}".' if closed and closed[1] else 'Write ".'
        found = f"the quotation mark {mark} (U+{ord(mark):04X})"
        self.stumble(found, 'the plain one, "', hint, len(closed.group()) if closed else 1)
