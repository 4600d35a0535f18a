"""Which column is the training loss, the step, the epoch: what tools and people call them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from plateau_rule.sim.logs.errors import LogError
from plateau_rule.sim.logs.rows import MOST_COLUMNS

LOSS = {"loss", "losses", "nll", "xent", "cost", "objective"}
# What trainers minimise under another name; read as the curve only where nothing is called a loss.
PERPLEXITY = {"ppl", "perplexity"}
OBJECTIVE = PERPLEXITY | {"entropy", "rmse", "mse", "mae", "mape", "rmsle", "l1", "l2", "logloss", "mlogloss", "huber"}
OBJECTIVE |= {"binary_logloss", "multi_logloss", "cross_entropy", "learn", "bcer", "bwer", "cer", "wer", "bpb", "bpc"}
# What is the better the higher it is, or says how good a model is without being minimised.
QUALITY = {"acc", "accuracy", "f1", "bleu", "auc", "iou", "miou", "dice", "map", "score", "top1", "top5"}
QUALITY |= {
    "acc1",
    "acc5",
    "prec",
    "precision",
    "recall",
    "error",
    "err",
    "wer",
    "cer",
    "ppl",
    "perplexity",
    "metric",
    "psnr",
}
REWARD = {"reward", "rewards", "rew", "return", "returns"}
# A clock in other languages: no clock to go by, but no curve to suggest either.
COUNTERS = {"schritt", "epoche", "runde", "episode", "paso", "passo", "etape", "iteration", "epoch"}
TRAIN = {"train", "training", "trn"}
EVAL = {"val", "valid", "validation", "eval", "evaluation", "test", "testing", "dev", "heldout", "holdout"}
# A name with one of these speaks about a loss and is none: loss_scale, best_loss, loss_time.
ABOUT = {"scale", "scaler", "scaling", "weight", "weights", "coef", "coefficient", "ratio", "best", "delta", "time"}
ABOUT |= {
    "function",
    "every",
    "steps",
    "count",
    "lr",
    "diff",
    "change",
    "std",
    "var",
    "min",
    "max",
    "ema_decay",
    "spike",
    "spikes",
}
PLAIN = {"train", "training", "trn", "tr", "step", "batch", "iter", "iteration", "it", "epoch", "inner"}
SUMMARY = {"total", "mean", "avg", "average", "running", "ema", "smooth", "smoothed", "cur", "current", "reported"}
FINE = {"step", "batch", "iter", "iteration", "it", "inner"}
# A name with one of these tells what an evaluation took, or when it happens.
COST = {"runtime", "second", "seconds", "samples", "time", "steps", "iters", "interval", "every", "jit"}

# In order of preference; `_step` is W&B's count of log calls, which a column of the user's own outranks.
STEPS: tuple[str, ...] = (
    "step",
    "steps",
    "global_step",
    "trainer_global_step",
    "train_global_step",
    "train_step",
    "current_steps",
)
STEPS += (
    "total_timesteps",
    "timesteps",
    "current_step",
    "optimizer_step",
    "num_updates",
    "updates",
    "update",
    "iter",
    "iters",
    "iteration",
)
STEPS += ("iterations", "it", "n_iter", "num_steps", "n_updates", "batch", "batch_idx")
STEPS += ("_step",)
LENGTH = "length of the epoch"  # the column for the N of `i/N` in printed lines
EPOCHS = ("epoch", "epochs", "train_epoch", "current_epoch", "epoch_num", "epoch_idx", "ep")
CLOCKS = {*STEPS, *EPOCHS}
RATES = ("lr", "learning_rate", "train_lr", "train_learning_rate", "lr_adam", "lr_adamw", "lr_sgd", "optim_lr")


def normal(name: str) -> str:
    """A name in lower case with underscores for everything else; a leading underscore stays."""
    return re.sub(r"[^a-z0-9_]+", "_", name.strip().lower()).rstrip("_") or name


@lru_cache(maxsize=4096)
def words(name: str) -> frozenset[str]:
    """The words of a name: "train/step_loss", "trainStepLoss" and "train step loss" have the same."""
    found = {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+", name)}
    for word in list(found):
        if word.endswith("loss") and word != "loss":  # valloss, trainloss
            found |= {"loss", word.removesuffix("loss")}
    return frozenset(found)


def is_eval(name: str) -> bool:
    """Whether a column holds a result of evaluations: its loss, or another measure."""
    found = words(name)
    return bool(found & EVAL) and not found & COST


def is_loss(name: str) -> bool:
    """Whether a column is called a loss, be it of training or of evaluations."""
    found = words(name)
    return bool(found & LOSS) and not found & ABOUT


def is_objective(name: str) -> bool:
    """Whether a column is called by a word for what is minimised, other than a loss, and is of training."""
    found = words(name)
    spelt = {normal(name), *re.split(r"'s |[ -]", name.lower())}
    return bool((spelt | found) & OBJECTIVE) and not found & (EVAL | ABOUT)


def rank(name: str) -> int:
    """0: the training loss by its plain name; 1: a summary of it; 2: some part of it, or another loss; 3: none."""
    found = words(name)
    if not is_loss(name) or found & EVAL:
        return 3
    rest = found - {"loss", "losses"} - PLAIN
    return 0 if not rest else 1 if rest <= SUMMARY else 2


def granularity(name: str) -> int:
    """0: per step by its name; 1: not said; 2: per epoch."""
    found = words(name)
    return 0 if found & FINE else 2 if "epoch" in found else 1


@dataclass(frozen=True, slots=True)
class Series:
    """A column that could hold the losses: how it is spelt in the file, and how many numbers were seen in it."""

    column: str
    points: int
    run: str | None = None
    metric: str | None = None

    def __str__(self) -> str:
        named = f"run {self.run!r}: {self.metric}" if self.run and self.metric else self.column
        return f"{named} ({self.points:,} points seen)"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the user asked for; None where a choice is left to us."""

    column: str | None = None
    metric: str | None = None
    step_column: str | None = None
    run: str | None = None
    steps_per_epoch: int | None = None
    metrics: frozenset[str] = frozenset()  # what guards watch, by whatever name


@dataclass(frozen=True, slots=True)
class Roles:
    """Which column of a file is what; None where it has none."""

    loss: str
    step: str | None
    epoch: str | None
    lr: str | None
    run: str | None = None  # the run that was chosen among columns
    others: tuple[str, ...] = ()  # training losses that were there too


class Tally:
    """How many numbers stand in each column, and how many of them in a row with each column that could be the clock."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.beside: Mapping[str, int] = {}  # numbers in lines that tell no loss
        self._with_clock: Counter[tuple[str, str]] = Counter()
        self._known = False  # the counts alone, from the reader

    def know(self, counts: Mapping[str, int]) -> None:
        """Take the counts of a reader that knows its columns beforehand."""
        self.counts.update(counts)
        self._known = bool(counts)

    def add(self, has: Mapping[str, NDArray[np.bool_]]) -> None:
        """Take in a block: the rows of each column that hold a number."""
        clocks = [name for name in has if normal(name) in CLOCKS or normal(name.rpartition("/")[2]) in CLOCKS]
        for name, rows in has.items():
            if name in self.counts or len(self.counts) < MOST_COLUMNS:
                self.counts[name] += int(rows.sum())
                for clock in clocks:
                    self._with_clock[clock, name] += int((rows & has[clock]).sum())

    def timed(self, name: str, clock: str | None) -> int:
        """How many numbers of a column stand in a row that has this clock."""
        if clock is None:
            return 0
        if self._known or clock not in {pair[0] for pair in self._with_clock}:
            return self.counts[name]
        return self._with_clock[clock, name]

    def clock(self, name: str, preferred: Sequence[str]) -> str | None:
        """The column of these names that tells when the numbers of a column were logged."""
        known = [each for each in self.counts if self.counts[each] and each != name]
        most = 0
        found: dict[str, str] = {}
        for each in known:
            if (spelt := _spelling(each, preferred)) and (count := self.timed(name, each)):
                most = max(most, count)
                found.setdefault(spelt, each)
        return next((found[p] for p in preferred if p in found and 2 * self.timed(name, found[p]) >= most), None)


def _spelling(name: str, preferred: Sequence[str]) -> str | None:
    """Which of the preferred names a column has, by itself or behind the last slash."""
    whole = normal(name)
    if whole in preferred:
        return whole
    last = normal(name.rpartition("/")[2])
    return last if last in preferred and not words(name) & EVAL else None


def first_of(names: Iterable[str], preferred: Sequence[str]) -> str | None:
    """The name that comes first in `preferred`, however it is capitalised."""
    known = {normal(name): name for name in reversed(list(names))}
    return next((known[name] for name in preferred if name in known), None)


def split_runs(counts: Mapping[str, int], exported: bool) -> list[Series]:
    """The columns as series; in a W&B export, `RUN - METRIC` and columns named after runs are told apart."""
    series = []
    for name, points in counts.items():
        base = re.sub(r"__(MIN|MAX)$", "", name)
        if base != name and base in counts:
            continue
        run, dash, metric = name.rpartition(" - ") if exported else ("", "", name)
        series.append(Series(name, points, run or None, metric if dash else None))
    if exported and not any(is_loss(each.column) for each in series):
        named = {first_of(counts, STEPS), first_of(counts, EPOCHS)}
        series = [each if each.column in named else Series(each.column, each.points, each.column) for each in series]
    return series


def choose(file: str, tally: Tally, wanted: Wanted, exported: bool, final: bool, lines: bool = False) -> Roles | None:
    """Give the columns of a file their roles.

    Args:
        file: its name, for messages.
        tally: how many numbers were seen in each column, and with which clock.
        wanted: what the user asked for.
        exported: whether it is a chart that was exported from W&B, with one column a run.
        final: whether all of the file has been seen.
        lines: whether it is text without columns.

    Returns:
        The roles, or None if the loss has not been seen so far.

    Raises:
        LogError: more than one series could be meant, or (`final`) none.
    """
    counts = tally.counts
    step = _named(file, counts, wanted.step_column, final) if wanted.step_column else None
    if wanted.step_column and step is None:
        return None
    clocks = {step, first_of(counts, STEPS), first_of(counts, EPOCHS), LENGTH}
    series = [each for each in split_runs(counts, exported) if each.column not in clocks and each.points]
    if wanted.column or wanted.metric:
        chosen = _asked_for(file, series, wanted, final)
    else:
        chosen = _by_name(_of_run(series, wanted.run), tally)
    if len(chosen) == 1:
        one = chosen[0]
        ranked = tuple(each.column for each in series if rank(each.metric or each.column) < 3 and each is not one)
        step = step or tally.clock(one.column, STEPS)
        epoch, lr = tally.clock(one.column, EPOCHS), first_of(counts, RATES)
        if epoch == step:
            epoch = None
        return Roles(one.column, step, epoch, lr, one.run if exported else None, ranked)
    if chosen:
        raise LogError(
            file,
            f"{len(chosen)} series could be meant:",
            remedy="Choose one with " + ("--run or --column" if any(each.run for each in chosen) else "--column"),
            choices=[str(each) for each in chosen],
        )
    if final:
        raise _no_loss(file, series, tally.beside, lines)
    return None


def _asked_for(file: str, series: list[Series], wanted: Wanted, final: bool) -> list[Series]:
    """The series of the column, or metric, that the user named."""
    if wanted.column:
        name = _named(file, [each.column for each in series], wanted.column, final)
        chosen = [each for each in series if each.column == name]
    else:
        chosen = [each for each in series if wanted.metric in (each.metric, each.column)]
        if not chosen and final:
            raise _unknown(file, "metric", str(wanted.metric), [each.metric or each.column for each in series])
    return _of_run(chosen, wanted.run)


def _of_run(series: list[Series], run: str | None) -> list[Series]:
    """Those of the run that was asked for: by its whole name, else by a part of it."""
    if run is None or not any(each.run for each in series):
        return series
    return [each for each in series if each.run == run] or [each for each in series if run in (each.run or "")]


def _by_name(series: list[Series], tally: Tally) -> list[Series]:
    """The training losses of the best rank that there is, at the finest granularity."""
    if any(each.run and each.metric is None for each in series):  # columns named after runs: any of them is one
        return [each for each in series if each.run]
    ranked = [each for each in series if rank(each.metric or each.column) < 3]
    if any(each.points > 1 for each in ranked):
        ranked = [each for each in ranked if each.points > 1]  # a single value is a summary
    best = min((rank(each.metric or each.column) for each in ranked), default=3)
    chosen = [each for each in ranked if rank(each.metric or each.column) == best]
    if best == 0 and not any(_has_steps(each, tally) for each in chosen):
        # An epoch's summary is called the training loss, and the means that stand with the steps are not.
        means = [each for each in ranked if rank(each.metric or each.column) == 1 and _has_steps(each, tally)]
        chosen = means or chosen
    if any(_has_steps(each, tally) for each in chosen):
        chosen = [each for each in chosen if _has_steps(each, tally)]
    finest = min((granularity(each.metric or each.column) for each in chosen), default=0)
    chosen = [each for each in chosen if granularity(each.metric or each.column) == finest]
    if not chosen and len(values := [each for each in series if normal(each.column) == "value"]) == 1:
        return values  # what TensorBoard's own download calls it
    return chosen or [each for each in series if is_objective(each.column) and each.points > 1]


def _has_steps(series: Series, tally: Tally) -> bool:
    """Whether a series stands with steps."""
    return tally.clock(series.column, STEPS) is not None


def _named(file: str, names: Iterable[str], name: str, final: bool) -> str | None:
    """The column that the user named, however capitalised; None if it may still come."""
    names = list(names)
    if name in names:
        return name
    alike = [each for each in names if normal(each) == normal(name)]
    if len(alike) == 1:
        return alike[0]
    if final:
        raise _unknown(file, "column", name, names)
    return None


def _unknown(file: str, what: str, name: str, names: Sequence[str]) -> LogError:
    near = get_close_matches(name, names, n=1)
    return LogError(
        file,
        f"no {what} {name!r} with numbers in it; there is:",
        remedy=f"Did you mean {near[0]!r}?" if near else f"Choose one of them as the {what}",
        choices=list(dict.fromkeys(names)) or ["nothing"],
    )


def _no_loss(file: str, series: list[Series], beside: Mapping[str, int], lines: bool) -> LogError:
    """There are columns, and none is a training loss."""
    evaluated = [each for each in series if is_eval(each.column) and is_loss(each.column)]
    if evaluated:
        one = evaluated[0]
        return LogError(
            file,
            f"no training loss, only evaluations: {', '.join(str(each) for each in evaluated)}",
            remedy=f"To read them as the curve: --column {one.column!r}",
        )
    known = {each.column for each in series}
    series = series + [Series(name, count) for name, count in beside.items() if name not in known and count > 1]
    if not series:
        return LogError(file, "no column holds numbers", "a column of losses", "Name the log of a training run")
    series = sorted(series, key=lambda each: -each.points)
    near = [each for each in series if words(each.column) & REWARD]
    near = near or [each for each in series if not words(each.column) & COUNTERS] or series
    return LogError(
        file,
        "no line speaks of a loss; lines tell:" if lines else "no column is called a loss; there is:",
        remedy=f"If one of them is the curve, name it with --column, for instance --column {near[0].column!r}",
        choices=[str(each) for each in series],
    )
