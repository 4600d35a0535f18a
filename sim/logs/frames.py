"""What the numbers in a printed line are: names with values, the clock, and the split that the line speaks of.

A line without its numbers is its frame; all lines of one frame are read alike, so a frame is looked at once. The clock
is a number with a word for it ("step 50", "1epoch"), or a pair: `Epoch: [3][ 200/1000]`, `[20000/300000]`,
`450/1000 [00:10<00:12`. A split that stands as a word of the line ("valid", "Test:", "test acc: 55%, loss: 2.1") goes
before the names of the numbers that follow it, so that no loss of an evaluation is taken for one of training.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from plateau_rule.sim.logs.series import (
    COST,
    EPOCHS,
    EVAL,
    LENGTH,
    PLAIN,
    RATES,
    STEPS,
    TRAIN,
    first_of,
    is_loss,
    is_objective,
    normal,
    words,
)
from plateau_rule.sim.logs.splits import LINE_EVAL, Splits

NAME_CHARACTERS = 200
_WORD = r"[A-Za-z_](?:[\w/-]|[.'](?=\w)){0,60}+"
# Before a number: one to four words, perhaps more in brackets, then what separates them from it; its sign.
_NAME = re.compile(
    rf"(?<![\w./-])({_WORD}(?:[ ]{_WORD}){{0,3}}+(?:\s?\([^()\d]{{1,30}}+\))?)\.?"
    r"""["'>]?\s{0,20}+(?:[:,|]|[-=]?>|=|→)?+\s{0,20}+["'\[({]{0,2}+(?:(?:tensor|array)?\(\[?)?([-+]?\.?)$"""
)
# The words that follow a number, where numbers stand before their names: "1.25 avg loss, 0.001 rate".
_NAME_AFTER = re.compile(r"\s{1,3}([A-Za-z_][\w-]{0,30}(?: [A-Za-z_][\w-]{0,30}){0,2})\s{0,3}(?:[,;|)]|$)")
_COUNTED = re.compile(r"\s{0,3}(?:batches|steps|iters|iterations|updates)\b")
_PLACE = re.compile(r"\w\.(?:py|cpp|cc|c|cu|h|go|rs|jl):$")  # a line of a program: "solver.cpp:218"
_STRICT = re.compile(r"[\w)'\"]\s{0,9}[:=]?\s{0,9}[-+.(\[]{0,3}$")
# What makes a number something else: 23ms, 10k, 1.2.3.
_UNIT = re.compile(r"\w|\.\d")
_GLUED = re.compile(r"(epoch|batch|batches|iters?|steps?|it(?= \[))\b", re.IGNORECASE)  # "450it [00:10, 12it/s]"
_STAMP = re.compile(r"\d{1,4}([-/.])\d{1,2}\1\d{1,4}(?:[ T,_-]{1,3}(?=\d))?|\d{1,3}:\d\d(?::\d\d)?(?:[.,]\d{1,9})?")
_FILLER = {"the", "a", "is", "was", "at", "of", "and", "on", "in", "after", "current", "this", "for"}
_STEP_WORDS = {*STEPS, "up", "upd", "minibatch", "mini_batch", "timestep", "timesteps", "batches"}
_EPOCH_WORDS = {*EPOCHS, "eps"}
_CLOCK_BESIDE = PLAIN | LINE_EVAL | _FILLER | {"global", "optimizer", "starting", "beginning", "start", "begin", "num"}
_OF = {"/", "of", "out of"}
_LOOSE_LOSS = re.compile(rf"({_WORD}(?:[ ]{_WORD}){{0,3}})\s?(?:\([^()\d]{{1,40}}\))?\s{{0,3}}$")
_AT_CLOCK = re.compile(r"(?:\b(?:at|after|in|on|for)\s)?\s{0,3}(?:the\s)?\s{0,3}\w{1,20}\W{0,5}$")
# "objective function for 'output' is -4.2"
_SAID_OF = re.compile(rf"({_WORD}(?:[ ]{_WORD}){{0,3}}?)(?: (?:for|of|on) ['\"\w]{{1,40}})? (?:is|was) [-+]?$")
# A heading says when, and little else; with one of these it tells of something that is over, or elsewhere.
_NO_HEADING = {"checkpoint", "saved", "saving", "save", "loaded", "loading", "load", "resume", "resumed", "resuming"}
_NO_HEADING |= {"best", "took", "eta", "finished", "finish", "end", "ended", "done", "completed", "complete"}
_NO_HEADING |= {"total", "num", "max", "every", "per", "early", "stopping", "stopped", "lr", "rate", "for", "from"}
_LEVELS = {"info", "debug", "warning", "info:", "rank", "root", "main"}
_LEAD = re.compile(r"^[\s>*|-]{0,10}(?:\[(\d{1,12})\][\s:]|(\d{1,12})\s?:(?=\s))")


class Frame(NamedTuple):
    """Names in lines of one kind, the places of their numbers among a line's pieces, their signs.

    heading: whether such a line only tells the time, for the lines below it. rank: of the process that printed it.
    """

    fields: tuple[tuple[str, int, str], ...]
    heading: bool = False
    rank: str = ""


@dataclass
class _Number:
    """A number of the line: its place, its text, the name before it, the ends of that name in the line."""

    at: int
    value: str
    start: int
    before: str
    after: str
    name: str = ""
    sign: str = ""
    span: tuple[int, int] = (0, 0)
    whole: bool = False
    clock: str = ""  # "step" or "epoch"
    used: bool = False  # as a length, or as part of a date
    length: _Number | None = field(default=None, repr=False)


def frame_of(pieces: Sequence[str], pairs: bool = True) -> Frame:
    """What the numbers of a line are.

    Args:
        pieces: the line, cut at its numbers: texts at even places, numbers at odd ones.
        pairs: whether a pair without a word before it can be the clock.
    """
    line = "".join(pieces)
    numbers = _numbers(pieces, line)
    _pair_up(numbers)
    _name_all(numbers, line)
    splits = _splits_of(numbers, line)
    _find_clock(numbers, line, pairs)
    return _assemble(numbers, splits, line)


def _numbers(pieces: Sequence[str], line: str) -> list[_Number]:
    stamps = [found.span() for found in _STAMP.finditer(line)]
    numbers, place = [], 0
    for at in range(1, len(pieces) - 1, 2):
        place += len(pieces[at - 1])
        number = _Number(at, pieces[at], place, pieces[at - 1], pieces[at + 1])
        number.whole = number.value.isdigit()
        number.used = any(start <= place < stop for start, stop in stamps)
        numbers.append(number)
        place += len(pieces[at])
    return numbers


def _pair_up(numbers: list[_Number]) -> None:
    """`i/N`: the second number is the length of what the first one counts; of `a/b/c` nothing is known."""
    for number, length in pairwise(numbers):
        if number.used or length.used or not (number.whole and length.whole) or number.after.strip() not in _OF:
            continue
        length.used = True
        third = next((each for each in numbers if each.at == length.at + 2), None)
        if length.after.strip() == "/" and third is not None and third.whole:
            third.used = True
        else:
            number.length = length


def _name_all(numbers: list[_Number], line: str) -> None:
    """Give each number the name before it; or the one after it, where the line is written that way round."""
    for number in numbers:
        if number.used or (_UNIT.match(number.after) and not number.length) or _PLACE.search(number.before):
            continue
        if found := _NAME.search(number.before[-NAME_CHARACTERS:]):
            number.name, number.sign = found[1], found[2]
            begin = number.start - min(len(number.before), NAME_CHARACTERS)
            number.span = begin + found.start(1), begin + found.end(1)
            _clean_name(number)
    for number, value in pairwise(numbers):  # "loss 1: 0.5": the first number belongs to the name
        counts = number.whole and not number.length and number.before.endswith(f"{number.name} ")
        if (
            number.name
            and counts
            and value.before.strip() in (":", "=")
            and not value.used
            and not _clock_of(number.name)
        ):
            value.name, value.span = f"{number.name} {number.value}", number.span
            number.name, number.used = "", True
    after = {number.at: found for number in numbers if (found := _NAME_AFTER.match(number.after)) and not number.used}
    strict = any(is_loss(number.name) and _STRICT.search(number.before) for number in numbers)
    if len(after) >= 2 and not strict and any(is_loss(found[1]) for found in after.values()):
        for number in numbers:
            found = after.get(number.at)
            if not found and _clock_of(number.name):  # "step 10: 2.5 loss, 0.1 lr"
                continue
            end = number.start + len(number.value)
            number.name = found[1] if found else ""
            number.sign = ""
            number.span = (end + found.start(1), end + found.end(1)) if found else (0, 0)


def _clean_name(number: _Number) -> None:
    """Take the level of a logger off a name; and where only "is" stands before a number, what stands before that."""
    first, blank, rest = number.name.partition(" ")
    counted = number.before.lstrip().startswith(f"{first} ") and _COUNTED.match(number.before) is not None
    if blank and (first.lower() in _LEVELS or counted):  # "200/1000 steps loss=2.5"
        number.name, number.span = rest, (number.span[0] + len(first) + 1, number.span[1])
    if number.name.lower() in _FILLER and (found := _SAID_OF.search(number.before[-NAME_CHARACTERS:])):
        begin = number.start - min(len(number.before), NAME_CHARACTERS)
        number.name, number.span = found[1], (begin + found.start(1), begin + found.end(1))


def _clock_of(name: str) -> str:
    """What a name says that its number counts: "step", "epoch" or nothing."""
    bare = re.sub(r"\s?\([^()]*\)$", "", name).lower().rstrip(".")
    whole = normal(bare.replace("-", "_"))
    tokens = [normal(token) for token in bare.split()]
    if not tokens:
        return ""
    path, _, last = tokens[-1].rpartition("/")
    if path and not words(path) <= _CLOCK_BESIDE | {"trainer", "time"}:  # "ms/batch"
        return ""
    for clock, known in (("step", _STEP_WORDS), ("epoch", _EPOCH_WORDS)):
        if whole in known or (last in known and (set(tokens[:-1]) <= _CLOCK_BESIDE or _preposition(tokens))):
            return clock
    return ""


def _preposition(tokens: list[str]) -> bool:
    """Whether the clock is told by "at step", whatever stands before that."""
    return len(tokens) > 1 and tokens[-2] in ("at", "after", "in", "on", "for", "the")


def _find_clock(numbers: list[_Number], line: str, pairs: bool) -> None:
    """Find the numbers that count steps and epochs."""
    for number in numbers:
        glued = _GLUED.match(number.after)
        if number.whole and not number.used and glued and not number.length:
            number.clock = "epoch" if glued[1].lower() == "epoch" else "step"
        elif not number.used and (not _UNIT.match(number.after) or number.length):
            number.clock = _clock_of(number.name)
            if number.clock == "step" and not number.whole:
                number.clock = ""
            if number.clock and number.after.startswith("%"):  # "Epochs:  5%|███ | 1/20": the pair counts them
                counted = next((each for each in numbers if each.start > number.start and each.length), None)
                number.name = ""
                if counted is not None:
                    counted.name, number.clock = "epoch" if number.clock == "epoch" else "step", ""
    if pairs:
        _unnamed_clock(numbers)
    if not any(number.clock for number in numbers) and (lead := _LEAD.match(line)):
        first = numbers[0]
        if not first.used and first.length is None and first.start == lead.start(lead.lastindex or 0):
            first.clock, first.name = "step", ""


def _unnamed_clock(numbers: list[_Number]) -> None:
    """Pairs in brackets, between bars, before a progress bar's time."""
    bare = [number for number in numbers if _is_bare_pair(number)]
    steps = [number for number in numbers if number.clock == "step"]
    epochs = [number for number in numbers if number.clock == "epoch"]
    if steps:
        return
    for number, following in pairwise(numbers):
        # `Train: 0 [ 0/1251`: the number behind a split and before the pair is the epoch.
        split = number.whole and not number.length and words(number.name) and words(number.name) <= TRAIN | EVAL
        if not epochs and split and following in bare and number.after.strip() in ("[", "(", "]["):
            number.clock, epochs = "epoch", [number]
    if not epochs and len(bare) > 1 and bare[0].length and _follows(numbers, bare[0].length, bare[1]):
        bare[0].clock, epochs, bare = "epoch", [bare[0]], bare[1:]
    if not epochs and bare and _leads(numbers[0], bare[0]):
        numbers[0].clock, epochs = "epoch", [numbers[0]]
    if epochs:
        later = [number for number in bare if number.start > epochs[0].start]
        if later:
            later[0].clock = "step"
            return
    elif bare:
        bare[0].clock = "step"
        return
    first = [number for number in numbers if not number.used][:2]
    if epochs or len(first) < 2 or not (first[0].whole and first[1].whole):
        return
    opened = re.fullmatch(r"\W*\[", first[0].before) is not None
    if opened and first[0].after.strip() == "," and first[1].after.lstrip()[:1] == "]":
        first[0].clock, first[1].clock = "epoch", "step"  # [1,  2000] loss: 2.2


def _leads(lead: _Number, pair: _Number) -> bool:
    """Whether a number alone stands before the first pair: "3: [ 200/1000] loss 2.5"."""
    if lead.used or lead.length or lead.name or not lead.whole or lead.before.strip():
        return False
    return pair.at == lead.at + 2 and lead.after.strip() in (":[", ": [")


def _follows(numbers: list[_Number], one: _Number, other: _Number) -> bool:
    return other.at == one.at + 2 and other.before.strip() in ("][", "] [", ") (", ")(")


def _is_bare_pair(number: _Number) -> bool:
    """Whether a pair stands alone, as clocks do: not a rate ("3000/3200 tok/s"), not something with a name."""
    if number.length is None or number.clock:
        return False
    if number.name and not words(number.name) <= TRAIN | LINE_EVAL:
        return False
    before, after = number.before.rstrip(), number.length.after
    opened = not before or before[-1] in "[(|]:><{%"
    closed = not after.strip() or after.lstrip()[:1] in "])|([,:-<>}" or after.startswith(("  ", "\t"))
    closed |= _COUNTED.match(after) is not None or not number.before.strip()
    return (opened or bool(number.name)) and (closed or before.endswith(":")) and not _UNIT.match(after)


# Together


def _splits_of(numbers: list[_Number], line: str) -> Splits:
    """The splits that the line speaks of, apart from the names of its numbers."""
    names = [(number.span, number.name) for number in numbers if number.name and not _marks(number)]
    return Splits(line, names)


def _marks(number: _Number) -> bool:
    """Whether the name of a number says nothing of it but the split, or the clock."""
    named = words(re.sub(r"\s?\([^()]*\)$", "", number.name))
    return bool(_clock_of(number.name)) or (number.whole and named <= (TRAIN | LINE_EVAL) - {"dev"})


def _assemble(numbers: list[_Number], splits: Splits, line: str) -> Frame:
    """The fields of the line."""
    fields: dict[str, tuple[int, str]] = {}
    steps = {number.name or "step": number for number in numbers if number.clock == "step"}
    if splits.is_eval:  # a pair counts the batches of the evaluation
        steps = {name: number for name, number in steps.items() if number.length is None and not _is_glued(number)}
    whole_run = [name for name in steps if "global" in name.lower()]
    step = steps.get(next(iter(whole_run), "") or first_of(steps, STEPS) or next(iter(steps), ""))
    epoch = next((number for number in numbers if number.clock == "epoch"), None)
    if step is not None:
        fields["step"] = step.at, ""
        if step.length is not None:
            fields[LENGTH] = step.length.at, ""
    if epoch is not None:
        fields["epoch"] = epoch.at, ""
    told = len(fields)
    speaks = any(is_loss(number.name) for number in numbers)
    for number in numbers:
        name = number.name or _carried(number, numbers)
        if number.used or number.clock or not name or (number.length and words(name) <= TRAIN | LINE_EVAL):
            continue
        fields.setdefault(_title(number, name, splits, speaks), (number.at, number.sign))
    heading = 0 < told == len(fields) and not splits.is_eval and _is_heading(numbers, line)
    return Frame(tuple((name, at, sign) for name, (at, sign) in fields.items()), heading)


def _is_glued(number: _Number) -> bool:
    return _GLUED.match(number.after) is not None


def _title(number: _Number, spelt: str, splits: Splits, speaks: bool) -> str:
    """The name of a number with the split that the line names, without words that only fill."""
    name = " ".join(word for word in spelt.split() if word.lower() not in _FILLER) or spelt
    if name.lower() in ("step", "epoch", "iter", "iteration", "loss"):
        name = name.lower()
    if speaks and not number.whole and words(name) <= EVAL | TRAIN:
        return f"{name} loss"  # "loss train: 2.5, val: 2.6"
    if normal(name) in RATES or words(name) & COST:
        return name
    return f"{split} {name}" if (split := splits.before(number.name, number.span[0])) else name


def _carried(number: _Number, numbers: list[_Number]) -> str:
    """The name of a number that stands before the clock: "Loss (of one batch) at step 10: 3.2"."""
    earlier = [other for other in numbers if other.at == number.at - 2 and other.clock]
    if not earlier or not re.fullmatch(r"\W{0,4}(?:(?:is|was|:|=)\W{0,3})?[-+]?", number.before) or number.used:
        return ""
    if _UNIT.match(number.after):
        return ""
    text = _AT_CLOCK.sub("", earlier[0].before)
    found = _LOOSE_LOSS.search(text[-NAME_CHARACTERS:])
    number.sign = number.before[-1:] if number.before[-1:] in ("-", "+") else ""
    if found and (is_loss(found[1]) or is_objective(found[1])):
        number.span = (earlier[0].start, earlier[0].start)
        number.name = found[1]
        return found[1]
    return ""


def _is_heading(numbers: list[_Number], line: str) -> bool:
    """Whether a line that tells a clock tells no more than that, for the lines below it."""
    lengths = [number.length for number in numbers if number.length]
    others = [
        number
        for number in numbers
        if not (number.used or number.clock or number in lengths or _UNIT.match(number.after))
    ]
    text = [word.lower() for word in re.findall(r"[A-Za-z]+", line)]
    spoken = [word for word in text if word not in _LEVELS]
    if any("/" in number.name for number in numbers if number.clock):  # one of many values that are logged
        return False
    return len(others) <= 1 and len(spoken) <= 6 and not set(spoken) & _NO_HEADING
