"""Losses, states, knobs and rate on one time axis: one drawing for runs and for replays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from plateau_rule.sim.logs import read
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
    heights = [0.28 * len(lanes) + 0.1] if lanes else []
    losses = any(len(picture.trace.step) for picture in pictures)
    panel = 1.3 if losses else 2.2
    heights += [*([3.6] if losses else []), *(panel for _ in knobs), *([panel - 0.1] if rates else [])]
    figure.set_size_inches(11, sum(heights) + 1.6)
    axes = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0].tolist()
    figure.suptitle(title or ", ".join(picture.name for picture in pictures), x=0.01, ha="left", fontsize=13)
    rest = axes
    if lanes:
        _lanes(axes[0], pictures, lanes)
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


def _lanes(ax: Axes, pictures: Sequence[Picture], lanes: Sequence[Picture]) -> None:
    """A bar for each curriculum: its states, darker where their first knob is harder, with their names."""
    width = max(span.stop for picture in lanes for span in picture.spans) or 1
    levels = sorted({_level(picture, span) for picture in lanes for span in picture.spans})
    for row, picture in enumerate(lanes):
        for span in picture.spans:
            depth = 0.93 - 0.38 * levels.index(_level(picture, span)) / max(1, len(levels) - 1)
            start, length = span.start + picture.first_step, span.stop - span.start
            ax.barh(row, length, left=start, height=0.82, color=str(depth), edgecolor="white", linewidth=1.2)
            if length / width > 0.012 * len(span.state):
                ax.text(start + length / 2, row, span.state, ha="center", va="center", fontsize=9, color=INK)
            elif length / width > 0.012:
                short = span.state[: max(1, int(length / width / 0.012) - 1)] + "…"
                ax.text(start + length / 2, row, short, ha="center", va="center", fontsize=8, color=INK)
    ax.set_ylim(len(lanes) - 0.5, -0.5)
    ax.set_yticks(range(len(lanes)), [picture.name if len(lanes) > 1 else "state" for picture in lanes])
    if len(lanes) > 1:
        for label, picture in zip(ax.get_yticklabels(), lanes, strict=True):
            label.set_color(_colour(pictures.index(picture), pictures))
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)


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
        ax.axvspan(where, ax.get_xlim()[1], facecolor="none", edgecolor="#ebebeb", hatch="//", linewidth=0, zorder=0)
        ax.plot([], [], " ", label="hatched: these losses do not answer to the raises")
    _limit(ax, shown)
    ax.set_ylabel("loss")
    ax.legend(loc="upper right", frameon=False, fontsize=8.5)


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
        if several or len(steps) > 12:
            continue
        for place, (span, height) in enumerate(zip(picture.spans[1:], heights.tolist(), strict=True)):
            spot = (span.start + picture.first_step, height)
            at_the_end = span.start > 0.9 * _last(picture)
            offset, side = (-6 if at_the_end else 5, 10 + 13 * (place % 2)), "right" if at_the_end else "left"
            ax.annotate(span.state, spot, xytext=offset, textcoords="offset points", fontsize=9, color=INK, ha=side)


def _limit(ax: Axes, shown: Sequence[Floats]) -> None:
    """Show nearly all of it; a few spikes may leave the picture, and a loss that falls far gets a logarithmic axis."""
    if not shown:
        return
    values, curve = np.concatenate(list(shown[0::2])), np.concatenate(list(shown[1::2]))
    low, high = np.percentile(values, (0.1, 99.8)).tolist()
    top = float(np.percentile(curve, 99.5))
    high = max(high, float(curve.max()) if curve.max() <= 4 * top else top)
    low = min(low, float(np.percentile(curve, 0.5)))
    # A few losses of another order of magnitude would leave a flat line of all the others.
    usual_low, usual_high = np.percentile(values, (5, 95)).tolist()
    spread = 10 * (usual_high - usual_low)
    if spread > 0:
        near = values[(values <= usual_high + spread) & (values >= usual_low - spread)]
        low, high = max(low, float(near.min())), min(high, float(near.max()))
    if low > 0 and high / low > 12:
        ax.set_yscale("log")
        ax.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        ax.set_ylim(low / 1.1, high * 1.1)
    elif high > low:
        ax.set_ylim(low - 0.04 * (high - low), high + 0.06 * (high - low))


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
            ticks[value] = "full" if full else f"{value:g}"
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
