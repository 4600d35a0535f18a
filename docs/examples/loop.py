import torch
from torch.nn import AdaptiveAvgPool2d, Conv2d, Flatten, Linear, ReLU, Sequential
from torch.nn.functional import cross_entropy, interpolate
from torch.utils.data import DataLoader, TensorDataset

from plateau_rule import Controller, load
from plateau_rule.adapters.pytorch import PlateauRule
from plateau_rule.adapters.shapes import resize_images

# Yours: data, a model, an optimizer. Here: which quarter of a noisy image is brighter? A third of the labels are wrong.
labels = torch.randint(4, (2000,))
images = torch.rand(2000, 1, 32, 32) + interpolate(torch.eye(4)[labels].reshape(-1, 1, 2, 2), 32) / 5
labels[torch.rand(2000) < 1 / 3] = 0
model = Sequential(Conv2d(1, 8, 3, 2), ReLU(), Conv2d(8, 16, 3), ReLU(), AdaptiveAvgPool2d(2), Flatten(), Linear(64, 4))
optimizer = torch.optim.AdamW(model.parameters())
rule = PlateauRule(optimizer, Controller(load("sizes.toml")), shape={"image_size": resize_images})
for x, y in rule.batches(DataLoader(TensorDataset(images, labels), batch_size=32, shuffle=True)):
    loss = cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if decision := rule.observe(loss).decision:
        print(f"step {decision.step}: {decision.from_state} -> {decision.to_state}, lr {decision.lr:.2g}")
