"""`sibyl query`, here and of a running server."""

from __future__ import annotations

import re
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.cli.conftest import Command
from tests.support.sibyl import serving

QUESTION = "Which bird flies from pole to pole?"
TIMINGS = re.compile(r"embed \d+\.\d ms · retrieve \d+\.\d ms · generate \d+\.\d ms · total \d+\.\d ms · \$0\.00")


def test_the_answer_comes_with_its_sources_and_where_the_time_went(
    command: Command, over_database: Path, documents: Path
) -> None:
    assert command("ingest", "-f", over_database, documents).code == 0
    ended = command("query", "-f", over_database, QUESTION, "--top-k", "2")
    assert ended.code == 0, ended.stderr
    answer, blank, first, second, _, timings = ended.stdout.splitlines()
    assert "Arctic tern" in answer
    assert blank == ""
    assert re.fullmatch(r"\[1\] birds\.md § Birds  0\.\d\d", first)
    assert second.startswith("[2] ")
    assert TIMINGS.fullmatch(timings)


def test_as_json_it_is_the_reply_of_the_server(command: Command, over_database: Path, documents: Path) -> None:
    assert command("ingest", "-f", over_database, documents).code == 0
    reply = command("query", "-f", over_database, QUESTION, "--top-k", "2", "--json").json
    assert len(reply["output"]["sources"]) == 2
    assert reply["metadata"]["tool"] == "search_documents"


def test_what_is_refused_is_one_line(command: Command, over_database: Path, documents: Path) -> None:
    assert command("ingest", "-f", over_database, documents).code == 0
    filtered = command("query", "-f", over_database, QUESTION, "--filter", "team=a")
    assert (filtered.code, filtered.stderr.splitlines()[-1]) == (
        1,
        "sibyl: `filters.team`: no document of this collection has the field 'team' in its metadata; fields found: "
        "none",
    )
    ended = command("query", "-f", over_database, "x", "--top-k", "1000")
    assert (ended.code, ended.stderr.splitlines()[-1]) == (1, "sibyl: top_k: must be at most 100, found 1000")
    unknown = command("query", "-f", over_database, "x", "--tool", "nope")
    assert (unknown.code, "nope" in unknown.stderr) == (1, True)


def test_a_server_is_asked_with_its_key(
    command: Command, over_database: Path, documents: Path, monkeypatch: pytest.MonkeyPatch, database_dsn: str
) -> None:
    assert command("ingest", "-f", over_database, documents).code == 0
    protected = over_database.with_name("protected.yaml")
    authentication = 'mcp:\n  authentication: {type: api_key, keys: ["${KEY}"]}\n'
    protected.write_text(over_database.read_text() + authentication)
    with serving(protected, environ={"DATABASE_URL": database_dsn, "KEY": "alpha"}) as server:
        missing = command("query", "--url", server.api, QUESTION)
        assert (missing.code, missing.stderr) == (
            1, "sibyl: This server needs an API key: send it in the header X-API-Key.\n",
        )  # fmt: skip
        wrong = command("query", "--url", server.api, QUESTION, "--api-key", "beta")
        assert (wrong.code, wrong.stderr) == (
            1, "sibyl: The API key that was sent is not one that this server knows.\n",
        )  # fmt: skip
        monkeypatch.setenv("SIBYL_API_KEY", "alpha")
        right = command("query", "--server", f"{server.api}/", QUESTION)
        assert right.code == 0, right.stderr
        assert "Arctic tern" in right.stdout
        assert TIMINGS.fullmatch(right.stdout.splitlines()[-1])
        refused = command("query", "--url", server.api, "x", "--top-k", "1000")
        assert (refused.code, refused.stderr) == (1, "sibyl: top_k: must be at most 100, found 1000\n")
    gone = command("query", "--url", server.api, QUESTION)
    assert gone.code == 3
    assert (
        gone.stderr
        == f"sibyl: cannot reach {server.api}: [Errno 111] Connection refused; is `sibyl serve` running there?\n"
    )


def test_an_address_that_is_none_is_told(command: Command) -> None:
    ended = command("query", "--url", "localhost:8000", "x")
    assert (ended.code, ended.stderr) == (
        1, 'sibyl: "localhost:8000" is not the address of a server; write http://HOST:PORT\n',
    )  # fmt: skip


@pytest.mark.parametrize("address", ["http://[::1", "http://host:99999", "http://host:0", "http://", "host:8000"])
def test_an_address_that_cannot_be_asked_is_told_by_every_command(
    command: Command, tmp_path: Path, address: str
) -> None:
    judged = tmp_path / "judged.jsonl"
    judged.write_text('{"question": "x", "relevant": ["a.md"]}\n')
    for arguments in (("query", "x"), ("ingest", tmp_path), ("eval", judged)):
        ended = command(*arguments, "--server", address)
        assert ended.code in (1, 2)
        assert f'"{address}" is not the address of a server' in " ".join(ended.stderr.split())


def test_the_key_goes_to_nobody_to_whom_the_server_points(command: Command) -> None:
    asked: list[str] = []

    class Pointing(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(self.path)
            self.send_response(302)
            self.send_header("Location", f"http://{self.headers['Host']}/elsewhere")
            self.end_headers()

        do_GET = do_POST

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Pointing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}"
        ended = command("query", "x", "--server", address, "--api-key", "sk-secret")
        server.shutdown()
    assert asked == ["/mcp/tools/search_documents"]
    assert ended.code != 0
    assert f"it points to {address}/elsewhere: give that address" in ended.stderr
