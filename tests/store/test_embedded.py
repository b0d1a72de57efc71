from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from sibyl_runtime.errors import StartupError
from sibyl_runtime.store.embedded import EmbeddedPostgres, running_socket_dsn


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(tmp_path / "data", settings={"fsync": "off"})
    yield server
    server.stop()


def _write(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("CREATE TABLE kept (value int)")
        connection.execute("INSERT INTO kept VALUES (42)")


def _read(dsn: str) -> object:
    with psycopg.connect(dsn) as connection:
        return connection.execute("SELECT value FROM kept").fetchone()


def test_it_answers_from_nothing_and_keeps_its_data(postgres: EmbeddedPostgres) -> None:
    dsn = postgres.start()
    _write(dsn)
    postgres.stop()
    assert postgres.pid is None
    assert postgres.start() == dsn
    assert _read(dsn) == (42,)


def test_it_speaks_utf8_and_carries_pgvector(postgres: EmbeddedPostgres) -> None:
    with psycopg.connect(postgres.start()) as connection:
        row = connection.execute(
            "SELECT current_setting('server_encoding'), datlocale, lower('ÄÖ') FROM pg_database"
            " WHERE datname = current_database()"
        ).fetchone()
        assert row == ("UTF8", "C.UTF-8", "äö")
        connection.execute("CREATE EXTENSION vector")


def test_start_twice_is_one_server(postgres: EmbeddedPostgres) -> None:
    postgres.start()
    pid = postgres.pid
    postgres.start()
    assert postgres.pid == pid


def test_stop_leaves_no_process_and_no_socket(postgres: EmbeddedPostgres) -> None:
    children = len(psutil.Process().children())
    postgres.start()
    directory = postgres._socket_directory
    assert directory is not None
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    postgres.stop()
    postgres.stop()
    assert not directory.exists()
    assert len(psutil.Process().children()) == children


def test_a_second_server_over_the_same_directory_is_told_who_uses_it(postgres: EmbeddedPostgres) -> None:
    postgres.start()
    second = EmbeddedPostgres(postgres.log_file.parent)
    with pytest.raises(StartupError) as refused:
        second.start()
    assert f"is in use by PostgreSQL with process id {postgres.pid} (started by process {os.getpid()})" in str(
        refused.value
    )
    assert str(postgres.log_file.parent) in str(refused.value)


def test_a_server_that_was_killed_recovers(postgres: EmbeddedPostgres) -> None:
    dsn = postgres.start()
    _write(dsn)
    pid = postgres.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    psutil.wait_procs([psutil.Process(pid)] if psutil.pid_exists(pid) else [], timeout=10)
    postgres.stop()
    assert (postgres.log_file.parent / "cluster-18" / "postmaster.pid").exists()
    assert _read(postgres.start()) == (42,)


def test_a_stale_pid_file_that_names_a_living_stranger_does_not_stop_it(postgres: EmbeddedPostgres) -> None:
    dsn = postgres.start()
    _write(dsn)
    pid_file = postgres.log_file.parent / "cluster-18" / "postmaster.pid"
    content = pid_file.read_text().split("\n")
    owner = pid_file.stat()
    postgres.stop()
    pid_file.write_text("\n".join([str(os.getpid()), *content[1:]]))
    os.chown(pid_file, owner.st_uid, owner.st_gid)
    assert _read(postgres.start()) == (42,)


_HOLDER = """
import sys
from pathlib import Path
from sibyl_runtime.store.embedded import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]), settings={"fsync": "off"})
print(server.start(), server.pid, server._socket_directory, flush=True)
sys.stdin.read()
"""


def test_when_its_process_is_killed_the_server_ends_and_the_next_process_takes_over(
    postgres: EmbeddedPostgres,
) -> None:
    command = [sys.executable, "-c", _HOLDER, str(postgres.log_file.parent)]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdin is not None
    assert holder.stdout is not None
    with holder.stdin, holder.stdout:
        dsn, pid, sockets = holder.stdout.readline().split()
        _write(dsn)
        with pytest.raises(StartupError, match=rf"process id {pid} \(started by process {holder.pid}\)"):
            postgres.start()
        server = psutil.Process(int(pid))
        holder.kill()
        holder.wait()
        assert _read(postgres.start()) == (42,)
        assert psutil.wait_procs([server], timeout=10)[0] == [server]
        assert not Path(sockets).exists()


def test_when_its_process_is_killed_nothing_stays_behind(postgres: EmbeddedPostgres) -> None:
    command = [sys.executable, "-c", _HOLDER, str(postgres.log_file.parent)]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdin is not None
    assert holder.stdout is not None
    with holder.stdin, holder.stdout:
        _, _, sockets = holder.stdout.readline().split()
        processes = psutil.Process(holder.pid).children(recursive=True)
        holder.kill()
        holder.wait()
        assert psutil.wait_procs(processes, timeout=20)[1] == []
    assert not Path(sockets).exists()


def test_an_unfinished_cluster_is_made_again(postgres: EmbeddedPostgres) -> None:
    unfinished = postgres.log_file.parent / "cluster-18.new"
    unfinished.mkdir(parents=True)
    (unfinished / "PG_VERSION").write_text("18\n")
    _write(postgres.start())
    assert not unfinished.exists()


def test_a_data_directory_with_a_very_long_path_works(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / ("long-" * 40) / "data", settings={"fsync": "off"})
    try:
        _write(server.start())
    finally:
        server.stop()


def test_a_server_that_cannot_start_shows_the_end_of_its_log(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "data", settings={"shared_buffers": "plenty"})
    with pytest.raises(StartupError, match=r"did not start.*shared_buffers.*plenty"):
        server.start()
    assert server.pid is None


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartupError, match=r"cannot start .* in .*/file/data: .*; choose a data .*\(--data-dir\)"):
        EmbeddedPostgres(tmp_path / "file" / "data").start()


def test_tcp_wants_the_generated_password_and_keeps_port_and_password(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "data", tcp=True, settings={"fsync": "off"})
    try:
        dsn = server.start()
        assert "@127.0.0.1:" in dsn
        _write(dsn)
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(dsn.replace(server._password, "guess"))
        server.stop()
        assert server.start() == dsn
        assert _read(dsn) == (42,)
        assert server._password not in server.log_file.read_text()
    finally:
        server.stop()


def test_without_tcp_nothing_listens(postgres: EmbeddedPostgres) -> None:
    postgres.start()
    assert [c for c in psutil.Process(postgres.pid).net_connections("inet") if c.status == psutil.CONN_LISTEN] == []


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_as_root_it_runs_as_nobody_even_below_a_closed_directory(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    server = EmbeddedPostgres(closed / "data", settings={"fsync": "off"})
    try:
        _write(server.start())
        assert psutil.Process(server.pid).username() == "nobody"
        server.stop()
        assert _read(server.start()) == (42,)
        assert stat.S_IMODE(closed.stat().st_mode) == 0o700
        assert closed.stat().st_uid == 0
    finally:
        server.stop()


def test_a_large_log_is_set_aside(postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sibyl_runtime.store.embedded._LOG_LIMIT", 10)
    postgres.start()
    postgres.stop()
    before = postgres.log_file.read_text()
    postgres.start()
    assert postgres.log_file.with_suffix(".log.1").read_text() == before


def test_a_lock_that_a_crash_left_behind_is_not_believed(tmp_path: Path) -> None:
    gone = json.dumps({"socket_directory": str(tmp_path / "gone"), "port": 5432})
    for content in ("", "not json", "[]", "{}", gone):
        (tmp_path / "lock").write_text(content)
        assert running_socket_dsn(tmp_path) is None
