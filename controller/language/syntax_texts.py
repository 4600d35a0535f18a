"""Texts in quotation marks as people mistype them in TOML."""

from __future__ import annotations

import re
from typing import NoReturn

from plateau_rule.controller.errors import visible
from plateau_rule.controller.language.syntax_cursor import LONGEST_SHOWN, Cursor, short

STRING = {'"': re.compile(r'"(?:\\[^\n]|[^"\\\n])*"'), "'": re.compile(r"'[^'\n]*'")}
_LONG_STRING = {
    '"': re.compile(r'"""(?:\\[\s\S]|(?!""")[^\\])*"{3,5}'),
    "'": re.compile(r"'''(?:(?!''')[\s\S])*'{3,5}"),
}
_ESCAPE = re.compile(r'\\(?![btnfr"\\\n \t]|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8})')


class Texts(Cursor):
    """Reads texts, and knows where the last one began."""

    last_string = -1

    def string(self) -> None:
        """A text in quotation marks."""
        mark = self.ahead()
        self.last_string = self.at
        if self.ahead(3) == mark * 3:
            if (match := _LONG_STRING[mark].match(self.text, self.at)) is None:
                self.stumble(
                    f"the text after {mark * 3} is not closed", f"{mark * 3} at its end", self.one_line_text(mark), 3
                )
            self.at = match.end()
            return
        if (match := STRING[mark].match(self.text, self.at)) is None:
            self.unclosed_string(mark)
        if mark == '"' and (escape := _ESCAPE.search(match.group())):
            inner = match.group()[1:-1]
            self.at += escape.start()
            plain = f"'{inner}'" if "'" not in inner else ""
            hint = f"Write {visible(plain)}, in single marks, or \\\\ for it." if plain else "Write \\\\ for it."
            self.stumble("a backslash in a text", "a letter that it stands with, such as \\n", hint, 2)
        self.at = match.end()

    def one_line_text(self, mark: str) -> str:
        """What to write for a long text that was probably meant to be a short one."""
        inner = self.whole_line()[3:].strip(mark + " ")
        return f"In one line, write {mark}{short(inner)}{mark}." if inner and len(inner) <= LONGEST_SHOWN else ""

    def unclosed_string(self, mark: str) -> NoReturn:
        """End the reading: a text has no end."""
        rest = self.whole_line()[1:]
        other = next((one for one in ("'", '"', "\u201d", "\u2019") if one != mark and one in rest), "")
        inner = rest.partition(other)[0] if other else rest.split(" #")[0]
        if not other and (self.open or self.text[: self.at].rpartition("\n")[2].lstrip().startswith("[")):
            inner = re.split(r"[,\]}]", inner)[0]
        inner = inner.strip().rstrip(",;")
        why = f"the text begins with {mark} and ends with {other}" if other else "the text is not closed"
        expected = f"the same mark at both ends, {mark}" if other else f"{mark} at its end"
        hint = f"Write {mark}{short(inner)}{mark}." if "\\" not in inner and len(inner) <= LONGEST_SHOWN else ""
        self.stumble(why, expected, hint, 1 + len(inner))

    def quotes_inside(self) -> None:
        """End the reading if the text before ended too early: it has quotation marks inside, or lacked its last."""
        start = self.last_string
        mark, text = self.text[start : start + 1], self.text[start : self.at]
        line = self.text[start:].split("\n")[0]
        touched = re.match(r"[\w\"']", self.ahead())
        if mark not in ("'", '"') or text[-1:] != mark or not touched or mark not in line[len(text) :]:
            return  # nothing touches the end of a text
        self.at, inner = start, text[1:-1]
        if inner.rstrip().endswith(","):
            right = f"{mark}{short(inner.split(',')[0])}{mark}"
            self.stumble("the text is not closed", f"{mark} at its end", f"Write {right}.", len(right) - 1)
        whole = line[: line.rindex(mark) + 1]
        plain = whole[1:-1].replace(mark * 2, mark) if mark == "'" else whole[1:-1]
        plain = plain.strip(mark) if not inner else plain
        other = '"' if mark == "'" else "'"
        right = mark if mark not in plain else other if other not in plain else ""
        hint = f"Write {right}{short(plain)}{right}." if right and len(plain) <= LONGEST_SHOWN else ""
        self.stumble("quotation marks inside a text", "other marks around it", hint, len(whole))
