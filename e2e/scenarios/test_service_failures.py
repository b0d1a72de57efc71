"""Scenario 6: a lost database is a 503 and comes back by itself, with every document; a lost cache fails nobody."""

from __future__ import annotations

import threading

import httpx

from e2e.scenarios.load import clients
from e2e.scenarios.team import Team, sample, wait_for
from e2e.scenarios.timing import Timings

DEADLINE = 10.0


def test_a_killed_database_fails_requests_politely_and_loses_no_document(team: Team, timings: Timings) -> None:
    workspace = sample("quickstart")
    workspace["spec"]["workspace"]["mcp"] = {"timeout": DEADLINE}
    team.apply(workspace)
    team.wait_ready("quickstart")
    team.ingest("quickstart")
    address = team.address("quickstart")
    accepted: list[str] = []
    stop = threading.Event()
    writer = threading.Thread(target=_write, args=(address, accepted, stop))
    writer.start()
    try:
        with clients(f"{address}/mcp/tools/search_documents", number=4) as answers:
            wait_for(lambda: len(accepted) >= 3 and answers.statuses[200] >= 20, "documents and answers")
            team.kubectl("delete", "pod", "quickstart-db-0", "--grace-period=0", "--force")
            wait_for(lambda: answers.statuses[503] > 0, "the loss to be noticed", timeout=30)
            good, written = answers.statuses[200], len(accepted)
            back = wait_for(lambda: answers.statuses[200] > good + 20, "answers again", timeout=120)
            wait_for(lambda: len(accepted) > written, "documents to be taken again", timeout=60)
    finally:
        stop.set()
        writer.join()
    timings.seconds("6  database pod killed, loss noticed to answers again", back)
    timings.say("6  answers meanwhile", f"{dict(answers.statuses)}, slowest {answers.slowest:.1f} s")
    assert set(answers.statuses) <= {200, 503}, answers
    assert answers.without_retry_after == 0
    assert answers.broken == []
    assert answers.slowest < DEADLINE + 2
    team.wait_ready("quickstart")
    held = {str(row[0]) for row in team.rows("quickstart", "quickstart-db-0", "SELECT id FROM documents_documents")}
    assert set(accepted) <= held, set(accepted) - held


def _write(address: str, accepted: list[str], stop: threading.Event) -> None:
    """One document after the other; `accepted` are those that the service said it has."""
    number = 0
    while not stop.is_set():
        number += 1
        document = {"id": f"note-{number}", "title": f"Note {number}", "text": f"This is note number {number}."}
        try:
            response = httpx.post(
                f"{address}/documents", json={"source": "written", "documents": [document]}, timeout=30
            )
        except httpx.HTTPError:
            continue
        if response.status_code == 200:
            accepted.append(document["id"])
        stop.wait(0.1)


def test_a_killed_cache_fails_no_request(team: Team, timings: Timings) -> None:
    team.apply(sample("quickstart", cache={"provider": "Builtin", "memory": "64Mi"}))
    team.wait_ready("quickstart")
    team.ingest("quickstart")
    with clients(f"{team.address('quickstart')}/mcp/tools/search_documents", number=4) as answers:
        wait_for(lambda: answers.statuses[200] >= 20, "answers")
        cache = team.pods("quickstart", "cache")[0]["metadata"]["name"]
        team.kubectl("delete", "pod", cache, "--grace-period=0", "--force")
        before = answers.statuses[200]
        wait_for(lambda: answers.statuses[200] >= before + 40, "answers without the cache")
        back = wait_for(
            lambda: (
                team.condition("quickstart", "CacheReady").get("status") == "True"
                and team.pods("quickstart", "cache")[0]["metadata"]["name"] != cache
            ),
            "the cache to be back",
        )
    timings.seconds("6  cache pod killed to CacheReady again", back)
    timings.say("6  answers meanwhile", f"{dict(answers.statuses)}, slowest {answers.slowest:.1f} s")
    assert answers.failed == 0, answers
