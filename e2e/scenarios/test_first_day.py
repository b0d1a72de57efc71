"""Scenario 1: install, apply, wait, ingest through the Service, ask from inside and from outside."""

from __future__ import annotations

import json
import time

import httpx

from e2e.scenarios.release import Release
from e2e.scenarios.team import SAMPLES, Team
from e2e.scenarios.timing import Timings

QUESTION = "How do I move a workspace to my own PostgreSQL?"
SOURCE = "database.md"


def test_the_quickstart_answers_from_inside_and_outside_the_cluster(team: Team, timings: Timings) -> None:
    begin = time.monotonic()
    team.kubectl("apply", "-f", str(SAMPLES / "quickstart.yaml"))
    team.kubectl("wait", "--for=condition=Ready", "swk/quickstart", "--timeout=100s", check=False)
    team.wait_ready("quickstart", timeout=5)
    timings.seconds("1  kubectl apply to Ready, database included", time.monotonic() - begin)

    begin = time.monotonic()
    report = team.ingest("quickstart")
    assert report["documents"] >= 10
    timings.say("1  ingested through the Service", f"{report['documents']} documents, {time.monotonic() - begin:.1f} s")

    with team.forwarded("service/quickstart-runtime", 8000) as address:
        response = httpx.post(f"{address}/mcp/tools/search_documents", json={"query": QUESTION}, timeout=30)
    _is_right(response.json())
    _is_right(_ask_from_inside(team))
    header, row = team.kubectl("get", "swk").stdout.splitlines()
    assert header.split()[:2] == ["NAME", "READY"]
    assert row.split()[:2] == ["quickstart", "True"]


def test_helm_test_is_content_with_what_was_installed(release: Release, timings: Timings) -> None:
    begin = time.monotonic()
    said = release.helm("test", "sibyl", "--logs", "--timeout=2m")
    timings.seconds("1  helm test", time.monotonic() - begin)
    assert "Succeeded" in said


def _is_right(body: dict[str, object]) -> None:
    output = body["output"]
    assert isinstance(output, dict)
    assert "External" in output["answer"], output
    assert any(SOURCE in source["document"] for source in output["sources"]), output["sources"]


def _ask_from_inside(team: Team) -> dict[str, object]:
    """From another pod, by the Service's name: the runtime's image has an interpreter, and so can ask."""
    program = (
        "import json, urllib.request as web; "
        f"body = json.dumps({{'query': {QUESTION!r}}}).encode(); "
        "url = 'http://quickstart-runtime:8000/mcp/tools/search_documents'; "
        "asked = web.Request(url, body, {'Content-Type': 'application/json'}); "
        "print(web.urlopen(asked, timeout=20).read().decode())"
    )
    pod = team.pods("quickstart")[0]
    container = pod["spec"]["containers"][0]
    asker = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "asker"},
        "spec": {
            "restartPolicy": "Never",
            "securityContext": pod["spec"]["securityContext"],
            "containers": [
                {
                    "name": "asker",
                    "image": container["image"],
                    "command": ["python3", "-c", program],
                    "securityContext": container["securityContext"],
                }
            ],
        },
    }
    team.apply(asker)
    team.kubectl("wait", "pod/asker", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s")
    found: dict[str, object] = json.loads(team.kubectl("logs", "asker").stdout)
    return found
