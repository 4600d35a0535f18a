"""Arguments in a command line, a shell script, or a file of arguments: which flags stand there, with what values.

Nothing is run. Variables that the text sets are put in their places, and whole numbers are reckoned; what a shell would
have to be asked for stays as it is written, and is refused where a schedule needs it.
"""

from __future__ import annotations

import ast
import operator
import re
import shlex
from collections.abc import Callable, Iterator

_COMMENT = re.compile(r"(?m)(?:^|(?<=\s))#.*$")
_CONTINUED = re.compile(r"\\\r?\n")
_ARITHMETIC = re.compile(r"\$\(\((?:[^()\n]|\([^()\n]*\))*\)\)")
_ASSIGNED = re.compile(
    r"(?m)^[ \t]*(?:(?:export|local|readonly|declare(?:[ \t]+-\w+)*)[ \t]+)?([A-Za-z_]\w*)="
    r"""("(?:[^"\\]|\\.)*"|'[^']*'|\$\(\([^\n]*?\)\)|[^\s;&|()]*)"""
)
_FLAG = re.compile(r"(?:[A-Za-z_]\w*\+?=\(?|\()?--([A-Za-z][\w-]*)(?:=(.*))?", re.DOTALL)
_VARIABLE = re.compile(r"\$\{([A-Za-z_]\w*)(?::?[-=]([^{}]*))?\}|\$([A-Za-z_]\w*)")
_ENDS = {";", "&&", "||", "|", ")", "&", "\\"}
_DEEPEST = 8  # variables within variables
_REPLACED = 200  # characters of a value with its variables in their places
_OPERATORS: dict[type, Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.floordiv,
    ast.Mod: operator.mod,
}


class UnsetError(ValueError):
    """A value that depends on what the text does not set."""


def flags_in(text: str) -> Iterator[tuple[str, list[str]]]:
    """Every flag of a text, with the words behind it up to the next one, variables in their places.

    Args:
        text: a command line, a shell script, or a file of arguments.
    """
    plain = _CONTINUED.sub(" ", _COMMENT.sub("", text))
    plain = _ARITHMETIC.sub(lambda found: re.sub(r"\s", "", found[0]), plain)
    name, values = "", list[str]()
    for word in _words(plain):
        if found := _FLAG.fullmatch(word):
            if name:
                yield name, values
            name, values = found[1], [] if found[2] is None else [found[2]]
        elif word in _ENDS:
            if name:
                yield name, values
            name = ""
        elif name:
            word = word.rstrip(",;")
            values.append(word[:-1] if word.count(")") > word.count("(") else word)  # ARGS=(--lr 6e-5)
    if name:
        yield name, values


def _words(text: str) -> Iterator[str]:
    """The words of a text as a shell parts them; where its quotation marks do not pair, by its blanks."""
    try:
        parted = shlex.split(text)
    except ValueError:
        parted = [word.strip("\"'") for word in text.split()]
    for word in parted:
        if re.search(r"\s", word) and "--" in word:  # GPT_ARGS="--lr 6e-5 --min-lr 6e-6"
            yield from word.split()
        else:
            yield word


class Variables:
    """What a script sets its variables to.

    Args:
        text: the script.
    """

    def __init__(self, text: str) -> None:
        plain = _CONTINUED.sub(" ", _COMMENT.sub("", text))
        self._set: dict[str, list[str]] = {}
        for name, value in _ASSIGNED.findall(plain):
            self._set.setdefault(name, []).append(value.strip("\"'"))

    def replace_in(self, value: str, within: tuple[str, ...] = ()) -> str:
        """A value with its variables in their places, and sums reckoned.

        Args:
            value: as it is written.
            within: the variables in whose values it stands.

        Raises:
            UnsetError: a variable is not set, or is set to more than one value.
        """
        if len(within) > _DEEPEST:
            raise UnsetError(f"{within[0]}, which is made of itself")

        def one(found: re.Match[str]) -> str:
            name, default = found[1] or found[3], found[2]
            known = [] if name in within else list(dict.fromkeys(self._set.get(name, [])))
            if len(known) > 1:
                raise UnsetError(f"{name}, which it sets to {' and to '.join(known[:3])}")
            if not known and default is None:
                raise UnsetError(f"{name}, which it does not set")
            return self.replace_in(known[0], (*within, name)) if known else default or ""

        value = _VARIABLE.sub(one, value)
        if len(value) > _REPLACED:
            raise UnsetError("variables that make it very long")
        return _ARITHMETIC.sub(lambda found: self._reckon(found[0][3:-2], within), value)

    def _reckon(self, sum_: str, within: tuple[str, ...]) -> str:
        """What a sum of whole numbers and variables comes to."""

        def value_of(node: ast.AST) -> int:
            match node:
                case ast.Expression(body=body):
                    return value_of(body)
                case ast.Constant(value=int(number)):
                    return number
                case ast.Name(id=name):
                    return int(self.replace_in(f"${name}", within))
                case ast.UnaryOp(op=ast.USub(), operand=operand):
                    return -value_of(operand)
                case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
                    return _OPERATORS[type(op)](value_of(left), value_of(right))
            raise UnsetError(f"the sum {sum_}")

        try:
            return str(value_of(ast.parse(sum_.strip(), mode="eval")))
        except UnsetError:
            raise
        except (SyntaxError, ValueError, ArithmeticError, RecursionError, MemoryError):
            raise UnsetError(f"the sum {sum_}") from None
