"""The preset beside good rivals of its size, at equal processor time: the second half of `make bench-quality`.

Two transformers (rotary positions, normalised queries and keys, SwiGLU, Muon), one of them with a three-tap
convolution, a minGRU with one and a gated convolution after Hyena. All lines have the parameters of one reference, to
one part in a hundred; it stays as it is when the preset changes, and so does what was run of the rivals. All have the
same text, windows, batch, optimizer and score, and the same cosine behind a warm-up over 5 % of the run.
Each line is tuned by as many runs, nine of a minute on the first text, seed 0, scored on its validation split. Six are
for the rate, with hardly any decay of weights: the preset has six rates, a rival three rates at two depths. Three more
give the best of these more decay. The best of all nine is then trained for a minute and for three, on two texts with
three seeds; the preset and the best rival once for ten minutes as well, in which WikiText-2's text is read over a dozen
times. A decay that is best for a minute may be too much for more: beyond it a line has that or hardly any, whichever is
better at three minutes on the first text, seed 0, on the validation split.

A cell is one run. Those that are missing are carried out by time, seed and text, the lines in turn, so that what else
the machine does meets them alike: four hours of processor time, on two cores half as long by the clock.
`--list` numbers the cells and says what is left, `--cell N` carries out that one, `--table` prints what is there.
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
from typing import Any, NamedTuple

if Path(sys.path[0]) == Path(__file__).resolve().parent:
    del sys.path[0]  # run as a script, benchmarks/controller.py would be taken for the package of that name
# Threads that wait sleep, so that processor time is work. Read when torch is loaded, which is below.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from benchmarks._rival import MIXERS
from benchmarks._runs import Entry, Job, carried_out, kept, step_times
from benchmarks._speed import RESULTS, ROOT, write
from benchmarks._table import in_bits, rows, show
from benchmarks.quality import BASELINE, PRESET, texts
from plateau_rule.fftcore.config import Config, Model

# What all lines share: parameters, windows, batch.
REFERENCE = Config(model=Model(d_model=128, layers=4, seq_len=256, kernel_groups=4), batch_size=8, peak=6e-3)
CLOCK = "the reference"  # in whose steps time is told
SECONDS = (60.0, 180.0)  # of processor time, a run
LONGEST = 600.0  # likewise, of two runs on each text
TUNED = SECONDS[0]
SEEDS = 3
DEPTHS = (2, 4)  # blocks of a rival
RATES = (6e-3, 1.2e-2, 2.4e-2)  # peaks of a rival
OWN_RATES = (4.2e-3, 6e-3, 8.4e-3, 1.2e-2, 1.68e-2, 2.4e-2)  # peaks of the preset
DECAYS = (5e-4, 0.1, 0.3, 1.0)  # of weights; the rates are tried with the first
SCORING_S = 12.0  # processor time for the score of a run, about


class Cell(NamedTuple):
    """One run, before it is known how many steps it has."""

    line: str
    shape: str
    """The name of what is timed: all rates of it take as long."""
    entry: Entry
    text: str
    seed: int
    seconds: float


def candidates(preset: Config = PRESET) -> dict[str, dict[str, Entry]]:
    """Return what each line of the table can be, by the line's name and the shape's, an entry with all its rates."""
    found = {BASELINE: {BASELINE: Entry(_decaying(preset, DECAYS[0]), "warmup", OWN_RATES)}}
    for mixer in MIXERS:
        found[mixer] = {}
        for layers in DEPTHS:
            entry = Entry(REFERENCE, "warmup", RATES, rival=mixer, layers=layers)
            found[mixer][f"{mixer}, {layers} blocks"] = entry
    return found


def _decaying(config: Config, decay: float) -> Config:
    return config.model_copy(update={"weight_decay": decay})


def of_rate(lines: Mapping[str, Mapping[str, Entry]], text: str) -> list[Cell]:
    """Return the runs by which the lines' rates are tuned, the lines in turn: as many of each."""
    of_line = [
        [
            Cell(line, shape, entry._replace(peaks=(peak,)), text, 0, TUNED)
            for shape, entry in shapes.items()
            for peak in entry.peaks
        ]
        for line, shapes in lines.items()
    ]
    return [cell for turn in zip(*of_line, strict=True) for cell in turn]


def of_decay(best: Mapping[str, Cell]) -> list[Cell]:
    """Return the runs by which the decay of weights is tuned at the best rate of each line, the lines in turn."""
    return [
        cell._replace(entry=cell.entry._replace(config=_decaying(cell.entry.config, decay)))
        for decay in DECAYS[1:]
        for cell in best.values()
    ]


def of_length(best: Mapping[str, Cell]) -> list[Cell]:
    """Return the longer runs by which each line has its decay of a minute or hardly any, the lines in turn."""
    hardly = {
        line: cell._replace(entry=cell.entry._replace(config=_decaying(cell.entry.config, DECAYS[0])))
        for line, cell in best.items()
    }
    cells = [cell._replace(seconds=SECONDS[-1]) for of_line in (best, hardly) for cell in of_line.values()]
    return list(dict.fromkeys(cells))


def comparison(best: Mapping[str, Cell], on: Sequence[str], seconds: float) -> list[Cell]:
    """Return the cells of a time, the lines in turn."""
    return [
        cell._replace(text=text, seed=seed, seconds=seconds)
        for seed in range(SEEDS)
        for text in on
        for cell in best.values()
    ]


class Bench:
    """All cells, and where their results are kept.

    Args:
        out: folder of the results.
        turns: steps by which the time of a step is measured.
        processes: that run at once.
        scale: share of each run's steps, for a look at how it works.
    """

    def __init__(self, out: Path, turns: int = 9, processes: int = 2, scale: float = 1.0) -> None:
        self.out, self.turns, self.processes, self.scale = out, turns, processes, scale
        self.out.mkdir(parents=True, exist_ok=True)
        self.lines, self.texts = candidates(), texts()
        self.of_rate = of_rate(self.lines, next(iter(self.texts)))

    def steps(self) -> dict[str, float]:
        """Return what a step of each shape takes, measured at once where it is not known."""
        shapes = {shape: entry for of_line in self.lines.values() for shape, entry in of_line.items()}
        shapes[CLOCK] = Entry(REFERENCE, "full", RATES)
        return step_times(shapes, CLOCK, self.out / "steps.json", self.turns, self.processes)

    def job(self, cell: Cell) -> tuple[Job, Path]:
        """Return the run that a cell is, and the folder in which it is kept."""
        steps = max(20, round(self.scale * cell.seconds / self.steps()[cell.shape]))
        (peak,) = cell.entry.peaks
        job = Job(cell.text, self.texts[cell.text], cell.shape, cell.entry, cell.seed, peak, steps)
        return job, self.out / f"{cell.seconds:g}"

    def result(self, cell: Cell) -> dict[str, Any] | None:
        """Return what came of a cell; None where it was not carried out."""
        path, identity = kept(*self.job(cell))
        if not path.exists() or (found := json.loads(path.read_text()))["job"] != identity:
            return None
        result: dict[str, Any] = found["result"]
        return result

    def tuning(self) -> list[Cell]:
        """Return the cells of the tuning: of the rates, and once these are done, of the decays as well."""
        best = self.best_of(self.of_rate)
        return self.of_rate + ([] if best is None else of_decay(best))

    def best(self) -> dict[str, Cell] | None:
        """Return the best cell of each line's tuning; None where one is missing."""
        return None if (best := self.best_of(self.of_rate)) is None else self.best_of(self.of_rate + of_decay(best))

    def longer(self) -> dict[str, Cell] | None:
        """Return the cell of each line that runs of more than a minute have; None where a run is missing."""
        return None if (best := self.best()) is None else self.best_of(of_length(best))

    def best_of(self, cells: Sequence[Cell]) -> dict[str, Cell] | None:
        """Return each line's best of some cells, by the validation split; None where one is missing."""
        scored = [(cell, self.result(cell)) for cell in cells]
        if any(result is None for _, result in scored):
            return None
        best: dict[str, tuple[float, Cell]] = {}
        for cell, result in scored:
            assert result is not None
            bits = float(result["validation"]["stream"])
            if cell.line not in best or bits < best[cell.line][0]:
                best[cell.line] = bits, cell
        return {line: cell for line, (_, cell) in best.items()}

    def cells(self) -> list[Cell]:
        """Return all cells: those of the tuning, and once these are done, those of the table."""
        best, longer = self.best(), self.longer()
        if best is None:
            return self.tuning()
        return self.tuning() + of_length(best) + self.compared(best, longer or {})

    def compared(self, best: Mapping[str, Cell], longer: Mapping[str, Cell]) -> list[Cell]:
        """Return the cells of the table, and those of ten minutes: of the preset, and of the best rival of a minute."""
        cells = [
            cell
            for seconds in SECONDS
            for cell in comparison(best if seconds == TUNED else longer, list(self.texts), seconds)
        ]
        if not longer:
            return cells
        scored = {line: self.result(cell) for line, cell in best.items() if line != BASELINE}
        bits = {line: result["validation"]["stream"] for line, result in scored.items() if result is not None}
        lines = BASELINE, min(bits, key=lambda line: float(bits[line]))
        return cells + [longer[line]._replace(text=text, seconds=LONGEST) for text in self.texts for line in lines]

    def carry_out(self, cells: Sequence[Cell], pool: Executor) -> None:
        """Carry out those that are missing, and say what comes of each."""
        missing = [self.job(cell) for cell in cells if self.result(cell) is None]
        for _, folder in missing:
            folder.mkdir(parents=True, exist_ok=True)
        jobs, folders = [job for job, _ in missing], [folder for _, folder in missing]
        for one in pool.map(carried_out, jobs, folders):
            bits = f"{one['validation']['stream']:.4f} bits/byte, test {one['test']['stream']:.4f}"
            rates = f"peak {one['peak']:g}, decay {one['weight_decay']:g}"
            what = f"{one['text']}, {one['name']}, seed {one['seed']}, {rates}"
            print(f"{what}: {bits}; {one['steps']} steps, {one['seconds']:.0f} s", flush=True)

    def tables(self) -> dict[str, list[dict[str, Any]]]:
        """Return a table for each text and time of which the preset's runs are there, by its title."""
        best, longer = self.best(), self.longer()
        taken: dict[str, dict[str, dict[int, dict[str, Any]]]] = {}
        for cell in self.compared(best, longer or {}) if best else ():
            if (result := self.result(cell)) is not None:
                title = f"{cell.text}, {cell.seconds:g} s"
                taken.setdefault(title, {}).setdefault(cell.line, {})[cell.seed] = result
        tables = {title: rows(of_line, BASELINE) for title, of_line in taken.items() if BASELINE in of_line}
        for title, of_cell in tables.items():
            for row in of_cell:
                row["shape"] = next(iter(taken[title][row["name"]].values()))["name"]
        return tables


def verdict(of_cell: Sequence[Mapping[str, Any]]) -> str:
    """Say how far the preset is ahead of the best rival on the test split, and whether by more than the spread."""
    rivals = [row for row in of_cell if row["name"] != BASELINE]
    if not rivals:
        return "no rival was run"
    best = min(rivals, key=lambda row: float(row["test"][0]))
    ahead, spread = best["test_beside"]
    word = "ahead of" if ahead > spread else "behind" if ahead < -spread else "level with"
    doubt = ", on one seed: nothing follows from it" if best["seeds"] == 1 else ""
    bits = in_bits(best["test_beside"], best["seeds"], "+")
    return f"The preset is {word} the best rival, {best['shape']}: {bits} bits/byte on the test split{doubt}"


def at_the_edge(best: Mapping[str, Cell], lines: Mapping[str, Mapping[str, Entry]]) -> list[str]:
    """Name the lines whose best rate is the smallest or the largest that was tried, or whose decay is the largest."""
    found = []
    for line, cell in best.items():
        peaks, (peak,) = lines[line][cell.shape].peaks, cell.entry.peaks
        if peak in (peaks[0], peaks[-1]):
            found.append(f"{line}, peak {peak:g}")
        if (decay := cell.entry.config.weight_decay) == DECAYS[-1]:
            found.append(f"{line}, decay {decay:g}")
    return found


def told(bench: Bench, json_path: Path) -> None:
    """Print the tables that are there, and write them."""
    best = bench.best()
    if best is None:
        print("the lines are not tuned yet: --list says what is left")
        return
    longer = bench.longer() or {}
    for line, cell in best.items():
        own, of_longer = _rates(cell), _rates(longer.get(line, cell))
        print(f"{line}: {cell.shape}, {own}" + (f"; {of_longer} beyond a minute" if own != of_longer else ""))
    if edge := at_the_edge(best, bench.lines):
        print(f"at the edge of what was tried: {'; '.join(edge)}")
    tables = bench.tables()
    for title, of_cell in tables.items():
        show(of_cell, title, BASELINE)
        print("\n" + verdict(of_cell))
    results = [result for cell in dict.fromkeys(bench.cells()) if (result := bench.result(cell)) is not None]
    chosen = {
        line: {"shape": cell.shape, "peak": cell.entry.peaks[0], "weight_decay": cell.entry.config.weight_decay}
        | ({"weight_decay_longer": longer[line].entry.config.weight_decay} if longer else {})
        for line, cell in best.items()
    }
    write(json_path, {"preset": PRESET.model_dump(), "chosen": chosen, "tables": tables, "runs": results})


def _rates(cell: Cell) -> str:
    return f"peak {cell.entry.peaks[0]:g}, decay {cell.entry.config.weight_decay:g}"


def _not_listed(bench: Bench) -> list[float]:
    """Return the seconds of the runs that are known only when others are done."""
    lines, table = len(bench.lines), len(bench.lines) * SEEDS * len(bench.texts)
    seconds: list[float] = []
    if bench.best_of(bench.of_rate) is None:
        seconds += [TUNED] * (len(DECAYS) - 1) * lines
    if bench.best() is None:
        seconds += [TUNED] * (table - lines) + [SECONDS[-1]] * 2 * lines
    if bench.longer() is None:
        seconds += [SECONDS[-1]] * (table - lines) + [LONGEST] * 2 * len(bench.texts)
    return seconds


def listed(bench: Bench) -> None:
    """Print all cells with their numbers, and what is left in processor time."""
    cells = bench.cells()
    missing = [bench.result(cell) is None for cell in cells]
    for number, (cell, left) in enumerate(zip(cells, missing, strict=True)):
        what = f"{cell.text}, {cell.shape}, seed {cell.seed}, {_rates(cell)}, {cell.seconds:g} s"
        print(f"{number:3d} {'missing' if left else 'done   '} {what}")
    seconds = sum(cell.seconds + SCORING_S for cell, left in zip(cells, missing, strict=True) if left)
    unknown = _not_listed(bench)
    if unknown:
        print(f"and {len(unknown)} more, once these have said which")
    seconds += sum(one + SCORING_S for one in unknown)
    print(f"left: {seconds / 3600:.1f} hours of processor time")


def main() -> None:
    """Read the command line, and do what it says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="number the cells, and say what is left")
    parser.add_argument("--tune", action="store_true", help="carry out the tuning alone")
    parser.add_argument("--cell", type=int, help="carry out this one alone")
    parser.add_argument("--table", action="store_true", help="print what is there")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "rivals", help="where finished runs are kept")
    parser.add_argument("--turns", type=int, default=9, help="steps by which the time of a step is measured")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--scale", type=float, default=1.0, help="share of each run's steps: a look at how it works")
    parser.add_argument("--json", type=Path, default=RESULTS / "rivals.json")
    given = parser.parse_args()
    bench = Bench(given.out, given.turns, given.processes, given.scale)
    if given.list:
        listed(bench)
        return
    if given.table:
        told(bench, given.json)
        return
    bench.steps()  # measured while nothing else of ours runs
    with ProcessPoolExecutor(1 if given.cell is not None else given.processes, get_context("spawn")) as pool:
        if given.cell is not None:
            bench.carry_out(bench.cells()[given.cell : given.cell + 1], pool)
            return
        bench.carry_out(bench.of_rate, pool)
        bench.carry_out(bench.tuning(), pool)
        if given.tune:
            return
        bench.carry_out(bench.cells(), pool)  # without the longer runs, until it is known which decay these have
        bench.carry_out(bench.cells(), pool)
    told(bench, given.json)


if __name__ == "__main__":
    main()
