"""The byte-level language model: blocks of a causal spectral convolution, a byte table at both ends, a chunk head.

Shapes stand in names: T position, B batch, D channel, V byte value.
Sequences are time-major inside, `x_TBD`; bytes come as (B, T).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plateau_rule.fftcore import spectral
from plateau_rule.fftcore.block import Block
from plateau_rule.fftcore.config import Model
from plateau_rule.fftcore.published import PublishedBlock
from plateau_rule.fftcore.stream import CONTEXT_BLOCK, ROOM, SPARE, ByteStream

BYTES = 256


class ChunkHead(nn.Module):
    """Drafts the next bytes at once from one position; a drafter for generation, never the model's score.

    Args:
        d_model: channels.
        chunk: bytes drafted.
    """

    def __init__(self, d_model: int, chunk: int) -> None:
        super().__init__()
        self.chunk = chunk
        narrow = max(1, d_model // 4)
        self.split = nn.Linear(d_model, chunk * narrow)
        self.widen = nn.Linear(narrow, d_model)

    def forward(self, hidden: Tensor, table_VD: Tensor, offsets: int | None = None) -> Tensor:
        """Return logits for the first offsets, all by default, (…, offsets, V).

        Args:
            hidden: (…, D).
            table_VD: the byte table that the head is tied to.
            offsets: how many.
        """
        offsets = self.chunk if offsets is None else offsets
        rows = offsets * self.split.out_features // self.chunk
        narrow = F.gelu(F.linear(hidden, self.split.weight[:rows], self.split.bias[:rows]))
        return F.linear(self.widen(narrow.view(*hidden.shape[:-1], offsets, -1)), table_VD)


class SpectralLM(nn.Module):
    """Predicts the next byte at every position, and by its chunk head the next `chunk` bytes.

    Args:
        shape: the model's shape.
        dropout: share of each half block's output that is dropped in training.

    Attributes:
        depth: how many blocks run, the first ones; the heads read what the last of these has written.
    """

    def __init__(self, shape: Model, dropout: float = 0.0) -> None:
        super().__init__()
        self.shape = shape
        self.table = nn.Embedding(BYTES, shape.d_model)
        nn.init.normal_(self.table.weight, std=0.02)
        self.blocks = nn.ModuleList(
            PublishedBlock(shape, dropout)
            if shape.published
            else Block(shape, dropout, memory=shape.memory and layer % 2 == 1)
            for layer in range(shape.layers)
        )
        self.norm = nn.LayerNorm(shape.d_model)
        nn.init.constant_(self.norm.weight, 8 / shape.d_model**0.5)  # first logits of std 0.16 at any width
        self.chunk_head = ChunkHead(shape.d_model, shape.chunk)
        self.depth = shape.layers

    def restrict(self, cutoff_bins: int = spectral.BINS, taps: int | None = None, depth: int | None = None) -> None:
        """Set the cutoff, in bins of the fixed reference, the taps in use and the blocks that run (all by default)."""
        for block in self._each():
            block.mixer.restrict(cutoff_bins, taps or self.shape.kernel_len)
        self.depth = depth or self.shape.layers

    def _each(self) -> list[Block]:
        return [block for block in self.blocks if isinstance(block, Block)]

    def running(self) -> list[Block]:
        """Return the blocks that run."""
        return self._each()[: self.depth]

    def idle(self) -> list[Block]:
        """Return the blocks that do not: nothing of them is computed, and nothing changes them."""
        return self._each()[self.depth :]

    def used(self) -> list[nn.Module]:
        """Return all of the model that is used at its depth."""
        return [self.table, *self.running(), self.norm, self.chunk_head]

    def hidden(self, bytes_BT: Tensor) -> Tensor:
        """Return what the heads read, (T, B, D), for windows of bytes (B, T); any length."""
        x_TBD = self.table(bytes_BT.T.long())
        for block in self.running():
            x_TBD = block(x_TBD)
        normed_TBD: Tensor = self.norm(x_TBD)
        return normed_TBD

    def logits(self, hidden: Tensor) -> Tensor:
        """Return the next byte's logits, (…, V), from (…, D): those of the head that was trained for it."""
        if self.shape.objective == "chunk-last":
            first: Tensor = self.chunk_head(hidden, self.table.weight, 1)[..., 0, :]
            return first
        return F.linear(hidden, self.table.weight)

    def draft(self, hidden: Tensor, offsets: int | None = None) -> Tensor:
        """Return the logits of the next `chunk` bytes, or of so many of them, (…, chunk, V), from (…, D)."""
        drafted: Tensor = self.chunk_head(hidden, self.table.weight, offsets)
        return drafted

    def forward(self, bytes_BT: Tensor) -> Tensor:
        """Return the next byte's logits at every position, (T, B, V), for windows of bytes (B, T)."""
        return self.logits(self.hidden(bytes_BT))

    def losses(self, window_BW: Tensor, phase: Tensor | int) -> tuple[Tensor, Tensor]:
        """Return the mean loss in nats a byte of the next byte, and of the chunk head.

        Args:
            window_BW: bytes, (B, T + chunk): the model reads the first T.
            phase: 0 … chunk − 1, of any type. The chunk head drafts first at the position `phase`, then at every
                chunk-th, T // chunk in all; with `draft_every` all these are so much farther apart, and as many fewer.
                Under the objective "chunk-last" the last position alone counts.
        """
        chunk, apart = self.shape.chunk, self.shape.drafts_apart
        T = window_BW.shape[1] - chunk
        target_BW = window_BW.long()
        hidden_TBD = self.hidden(window_BW[:, :T])
        if self.shape.objective == "chunk-last":
            drafts_BVO = self.draft(hidden_TBD[-1]).transpose(1, 2)
            loss_BO = F.cross_entropy(drafts_BVO, target_BW[:, T:], reduction="none")
            return loss_BO[:, 0].mean(), loss_BO.mean()
        next_loss = F.cross_entropy(self.logits(hidden_TBD).flatten(0, 1), target_BW[:, 1 : T + 1].T.flatten())
        # As many whatever the phase, so that nothing is compiled again; a short window's last position may come twice.
        at_N = torch.arange(max(1, T // apart), device=target_BW.device) * apart + phase * (apart // chunk)
        at_N = at_N.clamp(max=T - 1)
        ahead_NBO = target_BW[:, 1:].unfold(1, chunk, 1).index_select(1, at_N).transpose(0, 1)
        drafts_NBOV = self.draft(hidden_TBD.index_select(0, at_N))
        return next_loss, F.cross_entropy(drafts_NBOV.flatten(0, 2), ahead_NBO.flatten())

    def stream(self, batch: int) -> ByteStream:
        """Begin `batch` streams, to be read a few bytes at a time."""
        past = max(self.shape.kernel_len - 1, self.shape.short_taps - 1, CONTEXT_BLOCK)
        mixers = [block.mixer.stream(batch, past + ROOM + SPARE) for block in self.running()]
        return ByteStream(mixers, past, row=past)

    def read(self, bytes_BW: Tensor, stream: ByteStream, rows: int = 1) -> Tensor:
        """Return what the heads read at the next bytes of each stream, (W, B, D), in time independent of the past.

        None of it counts as past before `advance`: what is read without, is forgotten.

        Args:
            bytes_BW: at most as many as are left of the current block of 64.
            stream: of this model.
            rows: positions that are computed at least, at most 1 + SPARE. In what order a product's sums are taken
                depends on its shape: bytes that are read one by one or several at once, in passes of as many rows, can
                have the same bits.

        Raises:
            ValueError: more bytes than that.
        """
        W = bytes_BW.shape[1]
        if stream.left < W:
            raise ValueError(f"{W} bytes at once; at most {stream.left} are left of the current block")
        x_WBD = self.table(F.pad(bytes_BW.T.long(), (0, 0, 0, max(0, rows - W))))
        for block, mixer in zip(self.running(), stream.mixers, strict=True):
            x_WBD = block.read(x_WBD, mixer, stream.row)
        normed_WBD: Tensor = self.norm(x_WBD)
        return normed_WBD[:W]

    def advance(self, stream: ByteStream, count: int) -> None:
        """Let the first `count` of the bytes that were read last be past."""
        closes = count == stream.left
        stream.position += count
        stream.row += count
        if closes:
            for block, mixer in zip(self.running(), stream.mixers, strict=True):
                block.close_block(mixer, stream.row, stream.position)
            stream.move()

    def step(self, bytes_B: Tensor, stream: ByteStream) -> Tensor:
        """Take one more byte of each stream and return what the heads read, (B, D)."""
        hidden_BD = self.read(bytes_B[:, None], stream)[0]
        self.advance(stream, 1)
        return hidden_BD
