"""A curriculum can be read in any thread, also after the thread that read the first one has ended."""

from __future__ import annotations

import subprocess
import sys

THREADS = """
from threading import Thread

def read():
    from plateau_rule.controller.language.places import Places, syntax_fault
    for _ in range(100):
        Places("a = 1", "file").of(("a",))
        syntax_fault("a = = 1")

first = Thread(target=read)
first.start()
first.join()
for _ in range(20):
    threads = [Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
read()
print("whole")
"""


def test_the_first_thread_may_end() -> None:
    """Threads come and go and read curricula, and the process lives: toml-rs by itself would crash it."""
    done = subprocess.run([sys.executable, "-P", "-c", THREADS], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "whole\n", "")
