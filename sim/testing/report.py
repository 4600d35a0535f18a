"""What `plateau test` and the pytest plugin print of scenarios."""

from __future__ import annotations

from plateau_rule.sim.testing.scenario import Result, Suite


def report(suite: Suite, results: list[Result]) -> list[str]:
    """What to print: a line for each scenario, and for those that fail what was expected and what was decided."""
    lines = [f"{suite.path}: {suite.curriculum.name}"]
    for result in results:
        lines.append(f"  {'FAILED' if result.failures else 'ok'}: {result.scenario.name}")
        lines += [f"    {failure}" for failure in result.failures]
        if result.failures:
            lines += [
                f'    step {d.step} (epoch {d.epoch}): "{d.from_state}" -> "{d.to_state}" by {d.transition}'
                for d in result.decisions
            ] or ["    no transition was taken"]
            lines += [f"    {line}" for line in result.explained]
    return lines
