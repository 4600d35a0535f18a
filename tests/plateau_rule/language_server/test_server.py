"""The language server, driven by a real client over its standard streams."""

from __future__ import annotations

import ast
import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from lsprotocol import types as lsp
from pygls.lsp.client import LanguageClient

from plateau_rule.controller.binding import Binding
from plateau_rule.controller.language.reading import shipped
from plateau_rule.controller.verifier.budget import MOST_CONFIGURATIONS
from plateau_rule.language_server.document import VerifiedText, read_text, verify_text

PLATEAU = shipped()["plateau"].read_text(encoding="utf-8")
URI = "file:///home/me/mine.curriculum.toml"
LINES = PLATEAU.split("\n")
CAPABILITIES = lsp.ClientCapabilities(window=lsp.WindowClientCapabilities(work_done_progress=True))


class Editor:
    """A client with one file open.

    Attributes:
        client: speaks the protocol.
        published: what the server said of the file, in order.
        said: what it shows in a message.
        edits: what it asks the editor to change.
        progress: what it says of something that takes long.
    """

    def __init__(self) -> None:
        self.client = LanguageClient("test", "1")
        self.published: asyncio.Queue[lsp.PublishDiagnosticsParams] = asyncio.Queue()
        self.said: asyncio.Queue[str] = asyncio.Queue()
        self.edits: asyncio.Queue[lsp.WorkspaceEdit] = asyncio.Queue()
        self.progress: list[str] = []
        self.version = 1

        @self.client.feature(lsp.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS)
        def published(params: lsp.PublishDiagnosticsParams) -> None:
            self.published.put_nowait(params)

        @self.client.feature(lsp.WINDOW_SHOW_MESSAGE)
        def said(params: lsp.ShowMessageParams) -> None:
            self.said.put_nowait(params.message)

        @self.client.feature(lsp.WORKSPACE_APPLY_EDIT)
        def applied(params: lsp.ApplyWorkspaceEditParams) -> lsp.ApplyWorkspaceEditResult:
            self.edits.put_nowait(params.edit)
            return lsp.ApplyWorkspaceEditResult(applied=True)

        @self.client.feature(lsp.WINDOW_WORK_DONE_PROGRESS_CREATE)
        def created(params: lsp.WorkDoneProgressCreateParams) -> None:
            self.progress.append("created")

        @self.client.feature(lsp.PROGRESS)
        def progressed(params: lsp.ProgressParams) -> None:
            self.progress.append(str((params.value or {}).get("kind")))

    def open(self, text: str, uri: str = URI) -> None:
        """Open a file with a text."""
        item = lsp.TextDocumentItem(uri, "toml", self.version, text)
        self.client.text_document_did_open(lsp.DidOpenTextDocumentParams(item))

    def replace(self, line: int, start: int, end: int, text: str) -> None:
        """Type over a piece of a line."""
        self.version += 1
        place = lsp.Range(lsp.Position(line, start), lsp.Position(line, end))
        change = lsp.TextDocumentContentChangePartial(text=text, range=place)
        document = lsp.VersionedTextDocumentIdentifier(self.version, URI)
        self.client.text_document_did_change(lsp.DidChangeTextDocumentParams(document, [change]))

    async def hover(self, line: int, character: int) -> str:
        """What is shown at a place."""
        place = lsp.HoverParams(lsp.TextDocumentIdentifier(URI), lsp.Position(line, character))
        found = await self.client.text_document_hover_async(place)
        return found.contents.value if found and isinstance(found.contents, lsp.MarkupContent) else ""

    async def complete(self, line: int, character: int) -> list[lsp.CompletionItem]:
        """What is offered at a place."""
        place = lsp.CompletionParams(lsp.TextDocumentIdentifier(URI), lsp.Position(line, character))
        found = await self.client.text_document_completion_async(place)
        assert isinstance(found, list | tuple)
        return list(found)

    async def _actions(self, line: int) -> list[lsp.Command | lsp.CodeAction]:
        place = lsp.Range(lsp.Position(line, 0), lsp.Position(line, 0))
        asked = lsp.CodeActionParams(lsp.TextDocumentIdentifier(URI), place, lsp.CodeActionContext([]))
        return list(await self.client.text_document_code_action_async(asked) or [])

    async def fixes(self, line: int) -> list[lsp.CodeAction]:
        """The quick fixes of a line."""
        return [one for one in await self._actions(line) if isinstance(one, lsp.CodeAction)]

    async def seek(self, line: int) -> None:
        """Ask for the smallest edit that mends what is found in a line."""
        # lsprotocol takes an action with a command for a command, and spells out the inner one as its name.
        (action,) = [one for one in await self._actions(line) if isinstance(one, lsp.Command)]
        command = ast.literal_eval(action.command)
        assert command["title"].startswith("Seek the smallest edit of a number that mends this (")
        asked = lsp.ExecuteCommandParams(command["command"], command["arguments"])
        await self.client.workspace_execute_command_async(asked)

    def make(self, edit: lsp.WorkspaceEdit, text: str) -> str:
        """Make an edit of one line, and return the text."""
        assert edit.changes is not None
        (one,) = edit.changes[URI]
        assert isinstance(one, lsp.TextEdit)
        start, end = one.range.start, one.range.end
        self.replace(start.line, start.character, end.character, one.new_text)
        lines = text.split("\n")
        lines[start.line] = lines[start.line][: start.character] + one.new_text + lines[start.line][end.character :]
        return "\n".join(lines)


@asynccontextmanager
async def editor(*options: str) -> AsyncIterator[Editor]:
    """A client of a server that was started as an editor starts it."""
    one = Editor()
    await one.client.start_io(sys.executable, "-m", "plateau_rule", "lsp", *options)
    await one.client.initialize_async(lsp.InitializeParams(capabilities=CAPABILITIES))
    one.client.initialized(lsp.InitializedParams())
    try:
        yield one
    finally:
        await one.client.shutdown_async(None)
        one.client.exit(None)
        await one.client.stop()  # type: ignore[no-untyped-call]  # pygls' own


def run(script: Callable[[Editor], Awaitable[None]], *options: str) -> None:
    """Carry out a script in an editor; a server that hangs fails the test."""

    async def all_of_it() -> None:
        async with asyncio.timeout(60), editor(*options) as one:
            await script(one)

    asyncio.run(all_of_it())


def test_open_edit_hover_complete_and_fix() -> None:
    """Findings come when a file is opened and after an edit; a fix mends it; hover and completion answer."""

    async def script(one: Editor) -> None:
        one.open(PLATEAU)
        assert [found.code for found in (await one.published.get()).diagnostics] == ["may-stay"]
        line = next(n for n, row in enumerate(LINES) if row.startswith("shape"))
        assert "How the rate falls" in await one.hover(line, 1)
        assert {"peak", "floor"} <= {item.label for item in await one.complete(line + 1, 0)}
        state = next(n for n, row in enumerate(LINES) if row.startswith('name  = "words"') or '"words"' in row)
        assert "entered at step" in await one.hover(state, LINES[state].index("words") + 1)

        one.replace(line, 0, 5, "shap")
        (fault,) = (await one.published.get()).diagnostics
        assert (fault.code, fault.range.start.line, fault.severity) == (
            "unknown-key",
            line,
            lsp.DiagnosticSeverity.Error,
        )
        (fix,) = await one.fixes(line)
        assert fix.title == 'Write "shape"'
        assert fix.edit is not None
        assert fix.edit.changes is not None
        (edit,) = fix.edit.changes[URI]
        assert isinstance(edit, lsp.TextEdit)
        one.replace(line, edit.range.start.character, edit.range.end.character, edit.new_text)
        assert [found.code for found in (await one.published.get()).diagnostics] == ["may-stay"]
        assert await one.fixes(line) == []

    run(script)


RATE = 'peak   = 2e-4  # a rate\nfloor  = 0.1\ncycles = ["4 epochs", "rest"]\n'


@pytest.mark.parametrize(
    ("rate", "edited"),
    [
        (f"[lr]\n{RATE}", "\nfloor  = 0.947\n"),
        (f"[lr]\n{RATE}".replace("floor  = 0.1\n", ""), "# a rate\nfloor = 0.947\n"),
        ('lr = { peak = 2e-4, cycles = ["4 epochs", "rest"] }  # a rate\n', "peak = 2e-4, floor = 0.947, cycles"),
    ],
)
def test_the_smallest_edit_on_request(rate: str, edited: str) -> None:
    """A quick fix seeks the smallest edit, tells that it is under way, and makes it; the finding is gone then."""
    mine = (Path(__file__).parents[3] / "docs" / "examples" / "mine.toml").read_text(encoding="utf-8")
    head, rest = mine.split("[run]\n")
    run_table, rest = rest.split("[lr]\n")
    text = f"{head}{rate}[run]\n{run_table}{rest[rest.index('[knob') :]}"

    async def script(one: Editor) -> None:
        one.open(text)
        found = (await one.published.get()).diagnostics
        line = next(f.range.start.line for f in found if f.severity == lsp.DiagnosticSeverity.Error)
        await one.seek(line)
        assert edited in one.make(await one.edits.get(), text)
        assert (await one.said.get()).startswith("Write lr.floor = 0.947")
        assert one.progress == ["created", "begin", "end"]
        left = (await one.published.get()).diagnostics
        assert lsp.DiagnosticSeverity.Error not in {f.severity for f in left}

    run(script)


def test_no_number_mends_it() -> None:
    """Where no number mends a finding, the editor says so, and nothing is edited."""
    text = PLATEAU.replace('actions = ["lr_restart"]', "actions = []")

    async def script(one: Editor) -> None:
        one.open(text)
        await one.published.get()
        await one.seek(next(n for n, row in enumerate(LINES) if row.startswith("actions")))
        assert await one.said.get() == "No single number mends misaligned."
        assert one.edits.empty()

    run(script, "--epochs", "6", "--steps-per-epoch", "100")


def test_entries_beside_states() -> None:
    """Beside each state but the first stands when it is entered; for the run that the options give."""

    async def script(one: Editor) -> None:
        one.open(PLATEAU)
        await one.published.get()
        place = lsp.Range(lsp.Position(0, 0), lsp.Position(len(LINES), 0))
        asked = lsp.InlayHintParams(lsp.TextDocumentIdentifier(URI), place)
        hints = await one.client.text_document_inlay_hint_async(asked)
        verified = verify_text(read_text(PLATEAU, "mine"), Binding(epochs=50, steps_per_epoch=10), MOST_CONFIGURATIONS)
        assert isinstance(verified, VerifiedText)
        assert [(hint.position.line, hint.label) for hint in hints or []] == [*verified.entries()]
        assert "entered at step 50 to 490, if at all" in {hint.label for hint in hints or []}

    run(script, "--epochs", "50", "--steps-per-epoch", "10")


def test_columns_are_the_editors() -> None:
    """Columns count UTF-16 units, as the protocol does, where a line holds characters of two units."""

    async def script(one: Editor) -> None:
        one.open(PLATEAU)
        await one.published.get()
        line = next(n for n, text in enumerate(LINES) if text.startswith("description"))
        one.replace(line, 0, len(LINES[line]), 'description = "\N{OWL}\N{OWL}\N{OWL}" x')
        (found,) = (await one.published.get()).diagnostics
        assert found.range.start == lsp.Position(line, len('description = "') + 6 + 2)

    run(script)


def test_other_toml_is_left_alone() -> None:
    """A TOML file without states gets no findings, no hover, no layout; a closed curriculum loses its own."""

    async def script(one: Editor) -> None:
        other = "file:///home/me/pyproject.toml"
        one.open("[project]\nname = 3\n", other)
        one.open(PLATEAU)
        assert (await one.published.get()).uri == URI  # nothing was said of the other
        asked = lsp.HoverParams(lsp.TextDocumentIdentifier(other), lsp.Position(1, 1))
        assert await one.client.text_document_hover_async(asked) is None
        closed = lsp.DidCloseTextDocumentParams(lsp.TextDocumentIdentifier(URI))
        one.client.text_document_did_close(closed)
        assert list((await one.published.get()).diagnostics) == []

    run(script)


def test_layout() -> None:
    """Formatting gives the one layout of `plateau fmt`, and leaves a broken text as it is."""

    async def script(one: Editor) -> None:
        one.open(PLATEAU.replace('name        = "plateau"', 'name="plateau"'))
        await one.published.get()
        asked = lsp.DocumentFormattingParams(lsp.TextDocumentIdentifier(URI), lsp.FormattingOptions(4, True))
        (edit,) = await one.client.text_document_formatting_async(asked) or []
        assert edit.new_text == PLATEAU
        one.replace(0, 0, 0, "[[[")
        await one.published.get()
        assert not await one.client.text_document_formatting_async(asked)

    run(script)


def test_a_person_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Started by hand on a terminal, it says that an editor starts it, and ends."""
    from plateau_rule.commands.app import main

    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    assert main(["lsp"]) == 2
    assert "plateau check FILE" in capsys.readouterr().err
