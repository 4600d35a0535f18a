"""The command `plateau test`. What it needs is imported when it is called."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from plateau_rule.commands.options import BOUND, BoundOptions, Flag, Several, UsageError, bound_to, require_knobs

if TYPE_CHECKING:
    from plateau_rule.controller.binding import Binding
    from plateau_rule.sim.testing.cover import Tried


def test(*files: Path, cover: Flag = False, log: Several = (), bound: BoundOptions = BOUND) -> int:
    """Carry out scenario files: does a curriculum do what was expected of it?

    Exits with 0 if everything expected happened, 1 if not, 2 if a file cannot be carried out.

    Args:
        files: Scenario files, or folders of files that end in .test.toml.
        cover: List the transitions and guards that no scenario and no log ever took.
        log: With --cover: a log that each curriculum is replayed over; repeat it for parts of one run.
        bound: What the curricula are bound to, in place of what the scenario files say.
    """
    from plateau_rule.commands.sources import scenarios_in
    from plateau_rule.controller.verifier.coverage import Coverage
    from plateau_rule.sim.testing.cover import Tried
    from plateau_rule.sim.testing.report import report
    from plateau_rule.sim.testing.scenario import read, run

    if not files:
        raise UsageError("plateau test: name a scenario file")
    if log and not cover:
        raise UsageError("plateau test: --log is for --cover; plateau replay replays a log")
    asked, failed = bound.binding(), 0
    tried: dict[str, Tried] = {}
    suites = [read(file) for word in files for file in scenarios_in(word)]
    require_knobs(asked, *[suite.curriculum for suite in suites])
    for suite in suites:
        binding = bound_to(suite.curriculum, asked)
        machine = suite.controller(binding).machine
        results = []
        for scenario in suite.file.scenario:
            coverage = Coverage(machine) if cover else None
            results.append(run(suite, scenario, binding, coverage))
            if coverage is not None:
                tried.setdefault(suite.file.curriculum, Tried(machine)).note_runs(coverage)
        print("\n".join(report(suite, results)))
        failed += sum(bool(result.failures) for result in results)
    for name, one in tried.items():
        if log:
            _replay(one, log, asked)
        print("\n".join(one.lines(name)))
    return 1 if failed else 0


def _replay(tried: Tried, log: Sequence[str], binding: Binding) -> None:
    """Replay a log, and note what it took."""
    from plateau_rule.commands.options import READING, read_logs
    from plateau_rule.sim.replayer.replay import replay

    history = read_logs(log, READING, binding.steps_per_epoch, curricula=[tried.curriculum])
    tried.note_replay(replay(tried.curriculum, history, binding))
