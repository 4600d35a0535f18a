"""What `pytest --curricula DIR` collects: a test for each property of each curriculum, and for each scenario.

Each `NAME.toml` is loaded, checked as `plateau check` does, and tried on streams that hypothesis draws and shrinks;
each `NAME.test.toml` is a file of scenarios as for `plateau test`. `plugin.py` loads this module once it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from plateau_rule.controller.binding import Binding
    from plateau_rule.controller.language.curriculum import Curriculum

BOUND = ("epochs", "steps_per_epoch", "tokens_per_step", "peak")
SCENARIOS = ".test.toml"
LONGEST = 200_000  # steps of a run that is tried step by step; `plateau check` knows no such limit
# What is tested of each curriculum: the property of `plateau check` that it is an instance of, which a file may waive.
PROPERTIES = {
    "sound": "",
    "aligned": "aligned",
    "never_regresses": "monotone",
    "finishes": "escape",
    "resume_identical": "resume",
}


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Curricula and scenarios of the folder."""
    folder: Path = parent.config.getoption("--curricula")
    if file_path.suffix != ".toml" or not file_path.resolve().is_relative_to(folder.resolve()):
        return None
    kind = ScenarioFile if file_path.name.endswith(SCENARIOS) else CurriculumFile
    return kind.from_parent(parent, path=file_path)


class CurriculumFile(pytest.File):
    """One curriculum: a test for each property."""

    def collect(self) -> Iterator[pytest.Item]:
        """The properties."""
        for name in PROPERTIES:
            yield PropertyItem.from_parent(self, name=name)


class ScenarioFile(pytest.File):
    """One file of scenarios."""

    def collect(self) -> Iterator[pytest.Item]:
        """The scenarios."""
        from plateau_rule.controller.errors import PlateauError
        from plateau_rule.sim.testing.scenario import read

        try:
            suite = read(self.path)
        except PlateauError as error:
            raise self.CollectError(str(error)) from None
        for scenario in suite.file.scenario:
            yield ScenarioItem.from_parent(self, name=scenario.name, suite=suite, scenario=scenario)


class _Item(pytest.Item):
    """A test whose failure is a few sentences, not a traceback through our code."""

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """What went wrong, and the stream that shows it."""
        error = excinfo.value
        from plateau_rule.controller.errors import PlateauError

        if isinstance(error, AssertionError | PlateauError):
            return "\n".join([str(error), *getattr(error, "__notes__", [])])
        return super().repr_failure(excinfo)

    def reportinfo(self) -> tuple[Path, None, str]:
        """Where it stands."""
        return self.path, None, f"{self.path.name}: {self.name}"


class ScenarioItem(_Item):
    """One scenario."""

    def __init__(self, *, suite: Any, scenario: Any, **keys: Any) -> None:
        super().__init__(**keys)
        self.suite, self.scenario = suite, scenario

    def runtest(self) -> None:
        """Carry it out."""
        from plateau_rule.sim.testing.report import report
        from plateau_rule.sim.testing.scenario import run

        result = run(self.suite, self.scenario)
        if result.failures:
            raise AssertionError("\n".join(report(self.suite, [result])))


class PropertyItem(_Item):
    """One property of one curriculum."""

    def runtest(self) -> None:
        """Show it, or find the shortest stream that breaks it."""
        from plateau_rule.controller.binding import bind
        from plateau_rule.controller.language.reading import load
        from plateau_rule.controller.verifier.verify import verify

        curriculum, waivable = load(self.path), PROPERTIES[self.name]
        if waivable in curriculum.check.waive:
            waiver = curriculum.check.waive[waivable]
            why = waiver if isinstance(waiver, str) else "; ".join(f"{name}: {why}" for name, why in waiver.items())
            pytest.skip(f"waived in the file: {why}")
        binding = binding_of(self.config)
        report = verify(bind(curriculum, binding))
        found = [finding for finding in report.findings if finding.severity in ("error", "warning")]
        if self.name == "sound":
            if report.broken:
                raise AssertionError("\n".join(map(str, found)))
        elif self.name == "finishes" and (may_stay := [one for one in found if one.property == waivable]):
            pytest.skip(f"not for every loss stream, as plateau check says: {may_stay[0].sentence}")
        else:
            _holds(self.name, curriculum, binding, self.config.getoption("--curricula-examples"))


def binding_of(config: pytest.Config) -> Binding:
    """What the options bind curricula to, as those of `plateau check` do.

    Raises:
        BindingError: Where an option's value is none.
    """
    from plateau_rule.controller.binding import Binding
    from plateau_rule.controller.errors import BindingError
    from plateau_rule.controller.limits import limits_in

    limits = limits_in(config.getoption("--curricula-limit"), "--curricula-limit")
    given = {name: config.getoption(f"--curricula-{name.replace('_', '-')}") for name in BOUND}
    try:
        return Binding(limits, **given)
    except BindingError as error:
        faults = [replace(one, where="--curricula-" + str(one.path[0]).replace("_", "-")) for one in error.faults]
        raise BindingError(faults) from None


class Stretched(tuple[float, ...]):
    """A few losses, each of them repeated, as one stream that prints as what it is made of."""

    few: tuple[float, ...]
    times: int

    @classmethod
    def of(cls, losses: Iterable[float], steps: int) -> Stretched:
        """Repeat each loss so often that the stream has at least `steps`."""
        few = tuple(losses)
        times = max(1, -(-steps // max(1, len(few))))
        stream = cls(loss for loss in few for _ in range(times))
        stream.few, stream.times = few, times
        return stream

    def __repr__(self) -> str:
        losses = " ".join(f"{loss:g}" for loss in self.few)
        return f"<{len(self)} losses: {losses}; each of them {self.times} times>"


def _holds(name: str, curriculum: Curriculum, binding: Binding, examples: int) -> None:
    """Try a property on drawn streams, as long as the run."""
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import strategies as st

    from plateau_rule.controller.binding import bind
    from plateau_rule.sim import strategies

    machine = bind(curriculum, binding)
    total = machine.run.total_steps
    if total is None:
        pytest.skip("its [run] has no length: add epochs and steps_per_epoch, or give them as options")
    if total > LONGEST:
        pytest.skip(f"a run of {total:,} steps is too long to be tried step by step")
    check: Callable[..., None] = getattr(strategies, f"assert_{name}")
    length = min(total, 400) if name == "resume_identical" else total  # there every step is a resume

    @st.composite
    def streams(draw: st.DrawFn) -> tuple[float, ...]:
        """A few losses that fill the run, or many that fill its beginning."""
        if draw(st.booleans()):
            many = min(length, 200)
            return draw(strategies.loss_streams(min_size=many, max_size=many + 100))[:length]
        return Stretched.of(draw(strategies.loss_streams(min_size=1, max_size=40, nonfinite=False)), length)

    @settings(
        max_examples=examples if name != "resume_identical" else max(1, examples // 5),
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
        report_multiple_bugs=False,
        print_blob=False,
    )
    @given(losses=streams())
    def tried(losses: tuple[float, ...]) -> None:
        check(curriculum, losses, limits=binding.limits, **{name: getattr(binding, name) for name in BOUND})

    tried()
