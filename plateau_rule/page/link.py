"""The link to a page: a socket on this machine alone, and a token that only its owner is shown."""

from __future__ import annotations

import os
import socket
import sys
from importlib.util import find_spec
from secrets import token_urlsafe

from plateau_rule.controller.errors import PlateauError

HOST = "127.0.0.1"
TOKEN_BYTES = 18


class PortError(PlateauError):
    """A port that cannot be listened on."""


def require_server() -> None:
    """Find the libraries of the extra `page` before a link is shown, which they take too long to be loaded for.

    Raises:
        ModuleNotFoundError: one is not installed.
    """
    for name in ("starlette", "uvicorn"):
        if find_spec(name) is None:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def listen(port: int) -> socket.socket:
    """A socket on this machine alone.

    Raises:
        PortError: the port is taken, or may not be used.
    """
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((HOST, port))
        listening.listen()  # so that a browser which is there before the server waits for it
    except OSError as error:
        listening.close()
        raise PortError(
            f"--port {port}: cannot be listened on: {error.strerror}. Name another one, or 0 for any"
        ) from None
    return listening


def show_link(listening: socket.socket, browse: bool) -> str:
    """Print the link to a page, and open it; the token in it.

    Args:
        listening: where the page is served.
        browse: whether to open it in a browser, where this machine has a screen.
    """
    token = token_urlsafe(TOKEN_BYTES)
    link = f"http://{HOST}:{listening.getsockname()[1]}/{token}/"
    print(link, flush=True)
    print("Ctrl-C ends it. The link is the key: whoever has it on this machine sees the run.", file=sys.stderr)
    if browse and has_screen():
        import webbrowser

        webbrowser.open(link)
    return token


def has_screen() -> bool:
    """Whether somebody sits before this machine; a browser for terminals would take the terminal over."""
    if "SSH_CONNECTION" in os.environ:
        return False
    return sys.platform in ("darwin", "win32") or bool({"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys())
