"""A JAX loop with optax: what is compiled, losses that come late, and wrong use that gets a sentence."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("optax")
import jax
import numpy as np
import optax
from jax import numpy as jnp

from plateau_rule import Binding, Controller, loads
from plateau_rule.adapters.errors import WiringError
from plateau_rule.adapters.jax import OptaxRule
from plateau_rule.sim.logs.reading import read
from plateau_rule.sim.replayer.replay import replay
from tests.conformance.cases import BY_LOSS, CASES, FLAT_THEN_LOW, KILLED, curriculum_of
from tests.conformance.drivers.drive_jax import cut, run
from tests.conformance.watching import RUN, seen_in, watched_of

PARAMS = {"weight": jnp.ones(3)}
LOSS = CASES[0]


def injected(rate: Any = 0.5) -> Any:
    """An optimizer whose rate can be set."""
    return optax.inject_hyperparams(optax.sgd)(learning_rate=rate)


def rule_of(opt_state: Any, **said: Any) -> OptaxRule:
    """A rule for sixty steps."""
    return OptaxRule(
        opt_state, loads(BY_LOSS), binding=Binding(epochs=3, steps_per_epoch=20, **said), shape={"seq_len": cut}
    )


def trained(losses: list[float], traces: list[int], ahead: bool = True, **said: Any) -> tuple[OptaxRule, Any]:
    """A run over losses; each trace of the step is noted with the width that it is for."""
    optimizer = injected()
    params, opt_state = PARAMS, optimizer.init(PARAMS)
    rule = rule_of(opt_state, **said)

    def step(params: Any, opt_state: Any, batch: Any) -> Any:
        traces.append(batch["text"].shape[1])
        loss = batch["loss"] + 0 * (params["weight"].sum() + batch["text"].sum())
        updates, opt_state = optimizer.update(params, opt_state, params)
        return optax.apply_updates(params, updates), opt_state, loss

    steps = rule.compiled(step, ahead=ahead)
    for loss in losses:
        batch = {"text": np.zeros((2, 32), np.float32), "loss": np.float32(loss)}
        opt_state = rule.rates(opt_state)
        params, opt_state, brought = steps(params, opt_state, rule.shape(batch))
        rule.observe(brought)
    return rule, steps


@pytest.mark.parametrize("ahead", [False, True])
def test_one_compilation_a_rung_and_none_for_a_rate(ahead: bool) -> None:
    """Sixty steps, as many rates, three widths: three compilations."""
    traces: list[int] = []
    rule, steps = trained(list(FLAT_THEN_LOW[:59]), traces, ahead)
    rule.end()
    assert rule.plan.knobs["seq_len"] == 32
    assert sorted(traces) == [8, 16, 32]
    assert steps.compilations == 3


def test_the_next_rung_is_compiled_before_it_comes() -> None:
    """While the first state is at work, those that can follow are compiled; they are found when they come."""
    traces: list[int] = []
    rule, steps = trained([5.0], traces)
    assert rule.plan.state == "short"
    assert steps.compilations == 3  # the rescue leads to the third
    rule.end()


def test_a_lag_gives_losses_late_and_the_folder_its_rows(tmp_path: Path) -> None:
    """With a lag of 3, decisions are those of a Controller with that lag; the run folder holds each step's own loss."""
    run(LOSS, tmp_path, lag=3)
    seen = seen_in(tmp_path)
    bare = Controller(curriculum_of(LOSS), Binding(epochs=3, steps_per_epoch=20, lag=3))
    taken = [bare.observe(loss) for loss in [None, None, None, *LOSS.losses[:-3]]]
    wanted = [(each.step, each.from_state, each.to_state) for each in taken if each is not None]
    assert seen.decisions == wanted
    assert seen.losses == list(LOSS.losses)
    again = replay(curriculum_of(LOSS), read(tmp_path / RUN))
    assert [(each.step, each.from_state, each.to_state) for each in again.decisions] == wanted


def test_a_lag_survives_a_resume(tmp_path: Path) -> None:
    """A run that is resumed with losses under way ends as the uncut one, and no row of its folder is missing."""
    case = replace(KILLED, kill_at=None)
    whole, parted = tmp_path / "whole", tmp_path / "parted"
    for folder in (whole, parted):
        folder.mkdir()
    run(case, whole, lag=3)
    run(case, parted, lag=3, last=47)
    (parted / watched_of(0)).unlink()
    run(case, parted, True, lag=3)
    one, other = seen_in(whole), seen_in(parted)
    assert (other.losses, other.decisions) == (one.losses, one.decisions)
    assert one.decisions
    assert other.rates == one.rates[40:]


def test_several_rates_keep_their_ratios() -> None:
    """Each injected rate keeps its ratio to the largest, and both are arrays of float32."""
    params = {"slow": jnp.ones(2), "fast": jnp.ones(2)}
    parts = {"slow": injected(0.25), "fast": injected(0.5)}
    state = optax.multi_transform(parts, {"slow": "slow", "fast": "fast"}).init(params)
    rule = rule_of(state)
    rated = rule.rates(state)
    rates = {name: rated.inner_states[name].inner_state.hyperparams["learning_rate"] for name in parts}
    assert [rate.dtype for rate in rates.values()] == [jnp.float32] * 2
    assert float(rates["fast"]) == pytest.approx(rule.plan.lr)
    assert float(rates["slow"]) == pytest.approx(rule.plan.lr / 2)


@pytest.mark.parametrize(
    ("optimizer", "told"),
    [
        (optax.sgd(0.1), "holds no learning_rate that could be set"),
        (injected(optax.constant_schedule(0.1)), "a schedule inside inject_hyperparams, which overwrites"),
        (optax.chain(injected(), optax.scale_by_schedule(optax.constant_schedule(1.0))), "scales its updates by a"),
    ],
)
def test_rates_that_are_not_the_curriculums_are_refused(optimizer: Any, told: str) -> None:
    """No rate, a schedule in its place, and a schedule beside it."""
    with pytest.raises(WiringError, match=told):
        rule_of(optimizer.init(PARAMS))


def test_wrong_use_gets_a_sentence() -> None:
    """A step whose rate was not written, one without a loss, and a loss of several numbers."""
    state = injected().init(PARAMS)
    rule = rule_of(state)
    with pytest.raises(WiringError, match="its rate was not written"):
        rule.observe(1.0)
    rule = rule_of(state)
    rule.rates(state)
    with pytest.raises(WiringError, match="no loss was given"):
        rule.close()
    rule.micro(jnp.ones(2))
    with pytest.raises(WiringError, match="the loss has 2 elements"):
        rule.close()


def test_an_optimizer_that_has_stepped_needs_the_curriculums_state() -> None:
    """A restored optimizer without the rule's state is refused, and so is a state of another step."""
    optimizer = injected()
    state = optimizer.init(PARAMS)
    saved = rule_of(state).state_dict()
    _, state = optimizer.update(PARAMS, state, PARAMS)
    with pytest.raises(WiringError, match=r"goes on at step 1, and there is no state .* adopt\(step=1\)"):
        rule_of(state).start()
    with pytest.raises(WiringError, match="goes on at step 1, and the curriculum's state is of step 0"):
        rule_of(state).load_state_dict(saved)


def test_static_knobs_reach_the_step() -> None:
    """A knob that the step is compiled for comes by its name; `batches` closes epochs whose length nobody said."""
    optimizer = injected()
    opt_state = optimizer.init(PARAMS)
    rule = OptaxRule(opt_state, loads(BY_LOSS), checked=False)  # no length is bound
    widths = []

    def step(opt_state: Any, batch: Any, *, seq_len: int) -> Any:
        widths.append(seq_len)
        return opt_state, batch.sum() * seq_len

    steps = rule.compiled(step, static=["seq_len"], ahead=False)
    for number, batch in enumerate(rule.batches([np.ones(1, np.float32)] * 4)):
        opt_state, loss = steps(rule.rates(opt_state), batch)
        assert rule.observe(loss).loss == 8.0
        if number == 4:
            break
    assert widths == [8]
    assert rule.plan.epoch == 1


def test_traces_are_counted() -> None:
    """Canary: a rate that is a number of Python's in place of an array is traced anew, and that is seen."""
    traces: list[int] = []

    @jax.jit
    def step(rate: Any) -> Any:
        traces.append(1)
        return rate * 2

    step(jnp.asarray(np.float32(0.1)))
    step(jnp.asarray(np.float32(0.2)))
    assert len(traces) == 1
    step(0.3)
    assert len(traces) == 2
