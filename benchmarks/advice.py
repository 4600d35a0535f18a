"""What `plateau probe` advises, against the best that was found.

`python -P benchmarks/advice.py [--case NAME] [--out FOLDER]`

Seven cases: the byte model with its depth at three budgets, the 1-D Fourier operator of examples/ with its grid at
three, and the cubic of docs/where-it-pays.md with its points. Of each, every rung is held on three seeds, as a probe
does. Then a small search trains, on the same seeds and for the same cost: from each rung to the next at half of the
budget, from the first rung to the last at half and at three quarters, and all rungs for equal shares. *The best that
was found* is the best mean of all of these and of the ladder that raises where curves cross. A probe advises the rung
that ends best. That is *right* where it ends within 2 % of the best that was found (the byte model: or 0.01 bits per
byte), and the difference is no larger than its spread, seed by seed.

Prices are written here, measured once, so that a cell ends at the same step on every machine. What is finished in the
folder is not trained again: stop it when you like. `--case` trains one case; figures of the others are kept.
"""

from __future__ import annotations

import argparse
import json
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

if Path(sys.path[0]) == Path(__file__).resolve().parent:
    del sys.path[0]  # run as a script, benchmarks/controller.py would be taken for the package of that name

import numpy as np

from plateau_rule import Curriculum, loads
from plateau_rule.trials.budget import TrainingBudget
from plateau_rule.trials.cell import Cell
from plateau_rule.trials.pool import train_cells
from plateau_rule.trials.probe import Probed, advice, probe
from plateau_rule.trials.trainer import Trainer

ROOT = Path(__file__).resolve().parent.parent
RESULT = ROOT / "benchmarks" / "results" / "advice.json"
SEEDS = range(3)
POINTS = 8  # scores of the byte model on its hardest rung
BYTE_MODEL = (  # of convolutions alone
    "--d-model 64 --layers 4 --seq-len 128 --batch-size 8 --peak 6e-3 --kernel-groups 4 --no-memory --feed gelu"
    " --draft-every 16 --weight-decay 5e-4 --device cpu"
)
CHEAP = {  # ladder and prices of each task, and what trains
    "byte model": ("depth", [1, 2, 4], [0.36, 0.56, 1.0], BYTE_MODEL),
    "operator": ("grid", [64, 128, 256, 512], [0.37, 0.45, 0.64, 1.0], "examples/fourier_operator.py:train"),
    "cubic": ("points", [4, 256, 4096], [0.075, 0.092, 1.0], "benchmarks/_cubic.py:train"),
}
BUDGETS = {"byte model": (80, 240, 720), "operator": (150, 450, 1350), "cubic": (2800,)}
RATES = {
    "byte model": '{ peak = 6e-3, shape = "cosine", floor = 0.05, length = "rest" }',
    "operator": '{ peak = 2e-3, shape = "wsd", floor = 0.01, decay = 0.4 }',
    "cubic": '{ peak = 0.1, shape = "cosine", length = "rest" }',
}
CASES = {f"{task.replace(' ', '-')}-{budget}": (task, budget) for task, each in BUDGETS.items() for budget in each}


def curriculum_of(task: str, budget: int) -> Curriculum:
    """A task's ladder with its prices."""
    knob, ladder, prices, _ = CHEAP[task]
    states = ", ".join(f'{{ name = "{knob}-{rung}", set = {{ {knob} = {rung} }} }}' for rung in ladder)
    run = f"cost = {budget}" if task != "byte model" else f"epochs = 20, steps_per_epoch = {budget // POINTS}"
    return loads(
        f'name = "{knob}"\nrun = {{ {run} }}\nlr = {RATES[task]}\n'
        f"knob = {{ {knob} = {{ ladder = {ladder}, cost = {prices} }} }}\nstate = [{states}]\n"
        'transition = [{ from = "*", to = "next", guards = [{ dwell = "0.2 run" }] }]\n'
        'check = { waive = { aligned = "one schedule goes on" } }\n'
    )


def trainer_of(task: str) -> Trainer:
    """What trains a task."""
    words = CHEAP[task][3]
    return Trainer.read(f"fftcore {words}" if task == "byte model" else str(ROOT / words))


def searched(rungs: int, budget: int) -> dict[str, tuple[list[int], list[float]]]:
    """The ladders of the search, with the rungs that they climb and the cost at which they raise."""
    found: dict[str, tuple[list[int], list[float]]] = {}
    for low, high in pairwise(range(rungs)):
        found[f"{low + 1} to {high + 1} at 50 %"] = [low, high], [0.5 * budget]
    for share in (0.5, 0.75):
        found[f"1 to {rungs} at {share:.0%}"] = [0, rungs - 1], [share * budget]
    found["all, equal shares"] = list(range(rungs)), [budget * place / rungs for place in range(1, rungs)]
    return found


def scores_of(probed: Probed, trainer: Trainer, folder: Path, workers: int) -> dict[str, list[float]]:
    """Scores at the end of every rung, every ladder of the search, and the one that the probe writes."""
    prepared, spends = probed.rungs.prepared, probed.rungs.prepared.spends
    ladders = {name: probed.rungs.climb(*way) for name, way in searched(len(probed.curves), int(spends.amount)).items()}
    if probed.crossings:
        ladders["where curves cross"] = prepared.bounded(probed.ladder())
    cells = [
        Cell(curriculum, trainer, seed, spends, prepared.step_s) for curriculum in ladders.values() for seed in SEEDS
    ]
    curves = train_cells(cells, folder, workers)
    found = {f"rung {place + 1}": [curve.last for curve in rung] for place, rung in enumerate(probed.curves)}
    for place, name in enumerate(ladders):
        found[name] = [curve.last for curve in curves[place * len(SEEDS) : (place + 1) * len(SEEDS)]]
    return found


def judge(scores: dict[str, list[float]], advised: str, task: str) -> dict[str, Any]:
    """Whether what is advised is as good as the best that was found."""
    means = {name: float(np.mean(each)) for name, each in scores.items()}
    best = min(means, key=means.__getitem__)
    behind = means[advised] - means[best]
    margin = max(0.02 * means[best], 0.01 if task == "byte model" else 0.0)
    spread = float(np.std(np.subtract(scores[advised], scores[best]), ddof=1))
    return {
        "advised": advised,
        "best": best,
        "score": means[advised],
        "best_score": means[best],
        "behind": behind,
        "margin": margin,
        "spread": spread,
        "right": behind <= min(margin, spread),
    }


def carry_out(case: str, out: Path, workers: int) -> dict[str, Any]:
    """Probe a case, search it, and judge the advice."""
    task, budget = CASES[case]
    trainer, folder = trainer_of(task), out / task.replace(" ", "-")
    spends = TrainingBudget.read(f"{budget} cost")
    probed = probe(curriculum_of(task, budget), spends, SEEDS, trainer, folder, workers=workers)
    scores = scores_of(probed, trainer, folder, workers)
    judged = judge(scores, f"rung {probed.best + 1}", task)
    return {"task": task, "budget": budget, "says": advice(probed), **judged, "scores": scores}


def table(found: dict[str, dict[str, Any]]) -> None:
    """Print all cases as Markdown."""
    print(
        "\n| task | budget | advised | the best found | behind it by | within | right |\n|---|---|---|---|---|---|---|"
    )
    for case in (found[name] for name in CASES if name in found):
        within = f"{min(case['margin'], case['spread']):.2g}"
        print(
            f"| {case['task']} | {case['budget']} cost | {case['advised']}: {case['score']:.4g} "
            f"| {case['best']}: {case['best_score']:.4g} | {case['behind']:.2g} | {within} "
            f"| {'yes' if case['right'] else 'no'} |"
        )
    print(f"\nright in {sum(case['right'] for case in found.values())} of {len(found)}")


def main() -> None:
    """Carry out the cases that are asked for, and write the figures of all that were ever."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", choices=CASES, help="this one alone")
    parser.add_argument("--out", type=Path, default=Path("trials/advice"), help="where cells are kept")
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    found = json.loads(RESULT.read_bytes()) if RESULT.exists() else {}
    for case in [given.case] if given.case else CASES:
        found[case] = carry_out(case, given.out, given.workers)
        RESULT.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    table(found)


if __name__ == "__main__":
    main()
