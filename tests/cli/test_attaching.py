"""`sibyl profile --pid` over a real `sibyl serve` that answers meanwhile; and what stands in its way."""

from __future__ import annotations

import concurrent.futures
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from sibyl_runtime.cli import attaching
from sibyl_runtime.cli.attaching import Attaching, attach, session_of
from sibyl_runtime.cli.profilers import write_flame_graph
from sibyl_runtime.errors import InvalidParameters, StartupError
from tests.cli.conftest import Command
from tests.support.sibyl import Serving, serving, sibyl

NOBODY = "65534"


@contextmanager
def asked(server: Serving) -> Iterator[list[int]]:
    """Asks without a pause, each time another question; the statuses so far."""
    stop, statuses = threading.Event(), list[int]()

    def ask() -> None:
        with httpx.Client(timeout=30) as client:
            while not stop.is_set():
                body = {"query": f"Which bird is number {len(statuses)} from pole to pole?"}
                statuses.append(client.post(f"{server.api}/mcp/tools/search_documents", json=body).status_code)

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        asking = [pool.submit(ask) for _ in range(2)]
        try:
            yield statuses
        finally:
            stop.set()
    for each in asking:
        each.result()


@contextmanager
def idle(*command: str) -> Iterator[subprocess.Popen[str]]:
    """A process that waits for its stdin, and has said so."""
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
    finally:
        process.communicate()


PYTHON = (sys.executable, "-c", "import sys; print('ready', flush=True); sys.stdin.read()")


def test_a_serving_process_is_seen_at_work_and_goes_on_answering(
    over_database: Path, documents: Path, database_dsn: str
) -> None:
    environ, folder = {"DATABASE_URL": database_dsn}, over_database.parent
    assert sibyl("ingest", "-f", over_database, documents, cwd=folder, environ=environ).code == 0
    with serving(over_database, environ=environ) as server:
        options = ("--pid", str(server.process.pid), "--seconds", "3", "--top", "5000", "--json")
        with asked(server) as statuses:
            page = sibyl("profile", *options, "--output", "flame.html", cwd=folder)
            graph = sibyl("profile", *options, "--output", "flame.json", cwd=folder)
        assert set(statuses) == {200}
        assert len(statuses) > 20
        assert httpx.get(f"{server.api}/health/ready").status_code == 200
    assert (page.code, graph.code) == (0, 0), page.stderr + graph.stderr
    files = {function["file"] for function in page.json["profile"]["functions"]}
    # The model's own thread too, and the way of a question through the store.
    assert {"sibyl_runtime/providers/embedding/worker.py", "sibyl_runtime/store/search.py"} <= files
    assert page.json["threads"] >= 2
    assert "embedding/worker.py" in (folder / "flame.html").read_text()
    frames = {frame["file"] for frame in json.loads((folder / "flame.json").read_text())["shared"]["frames"]}
    assert any("sibyl_runtime/store/" in str(file) for file in frames)


def test_what_is_not_there_and_what_is_no_python_is_told(command: Command) -> None:
    with idle(*PYTHON) as process:
        pass
    ended = command("profile", "--pid", process.pid)
    assert (ended.code, f"there is no process {process.pid}" in ended.stderr) == (1, True)
    assert "pgrep -f 'sibyl serve'" in ended.stderr
    with idle("sh", "-c", "echo ready; read line") as shell:
        ended = command("profile", "--pid", shell.pid, "--seconds", "1")
    assert ended.code == 1
    assert f"process {shell.pid} cannot be watched; is it Python" in ended.stderr
    assert "backtrace" not in ended.stderr


def test_waiting_is_not_counted(command: Command) -> None:
    with idle(*PYTHON) as process:
        ended = command("profile", "--pid", process.pid, "--seconds", "2", "--json")
    assert ended.code == 0, ended.stderr
    assert ended.json["profile"]["amount"] < 1


def test_a_flame_graph_of_nothing_can_be_written(tmp_path: Path) -> None:
    output = tmp_path / "x.html"
    assert write_flame_graph(output, session_of([], Attaching(1, 1))) is None
    assert output.exists()


def test_a_process_of_somebody_else_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        with pytest.raises(StartupError, match="SYS_PTRACE"):
            attach(Attaching(1, 1), tmp_path / "x.html")
        return
    # Root may everything: py-spy is run as somebody who may not.
    program = tmp_path / "py-spy"
    program.write_text(f'#!/bin/sh\nexec setpriv --reuid {NOBODY} --clear-groups {attaching._program()} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setattr(attaching, "_program", lambda: str(program))
    with idle(*PYTHON) as process, pytest.raises(StartupError, match="SYS_PTRACE"):
        attach(Attaching(process.pid, 1), tmp_path / "x.html")


def test_without_the_extra_it_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    with pytest.raises(StartupError, match=r"needs py-spy.*pip install 'sibyl-operator\[profile\]'"):
        attach(Attaching(os.getpid(), 1), tmp_path / "x.html")


def test_the_output_is_checked_before_the_work(command: Command) -> None:
    ended = command("profile", "--pid", os.getpid(), "-o", "x.svg")
    assert (ended.code, "a name that ends with .html, .htm, .json" in ended.stderr) == (1, True)
    with pytest.raises(InvalidParameters):
        attach(Attaching(2**22 + 1, 1), Path("x.html"))
