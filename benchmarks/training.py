"""An optimizer step beside the published model's: `python -P benchmarks/training.py [--preset base --batch 4]`.

Both sides have the preset's shape, dropout 0 and the same windows; the published model trains on the bytes after each
window alone, by AdamW, and this one by the preset's optimizer. Muon's products are the same for any number of windows:
with 4 windows in a step, where `base` has 32, they weigh eight times as much. *Trained bytes* are targets of
the next-byte loss, and of the published objective. What a loss at every position costs is counted in flop.
"""

from __future__ import annotations

import sys
from pathlib import Path

if Path(sys.path[0]) == Path(__file__).resolve().parent:
    del sys.path[0]  # run as a script, benchmarks/controller.py would be taken for the package of that name

import torch
import torch.nn.functional as F

from benchmarks._published import PublishedLM
from benchmarks._speed import Work, contest, counted, options, prepared, show, write
from plateau_rule.fftcore.config import PRESETS, Config
from plateau_rule.fftcore.data import Text, Windows, read_text
from plateau_rule.fftcore.knobs import limits
from plateau_rule.fftcore.learner import Learner
from plateau_rule.fftcore.model import SpectralLM

PUBLISHED, OURS = "published model", "this model"


def published_step(config: Config, text: Text, device: torch.device) -> Work:
    """Return an optimizer step of the published model."""
    shape = config.model
    model = PublishedLM(shape.d_model, shape.layers, shape.seq_len, shape.kernel_len, shape.chunk, dropout=0.0)
    model = model.to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=config.weight_decay, fused=True)
    windows = Windows(text, 0, shape.chunk, device)

    def step() -> None:
        for part in range(config.accumulation):
            batch = windows.batch(0, part=part, batch_size=config.batch_size, seq_len=shape.seq_len)
            with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                loss = model.loss(batch.windows_BW) / config.accumulation
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.grad_clip, foreach=True)
        optimizer.step()
        optimizer.zero_grad()

    return step


def own_step(config: Config, text: Text, device: torch.device) -> Work:
    """Return an optimizer step of this project's trainer."""
    learner = Learner(config, text, 0, device, heads_only=False)
    learner.turn(limits(config))
    return lambda: learner.step(0, 1e-3)


def arithmetic_of_every_position(config: Config) -> dict[str, float]:
    """Return the flop of a step forward and back, as multiples of what it takes with the published objective."""
    model = SpectralLM(config.model)
    T, chunk = config.model.seq_len, config.model.chunk
    window_BW = torch.zeros(1, T + chunk, dtype=torch.uint8)

    def last(every_position: bool) -> None:
        hidden_TBD = model.hidden(window_BW[:, :T])
        drafts_BOV = model.draft(hidden_TBD[-1])
        loss = F.cross_entropy(drafts_BOV.flatten(0, 1), window_BW[:, T:].long().flatten())
        if every_position:
            loss = loss + F.cross_entropy(model.logits(hidden_TBD)[:, 0], window_BW[0, 1 : T + 1].long())
        torch.autograd.backward(loss)

    def own() -> None:
        next_loss, chunk_loss = model.losses(window_BW, 0)
        torch.autograd.backward(next_loss + config.chunk_weight * chunk_loss)

    published = counted(lambda: last(False)).flop
    next_byte, all_of_it = counted(lambda: last(True)).flop, counted(own).flop
    return {"next byte": next_byte / published, "next byte and chunk head": all_of_it / published}


def main(argv: list[str] | None = None) -> None:
    """Time everything, print the tables, write the figures."""
    parser = options(__doc__, "training", turns=9)
    parser.add_argument("--preset", choices=tuple(PRESETS), nargs="+", default=tuple(PRESETS))
    parser.add_argument("--batch", type=int, help="windows in a forward pass, in place of the preset's")
    parser.add_argument("--accumulation", type=int, default=1, help="forward passes in a step, in the preset's place")
    given = parser.parse_args(argv)
    machine, text, figures = prepared(given), read_text(None), dict[str, object]()
    for name in given.preset:
        own = PRESETS[name].model_dump() | {"accumulation": given.accumulation}
        config = Config.model_validate(own | ({"batch_size": given.batch} if given.batch else {}))
        contestants = {
            PUBLISHED: published_step(config, text, given.device),
            OURS: own_step(config, text, given.device),
        }
        rows = contest(contestants, PUBLISHED, given.turns, given.device, machine)
        B, T, chunk = config.batch_size * given.accumulation, config.model.seq_len, config.model.chunk
        show(rows, f"optimizer step; preset {name}, {given.accumulation} x B {config.batch_size}, T {T}")
        trained = {PUBLISHED: B * chunk, OURS: B * T}
        for row in rows:
            read, targets = B * T / row.seconds.median, trained[row.what] / row.seconds.median
            print(f"{row.what}: reads {read:,.0f} bytes/s, trains on {targets:,.0f} bytes/s")
        arithmetic = arithmetic_of_every_position(config)
        told = ", ".join(f"{ratio:.3f} for the {what}" for what, ratio in arithmetic.items())
        print(f"Arithmetic of a loss at every position, in that of the published objective: {told}\n")
        figures[name] = {"windows": B, "T": T, "step": rows, "every_position_flop_ratio": arithmetic}
    write(given.json, {"machine": machine, "tables": figures})


if __name__ == "__main__":
    main()
