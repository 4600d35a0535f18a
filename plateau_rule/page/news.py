"""What is new in a run that goes on: one task looks, and every open page hears of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import orjson
from starlette.concurrency import run_in_threadpool

POLL_S = 0.25
BREATH_S = 0.005  # between two looks at a log that is still being read, in which questions are answered
BEAT_S = 15.0  # a line now and then, so that a connection that nobody reads any more is noticed


class News:
    """Looks for new losses, and tells the pages.

    Args:
        poll: takes in what is new; what to tell of it, or None.
        poll_s: seconds between two looks.
    """

    def __init__(self, poll: Callable[[], dict[str, Any] | None], poll_s: float = POLL_S) -> None:
        self._poll, self._poll_s = poll, poll_s
        self._pages: set[asyncio.Queue[bytes | None]] = set()
        self._over = False

    def end(self) -> None:
        """Let all pages go; a server that ends waits for them."""
        self._over = True
        for page in self._pages:
            _put(page, None)

    @asynccontextmanager
    async def followed(self) -> AsyncIterator[None]:
        """Look as long as the server runs."""
        task = asyncio.create_task(self._follow())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _follow(self) -> None:
        pause = 0.0
        while True:
            await asyncio.sleep(pause)
            event = await run_in_threadpool(self._poll)
            if event is not None:
                self.tell(event)
            pause = self._poll_s if event is None or not event.get("more") else BREATH_S

    def tell(self, event: dict[str, Any]) -> None:
        """Tell every page; one that has not taken the last event yet gets only the newest."""
        for page in self._pages:
            _put(page, b"data: " + orjson.dumps(event) + b"\n\n")

    async def stream(self) -> AsyncIterator[bytes]:
        """The events of one page, as server-sent events."""
        page: asyncio.Queue[bytes | None] = asyncio.Queue(4)
        self._pages.add(page)
        try:
            yield b"data: {}\n\n"  # whoever comes, or comes back, asks for what it has missed
            while not self._over:
                try:
                    event = await asyncio.wait_for(page.get(), BEAT_S)
                except TimeoutError:
                    event = b":\n\n"
                if event is not None:
                    yield event
        finally:
            self._pages.discard(page)


def _put(page: asyncio.Queue[bytes | None], event: bytes | None) -> None:
    while page.full():
        page.get_nowait()
    page.put_nowait(event)
