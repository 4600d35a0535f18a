"""A curriculum as it is written down: each line with the argument that it comes from."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from textwrap import wrap
from typing import Any, NamedTuple

from plateau_rule.controller.language.writing import WIDEST_LINE, spell_value
from plateau_rule.sim.schedules.arguments import shown


class WrittenLine(NamedTuple):
    """A key with its value, and the argument that it comes from."""

    key: str
    value: Any
    origin: str = ""


@dataclass
class WrittenState:
    """A state, and when it is entered.

    Attributes:
        name: of the state.
        step: its first step; None where `entered` says when.
        rate: what it changes of the rate.
        batch: the batch size in it, where that is a knob.
        ramp: the ramp of the batch size in it.
        restarts: whether the rate starts over when it is entered.
        entered: the guard that leads into it; by its step where there is none.
        origin: the argument that it comes from.
    """

    name: str
    step: int = 0
    rate: dict[str, Any] = field(default_factory=dict)
    batch: int | None = None
    ramp: dict[str, Any] | None = None
    restarts: bool = False
    entered: dict[str, Any] | None = None
    origin: str = ""


@dataclass
class Draft:
    """A curriculum as its lines.

    Attributes:
        name: of the curriculum.
        run: the lines of `[run]`.
        rate: the lines of `[lr]`.
        knob: the lines of the knob `batch_size`; none where there is no such knob.
        pieces: the states, each entered from the one before it.
        waived: why the rate need not be high when the batch grows; nothing where it is.
        remarks: what a reader is told besides, one sentence each.
    """

    name: str
    run: list[WrittenLine] = field(default_factory=list)
    rate: list[WrittenLine] = field(default_factory=list)
    knob: list[WrittenLine] = field(default_factory=list)
    pieces: list[WrittenState] = field(default_factory=lambda: [WrittenState("training")])
    waived: str = ""
    remarks: list[str] = field(default_factory=list)

    def text(self, head: Iterable[str] = ()) -> str:
        """It as TOML.

        Args:
            head: sentences that stand above it.
        """
        sentences = (*head, *self.remarks)
        lines = [f"# {line}" for sentence in sentences for line in wrap(sentence, WIDEST_LINE - 2)]
        lines += ["format = 1", f"name = {_spell(self.name)}"]
        for header, table in (("[run]", self.run), ("[lr]", self.rate), ("[knob.batch_size]", self.knob)):
            if table:
                lines += ["", header, *map(_line, table)]
        for piece in self.pieces:
            lines += ["", "[[state]]", _line(WrittenLine("name", piece.name, piece.origin))]
            tables = {"set": None if piece.batch is None else {"batch_size": piece.batch}, "lr": piece.rate,
                      "ramp": piece.ramp and {"batch_size": piece.ramp}}  # fmt: skip
            lines += [_line(WrittenLine(key, value)) for key, value in tables.items() if value]
        for old, new in zip(self.pieces, self.pieces[1:], strict=False):
            lines += ["", "[[transition]]", f"from = {_spell(old.name)}", f"to = {_spell(new.name)}"]
            if new.entered or new.step - old.step > 1:  # a state of one step is left without a condition
                lines.append(f"guards = [{_spell(new.entered or {'min_step': new.step})}]")
            lines += ['actions = ["lr_restart"]'] if new.restarts else []
        if self.waived:
            lines += ["", "[check]", f"waive = {_spell({'aligned': self.waived})}"]
        return "\n".join(lines) + "\n"


def _line(line: WrittenLine) -> str:
    comment = f"  # {shown(line.origin)}" if line.origin else ""
    return f"{line.key} = {_spell(line.value)}{comment}"


def _spell(value: Any) -> str:
    """A value as TOML on one line."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_spell(part)}" for key, part in value.items()) + " }"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_spell, value))}]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return spell_value(value, ())


def steps(count: int) -> str:
    """So many steps, as an amount of time."""
    return f"{count} step{'s' * (count != 1)}"


def tokens(count: int) -> str:
    """So many tokens, as an amount of time."""
    return f"{count} token{'s' * (count != 1)}"
