"""Tables in printed text: a name and its value in each line, or a header with rows of numbers below it."""

from __future__ import annotations

import re

from plateau_rule.sim.logs.rows import NUMBER, Row, numbers
from plateau_rule.sim.logs.series import EPOCHS, STEPS, is_loss, normal

MOST_CELLS = 200
_BARS = re.compile(r"[|│┃]")
_RULE = re.compile(r"[\s|│┃+=─━┌┐└┘├┤┬┴┼╭╮╰╯-]{4,}+$")
_GAP = re.compile(r"\s{2,}|\t")
_CLOCK_FIRST = re.compile(r"[\s|│┃]{0,40}(?:epochs?|steps?|iter\w{0,8}|ep?|batch|#)(?![\w:=/-])", re.IGNORECASE)
_VALUE = re.compile(r"([-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?|nan|[-+]?inf)(?![\w.])", re.IGNORECASE)
_SHORT = {"e": "epoch", "ep": "epoch", "epoch": "epoch", "#": "step", "step": "step", "steps": "step"}


class Pairs:
    """Lines such as `| train/loss | 2.31 |`, as Stable-Baselines prints them; lines of one table are one row.

    A table ends at a rule, or where a name stands there again. A name without a value goes before those below it.
    """

    def __init__(self) -> None:
        self.cells: Row = {}
        self.group = ""

    def take(self, line: str) -> tuple[bool, list[Row]]:
        """Whether a line belongs to such a table, and the rows that it completes."""
        if not (self.cells or self.group) and line.lstrip()[:1] not in ("|", "│", "┃"):
            return False, []
        if _RULE.match(line):
            return bool(self.cells), self.end()
        cells = [cell.strip() for cell in _BARS.split(line.strip())]
        if len(cells) != 4 or cells[0] or cells[3] or not cells[1]:
            return False, self.end()
        name, value = cells[1], cells[2].replace(",", "")
        if not value:
            group = name if name.endswith("/") else f"{name}/"
            rows = self.end() if any(key.startswith(group) for key in self.cells) else []
            self.group = group
            return True, rows
        if numbers([value])[1][0] != NUMBER or numbers([name])[1][0] == NUMBER:
            return False, self.end()
        name = self.group + name
        rows = []
        if name in self.cells or len(self.cells) >= MOST_CELLS:
            group = self.group
            rows, self.group = self.end(), group
        self.cells[name] = value
        return True, rows

    def end(self) -> list[Row]:
        """The table at hand as one row."""
        cells, self.cells, self.group = self.cells, {}, ""
        if not cells:
            return []
        for clock, names in (("step", STEPS), ("epoch", EPOCHS)):
            known = {normal(name.rpartition("/")[2]): name for name in reversed(cells)}
            name = next((known[name] for name in names if name in known), None)
            if name is not None:
                cells[clock] = cells.pop(name)
        return [cells]


class Aligned:
    """A header whose first name is a clock, and lines of as many numbers below it: fastai, spaCy, YOLO, Markdown."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.split = _GAP

    def take(self, line: str) -> Row | None:
        """The row that a line gives; an empty one for the header."""
        if _CLOCK_FIRST.match(line) and self._is_header(line):
            return {}
        if not self.names or not line.lstrip(" |│┃\t")[:1].isdigit():
            return None
        fields = self._fields(line)
        if len(fields) < len(self.names):
            return None
        values = [_VALUE.match(field) for field in fields[: len(self.names)]]
        row: Row = {name: value[1] for name, value in zip(self.names, values, strict=True) if value}
        return row if 2 * len(row) > len(self.names) and self.names[0] in row else None

    def _is_header(self, line: str) -> bool:
        """Whether this line names columns, one of them a loss; remember them if so."""
        for split in (_BARS,) if line.lstrip()[:1] in "|│┃" else (_GAP, re.compile(r"\s+")):
            self.split, before = split, self.split
            fields = [re.sub(r"\s+", " ", field) for field in self._fields(line)]
            numeric = any(field[:1].isdigit() or re.search("[=:%]", field) for field in fields)
            if len(fields) >= 3 and not numeric and any(map(is_loss, fields[1:])) and len(set(fields)) == len(fields):
                self.names = [_SHORT.get(name.lower(), name) for name in fields]
                return True
            self.split = before
        return False

    def _fields(self, line: str) -> list[str]:
        fields = [field.strip() for field in self.split.split(line.strip())]
        return fields[1:-1] if self.split is _BARS and len(fields) > 2 else fields
