"""A noisy loss that still falls, and where two methods raise."""

import random

import matplotlib.pyplot as plt

from plateau_rule import Controller, loads

FILE = """
name  = "one-raise"
run   = {{ epochs = 1, steps_per_epoch = 2000 }}
lr    = {{ peak = 1e-3 }}
knob  = {{ size = {{ ladder = [1, 2] }} }}
state = [
  {{ name = "easy", set = {{ size = 1 }} }},
  {{ name = "hard", set = {{ size = 2 }} }},
]

[[transition]]
from    = "easy"
to      = "hard"
guards  = [{{ plateau = {{ {settings} }} }}]
actions = ["lr_restart"]
"""
METHODS = {
    "the published rule": "window = 50, threshold = 0.005",
    "trend": 'method = "trend", threshold = 0.05, per = "100 steps"',
}

draw = random.Random(0)
true = [0.3 + 2.0 * 0.997**step for step in range(2000)]
seen = [loss + draw.gauss(0, 0.05) for loss in true]
figure, axes = plt.subplots(figsize=(7, 2.8))
axes.plot(seen, color="0.75", linewidth=0.7)
axes.plot(true, color="0.2", label="the true loss")
for place, (name, settings) in enumerate(METHODS.items()):
    controller = Controller(loads(FILE.format(settings=settings)))
    decision = next(filter(None, map(controller.observe, seen)))
    raised = f"raised by {name}, step {decision.step}"
    axes.axvline(decision.step, color=f"C{place + 1}", label=raised)
axes.set(xlabel="step", ylabel="loss")
axes.legend()
figure.tight_layout()
