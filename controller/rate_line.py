"""The rate in a state as a line, and its cycles in words: what a drawing of a curriculum shows of them."""

from __future__ import annotations

from plateau_rule.controller.binding import run_of
from plateau_rule.controller.bound_rates import follow_factor
from plateau_rule.controller.language.amounts import Amount, parse_amount, steps_in
from plateau_rule.controller.language.curriculum import FULL, Curriculum, State
from plateau_rule.controller.language.rates import GrowingCycles, Rate
from plateau_rule.controller.rate import multiplier

SAMPLES = 96  # points of each fall


def cycles_in_words(rate: Rate) -> str:
    """What the cycles of the rate are, in words."""
    cycles = rate.cycles
    said = f"cycles of {', '.join(cycles or ()) if not isinstance(cycles, GrowingCycles) else cycles.first}"
    if isinstance(cycles, GrowingCycles) and cycles.factor > 1:
        said += f", each {cycles.factor} times as long as the one before it"
    return said + (f", each peak {rate.peaks.factor:g} of the one before it" if rate.peaks else "")


def peak_written(curriculum: Curriculum, state: State) -> float:
    """The peak of a state as the file has it; a knob that is `full`, which may be anything, does not move it."""
    rate, first = curriculum.lr, curriculum.state[0].set
    known = {
        name: e for name, e in rate.follow.items() if FULL not in (first.get(name, FULL), state.set.get(name, FULL))
    }
    return rate.peak * state.lr.peak * follow_factor(known, first, state.set)


def _cycles(rate: Rate) -> list[str]:
    """The lengths of cycles that a line shows: all that are listed, or the first few of those that go on for ever."""
    if not isinstance(rate.cycles, GrowingCycles):
        return list(rate.cycles or ())
    first = parse_amount(rate.cycles.first)
    return [str(Amount(first.count * rate.cycles.factor**i, first.unit)) for i in range(3)]


def rate_line(curriculum: Curriculum, index: int) -> list[tuple[float, float]]:
    """The rate in a state after a restart: points (time from 0 to 1, rate as a share of the highest peak)."""
    rate, own = curriculum.lr, curriculum.state[index].lr
    shape, decay = own.shape or rate.shape, rate.decay if own.decay is None else own.decay
    floor = rate.floor if own.floor is None else own.floor
    heights = [peak_written(curriculum, state) for state in curriculum.state]
    height = heights[index] / max(heights)
    run = run_of(curriculum)

    def steps(text: str, since: int = 0) -> int | None:
        try:
            return max(1, steps_in(parse_amount(text), run, run.total_steps, since))
        except ValueError:
            return None

    warm = (steps(own.warmup) or 100) if own.warmup else 0
    warm = warm or ((steps(rate.warmup) or 100) if rate.warmup and (rate.rewarm or index == 0) else 0)
    start = rate.warmup_from if own.warmup_from is None else own.warmup_from
    cycles = _cycles(rate) if rate.cycles and own.length is None else [own.length or rate.length or "rest"]
    lengths: list[int] = []
    for cycle in cycles:
        lengths.append(steps(cycle, warm + sum(lengths)) or 1000)
    stays = cycles[-1] != "rest" and shape != "constant"
    held = sum(lengths) // 6 if stays else 0  # at the floor, to show that it stays there
    total, line, passed = warm + sum(lengths) + held, [], 0
    if warm:
        line, passed = [(0.0, height * (start or 0.0)), (warm / total, height)], warm
    for number, length in enumerate(lengths):
        height *= rate.peaks.factor if rate.peaks and number else 1.0
        for sample in range(SAMPLES + 1):
            high = multiplier(shape, floor, decay, sample * length // SAMPLES, length)
            line.append(((passed + sample * length / SAMPLES) / total, height * high))
        passed += length
    return [*line, (1.0, line[-1][1])] if held else line
