"""Bits per byte at equal time: the first half of `make bench-quality`, at most 45 minutes on two cores.

The CPU preset is trained on the embedded text and, where there is one, on WikiText-2's validation split: as published
(made causal), with a loss at every position, as the preset without memories and with them, under ladders of cutoff and
of taps. Each run has the same processor time. What an optimizer step takes is measured first, two processes at once as
in the runs; that gives every run its number of steps, and its learning rate a schedule. Where several peaks of the rate
are tried, seed 0 on the validation split chooses.

Finished runs are kept in `--out`, and not run again unless `--fresh`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import mean
from typing import Any

if Path(sys.path[0]) == Path(__file__).resolve().parent:
    del sys.path[0]  # run as a script, benchmarks/controller.py would be taken for the package of that name
# Threads that wait sleep, so that processor time is work. Read when torch is loaded, which is below.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


from benchmarks._runs import Entry, Job, carried_out, step_seconds
from benchmarks._speed import RESULTS, ROOT, write
from benchmarks._table import rows, show
from plateau_rule.fftcore.config import PRESETS, Config
from plateau_rule.fftcore.storage import Disk

PRESET = PRESETS["tiny"]
PEAK = PRESET.peak or 0.0
BASELINE = "the preset"
SECONDS = 60.0  # of processor time, a run
SEEDS = 3
PROCESSES = 2


def entries(preset: Config = PRESET) -> dict[str, Entry]:
    """Return the lines of the table, by name."""
    peak, published = preset.peak or 0.0, preset.as_published()
    every_position = _of_shape(published, objective="dense").model_copy(update={"dropout": 0.0})
    return {
        BASELINE: Entry(preset, "full", (peak,)),
        "tap ladder, 60 % of the run": Entry(preset, "taps", (peak,)),
        "cutoff ladder, 15 % of the run": Entry(preset, "cutoff-short", (peak,)),
        "cutoff ladder, 60 % of the run": Entry(preset, "cutoff-long", (peak,)),
        "convolutions alone": Entry(_of_shape(preset, memory=False), "full", (peak,)),
        "published, made causal": Entry(published, "full", (peak,)),
        "the same, a loss at every position": Entry(every_position, "full", (peak,)),
    }


def _of_shape(config: Config, **changes: object) -> Config:
    return config.model_copy(update={"model": config.model.model_copy(update=changes)})


def texts() -> dict[str, Path | None]:
    """Return the texts that are here, by name; None is the embedded one."""
    folder = Path(os.environ.get("PLATEAU_DATA") or ROOT.parent / "shared" / "data")
    wikitext = folder / "text" / "wikitext2-valid.txt"
    return ({"WikiText-2": wikitext} if wikitext.exists() else {}) | {"Shakespeare": None}


# All of them


def all_runs(
    lines: Mapping[str, Entry],
    steps: Mapping[str, int],
    seeds: int,
    out: Path,
    pool: Executor,
    on: Mapping[str, Path | None],
) -> list[dict[str, Any]]:
    """Carry all runs out, text by text: seed 0 at every peak, then the other seeds at the peak that was best."""

    def jobs(text: str, path: Path | None, seed: int, peaks: Mapping[str, Sequence[float]]) -> list[Job]:
        return [Job(text, path, name, lines[name], seed, peak, steps[name]) for name in lines for peak in peaks[name]]

    results = []
    for text, path in on.items():
        first = _shown(pool, jobs(text, path, 0, {name: entry.peaks for name, entry in lines.items()}), out)
        best = {name: [chosen(first, name)["peak"]] for name in lines}
        results += first + [one for seed in range(1, seeds) for one in _shown(pool, jobs(text, path, seed, best), out)]
    return results


def chosen(results: Sequence[Mapping[str, Any]], name: str) -> Mapping[str, Any]:
    """Return an entry's best run of seed 0 on the validation split, whose peak is taken."""
    of_name = [one for one in results if one["name"] == name and one["seed"] == 0]
    return min(of_name, key=lambda one: float(one["validation"]["stream"]))


def _shown(pool: Executor, jobs: Sequence[Job], out: Path) -> list[dict[str, Any]]:
    results = []
    for result in pool.map(carried_out, jobs, [out] * len(jobs)):
        results.append(result)
        bits = f"{result['validation']['stream']:.4f} bits/byte, test {result['test']['stream']:.4f}"
        what = f"{result['text']}, {result['name']}, seed {result['seed']}, peak {result['peak']:g}"
        print(f"{what}: {bits}; {result['steps']} steps, {result['seconds']:.0f} s", flush=True)
    return results


def table(results: Sequence[Mapping[str, Any]], text: str) -> list[dict[str, Any]]:
    """Return a row for each entry of one text: mean and standard deviation over the seeds, at the best peak.

    `beside` is the mean difference to the preset, seed by seed, and its standard deviation.
    """
    own = [one for one in results if one["text"] == text]
    taken: dict[str, dict[int, Mapping[str, Any]]] = {}
    for name in dict.fromkeys(one["name"] for one in own):
        peak = chosen(own, name)["peak"]
        taken[name] = {one["seed"]: one for one in own if (one["name"], one["peak"]) == (name, peak)}
    return rows(taken, BASELINE)


def compare(given: argparse.Namespace) -> None:
    """Train everything, print the tables, write the figures."""
    lines, plan = entries(), given.out / "steps.json"
    on = {text: path for text, path in texts().items() if given.text in (None, text)}
    if given.fresh:
        for path in given.out.glob("*.json"):
            path.unlink()
    given.out.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(PROCESSES, get_context("spawn")) as pool:
        if plan.exists() and (found := json.loads(plan.read_text()))["seconds"] == given.seconds:
            steps = found["steps"]
        else:
            measured = list(pool.map(step_seconds, [lines] * PROCESSES, [given.turns] * PROCESSES))
            steps = {name: max(20, round(given.seconds / mean(one[name] for one in measured))) for name in lines}
            Disk().replace_file(plan, json.dumps({"seconds": given.seconds, "steps": steps}, indent=1).encode())
        results = all_runs(lines, steps, given.seeds, given.out, pool, on)
    tables = {text: table(results, text) for text in on}
    for text, of_text in tables.items():
        show(of_text, text, BASELINE)
    write(given.json, {"seconds": given.seconds, "preset": PRESET.model_dump(), "tables": tables, "runs": results})


def main() -> None:
    """Read the command line, and do what it says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="processor time of a run")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--text", choices=tuple(texts()), help="this text alone")
    parser.add_argument("--turns", type=int, default=9, help="steps by which the time of a step is measured")
    parser.add_argument("--fresh", action="store_true", help="forget finished runs")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "quality", help="where finished runs are kept")
    parser.add_argument("--json", type=Path, default=RESULTS / "quality.json")
    compare(parser.parse_args())


if __name__ == "__main__":
    main()
