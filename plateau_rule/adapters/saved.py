"""What a trainer's own checkpoint holds of a rule, and the way back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from plateau_rule.adapters.stamp import RowPlace
from plateau_rule.adapters.steps import StepShare, share_of
from plateau_rule.controller.arguments import kind_of
from plateau_rule.controller.errors import SnapshotError

FORMAT = 2


@dataclass(frozen=True)
class SavedRule:
    """A rule between two micro-batches, in JSON's types.

    Attributes:
        controller: its snapshot.
        ratios: of the parameter groups, in order. They are saved because a resumed optimizer's rates are decayed ones.
        framework: the adapter that saved it.
        accumulation: micro-batches in an optimizer step.
        share: of the step under way, what its micro-batches brought.
        place: in the rows, where knobs choose them.
        held: what an evaluation brought that the coming step's state is to see.
    """

    controller: dict[str, Any]
    ratios: tuple[float, ...]
    framework: str
    accumulation: int
    share: StepShare = field(default_factory=StepShare)
    place: RowPlace = field(default_factory=RowPlace)
    held: dict[str, float] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """The same as JSON-able data: no tuple, no tensor."""
        return {
            "format": FORMAT,
            "controller": self.controller,
            "ratios": list(self.ratios),
            "framework": self.framework,
            "accumulation": self.accumulation,
            "share": self.share.plain(),
            "place": asdict(self.place),
            "held": {name: repr(value) for name, value in self.held.items()},  # JSON has no NaN
        }


def read_saved(saved: object) -> SavedRule:
    """Read what `SavedRule.plain` gave.

    Raises:
        SnapshotError: it is something else.
    """
    if not isinstance(saved, Mapping) or "controller" not in saved or "ratios" not in saved:
        extra = ". That is a Controller's own state; give what the adapter's state gave" if _is_snapshot(saved) else ""
        raise SnapshotError(f"the saved rule is {kind_of(saved)}; expected what the adapter saved{extra}")
    if saved.get("format") != FORMAT:
        raise SnapshotError(
            f"the saved rule has format {saved.get('format')!r:.20}; this version reads format {FORMAT}"
        )
    try:
        seed = saved["place"]["seed"]
        return SavedRule(
            dict(saved["controller"]),
            tuple(float(ratio) for ratio in saved["ratios"]),
            str(saved["framework"]),
            int(saved["accumulation"]),
            share_of(saved["share"]),
            RowPlace(int(saved["place"]["epoch"]), int(saved["place"]["rows"]), None if seed is None else int(seed)),
            {str(name): float(value) for name, value in saved["held"].items()},
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SnapshotError(f"the saved rule cannot be read: {type(error).__name__}: {error}") from None


def _is_snapshot(saved: object) -> bool:
    return isinstance(saved, Mapping) and "fingerprint" in saved
