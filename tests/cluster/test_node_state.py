"""The record of a node: what a later run knows of one that was killed."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from e2e.cluster.errors import ClusterError
from e2e.node.state import State, read_state, write_state


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    state = State(sysctls={"kernel/panic": "1"}, chains=["iptables nat CNI-1"], paths=["/run/netns"])
    state = state.with_process("etcd", os.getpid())
    write_state(tmp_path / "state.json", state)
    assert read_state(tmp_path / "state.json") == state
    assert state.processes["etcd"][0] == os.getpid()
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]


def test_a_process_that_has_ended_is_not_recorded() -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    assert State().with_process("true", ended.pid) == State()


def test_no_record_is_no_error(tmp_path: Path) -> None:
    assert read_state(tmp_path / "state.json") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "is no record of a node"), ('{"version": 99}', "was written by another version of e2e.node")],
)
def test_a_record_that_cannot_be_read_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "state.json"
    path.write_text(text)
    with pytest.raises(ClusterError, match=f"{path} {message}"):
        read_state(path)
