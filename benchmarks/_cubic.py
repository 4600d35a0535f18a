"""A trainer that takes a second: the cubic of docs/where-it-pays.md; its ladder is how many points a step looks at."""

from __future__ import annotations

from collections.abc import Iterator
from time import process_time

import numpy as np

from plateau_rule import Controller, Curriculum


def train(curriculum: Curriculum, budget: object, seed: int) -> Iterator[dict[str, float]]:
    """Fit a cubic to noisy points by gradient descent."""
    chance = np.random.default_rng(seed)
    weights, held_out = chance.normal(size=4), np.linspace(-1, 1, 100)
    controller = Controller(curriculum)
    time_s, step = 0.0, 0
    while (plan := controller.plan).stop is None:
        begun = process_time()
        x = chance.uniform(-1, 1, int(plan.knobs["points"]))
        error = np.vander(x, 4) @ weights - np.sin(3 * x) - chance.normal(size=len(x))
        weights -= plan.lr * np.vander(x, 4).T @ error / len(x)
        controller.observe(float(np.mean(error**2)))
        time_s, step = time_s + process_time() - begun, step + 1
        if step % 50 == 0 or controller.plan.stop is not None:
            score = float(np.mean((np.vander(held_out, 4) @ weights - np.sin(3 * held_out)) ** 2))
            yield {"step": step, "score": score, "time_s": time_s, **controller.counted}
