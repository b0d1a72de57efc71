"""Helm, of exactly one version, built once from Go modules and cached: another one might render otherwise."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from e2e.cluster.binaries import cache_root, progress_lines
from e2e.cluster.build import Progress
from e2e.cluster.errors import BuildError
from e2e.cluster.go_toolchain import find_go, install_go
from e2e.cluster.recipe import BUILD_ENVIRONMENT

HELM_VERSION: Final = "v4.2.4"
PACKAGE: Final = "helm.sh/helm/v4/cmd/helm"
# `go install` does not stamp the version that a release has.
LINKER_FLAGS: Final = f"-s -w -X helm.sh/helm/v4/internal/version.version={HELM_VERSION}"


def ensure_helm(progress: Progress | None = None, environment: Mapping[str, str] = os.environ) -> Path:
    """The program, built where the cache does not have it. Raises BuildError with the end of Go's own output."""
    root = cache_root(environment)
    root.mkdir(parents=True, exist_ok=True)
    target = root / f"helm-{HELM_VERSION}"
    if not os.access(target, os.X_OK):
        with progress_lines(progress) as report:
            _build(find_go(root).program or install_go(root, report), target, report)
    return target


def _build(go: Path, target: Path, progress: Progress) -> None:
    progress(f"building helm {HELM_VERSION}, once; about 2 minutes on 2 cores; cached afterwards")
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".build-helm-") as scratch:
        done = subprocess.run(
            [go, "install", "-trimpath", f"-ldflags={LINKER_FLAGS}", f"{PACKAGE}@{HELM_VERSION}"],
            env={**os.environ, **BUILD_ENVIRONMENT, "GOBIN": scratch},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            tail = "\n".join(done.stdout.splitlines()[-10:])
            raise BuildError(f"building helm failed. It needs the Go module proxy once. Go printed last:\n{tail}")
        (Path(scratch) / "helm").rename(target)
