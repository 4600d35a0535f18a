"""The closed loop: what is simulated is what a Controller decides, in any company, and the known verdicts come out."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

from plateau_rule import Controller, Curriculum, load, loads
from plateau_rule.controller.binding import Binding
from plateau_rule.sim.curves import Bounds
from plateau_rule.sim.shards import Engine
from plateau_rule.sim.simulator.learner import Bands, Learners, Learning, Observed, ranges
from plateau_rule.sim.simulator.loop import Outcome, Truth, together, train
from plateau_rule.sim.simulator.rivals import oracle, without
from plateau_rule.sim.simulator.simulate import Settings, SimulateError, Simulation, filled, rate_of, simulate, truth_of
from plateau_rule.sim.simulator.summary import summary

SHORT = Binding(limits={"cutoff": 1025}, epochs=10, steps_per_epoch=60)
TRUTH = Truth(rate=1e-3, horizon=20, late=60)
EVERY_STEP = """
name = "original"
[run]
epochs = 50
steps_per_epoch = 1000
[lr]
peak = 2e-4
floor = 0.1
length = "3 epochs"
[knob.cutoff]
ladder = [128, 256, 512]
[[state]]
name = "syntax"
set = { cutoff = 128 }
[[state]]
name = "words"
set = { cutoff = 256 }
[[state]]
name = "spelling"
set = { cutoff = 512 }
[[transition]]
from = "*"
to = "next"
guards = [{ plateau = { window = 50, threshold = 0.005 } }]
actions = ["lr_restart"]
"""
WILD = """
name = "wild"
[run]
epochs = 10
steps_per_epoch = 60
[lr]
peak = 2e-4
shape = "constant"
[knob.cutoff]
ladder = [1, 2]
[knob.seq_len]
range = { min = 8, max = 32 }
[[state]]
name = "calm"
set = { cutoff = 1, seq_len = 8 }
ramp = { seq_len = { to = 32, over = "2 epochs" } }
[[state]]
name = "wild"
set = { cutoff = 2, seq_len = 32 }
lr = { peak = 8.0 }
[[state]]
name = "again"
set = { cutoff = 2, seq_len = 32 }
[[transition]]
from = "calm"
to = "wild"
at = "eval"
guards = [{ below = { metric = "val_loss", value = 6.0 } }]
actions = ["checkpoint"]
[[transition]]
from = "wild"
to = "again"
guards = [{ any = [{ diverging = { window = 10, factor = 1.1 } }, { nonfinite = 2 }] }]
actions = ["rollback", { lr_scale = 0.5 }, "lr_restart"]
"""


def drawn(curriculum: Curriculum, binding: Binding, count: int, seed: int = 0, run_steps: int = 600) -> Learners:
    """Learners for a curriculum, from the usual ranges for a run of so many steps."""
    return Learners.drawn(ranges(run_steps, curriculum.lr.peak), count, seed)


def alone(curriculum: Curriculum, learners: Learners, binding: Binding) -> list[tuple[int, str, float]]:
    """One learner under a Controller, as a trainer would do it: the decisions, and the rate after each."""
    controller = Controller(curriculum, binding)
    machine, decisions = controller.machine, []
    bands = Bands.of(machine)

    def is_open() -> Any:
        knobs = {name: np.array([float(value)]) for name, value in controller.plan.knobs.items()}
        return bands.open(knobs, 1)

    learning, observed = Learning(learners, bands, is_open()), Observed(learners)
    late: list[float] = []
    while not controller.plan.stop:
        plan, before = controller.plan, is_open()
        clean = learning.loss()
        late.append(float(observed(clean)[0]))
        loss = late.pop(0) if len(late) > controller.lag else None
        evaluates = (plan.step + 1) % (machine.run.steps_per_epoch or 1) == 0
        said = {"eval_end": True, "val_loss": float(clean[0])} if evaluates else {}
        decision = controller.observe(loss, **said)  # type: ignore[arg-type]
        learning.learn(np.array([plan.lr]))
        if decision is not None:
            decisions.append((decision.step, decision.to_state, decision.lr))
            actions = {request.name for request in controller.plan.requests}
            if "rollback" in actions:
                learning.restore(np.array([0]))
            learning.turn(np.array([0]), is_open())
            if "checkpoint" in actions:
                learning.save(np.array([0]))
        elif (is_open() != before).any():
            learning.turn(np.array([0]), is_open())
        if evaluates:
            learning.save(slice(None))
    return decisions


@pytest.mark.parametrize(
    ("curriculum", "binding"),
    [
        (load("plateau"), SHORT),
        (loads(EVERY_STEP), Binding(epochs=5, steps_per_epoch=100)),
        (loads(EVERY_STEP), Binding(epochs=5, steps_per_epoch=100, lag=3)),
        (load("plateau-trend"), Binding(limits={"cutoff": 1025}, epochs=10, steps_per_epoch=100)),
        (loads(WILD), Binding()),
    ],
    ids=["plateau", "every step", "late losses", "trend", "wild"],
)
def test_the_loop_is_a_controllers(curriculum: Curriculum, binding: Binding) -> None:
    """In closed loop each learner meets the decisions and the rates that a Controller of its own would make."""
    learners = drawn(curriculum, binding, 5)
    outcome = train(curriculum, learners, binding, TRUTH)
    names = [state.name for state in Controller(curriculum, binding).machine.states]
    for run in range(5):
        rows = outcome.decisions.of(run)
        columns = (outcome.decisions.step[rows], outcome.decisions.to_state[rows], outcome.decisions.lr[rows])
        found = [(int(step), names[state], float(lr)) for step, state, lr in zip(*columns, strict=True)]
        one = Learners.drawn(ranges(600, curriculum.lr.peak), 1, 0, run)
        assert found == alone(curriculum, one, binding)


def same(one: Outcome, other: Outcome) -> None:
    """Everything about two outcomes is equal, to the bit."""
    for name, values in vars(one).items():
        theirs = getattr(other, name)
        if name == "decisions":
            for column, numbers in vars(values).items():
                assert np.array_equal(numbers, getattr(theirs, column), equal_nan=True), column
        else:
            assert np.array_equal(values, theirs, equal_nan=True), name


def test_shards_change_nothing() -> None:
    """Seven learners together, in three shards, or in two processes come to the same, to the bit."""
    curriculum = load("plateau-trend")
    whole = train(curriculum, drawn(curriculum, SHORT, 7), SHORT, TRUTH)
    cuts = [(0, 2), (2, 1), (3, 4)]
    bounds = ranges(600, curriculum.lr.peak)
    same(whole, together([train(curriculum, Learners.drawn(bounds, n, 0, k), SHORT, TRUTH) for k, n in cuts]))


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "engine"), [(2, "processes"), (3, "processes"), (2, "ray")])
def test_workers_change_nothing(workers: int, engine: Engine) -> None:
    """Learners in two or three processes, or on a local Ray cluster of two workers, come to the same, to the bit."""
    if engine == "ray" and find_spec("ray") is None:
        pytest.skip("ray is not installed: pip install 'plateau-rule[ray]'")
    curriculum, settings = load("plateau-trend"), Settings(learners=7, binding=SHORT, workers=1)
    here, there = (
        simulate(curriculum, settings),
        simulate(curriculum, replace(settings, workers=workers, engine=engine)),
    )
    same(here.outcome, there.outcome)
    assert summary(here) == summary(there)


def known(
    curriculum: Curriculum, binding: Binding, learners: int = 60, flat: str | None = None, **drawn_from: Any
) -> Any:
    """The summary of a simulation of learners that fit a run of 50 x 1000 steps (or what drawn_from says)."""
    bounds = {**ranges(drawn_from.pop("run_steps", 50_000), curriculum.lr.peak), **drawn_from}
    found = simulate(curriculum, Settings(learners=learners, ranges=bounds, flat=flat, binding=binding, workers=1))
    return summary(found)


def test_the_original_rule_is_a_timer_under_noise() -> None:
    """Window 50 under 3 % noise: losses that fall fast are raised as soon as there are 50, and the summary says so."""
    found = known(
        loads(EVERY_STEP), Binding(epochs=2), sigma=Bounds(0.03, 0.03), tau=Bounds(200, 600), beta=Bounds(0, 0.2)
    )
    assert found["raises"]["early"] > 0.9
    assert found["raises"]["after"] < 200 < found["states"][1]["entered_by_oracle"][0]
    assert "A timer" in found["verdicts"][0]


def test_the_trend_rule_is_no_timer() -> None:
    """`plateau-trend` waits until such losses are flat, under the same noise, and hardly ever raises early."""
    binding = Binding(limits={"cutoff": 1025}, epochs=6)
    found = known(
        load("plateau-trend"), binding, 40, sigma=Bounds(0.03, 0.03), tau=Bounds(200, 600), beta=Bounds(0, 0.2)
    )
    assert found["raises"]["each"] > 1
    assert found["raises"]["early"] < 0.02
    assert not any("timer" in sentence for sentence in found["verdicts"])


def test_misaligned_stalls_where_fixed_epochs_does_not() -> None:
    """After the raise into a decayed rate many losses do not come back in time; at the peak they do."""

    def stalls(name: str) -> Any:
        # A fifth of the steps: epochs of 200 in a run of 50 epochs, of which the first eleven.
        return known(load(name), Binding(limits={"cutoff": 1025}, epochs=11, steps_per_epoch=200), run_steps=10_000,
                     flat="10% per 1000 steps")  # fmt: skip

    bad, good = stalls("misaligned"), stalls("fixed-epochs")
    words = [found["states"][1] for found in (bad, good)]
    assert words[0]["name"] == words[1]["name"] == "words"
    assert words[0]["stalls"] > 0.3
    assert words[1]["stalls"] < 0.02
    assert words[0]["rate_after"] < 0.7 < words[1]["rate_after"] == 1.0
    assert any(sentence.startswith("Stalls") and "restart" in sentence for sentence in bad["verdicts"])


def test_a_cascade_is_seen() -> None:
    """Raises one right after the other, before the loss came back from the first, are called a cascade."""
    hasty = loads(EVERY_STEP.replace("window = 50, threshold = 0.005", "window = 2, threshold = 1e6"))
    found = known(hasty, Binding(epochs=1))
    assert found["raises"]["cascades"] == pytest.approx(0.5)
    assert any("cascade" in sentence for sentence in found["verdicts"])


def test_the_oracle_raises_in_time() -> None:
    """The rival that knows the truth raises every state as soon as it is flat, never early and never late."""
    curriculum = load("plateau")
    ideal = oracle(curriculum)
    assert ideal is not None
    outcome = train(ideal, drawn(curriculum, SHORT, 40), SHORT, TRUTH)
    assert len(outcome.decisions) == 3 * 40
    assert outcome.flatness.max() < 1.0
    assert outcome.flat_steps.max() <= 1
    assert oracle(load("full")) is None


def test_no_curriculum_costs_and_lasts_what_was_asked() -> None:
    """Without a curriculum more steps end in a lower loss, and each learner's decay is as long as its own run."""
    machine = Controller(load("plateau"), SHORT).machine
    learners = drawn(machine.curriculum, SHORT, 3)
    short, long = (without(machine, learners, np.full(3, steps)) for steps in (200, 600))
    assert (long < short).all()
    assert np.array_equal(without(machine, learners, np.array([200, 600, 200])), [short[0], long[1], short[2]])


def test_the_summary_adds_up() -> None:
    """Shares of steps, of cost and of raises sum to one, and all of it can be written as JSON."""
    found = known(load("plateau"), SHORT, run_steps=600)
    assert sum(state["steps_share"] for state in found["states"]) == pytest.approx(1.0)
    assert sum(state["cost_share"] for state in found["states"]) == pytest.approx(1.0)
    assert sum(found["raises"][kind] for kind in ("early", "in_time", "late")) == pytest.approx(1.0)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["states"][0]["reached"] == 1.0


def test_a_rate_too_high_is_seen() -> None:
    """Learners that cannot bear the rate end in NaN, and the summary says that the rate is too high."""
    found = known(load("full"), Binding(limits={"cutoff": 1}, epochs=3, steps_per_epoch=200), run_steps=600,
                  rate_optimum=Bounds(1e-5, 1e-5))  # fmt: skip
    assert found["dead"] == 1.0
    assert "rate is too high" in found["verdicts"][0]
    assert found["loss"] is None


def test_states_that_no_run_reaches_are_said() -> None:
    """Runs that end before the last state are counted, and a timeout is proposed."""
    found = known(load("plateau"), Binding(limits={"cutoff": 1025}, epochs=3, steps_per_epoch=60), run_steps=180)
    assert found["unfinished"] == 1.0
    assert any("timeout" in sentence for sentence in found["verdicts"])


def test_a_run_that_need_not_stop_early_lacks_nothing() -> None:
    """A state that stops the training is no goal: where few runs get there, no timeout is proposed."""
    found = known(load("reduce-on-plateau"), Binding(epochs=6, steps_per_epoch=60), run_steps=360)
    assert found["unfinished"] == 0.0
    assert not any("timeout" in sentence for sentence in found["verdicts"])


def test_what_is_flat_comes_from_the_curriculum() -> None:
    """The rate under which a loss is flat is the detector's own, or what was asked for, or one e-fold a run."""

    def rate(name: str, flat: str | None = None) -> float:
        return truth_of(Controller(load(name), {"cutoff": 1025}).machine, flat).rate

    assert rate("plateau") == pytest.approx(2 * 0.005 / 50)
    assert rate("plateau-trend") == pytest.approx(0.02 / 1000)
    assert rate("fixed-epochs") == pytest.approx(1 / 50_000)
    assert rate("plateau", "3% per 2 epochs") == pytest.approx(0.03 / 2000)


@pytest.mark.parametrize("flat", ["", "2", "2% per", "2% per 5 parsecs", "-2% per 100 steps", "0% per 100 steps"])
def test_a_rate_that_is_none_is_refused(flat: str) -> None:
    """What is no rate is refused with a sentence that shows one."""
    with pytest.raises(SimulateError, match="--flat"):
        rate_of(flat, Controller(load("plateau"), {"cutoff": 1025}).machine.run)


def test_mistakes_are_sentences() -> None:
    """A run without a length, no learners, or a parameter that learners do not have are refused in words."""
    endless = loads(EVERY_STEP.replace("epochs = 50\nsteps_per_epoch = 1000\n", "").replace("3 epochs", "300 steps"))
    with pytest.raises(SimulateError, match="how long a run is"):
        simulate(endless, Settings(learners=1))
    with pytest.raises(SimulateError, match="expected at least 1"):
        simulate(load("plateau"), Settings(learners=0))
    with pytest.raises(SimulateError, match="a learner has no taus; it has floor"):
        simulate(load("plateau"), Settings(learners=1, ranges={"taus": Bounds(1, 2)}))


def test_a_score_is_not_simulated() -> None:
    """Learners have a loss: a metric of which more is better is refused, and not fed with it."""
    with pytest.raises(SimulateError, match='"reward" watches reward, of which more is better'):
        simulate(load("reward"), Settings(learners=1))


def test_limits_are_filled_in() -> None:
    """A knob without a limit gets twice its largest number where `full` is one of its values, else its largest."""
    assert filled(load("plateau"), Binding()).limits == {"cutoff": 1024}
    assert filled(load("plateau"), Binding(limits={"cutoff": 700})).limits == {"cutoff": 700}
    assert filled(loads(EVERY_STEP), Binding()).limits == {"cutoff": 512}
    assert filled(load("full"), Binding()).limits == {"cutoff": 1.0}


def test_a_simulation_knows_what_is_watched() -> None:
    """Curricula that move by the clock alone watch no metric."""

    def listens(name: str) -> frozenset[str]:
        found: Simulation = simulate(load(name), Settings(learners=1, binding=SHORT, workers=1))
        return found.listens

    assert listens("plateau") == {"loss"}
    assert listens("fixed-epochs") == frozenset()
