"""What a key may not call, it may not call by any wire: each of them leads through the same guard."""

from __future__ import annotations

import pytest

from tests.server.served import document, scripted, served
from tests.server.test_api_keys import KEYS, METADATA
from tests.server.test_mcp_server import ERAS, client


def guarded() -> str:
    authentication = {"type": "api_key", "keys": ["${READER}", "${LOADER}"], "key_metadata": METADATA}
    return document(authentication=authentication)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/mcp/tools/search_documents/stream", {"query": "x"}),
        ("/v1/chat/completions", {"model": "search_documents", "messages": [{"role": "user", "content": "x"}]}),
        (
            "/v1/chat/completions",
            {"model": "search_documents", "stream": True, "messages": [{"role": "user", "content": "x"}]},
        ),
    ],
    ids=["stream", "completion", "streamed completion"],
)
async def test_over_http(path: str, body: dict[str, object]) -> None:
    async with served(scripted(guarded(), environ=KEYS)) as server:
        statuses = [
            (await server.api.post(path, json=body, headers={"X-API-Key": key})).status_code
            for key in ("loader-key", "reader-key", "another")
        ]
    assert statuses == [403, 200, 401]
    assert len(server.runtime.calls) == 1


@pytest.mark.parametrize("era", ERAS)
async def test_over_mcp(era: str) -> None:
    async with served(scripted(guarded(), environ=KEYS)) as server:
        async with client(server, era, **{"X-API-Key": "loader-key"}) as loader:
            refused = await loader.call_tool("search_documents", {"query": "x"})
        async with client(server, era, **{"X-API-Key": "reader-key"}) as reader:
            answered = await reader.call_tool("search_documents", {"query": "x"})
    assert refused.is_error
    assert refused.content[0].text.startswith('This key may not call "search_documents"')  # type: ignore[union-attr]
    assert not answered.is_error
    assert len(server.runtime.calls) == 1
