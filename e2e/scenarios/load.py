"""A constant load that counts every answer: the clients of a service, while something happens to it."""

from __future__ import annotations

import json
import re
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from e2e.scenarios.beside import GUIDE


@dataclass
class Answers:
    """What the clients got: counts by status, the slowest answer in seconds, and what went wrong below HTTP."""

    statuses: Counter[int] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    without_retry_after: int = 0
    slowest: float = 0.0

    @property
    def failed(self) -> int:
        """Answers that were not a success, and requests without one."""
        return sum(count for status, count in self.statuses.items() if status != 200) + len(self.broken)


@contextmanager
def clients(url: str, *, number: int = 4, pause: float = 0.05, deadline: float = 60.0) -> Iterator[Answers]:
    """`number` clients that ask one after the other, each question another one, until the end of the block.

    `pause` and `deadline` are seconds: the pause of a client between two questions, and its own patience.
    """
    answers, lock, stop = Answers(), threading.Lock(), threading.Event()

    def run(client: int) -> None:
        with httpx.Client(timeout=deadline) as http:
            asked = 0
            while not stop.is_set():
                asked += 1
                _ask(http, url, f"What is condition number {client} of {asked}?", answers, lock)
                stop.wait(pause)

    threads = [threading.Thread(target=run, args=(client,)) for client in range(number)]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def _ask(http: httpx.Client, url: str, question: str, answers: Answers, lock: threading.Lock) -> None:
    begin = time.monotonic()
    try:
        response = http.post(url, json={"query": question})
    except httpx.HTTPError as error:
        with lock:
            answers.broken.append(repr(error))
        return
    with lock:
        answers.slowest = max(answers.slowest, time.monotonic() - begin)
        answers.statuses[response.status_code] += 1
        if response.status_code == 503 and "Retry-After" not in response.headers:
            answers.without_retry_after += 1


@contextmanager
def k6(program: Path, address: str, *, stages: tuple[str, ...], summary: Path) -> Iterator[subprocess.Popen[str]]:
    """The guide's own script against `address`, for shorter stages; it has ended at the end of the block.

    `stages` are k6's, like "10s:5": seconds, and users at their end.
    """
    script = guide_script().replace("http://localhost:8000", address)
    written = summary.with_suffix(".js")
    written.write_text(script)
    command = [str(program), "run", "--quiet", "--no-usage-report", f"--summary-export={summary}"]
    for stage in stages:
        command += ["--stage", stage]
    with subprocess.Popen(
        [*command, "--env", "API_KEY=none", str(written)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as running:  # fmt: skip
        try:
            yield running
            output, _ = running.communicate(timeout=900)
            assert running.returncode == 0, output
        finally:
            if running.poll() is None:
                running.terminate()


def guide_script() -> str:
    """The load test of the performance guide, as it stands there. Raises LookupError where the guide has none."""
    found = re.search(r"cat > load-test\.js << 'EOF'\n(.*?)\nEOF\n", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    if found is None:
        raise LookupError(f"{GUIDE} holds no load-test.js")
    return found[1]


def k6_figures(summary: Path) -> dict[str, Any]:
    """Requests, failed requests, failed checks, and p95 in seconds, of a run that has ended."""
    metrics = json.loads(summary.read_text())["metrics"]
    return {
        "requests": metrics["http_reqs"]["count"],
        "failed": metrics["http_req_failed"]["passes"],
        "checks_failed": metrics["checks"]["fails"],
        "p95": metrics["http_req_duration"]["p(95)"] / 1000,
    }
