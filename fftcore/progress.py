"""What a run says while it runs: live on a terminal, plain lines elsewhere."""

from __future__ import annotations

import io
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from math import log
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, cast

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from plateau_rule.controller.plan import Decision, Plan
from plateau_rule.fftcore.remaining import Remaining
from plateau_rule.fftcore.spectral import cycles_per_byte

Explain = Callable[[], Sequence[str]]


class Output(io.TextIOBase):
    """The standard output. If it is lost, by a closed pipe or a full disk, `lost` says why, and the rest is dropped.

    It keeps the stream that it began with: while a live display is on, `sys.stdout` is one that writes to this one.
    """

    lost: OSError | None = None

    def __init__(self) -> None:
        super().__init__()
        self._stream = sys.stdout

    def writable(self) -> bool:
        """Return True: what cannot be written is dropped."""
        return True

    def isatty(self) -> bool:
        """Return whether it is a terminal."""
        return self._stream is not None and self._stream.isatty()

    def fileno(self) -> int:
        """Return its descriptor."""
        return self._stream.fileno()

    def write(self, text: str) -> int:
        """Write some text, if it can be."""
        if self._stream is not None and self.lost is None:
            try:
                self._stream.write(text)
            except UnicodeEncodeError:
                spelling = self._stream.encoding
                self._stream.write(text.encode(spelling, "replace").decode(spelling))
            except OSError as error:
                self._lose(error)
        return len(text)

    def flush(self) -> None:
        """Hand over what was written, if it can be."""
        if self._stream is not None and self.lost is None:
            try:
                self._stream.flush()
            except OSError as error:
                self._lose(error)

    def _lose(self, error: OSError) -> None:
        self.lost = error
        # What is still buffered must not complain when Python exits.
        with suppress(OSError), Path(os.devnull).open("wb") as nothing:
            os.dup2(nothing.fileno(), self._stream.fileno())


class Progress:
    """Plain lines, one every `log_every` steps.

    Args:
        total_steps: of the run.
        log_every: steps from one line to the next.
        remaining: says how long the run still takes; None says nothing of it.
    """

    def __init__(self, total_steps: int, log_every: int, remaining: Remaining | None = None) -> None:
        self.total_steps, self.log_every, self.remaining = total_steps, log_every, remaining
        self.output = Output()
        self._times: deque[tuple[float, int]] = deque(maxlen=50)
        self._bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        pass

    @property
    def lost(self) -> OSError | None:
        """Why nothing can be said any more, if so."""
        return self.output.lost

    def say(self, line: str, style: str = "") -> None:
        """Print a line that stays."""
        print(line, file=self.output, flush=True)

    def step(self, plan: Plan, row: Mapping[str, Any], trained_bytes: int, explain: Explain) -> None:
        """Take note of a step and its row; show it when it is its turn."""
        self._note(plan, row, trained_bytes)
        if plan.step % self.log_every == 0:
            self.say(self.told(plan, row))
            for line in explain():
                self.say(f"    {line}")

    def _note(self, plan: Plan, row: Mapping[str, Any], trained_bytes: int) -> float:
        """Take note of when a step was done, and return that."""
        now = time.perf_counter()
        if self.remaining is not None and self._times:
            self.remaining.took(plan, now - self._times[-1][0], "val_bpb" in row)
        self._bytes += trained_bytes
        self._times.append((now, self._bytes))
        return now

    def told(self, plan: Plan, row: Mapping[str, Any]) -> str:
        """Put one step into one line."""
        knobs = "  ".join(f"{name} {in_units(name, value)}" for name, value in plan.knobs.items())
        loss = float(row["loss"])
        left = "" if self.remaining is None else f"  {self.remaining.told(plan)}"
        return (
            f"step {plan.step}/{self.total_steps}  epoch {plan.epoch}  {plan.state}  {knobs}  rate {plan.lr:.3g}  "
            f"loss {loss:.4f} ({loss / log(2):.3f} bits/byte)  {self.speed()}{left}"
        )

    def speed(self) -> str:
        """Say how many bytes are trained in a second, over the last 50 steps."""
        if len(self._times) < 2:
            return "… tokens/s"
        (since, before), (now, after) = self._times[0], self._times[-1]
        return f"{(after - before) / max(now - since, 1e-9):,.0f} tokens/s"

    def decided(self, decision: Decision) -> None:
        """Announce a transition; a raise is a line that nobody overlooks."""
        changed = "  ".join(
            f"{name} {in_units(name, decision.knobs_before[name])} → {in_units(name, value)}"
            for name, value in decision.knobs.items()
            if value != decision.knobs_before[name]
        )
        word = "▲▲▲ RAISE" if decision.raises else "─── MOVE"
        self.banner(
            f"{word} at step {decision.step}, epoch {decision.epoch}: {decision.from_state} → {decision.to_state}   "
            f"{changed}   rate {decision.lr_before:.3g} → {decision.lr:.3g}",
            bool(decision.raises),
        )

    def banner(self, line: str, loud: bool) -> None:
        """Print a line between two rules."""
        rule = ("═" if loud else "─") * min(len(line), 120)
        self.say(rule)
        self.say(line)
        self.say(rule)


class LiveProgress(Progress):
    """The same on a terminal: what stays scrolls by, the present stands below.

    Args:
        total_steps: of the run.
        log_every: unused; the present is drawn four times a second.
        remaining: says how long the run still takes.
        console: where to; the standard output by default.
    """

    def __init__(
        self, total_steps: int, log_every: int, remaining: Remaining | None = None, console: Console | None = None
    ) -> None:
        super().__init__(total_steps, log_every, remaining)
        self.console = console = console or Console(file=cast(IO[str], self.output), highlight=False)
        self.live = Live(console=console, refresh_per_second=4, transient=True)
        self._drawn = 0.0

    def __enter__(self) -> Self:
        self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.live.stop()

    def say(self, line: str, style: str = "") -> None:
        """Print a line above the present."""
        self.console.print(Text(line, style), soft_wrap=True)

    def step(self, plan: Plan, row: Mapping[str, Any], trained_bytes: int, explain: Explain) -> None:
        """Take note of a step and its row; redraw the present if it is old."""
        now = self._note(plan, row, trained_bytes)
        if now - self._drawn < 0.25:
            return
        self._drawn = now
        done = round(40 * (plan.step + 1) / self.total_steps)
        bar = Text("━" * done, "green") + Text("━" * (40 - done), "grey37") + Text(f"  {plan.state}", "bold")
        guards = [Text(f"  {line}", "dim") for line in explain()]
        self.live.update(Group(bar, Text(self.told(plan, row)), *guards))

    def banner(self, line: str, loud: bool) -> None:
        """Print a line over the whole width, in reverse if it is loud."""
        style = "bold reverse yellow" if loud else "bold"
        self.console.print(Text(f" {line} ".ljust(self.console.width), style), soft_wrap=True)


class Silence(Progress):
    """Says nothing: the ranks of a run but for the one that speaks for all."""

    def __init__(self) -> None:
        super().__init__(0, 1)

    def say(self, line: str, style: str = "") -> None:
        """Say nothing."""

    def step(self, plan: Plan, row: Mapping[str, Any], trained_bytes: int, explain: Explain) -> None:
        """Say nothing."""


def progress(total_steps: int, log_every: int, remaining: Remaining | None = None) -> Progress:
    """Return what suits the standard output."""
    show = Progress(total_steps, log_every, remaining)
    return LiveProgress(total_steps, log_every, remaining) if show.output.isatty() else show


def in_units(knob: str, value: float | str) -> str:
    """Spell a knob's value; a cutoff in bins and in cycles per byte."""
    if knob == "cutoff" and not isinstance(value, str):
        return f"{value} bins ({cycles_per_byte(int(value)):.4g} cycles/byte)"
    return str(value)
