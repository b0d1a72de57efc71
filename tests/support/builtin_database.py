"""The servers of a Builtin database without containers: the very scripts of the ConfigMap, run with a real PostgreSQL.

What a pod's volumes are is a directory here, what its environment is stays one. PostgreSQL refuses to run as root, so
root runs it as `nobody`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from sibyl_operator.desired.database.config_map import config_map
from sibyl_operator.desired.names import Names
from sibyl_runtime.store.child import Account
from sibyl_runtime.store.installation import find_installation, reachable_installation, server_account
from tests.operator.api.facts import resource
from tests.support.conditions import eventually

SMALL: Mapping[str, Any] = {"resources": {"requests": {"memory": "64Mi"}, "limits": {"memory": "128Mi"}}}
NAMES = Names(namespace="team", workspace="docs", uid="uid-1")


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Server:
    """One pod's worth of directories. `variables` are those that only this role has."""

    directory: Path
    account: Account | None
    programs: Path
    variables: Mapping[str, str]
    serves_with: str
    data: Path
    port: int = field(default_factory=free_port)
    _server: subprocess.Popen[str] | None = None

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PATH": f"{self.programs}:/usr/bin:/bin",
            "HOME": str(self.directory / "run"),
            "DATABASE_CONFIG": str(self.directory / "config"),
            "DATABASE_RUN": str(self.directory / "run"),
            "PGDATA": str(self.data / "pgdata"),
            "PGPORT": str(self.port),
            **self.variables,
        }

    @property
    def pgdata(self) -> Path:
        return self.data / "pgdata"

    def launch(self, script: str, **variables: str) -> subprocess.Popen[str]:
        """Start one script of the ConfigMap, in a process group of its own."""
        return subprocess.Popen(
            ["sh", str(self.directory / "config" / script)],
            env={**self.environment, **variables},
            cwd="/",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            user=self.account.uid if self.account else None,
            group=self.account.gid if self.account else None,
            extra_groups=[] if self.account else None,
            start_new_session=True,
        )

    def run(self, script: str, **variables: str) -> tuple[int, list[str]]:
        """Run one script to its end: exit code, and the lines that it wrote."""
        process = self.launch(script, **variables)
        said, _ = process.communicate(timeout=90)
        return process.returncode, said.splitlines()

    def prepare(self, script: str, **variables: str) -> None:
        code, said = self.run(script, **variables)
        assert code == 0, "\n".join(said)

    def serve(self) -> None:
        """Start the server and wait until its own probe says that it takes queries."""
        log = (self.directory / "log").open("a")
        self._server = subprocess.Popen(
            ["sh", str(self.directory / "config" / self.serves_with)],
            env=self.environment,
            cwd="/",
            stdout=log,
            stderr=log,
            text=True,
            user=self.account.uid if self.account else None,
            group=self.account.gid if self.account else None,
            extra_groups=[] if self.account else None,
            start_new_session=True,
        )
        log.close()
        eventually(lambda: self.run("probe.sh")[0] == 0, lambda: (self.directory / "log").read_text())

    def stop(self) -> None:
        """What the pod's preStop does."""
        if self._server is not None and self._server.poll() is None:
            assert self.run("stop.sh")[0] == 0
            self._server.wait(30)
        self._server = None

    def kill(self) -> None:
        """The node loses power."""
        assert self._server is not None
        os.killpg(self._server.pid, signal.SIGKILL)
        self._server.wait(30)
        self._server = None

    def password(self, of: str, value: str) -> None:
        """Mount a Secret."""
        path = self.directory / of / "password"
        path.parent.mkdir(exist_ok=True)
        path.write_text(value)

    def dsn(self, role: str, password: str, database: str) -> str:
        return f"postgresql://{role}:{password}@127.0.0.1:{self.port}/{database}?connect_timeout=5"

    def superuser(self) -> str:
        """As somebody inside the pod."""
        return f"postgresql://postgres@/postgres?host={self.directory / 'run'}&port={self.port}"

    def files_hold(self, text: str) -> list[Path]:
        """The files below the pod's directories that hold a text."""
        found = (path for path in self.directory.rglob("*") if path.is_file() and not path.is_symlink())
        return [path for path in found if text.encode() in path.read_bytes()]


@dataclass
class Servers:
    """A primary, and replicas as many as asked for, in one temporary directory."""

    root: Path
    account: Account | None
    programs: Path
    made: list[Server] = field(default_factory=list)

    def stop(self) -> None:
        """End every server that runs."""
        for server in self.made:
            if server._server is not None and server._server.poll() is None:
                server.kill()

    def primary(self, data: Path | None = None, **database: Any) -> Server:
        """A primary with passwords, whose volume is empty."""
        server = self._server("primary", "serve.sh", data, database)
        server.variables = {
            "APP_CREDENTIALS": str(server.directory / "app"),
            "REPLICATION_CREDENTIALS": str(server.directory / "replication"),
        }
        server.password("app", "first-app")
        server.password("replication", "first-replication")
        return server

    def replica(self, primary: Server, number: int = 0, data: Path | None = None, **database: Any) -> Server:
        """A replica of `primary`, whose volume is empty."""
        server = self._server(f"replica-{number}", "serve-replica.sh", data, database)
        server.variables = {
            "POD_NAME": f"docs-db-replica-{number}",
            "PRIMARY_HOST": "127.0.0.1",
            "PRIMARY_PORT": str(primary.port),
            "REPLICATION_CREDENTIALS": str(primary.directory / "replication"),
        }
        return server

    def _server(self, name: str, serves_with: str, data: Path | None, database: Mapping[str, Any]) -> Server:
        directory = self.root / name
        for part in ("config", "run", "data"):
            (directory / part).mkdir(parents=True)
        wanted = resource(database={"provider": "Builtin", **SMALL, **database})
        for key, text in config_map(wanted, NAMES)["data"].items():
            (directory / "config" / key).write_text(text)
        if self.account:
            for path in (directory, *directory.iterdir()):
                os.chown(path, self.account.uid, self.account.gid)
        server = Server(directory, self.account, self.programs, {}, serves_with, data or directory / "data")
        self.made.append(server)
        return server


@contextlib.contextmanager
def servers() -> Iterator[Servers]:
    """A place for servers; all of them are stopped and removed at the end."""
    root = Path(tempfile.mkdtemp(prefix="sibyl-database-", dir="/tmp"))
    root.chmod(0o755)
    account = server_account(root / "none")
    place = Servers(root, account, reachable_installation(find_installation(), account) / "bin")
    try:
        yield place
    finally:
        place.stop()
        shutil.rmtree(root)


def ask(dsn: str, question: str) -> Any:
    """The first column of the first row; None without a row."""
    with psycopg.connect(dsn, autocommit=True) as link:
        cursor = link.execute(question.encode())
        row = cursor.fetchone() if cursor.description else None
    return row[0] if row else None
