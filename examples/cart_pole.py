"""A pole is balanced on a cart that stronger and stronger gusts push: a reward to be maximised, in NumPy alone.

pip install '.[plot]'; python examples/cart_pole.py

The policy has four weights and learns by REINFORCE. Gusts grow when the reward is high; where it is low, the curriculum
steps back, twice at most. It takes ten seconds; the last line names a picture.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from plateau_rule import Binding, Controller, load

COUNT, LONGEST = 64, 200  # episodes at a time, steps of 0.02 s in each

Floats = NDArray[np.float64]


def play(weights: Floats, gust: float, chance: np.random.Generator) -> tuple[Floats, float]:
    """Play episodes, all at once, by the equations of Barto, Sutton and Anderson (1983).

    Args:
        weights: of place, speed, angle and its speed in the log-odds of a push to the right.
        gust: standard deviation of the force that comes on top of a push of 10 N, in newtons.
        chance: draws pushes and gusts.

    Returns:
        The gradient of the mean reward, (4,), and the mean reward: the part of the time that the pole was held up.
    """
    state = chance.uniform(-0.05, 0.05, (COUNT, 4))
    up = np.ones(COUNT, bool)
    slopes, lived = np.zeros((LONGEST, COUNT, 4)), np.zeros((LONGEST, COUNT))
    for time in range(LONGEST):
        right = 1 / (1 + np.exp(-np.clip(state @ weights, -30, 30)))
        pushed = chance.random(COUNT) < right
        slopes[time], lived[time] = (pushed - right)[:, None] * state, up
        _, speed, angle, turn = state.T
        force = np.where(pushed, 10.0, -10.0) + gust * chance.normal(size=COUNT)
        swing = (force + 0.05 * turn**2 * np.sin(angle)) / 1.1
        lean = 9.8 * np.sin(angle) - np.cos(angle) * swing
        fall = lean / (0.5 * (4 / 3 - 0.1 * np.cos(angle) ** 2 / 1.1))
        push = swing - 0.05 * fall * np.cos(angle) / 1.1
        state = state + 0.02 * np.stack([speed, push, turn, fall], axis=1)
        up = up & (abs(state[:, 0]) < 2.4) & (abs(state[:, 2]) < 0.21)
    still = lived[::-1].cumsum(0)[::-1]  # how long each will be held up from here on
    better = (still - still.sum(1, keepdims=True) / lived.sum(1, keepdims=True).clip(1)) * lived  # than the others
    return (slopes * better[..., None]).mean((0, 1)), float(lived.mean())


def train(steps: int, seed: int) -> list[tuple[float, float]]:
    """Train a policy; the reward of each of its updates, and the gusts in force."""
    chance = np.random.default_rng(seed)
    weights = np.zeros(4)
    curriculum = load(Path(__file__).with_name("cart-pole.toml"))
    controller = Controller(curriculum, Binding(epochs=1, steps_per_epoch=steps))
    rows: list[tuple[float, float]] = []
    while (plan := controller.plan).stop is None:
        gradient, reward = play(weights, plan.knobs["gust"], chance)
        weights += plan.lr * gradient / max(np.linalg.norm(gradient), 1e-9)  # all alike: nothing to learn
        rows.append((reward, plan.knobs["gust"]))
        decision = controller.observe(1 - reward, reward=reward)  # a loss must be given; no guard looks at it
        if decision is not None:
            print(f"step {decision.step}: {decision.from_state} -> {decision.to_state}, after a reward of {reward:.2f}")
    return rows


def main(folder: Path, steps: int = 300, seed: int = 0) -> Path:
    """Train, and draw reward and gusts.

    Args:
        folder: for the picture.
        steps: updates of the policy.
        seed: of everything.
    """
    rewards, gusts = zip(*train(steps, seed), strict=True)
    print(f"mean reward of the last 20 updates: {np.mean(rewards[-20:]):.2f}, in gusts of {gusts[-1]} N")
    figure = Figure(figsize=(8, 5), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[2, 1])
    above.plot(rewards)
    above.axhspan(0.5, 0.9, alpha=0.1)
    above.set(ylabel="reward; nothing moves in the band", ylim=(0, 1.02))
    below.step(range(len(gusts)), gusts, where="post")
    below.set(ylabel="gusts in newtons", xlabel="updates of the policy", yticks=sorted(set(gusts)))
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / "cart_pole.png", dpi=120)
    return folder / "cart_pole.png"


if __name__ == "__main__":
    print(main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/examples")))
