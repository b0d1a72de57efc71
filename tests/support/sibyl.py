"""The real program `sibyl` as a child process: for tests that need what a user needs, and nothing less."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

COMMAND = (sys.executable, "-c", "from sibyl_runtime.cli import main; main()")
_START_TIMEOUT = 60.0
_OWN = ("SIBYL_", "DATABASE_URL", "REDIS_URL", "OPENAI_API_KEY", "PROMETHEUS_")


@dataclass(frozen=True)
class Finished:
    """How a command ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """What it printed with --json."""
        return json.loads(self.stdout)


def environment(given: Mapping[str, str]) -> dict[str, str]:
    """This process's environment without what would change the program's mind, and with `given`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OWN)}
    return {**kept, "COLUMNS": "200", "NO_COLOR": "1", **given}


def sibyl(*arguments: str | Path, cwd: Path, environ: Mapping[str, str] | None = None, timeout: float = 90) -> Finished:
    """Run a command to its end."""
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)], cwd=cwd, env=environment(environ or {}), capture_output=True, text=True,
        timeout=timeout, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    return Finished(done.returncode, done.stdout, done.stderr)


class Serving:
    """`sibyl serve` on free ports of 127.0.0.1."""

    def __init__(self, file: Path, process: subprocess.Popen[bytes], log: IO[bytes]) -> None:
        self.file = file
        self.process = process
        self._log = log
        self.api = ""
        self.watch = ""
        self.ready: Mapping[str, Any] = {}

    @property
    def log(self) -> list[dict[str, Any]]:
        """Every log line so far."""
        text = Path(self._log.name).read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines() if line.startswith("{")]

    @property
    def output(self) -> str:
        """All that it wrote on stderr."""
        return Path(self._log.name).read_text(encoding="utf-8")

    def await_ready(self) -> None:
        """Wait for the line that tells the addresses."""
        deadline = time.monotonic() + _START_TIMEOUT
        while True:
            line = next((line for line in self.log if line["message"] == "ready"), None)
            if line is not None:
                self.ready, self.api, self.watch = line, line["api"], line["metrics"]
                return
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"sibyl serve did not become ready: {self.output}")
            time.sleep(0.02)

    def stop(self, signal_number: int = signal.SIGTERM) -> int:
        """Ask it to stop, and wait; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal_number)
        try:
            return self.process.wait(40)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise


@contextmanager
def serving(file: Path, *arguments: str, environ: Mapping[str, str] | None = None) -> Iterator[Serving]:
    """A server that is ready, stopped in the end."""
    with tempfile.NamedTemporaryFile(prefix="sibyl-serve-", suffix=".log") as log:
        process = subprocess.Popen(
            [
                *COMMAND, "serve", "-f", str(file), "--host", "127.0.0.1", "--port", "0", "--metrics-port", "0",
                "--json", *arguments,
            ],
            cwd=file.parent, env=environment(environ or {}), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
        server = Serving(file, process, log)
        try:
            server.await_ready()
            yield server
        finally:
            server.stop()
