"""The machine of a curriculum as a card: its states as boxes, and the ways between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from plateau_rule.controller.drawing import Arrow, arrows, definitions, facts, lanes_of
from plateau_rule.controller.language.curriculum import Curriculum
from plateau_rule.controller.language.rungs import names_of
from plateau_rule.controller.notebook.card import Markup, card, element, fitted, joined, table

BOX, HIGH, GAP, EDGE, LANE = 430, 46, 40, 8, 22  # px
MOST_STATES = 40  # of a picture
MOST_LANES = 6  # beside the boxes, on each side
NAME, FACT = 52, 68  # letters that have room in a box
Stay = tuple[str, int]  # a state, and its first step


def card_of(curriculum: Curriculum) -> str:
    """A curriculum as a card: its machine, its guards, and its file."""
    # Imported here: what spells a file knows how it is read, and a curriculum is shown far more rarely than read.
    from plateau_rule.controller.language.writing import dumps

    return card(
        element("h3", None, curriculum.name),
        element("p", {"class": "soft"}, curriculum.description) if curriculum.description else None,
        drawn(curriculum),
        element(
            "details", None, element("summary", {"class": "soft"}, "the file"), element("pre", None, dumps(curriculum))
        ),
    )


def drawn(curriculum: Curriculum, stays: Sequence[Stay] = ()) -> Markup:
    """The machine, lit along the states that a run went through, and what its arrows say.

    Args:
        curriculum: whose machine it is.
        stays: the states of a run in their order, each with its first step; the run shows something in the last one.
    """
    ways = arrows(curriculum)
    straight = [way for way in ways if way.target == way.source + 1]
    beside = [way for way in ways if way.target != way.source + 1]
    rows = [(way.number, curriculum.state[way.source].name, curriculum.state[way.target].name, way) for way in beside]
    listed = table(("", "from", "to", "when"), [(*where, said(way)) for *where, way in rows[:MOST_STATES]])
    left = len(curriculum.state) - MOST_STATES
    notes = [*definitions(curriculum), *([f"… and {left} more states"] if left > 0 else [])]
    return joined(
        [
            element("div", {"class": "wide"}, _sketch(curriculum, straight, beside, stays)),
            listed if rows else None,
            element("div", {"class": "soft"}, *(element("div", None, note) for note in notes)) if notes else None,
        ]
    )


def said(way: Arrow) -> str:
    """When a transition is taken, and what it does."""
    return f"{way.says} ⇒ {way.actions}" if way.actions else way.says


def _sketch(
    curriculum: Curriculum, straight: Sequence[Arrow], beside: Sequence[Arrow], stays: Sequence[Stay]
) -> Markup:
    places = {name: place for place, one in enumerate(curriculum.state) for name in names_of(curriculum, one)}
    visits = [(places[name], step) for name, step in stays if name in places]
    entered: dict[int, list[int]] = {}
    for place, step in visits:
        entered.setdefault(place, []).append(step)
    taken = {(before, after) for (before, _), (after, _) in pairwise(visits)}
    shown = curriculum.state[:MOST_STATES]
    lanes = {way: lane for way, lane in lanes_of(list(beside)).items() if lane < MOST_LANES}
    back = max((lane + 1 for way, lane in lanes.items() if way.target < way.source), default=0)
    on = max((lane + 1 for way, lane in lanes.items() if way.target >= way.source), default=0)
    left = EDGE + LANE * back
    parts = [_tip()]
    for place in range(len(shown)):
        last = visits[-1][0] if visits else None
        parts.append(_box(curriculum, place, left, entered.get(place), place == last))
    for source in dict.fromkeys(way.source for way in straight if way.target < len(shown)):
        ways = [way for way in straight if way.source == source]
        parts.append(_straight(ways, left, entered.get(source + 1) if (source, source + 1) in taken else None))
    for way, lane in lanes.items():
        if max(way.source, way.target) < len(shown):
            parts.append(_curve(way, lane, left, (way.source, way.target) in taken))
    wide, high = left + BOX + LANE * on + EDGE, _top(len(shown)) - GAP + EDGE
    label = f"{len(curriculum.state)} states"
    size = {"width": wide, "height": high, "viewBox": f"0 0 {wide} {high}", "role": "img", "aria-label": label}
    return element("svg", size, *parts)


def _top(place: int) -> int:
    return EDGE + place * (HIGH + GAP)


def _tip() -> Markup:
    tip = element("path", {"d": "M0 0L10 5L0 10z", "fill": "var(--soft, gray)"})
    box = {"id": "plateau-rule-tip", "viewBox": "0 0 10 10", "refX": 9, "refY": 5, "markerWidth": 7, "markerHeight": 7}
    return element("defs", None, element("marker", {**box, "orient": "auto"}, tip))


def _box(curriculum: Curriculum, place: int, left: int, entered: Sequence[int] | None, last: bool) -> Markup:
    state, y = curriculum.state[place], _top(place)
    holds = facts(curriculum, state)
    colours = {"fill": "var(--lane-easy, none)", "stroke": "none"}
    if last:
        colours = {"fill": "var(--lane-easy, none)", "stroke": "var(--raise, currentColor)", "stroke-width": "2"}
    elif entered:
        colours = {"fill": "var(--lane-easy, none)", "stroke": "var(--raise, currentColor)"}
    box = {"x": left, "y": y, "width": BOX, "height": HIGH, "rx": 7, **colours}
    return element(
        "g",
        {"data-state": state.name, "data-entered": None if entered is None else entered[-1]},
        element("rect", box),
        _text(left + 12, y + 20, fitted(state.name, NAME), "name"),
        _text(left + 12, y + 36, fitted(" · ".join(holds), FACT)),
        element("title", None, "\n".join([state.name, *holds])),
    )


def _text(x: float, y: float, text: str, kind: str | None = None, whole: str | None = None) -> Markup:
    """A text; `whole`: what it stands for, where there is no room for it."""
    look = {"class": kind, "font-weight": "600" if kind else None, "fill": "currentColor"}
    return element("text", {"x": x, "y": y, **look}, text, None if whole is None else element("title", None, whole))


def _line(path: str, taken: bool, falls: bool = False) -> Markup:
    stroke = "var(--raise, currentColor)" if taken else "var(--faint, currentColor)"
    look: Mapping[str, object] = {"fill": "none", "stroke": stroke, "stroke-width": 2 if taken else 1.5}
    dashes = "4 3" if falls else None
    return element("path", {"d": path, **look, "stroke-dasharray": dashes, "marker-end": "url(#plateau-rule-tip)"})


def _straight(ways: Sequence[Arrow], left: int, entered: Sequence[int] | None) -> Markup:
    """The arrow to the next state, one for all transitions that lead there."""
    y, says = _top(ways[0].source) + HIGH, ", or ".join(said(way) for way in ways)
    step = None if entered is None else "at step " + ", ".join(f"{one:,}" for one in entered[-2:])
    return joined(
        [
            _line(f"M{left + 22} {y}V{y + GAP - 1}", entered is not None),
            _text(left + 32, y + (24 if step is None else 15), fitted(says, FACT), whole=says),
            None if step is None else _text(left + 32, y + 30, step, "when"),
        ]
    )


def _curve(way: Arrow, lane: int, left: int, taken: bool) -> Markup:
    """An arrow beside the boxes, with its number: on the right where it leads on, on the left where it leads back."""
    back, self_ = way.target < way.source, way.target == way.source
    edge, sign = (left, -1) if back else (left + BOX, 1)
    x = edge + sign * (10 + LANE * lane)
    start = _top(way.source) + HIGH // 2 + (-10 if self_ else -7 if back else 7)
    end = _top(way.target) + HIGH // 2 + (10 if self_ else 7 if back else -7)
    middle = (start + end) // 2
    badge = {"cx": x, "cy": middle, "r": 8, "fill": "var(--card, white)", "stroke": "var(--faint, currentColor)"}
    number = {"x": x, "y": middle + 4, "text-anchor": "middle", "fill": "currentColor"}
    return joined(
        [
            _line(f"M{edge} {start}H{x}V{end}H{edge + sign}", taken, way.regress),
            element("circle", badge),
            element("text", number, way.number),
        ]
    )
