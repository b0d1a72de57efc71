"""Probes: thresholds, times and answers."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator

import pytest

from e2e.cluster.pod_spec import NotStartableError
from e2e.cluster.probes import ProbeRecord, ProbeSpec, ask


def test_a_probe_is_asked_after_its_delay_and_then_once_a_period() -> None:
    probe = ProbeRecord(ProbeSpec("http://unused", initial_delay=3, period=5), begins=100, passing=False)
    assert [now for now in range(100, 115) if probe.due(now)] == [103, 108, 113]


@pytest.mark.parametrize(
    ("answers", "passing", "failed"),
    [
        ("-", True, False),
        ("--", True, False),
        ("---", False, True),
        ("--+--", True, False),
        ("---+", False, True),
        ("---++", True, False),
    ],
)
def test_the_verdict_changes_when_a_threshold_is_reached(answers: str, passing: bool, failed: bool) -> None:
    spec = ProbeSpec("http://unused", failure_threshold=3, success_threshold=2)
    probe = ProbeRecord(spec, begins=0, passing=True)
    for answer in answers:
        probe.record(None if answer == "+" else "refused")
    assert (probe.passing, probe.failed) == (passing, failed)


def test_a_probe_is_read_with_the_defaults_of_kubernetes() -> None:
    spec = ProbeSpec.of({"httpGet": {"port": "http", "path": "live"}}, "127.0.0.5", {"http": 8080})
    assert spec == ProbeSpec(url="http://127.0.0.5:8080/live", period=10, timeout=1, failure_threshold=3)


def test_an_unknown_port_name_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(NotStartableError, match="probe port 'metrics' has no container port; known: http"):
        ProbeSpec.of({"httpGet": {"port": "metrics"}}, "127.0.0.5", {"http": 8080})


class Statuses(http.server.BaseHTTPRequestHandler):
    """Answers /N with status N."""

    def do_GET(self) -> None:
        self.send_response(int(self.path[1:]))
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Write nothing."""


@pytest.fixture
def server() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Statuses) as listening:
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (200, None),
        (302, None),
        (404, "HTTP probe failed with statuscode: 404"),
        (503, "HTTP probe failed with statuscode: 503"),
    ],
)
def test_a_status_from_200_to_399_is_a_success(server: str, status: int, answer: str | None) -> None:
    assert ask(ProbeSpec(url=f"{server}/{status}")) == answer


def test_a_refused_connection_is_a_failure_with_its_cause(server: str) -> None:
    answer = ask(ProbeSpec(url="http://127.0.0.1:1/"))
    assert answer is not None
    assert answer.startswith("Get http://127.0.0.1:1/: ")
    assert "refused" in answer
