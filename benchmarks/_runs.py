"""The runs of benchmarks/quality.py: what one is, how many steps it has, how it is carried out and kept."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from math import log
from multiprocessing import get_context
from pathlib import Path
from statistics import mean, median
from time import perf_counter, process_time
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_swa_multi_avg_fn

from benchmarks._rival import Rival, RivalLearner
from benchmarks._speed import take_turns
from plateau_rule import Controller, load
from plateau_rule.fftcore.binding import bind_to_trainer
from plateau_rule.fftcore.config import Config
from plateau_rule.fftcore.data import Text, held_out, read_text
from plateau_rule.fftcore.evaluate import evaluate
from plateau_rule.fftcore.learner import Learner
from plateau_rule.fftcore.model import SpectralLM
from plateau_rule.fftcore.storage import Disk

CURRICULA = Path(__file__).resolve().parent / "curricula"
CPU = torch.device("cpu")


class Entry(NamedTuple):
    """One line of the table.

    Args:
        config: what is trained.
        curriculum: under which curriculum, a shipped one or one in `benchmarks/curricula`.
        peaks: of the learning rate; the first seed chooses where there are several.
        rival: train this rival, of as many parameters as the config's model has, in its place.
        layers: the rival's blocks; 0 takes as many as the config's model has.
        average: share of the run, at its end, over which the weights are averaged for the score; 0 takes the last.
    """

    config: Config
    curriculum: str
    peaks: tuple[float, ...]
    rival: str = ""
    layers: int = 0
    average: float = 0.0


class Job(NamedTuple):
    """One run."""

    text: str
    path: Path | None
    name: str
    entry: Entry
    seed: int
    peak: float
    steps: int


class Learns(Protocol):
    """What is trained."""

    @property
    def model(self) -> nn.Module:
        """What learns."""

    def turn(self, knobs: Mapping[str, float | str]) -> None:
        """Set the knobs of the next step."""

    def step(self, step: int, lr: float) -> Tensor:
        """Take an optimizer step; the loss in nats a byte comes first."""


def controller_of(entry: Entry, steps: int, peak: float) -> Controller:
    """Bind an entry's curriculum to a run of so many steps."""
    own = CURRICULA / f"{entry.curriculum}.toml"
    curriculum = load(own if own.exists() else entry.curriculum)
    return bind_to_trainer(curriculum, entry.config, epochs=1, steps_per_epoch=steps, peak=peak, lag=0)


def begun(entry: Entry, text: Text, seed: int) -> Learns:
    """Return what an entry trains, before its first step."""
    if not entry.rival:
        return Learner(entry.config, text, seed, CPU, heads_only=False)
    parameters, shape = size_of(entry.config), entry.config.model
    torch.manual_seed(seed)
    rival = Rival(entry.rival, parameters, entry.layers or shape.layers, shape.seq_len)
    return RivalLearner(rival, entry.config, text, seed)


def size_of(config: Config) -> int:
    """Return how many parameters a config's model has."""
    return sum(value.numel() for value in SpectralLM(config.model).parameters())


# How many steps a run has


def knobs_used(entry: Entry, steps: int = 1000) -> Counter[tuple[tuple[str, float], ...]]:
    """Return in how many of the steps which knobs are in force."""
    controller, used = controller_of(entry, steps, entry.peaks[0]), Counter[tuple[tuple[str, float], ...]]()
    while (plan := controller.plan).stop is None:
        used[tuple(sorted(plan.knobs.items()))] += 1
        controller.observe(1.0)
    return used


def step_seconds(lines: Mapping[str, Entry], turns: int) -> dict[str, float]:
    """Return the processor time of an optimizer step of each entry, mean over its run; all take turns."""
    torch.set_num_threads(1)
    text = read_text(None)
    learners = {name: begun(entry, text, 0) for name, entry in lines.items()}

    def step(learner: Learns, knobs: Mapping[str, float]) -> None:
        learner.turn(knobs)
        learner.step(0, 0.0)

    contestants, shares = {}, {}
    for name, entry in lines.items():
        for i, (knobs, count) in enumerate(knobs_used(entry).items()):
            contestants[f"{name} {i}"] = partial(step, learners[name], dict(knobs))
            shares[f"{name} {i}"] = (name, count / 1000)
    seconds, total = take_turns(contestants, turns, CPU), dict.fromkeys(lines, 0.0)
    for key, (name, share) in shares.items():
        total[name] += share * median(seconds[key])
    return total


def step_times(lines: Mapping[str, Entry], base: str, plan: Path, turns: int, processes: int) -> dict[str, float]:
    """Return what a step of each entry takes, from a file where it is known; what is not, is measured beside `base`.

    Args:
        lines: by name; `base` is among them.
        base: whose time is measured first. What another takes is told in its terms, as other work slows both alike.
        plan: the file.
        turns: steps of each by which it is measured.
        processes: that measure at once, as many as the runs will be.
    """
    known: dict[str, float] = json.loads(plan.read_text()) if plan.exists() else {}
    keys = {name: f"{name}, {_fingerprint(entry)}" for name, entry in lines.items()}
    missing = {name: entry for name, entry in lines.items() if keys[name] not in known}
    if missing:
        together = {base: lines[base], **missing}
        with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
            measured = list(pool.map(step_seconds, [together] * processes, [turns] * processes))
        beside = {name: mean(one[name] for one in measured) for name in together}
        scale = known.get(keys[base], beside[base]) / beside[base]
        known |= {keys[name]: scale * beside[name] for name in missing}
        plan.parent.mkdir(parents=True, exist_ok=True)
        Disk().replace_file(plan, json.dumps(known, indent=1).encode())
    return {name: known[key] for name, key in keys.items()}


def _fingerprint(entry: Entry) -> str:
    """Return what tells an entry whose steps may take another time from one of the same name."""
    # A setting that is added later, and stands at its default, makes no step slower.
    config = entry.config.model_dump(mode="json", exclude={"peak", "weight_decay"}, exclude_defaults=True)
    of_time = [config, entry.curriculum, entry.rival, entry.layers]
    return hashlib.sha256(json.dumps(of_time, sort_keys=True).encode()).hexdigest()[:8]


# One run


def train(learner: Learns, controller: Controller, averaged_from: int | None = None) -> tuple[float, float]:
    """Train to the end of the run; the first loss in bits, and seconds of processor time.

    Args:
        learner: what is trained.
        controller: of the whole run.
        averaged_from: the step from which on the weights are averaged; the model is left with their mean.
    """
    began, first = process_time(), 0.0
    averaged: AveragedModel | None = None
    while (plan := controller.plan).stop is None:
        learner.turn(plan.knobs)
        loss = float(learner.step(plan.step, plan.lr)[0])
        first = first or loss / log(2)
        if averaged_from is not None and plan.step >= averaged_from:
            averaged = averaged or AveragedModel(learner.model, multi_avg_fn=get_swa_multi_avg_fn())  # type: ignore[no-untyped-call]
            averaged.update_parameters(learner.model)
        controller.observe(loss)
    if averaged is not None:
        learner.model.load_state_dict(averaged.module.state_dict())
    return first, process_time() - began


def carry_out(job: Job) -> dict[str, Any]:
    """Carry one run out, and return what came of it."""
    torch.set_num_threads(1)
    text, config, began = read_text(job.path), job.entry.config, perf_counter()
    learner = begun(job.entry, text, job.seed)
    averaged_from = round(job.steps * (1 - job.entry.average)) if job.entry.average else None
    first, seconds = train(learner, controller_of(job.entry, job.steps, job.peak), averaged_from)
    found: dict[str, Any] = {"text": job.text, "name": job.name, "seed": job.seed, "peak": job.peak}
    found["weight_decay"] = config.weight_decay
    found |= {"steps": job.steps, "seconds": seconds, "wall_s": perf_counter() - began, "first_bits": first}
    found["parameters"] = sum(value.numel() for value in learner.model.parameters())
    width = config.model.seq_len + config.model.chunk
    for split in ("validation", "test"):
        windows_BW = held_out(text, split, config.final_windows, width)
        if isinstance(learner, RivalLearner):
            found[split] = {"parallel": learner.bpb(windows_BW)}
            found[split]["stream"] = found[split]["parallel"]  # by causality, which a test shows
        else:
            assert isinstance(learner, Learner)
            found[split] = evaluate(learner.model, windows_BW)._asdict()
    return found


def kept(job: Job, out: Path) -> tuple[Path, dict[str, Any]]:
    """Return where a run's result is kept, and what identifies it."""
    identity = {"text": job.text, "name": job.name, "seed": job.seed, "peak": job.peak, "steps": job.steps}
    config = job.entry.config.model_dump(mode="json", exclude={"peak"}, exclude_defaults=True)
    identity |= {"curriculum": job.entry.curriculum, "config": config}
    identity |= {"rival": job.entry.rival, "layers": job.entry.layers, "average": job.entry.average}
    told = f"{job.text} {job.name} {job.peak:g} {job.entry.config.weight_decay:g} {job.seed}"
    words = "".join(letter if letter.isalnum() else "-" for letter in told)
    return out / f"{words}.json", identity


def carried_out(job: Job, out: Path) -> dict[str, Any]:
    """Carry a run out, or find it among those that are finished."""
    path, identity = kept(job, out)
    if path.exists():
        found: dict[str, Any] = json.loads(path.read_text())
        if found["job"] == identity:
            return found["result"]  # type: ignore[no-any-return]
    result = carry_out(job)
    Disk().replace_file(path, json.dumps({"job": identity, "result": result}, indent=1).encode())
    return result
