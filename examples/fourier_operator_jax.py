"""The operator of fourier_operator.py in a JAX loop: a compiled step for each grid, made before it is needed.

pip install '.[jax,plot]'; python examples/fourier_operator_jax.py

The step is compiled once for each grid. While one grid is trained on, the step of the next is compiled in another
thread. Each loss is looked at four steps later, so that the device need not wait for Python. The rate is an array in
the optimizer's state, and compiles nothing. Two minutes on two cores; the last line names a picture.
"""

from __future__ import annotations

import sys
from time import process_time
from typing import Any

import jax
import numpy as np
import optax
from burgers import SCORES, Point, Waves, compare, make_waves, on_grid, share_done
from jax import Array
from jax import numpy as jnp

from plateau_rule import Binding, Controller, Curriculum
from plateau_rule.adapters.jax import OptaxRule

BATCH = 16
WIDTH, MODES, LAYERS = 24, 16, 4
LAG = 4  # steps
COMPILING = 350  # steps on the full grid that take as long as the three compilations more that a ladder needs

Batch = tuple[Waves, Waves]
Params = dict[str, Any]


def dense(key: Array, inputs: int, outputs: int) -> Params:
    """A linear map of the values at each point."""
    weight = jax.random.uniform(key, (inputs, outputs), minval=-1, maxval=1) / inputs**0.5
    return {"weight": weight, "bias": jnp.zeros(outputs)}


def make_operator(seed: int) -> Params:
    """Li et al., "Fourier Neural Operator for Parametric Partial Differential Equations", 2020, in one dimension."""
    lift, widen, out, *keys = jax.random.split(jax.random.key(seed), 3 + 2 * LAYERS)
    layers = [
        # Of each mode a matrix, its real and its imaginary part: optimizers know no complex numbers.
        {"modes": jax.random.normal(mode, (2, MODES, WIDTH, WIDTH)) / WIDTH / 2**0.5, "point": dense(key, WIDTH, WIDTH)}
        for mode, key in zip(keys[::2], keys[1::2], strict=True)
    ]
    return {"lift": dense(lift, 1, WIDTH), "layers": layers, "widen": dense(widen, WIDTH, 64), "out": dense(out, 64, 1)}


def apply(layer: Params, x: Array) -> Array:
    """A linear map of the values at each point: (batch, points, values)."""
    return x @ layer["weight"] + layer["bias"]


def predict(params: Params, waves: Any) -> Array:
    """Waves at time 0 to waves at time 1, on whatever grid they are: (batch, points)."""
    points = waves.shape[-1]
    x = apply(params["lift"], waves[..., None])
    for layer in params["layers"]:
        modes = jnp.fft.rfft(x, axis=1, norm="forward")[:, :MODES]
        mixed = jnp.einsum("bki,kio->bko", modes, jax.lax.complex(*layer["modes"]))
        smooth = jnp.fft.irfft(mixed, points, axis=1, norm="forward")
        x = x + jax.nn.gelu(smooth + apply(layer["point"], x))
    return apply(params["out"], jax.nn.gelu(apply(params["widen"], x)))[..., 0]


def relative_error(params: Params, batch: Batch) -> Array:
    """The mean over waves of |found - wanted| / |wanted|."""
    before, after = batch
    norm = jnp.linalg.norm
    return (norm(predict(params, before) - after, axis=1) / norm(after, axis=1)).mean()


def train(curriculum: Curriculum, budget: object, seed: int) -> list[Point]:
    """Train once.

    Args:
        curriculum: its knob is `grid`, the points trained on.
        budget: not needed here: the curriculum's run ends with it.
        seed: of the weights and of the order of the data. The data themselves are always the same.

    Returns:
        The training as it stood at twenty places or fewer, the end among them.
    """
    before, after = make_waves(1024, 0)
    held = make_waves(128, 1)
    chance = np.random.default_rng(seed)
    optimizer = optax.inject_hyperparams(optax.adamw)(learning_rate=1.0, weight_decay=1e-4)
    params = make_operator(seed)
    opt_state = optimizer.init(params)

    def shrink(batch: Batch, points: int) -> Batch:
        return on_grid(batch[0], points), on_grid(batch[1], points)

    def step(params: Params, opt_state: Any, batch: Batch) -> Any:
        loss, gradients = jax.value_and_grad(relative_error)(params, batch)
        updates, opt_state = optimizer.update(gradients, opt_state, params)
        return optax.apply_updates(params, updates), opt_state, loss

    controller = Controller(curriculum, Binding(lag=LAG))
    rule = OptaxRule(opt_state, controller, shape={"grid": shrink})
    take, measure = rule.compiled(step, donate_argnums=(0, 1)), jax.jit(relative_error)
    float(measure(params, held))  # compiled before the clock runs
    curve: list[Point] = []
    spent = 0.0
    while rule.stop is None:
        begun = process_time()
        number, grid = rule.plan.step, rule.knobs["grid"]
        rows = chance.integers(len(before), size=BATCH)
        opt_state = rule.rates(opt_state)
        params, opt_state, loss = take(params, opt_state, rule.shape((before[rows], after[rows])))
        rule.observe(loss)
        spent += process_time() - begun
        if rule.stop is not None or share_done(controller, curriculum) >= (len(curve) + 1) / SCORES:
            begun = process_time()
            told = float(loss)  # waits for all that is still to be computed
            spent += process_time() - begun
            error = float(measure(params, held))
            point = {"step": number + 1, "score": error, "time_s": spent, "grid": grid, "loss": told}
            curve.append(point | controller.counted)
    rule.end()
    print(f"{curriculum.name}: {take.compilations} compilations, {number + 1} steps, as many rates")
    return curve


if __name__ == "__main__":
    print(compare(train, "fourier_operator_jax.png", sys.argv[1:], more=COMPILING))
