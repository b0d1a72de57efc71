"""The product against a bare server (bench/bare_server.py), in the same run: what do its promises cost?

Run: python -m bench.runtime [--chunks 20000] [--rounds 6] [--seconds 1] [--json]. Both answer questions with five
chunks from the same PostgreSQL, by the same int8 model; the product with authentication, validation, metrics and timing
on, by vectors and by hybrid retrieval, no cache. The load generator runs beside the servers. In every round each
number of clients meets each server, in another order, so that what else the machine does hits all alike. On a busy
machine read the ratios only.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from bench.collection import BARE_TABLE, fill, model_paths
from bench.corpus import questions
from bench.embedding import WORDS
from bench.serve import MIB, ROOT, SIBYL, serving
from sibyl_runtime.providers.embedding.onnx_session import OnnxEncoder
from sibyl_runtime.providers.embedding.tokenizer import Tokenizer
from sibyl_runtime.store.embedded import EmbeddedPostgres

CLIENTS = (1, 8, 32)
STRATEGIES = ("vector", "hybrid")
KEY = "bench-key"
WARM_UP_SECONDS = 2.0
AIMS: Mapping[str, float] = {"vector": 0.85, "hybrid": 0.60}
MOST_MEGABYTES = 250
LEAST_CHUNKS = 20.0
INGESTED = 160
TOKENS = 256
MARKERS = 2
_TOOL = """
    - name: {0}
      description: Find chunks.
      pipeline: {0}
      parameters: {{query: {{type: string, required: true, minLength: 1, maxLength: 8192}}}}
"""
_PIPELINE = """
  {0}:
    steps: [{{use: rag.retrieval, config: {{top_k: 5, subtechnique: {0}}}}}]
    parameters: {{query: {{type: string}}}}
"""


@dataclass(frozen=True)
class Target:
    """A server as the load generator sees it."""

    name: str
    process: psutil.Popen
    host: str
    port: int
    path: str
    database: psutil.Process
    key: str | None = None


def write_workspace(file: Path, dsn: str) -> None:
    """A tool for each strategy, behind a key. The key is in the environment: the document may not hold one."""
    store = f"  vector_store: {{main: {{kind: pgvector, dsn: {json.dumps(dsn)}, pool_size: 8}}}}\n"
    file.write_text(
        "name: bench\nproviders:\n"
        "  embedding: {main: {kind: sentence-transformer, precision: int8}}\n"
        f"{store}"
        "mcp:\n  authentication: {type: api_key, keys: ['${BENCH_KEY}']}\n"
        f"  tools:{''.join(map(_TOOL.format, STRATEGIES))}"
        f"pipelines:{''.join(map(_PIPELINE.format, STRATEGIES))}",
        encoding="utf-8",
    )


@contextmanager
def bare(dsn: str, database: psutil.Process) -> Iterator[Target]:
    """The yardstick, ready."""
    paths = model_paths()
    process = psutil.Popen(
        [sys.executable, "-m", "bench.bare_server", dsn, BARE_TABLE, str(paths.graph), str(paths.tokenizer)],
        cwd=ROOT, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        yield Target("bare", process, "127.0.0.1", int(process.stdout.readline()), "/search", database)
    finally:
        process.terminate()
        process.wait(60)


def load(target: Target, clients: int, seconds: float) -> Mapping[str, Any]:
    """What the load generator measured. Ends the programme when a request failed: its time would mean nothing."""
    command = [
        sys.executable, "-m", "bench.load", target.host, str(target.port), str(clients), str(seconds), target.path,
        *([target.key] if target.key else []),
    ]  # fmt: skip
    asked = "\n".join(questions(512))
    before, database = _processor_seconds(target.process), _processor_seconds(*_backends(target))
    done = subprocess.run(command, input=asked, capture_output=True, text=True, check=True, cwd=ROOT)
    result = dict(json.loads(done.stdout))
    asked_for = result["requests"] / 1000
    result["cpu_ms"] = (_processor_seconds(target.process) - before) / asked_for
    result["database_ms"] = (_processor_seconds(*_backends(target)) - database) / asked_for
    if result["errors"]:
        raise SystemExit(f"{result['errors']} of {result['requests']} requests to {target.name} failed")
    return result


def measure_questions(targets: Sequence[Target], rounds: int, seconds: float) -> dict[str, Any]:
    """Of each target and number of clients: medians over rounds, and the ratio to the bare server in the same round."""
    for target in targets:
        load(target, 8, WARM_UP_SECONDS)
    runs: dict[tuple[str, int], list[Mapping[str, Any]]] = {}
    for number in range(rounds):
        turn = number % len(targets)
        for clients in CLIENTS if number % 2 == 0 else CLIENTS[::-1]:
            for target in (*targets[turn:], *targets[:turn]):
                runs.setdefault((target.name, clients), []).append(load(target, clients, seconds))
    return {
        target.name: {str(clients): _summary(runs, target.name, clients) for clients in CLIENTS} for target in targets
    }


def _summary(runs: Mapping[tuple[str, int], Sequence[Mapping[str, Any]]], name: str, clients: int) -> dict[str, float]:
    own, yardstick = runs[name, clients], runs["bare", clients]
    ratios = [one["per_second"] / other["per_second"] for one, other in zip(own, yardstick, strict=True)]
    return {
        **{
            key: round(statistics.median(run[key] for run in own), 2)
            for key in ("p50_ms", "p95_ms", "per_second", "cpu_ms", "database_ms")
        },
        "ratio": round(statistics.median(ratios), 3),
        "cpu_ratio": round(_spent(yardstick) / _spent(own), 3),
        "least_ratio": round(min(ratios), 3),
        "most_ratio": round(max(ratios), 3),
    }


def _spent(runs: Sequence[Mapping[str, Any]]) -> float:
    """Milliseconds of processor time per question, of the server and of the database."""
    return float(statistics.median(run["cpu_ms"] + run["database_ms"] for run in runs))


def measure_ingest(file: Path, target: Target) -> dict[str, float]:
    """Chunks of 256 tokens sent to the running product: by second, and by second of its processor time."""
    random = np.random.default_rng(0)
    documents = file.with_name("documents.jsonl")
    texts = (" ".join(random.choice(WORDS, TOKENS - MARKERS)) for _ in range(INGESTED))
    documents.write_text("\n".join(json.dumps({"id": f"new-{n}", "text": text}) for n, text in enumerate(texts)))
    command = [*SIBYL, "ingest", str(documents), "--server", f"http://{target.host}:{target.port}", "--json"]
    before = _processor_seconds(target.process)
    done = subprocess.run(
        command, cwd=file.parent, capture_output=True, text=True, check=True, env={**os.environ, "SIBYL_API_KEY": KEY}
    )
    spent = _processor_seconds(target.process) - before
    report = json.loads(done.stdout)
    return {
        "model_alone_per_second_and_core": model_alone(),
        "chunks": report["chunks"],
        "chunks_per_second": round(report["chunks"] / report["seconds"], 1),
        "chunks_per_second_and_core": round(report["chunks"] / spent, 1),
    }


def model_alone() -> float:
    """The same, of nothing but the model on one thread: what an ingest could reach at most."""
    paths = model_paths()
    encoder, tokenizer = OnnxEncoder(paths.graph, threads=1), Tokenizer.load(paths.tokenizer)
    random = np.random.default_rng(1)
    batches = [[tokenizer.ids(" ".join(random.choice(WORDS, TOKENS - MARKERS))) for _ in range(2)] for _ in range(17)]
    encoder.encode(batches[0])
    before = time.process_time()
    for batch in batches[1:]:
        encoder.encode(batch)
    return round(sum(map(len, batches[1:])) / (time.process_time() - before), 1)


def measure(chunks: int, rounds: int, seconds: float) -> dict[str, Any]:
    """All figures."""
    with tempfile.TemporaryDirectory(prefix="sibyl-bench-") as name, ExitStack() as stack:
        directory = Path(name)
        postgres = EmbeddedPostgres(directory / "postgres")
        dsn = postgres.start()
        stack.callback(postgres.stop)
        database = psutil.Process(postgres.pid)
        asyncio.run(fill(dsn, chunks))
        file = directory / "workspace.yaml"
        write_workspace(file, dsn)
        os.environ["BENCH_KEY"] = KEY
        server = stack.enter_context(serving(file))
        product = [
            Target(each, server.process, server.host, server.port, f"/mcp/tools/{each}", database, KEY)
            for each in STRATEGIES
        ]
        yardstick = stack.enter_context(bare(dsn, database))
        answered = measure_questions([yardstick, *product], rounds, seconds)
        memory = {each.name: _megabytes(each.process) for each in (yardstick, product[0])}
        ingest = measure_ingest(file, product[0])
        return {
            "chunks": chunks,
            "questions": answered,
            "resident_mb": {"bare": memory["bare"], "product": memory["vector"]},
            "resident_mb_after_ingest": _megabytes(product[0].process),
            "ingest": ingest,
            "load_average": round(os.getloadavg()[0], 1),
            "cores": os.cpu_count(),
        }


def _processor_seconds(*processes: psutil.Process) -> float:
    used = [process.cpu_times() for process in processes]
    return float(sum(times.user + times.system for times in used))


def _backends(target: Target) -> list[psutil.Process]:
    """The database's processes: those of a pool stay, and others do next to nothing meanwhile."""
    return list(target.database.children())


def _megabytes(process: psutil.Popen) -> int:
    return round(process.memory_info().rss / MIB)


def lines(figures: Mapping[str, Any]) -> list[str]:
    """The figures as a table, and beside what has an aim, whether it is met."""
    rows = [f"{figures['chunks']:,} chunks, answers of 5, int8, no cache; {figures['cores']} cores, load average "
            f"{figures['load_average']}", ""]  # fmt: skip
    for name, by_clients in figures["questions"].items():
        for clients, run in by_clients.items():
            row = f"{name:<8} {clients:>2} clients   p50 {run['p50_ms']:>7.2f} ms   p95 {run['p95_ms']:>7.2f} ms   "
            row += (
                f"{run['per_second']:>6.0f} /s   CPU {run['cpu_ms']:>5.2f} ms, database {run['database_ms']:>5.2f} ms"
            )
            if name in AIMS:
                row += f"   {run['ratio']:>4.0%} of bare ({run['least_ratio']:.0%} to {run['most_ratio']:.0%}), "
                row += f"{run['cpu_ratio']:.0%} by CPU   "
                row += _judged(run["ratio"] >= AIMS[name], f">= {AIMS[name]:.0%}")
            rows.append(row)
    memory, ingest = figures["resident_mb"], figures["ingest"]
    after = figures["resident_mb_after_ingest"]
    rows += [
        "",
        f"resident  product {memory['product']} MB, {after} after the ingest; bare {memory['bare']} MB   "
        + _judged(max(memory["product"], after) <= MOST_MEGABYTES, f"<= {MOST_MEGABYTES} MB"),
        f"ingest    {ingest['chunks_per_second_and_core']} chunks of {TOKENS} tokens per second and core "
        f"({ingest['chunks_per_second']}/s in all; the model alone {ingest['model_alone_per_second_and_core']})   "
        + _judged(ingest["chunks_per_second_and_core"] >= LEAST_CHUNKS, f">= {LEAST_CHUNKS:g}"),
    ]
    return rows


def _judged(met: bool, aim: str) -> str:
    return f"aim {aim}: {'met' if met else 'MISSED'}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chunks", type=int, default=20_000, help="chunks in the collection")
    parser.add_argument("--rounds", type=int, default=6, help="rounds of which medians are taken")
    parser.add_argument("--seconds", type=float, default=1.0, help="length of one run")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of lines")
    options = parser.parse_args()
    figures = measure(options.chunks, options.rounds, options.seconds)
    print(json.dumps(figures) if options.json else "\n".join(lines(figures)))


if __name__ == "__main__":
    main()
