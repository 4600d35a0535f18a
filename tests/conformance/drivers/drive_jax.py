"""A loop in JAX, with optax."""

from __future__ import annotations

import json
import os
import pickle
import signal
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
from jax import numpy as jnp
from jax.experimental import io_callback

from plateau_rule import Binding, Controller
from plateau_rule.adapters.jax import OptaxRule
from tests.conformance.cases import RATIOS, ROWS, WIDEST, Case, curriculum_of
from tests.conformance.watching import RUN, Watched, watched_in

GROUPS = ("slow", "fast")


def cut(batch: dict[str, Any], width: int) -> dict[str, Any]:
    """Apply the knob seq_len: the first `width` characters of every row."""
    return {**batch, "text": batch["text"][:, :width]}


def optimizer_of(case: Case) -> Any:
    """SGD with two groups, whose rates are to each other as RATIOS."""
    parts = {
        name: optax.inject_hyperparams(optax.sgd)(learning_rate=0.5 * ratio, momentum=0.9)
        for name, ratio in zip(GROUPS, RATIOS, strict=True)
    }
    both = optax.multi_transform(parts, {name: name for name in GROUPS})
    return optax.MultiSteps(both, case.accumulation) if case.accumulation > 1 else both


def begin(case: Case) -> tuple[dict[str, Any], Any]:
    """Parameters, and the optimizer's state."""
    params = {"slow": jnp.linspace(-1.0, 1.0, 4), "fast": jnp.linspace(0.05, 0.1, 4)}
    return params, optimizer_of(case).init(params)


def step_of(case: Case, watched: Watched, kill_at: int | None = None) -> Any:
    """A step that writes down what it is given: the width of the batch, and the rates, where the optimizer steps.

    Args:
        case: the run.
        watched: where it writes.
        kill_at: the optimizer step, counted from the start of this process, in which the process is killed.
    """
    optimizer, taken = optimizer_of(case), [0, 0]

    def happen(width: int, *rates: Any) -> None:
        watched.write("width", width)
        taken[0] += 1
        if taken[0] % case.accumulation:
            return
        if taken[1] == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        taken[1] += 1
        watched.write("rates", [float(rate) for rate in rates])

    def loss_of(params: dict[str, Any], batch: dict[str, Any]) -> Any:
        dtype = jnp.bfloat16 if case.precision == "bf16" else jnp.float32
        means = (batch["text"].astype(jnp.float32).mean(1, keepdims=True) / 100).astype(dtype)
        told = jnp.tanh(means * params["slow"].astype(dtype)) @ params["fast"].astype(dtype)
        own = jnp.cos(200 * told.astype(jnp.float32)).mean() / 8  # up and down, so that the prescribed losses decide
        return batch["loss"].mean() + int(case.learns) * own

    def step(params: dict[str, Any], opt_state: Any, batch: dict[str, Any]) -> tuple[Any, Any, Any]:
        loss, gradients = jax.value_and_grad(loss_of)(params, batch)
        inner = getattr(opt_state, "inner_opt_state", opt_state)
        rates = [inner.inner_states[name].inner_state.hyperparams["learning_rate"] for name in GROUPS]
        width = batch["text"].shape[1]
        io_callback(lambda *rates: happen(width, *rates), None, *rates, ordered=True)
        updates, opt_state = optimizer.update(gradients, opt_state, params)
        return optax.apply_updates(params, updates), opt_state, loss

    return step


def batches_of(case: Case, done: int = 0) -> list[dict[str, Any]]:
    """The batches of a case, each with the loss that is prescribed for it."""
    text = np.arange(ROWS * WIDEST, dtype=np.int32).reshape(ROWS, WIDEST) % 97
    return [{"text": text, "loss": np.full(ROWS, loss, np.float32)} for loss in case.micro_losses()[done:]]


def run(case: Case, folder: Path, resume: bool = False, lag: int = 0, last: int | None = None) -> None:
    """Carry a case out; with `last`, leave it after so many steps as a killed process would."""
    params, opt_state = begin(case)
    checkpoint, saved = folder / "checkpoint", None
    if resume:
        arrays, saved = pickle.loads(checkpoint.read_bytes())  # noqa: S301  # its own
        params, opt_state = jax.tree_util.tree_map(jnp.asarray, arrays)
    bound = Binding(epochs=case.epochs, steps_per_epoch=case.steps_per_epoch, lag=lag)
    rule = OptaxRule(
        opt_state,
        Controller(curriculum_of(case), bound),
        shape={"seq_len": cut},
        accumulation=case.accumulation,
        out=folder / RUN,
        checked=case.checked,
    )
    if saved is not None:
        rule.load_state_dict(json.loads(saved))
    train = rule.compiled(step_of(case, watched_in(folder), None if resume else case.kill_at))
    evaluations = iter(case.val_losses)
    for number, batch in enumerate(batches_of(case, rule.plan.step * case.accumulation), 1):
        if rule.stop:
            break
        opt_state = rule.rates(opt_state)
        params, opt_state, loss = train(params, opt_state, rule.shape(batch))
        rule.micro(loss)
        if number % case.accumulation:
            continue
        rule.close()
        step = rule.plan.step
        if case.evaluate_every and step % case.evaluate_every == 0:
            rule.evaluated(val_loss=next(evaluations))
        if case.save_every and step % case.save_every == 0:
            arrays = jax.tree_util.tree_map(np.asarray, (params, opt_state))
            unfinished = folder / "unfinished"
            unfinished.write_bytes(pickle.dumps((arrays, json.dumps(rule.state_dict()))))
            unfinished.replace(checkpoint)
        if step == last:
            return
    rule.end()
