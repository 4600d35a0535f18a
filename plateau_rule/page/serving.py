"""Serves the page until it is told to end: a socket on this machine alone, and a link that only its owner is shown."""

from __future__ import annotations

import os
import socket
import sys
import webbrowser
from collections.abc import Sequence
from contextlib import suppress
from secrets import token_urlsafe

import uvicorn

from plateau_rule.page.answers import Answers
from plateau_rule.page.news import News
from plateau_rule.page.opening import PageError
from plateau_rule.page.run import Run
from plateau_rule.page.server import make_app

HOST = "127.0.0.1"
TOKEN_BYTES = 18
LEAVE_S = 1  # for open pages to let go when the server ends


def listen(port: int) -> socket.socket:
    """A socket on this machine alone.

    Raises:
        PageError: the port is taken, or may not be used.
    """
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((HOST, port))
        listening.listen()  # so that a browser which is there before the server waits for it
    except OSError as error:
        listening.close()
        raise PageError(
            f"--port {port}: cannot be listened on: {error.strerror}. Name another one, or 0 for any"
        ) from None
    return listening


class PageServer(uvicorn.Server):
    """A server that lets the pages which follow a run go before it ends.

    Args:
        config: what it serves, and how.
        news: what the pages follow; None where nothing is followed.
    """

    def __init__(self, config: uvicorn.Config, news: News | None) -> None:
        super().__init__(config)
        self._news = news

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End."""
        if self._news is not None:
            self._news.end()
        await super().shutdown(sockets)


def make_server(run: Run, token: str, others: Sequence[Run] = ()) -> PageServer:
    """The server of one run, with others drawn beside it; not started."""
    news = News(run.poll) if run.follows else None
    config = uvicorn.Config(
        make_app(Answers(run, others), token, news),
        log_level="warning",
        access_log=False,  # the token is part of each path
        server_header=False,
        timeout_graceful_shutdown=LEAVE_S,
        ws="none",
    )
    return PageServer(config, news)


def serve(run: Run, port: int, browse: bool, others: Sequence[Run] = ()) -> int:
    """Print the link, and serve until Ctrl-C.

    Args:
        run: what to show.
        port: to listen on; 0 for any that is free.
        browse: whether to open the link in a browser, where this machine has a screen.
        others: runs whose losses are drawn beside it.
    """
    token = token_urlsafe(TOKEN_BYTES)
    listening = listen(port)
    link = f"http://{HOST}:{listening.getsockname()[1]}/{token}/"
    print(link, flush=True)
    print("Ctrl-C ends it. The link is the key: whoever has it on this machine sees the run.", file=sys.stderr)
    if browse and has_screen():
        webbrowser.open(link)
    with suppress(KeyboardInterrupt), listening:
        make_server(run, token, others).run(sockets=[listening])
    return 0


def has_screen() -> bool:
    """Whether somebody sits before this machine; a browser for terminals would take the terminal over."""
    if "SSH_CONNECTION" in os.environ:
        return False
    return sys.platform in ("darwin", "win32") or bool({"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys())
