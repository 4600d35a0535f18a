"""The mistake of typing that makes a text no TOML, by its name.

A parser says where it stumbled, which is often far behind the mistake, and in the words of its grammar. This reader
goes through a text that was refused, from its beginning, and stops at the first thing that people get wrong: a colon
for an equals sign, a bracket left open, a decimal comma. It refuses nothing by itself: what it has no name for is left
to the parser's own words.
"""

from __future__ import annotations

import re
from contextlib import suppress

from plateau_rule.controller.errors import Fault
from plateau_rule.controller.language.syntax_cursor import COMMENT, KEY_LINE, Stumble, place_at, short
from plateau_rule.controller.language.syntax_values import Values

_LISTS = ("state", "transition")  # what has a header with double brackets


def syntax_mistake(text: str, file: str) -> Fault | None:
    """The first mistake with a name in a text that is no TOML; None where there is none.

    Args:
        text: A text within the limits of `scanning.within_limits`.
        file: The name that errors show.
    """
    try:
        _Lines(text).read()
    except Stumble as mistake:
        place = place_at(text, file, mistake.start, mistake.end)
        return Fault(mistake.code, (), mistake.found, mistake.expected, mistake.hint, place)
    return None


class _Lines(Values):
    """Reads a text line by line, and raises at the first mistake that it knows."""

    def read(self) -> None:
        """Read all of it."""
        while self.at < len(self.text):
            self.skip_blanks()
            if self.ahead() == "\n":
                self.at += 1
            elif self.ahead() == "#":
                self.at += len(self.whole_line())
            elif self.ahead():
                self.statement()

    def statement(self) -> None:
        line = self.line()
        if match := re.match(r"<{7}|={7}|>{7}|\|{7}", line):
            hint = "Keep one of the two versions, and delete the marks."
            self.stumble("a conflict that git left in the file", "one of its two versions", hint, len(match.group()))
        if line.startswith(("```", "~~~")):
            self.stumble("a fence of Markdown", "TOML alone", "Delete the line.", len(line))
        if match := COMMENT.match(line):
            self.comment(match.group())
        if match := re.match(r"\d+[ \t]*[:|][ \t]+(?=[\w\[\"#])", line):
            self.stumble("the number of a line before it", "KEY = value", "Delete it.", len(match.group()))
        if match := re.match(r"[+-](?=[A-Za-z_][\w.-]*[ \t]*=|\[)|[$>*\u2022][ \t]+(?=[\w\[])", line):
            mark = match.group().strip()
            why = ", as in a diff" if mark in "+-" else ""
            self.stumble(f'"{mark}" at the beginning of a line{why}', "KEY = value", "Delete it.")
        if line.startswith("- "):
            self.stumble('a line that begins with "-", as in YAML', "KEY = value", "Lists have brackets: [ … ].")
        if self.ahead() == "[":
            self.header()
        else:
            self.pair()
            self.end_of_line()

    def header(self) -> None:
        start = self.at
        double = self.ahead(2) == "[["
        self.at += 2 if double else 1
        self.skip_blanks()
        if self.ahead() == "]" or self.ends():
            self.stumble("a header without a name", "[NAME]", "")
        first = self.at
        self.key("a name")
        name = self.text[first : self.at].rstrip()
        self.skip_blanks()
        self.name_in_header(start, name)
        brackets = ("[[", "]]") if double or name in _LISTS else ("[", "]")
        right = f"Write {brackets[0]}{short(name)}{brackets[1]}."
        closing = re.match(r"\]*", self.text[self.at :])
        count = len(closing.group()) if closing else 0
        if count == 0 and not self.ends():
            self.odd_header(first, name, brackets)
        if count < (2 if double else 1):
            some = "one closing bracket" if count else "no closing bracket"
            self.at = start
            self.stumble(f"a header with {some}", f'"{"]]" if double else "]"}"', right, len(self.line()))
        if count > (2 if double else 1):
            self.at = start
            self.stumble(
                "a header with a closing bracket too many", "as many as at its beginning", right, len(self.line())
            )
        if not double and name in _LISTS and re.search(rf"^[ \t]*\[\[[ \t]*{name}[ \t]*\]\]", self.text, re.MULTILINE):
            found, length = f"the header [{name}] beside [[{name}]]", self.at + count - start
            raise Stumble(start, start + length, found, "double brackets for each of them", right, "duplicate-key")
        self.at += count
        self.after_header()

    def name_in_header(self, start: int, name: str) -> None:
        """End the reading: a state has its name in its header, before any [[state]]."""
        kind, dot, inner = name.partition(".")
        if (
            dot
            and kind in _LISTS
            and not re.search(rf"^[ \t]*\[\[?[ \t]*{kind}[ \t]*\]", self.text[:start], re.MULTILINE)
        ):
            self.at = start
            named = f', and name = "{short(inner)}" below it' if kind == "state" else ""
            self.stumble(
                f"a name in the header of a {kind}", f"[[{kind}]]", f"Write [[{kind}]]{named}.", len(self.line())
            )

    def after_header(self) -> None:
        self.skip_blanks()
        if not self.ends():
            rest = self.line()
            if match := COMMENT.match(rest):
                if rest.strip() == match.group() == ";":
                    self.stumble("a semicolon after a header", "", "Remove it.")
                self.comment(match.group())
            kind = "a key behind a header" if KEY_LINE.match(rest) else f'"{short(rest)}" after a header'
            hint = "Give it a line of its own." if KEY_LINE.match(rest) else "Remove it; comments begin with #."
            self.stumble(kind, "the end of the line", hint, len(rest))

    def odd_header(self, first: int, name: str, brackets: tuple[str, str]) -> None:
        """Something other than a dot between the names of a header."""
        whole = self.whole_line()
        inner = re.split(r"[]#]", whole)[0]
        parts = [name, *re.findall(r"[\w-]+", inner)]
        if "]" in whole and len(parts) > 1:
            written = self.text[first : self.at + len(inner)]
            hint = f"Write {brackets[0]}{short('.'.join(parts))}{brackets[1]}."
            self.at = first
            self.stumble(f'"{short(written)}" in a header', "names with dots between them", hint, len(written))

    # After a value

    def end_of_line(self) -> None:
        self.skip_blanks()
        if self.ends():
            return
        self.quotes_inside()
        rest, mark = self.line(), self.ahead()
        after = rest[1:].strip()
        if match := re.match(r"[,;]?[ \t]*[A-Za-z_][\w.-]*[ \t]*=(?!=)", rest):
            self.stumble("a second key in the line", "one key a line", "Give it a line of its own.", len(match.group()))
        if mark == "," and not after:
            self.stumble("a comma at the end of the line", "", "Remove it.")
        if mark == ",":
            self.stumble("a comma after the value", "the end of the line", "Lists have brackets: [ … ].")
        if mark == ";" and not after:
            self.stumble("a semicolon at the end of the line", "", "Remove it.")
        if match := COMMENT.match(rest):
            self.comment(match.group())
        if mark in ("]", "}", ")"):
            self.stumble(f'a "{mark}" too many', "the end of the line", "Remove it, or write what opens it.")
        with suppress(IndexError):
            if rest[0] in "*/+-^" and re.match(r".+\d", rest):
                self.stumble("a calculation", "a number", "Write its result.", len(rest))
        hint = "Remove it; comments begin with #."
        self.stumble(f'"{short(rest)}" after the value', "the end of the line", hint, len(rest))
