"""What a curriculum is bound to in this trainer."""

from __future__ import annotations

import pytest

from plateau_rule import load, loads
from plateau_rule.fftcore.binding import bind_to_trainer
from plateau_rule.fftcore.config import PRESETS
from plateau_rule.fftcore.knobs import limits

CONFIG = PRESETS["tiny"].model_copy(update={"accumulation": 2}) if "tiny" in PRESETS else next(iter(PRESETS.values()))
TURNS = """
name = "turns"
lr = {{ peak = 1e-3, shape = "constant" }}
{run}
knob = {{ batch_size = {{ ladder = [2, 4] }}, seq_len = {{ ladder = [16, 32, 64] }} }}
state = [
  {{ name = "a", set = {{ batch_size = 2, seq_len = 16 }} }},
  {{ name = "b", set = {{ batch_size = 2, seq_len = 64 }} }},
  {{ name = "c", set = {{ batch_size = 4, seq_len = 64 }} }},
]
transition = [{{ from = "*", to = "next", guards = [{{ dwell = "300 tokens" }}] }}]
"""


@pytest.mark.parametrize("run", ["", "run = { tokens_per_step = 7 }", 'run = { tokens_per_step = [3, "seq_len"] }'])
def test_tokens_are_the_bytes_of_each_step(run: str) -> None:
    """Whatever the file says, tokens are the bytes that this trainer feeds its model, with the knobs of each step."""
    controller = bind_to_trainer(loads(TURNS.format(run=run)), CONFIG, 1, 100, None, 0)
    counted = 0
    for _ in range(60):
        assert controller.counted["tokens"] == counted
        knobs = controller.plan.knobs
        counted += int(knobs["batch_size"]) * int(knobs["seq_len"]) * CONFIG.accumulation
        controller.observe(1.0)
    assert controller.plan.state == "c"


def test_tokens_without_such_knobs() -> None:
    """Where no knob moves what a step holds, its tokens are a number."""
    controller = bind_to_trainer(load("plateau"), CONFIG, 1, 100, None, 0)
    assert controller.machine.run.tokens_per_step == CONFIG.accumulation * CONFIG.batch_size * CONFIG.model.seq_len
    assert controller.machine.meters == ()
    assert limits(CONFIG)["batch_size"] == CONFIG.batch_size
