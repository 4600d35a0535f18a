"""The language server itself: the only file that knows the protocol and its library, pygls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit
from uuid import uuid4

from lsprotocol import types as lsp
from pygls.lsp.server import LanguageServer

from plateau_rule.commands.annotations import Annotation, Level
from plateau_rule.controller.binding import Binding
from plateau_rule.controller.errors import CurriculumError
from plateau_rule.controller.language.writing import formatted
from plateau_rule.language_server.completion import Completion, about_key, completions
from plateau_rule.language_server.cursor import CursorPlace, cursor_at
from plateau_rule.language_server.document import Fix, ReadText, VerifiedText, fixes_of, read_text, verify_text

NAME = "plateau"  # of the server, and of the source of its findings
MEND = "plateau.mend"  # the command that seeks the smallest edit; it is asked for by a quick fix
PAUSE_S = 0.2  # without a keystroke, before a text is verified
SEVERITIES: dict[Level, lsp.DiagnosticSeverity] = {
    "error": lsp.DiagnosticSeverity.Error,
    "warning": lsp.DiagnosticSeverity.Warning,
    "notice": lsp.DiagnosticSeverity.Information,
}
KINDS = {
    "key": lsp.CompletionItemKind.Property,
    "value": lsp.CompletionItemKind.Value,
    "name": lsp.CompletionItemKind.Reference,
}


@dataclass(slots=True)
class _Open:
    """A curriculum that is open in the editor: its text as it was read last, and its last sound text, verified."""

    read: ReadText
    version: int | None
    verified: VerifiedText | None = None
    task: asyncio.Task[None] | None = field(default=None, repr=False)


def is_curriculum(uri: str, text: str) -> bool:
    """Whether a TOML file is a curriculum: by its name, or because it has states. Others are left alone."""
    path = PurePosixPath(unquote(urlsplit(uri).path))
    return path.name.endswith(".curriculum.toml") or any(line.startswith("[[state]]") for line in text.split("\n"))


class CurriculumServer(LanguageServer):
    """A language server for curriculum files.

    Attributes:
        binding: what every curriculum is bound to.
        budget: how many configurations a verification tries.
    """

    def __init__(self, version: str, binding: Binding, budget: int) -> None:
        super().__init__(NAME, version)
        self.binding, self.budget = binding, budget
        self.files: dict[str, _Open] = {}
        self._verifier = ThreadPoolExecutor(1, "verifier")  # one at a time; what waits in it can be cancelled
        self._seeker = ThreadPoolExecutor(1, "seeker")  # of mends, which take longer

    def update(self, uri: str) -> None:
        """Read a text anew and say at once what keeps it from being a curriculum; verify it after a pause."""
        document = self.workspace.get_text_document(uri)
        text = document.source.replace("\r\n", "\n")
        if not is_curriculum(uri, text):
            self.forget(uri)
            return
        before = self.files.get(uri)
        if before is not None and before.task is not None:
            before.task.cancel()
        file = PurePosixPath(unquote(urlsplit(uri).path)).name
        opened = _Open(read_text(text, file), document.version, before.verified if before else None)
        self.files[uri] = opened
        if opened.read.curriculum is None:
            self._publish(uri, opened.read.annotations())
        else:
            opened.task = asyncio.get_running_loop().create_task(self._verify(uri, opened))

    async def _verify(self, uri: str, opened: _Open) -> None:
        """Verify a text in a thread, so that questions are answered meanwhile; a newer text ends it."""
        await asyncio.sleep(PAUSE_S)
        result = await asyncio.get_running_loop().run_in_executor(
            self._verifier, verify_text, opened.read, self.binding, self.budget,
            lambda: self.files.get(uri) is not opened,
        )  # fmt: skip
        if isinstance(result, VerifiedText):
            opened.verified = result
        else:
            opened.read = result
        self._publish(uri, result.annotations())
        capabilities = self.client_capabilities.workspace
        if capabilities and capabilities.inlay_hint and capabilities.inlay_hint.refresh_support:
            self.workspace_inlay_hint_refresh(None)

    async def mend(self, uri: str, number: int, version: int | None) -> None:
        """Seek the smallest edit that mends a finding, and ask the editor to make it; say so where there is none.

        Args:
            uri: the file.
            number: of the finding in its report.
            version: of the text that was verified.
        """
        opened = self.files.get(uri)
        if opened is None or opened.verified is None or opened.version != version:
            return self.say("The text has changed: ask again once its findings are shown.")
        async with self._progress("Seeking the smallest edit"):
            finding = opened.verified.report.findings[number]
            fixes = await asyncio.get_running_loop().run_in_executor(
                self._seeker, opened.verified.mends, finding, self.binding
            )
        if self.files.get(uri) is not opened:
            return self.say("The text has changed meanwhile; nothing was edited.")
        if not fixes:
            return self.say(f"No single number mends {finding.code}.")
        first, *others = fixes
        edit = lsp.WorkspaceEdit({uri: [self.edit_of(uri, first)]})
        await self.workspace_apply_edit_async(lsp.ApplyWorkspaceEditParams(edit, first.title))
        return self.say("; or ".join(fix.title for fix in (first, *others)))

    def say(self, sentence: str) -> None:
        """Show a sentence in the editor."""
        self.window_show_message(lsp.ShowMessageParams(lsp.MessageType.Info, sentence))

    @asynccontextmanager
    async def _progress(self, title: str) -> AsyncIterator[None]:
        """Show that something is under way, where the editor can."""
        window = self.client_capabilities.window
        if not (window and window.work_done_progress):
            yield
            return
        token = str(uuid4())
        await self.work_done_progress.create_async(token)
        self.work_done_progress.begin(token, lsp.WorkDoneProgressBegin(title))
        try:
            yield
        finally:
            self.work_done_progress.end(token, lsp.WorkDoneProgressEnd())

    def edit_of(self, uri: str, fix: Fix) -> lsp.TextEdit:
        """A fix in the editor's units."""
        return lsp.TextEdit(self.range_of(uri, fix.line, fix.start, fix.end), fix.text)

    def forget(self, uri: str) -> None:
        """Drop a file that was closed, and its findings."""
        opened = self.files.pop(uri, None)
        if opened is not None:
            if opened.task is not None:
                opened.task.cancel()
            self._publish(uri, [])

    def _publish(self, uri: str, annotations: list[Annotation]) -> None:
        found = [
            lsp.Diagnostic(
                self.range_of(uri, one.line - 1, one.column - 1, one.end_column),
                message=one.message,
                severity=SEVERITIES[one.level],
                code=one.code,
                source=NAME,
            )
            for one in annotations
        ]
        version = self.files[uri].version if uri in self.files else None
        self.text_document_publish_diagnostics(lsp.PublishDiagnosticsParams(uri, found, version))

    def range_of(self, uri: str, line: int, start: int, end: int) -> lsp.Range:
        """A piece of a line in the editor's units; the line and columns count characters from 0."""
        lines = self.workspace.get_text_document(uri).lines
        units = self.workspace.position_codec.position_to_client_units
        return lsp.Range(*(units(lines, lsp.Position(line, column)) for column in (start, end)))

    def cursor(self, uri: str, position: lsp.Position) -> tuple[str, CursorPlace]:
        """The text of a file, and what stands at a position of the editor's."""
        document = self.workspace.get_text_document(uri)
        place = self.workspace.position_codec.position_from_client_units(document.lines, position)
        text = document.source.replace("\r\n", "\n")
        return text, cursor_at(text, place.line, place.character)

    def is_open(self, uri: str) -> bool:
        """Whether a file is open and a curriculum."""
        return uri in self.files


def make_server(version: str, binding: Binding, budget: int) -> CurriculumServer:
    """A server with all its answers; start it with `start_io`.

    Args:
        version: of the project, which the editor shows.
        binding: what every curriculum is bound to.
        budget: how many configurations a verification tries.
    """
    server = CurriculumServer(version, binding, budget)
    _follow_texts(server)
    _answer_at_cursor(server)
    _answer_for_file(server)
    return server


def _follow_texts(server: CurriculumServer) -> None:
    """Opening, changing and closing a file."""

    @server.feature(lsp.INITIALIZED)
    async def ready(params: lsp.InitializedParams) -> None:
        about_key(("state", 0, "name"))  # the descriptions are read from the source once; not while someone waits

    @server.feature(lsp.TEXT_DOCUMENT_DID_OPEN)
    async def opened(params: lsp.DidOpenTextDocumentParams) -> None:
        server.update(params.text_document.uri)

    @server.feature(lsp.TEXT_DOCUMENT_DID_CHANGE)
    async def changed(params: lsp.DidChangeTextDocumentParams) -> None:
        server.update(params.text_document.uri)

    @server.feature(lsp.TEXT_DOCUMENT_DID_CLOSE)
    async def closed(params: lsp.DidCloseTextDocumentParams) -> None:
        server.forget(params.text_document.uri)


def _answer_at_cursor(server: CurriculumServer) -> None:
    """Hover and completion."""

    @server.feature(lsp.TEXT_DOCUMENT_HOVER)
    async def hover(params: lsp.HoverParams) -> lsp.Hover | None:
        uri = params.text_document.uri
        if not server.is_open(uri):
            return None
        _, cursor = server.cursor(uri, params.position)
        words = hover_text(cursor, server.files[uri].verified)
        if not words:
            return None
        place = server.range_of(uri, cursor.line, cursor.start, cursor.end)
        return lsp.Hover(lsp.MarkupContent(lsp.MarkupKind.Markdown, words), place)

    @server.feature(
        lsp.TEXT_DOCUMENT_COMPLETION, lsp.CompletionOptions(trigger_characters=["[", "{", ".", '"', "=", " "])
    )
    async def complete(params: lsp.CompletionParams) -> list[lsp.CompletionItem]:
        uri = params.text_document.uri
        if not server.is_open(uri):
            return []
        text, cursor = server.cursor(uri, params.position)
        place = server.range_of(uri, cursor.line, cursor.start, cursor.end)
        return [_item(one, place, number) for number, one in enumerate(completions(text, cursor))]


def _item(one: Completion, place: lsp.Range, number: int) -> lsp.CompletionItem:
    return lsp.CompletionItem(
        one.label,
        kind=KINDS[one.kind],
        detail=one.asks or None,
        documentation=one.about or None,
        sort_text=f"{number:03}",  # in the order of the language, not of the alphabet
        filter_text=one.label,
        text_edit=lsp.TextEdit(place, one.text),
    )


def hover_text(cursor: CursorPlace, verified: VerifiedText | None) -> str:
    """What to show of the word at the cursor: a state's knobs, rate and entry; else what the key means."""
    match cursor.path:
        case ("state", int(), "name") | ("transition", int(), "from" | "to", *_) if verified is not None:
            if lines := verified.about_state(cursor.word):
                return f'state "{cursor.word}"\n\n' + "\n".join(f"- {line}" for line in lines)
    path = cursor.path if cursor.at_value else (*cursor.path, cursor.word)
    if not cursor.word or not (about := about_key(path)):
        return ""
    key = next((str(key) for key in reversed(path) if isinstance(key, str)), "")
    return f"`{key}`: {about}"


def _mending(uri: str, opened: _Open, first: int, last: int) -> Iterator[lsp.CodeAction]:
    """Quick fixes of the errors in some lines that seek a mend once they are asked for: it takes seconds."""
    if opened.verified is None or opened.verified.text != opened.read.text:
        return
    for number, finding in enumerate(opened.verified.report.findings):
        if finding.severity == "error" and finding.place and first <= finding.place.line - 1 <= last:
            title = f"Seek the smallest edit of a number that mends this ({finding.code})"
            command = lsp.Command(title, MEND, arguments=[uri, number, opened.version])
            yield lsp.CodeAction(title, kind=lsp.CodeActionKind.QuickFix, command=command)


def _answer_for_file(server: CurriculumServer) -> None:
    """Entry times beside states, quick fixes, and the one layout."""

    @server.feature(lsp.TEXT_DOCUMENT_INLAY_HINT)
    async def hints(params: lsp.InlayHintParams) -> list[lsp.InlayHint]:
        opened = server.files.get(params.text_document.uri)
        if opened is None or opened.verified is None or opened.verified.text != opened.read.text:
            return []
        lines = opened.read.text.split("\n")
        first, last = params.range.start.line, params.range.end.line
        return [
            lsp.InlayHint(
                server.range_of(params.text_document.uri, line, len(lines[line]), len(lines[line])).start,
                words,
                padding_left=True,
            )
            for line, words in opened.verified.entries()
            if first <= line <= last
        ]

    @server.feature(
        lsp.TEXT_DOCUMENT_CODE_ACTION, lsp.CodeActionOptions(code_action_kinds=[lsp.CodeActionKind.QuickFix])
    )
    async def fixes(params: lsp.CodeActionParams) -> list[lsp.CodeAction]:
        uri = params.text_document.uri
        opened = server.files.get(uri)
        if opened is None:
            return []
        first, last = params.range.start.line, params.range.end.line
        near = [
            lsp.CodeAction(
                fix.title,
                kind=lsp.CodeActionKind.QuickFix,
                is_preferred=True,
                edit=lsp.WorkspaceEdit({uri: [server.edit_of(uri, fix)]}),
            )
            for fix in (fixes_of(opened.read.error) if opened.read.error is not None else ())
            if first <= fix.line <= last
        ]
        return [*near, *_mending(uri, opened, first, last)]

    @server.command(MEND)
    async def mend(uri: str, number: int, version: int | None) -> None:
        await server.mend(uri, number, version)

    @server.feature(lsp.TEXT_DOCUMENT_FORMATTING)
    async def layout(params: lsp.DocumentFormattingParams) -> list[lsp.TextEdit] | None:
        opened = server.files.get(params.text_document.uri)
        if opened is None:
            return None
        document = server.workspace.get_text_document(params.text_document.uri)
        try:
            text = formatted(opened.read.text, opened.read.file)
        except CurriculumError:  # its faults are shown already
            return None
        if "\r\n" in document.source:
            text = text.replace("\n", "\r\n")
        return [lsp.TextEdit(lsp.Range(lsp.Position(0, 0), lsp.Position(len(document.lines), 0)), text)]
