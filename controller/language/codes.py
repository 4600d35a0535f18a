"""What each code of a fault means: why it matters, and what to do. `plateau explain CODE` prints it.

A code never changes its meaning and is never used again for another.
"""

from __future__ import annotations

from typing import NamedTuple

from plateau_rule.controller.errors import CurriculumError, Fault
from plateau_rule.controller.guards.dwell import TIMEOUT
from plateau_rule.controller.guards.min_epoch import EXAMPLE


class Code(NamedTuple):
    """What a code stands for: the fault in a phrase, why it is one, and what to do."""

    phrase: str
    why: str
    remedy: str


def explain(code: str) -> Code:
    """What a code means.

    Raises:
        CurriculumError: there is no code of that name.
    """
    found = CODES.get(code.strip().strip("[]").lower())
    if found is None:
        raise CurriculumError([Fault("unknown-code", (), f'no code "{code}"', word=code, words=tuple(CODES))])
    return found


CODES = {
    # The file itself
    "no-such-file": Code(
        "there is no such file",
        "A curriculum is named by a path, or by the bare name of one that is shipped, such as plateau.",
        "Check the path; a bare name has no folder and no .toml in it.",
    ),
    "not-a-file": Code(
        "what is named is no regular file",
        "A folder, a pipe or a device cannot be read a second time, and a resumed run reads its curriculum again.",
        "Name a file.",
    ),
    "unreadable": Code(
        "the file cannot be read", "The system refused to open it.", "Check its permissions and its folder's."
    ),
    "file-too-large": Code(
        "a file of more than 64 KiB",
        "Files are bounded before they are parsed, so that none can exhaust a machine. The largest curriculum, 256 "
        "states with their transitions, fits well.",
        "Use named guards, and `*` or a list in `from`, in place of repetitions.",
    ),
    "line-too-long": Code(
        "a line of more than 1,000 characters",
        "Nobody reads such a line, and what nobody reads can hide something.",
        "Break lists over several lines, and give long tables a header of their own; plateau fmt does both.",
    ),
    "nested-too-deep": Code(
        "brackets, dots or conditions nested more than 32 deep",
        "Parsers are recursive, and deep nesting breaks them.",
        "Give inner conditions names, under [guard.NAME].",
    ),
    "not-utf8": Code(
        "bytes that are no UTF-8",
        "TOML is UTF-8 text. Some editors, and > in Windows' PowerShell, write UTF-16.",
        "Save the file as UTF-8; in PowerShell: Get-Content OLD | Set-Content -Encoding utf8 NEW",
    ),
    "empty-file": Code(
        "a file that holds no key",
        "A curriculum has at least a name, a rate and a state. A file may be empty because it was never saved.",
        "Begin with a shipped one: plateau fmt plateau --print > mine.toml",
    ),
    "other-format": Code(
        "a file in another language than TOML",
        "Curricula are TOML: KEY = value, one a line, below headers in brackets. YAML, JSON and Python are not read.",
        "See what one looks like: plateau fmt plateau --print",
    ),
    "hidden-character": Code(
        "a character that does not show",
        "Control characters, zero-width characters and marks that turn the direction of reading let a file look like "
        "another one than it is.",
        "Delete it; the line and column say where it stands.",
    ),
    "not-toml": Code(
        "the text is no TOML",
        "It does not follow TOML 1.0 (toml.io), so nothing in it can be relied on; only the first such fault is shown.",
        "Most often a quotation mark, a bracket or an = is missing. Texts always stand in quotation marks.",
    ),
    "duplicate-key": Code(
        "a key that is written twice",
        "TOML has no rule for which of the two counts.",
        "Remove one; several states or transitions have a header [[state]] or [[transition]] each.",
    ),
    # Keys and values
    "unknown-format": Code(
        "a format that this version does not know",
        "`format` is the version of the language; a newer one may mean something else by the same words.",
        "Write format = 1, or install a version that knows the newer format.",
    ),
    "unknown-key": Code(
        "a key that the language does not have",
        "A misspelt key that was passed over would leave its default in force without a word, for a whole run.",
        "Use the word that is suggested, or one of those listed; curricula/README.md explains all of them.",
    ),
    "missing-key": Code("a key that must be there is not", "It has no default that would be right.", "Write it."),
    "one-key": Code(
        "a guard or an action with no key, or with several",
        "Each guard is a table of one key, so that it is plain whether several are joined by `all` or by `any`.",
        "Write one table for each: all guards of the list must hold; join others with any = [...].",
    ),
    "wrong-type": Code(
        "a value of another kind",
        'Nothing is converted silently: 1 is not true, "0.5" is no number, 2.0 is no whole number.',
        "Write what is asked for.",
    ),
    "out-of-range": Code("a number outside its limits", "It would have no meaning there.", "Choose one within them."),
    "not-finite": Code(
        "infinity, or not a number", "No quantity of a run is infinite.", "Write a finite number; 1e400 is none."
    ),
    "unknown-word": Code(
        "a word that is none of those that may stand here",
        "Each of the words does something; another one would have to be guessed.",
        "Use the word that is suggested, or one of those listed.",
    ),
    "bad-name": Code(
        "a name with other characters",
        "Names are letters a-z and A-Z, digits, - and _, a letter first, at most 64. Letters of other alphabets can "
        "look the same and be others.",
        "Choose a plain name; descriptions and comments may hold any letters.",
    ),
    "bad-amount": Code(
        "no amount of time",
        "Time is a number and a unit, because 3 could be steps or epochs.",
        'Write "500 steps", "3 epochs", "2e9 tokens", "0.3 run" (a share of the run), or "rest" where it may stand.',
    ),
    "bad-text": Code(
        "a text that is too long or has characters that do not show",
        "Texts for people are printed in one line.",
        "Shorten it to 300 characters, without line breaks; comments may be as long as you like.",
    ),
    "wrong-count": Code("a list with too few or too many items", "An empty list says nothing.", "Add or drop some."),
    # Names
    "duplicate-name": Code(
        "a name that is used twice", "It would not be known which of the two is meant.", "Rename one of them."
    ),
    "look-alike-name": Code(
        "two names that look the same",
        "Case, - and _, 0 and O, 1, l and I are easily taken for each other, in the file and in logs.",
        "Give one of them another name.",
    ),
    "reserved-name": Code(
        "a name that means something else already",
        '"next" in a transition is the state written after the one that is left.',
        "Choose another name.",
    ),
    "unknown-knob": Code(
        "a knob that nothing declares, or that the trainer cannot turn",
        "A knob must have a ladder or a range under [knob.NAME], and the trainer must know how to turn it.",
        "Declare it, or use one that exists; a trainer says which it has.",
    ),
    "unknown-guard": Code(
        "a guard that nothing declares",
        "A text in a list of guards is the name of a [guard.NAME] of this file.",
        f"Declare it, or write the guard itself as a table, such as {EXAMPLE}.",
    ),
    "unknown-state": Code(
        "a state that does not exist", "Transitions name states of this file.", "Use the name of one of its states."
    ),
    "unknown-property": Code(
        "a property that check does not know",
        "What is waived must be one of the properties that check looks at.",
        "Use the word that is suggested, or one of those listed.",
    ),
    "unknown-transition": Code(
        "a waiver for a transition that there is none of",
        "What is waived for one transition names it, by the name that stands in it.",
        "Give the transition a name, or use the one it has.",
    ),
    "unknown-code": Code(
        "no code of that name", "Codes stand in brackets at the end of a fault.", "List all: plateau explain"
    ),
    # Knobs and states
    "knob-values": Code(
        "a knob without values, or with two kinds of them",
        "A knob has either a ladder of values or a range; names have a ladder, so that a misspelt one is noticed.",
        'Write ladder = [128, 256, "full"] or range = { min = 64, max = "full", multiple_of = 8 }.',
    ),
    "ladder-order": Code(
        "a ladder that does not rise",
        "A ladder lists values from the easiest to the hardest: which one is harder decides what a raise is.",
        'Sort it, each value once; "full" is the last. Where smaller values are harder, write order = "down".',
    ),
    "full-without-up": Code(
        "full in a knob of which larger values are not harder",
        "full is the largest value that a trainer can give, and the hardest one; here these are not the same.",
        "Write the number.",
    ),
    "mixed-values": Code(
        "values of one knob that do not compare",
        "All values of a knob are numbers, or names, or lists of as many numbers, or tables with the same keys: a key "
        "that one table lacks would be a source that is forgotten.",
        "Write all of them alike; a share of nothing is 0.",
    ),
    "ramp-without-numbers": Code(
        "a ramp of a knob whose values are no numbers",
        "A ramp passes through what lies between two values; between names, lists or tables nothing does.",
        "Write a state for each value, and transitions between them.",
    ),
    "range-order": Code(
        "a range that ends below its beginning", "min is the easiest value, max the hardest.", "Exchange the two."
    ),
    "range-multiple": Code(
        "multiples that do not fit their range",
        "The easiest value must be one that the knob can take, so it is a multiple of multiple_of, which is above 0.",
        "Choose min as a multiple.",
    ),
    "off-ladder": Code(
        "a value that the knob does not have",
        "Ladders and ranges say what a knob can be; a value beside them is a slip more often than not.",
        "Use one of the values, or add it to the ladder.",
    ),
    "knob-not-set": Code(
        "a state that leaves a knob open",
        "A knob's value depends on the state and on nothing else, never on the way that led there: so that resuming, "
        "drawing and checking know it.",
        "Set every knob in every state.",
    ),
    "falling-ramp": Code(
        "a ramp that makes training easier",
        "Within a state a knob only rises; the one way for it to fall is a transition with regress = true.",
        "Exchange the beginning in set and the end in to.",
    ),
    "no-ramp": Code(
        "ramp_done where there is no ramp",
        "In a state without a ramp of that knob, the guard could never be true.",
        "Name the states that have the ramp in from, or give the others one.",
    ),
    # Rates and amounts
    "length-and-cycles": Code(
        "a length and cycles at once", "Both say when the rate has fallen.", "Keep one of the two."
    ),
    "rest-not-last": Code(
        '"rest" before the last cycle',
        '"rest" lasts to the end of the run: no later cycle would ever begin.',
        "Put it last.",
    ),
    "rest-here": Code(
        '"rest" where it has no meaning',
        '"rest" is what is left of the run, and fits only lengths and cycles of the rate.',
        'Write an amount such as "500 steps" or "0.3 run".',
    ),
    "empty-amount": Code(
        "an amount of no time", "What takes no time would never be seen.", "Write how long it takes, or leave it out."
    ),
    "within-in-steps": Code(
        "an amount that is not in steps", "`within` is compared with steps, whatever a run's epochs are.", "Use steps."
    ),
    "rewarm-without-warmup": Code(
        "rewarm without a warmup", "There is nothing to repeat.", "Write a warmup, or leave rewarm out."
    ),
    "lowest-above-peak": Code(
        "a lowest rate above the peak",
        "The rate never falls below it, so it would be all that the rate ever is.",
        "Choose a smaller lowest; it is a rate like the peak, and no share of it.",
    ),
    "follow-without-numbers": Code(
        "a rate that follows what is no number above 0",
        "The rate is multiplied by a power of the knob's value over its first one.",
        "Follow a knob of numbers above 0, or write the peak of each state.",
    ),
    "ramp-under-follow": Code(
        "a ramp of a knob that the rate follows",
        "What the rate is multiplied by is worked out once for each state, not on each step of a ramp.",
        "Write a state for each value, or leave the knob out of follow.",
    ),
    "unresolved-follow": Code(
        "a rate that follows a knob to full, and nobody says how much that is",
        "The rate at full is a power of it.",
        "Give a limit, as a trainer does where the curriculum is bound; or write the number.",
    ),
    "key-without-effect": Code(
        "a key that has no effect here",
        "It would look as if it did something.",
        "Remove it, or choose what it belongs to: decay is a part of the shape wsd.",
    ),
    # Metrics
    "undeclared-metric": Code(
        "a guard on a metric that is not declared",
        "Once a file declares one metric, it declares all that its guards name. A misspelt name would stay unknown for "
        "a whole training, and the knob that waits for it would never be raised.",
        "Correct the name, or add a [metric.NAME].",
    ),
    "assumed-metric": Code(
        "a metric that is not declared",
        "Less of it is taken to be better, and its values to come with evaluations.",
        "Say so, or otherwise, in a [metric.NAME].",
    ),
    "score-as-loss": Code(
        "a metric that sounds like a score, and is taken as a loss",
        "A detector would call its rise no progress, and its first value the best of all.",
        'Write goal = "max" in its [metric.NAME].',
    ),
    "unused-metric": Code(
        "a metric that no guard watches", "The guard may have another name in it.", "Correct the guard, or remove it."
    ),
    "loop-forgets": Code(
        "a guard whose window a loop empties",
        "Entering a state forgets the values of the stay before, also of the same state. A guard that needs more "
        "values than the loop's never has them.",
        'Write since = "run" where it is patience or diverging, or take it for what it is.',
    ),
    "seen-late": Code(
        "a guard on an evaluation that is looked at before the evaluation comes",
        'What a step brings is looked at first, its evaluation after it: a transition with at = "epoch" sees the '
        "evaluation of this epoch only when the next one closes.",
        'Write at = "eval" in the transition; or at = "step" under [metric.NAME], if its values come with the loss.',
    ),
    "not-of-the-loss": Code(
        "[metric.loss] says what the loss is not",
        "The loss falls, and comes at every step. A score, and what an evaluation brings, have names of their own.",
        "Remove the key, and declare the metric that is meant, such as [metric.val_accuracy].",
    ),
    "time-without-every": Code(
        "an amount of time on a metric of which it is not known how often it comes",
        "A detector counts values. An epoch of the training loss is a thousand of them, one of evaluations may be one: "
        "taken for each other, a threshold would be wrong by that factor.",
        'Declare how often it comes: [metric.val_loss] every = "1 epoch".',
    ),
    # Guards and transitions
    "key-of-other-method": Code(
        "a key of another method",
        "Each method of `plateau` has parameters of its own; others would be passed over without a word.",
        "Remove the key, or choose the method that it belongs to.",
    ),
    "window-too-short": Code(
        "a window too short for its method", "`halves` compares two halves.", "Use at least 2; 50 is the default."
    ),
    "circular-guard": Code(
        "a guard that contains itself", "Whether it is true could never be decided.", "Break the circle of names."
    ),
    "guard-too-large": Code(
        "guards that grow without measure when names are followed",
        "A dozen lines of names that each name another twice stand for thousands of conditions.",
        "Name conditions once, and join fewer of them.",
    ),
    "no-next-state": Code(
        'the last state with to = "next"',
        '"next" is the state written after it, and there is none.',
        'Leave it out of from; "*" leaves it out by itself.',
    ),
    "leaves-nothing": Code(
        "a transition that leaves no state", "It could never be taken.", "Name a state to leave, or remove it."
    ),
    # Clocks that follow the knobs
    "clock-without-source": Code(
        "a clock that nothing is counted for, or that has no end",
        "Tokens are counted by tokens_per_step, cost by cost_per_step or by the prices of a knob; shares of the run "
        "need to know where it ends.",
        "Say what a step counts, and where the run ends; or leave the clock out.",
    ),
    "clock-unsaid": Code(
        "a run with several bounds, and no word on which of them shares are measured",
        '"0.3 run" and "rest" would mean one thing by steps and another one by tokens.',
        'Write clock = "steps", "tokens" or "cost" in [run]; the run ends at whichever bound comes first.',
    ),
    "uncounted-knob": Code(
        "a knob in a product whose values are no whole numbers",
        "Tokens and cost are counted in whole numbers, so that their sums are exact.",
        "Give it a ladder of whole numbers from 1 on, or a range with multiple_of.",
    ),
    "price-count": Code(
        "another number of prices than of rungs",
        "Each rung has its price, in the order of the ladder.",
        "Write one price for each rung.",
    ),
    "each-without-rungs": Code(
        "a state for each rung of a knob that has no rungs with names",
        "Such states are called by the values of the knob, and there is one for each of them.",
        "Give the knob a ladder of numbers or names, or a range of numbers with multiple_of and at most 256 values.",
    ),
    # Binding
    "bad-run": Code(
        "a run's length, rate or lag that is none",
        "Epochs, steps and tokens are whole numbers of at least 1, a lag is one of at least 0, and the peak rate is "
        "above 0.",
        "Correct what the trainer binds the curriculum with.",
    ),
    "bad-limit": Code(
        "a limit that is no number above 0",
        "A limit is the largest value that the trainer can turn a knob to.",
        "Correct what the trainer binds the curriculum with.",
    ),
    "bad-metrics": Code(
        "names of metrics that are none",
        "A trainer names what it observes beside the loss, so that a curriculum that needs more is refused.",
        "Correct what the trainer binds the curriculum with.",
    ),
    "unknown-metric": Code(
        "a metric that this trainer does not give",
        "It would stay unknown for the whole run, and the guards that ask for it would never hold.",
        "Correct the name, or have the trainer observe that metric and name it where it binds the curriculum.",
    ),
    "limit-below-ladder": Code(
        "a trainer that cannot reach even the easiest value",
        "Every state would be clamped to the same value, and nothing would ever be raised.",
        "Use easier values, or a trainer with a higher limit.",
    ),
    "unresolved-amount": Code(
        "an amount of time that cannot be turned into steps",
        "Epochs need steps_per_epoch, tokens need tokens_per_step, and shares of the run and rest need both the epochs "
        "and the steps of an epoch. It is asked before the first step, not when the amount is needed.",
        "State them in [run], or where the curriculum is bound.",
    ),
    # Writing
    "comments-lost": Code(
        "comments that formatting would lose",
        "plateau fmt rather leaves a file as it is than drops a comment.",
        "Move the comment to a line of its own above a key.",
    ),
    "meaning-lost": Code(
        "a curriculum that cannot be written as TOML",
        "What was written is read again and compared, and here it differs: a mistake of ours.",
        "Please report it.",
    ),
    "would-overwrite": Code(
        "a shipped curriculum would be overwritten",
        "A bare name means a file of the installed package, which every run of this machine shares.",
        "Copy it into a file of your own: plateau fmt NAME --print > mine.toml",
    ),
    # What `plateau check` finds: names
    "unused-guard": Code(
        "a guard that nothing asks for",
        "It was meant for a transition, and that transition does without it.",
        "Name it in a transition's guards, or remove it.",
    ),
    "unused-rung": Code(
        "a value on a ladder that no state sets",
        "That is fine where a ladder serves several files; else a state may be missing.",
        "Add a state for it, or take it off the ladder.",
    ),
    "odd-metric": Code(
        "a metric whose name is almost another one's",
        "A metric that the trainer never gives stays unknown for the whole run, and its guards never hold.",
        "Correct the name, unless the trainer gives both.",
    ),
    "merged-states": Code(
        "states that became equal within the trainer's limits",
        "Values above a limit are clamped to it; a transition between equal states would raise nothing.",
        "Nothing need be done; the states are one, and the others go on as written.",
    ),
    # reach
    "unreachable": Code(
        "a state that is never entered",
        "Whatever the loss does, no way leads there within the run.",
        "Add a transition to it, or correct those that lead there.",
    ),
    "dead-end": Code(
        "a state that can never be left",
        "Transitions lead out of it, and their guards can never hold together.",
        "Correct the guards of its transitions.",
    ),
    "early-end": Code(
        "a state that nothing leaves, although others are written after it",
        "It is final by accident more often than by intention.",
        'Add a transition out of it, or write stop = "reason" if the training ends there.',
    ),
    # escape
    "never-final": Code(
        "no loss leads to a final state",
        "The run would end on the way, at an easier setting than the last one.",
        "Let a transition lead on to the last state in time.",
    ),
    "may-stay": Code(
        "some losses keep the run in a state",
        "A loss that keeps improving is no plateau: training may end before it was ever hard. Perhaps that is meant.",
        f"To bound the stay, add a transition with a timeout: guards = [{TIMEOUT}].",
    ),
    "too-late": Code(
        "a state that cannot be left within the run",
        "A window does not fit into what is left of the run, or a guard waits for an epoch past its end.",
        "Shorten what is asked for, or make the run longer.",
    ),
    # monotone
    "knob-falls": Code(
        "a knob that falls on a transition which is not marked for it",
        "Training gets harder, not easier, unless the file says otherwise in so many words.",
        "Exchange the states, or write regress = true and at_most if this is a retreat.",
    ),
    "idle-regress": Code(
        "regress = true where no knob falls",
        "The mark says that something may happen which cannot.",
        "Remove it.",
    ),
    "unbounded-cycle": Code(
        "states that can be gone round without end",
        "Some loss keeps the run going up and down for ever.",
        "Write at_most on the transition that leads back.",
    ),
    # aligned
    "misaligned": Code(
        "a knob that rises into a low rate",
        "What is new at the harder setting has to be learnt, and with a decayed rate that stalls: the mistake that "
        "check exists to find.",
        'Write actions = ["lr_restart"], or let the cycles of the rate end where the knob rises.',
    ),
    "rate-falls": Code(
        "a rate that falls soon after a knob rises",
        "It is high on the first step and gone before the harder setting is learnt.",
        "Choose a longer length of the rate, or set [check] align to what is meant.",
    ),
    "late-raise": Code(
        "a knob that may rise in the last steps of the run",
        "The run ends before the rate stays high for as long as is asked, and the harder setting is barely learnt.",
        "Nothing has to be done. To rule it out, let an earlier timeout raise the knob.",
    ),
    "measured-later": Code(
        "a state with a warm-up of its own",
        "A warm-up that is written in a state is meant, so the rate after a raise is measured from the end of it.",
        "Nothing needs to be done.",
    ),
    "rate-vanishes": Code(
        "a rate that is scaled down to 0",
        "Each lr_scale multiplies the peak; after enough of them a float holds 0, and the run learns nothing more.",
        "Choose larger factors of lr_scale and peak, or bound the transition by at_most.",
    ),
    # order
    "never-looked-at": Code(
        "a transition that is never looked at",
        "Its states are left, or the run is over, before an epoch closes or an evaluation comes.",
        'Look at it at every step (at = "step"), or correct the other transitions.',
    ),
    "never-taken": Code(
        "a transition that is never taken",
        "Its guards could hold, but the state is always left, or the run is over, before they do.",
        "Correct the times that are asked for, or remove it.",
    ),
    "shadowed": Code(
        "a transition that another one always beats",
        "The first in the file whose guards hold is taken; whenever this one could be, an earlier one is.",
        "Write the narrower transition first.",
    ),
    "never-true": Code(
        "a guard that is never true", "A transition that asks for it is never taken.", "Correct it, or remove it."
    ),
    "always-true": Code(
        "a guard that is always true when it is looked at",
        "It asks for nothing; often its number is a slip.",
        "Leave it out, or correct its number.",
    ),
    "sustain-too-long": Code(
        "guards that cannot hold for so many looks in a row",
        "The state is left, or the run is over, before.",
        "Choose a smaller sustain.",
    ),
    # timing, noise, resume, waivers
    "decay-unfinished": Code(
        "a run that ends before its decay",
        "A rate that decays is to be low at the end of the run, whatever the losses are. Where knobs change how many "
        "tokens a step has, steps times a constant are not its tokens. A wsd whose decay is cut off is an error, and "
        "so is a length in cost, which is a budget; another cosine or line of which less than half is over is a "
        "warning, and a note where it is more.",
        "Give the length that the run has, or rest; write tokens_per_step as the product of the knobs that decide it.",
    ),
    "warmup-unfinished": Code(
        "a warm-up that is longer than what it begins in",
        "The rate climbs to its peak and is cut off on the way: by the end of the run, or by a restart of the rate.",
        "Shorten the warm-up, or let the state last longer than it.",
    ),
    "little-left": Code(
        "a last state that is left with little of the run",
        "Even on the fastest way, most of the training happens at easier settings.",
        "Let the states before it end earlier.",
    ),
    "noise": Code(
        "a window that cannot tell a plateau from this log's noise",
        "The losses of the log jump about so much that a look fires by chance, or never.",
        'Lengthen the window as is suggested, or use method = "trend".',
    ),
    "resume-differs": Code(
        "a run that goes on otherwise after it was killed and resumed",
        "Every curriculum must go on exactly as it would have: this is a mistake of ours.",
        "Please report it, with the file.",
    ),
    "idle-waiver": Code(
        "a property that is waived, and holds",
        "A waiver that is not needed hides what may go wrong later.",
        "Remove it.",
    ),
}
