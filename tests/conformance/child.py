"""`python -m tests.conformance.child ADAPTER CASE FOLDER [resume]`: a run in a process of its own, to be killed."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.conformance.cases import CASES, KILLED, MIDDLE, RANKS
from tests.conformance.drivers import driver
from tests.conformance.processes import end_rank

if __name__ == "__main__":
    name, wanted, folder, *resume = sys.argv[1:]
    (case,) = (case for case in (*CASES, KILLED, MIDDLE, RANKS) if case.name == wanted)
    driver(name)(case, Path(folder), bool(resume))
    end_rank()
