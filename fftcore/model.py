"""The byte-level language model: pre-norm blocks of a causal spectral convolution and a feed-forward half.

Shapes stand in names: T position, B batch, D channel, G kernel group, K tap, N block of 64 bytes, V byte value.
Sequences are time-major inside, `x_TBD`; bytes come as (B, T).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fftcore import spectral
from fftcore.config import Model

BYTES = 256
CONTEXT_BLOCK = 64  # bytes that the context gate lags behind at most


class ContextGate(nn.Module):
    """A gain per channel that follows the mean of all 64-byte blocks before the current one.

    The published gate pools the whole window, its future included; this one changes only where a block ends.

    Args:
        d_model: channels.
    """

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.project = nn.Linear(d_model, d_model)
        nn.init.zeros_(self.project.bias)
        nn.init.normal_(self.project.weight, std=0.02)

    def forward(self, x_TBD: Tensor, y_TBD: Tensor) -> Tensor:
        """Scale `y_TBD` by what is known of `x_TBD`; both (T, B, D)."""
        T = len(x_TBD)
        blocks = -(-T // CONTEXT_BLOCK)
        rest = blocks * CONTEXT_BLOCK - T
        if rest:
            x_TBD, y_TBD = (F.pad(z_TBD, (0, 0, 0, 0, 0, rest)) for z_TBD in (x_TBD, y_TBD))
        B, D = x_TBD.shape[1:]
        x_NSBD, y_NSBD = x_TBD.view(blocks, CONTEXT_BLOCK, B, D), y_TBD.view(blocks, CONTEXT_BLOCK, B, D)
        sum_NBD = x_NSBD.sum(1, dtype=torch.promote_types(x_TBD.dtype, torch.float32))
        past_NBD = F.pad(sum_NBD[:-1].cumsum(0), (0, 0, 0, 0, 1, 0))
        bytes_N11 = CONTEXT_BLOCK * torch.arange(blocks, device=x_TBD.device).clamp(min=1)[:, None, None]
        gain_NBD = self.gain(past_NBD / bytes_N11)
        gated_NSBD: Tensor = y_NSBD * gain_NBD[:, None]
        return gated_NSBD.view(-1, B, D)[:T]

    def gain(self, mean: Tensor) -> Tensor:
        """Return the gain, 0 … 2 and about 1 at first, for a mean over the past; both (…, D)."""
        gain: Tensor = 2 * torch.sigmoid(self.project(mean))
        return gain


@dataclass
class MixerStream:
    """What a mixer remembers of a stream of bytes: fixed in size, whatever the stream's length.

    Args:
        taps_GK: the taps in force when the stream began.
        ring_GKM: the last K inputs of each group, M = B · D / G; slot `position % K` is the next to be written.
        block_BD: sum over the current block of 64 bytes.
        past_BD: sum over all blocks before it.
        gain_BD: the context gate's gain in the current block.
    """

    taps_GK: Tensor
    ring_GKM: Tensor
    block_BD: Tensor
    past_BD: Tensor
    gain_BD: Tensor
    position: int = 0


class Mixer(nn.Module):
    """Mixes along time: the causal convolution, times a content gate at each position, times the context gate.

    The content gate is a linear map of the position's own channels. The product with it, as in H3 and Hyena, lets a
    fixed filter answer to what is read.

    Args:
        shape: the model's shape.
    """

    def __init__(self, shape: Model) -> None:
        super().__init__()
        self.kernel = spectral.SpectralKernel(shape.kernel_groups, shape.kernel_len)
        self.content = nn.Linear(shape.d_model, shape.d_model)
        self.context = ContextGate(shape.d_model)

    def forward(self, x_TBD: Tensor) -> Tensor:
        """Mix a whole window: (T, B, D) to (T, B, D); what stands at t answers to t and before alone."""
        mixed_TBD: Tensor = self.context(x_TBD, self.convolve(x_TBD) * self.content(x_TBD))
        return mixed_TBD

    def convolve(self, x_TBD: Tensor) -> Tensor:
        """Convolve a whole window with the kernels in force."""
        return spectral.convolve(x_TBD, self.kernel())

    def stream_taps(self) -> Tensor:
        """Return the taps for decoding byte by byte, (G, K)."""
        taps_GK: Tensor = self.kernel()
        return taps_GK

    def restrict(self, cutoff_bins: int, taps: int) -> None:
        """Keep the kernels below the cutoff, in their first taps."""
        self.kernel.restrict(cutoff_bins, taps)

    def stream(self, batch: int) -> MixerStream:
        """Begin `batch` streams."""
        taps_GK = self.stream_taps().detach()
        G, K = taps_GK.shape
        zeros_BD = taps_GK.new_zeros(batch, self.content.out_features)
        ring_GKM = zeros_BD.new_zeros(G, K, zeros_BD.numel() // G)
        return MixerStream(taps_GK, ring_GKM, zeros_BD, zeros_BD, self.context.gain(zeros_BD))

    def step(self, x_BD: Tensor, stream: MixerStream) -> Tensor:
        """Take the next byte's channels, (B, D), and return theirs mixed: as `forward` does, in O(K) a channel."""
        B, D = x_BD.shape
        G, K = stream.taps_GK.shape
        slot = stream.position % K
        stream.ring_GKM[:, slot] = x_BD.view(B, G, D // G).transpose(0, 1).reshape(G, -1)
        taps_GK = stream.taps_GK.flip(1).roll(slot + 1, 1)  # the tap for lag l comes to the slot of l bytes ago
        y_GM = torch.bmm(taps_GK[:, None], stream.ring_GKM)
        y_BD: Tensor = y_GM.view(G, B, D // G).transpose(0, 1).reshape(B, D) * self.content(x_BD) * stream.gain_BD

        stream.position += 1
        stream.block_BD = stream.block_BD + x_BD
        if stream.position % CONTEXT_BLOCK == 0:
            stream.past_BD = stream.past_BD + stream.block_BD
            stream.block_BD = torch.zeros_like(stream.block_BD)
            stream.gain_BD = self.context.gain(stream.past_BD / stream.position)
        return y_BD


class ZeroPhaseMixer(Mixer):
    """The published mask, a zero-phase filter: it looks as far ahead as back, and decoding cannot follow it.

    A labelled reference for the leak alarm. Byte by byte it has the causal half of its response, all there is to have.
    """

    mask_F: Tensor

    def __init__(self, shape: Model) -> None:
        super().__init__(shape)
        self.register_buffer("mask_F", torch.ones(spectral.BINS), persistent=False)

    def restrict(self, cutoff_bins: int, taps: int) -> None:
        """Move the mask; the kernels keep all their bins."""
        self.kernel.restrict(spectral.BINS, taps)
        self.mask_F.copy_(spectral.cutoff_mask(cutoff_bins))

    def convolve(self, x_TBD: Tensor) -> Tensor:
        """Convolve, then multiply the spectrum by a real mask."""
        y_TBD = super().convolve(x_TBD).to(self.mask_F.dtype)
        spec_FBD = torch.fft.rfft(y_TBD, spectral.N_FFT, dim=0) * self.mask_F[:, None, None]
        masked_TBD: Tensor = torch.fft.irfft(spec_FBD, spectral.N_FFT, dim=0)[: len(x_TBD)]
        return masked_TBD

    def stream_taps(self) -> Tensor:
        """Return the taps of kernel and mask together, the future cut off."""
        taps_GK = super().stream_taps()
        return taps_GK @ spectral.symmetric_toeplitz(torch.fft.irfft(self.mask_F, spectral.N_FFT)[: taps_GK.shape[1]])


class Block(nn.Module):
    """One pre-norm block: mix along time, then along channels.

    Args:
        shape: the model's shape.
        dropout: share of each half's output that is dropped.
    """

    def __init__(self, shape: Model, dropout: float) -> None:
        super().__init__()
        D = shape.d_model
        self.mix_norm = nn.LayerNorm(D)
        self.mixer = ZeroPhaseMixer(shape) if shape.zero_phase else Mixer(shape)
        self.feed_norm = nn.LayerNorm(D)
        self.feed = nn.Sequential(nn.Linear(D, 2 * D), nn.GELU(), nn.Linear(2 * D, D))
        self.drop = nn.Dropout(dropout)

    def forward(self, x_TBD: Tensor) -> Tensor:
        """Take a window through the block: (T, B, D) to (T, B, D)."""
        x_TBD = x_TBD + self.drop(self.mixer(self.mix_norm(x_TBD)))
        fed_TBD: Tensor = self.drop(self.feed(self.feed_norm(x_TBD)))
        return x_TBD + fed_TBD

    def step(self, x_BD: Tensor, stream: MixerStream) -> Tensor:
        """Take one more byte of a stream through the block: (B, D) to (B, D)."""
        x_BD = x_BD + self.mixer.step(self.mix_norm(x_BD), stream)
        fed_BD: Tensor = self.feed(self.feed_norm(x_BD))
        return x_BD + fed_BD


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

    def forward(self, hidden: Tensor, table_VD: Tensor) -> Tensor:
        """Return logits for each offset, (…, chunk, V), from (…, D) and the byte table that is tied to it."""
        narrow = F.gelu(self.split(hidden))
        drafts = self.widen(narrow.view(*hidden.shape[:-1], self.chunk, -1))
        return F.linear(drafts, table_VD)


class SpectralLM(nn.Module):
    """Predicts the next byte at every position, and by its chunk head the next `chunk` bytes.

    Args:
        shape: the model's shape.
        dropout: share of each half block's output that is dropped in training.
    """

    def __init__(self, shape: Model, dropout: float = 0.0) -> None:
        super().__init__()
        self.shape = shape
        self.table = nn.Embedding(BYTES, shape.d_model)
        nn.init.normal_(self.table.weight, std=0.02)
        self.blocks = nn.ModuleList(Block(shape, dropout) for _ in range(shape.layers))
        self.norm = nn.LayerNorm(shape.d_model)
        nn.init.constant_(self.norm.weight, 8 / shape.d_model**0.5)  # first logits of std 0.16 at any width
        self.chunk_head = ChunkHead(shape.d_model, shape.chunk)

    def restrict(self, cutoff_bins: int = spectral.BINS, taps: int | None = None) -> None:
        """Set the cutoff, in bins of the fixed reference, and the taps in use (all by default)."""
        for block in self._each():
            block.mixer.restrict(cutoff_bins, taps or self.shape.kernel_len)

    def _each(self) -> list[Block]:
        return [block for block in self.blocks if isinstance(block, Block)]

    def hidden(self, bytes_BT: Tensor) -> Tensor:
        """Return what the heads read, (T, B, D), for windows of bytes (B, T); any length."""
        x_TBD = self.table(bytes_BT.T.long())
        for block in self.blocks:
            x_TBD = block(x_TBD)
        normed_TBD: Tensor = self.norm(x_TBD)
        return normed_TBD

    def logits(self, hidden: Tensor) -> Tensor:
        """Return the next byte's logits, (…, V), from (…, D)."""
        return F.linear(hidden, self.table.weight)

    def draft(self, hidden: Tensor) -> Tensor:
        """Return the logits of the next `chunk` bytes, (…, chunk, V), from (…, D)."""
        drafted: Tensor = self.chunk_head(hidden, self.table.weight)
        return drafted

    def forward(self, bytes_BT: Tensor) -> Tensor:
        """Return the next byte's logits at every position, (T, B, V), for windows of bytes (B, T)."""
        return self.logits(self.hidden(bytes_BT))

    def losses(self, window_BW: Tensor, phase: int) -> tuple[Tensor, Tensor]:
        """Return the mean loss in nats a byte of the next byte at every position, and of the chunk head.

        Args:
            window_BW: bytes, (B, T + chunk): the model reads the first T.
            phase: first position at which the chunk head drafts, 0 … chunk − 1; then at every chunk-th.
        """
        chunk = self.shape.chunk
        T = window_BW.shape[1] - chunk
        target_BW = window_BW.long()
        hidden_TBD = self.hidden(window_BW[:, :T])
        next_loss = F.cross_entropy(self.logits(hidden_TBD).flatten(0, 1), target_BW[:, 1 : T + 1].T.flatten())
        ahead_NBO = target_BW[:, 1:].unfold(1, chunk, 1)[:, min(phase, T - 1) : T : chunk].transpose(0, 1)
        drafts_NBOV = self.draft(hidden_TBD[min(phase, T - 1) :: chunk])
        return next_loss, F.cross_entropy(drafts_NBOV.flatten(0, 2), ahead_NBO.flatten())

    def stream(self, batch: int) -> list[MixerStream]:
        """Begin `batch` streams, to be fed to `step` byte by byte."""
        return [block.mixer.stream(batch) for block in self._each()]

    def step(self, bytes_B: Tensor, streams: list[MixerStream]) -> Tensor:
        """Take one more byte of each stream and return what the heads read, (B, D), in time independent of the past."""
        x_BD = self.table(bytes_B.long())
        for block, stream in zip(self._each(), streams, strict=True):
            x_BD = block.step(x_BD, stream)
        normed_BD: Tensor = self.norm(x_BD)
        return normed_BD
