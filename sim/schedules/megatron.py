"""Megatron-LM's arguments: what they say of batch and rate, in our words.

Megatron-LM counts a schedule of the rate in samples, and moves it on by the batch after each step. So where the batch
grows, the fall of the rate is measured in samples here too, which are tokens: one of each sample or, where the length
of a sequence is given, as many as it has. A warm-up, a line of samples, is then a line in each of the batches that it
goes through, and each of these is a state.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

from plateau_rule.controller.language.amounts import Amount
from plateau_rule.controller.ramps import BoundRamp
from plateau_rule.sim.schedules.arguments import Arguments, shown
from plateau_rule.sim.schedules.batches import MOST_STAGES, Batches, Stage, listed, ramp
from plateau_rule.sim.schedules.draft import Draft, WrittenLine, WrittenState, steps, tokens
from plateau_rule.sim.schedules.megatron_rate import RateArguments, rate_arguments

KNOWN = (
    "lr", "min_lr", "lr_decay_style", "lr_warmup_iters", "lr_warmup_samples", "lr_warmup_fraction", "lr_warmup_init",
    "lr_decay_iters", "lr_decay_samples", "lr_wsd_decay_iters", "lr_wsd_decay_samples", "lr_wsd_decay_style",
    "train_iters", "train_samples", "global_batch_size", "rampup_batch_size", "step_batch_size_schedule", "seq_length",
    "decrease_batch_size_if_needed",
)  # fmt: skip
MOST_PIECES = 250  # states; a file may have 256
WAIVED = "one schedule of the rate goes on while the batch grows, as Megatron-LM has it"
_THOUSANDS = {"K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}


def draft_of(arguments: Arguments, name: str, nearest: bool) -> Draft:
    """The curriculum that the arguments are.

    Args:
        arguments: those of Megatron-LM.
        name: of the curriculum.
        nearest: whether what ends within a step may end with it.

    Raises:
        ScheduleError: something has no word in the language, or does not fit together.
    """
    return _Megatron(arguments, Draft(name), nearest).draft()


class _Megatron:
    def __init__(self, arguments: Arguments, draft: Draft, nearest: bool) -> None:
        self.arguments, self.made, self.nearest = arguments, draft, nearest
        self.unit = self._unit()
        self.length = arguments.whole("seq_length", least=1)
        self.batch = arguments.whole("global_batch_size", least=1)
        self.batches = self._batches()
        whole = arguments.whole(f"train_{self.unit}") or None
        self.total = None if whole is None else self._total(whole)
        self.rate = rate_arguments(arguments, self.unit, whole)
        self.grows = len(self.batches.stages) > 1

    def draft(self) -> Draft:
        """All of it."""
        rate = self.rate and self._on_steps(self.rate)
        fall = 0 if rate is None or rate.style == "constant" else rate.decay - int(rate.warm)
        metered = self.grows or fall % self.batches.stages[0].batch > 0
        self._run(metered)
        if rate is None:
            self.made.rate = [WrittenLine("peak", 1.0), WrittenLine("shape", "constant")]
            self.made.remarks.append("No --lr is given, so the rate here is 1 throughout: bind your own with --peak, "
                                     "or leave your scheduler as it is.")  # fmt: skip
            self.made.pieces = self._pieces(None, 0, None)
            return self.made
        warm_step = self._step_of(rate.warm)
        anneals = rate.style == "WSD" and rate.fall == "cosine" and rate.decay - rate.last > rate.warm
        anneal = self._step_of(rate.decay - rate.last) if anneals else None
        self._rate_lines(rate, metered, warm_step, anneals)
        self.made.pieces = self._pieces(rate, warm_step, anneal)
        return self.made

    # What is given

    def _unit(self) -> str:
        """What the run is counted in: "iters" or "samples"; Megatron-LM refuses arguments of both kinds."""
        given = {
            unit: [name for name in KNOWN if name.endswith(f"_{unit}") and name in self.arguments
                   and self.arguments.number(name)]
            for unit in ("iters", "samples")
        }  # fmt: skip
        grows = [name for name in ("rampup_batch_size", "step_batch_size_schedule") if name in self.arguments]
        samples = given["samples"] + grows
        if given["iters"] and samples:
            both = f"{shown(self.arguments.written(given['iters'][0]))} and {shown(self.arguments.written(samples[0]))}"
            raise self.arguments.error(f"{both}: Megatron-LM counts a run in iterations or in samples, not in both",
                                       "Where the batch grows, give --train-samples and --lr-…-samples")  # fmt: skip
        return "samples" if samples else "iters"

    def _batches(self) -> Batches:
        arguments = self.arguments
        grows = [name for name in ("rampup_batch_size", "step_batch_size_schedule") if name in arguments]
        if len(grows) > 1:
            raise arguments.error("a ramp of the batch and a list of batches are both given", "Leave one of them out")
        if grows and "decrease_batch_size_if_needed" in arguments and self._wanted("decrease_batch_size_if_needed"):
            found = "--decrease-batch-size-if-needed makes the batch depend on the machines, and has no word here"
            raise arguments.error(found, "Leave it out, and see that the batches fit")
        if grows == ["rampup_batch_size"]:
            return self._ramp()
        if grows:
            return self._list()
        if self.unit == "samples" and self.batch is None:
            raise arguments.error("the run is counted in samples, and --global-batch-size is not given", "Give it")
        return Batches((Stage(0, 0, self.batch if self.unit == "samples" and self.batch else 1),))

    def _wanted(self, name: str) -> bool:
        value = self.arguments.given[name].value
        return value is not False and str(value).lower() != "false"

    def _ramp(self) -> Batches:
        arguments, written = self.arguments, shown(self.arguments.written("rampup_batch_size"))
        value = arguments.given["rampup_batch_size"].value
        words = str(value).replace(",", " ").strip("[]() ").split() if not isinstance(value, list) else value
        words = str(words[0]).strip("[]() ").replace(",", " ").split() if len(words) == 1 else words[:3]
        try:
            start, increment, samples = (int(str(word).replace("_", "")) for word in words)
        except ValueError:
            raise arguments.error(f"{written} are not three whole numbers", "Write START INCREMENT SAMPLES") from None
        if self.batch is None:
            raise arguments.error(f"{written} without --global-batch-size, up to which it grows", "Give that too")
        if min(start, increment, samples) < 1 or start >= self.batch or (self.batch - start) % increment:
            raise arguments.error(
                f"{written} does not lead to {arguments.written('global_batch_size')}",
                "The start is below that, the increment divides the difference, and the samples are at least 1",
            )  # fmt: skip
        if (self.batch - start) // increment > MOST_STAGES:
            raise arguments.error(f"{written} has more than {MOST_STAGES} batches", "Write a larger increment")
        return ramp(start, increment, samples, self.batch)

    def _list(self) -> Batches:
        arguments, written = self.arguments, shown(self.arguments.written("step_batch_size_schedule"))
        value = arguments.given["step_batch_size_schedule"].value
        text = " ".join(word for word in map(str, value) if ":" in word) if isinstance(value, list) else str(value)
        entries = []
        for entry in text.replace(",", " ").split():
            after, _, batch = entry.partition(":")
            try:
                entries.append((_counted(after) // (self.length or 1), _counted(batch)))
            except ValueError:
                raise arguments.error(f'{written}: "{shown(entry)}" is no batch', "Write THRESHOLD:BATCH") from None
        entries.sort()
        rising = all(old[0] < new[0] for old, new in pairwise(entries))
        if not entries or entries[0][0] or not rising or min(batch for _, batch in entries) < 1:
            raise arguments.error(f"{written}: the first threshold is not 0, or two are the same",
                                  "Write 0:BATCH THRESHOLD:BATCH …")  # fmt: skip
        if self.batch not in (None, entries[-1][1]):
            raise arguments.error(f"{arguments.written('global_batch_size')} beside {written}", "Leave the first out")
        return listed(entries)

    def _total(self, whole: int) -> int:
        settled = self.batches.stages[-1].consumed
        if self.batches.ramp is not None:
            settled = max(settled, self.batches.ramp[2])
        if self.batches.ramp is not None and whole <= settled:
            raise self.arguments.error(f"{self.arguments.written('train_samples')} ends within the ramp of the batch",
                                       "Give more samples, or a shorter ramp")  # fmt: skip
        found = self.batches.steps_in(whole)
        if found < 1:
            raise self.arguments.error(f"{self.arguments.written(f'train_{self.unit}')} is less than a batch",
                                       "Give more")  # fmt: skip
        return found

    # Where amounts end

    def _on_steps(self, rate: RateArguments) -> RateArguments:
        """The rate with what ends within a step ended with it, if the user asks for that."""
        name = next((f"lr_warmup_{kind}" for kind in (self.unit, "fraction") if f"lr_warmup_{kind}" in self.arguments),
                    "lr")  # fmt: skip
        warm = self._whole_steps(rate.warm, self.arguments.written(name), "its warm-up")
        last = rate.last
        if rate.style == "WSD" and rate.fall == "cosine":
            began = rate.decay - rate.last
            said = self.arguments.written(f"lr_wsd_decay_{self.unit}")
            last = rate.decay - self._whole_steps(began, said, "its last part")
        return replace(rate, warm=warm, last=last)

    def _whole_steps(self, count: float, written: str, what: str) -> int:
        step, whole = self.batches.step_at(count)
        end = self.batches.consumed_by(step)
        if whole:
            return end
        if not self.nearest:
            before = self.batches.consumed_by(max(step - 1, 0))
            raise self.arguments.error(
                f"{shown(written)}: {what} turns within a step, at {count:.15g} {self.unit}; here it turns with one",
                f"Write it so that this is {before} or {end}, or import with --nearest, which takes {end}",
            )  # fmt: skip
        self.made.remarks.append(f"{shown(written)}: {what} turns with a step, at {end} {self.unit} for {count:.15g}.")
        return end

    def _step_of(self, count: float) -> int:
        return self.batches.step_at(count)[0]

    # What is written

    def _run(self, metered: bool) -> None:
        made, arguments = self.made, self.arguments
        if self.total is not None:
            origin = arguments.written(f"train_{self.unit}")
            made.run += [WrittenLine("epochs", 1), WrittenLine("steps_per_epoch", self.total, origin)]
            made.remarks.append(f"A run has {self.total} optimizer steps, written as one epoch.")
        else:
            made.remarks.append(f"No --train-{self.unit} is given: bind the run's length with --epochs and "
                                "--steps-per-epoch.")  # fmt: skip
        if metered:
            factors = ["batch_size"] if self.length is None else [self.length, "batch_size"]
            made.run.append(WrittenLine("tokens_per_step", factors, arguments.written("seq_length")))
            if self.length is None:
                made.remarks.append("No --seq-length is given: a token stands for a sample here.")
        elif self.length is not None and self.batch is not None:
            made.run.append(WrittenLine("tokens_per_step", self.length * self.batch, arguments.written("seq_length")))
        self.metered = metered

    def _amount(self, count: int) -> str:
        """An amount of samples, or of iterations: in tokens where the batch is counted, else in steps."""
        return tokens(count * (self.length or 1)) if self.metered else steps(count // self.batches.stages[0].batch)

    def _rate_lines(self, rate: RateArguments, metered: bool, warm_step: int, anneals: bool) -> None:
        arguments, made = self.arguments, self.made
        made.rate.append(WrittenLine("peak", rate.peak, arguments.written("lr")))
        shape = {"WSD": "cosine" if rate.fall == "cosine" else "wsd"}.get(rate.style, rate.style)
        shape = "linear" if shape == "wsd" and rate.last >= rate.decay - rate.warm else shape
        made.rate.append(
            WrittenLine("shape", shape, arguments.written("lr_decay_style", "Megatron-LM's default: linear"))
        )
        if shape != "constant":
            if rate.floor:
                made.rate.append(WrittenLine("floor", rate.floor, arguments.written("min_lr")))
            fall = rate.last if anneals else rate.decay - int(rate.warm)
            name = f"lr_wsd_decay_{self.unit}" if anneals else f"lr_decay_{self.unit}"
            whole = not metered and not anneals and rate.decay // self.batches.stages[0].batch == self.total
            origin = arguments.written(name, arguments.written(f"train_{self.unit}"))
            made.rate.append(WrittenLine("length", "rest" if whole else self._amount(fall), origin))
        if shape == "wsd":
            share = rate.last / (rate.decay - rate.warm)
            made.rate.append(WrittenLine("decay", share, arguments.written(f"lr_wsd_decay_{self.unit}")))
        if warm_step and not self._warms_in_pieces(warm_step):
            given = next((name for name in (f"lr_warmup_{self.unit}", "lr_warmup_fraction") if name in arguments), "")
            made.rate += [WrittenLine("warmup", steps(warm_step), arguments.written(given)),
                          WrittenLine("warmup_from", rate.start, arguments.written("lr_warmup_init"))]  # fmt: skip

    def _warms_in_pieces(self, warm_step: int) -> bool:
        return self.grows and warm_step > self.batches.stages[1].step

    def _pieces(self, rate: RateArguments | None, warm_step: int, anneal: int | None) -> list[WrittenState]:
        if not self.metered:
            first = WrittenState("training") if anneal is None else WrittenState("stable", rate={"shape": "constant"})
            later = [] if anneal is None else [WrittenState("decay", anneal, restarts=True)]
            return [first, *later]
        values = [stage.batch for stage in self.batches.stages]
        grown = next(filter(None, map(self.arguments.written, ("rampup_batch_size", "step_batch_size_schedule"))), "")
        self.made.knob = [WrittenLine("unit", "sequences")]
        if self._is_ramp(warm_step, anneal):
            start, increment, samples = self.batches.ramp or (0, 0, 0)
            limits = {"min": start, "max": values[-1], "multiple_of": increment}
            self.made.knob.append(WrittenLine("range", limits, grown))
            way = {"to": values[-1], "over": tokens(samples * (self.length or 1))}
            pieces = [WrittenState("growing", batch=start, ramp=way, origin=grown),
                      WrittenState("full", batch=values[-1], entered={"ramp_done": "batch_size"})]  # fmt: skip
            if anneal is not None:
                pieces = [replace(piece, rate={"shape": "constant"}) for piece in pieces]
                pieces.append(WrittenState("decay", anneal, batch=values[-1], restarts=True))
            return pieces
        if values == sorted(values):
            start, increment, _ = self.batches.ramp or (1, 0, 0)
            even = increment and not start % increment
            limits = {"min": start, "max": values[-1], "multiple_of": increment}
            self.made.knob.append(
                WrittenLine("range", limits, grown) if even else WrittenLine("ladder", sorted(set(values)), grown)
            )
            self.made.waived = WAIVED if rate is not None and self.grows else ""
        else:
            self.made.knob.append(WrittenLine("order", "none", grown))
        return self._listed_pieces(rate, warm_step, anneal)

    def _is_ramp(self, warm_step: int, anneal: int | None) -> bool:
        """Whether a ramp of the language brings each batch on its step: Megatron-LM's floats may round otherwise."""
        stages, written = self.batches.stages, self.batches.ramp
        if written is None or written[0] % written[1] or self._warms_in_pieces(warm_step):
            return False
        if written[2] <= written[0]:  # over with the first step
            return False
        if anneal is not None and anneal < stages[-1].step:
            return False
        start, increment, samples = written
        way = BoundRamp(start, stages[-1].batch, Amount(Fraction(samples), "tokens"), "linear", increment, None)
        ends = [new.consumed - old.batch for old, new in pairwise(stages)]
        return all(
            way.value(consumed * (self.length or 1), samples * (self.length or 1)) == stage.batch
            for stage, end in zip(stages, [*ends, stages[-1].consumed], strict=True)
            for consumed in (stage.consumed, end)
        )

    def _listed_pieces(self, rate: RateArguments | None, warm_step: int, anneal: int | None) -> list[WrittenState]:
        """A state for each batch, entered on the step on which Megatron-LM has it first."""
        marks = {stage.step: stage.batch for stage in self.batches.stages}
        if anneal is not None and anneal not in marks:
            marks[anneal] = max(stage for stage in self.batches.stages if stage.step <= anneal).batch
        marks = dict(sorted(marks.items()))
        if len(marks) > MOST_PIECES:
            remedy = "Write a larger increment" + ("" if warm_step == 0 else ", or end the warm-up in the first batch")
            raise self.arguments.error(f"{len(marks)} batches, each a state, are more than a file may have", remedy)
        ends = [*list(marks)[1:], None]
        warms = rate is not None and self._warms_in_pieces(warm_step)
        pieces, names = list[WrittenState](), dict[str, int]()
        for (step, batch), end in zip(marks.items(), ends, strict=True):
            later = anneal is not None and step >= anneal
            name = "decay" if step == anneal else f"batch-{batch}"
            names[name] = names.get(name, 0) + 1
            piece = WrittenState(name if names[name] == 1 else f"{name}-{names[name]}", step, batch=batch)
            if anneal is not None and not later:
                piece.rate["shape"] = "constant"
            if rate is not None and warms and step < warm_step:
                piece.rate |= self._warming(rate, step, warm_step if end is None else min(end, warm_step))
                piece.restarts = step > 0
            piece.restarts |= step == anneal
            pieces.append(piece)
        return pieces

    def _warming(self, rate: RateArguments, step: int, end: int) -> dict[str, object]:
        """A part of the warm-up: a line of steps with one batch, from the rate that it begins with."""

        def share(samples: int) -> float:
            return rate.start + (1.0 - rate.start) * samples / rate.warm

        consumed = self.batches.consumed_by(end)
        top = 1.0 if consumed == rate.warm else share(consumed)
        peak = {} if top == 1.0 else {"peak": top}
        return {**peak, "warmup": steps(end - step), "warmup_from": share(self.batches.consumed_by(step)) / top}


def _counted(text: str) -> int:
    """A number as Megatron-LM's list of batches has it, such as 250B."""
    upper = text.strip().upper()
    factor = _THOUSANDS.get(upper[-1:], 1)
    return int(float(upper[:-1] if factor > 1 else upper) * factor)
