from __future__ import annotations

import pytest

from sibyl_runtime.server.page import PATHS
from tests.server.served import document, scripted, served

KEY = {"authentication": {"type": "api_key", "keys": ["secret-key-of-a-test"]}}


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/", "text/html"), ("/page/page.css", "text/css"), ("/page/page.js", "text/javascript")],
)
async def test_the_files_of_the_page_come_without_a_key_and_again_only_when_they_changed(path: str, kind: str) -> None:
    async with served(scripted(document(**KEY))) as server:
        first = await server.api.get(path)
        again = await server.api.get(path, headers={"If-None-Match": first.headers["ETag"]})
    assert (first.status_code, again.status_code) == (200, 304)
    assert first.headers["Content-Type"] == f"{kind}; charset=utf-8"
    assert first.headers["Cache-Control"] == again.headers["Cache-Control"] == "no-cache"
    assert first.headers["X-Content-Type-Options"] == "nosniff"
    assert "script-src 'self';" in first.headers["Content-Security-Policy"]
    assert first.content
    assert not again.content


async def test_the_page_names_the_workspace_and_lets_no_name_become_markup() -> None:
    named = document(server={"name": "<script>alert(1)</script>", "description": 'Docs "& more"'}, **KEY)
    async with served(scripted(named)) as server:
        html = (await server.api.get("/")).text
    assert "<h1>&lt;script&gt;alert(1)&lt;/script&gt;</h1>" in html
    assert "<p>Docs &quot;&amp; more&quot;</p>" in html
    assert 'data-authentication="api_key" data-header="X-API-Key"' in html
    assert "[[" not in html


async def test_the_page_loads_nothing_from_other_hosts() -> None:
    async with served(scripted()) as server:
        texts = [(await server.api.get(path)).text for path in PATHS]
    links = [line for text in texts for line in text.splitlines() if "://" in line]
    assert [line for line in links if "www.w3.org/2000/svg" not in line] == []


@pytest.mark.parametrize("switch", ["page", "enabled"])
async def test_the_page_can_be_switched_off(switch: str) -> None:
    async with served(scripted(document(**{switch: False}))) as server:
        statuses = [(await server.api.get(path)).status_code for path in PATHS]
    assert statuses == [404, 404, 404]
