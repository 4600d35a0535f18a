"""A simulation's summary as tables and sentences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.table import Table

from plateau_rule.sim.replayer.tables import show
from plateau_rule.sim.simulator.fit import Fit, table
from plateau_rule.sim.simulator.tune import Measured


def print_summary(known: dict[str, Any]) -> None:
    """Print what a simulation found: states, raises, losses, and what to do about it."""
    flat = 100_000 * known["flat_per_step"]
    show(
        f"\n{known['curriculum']}: {known['learners']:,} learners, {known['steps']:,} steps each, seed {known['seed']}."
    )
    show(f"Flat is a true loss that improves by less than {flat:.3g} % per 1000 steps.")
    if known["evaluations"]:
        show(f"Evaluations bring the loss without noise: {known['evaluations']}.")
    show(_states(known["states"]))
    raises = known["raises"]
    if raises["each"]:
        show(
            f"{raises['each']:.3g} raises a run: {raises['early']:.1%} early, {raises['in_time']:.1%} in time, "
            f"{raises['late']:.1%} late (flat for over {known['late_steps']:,} steps); "
            f"{raises['cascades']:.1%} begin a cascade, {raises['stalls']:.1%} a stall."
        )
    show(_losses(known))
    for sentence in known["verdicts"]:
        show(f"- {sentence}")


def _states(states: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in (
        "state",
        "reached",
        "entered, 5 %",
        "50 %",
        "95 %",
        "right",
        "steps",
        "cost",
        "early",
        "late",
        "stalls",
    ):
        table.add_column(title, justify="left" if title == "state" else "right")
    for state in states:
        entered, right = state["entered"] or [None] * 3, state["entered_by_oracle"]
        table.add_row(
            state["name"],
            _percent(state["reached"]),
            *map(_number, entered),
            _number(right and right[1]),
            *(_percent(state[key]) for key in ("steps_share", "cost_share", "early", "late", "stalls")),
        )
    return table


def print_tuned(name: str, found: Sequence[Measured]) -> None:
    """Print the front of the best settings, beside the settings as they are written now."""
    keys = list(found[1].settings)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in (*keys, "false raises", "no raise", "median delay"):
        table.add_column(title, justify="right")
    for each in (found[0], *(one for one in found[1:] if one.best)):
        settings = [f"{each.settings[key]:.4g}" if each.settings else "as written" for key in keys]
        table.add_row(*settings, _percent(each.false), _percent(each.missed), _number(each.delay))
    show(f"{name}: {len(found) - 1} settings tried; none is better than these in one respect and as good in the other.")
    show(table)


def print_fit(found: Fit) -> None:
    """Print a fitted learner's parameters."""
    table_ = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("parameter", "value", "best learners", "what it is"):
        table_.add_column(title, justify="right" if title in ("value", "best learners") else "left")
    for row in table(found):
        spread = "-" if row["spread"] is None else f"{row['spread'][0]:.3g} to {row['spread'][1]:.3g}"
        table_.add_row(row["name"], f"{row['value']:.4g}", spread, row["meaning"])
    show(table_)


_RIVALS = {
    "oracle": "raised at the right moment",
    "full_equal_steps": "no curriculum, equal steps",
    "full_equal_cost": "no curriculum, equal cost",
}


def _losses(known: dict[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("true final loss", "5 %", "50 %", "95 %", "lower here in"):
        table.add_column(title, justify="left" if title == "true final loss" else "right")
    table.add_row("here", *(f"{value:.4f}" for value in known["loss"] or ()), "")
    for name, rival in known["against"].items():
        differences = (f"{value:+.4f}" for value in rival["difference"] or ())
        table.add_row(f"less that: {_RIVALS[name]}", *differences, _percent(rival["lower"]))
    return table


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}" if 0 < share < 0.1 else f"{share:.0%}"
