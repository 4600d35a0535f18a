"""A causal language model that is trained on longer and longer sequences, by the Trainer of transformers.

pip install '.[transformers,plot]'; python examples/language_model.py

The data are the works of Shakespeare, one byte a token. Sequences have 16 bytes at first. They grow when the loss has
nearly stopped falling, and the rate is back at its peak on the first step of the longer ones. It takes a minute on two
cores; the last line names a picture.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Dataset
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

from plateau_rule.adapters.shapes import split_length
from plateau_rule.adapters.transformers import CurriculumCallback
from plateau_rule.fftcore.text import default_text
from plateau_rule.sim.plots.runs import draw_run

LONGEST = 64


class Rows(Dataset[dict[str, Tensor]]):
    """A text in rows of LONGEST bytes."""

    def __init__(self, text: bytes) -> None:
        count = len(text) // LONGEST
        self.rows = torch.frombuffer(bytearray(text[: count * LONGEST]), dtype=torch.uint8).reshape(count, LONGEST)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        row = self.rows[number].long()
        return {"input_ids": row, "labels": row}


def main(folder: Path, steps: int = 600) -> Path:
    """Train, and draw the run.

    Args:
        folder: for the run folder, the picture and the trainer's own files.
        steps: optimizer steps.
    """
    torch.manual_seed(0)
    text = default_text()
    size = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=256, max_position_embeddings=LONGEST, **size))
    arguments = TrainingArguments(
        str(folder / "trainer"),
        max_steps=steps,
        per_device_train_batch_size=8,
        logging_steps=50,
        eval_strategy="steps",
        eval_steps=200,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )
    curriculum = Path(__file__).with_name("lengths.toml")
    run = folder / "language-model"
    trainer = Trainer(
        model,
        arguments,
        train_dataset=Rows(text[: 1 << 20]),
        eval_dataset=Rows(text[-64 * LONGEST :]),
        callbacks=[CurriculumCallback(curriculum, shape={"seq_len": split_length}, out=run)],
    )
    trainer.train()
    return draw_run(run, folder / "language_model.png")


if __name__ == "__main__":
    print(main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/examples")))
