"""Transformers' TrainingArguments: what `lr_scheduler_type` and its companions say, in our words.

The rate of step i, from 0, is that of `get_scheduler` after i calls; Transformers' warm-up is ours with `warmup_from`.
"""

from __future__ import annotations

import json
from math import ceil
from typing import Any

from plateau_rule.sim.schedules.arguments import Argument, Arguments, shown
from plateau_rule.sim.schedules.draft import Draft, WrittenLine, WrittenState, steps

KNOWN = (
    "learning_rate", "lr_scheduler_type", "lr_scheduler_kwargs", "warmup_steps", "warmup_ratio", "max_steps",
    "num_train_epochs", "per_device_train_batch_size", "gradient_accumulation_steps",
)  # fmt: skip
TYPES = (
    "linear", "cosine", "cosine_with_restarts", "polynomial", "constant", "constant_with_warmup", "inverse_sqrt",
    "reduce_lr_on_plateau", "cosine_with_min_lr", "cosine_warmup_with_min_lr", "warmup_stable_decay", "greedy",
)  # fmt: skip
NO_WORD = {
    "inverse_sqrt": 'The shapes here are cosine, linear, constant and wsd; "cosine" falls from the same peak',
    "reduce_lr_on_plateau": "Write it by hand: docs/coming-from.md has it under ReduceLROnPlateau of torch, and says "
    "what differs; the shipped curriculum reduce-on-plateau is a start",
    "greedy": "A rate rises here only by a restart; `reduce-on-plateau` is the shipped curriculum that lowers it",
}
KWARGS = {
    "cosine": ("num_cycles",),
    "cosine_with_restarts": ("num_cycles",),
    "polynomial": ("lr_end", "power"),
    "cosine_with_min_lr": ("num_cycles", "min_lr", "min_lr_rate"),
    "cosine_warmup_with_min_lr": ("num_cycles", "min_lr", "min_lr_rate", "warmup_lr_rate"),
    "warmup_stable_decay": (
        "num_decay_steps", "num_stable_steps", "warmup_type", "decay_type", "min_lr_ratio", "num_cycles",
    ),
}  # fmt: skip
DECAYS = ("linear", "cosine", "1-sqrt")


def draft_of(arguments: Arguments, name: str, steps_per_epoch: int | None) -> Draft:
    """The curriculum that the arguments are.

    Args:
        arguments: those of Transformers.
        name: of the curriculum.
        steps_per_epoch: optimizer steps in an epoch, where the user says it.

    Raises:
        ScheduleError: something has no word in the language, or does not fit together.
    """
    return _Reading(arguments, Draft(name), steps_per_epoch).draft()


class _Reading:
    def __init__(self, arguments: Arguments, draft: Draft, steps_per_epoch: int | None) -> None:
        self.arguments, self.made = arguments, draft
        self.kind = arguments.word("lr_scheduler_type", TYPES, "linear")
        self.origin = arguments.written("lr_scheduler_type", "Transformers' default: linear")
        self.peak = arguments.number("learning_rate", 5e-5) or 0.0
        if self.peak <= 0:
            raise arguments.error(f"{arguments.written('learning_rate')} is no rate", "Write a number above 0")
        self.kwargs = self._kwargs()
        self.total = self._length(steps_per_epoch)
        self.warmup = self._warmup()

    def draft(self) -> Draft:
        """All of it."""
        origin = self.arguments.written("learning_rate", "Transformers' default: learning_rate 5e-05")
        self.made.rate.append(WrittenLine("peak", self.peak, origin))
        match self.kind:
            case "constant":
                self._shape("constant")
                if self.warmup != 0:
                    self.made.remarks.append("A warm-up has no effect on lr_scheduler_type constant, there or here.")
                return self._with_batch()
            case "constant_with_warmup":
                self._shape("constant")
            case "linear":
                self._shape("linear", "rest")
            case "polynomial":
                self._polynomial()
            case "cosine" | "cosine_with_min_lr":
                self._cosine()
            case "cosine_with_restarts":
                self._restarts()
            case "cosine_warmup_with_min_lr":
                self._shifted()
                return self._with_batch()
            case "warmup_stable_decay":
                self._stable()
            case _:
                raise self._no_word(self.origin, NO_WORD[self.kind])
        self._warm()
        return self._with_batch()

    def _no_word(self, what: str, remedy: str) -> Exception:
        return self.arguments.error(f"{shown(what)} has no word in the language of curricula", remedy)

    def _kwargs(self) -> Arguments:
        """The arguments of the scheduler itself."""
        arguments = self.arguments
        written: Any = arguments.given["lr_scheduler_kwargs"].value if "lr_scheduler_kwargs" in arguments else {}
        written = written[0] if isinstance(written, list) and written else written
        if isinstance(written, str):
            try:
                written = json.loads(written)
            except (ValueError, RecursionError):
                written = None
        if not isinstance(written, dict):
            raise arguments.error("lr_scheduler_kwargs is no table", 'Write it as JSON, such as {"min_lr": 1e-6}')
        given = {str(key): value for key, value in written.items() if value is not None}
        taken = KWARGS.get(self.kind, ())
        if self.kind not in NO_WORD and (odd := next((key for key in given if key not in taken), None)):
            named = f"lr_scheduler_kwargs has {shown(repr(odd))}, which {self.kind} does not take"
            raise arguments.error(named, f"It takes {', '.join(taken)}" if taken else "It takes none")
        return Arguments(arguments.file, {k: Argument(f"lr_scheduler_kwargs {k}: {v}", v) for k, v in given.items()})

    def _length(self, steps_per_epoch: int | None) -> int | None:
        """The steps of the run, where they are known; and what stands in `[run]`."""
        arguments, run = self.arguments, self.made.run
        total = int(arguments.number("max_steps", -1, float("-inf")) or 0)
        if total > 0:
            run += [WrittenLine("epochs", 1), WrittenLine("steps_per_epoch", total, arguments.written("max_steps"))]
            self.made.remarks.append(f"A run has {total} optimizer steps, written as one epoch.")
            return total
        epochs = arguments.number("num_train_epochs", 3.0) or 0.0
        origin = arguments.written("num_train_epochs", "Transformers' default: num_train_epochs 3")
        if epochs <= 0:
            raise arguments.error(f"{origin} is no length of a run", "Give max_steps, or epochs")
        if steps_per_epoch is not None:
            total = ceil(epochs * steps_per_epoch)
            whole = epochs.is_integer()
            run.append(WrittenLine("epochs", int(epochs) if whole else 1, origin))
            run.append(WrittenLine("steps_per_epoch", steps_per_epoch if whole else total, "--steps-per-epoch"))
            return total
        if not epochs.is_integer():
            raise arguments.error(f"{origin}: a run has whole epochs here", "Say the steps with --steps-per-epoch")
        run.append(WrittenLine("epochs", int(epochs), origin))
        self.made.remarks.append(
            "The steps of an epoch are not among the arguments: bind them with --steps-per-epoch, or import with it, "
            "so that amounts are steps."
        )
        return None

    def _warmup(self) -> int | str:
        """The warm-up in steps, or as a share of a run whose steps are not known."""
        arguments = self.arguments
        count = arguments.number("warmup_steps", 0.0) or 0.0
        share = arguments.number("warmup_ratio", 0.0) or 0.0
        if count and share:
            both = f"{shown(arguments.written('warmup_steps'))} and {shown(arguments.written('warmup_ratio'))}"
            raise arguments.error(f"{both} are both given, and versions of Transformers differ in which of them counts",
                                  "Leave one of them out")  # fmt: skip
        self.warmup_origin = arguments.written("warmup_ratio" if share else "warmup_steps")
        if 0 < count < 1:  # since version 5
            count, share = 0.0, count
        if share > 1:
            raise arguments.error(f"{arguments.written('warmup_ratio')} is no share of a run", "Write 0 to 1")
        if count or not share:
            return int(count)
        return f"{share:.15g} run" if self.total is None else ceil(self.total * share)

    def _known_length(self, why: str) -> int:
        if self.total is None:
            raise self.arguments.error(f"{shown(why)} depends on the steps of the run, which are not among the "
                                       "arguments", "Say them with --steps-per-epoch")  # fmt: skip
        return self.total

    def _steps_of_warmup(self, why: str) -> int:
        self._known_length(why)
        return int(self.warmup)

    def _warm(self, start: float = 0.0) -> None:
        if self.warmup:
            amount = self.warmup if isinstance(self.warmup, str) else steps(self.warmup)
            self.made.rate += [WrittenLine("warmup", amount, self.warmup_origin), WrittenLine("warmup_from", start)]

    def _shape(self, shape: str, length: str = "", floor: float = 0.0, origin: str = "") -> None:
        self.made.rate.append(WrittenLine("shape", shape, self.origin))
        if floor:
            self.made.rate.append(WrittenLine("floor", floor, origin))
        if length:
            self.made.rate.append(WrittenLine("length", length))

    def _floor(self, name: str, default: float | None = None) -> tuple[float, str]:
        """A rate as a share of the peak, and the argument that it comes from."""
        lowest = self.kwargs.number(name, default) or 0.0
        if not lowest < self.peak:
            raise self.arguments.error(f"{self.kwargs.written(name)} is not below the peak {self.peak:g}",
                                       "Write a lower one")  # fmt: skip
        return lowest / self.peak, self.kwargs.written(name, f"Transformers' default: {name} {lowest:g}")

    def _polynomial(self) -> None:
        if self.kwargs.number("power", 1.0) != 1.0:
            raise self._no_word(self.kwargs.written("power"), "A line is there: leave out power")
        self._shape("linear", "rest", *self._floor("lr_end", 1e-7))

    def _min_rate(self) -> tuple[float, str]:
        given = [name for name in ("min_lr", "min_lr_rate") if name in self.kwargs]
        if len(given) != 1:
            raise self.arguments.error(f"{self.kind} with {' and '.join(given) or 'neither min_lr nor min_lr_rate'}",
                                       "Give one of them in lr_scheduler_kwargs")  # fmt: skip
        if given == ["min_lr"]:
            return self._floor("min_lr")
        share = self.kwargs.number("min_lr_rate") or 0.0
        if share > 1:
            raise self.arguments.error(f"{self.kwargs.written('min_lr_rate')} is no share", "Write 0 to 1")
        return share, self.kwargs.written("min_lr_rate")

    def _cosine(self) -> None:
        floor = (0.0, "") if self.kind == "cosine" else self._min_rate()
        self._shape("cosine", self._half_wave(), *floor)

    def _half_wave(self) -> str:
        """How long half a wave takes: the rest of the run, or longer."""
        waves = self.kwargs.number("num_cycles", 0.5) or 0.0
        if waves == 0.5:
            return "rest"
        written = self.kwargs.written("num_cycles", "num_cycles 0")
        if not 0 < waves < 0.5:
            raise self._no_word(written, "A rate rises here only by a restart: see cosine_with_restarts, or write 0.5")
        return steps(self._part(2 * waves, written))

    def _part(self, parts: float, written: str) -> int:
        """What is left after the warm-up, divided; it must be whole steps."""
        left = self._known_length(written) - self._steps_of_warmup(written)
        part = left / parts
        if left <= 0 or part > 1e15 or abs(part - round(part)) > 1e-9:
            raise self.arguments.error(f"{shown(written)}: {left} steps after the warm-up do not make that many whole "
                                       "cycles", "Choose max_steps or the warm-up so that they do")  # fmt: skip
        return round(part)

    def _restarts(self) -> None:
        cycles, written = self.kwargs.number("num_cycles", 1.0) or 0.0, self.kwargs.written("num_cycles")
        if cycles == 1.0:
            return self._shape("cosine", "rest")
        if cycles <= 0:
            raise self._no_word(written, "Write 1 or more")
        part = self._part(cycles, written)
        if cycles < 1.0:
            return self._shape("cosine", steps(part))
        self._shape("cosine")
        self.made.rate.append(WrittenLine("cycles", {"first": steps(part)}, written))
        left = self._known_length(written) - self._steps_of_warmup(written)
        # Transformers asks for (cycles * progress) % 1, which for some floats is just below 1 where a cycle begins.
        late = [k for k in range(1, ceil(cycles)) if cycles * (k * part / left) % 1.0 > 0.5]
        if late:
            self.made.remarks.append(f"Rounding lets Transformers begin {len(late)} of the cycles a step late.")
        return None

    def _shifted(self) -> None:
        """Transformers is a step ahead here: its warm-up ends, and its fall begins, a step earlier."""
        floor, origin = self._min_rate()
        if (self.kwargs.number("num_cycles", 0.5) or 0.0) != 0.5:
            raise self._no_word(self.kwargs.written("num_cycles"), "Write 0.5")
        total, warm = self._known_length(self.origin), self._steps_of_warmup(self.origin)
        start = self.kwargs.number("warmup_lr_rate")
        if warm < 1 or warm >= total or (warm == 1 and start not in (None, 1.0)):
            raise self._no_word(
                f"{self.kind} with a warm-up of {steps(warm)}", "Give a longer one, or cosine_with_min_lr"
            )
        self._shape("cosine", steps(total - warm), floor, origin)
        if warm > 1:
            written = f"{self.warmup_origin}, of which the last is the peak"
            self.made.rate.append(WrittenLine("warmup", steps(warm - 1), written))
        if warm > 1 and start is not None:
            if start > 1:
                raise self._no_word(self.kwargs.written("warmup_lr_rate"), "Write 0 to 1")
            self.made.rate.append(WrittenLine("warmup_from", start, self.kwargs.written("warmup_lr_rate")))

    def _stable(self) -> None:
        """Warmup-stable-decay; a decay that is no line is a state of its own."""
        words = self.kwargs
        floor = words.number("min_lr_ratio", 0.0) or 0.0
        rises, falls = words.word("warmup_type", DECAYS, "linear"), words.word("decay_type", DECAYS, "cosine")
        if rises != "linear" and self.warmup:
            raise self._no_word(words.written("warmup_type"), "A warm-up is a line here: write linear")
        if falls == "1-sqrt":
            raise self._no_word(words.written("decay_type"), "Write linear or cosine")
        if falls == "cosine" and (words.number("num_cycles", 0.5) or 0.0) != 0.5:
            raise self._no_word(words.written("num_cycles"), "Write 0.5")
        if floor > 1:
            raise self.arguments.error(f"{words.written('min_lr_ratio')} is no share", "Write 0 to 1")
        decay = words.whole("num_decay_steps", least=1)
        if decay is None:
            raise self.arguments.error(f"{self.origin} without num_decay_steps",
                                       "Give it in lr_scheduler_kwargs")  # fmt: skip
        warm = self._steps_of_warmup(self.origin)
        stable = words.whole("num_stable_steps", self._known_length(self.origin) - warm - decay)
        if stable is None or stable < 0:
            raise self.arguments.error(f"{words.written('num_decay_steps')} and the warm-up are longer than the run",
                                       "Shorten them")  # fmt: skip
        origin = words.written("num_decay_steps")
        if falls == "linear" or not stable:
            shape = "cosine" if falls == "cosine" else "wsd" if stable else "linear"
            self._shape(shape, steps(stable + decay), floor, words.written("min_lr_ratio"))
            if shape == "wsd":
                self.made.rate.append(WrittenLine("decay", decay / (stable + decay), origin))
        else:
            self._shape("cosine", steps(decay), floor, words.written("min_lr_ratio"))
            self.made.pieces = [
                WrittenState("stable", rate={"shape": "constant"}),
                WrittenState("decay", warm + stable, restarts=True, origin=origin),
            ]
        if self.warmup:
            self._warm(floor)
            self.warmup = 0  # it is written

    def _with_batch(self) -> Draft:
        """What a step holds is said; the rate does not depend on it."""
        names = ("per_device_train_batch_size", "gradient_accumulation_steps")
        if any(name in self.arguments for name in names):
            each, times = self.arguments.whole(names[0], 8), self.arguments.whole(names[1], 1)
            self.made.remarks.append(f"A step takes {(each or 0) * (times or 0)} samples on each device; "
                                     "the rate does not depend on it.")  # fmt: skip
        return self.made
