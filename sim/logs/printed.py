"""What trainers print: "step 10: loss 3.2" in any of its spellings, and the dictionaries of Hugging Face's Trainer.

Every line that speaks of a loss is searched for names followed by numbers. All patterns are possessive or bounded, so
that no line takes longer than its length.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

from plateau_rule.sim.logs.rows import Block, Reader, Records, Row
from plateau_rule.sim.logs.series import STEPS, first_of
from plateau_rule.sim.logs.source import Source

_NUMPY = re.compile(r"np\.float\d\d\(")  # how NumPy prints a scalar in a dictionary
_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
# Numbers without their signs; NaN and infinity are looked for only in blocks that seem to have them, for speed.
_ODD = re.compile(rb"[nN][aA][nN]|[iI][nN][fF]")
_DIGITS = re.compile(r"(\d++(?:\.\d++)?+(?:[eE][-+]?\d++)?+)")
_ANY = re.compile(r"(\d++(?:\.\d++)?+(?:[eE][-+]?\d++)?+|(?<!\w)(?i:nan|inf(?:inity)?)(?!\w))")
# Before a number: one to four words, then a colon, an equals sign or blanks; its sign.
_NAME = re.compile(
    r"(?<![\w./-])([A-Za-z_][\w./-]{0,60}+(?:[ ][A-Za-z_][\w./-]{0,60}+){0,3})(?!\w)"
    r"""["']?\s{0,20}+[:=]?+\s{0,20}+["'\[(]{0,2}+(?:(?:tensor|array)?\(\[?)?([-+]?\.?)$"""
)
NAME_CHARACTERS = 200
MOST_NUMBERS = 64  # that are looked at in a line
MOST_KINDS, LONGEST_KIND = 2000, 1000  # that are remembered
# What makes a number something else: 23ms, 10k, 1.2.3.
_UNIT = re.compile(r"\w|\.\d")
_FILLER = {"the", "a", "is", "was", "at", "of", "and", "on", "in", "after", "current", "this", "for"}
# llm.c: s:10 trl:3.2 (train loss), tel:3.3 (the test loss), eval:0.3 (an accuracy).
_LLMC = {"s": "step", "trl": "train loss", "tel": "val loss", "eval": "eval accuracy"}
_LLMC_LINE = re.compile(r"^s:\d+ (trl|tel|eval):", re.M)
# Keras draws its bar again and again; only the bar of a finished epoch is a value to keep.
_KERAS_BAR = re.compile(r"^ {0,9}(\d+)/(\d+) .{0,200}?(?:ETA: |\ds |/step ).{0,200}?- (?:\w{1,40}_)?loss:")
_KERAS_EPOCH = re.compile(r"^ {0,9}Epoch (\d+)(?:/\d+)?:?\s*$", re.IGNORECASE)
_HF_DICT = re.compile(r"^.{0,200}?\{'loss': '?[-+.\w]+'?, .{0,500}?'epoch': ", re.M)
_STYLES = (
    ("llm.c's main.log", _LLMC_LINE),
    ("lines printed by nanoGPT", re.compile(r"^iter \d+: loss [-+.\w]+, time", re.M)),
    ("lines printed by modded-nanogpt", re.compile(r"^step:\d+/\d+ (?:train|val)_loss:", re.M)),
    ("dictionaries printed by Hugging Face's Trainer", _HF_DICT),
    ("progress printed by Keras", re.compile(r"^ {0,9}\d+/\d+ .{0,200}?s/(?:step|epoch) .{0,200}?- loss:", re.M)),
)


# The names in lines of one kind, the places of their numbers among the pieces of a line, and their signs.
Kind = tuple[tuple[str, int, str], ...]


class Printed(Reader):
    """Text in which some lines tell a loss; the others are counted and passed over.

    Args:
        source: the text.
        column: the name that the user asked for; without one, lines are looked at that speak of a loss.
    """

    format = "printed text"

    def __init__(self, source: Source, column: str | None = None) -> None:
        super().__init__()
        self.source = source
        self.epoch: str | None = None
        self.kinds: dict[tuple[str, ...], Kind] = {}
        self.word = column.split()[-1] if column and column.split() else "loss"
        text = _clean(source.head)
        name = next((name for name, style in _STYLES if style.search(text)), None)
        if name:
            self.format = name
            self.averages = name.startswith("dictionaries")
            self.running = name.endswith("Keras")
        self.llmc = name == _STYLES[0][0]
        self.nanogpt = name == _STYLES[1][0]

    def blocks(self) -> Iterator[Block]:
        """A row for each line that tells a loss."""
        for data in self.source.lines():
            dropped: Counter[str] = Counter()
            lines = _clean(data).split("\n")
            if not lines[-1]:
                lines.pop()
            pattern = _ANY if _ODD.search(data) else _DIGITS
            rows = [row for line in lines if self._tells(line) and (row := self._row(line, pattern, dropped))]
            if silent := len(lines) - len(rows) - dropped.total():
                dropped["line that tells no loss"] += silent
            yield Block(len(rows), Records(rows), 0, dropped)

    def _tells(self, line: str) -> bool:
        """Whether it is worth a closer look; most lines are told by the first of these."""
        if "loss" in line or "Loss" in line or self.word in line or line.startswith("s:"):
            return True
        return "LOSS" in line or "nll" in line or "poch" in line

    def _row(self, line: str, pattern: re.Pattern[str], dropped: Counter[str]) -> Row:
        """The names and numbers of a line; of a name that stands there twice, the first."""
        if "poch" in line and (heading := _KERAS_EPOCH.match(line)):
            self.epoch = heading[1]
            return {}
        if self.running and (bar := _KERAS_BAR.match(line)) and bar[1] != bar[2]:
            dropped["progress bar of an epoch that is going on (a running mean)"] += 1
            return {}
        pieces = pattern.split(line, MOST_NUMBERS)
        frame = tuple(pieces[::2])  # the line without its numbers: the same for all lines of its kind
        kind = self.kinds.get(frame) or self._learn(frame)
        if not kind:
            return {}
        row: Row = {name: sign + pieces[at] if sign else pieces[at] for name, at, sign in kind}
        if self.epoch is not None:
            row.setdefault("epoch", self.epoch)
        return row

    def _learn(self, frame: tuple[str, ...]) -> Kind:
        """The names in a line of this kind."""
        kind: dict[str, tuple[int, str]] = {}
        for at, (before, after) in enumerate(pairwise(frame)):
            if not _UNIT.match(after) and (found := _NAME.search(before[-NAME_CHARACTERS:])):
                kind.setdefault(self._name(found[1]), (2 * at + 1, found[2]))
        if "step" not in kind and (step := first_of(kind, STEPS)) is not None:
            kind["step"] = kind.pop(step)
        if self.averages and "train_runtime" in kind:
            kind.pop("train_loss", None)
        if self.nanogpt and "train loss" in kind:
            kind["eval train loss"] = kind.pop("train loss")  # measured together with the validation loss
        if len(self.kinds) >= MOST_KINDS:
            self.kinds.clear()
        learned = tuple((name, at, sign) for name, (at, sign) in kind.items())
        if sum(map(len, frame)) <= LONGEST_KIND:
            self.kinds[frame] = learned
        return learned

    def _name(self, spelt: str) -> str:
        """A name without words that only fill."""
        name = " ".join(word for word in spelt.split() if word.lower() not in _FILLER) or spelt
        if name.lower() in ("step", "epoch", "iter", "iteration", "loss"):
            name = name.lower()
        return _LLMC.get(name, name) if self.llmc else name


def _clean(data: bytes) -> str:
    """Text without colours, a line for each time that a progress bar was drawn."""
    text = data.decode("utf-8", "replace").replace("\r", "\n").replace("\b", "")
    if "np.float" in text:
        text = _NUMPY.sub("(", text)
    return _COLOUR.sub("", text) if "\x1b" in text else text
