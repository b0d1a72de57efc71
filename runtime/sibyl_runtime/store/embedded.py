"""PostgreSQL with pgvector as a child of this process: a laptop needs no database, and tests get a real one.

The directory given holds `cluster-18/` (the data), `postgres.log` and `lock`. The lock is the kernel's (flock), so it
goes with the process that held it: after a crash there is nothing to clean up by hand.
Clients come through a unix socket in a private directory (mode 0700, no password), and on request through TCP on
127.0.0.1 with a generated password.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO
from urllib.parse import quote

import psycopg
from psycopg import sql

from sibyl_runtime.errors import StartupError
from sibyl_runtime.store.child import Account, ChildProcess, child_environment
from sibyl_runtime.store.installation import (
    MAJOR_VERSION,
    find_installation,
    handed_over,
    reachable_installation,
    server_account,
)

USER = "sibyl"
DATABASE = "postgres"
_LOG_LIMIT = 10 * 1024 * 1024
_START_TIMEOUT = 60.0
_STOP_TIMEOUT = 20.0
_JOIN_TIMEOUT = 2
_DEFAULT_PORT = 5432
_SOCKET_PREFIX = "sibyl-pg-"

# Sized for a laptop that does other things too. jit costs more than it gains on queries of a few milliseconds.
_SETTINGS: Mapping[str, str] = {
    "shared_buffers": "128MB",
    "max_connections": "60",
    "fsync": "on",
    "jit": "off",
    "log_line_prefix": "%m [%p] ",
    "logging_collector": "off",
    "unix_socket_permissions": "0700",
}


class EmbeddedPostgres:
    """One PostgreSQL server over one directory. `start` and `stop` block; both may be called again."""

    def __init__(self, data_directory: Path, *, tcp: bool = False, settings: Mapping[str, str] | None = None) -> None:
        """`tcp` opens 127.0.0.1 with a password as well; `settings` are further postgresql.conf parameters."""
        self._directory = data_directory.absolute()
        self._tcp = tcp
        self._settings = {**_SETTINGS, **(settings or {})}
        self._port = _free_port() if tcp else _DEFAULT_PORT
        self._password = secrets.token_urlsafe(24)
        self._socket_directory: Path | None = None
        self._lock: IO[str] | None = None
        self._child: ChildProcess | None = None

    @property
    def log_file(self) -> Path:
        """What the server writes."""
        return self._directory / "postgres.log"

    @property
    def pid(self) -> int | None:
        """The server's process id while it runs."""
        return self._child.pid if self._child and self._child.exit_code() is None else None

    @property
    def exit_code(self) -> int | None:
        """How the server ended when it ended by itself, negative for a signal; None while it runs, and after `stop`."""
        return self._child.exit_code() if self._child else None

    @property
    def socket_dsn(self) -> str:
        """Through the unix socket. The same for the life of this object."""
        return _socket_dsn(str(self._socket_directory), self._port)

    @property
    def dsn(self) -> str:
        """Through TCP when asked for (holds the password), else through the socket. Survives stop and start."""
        if self._tcp:
            return f"postgresql://{USER}:{self._password}@127.0.0.1:{self._port}/{DATABASE}"
        return self.socket_dsn

    def start(self) -> str:
        """Run the server and wait until it answers; its DSN. Also starts one again that has ended by itself.

        Raises StartupError: the directory is in use (names the pid), cannot be written, or the server does not come up.
        """
        if self.pid is not None:
            return self.dsn
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            self._start()
        except OSError as error:
            self.stop()
            raise StartupError(
                f"cannot start the embedded PostgreSQL in {self._directory}: {error}; choose a data directory that "
                "can be written (--data-dir)"
            ) from error
        except BaseException:
            self.stop()
            raise
        return self.dsn

    def stop(self) -> None:
        """Fast shutdown: open transactions are rolled back, the data is left in good order."""
        if self._child is not None:
            self._child.stop(timeout=_STOP_TIMEOUT)
            self._child = None
        if self._lock is not None:
            if self._socket_directory is not None:
                shutil.rmtree(self._socket_directory, ignore_errors=True)
            self._lock.close()
            self._lock = None

    @property
    def _cluster(self) -> Path:
        return self._directory / f"cluster-{MAJOR_VERSION}"

    def _start(self) -> None:
        self._take_lock()
        account = server_account(self._cluster)
        programs = reachable_installation(find_installation(), account) / "bin"
        if not self._cluster.exists():
            self._create_cluster(programs, account)
        self._await_orphan()
        self._open_socket_directory(account)
        self._launch(programs, account)
        self._await_ready()
        if self._tcp:
            self._set_password()

    def _take_lock(self) -> None:
        if self._lock is not None:
            return  # kept while a server that ended by itself is started again: nobody may come in between
        lock = (self._directory / "lock").open("a+", encoding="utf-8")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise self._in_use() from None
        self._lock = lock
        # A launcher that was killed could not remove its socket directory.
        stale = self._read_lock().get("socket_directory")
        if stale and Path(stale).name.startswith(_SOCKET_PREFIX) and Path(stale) != self._socket_directory:
            shutil.rmtree(stale, ignore_errors=True)

    def _read_lock(self) -> dict[str, str]:
        try:
            content = json.loads((self._directory / "lock").read_text(encoding="utf-8") or "{}")
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}

    def _in_use(self) -> StartupError:
        server, launcher = self._server_pid(), self._read_lock().get("pid")
        running = f" by PostgreSQL with process id {server}" if server else ""
        started = f" (started by process {launcher})" if launcher else ""
        return StartupError(
            f"the data directory {self._directory} is in use{running}{started}: stop that process, or choose another "
            "data directory (--data-dir)"
        )

    def _server_pid(self) -> int | None:
        """The pid in postmaster.pid, when a process of that pid works in the data directory."""
        try:
            pid = int((self._cluster / "postmaster.pid").read_text(encoding="utf-8").split("\n", 1)[0])
        except (OSError, ValueError):
            return None
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return None
        except PermissionError:
            return pid
        # After a container's restart the same low pid is somebody else. PostgreSQL's working directory is its data.
        with contextlib.suppress(OSError):
            return pid if Path(f"/proc/{pid}/cwd").samefile(self._cluster) else None
        return pid

    def _await_orphan(self) -> None:
        """A server whose launcher was killed is shutting down: give it the time."""
        deadline = time.monotonic() + _STOP_TIMEOUT
        while self._server_pid() is not None:
            if time.monotonic() > deadline:
                raise self._in_use()
            time.sleep(0.02)
        (self._cluster / "postmaster.pid").unlink(missing_ok=True)

    def _create_cluster(self, programs: Path, account: Account | None) -> None:
        """initdb beside, then rename: a cluster that exists is a whole one."""
        staging = self._cluster.with_suffix(".new")
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(mode=0o700)
        if account:
            os.chown(staging, account.uid, account.gid)
        with handed_over(staging, account) as (path, fds):
            run = subprocess.run(
                [
                    str(programs / "initdb"), "--pgdata", path, "--username", USER, "--encoding", "UTF8",
                    "--locale", "C", "--locale-provider", "builtin", "--builtin-locale", "C.UTF-8",
                    "--auth-local", "trust", "--auth-host", "scram-sha-256", "--no-instructions",
                ],
                env=child_environment(staging), cwd="/", stdin=subprocess.DEVNULL, capture_output=True, text=True,
                check=False, pass_fds=fds, user=account.uid if account else None,
                group=account.gid if account else None, extra_groups=[] if account else None,
            )  # fmt: skip
        if run.returncode != 0:
            shutil.rmtree(staging, ignore_errors=True)
            raise StartupError(f"cannot create a PostgreSQL cluster in {self._cluster}: {run.stderr.strip()[-500:]}")
        staging.rename(self._cluster)

    def _open_socket_directory(self, account: Account | None) -> None:
        if self._socket_directory is None:
            # Not under the data directory: the path of a socket is limited to about 100 characters.
            parent = "/tmp" if os.access("/tmp", os.W_OK) else None
            self._socket_directory = Path(tempfile.mkdtemp(prefix=_SOCKET_PREFIX, dir=parent))
        else:
            self._socket_directory.mkdir(mode=0o700, exist_ok=True)
        if account:
            os.chown(self._socket_directory, account.uid, account.gid)
        if self._lock is not None:
            self._lock.truncate(0)
            self._lock.write(
                json.dumps({"pid": os.getpid(), "socket_directory": str(self._socket_directory), "port": self._port})
            )
            self._lock.flush()

    def _launch(self, programs: Path, account: Account | None) -> None:
        if self.log_file.exists() and self.log_file.stat().st_size > _LOG_LIMIT:
            self.log_file.replace(self.log_file.with_suffix(".log.1"))
        settings = {
            **self._settings,
            "listen_addresses": "127.0.0.1" if self._tcp else "",
            "port": str(self._port),
            "unix_socket_directories": str(self._socket_directory),
        }
        with self.log_file.open("ab") as output, handed_over(self._cluster, account) as (path, fds):
            command = [str(programs / "postgres"), "-D", path]
            for name, value in settings.items():
                command += ["-c", f"{name}={value}"]
            self._child = ChildProcess(
                command,
                output=output,
                stop_signal=signal.SIGINT,
                environment=child_environment(self._cluster),
                account=account,
                pass_fds=fds,
                leaves_empty=self._socket_directory,
            )

    def _await_ready(self) -> None:
        deadline = time.monotonic() + _START_TIMEOUT
        while True:
            try:
                psycopg.connect(self.socket_dsn, connect_timeout=5).close()
            except psycopg.OperationalError as error:
                if self.pid is None or time.monotonic() > deadline:
                    raise StartupError(
                        f"the embedded PostgreSQL in {self._directory} did not start; the end of {self.log_file}: "
                        f"{self._log_tail()}"
                    ) from error
                time.sleep(0.01)
            else:
                return

    def _log_tail(self) -> str:
        lines = self.log_file.read_text(encoding="utf-8", errors="replace").splitlines()
        return " | ".join(lines[-3:])

    def _set_password(self) -> None:
        with psycopg.connect(self.socket_dsn, autocommit=True) as connection:
            # Hashed here, so that no log of the server can hold the password.
            verifier = connection.pgconn.encrypt_password(self._password.encode(), USER.encode(), b"scram-sha-256")
            connection.execute(
                sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(USER), sql.Literal(verifier.decode()))
            )


def running_socket_dsn(data_directory: Path) -> str | None:
    """The socket DSN of the server that somebody runs in `data_directory` now; None when nobody does.

    For a second client, such as a load beside a running service. It does not keep the server running.
    """
    try:
        lock = json.loads((data_directory / "lock").read_text(encoding="utf-8") or "{}")
        dsn = _socket_dsn(str(lock["socket_directory"]), int(lock["port"]))
        psycopg.connect(dsn, connect_timeout=_JOIN_TIMEOUT).close()
    except (OSError, ValueError, KeyError, TypeError, psycopg.OperationalError):
        return None
    return dsn


def _socket_dsn(directory: str, port: int = _DEFAULT_PORT) -> str:
    return f"postgresql://{USER}@/{DATABASE}?host={quote(directory, safe='')}&port={port}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
