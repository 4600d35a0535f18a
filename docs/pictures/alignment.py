"""Two curricula on the same loss, and the rate on the first step of each raise."""

import matplotlib.pyplot as plt

from plateau_rule import Controller, load

figure, rows = plt.subplots(2, figsize=(7, 3.4), sharex=True)
for axes, name in zip(rows, ("misaligned", "plateau"), strict=True):
    length = {"epochs": 20, "steps_per_epoch": 100}
    controller = Controller(load(name), limits={"cutoff": 1025}, **length)
    rates, raises, entered = [], [], 0
    while (plan := controller.plan).stop is None:
        rates.append(plan.lr)
        loss = 1.0 + 0.97 ** (plan.step - entered)  # flat after some 200 steps
        if decision := controller.observe(loss):
            entered = decision.step
            raises.append(entered)
    axes.plot(rates)
    first = [rates[step] for step in raises]
    axes.plot(raises, first, "o", color="C3", label="first step of a raise")
    axes.set(ylabel="rate", title=f"{name}.toml", ylim=(0, None))
rows[0].legend(loc="upper right")
rows[1].set(xlabel="step")
figure.tight_layout()
