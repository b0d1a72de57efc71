"""Get the programs of a cluster: from $KUBEBUILDER_ASSETS, from the cache, or by building them once."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from e2e.cluster.build import Progress, build_programs
from e2e.cluster.errors import ClusterError
from e2e.cluster.go_toolchain import GoToolchain, find_go, install_go
from e2e.cluster.locking import locked
from e2e.cluster.recipe import CONTROL_PLANE, NAMES, REQUIRED, TOOLS, Group, cache_key


def ensure_binaries(progress: Progress | None = None, environment: Mapping[str, str] = os.environ) -> Path:
    """The directory that holds etcd, kubectl, kube-apiserver, kube-controller-manager and kube-scheduler.

    `progress` receives lines for a person (default: stderr). Two runs at once build only once: the second waits.
    Raises BuildError where there is no Go, no module proxy, or the build fails.
    """
    with progress_lines(progress) as report:
        assets = _assets(environment, report)
        if assets is not None:
            return assets
        return _ensure(CONTROL_PLANE, report, environment)


def ensure_group(group: Group, progress: Progress | None = None, environment: Mapping[str, str] = os.environ) -> Path:
    """The directory that holds the programs of `group`, built where the cache has them not.

    `progress` and the errors are those of `ensure_binaries`.
    """
    with progress_lines(progress) as report:
        return _ensure(group, report, environment)


def ensure_tool(name: str, progress: Progress | None = None, environment: Mapping[str, str] = os.environ) -> Path:
    """The path of one program of `recipe.TOOLS`, such as `helm` or `kubeconform`, built where the cache has it not.

    `progress` and the errors are those of `ensure_binaries`; ClusterError for a name that is not there.
    """
    if name not in TOOLS:
        raise ClusterError(f"no tool is named {name!r}; there are {', '.join(TOOLS)}")
    return ensure_group(TOOLS[name], progress, environment) / name


def _ensure(group: Group, report: Progress, environment: Mapping[str, str]) -> Path:
    root = cache_root(environment)
    root.mkdir(parents=True, exist_ok=True)
    go = find_go(root)
    target = root / cache_key(go.version, group=group)
    if not missing(target, group.names):
        return target
    with locked(root / f"{target.name}.lock", group.title, report):
        if missing(target, group.names):
            _clear(target)
            build_programs(_program(root, go, group, report), group, target, report)
    return target


def _program(root: Path, go: GoToolchain, group: Group, report: Progress) -> Path:
    """The `go` to build with. Two groups may find no Go at once: one installs it, the other waits."""
    if go.program is not None:
        return go.program
    with locked(root / f"go-{go.version}.lock", group.title, report):
        return find_go(root).program or install_go(root, report)


def built_binaries(environment: Mapping[str, str] = os.environ) -> Path | None:
    """The directory that `ensure_binaries` would return without building anything; None where it would build."""
    assets = _assets(environment, lambda _line: None)
    if assets is not None:
        return assets
    root = cache_root(environment)
    target = root / cache_key(find_go(root).version)
    return None if missing(target, NAMES) else target


def cache_root(environment: Mapping[str, str] = os.environ) -> Path:
    """Where built programs are kept between runs."""
    base = environment.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "sibyl-testcluster"


def missing(directory: Path, names: Sequence[str]) -> list[str]:
    """Those of `names` that are not programs in `directory`."""
    return [name for name in names if not os.access(directory / name, os.X_OK)]


def _assets(environment: Mapping[str, str], progress: Progress) -> Path | None:
    """The directory of $KUBEBUILDER_ASSETS where it is whole; otherwise say why it is not used."""
    value = environment.get("KUBEBUILDER_ASSETS")
    if not value:
        return None
    absent = missing(Path(value), REQUIRED)
    if not absent:
        return Path(value).absolute()
    progress(
        f"KUBEBUILDER_ASSETS={value} has no {', '.join(absent)}: not used. "
        "Without a controller-manager no Deployment, no ServiceAccount and no garbage collection would work."
    )
    return None


def _clear(target: Path) -> None:
    """Remove a damaged cache entry, and what a build that was killed left behind. The caller holds the lock."""
    for left_over in [target, *target.parent.glob(f".build-{target.name}-*")]:
        shutil.rmtree(left_over, ignore_errors=True)


@contextmanager
def progress_lines(progress: Progress | None, stream: TextIO | None = None) -> Iterator[Progress]:
    """`progress` itself, or else lines on stderr: one line rewritten on a terminal, one every 15 seconds elsewhere."""
    if progress is not None:
        yield progress
        return
    writer = _ProgressWriter(stream or sys.stderr)
    try:
        yield writer.write
    finally:
        writer.end()


class _ProgressWriter:
    """Rewrites one line on a terminal; in a log it drops lines that only count seconds."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._terminal = stream.isatty()
        self._topic = ""
        self._written = 0.0

    def write(self, line: str) -> None:
        topic, now = line.split(",")[0], time.monotonic()
        same = topic == self._topic
        if self._terminal:
            self._stream.write(("\r\x1b[K" if same or not self._topic else "\n") + line)
        elif not same or now - self._written >= 15:
            self._stream.write(line + "\n")
            self._written = now
        self._topic = topic
        self._stream.flush()

    def end(self) -> None:
        if self._terminal and self._topic:
            self._stream.write("\n")
            self._stream.flush()
