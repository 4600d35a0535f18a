"""What trainers print: "step 10: loss 3.2" in any of its spellings, and the dictionaries of Hugging Face's Trainer.

Every line that speaks of a loss is searched for names followed by numbers. All patterns are possessive or bounded, so
that no line takes longer than its length. What a line means is in frames.py.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping

from plateau_rule.sim.logs.frames import Frame, frame_of
from plateau_rule.sim.logs.printed_tables import MOST_CELLS, Aligned, Pairs
from plateau_rule.sim.logs.rows import Reader, Records, Row, RowBlock
from plateau_rule.sim.logs.series import EVAL, LENGTH, TRAIN, words
from plateau_rule.sim.logs.source import Source
from plateau_rule.sim.logs.splits import section_of

_NUMPY = re.compile(r"np\.float\d\d\(")  # how NumPy prints a scalar in a dictionary
_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
# Numbers without their signs; a digit in a name is none. NaN and infinity are looked for only in blocks that seem to
# have them, for speed.
_ODD = re.compile(rb"[nN][aA][nN]|[iI][nN][fF]")
# A digit comes first in the pattern, so that the search for one is fast; what may stand before it is looked at next.
_BARE = r"\d(?:(?<!\w\d)|(?<=[Ee]poch\d)|(?<=EPOCH\d)|(?<=[Ss]tep\d)|(?<=STEP\d)|(?<=[Ii]ter\d))"
_THOUSANDS_IN = r"(?<![\[(,]\d)(?<!0)\d{0,2}(?:,\d{3})++(?![\d,])"
_NUMBER = rf"{_BARE}(?:{_THOUSANDS_IN}|\d*+)(?:\.\d++)?+(?:[eE][-+]?\d++)?+"
_DIGITS = re.compile(rf"({_NUMBER})")
_ANY = re.compile(rf"({_NUMBER}|(?<!\w)(?i:nan|inf(?:inity)?)(?!\w))")
_THOUSANDS = re.compile(r"\d,\d{3}")
MOST_NUMBERS = 64  # that are looked at in a line
MOST_KINDS, LONGEST_KIND = 2000, 1000  # that are remembered
MOST_BESIDE = 4000  # lines without a loss that are looked at, for a message
_TELLS = re.compile(
    r"loss|nll|xent|cost|objective|ppl|perplexity|entropy|rmse|rmsle|logloss|huber|learn:|\bm[as]p?e\b|\bl[12]\b"
    r"|\b[bcw]{1,2}er\b|\bbp[bc]\b",
    re.IGNORECASE,
)
_SPEAKS_OF_TIME = re.compile(r"epoch|step|iter|batch", re.IGNORECASE)
_SPEAKS_OF_SPLIT = re.compile(r"train|valid|eval|test", re.IGNORECASE)
LONGEST_HEADING = 200  # characters
# llm.c: s:10 trl:3.2 (train loss), tel:3.3 (the test loss), eval:0.3 (an accuracy).
_LLMC = {"s": "step", "trl": "train loss", "tel": "val loss", "eval": "eval accuracy"}
_RANK = re.compile(r"\W{0,3}(?:rank|gpu|worker|node|default)(\d{1,5})\b", re.IGNORECASE)  # "[rank0]: step 10"
_LLMC_LINE = re.compile(r"^s:\d+ (trl|tel|eval):", re.M)
# Keras draws its bar again and again; only the bar of a finished epoch is a value to keep.
_KERAS_BAR = re.compile(r"^ {0,9}(\d+)/(\d+) .{0,200}?(?:ETA: |\ds |/step ).{0,200}?- (?:\w{1,40}_)?loss:")
_HF_DICT = re.compile(r"^.{0,200}?\{'loss': '?[-+.\w]+'?, .{0,500}?'epoch': ", re.M)
_STYLES = (
    ("llm.c's main.log", _LLMC_LINE),
    ("lines printed by nanoGPT", re.compile(r"^iter \d+: loss [-+.\w]+, time", re.M)),
    ("lines printed by modded-nanogpt", re.compile(r"^step:\d+/\d+ (?:train|val)_loss:", re.M)),
    ("dictionaries printed by Hugging Face's Trainer", _HF_DICT),
    ("lines printed by PyTorch's examples", re.compile(r"^Train Epoch: \d+ \[\d+/\d+ \(\d+%\)\]", re.M)),
    ("progress printed by Keras", re.compile(r"^ {0,9}\d+/\d+ .{0,200}?s/(?:step|epoch) .{0,200}?- loss:", re.M)),
)
# Decimal commas: a number that follows a loss, and cannot be one of thousands ("0,345", "3,4", "12,0345").
_LOSS_NUMBER = r"(?i:loss|nll|xent|cost)['\"]?\s{0,4}[:=|]?\s{0,4}-?"
_COMMA = re.compile(_LOSS_NUMBER + r"(?:0,\d+|\d+,(?:\d{1,2}|\d{4,}))(?!\d|[,.]\d|\])")
_POINT = re.compile(_LOSS_NUMBER + r"\d+\.\d")
_GROUPED = re.compile(_LOSS_NUMBER + r"[1-9]\d{0,2},\d{3}(?!\d|[,.]\d)")
_DECIMAL_COMMA = re.compile(r"(?<![\d.,\[(])(\d+),(\d+)(?!\d|,\d)")
_NO_LINE = "line that tells no loss"


class Printed(Reader):
    """Text in which some lines tell a loss; the others are counted and passed over.

    Args:
        source: the text.
        column: the name that the user asked for; without one, lines are looked at that speak of a loss.
    """

    format = "printed text"
    lines = True

    def __init__(self, source: Source, column: str | None = None) -> None:
        super().__init__()
        self.source = source
        self.heading: Row = {}  # the clock that stands above the lines at hand
        self.section: set[str] | None = None  # names that are told below a heading for evaluations
        self.frames: dict[tuple[str, ...], Frame] = {}
        self.beside: Counter[str] = Counter()  # numbers in lines that tell no loss
        self.looked = 0
        self.pairs, self.aligned = Pairs(), Aligned()
        self.word = column.split()[-1] if column and column.split() else "loss"
        text = _clean(source.head)
        name = next((name for name, style in _STYLES if style.search(text)), None)
        if name:
            self.format = name
            self.averages = name.startswith("dictionaries")
            self.running = name.endswith("Keras")
            self.samples = name.endswith("examples")
        self.llmc = name == _STYLES[0][0]
        self.commas = False
        if "," in text and not _POINT.search(text):
            self._look_for_commas(text)
        self.nanogpt = name == _STYLES[1][0]

    def _look_for_commas(self, text: str) -> None:
        """Whether commas stand before decimals; say how they are read."""
        if found := _COMMA.search(text):
            self.commas = True
            self.warnings.append(f"{self.source.name}: commas stand for decimal points there ({found[0]!r})")
        elif found := _GROUPED.search(text):
            self.warnings.append(
                f"{self.source.name}: the comma in {found[0]!r} is taken for one of thousands; if it stands for a "
                "decimal point, write a point"
            )

    def blocks(self) -> Iterator[RowBlock]:
        """A row for each line, or table, that tells a loss."""
        for data in self.source.lines():
            dropped: Counter[str] = Counter()
            text = _clean(data)
            lines = (_DECIMAL_COMMA.sub(r"\1.\2", text) if self.commas else text).split("\n")
            if not lines[-1]:
                lines.pop()
            pattern = _ANY if _ODD.search(data) else _DIGITS
            rows: list[Row] = []
            for line in lines:
                rows += self._rows(line, pattern, dropped)
            yield RowBlock(len(rows), Records(rows), 0, dropped)
        if rows := self.pairs.end():
            yield RowBlock(len(rows), Records(rows), 0)

    def names_beside(self) -> Mapping[str, int]:
        """How many numbers of each name were seen in lines that tell no loss."""
        return self.beside

    def _rows(self, line: str, pattern: re.Pattern[str], dropped: Counter[str]) -> list[Row]:
        """What a line gives: no row, or one; or the table that it ends and one of its own."""
        taken, rows = self.pairs.take(line) if line.strip() else (False, [])
        if taken:
            return rows
        table = self.aligned.take(line)
        if table is not None:
            return [table] if table else []
        if self._tells(line):
            row = self._row(line, pattern, dropped)
            if row is not None:
                return [*rows, row] if row else rows
        elif len(line) < LONGEST_HEADING and _SPEAKS_OF_TIME.search(line):
            self._look_for_heading(line, pattern)
        elif len(line) < LONGEST_HEADING and _SPEAKS_OF_SPLIT.search(line) and not pattern.search(line):
            evaluates = section_of(line)
            if evaluates is not None:
                self.section = set() if evaluates else None
        elif self.looked < MOST_BESIDE:
            self._look_beside(line, pattern)
        dropped[_NO_LINE] += 1
        return rows

    def _tells(self, line: str) -> bool:
        """Whether it is worth a closer look; most lines are told by the first of these."""
        if "loss" in line or "Loss" in line or self.word in line or line.startswith("s:"):
            return True
        return _TELLS.search(line) is not None

    def _row(self, line: str, pattern: re.Pattern[str], dropped: Counter[str]) -> Row | None:
        """The names and numbers of a line, the first of each name; None if it tells no loss, empty if it is counted."""
        if self.running and (bar := _KERAS_BAR.match(line)) and bar[1] != bar[2]:
            dropped["progress bar of an epoch that is going on (a running mean)"] += 1
            return {}
        pieces = pattern.split(line, MOST_NUMBERS)
        frame = self._frame(pieces)
        row: Row = {name: sign + pieces[at] if sign else pieces[at] for name, at, sign in frame.fields}
        if "," in line and _THOUSANDS.search(line):
            row = {name: value.replace(",", "") if isinstance(value, str) else value for name, value in row.items()}
        if frame.heading:
            self._head(row)
            return None
        if len(row) == ("step" in row) + ("epoch" in row) + (LENGTH in row):
            return None
        if frame.rank:
            row["rank"] = frame.rank
        if "step" not in row:
            if self.section is not None:
                row = self._in_section(row)
            return {**self.heading, **row}
        self.section = None
        if "epoch" in self.heading:
            row.setdefault("epoch", self.heading["epoch"])
        return row

    def _in_section(self, row: Row) -> Row:
        """A row below a heading for evaluations; these are over with a clock, another split, or a name told again."""
        if "epoch" in row or any(words(name) & (EVAL | TRAIN) for name in row) or row.keys() & (self.section or set()):
            self.section = None
            return row
        self.section = {*(self.section or ()), *row}
        return {f"eval {name}": value for name, value in row.items()}

    def _frame(self, pieces: list[str]) -> Frame:
        """What the numbers of this line are; the line without its numbers is the same for all lines of its kind."""
        key = tuple(pieces[::2])
        return self.frames.get(key) or self._learn(key, pieces)

    def _learn(self, key: tuple[str, ...], pieces: list[str]) -> Frame:
        fields, heading, _ = frame_of(pieces, pairs=not self.running)
        names = {name for name, _, _ in fields}
        if self.averages and "train_runtime" in names:
            fields = tuple(each for each in fields if each[0] != "train_loss")
        if self.llmc:
            fields = tuple((_LLMC.get(name, name), at, sign) for name, at, sign in fields)
        if self.nanogpt and "train loss" in names:  # measured together with the validation loss
            both = {name: (at, sign) for name, at, sign in fields}
            both["eval train loss"] = both.pop("train loss")
            fields = tuple((name, at, sign) for name, (at, sign) in both.items())
        if len(self.frames) >= MOST_KINDS:
            self.frames.clear()
        rank = _RANK.match(key[0])
        frame = Frame(fields, heading, rank[1] if rank else "")
        if sum(map(len, key)) <= LONGEST_KIND:
            self.frames[key] = frame
        return frame

    # Lines without a loss

    def _look_for_heading(self, line: str, pattern: re.Pattern[str]) -> None:
        """Take the clock of a heading for the lines below it."""
        pieces = pattern.split(line, MOST_NUMBERS)
        frame = self._frame(pieces)
        if frame.heading:
            self._head({name: pieces[at] for name, at, _ in frame.fields})
        else:
            self._count_beside(frame)

    def _head(self, clock: Row) -> None:
        if "step" not in clock and self.heading.get("epoch") == clock.get("epoch"):
            return
        self.section = None
        self.heading = {**({"epoch": self.heading["epoch"]} if "epoch" in self.heading else {}), **clock}

    def _look_beside(self, line: str, pattern: re.Pattern[str]) -> None:
        """Remember what such a line tells, in case that nothing tells a loss."""
        pieces = pattern.split(line[:1000], MOST_NUMBERS)
        if len(pieces) > 1:
            self._count_beside(self._frame(pieces))

    def _count_beside(self, frame: Frame) -> None:
        self.looked += 1
        if len(self.beside) < MOST_CELLS:
            self.beside.update(name for name, _, _ in frame.fields if name not in ("step", "epoch", LENGTH))


def _clean(data: bytes) -> str:
    """Text without colours, a line for each time that a progress bar was drawn."""
    text = data.decode("utf-8", "replace").replace("\r", "\n").replace("\b", "")
    if "np.float" in text:
        text = _NUMPY.sub("(", text)
    return _COLOUR.sub("", text) if "\x1b" in text else text
