"""What Megatron-LM's arguments say of the rate, with its own defaults; amounts as it counts them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from plateau_rule.sim.schedules.arguments import Arguments, shown

STYLES = ("constant", "linear", "cosine", "inverse-square-root", "WSD")
FALLS = ("exponential", "linear", "cosine", "minus_sqrt")


@dataclass(frozen=True, slots=True)
class RateArguments:
    """The rate of Megatron-LM, amounts in samples or, where a run is counted in them, iterations.

    Attributes:
        peak: the rate after the warm-up.
        floor: what it falls to, as a share of the peak.
        start: what the warm-up begins with, as a share of the peak.
        style: one of STYLES.
        fall: one of FALLS, how the last part of WSD falls.
        warm: the length of the warm-up; a share of the run may not be whole.
        decay: where the fall ends, counted from the start of the run.
        last: the last part, over which WSD falls.
    """

    peak: float
    floor: float
    start: float
    style: str
    fall: str
    warm: float
    decay: int
    last: int


def rate_arguments(arguments: Arguments, unit: str, whole: int | None) -> RateArguments | None:
    """What is said of the rate; None where there is no `--lr`.

    Args:
        arguments: those of Megatron-LM.
        unit: "iters" or "samples".
        whole: of those, how many the run has; None where it is not said.

    Raises:
        ScheduleError: something has no word in the language, or does not fit together.
    """
    peak = arguments.number("lr")
    if peak is None:
        amounts = [name for name in arguments.given if re.fullmatch(r"lr_\w+_(iters|samples|fraction)", name)]
        if odd := next(filter(arguments.number, amounts), None):
            raise arguments.error(f"{shown(arguments.written(odd))} without --lr", "Give the rate as well")
        return None
    if peak <= 0:
        raise arguments.error(f"{arguments.written('lr')} is no rate", "Write a number above 0")
    style = arguments.word("lr_decay_style", STYLES, "linear")
    if style == "inverse-square-root":
        found = f"{arguments.written('lr_decay_style')} has no word in the language of curricula"
        raise arguments.error(found, "The shapes here are cosine, linear, constant and wsd: choose one")
    lowest, first = arguments.number("min_lr", 0.0) or 0.0, arguments.number("lr_warmup_init", 0.0) or 0.0
    for name, value in (("min_lr", lowest), ("lr_warmup_init", first)):
        if value > peak:
            raise arguments.error(f"{arguments.written(name)} is above {arguments.written('lr')}", "Write a lower one")
    decay = _amount(arguments, f"lr_decay_{unit}", whole)
    warm = _warmup(arguments, unit, decay)
    if style == "constant":
        decay = decay or 0
    elif decay is None:
        raise arguments.error(f"the rate falls, and neither --train-{unit} nor --lr-decay-{unit} says how long",
                              "Give one of them")  # fmt: skip
    elif warm >= decay:
        raise arguments.error(f"a warm-up of {warm:.15g} {_named(unit)} in a fall of {decay}", "Shorten the warm-up")
    fall, last = "linear", 0
    if style == "WSD":
        fall, last = _last_part(arguments, unit, decay or 0, warm)
    return RateArguments(peak, lowest / peak, first / peak, style, fall, warm, decay or 0, last)


def _named(unit: str) -> str:
    return "iterations" if unit == "iters" else unit


def _amount(arguments: Arguments, name: str, default: int | None = None) -> int | None:
    """An amount; 0 is none, as Megatron-LM's defaults have it."""
    return arguments.whole(name) or default


def _warmup(arguments: Arguments, unit: str, decay: int | None) -> float:
    share, count = arguments.number("lr_warmup_fraction"), _amount(arguments, f"lr_warmup_{unit}", 0)
    if share is None:
        return count or 0
    if count:
        given = f"{arguments.written('lr_warmup_fraction')} and {arguments.written(f'lr_warmup_{unit}')}"
        raise arguments.error(f"{given}: Megatron-LM takes one of them", "Leave the other out")
    if decay is None:
        raise arguments.error(f"{arguments.written('lr_warmup_fraction')} of a length that is not given",
                              f"Give --train-{unit} or --lr-decay-{unit}")  # fmt: skip
    return share * decay


def _last_part(arguments: Arguments, unit: str, decay: int, warm: float) -> tuple[str, int]:
    """How the last part of WSD falls, and how long it is."""
    fall = arguments.word("lr_wsd_decay_style", FALLS, "exponential")
    if fall not in ("linear", "cosine"):
        said = arguments.written("lr_wsd_decay_style", "--lr-decay-style WSD falls exponentially unless told, and that")
        raise arguments.error(f"{said} has no word in the language of curricula",
                              "Write --lr-wsd-decay-style linear or cosine")  # fmt: skip
    last = _amount(arguments, f"lr_wsd_decay_{unit}")
    if last is None:
        raise arguments.error("--lr-decay-style WSD does not say how long its last part is",
                              f"Give --lr-wsd-decay-{unit}")  # fmt: skip
    if last > decay - warm:
        raise arguments.error(f"{arguments.written(f'lr_wsd_decay_{unit}')} is longer than what the warm-up leaves",
                              "Shorten it")  # fmt: skip
    return fall, last
