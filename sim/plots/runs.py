"""Losses, states, knobs and rate on one time axis: one drawing for runs and for replays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from plateau_rule.sim.logs import read
from plateau_rule.sim.plots.axis import scale_losses
from plateau_rule.sim.plots.page import COLOURS, DASHES, INK, MARKS, PlotError, page
from plateau_rule.sim.plots.picture import Picture, StateSpan, picture_of_log, smoothed
from plateau_rule.sim.replayer.trace import Floats, Trace

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw_run(folder: str | Path, path: str | Path) -> Path:
    """Draw a run of ours from the folder that it wrote: `curve.png`.

    folder: holds metrics.jsonl, and run.json beside it. path: the picture to write.
    Raises LogError where there is no log, ReplayError where the record is damaged, PlotError where the picture cannot
    be drawn or written.
    """
    log = read(Path(folder) / "metrics.jsonl")
    return draw([picture_of_log(log, Path(folder).resolve().name)], path)


def draw(pictures: Sequence[Picture], path: str | Path, title: str = "") -> Path:
    """Draw runs or replays above each other on one time axis, and write the picture.

    pictures: at most 7. path: ends in .png or .svg. title: above it all; the names of the pictures by default.
    Returns the path. Raises PlotError where matplotlib is missing, or the picture cannot be written.
    """
    if not 1 <= len(pictures) <= len(COLOURS):
        raise PlotError(f"{len(pictures)} curves for one picture; expected 1 to {len(COLOURS)}")
    with page(path, (11.0, 0.0)) as figure:
        _compose(figure, [replace(picture, name=_as_text(picture.name)) for picture in pictures], _as_text(title))
    return Path(path)


def _as_text(name: str) -> str:
    """Spell a name, which may be a folder's, so that matplotlib draws it: it need not be text, and is no formula."""
    return name.encode("utf-8", "replace").decode().replace("$", r"\$")


def _compose(figure: Figure, pictures: Sequence[Picture], title: str) -> None:
    """Lay the panels out: states, loss where there are any, one for each knob, rate."""
    knobs = list(dict.fromkeys(knob for picture in pictures for knob in picture.knobs))
    rates = [picture for picture in pictures if picture.rate is not None]
    lanes = [picture for picture in pictures if picture.spans]
    tall = _heights(lanes)
    heights = [0.28 * sum(tall) + 0.1] if lanes else []
    losses = any(len(picture.trace.step) for picture in pictures)
    panel = 1.3 if losses else 2.2
    heights += [*([3.6] if losses else []), *(panel for _ in knobs), *([panel - 0.1] if rates else [])]
    figure.set_size_inches(11, sum(heights) + 1.6)
    axes = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0].tolist()
    figure.suptitle(title or ", ".join(picture.name for picture in pictures), x=0.01, ha="left", fontsize=13)
    rest = axes
    if lanes:
        _lanes(axes[0], pictures, lanes, tall)
        rest = axes[1:]
    if losses:
        _losses(rest[0], pictures)
    for knob, ax in zip(knobs, rest[losses:], strict=False):
        _knob(ax, pictures, knob)
    if rates:
        _rates(rest[-1], pictures)
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
        ax.margins(x=0)
    for ax in rest:
        ax.grid(axis="y", color="#dddddd", linewidth=0.6)
        ax.set_axisbelow(True)
        for number, picture in enumerate(pictures):
            for span in picture.spans[1:]:
                ax.axvline(
                    span.start + picture.first_step,
                    color=_colour(number, pictures),
                    linewidth=0.8,
                    linestyle=DASHES[2],
                    alpha=0.8,
                )
    axes[-1].set_xlabel("step")
    axes[-1].xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    _epochs(axes[0], pictures)


def _colour(number: int, pictures: Sequence[Picture]) -> str:
    return COLOURS[number] if len(pictures) > 1 else INK


def _lanes(ax: Axes, pictures: Sequence[Picture], lanes: Sequence[Picture], tall: Sequence[float]) -> None:
    """A bar for each curriculum: its states, darker where their first knob is harder, with their names.

    tall: how high each lane is; in one of more than 1, the names that have no room in their bars stand below them.
    """
    width = max(span.stop for picture in lanes for span in picture.spans) or 1
    levels = sorted({_level(picture, span) for picture in lanes for span in picture.spans})
    tops = [sum(tall[:row]) for row in range(len(tall))]
    for picture, top in zip(lanes, tops, strict=True):
        end = 0.0  # of the last name below the bars
        for span in picture.spans:
            depth = 0.93 - 0.38 * levels.index(_level(picture, span)) / max(1, len(levels) - 1)
            start, length = span.start + picture.first_step, span.stop - span.start
            ax.barh(top + 0.5, length, left=start, height=0.82, color=str(depth), edgecolor="white", linewidth=1.2)
            if _has_room(span, width):
                ax.text(start + length / 2, top + 0.5, span.state, ha="center", va="center", fontsize=9, color=INK)
                continue
            room = 0.0095 * width * (len(span.state) + 1)
            at = min(max(start, end), picture.first_step + width - room) if end < width - room else None
            if at is not None:
                end = at + room
                ax.plot((start + length / 2, at + 0.004 * width), (top + 0.92, top + 1.12), color=INK, linewidth=0.6)
                ax.text(at, top + 1.4, span.state, ha="left", va="center", fontsize=8.5, color=INK)
    ax.set_ylim(sum(tall), 0)
    names = [picture.name if len(lanes) > 1 else "state" for picture in lanes]
    ax.set_yticks([top + 0.5 for top in tops], names)
    if len(lanes) > 1:
        for label, picture in zip(ax.get_yticklabels(), lanes, strict=True):
            label.set_color(_colour(pictures.index(picture), pictures))
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)


def _has_room(span: StateSpan, width: float) -> bool:
    """Whether a state's name fits into its bar; `width`: steps on the whole axis."""
    return (span.stop - span.start) / width > 0.012 * len(span.state)


def _heights(lanes: Sequence[Picture]) -> list[float]:
    """How high each lane is: twice as high where names must stand below their bars."""
    width = max((span.stop for picture in lanes for span in picture.spans), default=1) or 1
    return [1.0 if all(_has_room(span, width) for span in picture.spans) else 1.8 for picture in lanes]


def _level(picture: Picture, span: StateSpan) -> float:
    """How hard a state is, by the first knob's value as it begins; by its place where there is no knob."""
    if not picture.knobs:
        return float(picture.spans.index(span))
    steps, values = next(iter(picture.knobs.values()))
    return float(values[max(0, int(np.searchsorted(steps, span.start, side="right")) - 1)])


def _losses(ax: Axes, pictures: Sequence[Picture]) -> None:
    """Raw losses faint, smoothed ones strong; each trace once, even if several replays share it."""
    traces: list[Trace] = []
    shown: list[Floats] = []
    for number, picture in enumerate(pictures):
        if any(_same(picture.trace, trace) for trace in traces):
            continue
        traces.append(picture.trace)
        trace = picture.trace.between(0, None)
        if not len(trace.step):
            continue
        x = trace.step + picture.first_step
        shared = sum(_same(each.trace, picture.trace) for each in pictures) > 1
        colour = INK if shared else COLOURS[number]
        whole = int(trace.count.max()) > 1
        faint = (
            f"faint: {'range of the losses' if whole else 'loss of each logged point'}" if len(traces) == 1 else None
        )
        if len(trace.step) <= 12:
            ax.plot(x, trace.mean, color=colour, marker="o", markersize=4)
        elif whole:
            ax.fill_between(x, trace.low, trace.high, color=colour, alpha=0.18, linewidth=0, label=faint)
        else:
            ax.plot(x, trace.mean, color=colour, alpha=0.28, linewidth=0.6, label=faint)
        cuts = [] if picture.stand_in is not None or shared else [span.start for span in picture.spans[1:]]
        curve = smoothed(trace, cuts)
        shown.append(trace.mean)
        shown.append(curve)
        told = "smoothed" if len(pictures) == 1 or shared else f"{picture.name}, smoothed"
        ax.plot(x, curve, color=colour, linewidth=2, label=told, linestyle=DASHES[0] if shared else DASHES[number])
    _raises(ax, pictures)
    if len(pictures) > len(traces):
        for number, picture in enumerate(pictures):
            ax.plot([], [], color=COLOURS[number], linestyle=DASHES[number], marker=MARKS[number], linewidth=2,
                    markeredgecolor="white", markersize=8, label=f"{picture.name}: states, knobs, rate")  # fmt: skip
    if len(pictures) == 1 and pictures[0].stand_in is not None:
        where = pictures[0].stand_in + pictures[0].first_step
        ax.axvspan(where, ax.get_xlim()[1], facecolor="none", edgecolor="#e4e4e4", hatch="//", linewidth=0, zorder=0,
                   label="hatched: these losses do not answer to the raises")  # fmt: skip
    scale_losses(ax, shown, _decisive(pictures))
    ax.legend(loc="upper right", frameon=False, fontsize=8.5)


def _decisive(pictures: Sequence[Picture]) -> list[float]:
    """Heights that must be seen, whatever the axis: the losses at which states were entered."""
    heights: list[float] = []
    for picture in pictures:
        trace = picture.trace.between(0, None)
        if len(trace.step):
            steps = [span.start for span in picture.spans[1:]]
            heights += np.interp(steps, trace.step, smoothed(trace, [])).tolist()
    return heights


def _same(one: Trace, other: Trace) -> bool:
    """Whether two replays are of one log."""
    return np.array_equal(one.step, other.step) and np.array_equal(one.mean, other.mean, equal_nan=True)


def _raises(ax: Axes, pictures: Sequence[Picture]) -> None:
    """A mark on the curve where a state was entered, named."""
    for number, picture in enumerate(pictures):
        trace = picture.trace.between(0, None)
        if not len(trace.step) or len(picture.spans) < 2:
            continue
        curve = smoothed(trace, [])
        steps = np.array([span.start for span in picture.spans[1:]])
        heights = np.interp(steps, trace.step, curve)
        several = len(pictures) > 1
        ax.plot(
            steps + picture.first_step,
            heights,
            linestyle="",
            marker=MARKS[number],
            # One inside the other where several curricula enter a state on the same step.
            markersize=8 + 3 * (len(pictures) - 1 - number) if several else 9,
            color=COLOURS[number] if several else COLOURS[1],
            markeredgecolor="white",
            label=None if several else "state entered",
            zorder=5,
        )


def _knob(ax: Axes, pictures: Sequence[Picture], knob: str) -> None:
    """The knob as a step line, a tick at each of its values."""
    finite = [
        values[np.isfinite(values)]
        for picture in pictures
        if knob in picture.knobs
        for _, values in [picture.knobs[knob]]
    ]
    known = np.concatenate(finite) if finite else np.empty(0)
    top = 2 * float(known.max()) if len(known) else 1.0
    ticks: dict[float, str] = {}
    end = max((_last(picture) for picture in pictures), default=1)
    for number, picture in enumerate(pictures):
        if knob not in picture.knobs:
            continue
        steps, values = picture.knobs[knob]
        values = np.where(np.isfinite(values), values, top)
        for value, full in zip(values.tolist(), (~np.isfinite(picture.knobs[knob][1])).tolist(), strict=True):
            words = picture.words.get(knob)
            ticks[value] = "full" if full else f"{value:g}" if words is None else words[int(value)]
        x = np.append(steps, _last(picture)) + picture.first_step
        y = np.append(values, values[-1])
        ax.step(x, y, where="post", color=COLOURS[number], linestyle=DASHES[number], linewidth=2, label=picture.name)
    if ticks and min(ticks) > 0:
        ax.set_yscale("log", base=2)
    if len(ticks) <= 9:
        ax.set_yticks(list(ticks), list(ticks.values()))
    else:
        ax.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    ax.minorticks_off()
    ax.margins(y=0.18)
    units = {picture.units[knob] for picture in pictures if knob in picture.units}
    ax.set_ylabel(f"{knob}\n({units.pop()})" if len(units) == 1 else knob)
    ax.set_xlim(right=end)


def _rates(ax: Axes, pictures: Sequence[Picture]) -> None:
    for number, picture in enumerate(pictures):
        if picture.rate is not None:
            steps, rates = picture.rate
            thin = max(1, len(steps) // 20_000)
            ax.plot(
                steps[::thin] + picture.first_step,
                rates[::thin],
                color=COLOURS[number],
                linestyle=DASHES[number],
                linewidth=1.6,
            )
    ax.set_ylim(bottom=0)
    ax.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
    ax.set_ylabel("learning rate")


def _last(picture: Picture) -> int:
    ends = [span.stop for span in picture.spans] + ([int(picture.trace.step[-1])] if len(picture.trace.step) else [1])
    return max(ends)


def _epochs(ax: Axes, pictures: Sequence[Picture]) -> None:
    """Epochs above the uppermost panel, where all agree on what one is."""
    lengths = {picture.per_epoch for picture in pictures}
    if len(lengths) != 1 or None in lengths:
        return
    per_epoch, first = float(next(iter(lengths)) or 1), pictures[0].first_step

    from matplotlib.ticker import MaxNLocator

    def epochs_of(steps: Any) -> Any:
        return (np.asarray(steps) - first) / per_epoch

    def steps_of(epochs: Any) -> Any:
        return np.asarray(epochs) * per_epoch + first

    above = ax.secondary_xaxis("top", functions=(epochs_of, steps_of))
    above.set_xlabel("epoch")
    above.xaxis.set_major_locator(MaxNLocator(integer=True))
    above.spines[:].set_visible(False)
