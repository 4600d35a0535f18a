"""What trainers print: "step 10: loss 3.2" in any of its spellings, and the dictionaries of Hugging Face's Trainer.

Every line that speaks of a loss is searched for names followed by numbers. All patterns are possessive or bounded, so
that no line takes longer than its length.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from sim.logs.rows import Block, Reader, Records, Row
from sim.logs.series import STEPS, first_of
from sim.logs.source import Source

_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_NUMBER = r"[-+]?(?:\d++(?:\.\d*+)?+|\.\d++)(?:[eE][-+]?\d++)?+|[-+]?(?i:nan|inf(?:inity)?)"
# One to four words, then `:`, `=` or blanks, then a number that is not the beginning of something else (3.2ms, 1.2.3).
_PAIR = re.compile(
    r"(?<![\w./-])([A-Za-z_][\w./-]{0,60}+(?:[ ][A-Za-z_][\w./-]{0,60}+){0,3})"
    r"""["']?\s{0,12}+[:=]?+\s{0,12}+["'\[(]{0,2}+(?:(?:tensor|array|np\.float\d\d)\(\[?)?"""
    rf"({_NUMBER})(?!\w|\.\d)"
)
_FILLER = {"the", "a", "is", "was", "at", "of", "and", "on", "in", "after", "current", "this", "for"}
# llm.c: s:10 trl:3.2 (train loss), tel:3.3 (the test loss), eval:0.3 (an accuracy).
_LLMC = {"s": "step", "trl": "train loss", "tel": "val loss", "eval": "eval accuracy"}
_LLMC_LINE = re.compile(r"^s:\d+ (trl|tel|eval):", re.MULTILINE)
# Keras draws its bar again and again; only the bar of a finished epoch is a value to keep.
_KERAS_BAR = re.compile(r"^\s*(\d+)/(\d+)\s.*\b(?:ETA|\d+m?u?s(?:/step|/epoch)?)\b.*-\s*(?:\w+_)?loss:", re.IGNORECASE)
_KERAS_EPOCH = re.compile(r"^\s*Epoch (\d+)(?:/\d+)?:?\s*$", re.IGNORECASE)
_HF_DICT = re.compile(r"^.{0,200}?\{'loss': '?[-+.\w]+'?, .*'epoch': ", re.MULTILINE)
_STYLES = (
    ("llm.c's main.log", _LLMC_LINE),
    ("lines printed by nanoGPT", re.compile(r"^iter \d+: loss [-+.\w]+, time", re.MULTILINE)),
    ("lines printed by modded-nanogpt", re.compile(r"^step:\d+/\d+ (?:train|val)_loss:", re.MULTILINE)),
    ("dictionaries printed by Hugging Face's Trainer", _HF_DICT),
    ("progress printed by Keras", re.compile(r"^\s*\d+/\d+ .*\b\d+m?u?s/(?:step|epoch)\b.* - loss:", re.MULTILINE)),
)


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
        words = r"loss|\btrl:|\btel:|\bnll\b|^\s*epoch\b|^s:"
        if column:
            words += "|" + re.escape(column.split()[-1])
        self.telling = re.compile(rf"^.*(?:{words}).*$", re.IGNORECASE | re.MULTILINE)
        self._recognise(source.head)

    def _recognise(self, head: bytes) -> None:
        text = _COLOUR.sub("", head.decode("utf-8", "replace").replace("\r", "\n"))
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
            text = data.decode("utf-8", "replace").replace("\r", "\n").replace("\b", "")
            if "\x1b" in text:
                text = _COLOUR.sub("", text)
            dropped: Counter[str] = Counter()
            rows = list(self._rows(text, dropped))
            if silent := text.count("\n") - len(rows) - sum(dropped.values()):
                dropped["line that tells no loss"] += max(0, silent)
            yield Block(len(rows), Records(rows), 0, dropped)

    def _rows(self, text: str, dropped: Counter[str]) -> Iterator[Row]:
        for line in self.telling.findall(text):
            if heading := _KERAS_EPOCH.match(line):
                self.epoch = heading[1]
                continue
            if (bar := _KERAS_BAR.match(line)) and bar[1] != bar[2]:
                dropped["progress bar of an epoch that is going on (a running mean)"] += 1
                continue
            row = self._row(line)
            if len(row) > 0:
                if self.epoch is not None and "epoch" not in row:
                    row["epoch"] = self.epoch
                yield row

    def _row(self, line: str) -> Row:
        """The names and numbers of a line; of a name that stands there twice, the first."""
        row: Row = {}
        for name, number in _PAIR.findall(line):
            words = [word for word in name.replace("_", " _").replace(" _", "_").split() if word.lower() not in _FILLER]
            spelt = " ".join(words) or name
            if spelt.lower() in ("step", "epoch", "iter", "iteration", "loss"):
                spelt = spelt.lower()
            if self.llmc:
                spelt = _LLMC.get(spelt, spelt)
            row.setdefault(spelt, number)
        if (step := first_of(row, STEPS)) is not None and step != "step":
            row["step"] = row.pop(step)
        if self.averages and "train_runtime" in row:
            row.pop("train_loss", None)
        if self.nanogpt and "train loss" in row:
            row["eval train loss"] = row.pop("train loss")  # measured together with the validation loss
        return row
