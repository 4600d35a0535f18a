"""A replay as a card for a notebook: its losses, with states, knobs and rate, and what was decided on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import floor, inf, isfinite, log10
from typing import TYPE_CHECKING

import numpy as np

from plateau_rule.controller.notebook.card import Markup, card, element, fitted, table
from plateau_rule.sim.replayer.trace import Floats

if TYPE_CHECKING:
    from plateau_rule.sim.replayer.timeline import Timeline

LEFT, WIDE, RIGHT = 76, 640, 10  # px
LANE, LOSS, KNOB, RULER = 18, 190, 34, 20
COLUMNS = 320  # of the curve
MOST_KNOBS, MOST_ROWS, MOST_MARKS = 3, 20, 12
Across = Callable[[float], float]


def card_of(timeline: Timeline) -> str:
    """A replay as a card."""
    final, decisions = timeline.final, timeline.decisions
    rows = [
        (
            f"{timeline.shown(one.step):,}",
            f"{one.from_state} → {one.to_state}",
            "; ".join(line.strip().removesuffix(" -> true") for line in one.guards[1:]),
        )
        for one in decisions[:MOST_ROWS]
    ]
    left = len(decisions) - len(rows)
    count = f"{len(decisions)} transition{'' if len(decisions) == 1 else 's'}" if decisions else "no transition"
    return card(
        element("h3", None, f"{timeline.curriculum.name}: {final.state} at step {timeline.shown(final.step):,}"),
        element("p", {"class": "soft"}, f"{timeline.points:,} losses, {count}; {timeline.ended}"),
        element("div", {"class": "wide"}, _picture(timeline)),
        table(("step", "transition", "because"), rows) if rows else None,
        element("p", {"class": "soft"}, f"and {left} more") if left > 0 else None,
        element("p", {"class": "soft"}, " ".join(timeline.notes)) if timeline.notes else None,
    )


def _picture(timeline: Timeline) -> Markup:
    end = max(1, timeline.final.step)

    def across(step: float) -> float:
        return round(LEFT + WIDE * min(1.0, step / end), 1)

    knobs = list(timeline.curriculum.knob)[:MOST_KNOBS]
    tall = LANE + 6 + LOSS + 8 + KNOB * (len(knobs) + 1) + RULER
    parts = [*_states(timeline, across), *_losses(timeline, across, LANE + 6)]
    top = LANE + 6 + LOSS + 8
    for name in knobs:
        values = [(one.step, one.knobs[name]) for one in timeline.samples]
        parts += _steps(name, values, across, top)
        top += KNOB
    parts += _steps("rate", [(one.step, one.lr) for one in timeline.samples], across, top, joins=True)
    parts += [*_raises(timeline, across, top + KNOB), *_ruler(timeline, across, end, top + KNOB)]
    size = {"width": LEFT + WIDE + RIGHT, "height": tall, "viewBox": f"0 0 {LEFT + WIDE + RIGHT} {tall}", "role": "img"}
    return element("svg", {**size, "aria-label": "losses, states, knobs and rate over the steps"}, *parts)


def _label(y: float, text: str, kind: str = "name") -> Markup:
    return element("text", {"x": LEFT - 8, "y": y, "text-anchor": "end", "class": kind, "fill": "currentColor"}, text)


def _states(timeline: Timeline, across: Across) -> list[Markup]:
    names = list(dict.fromkeys(stay.state for stay in timeline.stays))
    parts = [_label(13, "state")]
    for stay in timeline.stays:
        x = across(stay.entered)
        wide = max(0.5, across(timeline.final.step if stay.left is None else stay.left) - x - 1)
        share = 100 * names.index(stay.state) // max(1, len(names) - 1)
        shade = f"fill:color-mix(in oklab,var(--lane-hard) {share}%,var(--lane-easy))"
        box = {"x": x, "y": 0, "width": wide, "height": LANE, "rx": 2, "fill": "none", "style": shade}
        parts.append(element("rect", box, element("title", None, stay.state)))
        if wide > 7 * len(stay.state) + 4:
            where = {"x": x + wide / 2, "y": 13, "text-anchor": "middle", "class": "name", "fill": "currentColor"}
            parts.append(element("text", where, stay.state))
    return parts


def _losses(timeline: Timeline, across: Across, top: int) -> list[Markup]:
    """The losses, thinned: the mean of each column over its lowest and highest."""
    trace = timeline.trace.between(0, None)
    if not len(trace.step):
        return [_label(top + 10, "loss"), element("text", {"x": LEFT + 8, "y": top + 20}, "No finite loss.")]
    edges = np.unique(np.linspace(0, len(trace.step), COLUMNS + 1).astype(np.int64)[:-1])
    low, high = np.minimum.reduceat(trace.low, edges), np.maximum.reduceat(trace.high, edges)
    mean = np.add.reduceat(trace.mean * trace.count, edges) / np.add.reduceat(trace.count, edges)
    steps = trace.step[edges].tolist()
    least, most = float(low.min()), float(np.quantile(high, 0.985)) if len(high) >= 20 else float(high.max())
    size = (most - least) or abs(most) or 1.0

    def up(value: float) -> float:
        return round(top + LOSS - 4 - (LOSS - 8) * min(1.0, (value - least) / size), 1)

    def line(values: Floats) -> list[str]:
        return [f"{across(step)} {up(value)}" for step, value in zip(steps, values.tolist(), strict=True)]

    shade = "L".join([*line(high), *reversed(line(low))])
    return [
        _label(top + 10, "loss"),
        *(_label(max(up(value) + 4, top + 24), f"{value:.4g}", "") for value in (most, least)),
        element("path", {"d": f"M{shade}Z", "fill": "var(--shade, none)"}),
        element("path", {"d": f"M{'L'.join(line(mean))}", "fill": "none", "stroke": "var(--ink, currentColor)",
                         "stroke-width": "1.6", "stroke-linejoin": "round"}),
    ]  # fmt: skip


def _steps(
    name: str, values: Sequence[tuple[int, object]], across: Across, top: int, joins: bool = False
) -> list[Markup]:
    """A knob or the rate in a lane of its own; `joins`: it moves from one value to the next."""
    order = {value: float(place) for place, value in enumerate(dict.fromkeys(value for _, value in values))}
    sizes = [float(one) if isinstance(one, (int, float)) and isfinite(one) else order[one] for _, one in values]
    least, most = min(sizes, default=0.0), max(sizes, default=0.0)
    base = 0.0 if joins else least
    path, before = "", -inf
    for (step, value), size in zip(values, sizes, strict=True):
        if size == before and value is not values[-1][1] and not joins:
            continue
        y = round(top + KNOB - 6 - (KNOB - 12) * ((size - base) / (most - base) if most > base else 0.5), 1)
        path += (
            f"{'L' if joins else 'H'}{across(step)}{f' {y}' if joins else f'V{y}'}" if path else f"M{across(step)} {y}"
        )
        before = size
    last = values[-1][1] if values else ""
    said = f"≤ {most:.3g}" if joins else str(last)
    return [
        _label(top + KNOB - 18, fitted(name, 11)),
        _label(top + KNOB - 6, fitted(said, 11), ""),
        element("path", {"d": path + ("" if joins or not path else f"H{LEFT + WIDE}"), "fill": "none",
                         "stroke": "var(--blue, currentColor)", "stroke-width": "1.6"}),
    ]  # fmt: skip


def _raises(timeline: Timeline, across: Across, bottom: int) -> list[Markup]:
    if len(timeline.decisions) > MOST_MARKS:
        return []
    parts, free = [], -inf
    for one in timeline.decisions:
        x, text = across(one.step), f"{timeline.shown(one.step):,}"
        line = {"d": f"M{x} {LANE + 2}V{bottom}", "stroke": "var(--raise, currentColor)", "stroke-dasharray": "2 3"}
        parts.append(element("path", {**line, "fill": "none"}))
        right = x + 8 + 7 * len(text) > LEFT + WIDE
        if x > free:
            where = {"x": x - 5 if right else x + 5, "y": LANE + 16, "text-anchor": "end" if right else None}
            parts.append(element("text", {**where, "class": "when", "fill": "currentColor"}, text))
            free = x + 7 * len(text) + 8
    return parts


def _ruler(timeline: Timeline, across: Across, end: int, top: int) -> list[Markup]:
    """Round numbers of steps."""
    power = 10.0 ** floor(log10(max(1, end / 6)))
    by = max(1, round(next(power * factor for factor in (1, 2, 5, 10) if power * factor >= end / 6)))
    parts = [_label(top + 14, "step", "")]
    first = timeline.shown(0)
    for step in range(-(-first // by) * by - first, end + 1, by):
        text = f"{step + first:,}"
        where = {"x": min(across(step), LEFT + WIDE + RIGHT - 3.5 * len(text)), "y": top + 14, "text-anchor": "middle"}
        parts.append(element("text", {**where, "fill": "currentColor"}, text))
    return parts
