"""kill −9 at any moment costs at most what was done since the last commit."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_killed_runs(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    """A run killed between storage calls, in a write or in a step, resumes to the same end, bit for bit."""
    command = [sys.executable, "-m", "tests.faults.killing", str(tmp_path)]
    result = subprocess.run(command, cwd=pytestconfig.rootpath, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-3000:]
    told = json.loads(result.stderr.splitlines()[-1])
    kills = told["kills"]
    assert len(kills) >= 30
    # A torn "write" that hits another kind of call kills before it; so each of them was killed.
    assert [kill for kill in kills if kill["status"] != -9] == []
    assert [kill for kill in kills if not kill["same"]] == []
