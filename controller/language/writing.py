"""A curriculum as TOML text: one layout for all, comments kept, and nothing that it means lost.

Keys stand in the order of the language, `=` signs of a table below each other, and what is too long for a line is
broken at its lists or becomes a table of its own. Numbers stay spelt as they were.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from plateau_rule.controller.arguments import kind_of
from plateau_rule.controller.errors import ArgumentError, CurriculumError, Fault, Key
from plateau_rule.controller.language.comments import Remarks, remarks_in
from plateau_rule.controller.language.curriculum import Curriculum
from plateau_rule.controller.language.reading import loads
from plateau_rule.controller.language.scanning import tokens, within_limits
from plateau_rule.controller.language.values import OneKey, Table, spell_key

WIDEST_LINE = 120
Path = tuple[Key, ...]
Spell = Callable[[Any, Path], str]  # how a number or a word is written


def dumps(curriculum: Curriculum) -> str:
    """The curriculum as TOML text; reading it gives an equal curriculum.

    Raises:
        CurriculumError: the text would be larger than a file may be.
        ArgumentError: what is given is no Curriculum.
    """
    if not isinstance(curriculum, Curriculum):
        raise ArgumentError(f"dumps: {kind_of(curriculum)}; expected a Curriculum")
    return _checked(_write(curriculum, spell_value, Remarks()), curriculum)


def formatted(content: bytes | str, file: str = "<text>") -> str:
    """The text of a curriculum in the one layout, with its comments.

    Args:
        content: TOML, as `loads` takes it.
        file: the name that errors show.

    Raises:
        CurriculumError: it is no curriculum.
    """
    from plateau_rule.controller.language.places import Places

    curriculum = loads(content, file)
    text = within_limits(content, file)
    places = Places(text, file)
    remarks = remarks_in(text).settled(list(_slots(_contents(curriculum), ())))

    def spell(value: Any, path: Path) -> str:
        raw = places.raw(path) if isinstance(value, int | float) and not isinstance(value, bool) else None
        return raw or spell_value(value, path)

    written = _checked(_write(curriculum, spell, remarks), curriculum)
    if comments_in(written) != comments_in(text):  # rather nothing than a comment less
        raise CurriculumError([Fault("comments-lost", (), f"{file} has comments that would be lost by formatting it")])
    return written


def comments_in(text: str) -> Counter[str]:
    """The comments of a TOML text, and how often each stands in it."""
    return Counter(token.text.rstrip() for token in tokens(text) if token.kind == "comment")


def _checked(text: str, curriculum: Curriculum) -> str:
    again = loads(text, "<formatted>")
    if again != curriculum:
        raise CurriculumError([Fault("meaning-lost", (), f'"{curriculum.name}" cannot be written as TOML')])
    return text


def spell_value(value: Any, path: Path) -> str:
    """Spell a single value as TOML does."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, float) and value and not 1e-3 <= abs(value) < 1e9:
        mantissa, _, exponent = f"{value:e}".partition("e")
        short = f"{float(mantissa):g}e{int(exponent)}"
        return short if float(short) == value else repr(value)
    return repr(value)


def _contents(value: Any) -> Any:
    """A table as the keys that were given, in the order of the language; anything else as it is."""
    if isinstance(value, OneKey):
        return {value.word: value.value}
    if isinstance(value, Table):
        given = value.model_fields_set
        return {f.alias or name: getattr(value, name) for name, f in type(value).model_fields.items() if name in given}
    return value


def _slots(value: Any, path: Path) -> Iterator[Path]:
    """Where comments can stand: at every header, every key of a table that may have one, every item of a list."""
    plain = _contents(value)
    if path and path not in (("state",), ("transition",), ("knob",), ("metric",), ("guard",)):
        yield path
    if isinstance(plain, Mapping):
        for key, part in plain.items():
            yield from _slots(part, (*path, key))
    elif isinstance(plain, list | tuple):
        whole = path in (("state",), ("transition",))
        for index, part in enumerate(plain):
            yield from _slots(part, (*path, index)) if whole else [(*path, index)]
        if not whole:
            yield (*path, len(plain))


@dataclass
class _Block:
    """A header with its keys, as they are collected; `lines` are key, value and path."""

    header: str
    path: Path
    lines: list[tuple[str, str, Path]] = field(default_factory=list)


def _write(curriculum: Curriculum, spell: Spell, remarks: Remarks) -> str:
    blocks = [_Block("", ())]
    for key, value in {"format": 1, **_contents(curriculum)}.items():
        if key in ("state", "transition"):
            for index, table in enumerate(value):
                _add(blocks, f"[[{key}]]", key, (key, index), _contents(table), spell, remarks)
        elif key in ("knob", "metric", "guard"):
            for name, table in value.items():
                inner = f"{key}.{spell_key(name)}"
                _add(blocks, f"[{inner}]", inner, (key, name), _contents(table), spell, remarks)
        elif isinstance(value, Table):
            _add(blocks, f"[{key}]", key, (key,), _contents(value), spell, remarks)
        else:
            blocks[0].lines.append((key, spell(value, (key,)), (key,)))
    text = "\n".join(_laid_out(block, remarks) for block in blocks)
    top = "".join(f"{line}\n" for line in remarks.top)
    end = "".join(f"{line}\n" for line in remarks.end)
    return top + text + ("\n" + end if end else "")


def _add(blocks: list[_Block], header: str, name: str, path: Path, table: Mapping[str, Any], spell: Spell,
         remarks: Remarks) -> None:  # fmt: skip
    """A table under its header; those of its tables that do not fit into a line, or hold comments, follow."""
    block = _Block(header, path)
    blocks.append(block)
    own = []
    room = WIDEST_LINE - max(map(len, table), default=0) - len(" = ")  # behind the widest key, for all stand in line
    for key, value in table.items():
        here = (*path, key)
        if isinstance(_contents(value), Mapping) and (
            len(_inline(value, here, spell)) > room or remarks.inside_table(here)
        ):
            own.append((key, here, _contents(value)))
            continue
        block.lines.append((spell_key(key), _value(value, here, spell, remarks, room), here))
    if own and not block.lines and not header.startswith("[["):
        blocks.remove(block)  # the headers below it say that it is there
        remarks.move(path, own[0][1])
    for key, here, inner in own:
        _add(blocks, f"[{name}.{spell_key(key)}]", f"{name}.{spell_key(key)}", here, inner, spell, remarks)


def _inline(value: Any, path: Path, spell: Spell) -> str:
    """A value in one line."""
    value = _contents(value)
    if isinstance(value, Mapping):
        inner = ", ".join(f"{spell_key(key)} = {_inline(part, (*path, key), spell)}" for key, part in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_inline(part, (*path, i), spell) for i, part in enumerate(value))}]"
    return spell(value, path)


def _value(value: Any, path: Path, spell: Spell, remarks: Remarks, room: int, indent: str = "") -> str:
    """A value in one line, or a list with a line for each item where it is too long or has comments."""
    line, plain = _inline(value, path, spell), _contents(value)
    commented = isinstance(plain, list | tuple) and remarks.inside_list(path)
    if len(line) <= room and not commented:
        return line
    if isinstance(plain, Mapping):  # a table in a list: only its lists may be broken
        left = WIDEST_LINE - len(indent)
        parts = [
            f"{spell_key(k)} = {_value(v, (*path, k), spell, remarks, left - len(f'{{ {k} =  }},'), indent)}"
            for k, v in plain.items()
        ]
        return f"{{ {', '.join(parts)} }}" if parts else "{}"
    if not isinstance(plain, list | tuple):
        return line
    deeper = indent + "  "
    left = WIDEST_LINE - len(deeper)
    lines = ["["]
    for index, part in enumerate(plain):
        lines += [f"{deeper}{remark}".rstrip() for remark in remarks.before.get((*path, index), [])]
        after = "".join(f"  {remark}" for remark in remarks.after.get((*path, index), []))
        lines.append(f"{deeper}{_value(part, (*path, index), spell, remarks, left - 1, deeper)},{after}")
    lines += [f"{deeper}{remark}".rstrip() for remark in remarks.before.get((*path, len(plain)), [])]
    return "\n".join([*lines, f"{indent}]"])


def _laid_out(block: _Block, remarks: Remarks) -> str:
    """A block's lines, `=` signs and comments below each other."""
    widest = max((len(key) for key, _, _ in block.lines), default=0)
    rows = [(block.header, block.path)] if block.header else []
    rows += [(f"{key:<{widest}} = {value}", path) for key, value, path in block.lines]
    column = max((len(text.split("\n")[-1]) for text, path in rows if remarks.after.get(path)), default=0)
    lines = []
    for text, path in rows:
        lines += remarks.before.get(path, [])
        after = "  ".join(remarks.after.get(path, []))
        last = text.split("\n")[-1]
        lines.append(f"{text}{' ' * (column - len(last) + 2)}{after}" if after else text)
    return "".join(f"{line}\n" for line in lines)
