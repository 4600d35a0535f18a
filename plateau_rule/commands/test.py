"""The command `plateau test`. What it needs is imported when it is called."""

from __future__ import annotations

from pathlib import Path

from plateau_rule.commands.options import BOUND, BoundOptions, UsageError


def test(*files: Path, bound: BoundOptions = BOUND) -> int:
    """Carry out scenario files: does a curriculum do what was expected of it?

    Exits with 0 if everything expected happened, 1 if not, 2 if a file cannot be carried out.

    Args:
        files: Scenario files.
        bound: What the curricula are bound to, in place of what the scenario files say.
    """
    from plateau_rule.sim.testing.report import report
    from plateau_rule.sim.testing.scenario import read, run

    if not files:
        raise UsageError("plateau test: name a scenario file")
    binding, failed = bound.binding(), 0
    for suite in map(read, files):
        results = [run(suite, scenario, binding) for scenario in suite.file.scenario]
        print("\n".join(report(suite, results)))
        failed += sum(bool(result.failures) for result in results)
    return 1 if failed else 0
