"""`import_schedule`: from the arguments of a trainer to a curriculum that has been checked."""

from __future__ import annotations

import re
import warnings
from pathlib import PurePath

from plateau_rule.controller.binding import Binding, bind
from plateau_rule.controller.errors import BindingWarning, CurriculumError, closest, visible
from plateau_rule.controller.language.reading import loads
from plateau_rule.controller.language.writing import formatted
from plateau_rule.controller.verifier.findings import Report
from plateau_rule.controller.verifier.verify import verify
from plateau_rule.sim.schedules import megatron, transformers
from plateau_rule.sim.schedules.arguments import Arguments, ScheduleError, read_arguments, shown
from plateau_rule.sim.schedules.draft import Draft

TOOLS = {"Megatron-LM": megatron.KNOWN, "Transformers": transformers.KNOWN}
# Words in the names of arguments that have to do with the rate; such a one that is not known is not passed over.
_OF_RATE = {"lr", "warmup", "rampup", "scheduler", "anneal"}
# Known by such a name, and saying nothing about the schedule of a run that starts.
_HARMLESS = re.compile(
    r"(override|use_checkpoint)_(opt_param|lr)_scheduler|log_.*|.*(cuda|kernel|nccl|comm|graph|profile|rerun|moe).*"
)
_DECIDES = ("lr", "learning_rate", "lr_scheduler_type", "rampup_batch_size", "step_batch_size_schedule")


def import_schedule(
    content: bytes, file: str, *, steps_per_epoch: int | None = None, nearest: bool = False
) -> tuple[str, Report]:
    """The curriculum that the arguments of a trainer are, and what `check` finds of it.

    Args:
        content: a shell script, a file of arguments, JSON or YAML: the arguments of Megatron-LM or of Transformers.
        file: its name, as errors and the curriculum show it.
        steps_per_epoch: optimizer steps in an epoch, which Transformers' arguments do not say.
        nearest: whether what Megatron-LM ends within a step may end with it.

    Returns:
        The curriculum as TOML, each line with the argument that it comes from; and the report of `verify`.

    Raises:
        ScheduleError: there is no schedule in it, or one that the language has no word for.
    """
    arguments = read_arguments(content, file, (*megatron.KNOWN, *transformers.KNOWN))
    tool = _tool(arguments)
    _require_known(arguments, tool)
    if tool == "Megatron-LM":
        if steps_per_epoch is not None:
            raise arguments.error("--steps-per-epoch with arguments of Megatron-LM, which say how long the run is",
                                  "Leave it out")  # fmt: skip
        draft = megatron.draft_of(arguments, _name(file), nearest)
    else:
        draft = transformers.draft_of(arguments, _name(file), steps_per_epoch)
    return _checked(draft, arguments, tool)


def _name(file: str) -> str:
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", PurePath(file).stem).strip("-_")[:64]
    return stem if stem[:1].isalpha() else "imported"


def _tool(arguments: Arguments) -> str:
    """Whose arguments these are; a file that has both is no schedule of one run."""
    found = {tool: [name for name in known if name in arguments] for tool, known in TOOLS.items()}
    tools = [tool for tool, names in found.items() if names]
    if len(tools) > 1:
        deciding = [tool for tool in tools if any(name in _DECIDES for name in found[tool])]
        if len(deciding) != 1:
            both = " and ".join(f"{shown(arguments.written(found[tool][0]))} ({tool})" for tool in tools)
            raise arguments.error(f"arguments of two trainers: {both}", "Give those of one")
        tools = deciding
    if not any(name in _DECIDES for name in found[tools[0]]):
        first = found[tools[0]][0]
        if tools[0] == "Megatron-LM" and not first.startswith("lr"):
            raise arguments.error(
                f"{shown(arguments.written(first))}, and no rate and no growing batch",
                "Give --lr, or --rampup-batch-size with --global-batch-size",
            )  # fmt: skip
    return tools[0]


def _require_known(arguments: Arguments, tool: str) -> None:
    """Refuse what seems to speak of the rate and is not known: passed over, it would change the rate unseen."""
    for name in arguments.given:
        if name in TOOLS[tool] or _OF_RATE.isdisjoint(name.split("_")) or _HARMLESS.fullmatch(name):
            continue
        written = shown(arguments.written(name))
        near = closest(name, TOOLS[tool])
        if near is None or name in ("decoupled_lr", "decoupled_min_lr"):
            raise arguments.error(
                f"{written} has no word in the language of curricula", "Leave it out to go without it"
            )
        raise arguments.error(f"{written} is no argument of {tool}", f'Did you mean "{near}"?')


def _checked(draft: Draft, arguments: Arguments, tool: str) -> tuple[str, Report]:
    """The text in the layout of `fmt`, with what `check` says of it in its head."""
    source = f"Imported from {shown(arguments.file)}, arguments of {tool}: plateau import."
    report = _verified(draft, arguments)
    if draft.waived and not any(finding.code == "misaligned" for finding in report.findings):
        draft.waived = ""
        report = _verified(draft, arguments)
    found = [f"{finding.code}{' (waived)' if finding.reason is not None else ''}" for finding in report.findings]
    said = f": {', '.join(dict.fromkeys(found))}" if found else ""
    verdict = "broken" if report.broken else "nothing broken"
    length = f", in a run with epochs of {report.machine.run.steps_per_epoch} steps" if _sample_of(draft) else ""
    return formatted(draft.text([source, f"plateau check: {verdict}{said}{length}."]), arguments.file), report


def _sample_of(draft: Draft) -> int | None:
    """Steps of an epoch for `check`, where the run has epochs and nobody says how long they are."""
    keys = [line.key for line in draft.run]
    return 1000 if "epochs" in keys and "steps_per_epoch" not in keys else None


def _verified(draft: Draft, arguments: Arguments) -> Report:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", BindingWarning)
            return verify(bind(loads(draft.text(), "the curriculum"), Binding(steps_per_epoch=_sample_of(draft))))
    except CurriculumError as error:
        said = visible(str(error).splitlines()[0])
        raise ScheduleError(arguments.file, f"what its arguments say is no curriculum: {said}",
                            "Change the argument that this comes from") from error  # fmt: skip
