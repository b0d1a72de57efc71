"""`sibyl serve` from the outside: what it says, and how it ends."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import time
from pathlib import Path

import httpx
import psutil
import pytest

from tests.support.sibyl import COMMAND, Serving, environment, serving, sibyl


def test_embedded_it_serves_ingests_beside_and_leaves_nothing_running(workspace: Path, documents: Path) -> None:
    with serving(workspace) as server:
        children = psutil.Process(server.process.pid).children(recursive=True)
        assert any("postgres" in child.name() for child in children)
        assert server.ready["parts"][0].endswith("(embedded)")
        body = {"query": "Which bird flies far?"}
        empty = httpx.post(f"{server.api}/mcp/tools/search_documents", json=body).json()
        assert empty["output"]["sources"] == []
        beside = sibyl("ingest", "-f", workspace, documents, "--json", cwd=workspace.parent)
        assert beside.code == 0, beside.stderr
        assert "pgvector" not in beside.stderr, "the version of the embedded database is not its user's to choose"
        filled = httpx.post(f"{server.api}/mcp/tools/search_documents", json=body).json()
        assert filled["output"]["sources"][0]["document"] == "birds.md"
        assert server.stop() == 0
    assert [child for child in children if child.is_running()] == []


def test_an_embedded_database_that_is_killed_comes_back_with_its_documents(workspace: Path, documents: Path) -> None:
    def status() -> int:
        return httpx.post(f"{server.api}/mcp/tools/search_documents", json=question, timeout=30).status_code

    question = {"query": "Which bird flies far?"}
    assert sibyl("ingest", "-f", workspace, documents, cwd=workspace.parent).code == 0
    with serving(workspace) as server:
        (postgres,) = [c for c in psutil.Process(server.process.pid).children() if c.name() == "postgres"]
        assert status() == 200
        postgres.kill()
        deadline = time.monotonic() + 60
        while (last := _tellings(server)[-1:]) == [] or "answers again" not in last[0] or status() != 200:
            assert time.monotonic() < deadline, server.output
            time.sleep(0.05)
        answer = httpx.post(f"{server.api}/mcp/tools/search_documents", json=question, timeout=30).json()
        assert answer["output"]["sources"][0]["document"] == "birds.md"
        assert httpx.get(f"{server.api}/health/ready", timeout=30).status_code == 200
        children = psutil.Process(server.process.pid).children(recursive=True)
        assert server.stop() == 0
        told = [re.sub(r"\d+\.\d s", "N s", message) for message in _tellings(server)]
    assert told[0] == "the embedded PostgreSQL ended by itself (killed by SIGKILL); it is started again"
    assert told[-1] == "the embedded PostgreSQL answers again after N s"
    assert [child for child in children if child.is_running()] == []


def _tellings(server: Serving) -> list[str]:
    """What the log says about the embedded database."""
    return [line["message"] for line in server.log if "embedded PostgreSQL" in line["message"]]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_while_it_starts_leaves_nothing_running(workspace: Path, number: signal.Signals, code: int) -> None:
    process = subprocess.Popen(
        [*COMMAND, "serve", "-f", workspace, "--host", "127.0.0.1", "--port", "0", "--metrics-port", "0"],
        cwd=workspace.parent, env=environment({}), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    data = workspace.parent / ".sibyl"
    deadline = time.monotonic() + 60
    while not data.exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.005)
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code, errors
    assert "Traceback" not in errors
    assert [child for child in children if child.is_running()] == []


def test_on_a_terminal_it_says_what_runs_and_where(workspace: Path) -> None:
    terminal, side = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "serve", "-f", workspace, "--host", "127.0.0.1", "--port", "0", "--metrics-port", "0"],
        cwd=workspace.parent, env=environment({}), stdin=subprocess.DEVNULL, stdout=side, stderr=side,
    )  # fmt: skip
    os.close(side)
    try:
        shown = ""
        while "Ctrl-C stops" not in shown:
            shown += os.read(terminal, 4096).decode()
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
        os.close(terminal)
    line = next(line for line in shown.splitlines() if "ready in" in line)
    assert line.startswith("● ready in ")
    assert "onnxruntime · extractive answers" in line


BAD_INPUT = [
    ("name: [", 1, "workspace.yaml"),
    ("nmae: docs\n", 1, "nmae: unknown key"),
    ("name: docs\nmcp:\n  authentication: {keys: []}\n", 1, "keys"),
    ("name: docs\nproviders:\n  embedding:\n    default: {model: no-such-model}\n", 3, "no-such-model"),
]


@pytest.mark.parametrize(("text", "code", "message"), BAD_INPUT, ids=["yaml", "key", "keys", "model"])
def test_what_cannot_be_served_is_told_without_a_traceback(workspace: Path, text: str, code: int, message: str) -> None:
    workspace.write_text(text)
    ended = sibyl("serve", "-f", workspace, "--port", "0", "--metrics-port", "0", cwd=workspace.parent)
    assert ended.code == code, ended.stderr
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_variable_of_the_process_that_is_wrong_is_named(workspace: Path) -> None:
    ended = sibyl("serve", "-f", workspace, cwd=workspace.parent, environ={"SIBYL_PORT": "http"})
    assert (ended.code, ended.stderr) == (
        3, 'sibyl: SIBYL_PORT is "http"; it must be a port, 0 to 65535 (0: any free one)\n',
    )  # fmt: skip
