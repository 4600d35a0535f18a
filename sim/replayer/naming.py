"""Under which name a log holds a metric that guards ask for, and whether it is one of which more is better."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set

import numpy as np

from plateau_rule.controller.language.consistency import nearest
from plateau_rule.controller.language.curriculum import Curriculum
from plateau_rule.controller.language.metrics import metric_of
from plateau_rule.controller.verifier.declared import sounds_like_score
from plateau_rule.sim.logs import Log
from plateau_rule.sim.logs.series import EVAL, is_eval, words


def alike_in(metric: str, has: Iterable[str]) -> str | None:
    """The log's name for a metric of evaluations: the same words but for that of the split (eval_loss for val_loss)."""
    asked = words(metric)
    if not asked & EVAL:
        return next((name for name in has if name.rpartition("/")[2] == metric and not is_eval(name)), None)
    names = [name for name in has if name.rpartition("/")[2] == metric] or [
        name for name in has if words(name) & EVAL and words(name) - EVAL == asked - EVAL
    ]
    return names[0] if names else None


def rising(curriculum: Curriculum, log: Log, names: Mapping[str, str]) -> Iterator[str]:
    """A sentence on each metric that is taken as a loss, sounds like a score, and rises.

    Args:
        curriculum: what guards ask for.
        log: what holds the values.
        names: the log's name of each metric.
    """
    for metric, name in names.items():
        values = log.evaluations(name)[1]
        values = values[np.isfinite(values)]
        is_loss = metric_of(curriculum, metric).goal == "min"
        if is_loss and sounds_like_score(metric) and len(values) > 1 and values[-1] > values[0]:
            yield (
                f"{metric} rose from {values[0]:.4g} to {values[-1]:.4g} and is taken as a loss: "
                f'write goal = "max" under [metric."{metric}"]'
            )


def evaluations_of(curriculum: Curriculum, log: Log, wanted: Set[str]) -> tuple[list[tuple[str, str]], list[str]]:
    """Which of a log's evaluations a curriculum is shown, and what is to be said of that.

    Args:
        curriculum: what guards ask for.
        log: what holds the values.
        wanted: the metrics that guards watch, beside the loss.

    Returns:
        The name under which guards ask for each metric, with the log's name; and sentences.
    """
    has = log.report.evals
    names, notes = {metric: metric for metric in wanted if metric in has}, list[str]()
    for metric in sorted(wanted - names.keys()):
        alike = alike_in(metric, has) or (log.report.eval_loss if words(metric) - EVAL == {"loss"} else None)
        if alike is None:
            known = f" {nearest(metric, has)}" if has else ""
            notes.append(f"the log holds no {metric}: guards that watch it stay unknown.{known}")
        else:
            names[metric] = alike
            notes.append(f"{metric} is read from the log's {alike}")
    notes += rising(curriculum, log, names)
    asked = [place for place, transition in enumerate(curriculum.transition) if transition.at == "eval"]
    others = [name for name in (log.report.eval_loss, *has) if name is not None and words(name) & EVAL]
    extra = [(name, name) for name in others[:1] if asked and name not in names.values()]
    if asked and not names and not extra:
        titles = [curriculum.transition[place].name or f"transition {place + 1}" for place in asked]
        are, were = ("is", "was") if len(titles) == 1 else ("are", "were")
        notes.append(
            f"the log holds no evaluations, so {' and '.join(titles)}, which {are} looked at when one comes, "
            f"{were} never looked at"
        )
    return [*names.items(), *extra], notes
