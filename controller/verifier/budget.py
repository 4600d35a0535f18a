"""How much one verification may try, counted in configurations, so that a verdict is the same on every machine."""

from __future__ import annotations

from collections.abc import Callable

# By default what takes about two seconds on one core; a configuration and what follows from it takes about 100 us.
MOST_CONFIGURATIONS = 20_000


class BudgetSpent(Exception):  # no error: what is left is not decided
    """No more may be tried."""


class Budget:
    """Counts what is tried.

    Args:
        configurations: how many may be tried.
        tick: called now and then with the share that was spent, for a line of progress.
    """

    __slots__ = ("_tick", "_ticked", "left", "total")

    def __init__(
        self, configurations: float = MOST_CONFIGURATIONS, tick: Callable[[float], None] | None = None
    ) -> None:
        self.total = self.left = configurations
        self._tick, self._ticked = tick, configurations

    @property
    def is_spent(self) -> bool:
        """Whether nothing is left."""
        return self.left <= 0

    def spend(self, configurations: float = 1.0) -> None:
        """Take this many configurations.

        Raises:
            BudgetSpent: nothing is left.
        """
        self.left -= configurations
        if self._tick is not None and self._ticked - self.left >= 200:
            self._ticked = self.left
            self._tick(1.0 - max(0.0, self.left) / self.total)
        if self.left < 0:
            raise BudgetSpent

    def part(self, share: float) -> Part:
        """A budget of at most a share of what is left, which is taken from this one."""
        return Part(self, share * max(0.0, self.left))


class Part:
    """A part of a budget."""

    __slots__ = ("_of", "left")

    def __init__(self, of: Budget | Part, configurations: float) -> None:
        self._of, self.left = of, configurations

    @property
    def is_spent(self) -> bool:
        """Whether nothing is left."""
        return self.left <= 0 or self._of.is_spent

    def spend(self, configurations: float = 1.0) -> None:
        """Take this many configurations.

        Raises:
            BudgetSpent: nothing is left.
        """
        self.left -= configurations
        if self.left < 0:
            raise BudgetSpent
        self._of.spend(configurations)

    def part(self, share: float) -> Part:
        """A budget of at most a share of what is left, which is taken from this one."""
        return Part(self, share * max(0.0, self.left))
