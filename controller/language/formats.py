"""Files that hold nothing, or are written in another language than TOML."""

from __future__ import annotations

import re

from plateau_rule.controller.errors import Fault, visible
from plateau_rule.controller.language.syntax_cursor import place_at

_HEADER = re.compile(r"^[ \t]*\[{1,2}[ \t]*[\w\"'][\w.\"' -]*\]{1,2}[ \t]*(?:#.*)?$", re.MULTILINE)
_TOML_KEY = re.compile(r"^[ \t]*[\w\"'][\w.\"' -]*=(?!=)", re.MULTILINE)
_YAML_KEY = re.compile(r"^[ \t]*(?:- )?[\w\"'][\w.\"'-]*:(?=[ \t]|$)", re.MULTILINE)
_YAML_MARK = re.compile(r"(?:---|%YAML)(?=[ \t\n])")
_PYTHON = re.compile(
    r"^(?:#![^\n]*python[^\n]*|import [\w.]+|from [\w.]+ import |(?:async )?def \w+\(|class \w+[(:]|@\w+"
    r"|if __name__|print\(|(?:[\w.]+ *= *)?(?:dict|[A-Za-z_][\w.]*)\()",
    re.MULTILINE,
)
_MEMBER = re.compile(r"^[ \t]*(?:\{[ \t]*)?[\"'][\w.-]+[\"'][ \t]*:", re.MULTILINE)  # of JSON, or of a dict
_DICT = re.compile(r"^[A-Za-z_]\w*[ \t]*=[ \t]*\{[ \t]*(?:\n[ \t]*)?[\"'][\w.-]+[\"'][ \t]*:", re.MULTILINE)
_FIRST = re.compile(r"(?:[ \t]*(?:#[^\n]*)?\n)*[ \t]*")  # blank lines and comments before anything else
# A heading of names and a row of as many values, at least one of them a number.
_CSV = re.compile(
    r"[^\n\"'=\[\]{}#,]+(?:,[^\n\"'=\[\]{}#,]*)+\n(?:[^\n,=]*,)*[ \t]*-?\d[\d.eE+-]*[ \t]*(?:,[^\n=]*)?(?:\n|$)"
)
_EXAMPLE = "See what one looks like: plateau fmt plateau --print"


def _log(file: str) -> str:
    """What to do with a log that was named in place of a curriculum."""
    return f"To show a log to a curriculum: plateau replay CURRICULUM {visible(file)}"


def empty_file(text: str, file: str) -> Fault:
    """The fault of a file without a key."""
    found = "a file with nothing but comments" if text.strip() else "an empty file"
    hint = "Begin with a shipped one: plateau fmt plateau --print"
    return Fault("empty-file", (), found, "a curriculum: a name, [lr] and [[state]]", hint, place_at(text, file, 0, 1))


def scenarios(text: str, file: str) -> Fault:
    """The fault of a file that holds scenarios."""
    hint = f"Carry them out: plateau test {visible(file)}"
    return Fault("other-format", (), "the file holds scenarios", "a curriculum", hint, place_at(text, file, 0, 1))


def other_format(text: str, file: str) -> Fault | None:
    """The fault of a text that is no TOML because it is something else; None where it is to be TOML."""
    first = _FIRST.match(text)
    begin = first.end() if first else 0
    body, hint = text[begin:], _EXAMPLE
    python = None if _HEADER.search(text) else _PYTHON.search(text) or _DICT.search(text)
    if text.startswith("#!") and "python" in text.split("\n")[0]:
        name, at = "Python", 0
    elif body.startswith("<") and not body.startswith("<<<<"):
        name, at = "XML or HTML", begin
    elif _CSV.match(body):
        name, at, hint = "CSV", begin, _log(file)
    elif body.startswith("{") or (body.startswith("[") and _MEMBER.search(body) and not _HEADER.match(body)):
        name, at = "JSON", begin
        hint = _log(file) if '"loss"' in text else hint
    elif _YAML_MARK.match(body):
        name, at = "YAML", begin
    elif python is not None:
        name, at = "Python", python.start()
    elif len(_YAML_KEY.findall(text)) > 1 and not _TOML_KEY.search(text) and not _HEADER.search(text):
        name, at = "YAML", begin
    else:
        return None
    end = text.find("\n", at)
    shown = len(text[at : end if end >= 0 else len(text)].rstrip())
    return Fault("other-format", (), f"the file is {name}", "TOML", hint, place_at(text, file, at, at + max(1, shown)))
