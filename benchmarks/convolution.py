"""The convolution beside the published chain of operations, forward and back: `python -P benchmarks/convolution.py`.

*Published chain* is all that the published mixer does: transform, five products, transform back. *Taps and convolution*
is what does the same work here, from the learned kernels under gate and band limit to the convolved window; *the whole
mixer* adds the gates. *By FFT* is the same convolution with one product of spectra. *Least* is what cannot be
avoided: a window read and written forward, two read and one written back.
"""

from __future__ import annotations

import sys
from pathlib import Path

if Path(sys.path[0]) == Path(__file__).resolve().parent:
    del sys.path[0]  # run as a script, benchmarks/controller.py would be taken for the package of that name

import torch
from torch import Tensor, nn

from benchmarks._published import PublishedMixer
from benchmarks._speed import both_ways_of, contest, forward_of, options, prepared, show, write
from plateau_rule.fftcore.block import Mixer
from plateau_rule.fftcore.config import Model
from plateau_rule.fftcore.spectral import SpectralKernel, convolve, convolve_by_fft

CHAIN = "published chain"


class Convolution(nn.Module):
    """Learned taps, and the window convolved with them.

    Args:
        kernel: gives the taps.
        by_fft: take the slow way.
    """

    def __init__(self, kernel: SpectralKernel, by_fft: bool = False) -> None:
        super().__init__()
        self.kernel, self.way = kernel, convolve_by_fft if by_fft else convolve

    def forward(self, x_TBD: Tensor) -> Tensor:
        """Convolve: (T, B, D) to (T, B, D)."""
        return self.way(x_TBD, self.kernel())


def main(argv: list[str] | None = None) -> None:
    """Time everything, print the tables, write the figures."""
    parser = options(__doc__, "convolution", turns=7)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--length", type=int, default=1024)
    parser.add_argument("--channels", type=int, default=512)
    parser.add_argument("--groups", type=int, default=8)
    parser.add_argument("--taps", type=int, default=128)
    given = parser.parse_args(argv)
    machine = prepared(given)
    B, T, D, device = given.batch, given.length, given.channels, given.device
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    x_BTD = torch.randn(B, T, D, device=device, dtype=dtype, requires_grad=True)
    x_TBD = x_BTD.detach().transpose(0, 1).contiguous().requires_grad_()
    dy_BTD, dy_TBD = torch.randn_like(x_BTD), torch.randn_like(x_TBD)
    shape = Model(d_model=D, layers=1, seq_len=T, kernel_len=given.taps, kernel_groups=given.groups)
    chain, mixer = PublishedMixer(D, T, given.taps).to(device), Mixer(shape).to(device)
    one = SpectralKernel(1, given.taps).to(device)
    ours: dict[str, nn.Module] = {
        f"taps and convolution, {given.groups} groups": Convolution(mixer.kernel),
        "taps and convolution, 1 group": Convolution(one),
        "by FFT, 1 group": Convolution(one, by_fft=True),
        "the whole mixer": mixer,
    }
    with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        forward = {CHAIN: forward_of(chain, x_BTD)} | {what: forward_of(one, x_TBD) for what, one in ours.items()}
        both = {CHAIN: both_ways_of(chain, x_BTD, dy_BTD)}
        both |= {what: both_ways_of(one, x_TBD, dy_TBD) for what, one in ours.items()}
        shaped = f"B {B}, T {T}, D {D}, {given.taps} taps"
        tables = {
            "forward": contest(forward, CHAIN, given.turns, device, machine),
            "forward and back": contest(both, CHAIN, given.turns, device, machine),
        }
    for name, rows in tables.items():
        show(rows, f"{name}; {shaped}")
    least = {"forward": 2 * x_BTD.nbytes, "forward and back": 5 * x_BTD.nbytes}
    for name, size in least.items():
        print(f"Least, {name}: {size / 1e9:.3f} GB, {1e3 * size / machine.copy_bytes_per_s:.2f} ms at the copy's rate")
    figures = {"shape": {"B": B, "T": T, "D": D, "K": given.taps}, "machine": machine, "least_bytes": least}
    write(given.json, figures | {"tables": tables})


if __name__ == "__main__":
    main()
