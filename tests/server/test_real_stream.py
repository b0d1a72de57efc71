"""Streams of the real program over real HTTP: real model of vectors, real PostgreSQL, a scripted language model."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import openai
import psutil

from sibyl_runtime.providers.llm.citations import cited_positions
from tests.server.test_real_server import QUESTION, write_documents, write_workspace
from tests.support.conditions import eventually
from tests.support.openai_server import OpenAIServer, completion, endless, streamed
from tests.support.sibyl import Serving, serving, sibyl

PATH = "/mcp/tools/search_documents/stream"
ANSWER = "The Arctic tern [1], each year."
PARTS = ("The Arctic", " tern", " [1],", " each", " year.")
END = b"0\r\n\r\n"
"""How HTTP/1.1 ends an answer that is complete."""
SCHEMA = {"type": "object", "properties": {"bird": {"type": "string"}}, "required": ["bird"]}


@contextmanager
def running(
    dsn: str, directory: Path, model: OpenAIServer, generation: dict[str, Any], **mcp: Any
) -> Iterator[Serving]:
    """The program over three documents, answering through `model` with these settings of its generation."""
    llm = {"primary": {"kind": "openai", "model": "gpt-4", "base_url": model.url, "max_retries": 0}}
    shops = {
        "ai_generation": {"techniques": {"generation": generation}},
        "infrastructure": {"config": {"caching": {"enabled": True}}},
    }
    file = write_workspace(directory, providers={"llm": llm}, shops=shops, mcp=mcp)
    environ = {"DATABASE_URL": dsn}
    loaded = sibyl("ingest", "-f", file, write_documents(directory), cwd=directory, environ=environ)
    assert loaded.code == 0, loaded.stderr
    with serving(file, environ=environ) as server:
        yield server


def events(server: Serving, question: str = QUESTION) -> list[dict[str, Any]]:
    response = httpx.post(f"{server.api}{PATH}", json={"query": question}, timeout=30)
    assert response.status_code == 200, response.text
    return [json.loads(line.removeprefix("data: ")) for line in response.text.splitlines() if line.startswith("data")]


def metric(server: Serving, name: str) -> float:
    lines = httpx.get(f"{server.watch}/metrics").text.splitlines()
    return next((float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name)), 0.0)


@contextmanager
def unread(server: Serving) -> Iterator[socket.socket]:
    """A connection that has asked for a stream, and reads nothing of it by itself."""
    address = urlsplit(server.api)
    body = json.dumps({"query": QUESTION}).encode()
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(20)
        client.connect((address.hostname, address.port))
        head = (
            f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        client.sendall(head.encode() + body)
        yield client


def test_an_answer_is_told_as_it_is_written_kept_whole_and_told_again_in_pieces(
    database_dsn: str, tmp_path: Path, openai_server: OpenAIServer
) -> None:
    openai_server.reply_with(streamed(*PARTS))
    with running(database_dsn, tmp_path, openai_server, {"subtechnique": "streaming", "chunk_size": 2}) as server:
        first, again = events(server), events(server)
        plain = httpx.post(f"{server.api}{PATH.removesuffix('/stream')}", json={"query": QUESTION}, timeout=30).json()
    kinds = [event["type"] for event in first]
    assert kinds[0] == "start"
    assert [event["stage"] for event in first if event["type"] == "stage"] == ["embed", "retrieve", "generate"]
    assert kinds.index("stage") < kinds.index("sources") < kinds.index("chunk") < kinds.index("metadata")
    assert kinds[-1] == "end"
    for told, cache, tokens in ((first, "miss", 120), (again, "hit", 0)):
        pieces = [event["content"] for event in told if event["type"] == "chunk"]
        assert pieces == ["The Arctic", " tern [", "1]", ", each", " year."] or len(pieces) > 2
        result = next(event for event in told if event["type"] == "metadata")
        assert "".join(pieces) == result["output"]["answer"] == ANSWER
        assert (result["metadata"]["cache"], result["metadata"]["tokens_used"]) == (cache, tokens)
        assert [source["cited"] for source in result["output"]["sources"]].index(True) in cited_positions(ANSWER, 3)
    assert (plain["metadata"]["cache"], plain["output"]["answer"]) == ("hit", ANSWER)
    assert len(openai_server.received) == 1


def test_a_client_that_leaves_ends_the_call_to_the_model_and_frees_its_place(
    database_dsn: str, tmp_path: Path, openai_server: OpenAIServer
) -> None:
    openai_server.reply_with(streamed("on ", hangs=True))
    settings = {"subtechnique": "streaming"}
    with running(database_dsn, tmp_path, openai_server, settings, max_concurrent_requests=1) as server:
        with httpx.stream("POST", f"{server.api}{PATH}", json={"query": QUESTION}, timeout=30) as response:
            assert any('"content":"on"' in line for line in response.iter_lines())
        assert openai_server.left.wait(10)
        openai_server.reply_with(streamed(*PARTS))
        eventually(lambda: metric(server, "sibyl_active_requests") == 0)
        assert events(server)[-1] == {"type": "end"}
        assert metric(server, 'sibyl_llm_calls_total{model="gpt-4",provider="primary",status="cancelled"}') == 1
        assert not [line for line in server.log if line["level"] == "ERROR"]


def test_a_client_that_does_not_read_holds_bounded_memory_and_is_cut_by_the_deadline(
    database_dsn: str, tmp_path: Path, openai_server: OpenAIServer
) -> None:
    settings = {"subtechnique": "streaming"}
    with running(database_dsn, tmp_path, openai_server, settings, timeout=4) as server:
        openai_server.reply_with(streamed(*PARTS))
        events(server, "warm up?")
        process = psutil.Process(server.process.pid)
        before = process.memory_info().rss
        openai_server.reply_with(endless("word " * 200))
        with unread(server) as client:
            assert openai_server.left.wait(15)  # by the deadline: nobody else ends an endless answer
            # Both kernels' buffers and ours are full, and everything before them has stopped.
            assert 0 < openai_server.written < 100_000
            grown = process.memory_info().rss - before
            print(f"memory grew by {grown / 1e6:.1f} MB for {openai_server.written} parts of 1 kB")
            assert grown < 32_000_000
            eventually(lambda: metric(server, "sibyl_active_requests") == 0)
            read = b""
            while part := client.recv(100_000):
                read += part
            assert not read.endswith(END)
        errors = 'sibyl_mcp_tool_errors_total{error_type="deadline_exceeded",tool="search_documents"}'
        assert metric(server, errors) == 1
        assert not [line for line in server.log if line["level"] == "ERROR"]


def test_an_object_is_repaired_once_and_comes_parsed_on_every_route(
    database_dsn: str, tmp_path: Path, openai_server: OpenAIServer
) -> None:
    openai_server.reply_with(completion('{"birds": 1}'), completion('{"bird": "Arctic tern"}'))
    settings = {"subtechnique": "structured", "answer_schema": SCHEMA}
    with running(database_dsn, tmp_path, openai_server, settings) as server:
        told = events(server)
        with openai.OpenAI(base_url=f"{server.api}/v1", api_key="none") as client:
            asked: Any = {"model": "docs", "messages": [{"role": "user", "content": QUESTION}]}
            answer = client.chat.completions.create(**asked)
    assert [event["content"] for event in told if event["type"] == "chunk"] == ['{"bird": "Arctic tern"}']
    result = told[-2]
    assert (result["output"]["structured"], result["metadata"]["tokens_used"]) == ({"bird": "Arctic tern"}, 240)
    assert answer.choices[0].message.content == '{"bird": "Arctic tern"}'
    kept: Any = answer.model_extra
    assert kept["sibyl"]["output"]["structured"] == {"bird": "Arctic tern"}
    assert kept["sibyl"]["metadata"]["cache"] == "hit"
    assert len(openai_server.received) == 2


def test_a_model_that_breaks_off_is_the_last_event_and_nothing_is_kept(
    database_dsn: str, tmp_path: Path, openai_server: OpenAIServer
) -> None:
    openai_server.reply_with(streamed("The", breaks=True), streamed(*PARTS))
    with running(database_dsn, tmp_path, openai_server, {"subtechnique": "streaming"}) as server:
        broken, whole = events(server), events(server)
    assert [event["type"] for event in broken][-2:] == ["chunk", "error"]
    assert broken[-1]["error"]["code"] == "provider_error"
    assert whole[-2]["metadata"]["cache"] == "miss"
