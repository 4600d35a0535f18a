"""A rival's mixer: causal attention with rotary positions and normalised queries and keys, by torch's own kernels.

With `short_taps`, a short causal filter of each channel stands before it (So et al., 2021, "Primer", has such filters).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plateau_rule.fftcore.short import ShortFilter

HEAD = 32  # channels


class Rotary(nn.Module):
    """Causal attention, 32 channels a head.

    Args:
        d_model: channels, a multiple of 32.
        seq_len: the longest window.
        short_taps: of the filter before it; 0 for none.
    """

    cos_TC: Tensor
    sin_TC: Tensor

    def __init__(self, d_model: int, seq_len: int, short_taps: int = 0) -> None:
        super().__init__()
        self.short = ShortFilter(d_model, short_taps) if short_taps else nn.Identity()
        # Matrices of their own, as Muon wants them.
        self.query, self.key, self.value, self.out = (nn.Linear(d_model, d_model, bias=False) for _ in range(4))
        self.sharpness_H11 = nn.Parameter(torch.ones(d_model // HEAD, 1, 1))
        angle_TC = torch.arange(seq_len)[:, None] / 10000 ** (torch.arange(HEAD // 2) / (HEAD // 2))
        self.register_buffer("cos_TC", angle_TC.cos(), persistent=False)
        self.register_buffer("sin_TC", angle_TC.sin(), persistent=False)

    def forward(self, x_TBD: Tensor) -> Tensor:
        """Let every position read itself and those before it: (T, B, D) to (T, B, D)."""
        x_TBD = self.short(x_TBD)
        query, key, value = (
            project(x_TBD).unflatten(2, (-1, HEAD)).permute(1, 2, 0, 3)
            for project in (self.query, self.key, self.value)
        )
        query, key = (self.rotated(F.layer_norm(one, (HEAD,))) for one in (query, key))
        y_BHTC = F.scaled_dot_product_attention(query * self.sharpness_H11, key, value, is_causal=True)
        read_TBD: Tensor = self.out(y_BHTC.permute(2, 0, 1, 3).flatten(2))
        return read_TBD

    def rotated(self, x_BHTC: Tensor) -> Tensor:
        """Turn each pair of channels by an angle that grows with the position."""
        T = x_BHTC.shape[2]
        first, second = x_BHTC.chunk(2, -1)
        cos_TC, sin_TC = self.cos_TC[:T], self.sin_TC[:T]
        return torch.cat((first * cos_TC - second * sin_TC, second * cos_TC + first * sin_TC), -1)
