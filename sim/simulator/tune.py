"""Which settings of a plateau raise how often too early, and how late, on losses like the ones that were logged?

A log is taken apart into its course (smoothed) and its noise (as the noise lint estimates it), and put together again
many times with fresh noise. A curriculum with other settings is replayed over all of these up to its first raise, for
what comes after it no log can tell. Optuna proposes the settings (an extra); false raises and delay pull in opposite
directions, so what is best is a front, not a point.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import ceil
from typing import Any

import numpy as np

from plateau_rule.controller.binding import Binding, bind
from plateau_rule.controller.errors import PlateauError
from plateau_rule.controller.guards.dwell import Dwell
from plateau_rule.controller.guards.min_step import MinStep
from plateau_rule.controller.guards.plateau import Plateau, PlateauWord
from plateau_rule.controller.language.conditions import parts
from plateau_rule.controller.language.curriculum import Curriculum, Guard
from plateau_rule.controller.machine import Machine
from plateau_rule.sim.batch import replay_all
from plateau_rule.sim.logs import Log
from plateau_rule.sim.noise import NoiseError, noise_of
from plateau_rule.sim.replayer.setting import Setting, per_point, setting_of
from plateau_rule.sim.simulator.learner import Floats
from plateau_rule.sim.simulator.simulate import rate_of, truth_of

COPIES = 200
FEWEST = 400  # losses of a log
LONGEST = 20_000  # beyond, a log is cut off: its first raise is over by then, or never comes
EARLY = 2.0  # as in a simulation's summary
_STEPS = re.compile(r"(\d+) steps?")


class TuneError(PlateauError):
    """A log or settings that cannot be tuned on."""


@dataclass(frozen=True)
class Over:
    """A setting and where it is looked for."""

    name: str
    low: float
    high: float
    whole: bool


@dataclass(frozen=True)
class Measured:
    """Settings, and what they do: the share of false raises (too early), of copies without one, the median delay.

    delay: steps to the raise from where one is first not false, over the raises that are not; None without any.
    """

    settings: Mapping[str, float]
    false: float
    missed: float
    delay: float | None
    best: bool = False  # no other settings are better in one respect and as good in the other

    def as_dict(self) -> dict[str, Any]:
        """The same as JSON-able data."""
        return asdict(self)


@dataclass(frozen=True)
class NoisyCourse:
    """A log's course: noisy copies [copy, step], where a raise is false, and whether it becomes flat at all.

    A raise is false while the course improves more than EARLY times as fast as what is called flat.

    Attributes:
        setting: what the log's run was; None where the binding tells.
        spacing: steps that one value stands for.
    """

    losses: Floats
    improving: np.ndarray[Any, np.dtype[np.bool_]]
    flattens: bool
    setting: Setting | None = None
    spacing: int = 1

    @property
    def ready(self) -> int:
        """The first step on which a raise is not false."""
        return int(np.argmin(self.improving))


def course(log: Log, rate: float, seed: int) -> NoisyCourse:
    """Take a log apart, and put it together again COPIES times.

    log: of at least FEWEST losses. rate: relative improvement for each point under which the course is flat.
    Raises TuneError where there are too few.
    """
    points = log.points()
    loss = points.loss[np.isfinite(points.loss)][:LONGEST]
    try:
        noise = noise_of(log)
    except NoiseError as error:
        raise TuneError(str(error)) from None
    if len(loss) < FEWEST:
        raise TuneError(f"{len(loss)} finite losses are too few to tune on; expected at least {FEWEST}")
    half = min(500, max(10, len(loss) // 50))
    smooth = _smoothed(loss, half)
    ahead = np.append(smooth[half:], np.full(half, smooth[-1]))
    falls = (smooth - ahead) / (np.abs(smooth) * half)
    falls[-half:] = falls[-half - 1]
    rng = np.random.default_rng(seed)
    rho = min(0.95, max(0.0, noise.rho))
    normal = rng.standard_normal((len(smooth), COPIES))
    normal[1:] *= np.sqrt(1.0 - rho * rho)
    for step in range(1, len(normal)):
        normal[step] += rho * normal[step - 1]
    losses = np.ascontiguousarray((smooth[:, None] * (1.0 + noise.sigma * normal)).T)
    return NoisyCourse(losses, falls > EARLY * rate, bool((falls < rate).any()))


def _smoothed(loss: Floats, half: int) -> Floats:
    """Means over 2 half + 1 points, fewer at the ends, twice: a triangle."""
    for _ in range(2):
        total = np.concatenate(([0.0], np.cumsum(loss)))
        place = np.arange(len(loss))
        reach = np.minimum(half, np.minimum(place, len(loss) - 1 - place))
        loss = (total[place + reach + 1] - total[place - reach]) / (2 * reach + 1)
    return loss


def measure(
    curriculum: Curriculum, courses: Sequence[NoisyCourse], binding: Binding, workers: int | None = None
) -> Measured:
    """Replay a curriculum over the copies of every course, up to its first raise in each."""
    early, missed, delays, copies = 0, 0, list[Floats](), 0
    for each in courses:
        own, bound = (
            (curriculum, binding) if each.setting is None else in_points(curriculum, each.setting, each.spacing)
        )
        found = replay_all(own, each.losses, binding=bound, workers=workers).decisions
        runs, places = np.unique(found.run, return_index=True)
        steps = found.step[places] - 1  # the observation that brought it
        false = each.improving[steps]
        copies += len(each.losses)
        early += int(false.sum())
        missed += (len(each.losses) - len(runs)) if each.flattens else 0
        if each.flattens:
            delays.append((steps[~false] - each.ready).astype(np.float64))
    delay = np.concatenate(delays) if delays else np.zeros(0)
    return Measured({}, early / copies, missed / copies, float(np.median(delay)) if len(delay) else None)


def in_points(curriculum: Curriculum, setting: Setting, spacing: int) -> tuple[Curriculum, Binding]:
    """A curriculum and what it is bound to, for copies that have one value where the run had `spacing` steps.

    As in a replay, a window counts values, and what is measured by time means steps: so there are that many fewer
    steps in an epoch, in a dwell and before a first raise.
    """
    bound, per_epoch = setting.binding, setting.steps_per_epoch
    if spacing == 1:
        return curriculum, bound

    def fewer(value: Any) -> Any:
        if isinstance(value, list):
            return [fewer(inner) for inner in value]
        if not isinstance(value, dict):
            return value
        found = {key: fewer(inner) for key, inner in value.items()}
        if isinstance(found.get(MinStep.name), int):
            found[MinStep.name] = ceil(found[MinStep.name] / spacing)
        if isinstance(found.get(Dwell.name), str) and (steps := _STEPS.fullmatch(found[Dwell.name])):
            found[Dwell.name] = f"{ceil(int(steps[1]) / spacing)} steps"
        return found

    written = per_point(curriculum, setting, spacing).model_dump(mode="json", by_alias=True, exclude_unset=True)
    fewer_tokens = bound.tokens_per_step and bound.tokens_per_step * spacing
    shorter = None if per_epoch is None else max(1, round(per_epoch / spacing))
    return (
        Curriculum.model_validate(fewer(written)),
        replace(bound, steps_per_epoch=shorter, tokens_per_step=fewer_tokens, lag=bound.lag and bound.lag // spacing),
    )


# Settings


def over(words: Sequence[str]) -> list[Over]:
    """Read NAME=LOW..HIGH, for keys of a plateau guard. Raises TuneError where a word says something else."""
    found = []
    for word in words:
        name, _, text = word.partition("=")
        low, _, high = text.partition("..")
        kind = Plateau.model_fields.get(name)
        try:
            bounds = float(low), float(high)
        except ValueError:
            bounds = 1.0, 0.0
        if kind is None or kind.annotation not in (int, float) or not 0 < bounds[0] < bounds[1] < float("inf"):
            numbers = [key for key, field in Plateau.model_fields.items() if field.annotation in (int, float)]
            raise TuneError(
                f"--over {word}: expected NAME=LOW..HIGH, for instance --over window=50..800. "
                f"Names: {', '.join(numbers)}"
            )
        found.append(Over(name, *bounds, whole=kind.annotation is int))
    return found


def with_settings(curriculum: Curriculum, settings: Mapping[str, float]) -> Curriculum:
    """The curriculum with other numbers in each of its plateau guards. Raises CurriculumError where they do not fit."""

    def changed(value: Any) -> Any:
        if isinstance(value, dict):
            found = {key: changed(inner) for key, inner in value.items()}
            if isinstance(found.get(PlateauWord.name), dict):
                found[PlateauWord.name] |= settings
            return found
        return [changed(inner) for inner in value] if isinstance(value, list) else value

    return Curriculum.model_validate(changed(curriculum.model_dump(by_alias=True, exclude_unset=True)))


def has_plateau(machine: Machine) -> bool:
    """Whether any plateau guard is asked at all."""
    curriculum = machine.curriculum
    written: list[Any] = [*curriculum.guard.values(), *(g for t in curriculum.transition for g in t.guards)]
    while written:
        guard = written.pop()
        if isinstance(guard, Guard) and isinstance(guard.value, Plateau):
            return True
        written += [part for part, _ in parts(guard, ())]
    return False


def _course_of(curriculum: Curriculum, log: Log, binding: Binding, flat: str | None, seed: int) -> NoisyCourse:
    """A log's course, with what its run was, and how many steps one value stands for."""
    setting = setting_of(curriculum, log, binding)
    spacing = 1 if log.report.counted == "row" else log.report.spacing
    spacing *= (setting.steps_per_epoch or 1) if setting.stretched else 1
    own = bind(*in_points(curriculum, setting, spacing))
    rate = truth_of(own, None).rate if flat is None else rate_of(flat, bind(curriculum, binding).run) * spacing
    return replace(course(log, rate, seed), setting=setting, spacing=spacing)


def tune(
    curriculum: Curriculum,
    logs: Sequence[Log],
    settings: Sequence[Over],
    *,
    trials: int = 60,
    seed: int = 0,
    flat: str | None = None,
    binding: Binding | None = None,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Measured]:
    """Try settings, and mark the best.

    flat: when the course is flat, such as "2% per 1000 steps"; by default what the curriculum asks for now.
    Returns the settings as written first, then those that were tried, the fewest false raises first.
    Raises TuneError where there is nothing to tune, ImportError where Optuna is not installed.
    """
    import optuna

    binding = binding or Binding()
    machine = bind(curriculum, binding)
    if not settings:
        raise TuneError("nothing to tune: give --over, for instance --over window=50..800 --over threshold=0.002..0.02")
    if not has_plateau(machine):
        raise TuneError(f'"{curriculum.name}" asks for no plateau, so there is nothing to tune')
    courses = [_course_of(curriculum, log, binding, flat, seed + place) for place, log in enumerate(logs)]
    if not any(each.flattens for each in courses):
        raise TuneError(
            "no log becomes flat, that is, improves as slowly as the curriculum's plateau, or --flat, asks for. "
            "Give longer logs, or another --flat"
        )
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(directions=["minimize", "minimize"], sampler=optuna.samplers.TPESampler(seed=seed))
    measured: list[Measured] = []
    never = max(each.losses.shape[1] for each in courses)

    def tried(trial: Any) -> tuple[float, float]:
        chosen = {
            one.name: trial.suggest_int(one.name, int(one.low), int(one.high), log=True)
            if one.whole
            else trial.suggest_float(one.name, one.low, one.high, log=True)
            for one in settings
        }
        found = measure(with_settings(curriculum, chosen), courses, binding, workers)
        measured.append(Measured(chosen, found.false, found.missed, found.delay))
        if progress is not None:
            progress(len(measured), trials)
        return found.false, never if found.delay is None else found.delay + never * found.missed

    study.optimize(tried, n_trials=trials)
    # Of settings that do the same, the first.
    front = {trial.values[0]: trial.number for trial in reversed(study.best_trials)}
    marked = [replace(one, best=place in front.values()) for place, one in enumerate(measured)]
    marked.sort(key=lambda one: (one.false, one.missed, one.delay if one.delay is not None else never))
    return [measure(curriculum, courses, binding, workers), *marked]
