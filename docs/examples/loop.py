import torch
from sklearn.datasets import load_digits
from torch.nn import AdaptiveAvgPool2d, Conv2d, Flatten, Linear, ReLU, Sequential
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from plateau_rule import Controller, load
from plateau_rule.adapters.pytorch import PlateauRule
from plateau_rule.adapters.shapes import resize_images

# Yours: data, a model, an optimizer. Here: scikit-learn's 1,797 handwritten digits of 8 by 8 pixels.
digits = load_digits()
data = TensorDataset(torch.tensor(digits.images[:, None] / 16).float(), torch.tensor(digits.target))
model = Sequential(Conv2d(1, 64, 3), ReLU(), AdaptiveAvgPool2d(2), Flatten(), Linear(256, 10))
optimizer = torch.optim.AdamW(model.parameters())
rule = PlateauRule(optimizer, Controller(load("sizes.toml")), shape={"image_size": resize_images})
for x, y in rule.batches(DataLoader(data, batch_size=18, shuffle=True)):
    loss = cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if decision := rule.observe(loss).decision:
        print(f"step {decision.step}: {decision.from_state} -> {decision.to_state}, lr {decision.lr:.2g}")
