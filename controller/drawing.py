"""The machine of a curriculum as a picture: Mermaid, DOT and SVG text."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from plateau_rule.controller.language.consistency import sources, target
from plateau_rule.controller.language.curriculum import Curriculum, Guard, State, word_of
from plateau_rule.controller.language.rungs import abbreviated, names_of, rungs_of, spelled_out
from plateau_rule.controller.rate_line import cycles_in_words, peak_written, rate_line

# What is said of the machine, in words


@dataclass(frozen=True, slots=True)
class Arrow:
    """A transition from one state to another; places in the file, and what is written beside it."""

    source: int
    target: int
    number: int  # of the transition in the file, from 1
    name: str
    guards: str
    actions: str
    restarts: bool
    regress: bool

    @property
    def title(self) -> str:
        """What it is called where it has to be called something."""
        return self.name or f"transition {self.number}"

    @property
    def says(self) -> str:
        """When it is taken, after its name where it has one."""
        return f"{self.name}: {self.guards}" if self.name else self.guards


def arrows(curriculum: Curriculum) -> list[Arrow]:
    """Every way from a state to another, in the order of the file."""
    out = spelled_out(curriculum)
    places = {name: index for index, state in enumerate(curriculum.state) for name in names_of(curriculum, state)}
    found = []
    for index, transition in enumerate(out.transition):
        actions = ", ".join(a if isinstance(a, str) else f"{a.word} {a.value}" for a in transition.actions)
        for source in sources(out, index):
            found.append(
                Arrow(
                    places[source],
                    places[target(out, index, source)],
                    index + 1,
                    transition.name or "",
                    conditions(curriculum, index),
                    actions,
                    "lr_restart" in transition.actions,
                    transition.regress,
                )
            )
    return list(dict.fromkeys(found))  # those between rungs of one state once


def conditions(curriculum: Curriculum, index: int) -> str:
    """When a transition is taken, in one sentence."""
    transition = curriculum.transition[index]
    guards = " and ".join(_guard(guard, inner=True) for guard in transition.guards) or "always"
    when = {"step": "", "epoch": "when an epoch closes: ", "eval": "at an evaluation: "}[transition.at]
    often = f", {transition.sustain} looks in a row" if transition.sustain > 1 else ""
    most = (
        ""
        if transition.at_most is None
        else ", once at most"
        if transition.at_most == 1
        else (f", at most {transition.at_most} times")
    )
    return f"{when}{guards}{often}{most}"


def _guard(guard: Guard | str, inner: bool = False) -> str:
    if isinstance(guard, str):
        return guard
    word = word_of(guard)
    text = word.says(guard.value, lambda part: _guard(part, inner=True))
    return f"({text})" if inner and len(word.parts(guard.value)) > 1 else text


def definitions(curriculum: Curriculum) -> list[str]:
    """The named guards, one line each."""
    return [f"{name}: {_guard(guard)}" for name, guard in curriculum.guard.items()]


def facts(curriculum: Curriculum, state: State) -> list[str]:
    """What holds in a state, one line for each knob, one for the rate or for the reason why training ends."""
    lines = []
    if state.each is not None:
        rungs, unit = rungs_of(curriculum.knob[state.each]), curriculum.knob[state.each].unit
        many = f"{rungs[0]} to {rungs[-1]}{f' {unit}' if unit else ''}, {len(rungs)} rungs"
        lines.append(f"each {state.each}: {many}")
    for name, value in state.set.items():
        unit = curriculum.knob[name].unit
        ramp = state.ramp.get(name)
        end, way = (f" to {ramp.to}", f", {ramp.shape} over {ramp.over}") if ramp else ("", "")
        lines.append(f"{name} {value}{end}{f' {unit}' if unit else ''}{way}")
    if state.stop:  # no step is taken there, so it has no rate
        return [*lines, f"stop: {state.stop}"]
    rate, own = curriculum.lr, state.lr
    shape, floor = own.shape or rate.shape, rate.floor if own.floor is None else own.floor
    over = own.length or (cycles_in_words(rate) if rate.cycles else rate.length or "rest")
    over = "the rest" if over == "rest" else over
    fall = "constant" if shape == "constant" else f"{shape} to {100 * floor:g} % over {over}"
    warmup = f", after a warm-up of {own.warmup}" if own.warmup else ""
    return [*lines, f"lr {peak_written(curriculum, state):g}, {fall}{warmup}"]


# Mermaid and DOT


def mermaid(curriculum: Curriculum) -> str:
    """A Mermaid state diagram, as GitHub and GitLab show it in Markdown."""
    curriculum = abbreviated(curriculum)
    lines = ["---", f"title: {curriculum.name}", "---", "stateDiagram-v2", "    direction TB"]
    for index, state in enumerate(curriculum.state):
        text = "<br>".join(map(_for_mermaid, [state.name, *facts(curriculum, state)]))
        lines.append(f'    state "{text}" as s{index}')
    lines.append("    [*] --> s0")
    for arrow in arrows(curriculum):
        label = arrow.says + (f" / {arrow.actions}" if arrow.actions else "")
        lines.append(f"    s{arrow.source} --> s{arrow.target} : {_for_mermaid(label)}")
    lines += [f"    s{index} --> [*]" for index in _final(curriculum)]
    lines += [f"    %% {line}" for line in definitions(curriculum)]
    return "\n".join(lines) + "\n"


def _for_mermaid(text: str) -> str:
    return "".join(c if c.isalnum() or c in " .,_-+/()*%=" else f"#{ord(c)};" for c in text)


def dot(curriculum: Curriculum) -> str:
    """A graph for Graphviz: `plateau draw FILE --as dot | dot -Tpdf -o machine.pdf`."""
    curriculum = abbreviated(curriculum)
    lines = [
        f"digraph {_quoted(curriculum.name)} {{",
        '  node [shape=box, style=rounded, fontname=Helvetica, margin="0.2,0.12"];',
        "  edge [fontname=Helvetica, fontsize=10];",
        '  start [shape=point, label=""];',
    ]
    final = _final(curriculum)
    for index, state in enumerate(curriculum.state):
        text = _left([state.name, *facts(curriculum, state)])
        lines.append(f"  s{index} [label={text}{', peripheries=2' if index in final else ''}];")
    lines.append("  start -> s0;")
    for arrow in arrows(curriculum):
        label = _left([*textwrap.wrap(arrow.says, 48), *([f"/ {arrow.actions}"] if arrow.actions else [])], " ")
        style = ", style=dashed" if arrow.regress else ""
        lines.append(f"  s{arrow.source} -> s{arrow.target} [label={label}{style}];")
    if named := definitions(curriculum):
        lines.append(f"  label={_left(named)}; labelloc=b; fontname=Helvetica; fontsize=10;")
    return "\n".join([*lines, "}"]) + "\n"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _left(lines: Sequence[str], margin: str = "") -> str:
    """Lines of a label, each beginning on the left."""
    return f'"{"".join(margin + _quoted(line)[1:-1] + chr(92) + "l" for line in lines)}"'


def _final(curriculum: Curriculum) -> set[int]:
    """The states in which a run may end: nothing leaves them, they say so, or they stop the training."""
    left = {arrow.source for arrow in arrows(curriculum)}
    return {i for i, state in enumerate(curriculum.state) if i not in left or state.final or state.stop}


def goes_on(curriculum: Curriculum, index: int) -> bool:
    """Whether the rate does not start over when the state is entered."""
    ways = [arrow for arrow in arrows(curriculum) if arrow.target == index]
    return bool(ways) and index > 0 and not any(arrow.restarts for arrow in ways)


# SVG

LETTER = 7.25  # width of a monospaced letter at 12 px
BOX, SPARK, MARGIN, LINE = 470, 120, 24, 17
INK, FAINT, BLUE, RED = "#1f2328", "#8c959f", "#0969da", "#cf222e"
_STYLE = f"""text {{ font: 12px ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace; fill: {INK} }}
.name {{ font-weight: bold; font-size: 14px }} .faint {{ fill: {FAINT} }}
.box {{ fill: #f6f8fa; stroke: {INK} }} .way {{ fill: none; stroke: {INK}; stroke-width: 1.3 }}
.fall {{ stroke: {RED}; stroke-dasharray: 5 3 }} .rate {{ fill: none; stroke: {BLUE}; stroke-width: 1.6 }}
.axis {{ fill: none; stroke: {FAINT}; stroke-width: 0.7 }} .badge {{ fill: white; stroke: {INK} }}"""

_TIP = 'viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" orient="auto"'


@dataclass
class _Row:
    """A state's box, and the room below it for what leads to the next one."""

    top: int
    height: int
    room: int

    @property
    def middle(self) -> int:
        return self.top + self.height // 2


def svg(curriculum: Curriculum) -> str:
    """A picture that stands for itself; what it needs is in it."""
    curriculum = abbreviated(curriculum)
    ways = arrows(curriculum)
    straight = [a for a in ways if a.target == a.source + 1]
    curved = [a for a in ways if a.target != a.source + 1]
    lanes = lanes_of(curved)
    body: list[str] = []
    top = MARGIN + _head(curriculum, body)
    rows: list[_Row] = []
    for index, state in enumerate(curriculum.state):
        height = 40 + LINE * len(_facts(curriculum, state))
        beside = sum(len(_beside(a)) for a in straight if a.source == index)
        rows.append(_Row(top, max(height, 82), 26 + LINE * beside))
        top += rows[-1].height + rows[-1].room
    left = MARGIN + 26 * max((lane + 1 for arrow, lane in lanes.items() if arrow.target < arrow.source), default=0)
    for index, row in enumerate(rows):
        _box(curriculum, index, row, left, body)
    _straight(straight, rows, left, body)
    for arrow, lane in lanes.items():
        _curve(arrow, lane, rows, left, body)
    top += 4 - rows[-1].room + 30
    notes = _notes(curriculum, curved)
    for line in notes:
        body.append(_text(MARGIN, top, line))
        top += LINE
    right = left + BOX + 26 * max((lane + 1 for a, lane in lanes.items() if a.target >= a.source), default=0)
    texts = [*notes, *(" " * int((left + 60) / LETTER) + line for a in straight for line in _beside(a))]
    texts += _description(curriculum)
    width = int(max([right, *(MARGIN + LETTER * len(line) for line in texts)]) + MARGIN)
    high = top + 4
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{high}" viewBox="0 0 {width} {high}">',
            f"<title>{escape(curriculum.name)}</title><desc>{escape(curriculum.description)}</desc>",
            f"<style>{_STYLE}</style>",
            f'<defs><marker id="tip" {_TIP}><path d="M0 0 L10 5 L0 10 z" fill="{INK}"/></marker></defs>',
            '<rect width="100%" height="100%" fill="white"/>',
            *body,
            "</svg>\n",
        ]
    )


def _text(x: float, y: float, text: str, kind: str = "") -> str:
    style = f' class="{kind}"' if kind else ""
    return f'<text x="{x:g}" y="{y:g}"{style} xml:space="preserve">{escape(text)}</text>'


def _head(curriculum: Curriculum, body: list[str]) -> int:
    """The title and the dot that stands for the start; the height that they take."""
    body.append(_text(MARGIN, MARGIN + 6, curriculum.name, "name"))
    lines = _description(curriculum)
    body.extend(_text(MARGIN, MARGIN + 26 + LINE * i, line) for i, line in enumerate(lines))
    return 26 + LINE * len(lines) + 34


def _description(curriculum: Curriculum) -> list[str]:
    return textwrap.wrap(curriculum.description, 96)


def _box(curriculum: Curriculum, index: int, row: _Row, left: int, body: list[str]) -> None:
    state = curriculum.state[index]
    box = f'x="{left}" y="{row.top}" width="{BOX}" height="{row.height}" rx="8"'
    body.append(f'<rect class="box" {box}/>')
    if index == 0:
        body.append(f'<circle cx="{left + 36}" cy="{row.top - 26}" r="5" fill="{INK}"/>')
        body.append(_way(f"M{left + 36} {row.top - 20} V{row.top - 1}"))
    if index in _final(curriculum):
        inner = f'x="{left + 3}" y="{row.top + 3}" width="{BOX - 6}" height="{row.height - 6}" rx="6"'
        body.append(f'<rect {inner} fill="none" stroke="{INK}"/>')
    body.append(_text(left + 14, row.top + 24, state.name, "name"))
    for i, line in enumerate(_facts(curriculum, state)):
        body.append(_text(left + 14, row.top + 46 + LINE * i, line))
    if state.stop:
        return
    x, y, height = left + BOX - SPARK - 16, row.top + 14, 40
    body.append(f'<path class="axis" d="M{x} {y} V{y + height} H{x + SPARK}"/>')
    points = " ".join(f"{x + SPARK * t:.1f},{y + height * (1 - r):.1f}" for t, r in rate_line(curriculum, index))
    dashes = ' stroke-dasharray="4 3"' if goes_on(curriculum, index) else ""
    body.append(f'<polyline class="rate" points="{points}"{dashes}/>')
    caption = "the rate goes on" if goes_on(curriculum, index) else "rate"
    body.append(_text(x, y + height + 14, caption, "faint"))


def _facts(curriculum: Curriculum, state: State) -> list[str]:
    room = int((BOX - SPARK - 44) / LETTER)
    return [line for fact in facts(curriculum, state) for line in textwrap.wrap(fact, room, subsequent_indent="  ")]


def _way(path: str, falls: bool = False) -> str:
    return f'<path class="way{" fall" if falls else ""}" d="{path}" marker-end="url(#tip)"/>'


def _beside(arrow: Arrow) -> list[str]:
    """What is written beside an arrow to the next state."""
    lines = textwrap.wrap(f"{arrow.number}  {arrow.says}", 58, subsequent_indent="   ")
    return [*lines, *textwrap.wrap(f"   ⇒ {arrow.actions}", 58, subsequent_indent="     ")] if arrow.actions else lines


def _straight(straight: list[Arrow], rows: list[_Row], left: int, body: list[str]) -> None:
    """The arrows to the next state, one for all transitions that lead there, each with what it asks for."""
    for index in dict.fromkeys(arrow.source for arrow in straight):
        row, x = rows[index], left + 36
        y = row.top + row.height
        body.append(_way(f"M{x} {y} V{rows[index + 1].top - 1}"))
        lines = [line for arrow in straight if arrow.source == index for line in _beside(arrow)]
        body.extend(_text(x + 14, y + 15 + LINE * i + 4, line) for i, line in enumerate(lines))


def lanes_of(curved: list[Arrow]) -> Mapping[Arrow, int]:
    """A lane beside the boxes for each arrow that does not lead to the next state; short ones inside."""
    taken: dict[bool, list[list[tuple[int, int]]]] = {True: [], False: []}
    found = {}
    for arrow in sorted(curved, key=lambda a: abs(a.target - a.source)):
        low, high = sorted((arrow.source, arrow.target))
        side = taken[arrow.target < arrow.source]
        lane = next((i for i, used in enumerate(side) if all(high < a or b < low for a, b in used)), len(side))
        if lane == len(side):
            side.append([])
        side[lane].append((low, high))
        found[arrow] = lane
    return found


def _curve(arrow: Arrow, lane: int, rows: list[_Row], left: int, body: list[str]) -> None:
    """An arrow beside the boxes: on the right where it leads on, on the left where it leads back."""
    back = arrow.target < arrow.source
    edge, sign = (left, -1) if back else (left + BOX, 1)
    x = edge + sign * (18 + 26 * lane)
    start, end = rows[arrow.source].middle + 8, rows[arrow.target].middle - 8
    turn = 8 if end > start else -8
    if arrow.source == arrow.target:
        start, end, turn = rows[arrow.source].middle - 14, rows[arrow.source].middle + 14, 8
    bend = f"H{x - sign * 8} Q{x} {start} {x} {start + turn} V{end - turn} Q{x} {end} {x - sign * 8} {end}"
    body.append(_way(f"M{edge} {start} {bend} H{edge + sign}", arrow.regress))
    y = (start + end) // 2
    body.append(f'<circle class="badge" cx="{x}" cy="{y}" r="9"/>')
    body.append(f'<text x="{x}" y="{y + 4}" text-anchor="middle">{arrow.number}</text>')


def _notes(curriculum: Curriculum, curved: list[Arrow]) -> list[str]:
    """What the numbers beside the boxes stand for, and the named guards."""
    lines = []
    for number in dict.fromkeys(arrow.number for arrow in curved):
        ways = [arrow for arrow in curved if arrow.number == number]
        leaves = ", ".join(curriculum.state[arrow.source].name for arrow in ways)
        enters = ", ".join(dict.fromkeys(curriculum.state[arrow.target].name for arrow in ways))
        name = f"{ways[0].name}, " if ways[0].name else ""
        lines += textwrap.wrap(f"{number}  {name}{leaves} → {enters}: {ways[0].guards}", 96, subsequent_indent="   ")
        actions = f"   ⇒ {ways[0].actions}" if ways[0].actions else ""
        lines += textwrap.wrap(actions, 96, subsequent_indent="     ")
    for text in definitions(curriculum):
        lines += textwrap.wrap(text, 96, subsequent_indent="   ")
    return lines


DRAWINGS: Mapping[str, Any] = {"mermaid": mermaid, "dot": dot, "svg": svg}
