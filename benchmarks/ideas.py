"""Try an idea on the model: `python -P benchmarks/ideas.py short_taps=4 input_gate=true`.

An idea is what it changes, as `plateau train` does: settings of the model's shape and training by their names, and

    curriculum=NAME        a curriculum that is shipped, or one of benchmarks/curricula
    average=0.2            score the mean of the weights over the last fifth of the run
    d_model=fit            as many channels as bring the model nearest to the preset's parameters
    feed_width=fit         likewise, hidden channels of the feed-forward half

such as `layers=2 d_model=fit`, `mixer_width=128 feed_width=fit`, `curriculum=constant-then-decay`, `batch_size=4`. The
idea and the preset are trained for the same processor time with three seeds, in turn. What is finished is not run
again; `--seed N` carries out that seed's runs alone. Once all are there, a line of docs/model-log.md says what came of
it: an idea is kept where it is better at every seed, and by 0.01 bits per byte in the mean, on the validation split.
The test split is left to `make bench-quality`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tomllib
from bisect import bisect_left
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

if Path(sys.path[0]) == Path(__file__).resolve().parent:
    del sys.path[0]  # run as a script, benchmarks/controller.py would be taken for the package of that name
# Threads that wait sleep, so that processor time is work. Read when torch is loaded, which is below.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from benchmarks._runs import Entry, Job, carried_out, kept, size_of, step_times
from benchmarks._speed import ROOT
from benchmarks._table import differences
from benchmarks.quality import BASELINE, PRESET, texts
from plateau_rule.fftcore.binding import override_config
from plateau_rule.fftcore.config import Config, Model
from plateau_rule.fftcore.errors import RunError
from plateau_rule.fftcore.storage import Disk

LOG = ROOT / "docs" / "model-log.md"
HEADING = "## Ideas, at equal processor time"
ABOUT = """
Each idea and the preset have the same processor time on one thread, in turn; the preset's rate, bits per byte byte by
byte on the validation split. Kept is what is better at every seed, and by 0.01 in the mean
(`python -P benchmarks/ideas.py IDEA`).

| idea | text, time | the preset | the idea | difference, seed by seed | steps | parameters | outcome |
| --- | --- | --- | --- | --- | --- | --- | --- |
"""
SEEDS = 3
SECONDS = 60.0
GAIN = 0.01  # bits per byte, below which nothing is kept
WIDEST = 2048  # channels that are tried


def read_idea(words: Sequence[str], preset: Config = PRESET) -> Entry:
    """Read what an idea changes.

    Raises:
        ValueError: a word cannot be read.
        RunError: the model that they make cannot be.
    """
    settings: dict[str, dict[str, Any]] = {"model": {}, "training": {}, "run": {"curriculum": "full", "average": 0.0}}
    fit = ""
    for word in words:
        name, equals, value = word.partition("=")
        place = place_of(name)
        if not equals or not place:
            known = ", ".join((*Model.model_fields, *Config.model_fields, *settings["run"]))
            raise ValueError(f"{word}: expected NAME=VALUE with one of these names: {known}")
        if value == "fit":
            if fit or name not in {"d_model", "feed_width"}:
                raise ValueError(f"{word}: one of d_model and feed_width can be fit, and no other")
            fit = name
        else:
            settings[place][name] = read_value(value)
    average = settings["run"]["average"]
    if not isinstance(average, float) or not 0 <= average < 1:
        raise ValueError(f"average={average}: expected a share of the run, such as 0.2")

    def changed(**fitted: int) -> Config:
        return override_config(preset, settings["training"] | settings["model"] | fitted)

    config = changed(**{fit: fitting(fit, changed, size_of(preset))}) if fit else changed()
    return Entry(config, str(settings["run"]["curriculum"]), (config.peak or 0.0,), average=average)


def place_of(name: str) -> str:
    """Return where a setting belongs: to the model, its training or the run; "" where there is none of the name."""
    if name in Model.model_fields:
        return "model"
    if name in Config.model_fields and name != "model":
        return "training"
    return "run" if name in {"curriculum", "average"} else ""


def read_value(spelled: str) -> object:
    """Read a value as TOML does; what is none is a word."""
    try:
        return tomllib.loads(f"value = {spelled}")["value"]
    except tomllib.TOMLDecodeError:
        return spelled


def fitting(name: str, changed: Callable[..., Config], parameters: int) -> int:
    """Return the width at which a config's model has nearly so many parameters.

    Args:
        name: of the setting.
        changed: makes the config.
        parameters: that it is to have.

    Raises:
        ValueError: no width brings it within 3 % of them.
    """
    step = changed(**{name: WIDEST}).model.kernel_groups if name == "d_model" else 1
    widths = range(step, WIDEST, step)
    above = bisect_left(widths, parameters, key=lambda width: size_of(changed(**{name: width})))
    sizes = {widths[i]: size_of(changed(**{name: widths[i]})) for i in (above - 1, above) if 0 <= i < len(widths)}
    nearest = min(sizes, key=lambda width: abs(sizes[width] - parameters))
    if abs(sizes[nearest] - parameters) > 0.03 * parameters:
        raise ValueError(
            f"{name}=fit: at {nearest} there are {sizes[nearest]:,} parameters, and {parameters:,} are wanted"
        )
    return nearest


# Running, and judging


class Trial:
    """An idea beside the preset, on one text, for so much processor time.

    Args:
        words: the idea.
        text: by its name.
        seconds: of processor time, each run.
        out: where finished runs and the times of steps are kept.
        turns: steps by which the time of a step is measured.
        preset: what the idea changes.
    """

    def __init__(
        self, words: Sequence[str], text: str, seconds: float, out: Path, turns: int, preset: Config = PRESET
    ) -> None:
        self.name, self.text, self.seconds = " ".join(words), text, seconds
        self.lines = {BASELINE: Entry(preset, "full", (preset.peak or 0.0,)), self.name: read_idea(words, preset)}
        self.path, self.out = texts()[text], out / f"{seconds:g}"
        self.out.mkdir(parents=True, exist_ok=True)
        times = step_times(self.lines, BASELINE, out / "steps.json", turns, 1)
        self.steps = {name: max(5, round(seconds / times[name])) for name in self.lines}

    def job(self, name: str, seed: int) -> Job:
        """Return one run."""
        entry = self.lines[name]
        return Job(self.text, self.path, name, entry, seed, entry.peaks[0], self.steps[name])

    def carry_out(self, seeds: Sequence[int]) -> None:
        """Carry out the runs of some seeds, the preset and the idea in turn; what is finished is not run again."""
        for seed in seeds:
            for name in self.lines:
                one = carried_out(self.job(name, seed), self.out)
                bits = f"{one['validation']['stream']:.4f} bits/byte"
                print(f"{name}, seed {seed}: {bits}; {one['steps']} steps, {one['seconds']:.0f} s", flush=True)

    def results(self, name: str) -> dict[int, dict[str, Any]]:
        """Return the finished runs of the idea or the preset, by seed."""
        found = {}
        for seed in range(SEEDS):
            path, identity = kept(self.job(name, seed), self.out)
            if path.exists() and (run := json.loads(path.read_text()))["job"] == identity:
                found[seed] = run["result"]
        return found


def row_of(trial: Trial) -> str | None:
    """Return what came of a trial as a line of the log; None where a run is missing."""
    base, own = trial.results(BASELINE), trial.results(trial.name)
    if min(len(base), len(own)) < SEEDS:
        return None
    by_seed = differences(own, base, "validation")
    bits = [f"{mean(run['validation']['stream'] for run in runs.values()):.3f}" for runs in (base, own)]
    told = f"{mean(by_seed):+.3f} ({', '.join(f'{one:+.3f}' for one in by_seed)})"
    steps, size = (f"{base[0][key]:,} → {own[0][key]:,}" for key in ("steps", "parameters"))
    cells = (f"`{trial.name}`", f"{trial.text}, {trial.seconds:g} s", *bits, told, steps, size, outcome(by_seed))
    return f"| {' | '.join(cells)} |"


def outcome(by_seed: Sequence[float]) -> str:
    """Return "kept" or "dropped", by how many bits per byte the idea is worse than the preset at each seed."""
    return "kept" if max(by_seed) < 0 and mean(by_seed) <= -GAIN else "dropped"


def note(row: str, log: Path) -> None:
    """Put a line into the log: in place of the one of the same idea, text and time, else at its end."""
    lines = log.read_text().rstrip("\n") if log.exists() else ""
    if HEADING not in lines:
        lines += f"\n\n{HEADING}\n{ABOUT.rstrip()}"
    own = row.split(" | ")[:2]
    others = [line for line in lines.split("\n") if line.split(" | ")[:2] != own]
    Disk().replace_file(log, "\n".join((*others, row, "")).encode())


def main() -> None:
    """Read the command line, and do what it says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="+", metavar="NAME=VALUE", help="what the idea changes")
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"processor time of a run; {SECONDS:g}")
    parser.add_argument("--seed", type=int, choices=range(SEEDS), help="carry out the runs of this seed alone")
    parser.add_argument("--text", choices=tuple(texts()), default=next(iter(texts())))
    parser.add_argument("--turns", type=int, default=9, help="steps by which the time of a step is measured")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "ideas", help="where finished runs are kept")
    parser.add_argument("--log", type=Path, default=LOG, help="where the line goes")
    given = parser.parse_args()
    try:
        trial = Trial(given.words, given.text, given.seconds, given.out, given.turns)
    except (RunError, ValueError) as error:
        parser.error(str(error))
    trial.carry_out(range(SEEDS) if given.seed is None else [given.seed])
    row = row_of(trial)
    print(row or "runs of other seeds are missing, and nothing was written down")
    if row:
        note(row, given.log)


if __name__ == "__main__":
    main()
