"""What a run says while it runs."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from types import MappingProxyType

import pytest
from rich.console import Console

from plateau_rule import Decision, Plan
from plateau_rule.fftcore.progress import LiveProgress, Progress, in_units, progress

PLAN = Plan(7, 1, "words", MappingProxyType({"cutoff": 256}), 2e-4, (), None, 1.0)
RAISE = Decision(
    8, 2, "words", "full", "transition 1", MappingProxyType({"cutoff": 256}), MappingProxyType({"cutoff": 1025}),
    2e-5, 2e-4, 2.5, ("flat: true",), ("cutoff",),
)  # fmt: skip


def explain() -> list[str]:
    """What the guards say here."""
    return ["words -> full", "  flat: 7 of 50 losses -> unknown"]


def test_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """Where there is no terminal, every n-th step is a line with state, cutoff in both units, rate, loss and bits."""
    show = progress(100, 7)
    assert type(show) is Progress
    with show:
        for step in range(1, 9):
            show.step(PLAN._replace(step=step), {"loss": 2.0}, 1000, explain)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(
        "step 7/100  epoch 1  words  cutoff 256 bins (0.125 cycles/byte)  rate 0.0002  loss 2.0000 (2.885 bits/byte)  "
    )
    assert lines[0].endswith(" tokens/s")
    assert lines[1:] == ["    words -> full", "      flat: 7 of 50 losses -> unknown"]


def test_a_raise_is_not_overlooked(capsys: pytest.CaptureFixture[str]) -> None:
    """A raise stands between two rules, with what was raised and what became of the rate; another move is quieter."""
    show = Progress(100, 50)
    show.decided(RAISE)
    rule, line, again = capsys.readouterr().out.splitlines()
    assert rule == again == "═" * 120
    assert line == (
        "▲▲▲ RAISE at step 8, epoch 2: words → full   "
        "cutoff 256 bins (0.125 cycles/byte) → 1025 bins (0.5 cycles/byte)   rate 2e-05 → 0.0002"
    )
    show.decided(RAISE._replace(knobs=RAISE.knobs_before, raises=()))
    assert "RAISE" not in capsys.readouterr().out


def test_live(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal the present stands below with the guards' words, and what stays is printed above it."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert type(progress(100, 7)) is LiveProgress
    screen = io.StringIO()
    show = LiveProgress(100, 50, console=Console(file=screen, force_terminal=True, width=150, color_system="truecolor"))
    with show:
        show.say("a line that stays")
        show.step(PLAN, {"loss": 2.0}, 1000, explain)
        show.step(PLAN, {"loss": 3.0}, 1000, explain)  # too soon to be drawn
        show.decided(RAISE)
        show.live.refresh()
    told = screen.getvalue()
    assert "a line that stays" in told
    assert "flat: 7 of 50 losses -> unknown" in told
    assert "loss 2.0000" in told
    assert "loss 3.0000" not in told
    assert "\x1b[1;7;33m ▲▲▲ RAISE at step 8" in told


def test_nan_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """A loss that is not a number is shown as what it is."""
    Progress(100, 1).step(PLAN, {"loss": float("nan")}, 1, explain)
    assert "loss nan" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("knob", "value", "told"),
    [("cutoff", 128, "128 bins (0.0625 cycles/byte)"), ("seq_len", 64, "64"), ("cutoff", "full", "full")],
)
def test_units(knob: str, value: int | str, told: str) -> None:
    """A cutoff is told in bins and in cycles per byte, other knobs as they are."""
    assert in_units(knob, value) == told


def test_on_a_real_terminal() -> None:
    """What a live display shows, and what others print meanwhile, reaches a terminal once."""
    reader, writer = os.openpty()
    code = (
        "from plateau_rule.fftcore.progress import LiveProgress, progress\n"
        "with progress(100, 7) as show:\n"
        "    assert type(show) is LiveProgress\n"
        "    show.say('a line that stays')\n"
        "    print('from elsewhere')\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], stdout=writer, stderr=subprocess.PIPE, timeout=60, check=False)
    os.close(writer)
    shown = os.read(reader, 1 << 16).decode()
    os.close(reader)
    assert ended.returncode == 0, ended.stderr.decode()[-500:]
    assert shown.count("a line that stays") == shown.count("from elsewhere") == 1
