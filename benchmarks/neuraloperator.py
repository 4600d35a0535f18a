"""neuraloperator's incremental trainer beside constant settings and a ladder of ours: Burgers' equation in 2-D.

`pip install neuraloperator; python -P benchmarks/neuraloperator.py [--seeds 3] [--seconds 30]`

The task is that of examples/fourier_operator_2d.py; what is trained is neuraloperator's FNO with as many channels,
modes and layers, by AdamW at a peak of 2e-3 along a cosine. All lines get the same processor time, counted while they
train:

- its Trainer on the full grid, and on each coarser one: the rungs that `plateau probe` would hold;
- its IncrementalFNOTrainer: the grid from 16 to 64 points a side in equal numbers of epochs, and modes that grow by the
  gap between losses or by the strength of weights. Release 2.0.0 sets the modes of the first layer alone, and one more
  at a time; where their number is odd, it lets each weight act on the wave beside its own. A line more sets those of
  every layer and keeps their number even, a wave more each way, as in its paper (George et al., "Incremental Spatial
  and Spectral Learning of Neural Operators", TMLR 2024). In one dimension that release halves the modes at each epoch,
  so two are taken;
- a ladder of this project in a plain loop: the same grids and all modes, raised on a plateau, its steps priced by the
  epochs that the constant lines have in the time, and its rate along the share of the cost.

Seed 100 says how many epochs a line has in that time, or how much it may cost, and which of three thresholds it uses;
no other seed is looked at before. The score is the relative error on 64 points a side, of flows that were held out.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from importlib import import_module
from pathlib import Path
from statistics import mean, stdev
from time import process_time
from typing import Any, NamedTuple

if Path(sys.path[0]) == Path(__file__).resolve().parent:
    del sys.path[0]  # run as a script, benchmarks/controller.py would be taken for the package of that name
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "examples"))

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from benchmarks._speed import RESULTS, write
from plateau_rule import Controller, loads

FULL, GRIDS = 64, (16, 32, 64)
WIDTH, MODES, LAYERS, BATCH, PEAK = 16, 16, 3, 16, 2e-3
FLOWS = 512
STEPS = FLOWS // BATCH  # steps of an epoch
FEW_MODES = 4  # at first
GAPS = (1e-3, 1e-2, 1e-1)  # losses of two epochs that are no farther apart bring a mode more
SHARES = (0.9, 0.99, 0.9999)  # a mode more where all but five of the modes hold less of the weights' strength
SLOPES = (0.02, 0.05, 0.1)  # a raise where the loss surely improves by less in 100 steps
TUNING, FIRST = 100, 3  # seed, epochs
LADDER = """
name = "grid"
run  = {{ cost = {cost:g}, steps_per_epoch = {steps} }}
lr   = {{ peak = {peak:g}, shape = "cosine", length = "rest" }}

[knob.grid]
unit   = "points a side"
ladder = [16, 32, 64]
cost   = {prices}

[[state]]
name = "coarse"
set  = {{ grid = 16 }}

[[state]]
name = "middle"
set  = {{ grid = 32 }}

[[state]]
name = "fine"
set  = {{ grid = 64 }}

[[transition]]
from   = "*"
to     = "next"
guards = [{{ plateau = {{ method = "trend", threshold = {threshold:g}, per = "100 steps" }} }}]

[check]
waive = {{ aligned = "one cosine for all of it" }}
"""
HOW = "neuraloperator is not installed here: pip install neuraloperator"


class Line(NamedTuple):
    """One way to train.

    Attributes:
        grids: trained on, each for as many epochs.
        grows: the argument that says when modes grow; "" where they stay.
        every_layer: whether all layers get them.
        threshold: of what `grows` names, or of the ladder's plateau.
        prices: of a step on each grid, where a ladder of ours decides when the grid grows.
    """

    grids: tuple[int, ...]
    grows: str = ""
    every_layer: bool = False
    threshold: float = 0.0
    prices: tuple[float, ...] = ()


THRESHOLDS = {"loss": GAPS, "grad": SHARES}
OURS = "Plateau Rule, `trend`; grid 16 to 64"
LINES = {
    **{f"Trainer, {points} points a side": Line((points,)) for points in reversed(GRIDS)},
    "IncrementalFNOTrainer, loss gap": Line(GRIDS, "loss"),
    "IncrementalFNOTrainer, loss gap, modes of every layer": Line(GRIDS, "loss", every_layer=True),
    "IncrementalFNOTrainer, strength of weights": Line(GRIDS, "grad"),
}


class Flows(Dataset[dict[str, Tensor]]):
    """Flows before and after, as their trainer takes them: (2, points, points) each."""

    def __init__(self, count: int, seed: int) -> None:
        example = import_module("fourier_operator_2d")
        self.before, self.after = map(torch.from_numpy, example.make_flows(count, seed))

    def __len__(self) -> int:
        return len(self.before)

    def __getitem__(self, place: int) -> dict[str, Tensor]:
        return {"x": self.before[place], "y": self.after[place]}


def model_of(line: Line) -> nn.Module:
    """Their model, with the modes that a line begins with."""
    from neuralop.models import FNO

    begin, most = 2 * (FEW_MODES if line.grows else MODES,), 2 * (MODES,)
    model: nn.Module = FNO(
        begin, max_n_modes=most, in_channels=2, out_channels=2, hidden_channels=WIDTH, n_layers=LAYERS
    )
    return model


def error_of(model: nn.Module, held: Flows) -> float:
    """The mean over held-out flows of |found - wanted| / |wanted|, on the full grid."""
    with torch.no_grad():
        off = (model(held.before) - held.after).flatten(1).norm(dim=1) / held.after.flatten(1).norm(dim=1)
    return float(off.mean())


def train_with(line: Line, model: nn.Module, flows: Flows, amount: int) -> int:
    """Train so many epochs by their trainer; the last grid."""
    from neuralop.data.transforms.data_processors import IncrementalDataProcessor
    from neuralop.losses import LpLoss
    from neuralop.training import Trainer
    from neuralop.training.incremental import IncrementalFNOTrainer

    class EveryLayer(IncrementalFNOTrainer):  # type: ignore[misc]  # their classes have no types
        """As published: what the first layer has, every layer has, and it is even."""

        def incremental_update(self, loss: Any = None) -> None:
            super().incremental_update(loss)
            first = self.model.fno_blocks.convs[0]
            even = first.n_modes[0] + first.n_modes[0] % 2
            self.model.n_modes = (even,) * first.order  # whose last one is kept halved, and halved when set

    grids = IncrementalDataProcessor(
        subsampling_rates=[FULL // points for points in line.grids],
        dataset_resolution=FULL,
        dataset_indices=[2, 3],
        epoch_gap=max(1, amount // len(line.grids)),
    )
    own: dict[str, Any] = {"model": model, "n_epochs": amount, "data_processor": grids, "eval_interval": amount + 1}
    if line.grows:
        by = "incremental_loss_gap" if line.grows == "loss" else "incremental_grad"
        own |= {by: True, f"incremental_{line.grows}_eps": line.threshold}
    kind = Trainer if not line.grows else EveryLayer if line.every_layer else IncrementalFNOTrainer
    trainer = kind(**own)
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK, weight_decay=1e-4)
    loader = DataLoader(flows, BATCH, shuffle=True)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=amount)
    trainer.train(loader, {}, optimizer, rate, training_loss=LpLoss(d=2))
    return int(grids.current_res)


def train_by_ladder(line: Line, model: nn.Module, flows: Flows, cost: int) -> int:
    """Train in a loop of one's own, under a ladder, for so much cost, in steps on the full grid; the last grid."""
    from neuralop.losses import LpLoss

    ladder = LADDER.format(cost=cost, steps=STEPS, peak=PEAK, prices=[*line.prices], threshold=line.threshold)
    controller, off = Controller(loads(ladder)), LpLoss(d=2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK, weight_decay=1e-4)
    points = line.grids[0]
    while controller.plan.stop is None:
        for batch in DataLoader(flows, BATCH, shuffle=True):
            if (plan := controller.plan).stop is not None:
                break
            points = int(plan.knobs["grid"])
            every = FULL // points
            optimizer.param_groups[0]["lr"] = plan.lr
            optimizer.zero_grad()
            loss = off(model(batch["x"][..., ::every, ::every]), batch["y"][..., ::every, ::every])
            loss.backward()
            optimizer.step()
            controller.observe(loss.item() / BATCH)
    return points


def carry_out(line: Line, seed: int, amount: int, flows: Flows, held: Flows) -> dict[str, Any]:
    """Train once, for so many epochs, or a ladder for so much cost, and score it."""
    torch.manual_seed(seed)
    model = model_of(line)
    began = process_time()
    with redirect_stdout(io.StringIO()):  # their classes print how they begin
        grid = (train_by_ladder if line.prices else train_with)(line, model, flows, amount)
    seconds = process_time() - began
    modes = [conv.n_modes[0] for conv in model.fno_blocks.convs]  # type: ignore[union-attr]  # a Tensor or a Module, to mypy
    spent = {"cost": amount} if line.prices else {"epochs": amount}
    return {"seed": seed, **spent, "seconds": seconds, "error": error_of(model, held), "modes": modes, "grid": grid}


def tuned(line: Line, seconds: float, train: Callable[..., dict[str, Any]]) -> tuple[Line, int]:
    """The threshold of a line, and the epochs that it has in the time: by trainings on the seed of the tuning."""
    result = train(line, TUNING, FIRST)
    amount = max(len(line.grids), round(FIRST * seconds / result["seconds"]))
    if not line.grows:
        return line, amount
    return best_of(line, THRESHOLDS[line.grows], amount, seconds, train)


def best_of(
    line: Line, thresholds: Sequence[float], amount: int, seconds: float, train: Callable[..., dict[str, Any]]
) -> tuple[Line, int]:
    """The line with the best of its thresholds, and its amount by the time that it took with it."""
    tries = [line._replace(threshold=each) for each in thresholds]
    found = [(train(one, TUNING, amount), one) for one in tries]
    result, best = min(found, key=lambda one: float(one[0]["error"]))
    return best, max(len(line.grids), round(amount * seconds / result["seconds"]))


def ladder(chosen: Mapping[str, tuple[Line, int]]) -> tuple[Line, int]:
    """A ladder of ours, untuned, and what it may cost: by the epochs that the constant lines have."""
    epochs = {line.grids[0]: amount for line, amount in chosen.values() if len(line.grids) == 1}
    prices = tuple(round(epochs[FULL] / epochs[points], 4) for points in GRIDS)
    return Line(GRIDS, prices=prices), epochs[FULL] * STEPS


def show(found: Mapping[str, list[dict[str, Any]]]) -> None:
    """Print a table."""
    print("\n| line | error | processor time | modes and grid at the end |\n|---|---|---|---|")
    for name, runs in found.items():
        errors = [run["error"] for run in runs]
        spread = f" ± {stdev(errors):.4f}" if len(errors) > 1 else ""
        modes = sorted({(*run["modes"], run["grid"]) for run in runs})
        print(f"| {name} | {mean(errors):.4f}{spread} | {mean(run['seconds'] for run in runs):.1f} s | {modes} |")


def main() -> None:
    """Tune every line, train it on each seed, and write what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=30.0, help="processor time of a training")
    parser.add_argument("--json", type=Path, default=RESULTS / "neuraloperator.json")
    given = parser.parse_args()
    try:
        import neuralop
    except ImportError:
        sys.exit(HOW)
    torch.set_num_threads(1)
    flows, held = Flows(FLOWS, 0), Flows(32, 1)

    def train(line: Line, seed: int, amount: int) -> dict[str, Any]:
        return carry_out(line, seed, amount, flows, held)

    chosen = {name: tuned(line, given.seconds, train) for name, line in LINES.items()}
    own, cost = ladder(chosen)
    chosen[OURS] = best_of(own, SLOPES, cost, given.seconds, train)
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in chosen}
    for seed in range(given.seeds):
        for name, (line, amount) in chosen.items():
            found[name].append(run := train(line, seed, amount))
            print(
                f"seed {seed}, {name}: {run['error']:.4f} in {run['seconds']:.1f} s, modes {run['modes']}", flush=True
            )
    show(found)
    thresholds = {name: line.threshold for name, (line, _) in chosen.items() if line.threshold}
    write(
        given.json, {"release": neuralop.__version__, "seconds": given.seconds, "thresholds": thresholds, "runs": found}
    )


if __name__ == "__main__":
    main()
