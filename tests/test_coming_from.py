"""The page "coming from …": `check` says of each TOML what the page says; the numbers are those of the other tool."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import cos, floor, inf, pi
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from plateau_rule import Controller, Curriculum, Plan, bind, load, loads, verify
from plateau_rule.sim.schedules import import_schedule
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "coming-from.md").read_text(encoding="utf-8")
FILES = {
    (file := loads(text)).name: file for text in re.findall(r"^```toml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
}
SAID = {"wall-jump": ["may-stay"]}  # what the page says that `check` finds


def plans(curriculum: Curriculum, scores: Sequence[dict[str, Any]] = (), **run: Any) -> list[Plan]:
    """The plan of every step of a run; the scores are those of an evaluation after each step, where there are any."""
    controller, found = Controller(curriculum, **run), list[Plan]()
    while (plan := controller.plan).stop is None:
        found.append(plan)
        controller.observe(1.0)
        if scores:
            controller.evaluated(**scores[plan.step])
    return found


def with_dwell(name: str, amount: str) -> Curriculum:
    """A curriculum of the page, whose reductions are this far apart."""
    written = FILES[name].model_dump(by_alias=True, exclude_unset=True)
    written["transition"][-1]["guards"][1]["dwell"] = amount
    return Curriculum.model_validate(written)


def test_every_block_is_seen() -> None:
    """The page has curricula for all its tools, each with a name of its own."""
    assert len(FILES) == PAGE.count("```toml") == 10
    assert re.findall(r"^## (\w[\w-]*)", PAGE, re.MULTILINE) == [
        "torch", "torch", "Keras", "ML-Agents", "DeepSpeed", "Composer", "Megatron-LM",
    ]  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_check_says_what_the_page_says(name: str) -> None:
    """Each curriculum of the page binds without a warning; nothing is broken or undecided, and findings are named."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = verify(bind(FILES[name]))
    assert not report.broken
    assert "not decided" not in report.answers()
    assert [finding.code for finding in report.findings] == SAID.get(name, [])
    assert all(f"`{code}`" in PAGE for code in SAID.get(name, []))


def test_import_gives_what_is_shown() -> None:
    """`plateau import` makes the curriculum on the page of the script above it."""
    script, shown = re.findall(r"^```(?:sh|toml)\n(.*?)^```$", PAGE.partition("`plateau import`\n")[2], re.M | re.S)
    assert import_schedule(script.encode(), "pretrain.sh")[0] == shown


# A loss for each epoch: now and then a new best by more than min_delta, never by just as much: rounding would decide.
LOSSES = st.lists(
    st.sampled_from([0.0, 0.0, 0.0, 0.0, 0.0, 6.3e-5, 1.17e-3, 0.0213, -0.93e-3]), min_size=90, max_size=90
).map(
    lambda moves: [
        3.0 - sum(moves[: epoch + 1]) + (0.0101 if moves[epoch] <= 0 else 0.0) for epoch in range(len(moves))
    ]
)
FLAT = [3.0] * 90
LATE = [3.0 - 0.01 * min(epoch, 30) - 0.01 * (epoch >= 43) for epoch in range(90)]  # better within a cooldown
FALLING = [3.1, 3.07, 3.04]  # the first epochs of a run with a cooldown, for our first reduction waits as long


@pytest.mark.parametrize("cooldown", [0, 2])
@given(losses=LOSSES)
@example(losses=FLAT)
@example(losses=LATE)
def test_reduce_lr_on_plateau(cooldown: int, losses: list[float]) -> None:
    """The rate of every epoch is that of torch's ReduceLROnPlateau, whatever the losses."""
    losses = FALLING + losses if cooldown else losses
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=0.1, patience=10, threshold=1e-4, threshold_mode="abs", cooldown=cooldown, min_lr=1e-5
    )
    rates = []
    for loss in losses:
        rates.append(optimizer.param_groups[0]["lr"])
        scheduler.step(loss)
    curriculum = with_dwell("reduce-lr", f"{10 + 1 + cooldown} epochs")
    assert cooldown or curriculum == FILES["reduce-lr"]
    found = plans(curriculum, [{"val_loss": loss} for loss in losses], epochs=len(losses), steps_per_epoch=1)
    assert [plan.lr for plan in found] == pytest.approx(rates, rel=1e-12)
    assert losses[-90:] != FLAT or len(set(rates)) == 5


# Rows of the tables that have no TOML on the page, in full.
RUN = "run = { epochs = 90, steps_per_epoch = 2 }\nlr = { peak = 0.1, shape = "
ROWS = {
    "CosineAnnealingLR": RUN + """"cosine", floor = 0.01, length = "90 epochs" }\nstate = [{ name = "training" }]""",
    "PolynomialLR": RUN + """"linear", length = "60 epochs" }\nstate = [{ name = "training" }]""",
    "ConstantLR": RUN
    + """"constant" }
        state = [{ name = "low", lr = { peak = 0.3 } }, { name = "high" }]
        transition = [{ from = "low", to = "high", guards = [{ min_epoch = 5 }] }]""",
    "MultiStepLR": RUN
    + """"constant" }
        state = [{ name = "a" }, { name = "b", lr = { peak = 0.1 } }, { name = "c", lr = { peak = 0.01 } }]
        transition = [
          { from = "a", to = "b", guards = [{ min_epoch = 30 }] },
          { from = "b", to = "c", guards = [{ min_epoch = 80 }] },
        ]""",
    "ExponentialLR": RUN
    + """"constant" }
        state = [{ name = "training" }]
        transition = [
          { from = "training", to = "training", at = "epoch", at_most = 89, actions = [{ lr_scale = 0.9 }] },
        ]""",
}
ARGUMENTS: dict[str, dict[str, Any]] = {
    "CosineAnnealingLR": {"T_max": 90, "eta_min": 1e-3},
    "PolynomialLR": {"total_iters": 60, "power": 1.0},
    "ConstantLR": {"factor": 0.3, "total_iters": 5},
    "MultiStepLR": {"milestones": [30, 80], "gamma": 0.1},
    "ExponentialLR": {"gamma": 0.9},
}


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.filterwarnings("ignore:Detected call of")  # torch misses optimizer.step(); nothing is trained here
def test_rows_without_a_file(name: str) -> None:
    """What the table says of torch's other schedulers holds too: sound, and the same rate in every epoch."""
    torch = pytest.importorskip("torch")
    curriculum = loads(f'name = "row"\n{ROWS[name]}')
    assert not verify(bind(curriculum)).broken
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    scheduler = getattr(torch.optim.lr_scheduler, name)(optimizer, **ARGUMENTS[name])
    for plan in plans(curriculum)[::2]:  # torch's are stepped once an epoch
        assert plan.lr == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9, abs=1e-15), plan.epoch
        scheduler.step()


def sequential(optimizer: Any, known: Any) -> Any:
    """As on the page."""
    parts = [known.LinearLR(optimizer, 0.1, total_iters=500), known.CosineAnnealingLR(optimizer, 9500, eta_min=1e-5)]
    return known.SequentialLR(optimizer, parts, [500])


@pytest.mark.parametrize(
    ("name", "steps_per_epoch", "build"),
    [
        ("warmup-cosine", 1000, sequential),
        ("step-lr", 10, lambda optimizer, known: known.StepLR(optimizer, step_size=30 * 10, gamma=0.1)),
        ("sgdr", 10, lambda optimizer, known: known.CosineAnnealingWarmRestarts(optimizer, T_0=100, T_mult=2)),
    ],
)
@pytest.mark.filterwarnings("ignore:Detected call of")  # torch misses optimizer.step(); nothing is trained here
@pytest.mark.filterwarnings("ignore:The epoch parameter")  # SequentialLR's own way to start a scheduler
def test_torch_schedulers(name: str, steps_per_epoch: int, build: Callable[[Any, Any], Any]) -> None:
    """The rate of every step is that of SequentialLR, StepLR, or CosineAnnealingWarmRestarts."""
    torch = pytest.importorskip("torch")
    curriculum = FILES.get(name) or load(name)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=curriculum.lr.peak)
    scheduler = build(optimizer, torch.optim.lr_scheduler)
    found = plans(curriculum, steps_per_epoch=steps_per_epoch)
    for plan in found:
        assert plan.lr == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9, abs=1e-15), plan.step
        scheduler.step()


@dataclass
class KerasCallbacks:
    """What ReduceLROnPlateau and EarlyStopping of Keras do with the accuracy of an epoch.

    A bad epoch is one whose accuracy is not better than the best by `min_delta`. Five of them in a row reduce the rate;
    in a cooldown they are not counted, but in its last epoch they are. Twenty in a row end the training.
    """

    pause: int
    """What they call cooldown, in epochs."""
    rate: float = 1e-3
    best: float = -inf
    waited: int = 0
    cooldown: int = 0
    best_to_stop: float = -inf
    waited_to_stop: int = 0
    rates: list[float] = field(default_factory=list)

    def epoch(self, accuracy: float) -> bool:
        """Take in the accuracy of an epoch; whether training goes on."""
        self.rates.append(self.rate)
        if self.cooldown > 0:
            self.cooldown, self.waited = self.cooldown - 1, 0
        if accuracy > self.best + 1e-3:
            self.best, self.waited = accuracy, 0
        elif self.cooldown == 0:
            self.waited += 1
            if self.waited >= 5 and self.rate > 1e-6:
                self.rate, self.cooldown, self.waited = max(self.rate * 0.2, 1e-6), self.pause, 0
        self.waited_to_stop += 1
        if accuracy - 1e-3 > self.best_to_stop:
            self.best_to_stop, self.waited_to_stop = accuracy, 0
        return self.waited_to_stop < 20


@pytest.mark.parametrize("cooldown", [0, 1, 3])
@given(losses=LOSSES)
@example(losses=FLAT)
@example(losses=LATE)
def test_keras_callbacks(cooldown: int, losses: list[float]) -> None:
    """The rate of every epoch, and the epoch after which training stops, are those of Keras' two callbacks."""
    accuracies = [1.0 - loss / 8 for loss in FALLING + losses]
    keras = KerasCallbacks(cooldown)
    for accuracy in accuracies:
        if not keras.epoch(accuracy):
            break
    scores = [{"val_accuracy": accuracy} for accuracy in accuracies]
    curriculum = with_dwell("reduce-and-stop", f"{5 + max(cooldown - 1, 0)} epochs")
    assert cooldown or curriculum == FILES["reduce-and-stop"]
    found = plans(curriculum, scores, epochs=len(scores), steps_per_epoch=1)
    assert [plan.lr for plan in found] == pytest.approx(keras.rates, rel=1e-12)


@given(losses=LOSSES)
@example(losses=FLAT)
def test_keras_start_from_epoch(losses: list[float]) -> None:
    """As the page says: a first state without the guard, left at `min_epoch`, is what `start_from_epoch=10` does."""
    curriculum = loads("""
        name = "late-watch"
        run = { epochs = 90, steps_per_epoch = 2 }
        lr = { peak = 1e-3, shape = "constant" }
        metric = { val_loss = { at = "eval", every = "1 epoch" } }
        state = [{ name = "begins" }, { name = "watched" }, { name = "stopped", stop = "no new best" }]
        transition = [
        { from = "begins", to = "watched", at = "epoch", guards = [{ min_epoch = 10 }] },
        { from = "watched", to = "next", at = "eval", guards = [{ patience = { metric = "val_loss", steps = 4 } }] },
        ]
    """)
    best, waited, epochs = inf, 0, 0
    for epoch, loss in enumerate(losses):
        epochs += 1
        if epoch >= 10:
            best, waited = (loss, 0) if loss < best else (best, waited + 1)
            if waited >= 4:
                break
    controller = Controller(curriculum)
    while controller.plan.stop is None:
        step = controller.plan.step
        controller.observe(1.0)
        if step % 2:
            controller.evaluated(val_loss=losses[step // 2])
    assert controller.plan.step == 2 * epochs


def deepspeed(step: int, least: int = 64, most: int = 1024, total: int = 15_000, multiple: int = 8) -> int:
    """The difficulty of `fixed_linear` on a step that is counted from 1, by DeepSpeed's formula."""
    difficulty = floor(min(step / total, 1.0) * (most - least) + least)
    return min(difficulty - difficulty % multiple, most)


def test_deepspeed_fixed_linear() -> None:
    """Every length is the one of `fixed_linear`, which counts steps from 1 and so is a step ahead."""
    lengths = [plan.knobs["seq_len"] for plan in plans(FILES["fixed-linear"], steps_per_epoch=20_000)]
    assert lengths == [deepspeed(step) for step in range(20_000)]


def test_deepspeed_fixed_discrete() -> None:
    """The lengths are those of `fixed_discrete` on every step: up to step `max_step`, counted from 1."""
    lengths = [plan.knobs["seq_len"] for plan in plans(FILES["fixed-discrete"], steps_per_epoch=20_000)]
    expected = [128 if step <= 5000 else 512 if step <= 10_000 else 1024 for step in range(1, 20_001)]
    assert lengths == expected


def test_deepspeed_fixed_root_is_another_curve() -> None:
    """As the page says, `root` is DeepSpeed's square root where the ramp begins at 0, and another curve elsewhere."""
    written = FILES["fixed-linear"].model_dump(by_alias=True, exclude_unset=True)
    written["state"][0]["ramp"]["seq_len"]["shape"] = "root"
    lengths = [
        float(plan.knobs["seq_len"]) for plan in plans(Curriculum.model_validate(written), steps_per_epoch=20_000)
    ]
    theirs = [64 + (1024 - 64) * (step / 15_000) ** 0.5 for step in range(15_000)]
    assert max(abs(a - b) for a, b in zip(lengths, theirs, strict=False)) > 30
    written["knob"]["seq_len"]["range"]["min"] = written["state"][0]["set"]["seq_len"] = 0
    lengths = [
        float(plan.knobs["seq_len"]) for plan in plans(Curriculum.model_validate(written), steps_per_epoch=20_000)
    ]
    theirs = [1024 * (step / 15_000) ** 0.5 for step in range(15_000)]
    assert all(0 <= b - a < 8 for a, b in zip(lengths, theirs, strict=False))


def test_composer() -> None:
    """Length and rate of every step are those of SeqLengthWarmup and CosineAnnealingWithWarmupScheduler."""
    found = plans(FILES["seq-length-warmup"])
    each = 1000 // ((1008 - 8) // 8)  # steps between two lengths
    assert [plan.knobs["seq_len"] for plan in found] == [min(8 + 8 * (step // each), 1008) for step in range(4000)]
    fall = [0.1 + 0.9 * (1 + cos(pi * (step - 500) / 3500)) / 2 for step in range(500, 4000)]
    shares = [*(step / 500 for step in range(500)), *fall]
    assert [plan.lr for plan in found] == pytest.approx([2e-4 * share for share in shares], rel=1e-12)


def test_composer_resizes_to_the_nearest_multiple() -> None:
    """As the page says: ProgressiveResizing takes the nearest multiple, and ours is never more than one below it."""
    ours = [float(plan.knobs["image_size"]) for plan in plans(FILES["progressive-resizing"])]
    scales = [0.5 + 0.5 * min(max((step / 1000 - 0.5) / 0.3, 0.0), 1.0) for step in range(1000)]
    theirs = [round(224 * scale / 4) * 4 for scale in scales]
    assert {b - a for a, b in zip(ours, theirs, strict=True)} == {0, 4}
    assert (ours[499], ours[800], theirs[499], theirs[800]) == (112, 224, 112, 224)


def test_ml_agents() -> None:
    """A lesson ends when the mean of its last 100 episodes is above the threshold, and not before there were 100."""
    controller, found = Controller(FILES["wall-jump"]), []
    for episode in range(600):
        controller.observe(1.0)
        if decision := controller.evaluated(reward=0.9 if 150 < episode < 400 else 0.1):
            found.append((episode, decision.to_state))
    # From 151 on 0.9 enters: 63 of 100 have a mean of 0.604. Then the window begins anew.
    assert found == [(213, "medium"), (313, "high")]
