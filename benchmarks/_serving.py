"""The page's server as a process of its own, and what it has cost so far; Linux alone."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from time import time
from types import TracebackType
from urllib.parse import urlencode
from urllib.request import urlopen

from plateau_rule import Controller, loads
from plateau_rule.controller.language.reading import contents
from plateau_rule.sim.run_files import METRICS
from plateau_rule.sim.run_folder import RunFolder, one_line

TICKS = os.sysconf("SC_CLK_TCK")


class ServerProcess:
    """`plateau page` on some words, until it is left.

    Args:
        words: what the command is given.

    Attributes:
        began: seconds since 1970 when it was started.
        url: the link that it printed.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self.began = time()
        command = [sys.executable, "-P", "-m", "plateau_rule", "page", *words, "--no-browser"]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        if not self.url:
            raise RuntimeError(f"{' '.join(command)}: printed no link")

    def __enter__(self) -> ServerProcess:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.terminate()
        self._process.wait()

    def ask(self, question: str, **values: object) -> bytes:
        """An answer of the server, without a browser."""
        with urlopen(f"{self.url}{question}?{urlencode(values)}") as answer:
            found: bytes = answer.read()
        return found

    def processor_s(self) -> float:
        """Seconds of processor time that it has taken, children not counted."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def memory_mib(self, which: str = "VmRSS") -> float:
        """Memory that it holds; `VmHWM`: the most that it ever held."""
        lines = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(which)) / 1024


class LongRun:
    """The folder of a run under `plateau`, that is written row by row by hand: much faster than by training.

    Args:
        folder: to write.
        epochs: of the run.
        steps_per_epoch: of the run.
    """

    def __init__(self, folder: Path, epochs: int, steps_per_epoch: int) -> None:
        curriculum = loads(*contents("plateau"))
        limits = {"cutoff": 1025}
        controller = Controller(curriculum, limits=limits, epochs=epochs, steps_per_epoch=steps_per_epoch)
        RunFolder(folder, controller, 0, "benchmark").close()
        self.folder, self.step, self._per_epoch = folder, 0, steps_per_epoch
        self._file = (folder / METRICS).open("a")

    def write(self, losses: Sequence[float]) -> int:
        """Write the rows of the next steps; how many bytes the log has then."""
        row = {"step": "%d", "epoch": "%d", "state": "syntax", "knobs": {"cutoff": 128}, "lr": 2e-4, "loss": "%s"}
        form = one_line({**row, "grad_norm": 1.25}).replace('"%d"', "%d").replace('"%s"', "%s") + "\n"
        start, per_epoch = self.step, self._per_epoch
        self._file.writelines(form % (step, step // per_epoch, loss) for step, loss in enumerate(losses, start))
        self.step += len(losses)
        self._file.flush()
        return self._file.tell()

    def close(self) -> None:
        """Give the file back."""
        self._file.close()
