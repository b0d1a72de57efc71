"""Vectors over HTTP, from a real server that answers as the test scripts it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sibyl_runtime.errors import (
    DeadlineExceeded,
    IngestError,
    InvalidParameters,
    Overloaded,
    ProviderError,
    SibylError,
    StartupError,
)
from sibyl_runtime.providers.embedding.opening import open_embedding_model
from sibyl_runtime.providers.embedding.remote import REQUEST_TOKENS, RemoteEmbedder, _requests, open_remote
from sibyl_runtime.providers.protocols import BulkSettings, Vectors
from sibyl_runtime.workspace import EmbeddingProvider
from tests.support.openai_server import OpenAIServer, Reply, embeddings, refusal, silence, text_vector
from tests.support.openai_server import openai_process as openai_process
from tests.support.openai_server import openai_server as openai_server

KEY = "sk-very-secret"


def provider(server: OpenAIServer, **settings: Any) -> EmbeddingProvider:
    written = {"kind": "openai", "model": "embed-it", "base_url": server.url, "api_key": KEY, "max_retries": 0}
    return EmbeddingProvider.model_validate({**written, **settings})


async def opened(server: OpenAIServer, **settings: Any) -> RemoteEmbedder:
    embedder = await open_remote("main", provider(server, **settings))
    server.received.clear()
    return embedder


def unit(text: str) -> Vectors:
    vector = np.array(text_vector(text, 8), dtype=np.float32)
    direction: Vectors = vector / np.linalg.norm(vector)
    return direction


async def test_documents_go_in_requests_of_batch_size_and_come_back_in_order(openai_server: OpenAIServer) -> None:
    embedder = await opened(openai_server, batch_size=2)
    texts = [f"text {number}" for number in range(5)]
    made = await embedder.embed_documents(texts)
    await embedder.close()
    assert [request.body["input"] for request in openai_server.received] == [texts[:2], texts[2:4], texts[4:]]
    np.testing.assert_allclose(made, [unit(text) for text in texts], atol=1e-6)
    assert openai_server.received[0].headers["authorization"] == f"Bearer {KEY}"
    assert openai_server.received[0].body["model"] == "embed-it"
    assert "dimensions" not in openai_server.received[0].body


async def test_a_query_is_one_request_and_counted(openai_server: OpenAIServer) -> None:
    embedder = await opened(openai_server)
    np.testing.assert_allclose(await embedder.embed_query("what is it?"), unit("what is it?"), atol=1e-6)
    stats = embedder.stats()
    await embedder.close()
    assert (stats["queries"], stats["tokens"], "cost_usd" in stats) == (1, 6, False)
    assert embedder.tag == f"embed-it@{openai_server.url.split('/')[2]}/8"


async def test_tokens_of_a_known_model_have_a_price(openai_server: OpenAIServer) -> None:
    openai_server.embed_with(embeddings([1.0, 2.0], tokens=1_000_000))
    embedder = await opened(openai_server, model="text-embedding-3-small")
    assert embedder.stats()["cost_usd"] == pytest.approx(0.02)
    await embedder.close()


async def test_dimensions_are_asked_for_and_checked_at_the_start(openai_server: OpenAIServer) -> None:
    embedder = await open_remote("main", provider(openai_server, dimensions=4))
    await embedder.close()
    assert embedder.dimension == 4
    assert openai_server.received[0].body["dimensions"] == 4
    openai_server.embed_with(embeddings([1.0] * 8))
    host = openai_server.url.split("/")[2]
    with pytest.raises(StartupError) as caught:
        await open_embedding_model("main", provider(openai_server, dimensions=4))
    assert caught.value.message == (
        f"providers.embedding.main.dimensions: 4 was asked for, and {host} gives vectors of 8 numbers with embed-it; "
        "set 8, or remove it"
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"api_key": None, "base_url": None}, "api_key: is missing; give a key, or the base_url of a server that"),
        ({"base_url": "ftp://host"}, "base_url: must start with http:// or https:// and name a host"),
        (
            {"base_url": "http://host:12ab/v1"},
            "base_url: is no address that can be asked: Invalid port: '12ab'",
        ),
        ({"base_url": "http://host/v1?key=1"}, "base_url: must end with its path, such as https://"),
        ({"base_url": "http://me:word@host"}, "base_url: must not hold a user or password; give the key as api_key"),
    ],
)
async def test_settings_that_cannot_work_are_named(
    openai_server: OpenAIServer, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(StartupError) as caught:
        await open_remote("main", provider(openai_server, **settings))
    assert caught.value.message.startswith(f"providers.embedding.main.{message}")


async def test_a_refused_key_ends_the_start_and_is_not_shown(openai_server: OpenAIServer) -> None:
    openai_server.embed_with(refusal(401, f"no such key {KEY}"))
    with pytest.raises(StartupError) as caught:
        await open_remote("main", provider(openai_server))
    assert caught.value.message == (
        "providers.embedding.main.model: provider main (embed-it): 401, the API key was refused; check "
        "providers.embedding.main.api_key"
    )


@pytest.mark.parametrize(
    ("replies", "retries", "kind", "message"),
    [
        ([refusal(500), refusal(500)], 1, ProviderError, r"500 from .* after 2 attempts"),
        ([refusal(429, retry_after_ms="1")], 0, Overloaded, "429, its rate limit is reached"),
        ([refusal(400, "input too long")], 2, ProviderError, "400, the request was refused: input too long"),
        ([refusal(404)], 2, ProviderError, "404, .* knows no such model or path; check model and base_url"),
        ([silence()], 0, DeadlineExceeded, r"no answer within 0\.2 s; .*providers\.embedding\.main\.timeout"),
        ([Reply(body=b'{"data": [{"ind')], 0, ProviderError, "no list of vectors; check base_url"),
        ([Reply(body=b"[]")], 0, ProviderError, "no list of vectors; check base_url"),
        ([embeddings()], 0, ProviderError, "answers 1 texts with other vectors than asked for"),
        ([embeddings([1.0] * 8, [1.0] * 8)], 0, ProviderError, "answers 1 texts with other vectors than asked for"),
        ([embeddings([0.0] * 8)], 0, ProviderError, "vectors without a direction"),
        ([embeddings([1.0] * 7)], 0, ProviderError, "vectors of 7 numbers, where it gave 8 before"),
    ],
)
async def test_every_failure_says_what_to_do(
    openai_server: OpenAIServer, replies: list[Reply], retries: int, kind: type[SibylError], message: str
) -> None:
    embedder = await opened(openai_server, max_retries=retries, timeout=0.2 if replies[0].hangs else 30.0)
    openai_server.embed_with(*replies)
    with pytest.raises(kind, match=message) as caught:
        await embedder.embed_query("w")
    await embedder.close()
    assert KEY not in str(caught.value)
    assert len(openai_server.received) == len(replies)


async def test_a_failure_that_passes_is_tried_again(openai_server: OpenAIServer) -> None:
    embedder = await opened(openai_server, max_retries=2)
    openai_server.embed_with(refusal(503, retry_after_ms="1"), refusal(429, retry_after_ms="1"))
    np.testing.assert_allclose(await embedder.embed_query("w"), unit("w"), atol=1e-6)
    await embedder.close()
    assert len(openai_server.received) == 3


async def test_rows_that_come_in_another_order_are_put_right(openai_server: OpenAIServer) -> None:
    embedder = await opened(openai_server)
    rows = [{"index": place, "embedding": [float(place), 1.0] + [0.0] * 6} for place in (1, 0)]
    openai_server.embed_with(Reply(body=json.dumps({"data": rows}).encode()))
    made = await embedder.embed_documents(["zero", "one"])
    await embedder.close()
    np.testing.assert_allclose(made[:, 0], [0, 0.5**0.5], atol=1e-6)


async def test_a_text_that_is_too_long_is_refused_before_it_is_sent(openai_server: OpenAIServer) -> None:
    embedder = await opened(openai_server, max_seq_length=8)
    assert embedder.max_tokens == 8
    with pytest.raises(IngestError, match=r"about 9 tokens is longer than the 8 .* set rag\.chunking chunk_size"):
        await embedder.embed_documents(["short", "w " * 9])
    with pytest.raises(InvalidParameters, match="query has about 9 tokens; the model reads 8"):
        await embedder.embed_query("w " * 9)
    await embedder.close()
    assert not openai_server.received


async def test_calls_of_an_ingest_are_on_their_way_at_once(openai_server: OpenAIServer) -> None:
    embedder = await opened(openai_server)
    async with embedder.bulk(BulkSettings(3)) as embed:
        found = await asyncio.gather(*(embed([f"text {number}"]) for number in range(3)))
    await embedder.close()
    assert len({request.client_port for request in openai_server.received}) == 3
    np.testing.assert_allclose(np.concatenate(found), [unit(f"text {number}") for number in range(3)], atol=1e-6)


@given(st.lists(st.integers(0, 8191), max_size=300), st.integers(1, 100))
def test_requests_hold_every_text_once_and_no_more_than_is_allowed(tokens: list[int], most: int) -> None:
    parts = list(_requests(tokens, most))
    assert [place for part in parts for place in range(part.start, part.stop)] == list(range(len(tokens)))
    for part in parts:
        assert 1 <= part.stop - part.start <= most
        assert sum(tokens[part]) <= REQUEST_TOKENS


@given(st.text())
def test_tokens_cover_every_character_that_is_no_space(text: str) -> None:
    embedder = RemoteEmbedder("m", EmbeddingProvider(kind="openai", model="m", base_url="http://localhost:1"))
    covered = "".join(text[token.start : token.end] for token in embedder.tokenize(text))
    assert covered == "".join(text.split())
