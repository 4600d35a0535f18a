"""The words that a guard can be, one file each, and the registry in which they are listed.

A new word is one file with a `Word` (see word.py) and one line in `LANGUAGE`. The file format, the faults, the
fingerprint, the verifier, the batch engine, the drawn curricula of tests, the schema, the reference and `explain` learn
of it from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from plateau_rule.controller.guards.above import Above
from plateau_rule.controller.guards.all import All
from plateau_rule.controller.guards.any import Any_
from plateau_rule.controller.guards.below import Below
from plateau_rule.controller.guards.detector import Detector as Detector
from plateau_rule.controller.guards.diverging import DivergingWord
from plateau_rule.controller.guards.dwell import Dwell
from plateau_rule.controller.guards.gap import GapWord
from plateau_rule.controller.guards.in_state import Clock as Clock
from plateau_rule.controller.guards.in_state import GuardInState as GuardInState
from plateau_rule.controller.guards.in_state import Joined as Joined
from plateau_rule.controller.guards.in_state import Opposite as Opposite
from plateau_rule.controller.guards.in_state import Reached as Reached
from plateau_rule.controller.guards.in_state import Watched as Watched
from plateau_rule.controller.guards.in_state import answers_nonfinite as answers_nonfinite
from plateau_rule.controller.guards.in_state import leaves as leaves
from plateau_rule.controller.guards.kleene import FALSE as FALSE
from plateau_rule.controller.guards.kleene import TRUE as TRUE
from plateau_rule.controller.guards.kleene import UNKNOWN as UNKNOWN
from plateau_rule.controller.guards.kleene import spelled as spelled
from plateau_rule.controller.guards.min_epoch import MinEpoch
from plateau_rule.controller.guards.min_step import MinStep
from plateau_rule.controller.guards.nonfinite import NonFiniteInARow
from plateau_rule.controller.guards.not_ import Not
from plateau_rule.controller.guards.own import OwnWord
from plateau_rule.controller.guards.patience import PatienceWord
from plateau_rule.controller.guards.plateau import PlateauWord
from plateau_rule.controller.guards.ramp_done import RampDone
from plateau_rule.controller.guards.reading import Reading as Reading
from plateau_rule.controller.guards.word import Word as Word

LANGUAGE: tuple[Word[Any], ...] = (
    MinEpoch(),
    MinStep(),
    Dwell(),
    PlateauWord(),
    PatienceWord(),
    Below(),
    Above(),
    DivergingWord(),
    GapWord(),
    NonFiniteInARow(),
    RampDone(),
    Any_(),
    All(),
    Not(),
)
"""The words of the language, in the order of the schema and the reference."""

_known: dict[str, Word[Any]] = {word.name: word for word in LANGUAGE}
WORDS: Mapping[str, Word[Any]] = MappingProxyType(_known)
"""Every word by its name: those of the language, then those that a user has registered (`language.own_words`)."""


def add_word(word: OwnWord) -> None:
    """Add a user's word, or put it in the place of an earlier one of his."""
    _known[word.name] = word


def take_word(name: str) -> None:
    """Take a user's word out."""
    del _known[name]
