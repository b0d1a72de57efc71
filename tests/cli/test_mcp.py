"""`sibyl mcp` as a client starts it: a child process, its stdin and stdout, and nothing else on them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from mcp import Client, StdioServerParameters

from tests.support.mcp_results import texts
from tests.support.sibyl import COMMAND, environment, serving, sibyl

STDIO = "name: docs\nmcp:\n  transport: stdio\n"
HELLO = {
    "jsonrpc": "2.0", "id": 1, "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}},
}  # fmt: skip


@pytest.fixture
def stdio_workspace(workspace: Path) -> Path:
    workspace.write_text(STDIO)
    return workspace


def parameters(workspace: Path) -> StdioServerParameters:
    return StdioServerParameters(
        command=sys.executable,
        args=[*COMMAND[1:], "mcp", "--file", str(workspace)],
        env=environment({}),
        cwd=workspace.parent,
    )


@pytest.mark.parametrize("era", ["legacy", "2026-07-28", "auto"])
async def test_the_official_client_calls_every_tool(stdio_workspace: Path, documents: Path, era: str) -> None:
    loaded = sibyl("ingest", "-f", stdio_workspace, documents, cwd=stdio_workspace.parent)
    assert loaded.code == 0, loaded.stderr
    async with Client(parameters(stdio_workspace), mode=era) as client:
        assert client.protocol_version == ("2025-11-25" if era == "legacy" else "2026-07-28")
        assert [tool.name for tool in (await client.list_tools()).tools] == ["search_documents"]
        answered = await client.call_tool("search_documents", {"query": "Which bird flies far?"})
        assert not answered.is_error
        assert answered.structured_content is not None
        assert answered.structured_content["output"]["sources"][0]["document"] == "birds.md"
        refused = await client.call_tool("search_documents", {"top_k": 1})
        assert refused.is_error
        assert texts(refused) == ["query: is required; give text"]


@pytest.fixture
def limited_workspace(workspace: Path) -> Path:
    """Two tools, of which one has a rate of its own."""
    common = "description: Ask., pipeline: search, parameters: {query: {required: true}}"
    tools = "".join(
        f"    - {{name: {name}, {common}{rate}}}\n"
        for name, rate in (("slow", ", rate_limit: {requests_per_minute: 1, burst: 1}"), ("fast", ""))
    )
    workspace.write_text(f"{STDIO}  rate_limiting: {{requests_per_minute: 1, burst: 4}}\n  tools:\n{tools}")
    return workspace


async def test_rates_are_kept_over_stdio_too(limited_workspace: Path) -> None:
    asked = {"query": "x"}
    async with Client(parameters(limited_workspace)) as client:
        called = [await client.call_tool(name, asked) for name in ("slow", "slow", "fast", "fast", "fast")]
    assert [each.is_error for each in called] == [False, True, False, False, True]
    assert texts(called[1])[0].startswith('Too many calls of "slow": 1 a minute are allowed, 1 at once')
    assert texts(called[4])[0].startswith("Too many requests: 1 a minute are allowed, 4 at once")


def start(workspace: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, "mcp", "-f", workspace], cwd=workspace.parent, env=environment({}), stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.mark.parametrize(("number", "code"), [(None, 0), (signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_it_ends_with_its_client_and_leaves_nothing_running(
    workspace: Path, number: signal.Signals | None, code: int
) -> None:
    process = start(workspace)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(HELLO) + "\n")
    process.stdin.flush()
    hello = json.loads(process.stdout.readline())
    assert hello["result"]["serverInfo"]["name"] == "sibyl"
    children = psutil.Process(process.pid).children(recursive=True)
    assert children
    if number is not None:
        process.send_signal(number)
        assert process.wait(60) == code
    rest, errors = process.communicate(timeout=60)
    assert (process.returncode, rest) == (code, "")
    assert "Traceback" not in errors
    assert [child for child in children if child.is_running()] == []


def test_what_is_no_message_is_answered_and_ends_nothing(workspace: Path) -> None:
    call = {"jsonrpc": "2.0", "method": "tools/call"}
    sent = [
        "{", "[]", json.dumps({**call, "id": 2, "params": []}),
        json.dumps({**call, "id": 1.5, "params": {"name": "x"}}),
        '{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"x","arguments":{"query":"\\ud800"}}}', "",
        json.dumps({"jsonrpc": "2.0", "id": 4, "method": "ping"}),
    ]  # fmt: skip
    process = start(workspace)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.writelines(f"{line}\n" for line in [json.dumps(HELLO), *sent])
    process.stdin.flush()
    # Read before stdin ends: the library lets go of what is under way then.
    answers = [json.loads(process.stdout.readline()) for _ in range(7)]
    rest, errors = process.communicate(timeout=60)
    assert (process.returncode, rest) == (0, ""), errors
    told = {(answer["id"], answer["error"]["code"]) for answer in answers if "error" in answer}
    assert told == {(None, -32700), (None, -32600), (2, -32602)}
    messages = [answer["error"]["message"] for answer in answers if "error" in answer]
    assert len(messages) == 5
    assert "`params` must be an object, found a list" in messages
    assert [text.startswith("`id` must be text or a whole number") for text in messages].count(True) == 1
    assert {"jsonrpc": "2.0", "id": 4, "result": {}} in answers


def test_beside_a_server_it_shares_the_embedded_database(workspace: Path) -> None:
    with serving(workspace) as server:
        process = start(workspace)
        output, errors = process.communicate(json.dumps(HELLO) + "\n", timeout=60)
        assert process.returncode == 0, errors
        assert json.loads(output)["id"] == 1
        assert server.stop() == 0


def test_a_document_for_stdio_is_not_served_over_http(stdio_workspace: Path) -> None:
    ended = sibyl("serve", "-f", stdio_workspace, "--port", "0", "--metrics-port", "0", cwd=stdio_workspace.parent)
    assert (ended.code, ended.stderr) == (
        3,
        "sibyl: mcp.transport is stdio, which has no port to serve; run `sibyl mcp` for it, or set mcp.transport to "
        "http\n",
    )


def test_a_document_that_cannot_be_read_is_told_on_stderr_alone(workspace: Path) -> None:
    workspace.write_text("nmae: docs\n")
    ended = sibyl("mcp", "-f", workspace, cwd=workspace.parent)
    assert (ended.code, ended.stdout) == (1, "")
    assert "nmae: unknown key" in ended.stderr
