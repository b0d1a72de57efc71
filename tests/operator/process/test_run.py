"""The real process: its exit codes, its probes without an API server, and its end on a signal."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from sibyl_operator.process import ExitCode

PROGRAM = "import sys; from sibyl_operator.cli import main; sys.argv = ['sibyl-operator', 'run']; main()"


@pytest.fixture
def nowhere(tmp_path: Path) -> str:
    """A kubeconfig of an API server that does not answer."""
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(content))
    return str(path)


@contextmanager
def operator(tmp_path: Path, **settings: str) -> Iterator[subprocess.Popen[str]]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("SIBYL_", "KUBE"))}
    chosen = {f"SIBYL_OPERATOR_{name.upper()}": value for name, value in settings.items()}
    environ = {**inherited, "HOME": str(tmp_path), "SIBYL_OPERATOR_HTTP_HOST": "127.0.0.1", **chosen}
    process = subprocess.Popen([sys.executable, "-c", PROGRAM], env=environ, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, said = process.communicate(timeout=30)
    return process.returncode, said


def line_with(process: subprocess.Popen[str], words: str) -> dict[str, str]:
    assert process.stderr is not None
    for line in process.stderr:
        said: dict[str, str] = json.loads(line)
        if words in said["message"]:
            return said
    raise AssertionError(f"ended without saying {words!r}")


def test_without_a_cluster_it_says_what_to_do(tmp_path: Path) -> None:
    with operator(tmp_path, http_port="0") as process:
        code, said = ended(process)
    assert code == ExitCode.NO_API_SERVER
    assert "Set KUBECONFIG, or pass --kubeconfig" in said


def test_a_port_that_is_taken_is_named(tmp_path: Path, nowhere: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with operator(tmp_path, http_port=str(port), kubeconfig=nowhere) as process:
            code, said = ended(process)
    assert code == ExitCode.PORT_TAKEN
    assert f"cannot listen on 127.0.0.1:{port}" in said


def test_a_setting_that_makes_no_sense_is_wrong_usage(tmp_path: Path) -> None:
    with operator(tmp_path, workers="none") as process:
        code, said = ended(process)
    assert code == 2
    assert "SIBYL_OPERATOR_WORKERS: found 'none', allowed: a whole number" in said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_without_an_api_server_it_lives_stands_by_and_stops_when_asked(
    tmp_path: Path, nowhere: str, number: signal.Signals
) -> None:
    with operator(tmp_path, http_port="0", kubeconfig=nowhere, retry_period="0.1") as process:
        said = line_with(process, "health and metrics on ")
        base = f"http://{said['message'].rpartition(' ')[2]}"
        line_with(process, "lease: ")
        for path, words in (("/healthz", "ok"), ("/readyz", "standby"), ("/metrics", "sibyl_leader 0.0")):
            with urllib.request.urlopen(f"{base}{path}", timeout=5) as response:
                assert words in response.read().decode()
        process.send_signal(number)
        code, last = ended(process)
    assert code == ExitCode.STOPPED
    assert "ended: STOPPED" in last
