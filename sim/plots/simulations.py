"""Pictures of simulations and of tuned settings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sim.plots.page import COLOURS, DASHES, INK, MARKS, page
from sim.simulator.learner import Floats
from sim.simulator.loop import Outcome
from sim.simulator.simulate import Simulation
from sim.simulator.tune import Measured

FAINT = "#888888"


def draw_simulations(found: Sequence[Simulation], path: str | Path) -> Path:
    """Draw when each state is entered, as the share of the learners that have got there; dotted: the right moment.

    found: at least one. path: ends in .png or .svg. Raises PlotError where it cannot be drawn or written.
    """
    with page(path, (11.0, 0.6 + 2.6 * len(found))) as figure:
        axes = figure.subplots(len(found), 1, squeeze=False)[:, 0]
        for ax, each in zip(axes, found, strict=True):
            total = each.machine.run.total_steps or 1
            for place, state in enumerate(each.machine.states[1:], 1):
                look = place % len(COLOURS)
                ax.step(*_entered(each.outcome, place), where="post", color=COLOURS[look], linestyle=DASHES[look],
                        label=state.name)  # fmt: skip
                if each.oracle is not None:
                    ax.step(
                        *_entered(each.oracle, place), where="post", color=COLOURS[look], linestyle=":", linewidth=1
                    )
            ax.set_xlim(0, total)
            ax.set_ylim(0, 1.02)
            ax.set_title(f"{each.machine.curriculum.name}: {len(each.outcome.steps):,} learners", loc="left", color=INK)
            ax.set_ylabel("share that got there")
            ax.grid(color=FAINT, alpha=0.3)
            if len(each.machine.states) > 1:
                ax.legend(loc="lower right", frameon=False)
        axes[-1].set_xlabel("optimizer step; dotted: as soon as the true loss is flat")
    return Path(path)


def _entered(outcome: Outcome, place: int) -> tuple[Floats, Floats]:
    """The steps at which learners entered a state for the first time, and which share of them had by then."""
    chosen = outcome.decisions.to_state == place
    _, first = np.unique(outcome.decisions.run[chosen], return_index=True)
    steps = np.sort(outcome.decisions.step[chosen][first]).astype(np.float64)
    return np.append(0.0, steps), np.arange(len(steps) + 1) / len(outcome.steps)


def draw_front(name: str, found: Sequence[Measured], path: str | Path) -> Path:
    """Draw false raises against delay for tuned settings, the best joined by a line.

    found: the settings as written, then the others. path: ends in .png or .svg.
    """
    with page(path, (8.0, 5.0)) as figure:
        ax = figure.subplots()
        written, others = found[0], [each for each in found[1:] if each.delay is not None]
        best = sorted((each for each in others if each.best), key=lambda each: each.false)
        ax.scatter([each.false for each in others], _delays(others), s=14, color=FAINT, label="tried")
        ax.plot([each.false for each in best], _delays(best), color=COLOURS[0], marker=MARKS[1], label="best")
        for each in best:
            words = ", ".join(f"{key} {value:.3g}" for key, value in each.settings.items())
            ax.annotate(
                words, (each.false, each.delay or 0.0), fontsize=7, color=INK, xytext=(4, 4), textcoords="offset points"
            )
        if written.delay is not None:
            ax.scatter([written.false], [written.delay], s=60, color=COLOURS[1], marker=MARKS[2], label="as written")
        ax.set_title(f"{name}: what a plateau's settings do", loc="left", color=INK)
        ax.set_xlabel("share of raises while the loss still improves twice as fast as flat")
        ax.set_ylabel("median delay in observations")
        ax.grid(color=FAINT, alpha=0.3)
        ax.legend(frameon=False)
    return Path(path)


def _delays(found: Sequence[Measured]) -> list[float]:
    return [0.0 if each.delay is None else each.delay for each in found]
