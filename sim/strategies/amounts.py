"""Amounts of time of drawn curricula, and runs whose clocks follow the knobs."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

PRICED = "priced"  # a key beside those of [run] while a curriculum is drawn: whether steps have a price
_NUMBERS = (1, 2, 3, 8)


def without_price(run: dict[str, Any]) -> dict[str, Any]:
    """The [run] as a file writes it."""
    return {key: value for key, value in run.items() if key != PRICED}


def is_whole(run: dict[str, Any]) -> bool:
    """Whether steps say how long a run is."""
    return "epochs" in run and "steps_per_epoch" in run


def shares_follow_knobs(run: dict[str, Any]) -> bool:
    """Whether shares of a run are amounts of tokens or cost that knobs decide."""
    said = run.get("clock") or next((key for key in ("cost", "tokens") if key in run), "steps")
    return bool(said == "cost" or (said == "tokens" and isinstance(run["tokens_per_step"], list)))


@st.composite
def amounts(
    draw: st.DrawFn, run: dict[str, Any], most: int, rest: bool = False, least: int = 1, in_state: bool = False
) -> str:
    """An amount of time of at most about `most` steps, in any unit that this run can resolve.

    Args:
        draw: given by hypothesis.
        run: the [run] that it is for.
        most: steps.
        rest: whether it may be `rest`.
        least: steps.
        in_state: whether it may be an amount whose steps the knobs decide.
    """
    shares = (shares_follow_knobs(run) and in_state) or (is_whole(run) and not shares_follow_knobs(run))
    counts_tokens = "tokens_per_step" in run and (in_state or isinstance(run["tokens_per_step"], int))
    units: list[str] = ["steps", *["epochs"] * ("steps_per_epoch" in run), *["tokens"] * counts_tokens]
    units += [*["cost"] * (in_state and PRICED in run), *["run"] * shares, *["rest"] * (rest and shares)]
    unit: str = draw(st.sampled_from(units))
    steps: int = draw(st.integers(least, most))
    if unit == "rest":
        return "rest"
    if unit == "epochs":
        halves = max(least, 2 * steps // run["steps_per_epoch"])
        return f"{halves // 2} epochs" if halves % 2 == 0 else f"{halves / 2} epochs"
    if unit == "tokens":
        product = run["tokens_per_step"]
        number = product if isinstance(product, int) else 3 * product[0] + draw(st.integers(0, 2))
        return f"{steps * number} tokens"
    if unit == "cost":
        return f"{steps * draw(st.sampled_from((1, 0.5, 0.25)))} cost"
    if unit == "run":
        total = run["epochs"] * run["steps_per_epoch"] if is_whole(run) else 60
        return f"{min(1.0, max(0.01 * least, round(steps / total, 2)))} run"
    return "1 step" if steps == 1 else f"{steps} steps"


@st.composite
def follow_knobs(draw: st.DrawFn, run: dict[str, Any], knobs: dict[str, dict[str, Any]], most_steps: int) -> None:
    """Let tokens, or cost, be counted by the knobs, and perhaps end the run; `run` and `knobs` are changed."""
    countable = [name for name, knob in knobs.items() if _is_countable(knob)]
    if len(countable) > 0 and draw(st.booleans()):
        run["tokens_per_step"] = [draw(st.sampled_from(_NUMBERS)), *countable[: draw(st.integers(1, 2))]]
        if draw(st.booleans()):
            run["tokens"] = run["tokens_per_step"][0] * draw(st.integers(1, 4 * most_steps))
    for knob in knobs.values():
        if "ladder" in knob and draw(st.booleans()):
            knob["cost"] = [draw(st.sampled_from((0.25, 0.4, 0.123456, 1.0, 2.5))) for _ in knob["ladder"]]
            run[PRICED] = True
    if draw(st.integers(0, 3)) == 3:
        run["cost_per_step"] = [draw(st.sampled_from((0.5, 1, 0.001))), *countable[: draw(st.integers(0, 1))]]
        run[PRICED] = True
    if PRICED in run and draw(st.booleans()):
        run["cost"] = draw(st.sampled_from((5, 7.5, 20.25, 60)))
    bounds = [key for key in ("epochs", "tokens", "cost") if key in run]
    if len(bounds) > 1:
        if bounds[0] == "epochs" and draw(st.booleans()):
            del run["epochs"]
            bounds = bounds[1:]
        run["clock"] = draw(st.sampled_from(["steps" if key == "epochs" else key for key in bounds]))


def _is_countable(knob: dict[str, Any]) -> bool:
    """Whether its values are whole numbers, also on a ramp."""
    if "ladder" in knob:
        return all(isinstance(rung, int) for rung in knob["ladder"])
    if "range" not in knob:
        return False
    values = [knob["range"]["min"], knob["range"]["max"], knob["range"].get("multiple_of", 0.5)]
    return all(isinstance(value, int) for value in values)
