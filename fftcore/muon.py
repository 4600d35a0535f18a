"""The optimizer: Muon for the blocks' matrices, AdamW for all else.

Shapes stand in names: N matrix, R row, C column.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

MOMENTUM = 0.95
ITERATIONS = 5
LIKE_ADAM = 0.2  # root mean square of an update by AdamW, near which Muon's are brought: one rate serves both


class Muon(torch.optim.AdamW):
    """AdamW, but that matrices are moved by the orthogonalised momentum of their gradients.

    Matrices of one shape are orthogonalised together, and a step may be left out without waiting for the device: set
    `found_inf` to a tensor, 1 leaves out the next step and 0 takes it. torch.optim.Muon does neither. (Jordan et al.,
    2024, "Muon"; the scale of its updates: Liu et al., 2025, "Muon is scalable for LLM training".)

    Args:
        matrices: two-dimensional parameters of hidden layers.
        groups: of the parameters that AdamW moves, as it takes them.
        weight_decay: on `matrices`.
        product_type: of the products that orthogonalise; by default that of the matrices.
    """

    def __init__(
        self,
        matrices: list[nn.Parameter],
        groups: list[dict[str, Any]],
        weight_decay: float,
        product_type: torch.dtype | None = None,
    ) -> None:
        self.product_type = product_type
        orthogonal = {"params": matrices, "weight_decay": weight_decay, "orthogonal": True}
        super().__init__([*groups, orthogonal] if matrices else groups, fused=True)
        device = next(parameter.device for group in self.param_groups for parameter in group["params"])
        self.found_inf = torch.zeros((), device=device)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Take one step, unless `found_inf` is 1."""
        for group in self.param_groups:
            if not group.get("orthogonal"):
                continue
            by_shape: dict[tuple[int, ...], list[nn.Parameter]] = {}
            for matrix in group["params"]:
                if matrix.grad is not None:
                    by_shape.setdefault(tuple(sorted(matrix.shape)), []).append(matrix)
            for matrices in by_shape.values():
                self._move(matrices, group["lr"], group["weight_decay"])
        super().step()  # what has no gradient left is not moved again

    def moments(self, parameter: nn.Parameter) -> dict[str, Tensor]:
        """Return the names of a parameter's moments, each with a tensor of its shape and type and of no content.

        Args:
            parameter: of the model; one that is not moved has no moments.
        """
        like = torch.empty_like(parameter, device="meta")
        for group in self.param_groups:
            if any(moved is parameter for moved in group["params"]):
                if group.get("orthogonal"):
                    return {"momentum": like}
                return {"step": torch.empty((), device="meta"), "exp_avg": like, "exp_avg_sq": like}
        return {}

    def _move(self, matrices: list[nn.Parameter], lr: float, weight_decay: float) -> None:
        taken = 1 - self.found_inf
        wide = []
        for matrix in matrices:
            # Not the gradient times `taken`: 0 times NaN is NaN.
            gradient_RC = torch.where(taken > 0, matrix.grad, 0.0)  # type: ignore[arg-type]
            momentum_RC = self.state[matrix].setdefault("momentum", torch.zeros_like(matrix))
            momentum_RC.lerp_(gradient_RC, (1 - MOMENTUM) * taken)
            gradient_RC.lerp_(momentum_RC, MOMENTUM)
            wide.append(gradient_RC.T if len(matrix) > matrix.shape[1] else gradient_RC)
            matrix.grad = None
        moves_NRC = orthogonalise(torch.stack(wide), self.product_type) * (
            -lr * LIKE_ADAM * max(matrices[0].shape) ** 0.5 * taken
        )
        for matrix, move_RC in zip(matrices, moves_NRC, strict=True):
            matrix.mul_(1 - lr * weight_decay * taken)
            matrix.add_(move_RC.T if len(matrix) > matrix.shape[1] else move_RC)


def orthogonalise(wide_NRC: Tensor, product_type: torch.dtype | None = None) -> Tensor:
    """Return matrices with nearly the same singular vectors and singular values of 0.7 to 1.2; R ≤ C.

    By Newton–Schulz iterations of the fifth order.

    Args:
        wide_NRC: of any size, in float32 or float64.
        product_type: in which the iterations run; by default that of the matrices.
    """
    x_NRC: Tensor = wide_NRC / (torch.linalg.matrix_norm(wide_NRC, keepdim=True) + 1e-7)
    x_NRC = x_NRC.to(product_type or wide_NRC.dtype)
    for _ in range(ITERATIONS):
        gram_NRR = x_NRC @ x_NRC.mT
        gram_NRR = torch.baddbmm(gram_NRR, gram_NRR, gram_NRR, beta=-4.7750, alpha=2.0315)
        x_NRC = torch.baddbmm(x_NRC, gram_NRR, x_NRC, beta=3.4445)
    return x_NRC.to(wide_NRC.dtype)
