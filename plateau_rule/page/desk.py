"""Where the page's questions go, from before its run is read: a thread opens it, and what cannot be said yet waits."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from threading import Event, Thread
from time import sleep
from typing import TYPE_CHECKING, Any

from plateau_rule.controller.errors import PlateauError
from plateau_rule.page.errors import PageError

if TYPE_CHECKING:
    from plateau_rule.page.answers import Answers

Outlines = Callable[[], Mapping[str, Any] | None]
TOLD_S = 1.0  # for open pages to hear why a run cannot be shown
FIRST_S = 0.5  # for a page to take its files, and then the outline, before what comes next takes the processor
SWITCH_S = 0.0005  # while it is opened: what loads modules is not to keep the page waiting


class _Ended(PageError):
    """What those are told who wait for a run when the server ends."""


class Desk:
    """Answers as soon as it can.

    Args:
        opens: reads the run.
        outlines: what `meta` is answered until then; what gives None, or cannot say it, lets it wait.
    """

    def __init__(
        self, opens: Callable[[], Answers], outlines: Callable[[], Mapping[str, Any] | None] | None = None
    ) -> None:
        self._opens, self._outlines = opens, outlines
        self._outline: Future[Mapping[str, Any] | None] = Future()
        self._opened: Future[Answers] = Future()
        self._told = False
        self._loaded, self._outlined = Event(), Event()

    @classmethod
    def of(cls, answers: Answers) -> Desk:
        """The desk of a run that is read already."""
        desk = cls(lambda: answers)
        desk._opened.set_result(answers)
        return desk

    def begin(self, give_up: Callable[[], None]) -> None:
        """Open the run in a thread.

        Args:
            give_up: is called when it cannot be opened, a moment later.
        """
        if not self._opened.done():
            Thread(target=self._open, args=(give_up,), daemon=True).start()

    def load(self) -> None:
        """A page has taken its files, and will ask."""
        self._loaded.set()

    def _open(self, give_up: Callable[[], None]) -> None:
        self._loaded.wait(FIRST_S)
        usual = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_S)
        try:
            self._say_outline()
            answers = self._opens()
            with suppress(InvalidStateError):  # as the server ends
                self._opened.set_result(answers)
        except BaseException as error:  # whoever asks raises it again
            with suppress(InvalidStateError):
                self._opened.set_exception(error)
                sleep(TOLD_S)
                give_up()
        finally:
            sys.setswitchinterval(usual)
            gc.freeze()
            gc.enable()

    def _say_outline(self) -> None:
        try:
            outline = None if self._outlines is None else self._outlines()
        except PlateauError:  # it is told when the run is opened
            outline = None
        with suppress(InvalidStateError):
            self._outline.set_result(outline)
        if outline is not None:
            self._outlined.wait(FIRST_S)

    def end(self) -> None:
        """Let go who still waits: the server ends."""
        for waited in (self._outline, self._opened):
            with suppress(InvalidStateError):
                waited.set_exception(_Ended("the server was stopped"))

    @property
    def fault(self) -> BaseException | None:
        """Why the run cannot be shown; None if it can, or while it is not known."""
        fault = self._opened.exception() if self._opened.done() else None
        return None if isinstance(fault, _Ended) else fault

    def answers(self) -> Answers:
        """The answers, once they can be given.

        Raises:
            PlateauError: the run cannot be shown.
        """
        return self._opened.result()

    def meta(self) -> Mapping[str, Any]:
        """Where the run is; what its curriculum alone says, until its log is read."""
        if self._opened.done() or (outline := self._outline.result()) is None:
            return self.answers().meta()
        self._outlined.set()
        return outline

    def poll(self) -> dict[str, Any] | None:
        """What is new; None where nothing is."""
        if not self._opened.done() or self._opened.exception() is not None:
            return None
        run = self.answers().run
        if not self._told:
            self._told = True
            return {"n": len(run.session), "gen": run.gen, "more": run.reading}
        return run.poll() if run.follows else None
