"""Of which split a printed line speaks: training, or one that evaluations are made on."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

from plateau_rule.sim.logs.rows import RowBlock
from plateau_rule.sim.logs.series import (
    CLOCKS,
    COST,
    EVAL,
    FINE,
    QUALITY,
    RATES,
    TRAIN,
    is_eval,
    is_loss,
    is_objective,
    normal,
    words,
)

_ACTIONS = {"evaluate": "eval", "evaluating": "eval", "inference": "eval", "validate": "val", "validating": "val"}
LINE_EVAL = EVAL | _ACTIONS.keys()
_BESIDE = FINE | {
    "inner",
    "set",
    "subset",
    "epoch",
    "stats",
    "loop",
    "phase",
    "result",
    "results",
    "summary",
    "performance",
    "clean",
    "other",
}
_TOKEN = re.compile(r"(?<![\w./\\-])[A-Za-z_]{2,40}+(?![\w\\-]|\.\w|/\w)")
SPLIT_COLUMNS: tuple[str, ...] = ("mode", "split", "phase", "stage", "subset", "partition")
SPLIT_COLUMNS += ("set", "dataset", "type", "kind", "event", "tag")
_LOOKED_AT = 1000  # rows in which such a column is looked for
_TOGETHER = 8  # characters between "train" and "val" that stand for one split: "train & val loss"


class Splits:
    """The words of a line that name a split, with their places.

    Args:
        line: the line.
        names: names of numbers in it that are no clock and more than the word of a split; their ends in the line first.
    """

    def __init__(self, line: str, names: Sequence[tuple[tuple[int, int], str]]) -> None:
        self.outside = [
            (found.start(), found[0])
            for found in _TOKEN.finditer(line)
            if _is_split(found[0]) and not any(start <= found.start() < stop for (start, stop), _ in names)
        ]
        # "test acc: 55.0%, loss: 2.1": the first name speaks for the second.
        self.scores = [(start, name) for (start, _), name in names if _is_score(name)]
        self.losses = [(start, name) for (start, _), name in names if words(name) & (EVAL | TRAIN) and is_loss(name)]
        self.names = {name.lower() for _, name in names}

    @property
    def is_eval(self) -> bool:
        """Whether the first word of the line that names a split names one of evaluations."""
        return bool(self.outside) and _evaluates(self.outside[0][1])

    def before(self, name: str, place: int) -> str:
        """The split to put before a name that stands at a place, or nothing."""
        if words(name) & (EVAL | TRAIN):
            return ""
        left = [(at, token) for at, token in self.outside if at < place]
        if is_loss(name) or is_objective(name):
            left += [(at, score) for at, score in self.scores if at < place and not self._has(score, name)]
        elif words(name) & QUALITY:  # "val Loss: 1.5 Acc: 0.65"
            left += [(at, loss) for at, loss in self.losses if at < place]
        if left:
            nearest, split = max(left)
            together = [token for at, token in sorted(left) if nearest - at <= _TOGETHER]
            if len({_evaluates(token) for token in together}) > 1:  # which of them, nobody can tell
                return " ".join(together)
            return _label(split)
        kinds = {_evaluates(token) for _, token in self.outside}
        return _label(self.outside[0][1]) if kinds == {True} else ""

    def _has(self, score: str, name: str) -> bool:
        """Whether the line tells the same name for this split as well."""
        return any(f"{split} {name}".lower() in self.names for split in words(score) & (EVAL | TRAIN))


def section_of(line: str) -> bool | None:
    """Whether a line without numbers is a heading for evaluations (True), or for training (False); else None."""
    tokens = [found[0] for found in _TOKEN.finditer(line)]
    splits = {_evaluates(token) for token in tokens if _is_split(token)}
    if len(splits) != 1 or len(tokens) > 4:
        return None
    return splits.pop()


def _is_split(token: str) -> bool:
    found = words(token)
    return bool(found & (LINE_EVAL | TRAIN)) and found <= LINE_EVAL | TRAIN | _BESIDE


def _is_score(name: str) -> bool:
    found = words(name)
    return bool(found & (EVAL | TRAIN)) and bool(found & QUALITY) and not found & COST


def _evaluates(token: str) -> bool:
    return bool(words(token) & LINE_EVAL)


def _label(token: str) -> str:
    """What goes before a name: the split of evaluations; of training only what is more than that word."""
    found = words(token)
    if found & LINE_EVAL:
        word = str(next(word for word in re.findall(r"[a-z]+", token.lower()) if word in LINE_EVAL))
        return _ACTIONS.get(word, word)
    return "" if found <= TRAIN or found & QUALITY or is_loss(token) else token


def told_apart(blocks: Iterator[RowBlock]) -> Iterator[RowBlock]:
    """Rows that say in a column of their own of which split they are: what evaluations bring gets the split's name.

    As {"mode": "val", "loss": 2.5} of mmdetection: its loss is called "val loss".
    """
    name, seen = None, 0
    for block in blocks:
        if name is None and seen < _LOOKED_AT:
            name = _split_column(block)
            seen += block.count
        marks = [] if name is None else [_split_said(name, value) for value in block.column(name)]
        named = sorted({mark for mark in marks if mark})
        if not named:
            yield block
            continue
        columns: dict[str, Sequence[object]] = {}
        for column in block.columns:
            values = block.column(column)
            if column == name and _asked_split(column):
                continue
            if column == name or normal(column) in CLOCKS or normal(column) in RATES or is_eval(column):
                columns[column] = values
                continue
            pairs = list(zip(marks, values, strict=True))
            columns[column] = [None if mark else value for mark, value in pairs]
            for split in named:
                columns[f"{split} {column}"] = [value if mark == split else None for mark, value in pairs]
        yield RowBlock(block.count, columns, block.line, block.dropped)


def _split_column(block: RowBlock) -> str | None:
    """The column that says of which split a row is: by a word, or by yes and no (`is_train`)."""
    for name in block.columns:
        said = _asked_split(name)
        values = block.column(name)
        if said is not None and {str(value).lower() for value in values} <= {"0", "1", "true", "false", "none", ""}:
            return name
        if name.lower() in SPLIT_COLUMNS and any(isinstance(value, str) and _is_split(value) for value in values):
            return name
    return None


def _asked_split(name: str) -> str | None:
    """The split of a column such as `is_train` or `is_val`."""
    spelt = normal(name)
    split = spelt.removeprefix("is_")
    return split if split != spelt and split in TRAIN | LINE_EVAL else None


@lru_cache(maxsize=4096)
def _split_said(column: str, value: object) -> str:
    """The split of evaluations that a row's mark names, or nothing."""
    if (split := _asked_split(column)) is not None:
        holds = str(value).lower() in ("1", "true")
        if split in TRAIN:
            return "eval" if str(value).lower() in ("0", "false") else ""
        return _label(split) if holds else ""
    return _label(value) if isinstance(value, str) and _is_split(value) and _evaluates(value) else ""
