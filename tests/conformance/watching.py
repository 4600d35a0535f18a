"""What a run leaves behind for its test: a model and an optimizer that write down what really happens to them."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tests.conformance.cases import RATIOS, ROWS, WIDEST, Case, Seen

RUN = "run"


class Watched:
    """A file that what happens is written into, at once, so that a killed process has told all.

    Args:
        path: the file; it is appended to.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, kind: str, value: Any) -> None:
        """Append one line."""
        with self._path.open("a") as file:
            file.write(json.dumps([kind, value]) + "\n")


class ScriptedLoss(nn.Module):
    """A model whose loss is what its batch prescribes; with `learns`, plus what its weights make of the batch.

    Args:
        watched: the width of each batch it is given while training is written there.
        learns: whether the loss depends on the weights.
    """

    def __init__(self, watched: Watched, learns: bool = False) -> None:
        super().__init__()
        self.watched, self.learns = watched, learns
        torch.manual_seed(0)
        self.slow, self.fast = nn.Linear(1, 4), nn.Linear(4, 1)

    def forward(self, text: Tensor, loss: Tensor) -> Tensor:
        """The batch's loss.

        Args:
            text: whole numbers, (rows, characters).
            loss: what is prescribed, the same in each row, (rows,).
        """
        if self.training:
            self.watched.write("width", text.shape[1])
        told: Tensor = (
            self.fast(torch.tanh(self.slow(text.float().mean(1, keepdim=True) / 100))).float().square().mean()
        )
        scripted: Tensor = loss.mean()
        return torch.add(scripted, told, alpha=int(self.learns))

    def groups(self) -> list[dict[str, Any]]:
        """Two parameter groups, whose rates are to each other as RATIOS."""
        highest = 0.5  # any: the curriculum's replaces it
        return [
            {"params": list(part.parameters()), "lr": highest * ratio}
            for part, ratio in zip((self.slow, self.fast), RATIOS, strict=True)
        ]


class WatchedSGD(torch.optim.SGD):
    """SGD that writes down the rates of its groups inside each step, and may kill its process there.

    Args:
        groups: parameter groups, each with a rate.
        watched: the rates are written there.
        kill_at: the step, counted from the start of this process, in which the process is killed; None for never.
    """

    def __init__(self, groups: Sequence[dict[str, Any]], watched: Watched, kill_at: int | None = None) -> None:
        super().__init__(groups, momentum=0.9)
        self._watched, self._kill_at, self._steps = watched, kill_at, 0

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Step, as SGD does."""
        loss = None if closure is None else torch.enable_grad()(closure)()  # Lightning's forward pass is in here
        if self._steps == self._kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        self._steps += 1
        self._watched.write("rates", [float(group["lr"]) for group in self.param_groups])
        super().step()
        return loss


def rank() -> int:
    """The number of this process among those that train together."""
    return int(os.environ.get("RANK", "0"))


def watched_in(folder: Path) -> Watched:
    """Where this process writes down what happens."""
    return Watched(folder / watched_of(rank()))


def watched_of(rank: int) -> str:
    """The name of the file that a rank writes."""
    return f"watched-{rank}.jsonl"


def rows_of(case: Case) -> list[dict[str, Tensor]]:
    """The data of a case, in the order in which it is trained on: ROWS rows for each micro-batch of each rank."""
    characters = torch.Generator().manual_seed(1)
    return [
        {"text": torch.randint(100, (WIDEST,), generator=characters), "loss": torch.tensor(loss)}
        for loss in case.micro_losses()
        for _ in range(ROWS)
    ]


def cut(batch: dict[str, Tensor], width: int) -> dict[str, Tensor]:
    """Apply the knob seq_len: the first `width` characters of every row."""
    return {**batch, "text": batch["text"][:, :width]}


def seen_in(folder: Path, rank: int = 0) -> Seen:
    """What happened in a run: what was watched on a rank, and what the run folder says was observed and decided."""
    events = [json.loads(line) for line in (folder / watched_of(rank)).read_text().splitlines()]
    metrics = [json.loads(line) for line in (folder / RUN / "metrics.jsonl").read_text().splitlines()]
    decisions = [json.loads(line) for line in (folder / RUN / "decisions.jsonl").read_text().splitlines()]
    return Seen(
        [float(row["loss"]) for row in metrics if "loss" in row],
        [value for kind, value in events if kind == "rates"],
        [value for kind, value in events if kind == "width"],
        [(row["step"], row["from"], row["to"]) for row in decisions],
    )
