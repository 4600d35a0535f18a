"""A model whose losses are prescribed by how often it was called, so that data may be shuffled and seen again."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from tests.conformance.cases import RATIOS, ROWS, WIDEST, Case
from tests.conformance.watching import Watched

PEAK = 0.5
"""What the optimizer is made with: any rate will do, for the curriculum has its own."""


class ScriptedModel(nn.Module):
    """Gives the losses of a case, one for each forward pass; how many were given is saved with its weights.

    Args:
        case: the run.
        watched: the width of each batch it is given while training is written there.
        rank: whose micro-batches' losses are given.
    """

    def __init__(self, case: Case, watched: Watched, rank: int = 0) -> None:
        super().__init__()
        self.case, self.watched = case, watched
        torch.manual_seed(0)
        self.table, self.head = nn.Embedding(128, 4), nn.Linear(4, 128)
        self.given: Tensor
        self.register_buffer("given", torch.zeros(2, dtype=torch.int64))
        self.losses = torch.tensor(case.micro_losses()[rank :: case.ranks], dtype=torch.float32)

    def forward(self, input_ids: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        """The loss of this forward pass; weights count in it only where the case learns.

        Args:
            input_ids: (rows, characters).
            labels: not used; trainers ask for them where they evaluate.
        """
        logits = self.head(self.table(input_ids))
        own = nn.functional.cross_entropy(logits.flatten(0, 1).float(), input_ids.flatten())
        if self.training:
            self.watched.write("width", input_ids.shape[1])
            loss = self.losses[int(self.given[0])] + own * (0.25 if self.case.learns else 0)
            self.given += torch.tensor([1, 0])
        else:
            loss = torch.tensor(float(self.case.val_losses[int(self.given[1])]))
            self.given += torch.tensor([0, 1])
        return {"loss": loss, "logits": logits.detach()}

    def groups(self) -> list[dict[str, Any]]:
        """Two parameter groups, whose rates are to each other as RATIOS."""
        parts = (self.table, self.head)
        return [{"params": list(part.parameters()), "lr": PEAK * r} for part, r in zip(parts, RATIOS, strict=True)]


def tokens(count: int) -> list[dict[str, Tensor]]:
    """Data: `count` rows of WIDEST characters, each with itself as labels."""
    numbers = torch.arange(count * WIDEST).reshape(count, WIDEST) % 97
    return [{"input_ids": row, "labels": row} for row in numbers]


def epoch_of(case: Case) -> list[dict[str, Tensor]]:
    """The training data of a case: what all ranks see in an epoch."""
    return tokens(case.steps_per_epoch * case.accumulation * ROWS * case.ranks)
