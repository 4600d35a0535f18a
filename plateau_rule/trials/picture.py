"""Pictures of experiments: mean curves with the spread over the seeds, the envelope, and where to raise."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import numpy as np

from plateau_rule.sim.plots.page import COLOURS, DASHES, INK, page
from plateau_rule.trials.compare import Compared, verdict
from plateau_rule.trials.curve import LABELS, TAME, Curve, Floats
from plateau_rule.trials.probe import PLACES, Probed

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_probe(probed: Probed, path: Path) -> Path:
    """Draw every rung's curve against what it cost, with the envelope, and where a harder rung gets ahead."""
    scale = probed.prices.unit_s if probed.prices is not None and probed.budget.unit == "s" else 1.0
    with page(path, (8.0, 4.6)) as figure:
        ax = figure.subplots()
        for place, curves in enumerate(probed.curves):
            _draw_mean(ax, curves, probed.axis, place, probed.named(place), scale)
        _draw_envelope(ax, probed, scale)
        end = max(float(curve.spent[probed.axis][-1]) for rung in probed.curves for curve in rung)
        for crossing in probed.crossings:
            x, late = crossing.begin * scale, crossing.begin > end / 2  # a late word has its room on the left
            ax.axvline(x, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
            ax.annotate(
                f"ahead from here: rung {crossing.rung + 1}",
                (x, 0.97),
                xycoords=("data", "axes fraction"),
                xytext=(-4 if late else 4, 0),
                textcoords="offset points",
                ha="right" if late else "left",
                va="top",
                fontsize=9,
            )
        label = "time (s), by the price of each step" if scale != 1.0 else LABELS[probed.axis]
        ax.set_xlabel(label)
        ax.set_ylabel("held-out score (less is better)")
        seeds = len(probed.curves[0])
        ax.set_title(
            f"{probed.rungs.curriculum.name}: each rung held, {seeds} seed{'s' * (seeds > 1)}", loc="left", fontsize=11
        )
        ax.legend(frameon=False, fontsize=9)
        _zoom(ax, [curve for rung in probed.curves for curve in rung])
    return path


def draw_comparison(compared: Compared, path: Path) -> Path:
    """Draw every curriculum's scores against each thing that was spent."""
    axes = compared.axes
    rows = (len(axes) + 1) // 2
    with page(path, (9.6, 0.9 + 3.4 * rows) if len(axes) > 1 else (8.0, 4.6)) as figure:
        panels = figure.subplots(rows, min(2, len(axes)), squeeze=False, sharey=True).ravel()
        for panel, axis in zip(panels, axes, strict=False):
            for place, (name, curves) in enumerate(zip(compared.names, compared.curves, strict=True)):
                _draw_mean(panel, curves, axis, place, name)
            panel.set_xlabel(LABELS[axis])
            panel.set_ylabel("held-out score (less is better)" if panel is panels[0] else "")
            _zoom(panel, [curve for curves in compared.curves for curve in curves])
        for panel in panels[len(axes) :]:
            panel.set_visible(False)
        panels[0].legend(frameon=False, fontsize=9)
        told = verdict(compared).replace(" = ", "\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}")
        figure.suptitle("\n".join(wrap(told, 100)), fontsize=10, x=0.01, ha="left")
    return path


def _draw_mean(ax: Axes, curves: Sequence[Curve], axis: str, place: int, label: str, scale: float = 1.0) -> None:
    """A mean over the seeds, and a band of its spread."""
    x = np.linspace(max(c.spent[axis][0] for c in curves), min(c.spent[axis][-1] for c in curves), PLACES)
    scores = np.array([_tame(curve.at(axis, x)) for curve in curves])
    look: dict[str, Any] = {"color": COLOURS[place % len(COLOURS)], "linestyle": DASHES[place % len(DASHES)]}
    ax.plot(x * scale, scores.mean(0), linewidth=1.8, label=label, **look)
    if len(curves) > 1:
        margin = scores.std(0, ddof=1)
        low, high = scores.mean(0) - margin, scores.mean(0) + margin
        ax.fill_between(x * scale, low, high, color=look["color"], alpha=0.18, linewidth=0)


def _tame(scores: Floats) -> Floats:
    """Scores with a gap where they are not finite."""
    return np.where(scores > TAME, np.nan, scores)


def _draw_envelope(ax: Axes, probed: Probed, scale: float) -> None:
    """The best mean at each place, wide and pale below the curves."""
    every = [curve for rung in probed.curves for curve in rung]
    x = np.linspace(max(c.spent[probed.axis][0] for c in every), min(c.spent[probed.axis][-1] for c in every), PLACES)
    means = [np.mean([_tame(curve.at(probed.axis, x)) for curve in rung], axis=0) for rung in probed.curves]
    ax.plot(x * scale, np.fmin.reduce(means), color="#bbbbbb", linewidth=6, zorder=0, label="envelope", alpha=0.7)


def _zoom(ax: Axes, curves: Sequence[Curve]) -> None:
    """Leave the first fall out of sight: what counts is how curves lie later."""
    later = np.concatenate([curve.score[len(curve.score) // 5 :] for curve in curves])
    later = later[np.isfinite(later)]
    if len(later):
        room = 0.06 * float(np.ptp(later)) or 0.01
        ax.set_ylim(float(later.min()) - room, float(later.max()) + room)
