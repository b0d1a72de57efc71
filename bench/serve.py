"""Figures of the whole product, from outside: start, ingest, questions over HTTP, memory.

Run: python -m bench.serve [--chunks 2000] [--rounds 3] [--seconds 5] [--json]. The real program over an embedded
PostgreSQL, asked by a load generator in a process of its own; the answer cache is off, so that every answer is worked
out. One run on a shared machine says little: read the medians, and compare on one machine only.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

from bench.corpus import write_corpus

SIBYL = (sys.executable, "-c", "from sibyl_runtime.cli import main; main()")
CLIENTS = (1, 8)
STARTS = 3
WARM_UP_SECONDS = 2.0
MIB = 1024 * 1024
ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Server:
    """A running `sibyl serve`; `ready_seconds` from the start of its process."""

    process: psutil.Popen
    host: str
    port: int
    watch: str
    ready_seconds: float


@contextmanager
def serving(file: Path) -> Iterator[Server]:
    """Start, wait until it is ready, stop."""
    log = file.with_suffix(".log")
    started = time.perf_counter()
    with log.open("wb") as output:
        process = psutil.Popen(
            [
                *SIBYL, "serve", "-f", str(file), "--host", "127.0.0.1", "--port", "0", "--metrics-port", "0", "--json",
            ],
            cwd=file.parent, stdout=output, stderr=output, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    try:
        line = _ready_line(process, log)
        seconds = time.perf_counter() - started
        address = urlsplit(line["api"])
        assert address.hostname is not None
        assert address.port is not None
        yield Server(process, address.hostname, address.port, line["metrics"], seconds)
    finally:
        process.terminate()
        process.wait(60)


def _ready_line(process: psutil.Popen, log: Path) -> Mapping[str, Any]:
    while process.poll() is None:
        for line in log.read_text(encoding="utf-8").splitlines():
            if line.startswith("{") and (record := json.loads(line))["message"] == "ready":
                return dict(record)
        time.sleep(0.005)
    raise SystemExit(f"sibyl serve did not start: {log.read_text(encoding='utf-8')}")


def ingest(file: Path, documents: Path) -> Mapping[str, Any]:
    """The report of `sibyl ingest`."""
    command = [*SIBYL, "ingest", "-f", str(file), str(documents), "--json"]
    done = subprocess.run(command, cwd=file.parent, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


@contextmanager
def sending(file: Path, server: Server, documents: Path, source: str) -> Iterator[subprocess.Popen[bytes]]:
    """`sibyl ingest --server` at work; broken off in the end."""
    address = f"http://{server.host}:{server.port}"
    command = [*SIBYL, "ingest", "--server", address, "--source", source, str(documents)]
    with file.with_suffix(".sending.log").open("wb") as output:
        process = subprocess.Popen(command, cwd=file.parent, stdout=output, stderr=output)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


def load(server: Server, clients: int, seconds: float, questions: Sequence[str]) -> Mapping[str, Any]:
    """What the load generator measured."""
    command = [sys.executable, "-m", "bench.load", server.host, str(server.port), str(clients), str(seconds)]
    done = subprocess.run(command, input="\n".join(questions), capture_output=True, text=True, check=True, cwd=ROOT)
    result = dict(json.loads(done.stdout))
    if result["errors"]:
        raise SystemExit(f"{result['errors']} of {result['requests']} requests failed")
    return result


def measure_questions(server: Server, rounds: int, seconds: float, questions: Sequence[str]) -> dict[str, Any]:
    """Medians over rounds, by number of clients; the order of clients alternates. And the CPU that a question takes."""
    load(server, max(CLIENTS), WARM_UP_SECONDS, questions)
    results: dict[int, list[Mapping[str, Any]]] = {clients: [] for clients in CLIENTS}
    before = _cpu_seconds(server.process)
    for number in range(rounds):
        for clients in CLIENTS if number % 2 == 0 else CLIENTS[::-1]:
            results[clients].append(load(server, clients, seconds, questions))
    asked = sum(result["requests"] for runs in results.values() for result in runs)
    figures: dict[str, Any] = {
        str(clients): {
            name: round(statistics.median(run[name] for run in runs), 2)
            for name in ("p50_ms", "p95_ms", "p99_ms", "per_second")
        }
        for clients, runs in results.items()
    }
    cpu = (_cpu_seconds(server.process) - before) / asked * 1000
    return {"clients": figures, "server_cpu_ms_per_question": round(cpu, 3)}


def measure_questions_during_ingest(
    file: Path, server: Server, documents: Path, seconds: float, questions: Sequence[str]
) -> dict[str, float]:
    """One client's times while documents come in over HTTP all the while: the same files, as another source."""
    stored_before = _stored(server)
    with sending(file, server, documents, "during") as process:
        while _stored(server) == stored_before:
            if process.poll() is not None:
                raise SystemExit("the ingest ended before it stored anything")
            time.sleep(0.05)
        result = load(server, 1, seconds, questions)
        if process.poll() is not None:
            raise SystemExit("the ingest ended before the questions did; give it more --chunks")
    return {name: round(result[name], 2) for name in ("p50_ms", "p95_ms", "p99_ms", "per_second")}


def _stored(server: Server) -> float:
    """Batches that the server has stored since its start."""
    with urllib.request.urlopen(f"{server.watch}/metrics", timeout=10) as response:
        lines = response.read().decode().splitlines()
    counted = [line for line in lines if line.startswith("sibyl_vector_store_operations_total{")]
    return sum(float(line.split()[-1]) for line in counted if 'operation="replace"' in line)


def memory(process: psutil.Popen) -> dict[str, float]:
    """Of the serving process alone, in MiB: resident, its peak, and the share of pages that it would free (PSS)."""
    full = process.memory_full_info()
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    return {
        "rss_mib": round(full.rss / MIB, 1),
        "peak_mib": round(peak / 1024, 1),
        "pss_mib": round(getattr(full, "pss", 0) / MIB, 1),
    }


def scrape_milliseconds(server: Server) -> float:
    """Median time of a scrape of /metrics."""
    times = []
    for _ in range(20):
        started = time.perf_counter()
        with urllib.request.urlopen(f"{server.watch}/metrics", timeout=10) as response:
            response.read()
        times.append((time.perf_counter() - started) * 1000)
    return round(statistics.median(times), 2)


def _cpu_seconds(process: psutil.Popen) -> float:
    used = process.cpu_times()
    return float(used.user + used.system)


def measure(chunks: int, rounds: int, seconds: float) -> dict[str, Any]:
    """All figures."""
    with tempfile.TemporaryDirectory(prefix="sibyl-bench-") as name:
        directory = Path(name)
        documents = directory / "documents"
        documents.mkdir()
        questions = write_corpus(documents, chunks)
        file = directory / "workspace.yaml"
        file.write_text("name: bench\n", encoding="utf-8")
        with serving(file) as server:
            first_start = server.ready_seconds
            idle = memory(server.process)
        report = ingest(file, documents)
        starts = []
        for _ in range(STARTS - 1):
            with serving(file) as server:
                starts.append(server.ready_seconds)
        with serving(file) as server:
            starts.append(server.ready_seconds)
            answered = measure_questions(server, rounds, seconds, questions)
            loaded = memory(server.process)
            scrape = scrape_milliseconds(server)
            during = measure_questions_during_ingest(file, server, documents, seconds, questions)
    return {
        "start": {"empty_directory_s": round(first_start, 2), "existing_data_s": round(statistics.median(starts), 2)},
        "ingest": {
            "documents": report["documents"],
            "chunks": report["chunks"],
            "seconds": round(report["seconds"], 1),
            "documents_per_second": round(report["documents"] / report["seconds"], 1),
        },
        "questions": answered,
        "questions_during_ingest": during,
        "memory": {"idle": idle, "after_load": loaded},
        "scrape_ms": scrape,
        "load_average": os.getloadavg()[0],
    }


def lines(figures: Mapping[str, Any]) -> list[str]:
    """The figures as a table."""
    start, loading, memories = figures["start"], figures["ingest"], figures["memory"]
    rows = [
        ("start to ready", f"{start['existing_data_s']} s   (empty data directory: {start['empty_directory_s']} s)"),
        (
            "ingest",
            f"{loading['documents_per_second']} documents/s   ({loading['documents']:,} documents, "
            f"{loading['chunks']:,} chunks, {loading['seconds']} s)",
        ),
        *(
            (
                f"search_documents, {clients} client{'' if clients == '1' else 's'}",
                _times(run),
            )
            for clients, run in figures["questions"]["clients"].items()
        ),
        ("the same during an ingest", _times(figures["questions_during_ingest"])),
        ("server CPU", f"{figures['questions']['server_cpu_ms_per_question']} ms a question"),
        *(
            (
                f"memory, {state.replace('_', ' ')}",
                f"{held['rss_mib']} MiB resident   {held['peak_mib']} peak   {held['pss_mib']} PSS",
            )
            for state, held in memories.items()
        ),
        ("scrape of /metrics", f"{figures['scrape_ms']} ms"),
        ("load average", f"{figures['load_average']:.1f} on {os.cpu_count()} cores"),
    ]
    return [f"{name:<28} {value}" for name, value in rows]


def _times(run: Mapping[str, float]) -> str:
    return f"p50 {run['p50_ms']} ms   p95 {run['p95_ms']} ms   p99 {run['p99_ms']} ms   {run['per_second']} /s"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chunks", type=int, default=2000, help="documents of one chunk each")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of which medians are taken")
    parser.add_argument("--seconds", type=float, default=5.0, help="length of one run")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    figures = measure(options.chunks, options.rounds, options.seconds)
    print(json.dumps(figures, indent=2) if options.json else "\n".join(lines(figures)))


if __name__ == "__main__":
    main()
