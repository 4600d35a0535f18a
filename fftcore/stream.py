"""What is remembered of a stream of bytes between one read and the next: fixed in size, whatever the stream's length.

A stream is read a few bytes at a time, one or up to 64. What was read counts as past only when the stream is advanced
over it, so that bytes which were only guessed can be read again as others: nothing has to be undone.

Shapes stand in names: W position of those read at once, B batch, D channel, G kernel group, K tap, L row of inputs.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from plateau_rule.fftcore.toeplitz import toeplitz

CONTEXT_BLOCK = 64  # bytes through which a context gate's gain holds, and the most that are read at once
ROOM = 4 * CONTEXT_BLOCK  # rows that are filled before what is still needed of them is moved to the front
SPARE = 3  # rows for positions that do not count: see `SpectralLM.read`


@dataclass
class MixerStream:
    """What one mixer remembers.

    Args:
        taps_GK: the taps in force when the stream began.
        inputs_GLM: the last inputs of each group and room for the next, M = B · D / G.
        past_BD: sum over all whole blocks of 64 bytes.
        gain_BD: the context gate's gain in the current block.
        bands: the band matrices that convolve as many positions at once, by their number.
        short_RBD: the last inputs of the short filter, in the same rows, where the mixer has one.
        sums_GLM: of the decays since the current block began, in the same rows, where the mixer has decays; the inputs
            of a row are scaled up by the exponential of its sum.
    """

    taps_GK: Tensor
    inputs_GLM: Tensor
    past_BD: Tensor
    gain_BD: Tensor
    bands: dict[int, Tensor] = field(default_factory=dict)
    short_RBD: Tensor | None = None
    sums_GLM: Tensor | None = None

    def group(self, x_WBD: Tensor) -> Tensor:
        """Bring the channels of a group together: (W, B, D) to (G, W · B, E), E = D / G."""
        G = len(self.taps_GK)
        return x_WBD.view(-1, G, x_WBD.shape[2] // G).transpose(0, 1).contiguous()

    def ungroup(self, x_GNE: Tensor) -> Tensor:
        """Bring the channels of a position together again: (G, W · B, E) to (W, B, D)."""
        return x_GNE.transpose(0, 1).reshape(-1, *self.past_BD.shape)

    def convolve(self, x_GNE: Tensor, row: int) -> Tensor:
        """Put inputs into the rows from `row` on, and convolve them with what stands before: (G, W · B, E)."""
        G, K = self.taps_GK.shape
        x_GWM = x_GNE.view(G, -1, self.inputs_GLM.shape[2])
        W = x_GWM.shape[1]
        if W not in self.bands:
            self.bands[W] = toeplitz(F.pad(self.taps_GK, (W - 1, W - 1)), W).contiguous()
        self.inputs_GLM[:, row : row + W] = x_GWM
        return torch.bmm(self.bands[W], self.inputs_GLM[:, row + 1 - K : row + W]).view(x_GNE.shape)

    def sum_decays(self, decay_GNE: Tensor, row: int) -> Tensor:
        """Add decays up, from the row before on, in the rows from `row` on, and return the sums: (G, W · B, E).

        One position at a time, so that the bits do not depend on how many are read at once.
        """
        assert self.sums_GLM is not None
        decay_GWM = decay_GNE.view(len(decay_GNE), -1, self.sums_GLM.shape[2])
        W = decay_GWM.shape[1]
        for i in range(W):
            self.sums_GLM[:, row + i] = self.sums_GLM[:, row + i - 1] + decay_GWM[:, i]
        return self.sums_GLM[:, row : row + W].reshape(decay_GNE.shape)

    def fade(self, row: int) -> None:
        """Let all inputs fade to what is left of them before a row, with which a block begins."""
        if self.sums_GLM is not None:
            self.inputs_GLM[:, :row].mul_(torch.exp(-self.sums_GLM[:, row - 1 : row]))
            self.sums_GLM[:, row - 1] = 0

    def move(self, row: int, past: int) -> None:
        """Move the `past` rows before a row to the front."""
        self.inputs_GLM[:, :past] = self.inputs_GLM[:, row - past : row].clone()
        if self.short_RBD is not None:
            self.short_RBD[:past] = self.short_RBD[row - past : row].clone()
        if self.sums_GLM is not None:
            self.sums_GLM[:, past - 1] = self.sums_GLM[:, row - 1].clone()

    def block_sum(self, row: int) -> Tensor:
        """Return the sum over the 64 inputs before a row: (B, D)."""
        rows = slice(row - CONTEXT_BLOCK, row)
        inputs_GLM = self.inputs_GLM[:, rows]
        if self.sums_GLM is not None:
            inputs_GLM = inputs_GLM / self.sums_GLM[:, rows].exp()
        sum_GM = inputs_GLM.sum(1)
        return self.ungroup(sum_GM.view(len(sum_GM), len(self.past_BD), -1))[0]


@dataclass
class MemoryStream:
    """What one memory remembers.

    Args:
        short_RBD: the last inputs of its short filter, and room for the next.
        held_RBD: what it held, in the same rows.
    """

    short_RBD: Tensor
    held_RBD: Tensor

    def hold(self, share_WBD: Tensor, new_WBD: Tensor, row: int) -> Tensor:
        """Put what is held into the rows from `row` on, and return it: (W, B, D).

        One position at a time, so that the bits do not depend on how many are read at once.
        """
        W = len(new_WBD)
        for i in range(W):
            torch.lerp(self.held_RBD[row + i - 1], new_WBD[i], share_WBD[i], out=self.held_RBD[row + i])
        return self.held_RBD[row : row + W]

    def move(self, row: int, past: int) -> None:
        """Move the `past` rows before a row to the front."""
        for buffer_RBD in (self.short_RBD, self.held_RBD):
            buffer_RBD[:past] = buffer_RBD[row - past : row].clone()


@dataclass
class ByteStream:
    """What a model remembers of `batch` streams side by side.

    Args:
        mixers: one for each block that runs.
        past: rows before the next that are still needed.
        row: where the mixers' next input goes.
        position: bytes that count as past.
    """

    mixers: list[MixerStream | MemoryStream]
    past: int
    row: int
    position: int = 0

    @property
    def left(self) -> int:
        """Bytes left of the current block of 64: as many can be read at once."""
        return CONTEXT_BLOCK - self.position % CONTEXT_BLOCK

    def move(self) -> None:
        """Move the rows that are still needed to the front, if the next block does not fit behind them.

        Asked for where a block ends, so that which row a byte has depends on its position alone.
        """
        if self.row == self.past + ROOM:
            for mixer in self.mixers:
                mixer.move(self.row, self.past)
            self.row = self.past
