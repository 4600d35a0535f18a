import torch
from torch.nn import AdaptiveAvgPool2d, Conv2d, Flatten, Linear, ReLU, Sequential
from torch.nn.functional import cross_entropy, interpolate

from plateau_rule import Controller, load

# Yours: data, a model, an optimizer. Here: which quarter of a noisy image is brighter? A third of the labels are wrong.
labels = torch.randint(4, (2000,))
images = torch.rand(2000, 1, 32, 32) + interpolate(torch.eye(4)[labels].reshape(-1, 1, 2, 2), 32) / 5
labels[torch.rand(2000) < 1 / 3] = 0
model = Sequential(Conv2d(1, 8, 3, 2), ReLU(), Conv2d(8, 16, 3), ReLU(), AdaptiveAvgPool2d(2), Flatten(), Linear(64, 4))
optimizer = torch.optim.AdamW(model.parameters())

controller = Controller(load("sizes.toml"))
while (plan := controller.plan).stop is None:
    for group in optimizer.param_groups:
        group["lr"] = plan.lr
    batch = torch.randint(2000, (32,))
    loss = cross_entropy(model(interpolate(images[batch], int(plan.knobs["image_size"]))), labels[batch])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if decision := controller.observe(loss.item(), step=plan.step):  # once for each optimizer step
        print(f"step {decision.step}: {decision.from_state} -> {decision.to_state}, lr {decision.lr:.2g}")
    # Into your checkpoint: controller.state_dict(). Out of it: controller.load_state_dict(saved).
