"""All figures of a GPU at once, in minutes: `python -P benchmarks/gpu.py`.

The convolution beside the published chain, an optimizer step of `base` beside the published model's, both also as
torch.compile makes them, then a profile of the step and its peak memory. What is asked for on an H200: the convolution
in at most 100 µs and 15 times as fast as the published chain; a step 2.5 times as fast, and 5 MB of trained bytes a
second. `--small` takes small shapes and compiles nothing, to see on a CPU that all of it runs.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from statistics import median

if Path(sys.path[0]) == Path(__file__).resolve().parent:
    del sys.path[0]  # run as a script, benchmarks/controller.py would be taken for the package of that name

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from benchmarks import convolution, training
from benchmarks._speed import RESULTS, Work, both_ways_of, take_turns
from plateau_rule.fftcore.config import PRESETS, Config
from plateau_rule.fftcore.data import read_text
from plateau_rule.fftcore.device import peak_memory
from plateau_rule.fftcore.spectral import SpectralKernel

SMALL_CONVOLUTION = ["--batch", "1", "--length", "128", "--channels", "16", "--groups", "2"]
PROFILED_STEPS = 3
SHOWN_ROWS = 20


def compiled_convolution(device: torch.device) -> Work:
    """Return taps and convolution of 8 groups forward and back, compiled, at the shape of the tables."""
    x_TBD = torch.randn(1024, 32, 512, device=device, dtype=torch.bfloat16, requires_grad=True)
    module: nn.Module = torch.compile(convolution.Convolution(SpectralKernel(8, 128).to(device)))  # type: ignore[assignment]
    return both_ways_of(module, x_TBD, torch.randn_like(x_TBD))


def show_compiled(config: Config, device: torch.device, turns: int) -> None:
    """Time what torch.compile makes of the convolution and of a step; the first calls compile."""
    with torch.autocast(device.type, torch.bfloat16):
        seconds = take_turns({"convolution": compiled_convolution(device)}, turns, device)
    step = training.own_step(config.model_copy(update={"compile": True}), read_text(None), device)
    seconds |= take_turns({"step": step}, turns, device)
    trained = config.batch_size * config.model.seq_len / median(seconds["step"])
    print(f"Compiled: convolution forward and back {1e6 * median(seconds['convolution']):.0f} µs; ", end="")
    print(f"step {1e3 * median(seconds['step']):.2f} ms, {trained:,.0f} trained bytes/s\n")


def show_profile(config: Config, device: torch.device) -> None:
    """Print where a step's time goes, operation by operation, and how much memory it takes at most."""
    step = training.own_step(config, read_text(None), device)
    step()
    on_gpu = device.type == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(device)
    with profile(activities=[ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * on_gpu) as profiled:
        for _ in range(PROFILED_STEPS):
            step()
        if on_gpu:
            torch.cuda.synchronize(device)
    key = "self_cuda_time_total" if on_gpu else "self_cpu_time_total"
    print(f"{PROFILED_STEPS} steps, by operation")
    print(profiled.key_averages().table(sort_by=key, row_limit=SHOWN_ROWS, max_name_column_width=50))
    print(f"Peak memory: {peak_memory(device)}")


def main(argv: list[str] | None = None) -> None:
    """Measure and print everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", type=torch.device, default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--small", action="store_true", help="small shapes, nothing compiled")
    parser.add_argument("--out", type=Path, default=RESULTS / "gpu", help="folder for the figures")
    given = parser.parse_args(argv)
    if given.device.type == "cpu" and not given.small:
        parser.error("there is no CUDA device here; --small shows on a CPU that this runs")
    shared = ["--device", str(given.device), "--turns", str(given.turns)]
    shapes = SMALL_CONVOLUTION if given.small else []
    convolution.main([*shared, *shapes, "--json", str(given.out / "convolution.json")])
    preset = ["--preset", "tiny", "--batch", "1"] if given.small else ["--preset", "base"]
    training.main([*shared, *preset, "--json", str(given.out / "training.json")])
    config = PRESETS["tiny"].model_copy(update={"batch_size": 1}) if given.small else PRESETS["base"]
    if not given.small:
        show_compiled(config, given.device, given.turns)
    show_profile(config, given.device)


if __name__ == "__main__":
    main()
