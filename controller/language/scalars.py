"""Numbers, true, false and texts as people mistype them in TOML, and what to write for them."""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

# What TOML takes as a number, a date or a time; whether a date exists is left to the parser.
NUMBER = re.compile(
    r"[+-]?(?:0|[1-9](?:_?[0-9])*)(?:\.[0-9](?:_?[0-9])*)?(?:[eE][+-]?[0-9](?:_?[0-9])*)?"
    r"|0x[0-9A-Fa-f](?:_?[0-9A-Fa-f])*|0o[0-7](?:_?[0-7])*|0b[01](?:_?[01])*|[+-]?(?:inf|nan)"
)
_DATE = re.compile(r"\d{4}-\d\d-\d\d(?:[Tt ]\d\d:\d\d:\d\d\S*)?|\d\d:\d\d:\d\d\S*")
_TRUE, _FALSE, _NOTHING = (
    {"true", "yes", "on", "y"},
    {"false", "no", "off", "n"},
    {"none", "null", "nil", "undefined", "~"},
)
_MINUS = str.maketrans({"\u2212": "-", "\u2013": "-", "\u2014": "-", "\u2010": "-", "\u2011": "-"})
_FACTORS = {"k": 10**3, "m": 10**6, "g": 10**9, "b": 10**9}
A_NUMBER = "a number"
_PLACEHOLDER = re.compile(r"\$\{[^}\n]*\}|\$\w+|<[^<>\n]*>|%\([^)\n]*\)s?|\?+|TODO\b|XXX+\b|FIXME\b")
_BLANK_INSIDE = re.compile(
    r"(?:[ \t]+[0-9]{3})+(?![\w.,])|'[0-9]{3}(?:'[0-9]{3})*(?![\w.,'])|[ \t]+[eE][+-]?[0-9]+(?![\w.])"
)


class Remedy(NamedTuple):
    """What to write in place of a word.

    Attributes:
        expected: what was expected.
        hint: what to do.
        length: of what is wrong, in characters, where it is more than the word.
    """

    expected: str
    hint: str
    length: int = 0


def about_word(word: str, following: str, in_brackets: bool) -> Remedy | None:
    """What is wrong with a word that stands where a number, true or false should; None where nothing is.

    Args:
        word: The word, without what separates it from the next.
        following: The rest of its line.
        in_brackets: Whether a comma after it may separate it from another value.
    """
    if (
        not in_brackets
        and NUMBER.fullmatch(word)
        and (more := re.match(r",[0-9][0-9_]*(?:[eE][+-]?[0-9]+)?(?![\w.])", following))
    ):
        return _decimal_comma(word, more.group())
    if (other := _with_what_follows(word, following)) is not None:
        return other
    if NUMBER.fullmatch(word) or _DATE.fullmatch(word) or word in ("true", "false"):
        return None
    narrow = unicodedata.normalize("NFKC", word)
    if narrow != word and (NUMBER.fullmatch(narrow.rstrip(",")) or narrow in ("true", "false")):
        return Remedy("plain characters", f"Write {narrow}.")
    lowered = word.lower()
    if lowered in _TRUE | _FALSE:
        return Remedy("true or false", f"Write {'true' if lowered in _TRUE else 'false'}.")
    if lowered in _NOTHING:
        return Remedy("a value", "TOML has no word for nothing: leave the key out.")
    if lowered.lstrip("+-") in ("nan", "inf", "infinity"):
        return Remedy("a number", "No value here may be infinite, or no number.")
    if re.match(r"[+-]?[.0-9]|[\u2010-\u2014\u2212]", word):
        return _mistyped_number(word)
    return _text(word, following, in_brackets)


def _with_what_follows(word: str, following: str) -> Remedy | None:
    """Placeholders, calls, and numbers with blanks inside: more than a word."""
    if mark := _PLACEHOLDER.match(word + following):
        return Remedy("a value", "TOML has no variables: write the value itself.", len(mark.group()))
    if re.fullmatch(r"\.{2,}|\u2026", word):
        return Remedy("every value", "TOML has no ellipsis: write each value.")
    if NUMBER.fullmatch(word) and (more := _BLANK_INSIDE.match(following)):
        whole = word + re.sub(r"[ \t']", "", more.group())
        return Remedy("a number without blanks or marks in it", f"Write {whole}.", len(word) + len(more.group()))
    if re.fullmatch(r"[+-]?[0-9.]+[eE][+-]?", word) and (more := re.match(r"[ \t]+[+-]?[0-9]+(?![\w.])", following)):
        whole = word + more.group().strip()
        return Remedy("a number without blanks in it", f"Write {whole}.", len(word) + len(more.group()))
    if (call := re.match(r"\(([^()\n]*)\)", following)) and re.fullmatch(r"[A-Za-z_][\w.]*", word):
        inner = ", ".join(part.strip().replace("=", " = ").replace("  ", " ") for part in call[1].split(","))
        keys = call[1] and all("=" in part for part in call[1].split(","))
        hint = (
            f"Write {{ {inner} }}." if keys and len(inner) <= 60 else "TOML calls no functions: write the value itself."
        )
        return Remedy("a value", hint, len(word) + len(call.group()))
    return None


def _decimal_comma(word: str, more: str) -> Remedy:
    length = len(word) + len(more)
    point = f"{word}.{more[1:]}"
    if re.fullmatch(r",[0-9]{3}", more) and word.lstrip("+-") not in ("0", ""):
        return Remedy(
            "a number without a comma", f"Write {word}{more[1:]}, or {point} if the comma is the decimal one.", length
        )
    return Remedy("a number with a decimal point", f"Write {point}." if NUMBER.fullmatch(point) else "", length)


def _mistyped_number(word: str) -> Remedy:
    """Something that begins as a number does."""
    plain = word.translate(_MINUS)
    if plain != word and NUMBER.fullmatch(plain):
        return Remedy("a number with a plain minus sign", f"Write {plain}.")
    if match := re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)%", word):
        return Remedy("a number", f"Write {float(match[1]) / 100:g}.")
    if match := re.fullmatch(r"([+-]?)(\.[0-9].*)", plain):
        return _if_number(f"{match[1]}0{match[2]}", "a digit before the point")
    if match := re.fullmatch(r"([+-]?[0-9]+)\.((?:[eE].*)?)", plain):
        return _if_number(f"{match[1]}.0{match[2]}", "a digit after the point")
    if match := re.fullmatch(r"([+-]?)0+([0-9].*)", plain):
        return _if_number(match[1] + match[2], "a number without zeros in front")
    if match := re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([kKmMgGbB])", plain):
        return Remedy(A_NUMBER, f"Write {float(match[1]) * _FACTORS[match[2].lower()]:.15g}.")
    if match := re.fullmatch(r"([0-9]+)/([0-9]+)", plain):
        share = f"Write {int(match[1]) / int(match[2]):.6g}." if int(match[2]) else ""
        return Remedy(A_NUMBER, share)
    if match := re.fullmatch(r"10(?:\^|\*\*)([+-]?[0-9]{1,3})", plain):
        return Remedy(A_NUMBER, f"Write 1e{match[1]}.")
    if match := re.fullmatch(r"([+-]?[0-9.]+)[*x\u00b7\u00d7]10(?:\^|\*\*)([+-]?[0-9]{1,3})", plain):
        return _if_number(f"{match[1]}e{match[2]}", A_NUMBER)
    if match := re.fullmatch(r"([0-9]+)(steps?|epochs?|tokens?|cost|run)", word):
        return Remedy("a text", f'Write "{match[1]} {match[2]}".')
    if match := re.fullmatch(r"([+-]?[0-9][0-9_.]*(?:[eE][+-]?[0-9]+)?)[fFdDlLjuU]", plain):
        return _if_number(match[1], A_NUMBER)
    if (match := re.fullmatch(r"([0-9][0-9_]*)_", plain)) or (match := re.fullmatch(r"([0-9]+(?:__+[0-9]+)+)", plain)):
        return _if_number(re.sub("__+", "_", match[1]), A_NUMBER)
    if match := re.fullmatch(r"([0-9]+)\.\.+=?([0-9]+)", plain):
        point = f"{match[1]}.{match[2]}"
        return Remedy(
            A_NUMBER, f"Write {point} if it is one number; a list names each value, with commas between them."
        )
    if re.fullmatch(r"[+-]?[0-9]*(?:\.[0-9]*){2,}", plain):
        return Remedy("a number with one point", "")
    return Remedy(A_NUMBER, f'Texts stand in quotation marks: "{word}".' if len(word) <= 40 else "")


def _if_number(text: str, expected: str) -> Remedy:
    return Remedy(expected, f"Write {text}." if NUMBER.fullmatch(text) else "")


def _text(word: str, following: str, in_brackets: bool) -> Remedy:
    """A text without quotation marks; where it has several words and a line of its own, all of them."""
    rest = "" if in_brackets else re.split(r" #|[,;\"'=\[\]{}]", following)[0].rstrip()
    whole = word + (rest if re.fullmatch(r"(?:[ \t]+[^\s]+)*", rest) else "")
    hint = f'Texts stand in quotation marks: "{whole}".' if len(whole) <= 60 else "Texts stand in quotation marks."
    return Remedy("a value", hint, len(whole))
