"""An image classifier whose images grow, in a PyTorch loop: a trainer for `plateau probe` and `compare`.

pip install '.[pytorch,compare]' scikit-learn
plateau probe examples/digit-sizes.toml --trainer examples/digit_sizes.py:train --budget "10 s"

The data are scikit-learn's 1,797 digits of 8 by 8 pixels, upsampled to 32 by 32. The knob is `image_size`.
"""

from __future__ import annotations

from collections.abc import Mapping
from time import process_time
from typing import Any

import torch
from burgers import SCORES, share_done
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate

from plateau_rule import Controller, Curriculum
from plateau_rule.adapters.pytorch import PlateauRule
from plateau_rule.adapters.shapes import resize_images

FULL, BATCH = 32, 50  # pixels a side; images a step


def load_images() -> tuple[Tensor, Tensor]:
    """All digits at full size, (1797, 1, FULL, FULL), and which digit each is."""
    data = load_digits()
    images = torch.tensor(data.images[:, None] / 16, dtype=torch.float32)
    return interpolate(images, size=FULL, mode="bilinear", antialias=True), torch.tensor(data.target)


def make_classifier() -> nn.Module:
    """Three convolutions, a mean over the image, and a linear layer: any size of image will do."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(256, 10),
    )  # fmt: skip


def train(curriculum: Curriculum, budget: object, seed: int) -> list[Mapping[str, Any]]:
    """Train once.

    Args:
        curriculum: its knob is `image_size`, in pixels a side.
        budget: not needed here: the curriculum's run ends with it.
        seed: of the weights and of the order of the data. Which images are held out is always the same.

    Returns:
        Cross-entropy on 297 held-out images of full size, at twenty places or fewer, the end among them. Measuring
        it is not counted as time.
    """
    images, digits = load_images()
    torch.manual_seed(seed)
    model = make_classifier()
    optimizer = torch.optim.AdamW(model.parameters())
    rule = PlateauRule(optimizer, Controller(curriculum), shape={"image_size": resize_images})
    curve: list[Mapping[str, Any]] = []
    spent = 0.0
    while rule.stop is None:
        begun, step = process_time(), rule.plan.step + 1
        rows = torch.randint(1500, (BATCH,))
        batch, wanted = rule.shape((images[rows], digits[rows]))
        loss = cross_entropy(model(batch), wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rule.observe(loss)
        spent += process_time() - begun
        if rule.stop is not None or share_done(rule.controller, curriculum) >= (len(curve) + 1) / SCORES:
            with torch.no_grad():
                score = float(cross_entropy(model(images[1500:]), digits[1500:]))
            curve.append({"step": step, "score": score, "time_s": spent, **rule.controller.counted})
    rule.end()
    return curve
