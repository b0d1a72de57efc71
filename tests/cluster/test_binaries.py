"""Where the control plane's programs come from. Go itself is replaced by a script: what is tested is the order,
the cache and the end of an interrupted build, and a real build takes minutes."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from e2e.cluster.binaries import built_binaries, cache_root, ensure_binaries, ensure_tool, progress_lines
from e2e.cluster.errors import BuildError, ClusterError
from e2e.cluster.recipe import CONTROL_PLANE, MODULE, NAMES, PROGRAMS, REQUIRED, TOOLS, cache_key
from e2e.cluster.waiting import wait_until

ROOT = Path(__file__).parents[2]
GO_VERSION = "1.26.99"

# Answers `go version`, notes each build, and then does what the test wants: make the program, fail, or hang.
FAKE_GO = f"""#!/bin/sh
if [ "$1" = version ]; then echo "go version go{GO_VERSION} linux/amd64"; exit 0; fi
echo build >> "$BUILDS"
case "$BEHAVIOUR" in
    hang) sleep 600 & sleep 600 ;;
    fail) echo "module proxy unreachable"; exit 1 ;;
esac
if [ "$1" = install ]; then
    program=$(basename "$4")
    set -- -o "$GOBIN/$(echo "$program" | cut -d@ -f1)"
fi
while [ "$1" != -o ]; do shift; done
echo program > "$2" && chmod 755 "$2"
"""


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mapping[str, str]:
    """A machine with the fake Go on PATH and an empty cache."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "go").write_text(FAKE_GO)
    (programs / "go").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("BUILDS", str(tmp_path / "builds"))
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    return os.environ


def builds(tmp_path: Path) -> int:
    path = tmp_path / "builds"
    return len(path.read_text().splitlines()) if path.exists() else 0


def make_programs(directory: Path, names: tuple[str, ...]) -> Path:
    directory.mkdir(parents=True)
    for name in names:
        (directory / name).write_text("program")
        (directory / name).chmod(0o755)
    return directory


def test_assets_that_are_whole_come_first(environment: Mapping[str, str], tmp_path: Path) -> None:
    assets = make_programs(tmp_path / "assets", REQUIRED)
    lines: list[str] = []
    assert ensure_binaries(lines.append, {**environment, "KUBEBUILDER_ASSETS": str(assets)}) == assets
    assert (lines, builds(tmp_path)) == ([], 0)


def test_assets_without_a_controller_manager_are_passed_over_and_the_reason_is_said(
    environment: Mapping[str, str], tmp_path: Path
) -> None:
    assets = make_programs(tmp_path / "assets", ("etcd", "kube-apiserver", "kubectl"))
    cached = make_programs(cache_root(environment) / cache_key(GO_VERSION), NAMES)
    lines: list[str] = []
    assert ensure_binaries(lines.append, {**environment, "KUBEBUILDER_ASSETS": str(assets)}) == cached
    assert lines[0].startswith(f"KUBEBUILDER_ASSETS={assets} has no kube-controller-manager: not used.")


def test_what_is_missing_is_built_once_with_a_line_for_each_program(
    environment: Mapping[str, str], tmp_path: Path
) -> None:
    lines: list[str] = []
    assert built_binaries(environment) is None
    first = ensure_binaries(lines.append, environment)
    assert ensure_binaries(lines.append, environment) == built_binaries(environment) == first
    assert builds(tmp_path) == len(PROGRAMS)
    assert sorted(path.name for path in first.iterdir()) == sorted(NAMES)
    assert lines[0].startswith("building etcd 1/5, 0 s so far; about ")
    assert lines[0].endswith("once; cached afterwards")
    assert lines[-1].startswith("built the control plane's programs in ")


def test_a_damaged_cache_entry_is_built_anew(environment: Mapping[str, str], tmp_path: Path) -> None:
    first = ensure_binaries(lambda _line: None, environment)
    (first / "etcd").unlink()
    assert ensure_binaries(lambda _line: None, environment) == first
    assert os.access(first / "etcd", os.X_OK)
    assert builds(tmp_path) == 2 * len(PROGRAMS)


def test_a_failed_build_shows_what_go_said_and_caches_nothing(
    environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEHAVIOUR", "fail")
    with pytest.raises(BuildError, match=r"building etcd failed \(exit code 1\)[\s\S]*module proxy unreachable"):
        ensure_binaries(lambda _line: None, environment)
    assert [path.suffix for path in cache_root(environment).iterdir()] == [".lock"]


def build_command(**more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "e2e.cluster", "--build-only"],
        cwd=ROOT,
        env={**os.environ, **more},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_two_runs_at_once_build_once(environment: Mapping[str, str], tmp_path: Path) -> None:
    with build_command() as one, build_command() as other:
        paths = {process.communicate(timeout=60)[0] for process in (one, other)}
    assert paths == {f"{cache_root(environment) / cache_key(GO_VERSION)}\n"}
    assert builds(tmp_path) == len(PROGRAMS)


def ended(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_build_leaves_no_process_and_no_half_cache(
    environment: Mapping[str, str], tmp_path: Path, number: signal.Signals
) -> None:
    with build_command(BEHAVIOUR="hang") as process:
        wait_until(lambda: builds(tmp_path), what="the build to begin")
        running = wait_until(lambda: _with_sleepers(process), what="the build's own children")
        process.send_signal(number)
        process.communicate(timeout=30)
    wait_until(lambda: all(ended(child) for child in running), what="every process of the build to end")
    assert process.returncode == (-number if number == signal.SIGKILL else 130)
    assert built_binaries(environment) is None
    ensure_binaries(lambda _line: None, environment)
    # Also what the killed run could not clean up is gone now.
    key = cache_key(GO_VERSION)
    assert sorted(path.name for path in cache_root(environment).iterdir()) == [key, f"{key}.lock"]


def _with_sleepers(process: subprocess.Popen[str]) -> list[psutil.Process]:
    found = psutil.Process(process.pid).children(recursive=True)
    return found if sum(child.name() == "sleep" for child in found) == 2 else []


def test_the_cache_key_follows_go_and_the_module(tmp_path: Path) -> None:
    for name in ("go.mod", "go.sum"):
        (tmp_path / name).write_bytes((MODULE / name).read_bytes())
    copy = replace(CONTROL_PLANE, module=tmp_path)
    same = cache_key(GO_VERSION, copy)
    assert same == cache_key(GO_VERSION)
    assert same != cache_key("1.27.3", copy)
    (tmp_path / "go.sum").write_text("other")
    assert same != cache_key(GO_VERSION, copy)


def test_the_cache_key_of_a_tool_follows_its_version_and_not_the_module(tmp_path: Path) -> None:
    (helm,) = TOOLS["helm"].programs
    same = cache_key(GO_VERSION, TOOLS["helm"])
    assert same == cache_key(GO_VERSION, replace(TOOLS["helm"], module=tmp_path))
    assert same != cache_key(GO_VERSION, replace(TOOLS["helm"], programs=(replace(helm, version="v4.0.0"),)))


def test_a_tool_is_built_alone_and_once(environment: Mapping[str, str], tmp_path: Path) -> None:
    program = ensure_tool("kubeconform", lambda _line: None, environment)
    assert program.name == "kubeconform"
    assert os.access(program, os.X_OK)
    assert ensure_tool("kubeconform", lambda _line: None, environment) == program
    assert builds(tmp_path) == 1


def test_a_tool_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(ClusterError, match="no tool is named 'kubeval'; there are helm, kubeconform, "):
        ensure_tool("kubeval")


def test_progress_in_a_log_is_one_line_for_each_program() -> None:
    stream = io.StringIO()
    with progress_lines(None, stream) as progress:
        for line in ("building etcd 1/5, 0 s", "building etcd 1/5, 1 s", "building kubectl 2/5, 2 s"):
            progress(line)
    assert stream.getvalue() == "building etcd 1/5, 0 s\nbuilding kubectl 2/5, 2 s\n"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_on_a_terminal_counts_on_one_line() -> None:
    stream = Terminal()
    with progress_lines(None, stream) as progress:
        for line in ("building etcd 1/5, 0 s", "building etcd 1/5, 1 s", "building kubectl 2/5, 2 s"):
            progress(line)
    assert stream.getvalue().count("\n") == 2
    assert "\r\x1b[Kbuilding etcd 1/5, 1 s\nbuilding kubectl 2/5, 2 s\n" in stream.getvalue()
