"""A rival's mixer: a gated long convolution after Poli et al., 2023, "Hyena hierarchy", of order 2.

Three maps of what is read, each behind a short filter: v and two gates. A filter as long as the window, one for each
channel, runs over gate · v; the other gate acts on what comes out. The filters are a small network's answer to sines of
the position, under windows that fade at rates of their own, as there.
"""

from __future__ import annotations

from math import pi

import torch
from torch import Tensor, nn

from plateau_rule.fftcore.short import ShortFilter

BANDS = 8  # frequencies of the position, a sine and a cosine each
HIDDEN = 32  # of the network that makes the filters
SINE = 8.0  # frequency of its activation
SHORT_TAPS = 3


class Hyena(nn.Module):
    """A gated convolution with filters as long as the window.

    Args:
        d_model: channels.
        seq_len: the longest window.
    """

    position_TF: Tensor
    window_TD: Tensor

    def __init__(self, d_model: int, seq_len: int) -> None:
        super().__init__()
        self.value, self.before, self.after = (nn.Linear(d_model, d_model, bias=False) for _ in range(3))
        self.short = ShortFilter(3 * d_model, SHORT_TAPS)
        self.first, self.second = nn.Linear(2 * BANDS + 1, HIDDEN), nn.Linear(HIDDEN, HIDDEN)
        self.last = nn.Linear(HIDDEN, d_model, bias=False)
        self.skip_D = nn.Parameter(torch.ones(d_model))
        self.out = nn.Linear(d_model, d_model, bias=False)
        at_T1 = torch.linspace(0, 1, seq_len)[:, None]
        phase_TF = 2 * pi * at_T1 * torch.arange(1, BANDS + 1)
        self.register_buffer("position_TF", torch.cat((at_T1, phase_TF.cos(), phase_TF.sin()), 1), persistent=False)
        # Over the channels, to 1/e within 4 positions and up to the whole window, a constant ratio apart.
        within_D = 4 * (max(1.0, seq_len / 4)) ** torch.linspace(0, 1, d_model)
        window_TD = torch.exp(-torch.arange(seq_len)[:, None] / within_D)
        self.register_buffer("window_TD", window_TD / window_TD.square().sum(0).sqrt(), persistent=False)

    def filters(self) -> Tensor:
        """Return the filter of each channel, (T, D)."""
        hidden_TF = torch.sin(SINE * self.first(self.position_TF))
        filters_TD: Tensor = self.last(torch.sin(self.second(hidden_TF))) * self.window_TD
        return filters_TD

    def forward(self, x_TBD: Tensor) -> Tensor:
        """Let every position read itself and those before it: (T, B, D) to (T, B, D)."""
        projected = torch.cat((self.value(x_TBD), self.before(x_TBD), self.after(x_TBD)), 2)
        value_TBD, before_TBD, after_TBD = self.short(projected).chunk(3, 2)
        u_TBD = value_TBD * before_TBD
        n = 2 * len(self.window_TD)  # whatever the window: no end meets a beginning
        spec_BDF = torch.fft.rfft(u_TBD.permute(1, 2, 0), n) * torch.fft.rfft(self.filters().T, n)
        y_TBD = torch.fft.irfft(spec_BDF, n)[..., : len(x_TBD)].permute(2, 0, 1)
        read_TBD: Tensor = self.out((y_TBD + u_TBD * self.skip_D) * after_TBD)
        return read_TBD
