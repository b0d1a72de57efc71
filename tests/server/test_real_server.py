"""The real program over real HTTP, with the real model and a real PostgreSQL."""

from __future__ import annotations

import concurrent.futures
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from sibyl_runtime.store.embedded import EmbeddedPostgres
from sibyl_runtime.workspace import effective_hash
from tests.support.conditions import eventually
from tests.support.openai_server import OpenAIServer, completion, refusal, silence
from tests.support.postgres import PostgresServer
from tests.support.sibyl import Serving, serving, sibyl

DOCUMENTS = {
    "bridge.md": "# Bridges\n\nThe suspension bridge over the Humber carries 120,000 vehicles a week.\n",
    "bread.md": "# Bread\n\nSourdough needs a starter that is fed with flour and water every day.\n",
    "birds.md": "# Birds\n\nThe Arctic tern flies from the Arctic to the Antarctic and back each year.\n",
}
QUESTION = "Which bird flies from pole to pole?"


def write_workspace(directory: Path, **sections: Any) -> Path:
    """A workspace over this database; the DSN comes from the environment, as it does in a pod."""
    providers = {"vector_store": {"main": {"kind": "pgvector", "dsn": "${DATABASE_URL}"}}} | sections.pop(
        "providers", {}
    )
    file = directory / "workspace.yaml"
    file.write_text(yaml.safe_dump({"name": "docs", "providers": providers, **sections}))
    return file


def write_documents(directory: Path) -> Path:
    folder = directory / "documents"
    folder.mkdir()
    for name, text in DOCUMENTS.items():
        (folder / name).write_text(text)
    return folder


def ask(server: Serving, question: object = QUESTION, **arguments: Any) -> httpx.Response:
    body = {"query": question, **arguments}
    return httpx.post(f"{server.api}/mcp/tools/search_documents", json=body, timeout=30)


def without_ports(message: str) -> str:
    """Ports change from run to run; nothing else of a sentence may."""
    return re.sub(r"(127\.0\.0\.1:|port )\d+", r"\1PORT", message)


@pytest.fixture(scope="module")
def dsn(postgres_server: PostgresServer) -> Iterator[str]:
    dsn = postgres_server.create_database()
    yield dsn
    postgres_server.drop_database(dsn)


@pytest.fixture(scope="module")
def server(dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """One server with three documents, for all tests that leave it as it was."""
    directory = tmp_path_factory.mktemp("served")
    kpis = [{"name": "p95_latency", "metric": "sibyl_mcp_tool_duration_seconds", "target": 0.75, "percentile": 0.95}]
    file = write_workspace(directory, observability={"kpis": kpis})
    loaded = sibyl(
        "ingest", "-f", file, write_documents(directory), "--json", cwd=directory, environ={"DATABASE_URL": dsn}
    )
    assert loaded.code == 0, loaded.stderr
    with serving(file, environ={"DATABASE_URL": dsn}) as running:
        yield running


def test_a_question_is_answered_from_the_right_document(server: Serving) -> None:
    response = ask(server)
    assert response.status_code == 200, response.text
    body = response.json()
    assert body["output"]["sources"][0]["document"] == "birds.md"
    assert "Arctic tern" in body["output"]["answer"]
    assert set(body["metadata"]["stages"]) == {"embed_ms", "retrieve_ms", "generate_ms"}
    assert body["metadata"]["cost_usd"] == 0.0


def test_an_argument_changes_the_answer(server: Serving) -> None:
    assert len(ask(server, top_k=1).json()["output"]["sources"]) == 1
    assert ask(server, filters={"team": {"exists": True}}).json()["output"]["sources"] == []


ARGUMENTS: list[tuple[dict[str, Any], str]] = [
    ({}, "query: is required; give text"),
    ({"query": 5}, "query: must be text, found 5"),
    ({"query": ""}, "query: must be at least 1 characters, found 0 characters"),
    ({"query": "x", "top_k": 101}, "top_k: must be at most 100, found 101"),
    ({"query": "x", "top_k": "5"}, 'top_k: must be a whole number, found "5"; send it without quotes'),
    ({"query": "x", "topk": 5}, "topk: unknown parameter. Did you mean top_k?"),
    (
        {"query": "x", "filters": {"team": "none"}},
        "`filters.team`: no document of this collection has the field 'team' in its metadata; fields found: none",
    ),
]


@pytest.mark.parametrize(("arguments", "message"), ARGUMENTS, ids=lambda value: str(value)[:30])
def test_arguments_that_do_not_fit_are_named(server: Serving, arguments: dict[str, Any], message: str) -> None:
    response = httpx.post(f"{server.api}/mcp/tools/search_documents", json=arguments)
    assert (response.status_code, response.json()["error"]["code"]) == (400, "invalid_parameters")
    assert response.json()["error"]["message"] == message


def test_a_megabyte_of_question_is_too_long_for_the_tool_but_not_for_the_server(server: Serving) -> None:
    response = ask(server, "x" * 1024 * 1024)
    assert response.status_code == 400
    assert response.json()["error"]["message"] == "query: must be at most 8192 characters, found 1048576 characters"


@pytest.mark.parametrize("question", ["a\x00b", "\ud7ff", "🐦" * 50, " \n\t "], ids=["nul", "edge", "birds", "blank"])
def test_a_strange_question_is_answered_or_refused_but_never_a_fault(server: Serving, question: str) -> None:
    assert ask(server, question, filters={"team": question}).status_code in (200, 400)


def test_configuration_tells_the_hash_and_no_secret(server: Serving, dsn: str) -> None:
    shown = httpx.get(f"{server.api}/config").json()
    document = yaml.safe_load(server.file.read_text())
    assert shown["hash"] == effective_hash(document)
    assert shown["document"] == document
    assert shown == httpx.get(f"{server.watch}/config").json()
    assert (shown["index"]["kind"], shown["index"]["rows"]) == ("none", 3)
    assert shown["embedder"].startswith("all-MiniLM-L6-v2@")
    assert dsn.split(":")[2].split("@")[0] not in str(shown)


def test_metrics_hold_what_was_asked_with_the_target_as_an_edge(server: Serving) -> None:
    ask(server)
    families = text_string_to_metric_families(httpx.get(f"{server.watch}/metrics").text)
    samples = [sample for family in families for sample in family.samples]
    names = {sample.name for sample in samples}
    edges = {s.labels["le"] for s in samples if s.name == "sibyl_mcp_tool_duration_seconds_bucket"}
    assert "0.75" in edges
    assert {
        "sibyl_pipeline_step_duration_seconds_bucket",
        "sibyl_database_connections_idle",
        "sibyl_embed_queue_depth",
        "sibyl_mcp_active_connections",
        "process_resident_memory_bytes",
    } <= names
    steps = {s.labels["step"]: s.value for s in samples if s.name == "sibyl_pipeline_step_duration_seconds_count"}
    assert steps["retrieval"] > 0
    assert steps["generation"] > 0
    calls = {s.labels["status"]: s.value for s in samples if s.name == "sibyl_llm_calls_total"}
    assert calls["success"] > 0


def test_health_names_every_part(server: Serving) -> None:
    health = httpx.get(f"{server.api}/health").json()
    assert (health["status"], health["version"]) == ("healthy", "0.1.0")
    assert {name: check["status"] for name, check in health["checks"].items()} == {
        "database": "healthy", "vector_store": "healthy", "llm_provider": "healthy", "cache": "disabled",
    }  # fmt: skip


def test_the_ready_line_says_what_runs_and_where(server: Serving) -> None:
    assert server.ready["parts"][1:] == ["all-MiniLM-L6-v2 int8 on onnxruntime", "extractive answers"] or server.ready[
        "parts"
    ][1:] == ["all-MiniLM-L6-v2 fp32 on onnxruntime", "extractive answers"]
    assert server.ready["parts"][0].startswith("PostgreSQL")
    assert server.ready["seconds"] > 0


def test_a_signal_ends_it_after_the_requests_in_flight(
    database_dsn: str, tmp_path: Path, openai_server: OpenAIServer
) -> None:
    llm = {"primary": {"kind": "openai", "model": "gpt-4", "base_url": openai_server.url}}
    file = write_workspace(tmp_path, providers={"llm": llm}, mcp={"timeout": 2})
    environ = {"DATABASE_URL": database_dsn}
    assert sibyl("ingest", "-f", file, write_documents(tmp_path), cwd=tmp_path, environ=environ).code == 0
    openai_server.reply_with(silence())
    with serving(file, environ=environ) as server, concurrent.futures.ThreadPoolExecutor() as threads:
        asking = threads.submit(ask, server)
        eventually(lambda: bool(openai_server.received))
        server.process.send_signal(signal.SIGTERM)
        answer = asking.result()
        assert server.stop() == 0
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "deadline_exceeded")
    assert answer.json()["error"]["details"]["stage"] == "generate"
    with pytest.raises(httpx.ConnectError):
        ask(server)


MODEL_FAILURES = [
    (refusal(401), 502, "provider_error", None,
     "provider primary (gpt-4): 401, the API key was refused; check providers.llm.primary.api_key"),
    (refusal(429, retry_after="7"), 503, "overloaded", "7",
     "provider primary (gpt-4): 429, its rate limit is reached; try again in 7 s, or have the limit raised"),
    (refusal(500), 502, "provider_error", None,
     "provider primary (gpt-4): 500 from its server; try again, or look into that server"),
    (silence(), 504, "deadline_exceeded", None,
     "the deadline of 1 s passed in stage `generate` of step `generation` of pipeline `search`; try again, or raise "
     "mcp.timeout or the pipeline's timeout_s"),
]  # fmt: skip


def test_what_a_language_model_does_wrong_is_told_by_name(
    database_dsn: str, tmp_path: Path, openai_server: OpenAIServer
) -> None:
    model = {"kind": "openai", "model": "gpt-4", "base_url": openai_server.url, "api_key": "${KEY}"}
    llm = {"primary": {**model, "max_retries": 0}}
    file = write_workspace(tmp_path, providers={"llm": llm}, mcp={"timeout": 1})
    environ = {"DATABASE_URL": database_dsn, "KEY": "sk-very-secret"}
    assert sibyl("ingest", "-f", file, write_documents(tmp_path), cwd=tmp_path, environ=environ).code == 0
    with serving(file, environ=environ) as server:
        openai_server.reply_with(completion("The Arctic tern [1]."))
        good = ask(server).json()
        assert (good["output"]["answer"], good["metadata"]["tokens_used"]) == ("The Arctic tern [1].", 120)
        for reply, *expected in MODEL_FAILURES:
            openai_server.reply_with(reply)
            response = ask(server)
            error = response.json()["error"]
            message = without_ports(error["message"])
            assert [response.status_code, error["code"], response.headers.get("Retry-After"), message] == expected
            assert "sk-very-secret" not in response.text
        metrics = httpx.get(f"{server.watch}/metrics").text
        assert "sk-very-secret" not in server.output
    calls = 'sibyl_llm_calls_total{model="gpt-4",provider="primary",status='
    for outcome in ('"success"} 1.0', '"provider_error"} 2.0', '"overloaded"} 1.0'):
        assert calls + outcome in metrics
    assert 'sibyl_llm_tokens_total{model="gpt-4",provider="primary",type="prompt"} 100.0' in metrics


def test_a_database_that_goes_away_and_comes_back_costs_no_restart(tmp_path: Path) -> None:
    postgres = EmbeddedPostgres(tmp_path / "postgres", tcp=True, settings={"fsync": "off"})
    dsn = postgres.start()
    try:
        file = write_workspace(tmp_path)
        assert (
            sibyl("ingest", "-f", file, write_documents(tmp_path), cwd=tmp_path, environ={"DATABASE_URL": dsn}).code
            == 0
        )
        with serving(file, environ={"DATABASE_URL": dsn}) as server:
            assert ask(server).status_code == 200
            postgres.stop()
            response = ask(server)
            assert (response.status_code, response.headers["Retry-After"]) == (503, "1")
            error = response.json()["error"]
            assert (error["code"], without_ports(error["message"])) == (
                "database_unavailable",
                "no connection to the database; answers return by themselves when it runs; the log of the service says "
                "where it should be",
            )
            assert "127.0.0.1" not in response.text
            eventually(lambda: httpx.get(f"{server.api}/health/ready").status_code == 503)
            assert httpx.get(f"{server.api}/health/live").status_code == 200
            assert httpx.get(f"{server.api}/health").json()["status"] == "degraded"
            postgres.start()
            eventually(lambda: httpx.get(f"{server.api}/health/ready").status_code == 200)
            eventually(lambda: ask(server).status_code == 200)
            assert server.stop() == 0
    finally:
        postgres.stop()


def test_a_database_that_cannot_be_reached_at_start_is_one_line(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    file = write_workspace(tmp_path)
    dsn = f"postgresql://sibyl:s3cret@127.0.0.1:{port}/rag"
    ended = sibyl(
        "serve", "-f", file, "--port", "0", "--metrics-port", "0", cwd=tmp_path, environ={"DATABASE_URL": dsn}
    )
    assert ended.code == 3
    assert without_ports(ended.stderr) == (
        "sibyl: cannot connect to PostgreSQL at host 127.0.0.1, port PORT, database rag, user sibyl: connection "
        'failed: connection to server at "127.0.0.1", port PORT failed: Connection refused Is the server running on '
        "that host and accepting TCP/IP connections?; check `providers.vector_store.<name>.dsn` and that the "
        "database is up\n"
    )


def test_a_condition_without_a_value_is_told_with_its_place_and_the_way_out(database_dsn: str, tmp_path: Path) -> None:
    search = {
        "parameters": {"query": {"type": "string", "required": True}},
        "steps": [
            {"use": "rag.retrieval"},
            {"use": "rag.reranking", "config": {"subtechnique": "diversity"}},
            {"use": "ai_generation.generation", "condition": "${reranking.model} < 'm'"},
        ],
    }
    file = write_workspace(tmp_path, pipelines={"search": search})
    with serving(file, environ={"DATABASE_URL": database_dsn}) as server:
        response = httpx.post(f"{server.api}/mcp/tools/search_documents", json={"query": QUESTION}, timeout=30)
    assert (response.status_code, response.json()["error"]) == (
        500,
        {
            "code": "tool_execution_error",
            "message": "step `generation` of pipeline `search` has a `condition` that cannot be evaluated: "
            "\"${reranking.model} < 'm'\": cannot compare null < text; both sides must be numbers, or both text; "
            "test it for null first, with `... != null and`",
            "details": {"pipeline": "search", "step": "generation"},
        },
    )


def test_vectors_of_another_dimension_are_refused_with_the_ways_out(database_dsn: str, tmp_path: Path) -> None:
    def start(**store: Any) -> tuple[int, str]:
        settings = {"kind": "pgvector", "dsn": "${DATABASE_URL}", **store}
        file = write_workspace(tmp_path, providers={"vector_store": {"main": settings}})
        ended = sibyl(
            "serve",
            "-f",
            file,
            "--port",
            "0",
            "--metrics-port",
            "0",
            cwd=tmp_path,
            environ={"DATABASE_URL": database_dsn},
        )
        last = ended.stderr.splitlines()[-1]  # before it, a warning about an old pgvector is allowed
        return ended.code, re.sub(r"`[^`]*@[^`]*`", "`MODEL`", last)

    assert start(dimension=768) == (
        3,
        "sibyl: `providers.vector_store.<name>.dimension` is 768, and the embedding model `MODEL` makes dimension 384: "
        "correct it or remove it",
    )
    with psycopg.connect(database_dsn, autocommit=True) as connection:
        file = write_workspace(tmp_path)
        write_documents(tmp_path)
        environ = {"DATABASE_URL": database_dsn}
        assert sibyl("ingest", "-f", file, "documents", cwd=tmp_path, environ=environ).code == 0
        connection.execute("UPDATE sibyl_collections SET dimension = 768")
        before = connection.execute("SELECT id, fingerprint FROM documents_documents ORDER BY id").fetchall()
        assert start() == (
            3,
            "sibyl: collection `documents` holds vectors of dimension 768, and the embedding model `MODEL` makes "
            "dimension 384: set `providers.vector_store.<name>.collection_name` to a new name and ingest again, or "
            "drop the collection: DROP TABLE documents_chunks, documents_documents;",
        )
        assert connection.execute("SELECT id, fingerprint FROM documents_documents ORDER BY id").fetchall() == before


def test_a_missing_variable_is_named_with_the_ways_out(tmp_path: Path) -> None:
    file = write_workspace(tmp_path)
    ended = sibyl("serve", "-f", file, "--port", "0", cwd=tmp_path)
    assert ended.code == 1
    assert ended.stderr.splitlines() == [
        f"{file}: providers.vector_store.main.dsn: ${{DATABASE_URL}} is not set in the environment; set it  (line 5)",
        "1 error",
    ]


def test_a_port_that_is_taken_is_told_before_anything_is_opened(tmp_path: Path) -> None:
    file = tmp_path / "workspace.yaml"
    file.write_text("name: docs\n")
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        ended = sibyl("serve", "-f", file, "--host", "127.0.0.1", "--port", str(port), cwd=tmp_path)
    assert (ended.code, ended.stdout) == (3, "")
    assert ended.stderr == (
        f"sibyl: cannot listen on 127.0.0.1:{port}: port {port} is taken by another process; stop it, or choose "
        "another port (--port, $SIBYL_PORT or mcp.port)\n"
    )
    assert not (tmp_path / ".sibyl").exists()
