"""Tools by the official MCP client over real HTTP, in both eras of the wire: the same as over REST."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from prometheus_client.parser import text_string_to_metric_families

from sibyl_runtime.answering import ToolOutcome
from sibyl_runtime.errors import InvalidParameters, NotFound, Overloaded, ProviderError, SibylError, StepFailed
from sibyl_runtime.server.mcp_server import text_of
from tests.server.served import OUTCOME, OUTPUT, Served, document, scripted, served
from tests.support.mcp_results import texts, told_error

ERAS = ("legacy", "2026-07-28", "auto")
SOURCE = OUTPUT["sources"][0]
TWO_TOOLS = document(
    tools=[
        {
            "name": name, "description": name.title(), "pipeline": "search",
            "parameters": {"query": {"type": "string", "required": True, "maxLength": 9}, "top_k": {"type": "integer"}},
        }
        for name in ("find", "ask")
    ]
)  # fmt: skip


def url(server: Served) -> str:
    return f"http://127.0.0.1:{server.address[1]}/mcp"


@contextlib.asynccontextmanager
async def client(server: Served, era: str, **headers: str) -> AsyncIterator[Client]:
    async with (
        httpx2.AsyncClient(headers=headers, timeout=30) as http,
        Client(streamable_http_client(url(server), http_client=http), mode=era) as connected,
    ):
        yield connected


async def metrics_of(server: Served) -> dict[tuple[str, tuple[str, ...]], float]:
    text = (await server.watch.get("/metrics")).text
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {(sample.name, tuple(sorted(sample.labels.values()))): sample.value for sample in samples}


@pytest.mark.parametrize("era", ERAS)
async def test_every_tool_is_listed_and_answers_as_over_rest(era: str) -> None:
    async with served(scripted(TWO_TOOLS)) as server, client(server, era) as mcp:
        tools = (await mcp.list_tools()).tools
        assert [tool.name for tool in tools] == ["find", "ask"]
        for tool in tools:
            described = (await server.api.get(f"/mcp/tools/{tool.name}")).json()
            assert tool.input_schema == described["input_schema"]
            assert tool.output_schema == described["response_schema"]
            assert tool.description == described["description"]
            over_rest = (await server.call({"query": "x"}, tool=tool.name)).json()
            answered = await mcp.call_tool(tool.name, {"query": "x"})
            assert not answered.is_error
            for body in (over_rest, answered.structured_content):
                assert body["metadata"].pop("request_id")
                assert body["metadata"].pop("execution_time_ms") > 0
            assert answered.structured_content == over_rest
            assert texts(answered) == [text_of(OUTPUT)]
        assert mcp.protocol_version == ("2025-11-25" if era == "legacy" else "2026-07-28")
    assert server.runtime.calls == [{"query": "x"}] * 4


FAILURES: list[SibylError] = [
    InvalidParameters("query: is required", details={"problems": ["p"]}),
    StepFailed("step `retrieval` failed"),
    ProviderError("primary refused"),
    Overloaded("the queue is full", retry_after=2.2),
    NotFound("there is no such document"),
]


@pytest.mark.parametrize("era", ERAS[:2])
@pytest.mark.parametrize("fault", FAILURES, ids=lambda fault: type(fault).__name__)
async def test_what_a_tool_refuses_or_fails_at_is_a_result_that_tells_why(fault: SibylError, era: str) -> None:
    async def fail(*_: Any) -> ToolOutcome:
        raise fault

    async with served(scripted(answer=fail)) as server, client(server, era) as mcp:
        over_rest = (await server.call({"query": "x"})).json()
        result = await mcp.call_tool("search_documents", {"query": "x"})
    assert texts(result) == [fault.message]
    told = told_error(result)
    assert told.pop("request_id")
    assert told.pop("retry_after", None) == fault.retry_after
    assert told == over_rest["error"]


@pytest.mark.parametrize("era", ERAS[:2])
async def test_an_unknown_tool_and_a_fault_of_ours_are_errors_of_the_protocol(
    era: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def crash(*_: Any) -> ToolOutcome:
        raise ZeroDivisionError("postgresql://sibyl:s3cret@db/rag")

    async with served(scripted(answer=crash)) as server, client(server, era, **{"X-Request-ID": "find-me"}) as mcp:
        with pytest.raises(MCPError) as unknown:
            await mcp.call_tool("serch_documents", {})
        with pytest.raises(MCPError) as crashed:
            await mcp.call_tool("search_documents", {"query": "x"})
    assert unknown.value.error.code == -32602
    assert unknown.value.error.message == 'There is no tool "serch_documents". Did you mean "search_documents"?'
    assert crashed.value.error.code == -32603
    assert crashed.value.error.message == "The server failed; its log names the cause under request id find-me."
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize("era", ERAS[:2])
async def test_calls_are_counted_once_and_requests_each(era: str) -> None:
    async def answer(_: str, arguments: Mapping[str, Any], __: Any) -> ToolOutcome:
        if arguments["query"] == "bad":
            raise InvalidParameters("query: is bad")
        return OUTCOME

    async with served(scripted(answer=answer)) as server:
        async with client(server, era) as mcp:
            await mcp.call_tool("search_documents", {"query": "good"})
            await mcp.call_tool("search_documents", {"query": "bad"})
        found = await metrics_of(server)
    calls = "sibyl_mcp_tool_calls_total"
    assert found[calls, ("search_documents", "success")] == 1
    assert found[calls, ("client_error", "search_documents")] == 1
    assert found["sibyl_mcp_tool_errors_total", ("invalid_parameters", "search_documents")] == 1
    assert found["sibyl_tokens_used_total", ()] == OUTCOME.tokens_used
    assert found["sibyl_mcp_requests_total", ("200", "POST")] >= 2


@pytest.mark.parametrize("era", ERAS[:2])
async def test_the_places_are_shared_by_all_wires(era: str) -> None:
    held, entered = asyncio.Event(), asyncio.Event()

    async def hold(*_: Any) -> ToolOutcome:
        entered.set()
        await held.wait()
        return OUTCOME

    async with served(scripted(document(max_concurrent_requests=1), hold)) as server, client(server, era) as mcp:
        first = asyncio.ensure_future(server.call({"query": "x"}))
        await entered.wait()
        refused = await mcp.call_tool("search_documents", {"query": "x"})
        held.set()
        assert (await first).status_code == 200
    assert told_error(refused)["code"] == "overloaded"


@pytest.mark.parametrize("era", ERAS[:2])
async def test_a_call_has_the_deadline_of_the_workspace(era: str) -> None:
    async def never(*_: Any) -> ToolOutcome:
        await asyncio.Event().wait()
        raise AssertionError

    async with served(scripted(document(timeout=0.05), never)) as server, client(server, era) as mcp:
        result = await mcp.call_tool("search_documents", {"query": "x"})
    assert told_error(result)["code"] == "deadline_exceeded"


@pytest.mark.parametrize("era", ERAS[:2])
async def test_a_client_that_leaves_ends_its_call(era: str) -> None:
    entered, ended = asyncio.Event(), asyncio.Event()

    async def hang(*_: Any) -> ToolOutcome:
        entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        raise AssertionError

    async with served(scripted(answer=hang)) as server:
        async with httpx.AsyncClient() as http:
            call = asyncio.ensure_future(http.post(url(server), **call_of(era), timeout=30))
            await entered.wait()
            call.cancel()
        await asyncio.wait_for(ended.wait(), 10)
        name = ("client_disconnected", "search_documents")
        counted: list[float] = []
        while not counted:
            counted = [v for k, v in (await metrics_of(server)).items() if k == ("sibyl_mcp_tool_errors_total", name)]
    assert counted == [1]


def call_of(era: str) -> dict[str, Any]:
    """A call of the tool without the client library: the body and headers of one POST."""
    name = "search_documents"
    params: dict[str, Any] = {"name": name, "arguments": {"query": "x"}}
    headers = {"Accept": "application/json, text/event-stream"}
    if era == "legacy":
        headers["MCP-Protocol-Version"] = "2025-11-25"
    else:
        prefix = "io.modelcontextprotocol/"
        params["_meta"] = {f"{prefix}protocolVersion": era, f"{prefix}clientCapabilities": {}}
        headers |= {"MCP-Protocol-Version": era, "Mcp-Method": "tools/call", "Mcp-Name": name}
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    return {"json": body, "headers": headers}


@pytest.mark.parametrize("era", ERAS)
async def test_without_the_key_nobody_is_let_in(era: str) -> None:
    runtime = scripted(document(authentication={"keys": ["${KEY}"]}), environ={"KEY": "s3cret"})
    async with served(runtime) as server:
        refused = await server.api.post("/mcp", **call_of("legacy"))
        assert (refused.status_code, refused.json()["error"]["code"]) == (401, "unauthorized")
        async with client(server, era, **{"X-API-Key": "s3cret"}) as mcp:
            assert not (await mcp.call_tool("search_documents", {"query": "x"})).is_error


class Alternating(httpx2.AsyncBaseTransport):
    """What a Service does at its worst: every request goes to another replica than the one before."""

    def __init__(self, ports: list[int]) -> None:
        self._ports = ports
        self._inner = httpx2.AsyncHTTPTransport()
        self.sent = [0] * len(ports)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        turn = sum(self.sent) % len(self._ports)
        self.sent[turn] += 1
        request.url = request.url.copy_with(port=self._ports[turn])
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self._inner.aclose()


@pytest.mark.parametrize("era", ERAS)
async def test_requests_may_alternate_between_replicas(era: str) -> None:
    async with served(scripted()) as one, served(scripted()) as other:
        transport = Alternating([one.address[1], other.address[1]])
        async with (
            httpx2.AsyncClient(transport=transport, timeout=30) as http,
            Client(streamable_http_client("http://127.0.0.1/mcp", http_client=http), mode=era) as mcp,
        ):
            assert [tool.name for tool in (await mcp.list_tools()).tools] == ["search_documents"]
            for _ in range(6):
                assert not (await mcp.call_tool("search_documents", {"query": "x"})).is_error
    assert min(transport.sent) >= 3
    assert len(one.runtime.calls) + len(other.runtime.calls) == 6
    assert min(len(one.runtime.calls), len(other.runtime.calls)) >= 2


async def test_a_disabled_server_has_no_endpoint() -> None:
    async with served(scripted(document(enabled=False))) as server:
        assert (await server.api.post("/mcp", **call_of("legacy"))).status_code == 404


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_streams_and_sessions_are_not_offered(method: str) -> None:
    async with served(scripted()) as server:
        refused = await server.api.request(method, "/mcp")
    assert (refused.status_code, refused.headers["Allow"]) == (405, "POST")


async def test_a_body_above_the_limit_is_refused_in_the_documented_shape() -> None:
    async with served(scripted(document(max_request_size=1024))) as server:
        refused = await server.api.post("/mcp", content=b"x" * 2000, headers={"Content-Type": "application/json"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (413, "request_too_large")


async def test_a_body_that_does_not_arrive_ends_with_the_deadline() -> None:
    async with served(scripted(document(timeout=0.05))) as server:
        reader, writer = await asyncio.open_connection(*server.address)
        writer.write(b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{")
        status = await reader.readline()
        writer.close()
    assert status.split()[1] == b"504"


TEXTS: list[tuple[Mapping[str, Any], str]] = [
    ({"answer": "Yes.", "sources": []}, "Yes."),
    ({"answer": "Yes [1].", "sources": [SOURCE]}, "Yes [1].\n\nSources:\n[1] Database · docs/database.md"),
    ({"answer": None, "sources": [SOURCE]}, "[1] Database · docs/database.md\n..."),
    ({"answer": None, "sources": []}, "Nothing was found."),
    ({"answer": None, "sources": [{"title": "a", "document": "a", "content": "c"}]}, "[1] a\nc"),
]


@pytest.mark.parametrize(("output", "text"), TEXTS, ids=str)
def test_the_text_says_what_a_model_needs(output: Mapping[str, Any], text: str) -> None:
    assert text_of(output) == text


PAGE = Path(__file__).parents[2] / "docs" / "mcp.md"


async def test_the_client_of_the_documentation_works(capsys: pytest.CaptureFixture[str]) -> None:
    (snippet,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    async with served(scripted()) as server:
        program = snippet.replace("http://localhost:8000/mcp", url(server))
        assert program != snippet
        await asyncio.to_thread(exec, program, {})
    assert capsys.readouterr().out == f"{text_of(OUTPUT)}\n{OUTPUT['sources']}\n"
