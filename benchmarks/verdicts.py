"""How often the verdict of a replay is right: `python -P benchmarks/verdicts.py [--runs N] [--seed N]`.

A run is a curve whose truth is known, some noise, and a rule. Its log is written, read and replayed as a user's is.
The truth is taken from the curve without its noise: a raise was too fast where the curve still fell at twice the rate
that the rule calls flat (or where raises came in every epoch while it fell); a run was too slow where the first stay
holds 10 epochs over whose halves the curve fell by less than 0.5 %. Between one and two times the rate nothing is
called right or wrong. "False" is a verdict that the truth denies.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from plateau_rule import loads
from plateau_rule.sim.logs import read
from plateau_rule.sim.noise import noise_of
from plateau_rule.sim.replayer.replay import replay
from plateau_rule.sim.replayer.timeline import Timeline
from plateau_rule.sim.replayer.verdict import FLAT, verdict_of

ROOT = Path(__file__).resolve().parent.parent
EPOCHS, PER_EPOCH = 30, 200
FALL = 2e-4  # of itself, that a falling loss loses at each step
KINK = 4 * PER_EPOCH  # the step from which other curves are flat
SPACINGS = {"dense": 1, "sparse": 20}
NOISES = {"white 1 %": (0.01, 0.0), "white 5 %": (0.05, 0.0), "correlated 3 %": (0.03, 0.9)}
KINDS = ("flat", "improving", "too fast", "too slow", "hasty", "creeping", "brisk")
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Rule:
    """The plateau of a run: its window in losses, its threshold, and the epochs that it waits."""

    window: int
    threshold: float
    wait: int

    def curriculum(self) -> str:
        """The rule as a curriculum of four states."""
        states = "".join(f'[[state]]\nname = "{name}"\nset = {{ size = {size} }}\n' for name, size in _STATES.items())
        return (
            f'format = 1\nname = "benchmark"\n[run]\nepochs = {EPOCHS}\nsteps_per_epoch = {PER_EPOCH}\n'
            f"[lr]\npeak = 1e-4\n[knob.size]\nladder = [1, 2, 3, 4]\n{states}"
            f"[guard.flat]\nplateau = {{ window = {self.window}, threshold = {self.threshold:.8g} }}\n"
            f'[[transition]]\nfrom = "*"\nto = "next"\nat = "epoch"\nguards = [{{ min_epoch = {self.wait} }}, "flat"]\n'
        )


_STATES = {"one": 1, "two": 2, "three": 3, "four": 4}


def rule_of(kind: str, spacing: int) -> Rule:
    """A rule for a kind of run: one of two epochs and more, one of ten losses, or one that waits for the end.

    Three kinds stand close to a border: a hasty rule on a flat loss; one that waits while the loss creeps on, by 0.6 %
    over the halves of ten epochs; one of ten losses whose rate the loss just keeps.
    """
    window = 10 if kind in ("too fast", "hasty", "brisk") else max(50, 2 * PER_EPOCH // spacing)
    rate = (FALL if kind == "brisk" else FALL / 4) * spacing  # that counts as flat, a loss
    return Rule(window, rate * window / 2, EPOCHS - 2 if kind in ("too slow", "creeping") else 2)


def curve_of(kind: str, steps: Floats) -> Floats:
    """The losses without noise."""
    if kind == "creeping":
        return 3 * np.exp(-0.006 / (FLAT * PER_EPOCH / 2) * steps)
    if kind == "hasty":
        return 3 * np.exp(-5 * FALL * np.minimum(steps, 1.5 * PER_EPOCH))
    still = kind in ("flat", "too slow")
    return 3 * np.exp(-5 * FALL * np.minimum(steps, KINK)) if still else 3 * np.exp(-FALL * steps)


def noisy(curve: Floats, sigma: float, rho: float, random: np.random.Generator) -> Floats:
    """The curve with noise of a share of itself, each next one correlated with the last."""
    white = random.standard_normal(len(curve))
    noise = np.empty(len(curve))
    last = white[0]
    for at, value in enumerate(white):
        last = noise[at] = value if at == 0 else rho * last + np.sqrt(1 - rho**2) * value
    return curve * np.exp(sigma * noise)


def truth_of(timeline: Timeline, rule: Rule, steps: Floats, curve: Floats) -> set[str]:
    """What the verdict may say: of "too fast", "too slow" and "neither"; several where it is a matter of taste."""
    raised = [stay.left for stay in timeline.stays if stay.left is not None]
    falls = [_fell(curve[steps < at][-rule.window :]) / rule.threshold for at in raised]
    chasing = len(raised) > 1 and max(np.diff(raised)) <= PER_EPOCH and _between(steps, curve, raised) > 0.005
    end = timeline.stays[0].left or timeline.final.step
    flat = any(
        _fell(curve[(steps >= at) & (steps < at + FLAT * PER_EPOCH)]) < 0.005
        for at in range(0, int(end) - FLAT * PER_EPOCH + 1, PER_EPOCH)
    )
    fast = chasing or any(fall > 2 for fall in falls)
    maybe = not fast and any(fall > 1 for fall in falls)
    told = {name for name, true in (("too fast", fast or maybe), ("too slow", flat)) if true}
    return told if (fast or flat) else told | {"neither"}


def _fell(curve: Floats) -> float:
    """By which share the mean of the second half is below that of the first."""
    half = len(curve) // 2
    older, newer = float(curve[:half].mean()), float(curve[half:].mean())
    return (older - newer) / older


def _between(steps: Floats, curve: Floats, raised: list[int]) -> float:
    first, last = (float(curve[steps < at][-1]) for at in (raised[0], raised[-1]))
    return (first - last) / first


def run(kind: str, density: str, noise: str, seed: int, folder: Path) -> tuple[str, set[str]]:
    """One run: the verdict on it, and the truth."""
    spacing = SPACINGS[density]
    steps = np.arange(0, EPOCHS * PER_EPOCH, spacing, dtype=np.float64)
    curve, rule = curve_of(kind, steps), rule_of(kind, spacing)
    losses = noisy(curve, *NOISES[noise], np.random.default_rng(seed))
    path = folder / "log.csv"
    rows = "".join(f"{int(step)},{loss:.6g}\n" for step, loss in zip(steps, losses, strict=True))
    path.write_text(f"step,loss\n{rows}")
    log = read(path)
    timeline = replay(loads(rule.curriculum()), log)
    return verdict_of(timeline, noise_of(log)).word, truth_of(timeline, rule, steps, curve)


def main() -> None:
    """Print the table, and write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=1512, help="in all")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    each = max(1, given.runs // (len(KINDS) * len(SPACINGS) * len(NOISES)))
    words: Counter[tuple[str, str, str, str]] = Counter()
    wrong: Counter[tuple[str, str]] = Counter()
    could: Counter[tuple[str, str]] = Counter()
    cells = [(kind, density, noise) for kind in KINDS for density in SPACINGS for noise in NOISES]
    with tempfile.TemporaryDirectory() as folder:
        for number, (kind, density, noise) in enumerate(cells):
            for again in range(each):
                word, truth = run(kind, density, noise, given.seed * 1_000_000 + number * 10_000 + again, Path(folder))
                words[kind, density, noise, word] += 1
                for fault in ("too fast", "too slow"):
                    could["false", fault] += fault not in truth
                    wrong["false", fault] += word == fault and fault not in truth
                    could["missed", fault] += truth == {fault}
                    wrong["missed", fault] += truth == {fault} and word != fault
    names = ("healthy", "unclear", "too fast", "too slow")
    print(f"{'run':<11}{'log':<8}{'noise':<16}" + "".join(f"{name:>10}" for name in names))
    for cell in cells:
        print(f"{cell[0]:<11}{cell[1]:<8}{cell[2]:<16}" + "".join(f"{words[(*cell, name)]:>10}" for name in names))
    rates = {}
    for (what, fault), count in could.items():
        rates[f"{what} {fault}"] = {"count": wrong[what, fault], "of": count}
        print(f'{what} "{fault}": {wrong[what, fault]} of {count} ({wrong[what, fault] / max(1, count):.1%})')
    table = [{"run": k, "log": d, "noise": n, "verdict": w, "count": c} for (k, d, n, w), c in words.items()]
    results = {"runs": each * len(cells), "table": table, "rates": rates}
    (ROOT / "benchmarks" / "results" / "verdicts.json").write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
