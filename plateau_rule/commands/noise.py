"""The command `plateau noise`. What it needs is imported when it is called."""

from __future__ import annotations

from plateau_rule.commands.options import READING, JsonFlag, ReadingOptions, print_json, read_logs


def noise(
    *logs: str,
    curriculum: str = "plateau",
    as_json: JsonFlag = False,
    steps_per_epoch: int | None = None,
    reading: ReadingOptions = READING,
) -> None:
    """Estimate the noise of a log, and whether a curriculum's windows can tell a plateau from it.

    Args:
        logs: Logs. Several are parts of one run.
        curriculum: The curriculum whose plateau guards to look at: a file, or the name of a shipped one.
        as_json: Print one JSON object instead of sentences.
        steps_per_epoch: Optimizer steps in an epoch, for a log that counts steps within epochs.
        reading: How to read the log.
    """
    from dataclasses import asdict

    from plateau_rule.controller.language.reading import load
    from plateau_rule.sim.lint import lint
    from plateau_rule.sim.logs.epochs import epoch_steps_of
    from plateau_rule.sim.noise import noise_of
    from plateau_rule.sim.replayer.tables import print_noise, say

    guards = load(curriculum)
    history = read_logs(logs, reading, steps_per_epoch)
    if not as_json:
        say(str(history.report))  # it is worth reading also where there are too few losses for more
        print()
    found = noise_of(history, steps_per_epoch or epoch_steps_of(history) or guards.run.steps_per_epoch)
    lints = lint(guards, found)
    if as_json:
        print_json({**asdict(found), "curriculum": guards.name, "guards": [asdict(each) for each in lints]})
        return
    print_noise(found)
    if lints:
        print(f'\nWhat it does to curriculum "{guards.name}":')
    for each in lints:
        say(f"{'warning' if each.warning else 'ok'}: {each}")
