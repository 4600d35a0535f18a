"""A block beside the published block and beside its own feed-forward half: `python -P benchmarks/block.py`.

Dropout is 0 on both sides. The feed-forward half is what any block pays; what lies above it is the price of mixing.
"""

from __future__ import annotations

import sys
from pathlib import Path

if Path(sys.path[0]) == Path(__file__).resolve().parent:
    del sys.path[0]  # run as a script, benchmarks/controller.py would be taken for the package of that name

import torch
from torch import Tensor, nn

from benchmarks._published import PublishedBlock
from benchmarks._speed import both_ways_of, contest, forward_of, options, prepared, show, write
from plateau_rule.fftcore.block import Block
from plateau_rule.fftcore.config import Model

PUBLISHED, OURS, HALF = "published block", "block", "its feed-forward half"


class FeedForward(nn.Module):
    """The feed-forward half of a block.

    Args:
        block: whose.
    """

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.norm, self.feed = block.feed_norm, block.feed

    def forward(self, x_TBD: Tensor) -> Tensor:
        """Take a window through it: (T, B, D) to (T, B, D)."""
        fed_TBD: Tensor = x_TBD + self.feed(self.norm(x_TBD))
        return fed_TBD


def main(argv: list[str] | None = None) -> None:
    """Time everything, print the tables, write the figures."""
    parser = options(__doc__, "block", turns=9)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--length", type=int, default=1024)
    parser.add_argument("--channels", type=int, default=512)
    parser.add_argument("--groups", type=int, default=8)
    given = parser.parse_args(argv)
    machine = prepared(given)
    B, T, D, device = given.batch, given.length, given.channels, given.device
    x_BTD = torch.randn(B, T, D, device=device, requires_grad=True)
    x_TBD = x_BTD.detach().transpose(0, 1).contiguous().requires_grad_()
    dy_BTD, dy_TBD = torch.randn_like(x_BTD), torch.randn_like(x_TBD)
    block = Block(Model(d_model=D, layers=1, seq_len=T, kernel_groups=given.groups), 0.0).to(device)
    published, half = PublishedBlock(D, T, dropout=0.0).to(device), FeedForward(block)
    with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        forward = {
            PUBLISHED: forward_of(published, x_BTD),
            OURS: forward_of(block, x_TBD),
            HALF: forward_of(half, x_TBD),
        }
        both = {
            PUBLISHED: both_ways_of(published, x_BTD, dy_BTD),
            OURS: both_ways_of(block, x_TBD, dy_TBD),
            HALF: both_ways_of(half, x_TBD, dy_TBD),
        }
        tables = {
            "forward": contest(forward, PUBLISHED, given.turns, device, machine),
            "forward and back": contest(both, PUBLISHED, given.turns, device, machine),
        }
    ratios = {}
    for name, rows in tables.items():
        show(rows, f"{name}; B {B}, T {T}, D {D}")
        seconds = {row.what: row.seconds.median for row in rows}
        ratios[name] = seconds[OURS] / seconds[HALF]
        print(f"The block takes {ratios[name]:.2f} times as long as its feed-forward half, {name}\n")
    figures = {"shape": {"B": B, "T": T, "D": D}, "machine": machine, "block_to_feed_forward": ratios}
    write(given.json, figures | {"tables": tables})


if __name__ == "__main__":
    main()
