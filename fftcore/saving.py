"""When a run is saved, and by whom: commits are made beside the training, in a thread, never two at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from time import monotonic
from typing import Literal

from plateau_rule.fftcore.checkpoint import Checkpoints
from plateau_rule.fftcore.errors import StorageError

OnSaveError = Literal["stop", "warn"]
Pack = Callable[[], Mapping[str, bytes]]
Say = Callable[[str], None]


class Saving:
    """Makes the commits of a run that goes on meanwhile; a commit counts as saved when it is durable.

    Args:
        checkpoints: the run's.
        every: steps from one commit to the next, or minutes as in "10 minutes".
        on_error: what to do if the disk refuses a commit: end the run, or say so and go on.
        say: says a line to the user.
        clock: seconds, from whenever; it never goes back.
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        every: int | str,
        on_error: OnSaveError,
        say: Say,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.checkpoints, self.every, self.on_error, self._say, self._clock = checkpoints, every, on_error, say, clock
        self.saved: int | None = None
        self.refused: list[int] = []
        self._thread = ThreadPoolExecutor(1, "checkpoints")
        self._writing: tuple[int, Future[object]] | None = None
        self._begun_s = clock()

    def due(self, step: int) -> bool:
        """Return whether a commit is to be made before this step, by plan."""
        if isinstance(self.every, int):
            return step % self.every == 0
        return self._clock() - self._begun_s >= 60 * float(self.every.partition(" ")[0])

    def begin(self, step: int, pack: Pack) -> None:
        """Begin a commit, when the one before is durable.

        Args:
            step: the next step to be taken.
            pack: returns the commit's files; called in the thread, so it must use nothing that training changes.

        Raises:
            StorageError: the disk refused the one before.
        """
        self.wait()
        self._begun_s = self._clock()
        self._writing = step, self._thread.submit(lambda: self.checkpoints.save(step, pack()))

    def look(self) -> None:
        """Take note of a commit that is durable by now, or was refused; wait for none.

        Raises:
            StorageError: the disk refused it, and the run is to end.
        """
        if self._writing is not None and self._writing[1].done():
            self.wait()

    def wait(self) -> None:
        """Wait until the commit that was begun is durable.

        Raises:
            StorageError: the disk refused it, and the run is to end.
        """
        if self._writing is None:
            return
        (step, writing), self._writing = self._writing, None
        try:
            writing.result()
        except StorageError as error:
            if self.on_error == "stop":
                raise
            self.refused.append(step)
            last = "there is none" if self.saved is None else f"it is of step {self.saved}"
            why = error.__cause__.strerror if isinstance(error.__cause__, OSError) else error
            self._say(f"step {step}: not saved: {why}. The run goes on; the last checkpoint: {last}")
        else:
            self.saved = step

    def close(self) -> None:
        """Wait for what is being written, and say it if the disk refuses: the run ends for another reason."""
        try:
            self.wait()
        except StorageError as error:
            self._say(str(error))
        finally:
            self._thread.shutdown()
