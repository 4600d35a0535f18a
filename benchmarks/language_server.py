"""How long an editor waits for an answer of `plateau lsp`: hover, completion and the findings of every shipped file.

A real client asks over the server's standard streams, 20 times each; the figures are wall-clock milliseconds.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from statistics import median
from time import perf_counter
from typing import Any

from lsprotocol import types as lsp
from pygls.lsp.client import LanguageClient

from plateau_rule.controller.language.reading import shipped
from plateau_rule.language_server.server import PAUSE_S

TIMES = 20


async def waits_ms(ask: Callable[[Any], Awaitable[Any]], question: Any) -> list[float]:
    """The time of each of several answers, in milliseconds."""
    waits = []
    for _ in range(TIMES):
        began = perf_counter()
        await ask(question)
        waits.append(1000 * (perf_counter() - began))
    return waits


async def measure() -> None:
    """Print a row for each shipped file."""
    client = LanguageClient("benchmark", "1")
    published: asyncio.Queue[Any] = asyncio.Queue()

    @client.feature(lsp.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS)  # type: ignore[untyped-decorator]  # pygls' own
    def publish(params: lsp.PublishDiagnosticsParams) -> None:
        published.put_nowait(params)

    await client.start_io(sys.executable, "-P", "-m", "plateau_rule", "lsp")
    await client.initialize_async(lsp.InitializeParams(capabilities=lsp.ClientCapabilities()))
    client.initialized(lsp.InitializedParams())
    print(f"{'file':28}{'hover, worst':>14}{'completion, worst':>20}{'findings after the pause':>26}   ms")
    for name, path in shipped().items():
        text, uri = path.read_text(encoding="utf-8"), f"file:///{name}.curriculum.toml"
        began = perf_counter()
        client.text_document_did_open(lsp.DidOpenTextDocumentParams(lsp.TextDocumentItem(uri, "toml", 1, text)))
        await published.get()
        findings = 1000 * (perf_counter() - began - PAUSE_S)
        line = next(n for n, row in enumerate(text.split("\n")) if row.startswith("[lr]")) + 1
        at = (lsp.TextDocumentIdentifier(uri), lsp.Position(line, 1))
        hover = await waits_ms(client.text_document_hover_async, lsp.HoverParams(*at))
        offers = await waits_ms(client.text_document_completion_async, lsp.CompletionParams(*at))
        shown = [f"{median(waits):.1f}, {max(waits):.1f}" for waits in (hover, offers)]
        print(f"{name:28}{shown[0]:>14}{shown[1]:>20}{findings:>26.0f}")
    await client.shutdown_async(None)
    client.exit(None)
    await client.stop()  # type: ignore[no-untyped-call]  # pygls' own


if __name__ == "__main__":
    asyncio.run(measure())
