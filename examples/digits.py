"""An image classifier that is trained on larger and larger images, by the Trainer of Lightning.

pip install '.[lightning,plot]' scikit-learn; python examples/digits.py

The data are scikit-learn's 1,797 digits of 8 by 8 pixels. Images are 4 pixels wide at first. They grow at an epoch's
end when the loss has stopped falling, and the rate is back at its peak on the first step of the larger size. It takes
less than a minute on two cores; the last line names a picture.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer, seed_everything
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset, random_split

from plateau_rule.adapters.lightning import CurriculumCallback
from plateau_rule.adapters.shapes import resize_images
from plateau_rule.sim.plots.runs import draw_run


class Classifier(LightningModule):
    """Two convolutions, a mean over the image, and a linear layer: any size of image will do."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(),
            nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(256, 10),
        )  # fmt: skip

    def training_step(self, batch: list[Tensor], number: int) -> Tensor:
        """The loss of a batch, whose images have the size that the curriculum asks for."""
        images, digits = batch
        return nn.functional.cross_entropy(self.layers(images), digits)

    def validation_step(self, batch: list[Tensor], number: int) -> None:
        """How many digits of full size are recognised."""
        images, digits = batch
        self.log("accuracy", (self.layers(images).argmax(1) == digits).float().mean(), prog_bar=True)

    def configure_optimizers(self) -> Any:
        """The rate given here is replaced by the curriculum's."""
        return torch.optim.AdamW(self.parameters())


def main(folder: Path, epochs: int = 40) -> Path:
    """Train, and draw the run.

    Args:
        folder: for the run folder and the picture.
        epochs: epochs.
    """
    seed_everything(0, verbose=False)
    data = load_digits()
    images = torch.tensor(data.images, dtype=torch.float32).unsqueeze(1) / 16
    digits = torch.tensor(data.target)
    training, held_out = random_split(TensorDataset(images, digits), [1500, 297])
    run = folder / "digits"
    curriculum = Path(__file__).with_name("image-sizes.toml")
    trainer = Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        callbacks=[CurriculumCallback(curriculum, shape={"image_size": resize_images}, out=run)],
        default_root_dir=folder,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Classifier(), DataLoader(training, 50, shuffle=True), DataLoader(held_out, 297))
    print(f"accuracy on digits that were held out: {float(trainer.callback_metrics['accuracy']):.3f}")
    return draw_run(run, folder / "digits.png")


if __name__ == "__main__":
    print(main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/examples")))
