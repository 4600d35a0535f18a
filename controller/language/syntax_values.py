"""Keys and values as people mistype them in TOML."""

from __future__ import annotations

import re
from typing import NoReturn

from plateau_rule.controller.errors import visible
from plateau_rule.controller.guards.not_ import Not
from plateau_rule.controller.language.scalars import NUMBER, Remedy, about_word
from plateau_rule.controller.language.syntax_cursor import (
    BLANK_LOOKALIKE,
    CLOSES,
    COMMENT,
    HEADER_LINE,
    LONGEST_SHOWN,
    NAMES,
    Open,
    short,
)
from plateau_rule.controller.language.syntax_texts import STRING, Texts

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_WORD = re.compile(r"[^\s,\[\]{}()#\"'=;]+")
_DATE_AND_TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[^\s,\]}#]*")
_AMOUNT = re.compile(r"([0-9][0-9_.]*(?:[eE]\+?[0-9]+)?%?)[ \t]+(steps?|epochs?|tokens?|cost|run)\b")
_SMART = re.compile("[\u2018-\u201f\u00ab\u00bb\u2039\u203a`\u00b4\u2032-\u2036\uff02\uff07]")
_EQUALS = re.compile(r"==+|:=|=>|->|<-|\+=|~=|=:|:|\uff1d|\uff1a|>=|<=|!=|<>|&[gl]t;=?|[<>]|\u2192|[\u2264\u2265]")
_DECLARES = ("export", "let", "const", "var", "set", "val", "my", "local")  # in other languages
_OTHERWISE = ("<", "<=", "!=", "<>", "&lt;", "&lt;=", "\u2264")  # what a guard says by another word


_VALUE = re.compile(r"[\"'\[{]|[+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?$|true$|false$|$")


class Values(Texts):
    """Reads keys and values: what stands in a line, and what goes over several."""

    # Keys

    def key(self, what: str = "a key") -> str:
        """A key, of one or several names with dots between them."""
        start = self.at
        while True:
            self.skip_blanks()
            if self.ahead() in ('"', "'") and self.ahead():
                self.string()
            elif match := _BARE.match(self.text, self.at):
                self.at = match.end()
            else:
                self.no_key(what)
            end = self.at
            self.skip_blanks()
            if self.ahead() != ".":
                self.at = end
                strange = self.ahead()
                if strange and not strange.isascii() and strange.isprintable() and not BLANK_LOOKALIKE.match(strange):
                    self.no_key(what)
                return self.text[start:end]
            self.at += 1

    def no_key(self, what: str) -> NoReturn:
        """End the reading: something that is no part of a key."""
        mark = self.ahead()
        if _SMART.match(mark):
            self.smart()
        if mark == "=":
            self.stumble('nothing before "="', what, "Write NAME = value.")
        if mark in (".", "]") and self.text[: self.at].rstrip().endswith("."):
            self.stumble("nothing after a dot", what, "Remove the dot, or write the name that follows.")
        if mark in ("(", "["):
            self.stumble(f'"{mark}" where {what} should be', what, "Headers have one bracket or two: [run], [[state]].")
        if mark in ("]", "}", ")"):
            self.stumble(f'a "{mark}" too many', what, "Remove it, or write what opens it.")
        if mark == "{" and self.text[self.at - 1 : self.at] == "{":
            self.stumble('"{{" of a template', "a value", "TOML has no variables: write the value itself.")
        if mark == "{":
            self.stumble('"{" where a key should be', what, "Tables have a key, NAME = { … }, or a header, [NAME].")
        self.stumble(f'"{visible(mark)}" in {what}' if mark.strip() else "nothing", "letters a-z, digits, - and _")

    def pair(self, where: str = "") -> None:
        """A key, an equals sign and a value."""
        start = self.at
        key = self.key()
        self.skip_blanks()
        if match := _EQUALS.match(self.text, self.at):
            mark = match.group()
            value = self.rest_of_value(match.end())
            hint = f"Write {short(key)} = {value}." if value else f"Write {short(key)} = …"
            if mark in _OTHERWISE:
                hint = f"A guard's word says how it compares; {{ {Not.name} = {{ … }} }} is the opposite."
            elif key[:1] in "\"'" and value[:1] in "\"'" and value and not self.open and ">" in mark + "\u2192":
                hint = f"Write from = {short(key)} and to = {value}, a line each."
            self.stumble(f'"{mark}" after the key "{short(key)}"', '"="', hint, len(mark))
        if self.ahead() != "=":
            self.no_equals(start, key, where)
        self.at += 1
        self.skip_blanks()
        if self.ahead() == "=":
            self.stumble('a second "="', "a value", "Remove it.")
        self.value_start = self.at
        self.value()

    def rest_of_value(self, at: int) -> str:
        """The value behind a wrong mark, where it is short and plain."""
        rest = self.text[at:].split("\n")[0].split(" #")[0]
        rest = re.split(r"[,}\]]", rest)[0] if self.open else rest
        rest = rest.strip().rstrip(",;")
        return visible(rest) if rest and len(rest) <= LONGEST_SHOWN and not rest.endswith(("{", "[")) else ""

    def no_equals(self, start: int, key: str, where: str) -> NoReturn:
        """End the reading: there is a key, and no equals sign."""
        rest = self.line()
        if self.open and self.ahead() in ("]", ")"):
            self.wrong_close(self.open[-1])
        if self.ahead() == "\\":
            self.at = start
            name = re.match(r"[\w\\-]+", self.text[start:])
            written = name.group() if name else key
            plain = written.replace("\\", "")
            self.stumble(f'the key "{short(written)}"', "no backslashes", f"Write {short(plain)} = …", len(written))
        if where and self.open and self.open[-1].mark == "{" and "=" not in (inner := self.in_braces()):
            self.at = self.open[-1].start
            self.stumble('a list in "{ }"', '"[ ]"', f"Write [{short(inner)}].", len(inner) + 2)
        if key.startswith(('"""', "'''")):
            self.at = start
            self.stumble("a text that belongs to no key", "KEY = value", "Comments begin with #.", 3)
        ends = self.ends() or (where and self.ahead() in ("}", ","))
        if ends:
            self.at = start
            self.stumble(f'"{short(key)}" without a value', "KEY = value", f"Write {short(key)} = …", len(key))
        if key in _DECLARES and (match := re.match(r"([\w.-]+)[ \t]*=[ \t]*(.*)", rest)):
            self.at = start
            hint = f"Write {short(match[1])} = {short(match[2].rstrip(';'))}."
            self.stumble(f'the word "{key}" before a key', "KEY = value", hint, len(key))
        if (match := re.match(r"((?:[\w-]+[ \t]+)*[\w-]+)[ \t]*=", rest)) and not self.open:
            words = "_".join([key.strip(), *match[1].split()])
            self.at = start
            hint = f"Write {short(words)} = …"
            self.stumble(
                f'"{short(f"{key} {match[1]}")}" as a key', "a key without blanks", hint, len(key) + 1 + len(match[1])
            )
        if match := COMMENT.match(rest):
            self.comment(match.group())
        if self.ahead() in ("[", "{", "}", "("):
            self.stumble(f'"{self.ahead()}" after the key "{short(key)}"', '"="', "")
        if self.ahead() == "]" and not self.open:
            self.at = start
            self.stumble("a header without its opening bracket", '"["', f"Write [{short(key)}].", len(key) + 1)
        value = self.rest_of_value(self.at)
        if not _VALUE.match(value):
            self.at = start
            found = short(self.whole_line())
            self.stumble(f'"{found}"', "KEY = value", "Comments begin with #.", len(self.line()))
        hint = f"Write {short(key)} = {value}." if value else ""
        self.stumble(f'no "=" after the key "{short(key)}"', '"="', hint)

    def in_braces(self) -> str:
        """What stands in the brace that is open, where it is closed in the same line; else an equals sign."""
        inner, closed, _ = self.text[self.open[-1].start + 1 :].split("\n")[0].partition("}")
        return inner.strip() if closed and "," in inner else "="

    # Values

    def value(self) -> None:
        """Any value."""
        mark = self.ahead()
        if mark in ('"', "'") and mark:
            self.string()
        elif mark == "[":
            self.array()
        elif mark == "{":
            self.table()
        elif mark == "(":
            written = self.whole_line().partition(")")[0][1:].strip(" ,")
            self.stumble('a list in "( )"', '"[ ]"', f"Write [{short(written)}].")
        elif mark and _SMART.match(mark):
            self.smart()
        else:
            self.word()

    def word(self) -> None:
        """A number, true, false or a date."""
        if match := _DATE_AND_TIME.match(self.text, self.at):
            self.at = match.end()
            return
        if (match := _AMOUNT.match(self.text, self.at)) is not None:
            share = match[1].endswith("%")
            amount = f"{float(match[1][:-1].replace('_', '')) / 100:g} run" if share else f"{match[1]} {match[2]}"
            hint = f'Write "{amount}".'
            self.stumble(f"the amount {short(match.group())} without quotation marks", "", hint, len(match.group()))
        match = _WORD.match(self.text, self.at)
        if match is None:
            self.no_value()
        word = match.group()
        rest = self.text[match.end() : match.end() + 1]
        comment = next((at for mark in ("//", "/*") if (at := word.find(mark)) > 0), len(word))
        word = word[:comment]
        negated = re.match(r"[ \t]*[\"'{]", self.text[match.end() :])
        if word in (Not.name, "!") and negated:
            self.stumble(f"found {word}", "a guard", f"Write {{ {Not.name} = … }}.", len(word))
        if rest in ('"', "'") and rest and not NUMBER.fullmatch(word):
            text = STRING[rest].match(self.text, match.end())
            if text and word.lower() in ("f", "r", "b", "u", "fr", "rf", "br", "rb"):
                found = f'a text with the letter "{word}" before it, as in Python'
                self.stumble(found, "a plain text", f"Write {short(text.group())}.", len(word) + len(text.group()))
            hint = f"Write {rest}{short(word)}{rest}."
            self.stumble("a text without a quotation mark at its beginning", rest, hint, len(word) + 1)
        following = self.text[self.at + len(word) :].split("\n")[0]
        if re.match(r"[A-Za-z_]", word) and re.match(r"[ \t]*=(?!=)", following):
            written = self.line().rstrip(" ,}")
            hint = (
                f"Write {{ {short(written)} }}."
                if not self.open and len(written) <= LONGEST_SHOWN
                else "Write { before it."
            )
            self.stumble(f'no brace before "{short(word)}"', '"{"', hint, len(word))
        if (advice := about_word(word, following, bool(self.open))) is not None:
            self.advise(word, advice)
        self.at += len(word)

    def advise(self, word: str, advice: Remedy) -> NoReturn:
        """End the reading: a word is no value."""
        length = advice.length or len(word)
        found = f"found {short(self.text[self.at : self.at + length])}"
        self.stumble(found, advice.expected, visible(advice.hint), length)

    def no_value(self) -> NoReturn:
        """End the reading: there is no value."""
        where = 'after "="' if not self.open else "where a value should be"
        if self.ends() or self.ahead() in (",", "}", "]"):
            below = self.text[self.at :].split("#")[0] if self.ahead() != "#" else ""
            below_too = re.match(r"[ \t]*\n\s*(?:[\"'{0-9+-]|\[(?=[^\n\[]*,)|true|false)", below)
            hint = "A value begins in the line of its key." if below_too else ""
            self.stumble(f"nothing {where}", "a number, true, false, or a text in quotation marks", hint)
        self.stumble(f'"{visible(self.ahead())}"', "a number, true, false, or a text in quotation marks")

    # Lists and tables

    def array(self) -> None:
        """A list."""
        opened = Open("[", self.at)
        self.open.append(opened)
        self.at += 1
        while True:
            self.skip_lines(opened)
            if self.ahead() == "]":
                break
            self.wrong_close(opened)
            if self.ahead() == ",":
                self.stumble("a comma with no value before it", "a value", "Remove the comma.")
            self.value()
            self.skip_lines(opened)
            if self.ahead() == ",":
                self.at += 1
            elif self.ahead() != "]":
                self.wrong_close(opened)
                self.no_comma("]")
        self.at += 1
        self.open.pop()

    def table(self) -> None:
        """A table in braces."""
        opened = Open("{", self.at)
        self.open.append(opened)
        self.at += 1
        self.in_one_line(opened)
        comma = -1
        while self.ahead() != "}":
            self.wrong_close(opened)
            if self.ahead() == ",":
                self.stumble("a comma with nothing before it", "KEY = value", "Remove the comma.")
            self.pair("table")
            self.in_one_line(opened)
            if self.ahead() == ",":
                comma = self.at
                self.at += 1
                self.in_one_line(opened)
                self.comma_in_number()
                if self.ahead() == "}":
                    self.at = comma
                    self.stumble('a comma before "}"', "no comma behind the last key", "Remove the comma.")
            elif self.ahead() != "}":
                self.wrong_close(opened)
                self.no_comma("}")
        self.at += 1
        self.open.pop()

    def comma_in_number(self) -> None:
        """In braces, a decimal comma looks like one between two keys, of which the second is a number."""
        match = re.match(r"([0-9]+)[ \t]*[,}]", self.text[self.at :])
        before = self.text[self.value_start : self.at].rstrip(" \t,")
        if match and NUMBER.fullmatch(before):
            self.at = self.value_start
            hint = f"Write {before}.{match[1]}."
            self.stumble(
                f"found {before},{match[1]}", "a number with a decimal point", hint, len(before) + 1 + len(match[1])
            )

    def in_one_line(self, opened: Open) -> None:
        """Blanks; a line end in braces is a brace left open, or a table over several lines, which TOML 1.0 lacks."""
        self.skip_blanks()
        if not self.ends():
            return
        if self.text[: self.at].rstrip().endswith((",", "{")) and self.goes_on():
            hint = "Write it in one line, or give it a header of its own."
            self.stumble("a table in braces that goes on in the next line", '"}" in the same line', hint)
        self.not_closed(opened)

    def goes_on(self) -> bool:
        """Whether a line below closes the braces, before another table begins."""
        for line in self.text[self.at :].split("\n")[1:]:
            if HEADER_LINE.match(line):
                return False
            if line.count("}") > line.count("{"):
                return True
        return False

    def wrong_close(self, opened: Open) -> None:
        """End the reading if another bracket is closed than the one that is open."""
        mark = self.ahead()
        if mark not in ("]", "}", ")") or not mark or mark == CLOSES[opened.mark]:
            return
        if any(CLOSES[outer.mark] == mark for outer in self.open[:-1]):
            self.not_closed(opened)
        close = CLOSES[opened.mark]
        self.stumble(f'the {NAMES[opened.mark]} is closed by "{mark}"', f'"{close}"', f"Write {close}.")

    def no_comma(self, close: str) -> NoReturn:
        """End the reading: two values without a comma between them."""
        mark = self.ahead()
        if mark == ";":
            self.stumble("a semicolon between two values", "a comma", "Write a comma.")
        if mark == ":" or mark == "=":
            self.stumble(f'"{mark}" after a value', f'a comma or "{close}"', "")
        if _SMART.match(mark):
            self.smart()
        self.quotes_inside()
        if match := re.match(r"(and|&&?|or|\|\|?)(?=[ \t])", self.text[self.at :]):
            hint = "Write a comma: all of a list must hold."
            if match[1] in ("or", "|", "||"):
                hint = "Write a comma, and a guard around the list that asks for one of it."
            self.stumble(f'"{match[1]}" between two values', "a comma", hint, len(match[1]))
        word = re.match(r"\"[^\"\n]*\"?|'[^'\n]*'?|[^\s,\]}]+", self.text[self.at :])
        shown = short(word.group()) if word else visible(mark)
        self.stumble(f"no comma before {shown}", f'a comma or "{close}"', "Write a comma between the two.", len(shown))
