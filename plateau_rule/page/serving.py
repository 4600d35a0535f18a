"""Serves the page until it is told to end."""

from __future__ import annotations

import ctypes
import socket
from contextlib import suppress

import uvicorn

from plateau_rule.page.desk import Desk
from plateau_rule.page.news import News
from plateau_rule.page.server import make_app

M_ARENA_MAX, ARENAS = -8, 2  # of glibc: with an arena for each thread that ever answered, memory grows with a live run
LEAVE_S = 1  # for open pages to let go when the server ends


class PageServer(uvicorn.Server):
    """A server that opens a run once it listens, and lets the pages which follow the run go before it ends.

    Args:
        config: what it serves, and how.
        desk: opens the run.
        news: what the pages follow.
    """

    def __init__(self, config: uvicorn.Config, desk: Desk, news: News) -> None:
        super().__init__(config)
        self._desk, self._news = desk, news

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin."""
        await super().startup(sockets)
        self._desk.begin(self._give_up)

    def _give_up(self) -> None:
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End."""
        self._desk.end()
        self._news.end()
        await super().shutdown(sockets)


def make_server(desk: Desk, token: str) -> PageServer:
    """The server of a page; not started.

    Args:
        desk: where its questions go.
        token: the first part of every path.
    """
    news = News(desk.poll)
    config = uvicorn.Config(
        make_app(desk, token, news),
        log_level="warning",
        access_log=False,  # the token is part of each path
        server_header=False,
        timeout_graceful_shutdown=LEAVE_S,
        ws="none",
    )
    return PageServer(config, desk, news)


def serve(desk: Desk, token: str, listening: socket.socket) -> int:
    """Serve until Ctrl-C.

    Args:
        desk: where the questions of the page go.
        token: the first part of every path.
        listening: where the page is served.

    Raises:
        PlateauError: the run cannot be shown.
    """
    with suppress(AttributeError, TypeError, OSError):  # another C library than glibc
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, ARENAS)
    with suppress(KeyboardInterrupt), listening:
        make_server(desk, token).run(sockets=[listening])
    if desk.fault is not None:
        raise desk.fault
    return 0
