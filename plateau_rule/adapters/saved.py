"""What a trainer's own checkpoint holds of a rule, and the way back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from plateau_rule.controller.arguments import kind_of
from plateau_rule.controller.errors import SnapshotError

FORMAT = 1


@dataclass(frozen=True)
class SavedRule:
    """A rule between two micro-batches, in JSON's types.

    Attributes:
        controller: its snapshot.
        ratios: of the parameter groups, in order. They are saved because a resumed optimizer's rates are decayed ones.
        framework: the adapter that saved it.
        accumulation: micro-batches in an optimizer step.
        share: of the step under way, what its micro-batches brought: the sum of their losses, their weight and number.
        position: micro-batches that were drawn in the present epoch, where a loader of ours says so.
    """

    controller: dict[str, Any]
    ratios: tuple[float, ...]
    framework: str
    accumulation: int
    share: tuple[float, float, int] = (0.0, 0.0, 0)
    position: int | None = None

    def plain(self) -> dict[str, Any]:
        """The same as JSON-able data: no tuple, no tensor."""
        fields = asdict(self)
        return {"format": FORMAT, **fields, "ratios": list(self.ratios), "share": list(self.share)}


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
        total, weight, count = saved["share"]
        position = saved["position"]
        return SavedRule(
            dict(saved["controller"]),
            tuple(float(ratio) for ratio in saved["ratios"]),
            str(saved["framework"]),
            int(saved["accumulation"]),
            (float(total), float(weight), int(count)),
            None if position is None else int(position),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise SnapshotError(f"the saved rule cannot be read: {type(error).__name__}: {error}") from None


def _is_snapshot(saved: object) -> bool:
    return isinstance(saved, Mapping) and "fingerprint" in saved
