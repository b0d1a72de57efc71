"""Documents sent to the real program over HTTP, by the real command line, into a real PostgreSQL."""

from __future__ import annotations

import concurrent.futures
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import yaml

from sibyl_runtime.store.embedded import EmbeddedPostgres
from tests.support.conditions import eventually
from tests.support.pdf import pdf
from tests.support.postgres import PostgresServer
from tests.support.sibyl import COMMAND, Finished, Serving, environment, serving, sibyl

ROOT = Path(__file__).parents[2]
KEY = "alpha"
IN_SMALL_BATCHES = [
    {"use": "data.load_documents"},
    {"use": "rag.chunking", "config": {"batch_size": 2}},
    {"use": "rag.embedding"},
    {"use": "data.store_vectors"},
]


def write_workspace(directory: Path, **sections: Any) -> Path:
    stores = {"main": {"kind": "pgvector", "dsn": "${DATABASE_URL}"}}
    file = directory / "workspace.yaml"
    file.write_text(yaml.safe_dump({"name": "docs", "providers": {"vector_store": stores}, **sections}))
    return file


def write_corpus(folder: Path) -> Path:
    """Every kind of file that a load knows, this project's own documentation among them, and one that is left out."""
    (folder / "nested").mkdir(parents=True)
    for name in ("conditions.md", "http-api.md", "security.md"):
        shutil.copy(ROOT / "docs" / name, folder / "nested" / name)
    (folder / "front.md").write_text("---\ntitle: Leave\nteam: people\nsince: 2026-01-31\n---\nAsk two weeks ahead.\n")
    (folder / "two  spaces.txt").write_bytes(b"# No heading\r\n\r\nThe Arctic tern flies from pole to pole.\r\n")
    (folder / "records.jsonl").write_text(
        '{"id": 7, "text": "Record seven.", "title": "Seven", "price": 1.0, "n": 9007199254740993}\n'
        '{"text": "A record without an id. \\ud83d\\udc26"}\n'
    )
    (folder / "rows.csv").write_text("id;title;text;lang\nc1;Row one;A row of cells.;en\nc2;;Another row.;\n")
    (folder / "page.html").write_text("<title>Page</title><nav>Home</nav><h1>Otters</h1><p>Otters hold hands.</p>")
    (folder / "book.pdf").write_bytes(pdf("The first page.", "The second page.", title="Book"))
    (folder / "latin.md").write_bytes(b"caf\xe9")
    return folder


def write_pages(folder: Path, number: int, text: str = "Sentence {n} of many. ") -> Path:
    folder.mkdir()
    for n in range(number):
        (folder / f"page-{n:03}.md").write_text(f"# Page {n}\n\n" + text.format(n=n) * 20)
    return folder


def rows(dsn: str) -> tuple[list[Any], list[Any]]:
    """All that is stored, but for what no two runs share: serial numbers and times."""
    with psycopg.connect(dsn) as connection:
        documents = connection.execute(
            "SELECT id, source, title, fingerprint, metadata FROM documents_documents ORDER BY id, source"
        ).fetchall()
        chunks = connection.execute(
            "SELECT document_id, ordinal, heading, content, tokens, metadata, embedding::text::vector::text"
            " FROM documents_chunks ORDER BY document_id, ordinal"
        ).fetchall()
    return documents, chunks


def stored(dsn: str) -> int:
    with psycopg.connect(dsn, connect_timeout=2) as connection:
        row = connection.execute("SELECT count(*) FROM documents_documents").fetchone()
    return int(row[0]) if row else 0


def embedded(server: Serving) -> float:
    """Documents' texts that the model has embedded: what an ingest costs."""
    text = httpx.get(f"{server.watch}/metrics").text
    lines = [line for line in text.splitlines() if line.startswith("sibyl_vector_store_operations_total{")]
    return sum(float(line.split()[-1]) for line in lines if 'operation="replace"' in line)


@pytest.fixture(scope="module")
def dsn(postgres_server: PostgresServer) -> Iterator[str]:
    dsn = postgres_server.create_database()
    yield dsn
    postgres_server.drop_database(dsn)


@pytest.fixture(scope="module")
def server(dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """One server with a key, for all tests; each uses sources of its own."""
    directory = tmp_path_factory.mktemp("served")
    mcp = {"authentication": {"type": "api_key", "keys": ["${KEY}"]}, "max_request_size": 65_536}
    caching = {"enabled": True, "memory": {"enabled": True}}
    file = write_workspace(directory, mcp=mcp, shops={"infrastructure": {"config": {"caching": caching}}})
    with serving(file, environ={"DATABASE_URL": dsn, "KEY": KEY}) as running:
        yield running


def send(server: Serving, path: Path, *options: str, key: str = KEY) -> Finished:
    return sibyl(
        "ingest", "--server", server.api, path, "--json", *options, cwd=path.parent, environ={"SIBYL_API_KEY": key}
    )


def ask(server: Serving, query: str) -> dict[str, Any]:
    url = f"{server.api}/mcp/tools/search_documents"
    answer: dict[str, Any] = httpx.post(url, json={"query": query}, headers={"X-API-Key": KEY}, timeout=30).json()
    return answer


def post(server: Serving, body: dict[str, Any], path: str = "/documents", key: str = KEY) -> httpx.Response:
    return httpx.post(f"{server.api}{path}", json=body, headers={"X-API-Key": key}, timeout=60)


def test_what_is_sent_becomes_the_rows_that_a_local_ingest_writes(
    server: Serving, dsn: str, database_dsn: str, tmp_path: Path
) -> None:
    corpus = write_corpus(tmp_path / "corpus")
    there = send(server, corpus)
    here = sibyl(
        "ingest",
        "-f",
        write_workspace(tmp_path),
        corpus,
        "--json",
        cwd=tmp_path,
        environ={"DATABASE_URL": database_dsn},
    )
    assert (there.code, here.code) == (4, 4), there.stderr + here.stderr
    skipped = [[line for line in ended.stderr.splitlines() if line.startswith("skipped")] for ended in (there, here)]
    assert skipped == [["skipped latin.md: not valid utf-8: 0xe9 at byte 3"]] * 2
    assert {**there.json, "seconds": 0} == {**here.json, "seconds": 0}
    documents, chunks = rows(dsn)
    assert len(documents) == 12
    local_documents, local_chunks = rows(database_dsn)
    assert documents == local_documents
    assert chunks == local_chunks
    assert "Arctic tern" in ask(server, "Which bird flies from pole to pole?")["output"]["answer"]


def test_the_second_run_costs_nothing_and_a_file_that_is_gone_disappears(server: Serving, tmp_path: Path) -> None:
    pages = write_pages(tmp_path / "pages", 5, "The quokka {n} smiles. ")
    first = send(server, pages, "--source", "pages").json
    assert (first["documents"], first["removed"]) == (5, 0)
    before = embedded(server)
    second = send(server, pages, "--source", "pages")
    assert (second.code, second.json["documents"], second.json["unchanged"]) == (0, 0, 5)
    assert embedded(server) == before > 0
    (pages / "page-003.md").unlink()
    (pages / "page-004.md").write_text("# Page 4\n\nThe wombat digs.\n")
    third = send(server, pages, "--source", "pages").json
    assert (third["documents"], third["replaced"], third["unchanged"], third["removed"]) == (1, 1, 3, 1)
    again = post(server, {"source": "pages", "keep": [f"page-{n:03}.md" for n in (0, 1, 2, 4)]}, "/documents/prune")
    assert (again.status_code, again.json()["removed"]) == (200, 0)


def test_an_answer_from_the_cache_does_not_outlive_its_documents(server: Serving) -> None:
    question = "What does the axolotl regrow?"
    for text in ("The axolotl regrows its limbs.", "The axolotl regrows its heart."):
        response = post(server, {"source": "animals", "documents": [{"id": "axolotl", "text": text}]})
        assert response.json()["documents"] == 1
        first, second = ask(server, question), ask(server, question)
        assert text in first["output"]["answer"]
        assert (first["metadata"]["cache"], second["metadata"]["cache"]) == ("miss", "hit")
    assert post(server, {"source": "animals", "keep": []}, "/documents/prune").json()["removed"] == 1
    assert "axolotl" not in str(ask(server, question)["output"]["sources"])


def test_a_wrong_key_changes_nothing(server: Serving, dsn: str, tmp_path: Path) -> None:
    before = stored(dsn)
    ended = send(server, write_pages(tmp_path / "pages", 1), key="beta")
    assert (ended.code, ended.stdout) == (1, "")
    assert ended.stderr == "sibyl: The API key that was sent is not one that this server knows.\n"
    response = post(server, {"source": "s", "keep": []}, "/documents/prune", key="")
    assert (response.status_code, response.json()["error"]["code"]) == (401, "unauthorized")
    assert stored(dsn) == before


def test_what_is_too_large_is_refused_by_the_server_and_named_by_the_command(server: Serving, tmp_path: Path) -> None:
    response = post(server, {"source": "s", "documents": [{"id": "a", "text": "x" * 70_000}]})
    assert (response.status_code, response.json()["error"]["code"]) == (413, "request_too_large")
    pages = write_pages(tmp_path / "pages", 2)
    (pages / "huge.md").write_text("x" * 70_000)
    ended = send(server, pages, "--source", "large")
    assert (ended.code, ended.json["documents"]) == (4, 2)
    assert [skipped["path"] for skipped in ended.json["skipped"]] == ["huge.md"]


def test_two_clients_at_once_lose_nothing(server: Serving, dsn: str, tmp_path: Path) -> None:
    before = stored(dsn)
    folders = [write_pages(tmp_path / name, 12, f"The {name} says {{n}}. ") for name in ("east", "west")]
    for folder in folders:
        for page in folder.iterdir():
            page.rename(page.with_name(f"{folder.name}-{page.name}"))
    with concurrent.futures.ThreadPoolExecutor() as threads:
        ended = list(threads.map(lambda folder: send(server, folder, "--source", folder.name), folders))
    assert [(one.code, one.json["documents"], one.json["removed"]) for one in ended] == [(0, 12, 0)] * 2
    assert stored(dsn) == before + 24
    for folder in folders:
        assert post(server, {"source": folder.name, "keep": []}, "/documents/prune").json()["removed"] == 12


def test_an_interruption_removes_nothing_and_the_next_run_does_the_rest(
    server: Serving, dsn: str, tmp_path: Path
) -> None:
    pages = write_pages(tmp_path / "pages", 120, "The lynx number {n} waits in the snow. ")
    post(server, {"source": "cut", "documents": [{"id": "gone.md", "text": "Gone from the folder."}]})
    before = stored(dsn)
    process = subprocess.Popen(
        [*COMMAND, "ingest", "--server", server.api, "--source", "cut", str(pages)], cwd=tmp_path,
        env=environment({"SIBYL_API_KEY": KEY}), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    eventually(lambda: stored(dsn) > before)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors.splitlines()[-1]) == (130, "sibyl: interrupted")
    eventually(lambda: post(server, {"source": "other", "keep": []}, "/documents/prune").status_code == 200)
    assert before < stored(dsn) < before + 120
    rest = send(server, pages, "--source", "cut").json
    assert rest["documents"] > 0
    assert rest["unchanged"] > 0
    assert (rest["documents"] + rest["unchanged"], rest["replaced"], rest["removed"]) == (120, 0, 1)


def test_a_service_that_is_restarted_half_way_is_waited_for(database_dsn: str, tmp_path: Path) -> None:
    pages = write_pages(tmp_path / "pages", 60, "The stork number {n} builds on the chimney. ")
    file = write_workspace(tmp_path, pipelines={"ingest": {"steps": IN_SMALL_BATCHES}})
    environ = {"DATABASE_URL": database_dsn}
    with concurrent.futures.ThreadPoolExecutor() as threads:
        with serving(file, environ=environ) as server:
            sending = threads.submit(send, server, pages, "--source", "pages")
            eventually(lambda: stored(database_dsn) > 0)
            server.process.kill()
            server.process.wait()
        assert stored(database_dsn) < 60
        with serving(file, "--port", server.api.rpartition(":")[2], environ=environ):
            ended = sending.result()
    assert ended.code == 0, ended.stderr
    assert (ended.json["documents"] + ended.json["unchanged"], ended.json["replaced"]) == (60, 0)
    assert stored(database_dsn) == 60


def test_a_database_that_goes_away_half_way_leaves_whole_documents_and_the_client_completes(tmp_path: Path) -> None:
    postgres = EmbeddedPostgres(tmp_path / "postgres", tcp=True, settings={"fsync": "off"})
    dsn = postgres.start()
    pages = write_pages(tmp_path / "pages", 60, "The heron number {n} stands in the reeds. ")
    file = write_workspace(tmp_path, pipelines={"ingest": {"steps": IN_SMALL_BATCHES}})
    try:
        with (
            serving(file, environ={"DATABASE_URL": dsn}) as server,
            concurrent.futures.ThreadPoolExecutor() as threads,
        ):
            sending = threads.submit(send, server, pages, "--source", "pages")
            eventually(lambda: stored(dsn) > 0)
            postgres.stop()
            refused = post(server, {"source": "other", "documents": [{"id": "a", "text": "A."}]})
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "database_unavailable")
            assert int(refused.headers["Retry-After"]) >= 1
            postgres.start()
            assert 0 < stored(dsn) < 60
            with psycopg.connect(dsn) as connection:
                halves = connection.execute(
                    "SELECT count(*) FROM documents_documents d WHERE NOT EXISTS"
                    " (SELECT FROM documents_chunks c WHERE c.document_id = d.id)"
                ).fetchone()
            assert halves == (0,)
            ended = sending.result()
            assert ended.code == 0, ended.stderr
            assert ended.json["documents"] + ended.json["unchanged"] == 60
            assert stored(dsn) == 60
            assert send(server, pages, "--source", "pages").json["unchanged"] == 60
    finally:
        postgres.stop()
