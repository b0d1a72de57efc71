"""Act one: the workspace on this machine. Embedded PostgreSQL, local model, extractive answers, real HTTP."""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from e2e.cluster.ports import free_ports
from e2e.cluster.processes import Child
from e2e.cluster.waiting import wait_until
from e2e.demo import screen
from e2e.programs import PROGRAMS, ROOT
from sibyl_operator.kpi.counters import read_counters

QUESTIONS = (
    "How do I move a workspace to my own PostgreSQL?",
    "What happens when a document is removed from the folder?",
    "When is the HNSW index built?",
    "What does the condition ConfigApplied prove?",
    "What does a client get when Redis is down?",
)


@dataclass(frozen=True)
class Server:
    """A running `sibyl serve`."""

    api: str
    metrics: str

    def ask(self, question: str) -> tuple[dict[str, Any], float]:
        """The body of the answer and the seconds that it took over HTTP. Raises httpx.HTTPError."""
        return ask(self.api, question)


def ask(base: str, question: str) -> tuple[dict[str, Any], float]:
    """POST a question to the tool `search_documents`; its body and the seconds over HTTP, connecting not counted."""
    with httpx.Client(base_url=base, timeout=30) as client:
        client.get("/health/live")
        begin = time.monotonic()
        response = client.post("/mcp/tools/search_documents", json={"query": question})
        elapsed = time.monotonic() - begin
    response.raise_for_status()
    return response.json(), elapsed


def play(workspace: Path, data: Path, logs: Path) -> None:
    """Ingest the project's own documentation, serve it, ask, and show the indicators."""
    screen.act(1, f"On this laptop: sibyl serve --file {workspace.relative_to(ROOT)}")
    report = ingest(workspace, data)
    screen.fact(
        "ingested",
        f"{report['documents']} documents · {report['chunks']} chunks · {report['seconds']:.1f} s",
    )
    again = ingest(workspace, data)
    screen.fact("ingested again", f"{again['unchanged']} unchanged, nothing to do · {again['seconds']:.1f} s")
    api_port, metrics_port = free_ports(2)
    server = Server(f"http://127.0.0.1:{api_port}", f"http://127.0.0.1:{metrics_port}")
    command = [
        PROGRAMS["sibyl"], "serve", "--file", workspace, "--data-dir", data,
        "--host", "127.0.0.1", "--port", api_port, "--metrics-port", metrics_port,
    ]  # fmt: skip
    child = Child([str(word) for word in command], log=logs / "serve.log")
    try:
        with screen.timed("ready", "PostgreSQL + pgvector (embedded), embedding model, HTTP") as details:
            wait_until(lambda: _ready(server, child), what="sibyl serve", timeout=60)
            details.append(httpx.get(f"{server.metrics}/config").json()["embedder"])
        screen.console.print()
        for question in QUESTIONS:
            screen.answer(question, *server.ask(question))
        _indicators(server)
    finally:
        child.stop(10)


def ingest(workspace: Path, data: Path) -> dict[str, Any]:
    """Run `sibyl ingest` on docs/; its JSON report."""
    command = [PROGRAMS["sibyl"], "ingest", "--file", workspace, "--data-dir", data, "--json", ROOT / "docs"]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"sibyl ingest ended with exit code {done.returncode}:\n{done.stderr}")
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def _ready(server: Server, child: Child) -> bool:
    if child.exit_code is not None:
        raise RuntimeError(f"sibyl serve ended with exit code {child.exit_code}:\n{child.log_tail()}")
    try:
        return httpx.get(f"{server.api}/health/ready", timeout=2).status_code == 200
    except httpx.TransportError:
        return False


def _indicators(server: Server) -> None:
    counters = read_counters(httpx.get(f"{server.metrics}/metrics").text)
    latencies = httpx.get(f"{server.metrics}/kpis").json()["kpis"]
    told = [f"{kpi['name'].removesuffix('_latency')} {_against_target(kpi)}" for kpi in latencies]
    screen.fact("KPIs", " · ".join([*told, f"{counters.calls:.0f} questions", f"{counters.errors:.0f} errors"]))


def _against_target(kpi: dict[str, Any]) -> str:
    verdict = "met" if kpi["met"] else "missed"
    return f"{kpi['value'] * 1000:.0f} ms (target {kpi['target']:g} s, {verdict})"
