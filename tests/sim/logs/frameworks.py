"""Logs written by the real frameworks, each small; `python tests/sim/logs/frameworks.py` writes the samples anew.

Each function trains or logs something tiny into a folder and returns the facts that the framework was told: what a
reader must find again. They need the framework (see SAMPLES); the samples do not.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import math
import os
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

Facts = dict[str, Any]


def losses(count: int) -> list[float]:
    """A curve that falls, with a ripple instead of noise."""
    return [2.0 + 8.0 * math.exp(-step / 20) + 0.05 * math.sin(step * 2.4) for step in range(count)]


def facts(steps: list[int], values: list[float], **more: Any) -> Facts:
    """What a reader must find: points, and the first and the last of them."""
    ends = {"first_step": steps[0], "first_loss": values[0], "last_step": steps[-1], "last_loss": values[-1]}
    return {"points": len(steps), **ends, **more}


def tensorboard_scalars(folder: Path) -> Facts:
    """Scalars by PyTorch's SummaryWriter, with a text and a histogram among them."""
    import numpy as np
    from torch.utils.tensorboard import SummaryWriter

    values = losses(60)
    values[30] = math.nan
    with SummaryWriter(str(folder)) as writer:
        writer.add_text("note", "a text is a tensor of strings")
        for step, loss in enumerate(values):
            writer.add_scalar("train/loss", loss, step * 10)
            writer.add_scalar("lr", 1e-3 * 0.99**step, step * 10)
            if step % 20 == 19:
                writer.add_scalar("val/loss", loss + 0.5, step * 10)
                writer.add_histogram("weights", np.arange(5.0), step * 10)
    single = np.array(values, dtype=np.float32).astype(float).tolist()
    return facts([step * 10 for step in range(60)], single, evals={"val/loss": 3}, nonfinite=1)


def tensorboard_tensors(folder: Path) -> Facts:
    """Scalars as tensors of one number, as TensorFlow 2 writes them: in each of the ways a tensor can hold one."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
    from tensorboard.compat.proto.tensor_pb2 import TensorProto
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    values = [float(value) for value in range(60, 0, -1)]
    plugin = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="scalars"))
    writer = EventFileWriter(str(folder))
    import numpy as np

    for step, loss in enumerate(values):
        tensor = (
            TensorProto(dtype=1, tensor_content=np.float32(loss).tobytes()),
            TensorProto(dtype=1, float_val=[loss]),
            TensorProto(dtype=2, double_val=[loss]),
            TensorProto(dtype=2, tensor_content=np.float64(loss).tobytes()),
            TensorProto(dtype=9, int64_val=[int(loss)]),
            TensorProto(dtype=3, int_val=[int(loss)]),
        )[step % 6]
        value = Summary.Value(tag="epoch_loss", tensor=tensor, metadata=plugin)
        vector = Summary.Value(tag="vector_loss", tensor=TensorProto(dtype=1, float_val=[1.0, 2.0]))
        writer.add_event(Event(step=step, wall_time=1.7e9 + step, summary=Summary(value=[value, vector])))
    writer.close()
    return facts(list(range(60)), values)


def mlflow_files(folder: Path) -> Facts:
    """MLflow's file store: one run, with losses, a validation loss and names that have slashes."""
    found = _mlflow(folder, folder.as_uri())
    for tag in folder.glob("*/*/tags/*"):
        if tag.name != "mlflow.runName":
            tag.unlink()
    return found


def mlflow_database(folder: Path) -> Facts:
    """MLflow's SQLite store, packed because most of it is an empty schema."""
    found = _mlflow(folder, f"sqlite:///{folder}/mlflow.db")
    path = folder / "mlflow.db"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("DELETE FROM tags WHERE key <> 'mlflow.runName'")  # who ran it where is nobody's business
        database.execute("UPDATE experiments SET artifact_location = 'file:///artifacts'")
        database.execute("VACUUM")
    with path.open("rb") as plain, gzip.open(folder / "mlflow.db.gz", "wb", 9) as packed:
        shutil.copyfileobj(plain, packed)
    path.unlink()
    return found


def _mlflow(folder: Path, uri: str) -> Facts:
    os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
    os.environ["LOGNAME"] = "somebody"
    import logging

    import mlflow

    logging.disable(logging.WARNING)
    mlflow.set_tracking_uri(uri)
    mlflow.create_experiment("small", artifact_location="file:///artifacts")
    mlflow.set_experiment("small")
    values = losses(40)
    values[20], values[21] = math.nan, math.inf
    with mlflow.start_run(run_name="first"):
        for step, loss in enumerate(values):
            mlflow.log_metric("train/loss", loss, step=step * 5)
            if step % 10 == 9:
                mlflow.log_metric("val/loss", loss + 0.5, step=step * 5)
        mlflow.log_metric("accuracy", 0.5, step=200)
    with mlflow.start_run(run_name="second"):
        mlflow.log_metric("train/loss", 1.0, step=0)
        mlflow.log_metric("train/loss", 0.5, step=1)
    logging.disable(logging.NOTSET)
    return facts([step * 5 for step in range(40)], values, run="first", evals={"val/loss": 4}, nonfinite=2)


def hf_trainer(folder: Path) -> Facts:
    """Hugging Face's Trainer: its state, and what it prints; for one logging interval every loss is NaN."""
    import torch
    from transformers import Trainer, TrainingArguments

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(()))
            self.calls = 0

        def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
            loss = (self.weight * x - labels).square().mean() + 2.0
            if self.training:
                self.calls += 1
                if 50 < self.calls <= 60:
                    loss = loss * torch.nan
            return {"loss": loss, "logits": self.weight * x}

    data = [{"x": torch.tensor(1.0), "labels": torch.tensor(3.0)} for _ in range(80)]
    with tempfile.TemporaryDirectory() as out:
        arguments = TrainingArguments(
            out,
            logging_steps=10,
            max_steps=200,
            per_device_train_batch_size=2,
            learning_rate=0.02,
            report_to=[],
            use_cpu=True,
            eval_strategy="steps",
            eval_steps=50,
            save_strategy="no",
            disable_tqdm=True,
            optim="sgd",
            dataloader_pin_memory=False,
            max_grad_norm=0.0,
        )
        printed = io.StringIO()
        trainer = Trainer(Model(), arguments, train_dataset=data, eval_dataset=data[:4])
        # A gradient of NaN must not spoil the weight: the run recovers, as one with a loss scaler does.
        trainer.model.weight.register_hook(torch.nan_to_num)
        with contextlib.redirect_stdout(printed):
            trainer.train()
        trainer.state.save_to_json(str(folder / "trainer_state.json"))
        (folder / "stdout.txt").write_text(printed.getvalue())
    rows = [row for row in trainer.state.log_history if "loss" in row]
    return facts(
        [row["step"] for row in rows],
        [row["loss"] for row in rows],
        evals={"eval_loss": 4},
        zeros=[row["step"] for row in rows if row["loss"] == 0],
    )


def lightning_csv(folder: Path) -> Facts:
    """Lightning's CSVLogger: a loss by step and by epoch, and a validation loss, in one sparse table."""
    import logging
    import warnings

    import torch
    from lightning.pytorch import LightningModule, Trainer
    from lightning.pytorch.loggers import CSVLogger

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    steps: list[int] = []
    values: list[float] = []

    class Model(LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(()))

        def training_step(self, batch: Any, index: int) -> torch.Tensor:
            loss = (self.weight - 3.0).square() + 1.0
            self.log("train_loss", loss, on_step=True, on_epoch=True)
            if (self.global_step + 1) % 5 == 0:
                steps.append(self.global_step)
                values.append(loss.item())
            return loss

        def validation_step(self, batch: Any, index: int) -> None:
            self.log("val_loss", (self.weight - 3.0).square() + 1.5)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD([self.weight], lr=0.01)

    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.zeros(25, 1)))
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as out:
        warnings.simplefilter("ignore")
        trainer = Trainer(
            max_epochs=4,
            accelerator="cpu",
            log_every_n_steps=5,
            logger=CSVLogger(out),
            enable_progress_bar=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            default_root_dir=out,
        )
        trainer.fit(Model(), data, data)
        shutil.copy(Path(out) / "lightning_logs" / "version_0" / "metrics.csv", folder / "metrics.csv")
    return facts(steps, values, evals={"val_loss": 4})


def keras_csv(folder: Path) -> Facts:
    """Keras: CSVLogger, and what `fit` prints with a bar and without."""
    os.environ.setdefault("KERAS_BACKEND", "torch")
    import keras
    import numpy as np

    keras.utils.set_random_seed(0)
    x = np.linspace(-1, 1, 64).reshape(-1, 1)
    found: Facts = {}
    for verbose, name in ((1, "bar.txt"), (2, "lines.txt")):
        model = keras.Sequential([keras.layers.Input((1,)), keras.layers.Dense(1)])
        model.compile(optimizer=keras.optimizers.SGD(0.05), loss="mse")
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            history = model.fit(
                x,
                3 * x + 1,
                epochs=6,
                batch_size=8,
                verbose=verbose,
                validation_split=0.25,
                callbacks=[keras.callbacks.CSVLogger(str(folder / "training.log"))],
            ).history
        (folder / name).write_text(printed.getvalue())
        found[name] = history["loss"]
    return facts(list(range(6)), found["lines.txt"], evals={"val_loss": 6}, bar=found["bar.txt"])


SAMPLES: dict[str, tuple[Callable[[Path], Facts], tuple[str, ...]]] = {
    "tensorboard": (tensorboard_scalars, ("tensorboard", "torch")),
    "tensorboard_tensors": (tensorboard_tensors, ("tensorboard",)),
    "mlflow": (mlflow_files, ("mlflow",)),
    "mlflow_database": (mlflow_database, ("mlflow",)),
    "hf_trainer": (hf_trainer, ("transformers", "accelerate", "torch")),
    "lightning": (lightning_csv, ("lightning", "torch")),
    "keras": (keras_csv, ("keras", "torch")),
}


def main(names: list[str]) -> None:
    """Write the samples, and beside them what the frameworks were told."""
    folder = Path(__file__).parent / "samples"
    told = folder / "told.json"
    known: dict[str, Facts] = json.loads(told.read_text()) if told.exists() else {}
    for name in names or SAMPLES:
        shutil.rmtree(folder / name, ignore_errors=True)
        (folder / name).mkdir(parents=True)
        known[name] = SAMPLES[name][0](folder / name)
        for events in (folder / name).glob("events.*"):
            events.rename(events.with_name("events.out.tfevents.1700000000.somewhere.1.0"))
    told.write_text(json.dumps(known, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
