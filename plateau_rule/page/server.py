"""The server: who may ask, and which question goes to which answer. It listens on this machine alone."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from secrets import compare_digest
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route, Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from plateau_rule.controller.errors import PlateauError
from plateau_rule.page.assets import joined, static
from plateau_rule.page.desk import Desk
from plateau_rule.page.news import News

# Everything that is sent as a file: a table, so that no path of a client ever becomes a path on the disk.
SCRIPT = "page.js"  # all modules in one
STATIC = {"": ("index.html", "text/html"), "page.css": ("page.css", "text/css"), SCRIPT: (SCRIPT, "text/javascript")}
HOSTS = {"127.0.0.1", "localhost", "[::1]"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}
MOST_COLUMNS = 4000
MOST_VALUES = 64
MOST_QUERY_BYTES = 1 << 14
Answer = Callable[[Mapping[str, str]], Response]


class Guard:
    """Lets through what the page of this server asks, and refuses everything else before any answer is looked for.

    A page of somebody else's in the same browser can send requests here. It knows no token; if it did, its origin, or
    the name by which it calls this machine, would give it away.

    Args:
        app: answers what is let through.
        token: the first part of every path.
    """

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app, self._token = app, token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                kept = [(name, value) for name, value in message["headers"] if name.decode().lower() not in HEADERS]
                message["headers"] = [*kept, *((name.encode(), value.encode()) for name, value in HEADERS.items())]
            await send(message)

        refusal = self._refusal(scope)
        await (refusal or self._app)(scope, receive, with_headers)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get("host", "")
        name, _, port = host.rpartition(":") if not host.endswith("]") else (host, "", "")
        if (name if port.isdecimal() else host) not in HOSTS:
            return PlainTextResponse("this server answers to localhost and 127.0.0.1 alone", 421)
        if headers.get("origin", f"http://{host}") != f"http://{host}":
            return PlainTextResponse("asked by another origin", 403)
        if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
            return PlainTextResponse("asked by another site", 403)
        _, *given = scope["path"].encode().split(b"/", 2)
        if len(given) < 2 or not compare_digest(given[0], self._token):
            return PlainTextResponse("Not Found", 404)
        saves = scope["method"] == "POST" and given[1] == b"save" and "origin" in headers
        if scope["method"] not in ("GET", "HEAD") and not saves:
            return PlainTextResponse("this server changes nothing: GET alone", 405, {"allow": "GET, HEAD"})
        if len(scope["query_string"]) > MOST_QUERY_BYTES:
            return PlainTextResponse("a longer question than the page ever asks", 414)
        return None


def make_app(desk: Desk, token: str, news: News | None = None) -> ASGIApp:
    """The application.

    Args:
        desk: where questions go.
        token: the first part of every path, which only the link that the command prints holds.
        news: follows a run that goes on; None where nothing can come any more.
    """

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        if news is None:
            yield
            return
        async with news.followed():
            yield

    def question(answer: Answer) -> Callable[[Request], Any]:
        async def endpoint(request: Request) -> Response:
            try:
                return await run_in_threadpool(answer, request.query_params)
            except PlateauError as error:
                return PlainTextResponse(str(error), 422)

        return endpoint

    def events(request: Request) -> Response:
        if news is None:
            raise HTTPException(404)
        return StreamingResponse(news.stream(), media_type="text/event-stream")

    routes = [Route(f"/{name}", question(answer)) for name, answer in questions(desk).items()]
    routes += [Route(f"/{path}", _sent(path, desk)) for path in STATIC]
    routes.append(Route("/events", events))
    routes.append(
        Route("/save", question(lambda asked: spelled(desk.answers().save(settings(asked)))), methods=["POST"])
    )
    app = Starlette(routes=[Mount(f"/{token}", app=Router(routes, redirect_slashes=False))], lifespan=lifespan)
    return Guard(app, token)


def _sent(path: str, desk: Desk) -> Callable[[Request], Any]:
    name, kind = STATIC[path]

    async def endpoint(request: Request) -> Response:
        if name == SCRIPT:
            return Response(joined(), media_type=kind, background=BackgroundTask(desk.load))
        return Response(static(name), media_type=kind)

    return endpoint


def questions(desk: Desk) -> Mapping[str, Answer]:
    """What can be asked, by its path."""
    return {
        "meta": lambda asked: spelled(desk.meta()),
        "curve": lambda asked: Response(
            desk.answers().curve(
                number(asked, "from"),
                number(asked, "to"),
                number(asked, "width", MOST_COLUMNS),
                number({"run": "0", **asked}, "run"),
            ),
            media_type="application/octet-stream",
        ),
        "track": lambda asked: spelled(
            desk.answers().track(number(asked, "from"), number(asked, "to"), number(asked, "width", MOST_COLUMNS))
        ),
        "why": lambda asked: spelled(desk.answers().why(number(asked, "step"))),
        "whatif": lambda asked: spelled(desk.answers().whatif(settings(asked))),
        "grid": lambda asked: spelled(desk.answers().grid(word(asked, "path"), values(asked), settings(asked))),
        "noise": lambda asked: spelled(desk.answers().noise(settings(asked))),
        "simulate": lambda asked: spelled(desk.answers().simulate(number(asked, "permille", 1000) / 1000)),
        "check": lambda asked: spelled(desk.answers().check()),
    }


def spelled(answer: Any) -> Response:
    """An answer as JSON; NaN and infinities, which JSON has no numbers for, are null."""
    return Response(orjson.dumps(answer), media_type="application/json")


class AskedWrongly(PlateauError):
    """A question that the page does not ask."""


def word(asked: Mapping[str, str], name: str) -> str:
    """A word of a question."""
    if name not in asked:
        raise AskedWrongly(f"{name}: missing")
    return asked[name]


def number(asked: Mapping[str, str], name: str, most: int = 2**53) -> int:
    """A whole number of a question, at most `most`."""
    try:
        return min(most, max(0, int(float(word(asked, name)))))
    except (ValueError, OverflowError):
        raise AskedWrongly(f"{name}: {asked[name][:40]!r}; expected a whole number") from None


def settings(asked: Mapping[str, str]) -> list[tuple[str, float]]:
    """The settings that are tried: a path in the file, and a number for it."""
    found = _listed(asked.get("set", "[]"), "set")
    pairs = [one for one in found if isinstance(one, list) and len(one) == 2 and isinstance(one[0], str)]
    if len(pairs) != len(found):
        raise AskedWrongly("set: expected a list of [path, number]")
    return [(path, _finite(value, path)) for path, value in pairs]


def values(asked: Mapping[str, str]) -> list[float]:
    """The values of one setting."""
    return [_finite(value, "values") for value in _listed(word(asked, "values"), "values")]


def _listed(text: str, name: str) -> list[Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, list) or len(found) > MOST_VALUES:
        raise AskedWrongly(f"{name}: expected a list of at most {MOST_VALUES}")
    return found


def _finite(value: object, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not -1e300 < value < 1e300:
        raise AskedWrongly(f"{name[:40]}: expected a number")
    return value
