"""The server lets nobody in but its own page, and sends nothing but what stands in its table."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient

from plateau_rule.page import server
from plateau_rule.page.assets import MODULES, static
from tests.plateau_rule.page.conftest import TOKEN


@pytest.mark.parametrize("name", ["", "page.css", "page.js", "meta", "check"])
def test_the_page_is_sent(name: str, client: TestClient) -> None:
    """Each file and answer is sent under the token, with the headers that keep others out."""
    answer = client.get(f"/{TOKEN}/{name}")
    assert answer.status_code == 200
    for header, value in server.HEADERS.items():
        assert answer.headers[header] == value


@pytest.mark.parametrize(
    "path", ["/", "/wrong/", "/wrong/meta", f"/{TOKEN}x/meta", "/meta", f"/x/{TOKEN}/meta", f"/{TOKEN}"]
)
def test_without_the_token_there_is_nothing(path: str, client: TestClient) -> None:
    """A path that does not begin with the token leads nowhere, whatever follows."""
    assert client.get(path, follow_redirects=False).status_code == 404


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8421", "127.0.0.1.evil.example", "localhost.", "", "0.0.0.0:8421", "[::2]:1"]
)
def test_another_name_of_the_host_is_refused(host: str, client: TestClient) -> None:
    """A page of somebody else's that resolves its own name to this machine is refused by that name."""
    assert client.get(f"/{TOKEN}/meta", headers={"host": host}).status_code == 421


@pytest.mark.parametrize("host", ["localhost:8421", "127.0.0.1", "localhost:9000", "[::1]:8421"])
def test_names_of_this_machine_are_taken(host: str, client: TestClient) -> None:
    """This machine's own names are taken with any port: `ssh -L` may lead another one here."""
    assert client.get(f"/{TOKEN}/meta", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "https://127.0.0.1:8421"},
        {"origin": "http://127.0.0.1:8422"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_another_origin_is_refused(headers: dict[str, str], client: TestClient) -> None:
    """A request that a page of another origin sends is refused, even with the token."""
    assert client.get(f"/{TOKEN}/meta", headers=headers).status_code == 403


def test_the_own_origin_is_taken(client: TestClient) -> None:
    """What the page itself asks is answered."""
    headers = {"origin": "http://127.0.0.1:8421", "sec-fetch-site": "same-origin"}
    assert client.get(f"/{TOKEN}/meta", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "../../etc/passwd",
        "%2e%2e/%2e%2e/etc/passwd",
        "..%2f..%2fetc%2fpasswd",
        "static/page.js",
        "server.py",
        "page.js/",
        "//etc/passwd",
        "page.js%00.css",
    ],
)
def test_no_path_leads_out(path: str, client: TestClient) -> None:
    """No path of a client ever becomes a path on the disk."""
    assert client.get(f"/{TOKEN}/{path}", follow_redirects=False).status_code == 404


@pytest.mark.parametrize("method", ["post", "put", "delete", "patch", "options"])
def test_nothing_can_be_changed(method: str, client: TestClient) -> None:
    """The server answers questions, and takes nothing."""
    assert getattr(client, method)(f"/{TOKEN}/meta").status_code == 405


@pytest.mark.parametrize(
    ("question", "sentence"),
    [
        ("why", "step: missing"),
        ("why?step=x", "step: 'x'; expected a whole number"),
        ("why?step=inf", "expected a whole number"),
        ("whatif?set=1", "set: expected a list"),
        ("whatif?set=[[1,2]]", "set: expected a list of [path, number]"),
        ('whatif?set=[["a",2]]', "a: no number of this curriculum that can be turned"),
        ('whatif?set=[["a",true]]', "a: expected a number"),
        ('whatif?set=[["a",1e999]]', "a: expected a number"),
        ('whatif?set=[["a",NaN]]', "a: expected a number"),
        ("grid?path=a", "values: missing"),
        (f"grid?path=a&values=[{','.join(['1'] * 65)}]", "values: expected a list of at most 64"),
        ("whatif?set=" + "[" * 5000, "set: expected a list"),
        ("curve?from=0&to=9", "width: missing"),
    ],
)
def test_a_question_asked_wrongly_is_answered_by_a_sentence(question: str, sentence: str, client: TestClient) -> None:
    """What the page never asks gets a sentence, and no traceback."""
    answer = client.get(f"/{TOKEN}/{question}")
    assert (answer.status_code, sentence in answer.text) == (422, True), answer.text


def test_a_long_question_is_refused(client: TestClient) -> None:
    """A question longer than the page ever asks is not even read."""
    assert client.get(f"/{TOKEN}/why?step={'1' * 20000}").status_code == 414


def test_nothing_is_saved_unless_it_may_be(client: TestClient, finished: Path) -> None:
    """Without --edit nothing can be saved, and never by a request that names no origin, or another one."""
    own = {"origin": "http://127.0.0.1:8421"}
    answer = client.post(f"/{TOKEN}/save?set=[]", headers=own)
    assert (answer.status_code, "this page writes nothing" in answer.text) == (422, True)
    assert client.post(f"/{TOKEN}/save?set=[]").status_code == 405
    assert client.post(f"/{TOKEN}/save?set=[]", headers={"origin": "http://evil.example"}).status_code == 403
    assert client.get(f"/{TOKEN}/save?set=[]", headers=own).status_code == 405


def test_columns_are_bytes(client: TestClient) -> None:
    """The curve comes as 20 bytes a column: its step, and the lowest, the highest and the mean loss."""
    body = client.get(f"/{TOKEN}/curve?from=0&to=1600&width=100").content
    steps = np.frombuffer(body[:800], "<f8")
    low, high, mean = np.frombuffer(body[800:], "<f4").reshape(3, 100)
    assert len(body) == 2000
    assert steps[0] == 0
    assert np.all(np.diff(steps) == 16)
    assert np.all(low <= high)
    assert np.all(np.isfinite(mean))


def test_no_text_is_ever_read_as_markup() -> None:
    """No module sets innerHTML or its like, or makes code of text; the page itself holds no inline script or style."""
    for module in MODULES:
        text = static(f"{module}.js").decode()
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text), (
            module
        )
    page = static("index.html").decode()
    assert not re.search(r"<script(?![^>]*src=)|<style|\son\w+=|\sstyle=|https?:", page)


def test_every_static_file_is_sent() -> None:
    """What lies in static/ is in the table, and the other way round."""
    there = {path.name for path in (Path(server.__file__).parent / "static").iterdir()}
    assert {name for name, _ in server.STATIC.values()} | {f"{name}.js" for name in MODULES} == there


def colours(scheme: str) -> dict[str, str]:
    """The page's colours by name."""
    style = static("page.css").decode()
    block = re.search(r":root \{(.*?)\}" if scheme == "light" else r'data-theme="dark"\] \{(.*?)\}', style, re.DOTALL)
    assert block is not None
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block[1]))


def luminance(colour: str) -> float:
    """The relative luminance of a colour (WCAG 2.2)."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("text", ["ink", "soft", "blue", "raise-text", "green", "tried"])
@pytest.mark.parametrize("ground", ["card", "page"])
def test_words_can_be_read(scheme: str, text: str, ground: str) -> None:
    """Each colour of words stands out from what it is written on by at least 4.5 to 1, light and dark."""
    high, low = sorted((luminance(colours(scheme)[name]) for name in (text, ground)), reverse=True)
    assert (high + 0.05) / (low + 0.05) >= 4.5


def test_dark_is_said_once() -> None:
    """The colours of a system that is dark are those of the button."""
    style = static("page.css").decode()
    blocks = re.findall(r"--page: #131517;.*?\}", style, re.DOTALL)
    assert len({" ".join(block.split()) for block in blocks}) == 1
