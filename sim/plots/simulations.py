"""Pictures of simulations and of tuned settings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from plateau_rule.sim.plots.page import COLOURS, DASHES, INK, MARKS, page
from plateau_rule.sim.simulator.learner import Floats
from plateau_rule.sim.simulator.loop import Outcome
from plateau_rule.sim.simulator.simulate import Simulation
from plateau_rule.sim.simulator.summary import summary
from plateau_rule.sim.simulator.tune import Measured

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FAINT = "#888888"
SPELLED = 5  # of the best settings


def draw_simulations(found: Sequence[Simulation], path: str | Path) -> Path:
    """Draw when each state is entered, as the share of the learners that have got there, and how timely that was.

    Dotted: the same where every raise comes as soon as the true loss is flat. Beside it: of the raises into each state,
    the shares that came early, in time and late. found: at least one. path: ends in .png or .svg. Raises PlotError
    where it cannot be drawn or written.
    """
    with page(path, (12.0, 0.9 + 2.6 * len(found))) as figure:
        axes = figure.subplots(len(found), 2, squeeze=False, width_ratios=(3, 1), sharex="col")
        end = max(_shown_until(each) for each in found)
        for (left, right), each in zip(axes, found, strict=True):
            _entries(left, each, end)
            _timeliness(right, summary(each)["states"][1:])
            left.set_title(
                f"{each.machine.curriculum.name}: {len(each.outcome.steps):,} learners", loc="left", color=INK
            )
            for ax in (left, right):
                ax.spines[["top", "right"]].set_visible(False)
        axes[-1, 0].set_xlabel("optimizer step")
        axes[-1, 1].set_xlabel("raises into the state (share)")
    return Path(path)


def _shown_until(each: Simulation) -> float:
    """A bit beyond the last entry, or all of the run."""
    total = float(each.machine.run.total_steps or 1)
    entries = [_entered(outcome, place)[0][-1] for outcome in (each.outcome, each.oracle) if outcome is not None
               for place in range(1, len(each.machine.states))]  # fmt: skip
    return min(total, 1.1 * max(entries, default=total) or total)


def _entries(ax: Axes, each: Simulation, end: float) -> None:
    for place, state in enumerate(each.machine.states[1:], 1):
        look = (place - 1) % len(COLOURS)
        for outcome, dash, width, label in (
            (each.outcome, DASHES[look], 2.0, state.name),
            (each.oracle, ":", 1.2, None),
        ):
            if outcome is not None:
                steps, shares = _entered(outcome, place)
                ax.step(np.append(steps, end), np.append(shares, shares[-1]), where="post", color=COLOURS[look],
                        linestyle=dash, linewidth=width, label=label)  # fmt: skip
    if each.oracle is not None:
        ax.plot([], [], color=INK, linestyle=":", linewidth=1.2, label="as soon as it is flat")
    ax.set_xlim(0, end)
    ax.set_ylim(0, 1.03)
    ax.set_ylabel("learners that got there (share)")
    ax.xaxis.set_major_formatter(lambda step, _: f"{step:,.0f}")
    ax.yaxis.set_major_formatter(_percent)
    ax.grid(color=FAINT, alpha=0.3)
    if len(each.machine.states) > 1:
        ax.legend(loc="lower right", frameon=False, fontsize=9)


def _timeliness(ax: Axes, states: Sequence[dict[str, Any]]) -> None:
    """A bar for each state: early, in time, late; hatched as well as coloured."""
    raised = [
        state | {"in time": 1.0 - state["early"] - state["late"]} for state in states if state["early"] is not None
    ]
    start = np.zeros(len(raised))
    for word, colour, hatch in (("early", COLOURS[1], "//"), ("in time", "#dddddd", ""), ("late", COLOURS[0], "..")):
        shares = np.array([state[word] for state in raised])
        ax.barh([state["name"] for state in raised], shares, left=start, color=colour, hatch=hatch, edgecolor="white",
                label=word, height=0.6)  # fmt: skip
        start = start + shares
    ax.set_xlim(0, 1)
    ax.set_xticks((0.0, 0.5, 1.0))
    ax.invert_yaxis()
    ax.xaxis.set_major_formatter(_percent)
    ax.tick_params(axis="y", length=0)
    ax.set_title(" ", loc="left")
    if raised:
        ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False, fontsize=9)


def _percent(share: float, _: float) -> str:
    return f"{100 * share:.3g} %"


def _entered(outcome: Outcome, place: int) -> tuple[Floats, Floats]:
    """The steps at which learners entered a state for the first time, and which share of them had by then."""
    chosen = outcome.decisions.to_state == place
    _, first = np.unique(outcome.decisions.run[chosen], return_index=True)
    steps = np.sort(outcome.decisions.step[chosen][first]).astype(np.float64)
    return np.append(0.0, steps), np.arange(len(steps) + 1) / len(outcome.steps)


def draw_front(name: str, found: Sequence[Measured], path: str | Path) -> Path:
    """Draw false raises against delay for tuned settings; a line joins the best, some of which are spelled out.

    found: the settings as written, then the others. path: ends in .png or .svg.
    """
    with page(path, (9.5, 5.5)) as figure:
        ax = figure.subplots()
        written, others = found[0], [each for each in found[1:] if each.delay is not None]
        best = sorted((each for each in others if each.best), key=lambda each: each.false)
        ax.scatter(*_places(others), s=16, color=FAINT, label=f"tried ({len(found) - 1})", clip_on=False)
        ax.plot(*_places(best), color=COLOURS[0], marker=MARKS[1], markersize=6, linewidth=1.2, drawstyle="steps-post",
                clip_on=False, label="best: none is better in one respect and as good in the other")  # fmt: skip
        if written.delay is not None:
            ax.scatter(*_places([written]), s=80, color=COLOURS[1], marker=MARKS[2], label="as written", zorder=4,
                       clip_on=False)  # fmt: skip
        for place in sorted({round(i * (len(best) - 1) / max(1, SPELLED - 1)) for i in range(SPELLED)} if best else ()):
            words = ", ".join(f"{key} {value:.3g}" for key, value in best[place].settings.items())
            spot = _places([best[place]])
            offset, side = ((-8, -14), "right") if 0 < place == len(best) - 1 else ((8, 6), "left")
            ax.annotate(words, (spot[0][0], spot[1][0]), fontsize=8, color=INK, xytext=offset, ha=side,
                        textcoords="offset points")  # fmt: skip
        ax.set_title(f"{name}: what a plateau's settings do to the first raise", loc="left", color=INK)
        ax.set_xlabel("false raises (share of copies): the loss still improves more than twice as fast as flat")
        ax.set_ylabel("median delay (observations)")
        ax.xaxis.set_major_formatter(_percent)
        ax.yaxis.set_major_formatter(lambda delay, _: f"{delay:,.0f}")
        ax.margins(x=0.06, y=0.12)
        ax.set_xlim(left=0.0)  # there are no fewer than none
        ax.set_ylim(bottom=min(0.0, *_places(found)[1]))
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(color=FAINT, alpha=0.3)
        ax.legend(frameon=False, loc="upper right")
    return Path(path)


def _places(found: Sequence[Measured]) -> tuple[list[float], list[float]]:
    return [each.false for each in found], [0.0 if each.delay is None else each.delay for each in found]
